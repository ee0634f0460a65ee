// Package auth0 decodes the tenant logs of Auth0: the records of log streams ({"log_id":…,"data":{…}}), arrays and lines of
// them, the bare records of the Management API, and what Amazon EventBridge and Splunk put around them. It also asks the
// Management API ([Poller]), for tenants without log streams.
//
// What a record means is its type's matter; the tables are in types.go. What to know about them:
//
//   - s is a sign-in. What comes before it is a step: a success there is an interrupt, unless it is a second factor, which
//     counts by itself because it is how a person answers a step-up in a session that goes on.
//   - Exchanges of codes and refresh tokens are sign-ins that are not interactive. The address of such a record is that of
//     whoever redeemed the token, which for a web application is its server and not the person.
//   - ferrt is a refresh token that came a second time, after which Auth0 revokes the whole family: a failure, with the
//     detection refresh_token_reuse.
//   - Auth0 states how confident it is that the person is the right one: low confidence is high risk. An assessor that
//     failed has low confidence, too, and says nothing.
//   - The user id of a failure may be empty or invented; then the user is the name that was tried. So may the client id.
//   - Records are delivered at least once. Their log_id is the same by every way.
//
// Asking needs a machine-to-machine application with the scope read:logs.
package auth0

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of Auth0's log ids.
const Family = "auth0"

// Logs decodes records of tenant logs: of log streams, with {"data":…} around each, and of the Management API, without;
// one, an array of them, or in the {"detail":…} of EventBridge, the {"event":…} of Splunk, or {"logs":[…]}.
func Logs() *foreign.Format {
	return &foreign.Format{Envelopes: []string{"logs", "detail", "event", "data"}, Record: decode}
}

func decode(raw []byte, emit foreign.Emit) {
	l := &jlexer.Lexer{Data: raw}
	r := read(l)
	if l.Error() != nil {
		emit(raw, nil, foreign.Broken(l))
		return
	}
	e, err := r.event()
	emit(raw, e, err)
}

// event says what the record means.
func (r *record) event() (*events.Event, error) {
	kind, known := types[r.kind]
	if r.kind == managementAPI {
		kind, known = r.managed()
	}
	if !known && r.kind != "" && r.id != "" {
		return nil, &foreign.Skipped{Reason: "category", Category: r.kind}
	}
	date, err := foreign.Time(r.date)
	problems := []error{missing("log_id", r.id), missing("date", r.date), missing("type", r.kind)}
	if err != nil {
		problems = append(problems, fmt.Errorf("date: %w", err))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	e := &events.Event{
		Kind: kind.kind, Tenant: r.tenant, Time: date,
		Source:        events.Source{Family: Family, ID: bounded(r.id), Category: r.kind},
		Outcome:       kind.outcome,
		Code:          r.kind,
		Interactive:   kind.interactive,
		App:           events.Ref{ID: bounded(r.clientID), Name: r.clientName},
		Session:       events.Session{ID: bounded(cmp.Or(r.details.session, r.promptSession())), TokenType: kind.token},
		Correlation:   bounded(r.details.transaction),
		ProviderPlace: r.place.provider(),
		UserAgent:     r.agent,
		Risk:          r.details.risk.risk(),
	}
	e.IP, e.AddressText = foreign.Address(r.ip)
	e.Device.Browser, e.Device.OS = families(r.agent)
	if r.mobile == events.Yes {
		e.Device.Type = "mobile"
	}
	if err := r.who(e, kind); err != nil {
		return nil, err
	}
	if err := r.judge(e, kind); err != nil {
		return nil, err
	}
	return e, nil
}

func missing(field, text string) error {
	if text == "" {
		return fmt.Errorf("%s: is missing", field)
	}
	return nil
}

// who sets the user. An id that is one has the connection in front, as in "auth0|5b9e1f04"; what a failure has may be
// anything, and the id of a user whom nobody knows is worth nothing.
func (r *record) who(e *events.Event, kind rule) error {
	e.User = events.User{ID: bounded(r.userID), Name: r.userName}
	switch {
	case kind.program:
		e.User = events.User{ID: bounded(cmp.Or(r.clientID, r.userID)), Type: events.Workload, Name: r.clientName}
	case kind.unknown, e.Outcome != events.Success && !strings.Contains(r.userID, "|"):
		e.User.ID = ""
		if r.userName != "" {
			e.User.ID, e.User.Type = bounded("name:"+strings.ToLower(r.userName)), events.Unresolved
		}
	}
	if e.User.ID == "" {
		return &foreign.Skipped{Reason: "no_user", Category: r.kind}
	}
	return nil
}

// promptSession is the session of the last step that names one.
func (r *record) promptSession() string {
	for _, p := range slices.Backward(r.details.prompts) {
		if p.session != "" {
			return p.session
		}
	}
	return ""
}

// families reads the short form of a user agent, such as "Firefox 131.0.0 / Linux 0.0.0". Of the long form it says
// nothing, which has a slash without blanks.
func families(agent string) (browser, os string) {
	browser, os, ok := strings.Cut(agent, " / ")
	if !ok || strings.Contains(browser, "/") || strings.Contains(os, "/") {
		return "", ""
	}
	return known(browser), known(os)
}

// known drops the ways in which the short form says that it does not know.
func known(family string) string {
	if name, _, _ := strings.Cut(family, " "); strings.EqualFold(name, "Other") {
		return ""
	}
	return foreign.Known(strings.TrimSuffix(family, " 0.0.0"))
}

// bounded is a text as an id of this family.
func bounded(id string) string { return foreign.Identity(Family, id) }
