package ecs

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/entra"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// interrupted tells the steps of Entra's flows, which integrations write as failures.
func (r *record) interrupted() bool {
	return entra.OutcomeOf(r.errorCode) == events.Interrupt || entra.OutcomeOf(r.code) == events.Interrupt
}

// cause is why an attempt failed. ECS has no vocabulary for it, so that the codes and phrases speak of the systems that
// documents come from: Entra's codes, Windows' states, and what others commonly say.
func (r *record) cause(e *events.Event) events.Cause {
	if e.Outcome != events.Failure && e.Outcome != events.Blocked {
		return ""
	}
	for _, code := range [...]string{r.errorCode, r.code} {
		if cause, listed := entra.CauseOf(code, r.reason); listed && cause != "" {
			return cause
		}
	}
	for _, text := range [...]string{r.winSubStatus, r.winStatus, r.winReason, r.errorCode, r.code, r.reason, r.errorMessage} {
		if cause := foreign.Cause(text); cause != "" {
			return cause
		}
	}
	switch {
	case e.Outcome == events.Blocked:
		return events.PolicyBlock
	case e.Interactive == events.No && r.logonType == "":
		return events.OtherCause // a token or ticket was not good
	}
	return ""
}
