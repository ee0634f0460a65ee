package peers

import (
	"fmt"
	"slices"
	"testing"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
)

// only keeps the alerts of one check.
func only(alerts []Alert, check string) []Alert {
	var kept []Alert
	for _, a := range alerts {
		if a.Check == check {
			kept = append(kept, a)
		}
	}
	return kept
}

// tries are n sign-ins from an hour on, step minutes apart.
func tries(n int, hour, step float64, place string, changes func(i int) change) []*events.Event {
	var stream []*events.Event
	for i := range n {
		stream = append(stream, at(hour+float64(i)*step/60, place, changes(i)))
	}
	return stream
}

// attack is a failure of a user from an address.
func attack(cause events.Cause, user, ip string) change {
	return func(e *events.Event) {
		failed(cause)(e)
		e.User.ID, e.IP = user, ip
	}
}

func TestElasticTravel(t *testing.T) {
	t.Parallel()
	expect(t, only(run(t, "elastic_entra_defaults", at(9, "rome"), at(10, "tokyo"), at(11, "rome")), "travel"), "ann@tokyo/10.0000 travel medium")
	expect(t, only(run(t, "elastic_entra_defaults", at(9, "newyork"), at(10, "losangeles")), "travel"), "ann@losangeles/10.0000 travel medium")
	expect(t, only(run(t, "elastic_entra_defaults", at(9, "rome"), at(11, "tokyo")), "travel"))  // beyond the look-back
	expect(t, only(run(t, "elastic_entra_defaults", at(9, "rome"), at(9.2, "milan")), "travel")) // 477 km
	// The run at 10:30 looks back to 9:00, which the first sign-in precedes: it came too late.
	late := at(10, "tokyo")
	late.Ingested = late.Time + 31*events.Minute
	expect(t, only(run(t, "elastic_entra_defaults", at(9.4, "rome"), late), "travel"))
	alerts := only(run(t, "elastic_entra_defaults", at(9, "rome"), at(9.6, "tokyo")), "travel")
	if len(alerts) != 1 || alerts[0].At != midnight+10*events.Hour {
		t.Errorf("told at the wrong time: %+v", alerts)
	}
}

func TestElasticTwoCountries(t *testing.T) {
	t.Parallel()
	alerts := run(t, "elastic_best", at(9, "rome"), at(9.4, "frankfurt"))
	expect(t, alerts, "ann@frankfurt/9.4000 travel medium", "ann@frankfurt/9.4000 two countries in 30 minutes medium")
	expect(t, run(t, "elastic_okta_defaults", at(9, "rome"), at(9.4, "frankfurt", class(events.VPN))))
	expect(t, only(run(t, "elastic_entra_defaults", at(9, "rome"), at(9.2, "frankfurt")), "two countries in 15 minutes"),
		"ann@frankfurt/9.2000 two countries in 15 minutes medium")
}

func TestElasticSpraying(t *testing.T) {
	t.Parallel()
	one := func(i int) change { return attack(events.BadPassword, fmt.Sprint("u", i), "198.51.100.1") }
	stream := append(tries(20, 9, 0.3, "tokyo", one), at(10, "rome"))
	alerts := run(t, "elastic_entra_defaults", stream...)
	if len(alerts) != 1 || alerts[0].Check != "spraying" || len(alerts[0].Events) != 19 || alerts[0].At != midnight+events.Millis(9.25*events.Hour) {
		t.Errorf("20 users from one address: %+v", alerts)
	}
	expect(t, run(t, "elastic_entra_defaults", append(tries(14, 9, 0.3, "tokyo", one), at(10, "rome"))...))
	many := func(i int) change {
		cause := events.BadPassword
		if i%2 == 0 {
			cause = events.UnknownUser
		}
		return attack(cause, fmt.Sprint("u", i), fmt.Sprint("198.51.100.", i))
	}
	if got := run(t, "elastic_entra_defaults", append(tries(40, 9, 0.2, "tokyo", many), at(10, "rome"))...); len(got) != 1 || got[0].Check != "stuffing" {
		t.Errorf("40 users from 40 addresses: %v", short(got))
	}
}

func TestElasticOktaSources(t *testing.T) {
	t.Parallel()
	twice := func(i int) change { return attack(events.BadPassword, fmt.Sprint("u", i%8), "198.51.100.1") }
	expect(t, run(t, "elastic_okta_defaults", tries(15, 9, 0.3, "tokyo", twice)...), "u6@tokyo/9.0700 spraying from one address medium")
	once := func(i int) change { return attack(events.BadPassword, fmt.Sprint("u", i), "198.51.100.1") }
	expect(t, run(t, "elastic_okta_defaults", tries(25, 9, 0.3, "tokyo", once)...), "u24@tokyo/9.1200 stuffing from one address medium")
	spread := func(i int) change {
		return attack(events.BadPassword, fmt.Sprint("u", i), fmt.Sprint("198.51.100.", i))
	}
	expect(t, run(t, "elastic_okta_defaults", tries(25, 9, 0.3, "tokyo", spread)...), "u24@tokyo/9.1200 one user agent from many addresses medium")
}

func TestElasticGuessing(t *testing.T) {
	t.Parallel()
	one := func(int) change { return attack(events.BadPassword, "ann", "198.51.100.1") }
	expect(t, run(t, "elastic_entra_defaults", tries(30, 9, 0.1, "tokyo", one)...), "ann@tokyo/9.0483 guessing medium")
	expect(t, run(t, "elastic_entra_defaults", tries(29, 9, 0.1, "tokyo", one)...))
	spread := func(i int) change { return attack(events.BadPassword, "ann", fmt.Sprint("198.51.100.", i)) }
	stream := append(tries(10, 9, 1, "tokyo", spread), at(11, "tokyo", from("198.51.100.3")))
	expect(t, run(t, "elastic_okta_defaults", stream...),
		"ann@tokyo/9.1500 guessing from many addresses medium", "ann@tokyo/11.0000 success after guessing high")
	stream[len(stream)-1] = at(12.5, "tokyo", from("198.51.100.3"))
	expect(t, run(t, "elastic_okta_defaults", stream...), "ann@tokyo/9.1500 guessing from many addresses medium")
}

func TestElasticSecondFactors(t *testing.T) {
	t.Parallel()
	refuse := func(int) change { return failed(events.MFARefused) }
	expect(t, run(t, "elastic_okta_defaults", tries(5, 9, 2, "rome", refuse)...), "ann@rome/9.1333 refused second factors high")
	expect(t, run(t, "elastic_okta_defaults", tries(5, 9, 3, "rome", refuse)...)) // 12 minutes
	codes := func(i int) change {
		return func(e *events.Event) {
			failed(events.BadCode)(e)
			e.Correlation = fmt.Sprint("flow", i/2)
		}
	}
	expect(t, run(t, "elastic_entra_defaults", tries(20, 9, 0.2, "rome", codes)...), "ann@rome/9.0633 one-time codes medium")
	locked := func(i int) change { return attack(events.AccountLocked, fmt.Sprint("u", i%25), "198.51.100.1") }
	expect(t, only(run(t, "elastic_entra_defaults", tries(30, 9, 0.5, "rome", locked)...), "lock-outs"), "u4@rome/9.2417 lock-outs medium")
}

func TestElasticSessions(t *testing.T) {
	t.Parallel()
	use := func(e *events.Event) { e.Kind, e.Session.ID = events.SessionUse, "s" }
	expect(t, run(t, "elastic_entra_defaults", at(9, "rome", session("s")), at(9.2, "tokyo", use), at(9.3, "tokyo", use)),
		"ann@tokyo/9.2000 session from another owner's network medium")
	expect(t, run(t, "elastic_entra_defaults", at(9, "rome", session("s")), at(24.2, "tokyo", use))) // the next day
	script := func(e *events.Event) { e.Device = events.Device{Browser: "curl", Type: "script"} }
	expect(t, run(t, "elastic_okta_defaults", at(9, "rome", session("s")), at(9.2, "tokyo", use, script)),
		"ann@tokyo/9.2000 session of a browser and a program high")
	device := func(id string) change { return func(e *events.Event) { e.Device.ID = id } }
	expect(t, run(t, "elastic_okta_defaults", at(9, "rome", session("s"), device("a")), at(9.1, "tokyo", use, device("b")),
		at(9.2, "tokyo", use, device("c")), at(9.3, "tokyo", use, device("d"))), "ann@tokyo/9.3000 session on many devices high")
	expect(t, run(t, "elastic_okta_defaults", at(9, "rome", session("s")), at(9.1, "rome", session("t")), at(9.2, "rome", session("u"))),
		"ann@rome/9.2000 three sessions in 35 minutes medium")
	code := func(e *events.Event) { e.Auth.Protocol, e.Correlation = "devicecode", "flow" }
	expect(t, run(t, "elastic_entra_defaults", at(9, "rome", code), at(9.1, "rome", code, from("198.51.100.9"))),
		"ann@rome/9.1000 device code in two hands medium")
}

func TestElasticNovelties(t *testing.T) {
	t.Parallel()
	stream := append(days(20, 1, "rome"), at(9, "rome"), at(11, "frankfurt"))
	expect(t, run(t, "elastic_entra_defaults", stream...), "ann@frankfurt/11.0000 new network low")
	// Within the first days of a tenant nothing is new.
	expect(t, run(t, "elastic_entra_defaults", append(days(5, 1, "rome"), at(10, "frankfurt"))...))
	// Seen 8 days ago is forgotten.
	stream = append(days(20, 9, "rome"), at(-8*24, "frankfurt"))
	stream = append(stream, days(7, 1, "rome")...)
	expect(t, run(t, "elastic_entra_defaults", append(stream, at(10, "frankfurt"))...),
		"ann@frankfurt/-192.0000 new network low", "ann@frankfurt/10.0000 new network low")
}

func TestDatadog(t *testing.T) {
	t.Parallel()
	stream := append(days(20, 1, "rome"), at(9, "rome"), at(10, "tokyo"), at(11, "rome"), at(12, "tokyo"))
	expect(t, run(t, "datadog_defaults", stream...), "ann@tokyo/10.0000 travel medium") // the way is told of once, Rome is regular
	expect(t, run(t, "datadog_defaults", at(9, "rome"), at(10, "tokyo")))               // learning
	expect(t, run(t, "datadog_best", append(days(10, 1, "rome"), at(9, "rome"), at(10, "tokyo"))...))
	expect(t, run(t, "datadog_best", stream...), "ann@tokyo/10.0000 travel medium")
	expect(t, run(t, "datadog_defaults", append(days(20, 1, "rome"), at(9, "rome"), at(10, "tokyo", class(events.VPN)))...))
	expect(t, run(t, "datadog_defaults", append(days(20, 1, "rome"), at(9, "rome"), at(19, "tokyo"))...)) // 986 km/h
}

func TestSentinelPlaces(t *testing.T) {
	t.Parallel()
	stream := append(days(20, 1, "rome"), at(9, "rome"), at(10, "milan"), at(11, "frankfurt"))
	alerts := run(t, "sentinel_defaults", stream...)
	expect(t, alerts, "ann@frankfurt/11.0000 places of a user and application medium", "ann@frankfurt/11.0000 country new to the tenant medium")
	if alerts[0].At != midnight+events.Day {
		t.Errorf("told at %v, not by the next day's run", alerts[0].At)
	}
	expect(t, run(t, "sentinel_defaults", append(days(20, 1, "rome"), at(9, "rome"), at(11, "milan"))...))
}

func TestSentinelAttacks(t *testing.T) {
	t.Parallel()
	spray := func(i int) change { return attack(events.BadPassword, fmt.Sprint("u", i), "198.51.100.1") }
	expect(t, run(t, "sentinel_defaults", tries(6, 9, 1, "rome", spray)...), "u4@rome/9.0667 spraying from one address medium")
	// Behind an office more people get in than do not.
	office := func(i int) change {
		if i%3 == 0 {
			return spray(i)
		}
		return func(e *events.Event) { e.User.ID, e.IP = fmt.Sprint("u", i), "198.51.100.1" }
	}
	expect(t, run(t, "sentinel_defaults", tries(30, 9, 0.5, "rome", office)...))

	refuse := func(int) change { return failed(events.MFARefused) }
	stream := append(tries(11, 9, 0.3, "rome", refuse), at(9.07, "rome"))
	expect(t, run(t, "sentinel_defaults", stream...), "ann@rome/9.0700 success after refused second factors high")
	expect(t, run(t, "sentinel_defaults", stream[1:]...)) // 10 are not more than 10
	stream[11] = at(9.2, "rome")
	expect(t, run(t, "sentinel_defaults", stream...)) // too late

	cities := []string{"rome", "milan", "tokyo"}
	var guesses []*events.Event
	for i := range 31 {
		guesses = append(guesses, at(9+float64(i)/10, cities[i%3], failed(events.BadPassword)))
	}
	expect(t, run(t, "sentinel_defaults", guesses...), "ann@rome/12.0000 guessing from several places medium")
}

// Every rule, over a simulated company: alerts must name events that were there, tell no earlier than they came, and come out
// the same again.
func TestPeersOverACompany(t *testing.T) {
	t.Parallel()
	config := company.DefaultConfig()
	config.Users, config.Days, config.Ingested, config.AttacksPerDay = 60, 25, true, 5
	config.Faults = company.Faults{Late: 0.05, Duplicate: 0.01, MissingPlace: 0.02}
	var stream []events.Event
	arrived := map[string]events.Millis{}
	for e := range company.New(config).Events() {
		stream = append(stream, e)
		if _, again := arrived[e.ID]; !again {
			arrived[e.ID] = arrival(&e)
		}
	}
	for _, p := range All() {
		if p.Rule == nil {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			first, second := p.Rule(), p.Rule()
			told := 0
			for i := range stream {
				e := stream[i]
				alerts := first.See(&e)
				if a, b := short(alerts), short(second.See(&e)); fmt.Sprint(a) != fmt.Sprint(b) {
					t.Fatalf("two runs differ:\n%v\n%v", a, b)
				}
				for _, a := range alerts {
					told++
					checkAlert(t, &a, arrived)
				}
			}
			if told == 0 {
				t.Error("no alert at all")
			}
		})
	}
}

// checkAlert tells whether an alert hangs together.
func checkAlert(t *testing.T, a *Alert, arrived map[string]events.Millis) {
	t.Helper()
	if a.Check == "" || a.Why == "" || a.Tenant == "" || a.Severity.Rank() == 0 || !slices.Contains(Kinds, a.Kind) || len(a.Events) > MaxEvents {
		t.Errorf("incomplete: %+v", a)
	}
	for _, id := range append([]string{a.EventID}, a.Events...) {
		at, known := arrived[id]
		if !known {
			t.Errorf("%s rests on event %q, which never was", a.Check, id)
		}
		if a.At < at {
			t.Errorf("%s told at %v of an event that came at %v", a.Check, a.At, at)
		}
	}
}
