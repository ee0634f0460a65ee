package ocsf

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCauses(t *testing.T) {
	t.Parallel()
	failed := func(changes ...func(object)) func(object) { return all(append(changes, set("status_id", 2))...) }
	for name, c := range map[string]struct {
		change func(object)
		want   events.Cause
	}{
		"success":                {set("status_id", 1), ""},
		"not said":               {failed(set("status_code", nil), set("status_detail", nil), set("message", nil)), ""},
		"detail":                 {failed(set("status_detail", "INVALID_CREDENTIALS")), events.BadPassword},
		"nobody":                 {failed(set("status_detail", "USER_DOES_NOT_EXIST")), events.UnknownUser},
		"locked":                 {failed(set("status_detail", "ACCOUNT_LOCKED_OUT")), events.AccountLocked},
		"disabled":               {failed(set("status_detail", "ACCOUNT_DISABLED")), events.AccountDisabled},
		"expired":                {failed(set("status_detail", "PASSWORD_EXPIRED")), events.Expired},
		"Entra's code":           {failed(set("status_code", 50126)), events.BadPassword},
		"Entra's policy":         {failed(set("status_code", "53003")), events.PolicyBlock},
		"Windows' code":          {failed(set("status_code", "0xC000006A")), events.BadPassword},
		"Windows' other code":    {failed(set("status_code", "0xc0000234")), events.AccountLocked},
		"a code of others":       {failed(set("status_code", "17")), ""},
		"a policy":               {failed(set("action_id", 2)), events.PolicyBlock},
		"a wrong code":           {failed(kinds(7), set("is_mfa", true)), events.BadCode},
		"a wrong code, in prose": {failed(kinds(7), set("is_mfa", true), set("status_detail", "INVALID_CREDENTIALS")), events.BadCode},
		"a prompt":               {failed(kinds(5), set("is_mfa", true), set("message", "Push rejected by user")), events.MFARefused},
		"a prompt's end":         {failed(kinds(5), set("is_mfa", true), set("message", "Push timed out")), events.MFATimeout},
		"a ticket":               {failed(as(5)), events.OtherCause},
		"a token":                {failed(set("authentication_token", object{"type_id": 4})), events.OtherCause},
	} {
		if e := signIn(t, c.change); e.Cause != c.want {
			t.Errorf("%s: %q, cause %q, want %q", name, e.Outcome, e.Cause, c.want)
		}
	}
	if e := signIn(t, failed(set("status_code", 50074))); e.Outcome != events.Interrupt || e.Cause != "" {
		t.Errorf("a step of Entra's: %q, cause %q", e.Outcome, e.Cause)
	}
	if e := signIn(t, set("metadata.correlation_uid", "f-1")); e.Correlation != "f-1" {
		t.Errorf("flow %q", e.Correlation)
	}
}
