package auth0

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

func TestOutcomes(t *testing.T) {
	yes, no, unknown := events.Yes, events.No, events.Unknown
	for kind, c := range map[string]struct {
		outcome     events.Outcome
		interactive events.Tri
		protocol    string
		mfa         events.MFA
	}{
		"s": {events.Success, yes, "", events.MFAPerformed}, "ssa": {events.Success, no, "silent", ""}, "fsa": {events.Interrupt, no, "silent", ""},
		"f": {events.Failure, yes, "", ""}, "fp": {events.Failure, yes, "", ""}, "fu": {events.Failure, yes, "", ""},
		"scoa": {events.Interrupt, yes, "", ""}, "fcoa": {events.Failure, yes, "", ""},
		"seacft": {events.Success, no, "authorization_code", ""}, "feacft": {events.Failure, no, "authorization_code", ""},
		"sertft": {events.Success, no, "refresh_token", ""}, "fertft": {events.Failure, no, "refresh_token", ""},
		"fepft": {events.Failure, yes, "ropc", ""}, "sede": {events.Success, no, "devicecode", ""},
		"ferrt":    {events.Failure, no, "refresh_token", ""},
		"limit_wc": {events.Blocked, yes, "", ""}, "limit_mu": {events.Blocked, yes, "", ""}, "limit_sul": {events.Blocked, yes, "", ""},
		"pwd_leak": {events.Blocked, yes, "", ""},
		"mfar":     {events.Challenge, unknown, "", ""}, "gd_send_push": {events.Challenge, unknown, "", ""}, "gd_start_auth": {events.Challenge, unknown, "", ""},
		"gd_auth_succeed": {events.Success, yes, "", events.MFAPerformed}, "gd_auth_failed": {events.Failure, yes, "", events.MFAFailed},
		"gd_auth_rejected": {events.Failure, yes, "", events.MFADenied}, "gd_recovery_failed": {events.Failure, yes, "", events.MFAFailed},
		"gd_otp_rate_limit_exceed": {events.Blocked, yes, "", events.MFAFailed},
		"seotpft":                  {events.Success, yes, "mfa_otp", events.MFAPerformed}, "feotpft": {events.Failure, yes, "mfa_otp", events.MFAFailed},
	} {
		e := one(t, typed(t, kind, "description", "why"))
		if e.Kind != events.SignIn || e.Outcome != c.outcome || e.Interactive != c.interactive || e.Auth.MFA != c.mfa || e.Code != kind {
			t.Errorf("%s: %q %v %+v", kind, e.Outcome, e.Interactive, e.Auth)
		}
		if want := c.protocol; e.Auth.Protocol != want {
			t.Errorf("%s: protocol %q, want %q", kind, e.Auth.Protocol, want)
		}
		if (e.Reason == "why") != (e.Outcome != events.Success) {
			t.Errorf("%s: reason %q", kind, e.Reason)
		}
		if e.Outcome != events.Success && e.Auth.Strength != "" {
			t.Errorf("%s: strength %q", kind, e.Auth.Strength)
		}
	}
}

func TestReuseOfARefreshToken(t *testing.T) {
	e := one(t, typed(t, "ferrt", "details", nil, "description", "Unsuccessful Refresh Token exchange, reused refresh token detected"))
	want := events.Risk{State: events.RiskOpen, Detections: []string{"refresh_token_reuse"}}
	if diff := cmp.Diff(want, e.Risk); diff != "" || e.Code != "ferrt" || e.Session.TokenType != "refresh_token" || !strings.Contains(e.Reason, "reused") {
		t.Errorf("%q %q %+v %s", e.Code, e.Reason, e.Session, diff)
	}
	if e := one(t, typed(t, "pwd_leak", "details", nil)); !slices.Equal(e.Risk.Detections, []string{"breached_password"}) {
		t.Errorf("%+v", e.Risk)
	}
}

func TestStrengthOfSignIns(t *testing.T) {
	prompts := func(amr ...any) object {
		return object{"prompts": []any{object{"name": "login", "performed_amr": amr}}}
	}
	for name, c := range map[string]struct {
		value string
		want  events.Auth
	}{
		"nothing said":       {typed(t, "s", "details", nil), events.Auth{}},
		"password":           {typed(t, "s", "details", prompts("pwd")), events.Auth{Methods: []string{"password"}}},
		"second factor":      {typed(t, "s", "details", prompts("pwd", "mfa", "otp")), events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "otp"}}},
		"WebAuthn":           {typed(t, "s", "details", prompts("webauthn-platform")), events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, Methods: []string{"fido2"}}},
		"social":             {typed(t, "s", "details", nil, "strategy_type", "social"), events.Auth{Protocol: "social"}},
		"old grant":          {typed(t, "sepft", "details", nil), events.Auth{Protocol: "ropc", Strength: events.SingleFactor, Methods: []string{"password"}}},
		"an amr of text":     {typed(t, "s", "details", object{"prompts": []any{object{"performed_amr": "mfa", "performed_acr": []any{"urn:mfa"}}}}), events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, ACR: "urn:mfa"}},
		"a code is redeemed": {typed(t, "seacft", "details", prompts("mfa")), events.Auth{Protocol: "authorization_code"}},
		"Guardian":           {typed(t, "gd_auth_succeed", "details", object{"authenticator": object{"type": "push-notification"}}), events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"push"}}},
		"security key":       {typed(t, "gd_auth_succeed", "details", object{"authenticator": "webauthn-roaming"}), events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, Methods: []string{"fido2"}}},
	} {
		if diff := cmp.Diff(c.want, one(t, c.value).Auth); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSignOuts(t *testing.T) {
	if e := one(t, typed(t, "slo")); e.Kind != events.SignOut || e.Session.ID != "sess-example-1" {
		t.Errorf("%q %+v", e.Kind, e.Session)
	}
	skipped(t, "no_session", typed(t, "slo", "details", object{}))
	skipped(t, "category", typed(t, "flo"))
	prompts := object{"prompts": []any{object{"session_id": "old"}, object{"session_id": "new"}, object{}}}
	if e := one(t, typed(t, "s", "details", prompts)); e.Session.ID != "new" {
		t.Errorf("session %q", e.Session.ID)
	}
}

func TestChangesOfAccounts(t *testing.T) {
	for kind, want := range map[string]events.Change{
		"scp": {Type: events.CredentialChange, Action: events.Updated}, "sce": {Type: events.RecoveryChange, Action: events.Updated},
		"ss": {Type: events.LifecycleChange, Action: events.Added}, "du": {Type: events.LifecycleChange, Action: events.Removed},
		"gd_unenroll": {Type: events.MethodChange, Action: events.Removed}, "gd_user_delete": {Type: events.MethodChange, Action: events.Reset},
		"gd_enrollment_complete": {Type: events.MethodChange, Action: events.Added},
	} {
		e := one(t, typed(t, kind))
		if diff := cmp.Diff(want, e.Change); diff != "" || e.Kind != events.AccountChange || e.Outcome != events.Success {
			t.Errorf("%s: %q %q %s", kind, e.Kind, e.Outcome, diff)
		}
	}
	if e := one(t, typed(t, "fcp")); e.Outcome != events.Failure || e.Change.Type != events.CredentialChange {
		t.Errorf("%q %+v", e.Outcome, e.Change)
	}
	if e := one(t, typed(t, "gd_enrollment_complete", "details", object{"factor": "webauthn-roaming"})); e.Change.Target.ID != "fido2" {
		t.Errorf("%+v", e.Change)
	}
}

func TestManagementAPI(t *testing.T) {
	const admin = "auth0|admin"
	request := func(method, path string, body any) string {
		return typed(t, "sapi", "user_id", admin, "user_name", "admin@example.com", "details", object{
			"request":  object{"method": method, "path": path, "body": body, "auth": object{"user": object{"user_id": admin, "email": "admin@example.com"}}},
			"response": object{"statusCode": 200},
		})
	}
	for _, c := range []struct {
		method, path string
		body         any
		kind         events.ChangeType
		action       events.ChangeAction
	}{
		{"patch", "/api/v2/users/auth0%7C5b9e1f04", object{"password": "*****"}, events.CredentialChange, events.Reset},
		{"patch", "/api/v2/users/auth0|5b9e1f04", object{"blocked": true}, events.LifecycleChange, events.Disabled},
		{"patch", "/api/v2/users/auth0|5b9e1f04", object{"blocked": false}, events.LifecycleChange, events.Enabled},
		{"patch", "/api/v2/users/auth0|5b9e1f04", object{"email": "x@example.com"}, events.RecoveryChange, events.Updated},
		{"delete", "/api/v2/users/auth0|5b9e1f04", nil, events.LifecycleChange, events.Removed},
		{"post", "/api/v2/users/auth0|5b9e1f04/roles", object{"roles": []any{"rol_1"}}, events.RoleChange, events.Added},
		{"delete", "/api/v2/users/auth0|5b9e1f04/roles", nil, events.RoleChange, events.Removed},
		{"post", "/api/v2/users/auth0|5b9e1f04/authentication-methods", nil, events.MethodChange, events.Added},
		{"delete", "/api/v2/users/auth0|5b9e1f04/authentication-methods", nil, events.MethodChange, events.Reset},
		{"delete", "/api/v2/users/auth0|5b9e1f04/authentication-methods/phone|1", nil, events.MethodChange, events.Removed},
		{"delete", "/api/v2/users/auth0|5b9e1f04/multifactor/guardian", nil, events.MethodChange, events.Removed},
	} {
		e := one(t, request(c.method, c.path, c.body))
		want := events.Change{Type: c.kind, Action: c.action, Actor: events.Ref{ID: admin, Name: "admin@example.com"}}
		if diff := cmp.Diff(want, e.Change); diff != "" || e.User.ID != userID || e.User.Name != "" {
			t.Errorf("%s %s: %+v %s", c.method, c.path, e.User, diff)
		}
	}
	if e := one(t, request("delete", "/api/v2/users/auth0|5b9e1f04/sessions", nil)); e.Kind != events.SignOut || e.Session != (events.Session{}) || e.User.ID != userID {
		t.Errorf("%q %+v %+v", e.Kind, e.User, e.Session)
	}
	skipped(t, "category", request("patch", "/api/v2/users/auth0|5b9e1f04", object{"user_metadata": object{}}))
	skipped(t, "category", request("get", "/api/v2/users/auth0|5b9e1f04", nil))
	skipped(t, "category", request("delete", "/api/v2/users/", nil))
	skipped(t, "category", request("delete", "/api/v2/users/%zz", nil))
	skipped(t, "category", request("post", "/api/v2/clients", nil))
	skipped(t, "category", strings.Replace(request("delete", "/api/v2/users/auth0|5b9e1f04", nil), `"statusCode":200`, `"statusCode":403`, 1))
}

// Every rule gives a valid event for an ordinary record.
func TestEveryTypeGivesAValidEvent(t *testing.T) {
	for kind, r := range types {
		if e := one(t, typed(t, kind)); e.Kind != r.kind || e.Source.Category != kind || e.Outcome != r.outcome {
			t.Errorf("%s: %q %q", kind, e.Kind, e.Outcome)
		}
	}
}

func FuzzLogs(f *testing.F) {
	f.Add(stream(f, nil))
	f.Add(bare(f, nil))
	f.Add("[" + typed(f, "ferrt") + ",5]")
	f.Add(typed(f, "gd_auth_succeed", "details", object{"authenticator": object{"type": "otp"}}))
	f.Add(`{"type":"sapi","log_id":"1","date":"2026-03-04","details":{"request":{"method":"patch","path":"/api/v2/users/a|b","body":{"password":1}},"response":{"statusCode":200}}}`)
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
			if e.Auth.Strength != "" && (e.Outcome != events.Success || e.Interactive != events.Yes) {
				t.Errorf("%q proves something: %+v", e.Outcome, e.Auth)
			}
			if e.Source.Category == "fu" && e.User.Type != events.Unresolved {
				t.Errorf("a user whom nobody knows: %+v", e.User)
			}
			if e.Tenant == "" {
				e.Tenant = "example"
			}
			if e.Clean(); e.Validate() == nil {
				if _, err := events.Decode(events.Encode(e)); err != nil {
					t.Errorf("an event that cannot be read back: %v", err)
				}
			}
		}
	})
}
