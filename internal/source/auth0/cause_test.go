package auth0

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCauses(t *testing.T) {
	for _, c := range []struct {
		kind, description string
		details           any
		outcome           events.Outcome
		want              events.Cause
	}{
		{"fp", "Wrong email or password.", nil, events.Failure, events.BadPassword},
		{"fu", "", nil, events.Failure, events.UnknownUser},
		{"f", "Callback URL mismatch", nil, events.Failure, events.OtherCause},
		{"f", "user is blocked", nil, events.Failure, events.AccountDisabled},
		{"f", "", nil, events.Failure, events.OtherCause},
		{"limit_wc", "", nil, events.Blocked, events.AccountLocked},
		{"limit_sul", "", nil, events.Blocked, events.AccountLocked},
		{"limit_mu", "", nil, events.Blocked, events.PolicyBlock},
		{"pwd_leak", "", nil, events.Blocked, events.PolicyBlock},
		{"fepft", "Wrong email or password.", nil, events.Failure, events.BadPassword},
		{"fepft", "", nil, events.Failure, ""}, // a password was handed in, and nobody says more
		{"fepotpft", "", nil, events.Failure, events.BadCode},
		{"gd_auth_failed", "", nil, events.Failure, events.BadCode},
		{"gd_auth_failed", "", object{"authenticator": "sms"}, events.Failure, events.BadCode},
		{"gd_auth_failed", "", object{"authenticator": object{"type": "push-notification"}}, events.Failure, events.MFARefused},
		{"gd_auth_failed", "", object{"authenticator": "webauthn-roaming"}, events.Failure, events.OtherCause},
		{"gd_auth_rejected", "", nil, events.Failure, events.MFARefused},
		{"gd_recovery_failed", "", nil, events.Failure, events.BadCode},
		{"gd_otp_rate_limit_exceed", "", nil, events.Blocked, events.AccountLocked},
		{"feoobft", "The user rejected the push", nil, events.Failure, events.MFARefused},
		{"feoobft", "", nil, events.Failure, events.MFARefused},
		{"feoobft", "authorization_pending", nil, events.Interrupt, ""},
		{"feotpft", "Invalid otp_code.", nil, events.Failure, events.BadCode},
		{"ferrt", "Unsuccessful Refresh Token exchange, reused refresh token detected", nil, events.Failure, events.OtherCause},
		{"fertft", "Unknown or invalid refresh token.", nil, events.Failure, events.OtherCause},
		{"feccft", "Unauthorized", nil, events.Failure, events.OtherCause},
		{"fsa", "Login required", nil, events.Interrupt, ""},
		{"mfar", "", nil, events.Challenge, ""},
		{"s", "", nil, events.Success, ""},
	} {
		e := one(t, typed(t, c.kind, "description", c.description, "details", c.details))
		if e.Outcome != c.outcome || e.Cause != c.want {
			t.Errorf("%s %q: %q, cause %q; want %q, %q", c.kind, c.description, e.Outcome, e.Cause, c.outcome, c.want)
		}
	}
}

// A poll for the answer to a prompt is no refusal, however often it comes.
func TestPollsAreNoRefusals(t *testing.T) {
	for _, description := range []string{"authorization_pending", "Authorization pending: please repeat the request in a few seconds.", "slow_down"} {
		if e := one(t, typed(t, "feoobft", "description", description)); e.Outcome != events.Interrupt || e.Auth.MFA != "" || e.Cause != "" {
			t.Errorf("%q: %q %q %q", description, e.Outcome, e.Auth.MFA, e.Cause)
		}
	}
}

// Every type of failure has a cause, but for one of which only the description could tell.
func TestEveryFailureHasACause(t *testing.T) {
	for kind, rule := range types {
		if rule.kind != events.SignIn || kind == passwordGrant {
			continue
		}
		e := one(t, typed(t, kind))
		if failed := e.Outcome == events.Failure || e.Outcome == events.Blocked; failed != (e.Cause != "") {
			t.Errorf("%s: %q, cause %q", kind, e.Outcome, e.Cause)
		}
	}
	for kind := range causes {
		if rule, known := types[kind]; !known || rule.outcome != events.Failure && rule.outcome != events.Blocked {
			t.Errorf("%s is no failure", kind)
		}
	}
}
