package okta

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// authenticator is a target that says what was used.
func authenticator(method, properties any) []any {
	return []any{
		user(userID, name),
		object{"id": "opf1", "type": "AuthenticatorEnrollment", "alternateId": "unknown", "displayName": "Okta Verify", "detailEntry": object{
			"methodTypeUsed": method, "methodUsedVerifiedProperties": properties,
		}},
	}
}

func TestT36_ThePasswordIsAFactorToOktaToo(t *testing.T) {
	const mfa = "user.authentication.auth_via_mfa"
	for form, value := range map[string]string{
		"credential": typed(t, mfa, "authenticationContext.credentialType", "PASSWORD"),
		"factor":     typed(t, mfa, "debugContext.debugData.factor", "PASSWORD_AS_FACTOR"),
		"target":     typed(t, mfa, "target", authenticator("Password", "[USER_PRESENCE]")),
	} {
		e := one(t, value)
		if e.Outcome != events.Interrupt || e.Auth.MFA != "" || e.Auth.Strength != "" || !slices.Equal(e.Auth.Methods, []string{"password"}) {
			t.Errorf("%s: %q %+v", form, e.Outcome, e.Auth)
		}
	}
	if e := one(t, typed(t, mfa, "outcome.result", "FAILURE", "debugContext.debugData.factor", "PASSWORD_AS_FACTOR")); e.Outcome != events.Failure || e.Auth.MFA != "" {
		t.Errorf("a wrong password: %q %+v", e.Outcome, e.Auth)
	}
	if e := one(t, typed(t, mfa)); e.Outcome != events.Interrupt || e.Auth.MFA != "" {
		t.Errorf("nothing said: %q %+v", e.Outcome, e.Auth)
	}
}

func TestT36_PoliciesAreNoSignIns(t *testing.T) {
	const policy = "policy.evaluate_sign_on"
	rule := object{"id": "0pr1", "type": "PolicyRule", "displayName": "Require MFA"}
	low := object{"risk": "{level=LOW}"}
	skipped(t, "context", typed(t, policy, "outcome.result", "ALLOW", "debugContext.debugData", low))
	skipped(t, "context", typed(t, policy, "outcome.result", "ALLOW", "debugContext.debugData", nil))
	skipped(t, "context", typed(t, policy, "outcome.result", "SKIPPED"))

	e := one(t, typed(t, policy, "outcome.result", "ALLOW"))
	if e.Kind != events.RiskReport || e.Risk.Level != events.RiskHigh || e.Risk.State != events.RiskOpen || e.Session.ID != "idxEXAMPLE01" {
		t.Errorf("allowed at a high risk: %q %+v", e.Kind, e.Risk)
	}
	e = one(t, typed(t, policy, "outcome", object{"result": "DENY", "reason": "Sign-on policy evaluation resulted in DENY"}, "target", []any{rule}))
	want := events.Access{Result: events.AccessDenied, Policies: []events.AccessPolicy{{ID: "0pr1", Name: "Require MFA", Result: "deny"}}}
	if diff := cmp.Diff(want, e.Access); e.Kind != events.SignIn || e.Outcome != events.Blocked || e.Reason == "" || diff != "" {
		t.Errorf("%q %q %q %s", e.Kind, e.Outcome, e.Reason, diff)
	}
	if e = one(t, typed(t, policy, "outcome.result", "CHALLENGE")); e.Outcome != events.Challenge || e.Interactive != events.Unknown {
		t.Errorf("%q %v", e.Outcome, e.Interactive)
	}
}

func TestStrengthOfFactors(t *testing.T) {
	const mfa = "user.authentication.auth_via_mfa"
	strong := func(s events.Strength) events.Auth { return events.Auth{MFA: events.MFAPerformed, Strength: s} }
	for factor, c := range map[string]struct {
		name string
		want events.Auth
	}{
		"FIDO_WEBAUTHN": {"fido2", strong(events.PhishingResistant)}, "fido_u2f": {"fido2", strong(events.PhishingResistant)},
		"SIGNED_NONCE": {"fastpass", strong(events.PhishingResistant)}, "SMART_CARD": {"certificate", strong(events.PhishingResistant)},
		"OKTA_VERIFY_PUSH": {"push", strong(events.MultiFactor)}, "OKTA_SOFT_TOKEN": {"otp", strong(events.MultiFactor)},
		"token:software:totp": {"otp", strong(events.MultiFactor)}, "SMS_FACTOR": {"sms", strong(events.MultiFactor)},
		"CALL_FACTOR": {"voice", strong(events.MultiFactor)}, "GOOGLE_AUTHENTICATOR": {"otp", strong(events.MultiFactor)},
		"DUO_SECURITY": {"duo", strong(events.MultiFactor)}, "CUSTOM_THING": {"custom_thing", strong(events.MultiFactor)},
		"EMAIL_FACTOR": {"email", events.Auth{}}, "question": {"security_question", events.Auth{}},
	} {
		e := one(t, typed(t, mfa, "debugContext.debugData.factor", factor, "target", nil))
		c.want.Methods = []string{c.name}
		if diff := cmp.Diff(c.want, e.Auth); diff != "" {
			t.Errorf("%s: %s", factor, diff)
		}
	}
	for _, c := range []struct {
		method, properties string
		want               events.Strength
	}{
		{"Use Okta FastPass", "[DEVICE_BOUND, PHISHING_RESISTANT, HARDWARE_PROTECTED]", events.PhishingResistant},
		{"Use Okta FastPass", "[DEVICE_BOUND, USER_PRESENCE]", events.MultiFactor},
		{"Get a push notification", "[USER_PRESENCE]", events.MultiFactor},
		{"Enter a code", "[USER_PRESENCE]", events.MultiFactor},
		{"Security Key or Biometric Authenticator", "", events.PhishingResistant},
	} {
		// The debug data name FastPass whether or not the use could be relayed: the target knows.
		e := one(t, typed(t, mfa, "target", authenticator(c.method, c.properties), "debugContext.debugData.factor", "SIGNED_NONCE"))
		if e.Auth.Strength != c.want || e.Auth.MFA != events.MFAPerformed || e.Interactive != events.Yes || e.Outcome != events.Success {
			t.Errorf("%s %s: %+v", c.method, c.properties, e.Auth)
		}
	}
	e := one(t, typed(t, "user.authentication.verify", "target", append(authenticator("Password", "[]"), authenticator("Enter a code", "")[1])))
	if diff := cmp.Diff(events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "otp"}}, e.Auth); diff != "" || e.Outcome != events.Success {
		t.Errorf("%q %s", e.Outcome, diff)
	}
	e = one(t, typed(t, "user.authentication.verify", "target", authenticator("Password", "[]")))
	if e.Auth.Strength != events.SingleFactor || e.Auth.MFA != "" {
		t.Errorf("%+v", e.Auth)
	}
}

func TestFactorsThatFail(t *testing.T) {
	const mfa = "user.authentication.auth_via_mfa"
	for form, c := range map[string]struct {
		value string
		want  events.MFA
	}{
		"wrong code": {typed(t, mfa, "outcome", object{"result": "FAILURE", "reason": "INVALID_CREDENTIALS"}, "debugContext.debugData.factor", "OKTA_SOFT_TOKEN"), events.MFAFailed},
		"denied, Identity Engine": {typed(t, mfa, "outcome", object{"result": "FAILURE", "reason": "INVALID_CREDENTIALS"},
			"debugContext.debugData", object{"factor": "OKTA_VERIFY_PUSH", "pushOnlyResponseType": "OV_RESPONSE_DENY"}), events.MFADenied},
		"denied, Classic": {typed(t, "user.mfa.okta_verify.deny_push"), events.MFADenied},
		"rejected":        {typed(t, mfa, "outcome", object{"result": "FAILURE", "reason": "User rejected the push"}, "debugContext.debugData.factor", "OKTA_VERIFY_PUSH"), events.MFADenied},
	} {
		e := one(t, c.value)
		if e.Outcome != events.Failure || e.Auth.MFA != c.want || e.Auth.Strength != "" {
			t.Errorf("%s: %q %+v", form, e.Outcome, e.Auth)
		}
	}
	for eventType, method := range map[string]string{
		"system.push.send_factor_verify_push": "push", "system.sms.send_factor_verify_message": "sms", "system.voice.send_mfa_challenge_call": "voice",
	} {
		e := one(t, typed(t, eventType))
		if e.Outcome != events.Challenge || e.Interactive != events.Unknown || e.Auth.MFA != "" || !slices.Equal(e.Auth.Methods, []string{method}) {
			t.Errorf("%s: %q %+v", eventType, e.Outcome, e.Auth)
		}
	}
	skipped(t, "not_sent", typed(t, "system.push.send_factor_verify_push", "outcome.result", "FAILURE"))
}

func TestStepsAndSessionsInUse(t *testing.T) {
	for eventType, want := range map[string]events.Outcome{
		"user.authentication.auth_via_AD_agent": events.Interrupt, "user.authentication.auth_via_IDP": events.Interrupt,
		"user.authentication.auth_via_social": events.Interrupt, "user.authentication.auth_via_something_new": events.Interrupt,
		"user.authentication.auth_via_radius": events.Success,
	} {
		e := one(t, typed(t, eventType))
		if via := strings.TrimPrefix(eventType, "user.authentication.auth_via_"); e.Outcome != want || e.Interactive != events.Yes || e.Auth.Protocol != strings.ToLower(via) {
			t.Errorf("%s: %q %v %+v", eventType, e.Outcome, e.Interactive, e.Auth)
		}
		if e := one(t, typed(t, eventType, "outcome.result", "FAILURE")); e.Outcome != events.Failure {
			t.Errorf("%s failed: %q", eventType, e.Outcome)
		}
	}
	for _, eventType := range []string{"user.authentication.sso", "user.session.access_admin_app", "app.oauth2.as.authorize.code", "app.oauth2.authorize", "app.oauth2.signon"} {
		if e := one(t, typed(t, eventType, "debugContext.debugData.signOnMode", "SAML 2.0")); e.Outcome != events.Success || e.Interactive != events.No || e.Auth.Strength != "" || e.Auth.Protocol != "saml 2.0" {
			t.Errorf("%s: %q %v %+v", eventType, e.Outcome, e.Interactive, e.Auth)
		}
	}
	if e := one(t, typed(t, "app.oauth2.token.grant", "debugContext.debugData.grantType", "urn:ietf:params:oauth:grant-type:device_code")); e.Auth.Protocol != "devicecode" {
		t.Errorf("%+v", e.Auth)
	}
	e := one(t, typed(t, "app.oauth2.as.token.detect_reuse", "debugContext.debugData", nil))
	want := events.Risk{State: events.RiskOpen, Detections: []string{"refresh_token_reuse"}}
	if diff := cmp.Diff(want, e.Risk); diff != "" || e.Outcome != events.Failure || e.Interactive != events.No || e.Session.TokenType != "refresh_token" {
		t.Errorf("%q %+v %s", e.Outcome, e.Session, diff)
	}
	for _, eventType := range []string{"application.policy.sign_on.deny_access", "app.generic.unauth_app_access_attempt", "security.request.blocked"} {
		if e := one(t, typed(t, eventType)); e.Outcome != events.Blocked || e.Access.Result != events.AccessDenied {
			t.Errorf("%s: %q %+v", eventType, e.Outcome, e.Access)
		}
	}
}

func TestSignOuts(t *testing.T) {
	if e := one(t, typed(t, "user.session.end")); e.Kind != events.SignOut || e.Session.ID != "idxEXAMPLE01" || e.User.ID != userID {
		t.Errorf("%q %+v", e.Kind, e.Session)
	}
	skipped(t, "no_session", typed(t, "user.session.end", "authenticationContext", nil))
	skipped(t, "failed", typed(t, "user.session.end", "outcome.result", "FAILURE"))
	// An administrator ends all of a user's sessions; the session that the record names is the administrator's.
	admin := user("00uADMIN", "admin@example.com")
	for _, eventType := range []string{"user.session.clear", "user.authentication.universal_logout"} {
		if e := one(t, typed(t, eventType, "actor", admin, "target", []any{user(userID, name)})); e.Kind != events.SignOut || e.User.ID != userID || e.Session != (events.Session{}) {
			t.Errorf("%s: %+v %+v", eventType, e.User, e.Session)
		}
	}
}

func TestChangesOfAccounts(t *testing.T) {
	admin := user("00uADMIN", "admin@example.com")
	of := func(targets ...any) []any { return append([]any{user(userID, name)}, targets...) }
	for _, c := range []struct {
		value string
		want  events.Change
	}{
		{typed(t, "user.account.update_password", "target", of()), events.Change{Type: events.CredentialChange, Action: events.Updated}},
		{
			typed(t, "user.account.reset_password", "actor", admin, "target", of()),
			events.Change{Type: events.CredentialChange, Action: events.Reset, Actor: events.Ref{ID: "00uADMIN", Name: "admin@example.com"}},
		},
		{typed(t, "user.account.lock", "target", of()), events.Change{Type: events.LifecycleChange, Action: events.Locked}},
		{typed(t, "user.account.unlock"), events.Change{Type: events.LifecycleChange, Action: events.Unlocked}},
		{
			typed(t, "user.mfa.factor.activate", "target", of(), "outcome.reason", "User set up FIDO_WEBAUTHN factor"),
			events.Change{Type: events.MethodChange, Action: events.Added, Target: events.Ref{ID: "fido2"}},
		},
		{
			typed(t, "user.mfa.factor.deactivate", "debugContext.debugData.factor", "SMS_FACTOR"),
			events.Change{Type: events.MethodChange, Action: events.Removed, Target: events.Ref{ID: "sms"}},
		},
		{typed(t, "user.mfa.factor.reset_all", "target", of()), events.Change{Type: events.MethodChange, Action: events.Reset}},
		{typed(t, "user.mfa.factor.update"), events.Change{Type: events.MethodChange, Action: events.Updated}},
		{typed(t, "app.oauth2.as.consent.grant", "debugContext.debugData.grantedScopes", "openid, profile,offline_access"), events.Change{
			Type: events.ConsentChange, Action: events.Added, Target: events.Ref{ID: "0oaEXAMPLE01", Name: "Example App"}, Grants: []string{"openid", "profile", "offline_access"},
		}},
		{
			typed(t, "group.user_membership.add", "target", of(object{"id": "00gX", "type": "UserGroup", "displayName": "Admins"})),
			events.Change{Type: events.RoleChange, Action: events.Added, Target: events.Ref{ID: "00gX", Name: "Admins"}},
		},
		{
			typed(t, "user.account.privilege.grant", "target", of(), "debugContext.debugData.privilegeGranted", "Super administrator"),
			events.Change{Type: events.RoleChange, Action: events.Added, Target: events.Ref{Name: "Super administrator"}},
		},
		{
			typed(t, "device.user.add", "target", of(object{"id": "guo1", "type": "Device", "displayName": "laptop"})),
			events.Change{Type: events.DeviceChange, Action: events.Added, Target: events.Ref{ID: "guo1", Name: "laptop"}},
		},
		{typed(t, "user.lifecycle.suspend", "target", of()), events.Change{Type: events.LifecycleChange, Action: events.Disabled}},
		{typed(t, "user.session.impersonation.initiate", "actor", user("00uSUPPORT", "support@okta.com"), "target", of()), events.Change{
			Type: events.RoleChange, Action: events.Added, Target: events.Ref{Name: "impersonation"}, Actor: events.Ref{ID: "00uSUPPORT", Name: "support@okta.com"},
		}},
		{typed(t, "user.session.impersonation.grant", "actor", admin), events.Change{Type: events.ConsentChange, Action: events.Added, Target: events.Ref{Name: "impersonation"}}},
	} {
		e := one(t, c.value)
		if diff := cmp.Diff(c.want, e.Change); diff != "" || e.Kind != events.AccountChange || e.Outcome != events.Success {
			t.Errorf("%s: %q %q %s", e.Source.Category, e.Kind, e.Outcome, diff)
		}
		if by := c.want.Actor.ID; by != "" && (e.User.ID != userID || e.Session.ID != "") {
			t.Errorf("%s by %s: of %s in session %q", e.Source.Category, by, e.User.ID, e.Session.ID)
		}
	}
	if e := one(t, typed(t, "user.account.update_password", "outcome.result", "FAILURE")); e.Outcome != events.Failure {
		t.Errorf("a change that failed: %q", e.Outcome)
	}
}

func TestReportsOfRisk(t *testing.T) {
	at := events.Millis(1772612131104)
	for _, c := range []struct {
		value string
		want  events.Risk
	}{
		{
			typed(t, "user.risk.change", "debugContext.debugData.risk",
				"{previousLevel=LOW, level=MEDIUM, detectionName=Session Influenced User Risk, reasons=idx1, issuer=OKTA}"),
			events.Risk{User: events.RiskMedium, State: events.RiskOpen, Detections: []string{"Session Influenced User Risk"}, Detail: "idx1", Happened: at},
		},
		{
			typed(t, "user.risk.change", "debugContext.debugData", object{"risk": "{previousLevel=HIGH, level=LOW}"}),
			events.Risk{User: events.RiskLow, Detections: []string{"user.risk.change"}, Happened: at},
		},
		{
			typed(t, "user.risk.detect", "debugContext.debugData", object{"risk": "{level=HIGH, detectionName=Credential Stuffing}"}),
			events.Risk{Level: events.RiskHigh, State: events.RiskOpen, Detections: []string{"Credential Stuffing"}, Happened: at},
		},
		{
			typed(t, "security.threat.detected", "debugContext.debugData", nil),
			events.Risk{State: events.RiskOpen, Detections: []string{"security.threat.detected"}, Happened: at},
		},
		{
			typed(t, "user.session.context.change", "debugContext.debugData", object{"behaviors": "{New IP=POSITIVE}"}),
			events.Risk{State: events.RiskOpen, Detections: []string{"New IP"}, Happened: at},
		},
	} {
		e := one(t, c.value)
		if diff := cmp.Diff(c.want, e.Risk); diff != "" || e.Kind != events.RiskReport {
			t.Errorf("%s: %q %s", e.Source.Category, e.Kind, diff)
		}
	}
}

// Every rule gives a valid event for an ordinary record.
func TestEveryTypeGivesAValidEvent(t *testing.T) {
	for eventType, kind := range rules {
		if kind.flow == evaluated {
			continue
		}
		e := one(t, typed(t, eventType, "target", []any{user(userID, name)}))
		if e.Kind != kind.kind || e.User.ID != userID || e.Source.Category != eventType {
			t.Errorf("%s: %q of %q", eventType, e.Kind, e.User.ID)
		}
	}
}

func TestChallengeOfAnEventHook(t *testing.T) {
	ask := func(method, challenge string) (any, bool) {
		r := httptest.NewRequest(method, "https://ingest.example.com/v1/events?format=okta", nil)
		r.Header.Set("x-okta-verification-challenge", challenge)
		return Challenge(r)
	}
	if answer, ok := ask(http.MethodGet, "c-1"); !ok || answer != (Verification{"c-1"}) {
		t.Errorf("%v %v", answer, ok)
	}
	for _, c := range [][2]string{{http.MethodPost, "c-1"}, {http.MethodGet, ""}, {http.MethodGet, strings.Repeat("c", 2000)}} {
		if answer, ok := ask(c[0], c[1]); ok || answer != nil {
			t.Errorf("%s %.10q: %v", c[0], c[1], answer)
		}
	}
}

func FuzzPairs(f *testing.F) {
	f.Add("{reasons=Anomalous Location, Anomalous Device, level=HIGH}")
	f.Add("{a=b=c, d=}")
	f.Fuzz(func(t *testing.T, s string) {
		found := pairs(s)
		if len(found) > maxPairs {
			t.Fatalf("%d pairs", len(found))
		}
		for _, p := range found {
			if !strings.Contains(s, p.name) || !strings.Contains(s, p.value) || strings.ContainsAny(p.name, "=,") && p.name != found[0].name {
				t.Errorf("%q gives %q = %q", s, p.name, p.value)
			}
		}
	})
}

func FuzzSystemLog(f *testing.F) {
	f.Add(log(f, nil))
	f.Add(typed(f, "user.authentication.auth_via_mfa", "target", authenticator("Use Okta FastPass", "[PHISHING_RESISTANT]")))
	f.Add(typed(f, "policy.evaluate_sign_on", "outcome.result", "DENY"))
	f.Add(`{"data":{"events":[` + log(f, nil) + `,5]}}`)
	f.Fuzz(func(t *testing.T, value string) {
		for _, r := range decoded(value) {
			if (r.event == nil) == (r.err == nil) {
				t.Fatalf("event %v and error %v", r.event, r.err)
			}
			if r.event == nil {
				continue
			}
			e := r.event
			if e.Source.ID == "" || e.User.ID == "" || e.Time == 0 || e.Source.Family != Family || len(e.User.ID) > events.MaxID {
				t.Errorf("an event of nobody: %+v", e)
			}
			if e.Outcome == events.Success && e.Kind == events.SignIn && e.Interactive == events.No && (e.Auth.MFA != "" || e.Auth.Strength != "") {
				t.Errorf("a session in use proves something: %+v", e)
			}
			if e.Auth.Strength != "" && e.Outcome != events.Success {
				t.Errorf("%q proves something: %+v", e.Outcome, e.Auth)
			}
			if e.User.Type == events.Unresolved && !strings.HasPrefix(e.User.ID, "name:") && !strings.HasPrefix(e.User.ID, "hash:") {
				t.Errorf("an unresolved user %q", e.User.ID)
			}
			e.Tenant = "example"
			if e.Clean(); e.Validate() == nil {
				if _, err := events.Decode(events.Encode(e)); err != nil {
					t.Errorf("an event that cannot be read back: %v", err)
				}
			}
		}
	})
}

func BenchmarkSystemLog(b *testing.B) {
	value := []byte(log(b, nil))
	d := SystemLog()
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		d.Decode(value, func([]byte, *events.Event, error) {})
	}
}
