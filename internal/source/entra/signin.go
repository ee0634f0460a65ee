package entra

import (
	"cmp"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// signIn makes the event of a sign-in. Those of programs have no user: the program is the user, of a type of its own.
func (r *record) signIn(e *events.Event, program bool) error {
	var p problems
	e.Kind, e.Time, e.Emitted = events.SignIn, p.moment("createdDateTime", r.created, true), r.emittedAt()
	if e.Source.ID = bounded(strings.ToLower(string(r.id))); e.Source.ID == "" {
		p.missing("id")
	}
	program = program || r.user == "" && r.upn == "" && r.program != ""
	if program {
		r.workload(e, &p)
	} else {
		r.person(e, &p)
	}
	if err := p.err(); err != nil {
		return err
	}
	if e.User.ID == "" {
		// Flows that were broken off before anybody was named: nothing is wrong with the record, and nothing to be learnt.
		return &foreign.Skipped{Reason: "no_user", Category: e.Source.Category}
	}
	e.User.HomeTenant = r.guestOf(e.Tenant)
	e.App = events.Ref{ID: bounded(r.appID), Name: r.appName}
	e.Resource = events.Ref{ID: bounded(r.resourceID), Name: r.resourceName}
	e.Session = events.Session{ID: bounded(r.session), Token: bounded(r.token), TokenType: snake(r.tokenType), Bound: r.bound}
	e.Correlation = bounded(strings.ToLower(r.correlation))
	if e.Correlation == "" {
		e.Correlation = bounded(strings.ToLower(string(known(r.outerCorrelation))))
	}
	e.Network.ASN, e.UserAgent, e.Device = r.asn, r.userAgent, r.device.known()
	e.Access = events.Access{Result: accessResult(r.accessStatus), Policies: r.policies, Locations: r.locations}
	e.Risk = r.signInRisk()
	r.where(e)
	r.judge(e)
	switch {
	case program:
		e.Interactive = events.No
		if r.credential != "" {
			e.Auth.Methods = []string{snake(r.credential)}
		}
	case r.interactive != events.Unknown || e.Source.Category == "":
		e.Interactive = r.interactive // the category does not say: old interactive logs have both
	default:
		e.Interactive = events.TriOf(e.Source.Category != nonInteractive)
	}
	return nil
}

// person sets whose sign-in it is. Who is known by the name that was tried only is keyed by it; where the record leaves
// the user blank, there is none.
func (r *record) person(e *events.Event, p *problems) {
	e.User = events.User{ID: bounded(strings.ToLower(r.user)), Name: cmp.Or(r.upn, r.displayName)}
	switch {
	case e.User.ID != "":
	case r.upn != "":
		e.User.ID, e.User.Type = byName(r.upn), events.Unresolved
	case !r.userAsked:
		p.missing("userId")
	}
}

// workload sets the program that signed in. One that the tenant does not know has no id but its application's.
func (r *record) workload(e *events.Event, p *problems) {
	id := cmp.Or(r.program, r.appID)
	if id == "" {
		p.missing("servicePrincipalId")
	}
	e.User = events.User{ID: bounded(strings.ToLower(id)), Type: events.Workload, Name: cmp.Or(r.programName, r.appName)}
}

// guestOf is the tenant that a guest comes from.
func (r *record) guestOf(tenant string) string {
	home := strings.ToLower(r.homeTenant)
	if home == tenant || tenant == "" && !strings.EqualFold(r.userType, "guest") {
		return ""
	}
	return bounded(home)
}

// where sets the address, and the place as the record says it.
func (r *record) where(e *events.Event) {
	ip := known(r.ip)
	if ip == nil || string(ip) == "<null>" {
		ip = r.callerIP
	}
	e.IP, e.AddressText = foreign.Address(string(ip))
	e.ProviderPlace = r.place.provider(r.country)
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

func (d *device) known() events.Device {
	return events.Device{ID: bounded(d.id), Name: d.name, Managed: d.managed, Compliant: d.compliant, OS: d.os, Browser: d.browser}
}
