package cloudtrail_test

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCauses(t *testing.T) {
	t.Parallel()
	failed := func(message, mfa, identifier string) func(object) {
		return func(r object) {
			r["responseElements"], r["errorMessage"] = object{"ConsoleLogin": "Failure"}, message
			r["additionalEventData"] = object{"LoginTo": console, "MFAUsed": mfa, "MFAIdentifier": identifier}
		}
	}
	hidden := func(r object) {
		failed("No username found in supplied account", "No", "")(r)
		r["userIdentity"] = object{"type": "IAMUser", "accountId": account, "userName": "HIDDEN_DUE_TO_SECURITY_REASONS"}
	}
	federated := func(r object) {
		failed("Failed authentication", "No", "")(r)
		r["userIdentity"] = object{"type": "AssumedRole", "principalId": "AROAEXAMPLE:pat", "accountId": account}
	}
	answer := func(credential, result string) func(object) {
		return center("signin", "CredentialVerification", object{"CredentialType": credential, "AuthWorkflowID": "9de74b32"}, object{"CredentialVerification": result})
	}
	refused := func(source, name, code string) func(object) {
		return func(r object) {
			call(source, name, object{"type": "SAMLUser", "principalId": "x:pat", "userName": "pat"}, object{}, nil)(r)
			r["errorCode"], r["errorMessage"] = code, "because"
		}
	}
	for name, c := range map[string]struct {
		change func(object)
		want   events.Cause
	}{
		"success":              {nil, ""},
		"wrong password":       {failed("Failed authentication", "No", ""), events.BadPassword},
		"wrong code":           {failed("Failed authentication", "Yes", "arn:aws:iam::111122223333:mfa/pat"), events.BadCode},
		"a key":                {failed("Failed authentication", "Yes", "arn:aws:iam::111122223333:u2f/user/pat/default"), events.OtherCause},
		"nobody":               {hidden, events.UnknownUser},
		"federated":            {federated, events.OtherCause},
		"center, password":     {answer("PASSWORD", "Failure"), events.BadPassword},
		"center, code":         {answer("TOTP", "Failure"), events.BadCode},
		"center, mail":         {answer("EMAIL_OTP", "Failure"), events.BadCode},
		"center, key":          {answer("WEBAUTHN", "Failure"), events.OtherCause},
		"center, not said":     {answer("SOMETHING_NEW", "Failure"), ""},
		"center, right":        {answer("PASSWORD", "Success"), ""},
		"a policy":             {refused("sts", "AssumeRoleWithSAML", "AccessDenied"), events.PolicyBlock},
		"an assertion too old": {refused("sts", "AssumeRoleWithSAML", "ExpiredTokenException"), events.OtherCause},
	} {
		if e := one(t, c.change); e.Cause != c.want {
			t.Errorf("%s: %q, cause %q, want %q", name, e.Outcome, e.Cause, c.want)
		}
	}
	if e := one(t, answer("PASSWORD", "Success")); e.Correlation != "9de74b32" {
		t.Errorf("flow %q", e.Correlation)
	}
}
