package anomaly

import (
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// The rungs of the suppression ladder, in the order in which they are considered.
const (
	rungLearning  = "learning"
	rungAllow     = "operator_allow"
	rungEgress    = "org_egress"
	rungHidden    = "vpn_or_relay"
	rungSame      = "same_network_and_device"
	rungProof     = "phishing_resistant_on_managed_device"
	rungConflict  = "geo_conflict"
	effectNone    = "none"
	effectLower   = "lower"
	effectRecord  = "record"
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

// gate is rung 1. Findings about sessions do not pass it.
func (l *ladder) gate(o *observation) {
	h := &o.history
	fact := fmt.Sprintf("%d successes in %s before this one", h.Successes, span(o.e.Time-h.FirstSeen))
	if o.p.Forgotten > 0 {
		fact += fmt.Sprintf("; %d terms or sessions forgotten for want of room", o.p.Forgotten)
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

func (c *Catalogue) allowedFrom(p *profile.Profile, pt *profile.Point) string {
	if pt == nil {
		return ""
	}
	return c.allowed(p, pt)
}

// allowed names the operator's entry that vouches for an address, or "".
func (c *Catalogue) allowed(p *profile.Profile, pt *profile.Point) string {
	for _, prefix := range c.prefixes {
		if prefix.Contains(pt.IP.Netip()) {
			return fmt.Sprintf("%s is in %s, which the operator allows", pt.IP, prefix)
		}
	}
	if asn := p.Spot(pt).ASN; asn != 0 && slices.Contains(c.config.Allow.ASNs, asn) {
		return fmt.Sprintf("%s is in AS%d, which the operator allows", pt.IP, asn)
	}
	return ""
}

// egress is rung 3: the organisation's own network says where its gateway is, not where the user is.
func (l *ladder) egress(o *observation, to, from *profile.Point, effect string) {
	switch {
	case o.p.Spot(to).Classes.Any(profile.Office):
		l.rung(rungEgress, effect, fmt.Sprintf("%s is of an office network", to.IP))
	case from != nil && o.p.Spot(from).Classes.Any(profile.Office):
		l.rung(rungEgress, effectLower, fmt.Sprintf("it begins at %s, of an office network", from.IP))
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
// one where such proofs are relayed.
func (o *observation) stepUp() bool {
	e := o.e
	return phishingResistant(e) ||
		e.Kind == events.SignIn && e.Interactive != events.No && e.Auth.MFA == events.MFAPerformed && !o.spot.Classes.Any(anonymous)
}
