package ocsf

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/entra"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// The activities of class 3002 that are not plain sign-ins.
const (
	logon         = "1"
	logoff        = "2"
	serviceTicket = "4"
	ticketRenewal = "5"
	preauth       = "6"
	accountSwitch = "7"
)

// activities names the activities of class 3002; a record's own name, if any, says the same.
var activities = map[string]string{
	logon: "Logon", logoff: "Logoff", "3": "Authentication Ticket", serviceTicket: "Service Ticket Request",
	ticketRenewal: "Service Ticket Renew", preauth: "Preauth", accountSwitch: "Account Switch",
}

// category is the record's kind as OCSF itself words it in type_name.
func (r *record) category(class, activity string) string {
	return cmp.Or(r.typeName, class+": "+cmp.Or(activity, r.activityName, "Unknown"))
}

// authenticated says what an event of class 3002 means.
func (r *record) authenticated(activity string, e *events.Event) error {
	e.Kind = events.SignIn
	if activity == logoff {
		e.Kind = events.SignOut
	}
	e.Source.Category = r.category("Authentication", activities[activity])
	r.result(e)
	if activity == preauth && e.Outcome == events.Success {
		e.Outcome = events.Interrupt // the first step: the ticket is the second
	}
	if e.Kind == events.SignOut {
		return signedOut(e)
	}
	e.Interactive = r.interactive(activity)
	e.Auth.Protocol = r.grant()
	r.access(e)
	r.proof(e)
	if e.Outcome == events.Failure && entra.OutcomeOf(r.code) == events.Interrupt {
		e.Outcome = events.Interrupt // a step of a flow of Entra's
	}
	e.Cause = r.cause(e, activity)
	return nil
}

// signedOut leaves out what ends nothing, and what would end every session of the user.
func signedOut(e *events.Event) error {
	switch {
	case e.Outcome != events.Success && e.Outcome != "":
		return &foreign.Skipped{Reason: "failed", Category: e.Source.Category}
	case e.Session.ID == "":
		return &foreign.Skipped{Reason: "no_session", Category: e.Source.Category}
	}
	return nil
}

// result sets what became of the attempt, and why.
func (r *record) result(e *events.Event) {
	if e.Outcome = r.outcome(); e.Outcome != events.Success {
		e.Reason = cmp.Or(r.detail, r.message)
	}
}

func (r *record) outcome() events.Outcome {
	switch r.disposition {
	case "2", "6", "24", "25": // blocked, dropped, access revoked, rejected
		return events.Blocked
	case "22", "23": // captcha, challenge
		return events.Challenge
	}
	var out events.Outcome
	switch r.status {
	case "1":
		out = events.Success
	case "2":
		out = events.Failure
	default: // 99 is "other": then the name is the source's own
		out = outcomes[strings.ToLower(r.statusName)]
	}
	switch {
	case out == events.Failure && r.action == "2", // denied
		out == events.Failure && (strings.EqualFold(r.detail, "ACCOUNT_LOCKED_OUT") || strings.EqualFold(r.detail, "ACCOUNT_DISABLED")):
		return events.Blocked
	}
	return out
}

var outcomes = map[string]events.Outcome{
	"success": events.Success, "failure": events.Failure, "interrupt": events.Interrupt, "interrupted": events.Interrupt,
	"challenge": events.Challenge, "challenged": events.Challenge, "blocked": events.Blocked, "denied": events.Blocked,
}

// interactive tells whether a person took part, as far as there is evidence. Windows numbers its kinds of logons.
func (r *record) interactive(activity string) events.Tri {
	switch r.logonType {
	case "2", "7", "10", "11", "12", "13": // at the machine, unlocked, remote desktop, each also with cached credentials
		return events.Yes
	case "3", "4", "5", "8", "9": // network, batch, service, network in clear text, new credentials
		return events.No
	}
	switch activity {
	case serviceTicket, ticketRenewal, accountSwitch:
		return events.No
	}
	switch {
	case r.token.kind == refreshToken:
		return events.No
	case len(r.factors) > 0:
		return events.Yes
	}
	return events.Unknown
}

// grant is how the sign-in was asked for.
func (r *record) grant() string {
	if p := protocols[r.protocol]; p != "" {
		return p
	}
	return strings.ToLower(r.protocolName)
}

var protocols = map[string]string{
	"1": "ntlm", "2": kerberos, "3": "digest", "4": "openid", "5": "saml", "6": "oauth2", "7": "pap", "8": "chap", "9": eap,
	"10": "radius", "11": "basic", "12": "ldap",
}

// The protocols in which a certificate is the user's.
const (
	kerberos = "kerberos"
	eap      = "eap"
)

const refreshToken = "4"

// tokenTypes are what authentication_token.type_id says was redeemed.
var tokenTypes = map[string]string{
	"1": "ticket_granting_ticket", "2": "service_ticket", "3": "identity_token", refreshToken: "refresh_token", "5": "saml_assertion",
}

// access is what policies had a say.
func (r *record) access(e *events.Event) {
	for _, p := range r.policies {
		if p.named == (named{}) || p.applied == events.No {
			continue
		}
		result := ""
		switch r.action {
		case "1":
			result = "allowed"
		case "2":
			result = "denied"
		}
		e.Access.Policies = append(e.Access.Policies, events.AccessPolicy{ID: p.uid, Name: p.name, Result: result})
	}
}

// factors are the kinds of factors, with how strong each is by itself.
var factors = map[string]struct {
	name     string
	strength events.Strength
}{
	"1": {"sms", events.SingleFactor}, "2": {"security_question", events.SingleFactor}, "3": {"voice", events.SingleFactor},
	"4": {"biometric", events.SingleFactor}, "5": {"push", events.SingleFactor}, "6": {"hardware_token", events.SingleFactor},
	"7": {"otp", events.SingleFactor}, "8": {"email", events.SingleFactor}, "9": {"fido2", events.PhishingResistant},
	"10": {"fido2", events.PhishingResistant}, "11": {password, events.SingleFactor},
}

const password = "password"

// proof says how identity was proved.
func (r *record) proof(e *events.Event) {
	var strongest events.Strength
	seconds := 0
	for _, f := range r.factors {
		kind := factors[f.kind]
		if kind.name == "" {
			if kind.name = strings.ToLower(f.name); kind.name == "" {
				continue // a factor, and nobody says which
			}
			kind.strength = events.SingleFactor
		}
		if slices.Contains(e.Auth.Methods, kind.name) {
			continue
		}
		e.Auth.Methods = append(e.Auth.Methods, kind.name)
		if kind.name != password {
			seconds++
		}
		if kind.strength.Rank() > strongest.Rank() {
			strongest = kind.strength
		}
	}
	if r.certificate && (e.Auth.Protocol == kerberos || e.Auth.Protocol == eap) {
		e.Auth.Methods = append(e.Auth.Methods, "certificate")
		strongest = events.PhishingResistant
	}
	switch e.Outcome {
	case events.Success:
		e.Auth.MFA = r.mfaOfSuccess(e.Interactive, len(e.Auth.Methods), seconds, strongest)
		e.Auth.Strength = strengthOf(e.Auth.MFA, strongest)
	case events.Failure, events.Blocked:
		// Which of several factors failed is not said.
		if seconds > 0 && seconds == len(e.Auth.Methods) && r.mfa == events.Yes {
			e.Auth.MFA = events.MFAFailed
			if denied(r.detail) || denied(r.message) {
				e.Auth.MFA = events.MFADenied
			}
		}
	case events.Interrupt, events.Challenge:
	}
}

// mfaOfSuccess is what became of the second factor in a sign-in that succeeded.
func (r *record) mfaOfSuccess(interactive events.Tri, methods, seconds int, strongest events.Strength) events.MFA {
	switch {
	case interactive == events.No && r.mfa == events.Yes:
		return events.MFAByClaim // nobody was asked
	case r.mfa == events.Yes, r.mfa == events.Unknown && (methods > 1 && seconds > 0 || strongest == events.PhishingResistant):
		return events.MFAPerformed
	case r.session.mfa == events.Yes:
		return events.MFAByClaim // of the session, not of this sign-in
	case r.mfa == events.No:
		return events.MFANotRequired
	}
	return ""
}

func strengthOf(mfa events.MFA, strongest events.Strength) events.Strength {
	multi := mfa == events.MFAPerformed || mfa == events.MFAByClaim
	switch {
	case multi && strongest.Rank() < events.MultiFactor.Rank():
		return events.MultiFactor
	case strongest != "":
		return strongest
	case mfa == events.MFANotRequired:
		return events.SingleFactor
	}
	return ""
}

// denied tells that a person refused. The texts are prose.
func denied(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "denied") || strings.Contains(text, "declined") || strings.Contains(text, "rejected")
}

// risk is what the source thinks.
func (r *record) risk() events.Risk {
	return events.Risk{
		Level:  level(r.riskLevel, r.riskName, r.riskScore),
		User:   level(r.user.riskLevel, r.user.riskName, r.user.riskScore),
		Detail: r.riskCause,
	}
}

// level is a level by its number, else by its name, else by a score. Scores have no scale in OCSF: those of 0 to 100 are
// taken for one.
func level(number, name, score string) events.RiskLevel {
	switch number {
	case "0":
		return events.RiskNone
	case "1":
		return events.RiskLow
	case "2":
		return events.RiskMedium
	case "3", "4": // high, critical
		return events.RiskHigh
	}
	switch strings.ToLower(name) {
	case "info":
		return events.RiskNone
	case "low":
		return events.RiskLow
	case "medium":
		return events.RiskMedium
	case "high", "critical":
		return events.RiskHigh
	}
	n, err := strconv.ParseFloat(score, 64)
	switch {
	case err != nil || !(n >= 0 && n <= 100):
		return ""
	case n == 0:
		return events.RiskNone
	case n < 40:
		return events.RiskLow
	case n < 70:
		return events.RiskMedium
	}
	return events.RiskHigh
}

// changes are the activities of class 3001 that count.
var changes = map[string]struct {
	name   string
	kind   events.ChangeType
	action events.ChangeAction
}{
	"1":  {"Create", events.LifecycleChange, events.Added},
	"2":  {"Enable", events.LifecycleChange, events.Enabled},
	"3":  {"Password Change", events.CredentialChange, events.Updated},
	"4":  {"Password Reset", events.CredentialChange, events.Reset},
	"5":  {"Disable", events.LifecycleChange, events.Disabled},
	"6":  {"Delete", events.LifecycleChange, events.Removed},
	"7":  {"Attach Policy", events.RoleChange, events.Added},
	"8":  {"Detach Policy", events.RoleChange, events.Removed},
	"9":  {"Lock", events.LifecycleChange, events.Locked},
	"10": {"MFA Factor Enable", events.MethodChange, events.Added},
	"11": {"MFA Factor Disable", events.MethodChange, events.Removed},
	"12": {"Unlock", events.LifecycleChange, events.Unlocked},
}

// changed says what an event of class 3001 means. Its user is the one who was changed, its actor who did it.
func (r *record) changed(activity string, e *events.Event) error {
	c, known := changes[activity]
	category := r.category("Account Change", c.name)
	if !known {
		return &foreign.Skipped{Reason: "category", Category: category}
	}
	e.Kind, e.Source.Category = events.AccountChange, category
	r.result(e)
	e.Change = events.Change{Type: c.kind, Action: c.action}
	switch {
	case c.kind == events.MethodChange && len(r.factors) > 0:
		f := r.factors[0]
		e.Change.Target.Name = cmp.Or(factors[f.kind].name, strings.ToLower(f.name))
	case c.kind == events.RoleChange && len(r.policies) > 0:
		p := r.policies[0]
		e.Change.Target = events.Ref{ID: identity(p.uid), Name: p.name}
	}
	if a := &r.actor.user; !r.user.same(a) {
		e.Change.Actor = events.Ref{ID: identity(a.stable()), Name: cmp.Or(a.name, a.email, a.fullName)}
	}
	return nil
}
