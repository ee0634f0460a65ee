package ocsf

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/entra"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// cause is why an attempt failed. OCSF leaves to the source how it says so; where there is a word for it, it is the detail
// of the status ("INVALID_CREDENTIALS", "USER_DOES_NOT_EXIST"), or the code, which may be Windows' or Entra's.
func (r *record) cause(e *events.Event, activity string) events.Cause {
	if e.Outcome != events.Failure && e.Outcome != events.Blocked {
		return ""
	}
	if cause, listed := entra.CauseOf(r.code, r.detail); listed && cause != "" {
		return cause
	}
	failedFactor := e.Auth.MFA == events.MFAFailed || e.Auth.MFA == events.MFADenied
	for _, text := range [...]string{r.code, r.detail, r.message} {
		if cause := foreign.Cause(text); cause != "" && (!failedFactor || cause != events.BadPassword) {
			return cause
		}
	}
	switch {
	case failedFactor:
		return foreign.FactorCause(e.Auth.Methods[len(e.Auth.Methods)-1])
	case e.Outcome == events.Blocked:
		return events.PolicyBlock
	case activity == serviceTicket, activity == ticketRenewal, r.token.kind != "":
		return events.OtherCause // nobody is asked for a password there
	}
	return ""
}
