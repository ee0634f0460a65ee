package anomaly

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// judgePlace places the event among the visits, by event time, and looks for LOC-01 and LOC-03. Only a new visit is a
// transition; an event that belongs to a visit is compared only as far as it brings the visit nearer to another.
func (o *observation) judgePlace() {
	if _, ok := o.c.radius(o.spot); !ok {
		return
	}
	visits, t := o.p.Visits, o.e.Time
	i := -1 // the visit that began last before the event
	for i+1 < len(visits) && visits[i+1].First.Time <= t {
		i++
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
	l.same(o, fastest.to, fastest.from)
	l.proof(o, effectRecord, fastest.to == &o.at)
	l.capConflict(o, o.corroborated(), fastest.from, fastest.to)
	o.report(&o.c.travel01, &l, journey(fastest), evidence, other)
}

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
	l.same(o, first, a)
	l.capConflict(o, o.corroborated(), a, first, c)
	others := [2]*profile.Point{a, c} // of the three, those that are not the event
	switch &o.at {
	case a:
		others[0] = first
	case c:
		others[1] = first
	}
	o.report(&o.c.flip03, &l, roundTrip(&out, &back), events.Evidence{Travel: &there, Return: &home}, others[:]...)
}

// corroborated tells whether more than the place speaks for a finding: another network and device in the session, or a
// new device.
func (o *observation) corroborated() bool {
	if o.deviceID.new() || o.agent.new() {
		return true
	}
	for i := range o.findings {
		if o.findings[i].Detection == o.c.session01.id {
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
	l.proof(o, effectRecord, true)
	o.report(&o.c.country04, &l, o.countrySummary(), events.Evidence{Novel: []events.NovelTerm{o.countryTerm()}})
}
