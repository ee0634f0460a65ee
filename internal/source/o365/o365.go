// Package o365 decodes the unified audit log of Microsoft 365, and asks the Office 365 Management Activity API for it.
//
// Of its many record types two concern us: AzureActiveDirectoryStsLogon (15), which are sign-ins, and
// AzureActiveDirectory (8), which are changes of the directory: passwords, second factors, consents, roles, devices,
// accounts, and the revocation of a user's sessions. All others are left out. Records come as the API's arrays, one by
// one, or as rows of an export whose AuditData column is the record as text (JSON, or CSV a row a line).
//
// The outcome of a sign-in is its ErrorNumber, which is Entra's code. ResultStatus speaks of the HTTP exchange: a failed
// sign-in commonly says Success there. The same sign-ins reach us through Graph and Event Hubs under another family, so
// a tenant takes its sign-ins from one of them only.
//
// Permission of the application that asks: ActivityFeed.Read of the Office 365 Management APIs.
package o365

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of the audit log's record ids.
const Family = "o365"

// Decoder decodes the unified audit log. It is safe for concurrent use.
type Decoder struct {
	format *foreign.Format
}

// Audit decodes arrays of records, single records, and rows of exports.
func Audit() *Decoder {
	return &Decoder{format: &foreign.Format{Envelopes: []string{"records", "value"}, Record: record}}
}

// MaxValue is the largest value that Decode accepts, in bytes.
func (d *Decoder) MaxValue() int { return d.format.MaxValue() }

// Decode calls emit for every record of value, in order: with its event, with what is wrong with it, or with a
// *foreign.Skipped. A value that is no JSON is a row of a CSV export.
func (d *Decoder) Decode(value []byte, emit foreign.Emit) {
	trimmed := bytes.TrimLeft(value, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] == '{' || trimmed[0] == '[' || len(value) > d.MaxValue() || !utf8.Valid(value) {
		d.format.Decode(value, emit)
		return
	}
	row(value, emit)
}

// row decodes a row of a CSV export. Which columns there are varies by tool; the one that holds an object is the record.
func row(value []byte, emit foreign.Emit) {
	if bytes.HasPrefix(value, []byte("#TYPE ")) { // of Windows PowerShell
		emit(value, nil, &foreign.Skipped{Reason: "header", Category: "#TYPE"})
		return
	}
	in := csv.NewReader(bytes.NewReader(value))
	in.FieldsPerRecord = -1
	fields, err := in.Read()
	if err != nil {
		emit(value, nil, errors.New("is neither JSON nor a row of a CSV export with commas and quotes"))
		return
	}
	for _, field := range fields {
		if strings.HasPrefix(strings.TrimSpace(field), "{") {
			record([]byte(field), func(_ []byte, e *events.Event, err error) { emit(value, e, err) })
			return
		}
	}
	for _, field := range fields {
		if strings.EqualFold(strings.TrimSpace(field), "AuditData") {
			emit(value, nil, &foreign.Skipped{Reason: "header", Category: "AuditData"})
			return
		}
	}
	emit(value, nil, errors.New("AuditData: is missing in this row; a record must not go over several lines"))
}

// record decodes one record.
func record(value []byte, emit foreign.Emit) {
	r, err := read(value)
	if err != nil {
		emit(value, nil, err)
		return
	}
	switch {
	case r.is("15", "AzureActiveDirectoryStsLogon"):
		e, err := r.signIn()
		emit(value, e, err)
	case r.is("8", "AzureActiveDirectory"):
		r.change(value, emit)
	case r.recordType == "" && r.content != "":
		emit(value, nil, errors.New("contentUri: names content that is not here; it expired before it was fetched, could not be fetched, or this is a notification"))
	case r.recordType == "":
		emit(value, nil, errors.New("RecordType: is missing"))
	default:
		emit(value, nil, &foreign.Skipped{Reason: "category", Category: r.recordType})
	}
}

// is reports whether the record is of a type, which has a number and in exports a name.
func (r *raw) is(number, name string) bool {
	return r.recordType == number || strings.EqualFold(r.recordType, name)
}

// event is what sign-ins and changes have in common.
func (r *raw) event(kind events.Kind) (*events.Event, error) {
	created, err := foreign.Time(r.created)
	problems := []error{}
	if err != nil {
		problems = append(problems, fmt.Errorf("CreationTime: %w", err))
	}
	for _, field := range [][2]string{{"Id", r.id}, {"CreationTime", r.created}} {
		if field[1] == "" {
			problems = append(problems, fmt.Errorf("%s: is missing", field[0]))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	e := &events.Event{
		Kind: kind, Tenant: strings.ToLower(r.organization), Time: created,
		Source: events.Source{Family: Family, ID: identity(strings.ToLower(r.id)), Category: strings.TrimSuffix(r.operation, ".")},
		App:    events.Ref{ID: identity(r.app)},
		Session: events.Session{
			ID: identity(cmp.Or(r.device["SessionId"], r.session)), Token: identity(r.token),
		},
		UserAgent: cmp.Or(r.extended["UserAgent"], r.agent),
		Device: events.Device{
			ID: identity(r.device["Id"]), Name: r.device["DisplayName"], OS: r.device["OS"], Browser: r.device["BrowserType"],
			Compliant: flag(r.device["IsCompliant"]), Managed: flag(r.device["IsManaged"]),
		},
	}
	// "Compliant and managed" that is not true does not say which of the two is missing.
	if flag(r.device["IsCompliantAndManaged"]) == events.Yes {
		e.Device.Compliant, e.Device.Managed = events.Yes, events.Yes
	}
	// ClientIP may be a service of Microsoft's; the actor's address, where it is given, is the person's.
	e.IP, e.AddressText = foreign.Address(cmp.Or(r.actorIP, r.clientIP))
	return e, nil
}

// signIn says what a record of type 15 means.
func (r *raw) signIn() (*events.Event, error) {
	e, err := r.event(events.SignIn)
	if err != nil {
		return nil, err
	}
	e.Resource.ID, e.Correlation = identity(r.object), identity(strings.ToLower(r.flow))
	e.User = r.who(r.actor, true).user()
	if program := r.userType == "5" || r.userType == "6" || strings.EqualFold(r.userType, "Application") || strings.EqualFold(r.userType, "ServicePrincipal"); program {
		e.User.Type = events.Workload
		if r.app != "" {
			e.User.ID = identity(strings.ToLower(r.app))
		}
	}
	if e.User.ID == "" {
		return nil, &foreign.Skipped{Reason: "no_user", Category: r.operation}
	}
	r.judge(e)
	return e, nil
}

// who is somebody or something in a list of identities.
type who struct {
	// kind is "User", "ServicePrincipal", "Device", "Group", "Role"; "" when the list does not say.
	kind string
	// id is the object id, puid the older id of a user, upn the user's name, name that of everything else.
	id, puid, upn, name string
}

// The types of entries in a list of identities that are used.
const (
	typeName = "1"
	typePUID = "3"
	typeUPN  = "5"
)

// who reads a list of identities: several entries tell of one thing. The user at the record's top fills the gaps of an
// actor.
func (r *raw) who(list []entry, actor bool) who {
	var w who
	for _, entry := range list {
		kind, id, ok := strings.Cut(entry.id, "_")
		switch {
		case ok && foreign.GUID(id):
			w.kind, w.id = kind, strings.ToLower(id)
		case foreign.GUID(entry.id):
			if w.id == "" {
				w.id = strings.ToLower(entry.id)
			}
		case entry.kind == typePUID:
			w.puid = entry.id
		case entry.kind == typeUPN:
			w.upn = entry.id
		case entry.kind == typeName:
			w.name = entry.id
		}
	}
	if !actor {
		if w.kind == "" && w.upn != "" {
			w.kind = "User"
		}
		return w
	}
	if w.upn == "" && !foreign.GUID(r.userID) && !strings.HasPrefix(r.userID, "ServicePrincipal_") {
		w.upn = r.userID
	}
	for _, id := range []string{r.userKey, r.userID} {
		switch before, _, _ := strings.Cut(id, "@"); {
		case w.id == "" && foreign.GUID(id):
			w.id = strings.ToLower(id)
		case w.puid == "" && puid(before):
			w.puid = before
		}
	}
	if w.kind == "" && (w.upn != "" || w.puid != "") {
		w.kind = "User"
	}
	return w
}

// user is the user by object id, else by the older id, else by the name that was tried.
func (w who) user() events.User {
	u := events.User{Name: w.upn}
	switch {
	case w.id != "":
		u.ID = w.id
	case w.puid != "":
		u.ID = "puid:" + strings.ToLower(w.puid)
	case w.upn != "":
		u.ID, u.Type = identity("name:"+strings.ToLower(w.upn)), events.Unresolved
	}
	return u
}

// ref names what is no user, or a user as the one who did something.
func (w who) ref() events.Ref {
	if w.kind == "User" {
		u := w.user()
		return events.Ref{ID: u.ID, Name: u.Name}
	}
	return events.Ref{ID: w.id, Name: cmp.Or(w.name, w.upn)}
}

// puid reports whether s has the form of the ids that users had before object ids: 16 hexadecimal digits.
func puid(s string) bool {
	return len(s) == 16 && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// identity is a text as an id of this family.
func identity(s string) string { return foreign.Identity(Family, s) }

func flag(s string) events.Tri {
	switch strings.ToLower(s) {
	case "true":
		return events.Yes
	case "false":
		return events.No
	}
	return events.Unknown
}
