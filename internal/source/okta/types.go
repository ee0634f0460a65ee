package okta

import (
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// rule says what records of an event type are. The names are those of Okta's catalogue of event types.
type rule struct {
	kind   events.Kind
	flow   flow // of sign-ins
	change events.ChangeType
	action events.ChangeAction
}

// flow says how the outcome of an authentication is to be read.
type flow int

const (
	// whole is a sign-in altogether: its result is the outcome.
	whole flow = iota
	// step is a part of one, and another record says how it ended: what succeeded is an interrupt.
	step
	// factor is a step that counts by itself when it is a second factor.
	factor
	// reuse is the use of a session: nobody proves anything.
	reuse
	// asked is a second factor that was asked for, rejected one that the person said no to.
	asked
	rejected
	// evaluated is the verdict of a policy, barred a refusal whatever the result says.
	evaluated
	barred
	// replayed is a one-time refresh token that came a second time.
	replayed
)

func signIn(f flow) rule { return rule{kind: events.SignIn, flow: f} }

func changed(t events.ChangeType, a events.ChangeAction) rule {
	return rule{kind: events.AccountChange, change: t, action: a}
}

var (
	signOut = rule{kind: events.SignOut}
	report  = rule{kind: events.RiskReport}
)

// ruleOf finds the rule of an event type; other types are of no concern. Custom authorisation servers say the same with
// "as" in the middle, and there are more ways to be authenticated by somebody else than are listed.
func ruleOf(eventType string) (rule, bool) {
	if custom, ok := strings.CutPrefix(eventType, "app.oauth2.as."); ok {
		eventType = "app.oauth2." + custom
	}
	found, ok := rules[eventType]
	if !ok && strings.HasPrefix(eventType, "user.authentication.auth_via_") {
		return signIn(step), true
	}
	return found, ok
}

var rules = map[string]rule{
	"user.session.start":                      signIn(whole),
	"user.authentication.verify":              signIn(whole),
	"user.authentication.auth_via_radius":     signIn(whole), // at a VPN: no session follows
	"user.authentication.auth_via_richclient": signIn(whole), // the old protocols of Office: likewise
	"user.authentication.auth_via_mfa":        signIn(factor),
	"user.mfa.okta_verify":                    signIn(factor),
	"user.authentication.sso":                 signIn(reuse),
	adminConsole:                              signIn(reuse),
	"app.oauth2.signon":                       signIn(reuse),
	"app.oauth2.authorize":                    signIn(reuse),
	"app.oauth2.authorize.code":               signIn(reuse),
	"app.oauth2.authorize.implicit":           signIn(reuse),
	"app.oauth2.authorize.implicit.id_token":  signIn(reuse),
	"app.oauth2.token.grant":                  signIn(reuse),
	"app.oauth2.token.grant.access_token":     signIn(reuse),
	"app.oauth2.token.detect_reuse":           signIn(replayed),
	"policy.evaluate_sign_on":                 signIn(evaluated),
	"application.policy.sign_on.deny_access":  signIn(barred),
	"app.generic.unauth_app_access_attempt":   signIn(barred),
	"security.request.blocked":                signIn(barred),
	"system.push.send_factor_verify_push":     signIn(asked),
	"system.sms.send_factor_verify_message":   signIn(asked),
	"system.voice.send_mfa_challenge_call":    signIn(asked),
	"system.email.send_factor_verify_message": signIn(asked),
	"user.mfa.okta_verify.deny_push":          signIn(rejected),
	"user.session.end":                        signOut,
	"user.session.expire":                     signOut,
	"user.session.clear":                      signOut,
	"user.authentication.slo":                 signOut,
	"user.authentication.universal_logout":    signOut,
	"security.threat.detected":                report,
	"security.session.detect_client_roaming":  report,
	"user.risk.change":                        report,
	"user.risk.detect":                        report,
	"user.session.context.change":             report,
	"user.mfa.attempt_bypass":                 report,
	reportedByUser:                            report,
	"policy.auth_reevaluate.fail":             report,

	"user.account.update_password":          changed(events.CredentialChange, events.Updated),
	"user.account.reset_password":           changed(events.CredentialChange, events.Reset),
	"user.account.expire_password":          changed(events.CredentialChange, events.Reset),
	"user.credential.enroll":                changed(events.MethodChange, events.Added),
	"user.credential.revoke":                changed(events.MethodChange, events.Removed),
	"user.mfa.factor.activate":              changed(events.MethodChange, events.Added),
	"user.mfa.factor.deactivate":            changed(events.MethodChange, events.Removed),
	"user.mfa.factor.reset_all":             changed(events.MethodChange, events.Reset),
	"user.mfa.factor.update":                changed(events.MethodChange, events.Updated),
	"user.mfa.factor.suspend":               changed(events.MethodChange, events.Disabled),
	"user.mfa.factor.unsuspend":             changed(events.MethodChange, events.Enabled),
	"user.account.update_primary_email":     changed(events.RecoveryChange, events.Updated),
	"user.account.update_secondary_email":   changed(events.RecoveryChange, events.Updated),
	"user.account.update_phone":             changed(events.RecoveryChange, events.Updated),
	"user.account.lock":                     changed(events.LifecycleChange, events.Locked),
	"user.account.lock.limit":               changed(events.LifecycleChange, events.Locked),
	"user.account.unlock":                   changed(events.LifecycleChange, events.Unlocked),
	"user.account.unlock_by_admin":          changed(events.LifecycleChange, events.Unlocked),
	"user.account.unlock_token":             changed(events.LifecycleChange, events.Unlocked),
	"user.lifecycle.create":                 changed(events.LifecycleChange, events.Added),
	"user.lifecycle.activate":               changed(events.LifecycleChange, events.Enabled),
	"user.lifecycle.reactivate":             changed(events.LifecycleChange, events.Enabled),
	"user.lifecycle.unsuspend":              changed(events.LifecycleChange, events.Enabled),
	"user.lifecycle.suspend":                changed(events.LifecycleChange, events.Disabled),
	"user.lifecycle.deactivate":             changed(events.LifecycleChange, events.Disabled),
	"user.lifecycle.delete.completed":       changed(events.LifecycleChange, events.Removed),
	"group.user_membership.add":             changed(events.RoleChange, events.Added),
	"group.user_membership.remove":          changed(events.RoleChange, events.Removed),
	"user.account.privilege.grant":          changed(events.RoleChange, events.Added),
	"user.account.privilege.revoke":         changed(events.RoleChange, events.Removed),
	"device.user.add":                       changed(events.DeviceChange, events.Added),
	"device.user.remove":                    changed(events.DeviceChange, events.Removed),
	"device.enrollment.create":              changed(events.DeviceChange, events.Added),
	"device.lifecycle.activate":             changed(events.DeviceChange, events.Enabled),
	"device.lifecycle.unsuspend":            changed(events.DeviceChange, events.Enabled),
	"device.lifecycle.suspend":              changed(events.DeviceChange, events.Disabled),
	"device.lifecycle.deactivate":           changed(events.DeviceChange, events.Disabled),
	"device.lifecycle.delete":               changed(events.DeviceChange, events.Removed),
	"app.oauth2.consent.grant":              changed(events.ConsentChange, events.Added),
	"app.oauth2.consent.revoke":             changed(events.ConsentChange, events.Removed),
	"app.oauth2.consent.revoke.user":        changed(events.ConsentChange, events.Removed),
	"app.oauth2.consent.revoke.user.client": changed(events.ConsentChange, events.Removed),
	// Okta's support in the organisation: an administrator consents to it, and then it acts as that administrator.
	"user.session.impersonation.grant":    changed(events.ConsentChange, events.Added),
	"user.session.impersonation.extend":   changed(events.ConsentChange, events.Updated),
	"user.session.impersonation.revoke":   changed(events.ConsentChange, events.Removed),
	"user.session.impersonation.initiate": changed(events.RoleChange, events.Added),
	"user.session.impersonation.end":      changed(events.RoleChange, events.Removed),
}
