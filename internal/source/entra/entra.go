// Package entra decodes the sign-in records of Microsoft Entra ID: the diagnostic records that Azure Event Hubs delivers,
// and the rows that Log Analytics exports. Both carry the same sign-in ids, and so do the records of Graph, so that all
// belong to one family: the same sign-in by two ways is one event.
//
// Records vary by age, licence and transport; what a record does not say stays unknown. Correlation ids and the sign-in
// identifier (what was typed, which may be a password) are never used.
package entra

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of Entra's sign-in ids.
const Family = "entra"

// maxValue is the largest value that is decoded, in bytes: an Event Hubs message holds many records.
const maxValue = 4 << 20

// Skipped reports a record that is well formed and not a user's sign-in.
type Skipped struct {
	// Reason is "service_principal" or "category".
	Reason   string
	Category string
}

func (s *Skipped) Error() string {
	return fmt.Sprintf("category %.60q holds no sign-ins of users", s.Category)
}

// Skip tells that the record is no mistake, and why it is left out.
func (s *Skipped) Skip() string { return s.Reason }

// Decoder decodes one of the two forms. It is safe for concurrent use.
type Decoder struct {
	read func(l *jlexer.Lexer, r *signIn)
}

// EventHub decodes the diagnostic records of Azure Event Hubs: {"records":[…]}, an array of records, or one record.
func EventHub() *Decoder { return &Decoder{read: readDiagnostic} }

// LogAnalytics decodes rows of SigninLogs and AADNonInteractiveUserSignInLogs: one row, an array, or {"records":[…]}.
func LogAnalytics() *Decoder { return &Decoder{read: readRow} }

// MaxValue is the largest value that Decode accepts, in bytes.
func (d *Decoder) MaxValue() int { return maxValue }

// Decode calls emit for every record of value, in order: with its event, with what is wrong with it, or with a *Skipped.
// The event is valid during the call only. A broken record ends the value when what follows cannot be told apart; then
// the last call has all the rest.
func (d *Decoder) Decode(value []byte, emit func(record []byte, e *events.Event, err error)) {
	switch {
	case len(value) > maxValue:
		emit(value, nil, fmt.Errorf("is larger than %d bytes", maxValue))
		return
	case !utf8.Valid(value):
		emit(value, nil, events.ErrNotUTF8)
		return
	}
	l := &jlexer.Lexer{Data: value}
	if l.CurrentToken() == jlexer.TokenDelim && l.IsDelim('[') {
		if d.elements(l, emit) {
			if l.Consumed(); l.Error() != nil {
				emit(value, nil, broken(l))
			}
		}
		return
	}
	var r signIn
	r.envelope = func(l *jlexer.Lexer) { d.elements(l, emit) }
	d.read(l, &r)
	l.Consumed()
	switch {
	case r.enveloped:
		// The elements have told their errors; this is about what follows them.
		if l.Error() != nil && !r.lost {
			emit(value, nil, broken(l))
		}
	case l.Error() != nil:
		emit(value, nil, broken(l))
	default:
		e, err := r.event()
		emit(value, e, err)
	}
}

// elements decodes the records of an array, and reports whether it came to the array's end.
func (d *Decoder) elements(l *jlexer.Lexer, emit func(record []byte, e *events.Event, err error)) bool {
	l.Delim('[')
	for !l.IsDelim(']') {
		begin := l.GetPos()
		raw := l.Raw()
		if !l.Ok() {
			// The lexer has read the token's first byte already.
			emit(l.Data[max(begin-1, 0):], nil, broken(l))
			return false
		}
		d.record(raw, emit)
		l.WantComma()
	}
	if !l.Ok() {
		emit(l.Data, nil, broken(l))
		return false
	}
	l.Delim(']')
	return true
}

func (d *Decoder) record(raw []byte, emit func(record []byte, e *events.Event, err error)) {
	l := &jlexer.Lexer{Data: raw}
	if l.CurrentToken() != jlexer.TokenDelim || !l.IsDelim('{') {
		emit(raw, nil, errors.New("is no record, must be an object"))
		return
	}
	var r signIn
	d.read(l, &r)
	if l.Error() != nil {
		emit(raw, nil, broken(l))
		return
	}
	e, err := r.event()
	emit(raw, e, err)
}

// broken words the lexer's error without the data it holds.
func broken(l *jlexer.Lexer) error {
	if at, ok := errors.AsType[*jlexer.LexerError](l.Error()); ok {
		return fmt.Errorf("is no JSON: %s (byte %d)", at.Reason, at.Offset)
	}
	return errors.New("is no JSON")
}

// signIn is a record as it came, whatever its form; every text is "" when the record did not say.
type signIn struct {
	// envelope is called for the records of an envelope; nil inside one.
	envelope        func(l *jlexer.Lexer)
	enveloped, lost bool

	id, created, emitted        string
	category                    string
	tenant, resource            string // resource is a path with the tenant in it
	userID, upn, displayName    string
	servicePrincipal            string
	appID, appName, clientApp   string
	resourceID, resourceName    string
	session, token              string
	ip, callerIP                string
	asn                         uint32
	country                     string // of two letters, beside the place
	place                       place
	device                      device
	userAgent                   string
	steps                       []step
	protocol, transfer          string
	requirement, contextClass   string
	errorCode, resultType       string
	failureReason, resultDetail string
	details                     string
	interactive                 events.Tri
}

type place struct {
	city, state, country string
	lat, lon             float64
}

type device struct {
	id, name, os, browser string
	managed, compliant    events.Tri
}

// event says what the record means.
func (r *signIn) event() (*events.Event, error) {
	category, skipped := classify(r.category)
	if skipped == "" && r.userID == "" && r.upn == "" && r.servicePrincipal != "" {
		skipped = "service_principal"
	}
	if skipped != "" {
		return nil, &Skipped{Reason: skipped, Category: r.category}
	}
	var problems []error
	missing := func(field, text string) {
		if text == "" {
			problems = append(problems, fmt.Errorf("%s: is missing", field))
		}
	}
	moment := func(field, text string) events.Millis {
		m, err := foreign.Time(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", field, err))
		}
		return m
	}
	tenant := r.tenant
	if tenant == "" {
		tenant = tenantOf(r.resource)
	}
	e := &events.Event{
		Kind: events.SignIn, Tenant: strings.ToLower(tenant),
		User:   events.User{ID: strings.ToLower(r.userID), Name: r.upn},
		Time:   moment("createdDateTime", r.created),
		Source: events.Source{Family: Family, ID: strings.ToLower(r.id), Category: category},
		App:    events.Ref{ID: r.appID, Name: r.appName}, Resource: events.Ref{ID: r.resourceID, Name: r.resourceName},
		Session:   events.Session{ID: r.session, Token: r.token},
		Network:   events.Network{ASN: r.asn},
		UserAgent: r.userAgent,
		Device: events.Device{
			ID: r.device.id, Name: r.device.name, Managed: r.device.managed, Compliant: r.device.compliant,
			OS: r.device.os, Browser: r.device.browser,
		},
		ProviderPlace: r.place.provider(r.country),
		Interactive:   r.interactive,
	}
	if emitted, err := foreign.Time(r.emitted); err == nil {
		e.Emitted = emitted // only a measure of lag: not worth a record
	}
	missing("id", r.id)
	missing("createdDateTime", r.created)
	missing("tenantId", tenant)
	if e.User.Name == "" {
		e.User.Name = r.displayName
	}
	if e.User.ID == "" && r.upn != "" {
		// A name nobody has: keyed by what was tried, in a space of its own.
		e.User.ID = "name:" + strings.ToLower(r.upn)
	}
	missing("userId", e.User.ID)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if e.Interactive == events.Unknown && category != "" {
		e.Interactive = events.TriOf(category != nonInteractive)
	}
	ip := r.ip
	if ip == "" {
		ip = r.callerIP
	}
	e.IP, e.AddressText = foreign.Address(ip)
	r.judge(e)
	return e, nil
}

// provider is the place as the record says it. Coordinates without a city are the middle of a country.
func (p *place) provider(country string) events.Place {
	out := events.Place{City: p.city, Region: p.state, Country: foreign.Country(p.country)}
	if out.Country == "" {
		out.Country = foreign.Country(country)
	}
	if p.city != "" && p.lat >= -90 && p.lat <= 90 && p.lon >= -180 && p.lon <= 180 {
		out.Lat, out.Lon = p.lat, p.lon
	}
	return out
}

// The categories of user sign-ins.
const (
	interactive    = "SignInLogs"
	nonInteractive = "NonInteractiveUserSignInLogs"
	federation     = "ADFSSignInLogs"
)

// classify returns a category in its usual spelling, or why its records are skipped. Log Analytics names the tables a
// little differently. A record without a category is taken for what it holds.
func classify(category string) (usual, skipped string) {
	switch strings.TrimPrefix(strings.ToLower(category), "aad") {
	case "":
		return "", ""
	case "signinlogs":
		return interactive, ""
	case "noninteractiveusersigninlogs":
		return nonInteractive, ""
	case "adfssigninlogs":
		return federation, ""
	case "serviceprincipalsigninlogs", "managedidentitysigninlogs", "microsoftserviceprincipalsigninlogs":
		return "", "service_principal"
	}
	return "", "category"
}

// tenantOf finds the tenant in a path such as /tenants/<id>/providers/Microsoft.aadiam, in either case.
func tenantOf(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if strings.EqualFold(part, "tenants") && i+1 < len(parts) {
			return parts[i+1]
		}
	}
	return ""
}
