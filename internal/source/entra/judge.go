package entra

import (
	"cmp"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// judge sets the outcome and how identity was proved.
func (r *record) judge(e *events.Event) {
	e.Code = r.errorCode
	if e.Code == "" {
		e.Code = r.resultType
	}
	e.Outcome = OutcomeOf(e.Code)
	if e.Outcome != events.Success {
		if e.Reason = r.failureReason; e.Reason == "" {
			e.Reason = r.resultDetail
		}
		e.Cause, _ = CauseOf(e.Code, e.Reason)
	}
	e.Auth.Protocol = r.grant()
	if e.Outcome == events.Success {
		e.Auth.ACR = r.contextClass
	}
	strongest, why := r.methods(e)
	if e.Auth.MFA == "" {
		e.Auth.MFA = r.statedMFA(e)
	}
	if e.Auth.MFA == events.MFAFailed || e.Auth.MFA == events.MFADenied {
		r.judgeFactor(e, why)
		return
	}
	e.Auth.Strength = r.strength(e, strongest)
}

// judgeFactor reads a second factor that failed, with what the steps say of why.
func (r *record) judgeFactor(e *events.Event, why events.Cause) {
	if e.Outcome == events.Interrupt {
		e.Outcome = events.Failure // asked for a second factor, and it failed
	}
	if e.Cause == "" && e.Outcome == events.Failure {
		e.Cause = cmp.Or(FactorCause(r.details), FactorCause(r.failureReason), why)
	}
	if r.fraud() {
		e.Risk.Detections = addOnce(e.Risk.Detections, "fraud")
	}
}

// fraud tells that the person called the prompt a fraud.
func (r *record) fraud() bool {
	said := func(text string) bool { return strings.Contains(strings.ToLower(text), "fraud") }
	return said(r.details) || slices.ContainsFunc(r.steps, func(s step) bool { return said(s.detail) })
}

// methods sets what the steps tell: the methods used, the result of the second factor. It returns the strongest proof
// among the steps that succeeded, and why the last one failed that did not.
func (r *record) methods(e *events.Event) (strongest events.Strength, why events.Cause) {
	stronger := func(s events.Strength) {
		if s.Rank() > strongest.Rank() {
			strongest = s
		}
	}
	failed := events.MFA("")
	for _, s := range r.steps {
		if strings.EqualFold(s.method, "Previously satisfied") {
			if s.succeeded == events.Yes && !primary(s.requirement) && e.Auth.MFA == "" {
				e.Auth.MFA = events.MFAByClaim
			}
			continue
		}
		name, strength := method(s.method)
		if name != "" && !slices.Contains(e.Auth.Methods, name) {
			e.Auth.Methods = append(e.Auth.Methods, name)
		}
		second := strength.Rank() > events.SingleFactor.Rank() || name != "password" && !primary(s.requirement) && name != ""
		switch s.succeeded {
		case events.Yes:
			if second {
				e.Auth.MFA = events.MFAPerformed
				stronger(events.MultiFactor)
			}
			stronger(strength)
		case events.No:
			if second && !pending(strings.ToLower(s.detail)) {
				failed, why = events.MFAFailed, factorCause(s.detail, name)
				if FactorCause(s.detail) == events.MFARefused {
					failed = events.MFADenied
				}
			}
		case events.Unknown:
		}
	}
	// A failed try before one that succeeded does not count.
	if e.Auth.MFA == "" {
		e.Auth.MFA = failed
	}
	return strongest, why
}

func primary(requirement string) bool {
	return strings.EqualFold(requirement, "Primary authentication")
}

// usualClaim is what most records of redeemed tokens say.
const usualClaim = "MFA requirement satisfied by claim in the token"

// statedMFA is what the record says of the second factor outside the steps, which are often empty. The texts are prose
// and change, so they only fill a gap.
func (r *record) statedMFA(e *events.Event) events.MFA {
	details := ""
	if r.details != "" && r.details != usualClaim {
		details = strings.ToLower(r.details)
	}
	switch {
	case e.Code == mfaFailed:
		if cmp.Or(FactorCause(details), FactorCause(r.failureReason)) == events.MFARefused {
			return events.MFADenied
		}
		return events.MFAFailed
	case r.details == usualClaim, strings.Contains(details, "satisfied by claim"), strings.Contains(details, "previously satisfied"):
		return events.MFAByClaim
	case strings.HasPrefix(details, "mfa completed"), strings.HasPrefix(details, "mfa successfully completed"):
		return events.MFAPerformed
	case e.Outcome == events.Success && strings.EqualFold(r.requirement, "singleFactorAuthentication"):
		return events.MFANotRequired
	}
	return ""
}

// strength is how strong the proof was, for what succeeded.
func (r *record) strength(e *events.Event, strongest events.Strength) events.Strength {
	if e.Outcome != events.Success {
		return ""
	}
	multi := e.Auth.MFA == events.MFAPerformed || e.Auth.MFA == events.MFAByClaim ||
		strings.EqualFold(r.requirement, "multiFactorAuthentication")
	switch {
	case multi && strongest.Rank() < events.MultiFactor.Rank():
		return events.MultiFactor
	case strongest != "":
		return strongest
	case e.Auth.MFA == events.MFANotRequired:
		return events.SingleFactor
	}
	return ""
}

// grant is how the token was asked for. The legacy protocols, which know no second factor, are named by the client.
func (r *record) grant() string {
	if strings.EqualFold(r.transfer, "deviceCodeFlow") {
		return "devicecode"
	}
	if r.protocol != "" {
		return strings.ToLower(r.protocol)
	}
	switch r.clientApp {
	case "", "Browser", "Mobile Apps and Desktop clients":
		return ""
	}
	client := strings.ToLower(r.clientApp)
	if _, which, ok := strings.Cut(client, "; "); ok {
		client = which // "Other clients; IMAP"
	}
	client, _, _ = strings.Cut(client, " (") // "Outlook Anywhere (RPC over HTTP)"
	switch client {
	case "browser", "mobile apps and desktop clients":
		return ""
	}
	return client
}

// method is the short name of an authentication method and how strong it is by itself. The names are prose of the
// provider; those nobody knows keep theirs, and count as a single factor.
func method(s string) (name string, strength events.Strength) {
	lower := strings.ToLower(s)
	for _, m := range methods {
		if strings.Contains(lower, m.mark) {
			return m.name, m.strength
		}
	}
	return lower, events.SingleFactor
}

// methods are matched in order by a part of their name.
var methods = []struct {
	mark, name string
	strength   events.Strength
}{
	{"fido", "fido2", events.PhishingResistant},
	{"passkey", "passkey", events.PhishingResistant},
	{"windows hello", "windows_hello", events.PhishingResistant},
	{"platform credential", "platform_credential", events.PhishingResistant},
	{"certificate", "certificate", events.PhishingResistant},
	{"phone sign-in", "phone_sign_in", events.MultiFactor},
	{"passwordless", "phone_sign_in", events.MultiFactor},
	{"temporary access pass", "temporary_access_pass", events.MultiFactor},
	{"password", "password", events.SingleFactor},
	{"notification", "push", events.SingleFactor},
	{"push", "push", events.SingleFactor},
	{"verification code", "otp", events.SingleFactor},
	{"oath", "otp", events.SingleFactor},
	{"text message", "sms", events.SingleFactor},
	{"sms", "sms", events.SingleFactor},
	{"phone call", "voice", events.SingleFactor},
	{"voice", "voice", events.SingleFactor},
	{"email", "email", events.SingleFactor},
}
