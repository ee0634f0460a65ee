package keycloak

import (
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// causes are the errors that say why an attempt failed, of those in Keycloak's org.keycloak.events.Errors. All others are of
// requests, clients, codes, tokens and sessions.
var causes = map[string]events.Cause{
	"invalid_user_credentials":  events.BadPassword, // of the last credential that was asked for, which may be another
	"user_not_found":            events.UnknownUser,
	"user_temporarily_disabled": events.AccountLocked,
	"user_permanently_disabled": events.AccountLocked, // by the same protection against guessing
	"user_disabled":             events.AccountDisabled,
	"realm_disabled":            events.PolicyBlock,
	"ssl_required":              events.PolicyBlock,
	"not_allowed":               events.PolicyBlock,
	"access_denied":             events.PolicyBlock,
}

// cause is why an attempt failed.
func (r *raw) cause(e *events.Event) events.Cause {
	if e.Outcome != events.Failure && e.Outcome != events.Blocked || r.failure == "" {
		return ""
	}
	cause, known := causes[r.failure]
	second := credentials[strings.ToLower(r.details["credential_type"])]
	switch {
	case second.second && (!known || cause == events.BadPassword):
		return foreign.FactorCause(second.name)
	case !known:
		return events.OtherCause
	}
	return cause
}
