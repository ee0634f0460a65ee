package anomaly

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// AIT-01 sees a sign-in relayed by an adversary in the middle: from a hosting network, on a device that is not managed, with
// the second factor satisfied, and then its session used from another network within half an hour, or an authentication
// method or device registered within an hour.
//
// The phished sign-in has a session of its own and the attacker's address, so that detections of stolen sessions cannot see
// it. The events may come in any order.
//
// State: suspicious sign-ins (U7), sessions (S1), changes of the account (U7).
// Evidence: the chain of events.
// False positives: virtual desktops and gateways in data centres. Egress that is allowed or learned is no suspicion.
var ait01 = Detection{ID: "AIT-01", Version: 1, Title: "Adversary in the middle", Technique: "T1557", Severity: severities(events.Critical)}

// AIT-02 sees the marks of a phishing kit that is known.
//
// State: none; the list of kits is configuration.
// Evidence: the entry and its age.
// False positives: programs that use the same library. Applications can be allowed.
var ait02 = Detection{ID: "AIT-02", Version: 1, Title: "Phishing kit", Technique: "T1566.002", Severity: severities(events.High)}

// judgeAiTM looks for AIT-01 and AIT-02.
func (o *observation) judgeAiTM() {
	if o.login() {
		o.kit()
		o.relayed()
	}
	o.movedAfterRelay()
}

// relayed notes a sign-in that looks relayed, and looks whether what follows it came first.
func (o *observation) relayed() {
	e := o.e
	if !o.spot.Classes.Any(profile.Hosting) || e.Device.Managed == events.Yes || phishingResistant(e) ||
		e.Auth.MFA != events.MFAPerformed && e.Auth.MFA != events.MFAByClaim {
		return
	}
	if o.c.allowed(o.p, &o.at) != "" || o.org.Egress(o.at.IP.Prefix()) || o.spot.Classes.Any(profile.Office) {
		return
	}
	s := profile.Suspicion{Point: o.at, Session: o.session, Kind: profile.RelayedSignIn}
	o.p.AddSuspicion(s, events.Day)
	if o.session != 0 {
		if used := o.p.Session(o.session); used != nil {
			for _, pt := range []*profile.Point{&used.Start, &used.Last} {
				if gap := pt.Time - o.at.Time; gap >= 0 && gap <= ms(o.c.config.AiTM.SessionWindow) && o.elsewhere(pt, &o.at) {
					o.inTheMiddle(&s.Point, "its session was used from another network "+span(gap)+" later", pt)
					return
				}
			}
		}
	}
	for i := range o.p.Changes {
		ch := &o.p.Changes[i]
		if gap := ch.Time - o.at.Time; gap >= 0 && gap <= ms(o.c.config.AiTM.EnrolWindow) && enrols(ch.Type, ch.Action) {
			o.inTheMiddle(&s.Point, "an authentication method or device was registered "+span(gap)+" later", nil)
			return
		}
	}
}

// elsewhere tells two points on different networks.
func (o *observation) elsewhere(a, b *profile.Point) bool {
	x, y := o.p.Spot(a).ASN, o.p.Spot(b).ASN
	return x != 0 && y != 0 && x != y
}

// movedAfterRelay is AIT-01 by a session that moves.
func (o *observation) movedAfterRelay() {
	if o.session == 0 || o.raised(&ait01, events.Hour) {
		return
	}
	for i := range o.p.Suspicions {
		s := &o.p.Suspicions[i]
		if s.Kind != profile.RelayedSignIn || s.Session != o.session || s.Event == o.id {
			continue
		}
		if gap := o.e.Time - s.Time; gap >= 0 && gap <= ms(o.c.config.AiTM.SessionWindow) && o.elsewhere(&s.Point, &o.at) {
			o.inTheMiddle(&s.Point, "its session was used from another network "+span(gap)+" later", &s.Point)
			return
		}
	}
}

// enrolledAfterRelay is AIT-01 by a method or device that is registered.
func (o *observation) enrolledAfterRelay() {
	if !enrols(o.e.Change.Type, o.e.Change.Action) || o.raised(&ait01, events.Hour) {
		return
	}
	for i := range o.p.Suspicions {
		s := &o.p.Suspicions[i]
		if gap := o.e.Time - s.Time; s.Kind == profile.RelayedSignIn && gap >= 0 && gap <= ms(o.c.config.AiTM.EnrolWindow) {
			o.inTheMiddle(&s.Point, "an authentication method or device was registered "+span(gap)+" later", &s.Point)
			return
		}
	}
}

// enrols tells a change by which an intruder makes sure to come back.
func enrols(what events.ChangeType, how events.ChangeAction) bool {
	return (what == events.MethodChange || what == events.DeviceChange) && (how == events.Added || how == events.Enabled || how == events.Updated)
}

// inTheMiddle reports AIT-01. Anchor is the other event, when it is not the present one.
func (o *observation) inTheMiddle(signIn *profile.Point, then string, anchor *profile.Point) {
	spot := o.p.Spot(signIn)
	l := ladder{severity: events.Critical}
	evidence := events.Evidence{Chain: []events.Sight{o.p.Sight(signIn)}}
	if o.e.Kind == events.AccountChange {
		evidence.Change = &o.e.Change
	}
	var anchors []*profile.Point
	if anchor != nil && anchor.Event != o.id {
		anchors = append(anchors, anchor)
		if anchor.Event != signIn.Event {
			evidence.Chain = append(evidence.Chain, o.p.Sight(anchor))
		}
	}
	o.report(&ait01, &l, fmt.Sprintf("A sign-in through AS%d, a hosting network, on a device that is not managed; %s", spot.ASN, then), evidence, anchors...)
}

// kit is AIT-02.
func (o *observation) kit() {
	agent := strings.ToLower(o.e.UserAgent[:min(len(o.e.UserAgent), events.MaxText)])
	for i := range o.c.config.AiTM.Kits {
		k := &o.c.config.AiTM.Kits[i]
		if k.UserAgent != "" && !strings.Contains(agent, k.UserAgent) || k.OS != "" && k.OS != o.e.Device.OS ||
			k.Browser != "" && k.Browser != o.e.Device.Browser || len(k.ASNs) > 0 && !slices.Contains(k.ASNs, o.e.Network.ASN) {
			continue
		}
		l := ladder{severity: events.High}
		if slices.Contains(o.c.config.Device.ScriptedApps, o.e.App.ID) {
			l.rung(rungAllow, effectRecord, "programs may use the application")
		} else {
			l.allow(o, &o.at, nil)
		}
		o.report(&ait02, &l, "Signed in with the marks of a phishing kit: "+k.Name, events.Evidence{Facts: []events.Fact{
			{Name: "kit", Value: k.Name}, {Name: "noted", Value: k.Noted}, {Name: "user_agent", Value: o.e.UserAgent},
		}})
		return
	}
}
