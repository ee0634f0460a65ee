package auth0

import (
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// causes are the types of failures that say why. Wrong passwords and names have types of their own, so that the types that
// are not here are of something else, unless the description tells.
var causes = map[string]events.Cause{
	"fp":        events.BadPassword,
	"fu":        events.UnknownUser,
	"limit_wc":  events.AccountLocked, // for an address
	"limit_sul": events.AccountLocked, // for all
	"limit_mu":  events.PolicyBlock,   // the address, after many accounts
	"limit_sms": events.PolicyBlock,
	"pwd_leak":  events.PolicyBlock, // the password was right, and is known to others

	"fepotpft":                        events.BadCode,
	"feotpft":                         events.BadCode,
	"fercft":                          events.BadCode,
	"gd_auth_rejected":                events.MFARefused,
	"gd_auth_fail_email_verification": events.BadCode,
	"gd_recovery_failed":              events.BadCode,
	"gd_webauthn_challenge_failed":    events.OtherCause,
	"gd_otp_rate_limit_exceed":        events.AccountLocked,
	"gd_recovery_rate_limit_exceed":   events.AccountLocked,
}

// Types of failures that speak of more than one cause.
const (
	passwordGrant = "fepft"          // a password that is handed in by an application
	promptGrant   = "feoobft"        // the polls for a prompt's answer, too
	factorFailed  = "gd_auth_failed" // any second factor
)

// explain sets why an attempt failed.
func (r *record) explain(e *events.Event) {
	if e.Outcome != events.Failure && e.Outcome != events.Blocked {
		return
	}
	if r.kind == promptGrant && pending(r.description) {
		e.Outcome, e.Auth.MFA = events.Interrupt, ""
		return
	}
	cause, known := causes[r.kind]
	if !known {
		cause = foreign.Cause(r.description)
	}
	switch {
	case cause != "":
	case r.kind == passwordGrant: // nothing but a password was handed in
	case r.kind == promptGrant:
		cause = events.MFARefused
	case r.kind == factorFailed:
		cause = events.BadCode // a push has a type of its own
		if len(e.Auth.Methods) > 0 {
			cause = foreign.FactorCause(e.Auth.Methods[len(e.Auth.Methods)-1])
		}
	default:
		cause = events.OtherCause
	}
	e.Cause = cause
}

// pending tells the answer to a poll that came too early.
func pending(description string) bool {
	description = strings.ToLower(description)
	return strings.Contains(description, "pending") || strings.Contains(description, "slow_down") || strings.Contains(description, "slow down")
}
