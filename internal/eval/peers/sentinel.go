package peers

import (
	"fmt"
	"math"

	"github.com/countersign-io/countersign/internal/events"
)

var sentinelPeer = Peer{
	Info: Info{
		Name: "sentinel_defaults", Peer: "Microsoft Sentinel", Setting: Defaults,
		Restated: "Places: more than 2 a day for a user and application, and more than 2.5 deviations above those of the 7 days " +
			"before. A country that nobody of the tenant was in for 14 days. Spraying: 5 accounts fail from one address in 20 " +
			"minutes, more than succeed. Guessing: more than 30 failures and 3 places a day. Second factor: more than 10 refusals in " +
			"5 minutes, then a success.",
		LeftOut: "the decomposition of the series of places into season, trend and rest: mean and deviation of the 7 days before " +
			"(at least 0.5) stand for it; provider ranges, behaviour analytics and identity tables; the vendor's own machine-learnt " +
			"alerts. Severities, and schedules other than daily, are assumed: medium, second factor high and hourly, spraying hourly. " +
			"No other setting is documented to be better.",
		Delay: "scheduled queries: daily for places, countries and guessing, hourly for the rest",
	},
	Rule: func() Rule { return sentinelChecks() },
}

var (
	sentinelDaily  = schedule{every: events.Day}
	sentinelHourly = schedule{every: events.Hour}
)

func sentinelChecks() checks {
	return checks{
		&sentinelPlaces{users: newTable[term, placeDays](8 * events.Day)},
		newNovelty(novelty{
			check: "country new to the tenant", kind: Country, severity: events.Medium, window: 14 * events.Day, when: sentinelDaily,
			tenant: true, value: func(e *events.Event) string {
				if !succeeded(e) {
					return ""
				}
				return e.Place.Country
			},
		}),
		newGroup(group{
			check: "spraying from one address", kind: Spray, severity: events.Medium, window: 20 * events.Minute, when: sentinelHourly,
			key: func(e *events.Event) string {
				if !login(e) && !wrongPassword(e) {
					return ""
				}
				return e.IP
			},
			fires: mostlyFailing,
		}),
		newGroup(group{
			check: "guessing from several places", kind: Guessing, severity: events.Medium, window: events.Day, when: sentinelDaily,
			key: userFailing, personal: true,
			fires: func(t []attempt) bool { return len(t) > 30 && distinct(t, byPlace) >= 3 },
		}),
		&sentinelRefusals{users: newTable[user, attempts](events.Hour)},
	}
}

// mostlyFailing tells five users or more that fail, and more than succeed.
func mostlyFailing(tries []attempt) bool {
	failures := 0
	for i := range tries {
		if !tries[i].ok {
			failures++
		}
	}
	if failures < 5 {
		return false
	}
	of := func(ok bool) int {
		return distinct(tries, func(a *attempt) string {
			if a.ok != ok {
				return ""
			}
			return a.user
		})
	}
	failing := of(false)
	return failing >= 5 && failing > of(true)
}

// sentinelPlaces counts the places of a user in an application by the day.
type sentinelPlaces struct{ users table[term, placeDays] }

type placeDays struct {
	day    events.Millis // the number of the day of places
	places []string
	events []string
	past   [7]int // places of the 7 days before, the latest first
	told   bool
}

const (
	sentinelMostPlaces  = 2
	sentinelSensitivity = 2.5
	sentinelDeviation   = 0.5 // at least
)

func (s *sentinelPlaces) see(e *events.Event, now events.Millis) []Alert {
	if !succeeded(e) || e.Place.Country == "" {
		return nil
	}
	d := s.users.at(term{userOf(e), e.App.ID}, now)
	day := e.Time / events.Day
	if day < d.day {
		return nil // yesterday's query has run
	}
	d.turn(day)
	here := spotOf(e)
	known := len(d.places)
	d.places = remember(d.places, here.name(), 64)
	others := d.events
	if len(d.places) == known {
		return nil
	}
	d.events = append(d.events, e.ID)
	mean, deviation := meanOf(d.past)
	if d.told || len(d.places) <= sentinelMostPlaces ||
		float64(len(d.places))-mean <= sentinelSensitivity*max(deviation, sentinelDeviation) {
		return nil
	}
	d.told = true
	at, _ := sentinelDaily.tells(now, e.Time)
	why := fmt.Sprintf("%d places today, %.1f on an average day of the last 7", len(d.places), mean)
	return []Alert{alert(e, "places of a user and application", Country, events.Medium, at, why, others...)}
}

// turn moves on to a day.
func (d *placeDays) turn(day events.Millis) {
	if d.day == 0 {
		d.day = day
	}
	for ; d.day < day && day-d.day <= events.Millis(len(d.past)); d.day++ {
		copy(d.past[1:], d.past[:])
		d.past[0], d.places, d.events, d.told = len(d.places), nil, nil, false
	}
	if d.day < day {
		*d = placeDays{day: day}
	}
}

// meanOf is the mean and the standard deviation of some counts.
func meanOf(counts [7]int) (mean, deviation float64) {
	for _, n := range counts {
		mean += float64(n) / float64(len(counts))
	}
	variance := 0.0
	for _, n := range counts {
		variance += float64((float64(n)-mean)*(float64(n)-mean)) / float64(len(counts))
	}
	return mean, math.Sqrt(variance)
}

// sentinelRefusals looks for a success after many refused second factors.
type sentinelRefusals struct{ users table[user, attempts] }

func (s *sentinelRefusals) see(e *events.Event, now events.Millis) []Alert {
	const window = 5 * events.Minute
	switch {
	case denied(e):
		s.users.at(userOf(e), now).add(attemptOf(e), window)
	case login(e):
		a := s.users.at(userOf(e), now)
		if len(a.tries) <= 10 || e.Time < a.oldest() || e.Time > a.last+window || !a.due(window) {
			return nil
		}
		at, _ := sentinelHourly.tells(now, e.Time)
		why := fmt.Sprintf("%d refused second factors in 5 minutes, then a success", len(a.tries))
		return []Alert{alert(e, "success after refused second factors", Fatigue, events.High, at, why, a.others(e.ID)...)}
	}
	return nil
}
