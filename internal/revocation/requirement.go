package revocation

import (
	"slices"

	"github.com/countersign-io/countersign/internal/events"
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
	Severity  events.Severity
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
}

// Cause is one finding behind a requirement.
type Cause struct {
	ID        string          `json:"id"`
	Detection string          `json:"detection"`
	Severity  events.Severity `json:"severity"`
	Summary   string          `json:"summary,omitempty"`
}

// The strengths that well-known authentication context classes stand for (OpenID EAP ACR values, and the short name that
// providers use for several factors). Any other class has to be named by the proof itself.
func strengthOf(acr string) events.Strength {
	switch acr {
	case "phr", "phrh":
		return events.PhishingResistant
	case "mfa":
		return events.MultiFactor
	}
	return ""
}

// proof is what an event says about who is there: how strongly that was proved, and when.
type proof struct {
	time     events.Millis // 0 when the event tells of no proof
	acr      string
	strength int
}

// proofOf reads the proof out of an event. A second factor that was only carried over from an earlier sign-in is no new
// proof unless the source says when it was made.
func proofOf(e *events.Event) proof {
	p := proof{acr: e.Auth.ACR}
	switch {
	case e.Auth.Time != 0:
		p.time = min(e.Auth.Time, clock(e)) // nobody has proved anything tomorrow
	case e.Kind == events.SignIn && e.Interactive == events.Yes:
		p.time = e.Time
	}
	p.strength = max(e.Auth.Strength.Rank(), strengthOf(e.Auth.ACR).Rank())
	if e.Auth.MFA == events.MFAPerformed {
		p.strength = max(p.strength, events.MultiFactor.Rank())
	}
	if e.Auth.MFA == events.MFAByClaim && e.Auth.Time == 0 {
		p.strength, p.acr = min(p.strength, events.SingleFactor.Rank()), ""
	}
	return p
}

// meets reports whether a proof is what a requirement asks for.
func (p proof) meets(r *Requirement) bool {
	if p.time == 0 || int64(p.time) < r.NotBefore*events.Second {
		return false
	}
	if len(r.ACRValues) == 0 {
		return true
	}
	for _, wanted := range r.ACRValues {
		if wanted == p.acr {
			return true
		}
		if s := strengthOf(wanted); s != "" && p.strength >= s.Rank() {
			return true
		}
	}
	return false
}

// dead reports whether the requirement is a revoked session, which nothing brings back.
func (r *Requirement) dead() bool { return r.Action == events.RevokeSession && r.Session != "" }

// binds reports whether the requirement stands in the way of a session in which p is the latest proof.
func (r *Requirement) binds(session string, p proof) bool {
	if r.Session != "" && r.Session != session {
		return false
	}
	return r.dead() || !p.meets(r)
}

// asksForAtLeast reports whether every proof that is enough for the classes have is enough for the classes want.
func asksForAtLeast(have, want []string) bool {
	if len(want) == 0 {
		return true
	}
	if len(have) == 0 {
		return false
	}
	for _, v := range have {
		enough := slices.ContainsFunc(want, func(w string) bool {
			least := strengthOf(w)
			return v == w || least != "" && strengthOf(v).Rank() >= least.Rank()
		})
		if !enough {
			return false
		}
	}
	return true
}

// clock is the moment of an event: when it was accepted, or when it happened if that is later or all that is known.
func clock(e *events.Event) events.Millis { return max(e.Time, e.Ingested) }

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
