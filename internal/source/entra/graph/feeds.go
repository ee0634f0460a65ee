package graph

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// The feeds, as they are named in configurations.
const (
	SignIns           = "sign_ins"
	SignInsBeta       = "sign_ins_beta"
	NonInteractive    = "non_interactive"
	ServicePrincipals = "service_principals"
	ManagedIdentities = "managed_identities"
	DirectoryAudits   = "directory_audits"
	RiskDetections    = "risk_detections"
	RiskyUsers        = "risky_users"
)

// feed is how a collection is asked for.
type feed struct {
	version, path string
	// moment is the property by which windows are cut.
	moment string
	// types is a further condition.
	types string
	// top is the largest page that Graph gives.
	top int
	// retained is how far back it makes sense to ask: older records are gone, and older filters are refused.
	retained time.Duration
	// risk feeds have a limit of their own.
	risk bool
}

const day = 24 * time.Hour

// feeds are all there are. Risks are cut by when they were revised last, as they come again with the same id (T44).
var feeds = map[string]feed{
	SignIns:           {version: "v1.0", path: "auditLogs/signIns", moment: "createdDateTime", top: 1000, retained: 30 * day},
	SignInsBeta:       betaSignIns("interactiveUser"),
	NonInteractive:    betaSignIns("nonInteractiveUser"),
	ServicePrincipals: betaSignIns("servicePrincipal"),
	ManagedIdentities: betaSignIns("managedIdentity"),
	DirectoryAudits:   {version: "v1.0", path: "auditLogs/directoryAudits", moment: "activityDateTime", top: 1000, retained: 30 * day},
	RiskDetections:    {version: "v1.0", path: "identityProtection/riskDetections", moment: "lastUpdatedDateTime", top: 500, retained: 89 * day, risk: true},
	RiskyUsers:        {version: "v1.0", path: "identityProtection/riskyUsers", moment: "riskLastUpdatedDateTime", top: 500, retained: 89 * day, risk: true},
}

func betaSignIns(eventType string) feed {
	return feed{
		version: "beta", path: "auditLogs/signIns", moment: "createdDateTime", types: "signInEventTypes/any(t: t eq '" + eventType + "')",
		top: 1000, retained: 30 * day,
	}
}

// Feeds are the names of all feeds, sorted.
func Feeds() []string { return slices.Sorted(maps.Keys(feeds)) }

// usual are the feeds of a configuration that names none: what every tenant with a premium licence has.
func usual() []string { return []string{SignIns, DirectoryAudits} }

// known lists the feeds for people.
func known() string { return strings.Join(Feeds(), ", ") }
