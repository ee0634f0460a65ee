// Package cloudtrail decodes what AWS CloudTrail records of sign-ins and of changes to who may sign in: the console, the
// root user, federation (SAML, OpenID Connect, federation tokens), IAM Identity Center with its access portal, and IAM
// users with their credentials, second factors and rights. Everything else that CloudTrail records is left out.
//
// Records come in log files, from EventBridge, SNS and SQS, and from the lookup API; see [Records]. What to know:
//
//   - The tenant is the account that got the record. An organisation's trail and an account's own repeat each other with
//     the same event ids, so that both together do no harm.
//   - A user is its principal id. Of a role, that is the role and a session name; the caller chooses the name, so that it
//     never stands for a person by itself. Of the access portal it is the id of the user in the identity store.
//   - IAM names the user whose account is changed by name only. Unless the user did it, or was just created, the event is
//     about the name, which is not the identity under which the user signs in.
//   - CheckMfa, GetSigninToken and SwitchRole are left out: they are steps before and after a ConsoleLogin and prove
//     nothing that it does not tell. "MFAUsed: No" says nothing of federated users: their provider asked, or did not.
//   - IAM Identity Center records every challenge and its answer, and UserAuthentication only at the end. Challenges are
//     neither successes nor logins of their own; an answer that was wrong is a failure, for which there is no other record.
package cloudtrail

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of CloudTrail's event ids.
const Family = "cloudtrail"

// decode calls emit for one record.
func decode(raw []byte, emit foreign.Emit) {
	var r record
	l := &jlexer.Lexer{Data: raw}
	r.read(l)
	if l.Consumed(); l.Error() != nil {
		emit(raw, nil, foreign.Broken(l))
		return
	}
	e, err := r.event()
	emit(raw, e, err)
}

// event says what the record means.
func (r *record) event() (*events.Event, error) {
	at, err := foreign.Time(r.time)
	problems := []error{missing("eventID", r.id), missing("eventTime", r.time)}
	if err != nil {
		problems = append(problems, fmt.Errorf("eventTime: %w", err))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	e := &events.Event{
		Tenant: cmp.Or(r.recipient, r.who.account), Time: at,
		Source:    events.Source{Family: Family, ID: bounded(strings.ToLower(r.id)), Category: r.name},
		UserAgent: r.agent,
		Code:      r.errorCode, Reason: r.errorMessage,
	}
	e.IP, e.AddressText = foreign.Address(r.ip)
	if err := kinds[r.key()](r, e); err != nil {
		return nil, err
	}
	if e.Kind == events.SignIn {
		e.Cause, e.Correlation = r.cause(e), bounded(r.extra["AuthWorkflowID"])
	}
	return e, nil
}

// denied are the errors of requests that a policy refused, rather than of attempts that went wrong.
var denied = map[string]bool{
	"AccessDenied": true, "AccessDeniedException": true, "UnauthorizedOperation": true, "Client.UnauthorizedOperation": true,
}

// outcome is that of a request to an API: it failed when it has an error.
func (r *record) outcome() events.Outcome {
	switch {
	case denied[r.errorCode]:
		return events.Blocked
	case r.errorCode != "" || r.errorMessage != "":
		return events.Failure
	}
	return events.Success
}

func missing(field, text string) error {
	if text == "" {
		return fmt.Errorf("%s: is missing", field)
	}
	return nil
}

// bounded is a text as an id of this family.
func bounded(id string) string { return foreign.Identity(Family, id) }
