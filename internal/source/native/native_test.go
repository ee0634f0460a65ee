package native

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

func decode(t testing.TB, value string) (*events.Event, error) {
	t.Helper()
	var event *events.Event
	var problem error
	calls := 0
	Decoder{}.Decode([]byte(value), func(record []byte, e *events.Event, err error) {
		calls++
		if string(record) != value {
			t.Errorf("the record is %q, want the untouched value", record)
		}
		if problem = err; e != nil {
			kept := *e
			event = &kept
		}
	})
	if calls != 1 || (event == nil) == (problem == nil) {
		t.Fatalf("%d calls, event %v, error %v", calls, event, problem)
	}
	return event, problem
}

func TestDecode(t *testing.T) {
	got, err := decode(t, `{"kind":"sign_in","tenant":"acme","user":{"id":"u1","privileged":false},"time":"2026-03-04T08:15:30+01:00",
		"source":{"id":"s1"},"ip":"::ffff:192.0.2.10","unknown":{"a":[1,2]},"place":{"lat":52.09,"lon":5.12},"device":null}`)
	if err != nil {
		t.Fatal(err)
	}
	want := &events.Event{
		Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u1", Privileged: events.No}, Time: 1772608530000,
		Source: events.Source{ID: "s1", Family: Family}, IP: "192.0.2.10", Place: events.Place{Lat: 52.09, Lon: 5.12},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNothingOfOneEventReachesTheNext(t *testing.T) {
	if _, err := decode(t, `{"kind":"sign_in","user":{"id":"a","groups":["g"]},"session":{"id":"s"},"time":"2026-03-04T08:15:30Z"}`); err != nil {
		t.Fatal(err)
	}
	got, err := decode(t, `{"kind":"sign_out"}`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&events.Event{Kind: events.SignOut, Source: events.Source{Family: Family}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsNameTheField(t *testing.T) {
	for value, want := range map[string]string{
		`{"kind":"sign_in","user":{"id":"u1"`: "is no JSON: unexpected end of JSON input (byte 35)",
		`{"kind":}`:                           "is no JSON: invalid character '}' looking for beginning of value (byte 9)",
		`{} {}`:                               "is no JSON: invalid character '{' after top-level value (byte 4)",
		``:                                    "is no JSON: unexpected end of JSON input (byte 0)",
		`[]`:                                  "event: is an array, must be an object",
		`"text"`:                              "event: is a string, must be an object",
		`{"user":5}`:                          "user: is a number, must be an object",
		`{"user":{"id":5}}`:                   "user.id: is a number, must be a string",
		`{"user":{"groups":"staff"}}`:         "user.groups: is a string, must be an array",
		`{"user":{"groups":["a",{}]}}`:        "user.groups[1]: is an object, must be a string",
		`{"time":1772612135123}`:              "time: is a number, must be an RFC 3339 time in a string",
		`{"time":"2026-13-04T08:15:30Z"}`:     `time: time "2026-13-04T08:15:30Z" must be an RFC 3339 time such as "2026-03-04T08:15:30.104Z"`,
		`{"interactive":"yes"}`:               "interactive: is a string, must be true or false",
		`{"device":{"browser_major":1.5}}`:    "device.browser_major: is 1.5, must be a whole number that fits",
		`{"network":{"asn":5000000000}}`:      "network.asn: is 5e+09, must be a whole number that fits",
		`{"network":{"asn":-1}}`:              "network.asn: is -1, must be a whole number that fits",
		`{"place":{"lat":"52.1","lon":true}}`: "place.lat: is a string, must be a number\nplace.lon: is true or false, must be a number",
		"{\"kind\":\"sign_in\xff\"}":          events.ErrNotUTF8.Error(),
		`{"reason":"` + strings.Repeat("x", events.MaxRecord) + `"}`: events.ErrTooLarge.Error(),
	} {
		if _, err := decode(t, value); err == nil || err.Error() != want {
			t.Errorf("%.60s: error %q, want %q", value, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"kind":"sign_in","tenant":"acme","user":{"id":"u1"},"time":"2026-03-04T08:15:30Z","source":{"id":"s1"},"ip":"192.0.2.10"}`)
	f.Add(`{"user":{"groups":[1]},"place":{"lat":"x"},"network":{"asn":-1}}`)
	f.Fuzz(func(t *testing.T, value string) {
		e, err := decode(t, value)
		if err != nil {
			if err.Error() == "" {
				t.Error("an empty error")
			}
			return
		}
		e.Clean()
		if e.Validate() != nil {
			return
		}
		again, err := decode(t, string(events.Encode(e)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Errorf("an event changes on the wire: %s", diff)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	value := []byte(`{"kind":"sign_in","tenant":"acme","user":{"id":"5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315","name":"Ana"},"time":"2026-03-04T08:15:30.104Z","source":{"name":"push","family":"custom","id":"1e2d3c4b-5a69-4788-9a7b-6c5d4e3f2a10"},"outcome":"success","interactive":true,"app":{"id":"a1","name":"Portal"},"session":{"id":"3c2b1a09-f8e7-4d6c-b5a4-938271605f4e"},"ip":"192.0.2.10","user_agent":"Mozilla/5.0 (X11; Linux x86_64) Example/1.0","auth":{"mfa":"performed","strength":"multi","methods":["push"]}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		Decoder{}.Decode(value, func([]byte, *events.Event, error) {})
	}
}
