package foreign

import (
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// FactorCause is why a second factor failed, when only its method is known, by our name of it: a prompt was not approved, a
// code was wrong, or something else was. It is "" of a method that nobody knows.
func FactorCause(method string) events.Cause {
	switch method {
	case "":
		return ""
	case "push", "push_number_match", "phone_sign_in", "voice", "duo", "fastpass":
		return events.MFARefused
	case "otp", "sms", "phone", "email", "recovery_code", "backup_code", "hardware_token", "temporary_access_pass", "temporary_access_code":
		return events.BadCode
	case "fido2", "passkey", "windows_hello", "platform_credential", "certificate", "biometric", "external_idp":
		return events.OtherCause // a device or another provider said no: nothing was guessed
	}
	return ""
}

// Cause reads why an attempt failed from a code or a phrase of a source that we do not know by itself, such as
// "INVALID_CREDENTIALS" or "User name does not exist"; "" when it does not say. Sources that are known have tables of their
// own.
func Cause(text string) events.Cause {
	text = plain(text)
	if text == "" {
		return ""
	}
	for _, c := range causes {
		for mark := range strings.SplitSeq(c.marks, "|") {
			if strings.Contains(text, mark) {
				return c.cause
			}
		}
	}
	return ""
}

// causes are matched in order by a part of the text in lower case, with blanks between words. The narrower come first: an
// expired password is no wrong one, a locked account is no policy.
var causes = []struct {
	cause events.Cause
	marks string
}{
	{events.AccountLocked, "locked out|lockedout|account locked|account is locked|user locked|user is locked|account has been locked|idslocked|temporarily disabled|too many failed|too many attempts|0xc0000234"},
	{events.AccountDisabled, "account disabled|account is disabled|account is currently disabled|user disabled|user is disabled|userdisabled|account inactive|account suspended|user suspended|user blocked|user is blocked|account blocked|account is blocked|deactivated|account deleted|0xc0000072"},
	{events.Expired, "password expired|password has expired|expired password|account expired|account has expired|credentials expired|credential expired|password must be changed|password change required|must change password|required to change password|must reset password|0xc0000071|0xc0000193|0xc0000224"},
	{events.MFATimeout, "mfa timeout|mfa timed out|push timeout|push timed out|no response to push|prompt timed out|did not respond"},
	{events.MFARefused, "mfa denied|push denied|denied push|push rejected|rejected push|user rejected|user declined|rejected by user|denied by user|user denied"},
	{events.BadCode, "invalid otp|otp invalid|wrong otp|incorrect otp|invalid totp|wrong totp|invalid mfa code|invalid code|incorrect code|wrong code|bad code|invalid passcode|incorrect passcode|invalid verification code|incorrect verification code|invalid second factor"},
	{events.BadPassword, "password is wrong|0xc000006a"},
	{events.BadPassword, "unknown user name or bad password"},
	{events.UnknownUser, "bad user account|user does not exist|user not found|usernotfound|unknown user|no such user|nosuchuser|user name does not exist|username does not exist|invalid user name|account not found|account does not exist|useraccountnotfound|0xc0000064"},
	{events.BadPassword, "bad password|badpassword|wrong password|invalid password|invalidpassword|incorrect password|password incorrect|invalid credential|invalidcredential|incorrect credential|bad credential|invalid user credential|invalidusernameorpassword|invalid username or password|email or password|incorrect username or password|bad username or password|failed password|password mismatch"},
	{events.PolicyBlock, "policy|blocked by|blockedby|conditional access|conditionalaccess|access denied|not allowed|outside of allowed|logon hours|logon type|0xc000015b|0xc000006f|0xc0000070|0xc0000413|blacklist|blocklist|denylist|deny list"},
	{events.OtherCause, "session expired|token expired|expired token|invalid token|token revoked|revoked|invalid client|unknown client|invalid request|invalid grant|invalid scope|service unavailable|internal error|server error|clock|0xc0000133"},
}

// enough bounds what is read of a text: causes stand at its beginning.
const enough = 256

// plain is a text in lower case, with one blank for all that is neither letter nor digit.
func plain(text string) string {
	text = text[:min(len(text), enough)]
	out := make([]byte, 0, len(text))
	for _, c := range []byte(text) {
		switch {
		case c >= 'A' && c <= 'Z':
			out = append(out, c|0x20)
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c >= 0x80:
			out = append(out, c)
		case c == '\'': // "isn't"
		case len(out) > 0 && out[len(out)-1] != ' ':
			out = append(out, ' ')
		}
	}
	return string(out)
}
