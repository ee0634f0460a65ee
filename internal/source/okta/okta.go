// Package okta decodes the System Log of Okta: arrays of records as the API answers them, one record, lines of records,
// the envelope of an event hook, and what log streams put around a record. It also asks the API itself ([Poller]) and
// answers the question by which Okta checks an event hook's address ([Challenge]).
//
// What a record means depends on its event type; the tables are in types.go. What to know about them:
//
//   - user.session.start and user.authentication.verify are sign-ins. The first says that Okta made a session, which may
//     be after the password alone; the second comes when everything the policy asked for was given.
//   - Every other authentication is a step of one of these. A step that succeeds is an interrupt, so that nobody is taken
//     for present who gave only a password; a step that is a second factor is a success of its own, because it is how a
//     person answers a step-up in a session that goes on. user.authentication.auth_via_mfa is written for the password,
//     too, and for e-mail and security questions, which prove nothing that a password does not.
//   - Single sign-on, authorisation and token events use a session that exists: sign-ins that are not interactive.
//   - policy.evaluate_sign_on is no sign-in. One that denies is a blocked one, one that asks for more is a challenge, and
//     one that allows at a raised risk is a report of that risk.
//   - The session is externalSessionId, the id that Okta's session API and the sid claim of ID tokens have, so that
//     applications know it. Records without one, or with the word "unknown", have rootSessionId, or none.
//   - One flow is the requests that have an authnRequestId, the id of the transaction that began it, in common. Its own
//     records have that as their transaction.
//   - The record does not name the organisation: it belongs to the only tenant of the source or token it came by.
//
// Asking needs the scope okta.logs.read, or an API token of an administrator who may read the System Log.
package okta

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of the uuids of the System Log.
const Family = "okta"

// SystemLog decodes records of the System Log: one, an array of them, an event hook's {"data":{"events":[…]}}, and the
// {"detail":…} and {"event":…} of log streams.
func SystemLog() *foreign.Format {
	return &foreign.Format{Envelopes: []string{"data", "events", "detail", "event"}, Record: decode}
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
	kind, known := ruleOf(r.eventType)
	if !known && r.eventType != "" && r.uuid != "" {
		return nil, &foreign.Skipped{Reason: "category", Category: r.eventType}
	}
	published, err := foreign.Time(r.published)
	problems := []error{missing("uuid", r.uuid), missing("published", r.published), missing("eventType", r.eventType)}
	if err != nil {
		problems = append(problems, fmt.Errorf("published: %w", err))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	e := &events.Event{
		Kind: kind.kind, Time: published,
		Source:        events.Source{Family: Family, ID: bounded(r.uuid), Category: r.eventType},
		App:           r.app(),
		Session:       events.Session{ID: bounded(cmp.Or(r.auth.session, r.auth.root))},
		Correlation:   bounded(cmp.Or(r.debug.flow, r.transaction)),
		Network:       events.Network{ASN: r.security.asn, Org: r.security.org},
		ProviderPlace: r.client.place.provider(),
		Device:        r.deviceOf(),
		UserAgent:     r.client.agent,
		Risk:          r.risk(),
	}
	e.IP, e.AddressText = foreign.Address(cmp.Or(r.client.ip, r.firstHop))
	if r.client.zone != "" {
		e.Access.Locations = []string{r.client.zone}
	}
	if err := r.who(e); err != nil {
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

// who sets the user. Okta names the one who acts, which may be its own system, an administrator or an application; then
// the user is the target. A name that no account has keeps the name.
func (r *record) who(e *events.Event) error {
	actor, target := &r.actor, r.target("User")
	person := strings.EqualFold(actor.kind, "User")
	subject := actor
	if target != nil && target.id != "" && (e.Kind != events.SignIn || !person || actor.id == "") {
		subject = target
	}
	if subject == actor && !person {
		if e.Kind != events.SignIn || !r.actor.program() {
			return &foreign.Skipped{Reason: "no_user", Category: r.eventType}
		}
		e.User = events.User{ID: bounded(actor.id), Type: events.Workload, Name: cmp.Or(actor.name, actor.alternate)}
		return nil
	}
	e.User = events.User{ID: bounded(subject.id), Name: cmp.Or(subject.alternate, subject.name)}
	if e.User.ID == "" {
		if subject.alternate == "" {
			return &foreign.Skipped{Reason: "no_user", Category: r.eventType}
		}
		e.User.ID, e.User.Type = bounded("name:"+strings.ToLower(subject.alternate)), events.Unresolved
	}
	if e.Kind == events.AccountChange && actor.id != subject.id {
		e.Change.Actor = events.Ref{ID: bounded(actor.id), Name: cmp.Or(actor.alternate, actor.name)}
	}
	return nil
}

// program tells a client application, whose types are PublicClientApp, PrivateClientApp and the like.
func (e *entity) program() bool {
	return e.id != "" && strings.HasSuffix(e.kind, "ClientApp")
}

// app is the application that was signed in to, or the one that asked.
func (r *record) app() events.Ref {
	if t := r.target("AppInstance"); t != nil {
		return events.Ref{ID: bounded(t.id), Name: cmp.Or(t.name, t.alternate)}
	}
	if r.actor.program() {
		return events.Ref{ID: bounded(r.actor.id), Name: cmp.Or(r.actor.name, r.actor.alternate)}
	}
	return events.Ref{ID: bounded(r.client.id)}
}

// deviceOf is the device. Its id is that of the enrolled device, else of the browser's device cookie, else the
// fingerprint that the sign-in page took.
func (r *record) deviceOf() events.Device {
	d := events.Device{
		ID: bounded(cmp.Or(r.device.id, r.debug.deviceToken, r.debug.fingerprint)), Name: r.device.name, Managed: r.device.managed,
		OS: cmp.Or(r.device.os, r.client.os), Browser: r.client.browser,
	}
	switch strings.ToLower(r.client.device) {
	case "computer":
		d.Type = "desktop"
	case "mobile":
		d.Type = "mobile"
	case "tablet":
		d.Type = "tablet"
	}
	return d
}

// target is the first target of a type, nil when there is none.
func (r *record) target(kind string) *entity {
	for i := range r.targets {
		if strings.EqualFold(r.targets[i].kind, kind) {
			return &r.targets[i]
		}
	}
	return nil
}

// bounded is a text as an id of this family.
func bounded(id string) string { return foreign.Identity(Family, id) }
