package anomaly

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
)

// dayZero is the midnight that the times of a scenario count from.
var dayZero = events.MillisOf(time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC))

var cities = map[string]events.Place{
	"utrecht":    {Lat: 52.0907, Lon: 5.1214, City: "Utrecht", Region: "Utrecht", Country: "NL", RadiusKm: 20},
	"rome":       {Lat: 41.8919, Lon: 12.5113, City: "Rome", Country: "IT", RadiusKm: 20},
	"milan":      {Lat: 45.4643, Lon: 9.1895, City: "Milan", Country: "IT", RadiusKm: 20},
	"palermo":    {Lat: 38.1158, Lon: 13.3615, City: "Palermo", Country: "IT", RadiusKm: 20},
	"tokyo":      {Lat: 35.6895, Lon: 139.6917, City: "Tokyo", Country: "JP", RadiusKm: 20},
	"newyork":    {Lat: 40.7128, Lon: -74.006, City: "New York", Country: "US", RadiusKm: 20},
	"losangeles": {Lat: 34.0522, Lon: -118.2437, City: "Los Angeles", Country: "US", RadiusKm: 20},
	"frankfurt":  {Lat: 50.1109, Lon: 8.6821, City: "Frankfurt", Country: "DE", RadiusKm: 20},
	"hamburg":    {Lat: 53.5753, Lon: 10.0153, City: "Hamburg", Country: "DE", RadiusKm: 20},
	"quito":      {Lat: 0, Lon: -78.5, City: "Quito", Country: "EC", RadiusKm: 20}, // on the equator, for the test's sake
	"accra":      {Lat: 5.556, Lon: 0, City: "Accra", Country: "GH", RadiusKm: 20}, // on the meridian likewise
	"germany":    {Lat: 51, Lon: 9, Country: "DE"},                                 // the middle of a country
	"nowhere":    {},
}

var networks = map[string]events.Network{
	"":        {ASN: 1000},
	"other":   {ASN: 2000},
	"mobile":  {ASN: 3000, Classes: []events.Class{events.Mobile}},
	"office":  {ASN: 4000, Classes: []events.Class{events.Office}},
	"vpn":     {ASN: 5000, Classes: []events.Class{events.VPN}},
	"relay":   {ASN: 6000, Classes: []events.Class{events.Relay}},
	"tor":     {ASN: 7000, Classes: []events.Class{events.Tor}},
	"hosting": {ASN: 8000, Classes: []events.Class{events.Hosting}},
	"v6":      {ASN: 1000},
	"backend": {ASN: 8075},
	"plane":   {ASN: 9000, Classes: []events.Class{events.Satellite}},
}

var devices = map[string]events.Device{
	"laptop":     {ID: "1a0c8f2e-laptop", OS: "Windows", Browser: "Edge", BrowserMajor: 131, Managed: events.Yes},
	"newlaptop":  {ID: "77aa33d1-new", OS: "Windows", Browser: "Edge", Managed: events.Yes},
	"phone":      {ID: "5be01d44-phone", OS: "iOS", Browser: "Safari"},
	"iphone":     {OS: "iOS", Browser: "Safari"},
	"windows":    {OS: "Windows", Browser: "Edge", BrowserMajor: 131},
	"windows132": {OS: "Windows", Browser: "Edge", BrowserMajor: 132},
	"linux":      {OS: "Linux", Browser: "Chrome"},
	"none":       {},
}

// event reads a line of the events.
func (s *scenario) event(line string) *events.Event {
	f := strings.Fields(line)
	at := dayZero
	if days, ok := strings.CutSuffix(f[0], "d"); ok {
		at += events.Millis(s.number(days)) * events.Day
		f = f[1:]
	}
	if len(f) < 5 {
		s.Fatalf("event %q: too short", line)
	}
	e := &events.Event{
		Kind: events.Kind(f[2]), Tenant: "acme", User: events.User{ID: "u1"}, Time: at + s.clock(f[0]),
		Source: events.Source{Name: "scenario", Family: "custom", ID: f[1]},
	}
	switch e.Kind { //nolint:exhaustive // the others have no outcome
	case events.SignIn:
		e.Outcome, e.Interactive = events.Success, events.Yes
	case events.SessionUse, events.SignOut:
		e.Outcome = events.Success
	case events.NetworkVerdict:
		e.Verdict = &events.Verdict{From: e.Time - 20*events.Minute, To: e.Time}
	}
	city, network, _ := strings.Cut(f[3], "/")
	var ok1, ok2, ok3 bool
	e.Place, ok1 = cities[city]
	e.Network, ok2 = networks[network]
	e.Device, ok3 = devices[f[4]]
	if !ok1 || !ok2 || !ok3 {
		s.Fatalf("event %q: unknown place or device", line)
	}
	e.IP = address(city, network)
	if slices.Contains([]string{"", "other", "mobile", "v6"}, network) {
		e.Network.ASN += uint32(slices.Index(cityNames, city)) // operators of their own
	}
	for _, option := range f[5:] {
		key, value, _ := strings.Cut(option, "=")
		if !s.who(e, key, value) && !s.where(e, key, value) && !s.what(e, key, value) && !s.told(e, key, value) {
			s.Fatalf("event %q: unknown option %q", line, option)
		}
	}
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	if err := e.Validate(); err != nil {
		s.Fatalf("event %q: %v", line, err)
	}
	s.labels[e.ID] = e.Source.ID
	return e
}

// who reads an option about the user, the device or the proof of identity.
func (s *scenario) who(e *events.Event, key, value string) bool {
	switch key {
	case "usertype":
		e.User.Type = events.UserType(value)
	case "privileged":
		e.User.Privileged = tri(value)
	case "device":
		e.Device.ID = value
	case "os":
		e.Device.OS = value
	case "browser":
		e.Device.Browser = value
	case "devicetype":
		e.Device.Type = value
	case "managed":
		e.Device.Managed = tri(value)
	case "ua":
		e.UserAgent = strings.ReplaceAll(value, "_", " ")
	case "mfa":
		e.Auth.MFA = events.MFA(value)
	case "strength":
		e.Auth.Strength = events.Strength(value)
	case "methods":
		e.Auth.Methods = strings.Split(value, ",")
	case "protocol":
		e.Auth.Protocol = value
	case "proved":
		e.Auth.Time = dayZero + s.clock(value)
	default:
		return false
	}
	return true
}

// where reads an option about the address.
func (s *scenario) where(e *events.Event, key, value string) bool {
	switch key {
	case "ip":
		e.IP = value
	case "asn":
		e.Network.ASN = uint32(s.number(value))
	case "class":
		e.Network.Classes = nil
		for c := range strings.SplitSeq(value, ",") {
			e.Network.Classes = append(e.Network.Classes, events.Class(c))
		}
	case "list":
		e.Network.List = value
	case "listage":
		e.Network.Built = e.Time - s.span(value)
	case "radius":
		e.Place.RadiusKm = s.float(value)
	case "provider":
		e.ProviderPlace = cities[value]
	default:
		return false
	}
	return true
}

// what reads an option about what was done.
func (s *scenario) what(e *events.Event, key, value string) bool {
	switch key {
	case "session":
		e.Session.ID = value
	case "token":
		e.Session.Token = value
	case "tokentype":
		e.Session.TokenType = value
	case "bound":
		e.Session.Bound = tri(value)
	case "outcome":
		e.Outcome = events.Outcome(value)
	case "cause":
		e.Outcome, e.Cause = events.Failure, events.Cause(value)
	case "code":
		e.Code = value
	case "correlation":
		e.Correlation = value
	case "interactive":
		e.Interactive = tri(value)
	case "app":
		e.App = events.Ref{ID: value}
	case "resource":
		e.Resource = events.Ref{ID: value}
	case "source":
		e.Source.Name, e.Source.Family = value, value
	case "change":
		what, how, _ := strings.Cut(value, ":")
		e.Change.Type, e.Change.Action = events.ChangeType(what), events.ChangeAction(how)
	case "target":
		e.Change.Target = events.Ref{ID: value}
	case "actor":
		e.Change.Actor = events.Ref{ID: value}
	case "grants":
		e.Change.Grants = strings.Split(value, ",")
	default:
		return false
	}
	return true
}

// told reads an option about what a provider or the network stage says.
func (s *scenario) told(e *events.Event, key, value string) bool {
	switch key {
	case "level":
		e.Risk.Level = events.RiskLevel(value)
	case "userlevel":
		e.Risk.User = events.RiskLevel(value)
	case "state":
		e.Risk.State = events.RiskState(value)
	case "vendor":
		e.Risk.Detections = strings.Split(value, ",")
	case "signin":
		e.Risk.SignIn = value
	case "happened":
		e.Risk.Happened = dayZero + s.clock(value)
	case "verdict":
		id, severity, _ := strings.Cut(value, ":")
		e.Verdict.Detection, e.Verdict.Severity = id, events.Severity(severity)
	case "incident":
		e.Verdict.Incident = value
	case "guilty":
		e.Verdict.Source = strings.Replace(value, ":", " ", 1)
	case "users":
		e.Verdict.Users = s.number(value)
	case "tries":
		e.Verdict.Tries = s.number(value)
	case "succeeded":
		e.Verdict.Succeeded = s.number(value)
	default:
		return false
	}
	return true
}

func tri(value string) events.Tri {
	switch value {
	case "yes":
		return events.Yes
	case "no":
		return events.No
	}
	return events.Unknown
}

func (s *scenario) clock(text string) events.Millis {
	layout := "15:04"
	if strings.Count(text, ":") == 2 {
		layout = "15:04:05"
	}
	t, err := time.Parse(layout, text)
	if err != nil {
		s.Fatal(err)
	}
	return events.Millis(t.Hour()*events.Hour + t.Minute()*events.Minute + t.Second()*events.Second)
}

// span reads a length of time, with days as "30d".
func (s *scenario) span(text string) events.Millis {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		return events.Millis(s.number(days)) * events.Day
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		s.Fatal(err)
	}
	return ms(d)
}

// context reads the lines of the part "org".
func (s *scenario) context(lines []string) *org.Context {
	if len(lines) == 0 {
		return nil
	}
	told := &events.OrgContext{Since: dayZero - 60*events.Day, Until: dayZero, Users: 100, Logins: 4000}
	for _, line := range lines {
		kind, value, _ := strings.Cut(line, " ")
		term := func() events.OrgTerm {
			i := strings.LastIndexByte(value, ' ')
			if i < 0 {
				s.Fatalf("org %q: without a number of users", line)
			}
			return events.OrgTerm{Value: value[:i], Users: s.number(value[i+1:]), First: told.Since, Last: told.Until}
		}
		switch kind {
		case "country":
			told.Countries = append(told.Countries, term())
		case "network":
			t := term()
			t.Value = strings.TrimPrefix(t.Value, "AS")
			told.Networks = append(told.Networks, t)
		case "cell":
			told.Cells = append(told.Cells, term())
		case "app":
			told.Apps = append(told.Apps, term())
		case "agent":
			told.Agents = append(told.Agents, term())
		case "egress":
			told.Egress = append(told.Egress, value)
		case "hub":
			told.Hubs = append(told.Hubs, uint32(s.number(strings.TrimPrefix(value, "AS"))))
		case "span":
			told.Since = told.Until - s.span(value)
		case "threshold":
			class, score, _ := strings.Cut(value, " ")
			told.Thresholds = append(told.Thresholds, events.OrgThreshold{Class: class, Score: s.float(score), Scores: 1000})
		default:
			s.Fatalf("org %q: unknown", line)
		}
	}
	return org.NewContext(told)
}

var (
	cityNames    = slices.Sorted(maps.Keys(cities))
	networkNames = slices.Sorted(maps.Keys(networks))
)

// address gives every city and network a /24 or /48 of its own.
func address(city, network string) string {
	c := slices.Index(cityNames, city) + 1
	n := slices.Index(networkNames, network) + 1
	if network == "v6" {
		return fmt.Sprintf("2001:db8:%x::10", c)
	}
	return fmt.Sprintf("198.18.%d.10", c*16+n)
}
