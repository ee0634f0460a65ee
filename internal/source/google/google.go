// Package google decodes the activities of the Google Workspace Reports API and asks that API for them: sign-ins (login),
// account changes (login and user_accounts, which report the same ones), sign-ins to SAML applications (saml), and what
// applications were allowed and no longer allowed to do (token). Activities of other applications are left out.
//
// One activity holds several events; each is one of ours. Google names the stable id of a user by profileId; where that
// is missing, or the placeholder that Google writes for "nobody", only a name is known. Login challenges and
// verifications are steps of one login, so they are neither successes nor logins of their own.
//
// Asking needs a service account with domain-wide delegation for the scope
// https://www.googleapis.com/auth/admin.reports.audit.readonly, in the name of an administrator who may see reports.
package google

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of Google's activity ids.
const Family = "google"

// The applications whose activities are decoded.
const (
	login        = "login"
	userAccounts = "user_accounts"
	saml         = "saml"
	token        = "token"
)

// nobody is the profile id that Google writes when there is none.
const nobody = "105250506097979753968"

// Activities decodes activities: one, an array, or the answers of activities.list with their items.
func Activities() *foreign.Format {
	return &foreign.Format{Envelopes: []string{"items"}, Record: decode}
}

// decode calls emit for every event of an activity, and at most once with what is wrong with it: the dead letter holds
// the whole activity.
func decode(record []byte, emit foreign.Emit) {
	var a activity
	l := &jlexer.Lexer{Data: record}
	a.read(l)
	switch l.Consumed(); {
	case l.Error() != nil:
		emit(record, nil, foreign.Broken(l))
		return
	case a.isPage():
		emit(record, nil, &foreign.Skipped{Reason: "empty", Category: a.kind})
		return
	}
	base, err := a.base()
	if err != nil {
		emit(record, nil, err)
		return
	}
	var problems []error
	for i := range a.happenings {
		e := *base
		e.Source.ID += "#" + strconv.Itoa(i)
		err := a.judge(&a.happenings[i], &e)
		switch skipped := (*foreign.Skipped)(nil); {
		case errors.As(err, &skipped):
			emit(record, nil, skipped)
		case err != nil:
			problems = append(problems, fmt.Errorf("events[%d].%w", i, err))
		default:
			emit(record, &e, nil)
		}
	}
	if err := errors.Join(problems...); err != nil {
		emit(record, nil, err)
	}
}

// isPage tells an answer of activities.list that holds no activity: then it has no items at all.
func (a *activity) isPage() bool { return a.kind == pageKind && len(a.happenings) == 0 }

// base is what all events of the activity have in common; its source id lacks the index.
func (a *activity) base() (*events.Event, error) {
	var problems []error
	missing := func(field, text string) {
		if text == "" {
			problems = append(problems, fmt.Errorf("%s: is missing", field))
		}
	}
	at, err := foreign.Time(a.time)
	if err != nil {
		problems = append(problems, fmt.Errorf("id.time: %w", err))
	}
	missing("id.time", a.time)
	missing("id.uniqueQualifier", a.qualifier)
	missing("id.applicationName", a.application)
	// It is an int64, as text or as a number: never to be read as a float.
	if _, err := strconv.ParseInt(a.qualifier, 10, 64); err != nil && a.qualifier != "" {
		problems = append(problems, fmt.Errorf("id.uniqueQualifier: is %.40q, must be a whole number of 64 bits", a.qualifier))
	}
	switch {
	case len(a.happenings) == 0:
		problems = append(problems, errors.New("events: is missing"))
	case a.tooMany:
		problems = append(problems, fmt.Errorf("events: has more than %d elements", maxHappenings))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	e := &events.Event{
		Tenant: a.customer, Time: at,
		Source:        events.Source{Family: Family, ID: bounded(a.time + "/" + a.qualifier), Category: a.application},
		Network:       events.Network{ASN: a.asn},
		ProviderPlace: events.Place{Country: foreign.Country(a.region), Region: a.subdivision},
	}
	e.IP, e.AddressText = foreign.Address(a.ip)
	return e, nil
}

// user is whom an event concerns: the actor, or the account that the event names instead.
func (a *activity) user(h *happening) (events.User, error) {
	affected := h.text("affected_email_address")
	switch about := affected != "" && a.email != "" && !strings.EqualFold(affected, a.email); {
	case a.profile != "" && !about:
		return events.User{ID: bounded(a.profile), Name: cmp.Or(a.email, affected)}, nil
	case affected != "" || a.email != "":
		// No account is known for the name: it gets a space of its own.
		name := cmp.Or(affected, a.email)
		return events.User{ID: bounded("name:" + strings.ToLower(name)), Type: events.Unresolved, Name: name}, nil
	case a.key != "":
		return events.User{ID: bounded(a.key), Type: events.Workload}, nil
	}
	return events.User{}, errors.New("name: concerns nobody: actor has neither profileId nor email nor key")
}

// bounded is an id that fits the log; one that is too long is hashed.
func bounded(id string) string {
	const index = len("#") + 3 // what may follow
	if len(id) <= events.MaxID-index {
		return id
	}
	return events.ID(Family, id)
}
