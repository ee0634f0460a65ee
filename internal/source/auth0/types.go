package auth0

import (
	"github.com/countersign-io/countersign/internal/events"
)

// rule says what records of a type are. The names are those of Auth0's list of log event type codes.
type rule struct {
	kind        events.Kind
	outcome     events.Outcome
	interactive events.Tri
	mfa         events.MFA
	method      string
	protocol    string
	token       string
	// unknown is of a name that nobody has, program of an application without a person.
	unknown, program bool
	// detection is what the record says by its type.
	detection string
	change    events.ChangeType
	action    events.ChangeAction
}

func interactive(o events.Outcome, method, protocol string) rule {
	return rule{kind: events.SignIn, outcome: o, interactive: events.Yes, method: method, protocol: protocol}
}

// exchange is the redemption of a code or token.
func exchange(o events.Outcome, protocol, token string) rule {
	return rule{kind: events.SignIn, outcome: o, interactive: events.No, protocol: protocol, token: token}
}

// second is a second factor.
func second(mfa events.MFA, method, protocol string) rule {
	o := events.Failure
	if mfa == events.MFAPerformed {
		o = events.Success
	}
	return rule{kind: events.SignIn, outcome: o, interactive: events.Yes, mfa: mfa, method: method, protocol: protocol}
}

// asked is a factor that was asked for.
func asked(method string) rule {
	return rule{kind: events.SignIn, outcome: events.Challenge, method: method}
}

func blocked(detection string) rule {
	return rule{kind: events.SignIn, outcome: events.Blocked, interactive: events.Yes, detection: detection}
}

func changed(o events.Outcome, t events.ChangeType, a events.ChangeAction) rule {
	return rule{kind: events.AccountChange, outcome: o, change: t, action: a}
}

var types = map[string]rule{
	"s":    interactive(events.Success, "", ""),
	"f":    interactive(events.Failure, "", ""),
	"fp":   interactive(events.Failure, "password", ""),
	"fu":   {kind: events.SignIn, outcome: events.Failure, interactive: events.Yes, unknown: true},
	"fc":   interactive(events.Failure, "", ""),
	"fcoa": interactive(events.Failure, "", ""),
	"scoa": interactive(events.Interrupt, "", ""),
	"ssa":  exchange(events.Success, "silent", ""),
	"fsa":  exchange(events.Interrupt, "silent", ""), // the session is over: ordinary

	"sepft":    interactive(events.Success, "password", "ropc"),
	"fepft":    interactive(events.Failure, "password", "ropc"),
	"sens":     interactive(events.Success, "", "native_social"),
	"fens":     interactive(events.Failure, "", "native_social"),
	"sepotpft": interactive(events.Success, "otp", "passwordless"),
	"fepotpft": interactive(events.Failure, "otp", "passwordless"),
	"fdeac":    interactive(events.Failure, "", "devicecode"),
	"fdecc":    interactive(events.Failure, "", "devicecode"),
	"seacft":   exchange(events.Success, "authorization_code", ""),
	"feacft":   exchange(events.Failure, "authorization_code", ""),
	"sertft":   exchange(events.Success, "refresh_token", "refresh_token"),
	"fertft":   exchange(events.Failure, "refresh_token", "refresh_token"),
	"ferrt": {
		kind: events.SignIn, outcome: events.Failure, interactive: events.No, protocol: "refresh_token", token: "refresh_token",
		detection: "refresh_token_reuse",
	},
	"sede":   exchange(events.Success, "devicecode", ""),
	"fede":   exchange(events.Failure, "devicecode", ""),
	"secte":  exchange(events.Success, "token_exchange", ""),
	"fecte":  exchange(events.Failure, "token_exchange", ""),
	"seccft": {kind: events.SignIn, outcome: events.Success, interactive: events.No, protocol: "client_credentials", program: true},
	"feccft": {kind: events.SignIn, outcome: events.Failure, interactive: events.No, protocol: "client_credentials", program: true},

	"mfar":                            asked(""),
	"gd_start_auth":                   asked(""),
	"gd_send_pn":                      asked("push"),
	"gd_send_push":                    asked("push"),
	"gd_send_sms":                     asked("sms"),
	"gd_send_voice":                   asked("voice"),
	"gd_send_email":                   asked("email"),
	"cs":                              asked("otp"),
	"cls":                             asked("email"),
	"passkey_challenge_started":       asked("passkey"),
	"passkey_challenge_failed":        interactive(events.Failure, "passkey", ""),
	"gd_auth_succeed":                 second(events.MFAPerformed, "", ""),
	"gd_auth_failed":                  second(events.MFAFailed, "", ""),
	"gd_auth_rejected":                second(events.MFADenied, "push", ""),
	"gd_auth_email_verification":      second(events.MFAPerformed, "email", ""),
	"gd_auth_fail_email_verification": second(events.MFAFailed, "email", ""),
	"gd_recovery_succeed":             second(events.MFAPerformed, "recovery_code", ""),
	"gd_recovery_failed":              second(events.MFAFailed, "recovery_code", ""),
	"gd_webauthn_challenge_failed":    second(events.MFAFailed, "fido2", ""),
	"seoobft":                         second(events.MFAPerformed, "push", "mfa_oob"),
	"feoobft":                         second(events.MFAFailed, "push", "mfa_oob"),
	"seotpft":                         second(events.MFAPerformed, "otp", "mfa_otp"),
	"feotpft":                         second(events.MFAFailed, "otp", "mfa_otp"),
	"sercft":                          second(events.MFAPerformed, "recovery_code", "mfa_recovery_code"),
	"fercft":                          second(events.MFAFailed, "recovery_code", "mfa_recovery_code"),
	"gd_otp_rate_limit_exceed":        {kind: events.SignIn, outcome: events.Blocked, interactive: events.Yes, mfa: events.MFAFailed, method: "otp"},
	"gd_recovery_rate_limit_exceed":   {kind: events.SignIn, outcome: events.Blocked, interactive: events.Yes, mfa: events.MFAFailed, method: "recovery_code"},

	"limit_wc":  blocked(""), // the account, for an address
	"limit_mu":  blocked(""), // the address
	"limit_sul": blocked(""), // the account, for all
	"limit_sms": blocked(""),
	"pwd_leak":  blocked("breached_password"),

	"slo": {kind: events.SignOut, outcome: events.Success},

	"scp":                      changed(events.Success, events.CredentialChange, events.Updated),
	"fcp":                      changed(events.Failure, events.CredentialChange, events.Updated),
	"sce":                      changed(events.Success, events.RecoveryChange, events.Updated),
	"fce":                      changed(events.Failure, events.RecoveryChange, events.Updated),
	"scpn":                     changed(events.Success, events.RecoveryChange, events.Updated),
	"fcpn":                     changed(events.Failure, events.RecoveryChange, events.Updated),
	"ss":                       changed(events.Success, events.LifecycleChange, events.Added),
	"du":                       changed(events.Success, events.LifecycleChange, events.Removed),
	"sdu":                      changed(events.Success, events.LifecycleChange, events.Removed),
	"ublkdu":                   changed(events.Success, events.LifecycleChange, events.Unlocked),
	"gd_enrollment_complete":   changed(events.Success, events.MethodChange, events.Added),
	"gd_unenroll":              changed(events.Success, events.MethodChange, events.Removed),
	"gd_user_delete":           changed(events.Success, events.MethodChange, events.Reset),
	"gd_update_device_account": changed(events.Success, events.MethodChange, events.Updated),
}
