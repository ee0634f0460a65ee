package anomaly

import (
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// SES-01 sees one session on two networks and two devices: a cookie or token was copied.
//
// Operating system, browser family and device id are compared, never versions; Wi-Fi and mobile, or IPv4 and IPv6, of one
// device differ in the network only. It is reported when the session moves, not for every use.
//
// State: where and with what the session began and was last used (S1).
// Evidence: both uses, and what differs.
// False positives: apps of one device that name themselves differently.
var ses01 = Detection{ID: "SES-01", Version: 2, Title: "Session used from a second network and device", Technique: "T1539", Severity: severities(events.High)}

// SES-02 sees one session in two places too far apart for the time between them.
//
// State: where the session began and was last used (S1).
// Evidence: both places, distance less radii, time, speed.
// False positives: VPN and relay users, whose own devices make it low; carriers with far hubs.
var ses02 = Detection{ID: "SES-02", Version: 2, Title: "Session moves at impossible speed", Technique: "T1550.004", Severity: severities(events.Medium, events.High)}

// SES-03 sees a session that began elsewhere come from a hosting network or an anonymiser.
//
// State: where and with what the session began (S1).
// Evidence: both uses, the class.
// False positives: a VPN that is switched on: low with the same device id, or when the VPN is common in the organisation;
// servers of the application itself, which can be named. Tor and hosting stay high.
var ses03 = Detection{ID: "SES-03", Version: 1, Title: "Session moves to a hosting network or anonymiser", Technique: "T1550.004", Severity: severities(events.Low, events.Medium, events.High)}

// SES-04 sees a session renewed, without the person, from a network that is new to the user and to the session.
//
// State: the user's networks (U2), where the session began (S1).
// Evidence: both networks, the type of token.
// False positives: a laptop on a journey: low with a known device; mobile networks are exempt unless the device differs.
var ses04 = Detection{ID: "SES-04", Version: 1, Title: "Session renewed from a new network", Technique: "T1550.001", Severity: severities(events.Low, events.Medium)}

// SES-05 sees a token where it cannot be: at two addresses at once, past its life, or after its session was ended.
//
// Of an ended session what its own device still does is low: access tokens live on for up to a day. Two networks within minutes
// are critical when the devices differ, or when network and place are new to a user who is known; a phone that changes between
// mobile and Wi-Fi is low.
//
// State: the session's tokens and the addresses they came from (S2), when it was ended (S1).
// Evidence: the uses, when the session ended.
// False positives: a device that changes between IPv4 and IPv6 or within one network, a late clock.
var ses05 = Detection{ID: "SES-05", Version: 1, Title: "Token replayed", Technique: "T1550.001", Severity: severities(events.Low, events.Critical)}

// SES-06 sees two sessions of one user in two countries at once, or, medium, a second one on another network with a device that
// is new. Of all sessions in use the one that makes it gravest counts; within an hour it is reported again only when it is graver.
//
// State: the user's sessions with their last use (S1).
// Evidence: both sessions.
// False positives: mobile networks, which are exempt because roaming phones come from their own country; VPN users.
var ses06 = Detection{ID: "SES-06", Version: 2, Title: "Sessions in two countries at once", Technique: "T1078.004", Severity: severities(events.Medium, events.High)}

// SES-07 sees four or more sessions begin within half an hour.
//
// State: the user's sessions (S1).
// Evidence: the sessions.
// False positives: sign-in loops: of one device, low.
var ses07 = Detection{ID: "SES-07", Version: 1, Title: "Burst of sessions", Technique: "T1550.004", Severity: severities(events.Low, events.Medium)}

// SES-08 sees an application's use of a session from another network than that of the sign-in, one that is new for the user.
//
// It catches what copies the user agent, too: a device that does not prove to be the same is not taken for it.
//
// State: where and with what the session began (S1), the user's networks (U2).
// Evidence: both uses.
// False positives: mobile networks are exempt; servers of the application can be named.
var ses08 = Detection{ID: "SES-08", Version: 1, Title: "Session used from another network than its sign-in", Technique: "T1550.001", Severity: severities(events.Low, events.Medium, events.High)}

// judgeSession compares the event with what is known of its session and of the user's others. None of it passes the learning
// gate: a session is compared with itself.
func (o *observation) judgeSession() {
	if o.session == 0 {
		return
	}
	if s := o.p.Session(o.session); s != nil {
		o.secondDevice(s)
		o.sessionSpeed(s)
		o.sessionHides(s)
		o.sessionRenewed(s)
		o.replayed(s)
		o.usedElsewhere(s)
	} else {
		o.burst()
	}
	o.twoCountries()
}

// sessionHides is SES-03.
func (o *observation) sessionHides(s *profile.Session) {
	const masks = anonymous &^ profile.Satellite
	start, last := o.p.Spot(&s.Start), o.p.Spot(&s.Last)
	if !o.spot.Classes.Any(masks) || start.Classes.Any(masks) || o.firstParty() || start.ASN == o.spot.ASN && start.ASN != 0 {
		return
	}
	if o.at.Time >= s.Last.Time && s.Last != s.Start && last.ASN == o.spot.ASN {
		return // it moved here before
	}
	l := ladder{severity: events.High}
	l.allow(o, &o.at, nil)
	if o.spot.Classes.Any(profile.VPN|profile.Relay) && !o.spot.Classes.Any(profile.Tor) {
		l.masked(o, &s.Start)
	} else if o.spot.Classes.Any(profile.Hosting) {
		l.gateway(o, &s.Start)
	}
	l.proof(o, effectLower, true)
	class := (o.spot.Classes & masks).List()[0]
	o.report(&ses03, &l, fmt.Sprintf("A session of %s came from %s, of class %s", placeName(start), o.at.IP, class), events.Evidence{
		Session: o.sessionUsed(&s.Start, append([]string{"network_class"}, o.otherDevice(&s.Start)...)), Facts: o.listed(string(class)),
	}, &s.Start)
}

// masked weighs a session that goes behind a VPN, a relay or a satellite, where a place means little: low with its own device
// by the id, with what seems its own device through a relay or a satellite, or on a network that is common in the organisation; otherwise
// medium at most.
func (l *ladder) masked(o *observation, before *profile.Point) {
	d := o.p.Device(before)
	own := len(o.otherDevice(before)) == 0
	switch {
	case d.Hash != 0 && d.Hash == o.device.Hash && own:
		l.severity = events.Low
		l.rung(rungHidden, effectLowered, "the device id is the same: low")
	case own && o.spot.Classes.Any(profile.Relay|profile.Satellite):
		l.severity = events.Low
		l.rung(rungHidden, effectLowered, "the device is the same: low")
	case own && o.orgNetwork().Users >= o.c.config.Novelty.OrgUsers:
		l.severity = events.Low
		l.rung(rungCommon, effectLowered, "the network is common in the organisation and nothing of the device differs: low")
	case own && o.learning:
		l.severity = events.Low
		l.rung(rungLearning, effectLowered, "nothing of the device differs, and little is known of the user yet: low")
	default:
		l.severity = events.Medium
		l.rung(rungHidden, effectLowered, "who comes from behind it is somewhere else: medium at most")
	}
}

// roams weighs a session that moves to or from a mobile network, whose hubs are anywhere, with its own device: low when the
// device is the same by its id, or when nothing of it differs and the carrier is the same, the networks are known
// of the user, or another known device of the user has been there.
func (l *ladder) roams(o *observation, before *profile.Point) {
	spot, d := o.p.Spot(before), o.p.Device(before)
	if !(spot.Classes | o.spot.Classes).Any(profile.Mobile) || len(o.otherDevice(before)) > 0 {
		return
	}
	sameID := d.Hash != 0 && d.Hash == o.device.Hash
	ownCarrier := !o.network.unknown && (o.spot.Classes.Any(profile.Mobile) || o.knows(profile.ASN, uint64(spot.ASN)))
	accompanied := !o.spot.Classes.Any(profile.Mobile) && o.seenNear(o.spot, o.device.Hash) != ""
	if sameID || ownCarrier || accompanied || spot.ASN == o.spot.ASN && spot.Country == o.spot.Country {
		l.severity = events.Low
		l.rung(rungSame, effectLowered, "its own device on a mobile network, whose hubs may be anywhere: low")
	} else if spot.Classes.Any(profile.Mobile) && o.knows(profile.ASN, uint64(spot.ASN)) && l.severity == events.High {
		l.severity = events.Medium
		l.rung(rungSame, effectLowered, "nothing of the device differs, and it was on the user's own carrier before: medium")
	}
}

// gateway weighs a session that comes from a hosting network which the organisation itself uses, such as a virtual desktop or a
// secure gateway, with its own device.
func (l *ladder) gateway(o *observation, start *profile.Point) {
	d := o.p.Device(start)
	if d.Hash != 0 && d.Hash == o.device.Hash && d.Managed == events.Yes && o.device.Managed == events.Yes && o.org.Egress(o.at.IP.Prefix()) {
		l.severity = events.Low
		l.rung(rungEgress, effectLowered, "the managed device is the same, and the address is learned as the organisation's own: low")
	}
}

// firstParty tells an application whose own servers use sessions, on a network where they are.
func (o *observation) firstParty() bool {
	return o.e.App.ID != "" && slices.Contains(o.c.config.Session.FirstPartyApps, o.e.App.ID) && slices.Contains(o.c.config.BackendASNs, o.spot.ASN)
}

// sessionRenewed is SES-04.
func (o *observation) sessionRenewed(s *profile.Session) {
	start := o.p.Spot(&s.Start)
	if o.e.Kind != events.SignIn || o.e.Interactive != events.No || !o.network.new() || !o.network.fresh || start.ASN == 0 || start.ASN == o.spot.ASN {
		return
	}
	differs := o.otherDevice(&s.Start)
	if (o.spot.Classes | start.Classes).Any(profile.Mobile) && len(differs) == 0 {
		return
	}
	l := ladder{severity: events.Medium}
	d := o.p.Device(&s.Start)
	if len(differs) == 0 && d.Hash != 0 && d.Hash == o.device.Hash {
		l.severity = events.Low
		l.rung(rungSame, effectLowered, "the device id is that of the session's start: low")
	}
	if len(differs) == 0 && !o.newPlace && (o.device.OS != "" || o.device.Browser != "") {
		l.severity = events.Low
		l.rung(rungSame, effectLowered, "nothing of the device differs, and the place is near one that is known of the user: low")
	}
	l.allow(o, &o.at, nil)
	o.report(&ses04, &l, fmt.Sprintf("A session of AS%d was renewed from AS%d%s, which is new for the user", start.ASN, o.spot.ASN, orgName(o.e)), events.Evidence{
		Session: o.sessionUsed(&s.Start, append([]string{"asn"}, differs...)), Facts: tokenFacts(o.e),
	}, &s.Start)
}

func tokenFacts(e *events.Event) []events.Fact {
	if e.Session.TokenType == "" {
		return nil
	}
	return []events.Fact{{Name: "token_type", Value: e.Session.TokenType}}
}

// replayed is SES-05.
func (o *observation) replayed(s *profile.Session) {
	if o.raisedIn(&ses05, o.session, events.Day) {
		return
	}
	limits := &o.c.config.Session
	differs := o.otherDevice(&s.Start)
	elsewhere := o.elsewhere(&s.Start, &o.at)
	if s.Ended != 0 && o.e.Time > s.Ended+ms(limits.Skew) && (elsewhere || len(differs) > 0) {
		if len(differs) == 0 && o.familiarDevice() && o.stepUp() {
			return // the person has signed in again, with a device of their own
		}
		l := ladder{severity: events.Critical}
		switch d := o.p.Device(&s.Start); {
		case d.Hash != 0 && d.Hash == o.device.Hash:
			l.severity = events.Low
			l.rung(rungSame, effectLowered, "the device id is the same: low")
		case len(differs) == 0 && (!o.network.unknown || (o.spot.Classes | o.p.Spot(&s.Start).Classes).Any(profile.Mobile)),
			o.familiar() && !slices.Contains(differs, "device") && !slices.Contains(differs, "os"):
			l.severity = events.Low
			l.rung(rungSame, effectLowered, "its own device on another of the user's networks: low")
		}
		l.allow(o, &o.at, nil)
		changed := differs
		if elsewhere {
			changed = append([]string{"asn"}, differs...)
		}
		o.report(&ses05, &l, fmt.Sprintf("A session was used %s after it had been ended", span(o.e.Time-s.Ended)), events.Evidence{
			Session: o.sessionUsed(&s.Start, changed), Facts: append(tokenFacts(o.e), events.Fact{Name: "ended", Value: s.Ended.String()}),
		}, &s.Start)
		return
	}
	o.tokenTwice(s, differs)
}

// tokenTwice is SES-05 for one token at two addresses, or past its life.
func (o *observation) tokenTwice(s *profile.Session, differs []string) {
	token := profile.Hash32(o.e.Session.Token)
	if token == 0 {
		return
	}
	limits := &o.c.config.Session
	ip := o.at.IP.Hash()
	first := o.e.Time
	for _, use := range s.Tokens {
		if use.Token != token {
			continue
		}
		first = min(first, use.First)
		gap := max(o.e.Time-use.Time, use.Time-o.e.Time)
		if use.IP == ip || gap > ms(limits.TokenGap) || use.ASN == o.spot.ASN {
			continue // the same address, later, or about within one network
		}
		l := ladder{severity: events.Low}
		if len(differs) > 0 || o.network.unknown && o.newPlace && !o.knownDevice() && !o.learning && !o.handover(s, use.ASN) {
			l.severity = events.Critical
		} else {
			l.rung(rungSame, effectLowered, "nothing of the device differs, and device, network or place is the user's, or a phone changed between Wi-Fi and mobile: low")
		}
		l.allow(o, &o.at, nil)
		o.report(&ses05, &l, fmt.Sprintf("One token from AS%d and AS%d within %s", use.ASN, o.spot.ASN, span(gap)), events.Evidence{
			Session: o.sessionUsed(&s.Start, append([]string{"asn"}, differs...)), Facts: tokenFacts(o.e),
		}, &s.Start)
		return
	}
	if o.e.Session.TokenType == "access_token" && o.e.Time-first > ms(limits.TokenLife)+ms(limits.Skew) {
		l := ladder{severity: events.Critical}
		l.allow(o, &o.at, nil)
		o.report(&ses05, &l, "An access token was used "+span(o.e.Time-first)+" after it was first seen", events.Evidence{
			Session: o.sessionUsed(&s.Start, differs), Facts: tokenFacts(o.e),
		}, &s.Start)
	}
}

// handover tells whether this use, or an earlier one of the session from the other network, was of a mobile network: phones
// change between it and Wi-Fi all day.
func (o *observation) handover(s *profile.Session, other uint32) bool {
	if o.spot.Classes.Any(profile.Mobile) {
		return true
	}
	for _, p := range []*profile.Point{&s.Start, &s.Last} {
		if spot := o.p.Spot(p); spot.ASN == other && spot.Classes.Any(profile.Mobile) {
			return true
		}
	}
	return false
}

// raisedIn tells whether a detection has raised a finding of medium severity or more in a session.
func (o *observation) raisedIn(d *Detection, session uint64, within events.Millis) bool {
	code := profile.DetectionOf(d.ID)
	return slices.ContainsFunc(o.p.Raised, func(r profile.Raised) bool {
		return r.Detection == code && r.Session == session && max(o.e.Time-r.Time, r.Time-o.e.Time) <= within
	})
}

// usedElsewhere is SES-08.
func (o *observation) usedElsewhere(s *profile.Session) {
	start, last := o.p.Spot(&s.Start), o.p.Spot(&s.Last)
	if o.e.Kind != events.SessionUse || !o.network.new() || start.ASN == 0 || o.spot.ASN == 0 || start.ASN == o.spot.ASN || o.firstParty() {
		return
	}
	if (o.spot.Classes | start.Classes).Any(profile.Mobile|hidden) || o.at.Time >= s.Last.Time && last.ASN == o.spot.ASN && s.Last != s.Start {
		return
	}
	d := o.p.Device(&s.Start)
	if d.Hash != 0 && d.Hash == o.device.Hash {
		return // the provider or the application vouches for the device
	}
	l := ladder{severity: events.High}
	if len(o.otherDevice(&s.Start)) == 0 && (o.device.OS != "" || o.device.Browser != "") {
		l.severity = events.Medium
		l.rung(rungSame, effectLowered, "operating system and browser are those of the session's start, which anybody can copy: medium")
		if !o.newPlace {
			l.severity = events.Low
			l.rung(rungSame, effectLowered, "and the place is near one that is known of the user: low")
		}
	}
	l.allow(o, &o.at, nil)
	o.report(&ses08, &l, fmt.Sprintf("A session of AS%d was used from AS%d%s, which is new for the user", start.ASN, o.spot.ASN, orgName(o.e)), events.Evidence{
		Session: o.sessionUsed(&s.Start, append([]string{"asn"}, o.otherDevice(&s.Start)...)),
	}, &s.Start)
}

// burst is SES-07: the event begins a session beside others that have begun.
func (o *observation) burst() {
	limits := &o.c.config.Session
	others := o.sessionsOf(ms(limits.BurstWindow))
	others = slices.DeleteFunc(others, func(s *profile.Session) bool { return !s.Interactive && s.Refreshed != 0 }) // seen renewed only
	if len(others)+1 != limits.Burst || o.e.Interactive == events.No {
		return
	}
	l := ladder{severity: events.Low}
	var chain []events.Sight
	for _, s := range others {
		if len(o.otherDevice(&s.Start)) > 0 || o.elsewhere(&s.Start, &o.at) {
			l.severity = events.Medium
		}
		chain = append(chain, o.p.Sight(&s.Start))
	}
	if l.severity == events.Low {
		l.rung(rungSame, effectLowered, "all of one network and device: low")
	} else {
		l.known(o, effectLower)
	}
	o.report(&ses07, &l, fmt.Sprintf("%d sessions began within %s", len(others)+1, span(ms(limits.BurstWindow))), events.Evidence{Chain: chain})
}

// twoCountries is SES-06.
func (o *observation) twoCountries() {
	if o.spot.Country == "" || o.spot.Classes.Any(profile.Mobile|hidden) {
		return
	}
	device, agent := o.novelDevice()
	var beside *profile.Session
	var worst ladder
	inTwo := false
	for i := range o.p.Sessions {
		s := &o.p.Sessions[i]
		if s.Key == o.session || s.Ended != 0 && s.Ended <= o.e.Time || !o.overlaps(s) {
			continue
		}
		spot := o.p.Spot(&s.Last)
		way, ok := o.leg(&s.Last, &o.at)
		countries := ok && spot.Country != "" && spot.Country != o.spot.Country && way.effectiveKm >= o.c.config.Travel.MinFixedLineKm
		if !countries && !device && !agent {
			continue
		}
		if l := o.besideLadder(s, countries); beside == nil || l.graver(&worst) {
			beside, worst, inTwo = s, l, countries
		}
	}
	if beside == nil || o.worst(&ses06, events.Hour) >= worst.severity.Rank() {
		return
	}
	how := "on two networks, one with a new device"
	if inTwo {
		how = "in two countries"
	}
	last := &beside.Last
	gap := max(o.e.Time-last.Time, last.Time-o.e.Time)
	o.report(&ses06, &worst, fmt.Sprintf("Two sessions %s within %s: %s and %s", how, span(gap), placeName(o.p.Spot(last)), placeName(o.spot)), events.Evidence{
		Chain: []events.Sight{o.p.Sight(last)}, Session: o.sessionUsed(&beside.Start, o.otherDevice(last)),
	}, last)
}

// overlaps tells a session that is in use at the time of the event, on another network that says where it is.
func (o *observation) overlaps(s *profile.Session) bool {
	spot := o.p.Spot(&s.Last)
	return max(o.e.Time-s.Last.Time, s.Last.Time-o.e.Time) <= ms(o.c.config.Session.Overlap) && !spot.Classes.Any(profile.Mobile|hidden) &&
		spot.ASN != 0 && spot.ASN != o.spot.ASN
}

// besideLadder weighs the event beside another session in use, in two countries or on two networks.
func (o *observation) besideLadder(s *profile.Session, countries bool) ladder {
	l := ladder{severity: events.High}
	if !countries {
		l.severity = events.Medium
		l.gate(o)
	}
	if o.device.Managed == events.Yes && o.p.Device(&s.Last).Managed == events.Yes {
		l.severity = events.Low
		l.rung(rungProof, effectLowered, "the organisation holds both devices: low")
	}
	if desktop(o.spot, o.device) || desktop(o.p.Spot(&s.Last), o.p.Device(&s.Last)) {
		l.severity = events.Low
		l.rung(rungProof, effectLowered, "one of them is a virtual desktop that the organisation holds: low")
	}
	l.allow(o, &o.at, &s.Last)
	l.officeEnd(o, &s.Last)
	l.proof(o, effectLower, true)
	return l
}

// desktop tells a managed device in a data centre.
func desktop(spot *profile.Spot, d *profile.Device) bool {
	return spot.Classes.Any(profile.Hosting) && d.Managed == events.Yes
}

// officeEnd makes low of a session beside one that comes through the organisation's own gateway: it says where the gateway is. Both
// devices must be known of the user by their id or, without any, on a network that is known too.
func (l *ladder) officeEnd(o *observation, other *profile.Point) {
	known, byID := o.knownDeviceAt(other)
	if !o.knownDevice() && !o.familiar() || !byID && (!known || !o.knows(profile.ASN, uint64(o.p.Spot(other).ASN))) {
		return
	}
	if o.spot.Classes.Any(profile.Office) || o.p.Spot(other).Classes.Any(profile.Office) || o.org.Egress(o.at.IP.Prefix()) || o.org.Egress(other.IP.Prefix()) {
		l.severity = events.Low
		l.rung(rungEgress, effectLowered, "one of them comes through the organisation's own network, and the devices are known of the user: low")
	}
}

// endSessions takes in a sign-out.
func (o *observation) endSessions() {
	e := o.e
	key := profile.SessionKey(e.Session.ID)
	if key != 0 {
		o.p.EndSession(key, e.Time)
		return
	}
	if e.Device.ID != "" || e.App.ID != "" {
		return // those of a device or application only: which, the session's events do not say
	}
	o.p.EndSession(0, e.Time)
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
	o.report(&ses01, &l, o.secondDeviceSummary(&s.Start), events.Evidence{Session: o.sessionUsed(&s.Start, changed)}, &s.Start)
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
	if classes := fastest.toSpot.Classes; classes.Any(hidden) && !classes.Any(profile.Tor) {
		l.severity = events.Low
		l.rung(rungHidden, effectLowered, "who comes from behind it is somewhere else: low; SES-03 sees to it")
	} else {
		l.roams(o, other)
	}
	l.proof(o, effectLower, fastest.to == &o.at)
	l.capConflict(o, o.corroborated(), fastest.from, fastest.to)
	o.report(&ses02, &l, "The session went from "+journey(&fastest),
		events.Evidence{Travel: &travel, Session: o.sessionUsed(&s.Start, changed)}, other)
}

func (o *observation) sessionUsed(start *profile.Point, changed []string) *events.SessionUsed {
	return &events.SessionUsed{ID: o.e.Session.ID, Started: o.p.Sight(start), Changed: changed}
}
