package peers

import (
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
)

const (
	datadogRestated = "Travel: more than 500 km and 1,000 km/h from the login before. The places of a user are learned at first and " +
		"then pass; forgotten after 30 days; the same city passes; a way that was told of is not told again; VPN is left out."
	datadogLeftOut = "thresholds and signatures other than travel, which each customer writes; the provider's own VPN list: every VPN, " +
		"relay and Tor network counts; a regular place is a city, or a country where the city is unknown; the severity, which each " +
		"rule sets, is assumed medium"
	datadogDelay = "as events arrive: 60 seconds"
)

var datadogDefaults = Peer{
	Info: Info{
		Name: "datadog_defaults", Peer: "Datadog", Setting: Defaults, Restated: datadogRestated + " Learning: 24 hours.",
		LeftOut: datadogLeftOut, Delay: datadogDelay,
	},
	Rule: func() Rule { return newDatadog(events.Day) },
}

var datadogBest = Peer{
	Info: Info{
		Name: "datadog_best", Peer: "Datadog", Setting: Best, Restated: datadogRestated + " Learning: 14 days, of the 1 to 30 that can be set.",
		LeftOut: datadogLeftOut, Delay: datadogDelay,
	},
	Rule: func() Rule { return newDatadog(14 * events.Day) },
}

const (
	datadogKm     = 500
	datadogKmh    = 1000
	datadogForget = 30 * events.Day
)

type datadog struct {
	learning events.Millis
	users    table[user, datadogUser]
	regular  table[term, bool] // places that a user has been learned to be in
	told     table[datadogWay, bool]
}

type datadogUser struct {
	since events.Millis
	last  spot
}

type datadogWay struct {
	user
	from, to string
}

func newDatadog(learning events.Millis) Rule {
	return &datadog{
		learning: learning, users: newTable[user, datadogUser](datadogForget), regular: newTable[term, bool](datadogForget),
		told: newTable[datadogWay, bool](datadogForget),
	}
}

// See implements [Rule].
func (d *datadog) See(e *events.Event) []Alert {
	if !login(e) || !e.Place.Located() || e.Network.Is(events.VPN) || e.Network.Is(events.Relay) || e.Network.Is(events.Tor) {
		return nil
	}
	now, here := arrival(e), spotOf(e)
	u := d.users.at(userOf(e), now)
	if u.since == 0 {
		u.since = now
	}
	before := u.last
	u.last = here
	learned := d.regular.at(term{userOf(e), here.name()}, now)
	if now-u.since < d.learning {
		*learned = true
		return nil
	}
	if !before.seen || *learned || before.name() == here.name() {
		return nil
	}
	km := distance(&before, &here)
	h := max(hours(before.at, here.at), hours(here.at, before.at))
	if km <= datadogKm || km <= datadogKmh*h {
		return nil
	}
	if told := d.told.at(datadogWay{userOf(e), before.name(), here.name()}, now); *told {
		return nil
	} else {
		*told = true
	}
	why := fmt.Sprintf("%s and %s, %.0f km in %.0f minutes", before.name(), here.name(), km, 60*h)
	return []Alert{alert(e, "travel", Travel, events.Medium, now+60*events.Second, why, before.event)}
}
