package ocsf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// FuzzEvents holds the decoder to its laws: a value of one record gives one answer, an event is of the classes that are
// decoded and fits the limits that ingest refuses beyond, absent means absent, and the same bytes give the same event.
func FuzzEvents(f *testing.F) {
	f.Add(write(f, nil))
	f.Add(write(f, all(as(2), set("session", nil))))
	f.Add(write(f, all(kinds(11, 10), set("is_mfa", true), set("metadata.uid", nil))))
	f.Add(write(f, all(set("class_uid", 3001), set("activity_id", 10), kinds(9))))
	f.Add(`[{"class_uid":3002,"time":1,"user":{"name":"x"}},{"class_uid":1},5]`)
	f.Add(`{"Records":[{"type_uid":300201,"time_dt":"2026-03-04T08:15:35Z","actor":{"user":{"uid":"u"}}}]}`)
	f.Fuzz(func(t *testing.T, value string) {
		first := decodeAll(value)
		if diff := cmp.Diff(first, decodeAll(value), cmp.AllowUnexported(result{}), cmp.Comparer(sameError)); diff != "" {
			t.Errorf("decoded twice: %s", diff)
		}
		for _, r := range first {
			if len(r.record) > len(value) || (r.event == nil) == (r.err == nil) {
				t.Fatalf("%d bytes of %d, event %v, error %v", len(r.record), len(value), r.event, r.err)
			}
			if r.event != nil {
				checkLaws(t, r.event)
			}
		}
	})
}

func sameError(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Error() == b.Error()
}

func checkLaws(t *testing.T, e *events.Event) {
	t.Helper()
	if e.Kind != events.SignIn && e.Kind != events.SignOut && e.Kind != events.AccountChange {
		t.Errorf("kind %q", e.Kind)
	}
	if e.Source.Family != Family || e.Source.ID == "" || e.User.ID == "" || e.Time == 0 {
		t.Errorf("no identity or time: %+v", e)
	}
	if e.Auth.Strength != "" && e.Outcome != events.Success {
		t.Errorf("strength %q of an attempt that is %q", e.Auth.Strength, e.Outcome)
	}
	if e.User.Type == events.Unresolved && !strings.HasPrefix(e.User.ID, "name:") && !strings.HasPrefix(e.User.ID, "hash:") {
		t.Errorf("an unresolved user is %q", e.User.ID)
	}
	if p := e.ProviderPlace; p.City == "" && p.Located() {
		t.Errorf("coordinates of no city: %+v", p)
	}
	if e.Clean(); e.Tenant == "" {
		e.Tenant = "acme"
	}
	// What may still be wrong is what a sender wrote into ids: ingest refuses it.
	for problem := range strings.SplitSeq(text(e.Validate()), "\n") {
		if problem != "" && !strings.Contains(problem, "control characters") && !strings.HasPrefix(problem, "tenant:") {
			t.Errorf("the event is not valid: %s", problem)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func BenchmarkDecode(b *testing.B) {
	value := []byte(write(b, kinds(11, 5)))
	d := Events()
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		d.Decode(value, func([]byte, *events.Event, error) {})
	}
}
