package anomaly

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// CONJ-01 sees a country and a device that are both new for the user. One alone is a holiday or a new phone; both at once is
// how most account takeovers look.
//
// The identity provider's device id tells devices apart; without one, operating system and browser do.
//
// State: the user's countries, devices, operating systems and browsers (U2).
// Evidence: both terms, and how many of each are known.
// False positives: a traveller with a new phone, a new user.
var conj01 = Detection{ID: "CONJ-01", Version: 2, Title: "New country and new device", Technique: "T1078.004", Severity: severities(events.High)}

// CONJ-02 sees a network and a device that are both new for the user, in a country that is not; else it is CONJ-01.
//
// State: the user's networks, devices, operating systems and browsers (U2).
// Evidence: both terms, and how many of each are known.
// False positives: a new phone on its first day at a friend's house. A network that is common in the organisation lowers it.
var conj02 = Detection{ID: "CONJ-02", Version: 1, Title: "New network and new device", Technique: "T1078.004", Severity: severities(events.Medium)}

// CONJ-03 sees a change of a password, an authentication method or recovery data within an hour of a finding of medium
// severity or more: whoever got in makes sure to come back.
//
// State: the user's latest findings (U7).
// Evidence: the change and the finding.
// False positives: a user or an administrator who reacts to a warning: what somebody else changes is medium. A phishing-resistant step-up in between makes it medium.
var conj03 = Detection{ID: "CONJ-03", Version: 2, Title: "Account changed after a finding", Technique: "T1098.005", Severity: severities(events.Medium, events.Critical)}

// novelDevice tells whether the device is new by its id, or its kind is. The identity provider's id tells devices apart;
// without one, or of a user who never had one, the kind of device does.
func (o *observation) novelDevice() (id, kind bool) {
	id = o.deviceID.new()
	return id, o.agent.new() && (id || !o.knownDevice())
}

// judgeNovelty looks for what is new. A term that is only not yet trusted is reported once for every session that begins
// with it, not for each of its events.
func (o *observation) judgeNovelty() {
	device, agent := o.novelDevice()
	fresh := device && o.deviceID.fresh || agent && o.agent.fresh
	country, network := o.country.new(), o.network.new()
	if country && (o.country.fresh || o.begins) {
		o.newCountry()
	}
	if (device || agent) && country && (o.country.fresh || fresh || o.begins) {
		o.newCountryAndDevice(device, agent)
	}
	if (device || agent) && network && !country && (o.network.fresh || fresh || o.begins) { // with a new country it is CONJ-01
		o.newNetworkAndDevice(device, agent)
	}
	// While the user is only learned from, a conjunction stands for its parts, which it names.
	both := o.learning && (device || agent) && (country || network)
	if network && (o.network.fresh || o.begins) && !both {
		o.newNetwork()
	}
	if (device || agent) && (fresh || o.begins) && !both {
		o.newDevice(device, agent)
	}
	o.judgeCountry()
}

// knownDevice tells a device whose id is known of the user and trusted.
func (o *observation) knownDevice() bool { return o.deviceID.value != 0 && !o.deviceID.unknown }

// newCountryAndDevice is CONJ-01, for a device whose id is new, or its kind, or both.
func (o *observation) newCountryAndDevice(device, agent bool) {
	novel := append([]events.NovelTerm{o.countryTerm()}, o.deviceTerms(device, agent)...)
	l := ladder{severity: events.High}
	l.gate(o)
	l.allowCountry(o, effectLower)
	l.egress(o, &o.at, nil, effectRecord)
	if o.spot.Classes.Any(profile.Tor) {
		l.rung(rungHidden, effectNone, fmt.Sprintf("%s is of class tor, which excuses no new device", o.at.IP))
	} else {
		l.hidden(o, effectLower, &o.at)
	}
	l.proof(o, effectRecord, true)
	o.report(&conj01, &l, o.conjunctionSummary(), events.Evidence{Novel: novel})
}

// newNetworkAndDevice is CONJ-02.
func (o *observation) newNetworkAndDevice(device, agent bool) {
	novel := append([]events.NovelTerm{o.networkTerm()}, o.deviceTerms(device, agent)...)
	l := ladder{severity: events.Medium}
	l.gate(o)
	l.allow(o, &o.at, nil)
	l.egress(o, &o.at, nil, effectRecord)
	l.hidden(o, effectNone, &o.at)
	l.common(o, "the network", o.orgNetwork())
	l.proof(o, effectRecord, true)
	o.report(&conj02, &l, fmt.Sprintf("First seen through AS%d%s, with a device that is new too: %s", o.spot.ASN, orgName(o.e), agentName(o.device)),
		events.Evidence{Novel: novel})
}

// changedAfterFinding is CONJ-03.
func (o *observation) changedAfterFinding() {
	switch o.e.Change.Type {
	case events.CredentialChange, events.MethodChange, events.RecoveryChange:
	default:
		return
	}
	if o.e.Change.Action == events.Removed && o.e.Change.Type == events.CredentialChange {
		return
	}
	const within = events.Hour
	for i := len(o.p.Raised) - 1; i >= 0; i-- {
		r := &o.p.Raised[i]
		if gap := o.e.Time - r.Time; gap < 0 || gap > within || r.Observed || r.Tried || !gotIn(r.Detection) {
			continue
		}
		l := ladder{severity: events.Critical}
		if by := o.e.Change.Actor.ID; by != "" && by != o.e.User.ID {
			l.severity = events.Medium
			l.rung(rungActor, effectLowered, "somebody else made the change, such as an administrator who reacts: medium")
		}
		if at := o.p.Marks.StrongAt; at > r.Time && at <= o.e.Time {
			l.severity = events.Medium
			l.rung(rungProof, effectLowered, "a phishing-resistant proof was given since: medium")
		} else {
			l.rung(rungProof, effectNone, "no phishing-resistant proof was given since the finding")
		}
		change := o.e.Change
		o.report(&conj03, &l, fmt.Sprintf("%s %s %s after %s", changeName(&change), changeVerb(&change), span(o.e.Time-r.Time), r.Detection),
			events.Evidence{Change: &change, Earlier: []events.Earlier{earlier(r)}})
		return
	}
}

// gotIn tells a detection after which somebody may be in: not one of attempts that failed, nor of what was done after another.
func gotIn(d profile.Detection) bool {
	return !onlyTried(d) && d.String() != conj03.ID && d.String() != oau03.ID
}

// onlyTried tells a detection of attempts that failed.
func onlyTried(d profile.Detection) bool {
	switch d.String() {
	case crd01.ID, crd02.ID, crd03.ID, crd04.ID, crd05.ID, crd07.ID, crd08.ID, mfa01.ID, mfa03.ID:
		return true
	}
	return false
}

// tried tells a finding of an attempt that failed: an outsider can raise as many as they like. What the user reports as fraud, and what
// the provider is sure of, is none.
func (o *observation) tried(f *events.Finding) bool {
	if onlyTried(profile.DetectionOf(f.Detection)) {
		return true
	}
	e := o.e
	failed := (e.Kind == events.SignIn || e.Kind == events.AccountChange) && (e.Outcome == events.Failure || e.Outcome == events.Blocked)
	return failed && f.Detection != mfa04.ID && (f.Detection != idp01.ID || f.Severity != events.Critical)
}

func (o *observation) deviceTerms(device, agent bool) []events.NovelTerm {
	var novel []events.NovelTerm
	if device {
		novel = append(novel, o.deviceID.term("device", o.e.Device.ID))
	}
	if agent {
		novel = append(novel, o.agent.term("os_and_browser", agentName(o.device)))
	}
	return novel
}

func (o *observation) networkTerm() events.NovelTerm {
	return o.network.term("asn", strconv.FormatUint(uint64(o.spot.ASN), 10))
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
