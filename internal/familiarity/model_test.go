package familiarity

import (
	"math"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
)

// hostile draws any number, the strange ones often.
var hostile = rapid.OneOf(
	rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -1, 0, 5e-324}),
)

func drawPrior(t *rapid.T) *Prior {
	if rapid.Bool().Draw(t, "no prior") {
		return nil
	}
	levels := make([]events.OrgLevel, rapid.IntRange(0, 9).Draw(t, "levels"))
	for i := range levels {
		levels[i] = events.OrgLevel{
			Name:  rapid.SampledFrom(append(levelNames[:], "", "moon")).Draw(t, "name"),
			Total: hostile.Draw(t, "total"), Distinct: hostile.Draw(t, "distinct"),
		}
		for range rapid.IntRange(0, 5).Draw(t, "top") {
			levels[i].Top = append(levels[i].Top, events.OrgCount{
				Hash:  rapid.SampledFrom([]string{"", "zz", hashName(0x9e3779b97f4a7c15), hashName(1)}).Draw(t, "hash"),
				Count: hostile.Draw(t, "count"),
			})
		}
	}
	return PriorOf(levels, rapid.Int().Draw(t, "users"), hostile.Draw(t, "logins"))
}

func TestEveryScoreIsFinite(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := DefaultModel()
		for i := range m.Alpha {
			m.Alpha[i] = rapid.Float64Range(0.001, 1000).Draw(t, "alpha")
			m.Imitation[i] = rapid.Float64Range(0, 0.25).Draw(t, "imitation")
		}
		m.Beta = rapid.Float64Range(0.001, 1000).Draw(t, "beta")
		s, ok := m.Score(drawCounts(t), drawPrior(t), logins.Draw(t, "login"), times.Draw(t, "at"))
		if !ok {
			return
		}
		sum := 0.0
		for _, p := range s.Parts {
			if !(math.Abs(p.LogRatio) <= maxRatio) || p.LogRatio != quantise(p.LogRatio) {
				t.Errorf("%s: %g", p.Feature, p.LogRatio)
			}
			sum += p.LogRatio
		}
		if sum != s.Value || math.IsNaN(s.Value) {
			t.Errorf("value %g, the parts have %g", s.Value, sum)
		}
	})
}

// TestScoreByHand works one score out in fractions. The tenant: 100 logins, 60 of them from the user's country. The user:
// 9 logins of this day, all from that country, 6 of them over AS 1 and 3 over AS 2; the address is new. No user agent is
// known, so that it and the device are skipped.
func TestScoreByHand(t *testing.T) {
	t.Parallel()
	m := DefaultModel()
	prior := PriorOf([]events.OrgLevel{
		{Name: "ip", Total: 100, Distinct: 50},
		{Name: "asn", Total: 100, Distinct: 11, Top: []events.OrgCount{{Hash: hashName(1 << 32), Count: 20}}},
		{Name: "country", Total: 100, Distinct: 5, Top: []events.OrgCount{{Hash: hashName(7 << 32), Count: 60}}},
	}, 20, 100)
	var c Counts
	for i := range uint64(9) {
		c.Learn(Login{Values: [Levels]uint64{IP: (100 + i) << 32, ASN: (1 + i/6) << 32, Country: 7 << 32}}, start)
	}
	got, ok := m.Score(&c, prior, Login{Values: [Levels]uint64{IP: 500 << 32, ASN: 1 << 32, Country: 7 << 32}}, start)

	frac := big.NewRat
	over := func(a, b *big.Rat) *big.Rat { return new(big.Rat).Quo(a, b) }
	plus := func(a, b *big.Rat) *big.Rat { return new(big.Rat).Add(a, b) }
	times := func(a, b *big.Rat) *big.Rat { return new(big.Rat).Mul(a, b) }
	// p_org: (60 + 1/100)/101 of the country, (20 + 1/1000)/101 of the AS number.
	country := over(plus(over(frac(9, 1), over(frac(6001, 100), frac(101, 1))), frac(1, 1)), frac(10, 1))
	asn := over(plus(over(frac(6, 1), over(frac(20001, 1000), frac(101, 1))), country), frac(10, 1))
	ip := over(asn, frac(10, 1))
	attacker := plus(plus(times(frac(1, 2), asn), times(frac(1, 4), country)), frac(1, 4))
	ratio, _ := over(attacker, ip).Float64()
	want := Score{Parts: []Part{{"network", quantise(math.Log(ratio))}, {"frequency", quantise(-math.Log(9. / 5))}}}
	want.Value = want.Parts[0].LogRatio + want.Parts[1].LogRatio
	if diff := cmp.Diff(got, want); diff != "" || !ok {
		t.Errorf("(-got, +want)\n%s", diff)
	}
}

func TestFirstLoginIsNotScored(t *testing.T) {
	t.Parallel()
	var c Counts
	l := LoginOf(&events.Event{IP: "192.0.2.1", UserAgent: "a"})
	if s, ok := DefaultModel().Score(&c, nil, l, start); ok {
		t.Errorf("scored %v", s)
	}
	c.Learn(l, start)
	if _, ok := DefaultModel().Score(&c, nil, l, start); !ok {
		t.Error("a second login is not scored")
	}
	if s, ok := DefaultModel().Score(&c, nil, l, start+61*events.Day); ok {
		t.Errorf("half a login is enough: %v", s)
	}
}

// TestStrangerIsLessFamiliar orders logins as a person would.
func TestStrangerIsLessFamiliar(t *testing.T) {
	t.Parallel()
	event := func(ip string, asn uint32, country, agent, os, device string) *events.Event {
		return &events.Event{
			IP: ip, Network: events.Network{ASN: asn}, Place: events.Place{Country: country}, UserAgent: agent,
			Device: events.Device{ID: device, OS: os, Browser: agent, Type: "desktop"},
		}
	}
	var totals Totals
	var c Counts
	for day := range 30 {
		at := start + events.Millis(day*events.Day)
		for other := range 40 {
			totals.Learn(LoginOf(event("198.51.100."+string(rune('0'+other%10)), uint32(1+other%4), []string{"NL", "GB"}[other%2], "Edge", "Windows", string(rune('A'+other)))), at)
		}
		c.Learn(LoginOf(event("192.0.2.1", 1, "NL", "Edge", "Windows", "own")), at)
	}
	at := start + 30*events.Day
	for name, prior := range map[string]*Prior{"alone": nil, "in a tenant": PriorOf(totals.Levels(), 40, totals.Total(at))} {
		before := math.Inf(-1)
		for _, e := range []*events.Event{
			event("192.0.2.1", 1, "NL", "Edge", "Windows", "own"),
			event("192.0.2.2", 1, "NL", "Edge", "Windows", "own"),
			event("192.0.2.2", 3, "NL", "Edge", "Windows", "own"),
			event("192.0.2.2", 9, "JP", "Edge", "Windows", "own"),
			event("192.0.2.2", 9, "JP", "Edge", "Windows", ""),
			event("192.0.2.2", 9, "JP", "Firefox", "Linux", ""),
		} {
			s, ok := DefaultModel().Score(&c, prior, LoginOf(e), at)
			if !ok || s.Value <= before {
				t.Errorf("%s: %+v scores %v, not more than %g", name, e, s, before)
			}
			before = s.Value
		}
	}
}

func TestAbsenceIsAValueWhereAnAttackerChooses(t *testing.T) {
	t.Parallel()
	none := LoginOf(&events.Event{})
	for level, v := range none.Values {
		if known := v != 0; known != (Level(level) >= Agent) {
			t.Errorf("%v of an event without anything: %x", Level(level), v)
		}
	}
	same := func(a, b string) bool {
		return LoginOf(&events.Event{IP: a}).Values[IP] == LoginOf(&events.Event{IP: b}).Values[IP]
	}
	if !same("2001:db8::1", "2001:db8::ffff:2") || same("2001:db8::1", "2001:db8:0:1::1") || same("192.0.2.1", "192.0.2.2") ||
		!same("192.0.2.1", "::ffff:192.0.2.1") || LoginOf(&events.Event{IP: "no address"}).Values[IP] != 0 {
		t.Error("addresses are confused")
	}
	phone := events.Event{IP: "192.0.2.1", Network: events.Network{ASN: 64496, Classes: []events.Class{events.Mobile}}}
	if l := LoginOf(&phone); l.Values[IP] != 0 || l.Values[ASN] == 0 {
		t.Errorf("a phone's address counts: %x", l.Values)
	}
	if PublishedLoginOf(&phone).Values[IP] == 0 {
		t.Error("the published form counts every address")
	}
}

// The attackers of every feature are a mixture: shares, together 1 at most. What is worth nothing beside a login would divide by 0.
func TestDefaultModelIsAMixture(t *testing.T) {
	t.Parallel()
	m := DefaultModel()
	for _, f := range features {
		sum := 0.0
		for level := f.first; level < f.last; level++ {
			if share := m.Imitation[level]; !(share > 0) || !(m.Alpha[level] > 0) {
				t.Errorf("%s: share %g, alpha %g", level, share, m.Alpha[level])
			}
			sum += m.Imitation[level]
		}
		if !(sum <= 1) {
			t.Errorf("the levels of %s have %g together", f.name, sum)
		}
	}
	if !(m.Beta > 0) {
		t.Errorf("beta is %g", m.Beta)
	}
}

func TestLn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := math.Exp(rapid.Float64Range(-300, 300).Draw(t, "ln x"))
		if got, want := ln(x), math.Log(x); math.Abs(got-want) > 2e-15*max(1, math.Abs(want)) {
			t.Errorf("ln %g = %g, want %g", x, got, want)
		}
	})
	for _, x := range []float64{1, math.E, math.Sqrt2, 1e-300, math.MaxFloat64} {
		if got, want := ln(x), math.Log(x); math.Abs(got-want) > 2e-15*max(1, math.Abs(want)) {
			t.Errorf("ln %g = %g, want %g", x, got, want)
		}
	}
}

// BenchmarkScoreAndLearn is what a login costs, with a user and a tenant that know much.
func BenchmarkScoreAndLearn(b *testing.B) {
	var c Counts
	var totals Totals
	list := make([]Login, 64)
	for i := range list {
		for k := range list[i].Values {
			list[i].Values[k] = hashNumber(uint64(i % (kept[k] + 2)))
		}
		c.Learn(list[i], start)
		totals.Learn(list[i], start)
	}
	prior := PriorOf(totals.Levels(), 1000, 1e5)
	m := DefaultModel()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at := start + events.Millis(i)*events.Minute
		if _, ok := m.Score(&c, prior, list[i%64], at); !ok {
			b.Fatal("not scored")
		}
		c.Learn(list[i%64], at)
	}
	b.ReportMetric(float64(len(c.AppendBinary(nil))), "encoded-B")
}

func BenchmarkTotalsLearn(b *testing.B) {
	var totals Totals
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		var l Login
		for k := range l.Values {
			l.Values[k] = hashNumber(uint64(i) % uint64(3*watched[k]))
		}
		totals.Learn(l, start+events.Millis(i))
	}
	b.ReportMetric(float64(len(totals.AppendBinary(nil))), "encoded-B")
}

func BenchmarkCountsCodec(b *testing.B) {
	var c Counts
	for i := range uint64(30) {
		var l Login
		for k := range l.Values {
			l.Values[k] = hashNumber(i % 4)
		}
		c.Learn(l, start)
	}
	var text []byte
	b.ReportAllocs()
	for b.Loop() {
		text = c.AppendBinary(text[:0])
		var d Counts
		if err := d.Decode(text); err != nil {
			b.Fatal(err)
		}
	}
}
