package main

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/wiring"
)

func TestSourcesAreListedWithWhatIsWrong(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 8, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) events.Millis { return events.MillisOf(now.Add(-d)) }
	list := listed([]wiring.SourceName{{Name: "okta", Format: "okta"}, {Name: "hub", Format: "entra-eventhub"}}, []pull.Status{
		{Source: "hub", Format: "entra-eventhub", Updated: ago(time.Second), LastEvent: ago(90 * time.Minute), LastSuccess: ago(5 * time.Second), Accepted: 12, Rejected: 1},
		{Source: "old", Format: "event", Updated: ago(72 * time.Hour), LastEvent: ago(72 * time.Hour), LastSuccess: ago(72 * time.Hour), Error: "answered 401", ErrorSince: ago(time.Hour)},
	})
	var out strings.Builder
	if err := printSources(&out, list, false, now); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"SOURCE FORMAT STATE LAG SEEN ACCEPTED KNOWN SKIPPED REFUSED POSITION",
		"okta okta waiting - - 0 0 0 0",
		"hub entra-eventhub ok 1h30m 5s 12 0 0 1",
		"old event failing (not configured here) 3d 3d 0 0 0 0",
		"old fails since 2026-03-04T07:00:00.000Z: answered 401",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	out.Reset()
	if err := printSources(&out, list, true, now); err != nil || strings.Count(out.String(), "\n") != 3 || !strings.Contains(out.String(), `"configured":true`) {
		t.Errorf("%s, %v", out.String(), err)
	}
}
