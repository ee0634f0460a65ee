package history_test

import (
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

// The views show each thing once, with its newest status, whatever the tables hold.
func TestViewsForReports(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	ana, ben := seen("acme", "ana", 10, events.Success), seen("acme", "ben", 20, events.Failure)
	ben.Network.Classes = nil
	use := seen("acme", "ana", 30, "")
	use.Kind = events.SessionUse
	f := finding(ana, "LOC-01", events.High)
	other := finding(ben, "LOC-01", events.Low)
	other.Evidence.Sight.IP = ""
	m := mark(f, 5, events.FalsePositive)
	for range 2 {
		insertEvents(t, s, ana, ben, use)
		insertFindings(t, s, f, other)
		insertMarks(t, s, m)
		open := requirement("acme", "ana", 10, report.Open)
		done := requirement("acme", "ana", 10, report.Satisfied)
		done.Closed = done.NotBefore + 90_000
		late := requirement("acme", "ben", 20, report.Open)
		forever := requirement("acme", "eve", 30, report.Open)
		forever.Expires = events.MillisOf(time.Now().Add(time.Hour))
		insertRequirements(t, s, open, late, done, forever)
	}
	for query, want := range map[string]string{
		`SELECT arrayStringConcat(arraySort(groupArray(concatWithSeparator(' ', user_id, detection, severity, ip, country, city, app, triage, triaged_by, toString(latitude)))), '\n') FROM ${database}.v_findings`: "ana LOC-01 high 192.0.2.10 DE München app-0 false_positive " + m.By + " 48.1\nben LOC-01 low  DE München app-0 open  48.1",
		`SELECT arrayStringConcat(arraySort(groupArray(concatWithSeparator(' ', user_id, outcome, app_name, session, ip, network, arrayStringConcat(network_classes, '+'), toString(length(network_classes)), city, strength))), '\n') FROM ${database}.v_signins`: "ana success Mail session-ana 192.0.2.10 192.0.2.0/24 vpn+hosting 2 München multi\n" + //nolint:misspell // the view's name
			"ben failure Mail session-ben 192.0.2.10 192.0.2.0/24  0 München multi",
		`SELECT arrayStringConcat(arraySort(groupArray(concatWithSeparator(' ', user_id, status, action, ifNull(toString(seconds_to_satisfy), '-'), ifNull(toString(dateDiff('second', opened, closed)), '-')))), '\n') FROM ${database}.v_revocations`: "ana satisfied step_up 90 90\nben expired step_up - 3600\neve open step_up - -",
	} {
		if got, err := s.Text(t.Context(), query); err != nil || got != want {
			t.Errorf("%s\nanswers %q, %v; want %q", query, got, err, want)
		}
	}
}
