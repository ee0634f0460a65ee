package anomaly

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// judgeSession compares the event with what is known of its session, for SES-01 and SES-02. Neither passes the learning
// gate: a session is compared with itself. A session is reported when it moves, not for every use after that.
func (o *observation) judgeSession() {
	s := o.p.Session(o.session)
	if s == nil {
		return
	}
	o.secondDevice(s)
	o.sessionSpeed(s)
}

// secondDevice is SES-01: another operator's network and another device than at the start.
func (o *observation) secondDevice(s *profile.Session) {
	changed := o.changed(&s.Start)
	if changed == nil {
		return
	}
	if last := &s.Last; *last != s.Start && o.at.Time > last.Time && o.p.Spot(last).ASN == o.spot.ASN && len(o.otherDevice(last)) == 0 {
		return // it moved here before
	}
	l := ladder{severity: events.High}
	l.allow(o, &o.at, nil)
	l.proof(o, effectLower, true)
	o.report(&o.c.session01, &l, o.secondDeviceSummary(&s.Start), events.Evidence{Session: o.sessionUsed(&s.Start, changed)}, &s.Start)
}

// changed lists what differs from a point when both the network and the device do, else it is nil.
func (o *observation) changed(pt *profile.Point) []string {
	asn := o.p.Spot(pt).ASN
	if asn == 0 || o.spot.ASN == 0 || asn == o.spot.ASN {
		return nil
	}
	device := o.otherDevice(pt)
	if len(device) == 0 {
		return nil
	}
	return append([]string{"asn"}, device...)
}

// otherDevice lists what tells the event's device from a point's: families, never versions, and only what both name. Apps
// of one device share sessions and name themselves differently, so a browser says nothing beside one and the same id.
func (o *observation) otherDevice(pt *profile.Point) []string {
	d := o.p.Device(pt)
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	var list []string
	if d.Hash != 0 && o.device.Hash != 0 && d.Hash != o.device.Hash {
		list = append(list, "device")
	}
	if differ(d.OS, o.device.OS) {
		list = append(list, "os")
	}
	if differ(d.Browser, o.device.Browser) && (d.Hash == 0 || d.Hash != o.device.Hash) {
		list = append(list, "browser")
	}
	return list
}

// sessionSpeed is SES-02: the session is where nobody could have carried it from its start or its last use.
func (o *observation) sessionSpeed(s *profile.Session) {
	if o.at.Time >= s.Last.Time && o.within(o.p.Spot(&s.Last)) {
		return // it moved here before
	}
	fastest, ok := o.impossible(&s.Start, &o.at)
	if l, ok2 := o.impossible(&s.Last, &o.at); ok2 && (!ok || l.kmh > fastest.kmh) {
		fastest, ok = l, true
	}
	if !ok {
		return
	}
	other := fastest.from
	if other == &o.at {
		other = fastest.to
	}
	changed := append([]string{"place"}, o.otherDevice(other)...)
	travel := o.travel(&fastest)

	l := ladder{severity: fastest.severity()}
	l.allow(o, fastest.to, fastest.from)
	l.maskedSession(o, fastest.toSpot, other, len(changed) == 1)
	l.proof(o, effectLower, fastest.to == &o.at)
	l.capConflict(o, o.corroborated(), fastest.from, fastest.to)
	o.report(&o.c.session02, &l, "The session went from "+journey(&fastest),
		events.Evidence{Travel: &travel, Session: o.sessionUsed(&s.Start, changed)}, other)
}

// maskedSession weighs a session that moves behind a VPN, a relay or a satellite, where the speed means little: low when
// its own managed device took it there, or its own device through a relay or a satellite; medium otherwise. Tor and
// hosting stay what they are.
func (l *ladder) maskedSession(o *observation, to *profile.Spot, other *profile.Point, sameDevice bool) {
	classes := to.Classes & (profile.VPN | profile.Relay | profile.Satellite)
	if classes == 0 || to.Classes.Any(profile.Tor|profile.Hosting) {
		return
	}
	d := o.p.Device(other)
	managed := d.Hash != 0 && d.Hash == o.device.Hash && d.Managed == events.Yes && o.device.Managed == events.Yes
	severity, fact := events.Medium, "the address is of class "+string(classes.List()[0])
	switch {
	case managed:
		severity, fact = events.Low, fact+", and the managed device is the same"
	case sameDevice && !classes.Any(profile.VPN):
		severity, fact = events.Low, fact+", and the device is the same"
	}
	if severity.Rank() < l.severity.Rank() {
		l.severity = severity
	}
	l.considered = append(l.considered, events.Suppression{Rung: rungHidden, Fact: fact + ": " + string(severity) + " at most", Effect: effectLower})
}

func (o *observation) sessionUsed(start *profile.Point, changed []string) *events.SessionUsed {
	return &events.SessionUsed{ID: o.e.Session.ID, Started: o.p.Sight(start), Changed: changed}
}
