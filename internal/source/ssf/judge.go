package ssf

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// The bases of event types.
const (
	caepBase  = "https://schemas.openid.net/secevent/caep/event-type/"
	riscBase  = "https://schemas.openid.net/secevent/risc/event-type/"
	ssfBase   = "https://schemas.openid.net/secevent/ssf/event-type/"
	oauthBase = "https://schemas.openid.net/secevent/oauth/event-type/"
	oktaBase  = "https://schemas.okta.com/secevent/okta/event-type/"
)

// The events by which a transmitter speaks of the stream itself.
const (
	typeVerification     = ssfBase + "verification"
	typeRISCVerification = riscBase + "verification"
	typeStreamUpdated    = ssfBase + "stream-updated"
)

// mapping says what the claims of one transmitter mean here.
type mapping struct {
	tenant  string
	issuers []string // of iss_sub subjects; nil is any
	names   bool     // are taken, as unresolved users
	opaque  bool     // ids are those of users
	rules   rules
}

// meanings say what an event makes of its users' records. Types that are not here are left out.
var meanings = map[string]func(p *payload, e *events.Event) error{
	caepBase + "session-revoked":          signOut,
	caepBase + "token-claims-change":      claimsChange,
	caepBase + "credential-change":        credentialChange,
	caepBase + "assurance-level-change":   assuranceChange,
	caepBase + "device-compliance-change": complianceChange,
	caepBase + "session-established":      sessionEstablished,
	caepBase + "session-presented":        sessionPresented,
	caepBase + "risk-level-change":        riskChange,

	riscBase + "account-credential-change-required": change(events.CredentialChange, events.Reset),
	riscBase + "account-purged":                     change(events.LifecycleChange, events.Removed),
	riscBase + "account-disabled":                   accountDisabled,
	riscBase + "account-enabled":                    change(events.LifecycleChange, events.Enabled),
	riscBase + "identifier-changed":                 identifierChange,
	riscBase + "identifier-recycled":                identifierChange,
	riscBase + "credential-compromise":              credentialCompromise,
	riscBase + "opt-in":                             participation,
	riscBase + "opt-out-initiated":                  participation,
	riscBase + "opt-out-cancelled":                  participation,
	riscBase + "opt-out-effective":                  participation,
	riscBase + "recovery-activated":                 recoveryActivated,
	riscBase + "recovery-information-changed":       change(events.RecoveryChange, events.Updated),
	riscBase + "sessions-revoked":                   signOut,
	oauthBase + "tokens-revoked":                    signOut,

	oktaBase + "user-risk-change":   riskChange,
	oktaBase + "device-risk-change": riskChange,
}

// ours are our own types: what countersign decides comes back from whoever passes it on.
const ours = revocation.EventStepUpRequired

// decode emits the events of a claims set. It is the Record of a [foreign.Format].
func (m *mapping) decode(record []byte, emit foreign.Emit) {
	c, err := readClaims(record)
	if err == nil {
		err = m.shape(c)
	}
	if err != nil {
		emit(record, nil, err)
		return
	}
	for i := range c.events {
		e, err := m.event(c, i)
		emit(record, e, err)
	}
}

// shape checks what every claims set must have, verified or not.
func (m *mapping) shape(c *claims) error {
	switch {
	case c.jti == "":
		return refuse(InvalidRequest, "jti: is missing")
	case c.issuer == "":
		return refuse(InvalidRequest, "iss: is missing")
	case moment(c.issued).IsZero():
		return refuse(InvalidRequest, "iat: is missing, or no time in seconds")
	case c.problem != "":
		return refuse(InvalidRequest, "%s", c.problem)
	case len(c.events) == 0:
		return refuse(InvalidRequest, "events: holds no event")
	case len(c.events) > 1 && !m.rules.several:
		return refuse(InvalidRequest, "events: holds %d events, one is allowed", len(c.events))
	case c.sub != "" && !m.rules.tolerant:
		return refuse(InvalidRequest, "sub: is not allowed, the subject belongs into sub_id")
	case c.expires && !m.rules.tolerant:
		return refuse(InvalidRequest, "exp: is not allowed, events do not expire")
	}
	return nil
}

// event says what one event of a claims set means. A *[Refusal] is for the transmitter: what it said is against the
// event's definition. Any other error is ours: what it said has no place here.
func (m *mapping) event(c *claims, index int) (*events.Event, error) {
	p := &c.events[index]
	short := p.uri[strings.LastIndexByte(p.uri, '/')+1:]
	meaning := meanings[p.uri]
	switch {
	case p.uri == ours:
		return nil, &foreign.Skipped{Reason: "own", Category: short}
	case p.uri == typeVerification || p.uri == typeRISCVerification || p.uri == typeStreamUpdated:
		return nil, &foreign.Skipped{Reason: "stream", Category: short}
	case meaning == nil:
		return nil, &foreign.Skipped{Reason: "category", Category: short}
	}
	e := &events.Event{
		Tenant: m.tenant, Source: events.Source{Family: Family, ID: sourceID(c, index), Category: short},
		Emitted: events.MillisOf(moment(c.issued)), Reason: p.reason,
	}
	for _, said := range []float64{p.at, c.occurred, c.issued} {
		if at := moment(said); !at.IsZero() {
			e.Time = events.MillisOf(at)
			break
		}
	}
	if e.Reason == "" {
		e.Reason = p.reasonUser
	}
	about := m.about(c, p)
	if about == nil {
		return nil, refuse(InvalidRequest, "sub_id: is missing")
	}
	if err := m.whom(about, e); err != nil {
		return nil, err
	}
	for _, session := range []string{c.sid, p.session} {
		if e.Session.ID == "" {
			e.Session.ID = bounded(session)
		}
	}
	for _, text := range p.addresses {
		if ip, raw := foreign.Address(text); e.IP == "" {
			e.IP, e.AddressText = ip, raw
		}
	}
	if err := meaning(p, e); err != nil {
		return nil, err
	}
	return e, nil
}

// about is the subject of an event: that of the token, else the event's own, else the token's sub.
func (m *mapping) about(c *claims, p *payload) *subject {
	switch {
	case c.subject != nil:
		return c.subject
	case p.subject != nil:
		return p.subject
	case c.sub != "":
		return &subject{format: "iss_sub", issuer: c.issuer, sub: c.sub}
	}
	return nil
}

// sourceID names an event of a token for ever. A jti is unique within its issuer's feed only, and tokens of several
// issuers may be of one tenant.
func sourceID(c *claims, index int) string {
	id := c.issuer + "|" + c.jti
	if len(c.events) > 1 {
		id = fmt.Sprintf("%s#%d", id, index)
	}
	return bounded(id)
}

func signOut(p *payload, e *events.Event) error {
	// Who ended the session tells a logout from a measure.
	e.Kind, e.Code = events.SignOut, p.initiator
	return nil
}

// change is the meaning of events that say all with their type.
func change(what events.ChangeType, action events.ChangeAction) func(*payload, *events.Event) error {
	return func(p *payload, e *events.Event) error {
		p.changed(e, events.Change{Type: what, Action: action})
		return nil
	}
}

// changed makes e an account change, by whoever initiated it.
func (p *payload) changed(e *events.Event, c events.Change) {
	e.Kind, e.Change = events.AccountChange, c
	switch initiator := strings.ToLower(p.initiator); initiator {
	case "admin", "policy", "system":
		e.Change.Actor.Name = initiator
	}
	if e.Code == "" {
		e.Code = p.cause
	}
}

// roleClaims and assuranceClaims tell what kind of change a change of claims is; the rest is of the account.
var (
	roleClaims      = []string{"role", "roles", "group", "groups", "entitlements", "scope", "scp", "wids", "permissions"}
	assuranceClaims = []string{"acr", "acrs", "amr", "auth_time", "vot"}
)

func claimsChange(p *payload, e *events.Event) error {
	if p.claims == "" {
		return missing(p, "claims")
	}
	what := events.LifecycleChange
	for name := range strings.SplitSeq(strings.ToLower(p.claimNames), ",") {
		switch {
		case slices.Contains(roleClaims, name):
			what = events.RoleChange
		case slices.Contains(assuranceClaims, name) && what != events.RoleChange:
			what = events.AssuranceChange
		}
	}
	p.changed(e, events.Change{Type: what, Action: events.Updated, Target: events.Ref{Name: p.claimNames}, To: p.claims})
	return nil
}

// primaryCredentials are those that are no second factor and no passkey.
var primaryCredentials = []string{"password", "pin", "x509", "verifiable-credential"}

var credentialActions = map[string]events.ChangeAction{
	"create": events.Added, "revoke": events.Removed, "delete": events.Removed, "update": events.Updated,
}

func credentialChange(p *payload, e *events.Event) error {
	switch {
	case p.credential == "":
		return missing(p, "credential_type")
	case p.change == "":
		return missing(p, "change_type")
	}
	kind := strings.ToLower(p.credential)
	c := events.Change{Type: events.MethodChange, Action: credentialActions[strings.ToLower(p.change)], Target: events.Ref{ID: bounded(kind), Name: p.friendly}}
	if slices.Contains(primaryCredentials, kind) {
		c.Type = events.CredentialChange
	}
	// Which key it is: the authenticator's model, or the certificate's number.
	which := p.model
	if p.serial != "" {
		which = strings.TrimSpace(p.authority + " " + p.serial)
	}
	if c.Action == events.Removed {
		c.From = which
	} else {
		c.To = which
	}
	e.Code = p.change
	p.changed(e, c)
	return nil
}

func assuranceChange(p *payload, e *events.Event) error {
	if p.level == "" {
		return missing(p, "current_level")
	}
	e.Code = p.direction
	p.changed(e, events.Change{
		Type: events.AssuranceChange, Action: events.Updated, Target: events.Ref{ID: bounded(p.namespace)}, From: p.previousLevel, To: p.level,
	})
	return nil
}

func complianceChange(p *payload, e *events.Event) error {
	switch strings.ToLower(p.status) {
	case "compliant":
		e.Device.Compliant = events.Yes
	case "not-compliant":
		e.Device.Compliant = events.No
	case "":
		return missing(p, "current_status")
	}
	p.changed(e, events.Change{
		Type: events.DeviceChange, Action: events.Updated, Target: events.Ref{ID: e.Device.ID}, From: p.previousStatus, To: p.status,
	})
	return nil
}

// sessionEstablished is a sign-in: a session is established on a proof of identity, which the event may tell of.
func sessionEstablished(p *payload, e *events.Event) error {
	e.Kind, e.Outcome = events.SignIn, events.Success
	p.seen(e)
	e.Auth.ACR = p.acr
	e.Auth.Methods, e.Auth.MFA, e.Auth.Strength = proof(p.methods, p.acr)
	return nil
}

func sessionPresented(p *payload, e *events.Event) error {
	e.Kind = events.SessionUse
	p.seen(e)
	if e.Session.ID == "" {
		return &foreign.Skipped{Reason: "session", Category: e.Source.Category}
	}
	return nil
}

// seen sets what is known of the session and the program that shows it. Fingerprints of user agents are usually hashes,
// which tell nothing here; some transmitters write the user agent itself.
func (p *payload) seen(e *events.Event) {
	if e.Session.ID == "" {
		e.Session.ID = bounded(p.external)
	}
	if strings.Contains(p.agent, "/") {
		e.UserAgent = p.agent
	}
}

var riskLevels = map[string]events.RiskLevel{
	"low": events.RiskLow, "medium": events.RiskMedium, "high": events.RiskHigh,
	// Okta's.
	"none": events.RiskNone, "secure": events.RiskNone,
}

func riskChange(p *payload, e *events.Event) error {
	level, known := riskLevels[strings.ToLower(p.level)]
	switch {
	case p.level == "":
		return missing(p, "current_level")
	case !known:
		return refuse(InvalidRequest, "current_level: is %.40q, must be LOW, MEDIUM or HIGH", p.level)
	}
	e.Kind, e.Risk.Level = events.RiskReport, level
	if strings.EqualFold(p.principal, "USER") || p.uri == oktaBase+"user-risk-change" {
		e.Risk.User = level
	}
	if p.cause != "" {
		e.Risk.Detections = []string{p.cause}
	}
	e.Change.From, e.Change.To = p.previousLevel, p.level
	return nil
}

func accountDisabled(p *payload, e *events.Event) error {
	p.changed(e, events.Change{Type: events.LifecycleChange, Action: events.Disabled})
	if strings.EqualFold(p.cause, "hijacking") {
		e.Risk.State, e.Risk.Detections = events.RiskConfirmed, []string{p.cause}
	}
	return nil
}

// identifierChange is of the identifier that is the subject: it was changed, or is somebody else's now.
func identifierChange(p *payload, e *events.Event) error {
	p.changed(e, events.Change{Type: events.LifecycleChange, Action: events.Updated, Target: events.Ref{ID: "identifier"}, From: e.User.Name, To: p.newValue})
	return nil
}

// credentialCompromise gives no level, so none is set.
func credentialCompromise(p *payload, e *events.Event) error {
	e.Kind = events.RiskReport
	e.Risk.State, e.Risk.Detections, e.Risk.Detail = events.RiskOpen, []string{"credential-compromise"}, p.credential
	return nil
}

// participation is of the user in the exchange of risk itself: who takes over an account may opt out of it.
func participation(p *payload, e *events.Event) error {
	p.changed(e, events.Change{Type: events.LifecycleChange, Action: events.Updated, Target: events.Ref{ID: "risc"}, To: e.Source.Category})
	return nil
}

// recoveryActivated is the beginning of a recovery; nothing was changed yet.
func recoveryActivated(p *payload, e *events.Event) error {
	p.changed(e, events.Change{Type: events.RecoveryChange, To: "activated"})
	return nil
}

func missing(p *payload, member string) error {
	return refuse(InvalidRequest, "%s: is missing in %.200s", member, p.uri)
}
