package entra

import (
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// meaning is what a code of the sign-in service means.
type meaning struct {
	outcome events.Outcome
	cause   events.Cause
}

// meanings are the codes that say more than that something else went wrong, by Microsoft's list of error codes
// (https://learn.microsoft.com/entra/identity-platform/reference-error-codes).
var meanings = codes(
	// Steps of flows that go on: more is asked of the person, who is neither in nor refused.
	group{events.Interrupt, "", `16000 16001 50058 50072 50074 50076 50078 50079 50097 50125 50127 50129 50135 50140 50158 50168
		50199 51005 65001 70016 81010 90094 90095 700020 1000000 1000002`},
	group{events.Failure, events.BadPassword, `50056 50064 50126`},
	group{events.Failure, events.UnknownUser, `50034 51004`},
	// Of 50053 the reason says whether the account is locked or the address is bad; 300030 is the lockout of a federation server.
	group{events.Blocked, events.AccountLocked, `50053 300030`},
	group{events.Blocked, events.AccountDisabled, `50057`},
	// The password was right.
	group{events.Failure, events.Expired, `50055 50144`},
	// And so, often, it was here; all of 53… are of Conditional Access and its like.
	group{events.Blocked, events.PolicyBlock, `50002 50005 50105 50131 54000 80012 135011 500021 500022 500212 500213 1000104`},
	// The steps say which of the ways to fail it was.
	group{events.Failure, "", mfaFailed},
)

// group are codes of one meaning.
type group struct {
	outcome events.Outcome
	cause   events.Cause
	list    string
}

func codes(groups ...group) map[string]meaning {
	all := map[string]meaning{}
	for _, g := range groups {
		for code := range strings.FieldsSeq(g.list) {
			all[code] = meaning{g.outcome, g.cause}
		}
	}
	return all
}

// mfaFailed is the code of a second factor that failed or was denied.
const mfaFailed = "500121"

// meaningOf is what a code means. Wrong passwords and names have codes of their own, so that a code that is not listed is of
// something else: tokens that ran out or were revoked, malformed requests, applications that are not registered. Without a
// code there is no meaning.
func meaningOf(code string) (m meaning, listed bool) {
	m, listed = meanings[code]
	switch {
	case listed:
	case code == "0" || strings.EqualFold(code, "success"):
		return meaning{outcome: events.Success}, true
	case code == "":
	case strings.HasPrefix(code, "53") && (len(code) == 5 || len(code) == 6):
		return meaning{events.Blocked, events.PolicyBlock}, true
	default:
		m = meaning{events.Failure, events.OtherCause}
	}
	return m, listed
}

// OutcomeOf is the outcome that an error code of a sign-in means. Codes that nobody knows are failures; without a code
// there is no outcome.
func OutcomeOf(code string) events.Outcome {
	m, _ := meaningOf(code)
	return m.outcome
}

// CauseOf is the cause that an error code of a sign-in means, with the reason that comes with it; listed tells that the code
// is of the sign-in service. Of a second factor that failed the code does not say how, nor does it of what did not fail.
func CauseOf(code, reason string) (cause events.Cause, listed bool) {
	m, listed := meaningOf(code)
	if m.cause == events.AccountLocked && strings.Contains(strings.ToLower(reason), "malicious") {
		return events.PolicyBlock, listed // the address is blocked, not the account
	}
	return m.cause, listed
}

// factorCause is why a second factor failed: as the prose about it says, else as its method tells.
func factorCause(detail, method string) events.Cause {
	if cause := FactorCause(detail); cause != "" {
		return cause
	}
	return foreign.FactorCause(method)
}

// FactorCause is why a second factor failed, by the prose that says so; "" when it does not.
func FactorCause(detail string) events.Cause {
	detail = strings.ToLower(detail)
	if before, why, ok := strings.Cut(detail, ";"); ok && strings.Contains(before, "denied") {
		detail = why // "MFA denied; user did not respond": it is what all begin with
	}
	for _, d := range factorDetails {
		if strings.Contains(detail, d.mark) {
			return d.cause
		}
	}
	return ""
}

// factorDetails are matched in order by a part of what steps say of their result.
var factorDetails = []struct {
	mark  string
	cause events.Cause
}{
	{"fraud", events.MFARefused},
	{"not respond", events.MFATimeout},
	{"n't respond", events.MFATimeout},
	{"never entered", events.MFATimeout},
	{"timed out", events.MFATimeout},
	{"timeout", events.MFATimeout},
	{"voicemail", events.MFATimeout},
	{"unable to reach", events.MFATimeout},
	{"duplicate authentication", events.MFATimeout}, // a prompt on top of one that is open
	{"number match", events.MFARefused},
	{"wrong number", events.MFARefused},
	{"correct number", events.MFARefused}, // that was not selected
	{"incorrect", events.BadCode},
	{"verification code", events.BadCode}, // invalid, or used before
	{"is blocked", events.AccountLocked},
	{"declined", events.MFARefused},
	{"denied", events.MFARefused},
	{"hung up", events.MFARefused},
	{"dismissed", events.MFARefused},
	{"canceled", events.MFARefused},
	{"cancelled", events.MFARefused},
	{"unable to send", events.OtherCause},
	{"misconfiguration", events.OtherCause},
	{"service error", events.OtherCause},
	{"transient", events.OtherCause},
	{"invalid format", events.OtherCause},
	{"methods registered", events.OtherCause},
	{"not found", events.OtherCause},
}

// pending tells a step that was not over when the record was written.
func pending(detail string) bool {
	return strings.Contains(detail, "in progress") || strings.Contains(detail, "in-progress")
}
