package profile

import (
	"cmp"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// Limits of what is remembered of attacks and findings.
const (
	MaxAttacked   = 8
	MaxRaised     = 16
	MaxSuspicions = 8 // of all kinds
	MaxChanges    = 4
)

// Attacked is that somebody attacked this user: a verdict of the network stage, or CRD-01 or CRD-02.
type Attacked struct {
	Detection Detection
	// Source is the [Hash] of what is guilty, such as "ip 192.0.2.1", 0 when nothing single is; Incident that of the firing.
	Source, Incident uint64
	Time             events.Millis
	// Told is the rank of the gravest severity as which a success after it was reported, 0 for none; at most 7.
	Told uint8
	// Observed attacks are of a detection that is only watched: they are remembered so that they are not told again and again, and
	// nothing builds on them.
	Observed bool
}

func (a Attacked) when() events.Millis { return a.Time }

// AddAttacked notes an attack; what the same incident told before of the same source is replaced if it is older.
func (p *Profile) AddAttacked(a Attacked, keep events.Millis) {
	ring := p.Attacked
	i := slices.IndexFunc(ring, func(b Attacked) bool {
		return b.Detection == a.Detection && b.Source == a.Source && b.Incident == a.Incident
	})
	if i >= 0 {
		a.Time, a.Told = max(a.Time, ring[i].Time), max(a.Told, ring[i].Told)
		ring = without(ring, i)
	}
	p.Attacked = insert(ring, a, MaxAttacked, keep)
}

// Raised is an active finding of medium severity or more, or a provider's word that supports one.
type Raised struct {
	Detection Detection
	// Severity is the rank of its severity, at most 7.
	Severity uint8
	Time     events.Millis
	Event    ID
	// Observed findings are of a detection that is only watched: they are remembered so that they are not told again and again,
	// and nothing builds on them.
	Observed bool
	// Tried findings are of an attempt that failed: whoever made it need not be in.
	Tried bool
	// Session is its key; Flow and IP are as in [Attempt]. 0 is unknown.
	Session  uint64
	Flow, IP uint32
}

func (r Raised) when() events.Millis { return r.Time }

// AddRaised notes a finding. One of the same detection and event replaces the former.
func (p *Profile) AddRaised(r Raised, keep events.Millis) {
	ring := p.Raised
	if i := slices.IndexFunc(ring, func(b Raised) bool { return b.Detection == r.Detection && b.Event == r.Event }); i >= 0 {
		ring = without(ring, i)
	}
	p.Raised = insert(ring, r, MaxRaised, keep)
}

// Suspicion is a sign-in that looks as if somebody sat in the middle of it; it is worth nothing alone. See AIT-01.
type Suspicion struct {
	Point
	Session uint64
	// Kind tells what is suspicious; see the constants.
	Kind SuspicionKind
}

// SuspicionKind is why a sign-in is suspicious.
type SuspicionKind uint8

// The kinds of suspicions. Their numbers are on the log: never renumber; 2 was one.
const (
	// RelayedSignIn is one from a hosting network and an unmanaged device with the second factor satisfied.
	RelayedSignIn SuspicionKind = 1
	// FlowStep is no suspicion but a step of a flow that is not over: Session is the [Hash] of its correlation id.
	FlowStep SuspicionKind = 3
)

func (s Suspicion) when() events.Millis { return s.Time }

// maxOfKind is how many suspicions of one kind are remembered, so that those that are many do not drive the others out.
const maxOfKind = MaxSuspicions / 2

// AddSuspicion notes a suspicion, and drops those of its kind more than keep before the newest.
func (p *Profile) AddSuspicion(s Suspicion, keep events.Millis) {
	var same, others []Suspicion
	for _, k := range p.Suspicions {
		if k.Kind == s.Kind {
			same = append(same, k)
		} else {
			others = append(others, k)
		}
	}
	p.Suspicions = append(insert(same, s, maxOfKind, keep), others...)
	slices.SortStableFunc(p.Suspicions, func(a, b Suspicion) int { return cmp.Compare(a.Time, b.Time) })
	p.Suspicions = p.Suspicions[max(0, len(p.Suspicions)-MaxSuspicions):]
}

// Change is a change of the account, remembered so that a sequence is seen in whichever order its events come.
type Change struct {
	Time   events.Millis
	Type   events.ChangeType
	Action events.ChangeAction
	Event  ID
}

func (c Change) when() events.Millis { return c.Time }

// AddChange notes a change of the account.
func (p *Profile) AddChange(c Change, keep events.Millis) {
	c.Type, c.Action = changeTypes.name(changeTypes.code(c.Type)), changeActions.name(changeActions.code(c.Action))
	p.Changes = insert(p.Changes, c, MaxChanges, keep)
}
