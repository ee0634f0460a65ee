package okta

import (
	"slices"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCauses(t *testing.T) {
	const mfa, start, fail = "user.authentication.auth_via_mfa", "user.session.start", "FAILURE"
	type debugData = object
	for name, c := range map[string]struct {
		eventType, result, reason string
		debug                     debugData
		want                      events.Cause
	}{
		"wrong password":                  {start, fail, "INVALID_CREDENTIALS", nil, events.BadPassword},
		"locked":                          {start, fail, "LOCKED_OUT", nil, events.AccountLocked},
		"expired":                         {start, fail, "PASSWORD_EXPIRED", nil, events.Expired},
		"suspended":                       {start, fail, "SUSPENDED", nil, events.AccountDisabled},
		"a zone that is kept out":         {start, fail, "NETWORK_ZONE_BLACKLIST", nil, events.PolicyBlock},
		"not said":                        {start, fail, "VERIFICATION_ERROR", nil, ""},
		"not at all":                      {start, fail, "", nil, ""},
		"a success":                       {start, "SUCCESS", "", nil, ""},
		"the password as a factor":        {mfa, fail, "INVALID_CREDENTIALS", debugData{"factor": "PASSWORD_AS_FACTOR"}, events.BadPassword},
		"a security question":             {mfa, fail, "INVALID_CREDENTIALS", debugData{"factor": "SECURITY_QUESTION"}, events.BadPassword},
		"wrong code":                      {mfa, fail, "INVALID_CREDENTIALS", debugData{"factor": "OKTA_SOFT_TOKEN"}, events.BadCode},
		"wrong code by text message":      {mfa, fail, "INVALID_CREDENTIALS", debugData{"factor": "SMS_FACTOR"}, events.BadCode},
		"denied":                          {mfa, fail, "INVALID_CREDENTIALS", debugData{"factor": "OKTA_VERIFY_PUSH", "pushOnlyResponseType": "OV_RESPONSE_DENY"}, events.MFARefused},
		"rejected":                        {mfa, fail, "User rejected Okta push verify", debugData{"factor": "OKTA_VERIFY_PUSH"}, events.MFARefused},
		"not answered":                    {mfa, fail, "Push timed out", debugData{"factor": "OKTA_VERIFY_PUSH"}, events.MFATimeout},
		"a prompt, and no word why":       {mfa, fail, "INVALID_CREDENTIALS", debugData{"factor": "OKTA_VERIFY_PUSH"}, events.MFARefused},
		"the phone is broken":             {mfa, fail, "INVALID_CREDENTIALS", debugData{"factor": "OKTA_VERIFY_PUSH", "pushOnlyResponseType": "OV_RESPONSE_ERROR"}, events.OtherCause},
		"a key":                           {mfa, fail, "INVALID_CREDENTIALS", debugData{"factor": "FIDO_WEBAUTHN"}, events.OtherCause},
		"locked at the second factor":     {mfa, fail, "LOCKED_OUT", debugData{"factor": "OKTA_SOFT_TOKEN"}, events.AccountLocked},
		"denied, Classic":                 {"user.mfa.okta_verify.deny_push", "SUCCESS", "", nil, events.MFARefused},
		"the directory's password":        {"user.authentication.auth_via_AD_agent", fail, "", nil, ""},
		"the directory's agent":           {"user.authentication.auth_via_AD_agent", fail, "AGENT_NOT_AVAILABLE", nil, events.OtherCause},
		"somebody else's word":            {"user.authentication.auth_via_IDP", fail, "Unable to validate incoming SAML Assertion", nil, events.OtherCause},
		"a policy":                        {"policy.evaluate_sign_on", "DENY", "Sign-on policy evaluation resulted in DENY", nil, events.PolicyBlock},
		"a policy that asks":              {"policy.evaluate_sign_on", "CHALLENGE", "", nil, ""},
		"barred":                          {"application.policy.sign_on.deny_access", fail, "", nil, events.PolicyBlock},
		"a token that is over":            {"app.oauth2.token.grant", fail, "invalid_grant", debugData{"grantType": "refresh_token"}, events.OtherCause},
		"the password for a token":        {"app.oauth2.token.grant", fail, "INVALID_CREDENTIALS", debugData{"grantType": "password"}, events.BadPassword},
		"a token that came again":         {"app.oauth2.token.detect_reuse", fail, "", nil, events.OtherCause},
		"an application nobody is let in": {"user.authentication.sso", fail, "User is not assigned to the client application", nil, events.OtherCause},
		"the wrong number on the other screen": {mfa, fail, "INVALID_CREDENTIALS", debugData{
			"factor": "OKTA_VERIFY_PUSH", "pushOnlyResponseType": "OV_RESPONSE_APPROVE", "pushWithNumberChallengeResponseType": "OV_WITH_CHALLENGE_RESPONSE_ERROR",
		}, events.MFARefused},
	} {
		e := one(t, typed(t, c.eventType, "outcome", object{"result": c.result, "reason": c.reason}, "debugContext.debugData", c.debug))
		if e.Cause != c.want {
			t.Errorf("%s: outcome %q, cause %q, want %q", name, e.Outcome, e.Cause, c.want)
		}
	}
}

func TestT24_ANameThatNobodyHas(t *testing.T) {
	for _, reason := range []string{"VERIFICATION_ERROR", "INVALID_CREDENTIALS", ""} {
		e := one(t, typed(t, "user.session.start", "actor", object{"id": "unknown", "type": "User", "alternateId": "guess@example.com"},
			"outcome", object{"result": "FAILURE", "reason": reason}))
		if e.User.Type != events.Unresolved || e.Cause != events.UnknownUser {
			t.Errorf("%q: user %+v, cause %q", reason, e.User, e.Cause)
		}
	}
}

func TestTheFlowIsTheRequestThatBeganIt(t *testing.T) {
	first := one(t, typed(t, "user.session.start", "transaction.id", "tx-1"))
	then := one(t, typed(t, "user.authentication.auth_via_mfa", "transaction.id", "tx-2", "debugContext.debugData.authnRequestId", "tx-1"))
	if first.Correlation != "tx-1" || then.Correlation != "tx-1" {
		t.Errorf("flows %q and %q", first.Correlation, then.Correlation)
	}
	if first.Session.Token != "" {
		t.Errorf("a request is no token: %q", first.Session.Token)
	}
}

func TestANumberThatMatched(t *testing.T) {
	e := one(t, typed(t, "user.authentication.auth_via_mfa", "debugContext.debugData", object{
		"factor": "OKTA_VERIFY_PUSH", "pushOnlyResponseType": "OV_RESPONSE_APPROVE", "pushWithNumberChallengeResponseType": "OV_WITH_CHALLENGE_RESPONSE_VALID",
	}))
	if !slices.Equal(e.Auth.Methods, []string{"push_number_match"}) || e.Auth.Strength != events.MultiFactor {
		t.Errorf("%+v", e.Auth)
	}
}

func TestWhoUsesTheConsoleOfAdministrators(t *testing.T) {
	if e := one(t, typed(t, "user.session.access_admin_app")); e.User.Privileged != events.Yes {
		t.Errorf("%+v", e.User)
	}
	if e := one(t, typed(t, "user.session.access_admin_app", "outcome.result", "FAILURE")); e.User.Privileged != events.Unknown {
		t.Errorf("who was not let in: %+v", e.User)
	}
}

func TestAUserWhoReportsASignIn(t *testing.T) {
	e := one(t, typed(t, "user.account.report_suspicious_activity_by_enduser"))
	if !slices.Equal(e.Risk.Detections, []string{"user.account.report_suspicious_activity_by_enduser"}) {
		t.Errorf("%q", e.Risk.Detections)
	}
}
