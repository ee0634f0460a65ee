package company

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

func small(change func(*Config)) Config {
	c := DefaultConfig()
	c.Users, c.Days, c.AttacksPerDay, c.QuietDays = 300, 10, 10, 2
	if change != nil {
		change(&c)
	}
	return c
}

// digest is a fingerprint of a whole stream with its labels.
func digest(c *Company) (sum string, n int) {
	h := sha256.New()
	for e, l := range c.Events() {
		h.Write(events.Encode(&e))
		h.Write([]byte(l.EventID + string(l.Attack) + string(l.Confounder)))
		n++
	}
	return hex.EncodeToString(h.Sum(nil)), n
}

func TestSameSeedSameBytes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"plain":   nil,
		"faults":  func(c *Config) { c.Faults = Faults{Late: 0.05, Duplicate: 0.01, MissingPlace: 0.02} },
		"tenants": func(c *Config) { c.Tenants = []string{"acme", "globex"} },
	} {
		a, n := digest(New(small(change)))
		b, _ := digest(New(small(change)))
		if a != b {
			t.Errorf("%s: two runs differ", name)
		}
		if n < 5000 {
			t.Errorf("%s: %d events", name, n)
		}
		other, _ := digest(New(small(func(c *Config) {
			if change != nil {
				change(c)
			}
			c.Seed = 2
		})))
		if other == a {
			t.Errorf("%s: the seed changes nothing", name)
		}
	}
}

func TestEventsAreValidAndInOrder(t *testing.T) {
	t.Parallel()
	cfg := small(func(c *Config) { c.Ingested = true; c.Tenants = []string{"acme", "globex"} })
	end := cfg.Start + events.Millis(cfg.Days*events.Day)
	ids := map[string]bool{}
	var last events.Millis
	for e, l := range New(cfg).Events() {
		if err := e.Validate(); err != nil {
			t.Fatalf("%v\n%s", err, events.Encode(&e))
		}
		switch {
		case e.Time < last:
			t.Fatalf("%v after %v", e.Time, last)
		case e.Time < cfg.Start || e.Time >= end:
			t.Fatalf("%v is not between %v and %v", e.Time, cfg.Start, end)
		case ids[e.ID]:
			t.Fatalf("id twice: %s", events.Encode(&e))
		case e.ID != events.EventID(e.Tenant, e.Source.Family, e.Source.ID):
			t.Fatalf("id %s is not of its source", e.ID)
		case l.EventID != e.ID:
			t.Fatalf("label of %s on %s", l.EventID, e.ID)
		case e.Ingested < e.Time || e.Ingested > e.Time+5*events.Second:
			t.Fatalf("happened %v, accepted %v", e.Time, e.Ingested)
		case !e.Place.Located() || e.Network.ASN == 0 || e.Network.Prefix == "":
			t.Fatalf("no place or network: %s", events.Encode(&e))
		case strings.Contains(string(events.Encode(&e)), "attack"):
			t.Fatalf("the event tells its label: %s", events.Encode(&e))
		}
		before := e.Time
		ids[e.ID], last = true, before
		copied := e
		copied.Clean()
		if diff := cmp.Diff(copied, e); diff != "" {
			t.Fatalf("not clean: %s", diff)
		}
	}
}

func TestVolumesAreThoseOfACompany(t *testing.T) {
	t.Parallel()
	cfg := small(func(c *Config) { c.Users, c.Days, c.AttacksPerDay = 2000, 28, 0 })
	kinds := map[events.Kind]int{}
	perUser := map[string]int{}
	outcomes := map[events.Outcome]int{}
	countries := map[string]bool{}
	confounders := map[Confounder]int{}
	classes := map[events.Class]int{}
	weekday, weekend, night, total, six := 0, 0, 0, 0, 0
	days := map[string]map[int64]bool{}
	for e, l := range New(cfg).Events() {
		total++
		kinds[e.Kind]++
		outcomes[e.Outcome]++
		perUser[e.User.ID]++
		countries[e.Place.Country] = true
		confounders[l.Confounder]++
		for _, c := range e.Network.Classes {
			classes[c]++
		}
		if d := (dayOf(e.Time) + 4) % 7; d == 0 || d == 6 {
			weekend++
		} else {
			weekday++
		}
		if e.Place.City == "Utrecht" && e.Network.Is(events.Office) {
			if hour := (e.Time/events.Hour + 1) % 24; hour < 6 || hour > 22 {
				night++
			}
		}
		if strings.Contains(e.IP, ":") {
			six++
		}
		if days[e.User.ID] == nil {
			days[e.User.ID] = map[int64]bool{}
		}
		days[e.User.ID][dayOf(e.Time)] = true
	}
	if mean := float64(total) / float64(cfg.Users*cfg.Days); mean < 2.5 || mean > 12 {
		t.Errorf("%.1f events a user and day", mean)
	}
	if kinds[events.SignIn] < total/5 || kinds[events.SessionUse] < total/3 || kinds[events.SignOut] == 0 {
		t.Errorf("kinds %v", kinds)
	}
	if f := outcomes[events.Failure]; f == 0 || f > total/20 {
		t.Errorf("outcomes %v", outcomes)
	}
	if len(countries) < 35 {
		t.Errorf("%d countries", len(countries))
	}
	if weekend*5 > weekday {
		t.Errorf("%d on weekends, %d on weekdays", weekend, weekday)
	}
	if night > 0 {
		t.Errorf("%d at night in the office", night)
	}
	if six == 0 {
		t.Error("no IPv6")
	}
	for _, c := range []Confounder{BusinessTrip, VPNUse, RelayUse, MobileHub, NewLaptop} {
		if confounders[c] == 0 {
			t.Errorf("no %s", c)
		}
	}
	for _, c := range []events.Class{events.Mobile, events.VPN, events.Relay, events.Office} {
		if classes[c] == 0 {
			t.Errorf("no network of class %s", c)
		}
	}
	daily, rare := 0, 0
	for _, d := range days {
		switch {
		case len(d) >= 12:
			daily++
		case len(d) <= 3:
			rare++
		}
	}
	if daily < cfg.Users/3 || rare < cfg.Users/20 {
		t.Errorf("%d sign in on most days, %d hardly ever", daily, rare)
	}
}

// explained tells whether an event carries the class that explains a place far from the person.
func explained(e *events.Event) bool {
	return e.Network.Is(events.Mobile) || e.Network.Is(events.VPN) || e.Network.Is(events.Relay) ||
		e.Network.Is(events.Satellite) || e.Network.Is(events.Hosting)
}

// A geo database is wrong by this much at most about a fixed line, in kilometres.
const wrong = 160

func TestNobodyTravelsFasterThanAnAirliner(t *testing.T) {
	t.Parallel()
	type sight struct {
		at       events.Millis
		lat, lon float64
		city     string
	}
	last := map[string]sight{}
	abroad := map[string]bool{}
	cfg := small(func(c *Config) { c.Users, c.Days = 1500, 90 })
	for e, l := range New(cfg).Events() {
		if l.Attack != "" || explained(&e) || e.User.Type != "" {
			continue
		}
		now := sight{e.Time, e.Place.Lat, e.Place.Lon, e.Place.City}
		if was, ok := last[e.User.ID]; ok {
			km := haversine(was.lat, was.lon, now.lat, now.lon)
			hours := max(1.0/60, float64(now.at-was.at)/events.Hour)
			if max(0, km-2*wrong)/hours > 900 {
				t.Fatalf("%s: %s to %s, %.0f km in %.2f h", e.User.ID, was.city, now.city, km, hours)
			}
			if km > 500 {
				abroad[e.User.ID] = true
			}
		}
		last[e.User.ID] = now
	}
	if len(abroad) < cfg.Users/20 {
		t.Errorf("only %d of %d travelled", len(abroad), cfg.Users)
	}
}

// Where people are, whatever the databases say.
func TestPlansKeepToTheLawsOfNature(t *testing.T) {
	t.Parallel()
	c := New(small(func(c *Config) { c.Users = 1500 }))
	trips := 0
	for i := range uint32(c.cfg.Users) {
		var was *slot
		var before events.Millis
		for day := dayOf(c.cfg.Start); day < dayOf(c.cfg.Start)+120; day++ {
			for _, s := range c.plan(nil, i, day) {
				at := base(day) + events.Millis(s.at)
				if was != nil {
					km, hours := far[was.city][s.city], max(1.0/60, float64(at-before)/events.Hour)
					if km/hours > 900 || km > 0 && hours < 1 {
						t.Fatalf("%d: %s to %s in %.2f h", i, cities[was.city].name, cities[s.city].name, hours)
					}
					if km > 0 {
						trips++
					}
					if at <= before && dayOf(before) == dayOf(at) && s.day == was.day {
						t.Fatalf("%d does two things at once", i)
					}
				}
				was, before = &s, at
			}
		}
	}
	if trips < c.cfg.Users/5 {
		t.Errorf("%d journeys", trips)
	}
}

func TestAttacksAreWhatTheirLabelsSay(t *testing.T) {
	t.Parallel()
	cfg := small(func(c *Config) { c.Users, c.Days, c.AttacksPerDay, c.QuietDays = 800, 30, 6, 10 })
	type user struct {
		genuine []events.Event
		attack  map[int][]events.Event
	}
	users := map[string]*user{}
	kindOf := map[int]Attack{}
	for e, l := range New(cfg).Events() {
		u := users[e.User.ID]
		if u == nil {
			u = &user{attack: map[int][]events.Event{}}
			users[e.User.ID] = u
		}
		if l.Attack == "" {
			u.genuine = append(u.genuine, e)
			continue
		}
		if e.Time < cfg.Start+events.Millis((cfg.QuietDays-1)*events.Day) {
			t.Fatalf("attack in the quiet time, at %v", e.Time)
		}
		kindOf[l.Incident] = l.Attack
		u.attack[l.Incident] = append(u.attack[l.Incident], e)
	}
	count := map[Attack]int{}
	for id, u := range users {
		for incident, strikes := range u.attack {
			kind := kindOf[incident]
			count[kind]++
			first := &strikes[0]
			before := slices.IndexFunc(u.genuine, func(e events.Event) bool { return e.Time > first.Time })
			if before < 0 {
				before = len(u.genuine)
			}
			if len(strikes) < 3 {
				t.Errorf("%s %s: %d events", id, kind, len(strikes))
			}
			shared := slices.ContainsFunc(u.genuine[:before], func(e events.Event) bool { return e.Session.ID == first.Session.ID })
			devices := slices.ContainsFunc(u.genuine, func(e events.Event) bool {
				return e.Device.OS == first.Device.OS && e.Device.Browser == first.Device.Browser && e.Network.ASN == first.Network.ASN
			})
			speed := 0.0
			for _, e := range u.genuine[:before] {
				if !explained(&e) && first.Time-e.Time < events.Day {
					km := haversine(e.Place.Lat, e.Place.Lon, first.Place.Lat, first.Place.Lon)
					speed = max(speed, km/max(1.0/60, float64(first.Time-e.Time)/events.Hour))
				}
			}
			switch kind { //nolint:exhaustive // the others have a test of their own
			case StolenSession:
				if !shared || first.Kind != events.SessionUse {
					t.Errorf("%s: the session was not the victim's", id)
				}
			case ImpossibleTravel:
				if shared || first.Kind != events.SignIn || speed < 1500 {
					t.Errorf("%s: shared %v, %s, %.0f km/h", id, shared, first.Kind, speed)
				}
			case NewCountryDevice:
				known := slices.ContainsFunc(u.genuine, func(e events.Event) bool { return e.Place.Country == first.Place.Country && !explained(&e) })
				if shared || first.Kind != events.SignIn || speed > 900 || known {
					t.Errorf("%s: shared %v, %s, %.0f km/h, known country %v", id, shared, first.Kind, speed, known)
				}
			}
			if devices {
				t.Errorf("%s: the attacker's device and network are the victim's", id)
			}
		}
	}
	for _, kind := range Visible {
		if count[kind] < 10 {
			t.Errorf("%d of %s in 20 days of 6 attacks", count[kind], kind)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	run := func(f Faults) (times map[string][]events.Millis, order []events.Millis, placeless int) {
		times = map[string][]events.Millis{}
		for e := range New(small(func(c *Config) { c.Faults, c.AttacksPerDay = f, 0 })).Events() {
			times[e.ID] = append(times[e.ID], e.Time)
			order = append(order, e.Time)
			if !e.Place.Located() {
				placeless++
			}
		}
		return times, order, placeless
	}
	clean, order, placeless := run(Faults{})
	if !slices.IsSorted(order) || placeless > 0 || len(order) != len(clean) {
		t.Errorf("faults without faults")
	}
	broken, order, placeless := run(Faults{Late: 0.05, Duplicate: 0.02, MissingPlace: 0.03})
	if len(broken) != len(clean) {
		t.Errorf("%d events with faults, %d without: faults must lose nothing", len(broken), len(clean))
	}
	twice, late := 0, 0
	var newest events.Millis
	for _, at := range order {
		if at < newest {
			late++
			if newest-at > 31*events.Minute {
				t.Fatalf("%d ms late", newest-at)
			}
		}
		newest = max(newest, at)
	}
	for id, at := range broken {
		if len(at) == 2 {
			twice++
		}
		if at[0] != clean[id][0] {
			t.Fatalf("a late event changed its time")
		}
	}
	share := func(n int) float64 { return float64(n) / float64(len(clean)) }
	if s := share(twice); s < 0.01 || s > 0.03 {
		t.Errorf("%.3f came twice", s)
	}
	if s := share(late); s < 0.03 || s > 0.09 {
		t.Errorf("%.3f came late", s)
	}
	if s := share(placeless); s < 0.015 || s > 0.05 {
		t.Errorf("%.3f have no place", s)
	}
}

func TestRespond(t *testing.T) {
	t.Parallel()
	c := New(small(func(c *Config) { c.AttacksPerDay = 100 }))
	var e events.Event
	var victim, intruder events.Event
	for intruder.ID == "" || victim.ID == "" {
		l, ok := c.Next(&e)
		if !ok {
			t.Fatal("the stream ended")
		}
		if l.Attack == ImpossibleTravel && e.Kind == events.SignIn {
			intruder = e
		}
		if l == (Label{EventID: e.ID}) && e.Kind == events.SessionUse && e.Device.Type == "desktop" {
			victim = e
		}
	}
	if did, err := c.Respond(intruder.Tenant, intruder.User.ID, intruder.Session.ID, e.Time+events.Minute); did || err != nil {
		t.Errorf("somebody answered in the intruder's session: %v, %v", did, err)
	}
	for _, bad := range [][2]string{{"acme", "emp-9999999"}, {"acme", "bob"}, {"acme", ""}, {"globex", "emp-0000001"}, {"acme", "emp-1"}} {
		if _, err := c.Respond(bad[0], bad[1], "", e.Time); err == nil {
			t.Errorf("%v works here", bad)
		}
	}
	for _, session := range []string{"", victim.Session.ID} {
		at := e.Time + 40*events.Second
		if did, err := c.Respond(victim.Tenant, victim.User.ID, session, at); !did || err != nil {
			t.Fatalf("%v, %v", did, err)
		}
		last := e.Time
		for {
			l, ok := c.Next(&e)
			if !ok {
				t.Fatal("no answer came")
			}
			if e.Time < last {
				t.Fatal("out of order")
			}
			last = e.Time
			if l.Confounder != StepUpDone {
				continue
			}
			if err := e.Validate(); err != nil {
				t.Error(err)
			}
			if e.User.ID != victim.User.ID || e.Time != at || e.Interactive != events.Yes || e.Outcome != events.Success ||
				e.Auth.Strength.Rank() < events.MultiFactor.Rank() || e.Auth.MFA != events.MFAPerformed {
				t.Errorf("answer %s", events.Encode(&e))
			}
			if (session == "") == (e.Session.ID == victim.Session.ID) || e.Session.ID == "" {
				t.Errorf("asked in session %q, answered in %q", session, e.Session.ID)
			}
			break
		}
	}
}

// Whoever is challenged on a phone answers with the phone.
func TestRespondWithTheDeviceOfTheSession(t *testing.T) {
	t.Parallel()
	c := New(small(func(c *Config) { c.AttacksPerDay = 0 }))
	var e events.Event
	asked, types := map[string]string{}, map[string]int{} // by session: the type of device
	for range 8000 {
		l, ok := c.Next(&e)
		switch {
		case !ok:
			t.Fatal("the stream ended")
		case l.Confounder == StepUpDone:
			types[e.Device.Type]++
			if want := asked[e.Session.ID]; e.Device.Type != want {
				t.Errorf("asked on a %s, answered on a %s: %s", want, e.Device.Type, events.Encode(&e))
			}
		case len(asked) < 60 && e.Kind == events.SessionUse && asked[e.Session.ID] == "" && e.Device.Type != "script":
			if did, err := c.Respond(e.Tenant, e.User.ID, e.Session.ID, e.Time+20*events.Second); err != nil {
				t.Fatal(err)
			} else if did {
				asked[e.Session.ID] = e.Device.Type
			}
		}
	}
	if types["mobile"] == 0 || types["desktop"] == 0 {
		t.Errorf("answers from %v", types)
	}
}

func TestInject(t *testing.T) {
	t.Parallel()
	for _, kind := range Visible {
		c := New(small(func(c *Config) { c.AttacksPerDay, c.Days = 0, 0 }))
		var e events.Event
		for range 2000 {
			c.Next(&e)
		}
		tenant, user, first, err := c.Inject(kind, e.Time)
		if err != nil {
			t.Fatal(err)
		}
		for range 100_000 {
			l, ok := c.Next(&e)
			if !ok || e.Time > first {
				t.Fatalf("%s: never came", kind)
			}
			if l.Attack == kind {
				break
			}
		}
		if e.Tenant != tenant || e.User.ID != user || e.Time != first {
			t.Errorf("%s of %s/%s at %v, announced %s/%s at %v", kind, e.Tenant, e.User.ID, e.Time, tenant, user, first)
		}
	}
	c := New(small(nil))
	if _, _, _, err := c.Inject(StolenSession, c.end()+100*events.Day); err == nil {
		t.Error("an attack in the far future")
	}
	c = New(small(func(c *Config) { c.Users, c.Days = 1, 1 }))
	for range c.Events() {
		continue // to the end
	}
	if _, _, _, err := c.Inject(StolenSession, c.end()); !errors.Is(err, ErrNoVictim) {
		t.Errorf("after the end: %v", err)
	}
}

func TestMemoryDoesNotGrowWithTime(t *testing.T) {
	c := New(small(func(c *Config) { c.Users, c.Days = 2000, 0 }))
	var e events.Event
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	run := func(days int) uint64 {
		for until := e.Time + events.Millis(days*events.Day); e.Time < until; {
			if _, ok := c.Next(&e); !ok {
				t.Fatal("a stream without end ended")
			}
		}
		return used()
	}
	c.Next(&e)
	early := run(10)
	late := run(60)
	if late > early+early/2+1<<20 {
		t.Errorf("%d bytes after ten days, %d after seventy", early, late)
	}
	runtime.KeepAlive(c)
}

func TestValidateNamesEveryProblem(t *testing.T) {
	bad := Config{Tenants: []string{"a/b", "x", "x"}, Days: -1, AttacksPerDay: math.NaN(), QuietDays: -1, Faults: Faults{Late: 2}}
	err := bad.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, path := range []string{"users", "tenants[0]", "tenants[2]", "start", "days", "attacks_per_day", "quiet_days", "faults.late"} {
		if !strings.Contains("\n"+err.Error(), "\n"+path+": ") {
			t.Errorf("no problem with %s in\n%v", path, err)
		}
	}
	good := DefaultConfig()
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func BenchmarkNext(b *testing.B) {
	for name, users := range map[string]int{"20k": 20_000, "200k": 200_000} {
		b.Run(name, func(b *testing.B) {
			c := New(small(func(c *Config) { c.Users, c.Days = users, 0 }))
			var e events.Event
			b.ReportAllocs()
			for b.Loop() {
				c.Next(&e)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
