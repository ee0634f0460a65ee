package peers

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
)

func elasticOktaChecks() checks {
	guessed := &guessedUsers{users: newTable[user, events.Millis](4 * events.Hour)}
	return checks{
		newGroup(group{
			check: "two countries in 30 minutes", kind: Country, severity: events.Medium, window: 30 * events.Minute, when: elasticOften,
			key: func(e *events.Event) string {
				if e.Network.Is(events.VPN) || e.Network.Is(events.Tor) || e.Network.Is(events.Relay) {
					return ""
				}
				return userSucceeding(e)
			},
			personal: true, fires: func(t []attempt) bool { return distinct(t, byCountry) >= 2 },
		}),
		newGroup(group{
			check: "spraying from one address", kind: Spray, severity: events.Medium, window: events.Hour, when: elasticFailures,
			key: addressFailing, fires: func(t []attempt) bool {
				if len(t) < 15 || distinct(t, byUser) < 5 {
					return false
				}
				most, _ := perUser(t)
				return most >= 2 && most <= 8
			},
		}),
		newGroup(group{
			check: "stuffing from one address", kind: Spray, severity: events.Medium, window: events.Hour, when: elasticFailures,
			key: addressFailing, fires: func(t []attempt) bool {
				users := distinct(t, byUser)
				if len(t) < 25 || users < 15 {
					return false
				}
				most, once := perUser(t)
				return most <= 2 && 5*once >= 4*users
			},
		}),
		newGroup(group{
			check: "one user agent from many addresses", kind: Spray, severity: events.Medium, window: events.Hour, when: elasticFailures,
			key: agentFailing, fires: func(t []attempt) bool {
				return len(t) >= 25 && distinct(t, byIP) >= 5 && distinct(t, byUser) >= 8
			},
		}),
		guessed.wrap(newGroup(group{
			check: "guessing from many addresses", kind: Guessing, severity: events.Medium, window: events.Hour, when: elasticFailures,
			key: userFailing, personal: true, fires: distributedGuessing,
		})),
		guessed,
		newGroup(group{
			check: "refused second factors", kind: Fatigue, severity: events.High, window: 10 * events.Minute, when: elasticOften,
			key: userRefusing, personal: true, fires: func(t []attempt) bool { return len(t) >= 5 },
		}),
		&elasticSession{sessions: newTable[user, usedSession](events.Day)},
		newGroup(group{
			check: "three sessions in 35 minutes", kind: Session, severity: events.Medium, window: 35 * events.Minute, when: elasticOften,
			key: func(e *events.Event) string {
				if !login(e) || e.Session.ID == "" {
					return ""
				}
				return e.User.ID
			},
			personal: true, fires: func(t []attempt) bool { return distinct(t, bySession) >= 3 },
		}),
	}
}

func distributedGuessing(t []attempt) bool {
	if len(t) < 10 {
		return false
	}
	ips := distinct(t, byIP)
	return ips >= 5 && (ips >= 8 || distinct(t, byCountry) >= 2 || distinct(t, byAgent) >= 3 ||
		distinct(t, func(a *attempt) string { return strconv.FormatUint(uint64(a.asn), 10) }) >= 3)
}

// guessedUsers tells of a success of a user whose password was guessed at.
type guessedUsers struct {
	users table[user, events.Millis] // when it was
}

// guessing notes whose passwords are guessed at.
type guessing struct {
	check
	noted *guessedUsers
}

func (g *guessedUsers) wrap(c check) check { return guessing{c, g} }

func (g guessing) see(e *events.Event, now events.Millis) []Alert {
	alerts := g.check.see(e, now)
	if len(alerts) > 0 {
		*g.noted.users.at(userOf(e), now) = e.Time
	}
	return alerts
}

func (g *guessedUsers) see(e *events.Event, now events.Millis) []Alert {
	if !login(e) {
		return nil
	}
	guessedAt := g.users.at(userOf(e), now)
	if *guessedAt == 0 || e.Time < *guessedAt || e.Time-*guessedAt > 180*events.Minute {
		return nil
	}
	*guessedAt = 0
	at, _ := elasticFailures.tells(now, e.Time)
	return []Alert{alert(e, "success after guessing", Succeeded, events.High, at, "A success within 180 minutes after guessing")}
}

// elasticSession looks for sessions on many devices, or of a browser and a program.
type elasticSession struct{ sessions table[user, usedSession] }

type usedSession struct {
	devices, ips          []string // at most a few: enough to fire
	events                []string
	browser, program      bool
	manyTold, programTold bool
}

// remember adds a value that is not there, up to a number of them.
func remember(values []string, v string, most int) []string {
	if slices.Contains(values, v) || len(values) >= most {
		return values
	}
	return append(values, v)
}

func (s *elasticSession) see(e *events.Event, now events.Millis) []Alert {
	key := sessionKey(e)
	if key == "" {
		return nil
	}
	u := s.sessions.at(user{e.Tenant, key}, now)
	u.devices, u.ips = remember(u.devices, deviceHash(e), 8), remember(u.ips, e.IP, 8)
	if e.Device.Type == "script" {
		u.program = true
	} else if e.Device.Browser != "" {
		u.browser = true
	}
	before := u.events
	if len(u.events) < 64 {
		u.events = append(u.events, e.ID)
	}
	at, _ := elasticOften.tells(now, e.Time)
	var alerts []Alert
	if len(u.devices) >= 4 && len(u.ips) >= 2 && !u.manyTold {
		u.manyTold = true
		alerts = append(alerts, alert(e, "session on many devices", Session, events.High, at,
			fmt.Sprintf("One session on %d devices and %d addresses", len(u.devices), len(u.ips)), before...))
	}
	if u.browser && u.program && !u.programTold {
		u.programTold = true
		alerts = append(alerts, alert(e, "session of a browser and a program", Session, events.High, at,
			"One session used by a browser and by a program", before...))
	}
	return alerts
}
