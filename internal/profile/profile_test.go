package profile

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
)

const start events.Millis = 1767225600000

var exact = cmp.Options{cmp.Exporter(func(reflect.Type) bool { return true }), cmpopts.EquateEmpty()}

// feed takes an event into a profile as internal/anomaly would, without its judgement.
func feed(p *Profile, e *events.Event) {
	id := IDOf(e.ID)
	if !p.Remember(id) {
		return
	}
	p.Count(e.Time, 90*events.Day)
	pt := p.Observe(e, id, e.ProviderPlace.Located())
	p.AddVisit(pt)
	if key := SessionKey(e.Session.ID); key != 0 {
		p.UseSession(key, pt, 24*events.Hour)
	}
	unconfirmed := e.Outcome == events.Challenge
	p.Learn(Country, CountryValue(p.Spot(&pt).Country), e.Time, unconfirmed)
	p.Learn(ASN, uint64(p.Spot(&pt).ASN), e.Time, unconfirmed)
	p.Learn(DeviceID, DeviceValue(p.Device(&pt).Hash), e.Time, unconfirmed)
	p.Learn(Agent, AgentValue(e.Device.OS, e.Device.Browser), e.Time, unconfirmed)
	if unconfirmed {
		p.LastAdverse = e.Time
	}
}

// anyEvent draws events of a lively user, hostile values included.
func anyEvent() *rapid.Generator[*events.Event] {
	text := rapid.OneOf(rapid.SampledFrom([]string{"", "a", "Windows", "Utrecht", strings.Repeat("é", 200)}), rapid.StringN(0, 40, 80))
	tri := rapid.SampledFrom([]events.Tri{events.Unknown, events.Yes, events.No})
	place := func(t *rapid.T) events.Place {
		return events.Place{
			Lat: rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(-90, 90), rapid.Float64()).Draw(t, "lat"),
			Lon: rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(-180, 180)).Draw(t, "lon"), RadiusKm: rapid.Float64Range(0, 1e6).Draw(t, "radius"),
			City: text.Draw(t, "city"), Region: text.Draw(t, "region"), Country: rapid.SampledFrom([]string{"", "NL", "JP", "nowhere"}).Draw(t, "country"),
		}
	}
	return rapid.Custom(func(t *rapid.T) *events.Event {
		n := rapid.IntRange(0, 400).Draw(t, "n")
		e := &events.Event{
			ID: events.EventID("t", "f", fmt.Sprint(n)), Kind: events.SignIn, Outcome: rapid.SampledFrom(events.Outcomes).Draw(t, "outcome"),
			Time: rapid.OneOf(rapid.Just(start+events.Millis(n)*events.Minute), rapid.Custom(func(t *rapid.T) events.Millis {
				return events.Millis(rapid.Int64().Draw(t, "time"))
			})).Draw(t, "when"),
			Place: place(t), Session: events.Session{ID: rapid.StringN(0, 3, 3).Draw(t, "session")},
			IP: rapid.SampledFrom([]string{"", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.9", "::", "0.0.0.0", "not an address"}).Draw(t, "ip"),
			Network: events.Network{
				ASN:     rapid.Uint32().Draw(t, "asn"),
				Classes: rapid.SliceOfN(rapid.SampledFrom(append([]events.Class{"other"}, events.Classes...)), 0, 4).Draw(t, "classes"),
			},
			Device: events.Device{ID: text.Draw(t, "device"), OS: text.Draw(t, "os"), Browser: text.Draw(t, "browser"), Managed: tri.Draw(t, "managed"), Compliant: tri.Draw(t, "compliant")},
		}
		if rapid.Bool().Draw(t, "conflict") {
			e.ProviderPlace = place(t)
		}
		return e
	})
}

func TestEncodingIsLossless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := New()
		for _, e := range rapid.SliceOfN(anyEvent(), 0, 60).Draw(t, "events") {
			feed(p, e)
		}
		b := p.AppendBinary(nil)
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, p, exact); diff != "" {
			t.Fatalf("(-got, +want)\n%s", diff)
		}
		if !bytes.Equal(got.AppendBinary([]byte("x")), append([]byte("x"), b...)) {
			t.Fatal("the same profile encodes differently")
		}
		if diff := cmp.Diff(p.Clone(), p, exact); diff != "" {
			t.Fatalf("clone (-got, +want)\n%s", diff)
		}
	})
}

func TestCloneSharesNothing(t *testing.T) {
	p := New()
	for i := range 30 {
		feed(p, event(i))
	}
	before := p.AppendBinary(nil)
	c := p.Clone()
	for i := range 300 {
		e := event(i + 1000)
		e.Place.Lat += float64(i) / 10
		e.Session.ID = fmt.Sprint("other", i)
		feed(c, e)
		for k := range c.Visits {
			c.Visits[k].Last.Time++
		}
	}
	if !bytes.Equal(p.AppendBinary(nil), before) {
		t.Error("a change of the clone changed the original")
	}
}

// event is one of an ordinary day.
func event(i int) *events.Event {
	return &events.Event{
		ID: events.EventID("t", "f", fmt.Sprint(i)), Kind: events.SignIn, Outcome: events.Success, Time: start + events.Millis(i)*events.Hour,
		IP: fmt.Sprintf("192.0.%d.7", i%3), Session: events.Session{ID: fmt.Sprint("s", i/4)},
		Network: events.Network{ASN: 3265 + uint32(i%3), Classes: []events.Class{events.Mobile}[:i%2]},
		Place:   events.Place{Lat: 52.25 + float64(i%3)/4, Lon: 5.12, RadiusKm: 20, City: "Utrecht", Country: "NL"},
		Device:  events.Device{ID: "0a1b2c3d-0000-4000-8000-123456789abc", OS: "Windows", Browser: "Edge", Managed: events.Yes},
	}
}

func TestProfileIsBoundedWhateverComes(t *testing.T) {
	p := New()
	long := strings.Repeat("界", 1<<12)
	largest := 0
	for i := range 100_000 {
		e := event(i)
		e.Time = start + events.Millis((i*7919)%5000)*events.Minute - events.Millis(i%2)*events.Hour // to and fro
		e.IP = fmt.Sprintf("2001:db8:%x:%x::%x", i>>16, i&0xffff, i)
		e.Session.ID = fmt.Sprint("s", i%10_000)
		e.Place.Lat, e.Place.City, e.Place.Country = float64(i%900)/10, fmt.Sprint(i, long), string([]byte{'A' + byte(i%26), 'A' + byte(i/26%26)})
		e.Device = events.Device{ID: fmt.Sprint(long, i), OS: fmt.Sprint(i, long), Browser: fmt.Sprint(i, long)}
		e.Network.ASN = uint32(i) << 12
		feed(p, e)
		if i%97 == 0 {
			largest = max(largest, len(p.AppendBinary(nil)))
		}
	}
	if largest > MaxEncoded {
		t.Errorf("%d bytes, more than %d", largest, MaxEncoded)
	}
	if len(p.Visits) > MaxVisits || len(p.Sessions) > MaxSessions || len(p.Terms) > MaxTerms || len(p.spots) > MaxSpots || len(p.devices) > MaxDevices {
		t.Errorf("%d visits, %d sessions, %d terms, %d spots, %d devices", len(p.Visits), len(p.Sessions), len(p.Terms), len(p.spots), len(p.devices))
	}
	if p.Forgotten == 0 {
		t.Error("what was forgotten is not counted")
	}
	if got, err := Decode(p.AppendBinary(nil)); err != nil || cmp.Diff(got, p, exact) != "" {
		t.Errorf("does not read back: %v", err)
	}
	t.Logf("largest encoding %d bytes", largest)
}

func TestPointsKeepTheirSpotsWhenOthersGo(t *testing.T) {
	p := New()
	for i := range 500 {
		e := event(i)
		e.Place.Lat, e.Place.City = float64(i%90)+0.5, fmt.Sprint("city", i)
		e.Device.ID = fmt.Sprint("device", i)
		e.Session.ID = fmt.Sprint("s", i/3)
		feed(p, e)
		for _, v := range p.Visits {
			for _, pt := range []Point{v.First, v.Last} {
				n := int((pt.Time - start) / events.Hour)
				if p.Spot(&pt).City != fmt.Sprint("city", n) || p.Device(&pt).ID != fmt.Sprint("device", n) {
					t.Fatalf("event %d shows %q, %q", n, p.Spot(&pt).City, p.Device(&pt).ID)
				}
			}
		}
	}
}

func TestRememberKnowsTheLastEvents(t *testing.T) {
	p := New()
	id := func(i int) ID { return IDOf(events.EventID("t", "f", fmt.Sprint(i))) }
	for i := range 40 {
		if !p.Remember(id(i)) {
			t.Errorf("%d is new", i)
		}
		if p.Remember(id(i)) || i > 0 && p.Remember(id(max(0, i-MaxRecent+1))) {
			t.Errorf("%d is a repeat", i)
		}
	}
}

func TestForgottenTermIsTheLeastRecent(t *testing.T) {
	p := New()
	for i := range MaxTerms {
		p.Learn(ASN, uint64(i+1), start+events.Millis(i)*events.Hour, false)
	}
	p.Learn(ASN, 1, start+1000*events.Hour, false) // the oldest is used again
	p.Learn(ASN, 9999, start+1001*events.Hour, true)
	if p.Term(ASN, 1) == nil || p.Term(ASN, 2) != nil || p.Term(ASN, 9999) == nil || p.Forgotten != 1 {
		t.Errorf("terms %v, forgotten %d", p.Terms, p.Forgotten)
	}
	if got := p.CountTerms(ASN, 9999); got != MaxTerms-1 {
		t.Errorf("%d others", got)
	}
}

func TestLearningStartsAnewAfterLongSilence(t *testing.T) {
	p := New()
	p.Count(start, 90*events.Day)
	p.Count(start-events.Day, 90*events.Day) // late
	if p.FirstSeen != start-events.Day || p.LastSeen != start || p.Successes != 2 {
		t.Errorf("%+v", p)
	}
	p.Count(start+91*events.Day, 90*events.Day)
	if p.FirstSeen != start+91*events.Day || p.Successes != 1 {
		t.Errorf("%+v", p)
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string][2]string{
		"192.0.2.77":          {"192.0.2.77", "192.0.2.0/24"},
		"::ffff:192.0.2.77":   {"192.0.2.77", "192.0.2.0/24"},
		"2001:DB8:1:2:0::1":   {"2001:db8:1:2::1", "2001:db8:1::/48"},
		"fe80::1%eth0":        {"fe80::1", "fe80::/48"},
		"":                    {"", ""},
		"proxy.internal:8080": {"", ""},
	} {
		a := AddressOf(text)
		if got := [2]string{a.String(), a.Prefix()}; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"192.0.2.1", "192.0.2.254", true},
		{"192.0.2.1", "192.0.3.1", false},
		{"2001:db8:1::1", "2001:db8:1:ffff::2", true},
		{"2001:db8:1::1", "2001:db8:2::1", false},
		{"192.0.2.1", "::1", false},
		{"", "", false},
	} {
		if got := AddressOf(c.a).SamePrefix(AddressOf(c.b)); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}

func TestSightShowsWhatWasSeen(t *testing.T) {
	p := New()
	e := event(1)
	pt := p.Observe(e, IDOf(e.ID), false)
	want := events.SightOf(e)
	want.Network.Prefix, want.Session = "192.0.1.0/24", ""
	if diff := cmp.Diff(p.Sight(&pt), want); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
}

func TestSessionsThatAreNone(t *testing.T) {
	for _, id := range []string{"", "unknown", "00000000-0000-0000-0000-000000000000"} {
		if SessionKey(id) != 0 {
			t.Errorf("%q is a session", id)
		}
	}
	if SessionKey("a") == SessionKey("b") || SessionKey("a") == 0 {
		t.Error("sessions are not told apart")
	}
}

func TestDecodeRefuses(t *testing.T) {
	p := New()
	for i := range 40 {
		feed(p, event(i))
	}
	good := p.AppendBinary(nil)
	whole := worst().AppendBinary(nil)
	for n := range whole {
		if _, err := Decode(whole[:n]); err == nil {
			t.Fatalf("accepted %d of %d bytes", n, len(whole))
		}
	}
	for name, in := range map[string][]byte{
		"empty": nil, "format 0": {0}, "only a format 1": {1}, "only a format": {2}, "trailing": append(bytes.Clone(good), 0),
		"too large": append([]byte{Version}, make([]byte, MaxEncoded)...),
	} {
		if _, err := Decode(in); err == nil || errors.Is(err, ErrNewerFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range good {
		if _, err := Decode(good[:n]); err == nil {
			t.Fatalf("accepted %d of %d bytes", n, len(good))
		}
	}
	if _, err := Decode([]byte{Version + 1, 1, 2, 3}); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("newer format: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	p := New()
	f.Add(p.AppendBinary(nil))
	for i := range 60 {
		live(p, event(i))
		f.Add(p.AppendBinary(nil))
	}
	f.Add(full().AppendBinary(nil))
	f.Add(worst().AppendBinary(nil))
	for _, name := range []string{"empty", "ordinary", "hostile"} {
		text, err := os.ReadFile(filepath.Join("testdata", "format1", name+".hex"))
		if err != nil {
			f.Fatal(err)
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Decode(in)
		if err != nil {
			return
		}
		b := p.AppendBinary(nil)
		if len(b) > MaxEncoded {
			t.Fatalf("%d bytes", len(b))
		}
		again, err := Decode(b)
		if err != nil {
			t.Fatalf("what was read does not read back: %v", err)
		}
		if !bytes.Equal(again.AppendBinary(nil), b) {
			t.Fatal("not stable")
		}
		use(again) // a strange profile must still take events
		if _, err := Decode(again.AppendBinary(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

// use does what there is to be done to a profile.
func use(p *Profile) {
	for i := range 3 {
		e := event(i)
		live(p, e)
		at, id := e.Time, IDOf(e.ID)
		p.AddFailure(AttemptOf(e), events.Hour)
		p.AddPush(AttemptOf(e), events.Hour)
		p.AddCode(AttemptOf(e), events.Hour)
		p.AddAttacked(Attacked{Time: at}, events.Hour)
		p.AddRaised(Raised{Time: at, Event: id}, events.Hour)
		p.AddSuspicion(Suspicion{Point: p.Observe(e, id, false)}, events.Hour)
		p.AddChange(Change{Time: at, Event: id}, events.Hour)
		p.PassTransition(p.Spot(&Point{Spot: 1}), degrees(1, 1), at)
		p.Risk.Add(RiskPart{Time: at}, events.Hour)
		p.Hours.Total(at)
		for k := range p.Visits {
			p.Sight(&p.Visits[k].First)
		}
		for k := range p.Suspicions {
			p.Sight(&p.Suspicions[k].Point)
		}
		for k := range p.Sessions {
			p.Sessions[k].UseToken(TokenUse{Token: 1, Time: at})
		}
	}
}

func lively() *Profile {
	p := New()
	for i := range 200 {
		feed(p, event(i))
	}
	return p
}

func BenchmarkClone(b *testing.B) {
	p := lively()
	b.ReportAllocs()
	for b.Loop() {
		p.Clone()
	}
}

func BenchmarkAppend(b *testing.B) {
	p := lively()
	buf := p.AppendBinary(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = p.AppendBinary(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "profile_bytes")
}

func BenchmarkDecode(b *testing.B) {
	buf := lively().AppendBinary(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}
