package session

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

const whole = `{"id":"r-1","session":"s9","tenant":"acme","user":"u1","ip":"198.51.100.7:4711","user_agent":"Mozilla/5.0 (example)","app":"bank","time":"2026-03-04T08:15:31.244Z","more":{"x":[1]}}`

func decodeAll(value string) (out []events.Event, errs []error) {
	Reports().Decode([]byte(value), func(_ []byte, e *events.Event, err error) {
		if err != nil {
			errs = append(errs, err)
			return
		}
		out = append(out, *e)
	})
	return out, errs
}

func TestReport(t *testing.T) {
	t.Parallel()
	got, errs := decodeAll("[" + whole + "," + strings.Replace(whole, "r-1", "r-2", 1) + "]")
	if len(got) != 2 || errs != nil {
		t.Fatalf("%d reports, %v", len(got), errs)
	}
	want := events.Event{
		Kind: events.SessionUse, Tenant: "acme", User: events.User{ID: "u1"}, Time: 1772612131244,
		Source: events.Source{Family: "session", ID: "r-1"}, App: events.Ref{ID: "bank"}, Session: events.Session{ID: "s9"},
		IP: "198.51.100.7", UserAgent: "Mozilla/5.0 (example)",
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Error(diff)
	}
	if err := got[0].Validate(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsMissingIsNamedAllAtOnce(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`{}`: "session: is missing\nuser: is missing\ntime: is missing",
		`{"session":"s","user":"u","time":"soon"}`: `time: "soon" is no time`,
		`{"session":"s"`: "is no JSON",
		`5`:              "must be an object",
		`{"session":"s","user":"u","time":"2026-03-04T08:15:31Z","ip":{}}`: "",
	} {
		_, errs := decodeAll(value)
		switch {
		case want == "" && errs == nil:
		case want == "" || len(errs) != 1 || !strings.Contains(errs[0].Error(), strings.SplitN(want, " is no time", 2)[0]):
			t.Errorf("%s: %v, want %q", value, errs, want)
		}
	}
}

// A program that reports every request without ids sends one event a minute, address and user agent.
func TestReportsWithoutIdAreOneAMinute(t *testing.T) {
	t.Parallel()
	id := func(change ...string) string {
		got, errs := decodeAll(strings.NewReplacer(append(change, `"id":"r-1",`, "")...).Replace(whole))
		if len(got) != 1 || errs != nil {
			t.Fatalf("%v: %d reports, %v", change, len(got), errs)
		}
		return got[0].Source.ID
	}
	first := id()
	if again := id("08:15:31.244", "08:15:59.000"); again != first {
		t.Error("two reports of one minute have two ids")
	}
	for _, change := range [][]string{{"08:15", "08:16"}, {"198.51.100.7", "198.51.100.8"}, {"Mozilla/5.0", "curl/8"}, {`"s9"`, `"s8"`}, {`"u1"`, `"u2"`}, {"bank", "shop"}} {
		if id(change...) == first {
			t.Errorf("%v: the same id", change)
		}
	}
}

func FuzzReports(f *testing.F) {
	f.Add(whole)
	f.Add(`[` + whole + `,{"session":"s","user":"u","time":1772612131244,"outcome":"failure"}]`)
	f.Fuzz(func(t *testing.T, value string) {
		got, _ := decodeAll(value)
		for i := range got {
			e := &got[i]
			if e.Session.ID == "" || e.User.ID == "" || e.Time == 0 && !strings.Contains(value, "0") || e.Source.ID == "" {
				t.Errorf("a report of nothing: %+v", e)
			}
			if e.Clean(); e.Tenant != "" && e.Validate() == nil {
				if _, err := events.Decode(events.Encode(e)); err != nil {
					t.Errorf("an event that cannot be read back: %v", err)
				}
			}
		}
	})
}
