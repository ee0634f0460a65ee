package detector

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// loop is a tenant with its whole loop in memory: what the network stage finds comes back into the findings of users.
type loop struct {
	testing.TB
	*Engine
	n int
	// found are the active findings, "user DETECTION severity", and those that do not count, with the disposition.
	found map[string]int
}

// begin is when the loops begin: 2026-01-05, a Monday, at midnight.
const begin = events.Millis(1767571200000)

func newLoop(t testing.TB) *loop {
	return &loop{TB: t, Engine: NewEngine(rules(t)), found: map[string]int{}}
}

func person(i int) string { return fmt.Sprint("person", i) }

// at decides on a sign-in of a person: at home in the Netherlands with the own laptop, by password and prompt, unless change says
// otherwise. Every fourth person has the same operator.
func (l *loop) at(t events.Millis, i int, change func(*events.Event)) []Decided {
	l.Helper()
	l.n++
	e := &events.Event{
		Kind: events.SignIn, Tenant: "acme", User: events.User{ID: person(i)}, Time: t, Ingested: t + 2*events.Second, Outcome: events.Success,
		Interactive: events.Yes, IP: fmt.Sprintf("100.64.%d.9", i), Place: events.Place{Lat: 52.1, Lon: 5.1, RadiusKm: 20, Country: "NL"},
		Network: events.Network{Prefix: fmt.Sprintf("100.64.%d.0/24", i), ASN: 64500 + uint32(i%4)},
		Device:  events.Device{ID: fmt.Sprint("laptop", i), OS: "Windows", Browser: "Edge"}, UserAgent: "Mozilla/5.0 Edg/131",
		App:    events.Ref{ID: "mail"},
		Auth:   events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "push"}},
		Source: events.Source{Name: "loop", Family: "custom", ID: fmt.Sprint(l.n)},
	}
	if change != nil {
		change(e)
	}
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	if err := e.Validate(); err != nil {
		l.Fatal(err)
	}
	list := l.Decide(e)
	for k := range list {
		for _, f := range list[k].Outcome.Findings {
			key := fmt.Sprintf("%s %s %s", f.User.ID, f.Detection, f.Severity)
			if f.Disposition != events.Active {
				key += " " + string(f.Disposition)
			}
			l.found[key]++
		}
	}
	return list
}

// of lists the findings of a person and forgets all.
func (l *loop) of(i int, detections ...string) []string {
	var out []string
	for key, n := range l.found {
		var user, id, severity string
		_, _ = fmt.Sscan(key, &user, &id, &severity)
		if user == person(i) && slices.Contains(detections, id) {
			out = append(out, fmt.Sprintf("%s ×%d", key[len(user)+1:], n))
		}
	}
	slices.Sort(out)
	return out
}

// told counts the users who have an active finding of a detection.
func (l *loop) told(detection string) int {
	users := map[string]bool{}
	for key := range l.found {
		var user, id, severity, disposition string
		if n, _ := fmt.Sscan(key, &user, &id, &severity, &disposition); n == 3 && id == detection {
			users[user] = true
		}
	}
	return len(users)
}

// work lets people sign in at home once a day.
func (l *loop) work(from, days, people int) {
	for day := range days {
		for i := range people {
			l.at(begin+events.Millis(from+day)*events.Day+8*events.Hour+events.Millis(i)*events.Minute, i, nil)
		}
	}
}

// hosted is an attacker in a data centre.
func hosted(e *events.Event) {
	e.IP, e.Network = "203.0.113.5", events.Network{Prefix: "203.0.113.0/24", ASN: 64999, Classes: []events.Class{events.Hosting}}
	e.Place = events.Place{Lat: 50.1, Lon: 8.7, RadiusKm: 20, Country: "DE"}
	e.Device, e.UserAgent, e.Auth = events.Device{OS: "Linux", Browser: "Chrome"}, "tool", events.Auth{}
}

func failed(cause events.Cause) func(*events.Event) {
	return func(e *events.Event) {
		hosted(e)
		e.Outcome, e.Cause = events.Failure, cause
	}
}

// A spray is told to those who were tried, once; who gets in from there is critical and told of the source, and those who sign in
// at home as always are low.
func TestSprayAndWhoGotIn(t *testing.T) {
	t.Parallel()
	for _, cause := range []events.Cause{events.BadPassword, ""} {
		l := newLoop(t)
		l.work(0, 20, 30)
		t0 := begin + 21*events.Day + 3*events.Hour
		for round := range 3 {
			for i := range 14 {
				l.at(t0+events.Millis(round)*3*events.Minute+events.Millis(i)*5*events.Second, i, failed(cause))
			}
		}
		if n := l.told("CRD-03"); n != 14 {
			t.Errorf("%q: %d users were told of the spray", cause, n)
		}
		if diff := cmp.Diff(l.of(3, "CRD-03", "CRD-05"), []string{"CRD-03 medium ×1"}); diff != "" {
			t.Errorf("%q (-got, +want)\n%s", cause, diff)
		}
		l.at(t0+20*events.Minute, 3, hosted)
		if diff := cmp.Diff(l.of(3, "CRD-06", "NET-05"), []string{"CRD-06 critical ×1", "NET-05 high ×1"}); diff != "" {
			t.Errorf("%q: who got in (-got, +want)\n%s", cause, diff)
		}
		l.at(t0+30*events.Minute, 4, nil)
		if diff := cmp.Diff(l.of(4, "CRD-06", "NET-05"), []string{"CRD-06 low ×1"}); diff != "" {
			t.Errorf("%q: who signs in at home (-got, +want)\n%s", cause, diff)
		}
		l.at(t0+30*events.Minute, 20, nil)
		if got := l.of(20, "CRD-03", "CRD-06", "NET-05"); len(got) > 0 {
			t.Errorf("%q: nobody tried this one: %v", cause, got)
		}
	}
}

// A spray through the operator of many of the users, with the most common browser, is one all the same: neither makes the attempts
// the users' own.
func TestSprayThroughTheUsersOperator(t *testing.T) {
	t.Parallel()
	l := newLoop(t)
	l.work(0, 20, 60)
	t0 := begin + 21*events.Day + 3*events.Hour
	for i := range 60 {
		l.at(t0+events.Millis(i)*10*events.Second, i, func(e *events.Event) {
			e.Outcome, e.Cause, e.Auth = events.Failure, events.BadPassword, events.Auth{}
			e.IP, e.Network.Prefix, e.Network.ASN, e.Device.ID = "100.127.0.1", "100.127.0.0/24", 64500, ""
		})
	}
	if n := l.told("CRD-03"); n < 50 {
		t.Errorf("%d of 60 users were told of the spray", n)
	}
}

// After the day on which passwords run out everybody's phone goes on with the old one, from home, for hours: no spray.
func TestOldPasswordsAreNoSpray(t *testing.T) {
	t.Parallel()
	l := newLoop(t)
	l.work(0, 20, 40)
	t0 := begin + 21*events.Day + 8*events.Hour
	for round := range 20 {
		for i := range 40 {
			l.at(t0+events.Millis(round)*2*events.Minute+events.Millis(i)*events.Second, i, func(e *events.Event) {
				e.Outcome, e.Cause, e.Auth, e.IP = events.Failure, events.BadPassword, events.Auth{}, fmt.Sprintf("100.64.%d.77", i)
				e.Device.ID = ""
			})
		}
	}
	for _, id := range []string{"CRD-01", "CRD-02", "CRD-03", "CRD-04", "CRD-05"} {
		if n := l.told(id); n > 0 {
			t.Errorf("%d users have %s", n, id)
		}
	}
}

func TestStuffingEnumerationLockoutsAndDevices(t *testing.T) {
	t.Parallel()
	t0 := begin + 21*events.Day + 3*events.Hour
	for name, c := range map[string]struct {
		detection string
		attempts  int
		attempt   func(i int, e *events.Event)
		want      int // users told
	}{
		"stuffing": {"CRD-05", 20, func(_ int, e *events.Event) { failed(events.BadPassword)(e) }, 20},
		"fewer":    {"CRD-05", 14, func(_ int, e *events.Event) { failed(events.BadPassword)(e) }, 0},
		"enumeration": {"CRD-07", 25, func(i int, e *events.Event) {
			failed(events.UnknownUser)(e)
			e.User = events.User{ID: fmt.Sprint("nobody", i), Type: events.Unresolved}
		}, 1},
		"lockouts": {"CRD-08", 30, func(i int, e *events.Event) {
			failed(events.AccountLocked)(e)
			e.IP, e.Network.Prefix, e.Network.ASN = fmt.Sprintf("203.0.%d.5", i), fmt.Sprintf("203.0.%d.0/24", i), 65000+uint32(i)
		}, 30},
		"one device":      {"DEV-03", 4, func(_ int, e *events.Event) { e.Device.ID = "fingerprint" }, 4},
		"a device of two": {"DEV-03", 2, func(_ int, e *events.Event) { e.Device.ID = "fingerprint" }, 0},
	} {
		l := newLoop(t)
		l.work(0, 20, 30)
		for i := range c.attempts {
			l.at(t0+events.Millis(i)*10*events.Second, i, func(e *events.Event) { c.attempt(i, e) })
		}
		if n := l.told(c.detection); n != c.want {
			t.Errorf("%s: %d users have %s, want %d: %v", name, n, c.detection, c.want, slices.Sorted(maps.Keys(l.found)))
		}
	}
}

// A spray from as many addresses and networks as users shows by what is unusual for the hour, and by the tool they share.
func TestDistributedSprayIsToldWithItsTool(t *testing.T) {
	t.Parallel()
	l := newLoop(t)
	l.work(0, 28, 60)
	t0 := begin + 29*events.Day + 3*events.Hour
	for i := range 60 {
		l.at(t0+events.Millis(i)*8*events.Second, i, func(e *events.Event) {
			failed(events.BadPassword)(e)
			e.IP, e.Network.Prefix, e.Network.ASN = fmt.Sprintf("203.0.%d.5", i), fmt.Sprintf("203.0.%d.0/24", i), 65000+uint32(i)
			e.UserAgent = fmt.Sprint("agent", i)
		})
	}
	if n := l.told("CRD-04"); n < 50 {
		t.Errorf("%d of 60 users were told", n)
	}
	l.at(t0+30*events.Minute, 7, hosted)
	if got := l.of(7, "CRD-06"); !slices.Equal(got, []string{"CRD-06 critical ×1"}) {
		t.Errorf("who got in has %v", got)
	}
}

// office is the organisation's gateway in Ireland: managed laptops come through it.
func office(e *events.Event) {
	e.IP, e.Network = "192.0.2.10", events.Network{Prefix: "192.0.2.0/24", ASN: 64700}
	e.Place = events.Place{Lat: 53.3, Lon: -6.3, RadiusKm: 20, Country: "IE"}
	e.Device.Managed = events.Yes
}

// The gateway is learned after its quarantine, and then says nothing of where people are.
func TestEgressIsLearnedAndSuppresses(t *testing.T) {
	t.Parallel()
	l := newLoop(t)
	for day := range 12 {
		for i := range 8 {
			l.at(begin+events.Millis(day)*events.Day+8*events.Hour+events.Millis(i)*events.Minute, i, func(e *events.Event) {
				e.Device.Managed = events.Yes
				if i < 6 {
					office(e)
				}
			})
		}
		if day == 1 && len(l.Engine.Context("acme").Told().Egress) > 0 {
			t.Error("learned within the quarantine")
		}
	}
	if got := l.Engine.Context("acme").Told().Egress; !slices.Equal(got, []string{"192.0.2.0/24"}) {
		t.Fatalf("egress %v", got)
	}
	t0 := begin + 12*events.Day + 8*events.Hour
	l.at(t0, 7, nil)
	l.at(t0+10*events.Minute, 7, office)
	if got := l.of(7, "LOC-01", "LOC-04", "CONJ-01"); slices.ContainsFunc(got, func(s string) bool {
		return !slices.Contains([]string{"LOC-01 high suppressed ×1", "LOC-04 low suppressed ×1"}, s)
	}) || len(got) == 0 {
		t.Errorf("a colleague through the gateway: %v", got)
	}
}

// Nobody can make an address the organisation's own by signing its people in there: not with what an adversary in the middle has,
// not from a managed device's token once that is adverse, and not where more fail than get in.
func TestEgressCannotBePoisoned(t *testing.T) {
	t.Parallel()
	for name, attack := range map[string]func(i int, e *events.Event){
		"a relay": func(_ int, e *events.Event) {
			hosted(e)
			e.Auth = events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor}
		},
		"a relay that says the same device": func(_ int, e *events.Event) {
			device, agent := e.Device, e.UserAgent
			hosted(e)
			e.Device, e.UserAgent, e.Auth = device, agent, events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor}
		},
		"without a second factor": func(_ int, e *events.Event) {
			e.IP, e.Network = "203.0.113.5", events.Network{Prefix: "203.0.113.0/24", ASN: 64999}
			e.Auth = events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor}
		},
		"a spray as well": func(i int, e *events.Event) {
			e.IP, e.Network = "203.0.113.5", events.Network{Prefix: "203.0.113.0/24", ASN: 64999}
			if i > 5 {
				e.Outcome, e.Cause, e.Auth, e.Device.ID = events.Failure, events.BadPassword, events.Auth{}, ""
			}
		},
	} {
		l := newLoop(t)
		l.work(0, 20, 30)
		for day := range 12 {
			for i := range 20 {
				l.at(begin+events.Millis(20+day)*events.Day+3*events.Hour+events.Millis(i)*7*events.Minute, i, func(e *events.Event) { attack(i, e) })
			}
		}
		l.work(32, 1, 30)
		if got := l.Engine.Context("acme").Told().Egress; len(got) > 0 {
			t.Errorf("%s: egress %v", name, got)
		}
	}
}

// A carrier that brings its users to the internet now here and now there is known by that, and no journey then.
func TestHubsAreLearned(t *testing.T) {
	t.Parallel()
	l := newLoop(t)
	carrier := func(i, turn int) func(*events.Event) {
		return func(e *events.Event) {
			e.Device.ID = fmt.Sprint("phone", i)
			e.Device.OS, e.Device.Browser = "iOS", "Safari"
			e.IP, e.Network = fmt.Sprintf("198.18.%d.7", turn%2), events.Network{Prefix: fmt.Sprintf("198.18.%d.0/24", turn%2), ASN: 64888}
			if turn%2 == 1 {
				e.Place = events.Place{Lat: 45.5, Lon: 9.2, RadiusKm: 20, Country: "IT"}
			}
		}
	}
	for day := range 6 {
		for i := range 30 {
			t0 := begin + events.Millis(day)*events.Day + 8*events.Hour + events.Millis(i)*events.Minute
			l.at(t0, i, carrier(i, 0))
			l.at(t0+30*events.Minute, i, carrier(i, day))
		}
	}
	if got := l.Engine.Context("acme").Told().Hubs; !slices.Equal(got, []uint32{64888}) {
		t.Errorf("hubs %v", got)
	}
}

// After a month, a country in which nobody of the organisation has been stands out for anybody; before that it is not known.
func TestCountryNewToTheOrganisation(t *testing.T) {
	t.Parallel()
	abroad := func(e *events.Event) {
		e.IP, e.Network = "198.18.9.7", events.Network{Prefix: "198.18.9.0/24", ASN: 64777}
		e.Place, e.Device = events.Place{Lat: 35.7, Lon: 139.7, RadiusKm: 20, Country: "JP"}, events.Device{OS: "Linux", Browser: "Chrome"}
	}
	for days, want := range map[int][]string{25: nil, 33: {"LOC-06 high ×1"}} {
		l := newLoop(t)
		l.work(0, days, 10)
		l.at(begin+events.Millis(days)*events.Day+20*events.Hour, 3, abroad)
		if diff := cmp.Diff(l.of(3, "LOC-06"), want); diff != "" {
			t.Errorf("after %d days (-got, +want)\n%s", days, diff)
		}
	}
}
