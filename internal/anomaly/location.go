package anomaly

import (
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/profile"
)

// LOC-01 sees two successes of one user too far apart for the time between them.
//
// Every success is compared with every visit of the last 48 hours, not only with the latest: an imprecise place between
// two precise ones can make both neighbouring ways possible while the outer one is not. The distance is the great circle
// less both accuracy radii, the time that between the nearer ends of the visits, never less than a minute. Events up to 24
// hours late are compared with what came after them too; a pair is found once, whatever the order of arrival. An event
// without a place, from the network prefix of the latest visit, shows that the user was still there.
//
// State: the user's last visits (U1).
// Evidence: both places with their radii, distance, effective distance, time, speed; the slower pairs.
// False positives: an office's or a gateway's egress, carriers that bring their users to the internet in another city,
// VPN and relay users, two databases that disagree. Learned egress, network classes, radii and the same network and device
// at both ends suppress it or lower it; so does a way that the user has proved twice, for the user's own devices.
var loc01 = Detection{ID: "LOC-01", Version: 3, Title: "Impossible travel", Technique: "T1078.004", Severity: severities(events.Medium, events.High)}

// LOC-02 sees a journey that is possible but unlikely: at the speed of an airliner with its airports, to a place that is new
// to the user and hardly known in the organisation.
//
// State: the user's visits (U1) and places (U3), the places of the organisation (T1).
// Evidence: both places, speed, and how many users of the organisation have been there.
// False positives: genuine travel. A known device lowers it.
var loc02 = Detection{ID: "LOC-02", Version: 1, Title: "Atypical travel", Technique: "T1078.004", Severity: severities(events.Medium)}

// LOC-03 sees a user who is somewhere else for a moment between two successes in one place: there and back too soon.
//
// State: the user's visits (U1). The place in between was visited once.
// Evidence: all three events, distance and speed of both ways.
// False positives: carrier hubs, VPN users. Network classes suppress it.
var loc03 = Detection{ID: "LOC-03", Version: 2, Title: "There and back too soon", Technique: "T1539", Severity: severities(events.High)}

// LOC-04 sees a country in which the user has not been before, or not for a long time.
//
// A country that came with a finding of medium severity or more stays new until a step-up passes or a week goes by, so an
// attacker's first success does not make the next one usual.
//
// State: the user's countries with the time each was last seen (U2); the organisation's (T1).
// Evidence: the country, how many others are known, how many users of the organisation use it.
// False positives: genuine travel, VPN users. A country that is common in the organisation makes it low.
var loc04 = Detection{ID: "LOC-04", Version: 2, Title: "New country", Technique: "T1078.004", Severity: severities(events.Low, events.Medium)}

// LOC-05 sees a known country in which the user has not been for a month.
//
// State: the user's countries (U2).
// Evidence: when the user was last seen there.
// False positives: people who travel to the same place now and then; it is low.
var loc05 = Detection{ID: "LOC-05", Version: 1, Title: "Country not seen lately", Technique: "T1078", Severity: severities(events.Low)}

// LOC-06 sees a country from which nobody in the organisation has signed in.
//
// State: the organisation's countries (T1), once it has been watched for 30 days.
// Evidence: the country, how long the organisation has been watched, how many countries it uses.
// False positives: the first business trip of anybody to a country; VPN users. A known managed device lowers it.
var loc06 = Detection{ID: "LOC-06", Version: 1, Title: "Country new to the organisation", Technique: "T1078.004", Severity: severities(events.High)}

// LOC-07 sees a place more than 100 km from all places known of the user, 300 km on a mobile network.
//
// State: the user's places as clusters (U3).
// Evidence: the distance to the nearest known place.
// False positives: every journey; it is information for people and for other detections.
var loc07 = Detection{ID: "LOC-07", Version: 2, Title: "New place", Technique: "T1078", Severity: severities(events.Info)}

// LOC-08 sees a sign-in from a country that the operator watches or denies.
//
// State: none.
// Evidence: the entry of the list.
// False positives: exits of VPN services; whoever lists a country wants to know.
var loc08 = Detection{ID: "LOC-08", Version: 1, Title: "Watched country", Technique: "T1078", Severity: severities(events.High)}

// judgePlace places the event among the visits, by event time, and looks for LOC-01 and LOC-03. Only a new visit is a
// transition; an event that belongs to a visit is compared only as far as it brings the visit nearer to another.
func (o *observation) judgePlace() {
	visits, t := o.p.Visits, o.e.Time
	i := -1 // the visit that began last before the event
	for i+1 < len(visits) && visits[i+1].First.Time <= t {
		i++
	}
	if _, ok := o.c.radius(o.spot); !ok {
		if i >= 0 && i == len(visits)-1 {
			o.stay(&visits[i])
		}
		return
	}
	for k := max(i, 0); k <= i+1 && k < len(visits); k++ {
		if !o.belongs(&visits[k]) {
			continue
		}
		v := &visits[k]
		switch {
		case t < v.First.Time:
			o.impossibleTravel(k, 0, k)
			v.First = o.at
		case t > v.Last.Time:
			o.impossibleTravel(k, k+1, len(visits))
			v.Last = o.at
		}
		return
	}
	for k := max(i, 0); k <= i+1 && k < len(visits); k++ {
		if o.accompanies(&visits[k]) {
			return
		}
	}
	o.impossibleTravel(-1, 0, len(visits))
	o.thereAndBack(i)
	o.p.AddVisit(o.at)
}

// stay lets an event without a place prolong the latest visit when its address is of that visit's prefix: what is there is still
// there, though the database does not say so this time.
func (o *observation) stay(v *profile.Visit) {
	if o.spot.Located() || o.e.Time <= v.Last.Time || !o.at.IP.SamePrefix(v.Last.IP) || (o.p.Spot(&v.Last).Classes^o.spot.Classes)&anonymous != 0 {
		return
	}
	spot := v.Last.Spot
	v.Last = o.at
	v.Last.Spot = spot
}

// belongs tells whether the event is of a visit: in the same place, through the same network.
func (o *observation) belongs(v *profile.Visit) bool {
	first, last := o.p.Spot(&v.First), o.p.Spot(&v.Last)
	if (first.Classes^o.spot.Classes)&anonymous != 0 {
		return false
	}
	if first.Lat == o.spot.Lat && first.Lon == o.spot.Lon && first.RadiusKm == o.spot.RadiusKm && first.Classes == o.spot.Classes {
		return true // nothing is lost when it is the very same place
	}
	shares := o.spot.ASN != 0 && (o.spot.ASN == first.ASN || o.spot.ASN == last.ASN) ||
		o.at.IP.SamePrefix(v.First.IP) || o.at.IP.SamePrefix(v.Last.IP)
	return shares && o.within(first)
}

// within tells whether the event's place and another are within the larger of their radii.
func (o *observation) within(spot *profile.Spot) bool {
	r1, ok1 := o.c.radius(o.spot)
	r2, ok2 := o.c.radius(spot)
	r := max(r1, r2)
	return ok1 && ok2 && (near(o.spot, spot, r) || distance(o.spot, spot) <= r)
}

// accompanies tells whether the event is of a device that is in a visit at that time and only shows another of its ways
// to the network: mobile beside Wi-Fi, or IPv6 beside IPv4. It does not prolong the visit, so that a chain of such events
// cannot carry the visit's place along. A device is known by its id alone.
func (o *observation) accompanies(v *profile.Visit) bool {
	end := v.Near(o.e.Time)
	spot, device := o.p.Spot(end), o.p.Device(end)
	if o.device.Hash == 0 || o.device.Hash != device.Hash || (spot.Classes^o.spot.Classes)&anonymous != 0 {
		return false
	}
	if o.e.Time < v.First.Time-o.c.sameDevice || o.e.Time > v.Last.Time+o.c.sameDevice {
		return false
	}
	known := o.at.IP != profile.Address{} && end.IP != profile.Address{}
	otherWay := spot.Classes.Any(profile.Mobile) != o.spot.Classes.Any(profile.Mobile) || known && o.at.IP.Is4() != end.IP.Is4()
	if !otherWay {
		return false
	}
	if spot.Country != "" && spot.Country == o.spot.Country {
		return true
	}
	_, tooFar := o.impossible(end, &o.at)
	return !tooFar
}

// impossibleTravel is LOC-01: the event against the visits from one index up to another, all but its own. The fastest way
// is the finding, the others are its evidence.
func (o *observation) impossibleTravel(own, from, to int) {
	var legs [profile.MaxVisits]leg
	n, best := 0, 0
	for i := from; i < to; i++ {
		if i == own {
			continue
		}
		if l, ok := o.impossible(o.p.Visits[i].Near(o.e.Time), &o.at); ok {
			if n > 0 && l.kmh > legs[best].kmh {
				best = n
			}
			legs[n] = l
			n++
		}
	}
	if n == 0 {
		o.unlikelyTravel(own, from, to)
		return
	}
	fastest := &legs[best]
	travel := o.travel(fastest)
	evidence := events.Evidence{Travel: &travel}
	for i := range legs[:n] {
		if i != best {
			evidence.Others = append(evidence.Others, o.travel(&legs[i]))
		}
	}
	other := fastest.from
	if other == &o.at {
		other = fastest.to
	}
	l := ladder{severity: fastest.severity()}
	l.gate(o)
	l.allow(o, fastest.to, fastest.from)
	l.egress(o, fastest.to, fastest.from, effectRecord)
	l.hidden(o, effectRecord, fastest.to, fastest.from)
	l.knownWay(o, fastest.from, fastest.to)
	l.same(o, fastest.to, fastest.from)
	l.carrier(o, fastest.from, fastest.to)
	l.companion(o, fastest.from, fastest.to)
	l.proof(o, effectRecord, fastest.to == &o.at)
	l.capConflict(o, o.corroborated(), fastest.from, fastest.to)
	o.report(&loc01, &l, journey(fastest), evidence, other)
}

// unlikelyTravel is LOC-02, when nothing is impossible.
func (o *observation) unlikelyTravel(own, from, to int) {
	t := &o.c.config.Travel
	if !o.newPlace || o.spot.Classes.Any(anonymous|profile.Mobile) {
		return
	}
	if lat, lon := o.spot.Degrees(); o.org == nil || usedBy(o.org.Cell(lat, lon)) >= o.c.config.Novelty.OrgUsers {
		return
	}
	var fastest leg
	for i := from; i < to; i++ {
		if i == own {
			continue
		}
		l, ok := o.leg(o.p.Visits[i].Near(o.e.Time), &o.at)
		ok = ok && l.gap <= o.c.window && !l.fromSpot.Classes.Any(anonymous) && l.effectiveKm >= t.MinKm && l.kmh >= t.UnlikelyKmh && l.kmh < t.MediumKmh
		if ok && l.to == &o.at && l.kmh > fastest.kmh {
			fastest = l
		}
	}
	if fastest.from == nil {
		return
	}
	travel := o.travel(&fastest)
	l := ladder{severity: events.Medium}
	l.gate(o)
	l.allow(o, &o.at, fastest.from)
	l.egress(o, &o.at, fastest.from, effectRecord)
	if o.familiarDevice() {
		l.rung(rungSame, effectLower, "the device is known of the user")
	} else {
		l.rung(rungSame, effectNone, "the device is not known of the user")
	}
	l.proof(o, effectRecord, true)
	o.report(&loc02, &l, journey(&fastest), events.Evidence{Travel: &travel}, fastest.from)
}

func usedBy(t org.Term, _ bool) int { return t.Users }

// thereAndBack is LOC-03, for an event that begins a visit of its own after the i-th: as the return, as the visit in
// between, and, when it came late, as the start.
func (o *observation) thereAndBack(i int) {
	v := o.p.Visits
	if i >= 1 {
		o.flip(&v[i-1].Last, &v[i].First, &v[i].Last, &o.at, i)
	}
	if i >= 0 && o.e.Time < v[i].Last.Time {
		o.flip(&v[i].First, &o.at, &o.at, &v[i].Last, -1)
	} else if i >= 0 && i+1 < len(v) {
		o.flip(&v[i].Last, &o.at, &o.at, &v[i+1].First, -1)
	}
	if i+2 < len(v) {
		o.flip(&o.at, &v[i+1].First, &v[i+1].Last, &v[i+2].First, i+1)
	}
}

// flip tells of a way from a to b and back to c. B is a visit by its ends; index is where it is in the ring, -1 when it is
// the event itself.
func (o *observation) flip(a, first, last, c *profile.Point, index int) {
	if c.Time-a.Time > o.c.flipWindow || c.Time < a.Time {
		return
	}
	start, end := o.p.Spot(a), o.p.Spot(c)
	out, ok1 := o.leg(a, first)
	back, ok2 := o.leg(last, c)
	least := o.c.config.Travel.MinKm
	if !ok1 || !ok2 || out.effectiveKm < least || back.effectiveKm < least || start.Classes.Any(anonymous) || end.Classes.Any(anonymous) {
		return
	}
	if d := distance(start, end); d > max(out.radiusFrom, back.radiusTo) || a.IP.SamePrefix(first.IP) {
		return
	}
	middle := o.p.Spot(first)
	for k := range o.p.Visits {
		if k == index {
			continue
		}
		for _, pt := range []*profile.Point{&o.p.Visits[k].First, &o.p.Visits[k].Last} {
			if distance(o.p.Spot(pt), middle) <= out.radiusTo {
				return // visited more than once: a second home, not a flip
			}
		}
	}
	there, home := o.travel(&out), o.travel(&back)
	l := ladder{severity: events.High}
	l.gate(o)
	l.allow(o, first, a)
	l.egress(o, first, a, effectRecord)
	l.hidden(o, effectRecord, a, first, c)
	l.knownWay(o, a, first)
	l.same(o, first, a)
	l.carrier(o, a, first)
	l.companion(o, a, first)
	l.capConflict(o, o.corroborated(), a, first, c)
	others := [2]*profile.Point{a, c} // of the three, those that are not the event
	switch &o.at {
	case a:
		others[0] = first
	case c:
		others[1] = first
	}
	o.report(&loc03, &l, roundTrip(&out, &back), events.Evidence{Travel: &there, Return: &home}, others[:]...)
}

// corroborated tells whether more than the place speaks for a finding: another network and device in the session, or a
// new device.
func (o *observation) corroborated() bool {
	if o.deviceID.new() || o.agent.new() {
		return true
	}
	for i := range o.findings {
		if o.findings[i].Detection == ses01.ID {
			return true
		}
	}
	return false
}

// newCountry is LOC-04.
func (o *observation) newCountry() {
	l := ladder{severity: events.Medium}
	l.gate(o)
	l.allowCountry(o, effectRecord)
	l.egress(o, &o.at, nil, effectRecord)
	l.hidden(o, effectRecord, &o.at)
	l.familiar(o)
	l.common(o, "the country", o.orgCountry())
	l.proof(o, effectRecord, true)
	o.report(&loc04, &l, o.countrySummary(), events.Evidence{Novel: []events.NovelTerm{o.countryTerm()}})
}

// judgeCountry looks for LOC-05, LOC-06 and LOC-08, which a session that goes on does not repeat.
func (o *observation) judgeCountry() {
	if o.spot.Country == "" || !o.begins && !o.country.fresh {
		return
	}
	o.staleCountry()
	o.orgNewCountry()
	o.watchedCountry()
}

// staleCountry is LOC-05.
func (o *observation) staleCountry() {
	away := o.e.Time - o.country.previous
	if o.country.unknown || o.country.previous == 0 || away < ms(o.c.config.Novelty.StaleCountry) || o.before != 0 && o.before < o.country.previous+events.Day {
		return // the user was away from everything: TIM-02
	}
	l := ladder{severity: events.Low}
	l.gate(o)
	l.allowCountry(o, effectRecord)
	l.egress(o, &o.at, nil, effectRecord)
	l.hidden(o, effectRecord, &o.at)
	term := o.countryTerm()
	term.LastSeen = o.country.previous
	o.report(&loc05, &l, fmt.Sprintf("Seen in %s, for the first time in %s", o.spot.Country, span(away)), events.Evidence{Novel: []events.NovelTerm{term}})
}

// orgNewCountry is LOC-06.
func (o *observation) orgNewCountry() {
	if o.org.Span() < ms(o.c.config.Novelty.OrgSpan) {
		return
	}
	if _, used := o.org.Country(o.spot.Country); used || !o.country.unknown {
		return
	}
	l := ladder{severity: events.High}
	l.gate(o)
	l.allowCountry(o, effectRecord)
	l.egress(o, &o.at, nil, effectRecord)
	l.hidden(o, effectRecord, &o.at)
	l.known(o, effectLower)
	if o.e.Device.Managed == events.Yes && o.knownDevice() {
		l.rung(rungSame, effectLower, "the device is managed and known of the user")
	}
	l.proof(o, effectRecord, true)
	l.capConflict(o, o.corroborated(), &o.at)
	told := o.org.Told()
	o.report(&loc06, &l, fmt.Sprintf("Nobody in the organisation has signed in from %s in %s", o.spot.Country, span(o.org.Span())), events.Evidence{
		Novel: []events.NovelTerm{{Kind: "country_of_organisation", Value: o.spot.Country, Known: len(told.Countries)}},
	})
}

// watchedCountry is LOC-08.
func (o *observation) watchedCountry() {
	if !slices.Contains(o.c.config.Novelty.WatchCountries, o.spot.Country) {
		return
	}
	l := ladder{severity: events.High}
	l.allow(o, &o.at, nil)
	l.egress(o, &o.at, nil, effectRecord)
	l.capConflict(o, o.corroborated(), &o.at)
	o.report(&loc08, &l, fmt.Sprintf("Signed in from %s, which the operator watches", o.spot.Country), events.Evidence{
		Facts: []events.Fact{{Name: "watch_countries", Value: o.spot.Country}},
	})
}
