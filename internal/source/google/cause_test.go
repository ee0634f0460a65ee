package google_test

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCauses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind    string
		methods []string
		outcome events.Outcome
		want    events.Cause
	}{
		{"login_failure_invalid_password", []string{"password"}, events.Failure, events.BadPassword},
		{"login_failure_account_disabled", nil, events.Blocked, events.AccountDisabled},
		{"login_failure_access_code_disallowed", nil, events.Failure, events.PolicyBlock},
		{"login_failure_invalid_second_factor", nil, events.Failure, events.BadCode},
		{"login_failure_invalid_second_factor", []string{"password", "google_prompt"}, events.Failure, events.MFARefused},
		{"login_failure_unknown", []string{"password", "google_authenticator"}, events.Failure, events.BadCode},
		{"login_failure_unknown", []string{"password", "google_prompt"}, events.Failure, events.MFARefused},
		{"login_failure_unknown", []string{"password", "security_key"}, events.Failure, events.OtherCause},
		{"login_failure_unknown", []string{"saml"}, events.Failure, events.OtherCause},
		{"login_failure_unknown", []string{"password"}, events.Failure, ""}, // it does not say
		{"", nil, events.Failure, ""},
	} {
		e := one(t, "login", happening("login_failure", "login_failure_type", c.kind, "login_challenge_method", c.methods))
		if e.Outcome != c.outcome || e.Cause != c.want {
			t.Errorf("%s %v: %q, cause %q; want %q, %q", c.kind, c.methods, e.Outcome, e.Cause, c.outcome, c.want)
		}
	}
	for kind, want := range map[string]events.Cause{
		"failure_app_not_configured_for_user": events.PolicyBlock, "failure_app_not_enabled_for_user": events.PolicyBlock,
		"failure_malformed_request": events.OtherCause, "": events.OtherCause,
	} {
		if e := one(t, "saml", happening("login_failure", "failure_type", kind)); e.Cause != want {
			t.Errorf("SAML, %s: cause %q, want %q", kind, e.Cause, want)
		}
	}
	for _, h := range []object{
		happening("login_success"), happening("login_challenge", "login_challenge_status", "Challenge Failed."),
	} {
		if e := one(t, "login", h); e.Cause != "" {
			t.Errorf("%v: %q, cause %q", h["name"], e.Outcome, e.Cause)
		}
	}
}
