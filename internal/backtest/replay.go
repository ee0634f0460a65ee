package backtest

import (
	"context"
	"fmt"
	"math/bits"
	"strings"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/report"
)

// replay is a backtest that is under way.
type replay struct {
	o        *Options
	from     events.Millis // of what is reported; 0 until the first event when that is where it begins
	first    events.Millis // the earliest and the latest event that is reported
	last     events.Millis
	events   uint64
	warmUp   uint64
	internal uint64
	missing  uint64 // recorded decisions on events that the source has no more

	names    intern
	users    map[string]*user
	byDay    map[int64]*day
	new, old *tally
	engines  []engine
}

// engine is one engine and where its decisions are counted.
type engine struct {
	*detector.Engine
	to *tally
}

// user is what is kept of one user.
type user struct {
	tenant, id, name string
	// weeks are those, counted from the first day, in which the user did something.
	weeks    [1 + maxWeeks/64]uint64
	new, old Counts
}

const maxWeeks = MaxSpan/(7*events.Day) + 2

type day struct {
	events   uint64
	new, old Counts
}

func newReplay(o *Options) *replay {
	r := &replay{o: o, from: o.From, users: map[string]*user{}, byDay: map[int64]*day{}, new: newTally(), old: newTally()}
	r.engines = []engine{{detector.NewEngine(o.New.Rules), r.new}}
	if o.Baseline != nil {
		r.engines = append(r.engines, engine{detector.NewEngine(o.Baseline.Rules), r.old})
	}
	return r
}

// take replays one event.
func (r *replay) take(e *events.Event) error {
	if policy.ResetsBreaker(e) || e.Kind == events.Erasure {
		for i := range r.engines {
			r.engines[i].Decide(e) // a person's doing
		}
		return nil
	}
	if e.Kind.Internal() {
		r.internal++
		return nil
	}
	if r.from == 0 {
		r.from = e.Time - e.Time%events.Day
	}
	reported := e.Time >= r.from || r.o.From == 0
	if reported {
		if e.Time >= r.from+MaxSpan || e.Time < r.from-MaxSpan {
			return fmt.Errorf("the event %s of %v is more than %d days from the first one, ask for a span", e.ID, e.Time, MaxSpan/events.Day)
		}
		r.seen(e)
	} else {
		r.warmUp++
	}
	for i := range r.engines {
		g := &r.engines[i]
		for _, d := range g.Decide(e) {
			if d.Outcome.Tripped != "" {
				g.to.trip(d.Event, d.Outcome.Tripped) // also in the warm-up: it holds until a person resets it
			}
			if d.Event.Time < r.from && r.o.From != 0 {
				continue
			}
			if err := r.outcome(g.to, d.Event, &d.Outcome); err != nil {
				return err
			}
		}
	}
	return nil
}

// seen counts an event that is reported.
func (r *replay) seen(e *events.Event) {
	r.events++
	if r.first == 0 || e.Time < r.first {
		r.first = e.Time
	}
	r.last = max(r.last, e.Time)
	u := r.user(e.Tenant, e.User)
	week := r.week(e.Time)
	u.weeks[week/64] |= 1 << (week % 64)
	r.day(e.Time).events++
}

// week counts from the beginning of what is reported. A late event from before it is of the first.
func (r *replay) week(at events.Millis) int { return int(max(at-r.from, 0) / (7 * events.Day)) }

func (r *replay) day(at events.Millis) *day {
	n := int64(at) / events.Day
	d := r.byDay[n]
	if d == nil {
		d = &day{}
		r.byDay[n] = d
	}
	return d
}

func (r *replay) user(tenant string, who events.User) *user {
	key := events.Key(tenant, who.ID)
	u := r.users[key]
	if u == nil {
		// Not parts of the event's text, which would be kept as a whole.
		u = &user{tenant: r.names.of(tenant), id: key[len(tenant)+1:]}
		r.users[key] = u
	}
	if who.Name != "" {
		u.name = r.names.of(who.Name)
	}
	return u
}

// outcome counts what a side made of one event.
func (r *replay) outcome(t *tally, e *events.Event, o *detector.Outcome) error {
	for i := range o.Changes {
		t.change(&o.Changes[i].Claims)
	}
	for i := range o.Findings {
		t.finding(&o.Findings[i])
	}
	for _, problem := range o.Broken {
		t.broken(problem)
	}
	// All findings of an event carry its decision; one that no detection called for has a finding of its own.
	if len(o.Findings) == 0 || o.Findings[0].Decision == nil || o.Findings[0].Decision.Policy == "" {
		return nil
	}
	return r.decided(t, identity(e.ID, o.Findings), e.Tenant, e.User, e.Time, o.Findings, o.Findings[0].Decision, e.ID)
}

// identity is by what a decision is found on the other side: the event it is on. Verdicts are concluded anew, so that
// those of one source about one user on one day are taken for the same.
func identity(event string, findings []events.Finding) string {
	for i := range findings {
		if v := findings[i].Evidence.Verdict; v != nil && v.Detection == findings[i].Detection {
			f := &findings[i]
			return events.ID("verdict", f.Tenant, f.User.ID, v.Detection, v.Source, fmt.Sprint(f.Time/events.Day))
		}
	}
	return event
}

// decided keeps and counts one decision of one side.
func (r *replay) decided(t *tally, id, tenant string, who events.User, at events.Millis, findings []events.Finding, d *events.Decision, event string) error {
	if _, known := t.decisions[id]; known {
		return nil
	}
	if len(t.decisions) == MaxDecisions {
		return fmt.Errorf("policies match more than %d events, %w", MaxDecisions, ErrTooMany)
	}
	u := r.user(tenant, who)
	id = strings.Clone(id)
	j := judged{
		at: at, user: u, event: id, week: r.week(at), policy: r.names.of(d.Policy), version: r.names.of(d.Version), action: d.Action,
		observed: d.Observed, held: d.Held, cooling: d.Cooling, covered: d.Covered, requirement: strings.Clone(d.Requirement),
	}
	if event != id { // nearly never
		j.event = strings.Clone(event)
	}
	j.detections = r.names.of(detections(findings))
	other := r.old
	if t == r.old {
		other = r.new
	}
	if alike, both := other.decisions[id]; both && alike.effect() == j.effect() {
		alike.summary = ""
		other.decisions[id] = alike
	} else if j.effect() != "" {
		j.summary = summary(findings)
	}
	t.decisions[id] = j
	to := &u.new
	onDay := &r.day(at).new
	if t == r.old {
		to, onDay = &u.old, &r.day(at).old
	}
	to.add(&j)
	onDay.add(&j)
	t.total.add(&j)
	if t.byPolicy[j.policy] == nil {
		t.byPolicy[j.policy] = &Counts{}
	}
	t.byPolicy[j.policy].add(&j)
	return nil
}

// recorded counts what was decided at the time.
func (r *replay) recorded(ctx context.Context, source Recorder) error {
	q := Query{Tenant: r.o.Tenant, From: r.from, To: r.o.To}
	var event []events.Finding // those of one event
	flush := func() error {
		defer func() { event = event[:0] }()
		if len(event) == 0 {
			return nil
		}
		f := &event[0]
		if f.Time < r.first {
			r.missing++ // its event is gone
			return nil
		}
		for i := range event {
			r.old.finding(&event[i])
		}
		if f.Decision == nil || f.Decision.Policy == "" {
			return nil
		}
		return r.decided(r.old, identity(f.EventID, event), f.Tenant, f.User, f.Time, event, f.Decision, f.EventID)
	}
	err := source.Findings(ctx, q, func(f *events.Finding) error {
		if len(event) > 0 && event[0].EventID != f.EventID {
			if err := flush(); err != nil {
				return err
			}
		}
		event = append(event, *f)
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return fmt.Errorf("reading what was decided: %w", err)
	}
	err = source.Requirements(ctx, q, func(q *report.Requirement) error {
		r.old.requirement(q)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading what was required: %w", err)
	}
	return nil
}

// intern keeps one copy of texts that repeat.
type intern map[string]string

func (n *intern) of(s string) string {
	if kept, ok := (*n)[s]; ok {
		return kept
	}
	if *n == nil {
		*n = intern{}
	}
	s = strings.Clone(s)
	(*n)[s] = s
	return s
}

// active is in how many weeks the user did anything.
func (u *user) active() uint64 {
	n := 0
	for _, w := range u.weeks {
		n += bits.OnesCount64(w)
	}
	return uint64(n)
}
