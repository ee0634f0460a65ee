package events

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func example() *Event {
	return &Event{
		ID: EventID("acme", "custom", "s-1"), Kind: SignIn, Tenant: "acme",
		User: User{ID: "u1", Name: "Ana", Groups: []string{"staff"}, Privileged: No},
		Time: 1767225599123, Emitted: 1767225600000, Ingested: 1767225600456,
		Source:  Source{Name: "push", Family: "custom", ID: "s-1"},
		Outcome: Success, Code: "0", Interactive: Yes,
		App: Ref{ID: "a1", Name: "Portal"}, Session: Session{ID: "sess", Token: "tok"}, IP: "192.0.2.10",
		Network: Network{Prefix: "192.0.2.0/24", ASN: 64500, Org: "Example", Classes: []Class{Mobile}},
		Place:   Place{Lat: 52.09, Lon: 5.12, RadiusKm: 20, City: "Utrecht", Country: "NL"},
		Device:  Device{ID: "d1", OS: "Windows", Browser: "Edge", BrowserMajor: 131, Managed: Yes},
		Auth:    Auth{MFA: MFAPerformed, Strength: MultiFactor, Methods: []string{"push"}},
	}
}

func TestEventSurvivesTheWire(t *testing.T) {
	want := example()
	got, err := Decode(Encode(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
}

func TestDecodedEventKeepsNothingOfItsInput(t *testing.T) {
	in := Encode(example())
	e, err := Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	f, err := DecodeFinding(Encode(&Finding{ID: "f", Evidence: Evidence{Sight: SightOf(e)}}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range in {
		in[i] = 'x'
	}
	if diff := cmp.Diff(e, example()); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	if diff := cmp.Diff(f.Evidence.Sight, SightOf(example())); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
}

func TestWireFormStaysReadable(t *testing.T) {
	// One message of version 1, kept for ever.
	const v1 = `{"kind":"sign_in","tenant":"acme","user":{"id":"u1"},"time":"2025-12-31T23:59:59.123Z","source":{"id":"s-1"},"new_field":{"a":[1]}}`
	e, err := Decode([]byte(v1))
	if err != nil {
		t.Fatal(err)
	}
	if e.Time != 1767225599123 || e.Interactive != Unknown || e.Place.Located() {
		t.Errorf("got %+v", e)
	}
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
	const out = `{"kind":"sign_in","tenant":"acme","user":{"id":"u1"},"time":"2025-12-31T23:59:59.123Z","source":{"id":"s-1"}}`
	if got := string(Encode(e)); got != out {
		t.Errorf("encoded\n%s\nwant\n%s", got, out)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"truncated":     `{"kind":"sign_in","tenant":"ac`,
		"not an object": `[1,2]`,
		"wrong type":    `{"user":"u1"}`,
		"wrong time":    `{"time":"yesterday"}`,
		"number time":   `{"time":17}`,
		"wrong bool":    `{"interactive":"yes"}`,
		"trailing":      `{} {}`,
		"invalid utf-8": "{\"tenant\":\"\xff\"}",
		"too large":     `{"reason":"` + strings.Repeat("x", MaxRecord) + `"}`,
	} {
		if e, err := Decode([]byte(in)); err == nil {
			t.Errorf("%s: accepted as %+v", name, e)
		}
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	e := &Event{
		Kind: "dance", Tenant: "a/b", Outcome: "meh", IP: "300.1.1.1", Place: Place{Lat: 91, Country: "nl"},
		Auth: Auth{MFA: "perhaps"}, Network: Network{Prefix: "192.0.2.1/24", Classes: []Class{"moon"}}, User: User{ID: "a\x00b"},
		ID: strings.Repeat("i", MaxID+1),
	}
	err := e.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, path := range []string{
		"kind: ", "tenant: ", "user.id: ", "source.id: ", "time: ", "outcome: ", "ip: ", "place.lat: ", "place.country: ",
		"auth.mfa: ", "network.classes[0]: ", "network.prefix: ", "id: ",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+path) {
			t.Errorf("no problem named for %s in\n%v", path, err)
		}
	}
	if err := example().Validate(); err != nil {
		t.Errorf("the example: %v", err)
	}
}

func TestPrefixes(t *testing.T) {
	for text, want := range map[string]bool{
		"192.0.2.0/24": true, "2001:db8:1::/48": true, "::/48": true, "0.0.0.0/24": true,
		"": false, "192.0.2.0": false, "192.0.2.1/24": false, "192.0.2.0/25": false, "192.0.2.0/48": false, "2001:db8::/24": false,
		"2001:DB8:1::/48": false, "2001:db8:1:0::/48": false, "2001:db8:1::1/48": false, "fe80::%a/48": false, "192.0.2.0/024": false,
		"::ffff:192.0.2.0/48": false, "office": false, "192.0.2.0/24x": false,
	} {
		if got := ValidPrefix(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestCleanBoundsFreeText(t *testing.T) {
	e := example()
	e.UserAgent = strings.Repeat("é\x00", 100_000)
	e.User.Name = "a\x1b[31mb\xffc"
	e.Clean()
	if len(e.UserAgent) > MaxText || strings.ContainsRune(e.UserAgent, 0) {
		t.Errorf("user agent of %d bytes", len(e.UserAgent))
	}
	if e.User.Name != "a[31mbc" {
		t.Errorf("name %q", e.User.Name)
	}
}

func TestMillisAgreesWithTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := Millis(rapid.Int64Range(-62135596800000+1, 253402300799999).Draw(t, "ms"))
		if ms == 0 {
			return
		}
		got, err := ParseMillis(ms.String())
		if err != nil || got != ms {
			t.Fatalf("%d -> %q -> %d, %v", ms, ms.String(), got, err)
		}
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.0000000-07:00"} {
			text := ms.Time().Format(layout)
			if got, err := ParseMillis(text); err != nil || got != ms {
				t.Fatalf("%q -> %d, %v", text, got, err)
			}
		}
	})
}

func TestIDsDependOnEveryFieldAndItsBorders(t *testing.T) {
	seen := map[string]string{}
	for name, id := range map[string]string{
		"a,bc": EventID("t", "a", "bc"), "ab,c": EventID("t", "ab", "c"), "finding": FindingID("LOC-01", 1, "t", "a", "bc"),
		"version": FindingID("LOC-01", 2, "t", "a", "bc"), "anchor": FindingID("LOC-01", 1, "t", "a", "bc", "x"),
	} {
		if len(id) != 32 {
			t.Errorf("%s: %q", name, id)
		}
		if other := seen[id]; other != "" {
			t.Errorf("%s and %s share an id", name, other)
		}
		seen[id] = name
	}
	if got := EventID("acme", "entra", "1"); got != "81ee9d0e764c45815fd4a4b558467387" { // ids in old logs must stay true
		t.Errorf("id %q", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(example()))
	f.Add([]byte(`{"time":"2026-02-31T00:00:00.000Z"}`))
	f.Add([]byte(`{"place":{"lat":1e400}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := Decode(in)
		if err != nil {
			return
		}
		e.Clean()
		if e.Validate() != nil {
			return
		}
		again, err := Decode(Encode(e))
		if err != nil {
			t.Fatalf("valid event does not read back: %v\n%s", err, Encode(e))
		}
		if string(Encode(again)) != string(Encode(e)) {
			t.Errorf("not stable:\n%s\n%s", Encode(again), Encode(e))
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	in := Encode(example())
	var e Event
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if err := DecodeInto(in, &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	e := example()
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
