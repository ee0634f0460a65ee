package peers

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

var freemanPeer = Peer{
	Info: Info{
		Name: "freeman_published", Peer: "plain Freeman score", Setting: Defaults,
		Restated: "The score as published (Freeman et al. 2016; Wiefling et al. 2022): address and user agent, published weights and " +
			"smoothing, successes only, no decay, a user's first login has none. Where to alert is chosen on the curve, for the score's " +
			"best.",
		LeftOut: "the exact version of browser and system: the events have the browser's major version and the system's family; " +
			"round-trip time, and the list of attackers' addresses, which makes the published score worse",
		Delay: "as events arrive: at once",
	},
	Scorer: func() Scorer { return freeman{familiarity.NewPublished()} },
}

// freeman scores interactive sign-ins that worked.
type freeman struct{ published *familiarity.Published }

// Score implements [Scorer].
func (f freeman) Score(e *events.Event) (float64, bool) {
	if !login(e) {
		return 0, false
	}
	return f.published.Score(e.Key(), familiarity.PublishedLoginOf(e))
}

// Learn implements [Scorer].
func (f freeman) Learn(e *events.Event) {
	if login(e) {
		f.published.Add(e.Key(), familiarity.PublishedLoginOf(e))
	}
}
