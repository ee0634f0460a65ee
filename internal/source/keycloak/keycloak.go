// Package keycloak decodes the user events and admin events of Keycloak, and asks its admin REST API for them.
//
// Events come as the REST API and listeners shape them (JSON, one or an array), or as lines of the logger
// org.keycloak.events: plain text, or the message of a JSON log line. A log line has no id; its hash, with host and
// sequence where they are known, stands for one. So the same event by API and by log is two: take one of them.
//
// LOGIN and what redeems tokens are sign-ins. CODE_TO_TOKEN and IDENTITY_PROVIDER_LOGIN follow or precede a LOGIN, from
// the address of a server, and are left out unless they fail. A failure may carry no user: it is keyed by the name that
// was tried. The address is whatever the reverse proxy passed on.
//
// Permission of the client that asks: the role view-events of the realm.
package keycloak

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of Keycloak's event ids.
const Family = "keycloak"

// Decoder decodes events in any of the forms. It is safe for concurrent use.
type Decoder struct {
	format *foreign.Format
}

// Events decodes user events, admin events and log lines.
func Events() *Decoder {
	return &Decoder{format: &foreign.Format{Envelopes: []string{"records", "events"}, Record: record}}
}

// MaxValue is the largest value that Decode accepts, in bytes.
func (d *Decoder) MaxValue() int { return d.format.MaxValue() }

// Decode calls emit for every record of value, in order: with its event, with what is wrong with it, or with a
// *foreign.Skipped. A value that is no JSON is a line of a log.
func (d *Decoder) Decode(value []byte, emit foreign.Emit) {
	text := bytes.TrimLeft(value, " \t\r\n")
	switch {
	case len(text) == 0, text[0] == '{', text[0] == '[', len(value) > d.MaxValue(), !utf8.Valid(value):
		d.format.Decode(value, emit)
	default:
		r, err := readLine(string(value))
		finish(value, r, err, emit)
	}
}

// record decodes a JSON object: an event, or a log line.
func record(value []byte, emit foreign.Emit) {
	r, err := read(value)
	finish(value, r, err, emit)
}

func finish(value []byte, r *raw, err error, emit foreign.Emit) {
	var e *events.Event
	switch {
	case err != nil:
	case r.operation != "":
		e, err = r.admin()
	default:
		e, err = r.user()
	}
	if err != nil {
		emit(value, nil, err)
		return
	}
	emit(value, e, nil)
}

// raw is an event as it came; every text is "" when the record did not say.
type raw struct {
	id, time         string
	kind             string // of a user event
	realm            string
	client, userID   string
	session, address string
	failure          string // "error"
	details          map[string]string

	// Of an admin event, in which client, userID and address are those of who did it.
	operation, resource, path string
	representation            string

	// line is what identifies a log line, "" when the record is none.
	line string
}

// event is what user and admin events have in common.
func (r *raw) event(kind events.Kind, category string) (*events.Event, error) {
	if r.time == "" {
		return nil, fmt.Errorf("time: is missing; log lines must keep their date and time")
	}
	at, err := foreign.Time(r.time)
	if err != nil {
		return nil, fmt.Errorf("time: %w", err)
	}
	e := &events.Event{
		Kind: kind, Tenant: r.realm, Time: at, Source: events.Source{Family: Family, ID: identity(r.sourceID()), Category: category},
		Code: r.failure, Outcome: r.outcome(),
	}
	if foreign.GUID(r.realm) {
		e.Tenant = strings.ToLower(r.realm)
	}
	e.IP, e.AddressText = foreign.Address(r.address)
	return e, nil
}

// sourceID is the event's id; what has none, as in older versions, is known by all that it says.
func (r *raw) sourceID() string {
	switch {
	case r.line != "":
		return "line:" + events.ID(Family, r.line)
	case r.id != "":
		return r.id
	}
	fields := []string{
		Family, r.time, r.kind, r.realm, r.client, r.userID, r.session, r.address, r.failure, r.operation, r.resource, r.path, r.representation,
	}
	for _, key := range sortedKeys(r.details) {
		fields = append(fields, key, r.details[key])
	}
	return "hash:" + events.ID(fields...)
}

// identity is a text as an id of this family.
func identity(s string) string { return foreign.Identity(Family, s) }
