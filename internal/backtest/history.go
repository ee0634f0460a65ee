package backtest

import (
	"context"
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// Store is the history as a backtest needs it.
type Store interface {
	// Replay gives take every event of the span in the order of the log; the bytes are valid during the call.
	Replay(ctx context.Context, q report.ReplayQuery, take func(raw []byte) error, progress func(done float64)) error
	// Findings and Requirements answer page by page, newest first.
	Findings(ctx context.Context, q report.FindingQuery) (report.FindingPage, error)
	Requirements(ctx context.Context, q report.RequirementQuery) (report.RequirementPage, error)
}

// History is the source of what happened and what was decided.
type History struct {
	Store Store
	// Scope is what may be read.
	Scope report.Scope
}

var _ Recorder = History{}

// pageSize is how many findings or requirements are asked for at once.
const pageSize = 5000

// Replay reads the events in the order of the log.
func (h History) Replay(ctx context.Context, q Query, take func(*events.Event) error, progress func(done float64)) (Problems, error) {
	var problems Problems
	err := h.Store.Replay(ctx, report.ReplayQuery{Scope: h.Scope.Narrow(q.Tenant), Span: report.Span{From: q.From, To: q.To}}, func(raw []byte) error {
		e, err := events.Decode(raw)
		if err != nil {
			// The archiver decoded it once; a row that somebody changed must not end the work.
			return problems.add(0, fmt.Errorf("reading an event of the history: %w", err))
		}
		return take(e)
	}, progress)
	return problems, err
}

// Findings reads what was found, a day at a time, so that no question is long.
func (h History) Findings(ctx context.Context, q Query, take func(*events.Finding) error) error {
	return h.days(ctx, q, func(scope report.Scope, span report.Span) error {
		var of events.Millis // the time of the findings in same
		var same []*events.Finding
		flush := func() error {
			defer func() { same = same[:0] }()
			return byEvent(same, take)
		}
		for after := (report.Cursor{}); ; {
			page, err := h.Store.Findings(ctx, report.FindingQuery{Scope: scope, Span: span, After: after, Limit: pageSize})
			if err != nil {
				return err
			}
			for _, raw := range page.Findings {
				f, err := events.DecodeFinding(raw)
				if err != nil {
					return fmt.Errorf("reading a finding of the history: %w", err)
				}
				if f.Time != of {
					if err := flush(); err != nil {
						return err
					}
					of = f.Time
				}
				same = append(same, f)
			}
			if page.Next == nil {
				return flush()
			}
			after = *page.Next
		}
	})
}

// byEvent hands over findings of one moment, those of one event after one another.
func byEvent(list []*events.Finding, take func(*events.Finding) error) error {
	for i, f := range list {
		if f == nil {
			continue
		}
		for k := i; k < len(list); k++ {
			if list[k] == nil || list[k].EventID != f.EventID {
				continue
			}
			same := list[k]
			list[k] = nil
			if err := take(same); err != nil {
				return err
			}
		}
	}
	return nil
}

// Requirements reads what was required, a day at a time.
func (h History) Requirements(ctx context.Context, q Query, take func(*report.Requirement) error) error {
	return h.days(ctx, q, func(scope report.Scope, span report.Span) error {
		for after := (report.Cursor{}); ; {
			page, err := h.Store.Requirements(ctx, report.RequirementQuery{Scope: scope, Span: span, Now: q.To, After: after, Limit: pageSize})
			if err != nil {
				return err
			}
			for i := range page.Requirements {
				if err := take(&page.Requirements[i]); err != nil {
					return err
				}
			}
			if page.Next == nil {
				return nil
			}
			after = *page.Next
		}
	})
}

// days calls ask for every day of a span.
func (h History) days(ctx context.Context, q Query, ask func(report.Scope, report.Span) error) error {
	scope := h.Scope.Narrow(q.Tenant)
	for from := q.From; from < q.To; {
		to := min(from-from%events.Day+events.Day, q.To)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := ask(scope, report.Span{From: from, To: to}); err != nil {
			return err
		}
		from = to
	}
	return nil
}
