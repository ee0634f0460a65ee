package anomaly

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// ordinaryLife is one person's events over some days: home, office, phone, a few sessions a day.
func ordinaryLife(seed uint64, days int) []*events.Event {
	r := rand.New(rand.NewPCG(seed, 1))
	var (
		lat, lon = r.Float64()*100 - 50, r.Float64()*300 - 150
		city     = fmt.Sprintf("Springfield-%d", seed)
		home     = events.Place{Lat: lat, Lon: lon, RadiusKm: 10, City: city, Country: "NL"}
		office   = events.Place{Lat: lat + 0.2, Lon: lon, RadiusKm: 5, City: city, Country: "NL"}
		hub      = events.Place{Lat: lat + 1, Lon: lon, RadiusKm: 100, City: "Capital City", Country: "NL"}
		laptop   = events.Device{ID: fmt.Sprintf("1a0c8f2e-0000-4000-8000-%012x", seed), OS: "Windows", Browser: "Edge", BrowserMajor: 131, Managed: events.Yes}
		phone    = events.Device{ID: fmt.Sprintf("5be01d44-0000-4000-8000-%012x", seed), OS: "iOS", Browser: "Safari"}
		list     []*events.Event
		session  string
	)
	add := func(day, minute int, kind events.Kind, place events.Place, network events.Network, ip string, device events.Device) {
		n := len(list)
		if kind == events.SignIn {
			session = fmt.Sprintf("session-%d-%d", seed, n)
		}
		list = append(list, &events.Event{
			ID: events.EventID("acme", "life", fmt.Sprint(seed, "-", n)), Kind: kind, Tenant: "acme", User: events.User{ID: fmt.Sprint("u", seed)},
			Time: dayZero + events.Millis(day)*events.Day + events.Millis(minute)*events.Minute + events.Millis(r.IntN(60000)), Outcome: events.Success,
			Interactive: events.TriOf(r.IntN(2) == 0), IP: ip, Network: network, Place: place, Device: device, Session: events.Session{ID: session},
		})
	}
	homeNet, officeNet := events.Network{ASN: 1136 + uint32(seed%50)}, events.Network{ASN: 64500}
	mobileNet := events.Network{ASN: 3300, Classes: []events.Class{events.Mobile}}
	for day := range days {
		hubIP := fmt.Sprintf("203.0.113.%d", r.IntN(250))
		add(day, 420+r.IntN(20), events.SignIn, home, homeNet, "192.0.2.17", phone)
		add(day, 480+r.IntN(20), events.SignIn, hub, mobileNet, hubIP, phone)
		add(day, 540+r.IntN(20), events.SignIn, office, officeNet, "198.51.100.9", laptop)
		for hour := range 6 {
			add(day, 580+60*hour+r.IntN(40), events.SessionUse, office, officeNet, "198.51.100.9", laptop)
		}
		add(day, 1100+r.IntN(40), events.SignIn, hub, mobileNet, hubIP, phone)
		add(day, 1200+r.IntN(40), events.SignIn, home, homeNet, "192.0.2.17", laptop)
		add(day, 1260+r.IntN(40), events.SessionUse, home, homeNet, "192.0.2.17", laptop)
	}
	return list
}

func catalogue(t testing.TB) *Catalogue {
	t.Helper()
	c, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOrdinaryLivesAreSilentAndSmall(t *testing.T) {
	c := catalogue(t)
	total, n := 0, 0
	for seed := range uint64(50) {
		p := profile.New()
		for _, e := range ordinaryLife(seed, 30) {
			for _, f := range c.Evaluate(p, nil, e).Findings {
				if adverse(f) {
					t.Fatalf("found %s", events.Encode(&f))
				}
			}
			total += len(p.AppendBinary(nil))
			n++
		}
	}
	if mean := total / n; mean > 1500 {
		t.Errorf("a profile takes %d bytes on average", mean)
	} else {
		t.Logf("%d bytes on average", mean)
	}
}

// fold drives ordinary lives of many users through do, for a benchmark.
func fold(b *testing.B, do func(p **profile.Profile, e *events.Event)) {
	b.Helper()
	const users = 500
	profiles := make([]*profile.Profile, users)
	lives := make([][]*events.Event, users)
	for i := range lives {
		lives[i] = ordinaryLife(uint64(i), 10)
		profiles[i] = profile.New()
	}
	b.ReportAllocs()
	i, round := 0, 0
	for b.Loop() {
		u := i % users
		e := lives[u][round%len(lives[u])]
		do(&profiles[u], e)
		if i++; u == users-1 {
			if round++; round%len(lives[u]) == 0 { // begin again, as new people
				b.StopTimer()
				for k := range profiles {
					profiles[k] = profile.New()
				}
				b.StartTimer()
			}
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	c := catalogue(b)
	fold(b, func(p **profile.Profile, e *events.Event) { c.Evaluate(*p, nil, e) })
}

// BenchmarkFold is all that the detector does with a profile for an event: copy, evaluate, encode.
func BenchmarkFold(b *testing.B) {
	c := catalogue(b)
	var buf []byte
	fold(b, func(p **profile.Profile, e *events.Event) {
		next := (*p).Clone()
		c.Evaluate(next, nil, e)
		*p = next
		buf = next.AppendBinary(buf[:0])
	})
}

func BenchmarkFinding(b *testing.B) {
	c := catalogue(b)
	life := ordinaryLife(1, 30)
	p := profile.New()
	for _, e := range life {
		c.Evaluate(p, nil, e)
	}
	e := *life[len(life)-1]
	e.ID, e.Place, e.IP, e.Time = events.EventID("a", "b", "c"), cities["tokyo"], "233.252.0.1", e.Time+events.Hour
	e.Place.Lat = -e.Place.Lat
	e.Device = devices["linux"]
	b.ReportAllocs()
	for b.Loop() {
		if len(c.Evaluate(p.Clone(), nil, &e).Findings) == 0 {
			b.Fatal("nothing found")
		}
	}
}
