package keycloak

import (
	"encoding/json"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCauses(t *testing.T) {
	for _, c := range []struct {
		kind, failure, credential string
		outcome                   events.Outcome
		want                      events.Cause
	}{
		{"LOGIN_ERROR", "invalid_user_credentials", "", events.Failure, events.BadPassword},
		{"LOGIN_ERROR", "invalid_user_credentials", "password", events.Failure, events.BadPassword},
		{"LOGIN_ERROR", "invalid_user_credentials", "otp", events.Failure, events.BadCode},
		{"LOGIN_ERROR", "invalid_user_credentials", "recovery-authn-codes", events.Failure, events.BadCode},
		{"LOGIN_ERROR", "invalid_user_credentials", "webauthn", events.Failure, events.OtherCause},
		{"LOGIN_ERROR", "user_not_found", "", events.Failure, events.UnknownUser},
		{"LOGIN_ERROR", "user_disabled", "", events.Blocked, events.AccountDisabled},
		{"LOGIN_ERROR", "user_temporarily_disabled", "", events.Blocked, events.AccountLocked},
		{"LOGIN_ERROR", "user_temporarily_disabled", "otp", events.Blocked, events.AccountLocked},
		{"LOGIN_ERROR", "user_permanently_disabled", "", events.Blocked, events.AccountLocked},
		{"LOGIN_ERROR", "access_denied", "", events.Blocked, events.PolicyBlock},
		{"LOGIN_ERROR", "ssl_required", "", events.Blocked, events.PolicyBlock},
		{"LOGIN_ERROR", "rejected_by_user", "", events.Failure, events.OtherCause},
		{"LOGIN_ERROR", "invalid_redirect_uri", "", events.Failure, events.OtherCause},
		{"LOGIN_ERROR", "an_error_of_next_year", "", events.Failure, events.OtherCause},
		{"LOGIN_ERROR", "", "", events.Failure, ""}, // it does not say
		{"LOGIN_ERROR", "expired_code", "", events.Interrupt, ""},
		{"REFRESH_TOKEN_ERROR", "invalid_token", "", events.Failure, events.OtherCause},
		{"REFRESH_TOKEN_ERROR", "session_expired", "", events.Failure, events.OtherCause},
		{"CODE_TO_TOKEN_ERROR", "invalid_code", "", events.Failure, events.OtherCause},
		{"CLIENT_LOGIN_ERROR", "invalid_client_credentials", "", events.Failure, events.OtherCause},
		{"LOGIN", "", "otp", events.Success, ""},
	} {
		raw, err := json.Marshal(map[string]any{
			"id": "e-1", "time": 1772612135123, "type": c.kind, "realmId": "prod", "clientId": "web", "userId": "u-1", "ipAddress": "192.0.2.60",
			"error": c.failure, "details": map[string]string{"username": "pat", "credential_type": c.credential, "code_id": "c-1"},
		})
		if err != nil {
			t.Fatal(err)
		}
		e := one(t, string(raw))
		if e.Outcome != c.outcome || e.Cause != c.want || e.Correlation != "c-1" || e.Session.Token != "" {
			t.Errorf("%s %s %s: %q, cause %q, want %q, %q; flow %q, token %q", c.kind, c.failure, c.credential, e.Outcome, e.Cause, c.outcome, c.want, e.Correlation, e.Session.Token)
		}
	}
}
