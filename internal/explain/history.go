package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/report"
)

// Store is the history as an explanation needs it. What is not there, or may not be seen, is [report.ErrNotFound].
type Store interface {
	Event(ctx context.Context, scope report.Scope, id string) (report.Record, error)
	Finding(ctx context.Context, scope report.Scope, id string) (json.RawMessage, error)
	EventFindings(ctx context.Context, scope report.Scope, event string) ([]report.Record, error)
	Requirement(ctx context.Context, scope report.Scope, id string, now events.Millis) (report.Requirement, error)
	Receipts(ctx context.Context, scope report.Scope, requirement string) ([]events.Receipt, error)
}

// FromHistory explains what was decided at the time. rules are the policies in force now, to show what each of them says;
// nil shows none. now tells whether a requirement has expired.
func FromHistory(ctx context.Context, store Store, scope report.Scope, id ID, rules *policy.Set, now events.Millis) (*Explanation, error) {
	if err := id.Check(); err != nil {
		return nil, err
	}
	h := history{store: store, scope: scope, now: now}
	event, err := h.eventOf(ctx, id)
	if err != nil {
		return nil, err
	}
	x := &Explanation{}
	if err := h.decision(ctx, x, event); err != nil {
		return nil, err
	}
	x.complete(rules)
	requirement := id.Requirement
	if requirement == "" && x.Decision != nil {
		requirement = x.Decision.Requirement
	}
	if requirement == "" {
		return x, nil
	}
	return x, h.requirement(ctx, x, requirement)
}

// history reads for one explanation.
type history struct {
	store Store
	scope report.Scope
	now   events.Millis
}

// eventOf is the event that the decision was on.
func (h *history) eventOf(ctx context.Context, id ID) (string, error) {
	switch {
	case id.Finding != "":
		raw, err := h.store.Finding(ctx, h.scope, id.Finding)
		if err != nil {
			return "", fmt.Errorf("looking for finding %.64q: %w", id.Finding, err)
		}
		f, err := events.DecodeFinding(raw)
		if err != nil {
			return "", fmt.Errorf("reading a finding of the history: %w", err)
		}
		return f.EventID, nil
	case id.Requirement != "":
		q, err := h.store.Requirement(ctx, h.scope, id.Requirement, h.now)
		if err != nil {
			return "", fmt.Errorf("looking for requirement %.64q: %w", id.Requirement, err)
		}
		return q.EventID, nil
	}
	return id.Event, nil
}

// decision reads an event and its findings; one of both may be gone.
func (h *history) decision(ctx context.Context, x *Explanation, event string) error {
	record, missing := h.store.Event(ctx, h.scope, event)
	if missing != nil && !errors.Is(missing, report.ErrNotFound) {
		return missing
	}
	if missing == nil {
		var err error
		if x.Event, err = events.Decode(record.Raw); err != nil {
			return fmt.Errorf("reading an event of the history: %w", err)
		}
		x.Times.Logged = record.Logged
	}
	found, err := h.store.EventFindings(ctx, h.scope, event)
	if err != nil && !errors.Is(err, report.ErrNotFound) {
		return err
	}
	for _, record := range found {
		f, err := events.DecodeFinding(record.Raw)
		if err != nil {
			return fmt.Errorf("reading a finding of the history: %w", err)
		}
		if x.Times.Decided == 0 || record.Logged < x.Times.Decided {
			x.Times.Decided = record.Logged
		}
		x.Findings = append(x.Findings, Finding{Finding: f})
	}
	if missing != nil && len(found) == 0 {
		return fmt.Errorf("looking for event %.64q: %w", event, missing)
	}
	return nil
}

// requirement reads what became of the decision.
func (h *history) requirement(ctx context.Context, x *Explanation, id string) error {
	q, err := h.store.Requirement(ctx, h.scope, id, h.now)
	if errors.Is(err, report.ErrNotFound) {
		x.Notes = append(x.Notes, "requirement "+id+" is not in the history")
		return nil
	}
	if err != nil {
		return err
	}
	x.Requirement = &q
	if x.Receipts, err = h.store.Receipts(ctx, h.scope, id); err != nil {
		return err
	}
	if q.SatisfiedBy == "" {
		return nil
	}
	record, err := h.store.Event(ctx, h.scope, q.SatisfiedBy)
	if errors.Is(err, report.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	e, err := events.Decode(record.Raw)
	if err != nil {
		return fmt.Errorf("reading an event of the history: %w", err)
	}
	x.ProvedBy = eventLines(e)
	return nil
}
