package entra

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCausesOfCodes(t *testing.T) {
	for codes, want := range map[string]meaning{
		"0":                               {events.Success, ""},
		"50058 50072 50074 50076":         {events.Interrupt, ""},
		"50140 65001 16000 50135":         {events.Interrupt, ""},
		"50126 50056 50064":               {events.Failure, events.BadPassword},
		"50034 51004":                     {events.Failure, events.UnknownUser},
		"50053":                           {events.Blocked, events.AccountLocked},
		"50057":                           {events.Blocked, events.AccountDisabled},
		"50055 50144":                     {events.Failure, events.Expired},
		"53000 53003 53011 530035 530999": {events.Blocked, events.PolicyBlock},
		"50105 50131 500022 500212 80012": {events.Blocked, events.PolicyBlock},
		"500121":                          {events.Failure, ""},
		// None of these is a wrong password: wrong tenants, dead tokens, clients that are not registered, and what is not known.
		"50020 50173 70008 70043 700082 700016 7000215 54005 9002313 65004 50087 999999": {events.Failure, events.OtherCause},
	} {
		for code := range strings.FieldsSeq(codes) {
			e := hub(t, property("status", object{"errorCode": code, "failureReason": "Because."}))
			if e.Outcome != want.outcome || e.Cause != want.cause {
				t.Errorf("%s: %q, cause %q; want %q, %q", code, e.Outcome, e.Cause, want.outcome, want.cause)
			}
		}
	}
	none := hub(t, func(r, p object) { r["resultType"], p["status"] = "", object{} })
	if none.Outcome != "" || none.Cause != "" {
		t.Errorf("no code: %q, cause %q", none.Outcome, none.Cause)
	}
}

func TestALockedAccountIsNotABlockedAddress(t *testing.T) {
	for reason, want := range map[string]events.Cause{
		"The account is locked, you've tried to sign in too many times with an incorrect user ID or password.": events.AccountLocked,
		"Sign-in was blocked because it came from an IP address with malicious activity.":                      events.PolicyBlock,
		"": events.AccountLocked,
	} {
		e := hub(t, property("status", object{"errorCode": 50053, "failureReason": reason}))
		if e.Outcome != events.Blocked || e.Cause != want {
			t.Errorf("%q: %q, cause %q, want %q", reason, e.Outcome, e.Cause, want)
		}
	}
}

func TestCausesOfSecondFactors(t *testing.T) {
	for _, c := range []struct {
		method, detail string
		want           events.Cause
		mfa            events.MFA
	}{
		{"Mobile app notification", "MFA denied; user declined the authentication", events.MFARefused, events.MFADenied},
		{"Mobile app notification", "MFA denied; user did not respond to mobile app notification", events.MFATimeout, events.MFAFailed},
		{"Mobile app notification", "MFA denied; user didn't respond to mobile app notification", events.MFATimeout, events.MFAFailed},
		{"Mobile app notification", "MFA denied; duplicate authentication attempt", events.MFATimeout, events.MFAFailed},
		{"Mobile app notification", "User did not select the correct number", events.MFARefused, events.MFADenied},
		{"Mobile app notification", "MFA denied; unable to send the mobile app notification", events.OtherCause, events.MFAFailed},
		{"Mobile app notification", "", events.MFARefused, events.MFAFailed},
		{"Text message", "MFA denied; user entered incorrect code", events.BadCode, events.MFAFailed},
		{"Text message", "MFA denied; user never entered the verification code", events.MFATimeout, events.MFAFailed},
		{"Text message", "MFA denied; user is blocked", events.AccountLocked, events.MFAFailed},
		{"OATH verification code", "MFA denied; verification code already used once", events.BadCode, events.MFAFailed},
		{"OATH verification code", "A text of next year", events.BadCode, events.MFAFailed},
		{"Phone call approval", "MFA denied; phone call went to voicemail", events.MFATimeout, events.MFAFailed},
		{"Phone call approval", "MFA denied; user hung up the phone call without succeeding the authentication", events.MFARefused, events.MFADenied},
		{"FIDO2 security key", "", events.OtherCause, events.MFAFailed},
		{"Text message", "MFA denied; service error", events.OtherCause, events.MFAFailed},
	} {
		for code, way := range map[int]string{500121: "the factor's own code", 50074: "an interrupt whose step failed"} {
			e := hub(t, func(_, p object) {
				p["status"] = object{"errorCode": code, "failureReason": "Authentication failed during strong authentication request."}
				p["authenticationDetails"] = steps("Password|true|Primary authentication", c.method+"|false|MFA|"+c.detail)
			})
			if e.Outcome != events.Failure || e.Cause != c.want || e.Auth.MFA != c.mfa {
				t.Errorf("%s, %s, %q: %q, cause %q, MFA %q; want cause %q, MFA %q", way, c.method, c.detail, e.Outcome, e.Cause, e.Auth.MFA, c.want, c.mfa)
			}
		}
	}
	prose := hub(t, property("status", object{"errorCode": 500121, "additionalDetails": "MFA denied; user did not respond to mobile app notification"}))
	if prose.Cause != events.MFATimeout || prose.Auth.MFA != events.MFAFailed {
		t.Errorf("without steps: cause %q, MFA %q", prose.Cause, prose.Auth.MFA)
	}
	silent := hub(t, property("status", object{"errorCode": 500121}))
	if silent.Cause != "" || silent.Auth.MFA != events.MFAFailed {
		t.Errorf("nothing said: cause %q, MFA %q", silent.Cause, silent.Auth.MFA)
	}
}

func TestAFactorThatIsStillAwaitedHasNotFailed(t *testing.T) {
	e := hub(t, func(_, p object) {
		p["status"] = object{"errorCode": 50074}
		p["authenticationDetails"] = steps("Password|true|Primary authentication", "Mobile app notification|false|MFA|Authentication in progress")
	})
	if e.Outcome != events.Interrupt || e.Cause != "" || e.Auth.MFA != "" {
		t.Errorf("%q, cause %q, MFA %q", e.Outcome, e.Cause, e.Auth.MFA)
	}
}

func TestAReportOfFraud(t *testing.T) {
	e := hub(t, func(_, p object) {
		p["status"] = object{"errorCode": 500121, "additionalDetails": "MFA denied; Phone App Reported Fraud"}
	})
	if e.Cause != events.MFARefused || !slices.Contains(e.Risk.Detections, "fraud") {
		t.Errorf("cause %q, detections %q", e.Cause, e.Risk.Detections)
	}
	if e := hub(t, property("status", object{"errorCode": 500121})); slices.Contains(e.Risk.Detections, "fraud") {
		t.Errorf("nobody said so: %q", e.Risk.Detections)
	}
}

func TestAPolicyThatBlocksIsNoFailedFactor(t *testing.T) {
	e := hub(t, func(_, p object) {
		p["status"] = object{"errorCode": 53003}
		p["authenticationDetails"] = steps("Password|true|Primary authentication", "Text message|false|MFA|MFA denied; user entered incorrect code")
	})
	if e.Outcome != events.Blocked || e.Cause != events.PolicyBlock {
		t.Errorf("%q, cause %q", e.Outcome, e.Cause)
	}
}

func TestLegacyClientsAreProtocols(t *testing.T) {
	for client, want := range map[string]string{
		"Browser": "", "Mobile Apps and Desktop clients": "", "IMAP4": "imap4", "Other clients; IMAP": "imap", "Other clients": "other clients",
		"Exchange ActiveSync": "exchange activesync", "Outlook Anywhere (RPC over HTTP)": "outlook anywhere",
	} {
		if e := hub(t, property("clientAppUsed", client)); e.Auth.Protocol != want {
			t.Errorf("%q: %q, want %q", client, e.Auth.Protocol, want)
		}
	}
	both := hub(t, func(_, p object) { p["clientAppUsed"], p["authenticationProtocol"] = "Other clients; IMAP", "ropc" })
	if both.Auth.Protocol != "ropc" {
		t.Errorf("%q", both.Auth.Protocol)
	}
}
