package events

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Limits of an audit entry.
const (
	MaxAuditAction = 64
	MaxAuditTarget = 512
	MaxAuditDetail = 4 << 10
)

// AuditOutcome says how an audited request ended.
type AuditOutcome string

// The outcomes of audited requests.
const (
	AuditDone    AuditOutcome = "done"
	AuditRefused AuditOutcome = "refused"
	AuditFailed  AuditOutcome = "failed"
)

// AuditOutcomes lists every outcome.
var AuditOutcomes = []AuditOutcome{AuditDone, AuditRefused, AuditFailed}

// Via says how whoever asked proved who they are.
type Via string

// The ways into the API.
const (
	ViaLink  Via = "link"
	ViaOIDC  Via = "oidc"
	ViaToken Via = "token"
	// ViaCommand is a person at the command line, by the name that the system has for them.
	ViaCommand Via = "command"
)

// Vias lists every way.
var Vias = []Via{ViaLink, ViaOIDC, ViaToken, ViaCommand}

// AuditEntry is one read of a person's data, or one action, through the API: who did what, to what, from where.
type AuditEntry struct {
	// ID is derived from the rest by [AuditID].
	ID   string `json:"id"`
	Time Millis `json:"time"`
	// Tenant is whose data it was; "" is the installation's own, such as a token, or data of all tenants.
	Tenant string `json:"tenant,omitempty"`
	// Actor is who asked, as they are called where they signed in; Via is how. Both are "" for somebody unknown who was refused.
	Actor string `json:"actor,omitempty"`
	Via   Via    `json:"via,omitempty"`
	// Action is what was asked for, such as "finding.triage"; Target what it was asked of: an id, or a path.
	Action string `json:"action"`
	Target string `json:"target,omitempty"`
	// User is the id of the person whose data it was, when it was one person's.
	User    string       `json:"user,omitempty"`
	Detail  string       `json:"detail,omitempty"`
	Outcome AuditOutcome `json:"outcome"`
	// Address is where the request came from; Request is its id, which is in the logs too.
	Address string `json:"address,omitempty"`
	Request string `json:"request"`
}

// Key is the record key on the log: the tenant, or "*", which is no tenant, for what concerns none or all.
func (a *AuditEntry) Key() string {
	if a.Tenant == "" {
		return "*"
	}
	return a.Tenant
}

// AuditID names an entry by who did what when: two entries of one request have two ids when they say different things.
func AuditID(a *AuditEntry) string {
	return ID("audit", a.Tenant, a.Actor, string(a.Via), a.Action, a.Target, a.User, a.Detail, string(a.Outcome), a.Address, a.Request,
		strconv.FormatInt(int64(a.Time), 10))
}

// Validate checks that an entry means something, and reports every problem, each as "path: problem".
func (a *AuditEntry) Validate() error {
	var problems []error
	bad := func(path, format string, args ...any) {
		problems = append(problems, fmt.Errorf(path+": "+format, args...))
	}
	if a.Tenant != "" && !ValidTenant(a.Tenant) {
		bad("tenant", "is %.80q, must be 1 to %d letters, digits, dots, dashes or underscores", a.Tenant, MaxTenant)
	}
	hexID(bad, "id", a.ID)
	if a.Time == 0 {
		bad("time", "is missing")
	}
	if len(a.Action) > MaxAuditAction || a.Action == "" || strings.Trim(a.Action, "abcdefghijklmnopqrstuvwxyz_.") != "" {
		bad("action", "is %.80q, must be 1 to %d lower-case letters, dots and underscores", a.Action, MaxAuditAction)
	}
	line(bad, "actor", a.Actor, MaxID, false)
	line(bad, "target", a.Target, MaxAuditTarget, false)
	line(bad, "user", a.User, MaxID, false)
	line(bad, "detail", a.Detail, MaxAuditDetail, false)
	line(bad, "request", a.Request, MaxID, true)
	oneOf(bad, "via", a.Via, Vias)
	if a.Outcome == "" {
		bad("outcome", "is missing")
	}
	oneOf(bad, "outcome", a.Outcome, AuditOutcomes)
	if a.Address != "" {
		if _, err := netip.ParseAddr(a.Address); err != nil {
			bad("address", "is %.60q, must be an IPv4 or IPv6 address", a.Address)
		}
	}
	return errors.Join(problems...)
}

// Clean makes the texts of an entry fit to keep: what somebody made up for a name must not keep the entry from being written.
func (a *AuditEntry) Clean() {
	for _, f := range []struct {
		text *string
		max  int
	}{{&a.Actor, MaxID}, {&a.Target, MaxAuditTarget}, {&a.User, MaxID}, {&a.Detail, MaxAuditDetail}, {&a.Request, MaxID}} {
		*f.text = cut(*f.text, f.max)
	}
	if a.Tenant != "" && !ValidTenant(a.Tenant) {
		a.Detail = cut(fmt.Sprintf("tenant %.80q; ", a.Tenant)+a.Detail, MaxAuditDetail)
		a.Tenant = ""
	}
	if !slices.Contains(Vias, a.Via) {
		a.Via = ""
	}
	if ip, err := netip.ParseAddr(a.Address); err != nil {
		a.Address = ""
	} else {
		a.Address = ip.Unmap().WithZone("").String()
	}
}

// DecodeAudit reads one audit entry.
func DecodeAudit(b []byte) (*AuditEntry, error) {
	a := new(AuditEntry)
	if err := decode(b, a); err != nil {
		return nil, err
	}
	return a, nil
}
