package revocation

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
)

// Status is where a requirement is in its life.
type Status string

// The statuses.
const (
	Open      Status = "open"
	Satisfied Status = "satisfied"
	Expired   Status = "expired"
)

// Statuses lists every status.
var Statuses = []Status{Open, Satisfied, Expired}

// Requirement is what applications have to enforce, and why. Times are seconds since the Unix epoch.
type Requirement struct {
	// ID is derived from subject, session, policy and the event that caused it.
	ID     string
	Action events.Action
	// Session is the session that is bound; "" binds every session of the user.
	Session string
	// ACRValues are the authentication context classes one of which is enough, best first. MaxAge is the greatest age of
	// the proof to ask for, in seconds.
	ACRValues []string
	MaxAge    int
	// NotBefore is the first second in which a proof counts; Expires is when the requirement ends by itself.
	NotBefore int64
	Expires   int64
	// CredentialChange is set while the user has to change the credential before any proof counts.
	CredentialChange bool
	Severity         events.Severity
	// ReasonAdmin is for the people who run the system, ReasonUser for the user, by language.
	ReasonAdmin string
	ReasonUser  map[string]string
	// Policy and PolicyVersion decided.
	Policy        string
	PolicyVersion string
	Findings      []Cause
	// EventID is the event that caused it, EventTime when that happened.
	EventID   string
	EventTime int64
	// UserName is the user's login name as the provider shows it, "" when unknown: receivers that know no ids want it.
	UserName string
	// NoncompliantDevice is set when that event came from a device that is known not to be compliant; Device is its id at the
	// identity provider, "" when unknown.
	NoncompliantDevice bool
	Device             string
}

// Cause is one finding behind a requirement.
type Cause struct {
	ID        string          `json:"id"`
	Detection string          `json:"detection"`
	Severity  events.Severity `json:"severity"`
	Summary   string          `json:"summary,omitempty"`
}

// meets reports whether a proof is what a requirement asks for.
func meets(p policy.Proof, r *Requirement) bool {
	return p.Time != 0 && int64(p.Time) >= r.NotBefore*events.Second && p.Enough(r.ACRValues)
}

// dead reports whether the requirement is a revoked session, which nothing brings back.
func (r *Requirement) dead() bool { return r.Action == events.RevokeSession && r.Session != "" }

// binds reports whether the requirement stands in the way of a session in which p is the latest proof.
func (r *Requirement) binds(session string, p policy.Proof) bool {
	if r.Session != "" && r.Session != session {
		return false
	}
	return r.dead() || r.CredentialChange || !meets(p, r)
}

// issued is the second that claims caused by an event carry, never later than the moment itself.
func issued(e *events.Event) int64 {
	if e.Ingested != 0 {
		return floor(e.Ingested)
	}
	return floor(e.Time)
}

func floor(m events.Millis) int64 {
	s := int64(m) / events.Second
	if int64(m)%events.Second < 0 {
		s--
	}
	return s
}
