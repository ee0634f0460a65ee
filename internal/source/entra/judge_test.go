package entra

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

func TestT12_EmptyDetailsOfGoodMFA(t *testing.T) {
	e := hub(t, func(_, p object) {
		p["authenticationDetails"], p["mfaDetail"], p["authenticationRequirement"] = steps(), object{}, "multiFactorAuthentication"
	})
	if e.Auth.MFA != "" || e.Auth.Strength != events.MultiFactor {
		t.Errorf("%+v: how it was satisfied is unknown, that it was is not", e.Auth)
	}
	e = hub(t, func(_, p object) {
		p["mfaDetail"], p["authenticationDetails"] = nil, steps("Password|true|Primary authentication", "Mobile app notification|true|MFA")
	})
	if diff := cmp.Diff(events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "push"}}, e.Auth); diff != "" {
		t.Error(diff)
	}
}

func TestT14_EnumsOfAnyCaseAndNewerOnes(t *testing.T) {
	e := hub(t, func(r, p object) {
		r["category"], p["authenticationProtocol"], p["authenticationRequirement"] = "SigninLogs", "unknownFutureValue", "MultiFactorAuthentication"
		p["incomingTokenType"], p["userType"] = "somethingNew", "member"
	})
	if e.Source.Category != "SignInLogs" || e.Auth.Protocol != "" || e.Auth.Strength != events.MultiFactor {
		t.Errorf("%+v %+v", e.Source, e.Auth)
	}
	if e := hub(t, property("authenticationProtocol", "nativeAuth")); e.Auth.Protocol != "nativeauth" {
		t.Errorf("protocol %q", e.Auth.Protocol)
	}
	if e := hub(t, property("originalTransferMethod", "deviceCodeFlow")); e.Auth.Protocol != "devicecode" {
		t.Errorf("protocol %q", e.Auth.Protocol)
	}
	if e := hub(t, property("clientAppUsed", "Authenticated SMTP")); e.Auth.Protocol != "authenticated smtp" {
		t.Errorf("protocol %q", e.Auth.Protocol)
	}
}

func TestT31_OutcomeClasses(t *testing.T) {
	for code, want := range map[int]events.Outcome{
		0: events.Success, 50140: events.Interrupt, 50058: events.Interrupt, 50074: events.Interrupt, 50126: events.Failure,
		53003: events.Blocked, 50053: events.Blocked, 50173: events.Failure, 70043: events.Failure, 999999: events.Failure,
	} {
		e := hub(t, property("status", object{"errorCode": code, "failureReason": "Because."}))
		if e.Outcome != want || e.Code != fmt.Sprint(code) {
			t.Errorf("%d: %q with code %q, want %q", code, e.Outcome, e.Code, want)
		}
		if want == events.Success && e.Reason != "" || want != events.Success && (e.Reason != "Because." || e.Auth.Strength != "") {
			t.Errorf("%d: reason %q, strength %q", code, e.Reason, e.Auth.Strength)
		}
	}
	e := hub(t, func(_, p object) {
		p["status"] = object{"errorCode": 50074}
		p["authenticationDetails"] = steps("Password|true|Primary authentication", "Text message|false|MFA|Authentication failed")
	})
	if e.Outcome != events.Failure || e.Auth.MFA != events.MFAFailed {
		t.Errorf("50074 with a failed step: %q, MFA %q", e.Outcome, e.Auth.MFA)
	}
}

func TestT32_RevokedSessionIsAFailureWithItsCode(t *testing.T) {
	e := hub(t, property("status", object{"errorCode": 50173}))
	if e.Outcome != events.Failure || e.Code != "50173" {
		t.Errorf("%q %q: the code must stay, so that the echo of our own revocation can be told", e.Outcome, e.Code)
	}
}

func TestT33_ClaimIsNotAFreshMFA(t *testing.T) {
	details := func(text string, requirement string, list ...string) events.Auth {
		return hub(t, func(_, p object) {
			p["status"] = object{"errorCode": 0, "additionalDetails": text}
			p["authenticationDetails"], p["authenticationRequirement"] = steps(list...), requirement
		}).Auth
	}
	const multi = "multiFactorAuthentication"
	for name, c := range map[string]struct{ got, want events.Auth }{
		"claim in prose":   {details("MFA requirement satisfied by claim in the token", multi), events.Auth{MFA: events.MFAByClaim, Strength: events.MultiFactor}},
		"claim in a step":  {details("", multi, "Previously satisfied|true|Primary authentication", "Previously satisfied|true|MFA"), events.Auth{MFA: events.MFAByClaim, Strength: events.MultiFactor}},
		"performed, prose": {details("MFA completed in Azure AD", multi), events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor}},
		"steps over prose": {details("MFA requirement satisfied by claim in the token", multi, "Password|true|Primary authentication", "OATH verification code|true|MFA"), events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "otp"}}},
		"second try":       {details("", multi, "Text message|false|MFA|Wrong code", "Text message|true|MFA"), events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"sms"}}},
		"unknown prose":    {details("A text of next year", multi), events.Auth{Strength: events.MultiFactor}},
		"password only":    {details("", "singleFactorAuthentication", "Password|true|Primary authentication"), events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: []string{"password"}}},
		"key":              {details("", multi, "FIDO2 security key|true|Primary authentication"), events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, Methods: []string{"fido2"}}},
		"hello":            {details("", "singleFactorAuthentication", "Windows Hello for Business|true|Primary authentication"), events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, Methods: []string{"windows_hello"}}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	denial := hub(t, func(_, p object) {
		p["status"] = object{"errorCode": 500121, "failureReason": "Authentication failed during strong authentication request.", "additionalDetails": "MFA denied; user declined the authentication"}
	})
	if denial.Auth.MFA != events.MFADenied || denial.Outcome != events.Failure {
		t.Errorf("denied: %+v %q", denial.Auth, denial.Outcome)
	}
}
