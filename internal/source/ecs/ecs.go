// Package ecs decodes documents of the Elastic Common Schema (https://www.elastic.co/guide/en/ecs/current/index.html):
// those of category authentication, and of the categories session and iam what ends a session or changes an account.
// Keys may be nested or dotted, values single or in arrays. Documents come one by one, in arrays, as the hits of a search,
// or as the lines of a bulk request, whose action lines are left out.
//
// ECS has no fields for sessions, second factors and strength of proof: these stay unknown, and so does whether a person
// took part, unless the action or the Windows logon type tells.
package ecs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of event.id.
const Family = "ecs"

// Documents decodes ECS documents.
func Documents() *foreign.Format {
	return &foreign.Format{Envelopes: []string{"hits"}, Record: decode}
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

// event says what the document means.
func (r *record) event(raw []byte) (*events.Event, error) {
	if r.isBulkAction() {
		return nil, &foreign.Skipped{Reason: "bulk_action", Category: "bulk action"}
	}
	var problems []error
	at, err := foreign.Time(r.time)
	switch {
	case err != nil:
		problems = append(problems, fmt.Errorf("@timestamp: %w", err))
	case r.time == "":
		problems = append(problems, errors.New("@timestamp: is missing"))
	}
	e := r.common(raw)
	e.Time = at
	if skip := r.decide(e); skip != "" {
		if len(r.categories) == 0 && len(problems) > 0 {
			return nil, errors.Join(append(problems, errors.New("event.category: is missing"))...)
		}
		return nil, &foreign.Skipped{Reason: skip, Category: r.category()}
	}
	if e.User.ID == "" {
		problems = append(problems, errors.New("user: is missing, it needs an id, a name or an e-mail address"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return e, nil
}

// category is the source's own word for its kind of record.
func (r *record) category() string {
	return cmp.Or(r.action, r.dataset, strings.Join(r.categories, " "))
}

// common is what all kinds of documents tell alike. Its texts are identities no longer than an event takes.
func (r *record) common(raw []byte) *events.Event {
	from := &r.source
	if from.ip == "" && from.address == "" {
		from = &r.client
	}
	e := &events.Event{
		Tenant: events.Canonical(cmp.Or(r.organization, r.account)),
		User:   r.user.account(),
		Source: events.Source{Family: Family, ID: identity(cmp.Or(r.id, r.hit)), Category: r.category()},
		Code:   cmp.Or(r.errorCode, r.code),
		App:    events.Ref{ID: identity(r.serviceID), Name: r.serviceName},
		// Not of ECS, but where OpenTelemetry and many pipelines put it.
		Session:       events.Session{ID: identity(r.session)},
		ProviderPlace: from.place(), UserAgent: r.userAgent,
		Device: events.Device{
			ID: identity(r.device), Name: r.deviceModel,
			OS: cmp.Or(r.agentOS, r.agentOSFull), Browser: strings.TrimSpace(r.browser + " " + r.browserVersion),
		},
		Risk: r.risk(), Correlation: identity(r.flow),
	}
	if e.Source.ID == "" {
		// The same bytes are the same event.
		e.Source.ID = "content:" + events.ID(Family, string(raw))
	}
	if e.Device.OS == "" && r.collector == "" {
		// With a collector the host is the one that it runs on, not the user's.
		e.Device.OS = r.hostOS
	}
	if asn, err := strconv.ParseUint(from.asn, 10, 32); err == nil {
		e.Network = events.Network{ASN: uint32(asn), Org: from.org}
	}
	if r.ruleID != "" || r.ruleName != "" {
		e.Access.Policies = []events.AccessPolicy{{ID: r.ruleID, Name: r.ruleName}}
	}
	e.IP, e.AddressText = foreign.Address(cmp.Or(from.ip, from.address))
	if emitted, err := foreign.Time(cmp.Or(r.created, r.ingested)); err == nil {
		e.Emitted = emitted // only a measure of lag: not worth a record
	}
	return e
}

// nullSID is what Windows writes for a user who was not found.
const nullSID = "S-1-0-0"

// account is the user by the stable id, or else by the name that was tried, in a space of its own.
func (p *person) account() events.User {
	out := events.User{ID: events.Canonical(p.id), Name: cmp.Or(p.name, p.email, p.fullName)}
	if strings.EqualFold(out.ID, nullSID) {
		out.ID = ""
	}
	// Windows: accounts of computers, and the system's own.
	if strings.HasSuffix(p.name, "$") || out.ID == "S-1-5-18" || out.ID == "S-1-5-19" || out.ID == "S-1-5-20" {
		out.Type = events.Workload
	}
	if name := cmp.Or(p.name, p.email); out.ID == "" && name != "" {
		out.ID = "name:" + strings.ToLower(name)
		if out.Type == "" {
			out.Type = events.Unresolved
		}
	}
	out.ID = identity(out.ID)
	return out
}

// place is the place as the document says it. Coordinates without a city are the middle of a country.
func (p *endpoint) place() events.Place {
	out := events.Place{City: p.city, Region: cmp.Or(p.region, p.regionCode), Country: foreign.Country(p.country)}
	lat, latErr := strconv.ParseFloat(p.lat, 64)
	lon, lonErr := strconv.ParseFloat(p.lon, 64)
	if latErr == nil && lonErr == nil && p.city != "" && lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180 {
		out.Lat, out.Lon = lat, lon
	}
	return out
}

// isBulkAction tells the first of two lines of a bulk request.
func (r *record) isBulkAction() bool { return r.members == 1 && r.bulk }

// is tells whether a document is of one of the types.
func (r *record) is(types ...string) bool {
	return slices.ContainsFunc(types, func(t string) bool { return slices.Contains(r.types, t) })
}

func (r *record) of(category string) bool { return slices.Contains(r.categories, category) }

// identity is a text as an id of this family.
func identity(s string) string { return foreign.Identity(Family, s) }
