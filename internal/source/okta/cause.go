package okta

import (
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// reasons are the codes of reasons, which Okta does not list anywhere in full.
var reasons = map[string]events.Cause{
	"INVALID_CREDENTIALS":        events.BadPassword,
	"INVALID_LOGIN":              events.BadPassword,
	"LOCKED_OUT":                 events.AccountLocked,
	"ACCOUNT_LOCKED":             events.AccountLocked,
	"USER_LOCKED_OUT":            events.AccountLocked,
	"DEPROVISIONED":              events.AccountDisabled,
	"SUSPENDED":                  events.AccountDisabled,
	"USER_SUSPENDED":             events.AccountDisabled,
	"USER_DEPROVISIONED":         events.AccountDisabled,
	"USER_NOT_ACTIVE":            events.AccountDisabled,
	"PASSWORD_EXPIRED":           events.Expired,
	"EXPIRED_PASSWORD":           events.Expired,
	"UNKNOWN_USER":               events.UnknownUser,
	"USER_NOT_FOUND":             events.UnknownUser,
	"NETWORK_ZONE_BLACKLIST":     events.PolicyBlock,
	"NETWORK_ZONE_BLOCKLIST":     events.PolicyBlock,
	"USER_NOT_ASSIGNED":          events.PolicyBlock,
	"INVALID_TOKEN":              events.OtherCause,
	"INVALID_GRANT":              events.OtherCause,
	"INVALID_CLIENT":             events.OtherCause,
	"INVALID_REQUEST":            events.OtherCause,
	"OPERATION_TIMEOUT":          events.OtherCause,
	"MFA_ENROLLMENT_REQUIRED":    events.OtherCause,
	"AGENT_NOT_AVAILABLE":        events.OtherCause,
	"CONNECTION_FAILURE":         events.OtherCause,
	"INTERNAL_AGENT_ERROR":       events.OtherCause,
	"OPERATION_NOT_PERMITTED":    events.PolicyBlock,
	"CREDENTIALS_NOT_YET_ACTIVE": events.OtherCause,
}

// byPassword are the steps in which somebody else checks a password for Okta; of the others it is not Okta that asks for one.
var byPassword = []string{"ad_agent", "ldap_agent", "inbound_delauth", "radius", "richclient"}

// cause is why an attempt failed, of a flow that is read as it says.
func (r *record) cause(e *events.Event, f flow, used usage) events.Cause {
	if e.Outcome != events.Failure && e.Outcome != events.Blocked {
		return ""
	}
	switch f {
	case rejected:
		return events.MFARefused
	case evaluated, barred:
		return events.PolicyBlock
	case replayed:
		return events.OtherCause
	case reuse:
		if e.Auth.Protocol != "password" {
			return events.OtherCause // a session or token that is no longer good, or a request that never was
		}
	case factor:
		if used.strongest >= possession {
			return r.factorCause(used)
		}
	case whole, step, asked:
	}
	said, known := reasons[strings.ToUpper(r.reason)]
	if !known {
		said = foreign.Cause(r.reason)
	}
	guessed := said == "" || said == events.BadPassword
	switch {
	case guessed && e.User.Type == events.Unresolved:
		return events.UnknownUser // INVALID_CREDENTIALS and VERIFICATION_ERROR say that of names nobody has, too
	case said != "":
		return said
	case e.Outcome == events.Blocked:
		return events.PolicyBlock
	case f == step && !r.asksPassword(e):
		return events.OtherCause
	}
	return ""
}

// asksPassword tells a step in which a password is what was checked.
func (r *record) asksPassword(e *events.Event) bool {
	for _, via := range byPassword {
		if strings.Contains(e.Auth.Protocol, via) {
			return true
		}
	}
	return false
}

// factorCause is why a second factor failed: of a push the answer tells, and of the others what they are.
func (r *record) factorCause(used usage) events.Cause {
	answers := strings.ToUpper(r.debug.push + " " + r.debug.challenge)
	switch {
	case strings.Contains(answers, "DENY"), strings.Contains(answers, "CHALLENGE_RESPONSE_ERROR"):
		return events.MFARefused // by a button, or by the wrong number
	case strings.Contains(answers, "TIMEOUT"):
		return events.MFATimeout
	case strings.Contains(answers, "OV_RESPONSE_ERROR"):
		return events.OtherCause
	}
	said, known := reasons[strings.ToUpper(r.reason)]
	if !known {
		said = foreign.Cause(r.reason)
	}
	if strings.Contains(strings.ToUpper(r.reason), "REJECT") {
		said = events.MFARefused
	}
	if said != "" && said != events.BadPassword && said != events.UnknownUser {
		return said
	}
	return foreign.FactorCause(used.names[len(used.names)-1])
}
