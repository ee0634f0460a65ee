package anomaly

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// novelty is one term of an event, compared with what is known of the user.
type novelty struct {
	kind  profile.Kind
	value uint64
	// unknown: not seen within its lifetime, or seen and not yet trusted. fresh: the former.
	unknown, fresh bool
	// known counts the user's other terms of the kind.
	known    int
	lastSeen events.Millis
}

// new tells something that differs from what is known: nothing is new of a user of whom nothing of the kind is known.
func (n *novelty) new() bool { return n.unknown && (n.known > 0 || n.lastSeen != 0) }

// recognise compares the event's terms with those known, and confirms what may be confirmed.
func (o *observation) recognise() {
	country := profile.CountryValue(o.spot.Country)
	o.country = o.compare(profile.Country, country, o.c.countryTTL)
	if o.spot.Classes.Any(hidden) { // whoever comes through a VPN was not there
		if o.country.unknown {
			o.country = o.compare(profile.CountryVia, country, o.c.countryTTL)
		} else {
			o.country.value = 0 // teaches nothing
		}
	}
	if o.country.unknown {
		o.country.known = o.p.CountTerms(profile.Country, country) + o.p.CountTerms(profile.CountryVia, country)
	}
	o.network = o.compare(profile.ASN, uint64(o.spot.ASN), o.c.deviceTTL)
	o.deviceID = o.compare(profile.DeviceID, profile.DeviceValue(o.device.Hash), o.c.deviceTTL)
	o.agent = o.compare(profile.Agent, profile.AgentValue(o.device.OS, o.device.Browser), o.c.deviceTTL)
}

// compare looks a term up. One that came with an adverse finding is unknown until a step-up, or until enough time has
// passed without another.
func (o *observation) compare(kind profile.Kind, value uint64, ttl events.Millis) novelty {
	n := novelty{kind: kind, value: value}
	if value == 0 {
		return n
	}
	now := o.e.Time
	t := o.p.Term(kind, value)
	switch {
	case t == nil:
		n.unknown, n.fresh = true, true
	case now-t.Last.Millis() > ttl:
		n.unknown, n.fresh, n.lastSeen = true, true, t.Last.Millis()
	case t.Unconfirmed:
		proved := o.e.Auth.Time
		if proved == 0 {
			proved = now
		}
		if o.stepUp() && proved > t.First.Millis() || now-max(t.First.Millis(), o.p.LastAdverse) >= o.c.confirmAfter {
			t.Unconfirmed = false
			return n
		}
		n.unknown = true
	}
	if n.unknown {
		n.known = o.p.CountTerms(kind, value)
	}
	return n
}

// learn takes the event into the profile: terms, session and, when it raised something new, the time of that.
func (o *observation) learn(adverse bool) {
	for _, n := range []*novelty{&o.country, &o.network, &o.deviceID, &o.agent} {
		if n.value == 0 {
			continue
		}
		if n.lastSeen != 0 { // known long ago: it begins anew
			t := o.p.Term(n.kind, n.value)
			t.First, t.Unconfirmed = profile.MinutesOf(o.e.Time), adverse
		}
		o.p.Learn(n.kind, n.value, o.e.Time, adverse)
	}
	if o.session != 0 {
		o.p.UseSession(o.session, o.at, o.c.sessionTTL)
	}
	if adverse && !o.repeatsOnly() {
		o.p.LastAdverse = max(o.p.LastAdverse, o.e.Time)
	}
}

// repeatsOnly tells that all the event raised is that terms are still new. That must not keep them new for ever.
func (o *observation) repeatsOnly() bool {
	for i := range o.findings {
		f := &o.findings[i]
		if !adverse(*f) {
			continue
		}
		novel := f.Detection == o.c.country04.id || f.Detection == o.c.conjunction.id
		if !novel || o.country.fresh || f.Detection == o.c.conjunction.id && (o.deviceID.fresh || o.agent.fresh) {
			return false
		}
	}
	return true
}
