package peers

import (
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
)

const (
	elasticEntraRestated = "For Entra and Microsoft 365. Travel: interactive sign-ins of the last 90 minutes, 2 to 5 regions, the " +
		"centres of two of them 500 km and 800 km/h apart. Two countries within 15 minutes. Tenant-wide, in quarters of an hour: " +
		"stuffing (10 users, 30 failures, 3 results, 5 addresses, 10 minutes) and spraying (15 users, 15 failures, 1 result). " +
		"Guessing: 30 failures of a user in 5 minutes. One-time codes: 20 wrong in 10 sessions and 9 minutes. Lock-outs: 30 of 25 " +
		"users in 30 minutes. Device codes redeemed from 2 addresses or user agents. A session used on the day of its sign-in from " +
		"another network's owner. New for the user: network 7 days, application 14, device 7, authentication requirement 14, device " +
		"code 7, password grant 10, legacy client 7."
	elasticOktaRestated = "For Okta. Two countries within 30 minutes, not anonymised. By address: spraying (5 users, 15 failures, at " +
		"most 2 to 8 for each) and stuffing (15 users, 25 failures, at most 2 for each, 80 % once). By user agent: 5 addresses, 8 " +
		"users, 25 failures. Guessing from 5 addresses (10 failures and 2 countries, 3 networks, 8 addresses or 3 user agents), and " +
		"a success within 180 minutes after it. Second factor refused 5 times in 10 minutes. Session with 4 devices and 2 addresses, " +
		"session with a browser and a program, 3 sessions within 35 minutes."
	elasticLeftOut = "centroids of a fixed table of regions: the middle of the user's own sign-ins in a region stands for it; lists " +
		"of excluded applications, providers and users; endpoint and mail rules, machine-learning jobs. Severities and, but for the " +
		"travel, code and lock-out rules, schedules are assumed: novelty low, others medium, success after guessing, refusals and " +
		"stolen sessions high; windows that the reference does not give are an hour, of sessions a day. Each group tells once for " +
		"its window, where the original repeats itself at every run."
	elasticDelay = "scheduled runs: every 30 minutes for travel, 15 for failures, 5 for the rest"
)

var elasticEntra = Peer{
	Info: Info{
		Name: "elastic_entra_defaults", Peer: "Elastic", Setting: Defaults, Restated: elasticEntraRestated, LeftOut: elasticLeftOut,
		Delay: elasticDelay,
	},
	Rule: func() Rule { return elasticEntraChecks() },
}

var elasticOkta = Peer{
	Info: Info{
		Name: "elastic_okta_defaults", Peer: "Elastic", Setting: Defaults, Restated: elasticOktaRestated, LeftOut: elasticLeftOut,
		Delay: elasticDelay,
	},
	Rule: func() Rule { return elasticOktaChecks() },
}

var elasticBest = Peer{
	Info: Info{
		Name: "elastic_best", Peer: "Elastic", Setting: Best, Delay: elasticDelay, LeftOut: elasticLeftOut,
		Restated: "The rules for Entra, Microsoft 365 and Okta together, as if each could read this provider's log, without the " +
			"novelty rules, which nobody runs as alerts of their own.",
	},
	Rule: func() Rule { return append(elasticEntraThresholds(), elasticOktaChecks()...) },
}

// The schedules.
var (
	elasticTravelRuns = schedule{every: 30 * events.Minute, lookBack: 90 * events.Minute}
	elasticFailures   = schedule{every: 15 * events.Minute, lookBack: 60 * events.Minute}
	elasticOften      = schedule{every: 5 * events.Minute}
	elasticCodes      = schedule{every: 5 * events.Minute, lookBack: 9 * events.Minute}
)

func elasticEntraChecks() checks { return append(elasticEntraThresholds(), elasticNovelties()...) }

func elasticEntraThresholds() checks {
	return checks{
		&elasticTravel{recent: newTable[user, []spot](2 * events.Hour)},
		newGroup(group{
			check: "two countries in 15 minutes", kind: Country, severity: events.Medium, window: 15 * events.Minute, when: elasticOften,
			key: userSucceeding, personal: true, fires: func(t []attempt) bool { return distinct(t, byCountry) >= 2 },
		}),
		newElasticBuckets(),
		newGroup(group{
			check: "guessing", kind: Guessing, severity: events.Medium, window: 300 * events.Second, when: elasticFailures,
			key: userFailing, personal: true, fires: func(t []attempt) bool { return len(t) >= 30 },
		}),
		newGroup(group{
			check: "one-time codes", kind: Fatigue, severity: events.Medium, window: 9 * events.Minute, when: elasticCodes,
			key: userGuessingCodes, personal: true,
			fires: func(t []attempt) bool { return len(t) >= 20 && distinct(t, bySession) >= 10 },
		}),
		newGroup(group{
			check: "lock-outs", kind: Lockout, severity: events.Medium, window: 30 * events.Minute, when: elasticFailures,
			key: tenantLocked, fires: func(t []attempt) bool { return len(t) >= 30 && distinct(t, byUser) >= 25 },
		}),
		newGroup(group{
			check: "device code in two hands", kind: Tokens, severity: events.Medium, window: events.Hour, when: elasticOften,
			key: deviceCodeFlow, personal: true,
			fires: func(t []attempt) bool { return distinct(t, byIP) >= 2 || distinct(t, byAgent) >= 2 },
		}),
		&elasticOwner{sessions: newTable[user, ownedSession](2 * events.Day)},
	}
}

func elasticNovelties() checks {
	n := func(check string, kind Kind, severity events.Severity, days events.Millis, value func(*events.Event) string) check {
		return newNovelty(novelty{
			check: check, kind: kind, severity: severity, window: days * events.Day, when: elasticOften, value: value,
		})
	}
	grant := func(is func(*events.Event) bool, name string) func(*events.Event) string {
		return func(e *events.Event) string {
			if succeeded(e) && is(e) {
				return name
			}
			return ""
		}
	}
	return checks{
		n("new network", Network, events.Low, 7, func(e *events.Event) string {
			if !succeeded(e) || e.Network.ASN == 0 {
				return ""
			}
			return fmt.Sprint("AS", e.Network.ASN)
		}),
		n("new application", App, events.Low, 14, func(e *events.Event) string { return ofLogin(e, e.App.ID) }),
		n("new device", Device, events.Low, 7, func(e *events.Event) string { return ofLogin(e, e.Device.ID) }),
		n("new authentication requirement", App, events.Low, 14, func(e *events.Event) string {
			return ofLogin(e, string(e.Auth.Strength))
		}),
		n("new device code", Tokens, events.Medium, 7, grant(deviceCode, "device code")),
		n("new password grant", App, events.Medium, 10, grant(func(e *events.Event) bool { return e.Auth.Protocol == "ropc" }, "password grant")),
		n("new legacy client", App, events.Medium, 7, grant(legacy, "legacy client")),
	}
}

func ofLogin(e *events.Event, value string) string {
	if !login(e) {
		return ""
	}
	return value
}

func deviceCode(e *events.Event) bool { return e.Auth.Protocol == "devicecode" }

// legacy tells old mail protocols and basic authentication.
func legacy(e *events.Event) bool {
	switch e.Auth.Protocol {
	case "basic", "imap", "imap4", "pop", "pop3", "smtp", "legacy":
		return true
	}
	return e.Device.Browser == "BAV2ROPC"
}

// deviceCodeFlow is the flow or session of a device code.
func deviceCodeFlow(e *events.Event) string {
	if !deviceCode(e) || e.Kind != events.SignIn && e.Kind != events.SessionUse {
		return ""
	}
	if e.Session.ID != "" {
		return e.Session.ID
	}
	return e.Correlation
}

func userSucceeding(e *events.Event) string {
	if !login(e) || e.Place.Country == "" {
		return ""
	}
	return e.User.ID
}

// elasticTravel compares the regions of a user's interactive sign-ins.
type elasticTravel struct{ recent table[user, []spot] }

const (
	elasticKm         = 500
	elasticKmh        = 800
	elasticMaxRegions = 5
	elasticMaxRecent  = 256
)

// region is where some of a user's sign-ins were.
type region struct {
	name     string
	lat, lon float64 // sums, then means
	spots    []spot
}

func (r *elasticTravel) see(e *events.Event, now events.Millis) []Alert {
	if !succeeded(e) || e.Interactive == events.No || !e.Place.Located() || e.Place.Country == "" {
		return nil
	}
	recent := r.recent.at(userOf(e), now)
	here := spotOf(e)
	if e.Place.Region != "" {
		here.city = e.Place.Region
	}
	kept := (*recent)[:0]
	for _, s := range *recent {
		if s.at > here.at-elasticTravelRuns.lookBack {
			kept = append(kept, s)
		}
	}
	if len(kept) >= elasticMaxRecent {
		kept = kept[:copy(kept, kept[1:])]
	}
	kept = append(kept, here)
	*recent = kept
	regions := regionsOf(*recent)
	if len(regions) < 2 || len(regions) > elasticMaxRegions {
		return nil
	}
	var own *region
	for i := range regions {
		if regions[i].name == here.name() {
			own = &regions[i]
		}
	}
	for i := range regions {
		other := &regions[i]
		if other == own {
			continue
		}
		km, gap, before := apart(own, other, &here)
		at, ok := elasticTravelRuns.tells(now, min(here.at, before.at))
		if km < elasticKm || km < elasticKmh*hours(0, gap) || !ok {
			continue
		}
		*recent = (*recent)[:0] // told
		why := fmt.Sprintf("%s and %s, %.0f km in %d minutes", other.name, own.name, km, gap/events.Minute)
		return []Alert{alert(e, "travel", Travel, events.Medium, at, why, before.event)}
	}
	return nil
}

// apart is the distance of the centres of two regions, and the shortest time between the last sign-in and one of the other.
func apart(own, other *region, here *spot) (km float64, gap events.Millis, before *spot) {
	km = distance(&spot{lat: own.lat, lon: own.lon}, &spot{lat: other.lat, lon: other.lon})
	for i := range other.spots {
		s := &other.spots[i]
		if d := max(here.at-s.at, s.at-here.at); before == nil || d < gap {
			gap, before = d, s
		}
	}
	return km, gap, before
}

// regionsOf sorts sign-ins into regions, in the order in which they were first seen.
func regionsOf(spots []spot) []region {
	var regions []region
next:
	for _, s := range spots {
		name := s.name()
		for i := range regions {
			if r := &regions[i]; r.name == name {
				r.spots = append(r.spots, s)
				continue next
			}
		}
		regions = append(regions, region{name: name, spots: []spot{s}})
	}
	for i := range regions {
		r := &regions[i]
		for _, s := range r.spots {
			r.lat += s.lat / float64(len(r.spots))
			r.lon += s.lon / float64(len(r.spots))
		}
	}
	return regions
}

// elasticOwner compares the owner of the network of a session's use with that of its sign-in, on one day.
type elasticOwner struct{ sessions table[user, ownedSession] }

type ownedSession struct {
	owner, event string
	day          events.Millis
	told         bool
}

func (o *elasticOwner) see(e *events.Event, now events.Millis) []Alert {
	key := sessionKey(e)
	if key == "" || e.Network.Org == "" {
		return nil
	}
	s := o.sessions.at(user{e.Tenant, key}, now)
	day := e.Time / events.Day
	if e.Kind == events.SignIn {
		*s = ownedSession{owner: e.Network.Org, event: e.ID, day: day}
		return nil
	}
	if s.owner == "" || s.owner == e.Network.Org || s.day != day || s.told {
		return nil
	}
	s.told = true
	at, _ := elasticOften.tells(now, e.Time)
	why := fmt.Sprintf("Signed in from %.100s, used from %.100s", s.owner, e.Network.Org)
	return []Alert{alert(e, "session from another owner's network", Session, events.Medium, at, why, s.event)}
}
