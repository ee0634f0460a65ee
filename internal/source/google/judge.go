package google

import (
	"errors"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// judge completes e with what one event of the activity means.
func (a *activity) judge(h *happening, e *events.Event) error {
	if h.name == "" {
		return errors.New("name: is missing")
	}
	if h.name == "logout" {
		// Google names no session: it would say that all of the user's ended.
		return &foreign.Skipped{Reason: "no_session", Category: a.application + "/" + h.name}
	}
	decide := a.decider(h.name)
	if decide == nil {
		return &foreign.Skipped{Reason: "category", Category: a.application + "/" + h.name}
	}
	var err error
	if e.User, err = a.user(h); err != nil {
		return err
	}
	e.Code = h.name
	decide(h, e)
	return nil
}

// decider finds what to do with an event, nil when it is of no concern.
func (a *activity) decider(name string) func(*happening, *events.Event) {
	switch a.application {
	case login, userAccounts:
		if changes[name].Type != "" {
			return changed
		}
		if _, known := warnings[name]; known {
			return warned
		}
		return map[string]func(*happening, *events.Event){
			"login_success": signedIn, "login_failure": refused, "login_challenge": step, "login_verification": step,
		}[name]
	case saml:
		return map[string]func(*happening, *events.Event){"login_success": entered, "login_failure": entered}[name]
	case token:
		return map[string]func(*happening, *events.Event){"authorize": consented, "revoke": consented}[name]
	}
	return nil
}

// changes are events that change an account.
var changes = map[string]events.Change{
	"2sv_enroll":          {Type: events.MethodChange, Action: events.Added, Target: events.Ref{ID: "2sv"}},
	"2sv_disable":         {Type: events.MethodChange, Action: events.Removed, Target: events.Ref{ID: "2sv"}},
	"passkey_enrolled":    {Type: events.MethodChange, Action: events.Added, Target: events.Ref{ID: "passkey"}},
	"passkey_removed":     {Type: events.MethodChange, Action: events.Removed, Target: events.Ref{ID: "passkey"}},
	"password_edit":       {Type: events.CredentialChange, Action: events.Updated, Target: events.Ref{ID: "password"}},
	"recovery_email_edit": {Type: events.RecoveryChange, Action: events.Updated, Target: events.Ref{ID: "email"}},
	"recovery_phone_edit": {Type: events.RecoveryChange, Action: events.Updated, Target: events.Ref{ID: "phone"}},
	"recovery_secret_qa_edit": {
		Type: events.RecoveryChange, Action: events.Updated, Target: events.Ref{ID: "secret_question"},
	},
	// Advanced Protection asks for a security key at every new device.
	"titanium_enroll":   {Type: events.AssuranceChange, Action: events.Enabled, Target: events.Ref{ID: "advanced_protection"}},
	"titanium_unenroll": {Type: events.AssuranceChange, Action: events.Disabled, Target: events.Ref{ID: "advanced_protection"}},

	"account_disabled_password_leak":          {Type: events.LifecycleChange, Action: events.Disabled},
	"account_disabled_hijacked":               {Type: events.LifecycleChange, Action: events.Disabled},
	"account_disabled_generic":                {Type: events.LifecycleChange, Action: events.Disabled},
	"account_disabled_spamming":               {Type: events.LifecycleChange, Action: events.Disabled},
	"account_disabled_spamming_through_relay": {Type: events.LifecycleChange, Action: events.Disabled},
}

// warnings are what Google thinks of an account or a login. Google gives names, not levels; these are ours: high where
// somebody else is known or said to be at the account, medium where Google stopped what looked like it.
var warnings = map[string]events.Risk{
	"suspicious_login":                                 {Level: events.RiskMedium, State: events.RiskOpen},
	"suspicious_login_less_secure_app":                 {Level: events.RiskMedium, State: events.RiskOpen},
	"suspicious_programmatic_login":                    {Level: events.RiskMedium, State: events.RiskOpen},
	"risky_sensitive_action_allowed":                   {Level: events.RiskLow, State: events.RiskOpen},
	"risky_sensitive_action_blocked":                   {Level: events.RiskMedium, State: events.RiskOpen},
	"gov_attack_warning":                               {User: events.RiskHigh, State: events.RiskOpen},
	"user_signed_out_due_to_suspicious_session_cookie": {Level: events.RiskHigh, State: events.RiskOpen},
}

// disabledFor is the risk that is the reason of an account's end.
var disabledFor = map[string]events.Risk{
	"account_disabled_password_leak":          {User: events.RiskHigh, State: events.RiskConfirmed},
	"account_disabled_hijacked":               {User: events.RiskHigh, State: events.RiskOpen},
	"account_disabled_spamming":               {User: events.RiskMedium, State: events.RiskOpen},
	"account_disabled_spamming_through_relay": {User: events.RiskMedium, State: events.RiskOpen},
}

func changed(h *happening, e *events.Event) {
	e.Kind, e.Outcome, e.Change = events.AccountChange, events.Success, changes[h.name]
	if risk, risky := disabledFor[h.name]; risky {
		e.Risk = risk
		e.Risk.Detections = []string{h.name}
		e.Risk.Happened = happened(h)
	}
}

func warned(h *happening, e *events.Event) {
	e.Kind, e.Risk = events.RiskReport, warnings[h.name]
	e.Risk.Detections = []string{h.name}
	e.Risk.Happened = happened(h)
	switch h.name {
	case "risky_sensitive_action_allowed", "risky_sensitive_action_blocked":
		e.Risk.Detail = h.text("sensitive_action_name")
		e.Auth.Methods = proofsOf(h).names
		e.Outcome = events.Success
		if h.name == "risky_sensitive_action_blocked" {
			e.Outcome = events.Blocked
		}
	}
}

// happened is when the login was that a warning speaks of, in microseconds since 1970; a warning may come much later.
func happened(h *happening) events.Millis {
	at, err := foreign.Time(h.text("login_timestamp"))
	if err != nil {
		return 0 // the warning stands without it
	}
	return at
}

func signedIn(h *happening, e *events.Event) {
	e.Kind, e.Outcome = events.SignIn, events.Success
	kind := h.text("login_type")
	// With "exchange" a session or token was turned into another one, and nobody was asked for anything.
	e.Interactive = events.TriOf(kind != "exchange")
	switch h.flag("is_suspicious") {
	case events.Yes:
		e.Risk = events.Risk{Level: events.RiskMedium, State: events.RiskOpen, Detections: []string{"is_suspicious"}}
	case events.No:
		e.Risk = events.Risk{Level: events.RiskNone}
	case events.Unknown:
	}
	p := proofsOf(h)
	e.Auth.Methods = p.names
	if kind == "saml" || p.federated {
		// What was asked for, and how strong it was, is known to the other provider only.
		e.Auth.Protocol = kind
		return
	}
	switch {
	case p.last.strength == events.PhishingResistant:
		e.Auth.MFA, e.Auth.Strength = events.MFAPerformed, events.PhishingResistant
	case p.last.possession && len(p.names) > 1, h.flag("is_second_factor") == events.Yes:
		e.Auth.MFA, e.Auth.Strength = events.MFAPerformed, events.MultiFactor
	case slices.Equal(p.names, []string{"password"}):
		e.Auth.MFA, e.Auth.Strength = events.MFANotRequired, events.SingleFactor
	default:
		e.Auth.Strength = p.last.strength
	}
}

func refused(h *happening, e *events.Event) {
	e.Kind, e.Outcome, e.Interactive = events.SignIn, events.Failure, events.Yes
	if e.Reason = h.text("login_failure_type"); e.Reason == "login_failure_account_disabled" {
		e.Outcome = events.Blocked
	}
	p := proofsOf(h)
	e.Auth.Methods = p.names
	e.Cause = causes[e.Reason]
	if p.last.possession || e.Reason == wrongFactor {
		e.Auth.MFA = events.MFAFailed
		if e.Cause == "" || e.Reason == wrongFactor && p.last.possession {
			e.Cause = foreign.FactorCause(p.last.name)
		}
	}
	if p.federated && e.Cause == "" {
		e.Cause = events.OtherCause // the other provider asked
	}
}

// wrongFactor is the type of a failure at the second factor.
const wrongFactor = "login_failure_invalid_second_factor"

// causes are what login_failure_type says; "login_failure_unknown" says nothing.
var causes = map[string]events.Cause{
	"login_failure_invalid_password":       events.BadPassword,
	wrongFactor:                            events.BadCode,
	"login_failure_account_disabled":       events.AccountDisabled,
	"login_failure_access_code_disallowed": events.PolicyBlock,
}

// step is a challenge on the way to a login. How the login ended is told by an event of its own, so that a step, passed
// or not, counts neither as success nor as failure.
func step(h *happening, e *events.Event) {
	e.Kind, e.Outcome, e.Interactive = events.SignIn, events.Challenge, events.Yes
	p := proofsOf(h)
	e.Auth.Methods = p.names
	second := h.flag("is_second_factor")
	if second == events.Unknown {
		second = events.TriOf(h.name == "login_verification" || p.last.possession)
	}
	status := strings.ToLower(h.text("login_challenge_status"))
	e.Reason = h.text("login_challenge_status")
	switch {
	case strings.Contains(status, "passed"):
		e.Outcome = events.Interrupt
		if second == events.Yes {
			e.Auth.MFA = events.MFAPerformed
		}
	case strings.Contains(status, "failed") && second == events.Yes:
		e.Auth.MFA = events.MFAFailed
	}
}

// entered is a sign-in to a SAML application, for which the session with Google may be enough.
func entered(h *happening, e *events.Event) {
	e.Kind, e.Outcome = events.SignIn, events.Success
	if h.name == "login_failure" {
		e.Outcome, e.Reason = events.Failure, h.text("failure_type")
		e.Cause = events.OtherCause // nobody is asked for a password here
		if strings.HasSuffix(e.Reason, "_for_user") {
			e.Cause = events.PolicyBlock // the application is not switched on for that user
		}
	}
	e.Auth.Protocol = "saml"
	e.App.Name = h.text("application_name")
	e.Device.ID = bounded(h.text("device_id"))
}

// consented is what an application was allowed to do in the user's name, or no longer is.
func consented(h *happening, e *events.Event) {
	e.Kind, e.Outcome = events.AccountChange, events.Success
	e.Change = events.Change{
		Type: events.ConsentChange, Action: events.Added,
		Target: events.Ref{ID: bounded(h.text("client_id")), Name: h.text("app_name")},
		Grants: h.list("scope"),
	}
	if h.name == "revoke" {
		e.Change.Action = events.Removed
	}
	e.App = e.Change.Target
}

// proof is what one kind of challenge proves.
type proof struct {
	name     string
	strength events.Strength
	// possession is of a thing, so that after a password it is a second factor.
	possession bool
}

// methods are Google's names of challenges that prove something. Those that are not here, such as a captcha or a delay,
// prove nothing that is known.
var methods = map[string]proof{
	"password":                   {"password", events.SingleFactor, false},
	"security_key":               {"fido2", events.PhishingResistant, true},
	"passkey":                    {"passkey", events.PhishingResistant, true},
	"userless_fido":              {"passkey", events.PhishingResistant, true},
	"security_key_otp":           {"otp", events.SingleFactor, true},
	"google_authenticator":       {"otp", events.SingleFactor, true},
	"offline_otp":                {"otp", events.SingleFactor, true},
	"google_prompt":              {"push", events.SingleFactor, true},
	"device_prompt":              {"push", events.SingleFactor, true},
	"cross_device":               {"push", events.SingleFactor, true},
	"web_approval":               {"push", events.SingleFactor, true},
	"idv_preregistered_phone":    {"phone", events.SingleFactor, true},
	"idv_any_phone":              {"phone", events.SingleFactor, true},
	"device_preregistered_phone": {"phone", events.SingleFactor, true},
	"backup_code":                {"backup_code", events.SingleFactor, true},
	"rescue_code":                {"backup_code", events.SingleFactor, true},
	"idv_preregistered_email":    {"email", events.SingleFactor, false},
	"idv_any_email":              {"email", events.SingleFactor, false},
	"knowledge_secret_question":  {"secret_question", events.SingleFactor, false},
}

// proofs are the challenges of one login. Google lists all that were met, in order, also those that were failed before
// another was passed; so the last one says how strong the proof was.
type proofs struct {
	names     []string
	last      proof
	federated bool
}

func proofsOf(h *happening) proofs {
	var p proofs
	for _, challenge := range h.list("login_challenge_method") {
		challenge = strings.ToLower(challenge)
		if challenge == "saml" || challenge == "oidc" {
			p.federated = true
			p.names = appendNew(p.names, challenge)
			continue
		}
		if known, ok := methods[challenge]; ok {
			p.last = known
			p.names = appendNew(p.names, known.name)
		}
	}
	return p
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
