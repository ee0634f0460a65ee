package anomaly

import (
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/profile"
)

// The rungs of the suppression ladder, in the order in which they are considered.
const (
	rungLearning = "learning"
	rungAllow    = "operator_allow"
	rungEgress   = "org_egress"
	rungHidden   = "vpn_or_relay"
	rungSame     = "same_network_and_device"
	rungProof    = "phishing_resistant_on_managed_device"
	rungConflict = "geo_conflict"
	rungKnownWay = "known_transition"
	rungCommon   = "common_in_organisation"
	rungList     = "list_out_of_date"
	rungAnswer   = "answer_to_a_challenge"
	rungActor    = "changed_by_another"
	effectNone   = "none"
	effectLower  = "lower"
	effectRecord = "record"
	// effectLowered is "lower" where the detection has set the severity itself.
	effectLowered = "lowered"
	noListMatches = "neither address is on the operator's list"
)

// ladder collects the reasons for which a finding may not count, each with its effect. It holds no reference to the
// observation, or every observation would have to be on the heap.
type ladder struct {
	severity         events.Severity
	considered       []events.Suppression
	learning, record bool
}

func (l *ladder) rung(rung, effect, fact string) {
	switch effect {
	case effectLower:
		l.severity = events.Severities[max(0, l.severity.Rank()-2)]
	case effectRecord:
		if rung == rungLearning {
			l.learning = true
		} else {
			l.record = true
		}
	}
	if effect == effectLowered {
		effect = effectLower
	}
	l.considered = append(l.considered, events.Suppression{Rung: rung, Fact: fact, Effect: effect})
}

func (l *ladder) disposition() events.Disposition {
	switch {
	case l.learning:
		return events.Learning
	case l.record:
		return events.Suppressed
	}
	return events.Active
}

// graver tells whether a finding says more than another: what counts goes before what does not, then the severity decides.
func (l *ladder) graver(than *ladder) bool {
	if counts := l.disposition() == events.Active; counts != (than.disposition() == events.Active) {
		return counts
	}
	return l.severity.Rank() > than.severity.Rank()
}

// gate is rung 1. Findings about sessions do not pass it.
func (l *ladder) gate(o *observation) {
	h := &o.history
	fact := fmt.Sprintf("%d successes in %s before this one", h.Successes, span(o.e.Time-h.FirstSeen))
	if o.p.Forgotten > 0 {
		fact += fmt.Sprintf("; %d terms, sessions, places or ways forgotten for want of room", o.p.Forgotten)
	}
	if o.learning {
		l.rung(rungLearning, effectRecord, fact)
	} else {
		l.rung(rungLearning, effectNone, fact)
	}
}

// allow is rung 2 for what ends at to. A journey that only begins on the operator's list is lowered: whoever is there
// may have left it through any door, but may also have been robbed there.
func (l *ladder) allow(o *observation, to, from *profile.Point) {
	if what := o.c.allowed(o.p, to); what != "" {
		l.rung(rungAllow, effectRecord, what)
	} else if what := o.c.allowedFrom(o.p, from); what != "" {
		l.rung(rungAllow, effectLower, "it begins there: "+what)
	} else {
		l.rung(rungAllow, effectNone, noListMatches)
	}
}

// allowFailure is rung 2 for an attempt that failed, of which nothing is observed but its address.
func (l *ladder) allowFailure(o *observation) {
	if what := o.c.allowedAddress(profile.AddressOf(o.e.IP), o.e.Network.ASN); what != "" {
		l.rung(rungAllow, effectRecord, what)
		return
	}
	l.rung(rungAllow, effectNone, "the address is not on the operator's list")
}

func (c *Catalogue) allowedFrom(p *profile.Profile, pt *profile.Point) string {
	if pt == nil {
		return ""
	}
	return c.allowed(p, pt)
}

// allowed names the operator's entry that vouches for an address, or "".
func (c *Catalogue) allowed(p *profile.Profile, pt *profile.Point) string {
	return c.allowedAddress(pt.IP, p.Spot(pt).ASN)
}

func (c *Catalogue) allowedAddress(ip profile.Address, asn uint32) string {
	for _, prefix := range c.allow {
		if prefix.Contains(ip.Netip()) {
			return fmt.Sprintf("%s is in %s, which the operator allows", ip, prefix)
		}
	}
	if asn != 0 && slices.Contains(c.config.Allow.ASNs, asn) {
		return fmt.Sprintf("%s is in AS%d, which the operator allows", ip, asn)
	}
	return ""
}

// knownWay is rung 5: a way that the user has proved to be theirs, twice at least. It vouches for the user's own devices only:
// an attacker may well sit where the user comes by, or where the user's gateway is.
func (l *ladder) knownWay(o *observation, a, b *profile.Point) {
	t := o.p.Transition(o.p.Spot(a), o.p.Spot(b))
	if t == nil || t.Count < 2 {
		l.rung(rungKnownWay, effectNone, "the user has not proved this way twice")
		return
	}
	for _, end := range []*profile.Point{a, b} {
		if !o.ownDevice(end) {
			l.rung(rungKnownWay, effectNone, fmt.Sprintf("the user has proved this way %d times, but what was seen at %s is not known to be the user's", t.Count, end.IP))
			return
		}
	}
	l.rung(rungKnownWay, effectRecord, fmt.Sprintf("the user has proved this way %d times", t.Count))
}

// ownDevice tells a device that is known of the user: by its id or, of a user without any, by its kind on a network that is known
// too, since anybody can copy the kind.
func (o *observation) ownDevice(pt *profile.Point) bool {
	known, byID := o.knownDeviceAt(pt)
	return byID || known && o.p.CountTerms(profile.DeviceID, 0) == 0 && o.knows(profile.ASN, uint64(o.p.Spot(pt).ASN))
}

// egress is rung 3: the organisation's own network says where its gateway is, not where the user is.
func (l *ladder) egress(o *observation, to, from *profile.Point, effect string) {
	switch {
	case o.p.Spot(to).Classes.Any(profile.Office):
		l.rung(rungEgress, effect, fmt.Sprintf("%s is of an office network", to.IP))
	case o.org.Egress(to.IP.Prefix()):
		l.rung(rungEgress, effect, fmt.Sprintf("%s is in %s, learned as the organisation's own", to.IP, to.IP.Prefix()))
	case desktop(o.p.Spot(to), o.p.Device(to)):
		l.rung(rungEgress, effect, fmt.Sprintf("%s is of a virtual desktop or gateway that the organisation manages", to.IP))
	case from != nil && (o.p.Spot(from).Classes.Any(profile.Office) || o.org.Egress(from.IP.Prefix())):
		if o.familiarAt(to) {
			l.rung(rungEgress, effect, fmt.Sprintf("it begins at %s, of the organisation's own network, and ends on a network and a device known of the user", from.IP))
			return
		}
		l.rung(rungEgress, effectLower, fmt.Sprintf("it begins at %s, of the organisation's own network", from.IP))
	default:
		l.rung(rungEgress, effectNone, "no address is of an office network")
	}
}

// hidden is rung 4: who comes through a VPN or the like is somewhere else.
func (l *ladder) hidden(o *observation, effect string, points ...*profile.Point) {
	for _, pt := range points {
		if classes := o.p.Spot(pt).Classes & hidden; classes != 0 {
			l.rung(rungHidden, effect, fmt.Sprintf("%s is of class %s", pt.IP, classes.List()[0]))
			return
		}
	}
	l.rung(rungHidden, effectNone, "no address is of a VPN, a relay, Tor or a satellite network")
}

// same is rung 6: one network and one device seem to be in two places, so one of the places is wrong. It never rests on
// the user agent alone, which anybody can copy.
func (l *ladder) same(o *observation, a, b *profile.Point) {
	p := o.p
	asn, d1, d2 := p.Spot(a).ASN, p.Device(a), p.Device(b)
	sameNetwork := asn != 0 && asn == p.Spot(b).ASN
	switch {
	case sameNetwork && d1.Hash != 0 && d1.Hash == d2.Hash:
		l.rung(rungSame, effectRecord, fmt.Sprintf("AS%d and one device id at both", asn))
	case sameNetwork && d1.Hash == 0 && d2.Hash == 0 && d1.OS != "" && d1.Browser != "" && d1.OS == d2.OS && d1.Browser == d2.Browser:
		l.rung(rungSame, effectLower, fmt.Sprintf("AS%d, %s and %s at both, no device id", asn, d1.OS, d1.Browser))
	default:
		l.rung(rungSame, effectNone, "another network or another device")
	}
}

// familiar is rung 6 for a single event: a known network and a known device in a place that is new.
func (l *ladder) familiar(o *observation) {
	if o.spot.ASN != 0 && o.device.Hash != 0 && !o.network.unknown && !o.deviceID.unknown {
		l.rung(rungSame, effectRecord, fmt.Sprintf("AS%d and the device id are known of the user", o.spot.ASN))
		return
	}
	l.rung(rungSame, effectNone, "the network or the device is not known of the user")
}

// carrier is rung 6 for journeys of which one end is a mobile network: carriers bring their users to the internet wherever
// they have a hub, and roaming phones in their own country. The carrier must be known of the user, and the device at the other
// end by its id. When both devices are known by their kind only, which anybody can copy, it is lowered, and lowered again when
// both networks are known.
func (l *ladder) carrier(o *observation, a, b *profile.Point) {
	for _, ends := range [2][2]*profile.Point{{a, b}, {b, a}} {
		spot, other := o.p.Spot(ends[0]), o.p.Spot(ends[1])
		known, _ := o.knownDeviceAt(ends[0])
		otherKnown, otherByID := o.knownDeviceAt(ends[1])
		switch {
		case !known || !otherKnown || !o.ownCarrier(spot):
		case otherByID:
			l.rung(rungSame, effectRecord, fmt.Sprintf("AS%d is a mobile network; it and the devices are known of the user", spot.ASN))
			return
		default:
			l.rung(rungSame, effectLower, fmt.Sprintf("AS%d is a mobile network; it and the kinds of devices are known of the user", spot.ASN))
			if o.knows(profile.ASN, uint64(other.ASN)) {
				l.rung(rungSame, effectLower, fmt.Sprintf("AS%d at the other end is known of the user, too", other.ASN))
			}
			return
		}
	}
}

// ownCarrier tells a mobile network that is known of the user.
func (o *observation) ownCarrier(spot *profile.Spot) bool {
	return spot.Classes.Any(profile.Mobile) && o.knows(profile.ASN, uint64(spot.ASN))
}

// companion is rung 6 for a journey of which one end is the user's own carrier: another device of the user, known by its id, has
// been at the other end, so the user is there, and the carrier's hub is not.
func (l *ladder) companion(o *observation, from, to *profile.Point) {
	for _, ends := range [2][2]*profile.Point{{from, to}, {to, from}} {
		spot, there := o.p.Spot(ends[0]), o.p.Spot(ends[1])
		if known, _ := o.knownDeviceAt(ends[1]); !known || !o.ownCarrier(spot) || there.Classes.Any(profile.Mobile) {
			continue
		}
		if other := o.seenNear(there, o.p.Device(ends[1]).Hash); other != "" {
			l.rung(rungSame, effectRecord, fmt.Sprintf("%s, a device known of the user, has been in %s, too; AS%d is the user's carrier", other, placeName(there), spot.ASN))
			return
		}
	}
}

// seenNear names a device that is known of the user by its id, other than one, and that the last visits saw near a spot.
func (o *observation) seenNear(spot *profile.Spot, but uint64) string {
	for i := range o.p.Visits {
		for _, pt := range []*profile.Point{&o.p.Visits[i].First, &o.p.Visits[i].Last} {
			d := o.p.Device(pt)
			if d.Hash == 0 || d.Hash == but || !o.knows(profile.DeviceID, profile.DeviceValue(d.Hash)) {
				continue
			}
			if there := o.p.Spot(pt); there.Located() && spot.Located() && distance(there, spot) <= o.c.config.Novelty.ClusterKm {
				return agentName(d)
			}
		}
	}
	return ""
}

// knownDeviceAt tells whether the device of an observation is known of the user, and whether by its id.
func (o *observation) knownDeviceAt(pt *profile.Point) (known, byID bool) {
	d := o.p.Device(pt)
	if d.Hash != 0 {
		known = o.knows(profile.DeviceID, profile.DeviceValue(d.Hash))
		return known, known
	}
	return o.knows(profile.Agent, profile.AgentValue(d.OS, d.Browser)), false
}

// knows tells a term that is known of the user and trusted.
func (o *observation) knows(kind profile.Kind, value uint64) bool {
	if value == 0 {
		return false
	}
	for _, n := range []*novelty{&o.network, &o.deviceID, &o.agent} {
		if n.kind == kind && n.value == value {
			return !n.unknown
		}
	}
	t := o.p.Term(kind, value)
	return t != nil && !t.Unconfirmed
}

// common lowers what is new for the user and usual in the organisation.
func (l *ladder) common(o *observation, what string, t org.Term) {
	switch {
	case o.org == nil:
		l.rung(rungCommon, effectNone, "nothing is known of the organisation yet")
	case t.Users >= o.c.config.Novelty.OrgUsers:
		l.rung(rungCommon, effectLower, fmt.Sprintf("%d users of the organisation have used %s", t.Users, what))
	default:
		l.rung(rungCommon, effectNone, fmt.Sprintf("%s have used %s", plural(t.Users, "user of the organisation", "users of the organisation"), what))
	}
}

// orgNetwork, orgCountry and orgAgent are what the organisation knows of the event's network, country and kind of device.
func (o *observation) orgNetwork() org.Term {
	t, _ := o.org.ASN(o.spot.ASN)
	return t
}

func (o *observation) orgCountry() org.Term {
	t, _ := o.org.Country(o.spot.Country)
	return t
}

func (o *observation) orgAgent() org.Term {
	t, _ := o.org.Agent(o.device.OS, o.device.Browser)
	return t
}

// known is rung 6 for whatever rests on the event alone: a known device on a known network has the effect given.
func (l *ladder) known(o *observation, effect string) {
	if o.familiar() {
		l.rung(rungSame, effect, fmt.Sprintf("AS%d and the device are known of the user", o.spot.ASN))
		return
	}
	l.rung(rungSame, effectNone, "the network or the device is not known of the user")
}

// familiar tells a known network and a known device, by its id where there is one.
func (o *observation) familiar() bool {
	return o.spot.ASN != 0 && !o.network.unknown && o.familiarDevice()
}

// familiarAt is familiar for any observation; without a device id there it is false.
func (o *observation) familiarAt(pt *profile.Point) bool {
	if pt == &o.at {
		return o.familiar()
	}
	return o.knows(profile.ASN, uint64(o.p.Spot(pt).ASN)) && o.knows(profile.DeviceID, profile.DeviceValue(o.p.Device(pt).Hash))
}

// familiarDevice tells a known device: by its id where the provider gives one, else by operating system and browser.
func (o *observation) familiarDevice() bool {
	if o.deviceID.value != 0 {
		return !o.deviceID.unknown
	}
	return o.agent.value != 0 && !o.agent.unknown && o.p.CountTerms(profile.DeviceID, 0) == 0
}

// answer weighs what was raised before of the same address when this event is the proof that was asked for since.
func (l *ladder) answer(o *observation, d *Detection, effect string) {
	code, ip := profile.DetectionOf(d.ID), o.at.IP.Hash()
	if !o.stepUp() || ip == 0 {
		return
	}
	for i := range o.p.Raised {
		if r := &o.p.Raised[i]; r.Detection == code && r.IP == ip && o.e.Time >= r.Time && o.e.Time-r.Time <= events.Day {
			l.rung(rungAnswer, effect, fmt.Sprintf("it was raised of the same address %s before, and this is a second factor", span(o.e.Time-r.Time)))
			return
		}
	}
}

// proof is rung 7: a proof just given that cannot be relayed, on a device the organisation holds.
func (l *ladder) proof(o *observation, effect string, proves bool) {
	e := o.e
	switch {
	case !proves:
		l.rung(rungProof, effectNone, "the event is not the one in doubt")
	case !phishingResistant(e):
		l.rung(rungProof, effectNone, "no phishing-resistant proof was given in this event")
	case e.Device.Managed != events.Yes:
		l.rung(rungProof, effectNone, "the device is not known to be managed")
	default:
		l.rung(rungProof, effect, "phishing-resistant proof given on a managed device")
	}
}

// capConflict holds a finding about a place at medium when our place and the provider's contradict each other and
// nothing but the place speaks for it.
func (l *ladder) capConflict(o *observation, corroborated bool, points ...*profile.Point) {
	if corroborated || l.severity.Rank() <= events.Medium.Rank() {
		return
	}
	for _, pt := range points {
		if o.p.Spot(pt).Conflict {
			l.severity = events.Medium
			l.considered = append(l.considered, events.Suppression{
				Rung: rungConflict, Effect: effectLower, Fact: "our place and the provider's contradict each other: medium at most",
			})
			return
		}
	}
}

// phishingResistant tells a proof that was given in this event itself and cannot be relayed.
func phishingResistant(e *events.Event) bool {
	return e.Kind == events.SignIn && e.Interactive != events.No && e.Auth.Strength == events.PhishingResistant &&
		(e.Auth.MFA == "" || e.Auth.MFA == events.MFAPerformed)
}

// stepUp tells a proof that confirms what is new: phishing resistant, or a second factor from an address that is not
// one where such proofs are relayed. A program has no second factor, whatever its events say.
func (o *observation) stepUp() bool {
	e := o.e
	if o.spot == nil {
		return false // a program: nobody proves anything
	}
	return phishingResistant(e) ||
		e.Kind == events.SignIn && e.Interactive != events.No && e.Auth.MFA == events.MFAPerformed && !o.spot.Classes.Any(anonymous)
}
