package anomaly

import (
	"fmt"
	"slices"

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
	known int
	// lastSeen is when a stale term was last seen, previous when one that is known was.
	lastSeen, previous events.Millis
}

// new tells something that differs from what is known: nothing is new of a user of whom nothing of the kind is known.
func (n *novelty) new() bool { return n.unknown && (n.known > 0 || n.lastSeen != 0) }

// everKnown tells a term that is known of the user, or was before it went out of date: a silence as long as its lifetime
// makes everything new.
func (n *novelty) everKnown() bool { return n.value != 0 && (!n.unknown || n.lastSeen != 0) }

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
	o.network = o.compare(profile.ASN, uint64(o.spot.ASN), ms(o.c.config.Novelty.NetworkTTL))
	o.deviceID = o.compare(profile.DeviceID, profile.DeviceValue(o.device.Hash), o.c.deviceTTL)
	o.agent = o.compare(profile.Agent, profile.AgentValue(o.device.OS, o.device.Browser), o.c.deviceTTL)
	o.recognisePlace()
	if o.e.Kind == events.SignIn {
		ttl := ms(o.c.config.Novelty.AppTTL)
		o.app = o.compare(profile.App, profile.TextValue(o.e.App.ID), ttl)
		if o.e.Resource.ID != "" && slices.Contains(o.c.config.OAuth.BrokerApps, o.e.App.ID) {
			o.appResource = o.compare(profile.AppResource, profile.TextValue(o.e.App.ID, o.e.Resource.ID), ttl)
		}
		switch name := grant(o.e.Auth.Protocol); {
		case slices.Contains(deviceCodeNames, name):
			o.grant = o.compare(profile.Grant, profile.TextValue(name), ms(o.c.config.OAuth.DeviceCodeTTL))
		case slices.Contains(legacyNames, name):
			o.grant = o.compare(profile.Grant, profile.TextValue(name), ttl)
		}
	}
}

// recognisePlace tells a place far from all that are known.
func (o *observation) recognisePlace() {
	if _, ok := o.c.radius(o.spot); !ok || o.spot.Classes.Any(anonymous) {
		return
	}
	least := o.clusterKm()
	nearest, km := o.p.NearestCluster(o.spot)
	if nearest == nil {
		return
	}
	o.newPlace = km > least || nearest.Unconfirmed
	if km > least {
		o.farKm = km
	}
}

// farPlace is LOC-07.
func (o *observation) farPlace() {
	if o.farKm == 0 || !o.begins {
		return
	}
	l := ladder{severity: events.Info}
	l.gate(o)
	l.egress(o, &o.at, nil, effectRecord)
	o.report(&loc07, &l, fmt.Sprintf("Seen in %s, %s km from the nearest place known of the user", placeName(o.spot), grouped(o.farKm)), events.Evidence{
		Novel: []events.NovelTerm{{Kind: "place", Value: placeName(o.spot), Known: len(o.p.Clusters)}},
	})
}

// clusterKm is how far apart two places are of the user.
func (o *observation) clusterKm() float64 {
	if o.spot.Classes.Any(profile.Mobile) {
		return o.c.config.Novelty.ClusterMobileKm
	}
	return o.c.config.Novelty.ClusterKm
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
	if t != nil {
		n.previous = t.Last.Millis()
	}
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
		if o.stepUp() && proved > t.First.Millis() || o.undisputed(t.First) {
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

// undisputed tells what was first seen long enough ago, and has been without an adverse finding for as long.
func (o *observation) undisputed(first profile.Minutes) bool {
	return o.e.Time-max(first.Millis(), o.p.LastAdverse) >= o.c.confirmAfter
}

// learn takes the event into the profile: terms, places, session, habits and, when it raised something new, the time of that.
func (o *observation) learn(adverse bool) {
	e, p := o.e, o.p
	for _, n := range []*novelty{&o.country, &o.network, &o.deviceID, &o.agent, &o.app, &o.appResource, &o.grant} {
		o.teach(n, adverse)
	}
	if radius, ok := o.c.radius(o.spot); ok && !o.spot.Classes.Any(anonymous) {
		cluster := p.LearnCluster(o.spot, radius, o.clusterKm(), e.Time, adverse)
		if cluster != nil && cluster.Unconfirmed && !adverse && (o.stepUp() || o.undisputed(cluster.First)) {
			cluster.Unconfirmed = false
		}
	}
	if o.session != 0 {
		s := p.UseSession(o.session, o.at, o.c.sessionTTL)
		s.Interactive = s.Interactive || o.login()
		if s.Ended != 0 && e.Time > s.Ended && o.stepUp() && !adverse {
			s.Ended = 0 // the person has signed in again
		}
		if e.Kind == events.SignIn && e.Interactive == events.No {
			s.Refreshed = max(s.Refreshed, e.Time)
		}
		s.UseToken(profile.TokenUse{Token: profile.Hash32(e.Session.Token), IP: o.at.IP.Hash(), ASN: o.spot.ASN, Time: e.Time})
	}
	o.teachFamiliarity(adverse)
	o.mark(adverse)
	if adverse && !o.repeatsOnly() {
		p.LastAdverse = max(p.LastAdverse, e.Time)
	}
}

// mark notes single facts of a success.
func (o *observation) mark(adverse bool) {
	e, m := o.e, &o.p.Marks
	if o.login() {
		o.p.Hours.Add(profile.HourOfWeek(e.Time, 0), e.Time)
	}
	if o.login() && o.spot.Classes.Any(profile.Hosting) && (!adverse || phishingResistant(e) && o.novelOnly()) {
		m.HostingAt = max(m.HostingAt, e.Time)
	}
	if adverse {
		return
	}
	if e.Device.Managed == events.Yes {
		m.ManagedAt = max(m.ManagedAt, e.Time)
	}
	if phishingResistant(e) {
		m.StrongAt = max(m.StrongAt, e.Time)
	}
	if o.stepUp() {
		o.provedWay()
	}
}

// provedWay notes that the user came here from another place and proved it, once for every journey: the place is that of
// the latest visit that is far from here.
func (o *observation) provedWay() {
	var before *profile.Visit
	for i := range o.p.Visits {
		v := &o.p.Visits[i]
		if v.Last.Time < o.e.Time && (before == nil || v.Last.Time > before.Last.Time) &&
			!near(o.p.Spot(&v.Last), o.spot, o.c.config.Travel.MinFixedLineKm) {
			before = v
		}
	}
	if before == nil || o.e.Time-before.Last.Time > o.c.window {
		return
	}
	from := o.p.Spot(&before.Last)
	if t := o.p.Transition(from, o.spot); t == nil || t.Last.Millis() < before.Last.Time {
		o.p.PassTransition(from, o.spot, o.e.Time)
	}
}

// teach takes one term in.
func (o *observation) teach(n *novelty, adverse bool) {
	if n.value == 0 {
		return
	}
	// Known long ago, it begins anew; unless another of the event's terms has just taken its room.
	if t := o.p.Term(n.kind, n.value); t != nil && n.lastSeen != 0 {
		t.First, t.Unconfirmed = profile.MinutesOf(o.e.Time), adverse
	}
	o.p.Learn(n.kind, n.value, o.e.Time, adverse)
}

// novel are the detections that see nothing but that something is new for the user.
var novel = []*Detection{&loc02, &loc04, &loc06, &net02, &net03, &dev04, &conj01, &conj02, &fam01, &oau02, &oau05, &prv01, &rsk01}

// repeatsOnly tells that all the event raised is that terms are still new. That must not keep them new for ever.
func (o *observation) repeatsOnly() bool {
	return !o.country.fresh && !o.network.fresh && !o.deviceID.fresh && !o.agent.fresh && !o.grant.fresh && o.novelOnly()
}

// novelOnly tells that all the event raised is that something is new.
func (o *observation) novelOnly() bool {
	return !slices.ContainsFunc(o.findings, func(f events.Finding) bool {
		return adverse(f) && !slices.Contains(novel, byID[f.Detection])
	})
}
