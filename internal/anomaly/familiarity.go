package anomaly

import (
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

// FAM-01 sees a sign-in that is unlike its user: address, network and country, user agent, browser, system and device, each
// weighed by how often the user had them against how common they are.
//
// The score is a logarithm of a likelihood ratio (Freeman et al., NDSS 2016; Wiefling et al., ACM TOPS 2022), with decay and
// with the organisation's frequencies to fall back on; see docs/adr/0008-familiarity.md. The limit is the organisation's own
// for users who sign in about as often, renewed daily, set for the rate of re-authentication that `detector.network.reauthentication` says. Whether the address is on a list
// is left out of it on purpose: published results get worse with it; see NET-04.
//
// State: the user's decayed counts by feature and level (U4), the organisation's (T3), its limits.
// Evidence: the score, the limit, and what each feature contributes.
// False positives: a new phone on a journey, people who sign in rarely. Learned egress, a phishing-resistant proof on a
// managed device and a familiar device suppress or lower it.
var fam01 = Detection{ID: "FAM-01", Version: 1, Title: "Unfamiliar sign-in", Technique: "T1078", Severity: severities(events.Medium, events.High)}

// judgeFamiliarity is FAM-01.
func (o *observation) judgeFamiliarity() {
	if !o.login() {
		return
	}
	login := familiarity.LoginOf(o.e)
	score, ok := o.c.model.Score(&o.p.Familiar, o.org.Prior(), login, o.e.Time)
	if !ok {
		return
	}
	o.score, o.scored = score, true
	o.class = familiarity.ClassOf(&o.p.Familiar, o.e.Time)
	limits := &o.c.config.Familiar
	limit := limits.Threshold
	if t, ok := o.org.Threshold(o.class); ok {
		limit = t.Score
	}
	limit = max(limit, limits.Least)
	if score.Value <= limit {
		return
	}
	l := ladder{severity: events.Medium}
	if score.Value > limit+limits.HighOver {
		l.severity = events.High
	}
	l.gate(o)
	if !o.learning && o.e.Time-o.p.FirstSeen < ms(limits.MinAge) {
		l.rung(rungLearning, effectRecord, "the user is known for "+span(o.e.Time-o.p.FirstSeen))
	}
	l.allow(o, &o.at, nil)
	if o.e.Device.Managed == events.Yes {
		l.egress(o, &o.at, nil, effectRecord)
	} else {
		l.egress(o, &o.at, nil, effectLower)
	}
	l.hidden(o, effectLower, &o.at)
	switch {
	case o.knownDevice() && !o.familiar():
		l.rung(rungSame, effectLower, "the device id is known of the user")
	case o.deviceID.value == 0 && o.agent.value != 0 && !o.agent.unknown && o.spot.ASN != 0 && !o.network.unknown:
		l.rung(rungSame, effectLower, fmt.Sprintf("AS%d, operating system and browser are known of the user", o.spot.ASN))
	default:
		l.known(o, effectRecord)
	}
	if o.e.Device.Managed == events.Yes {
		l.rung(rungProof, effectLower, "the organisation holds the device")
	}
	if phishingResistant(o.e) && o.e.Device.Managed != events.Yes {
		l.rung(rungProof, effectLower, "phishing-resistant proof given")
	}
	l.answer(o, &fam01, effectRecord)
	l.proof(o, effectRecord, true)
	evidence := events.Score{Value: score.Value, Threshold: limit, Class: o.class}
	for _, part := range score.Parts {
		evidence.Parts = append(evidence.Parts, events.ScorePart{Feature: part.Feature, LogRatio: part.LogRatio})
	}
	o.report(&fam01, &l, fmt.Sprintf("Unlike the user: score %.1f, limit %.1f for those who sign in as often (%s)", score.Value, limit, o.class),
		events.Evidence{Score: &evidence})
}

// teachFamiliarity takes a sign-in into the counts, renewals included, unless it raised something: an intruder must not become
// familiar. What is only unfamiliar is taken in when the person proves to be there.
func (o *observation) teachFamiliarity(adverse bool) {
	if o.e.Kind != events.SignIn || adverse && (!o.stepUp() || !o.novelOnly()) {
		return
	}
	o.p.Familiar.Learn(familiarity.LoginOf(o.e), o.e.Time)
}
