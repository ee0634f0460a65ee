package anomaly

import (
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// judgeNovelty looks for LOC-04 and CONJ-01. A term that is only not yet trusted is reported once for every session that
// begins with it, not for each of its events.
func (o *observation) judgeNovelty() {
	if !o.country.new() {
		return
	}
	if o.country.fresh || o.begins {
		o.newCountry()
	}
	// The identity provider's id tells devices apart. Without one, or of a user who never had one, the kind of device does.
	terms := make([]*novelty, 0, 2)
	if o.deviceID.new() {
		terms = append(terms, &o.deviceID)
	}
	if o.agent.new() && (o.deviceID.new() || !o.knownDevice()) {
		terms = append(terms, &o.agent)
	}
	fresh := o.country.fresh || slices.ContainsFunc(terms, func(n *novelty) bool { return n.fresh })
	if len(terms) > 0 && (fresh || o.begins) {
		o.newCountryAndDevice(terms)
	}
}

// knownDevice tells a device whose id is known of the user and trusted.
func (o *observation) knownDevice() bool { return o.deviceID.value != 0 && !o.deviceID.unknown }

// newCountryAndDevice is CONJ-01.
func (o *observation) newCountryAndDevice(terms []*novelty) {
	novel := []events.NovelTerm{o.countryTerm()}
	for _, n := range terms {
		term := events.NovelTerm{Kind: "device", Value: o.e.Device.ID, Known: n.known, LastSeen: n.lastSeen}
		if n.kind == profile.Agent {
			term.Kind, term.Value = "os_and_browser", agentName(o.device)
		}
		novel = append(novel, term)
	}
	l := o.ladder(events.High)
	l.gate()
	l.allowCountry(effectLower)
	l.egress(&o.at, nil, effectLower)
	if o.spot.Classes.Any(profile.Tor) {
		l.rung(rungHidden, effectNone, fmt.Sprintf("%s is of class tor, which excuses no new device", o.at.IP))
	} else {
		l.hidden(effectLower, &o.at)
	}
	l.proof(effectRecord, true)
	o.report(&o.c.conjunction, &l, o.conjunctionSummary(), events.Evidence{Novel: novel})
}

func (o *observation) countryTerm() events.NovelTerm {
	return events.NovelTerm{Kind: "country", Value: o.spot.Country, Known: o.country.known, LastSeen: o.country.lastSeen}
}

// allowCountry is rung 2 for what is new: the operator may vouch for the address or, with the effect given, the country.
func (l *ladder) allowCountry(effect string) {
	o := l.o
	switch what := o.c.allowed(o.p, &o.at); {
	case what != "":
		l.rung(rungAllow, effectRecord, what)
	case slices.Contains(o.c.config.Allow.Countries, o.spot.Country):
		l.rung(rungAllow, effect, fmt.Sprintf("the operator allows the country %s", o.spot.Country))
	default:
		l.rung(rungAllow, effectNone, "neither address nor country is on the operator's list")
	}
}
