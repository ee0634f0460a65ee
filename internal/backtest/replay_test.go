package backtest

import (
	"context"
	"errors"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// TestVerdictsAreKnownByWhatTheySay: the network stage concludes anew, with other ids.
func TestVerdictsAreKnownByWhatTheySay(t *testing.T) {
	t.Parallel()
	found := func(user, source string, at events.Millis) []events.Finding {
		v := &events.Verdict{Detection: "CRD-03", Source: source}
		return []events.Finding{
			{Detection: "LOC-01", Tenant: "acme", User: events.User{ID: user}, Time: at},
			{Detection: "CRD-03", Tenant: "acme", User: events.User{ID: user}, Time: at, Evidence: events.Evidence{Verdict: v}},
		}
	}
	one := identity("event 1", found("u1", "ip 192.0.2.1", 1000))
	if again := identity("event 2", found("u1", "ip 192.0.2.1", 2000)); again != one {
		t.Error("the same verdict is another one")
	}
	for name, other := range map[string]string{
		"source": identity("event 1", found("u1", "ip 192.0.2.2", 1000)), "user": identity("event 1", found("u2", "ip 192.0.2.1", 1000)),
		"day": identity("event 1", found("u1", "ip 192.0.2.1", 1000+events.Day)), "event": identity("event 1", found("u1", "", 0)[:1]),
	} {
		if other == one {
			t.Errorf("another %s is taken for the same verdict", name)
		}
	}
	if got := identity("event 1", nil); got != "event 1" {
		t.Errorf("an event without verdict is %s", got)
	}
}

// Summaries are kept of what may be listed only: most decisions are alike on both sides.
func TestSummariesAreKeptOfDifferences(t *testing.T) {
	t.Parallel()
	findings := []events.Finding{{Detection: "LOC-01", Severity: events.High, Disposition: events.Active, Summary: "Utrecht to Tokyo"}}
	for _, c := range []struct {
		would, was       events.Action
		keepNew, keepOld bool
	}{
		{events.StepUp, events.StepUp, false, false},
		{events.StepUp, events.Notify, true, true},
		{events.StepUp, events.Observe, true, false},
		{events.Observe, events.StepUp, false, true},
		{events.Observe, events.Observe, false, false},
		{events.StepUp, "", true, false},
		{"", events.StepUp, false, true},
	} {
		for _, newFirst := range []bool{true, false} {
			r := &replay{o: &Options{}, users: map[string]*user{}, byDay: map[int64]*day{}, new: newTally(), old: newTally()}
			sides := []struct {
				*tally
				action events.Action
			}{{r.new, c.would}, {r.old, c.was}}
			if !newFirst {
				sides[0], sides[1] = sides[1], sides[0]
			}
			for _, side := range sides {
				if side.action == "" {
					continue
				}
				d := &events.Decision{Policy: "p", Action: side.action}
				if err := r.decided(side.tally, "e", "acme", events.User{ID: "u1"}, events.Day, findings, d, "e"); err != nil {
					t.Fatal(err)
				}
			}
			if got := r.new.decisions["e"].summary != ""; got != c.keepNew {
				t.Errorf("%s -> %s: the new one's summary is kept: %v", c.was, c.would, got)
			}
			if got := r.old.decisions["e"].summary != ""; got != c.keepOld {
				t.Errorf("%s -> %s: the old one's summary is kept: %v", c.was, c.would, got)
			}
		}
	}
}

// junk is a history whose rows somebody has changed.
type junk struct {
	Store
	rows int
}

func (j junk) Replay(_ context.Context, _ report.ReplayQuery, take func([]byte) error, _ func(float64)) error {
	for range j.rows {
		if err := take([]byte("{")); err != nil {
			return err
		}
	}
	return nil
}

func TestBrokenRowsOfTheHistoryAreLimited(t *testing.T) {
	t.Parallel()
	for rows, broken := range map[int]bool{maxBroken: false, maxBroken + 1: true, 10 * maxBroken: true} {
		problems, err := History{Store: junk{rows: rows}}.Replay(t.Context(), Query{}, nil, nil)
		if errors.Is(err, ErrBroken) != broken || problems.Count != min(rows, maxBroken+1) || len(problems.First) != maxProblems {
			t.Errorf("%d rows: %v, %d problems, %d shown", rows, err, problems.Count, len(problems.First))
		}
	}
}
