package eval

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/eval/report"
	"github.com/countersign-io/countersign/internal/eval/score"
	"github.com/countersign-io/countersign/internal/events"
)

// TestStreamLaws counts what was found, and leaves out only what was seen and recorded while the user was being learned.
func TestStreamLaws(t *testing.T) {
	t.Parallel()
	type alert struct {
		rule        string
		severity    events.Severity
		disposition events.Disposition
	}
	const learning = events.Learning
	r := &run{truth: score.NewTruth()}
	r.ledger = score.NewLedger(r.truth)
	for i, alerts := range [][]alert{
		{{"LOC-01", events.High, events.Active}},
		{{"LOC-01", events.High, learning}, {"LOC-03", events.High, events.Active}}, // learned meanwhile
		{{"LOC-01", events.High, learning}, {"SES-06", events.High, events.Active}},
		{{"FAM-01", events.High, learning}},          // nothing about journeys was seen
		{{"LOC-01", events.High, events.Suppressed}}, // seen, and explained away
		{{"LOC-01", events.Low, events.Active}},
		nil,
	} {
		e := events.Event{
			ID: fmt.Sprintf("e%d", i), Kind: events.SignIn, Tenant: "acme", User: events.User{ID: fmt.Sprintf("u%d", i)}, Time: lawStart, Ingested: lawStart,
			Outcome: events.Success,
		}
		r.truth.See(&e, company.Label{EventID: e.ID, Attack: company.BackAndForth, Incident: i + 1})
		for _, a := range alerts {
			r.ledger.Raise(score.Alert{
				Detection: a.rule, Severity: a.severity, Disposition: a.disposition, Tenant: e.Tenant, User: e.User.ID, EventID: e.ID, Time: e.Time,
			})
		}
	}
	r.truth.Close()
	want := []report.Law{{Name: "stream_back_and_forth", Must: true, Cases: 6, Found: 2, Learning: 1}}
	if diff := cmp.Diff(want, r.streamLaws()); diff != "" {
		t.Error(diff)
	}
}
