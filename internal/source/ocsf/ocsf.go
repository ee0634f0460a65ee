// Package ocsf decodes events of the Open Cybersecurity Schema Framework (https://schema.ocsf.io), any 1.x: class 3002
// Authentication and class 3001 Account Change. Records come one by one, in arrays, or in an envelope such as
// {"Records":[…]}. Attributes that are not known here are ignored, and so are unmapped and raw_data; other classes are
// left out.
//
// OCSF does not say whether a person took part. is_new_logon speaks of the logon session, not of that; only a logon type,
// or the factors that were asked for, do. Where neither is there, it stays unknown: a token that was refreshed is reported
// as a logon too, and must not pass for a fresh proof of identity.
package ocsf

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of metadata.uid.
const Family = "ocsf"

// The classes that are decoded.
const (
	accountChange  = "3001"
	authentication = "3002"
)

// Events decodes OCSF events.
func Events() *foreign.Format {
	return &foreign.Format{Envelopes: []string{"Records", "records"}, Record: decode}
}

func decode(raw []byte, emit foreign.Emit) {
	var r record
	l := &jlexer.Lexer{Data: raw}
	r.read(l)
	if l.Consumed(); l.Error() != nil {
		emit(raw, nil, foreign.Broken(l))
		return
	}
	e, err := r.event(raw)
	emit(raw, e, err)
}

// event says what the record means.
func (r *record) event(raw []byte) (*events.Event, error) {
	class, activity := r.kind()
	var decide func(activity string, e *events.Event) error
	switch class {
	case authentication:
		decide = r.authenticated
	case accountChange:
		decide = r.changed
	case "":
		return nil, errors.New("class_uid: is missing")
	default:
		if r.className != "" {
			class = r.className
		}
		return nil, &foreign.Skipped{Reason: "category", Category: class}
	}
	e := r.common(raw)
	if err := decide(activity, e); err != nil {
		return nil, err
	}
	var problems []error
	text, field := r.time, "time"
	if text == "" {
		text, field = r.timeText, "time_dt"
	}
	at, err := foreign.Time(text)
	switch {
	case err != nil:
		problems = append(problems, fmt.Errorf("%s: %w", field, err))
	case text == "":
		problems = append(problems, errors.New("time: is missing"))
	}
	e.Time = at
	if e.User.ID == "" {
		problems = append(problems, errors.New("user: is missing, it needs a uid, a name or an e-mail address"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return e, nil
}

// kind is the class and the activity. Both are required, and both are part of type_uid as well.
func (r *record) kind() (class, activity string) {
	class, activity = r.class, r.activity
	if n := len(r.typeUID); n > 2 {
		if class == "" {
			class = r.typeUID[:n-2]
		}
		if activity == "" {
			activity = strings.TrimPrefix(r.typeUID[n-2:], "0")
		}
	}
	if class == "" {
		switch strings.ToLower(r.className) {
		case "authentication":
			class = authentication
		case "account change":
			class = accountChange
		}
	}
	return class, activity
}

// common is what both classes tell alike. Its texts are identities no longer than an event takes.
func (r *record) common(raw []byte) *events.Event {
	from := &r.source
	e := &events.Event{
		Tenant:  events.Canonical(cmp.Or(r.tenant, r.account)),
		User:    r.who(),
		Source:  events.Source{Family: Family, ID: identity(r.uid)},
		Code:    r.code,
		App:     events.Ref{ID: identity(r.service.uid), Name: r.service.name},
		Session: events.Session{ID: identity(r.session.uid), Token: identity(r.token.uid), TokenType: tokenTypes[r.token.kind]},
		Network: events.Network{ASN: from.asn, Org: from.org}, ProviderPlace: from.place.provider(),
		Device: r.clientDevice(), UserAgent: r.userAgent, Risk: r.risk(), Correlation: identity(r.flow),
	}
	if e.Source.ID == "" {
		// The same bytes are the same event.
		e.Source.ID = "content:" + events.ID(Family, string(raw))
	}
	if e.App.Name == "" && e.App.ID == "" {
		e.App.Name = r.target.service
	}
	if id := r.target.uid; id != "" {
		e.Resource = events.Ref{ID: identity(id), Name: r.target.name}
	}
	if e.Session.ID == "" {
		e.Session.ID = identity(r.actor.session)
	}
	if e.Session.Token == "" {
		e.Session.Token = identity(r.session.credential)
	}
	e.IP, e.AddressText = foreign.Address(from.ip)
	if emitted, err := foreign.Time(r.logged); err == nil {
		e.Emitted = emitted // only a measure of lag: not worth a record
	}
	return e
}

// who is the user. The name may be with the actor, when that is the same person.
func (r *record) who() events.User {
	u, a := r.user, &r.actor.user
	uid := u.stable()
	if u.same(a) {
		if uid == "" {
			uid, u.kind, u.kindName = a.stable(), cmp.Or(u.kind, a.kind), cmp.Or(u.kindName, a.kindName)
		}
		u.name, u.email, u.fullName = cmp.Or(u.name, a.name), cmp.Or(u.email, a.email), cmp.Or(u.fullName, a.fullName)
	}
	out := events.User{ID: uid, Name: cmp.Or(u.name, u.email, u.fullName)}
	if u.program(uid) {
		out.Type = events.Workload
	}
	if u.kind == adminUser {
		out.Privileged = events.Yes
	}
	if name := cmp.Or(u.name, u.email); uid == "" && name != "" {
		// A name without an account is keyed by what was tried, in a space of its own.
		out.ID = "name:" + strings.ToLower(name)
		if out.Type == "" {
			out.Type = events.Unresolved
		}
	}
	out.ID = identity(out.ID)
	return out
}

// The types of users that say more than that there is one.
const (
	adminUser   = "2"
	systemUser  = "3"
	serviceUser = "4"
)

// nullSID is what Windows writes for a user who was not found.
const nullSID = "S-1-0-0"

// stable is the user's id; GUIDs are compared without case.
func (p *person) stable() string {
	if strings.EqualFold(p.uid, nullSID) {
		return ""
	}
	return events.Canonical(p.uid)
}

// program tells whether the account is not a person's.
func (p *person) program(uid string) bool {
	if p.kind == systemUser || p.kind == serviceUser || strings.EqualFold(p.kindName, "service") || strings.EqualFold(p.kindName, "system") {
		return true
	}
	// Windows: accounts of computers, and the system's own.
	return strings.HasSuffix(p.name, "$") || uid == "S-1-5-18" || uid == "S-1-5-19" || uid == "S-1-5-20"
}

// same tells whether q can be p once more: nothing in them differs that names a person.
func (p *person) same(q *person) bool {
	mine, theirs := p.stable(), q.stable()
	switch {
	case *q == (person{}):
		return false
	case *p == (person{}):
		return true
	case mine != "" && theirs != "":
		return mine == theirs
	case q.program(theirs):
		return false // it signs somebody in
	}
	named := false
	for _, pair := range [][2]string{{p.name, q.name}, {p.email, q.email}, {p.name, q.email}, {p.email, q.name}} {
		if pair[0] != "" && pair[1] != "" {
			if strings.EqualFold(pair[0], pair[1]) {
				return true
			}
			named = true
		}
	}
	return !named
}

// clientDevice is the device that the user is at. With a logon on a server the record's device is the server.
func (r *record) clientDevice() events.Device {
	d := &r.device
	t := &r.target
	if *d == (machine{}) || d.uid != "" && d.uid == t.uid || d.uid == "" && d.name != "" && d.name == t.name {
		d = &r.source.machine
	}
	return events.Device{ID: identity(d.uid), Name: d.name, OS: d.os, Managed: d.managed, Compliant: d.compliant}
}

// provider is the place as the record says it. Coordinates without a city are the middle of a country.
func (p *place) provider() events.Place {
	out := events.Place{City: p.city, Region: p.region, Country: foreign.Country(p.country)}
	if p.city != "" && p.lat >= -90 && p.lat <= 90 && p.lon >= -180 && p.lon <= 180 {
		out.Lat, out.Lon = p.lat, p.lon
	}
	return out
}

// identity is a text as an id of this family.
func identity(s string) string { return foreign.Identity(Family, s) }
