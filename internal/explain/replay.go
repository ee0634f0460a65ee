package explain

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-io/countersign/internal/backtest"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/revocation"
)

// FromEvents decides anew: it folds events with rules up to the one that is asked for, and on until what its decision
// opened has ended. progress, which may be nil, is told how much was read.
func FromEvents(ctx context.Context, source backtest.Source, id ID, rules detector.Rules, progress func(done float64)) (*Explanation, error) {
	if err := id.Check(); err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(float64) {}
	}
	f := &follower{id: id, engine: detector.NewEngine(rules), opened: map[string]report.Requirement{}}
	problems, err := source.Replay(ctx, backtest.Query{}, func(e *events.Event) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return f.take(e)
	}, progress)
	switch {
	case errors.Is(err, errEnd):
	case err != nil:
		return nil, fmt.Errorf("replaying events: %w", err)
	}
	x := f.found
	if x == nil {
		return nil, fmt.Errorf("looking for %s in the events: %w", id, report.ErrNotFound)
	}
	if problems.Count > 0 {
		x.Notes = append(x.Notes, fmt.Sprintf("%d records of the input are no events and were left out", problems.Count))
	}
	x.complete(rules.Policies)
	return x, nil
}

// errEnd ends the reading when nothing more can be learned.
var errEnd = errors.New("seen enough")

// follower looks for a decision, and then for the end of what it required.
type follower struct {
	id     ID
	engine *detector.Engine
	found  *Explanation
	// requirement is the one to follow, "" when there is none; opened are all until the decision is found: it may be one that
	// was there already.
	requirement string
	opened      map[string]report.Requirement
}

func (f *follower) take(e *events.Event) error {
	if e.Kind.Internal() && e.Kind != events.Erasure && !policy.ResetsBreaker(e) {
		return nil // concluded anew; a reset and an erasure are a person's doing
	}
	for _, d := range f.engine.Decide(e) {
		if f.found == nil && f.wanted(d.Event, &d.Outcome) {
			f.keep(d.Event, &d.Outcome)
		}
		f.follow(d.Event, &d.Outcome)
	}
	if f.found != nil && (f.requirement == "" || f.found.Requirement != nil && f.found.Requirement.Status != report.Open) {
		return errEnd
	}
	return nil
}

// wanted tells whether this is the decision that is asked for.
func (f *follower) wanted(e *events.Event, o *detector.Outcome) bool {
	if e.ID == f.id.Event {
		return true
	}
	for i := range o.Findings {
		if o.Findings[i].ID == f.id.Finding {
			return true
		}
	}
	for i := range o.Changes {
		if c := &o.Changes[i].Claims; c.ID == f.id.Requirement && c.Status == revocation.Open {
			return true
		}
	}
	return false
}

func (f *follower) keep(e *events.Event, o *detector.Outcome) {
	f.found, f.requirement = &Explanation{Event: e}, f.id.Requirement
	for i := range o.Findings {
		f.found.Findings = append(f.found.Findings, Finding{Finding: &o.Findings[i]})
		if d := o.Findings[i].Decision; d != nil && f.requirement == "" {
			f.requirement = d.Requirement
		}
	}
}

// follow notes what becomes of requirements.
func (f *follower) follow(e *events.Event, o *detector.Outcome) {
	for i := range o.Changes {
		c := &o.Changes[i].Claims
		q := report.RequirementOf(c, nil)
		switch {
		case f.found == nil && q.Status == report.Open:
			f.opened[q.ID] = q
		case f.found == nil:
			delete(f.opened, q.ID)
		case q.ID == f.requirement:
			f.found.Requirement = &q
			if q.Status == report.Satisfied {
				f.found.ProvedBy = eventLines(e)
			}
		}
	}
	if f.found != nil && f.found.Requirement == nil {
		if q, open := f.opened[f.requirement]; open {
			f.found.Requirement = &q
		}
	}
}
