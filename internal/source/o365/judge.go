package o365

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/entra"
)

// judge sets the outcome of a sign-in and how identity was proved.
func (r *raw) judge(e *events.Event) {
	e.Code = cmp.Or(r.errorNumber, r.logonError)
	e.Outcome = r.outcome()
	if e.Outcome != events.Success {
		e.Reason, e.Cause = r.logonError, r.cause()
	}
	flow, _, _ := strings.Cut(strings.ToLower(r.extended["RequestType"]), ":")
	step := strings.ToLower(r.extended["RequestType"])
	switch {
	case step == "oauth2:token":
		e.Interactive = events.No // a token is redeemed for another
	case flow == "login" || flow == "sas" || flow == "kmsi" || flow == "consent":
		e.Interactive = events.Yes // these steps have a page
	}
	if e.Auth.Protocol = protocols[flow]; strings.HasPrefix(e.UserAgent, "BAV2ROPC") {
		e.Auth.Protocol = "ropc" // the name of what takes passwords over the old protocols of mail
	}
	strongest := r.methods(e)
	switch {
	case e.Code == mfaFailed:
		e.Auth.MFA = events.MFAFailed
		if e.Cause = entra.FactorCause(r.logonError); e.Cause == events.MFARefused {
			e.Auth.MFA = events.MFADenied
		}
	case e.Outcome == events.Success && flow == "sas": // the service that checks second factors
		e.Auth.MFA = events.MFAPerformed
		if strongest.Rank() < events.MultiFactor.Rank() {
			strongest = events.MultiFactor
		}
	}
	// A single factor is not evidence of one factor only: the record does not tell of a second.
	if e.Outcome == events.Success && strongest.Rank() >= events.MultiFactor.Rank() {
		e.Auth.Strength = strongest
	}
}

// protocols names what the first half of a RequestType speaks, as Entra's records do.
var protocols = map[string]string{"oauth2": "oauth2", "saml2": "saml20", "wsfederation": "wsfederation", "orgidwstrust2": "wstrust"}

// mfaFailed is the code of a second factor that failed or was denied.
const mfaFailed = "500121"

// outcome goes by the error number. Only where there is none, the error's name and the operation speak; the record's
// ResultStatus never does.
func (r *raw) outcome() events.Outcome {
	failed := strings.EqualFold(r.operation, "UserLoginFailed")
	name := strings.ToLower(r.logonError)
	switch {
	case r.errorNumber == "0" && failed, r.errorNumber == "" && name != "", r.errorNumber == "" && failed:
		switch {
		case strings.HasSuffix(name, "interrupt"), strings.HasSuffix(name, "required"):
			return events.Interrupt
		case strings.HasPrefix(name, "blockedby"), name == "idslocked", name == "userdisabled":
			return events.Blocked
		}
		return events.Failure
	case r.errorNumber != "":
		return entra.OutcomeOf(r.errorNumber)
	case strings.EqualFold(r.operation, "UserLoggedIn"):
		return events.Success
	}
	return ""
}

// cause goes by the error number, and by the error's name where there is none.
func (r *raw) cause() events.Cause {
	if r.errorNumber != "" && r.errorNumber != "0" {
		cause, _ := entra.CauseOf(r.errorNumber, r.logonError)
		return cause
	}
	if r.logonError == "" || r.outcome() == events.Interrupt {
		return ""
	}
	if cause, known := causes[strings.ToLower(r.logonError)]; known {
		return cause
	}
	if r.outcome() == events.Blocked {
		return events.PolicyBlock
	}
	return events.OtherCause
}

// causes are the names of errors, in lower case, that say more than that something else went wrong.
var causes = map[string]events.Cause{
	"invalidusernameorpassword":            events.BadPassword,
	"invalidpassword":                      events.BadPassword,
	"credentialauthenticationerror":        events.BadPassword,
	"useraccountnotfound":                  events.UnknownUser,
	"useraccountnotindirectory":            events.UnknownUser,
	"idslocked":                            events.AccountLocked,
	"userdisabled":                         events.AccountDisabled,
	"invalidpasswordexpiredpassword":       events.Expired,
	"invalidpasswordexpiredonpremises":     events.Expired,
	"invalidpasswordexpiredonprempassword": events.Expired,
	// The name does not say how it failed.
	"authenticationfailedsaserror": "",
}

// methods sets the methods of the first factor, and returns the strongest. The number is a set of bits that Microsoft
// does not document; those below were found by comparison with sign-in logs, and the others stay unknown.
func (r *raw) methods(e *events.Event) (strongest events.Strength) {
	bits, err := strconv.ParseUint(r.extended["UserAuthenticationMethod"], 10, 63)
	if err != nil {
		return ""
	}
	for _, m := range methodBits {
		if bits&(1<<m.bit) == 0 {
			continue
		}
		if n := len(e.Auth.Methods); n == 0 || e.Auth.Methods[n-1] != m.name {
			e.Auth.Methods = append(e.Auth.Methods, m.name)
		}
		if m.strength.Rank() > strongest.Rank() {
			strongest = m.strength
		}
	}
	return strongest
}

var methodBits = []struct {
	bit      int
	name     string
	strength events.Strength
}{
	{0, "password", events.SingleFactor},
	{3, "password", events.SingleFactor}, // checked on premises
	{4, "password", events.SingleFactor}, // by a synchronised hash
	{1, "temporary_access_pass", events.MultiFactor},
	{2, "seamless_sso", events.SingleFactor},
	{6, "phone_sign_in", events.MultiFactor},
	{18, "windows_hello", events.PhishingResistant},
	{19, "authentication_transfer", events.SingleFactor},
	{20, "sms", events.SingleFactor},
	{21, "certificate", events.PhishingResistant},
	{23, "platform_credential", events.PhishingResistant},
	{24, "qr_code_pin", events.SingleFactor},
	{25, "passkey", events.PhishingResistant},
	{27, "email", events.SingleFactor},
}
