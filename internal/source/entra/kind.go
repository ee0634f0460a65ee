package entra

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// kind is what a record reports.
type kind int

const (
	other kind = iota
	signIn
	programSignIn
	firstParty // sign-ins of Microsoft's own services, many and of nobody
	detection  // a risk that was seen
	riskyUser  // the risk of a user altogether
	directoryAudit
)

// The categories of sign-ins, as Azure Monitor spells them.
const (
	interactive      = "SignInLogs"
	nonInteractive   = "NonInteractiveUserSignInLogs"
	servicePrincipal = "ServicePrincipalSignInLogs"
	managedIdentity  = "ManagedIdentitySignInLogs"
)

// categories are the categories of records that are known.
var categories = map[string]kind{
	interactive:                           signIn,
	nonInteractive:                        signIn,
	"ADFSSignInLogs":                      signIn,
	servicePrincipal:                      programSignIn,
	managedIdentity:                       programSignIn,
	"MicrosoftServicePrincipalSignInLogs": firstParty,
	"UserRiskEvents":                      detection,
	"ServicePrincipalRiskEvents":          detection,
	"RiskyUsers":                          riskyUser,
	"RiskyServicePrincipals":              riskyUser,
	"AuditLogs":                           directoryAudit,
}

// usual are the usual spellings by those in lower case, with and without the "aad" that tables are named with.
var usual = func() map[string]string {
	names := map[string]string{}
	for name := range categories {
		names[strings.ToLower(name)], names["aad"+strings.ToLower(name)] = name, name
	}
	return names
}()

// classify says what a record reports, and names its category in the usual spelling. The table's name comes before the
// category's, which in tables of audits is that of the audit. A record without either is taken for what it holds.
func (r *record) classify() (kind, string) {
	if r.category == "" && r.table == "" {
		return r.held()
	}
	for _, name := range [...]string{r.table, r.category} {
		if k, ok := categories[name]; ok {
			return k, name
		}
		if name = usual[strings.ToLower(name)]; name != "" {
			return categories[name], name
		}
	}
	return other, cmp.Or(r.category, r.table)
}

// held tells what a record is by what it holds.
func (r *record) held() (kind, string) {
	switch {
	case r.audit.activity != "":
		return directoryAudit, "AuditLogs"
	case r.risk.detection != "" || len(r.risk.detected) > 0:
		if r.program != "" {
			return detection, "ServicePrincipalRiskEvents"
		}
		return detection, "UserRiskEvents"
	case len(r.risk.userUpdated) > 0:
		if r.programType != "" || r.appID != "" {
			return riskyUser, "RiskyServicePrincipals"
		}
		return riskyUser, "RiskyUsers"
	}
	switch r.eventType {
	case "interactiveUser":
		return signIn, interactive
	case "nonInteractiveUser":
		return signIn, nonInteractive
	case "servicePrincipal":
		return programSignIn, servicePrincipal
	case "managedIdentity":
		return programSignIn, managedIdentity
	}
	return signIn, ""
}

// tell says what the record means.
func (r *record) tell(e *events.Event, raw []byte, emit foreign.Emit) {
	kind, category := r.classify()
	*e = events.Event{Tenant: r.tenantID(), Source: events.Source{Family: Family, Category: category}}
	var err error
	switch kind {
	case signIn, programSignIn:
		err = r.signIn(e, kind == programSignIn)
	case detection, riskyUser:
		err = r.report(e, kind == riskyUser)
	case directoryAudit:
		r.audited(e, raw, emit)
		return
	case firstParty:
		err = &foreign.Skipped{Reason: "first_party", Category: category}
	case other:
		err = &foreign.Skipped{Reason: "category", Category: category}
	}
	if err != nil {
		emit(raw, nil, err)
		return
	}
	emit(raw, e, nil)
}

// tenantID is the tenant in lower case, "" when the record does not name it.
func (r *record) tenantID() string {
	tenant := cmp.Or(r.tenant, r.innerTenant)
	if tenant == "" {
		tenant = tenantOf(r.resource)
	}
	return strings.ToLower(tenant)
}

// tenantOf finds the tenant in a path such as /tenants/<id>/providers/Microsoft.aadiam, in either case.
func tenantOf(path []byte) string {
	parts := bytes.Split(path, []byte("/"))
	for i, part := range parts {
		if fold(part, "tenants") && i+1 < len(parts) {
			return string(parts[i+1])
		}
	}
	return ""
}

// problems collects what is wrong with a record.
type problems []error

// moment reads a time; required tells that the record is nothing without it.
func (p *problems) moment(field string, text []byte, required bool) events.Millis {
	m, err := moment(text)
	switch {
	case err != nil:
		*p = append(*p, fmt.Errorf("%s: %w", field, err))
	case m == 0 && required:
		p.missing(field)
	}
	return m
}

func (p *problems) missing(field string) {
	*p = append(*p, fmt.Errorf("%s: is missing", field))
}

func (p problems) err() error { return errors.Join(p...) }

// emittedAt is when the record was written. It is only a measure of lag, and not worth a record.
func (r *record) emittedAt() events.Millis {
	m, _ := moment(r.emitted)
	return m
}

// bounded is a text as an id of this family.
func bounded(id string) string { return foreign.Identity(Family, id) }

// byName is the id of who is known by a name only, in a space of its own.
func byName(name string) string {
	name = strings.ToLower(name)
	if id := "name:" + name; len(id) <= events.MaxID && printable(id) {
		return id
	}
	return "name:" + events.ID(Family, name)
}

// printable tells that an event may have the text as an id.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 || c >= 0x7f {
			return false
		}
	}
	return true
}

// snake writes a name of the provider's in lower case with underscores: primaryRefreshToken is primary_refresh_token.
func snake(name string) string {
	upper := 0
	for _, c := range []byte(name) {
		if c >= 'A' && c <= 'Z' || c == ' ' {
			upper++
		}
	}
	if upper == 0 {
		return name
	}
	out := make([]byte, 0, len(name)+upper)
	for i, c := range []byte(name) {
		switch {
		case c == ' ':
			c = '_'
		case c >= 'A' && c <= 'Z':
			if i > 0 && out[len(out)-1] != '_' {
				out = append(out, '_')
			}
			c |= 0x20
		}
		out = append(out, c)
	}
	return string(out)
}

// addOnce appends a text that is not in the list yet.
func addOnce(list []string, text string) []string {
	if len(list) >= maxElements || slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}
