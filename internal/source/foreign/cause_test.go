package foreign

import (
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCause(t *testing.T) {
	for text, want := range map[string]events.Cause{
		"":                     "",
		"Because.":             "",
		"failure":              "",
		"LOGOFF_USER_INITATED": "",

		"INVALID_CREDENTIALS":                                  events.BadPassword,
		"InvalidUserNameOrPassword":                            events.BadPassword,
		"invalid_user_credentials":                             events.BadPassword,
		"Wrong email or password.":                             events.BadPassword,
		"user is blocked":                                      events.AccountDisabled,
		"user name is correct but the password is wrong":       events.BadPassword,
		"0xC000006A":                                           events.BadPassword,
		"USER_DOES_NOT_EXIST":                                  events.UnknownUser,
		"User name does not exist":                             events.UnknownUser,
		"Failed password for invalid user name from somewhere": events.UnknownUser,
		"0xc0000064":                                           events.UnknownUser,
		"ACCOUNT_LOCKED_OUT":                                   events.AccountLocked,
		"Account locked out: invalid credentials":              events.AccountLocked,
		"ACCOUNT_DISABLED":                                     events.AccountDisabled,
		"account is currently disabled":                        events.AccountDisabled,
		"PASSWORD_EXPIRED":                                     events.Expired,
		"user is required to change password at next logon":    events.Expired,
		"Expired password":                                     events.Expired,
		"Push denied by the user":                              events.MFARefused,
		"user declined; invalid code":                          events.MFARefused,
		"Push timed out":                                       events.MFATimeout,
		"Invalid OTP":                                          events.BadCode,
		"BlockedByConditionalAccess":                           events.PolicyBlock,
		"user logon outside authorized logon hours":            events.PolicyBlock,
		"Token expired":                                        events.OtherCause,
		"the clock is wrong":                                   events.OtherCause,
	} {
		if got := Cause(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := Cause(strings.Repeat("x ", 1<<20) + "invalid password"); got != "" {
		t.Errorf("at the end of a long text: %q", got)
	}
}

func TestFactorCause(t *testing.T) {
	for method, want := range map[string]events.Cause{
		"": "", "push": events.MFARefused, "voice": events.MFARefused, "otp": events.BadCode, "sms": events.BadCode, "fido2": events.OtherCause,
		"certificate": events.OtherCause, "something_new": "",
	} {
		if got := FactorCause(method); got != want {
			t.Errorf("%q: %q, want %q", method, got, want)
		}
	}
}
