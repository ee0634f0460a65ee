package revocation

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/countersign-io/countersign/internal/events"
)

// The event types of the claims sets. Both carry the same members; the end of every session of a user is a session-revoked
// of scope user.
const (
	EventStepUpRequired = "https://schemas.countersign.io/secevent/event-type/step-up-required"
	EventSessionRevoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
)

// DefaultIssuer is the issuer of claims that were given no other.
const DefaultIssuer = "https://countersign.example"

// MaxClaims is the largest encoded claims set that is read, in bytes.
const MaxClaims = 64 << 10

// Claims is the claims set of a Security Event Token (RFC 8417) that tells of one requirement's status. Its txn is the
// requirement's id. Times are seconds since the Unix epoch.
type Claims struct {
	Issuer string
	// IssuedAt comes from the event that changed the status, never from a clock.
	IssuedAt int64
	// JTI is derived from requirement, status and that event: a repeat has the same.
	JTI          string
	Tenant, User string
	Status       Status
	Requirement
	// SatisfiedBy is the event whose proof was enough, ClosedAt when a requirement was satisfied or expired.
	SatisfiedBy string
	ClosedAt    int64
}

// EventType is the URI of the claims' event.
func (c *Claims) EventType() string {
	if c.Action == events.RevokeSession || c.Action == events.RevokeAll {
		return EventSessionRevoked
	}
	return EventStepUpRequired
}

// change is the record of an open requirement's status.
func (s *State) change(r *entry, status Status) Change {
	return Change{
		Key: Key(s.tenant, s.user, r.ID),
		Claims: Claims{
			Issuer: DefaultIssuer, IssuedAt: r.issued, JTI: r.jti, Tenant: s.tenant, User: s.user, Status: status,
			Requirement: r.Requirement,
		},
	}
}

// end is the record of a requirement that is over.
func (s *State) end(r *entry, status Status, e *events.Event, closed int64) Change {
	c := s.change(r, status)
	c.Claims.IssuedAt, c.Claims.JTI, c.Claims.ClosedAt = issued(e), setID(r.ID, status, e), closed
	if status == Satisfied {
		c.Claims.SatisfiedBy = e.ID
	}
	return c
}

// The wire form. Members are written in this order, those of reasons in the order of their keys.
type wireSet struct {
	Issuer   string               `json:"iss"`
	IssuedAt int64                `json:"iat"`
	JTI      string               `json:"jti"`
	Txn      string               `json:"txn"`
	Subject  wireSubject          `json:"sub_id"`
	Events   map[string]wireEvent `json:"events"`
}

type wireSubject struct {
	Format  string      `json:"format"`
	Tenant  wireOpaque  `json:"tenant"`
	User    wireOpaque  `json:"user"`
	Session *wireOpaque `json:"session,omitempty"`
}

type wireOpaque struct {
	Format string `json:"format"`
	ID     string `json:"id"`
}

type wireEvent struct {
	Timestamp   int64             `json:"event_timestamp"`
	Initiator   string            `json:"initiating_entity"`
	Status      Status            `json:"status"`
	Requirement string            `json:"requirement"`
	Action      events.Action     `json:"action"`
	ACRValues   []string          `json:"acr_values,omitempty"`
	MaxAge      int               `json:"max_age"`
	NotBefore   int64             `json:"not_before"`
	Expires     int64             `json:"expires"`
	Credential  bool              `json:"credential_change,omitempty"`
	Severity    events.Severity   `json:"severity,omitempty"`
	Scope       string            `json:"scope"`
	ReasonAdmin map[string]string `json:"reason_admin"`
	ReasonUser  map[string]string `json:"reason_user,omitempty"`
	Policy      wirePolicy        `json:"policy"`
	Findings    []Cause           `json:"findings,omitempty"`
	EventID     string            `json:"event_id"`
	SatisfiedBy string            `json:"satisfied_by,omitempty"`
	ClosedAt    int64             `json:"closed_at,omitempty"`
	UserName    string            `json:"user_name,omitempty"`
	Device      *wireDevice       `json:"noncompliant_device,omitempty"`
}

type wireDevice struct {
	ID string `json:"id,omitempty"`
}

type wirePolicy struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

const (
	opaque        = "opaque"
	complexFormat = "complex"
	english       = "en"
	byRule        = "policy"

	scopeUser    = "user"
	scopeSession = "session"
)

// Encode writes the claims set as JSON. The same claims give the same bytes.
func (c Claims) Encode() []byte {
	w := wireSet{
		Issuer: c.Issuer, IssuedAt: c.IssuedAt, JTI: c.JTI, Txn: c.ID,
		Subject: wireSubject{Format: complexFormat, Tenant: wireOpaque{opaque, c.Tenant}, User: wireOpaque{opaque, c.User}},
	}
	event := wireEvent{
		Timestamp: c.EventTime, Initiator: byRule, Status: c.Status, Requirement: c.ID, Action: c.Action,
		ACRValues: c.ACRValues, MaxAge: c.MaxAge, NotBefore: c.NotBefore, Expires: c.Expires, Credential: c.CredentialChange, Severity: c.Severity,
		Scope: scopeUser, ReasonAdmin: map[string]string{english: c.ReasonAdmin}, ReasonUser: c.ReasonUser,
		Policy: wirePolicy{c.Policy, c.PolicyVersion}, Findings: c.Findings, EventID: c.EventID,
		SatisfiedBy: c.SatisfiedBy, ClosedAt: c.ClosedAt, UserName: c.UserName,
	}
	if c.NoncompliantDevice {
		event.Device = &wireDevice{c.Device}
	}
	if c.Session != "" {
		event.Scope, w.Subject.Session = scopeSession, &wireOpaque{opaque, c.Session}
	}
	w.Events = map[string]wireEvent{c.EventType(): event}
	b, err := json.Marshal(w)
	if err != nil {
		panic(fmt.Sprintf("revocation: encoding claims: %v", err)) // strings, integers and maps of strings only
	}
	return b
}

// ParseClaims reads what [Claims.Encode] writes. Members it does not know are ignored, so that a later version may add
// some. It checks that the claims hold together, not that anyone has signed them.
func ParseClaims(b []byte) (Claims, error) {
	if len(b) > MaxClaims {
		return Claims{}, fmt.Errorf("claims set has %d bytes, at most %d are allowed", len(b), MaxClaims)
	}
	if !utf8.Valid(b) {
		return Claims{}, errors.New("claims set is not valid UTF-8")
	}
	var w struct {
		wireSet
		Events map[string]json.RawMessage `json:"events"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return Claims{}, fmt.Errorf("reading claims set: %w", err)
	}
	if len(w.Events) != 1 {
		return Claims{}, fmt.Errorf("events: has %d members, must have exactly one", len(w.Events))
	}
	var kind string
	var event wireEvent
	for uri, raw := range w.Events {
		if uri != EventStepUpRequired && uri != EventSessionRevoked {
			return Claims{}, fmt.Errorf("events: %.120q is no event type of a requirement", uri)
		}
		if err := json.Unmarshal(raw, &event); err != nil {
			return Claims{}, fmt.Errorf("reading event: %w", err)
		}
		kind = uri
	}
	c := Claims{
		Issuer: w.Issuer, IssuedAt: w.IssuedAt, JTI: w.JTI, Tenant: w.Subject.Tenant.ID, User: w.Subject.User.ID,
		Status: event.Status, SatisfiedBy: event.SatisfiedBy, ClosedAt: event.ClosedAt,
		Requirement: Requirement{
			ID: event.Requirement, Action: event.Action, ACRValues: event.ACRValues, MaxAge: event.MaxAge,
			NotBefore: event.NotBefore, Expires: event.Expires, CredentialChange: event.Credential, Severity: event.Severity,
			ReasonAdmin: event.ReasonAdmin[english], ReasonUser: event.ReasonUser, Policy: event.Policy.Name,
			PolicyVersion: event.Policy.Version, Findings: event.Findings, EventID: event.EventID,
			EventTime: event.Timestamp, UserName: event.UserName,
		},
	}
	if event.Device != nil {
		c.NoncompliantDevice, c.Device = true, event.Device.ID
	}
	if w.Subject.Session != nil {
		c.Session = w.Subject.Session.ID
	}
	return c, c.check(&w.wireSet, &event, kind)
}

// check reports every contradiction in claims that were read.
func (c *Claims) check(w *wireSet, event *wireEvent, kind string) error {
	var problems []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	require(c.Issuer != "", "iss: is missing")
	require(c.JTI != "", "jti: is missing")
	require(w.Subject.Format == complexFormat, "sub_id.format: is %.40q, must be %s", w.Subject.Format, complexFormat)
	require(events.ValidTenant(c.Tenant), "sub_id.tenant.id: is %.80q, which is no tenant", c.Tenant)
	require(c.User != "" && len(c.User) <= events.MaxID, "sub_id.user.id: must have 1 to %d bytes", events.MaxID)
	require(len(c.Session) <= events.MaxID, "sub_id.session.id: must have at most %d bytes", events.MaxID)
	require(c.ID != "" && len(c.ID) <= events.MaxID, "requirement: must have 1 to %d bytes", events.MaxID)
	require(len(c.UserName) <= events.MaxID, "user_name: must have at most %d bytes", events.MaxID)
	require(len(c.Device) <= events.MaxID, "noncompliant_device.id: must have at most %d bytes", events.MaxID)
	require(w.Txn == c.ID, "txn: is %.40q, must be the requirement", w.Txn)
	require(slices.Contains(Statuses, c.Status), "status: is %.40q, must be one of %s", c.Status, Statuses)
	require(c.Action.Rank() >= events.StepUp.Rank(), "action: is %.40q, must be step_up, revoke_session or revoke_all", c.Action)
	require(c.Action != events.RevokeAll || c.Session == "", "sub_id.session: must be left out with action revoke_all")
	require(c.Action == events.RevokeAll || !c.CredentialChange, "credential_change: means nothing with action %s", c.Action)
	require(kind == c.EventType(), "action: %.40q does not belong to this event type", c.Action)
	require(c.NotBefore > 0 && c.Expires > c.NotBefore, "expires: must be after not_before, and not_before after 0")
	require(c.MaxAge >= 0, "max_age: must not be negative")
	require(c.Status == Open || c.ClosedAt > 0, "closed_at: is missing")
	switch event.Scope {
	case scopeUser:
		require(c.Session == "", "sub_id.session: must be left out with scope user")
	case scopeSession:
		require(c.Session != "", "sub_id.session: is missing with scope session")
	default:
		require(false, "scope: is %.40q, must be user or session", event.Scope)
	}
	return errors.Join(problems...)
}
