package peers

import (
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
)

var crowdsecPeer = Peer{
	Info: Info{
		Name: "crowdsec_defaults", Peer: "CrowdSec", Setting: Defaults,
		Restated: "The travel scenario: consecutive successful logins of one user at one service, more than 1,000 km apart and not " +
			"more than 3 hours, whatever the speed. It tells and blocks nothing, with a confidence of 3, so " +
			"every alert is medium.",
		LeftOut: "brute-force scenarios for single services, which block addresses; the decisions of the shared block list",
		Delay:   "as the log is read: 5 seconds",
	},
	Rule: func() Rule { return &crowdsec{last: newTable[service, spot](crowdsecQueue)} },
}

const (
	crowdsecKm    = 1000
	crowdsecQueue = 3 * events.Hour
)

// service is one person at one service.
type service struct {
	user
	source string
}

type crowdsec struct{ last table[service, spot] }

// See implements [Rule].
func (c *crowdsec) See(e *events.Event) []Alert {
	if !login(e) || !e.Place.Located() {
		return nil
	}
	now, here := arrival(e), spotOf(e)
	last := c.last.at(service{userOf(e), e.Source.Name}, now)
	before := *last
	*last = here
	apart := max(here.at-before.at, before.at-here.at)
	if !before.seen || apart > crowdsecQueue {
		return nil
	}
	km := distance(&before, &here)
	if km <= crowdsecKm {
		return nil
	}
	why := fmt.Sprintf("%s and %s within 3 hours, %.0f km apart", before.name(), here.name(), km)
	return []Alert{alert(e, "travel", Travel, events.Medium, now+5*events.Second, why, before.event)}
}
