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
	device := o.deviceID.new()
	agent := o.agent.new() && (device || !o.knownDevice())
	fresh := o.country.fresh || device && o.deviceID.fresh || agent && o.agent.fresh
	if (device || agent) && (fresh || o.begins) {
		o.newCountryAndDevice(device, agent)
	}
}

// knownDevice tells a device whose id is known of the user and trusted.
func (o *observation) knownDevice() bool { return o.deviceID.value != 0 && !o.deviceID.unknown }

// newCountryAndDevice is CONJ-01, for a device whose id is new, or its kind, or both.
func (o *observation) newCountryAndDevice(device, agent bool) {
	novel := []events.NovelTerm{o.countryTerm()}
	if device {
		novel = append(novel, o.deviceID.term("device", o.e.Device.ID))
	}
	if agent {
		novel = append(novel, o.agent.term("os_and_browser", agentName(o.device)))
	}
	l := ladder{severity: events.High}
	l.gate(o)
	l.allowCountry(o, effectLower)
	l.egress(o, &o.at, nil, effectLower)
	if o.spot.Classes.Any(profile.Tor) {
		l.rung(rungHidden, effectNone, fmt.Sprintf("%s is of class tor, which excuses no new device", o.at.IP))
	} else {
		l.hidden(o, effectLower, &o.at)
	}
	l.proof(o, effectRecord, true)
	o.report(&o.c.conjunction, &l, o.conjunctionSummary(), events.Evidence{Novel: novel})
}

func (o *observation) countryTerm() events.NovelTerm {
	return o.country.term("country", o.spot.Country)
}

func (n *novelty) term(kind, value string) events.NovelTerm {
	return events.NovelTerm{Kind: kind, Value: value, Known: n.known, LastSeen: n.lastSeen}
}

// allowCountry is rung 2 for what is new: the operator may vouch for the address or, with the effect given, the country.
func (l *ladder) allowCountry(o *observation, effect string) {
	switch what := o.c.allowed(o.p, &o.at); {
	case what != "":
		l.rung(rungAllow, effectRecord, what)
	case slices.Contains(o.c.config.Allow.Countries, o.spot.Country):
		l.rung(rungAllow, effect, fmt.Sprintf("the operator allows the country %s", o.spot.Country))
	default:
		l.rung(rungAllow, effectNone, "neither address nor country is on the operator's list")
	}
}
