package detector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/profile"
	"github.com/countersign-io/countersign/internal/revocation"
)

// Rules are the rules in force: what is seen, and what follows from it. While a detector runs only its policies may change, between
// batches, when their file does.
type Rules struct {
	Catalogue *anomaly.Catalogue
	Policies  *policy.Set
	// Network holds the parameters of the network stage; nil when there is none.
	Network *org.Config
	// Partitions is how many the events have: each judges its part of the breakers' limits. 0 means one.
	Partitions int
}

// Version names the rules. It changes when the outcome for some input may change.
func (r Rules) Version() string {
	version := r.Catalogue.Version() + "+" + r.Policies.Version()
	if r.Network != nil {
		version += "+" + r.Network.Version()
	}
	return version
}

// User is all that is remembered of one user.
type User struct {
	Profile      *profile.Profile
	Requirements *revocation.State
}

// Tenant is what is remembered of a tenant in one partition.
type Tenant struct {
	// Context is nil until the network stage has told one.
	Context *org.Context
	// Breaker holds what a runaway policy would do to the tenant's users.
	Breaker policy.Breaker
	// prepare makes a context of what was told; nil means [org.NewContext].
	prepare func(*events.OrgContext) *org.Context
}

// Outcome is what one event led to.
type Outcome struct {
	Findings []events.Finding
	Changes  []revocation.Change
	// Sighting is for the network stage, nil when it need not know; its place on the log is not set.
	Sighting *events.Sighting
	// Score is the familiarity score of a login that has one.
	Score  float64
	Scored bool
	// Broken are policies that could not be evaluated, Tripped is why the tenant's breaker has tripped on this event.
	Broken  []string
	Tripped string
	// Erased says that nothing is remembered of the user any more.
	Erased bool
}

// Fold decides on one event and remembers it. It is the whole decision: a pure function of the rules, what is
// remembered and the event. Live, in a replay and in a test the same code runs. Of an event that concerns its tenant as a
// whole u is not touched, and may be nil.
func (r Rules) Fold(t *Tenant, u *User, e *events.Event) Outcome {
	switch {
	case policy.ResetsBreaker(e):
		t.Breaker.Reset()
		return Outcome{}
	case e.Kind == events.TenantContext:
		t.hear(e.Org)
		return Outcome{}
	case e.Kind == events.Erasure:
		*u = *NewUser()
		return Outcome{Erased: true}
	}
	seen := r.Catalogue.Evaluate(u.Profile, t.Context, e)
	out := r.decide(t, u, e, &seen)
	endSessions(u, out.Changes)
	if revoked := revoked(u, e, out.Changes); len(revoked) > 0 {
		if out.Sighting == nil {
			out.Sighting = &events.Sighting{EventID: e.ID, Tenant: e.Tenant, User: e.User.ID, Kind: e.Kind, Time: e.Time, Ingested: e.Ingested}
		}
		out.Sighting.Revoked = revoked
	}
	return out
}

// ofTenant tells an event that concerns its tenant and no user.
func ofTenant(e *events.Event) bool { return e.Kind == events.TenantContext || policy.ResetsBreaker(e) }

// hear takes a context of the network stage in, unless what is known is as new.
func (t *Tenant) hear(told *events.OrgContext) {
	if known := t.Context.Told(); known != nil && known.Until >= told.Until {
		return
	}
	if t.prepare != nil {
		t.Context = t.prepare(told)
	} else {
		t.Context = org.NewContext(told)
	}
}

// endSessions notes the sessions that changes revoke as ended when the revocation begins to hold: their use after that is a
// replay. A revocation until the person proves to be there, which names no session, ends none.
func endSessions(u *User, changes []revocation.Change) {
	for i := range changes {
		c := &changes[i].Claims
		if c.Status != revocation.Open {
			continue
		}
		at := events.Millis(c.NotBefore * events.Second)
		switch key := profile.SessionKey(c.Session); {
		case c.Action == events.RevokeAll:
			u.Profile.EndSession(0, at)
		case c.Action == events.RevokeSession && key != 0:
			u.Profile.EndSession(key, at)
		}
	}
}

// revoked are the prefixes in use in the sessions that changes revoke, and the event's own: the network stage takes back
// what it has learnt of them from the user.
func revoked(u *User, e *events.Event, changes []revocation.Change) []string {
	var prefixes []string
	for i := range changes {
		c := &changes[i].Claims
		if c.Status != revocation.Open || c.Action != events.RevokeSession && c.Action != events.RevokeAll {
			continue
		}
		key := profile.SessionKey(c.Session)
		for k := range u.Profile.Sessions {
			s := &u.Profile.Sessions[k]
			if c.Action == events.RevokeAll || key == 0 || s.Key == key {
				prefixes = append(prefixes, s.Start.IP.Prefix(), s.Last.IP.Prefix())
			}
		}
		prefixes = append(prefixes, e.Network.Prefix)
	}
	slices.Sort(prefixes)
	prefixes = slices.Compact(prefixes)
	if len(prefixes) > 0 && prefixes[0] == "" {
		prefixes = prefixes[1:]
	}
	return prefixes
}

// The encoded user: a format byte, the profile's length, the profile, the requirements.
const userFormat = 1

// ErrUserFormat is returned for state that this version cannot read.
var ErrUserFormat = errors.New("unknown format of user state, written by another version of countersign")

// NewUser returns a user of whom nothing is known.
func NewUser() *User {
	return &User{Profile: profile.New(), Requirements: revocation.NewState()}
}

// AppendBinary appends the encoded user to b.
func (u *User) AppendBinary(b []byte) []byte {
	b = append(b, userFormat)
	// The length goes before what it measures: reserve the usual two bytes, move when the profile needs another number.
	at := len(b)
	b = append(b, 0, 0)
	b = u.Profile.AppendBinary(b)
	size := len(b) - at - 2
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(size))
	if n != 2 {
		b = append(b[:at], append(length[:n:n], b[at+2:]...)...)
	} else {
		copy(b[at:], length[:n])
	}
	return u.Requirements.AppendBinary(b)
}

// DecodeUser reads what AppendBinary wrote.
func DecodeUser(b []byte) (*User, error) {
	u := NewUser()
	if len(b) == 0 {
		return u, nil
	}
	if b[0] != userFormat {
		return nil, fmt.Errorf("%w: %d", ErrUserFormat, b[0])
	}
	size, n := binary.Uvarint(b[1:])
	if n <= 0 || size > uint64(len(b)-1-n) {
		return nil, fmt.Errorf("reading user state: profile of %d bytes in %d", size, len(b))
	}
	encoded, rest := b[1+n:1+n+int(size)], b[1+n+int(size):]
	var err error
	if u.Profile, err = profile.Decode(encoded); err != nil {
		return nil, fmt.Errorf("reading a profile: %w", err)
	}
	if u.Requirements, err = revocation.DecodeState(rest); err != nil {
		return nil, fmt.Errorf("reading requirements: %w", err)
	}
	return u, nil
}
