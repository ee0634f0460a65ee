package o365

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCauses(t *testing.T) {
	for _, c := range []struct {
		number, name string
		outcome      events.Outcome
		want         events.Cause
	}{
		{"50126", "InvalidUserNameOrPassword", events.Failure, events.BadPassword},
		{"50034", "UserAccountNotFound", events.Failure, events.UnknownUser},
		{"50053", "IdsLocked", events.Blocked, events.AccountLocked},
		{"50057", "UserDisabled", events.Blocked, events.AccountDisabled},
		{"50055", "InvalidPasswordExpiredPassword", events.Failure, events.Expired},
		{"53003", "BlockedByConditionalAccess", events.Blocked, events.PolicyBlock},
		{"70008", "ExpiredOrRevokedGrant", events.Failure, events.OtherCause},
		{"50140", "KmsiInterrupt", events.Interrupt, ""},
		{"500121", "MFA denied; user declined the authentication", events.Failure, events.MFARefused},
		{"500121", "MFA denied; user did not respond to mobile app notification", events.Failure, events.MFATimeout},
		{"500121", "AuthenticationFailedSasError", events.Failure, ""}, // how it failed is not said
		// Without a number the name speaks.
		{"0", "InvalidUserNameOrPassword", events.Failure, events.BadPassword},
		{"", "InvalidUserNameOrPassword", events.Failure, events.BadPassword},
		{"", "InvalidPasswordExpiredPassword", events.Failure, events.Expired},
		{"", "IdsLocked", events.Blocked, events.AccountLocked},
		{"", "UserDisabled", events.Blocked, events.AccountDisabled},
		{"", "BlockedByConditionalAccess", events.Blocked, events.PolicyBlock},
		{"", "SsoArtifactExpiredDueToConditionalAccess", events.Failure, events.OtherCause},
		{"", "UserStrongAuthClientAuthNRequiredInterrupt", events.Interrupt, ""},
		{"", "", events.Failure, ""},
	} {
		e := one(t, signIn(t, func(r object) {
			r["Operation"], r["ErrorNumber"], r["LogonError"] = "UserLoginFailed", c.number, c.name
		}))
		if e.Outcome != c.outcome || e.Cause != c.want {
			t.Errorf("%s %s: %q, cause %q; want %q, %q", c.number, c.name, e.Outcome, e.Cause, c.outcome, c.want)
		}
	}
	if e := one(t, signIn(t, nil)); e.Outcome != events.Success || e.Cause != "" {
		t.Errorf("a success: %q, cause %q", e.Outcome, e.Cause)
	}
}

func TestPasswordsOverOldProtocols(t *testing.T) {
	e := one(t, signIn(t, set("ExtendedProperties", []object{pair("UserAgent", "BAV2ROPC"), pair("RequestType", "OAuth2:Token")})))
	if e.Auth.Protocol != "ropc" {
		t.Errorf("protocol %q", e.Auth.Protocol)
	}
}

func TestT39_TheFlowIsNoIdentity(t *testing.T) {
	a, b := one(t, signIn(t, nil)), one(t, signIn(t, set("InterSystemsId", "")))
	if a.Correlation != "a2c4e6f8-1b3d-4f5a-8c7e-9d0b1a2c3e4f" || b.Correlation != "" || a.ID != b.ID {
		t.Errorf("flows %q and %q of ids %s and %s", a.Correlation, b.Correlation, a.ID, b.ID)
	}
}
