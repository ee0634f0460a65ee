package pulltest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// The harness sees what it is for.
func TestProblemsAreFound(t *testing.T) {
	t.Parallel()
	event := func(id string) events.Event { return events.Event{ID: "id-" + id, Source: events.Source{ID: id}} }
	all := []events.Event{event("a"), event("b"), event("b"), event("x")}
	for _, c := range []struct {
		o    Options
		want []string
		bad  []string
	}{
		{Options{}, []string{"id-a", "id-b", "id-c"}, []string{
			"event id-c is not on the log", "event id-b is on the log 2 times", "event id-x is on the log and was not wanted",
			`1 dead letters, want 0: ["broken"]`,
		}},
		{Options{SourceIDs: true, Repeats: true, Letters: 1}, []string{"a", "b", "x"}, nil},
		{Options{SourceIDs: true, Letters: 1}, []string{"a", "b", "x"}, []string{"event b is on the log 2 times"}},
	} {
		p := &proof{o: c.o, want: c.want}
		if d := cmp.Diff(c.bad, p.problems(all, map[string]string{"1": "broken"})); d != "" {
			t.Errorf("%+v (-want, +got):\n%s", c.o, d)
		}
	}
}
