package profile

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
)

func degrees(lat, lon float64) *Spot { return &Spot{Lat: int32(lat * 1e4), Lon: int32(lon * 1e4)} }

func TestClusters(t *testing.T) {
	p := New()
	utrecht, tokyo := degrees(52.09, 5.12), degrees(35.68, 139.69)
	if c, _ := p.NearestCluster(utrecht); c != nil {
		t.Errorf("%+v of none", c)
	}
	first := p.LearnCluster(utrecht, 20, 100, start, true)
	if first.Weight != 1 || !first.Unconfirmed || first.RadiusKm != 20 || first.First != MinutesOf(start) {
		t.Errorf("%+v", first)
	}
	c := p.LearnCluster(degrees(52.37, 4.89), 40, 100, start+events.Hour, false) // Amsterdam, 35 km away
	if len(p.Clusters) != 1 || c.Weight != 2 || c.RadiusKm != 30 || !c.Unconfirmed || c.Lat != 522300 || c.Lon != 50050 {
		t.Errorf("%+v", p.Clusters)
	}
	p.LearnCluster(tokyo, 20, 100, start+2*events.Hour, false)
	near, km := p.NearestCluster(degrees(34.69, 135.5)) // Osaka
	if len(p.Clusters) != 2 || near.Lat != tokyo.Lat || math.Abs(km-397) > 3 {
		t.Errorf("%+v, %v km", near, km)
	}
	if p.LearnCluster(&Spot{}, 20, 100, start, false) != nil || len(p.Clusters) != 2 {
		t.Error("nowhere has become a place")
	}
	at := start + 60*events.Day + events.Hour
	if got := p.Clusters[0].WeightAt(at); math.Abs(got-1) > 1e-6 {
		t.Errorf("after a half-life 2 have become %v", got)
	}
}

func TestClustersMeetAcrossTheDateLine(t *testing.T) {
	p := New()
	p.LearnCluster(degrees(-17, 179.8), 10, 100, start, false)
	c := p.LearnCluster(degrees(-17, -179.6), 10, 100, start, false)
	if len(p.Clusters) != 1 || c.Lon != -1799000 {
		t.Errorf("%+v", p.Clusters)
	}
}

func TestLightestClusterGoes(t *testing.T) {
	p := New()
	home := degrees(52.09, 5.12)
	for i := range events.Millis(30) {
		p.LearnCluster(home, 20, 100, start+i*events.Day, false)
	}
	for i := range MaxClusters + 5 { // a long journey
		p.LearnCluster(degrees(-40+2*float64(i), 20), 20, 100, start+events.Millis(31+i)*events.Day, false)
	}
	near, km := p.NearestCluster(home)
	if len(p.Clusters) != MaxClusters || km > 1 || near.Weight < 20 || p.Forgotten != 6 {
		t.Errorf("%d clusters, home %+v %v km away, %d forgotten", len(p.Clusters), near, km, p.Forgotten)
	}
}

// The weight is the same in whichever order the days come.
func TestWeightDoesNotDependOnTheOrder(t *testing.T) {
	home := degrees(52.09, 5.12)
	forth, back := New(), New()
	for i := range events.Millis(50) {
		forth.LearnCluster(home, 20, 100, start+3*i*events.Day, false)
		back.LearnCluster(home, 20, 100, start+3*(49-i)*events.Day, false)
	}
	a, b := forth.Clusters[0], back.Clusters[0]
	if math.Abs(float64(a.Weight-b.Weight)) > 1e-3 || a.First != b.First || a.Last != b.Last {
		t.Errorf("%+v and %+v", a, b)
	}
}

func TestTransitions(t *testing.T) {
	p := New()
	utrecht, tokyo := degrees(52.09, 5.12), degrees(35.68, 139.69)
	p.PassTransition(utrecht, tokyo, start)
	p.PassTransition(tokyo, utrecht, start+events.Hour)
	tr := p.Transition(utrecht, tokyo)
	if tr == nil || tr.Count != 2 || tr.Last != MinutesOf(start+events.Hour) || len(p.Transitions) != 1 {
		t.Fatalf("%+v", p.Transitions)
	}
	p.PassTransition(utrecht, degrees(52.2, 5.3), start) // not out of the cell
	p.PassTransition(utrecht, &Spot{}, start)
	if len(p.Transitions) != 1 || p.Transition(utrecht, degrees(40, -74)) != nil {
		t.Errorf("%+v", p.Transitions)
	}
	for range 300 {
		p.PassTransition(utrecht, tokyo, start+2*events.Hour)
	}
	for i := range 20 {
		p.PassTransition(utrecht, degrees(float64(i)+0.5, 80), start+events.Millis(i))
	}
	if tr := p.Transition(tokyo, utrecht); len(p.Transitions) != MaxTransitions || tr == nil || tr.Count != 255 {
		t.Errorf("%+v", p.Transitions)
	}
}

func TestCellsTellPlacesApart(t *testing.T) {
	seen := map[uint32]bool{}
	for lat := -90.0; lat < 90; lat++ {
		for lon := -180.0; lon < 180; lon++ {
			cell := CellOf(degrees(lat+0.5, lon+0.5))
			if cell == 0 || seen[cell] {
				t.Fatalf("cell %d of %v, %v is not its own", cell, lat, lon)
			}
			seen[cell] = true
		}
	}
	if a, b := CellOf(degrees(90, 180)), CellOf(degrees(-90, -180)); a == b || a == 0 || b == 0 || CellOf(&Spot{}) != 0 {
		t.Errorf("%d, %d", a, b)
	}
}

func TestHourOfWeek(t *testing.T) {
	for text, want := range map[string]int{
		"1970-01-01T00:00:00Z": 72, "2026-01-05T00:59:59Z": 0, "2026-01-11T23:30:00Z": 167, "1969-12-31T23:59:59.999Z": 71,
	} {
		at, err := events.ParseMillis(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := HourOfWeek(at, 0); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
	at, _ := events.ParseMillis("2026-01-11T23:30:00Z")
	if got := [2]int{HourOfWeek(at, 30*events.Minute), HourOfWeek(at, -24*events.Hour)}; got != [2]int{0, 143} {
		t.Errorf("%v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		h := HourOfWeek(anyTime().Draw(t, "at"), anyTime().Draw(t, "ahead"))
		if h < 0 || h >= HoursOfWeek {
			t.Fatal(h)
		}
	})
}

func TestHoursFade(t *testing.T) {
	var h Hours
	if h.Total(start) != 0 || h.Count(5, start) != 0 {
		t.Error("none are some")
	}
	for range 100 {
		h.Add(33, start)
	}
	h.Add(34, start)
	h.Add(-1, start)
	h.Add(HoursOfWeek, start)
	if h.Count(33, start) != 100 || h.Count(34, start) != 1 || h.Total(start) != 101 {
		t.Errorf("%+v", h)
	}
	kept := h
	if got := h.Count(33, start+60*events.Day); got != 50 {
		t.Errorf("after a half-life %v", got)
	}
	h.Add(33, start+30*events.Day)
	if got, want := h.Count(33, start+30*events.Day), 100*math.Sqrt(0.5)+1; math.Abs(got-want) > 0.1 {
		t.Errorf("%v, want %v", got, want)
	}
	h.Add(33, start+90*events.Day)
	if got, want := h.Count(33, start+90*events.Day), 100*math.Pow(0.5, 1.5)+0.5+1; math.Abs(got-want) > 0.2 {
		t.Errorf("%v, want %v", got, want)
	}
	h.Add(33, start-60*events.Day) // late
	if got, want := h.Count(33, start+90*events.Day), 100*math.Pow(0.5, 1.5)+0.5+1+math.Pow(0.5, 2.5); math.Abs(got-want) > 0.3 {
		t.Errorf("%v, want %v", got, want)
	}
	if kept.Count(33, start) != 100 {
		t.Error("a copy has changed")
	}
	h.Add(12, start+10_000*events.Day)
	if h.Total(start+10_000*events.Day) != 1 {
		t.Errorf("%+v", h)
	}
	for range 10_000 {
		h.Add(12, start+10_000*events.Day)
	}
	if got := h.Count(12, start+10_000*events.Day); got != math.MaxUint16/loginUnit+0.875 {
		t.Errorf("not bounded: %v", got)
	}
}

// A year of daily logins settles at what the half-life gives: 1/(1-2^(-1/60)) logins.
func TestHoursSettle(t *testing.T) {
	var h Hours
	for i := range events.Millis(720) {
		h.Add(8, start+i*events.Day)
	}
	want := 1 / (1 - math.Exp2(-1.0/60))
	if got := h.Total(start + 719*events.Day); math.Abs(got-want) > want/20 {
		t.Errorf("%v, want %v", got, want)
	}
}

// The table is the same on every processor, or profiles would differ.
func TestFading(t *testing.T) {
	sum := 0.0
	for k, v := range faded {
		if math.Abs(v-math.Pow(2, -float64(k)/halfLifeDays)) > 1e-9 {
			t.Errorf("%d days: %v", k, v)
		}
		sum += v
	}
	if got := math.Round(sum * 1e9); got != 43531332576 {
		t.Errorf("the sum is %.0f", got)
	}
	if fade(0) != 1 || fade(120) != 0.25 || fade(-60) != 2 || fade(math.MaxInt32) != 0 {
		t.Error("whole half-lives")
	}
}
