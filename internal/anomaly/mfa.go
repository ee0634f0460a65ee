package anomaly

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// MFA-01 sees a user who is asked again and again to approve a sign-in, and does not.
//
// State: the user's last 16 prompts (U6).
// Evidence: the prompts that were denied or ran out of time.
// False positives: a user who does not hear the phone; five within ten minutes are rare.
var mfa01 = Detection{ID: "MFA-01", Version: 1, Title: "Push fatigue", Technique: "T1621", Severity: severities(events.High)}

// MFA-02 sees an approval within ten minutes of the last of many refusals: the user has given in. The first approval is reported;
// another is when as many refusals have come since.
//
// State: the user's last 16 prompts (U6).
// Evidence: the prompts, and the approval.
// False positives: none are suppressed.
var mfa02 = Detection{ID: "MFA-02", Version: 2, Title: "Push fatigue, then approval", Technique: "T1621", Severity: severities(events.Critical)}

// MFA-03 sees somebody guess one-time codes: ten wrong ones in five attempts within ten minutes, or fifteen in however few, since
// some providers let the client choose what an attempt is called. Whoever may guess has the password.
//
// State: the user's last 16 wrong codes (U6).
// Evidence: the wrong codes.
// False positives: a device whose clock is wrong.
var mfa03 = Detection{ID: "MFA-03", Version: 1, Title: "Guessed one-time codes", Technique: "T1110.001", Severity: severities(events.High)}

// MFA-04 sees a user report a prompt or a sign-in as fraud.
//
// State: none.
// Evidence: the provider's report.
// False positives: none are suppressed: the user says so.
var mfa04 = Detection{ID: "MFA-04", Version: 1, Title: "User reports fraud", Technique: "T1621", Severity: severities(events.Critical)}

// MFA-05 sees a user who has a phishing-resistant method sign in with a weaker one.
//
// State: when the user last used a phishing-resistant method (U7).
// Evidence: the methods, and when the stronger one was used.
// False positives: a forgotten key, a new phone. A familiar device on a familiar network lowers it.
var mfa05 = Detection{ID: "MFA-05", Version: 1, Title: "Weaker proof than usual", Technique: "T1556.006", Severity: severities(events.Medium)}

// MFA-06 sees a second factor approved far from where the sign-in was: two events of one flow, too far apart.
//
// It needs a source that reports both steps with an address of their own.
//
// State: where the user's latest flows were (U1).
// Evidence: both places.
// False positives: a phone on a carrier's far hub. Network classes and radii count.
var mfa06 = Detection{ID: "MFA-06", Version: 1, Title: "Approved from elsewhere", Technique: "T1621", Severity: severities(events.High)}

// prompted tells a prompt that was refused or ran out of time.
func prompted(e *events.Event) bool {
	return e.Cause == events.MFARefused || e.Cause == events.MFATimeout || e.Cause == "" && e.Auth.MFA == events.MFADenied
}

// fatigue is MFA-01.
func (o *observation) fatigue() {
	limit := &o.c.config.MFA
	recent := refused(within(o.p.Pushes, o.e.Time, ms(limit.Window)))
	if len(recent) < limit.Denies || o.raised(&mfa01, ms(limit.Window)) {
		return
	}
	l := ladder{severity: events.High}
	o.report(&mfa01, &l, fmt.Sprintf("%d prompts not approved in %s", len(recent), span(o.e.Time-recent[0].Time)), events.Evidence{Attempts: attempts(recent)})
}

// refused leaves approvals out.
func refused(list []profile.Attempt) []profile.Attempt {
	return slices.DeleteFunc(slices.Clone(list), func(a profile.Attempt) bool { return a.Cause == "" })
}

// guessedCodes is MFA-03.
func (o *observation) guessedCodes() {
	limit := &o.c.config.MFA
	recent := within(o.p.Codes, o.e.Time, ms(limit.CodeWindow))
	flows, unnamed := map[uint32]bool{}, 0
	for _, a := range recent {
		if a.Flow == 0 {
			unnamed++ // each may be an attempt of its own
		} else {
			flows[a.Flow] = true
		}
	}
	flowing := len(recent) >= limit.WrongCodes && len(flows)+unnamed >= limit.CodeFlows
	if !flowing && len(recent) < limit.AnyCodes || o.raised(&mfa03, ms(limit.CodeWindow)) {
		return
	}
	l := ladder{severity: events.High}
	o.report(&mfa03, &l, fmt.Sprintf("%d wrong one-time codes in %s", len(recent), span(o.e.Time-recent[0].Time)), events.Evidence{Attempts: attempts(recent)})
}

// judgeMFA looks at the second factor of a success.
func (o *observation) judgeMFA() {
	if !o.login() {
		return
	}
	o.gaveIn()
	o.downgraded()
	o.approvedElsewhere()
}

// gaveIn is MFA-02. Nothing suppresses it.
func (o *observation) gaveIn() {
	e := o.e
	if e.Auth.MFA != events.MFAPerformed || phishingResistant(e) {
		return
	}
	limit := &o.c.config.MFA
	window := ms(limit.Window)
	var recent []profile.Attempt // since the approval before, of which this is no repeat
	for _, a := range within(o.p.Pushes, e.Time, 2*window) {
		if a.Cause == "" {
			recent = nil
			continue
		}
		recent = append(recent, a)
	}
	if len(recent) == 0 {
		return
	}
	last := recent[len(recent)-1].Time
	recent = within(recent, last, window)
	if len(recent) < limit.Denies || e.Time-last > window || o.approvedAfter(last) {
		return
	}
	l := ladder{severity: events.Critical}
	o.report(&mfa02, &l, fmt.Sprintf("Approved %s after the last of %d prompts that were not", span(e.Time-last), len(recent)),
		events.Evidence{Attempts: attempts(recent)})
	approval := profile.AttemptOf(e)
	approval.Cause = ""
	o.p.AddPush(approval, events.Day)
}

// approvedAfter tells whether an approval has been reported of a burst of prompts, of which the last was at the time given, though
// it may have come after the event.
func (o *observation) approvedAfter(last events.Millis) bool {
	return slices.ContainsFunc(within(o.p.Pushes, last+ms(o.c.config.MFA.Window), ms(o.c.config.MFA.Window)), func(a profile.Attempt) bool { return a.Cause == "" })
}

// downgraded is MFA-05.
func (o *observation) downgraded() {
	e := o.e
	strongAt := o.p.Marks.StrongAt
	if strongAt == 0 || e.Time < strongAt || e.Time-strongAt > ms(o.c.config.MFA.StrongWithin) || !weak(e) {
		return
	}
	l := ladder{severity: events.Medium}
	l.gate(o)
	l.allow(o, &o.at, nil)
	l.known(o, effectLower)
	o.report(&mfa05, &l, fmt.Sprintf("Signed in with %s, %s after a phishing-resistant method", proofName(e), span(e.Time-strongAt)), events.Evidence{
		Facts: []events.Fact{{Name: "methods", Value: strings.Join(e.Auth.Methods, ", ")}, {Name: "phishing_resistant_at", Value: strongAt.String()}},
	})
}

// weak tells a proof by password alone or by a text message or call. A claim carried over says nothing.
func weak(e *events.Event) bool {
	if e.Auth.MFA == events.MFAByClaim || e.Auth.Strength == "" {
		return false
	}
	if e.Auth.Strength.Rank() <= events.SingleFactor.Rank() {
		return true
	}
	return slices.ContainsFunc(e.Auth.Methods, func(m string) bool { return m == "sms" || m == "voice" || m == "phone" })
}

func proofName(e *events.Event) string {
	if len(e.Auth.Methods) > 0 {
		return strings.Join(e.Auth.Methods, " and ")
	}
	return string(e.Auth.Strength) + " factor"
}

// approvedElsewhere is MFA-06: the flow began in one place and was finished in another.
func (o *observation) approvedElsewhere() {
	pt := o.flowStep()
	if pt == nil || pt.Event == o.id {
		return
	}
	way, ok := o.leg(pt, &o.at)
	if !ok || way.effectiveKm <= o.c.config.Travel.MinKm {
		return
	}
	travel := o.travel(&way)
	l := ladder{severity: events.High}
	l.allow(o, way.to, way.from)
	l.hidden(o, effectRecord, way.to, way.from)
	l.carrier(o, way.from, way.to)
	o.report(&mfa06, &l, "One sign-in from two places: "+journey(&way), events.Evidence{Travel: &travel}, pt)
}

// flowStep is where another step of the event's flow was, or nil.
func (o *observation) flowStep() *profile.Point {
	if o.e.Correlation == "" {
		return nil
	}
	flow := profile.Hash(o.e.Correlation)
	for i := range o.p.Suspicions {
		if s := &o.p.Suspicions[i]; s.Kind == profile.FlowStep && s.Session == flow {
			return &s.Point
		}
	}
	return nil
}

// stepOfFlow remembers where a step of a flow was that is not over yet.
func (o *observation) stepOfFlow() {
	if o.e.Correlation == "" {
		return
	}
	o.p.AddSuspicion(profile.Suspicion{
		Point: o.p.Observe(o.e, o.id, o.c.conflict(o.e)), Session: profile.Hash(o.e.Correlation), Kind: profile.FlowStep,
	}, events.Hour)
}
