package keycloak

import (
	"cmp"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// meaning is what a type of user event means.
type meaning struct {
	kind        events.Kind
	interactive events.Tri
	protocol    string
	// failures says that only failures are told: a success is told by another event.
	failures bool
	// step says that a success is a step of a flow that goes on.
	step bool
	// done says that a failure is none: the event tells of something that never happened.
	done bool
	// of and action are those of a change, on what its target.
	of     events.ChangeType
	action events.ChangeAction
	on     string
}

// meanings are the types that concern us, without the _ERROR that failures add.
var meanings = map[string]meaning{
	"LOGIN":                          {kind: events.SignIn, interactive: events.Yes},
	"CLIENT_LOGIN":                   {kind: events.SignIn, interactive: events.No},
	"REFRESH_TOKEN":                  {kind: events.SignIn, interactive: events.No, protocol: "refresh_token"},
	"TOKEN_EXCHANGE":                 {kind: events.SignIn, interactive: events.No, protocol: "token_exchange"},
	"JWT_BEARER":                     {kind: events.SignIn, interactive: events.No, protocol: "jwt_bearer"},
	"OAUTH2_EXTENSION_GRANT":         {kind: events.SignIn, interactive: events.No, protocol: "extension_grant"},
	"AUTHREQID_TO_TOKEN":             {kind: events.SignIn, interactive: events.No, protocol: "ciba"},
	"OAUTH2_DEVICE_AUTH":             {kind: events.SignIn, interactive: events.No, protocol: "devicecode", failures: true},
	"OAUTH2_DEVICE_VERIFY_USER_CODE": {kind: events.SignIn, interactive: events.Yes, protocol: "devicecode", step: true},
	"OAUTH2_DEVICE_CODE_TO_TOKEN":    {kind: events.SignIn, interactive: events.No, protocol: "devicecode"},
	"IMPERSONATE":                    {kind: events.SignIn, interactive: events.Yes, protocol: "impersonation"},
	"CODE_TO_TOKEN":                  {kind: events.SignIn, interactive: events.No, failures: true},
	"IDENTITY_PROVIDER_LOGIN":        {kind: events.SignIn, interactive: events.Yes, failures: true},
	"IDENTITY_PROVIDER_FIRST_LOGIN":  {kind: events.SignIn, interactive: events.Yes, failures: true},
	"IDENTITY_PROVIDER_POST_LOGIN":   {kind: events.SignIn, interactive: events.Yes, failures: true},
	"IDENTITY_PROVIDER_RESPONSE":     {kind: events.SignIn, interactive: events.Yes, failures: true},

	"LOGOUT":               {kind: events.SignOut},
	"USER_SESSION_DELETED": {kind: events.SignOut},

	"UPDATE_PASSWORD":                  {kind: events.AccountChange, of: events.CredentialChange, action: events.Updated},
	"RESET_PASSWORD":                   {kind: events.AccountChange, of: events.CredentialChange, action: events.Reset},
	"UPDATE_TOTP":                      {kind: events.AccountChange, of: events.MethodChange, action: events.Updated, on: "otp"},
	"REMOVE_TOTP":                      {kind: events.AccountChange, of: events.MethodChange, action: events.Removed, on: "otp"},
	"UPDATE_CREDENTIAL":                {kind: events.AccountChange, of: events.MethodChange, action: events.Updated},
	"REMOVE_CREDENTIAL":                {kind: events.AccountChange, of: events.MethodChange, action: events.Removed},
	"UPDATE_EMAIL":                     {kind: events.AccountChange, of: events.RecoveryChange, action: events.Updated},
	"FEDERATED_IDENTITY_LINK":          {kind: events.AccountChange, of: events.CredentialChange, action: events.Added},
	"FEDERATED_IDENTITY_OVERRIDE_LINK": {kind: events.AccountChange, of: events.CredentialChange, action: events.Updated},
	"IDENTITY_PROVIDER_LINK_ACCOUNT":   {kind: events.AccountChange, of: events.CredentialChange, action: events.Added},
	"REMOVE_FEDERATED_IDENTITY":        {kind: events.AccountChange, of: events.CredentialChange, action: events.Removed},
	"GRANT_CONSENT":                    {kind: events.AccountChange, of: events.ConsentChange, action: events.Added},
	"UPDATE_CONSENT":                   {kind: events.AccountChange, of: events.ConsentChange, action: events.Updated},
	"REVOKE_GRANT":                     {kind: events.AccountChange, of: events.ConsentChange, action: events.Removed},
	"REGISTER":                         {kind: events.AccountChange, of: events.LifecycleChange, action: events.Added},
	"DELETE_ACCOUNT":                   {kind: events.AccountChange, of: events.LifecycleChange, action: events.Removed},

	"USER_DISABLED_BY_TEMPORARY_LOCKOUT": {kind: events.AccountChange, of: events.LifecycleChange, action: events.Locked, done: true},
	"USER_DISABLED_BY_PERMANENT_LOCKOUT": {kind: events.AccountChange, of: events.LifecycleChange, action: events.Disabled, done: true},
}

// outcomes are what errors mean that are no plain failures. An interrupt is no proof against anybody: the page was open
// for too long, something was still to be done, nobody was signed in, or a device asks whether it is time.
var outcomes = map[string]events.Outcome{
	"user_disabled": events.Blocked, "user_temporarily_disabled": events.Blocked, "user_permanently_disabled": events.Blocked,
	"realm_disabled": events.Blocked, "client_disabled": events.Blocked, "ssl_required": events.Blocked, "not_allowed": events.Blocked,
	"access_denied": events.Blocked,
	"expired_code":  events.Interrupt, "resolve_required_actions": events.Interrupt, "not_logged_in": events.Interrupt,
	"login_required": events.Interrupt, "interaction_required": events.Interrupt, "authorization_pending": events.Interrupt, "slow_down": events.Interrupt,
}

// failed reports whether the event tells of a failure.
func (r *raw) failed() bool { return r.failure != "" || strings.HasSuffix(r.kind, "_ERROR") }

func (r *raw) outcome() events.Outcome {
	if !r.failed() {
		return events.Success
	}
	if o, ok := outcomes[r.failure]; ok {
		return o
	}
	return events.Failure
}

// user says what a user event means.
func (r *raw) user() (*events.Event, error) {
	name, failed := strings.CutSuffix(r.kind, "_ERROR")
	if name == "" {
		return nil, errTypeMissing
	}
	m, known := meanings[name]
	failed = failed || r.failure != ""
	if !known || m.failures && !failed || m.kind == events.SignOut && failed {
		return nil, &foreign.Skipped{Reason: "category", Category: r.kind}
	}
	e, err := r.event(m.kind, r.kind)
	if err != nil {
		return nil, err
	}
	e.User = r.who(name)
	switch {
	case e.User.ID == "":
		return nil, &foreign.Skipped{Reason: "no_user", Category: r.kind}
	case m.kind == events.SignOut && r.session == "": // without one it would end all of the user's
		return nil, &foreign.Skipped{Reason: "no_session", Category: r.kind}
	}
	e.App.ID = identity(r.client)
	e.Session.ID = identity(r.session)
	e.Interactive = m.interactive
	if failed {
		e.Reason = r.details["reason"]
	}
	switch {
	case m.done:
		e.Outcome, e.Code, e.Reason = events.Success, "", cmp.Or(r.details["reason"], r.failure)
	case m.step && e.Outcome == events.Success:
		e.Outcome = events.Interrupt
	}
	switch m.kind {
	case events.SignIn:
		e.Session.Token = identity(cmp.Or(r.details["token_id"], r.details["refresh_token_id"]))
		e.Correlation = identity(r.details["code_id"])
		e.Auth.Protocol = m.protocol
		r.proof(e)
		e.Cause = r.cause(e)
		if name == "IMPERSONATE" { // somebody else works in the user's name
			e.Change.Actor.Name = r.details["impersonator"]
		}
	case events.AccountChange:
		e.Change = r.change(m)
	default: // a sign-out has no more to tell
	}
	return e, nil
}

// who is the user; one whom nobody knows is known by the name that was tried, a program by its client.
func (r *raw) who(name string) events.User {
	u := events.User{ID: identity(r.userID), Name: cmp.Or(r.details["username"], r.details["email"])}
	switch {
	case name == "CLIENT_LOGIN":
		u.Type = events.Workload
		if r.client != "" {
			u.ID = identity(r.client)
		}
	case u.ID == "" && u.Name != "":
		u.ID, u.Type = identity("name:"+strings.ToLower(u.Name)), events.Unresolved
	}
	return u
}

// credentials are Keycloak's types of credentials: the method's usual name, whether it is a second factor, and its strength.
var credentials = map[string]struct {
	name     string
	second   bool
	strength events.Strength
}{
	"password":              {"password", false, events.SingleFactor},
	"kerberos":              {"kerberos", false, events.SingleFactor},
	"otp":                   {"otp", true, events.MultiFactor},
	"totp":                  {"otp", true, events.MultiFactor},
	"hotp":                  {"otp", true, events.MultiFactor},
	"recovery-authn-codes":  {"recovery_code", true, events.MultiFactor},
	"webauthn":              {"fido2", true, events.PhishingResistant},
	"webauthn-passwordless": {"passkey", true, events.PhishingResistant},
}

// proof sets how identity was proved. Keycloak tells little of it: the protocol, and the last credential at times.
func (r *raw) proof(e *events.Event) {
	if e.Auth.Protocol == "" {
		e.Auth.Protocol = cmp.Or(r.details["grant_type"], r.details["auth_method"])
		if e.Auth.Protocol == "password" {
			e.Auth.Protocol = "ropc"
		}
	}
	if e.Outcome == events.Success {
		e.Auth.ACR = r.details["acr"]
	}
	c, known := credentials[strings.ToLower(r.details["credential_type"])]
	if !known {
		return
	}
	e.Auth.Methods = []string{c.name}
	switch {
	case e.Outcome == events.Success:
		// A password that is the last credential of the flow does not say that it was the only one.
		if c.second {
			e.Auth.MFA, e.Auth.Strength = events.MFAPerformed, c.strength
		}
	case c.second && r.failure == "invalid_user_credentials":
		e.Auth.MFA = events.MFAFailed
	}
}

// change says what an event changed.
func (r *raw) change(m meaning) events.Change {
	c := events.Change{Type: m.of, Action: m.action}
	c.Target.Name = m.on
	switch {
	case m.of == events.ConsentChange:
		c.Target = events.Ref{ID: identity(cmp.Or(r.details["revoked_client"], r.client))}
		c.Grants = bounded(strings.Fields(r.details["scope"]))
	case m.of == events.RecoveryChange:
		c.From, c.To = r.details["previous_email"], r.details["updated_email"]
	case m.of == events.CredentialChange && r.details["identity_provider"] != "":
		c.Target.Name = r.details["identity_provider"]
	}
	if kind := strings.ToLower(r.details["credential_type"]); m.on == "" && kind != "" && m.of == events.MethodChange {
		c.Target.Name = kind
		if known, ok := credentials[kind]; ok {
			c.Target.Name = known.name
		}
		if kind == "password" {
			c.Type, c.Target.Name = events.CredentialChange, ""
		}
	}
	return c
}

func bounded(texts []string) []string {
	if len(texts) == 0 {
		return nil
	}
	return texts[:min(len(texts), events.MaxElements)]
}
