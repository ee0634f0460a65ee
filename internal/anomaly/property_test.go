package anomaly

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// anyEvent draws events of a much travelled user, within some days.
func anyEvent() *rapid.Generator[*events.Event] {
	return rapid.Custom(func(t *rapid.T) *events.Event {
		n := rapid.IntRange(0, 200).Draw(t, "n")
		city := rapid.SampledFrom(cityNames).Draw(t, "city")
		network := rapid.SampledFrom(networkNames).Draw(t, "network")
		e := &events.Event{
			ID: events.EventID("acme", "any", fmt.Sprint(n)), Tenant: "acme", User: events.User{ID: "u1"},
			Kind:    rapid.SampledFrom(events.Kinds).Draw(t, "kind"),
			Time:    dayZero + events.Millis(rapid.Int64Range(-3*events.Day, 3*events.Day).Draw(t, "time")),
			Outcome: rapid.SampledFrom([]events.Outcome{events.Success, events.Success, "", events.Failure}).Draw(t, "outcome"),
			IP:      address(city, network), Place: cities[city], Network: networks[network],
			Device:      devices[rapid.SampledFrom([]string{"laptop", "phone", "iphone", "windows", "linux", "none"}).Draw(t, "device")],
			Session:     events.Session{ID: rapid.SampledFrom([]string{"", "s1", "s2", "s3"}).Draw(t, "session")},
			Interactive: rapid.SampledFrom([]events.Tri{events.Unknown, events.Yes, events.No}).Draw(t, "interactive"),
			Auth: events.Auth{
				MFA:      rapid.SampledFrom(append([]events.MFA{""}, events.MFAResults...)).Draw(t, "mfa"),
				Strength: rapid.SampledFrom(append([]events.Strength{""}, events.Strengths...)).Draw(t, "strength"),
			},
		}
		if rapid.IntRange(0, 3).Draw(t, "odd") == 0 {
			e.Place.RadiusKm = rapid.SampledFrom([]float64{0, 1, 75, 400, 1000, 20038}).Draw(t, "radius")
			e.Place.Lat = rapid.Float64Range(-90, 90).Draw(t, "lat")
			e.Place.Lon = rapid.Float64Range(-180, 180).Draw(t, "lon")
			e.ProviderPlace = cities[rapid.SampledFrom(cityNames).Draw(t, "provider")]
		}
		return e
	})
}

// everything evaluates events one after another and returns all findings in their wire form.
func everything(c *Catalogue, p *profile.Profile, list []*events.Event) []string {
	var out []string
	for _, e := range list {
		found := c.Evaluate(p, nil, e).Findings
		for i := range found {
			out = append(out, string(events.Encode(&found[i])))
		}
	}
	return out
}

func TestSameLogSameFindings(t *testing.T) {
	c := catalogue(t)
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(anyEvent(), 0, 60).Draw(t, "events")
		whole := profile.New()
		want := everything(c, whole, list)

		again := everything(c, profile.New(), list)
		if diff := cmp.Diff(again, want); diff != "" {
			t.Fatalf("the second run differs (-got, +want)\n%s", diff)
		}
		// Stored, read and copied after every event, as detectors do.
		var stored []string
		p := profile.New()
		for _, e := range list {
			q, err := profile.Decode(p.AppendBinary(nil))
			if err != nil {
				t.Fatal(err)
			}
			p = q.Clone()
			stored = append(stored, everything(c, p, []*events.Event{e})...)
		}
		if diff := cmp.Diff(stored, want); diff != "" {
			t.Fatalf("storing makes a difference (-got, +want)\n%s", diff)
		}
		if !bytes.Equal(p.AppendBinary(nil), whole.AppendBinary(nil)) {
			t.Fatal("the profiles differ")
		}
	})
}

func TestRepeatedEventChangesNothing(t *testing.T) {
	c := catalogue(t)
	rapid.Check(t, func(t *rapid.T) {
		p := profile.New()
		for _, e := range rapid.SliceOfN(anyEvent(), 1, 40).Draw(t, "events") {
			c.Evaluate(p, nil, e)
			before := p.AppendBinary(nil)
			again := *e
			again.Place, again.Device = cities["tokyo"], devices["linux"] // the same record with other fields (T41)
			if found := c.Evaluate(p, nil, &again).Findings; found != nil {
				t.Fatalf("found %s", events.Encode(&found[0]))
			}
			if !bytes.Equal(p.AppendBinary(nil), before) {
				t.Fatal("the profile changed")
			}
		}
	})
}

func TestFindingsAreWellFormed(t *testing.T) {
	c := catalogue(t)
	finite := func(t *rapid.T, f *events.Finding, what string, v, low float64) {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < low {
			t.Fatalf("%s is %g in %s", what, v, f.ID)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p := profile.New()
		seen := map[string]bool{}
		for _, e := range rapid.SliceOfN(anyEvent(), 0, 60).Draw(t, "events") {
			found := c.Evaluate(p, nil, e).Findings
			if !slices.IsSortedFunc(found, func(a, b events.Finding) int { return strings.Compare(a.Detection, b.Detection) }) {
				t.Fatal("not in order")
			}
			for i := range found {
				f := &found[i]
				if f.EventID != e.ID || f.Summary == "" || f.Severity.Rank() == 0 || f.Disposition == "" || f.Decision != nil || byID[f.Detection] == nil {
					t.Fatalf("incomplete: %s", events.Encode(f))
				}
				if slices.Contains(f.Anchors, f.EventID) {
					t.Fatalf("compared with itself: %s", events.Encode(f))
				}
				if seen[f.ID] {
					t.Fatalf("id repeats: %s", events.Encode(f))
				}
				seen[f.ID] = true
				travels := slices.Clone(f.Evidence.Others)
				if f.Evidence.Travel != nil {
					travels = append(travels, *f.Evidence.Travel)
				}
				for _, way := range travels {
					finite(t, f, "distance", way.DistanceKm, 0)
					finite(t, f, "effective distance", way.EffectiveKm, 0)
					finite(t, f, "speed", way.SpeedKmh, 0)
					finite(t, f, "gap", way.GapSeconds, 0)
					if way.EffectiveKm > way.DistanceKm || way.From.Time > way.To.Time {
						t.Fatalf("impossible even so: %s", events.Encode(f))
					}
				}
				if again, err := events.DecodeFinding(events.Encode(f)); err != nil || cmp.Diff(again, f) != "" {
					t.Fatalf("does not survive the wire: %v\n%s", err, cmp.Diff(again, f))
				}
			}
		}
	})
}

// known is a user who is past learning.
func known(c *Catalogue) *profile.Profile {
	p := profile.New()
	for day := range 20 {
		c.Evaluate(p, nil, &events.Event{
			ID: events.EventID("acme", "known", fmt.Sprint(day)), Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u1"},
			Time: dayZero + events.Millis(day-30)*events.Day, Outcome: events.Success, IP: address("utrecht", ""), Place: cities["utrecht"],
			Network: networks[""], Device: devices["laptop"],
		})
	}
	return p
}

func TestPairFiresOnceWhateverTheOrder(t *testing.T) {
	c := catalogue(t)
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyEvent().Draw(t, "a"), anyEvent().Draw(t, "b")
		if a.ID == b.ID {
			return
		}
		a.Time = dayZero
		b.Time = dayZero + events.Millis(rapid.Int64Range(-events.Day, events.Day).Draw(t, "gap"))
		keys := func(list ...*events.Event) []string {
			p := known(c)
			var ids []string
			for _, e := range list {
				for _, f := range c.Evaluate(p, nil, e).Findings {
					if f.Detection == "LOC-01" || f.Detection == "SES-01" || f.Detection == "SES-02" { // those that rest on a pair
						ids = append(ids, f.Detection+f.ID)
					}
				}
			}
			slices.Sort(ids)
			return ids
		}
		if diff := cmp.Diff(keys(b, a), keys(a, b)); diff != "" {
			t.Fatalf("%s at %s and %s at %s (-late, +in order)\n%s", a.Place.City, a.Time, b.Place.City, b.Time, diff)
		}
	})
}

func TestNothingBreaksOnHostileInput(t *testing.T) {
	c := catalogue(t)
	p := profile.New()
	long := strings.Repeat("界\u202e", 1<<10)
	for i := range 100_000 {
		e := &events.Event{
			ID: events.EventID("acme", "x", fmt.Sprint(i)), Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u"}, Outcome: events.Success,
			Time: dayZero + events.Millis(i%7919)*events.Minute - events.Millis(i%3)*events.Hour, Session: events.Session{ID: fmt.Sprint(i % 10_000)},
			IP:      fmt.Sprintf("2001:db8:%x:%x::1", i>>8, i&255),
			Place:   events.Place{Lat: float64(i%180) - 90, Lon: float64(i*7%360) - 180, City: fmt.Sprint(i, long), Country: string([]byte{byte('A' + i%26), byte('A' + i/26%26)})},
			Network: events.Network{ASN: uint32(i) * 65537},
			Device:  events.Device{ID: fmt.Sprint(i, long), OS: fmt.Sprint(i%9, long), Browser: fmt.Sprint(i, long)},
		}
		switch i % 1000 {
		case 1:
			e.Time = math.MaxInt64
		case 2:
			e.Time = math.MinInt64
		case 3:
			e.Place.Lat, e.Place.Lon = math.NaN(), math.Inf(1)
		case 4:
			e.ID, e.IP = "not an id", "not an address"
		}
		for _, f := range c.Evaluate(p, nil, e).Findings {
			events.Encode(&f) // panics on what JSON cannot hold
		}
		if i%251 == 0 {
			if b := p.AppendBinary(nil); len(b) > profile.MaxEncoded {
				t.Fatalf("%d bytes", len(b))
			} else if _, err := profile.Decode(b); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestDistance(t *testing.T) {
	degrees := func(limit float64) *rapid.Generator[float64] {
		return rapid.Map(rapid.Int32Range(-int32(limit*1e4), int32(limit*1e4)), func(v int32) float64 { return float64(v) / 1e4 })
	}
	rapid.Check(t, func(t *rapid.T) {
		lat1, lon1 := degrees(90).Draw(t, "lat1"), degrees(180).Draw(t, "lon1")
		lat2, lon2 := degrees(90).Draw(t, "lat2"), degrees(180).Draw(t, "lon2")
		d := profile.Kilometres(lat1, lon1, lat2, lon2)
		if math.IsNaN(d) || d < 0 || d > math.Pi*profile.EarthKm+1e-6 {
			t.Fatalf("%g km", d)
		}
		if back := profile.Kilometres(lat2, lon2, lat1, lon1); math.Abs(back-d) > 1e-6 {
			t.Fatalf("%g there, %g back", d, back)
		}
		spot := func(lat, lon float64) *profile.Spot {
			return &profile.Spot{Lat: int32(math.Round(lat * 1e4)), Lon: int32(math.Round(lon * 1e4))}
		}
		if a, b := spot(lat1, lon1), spot(lat2, lon2); near(a, b, d-1e-6) {
			t.Fatalf("surely nearer than they are, %g km", d)
		}
	})
	for _, c := range []struct{ lat1, lon1, lat2, lon2, km float64 }{
		{0, 0, 0, 180, 20015.1},
		{90, 0, -90, 0, 20015.1},
		{0, 0, 0, 1, 111.2},
		{52.0907, 5.1214, 35.6895, 139.6917, 9304.8},
		{0, 179.5, 0, -179.5, 111.2},
		{40.7128, -74.006, 34.0522, -118.2437, 3935.8},
	} {
		if got := profile.Kilometres(c.lat1, c.lon1, c.lat2, c.lon2); math.Abs(got-c.km) > 0.1 {
			t.Errorf("%v: %g km", c, got)
		}
	}
}
