package peers

import (
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

const (
	buffalogsRestated = "BuffaLogs 3.0.0: travel (more than 100 km and 300 km/h from the latest stored login, only from an address " +
		"that is new for the user), country never seen, country not seen for 30 days, device never seen, user risk by the number of " +
		"alerts (1 to 3 low, 4 to 6 medium, 7 and more high), one stored login for each source, country and user agent"
	buffalogsLeftOut = "the anonymiser alert (the events carry no such word of the source); detection by window of the log: late " +
		"events are compared as they arrive, where the original skips what comes after its window; wall clock: the time of arrival " +
		"stands for it; a login's row is forgotten 45 days after its last use; the major version of the system is unknown to the " +
		"events, so a device is system, type and browser; alerts have no severity of " +
		"their own: they are medium, and high when the user's risk is"
	buffalogsDelay = "hourly detection and hourly notification: 1 to 2 hours"
)

var buffalogsDefaults = Peer{
	Info: Info{
		Name: "buffalogs_defaults", Peer: "BuffaLogs", Setting: Defaults, Delay: buffalogsDelay,
		Restated: buffalogsRestated + ". Shipped filters: 14 days of learning, risk below medium, travel inside one country, mobile " +
			"systems. Only unfiltered alerts make the risk rise.",
		LeftOut: buffalogsLeftOut,
	},
	Rule: func() Rule { return newBuffalogs(buffalogsShipped) },
}

var buffalogsOpened = Peer{
	Info: Info{
		Name: "buffalogs_best", Peer: "BuffaLogs", Setting: Best, Delay: buffalogsDelay,
		Restated: buffalogsRestated + ". Filters opened: no learning, no minimum risk, travel inside one country and mobile systems " +
			"count.",
		LeftOut: buffalogsLeftOut,
	},
	Rule: func() Rule { return newBuffalogs(buffalogsFilters{}) },
}

// buffalogsFilters are the filters that an operator can set. Lists of users, addresses, providers and countries ship empty.
type buffalogsFilters struct {
	learning    events.Millis
	minimumRisk int // as [risk] counts
	sameCountry bool
	mobile      bool
}

var buffalogsShipped = buffalogsFilters{learning: 14 * events.Day, minimumRisk: 2, sameCountry: true, mobile: true}

const (
	buffalogsKm       = 100
	buffalogsKmh      = 300
	buffalogsAtypical = 30 * events.Day
	buffalogsRows     = 45 * events.Day // how long logins, addresses and alerts are kept
	buffalogsUsers    = 60 * events.Day
)

type buffalogs struct {
	filters buffalogsFilters
	users   table[user, buffalogsUser]
}

type buffalogsUser struct {
	created events.Millis
	risk    int
	// alerts are the times of those that make the risk rise.
	alerts []events.Millis
	logins []buffalogsLogin
	ips    map[string]events.Millis // when first seen
	swept  events.Millis            // when old things were last forgotten
}

// buffalogsLogin is a stored login: the last one of its source, country and user agent.
type buffalogsLogin struct {
	source, agent, device string
	arrived               events.Millis
	spot
}

func newBuffalogs(f buffalogsFilters) *buffalogs {
	return &buffalogs{filters: f, users: newTable[user, buffalogsUser](buffalogsUsers)}
}

// See implements [Rule].
func (b *buffalogs) See(e *events.Event) []Alert {
	if !succeeded(e) {
		return nil
	}
	now := arrival(e)
	u := b.users.at(userOf(e), now)
	if u.created == 0 {
		u.created, u.ips = now, map[string]events.Millis{}
	}
	// A latitude or longitude of exactly 0 counts as missing.
	if e.Place.Lat == 0 || e.Place.Lon == 0 {
		return nil
	}
	u.forget(now)
	source := e.Source.Name
	if !slices.ContainsFunc(u.logins, func(l buffalogsLogin) bool { return l.source == source }) {
		u.store(e, now)
		u.ips[e.IP] = now
		return nil
	}

	var alerts []Alert
	tell := func(check string, kind Kind, rises bool, why string, before ...string) {
		alerts = b.tell(alerts, e, u, now, Alert{Check: check, Kind: kind, Why: why, Events: before}, rises)
	}
	device := deviceOf(e)
	if e.UserAgent != "" && !slices.ContainsFunc(u.logins, func(l buffalogsLogin) bool { return l.device == device }) {
		tell("new device", Device, false, "A device that was not seen before: "+device)
	}
	if c := e.Place.Country; c != "" {
		if last, known := u.lastIn(c); !known {
			tell("new country", Country, true, "A country that was not seen before: "+c)
		} else if e.Time-last.at >= buffalogsAtypical {
			tell("atypical country", Country, true, "A country that was not seen for 30 days: "+c, last.event)
		}
	}
	if _, known := u.ips[e.IP]; !known {
		before, here := u.latest(), spotOf(e)
		if kmh, ok := buffalogsTravel(before, &here); ok {
			same := b.filters.sameCountry && before.country == e.Place.Country
			alerts = b.travel(alerts, e, u, now, before, kmh, same)
		}
		u.ips[e.IP] = now
	}
	u.store(e, now)
	return alerts
}

// travel tells of a journey.
func (b *buffalogs) travel(alerts []Alert, e *events.Event, u *buffalogsUser, now events.Millis, before *spot, kmh float64, same bool) []Alert {
	here := spotOf(e)
	a := Alert{
		Check: "travel", Kind: Travel, Events: []string{before.event},
		Why: fmt.Sprintf("%s to %s at %.0f km/h", before.name(), here.name(), kmh),
	}
	if same {
		a.Filtered = append(a.Filtered, "same country")
	}
	return b.tell(alerts, e, u, now, a, true)
}

// tell runs an alert through the filters and, when it gets through, lets it raise the risk.
func (b *buffalogs) tell(alerts []Alert, e *events.Event, u *buffalogsUser, now events.Millis, a Alert, rises bool) []Alert {
	a.Tenant, a.User, a.EventID = e.Tenant, e.User.ID, e.ID
	a.At, _ = schedule{every: events.Hour, delay: events.Hour}.tells(now, e.Time)
	if u.risk < b.filters.minimumRisk {
		a.Filtered = append(a.Filtered, "minimum risk")
	}
	if now-u.created < b.filters.learning {
		a.Filtered = append(a.Filtered, "learning")
	}
	if b.filters.mobile && (e.Device.OS == "iOS" || e.Device.OS == "Android" || e.Device.OS == "Windows Phone") {
		a.Filtered = append(a.Filtered, "mobile system")
	}
	if rises {
		// Filtered alerts are stored and counted too, but only an unfiltered one makes the user's risk be computed.
		u.alerts = append(u.alerts, now)
	}
	before := u.risk
	if len(a.Filtered) == 0 {
		u.risk = risk(len(u.alerts))
	}
	a.Severity = severityOf(u.risk)
	alerts = append(alerts, a)
	if u.risk > before && u.risk >= 2 {
		rise := a
		rise.Check, rise.Kind, rise.Events = "user risk", Risk, nil
		rise.Why = fmt.Sprintf("The user has %d alerts", len(u.alerts))
		alerts = append(alerts, rise)
	}
	return alerts
}

// risk is a user's level by the number of alerts: 0 none, 1 low, 2 medium, 3 high.
func risk(alerts int) int {
	switch {
	case alerts == 0:
		return 0
	case alerts <= 3:
		return 1
	case alerts <= 6:
		return 2
	default:
		return 3
	}
}

func severityOf(risk int) events.Severity {
	if risk == 3 {
		return events.High
	}
	return events.Medium
}

// buffalogsTravel is the speed from the latest stored login, when it is too high. A login that is older than the stored one has
// a negative speed and passes.
func buffalogsTravel(before, here *spot) (float64, bool) {
	if before == nil {
		return 0, false
	}
	km := distance(before, here)
	h := hours(before.at, here.at)
	if h == 0 {
		h = 0.001
	}
	return km / h, km > buffalogsKm && km/h > buffalogsKmh
}

func deviceOf(e *events.Event) string {
	return e.Device.OS + " " + e.Device.Type + " " + e.Device.Browser
}

// forget drops, once a day, what is older than the peer keeps it.
func (u *buffalogsUser) forget(now events.Millis) {
	if now < u.swept+events.Day {
		return
	}
	u.swept = now
	old := now - buffalogsRows
	u.logins = slices.DeleteFunc(u.logins, func(l buffalogsLogin) bool { return l.arrived < old })
	u.alerts = slices.DeleteFunc(u.alerts, func(at events.Millis) bool { return at < old })
	for ip, first := range u.ips {
		if first < old {
			delete(u.ips, ip)
		}
	}
}

// store overwrites the login of the same source, country and user agent, or adds one.
func (u *buffalogsUser) store(e *events.Event, now events.Millis) {
	l := buffalogsLogin{source: e.Source.Name, agent: e.UserAgent, device: deviceOf(e), arrived: now, spot: spotOf(e)}
	for i := range u.logins {
		if old := &u.logins[i]; old.source == l.source && old.country == l.country && old.agent == l.agent {
			*old = l
			return
		}
	}
	u.logins = append(u.logins, l)
}

// latest is the stored login with the latest time.
func (u *buffalogsUser) latest() *spot {
	var last *spot
	for i := range u.logins {
		if l := &u.logins[i]; last == nil || l.at > last.at {
			last = &l.spot
		}
	}
	return last
}

// lastIn is the stored login of a country that was stored last.
func (u *buffalogsUser) lastIn(country string) (*spot, bool) {
	for i := range slices.Backward(u.logins) {
		if u.logins[i].country == country {
			return &u.logins[i].spot, true
		}
	}
	return nil, false
}
