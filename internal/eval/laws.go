package eval

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/eval/peers"
	"github.com/countersign-io/countersign/internal/eval/report"
	"github.com/countersign-io/countersign/internal/events"
)

// The laws of travel are checked on streams written by hand, one user a case: weeks at home, and then a journey that must
// be found, or one that only looks like a journey and must not.

// spot is where an event of a law comes from.
type spot struct {
	place   events.Place
	network events.Network
	ip      string
	// stranger has no device of the user's, and no session.
	stranger bool
}

func city(name, country string, lat, lon float64) events.Place {
	return events.Place{Lat: lat, Lon: lon, City: name, Country: country, RadiusKm: 20}
}

// journeys are pairs of cities too far apart for an hour. The third is half a continent away in the first one's country.
var journeys = []struct{ home, abroad events.Place }{
	{city("Rome", "IT", 41.89, 12.51), city("Tokyo", "JP", 35.69, 139.69)},
	{city("Utrecht", "NL", 52.09, 5.12), city("New York", "US", 40.71, -74.01)},
	{city("Nairobi", "KE", -1.29, 36.82), city("London", "GB", 51.51, -0.13)},
	{city("Quito", "EC", -0.18, -78.47), city("Madrid", "ES", 40.42, -3.70)},
	{city("Singapore", "SG", 1.35, 103.82), city("Perth", "AU", -31.95, 115.86)},
}

// domestic are pairs some 4,000 km apart in one country.
var domestic = []struct{ home, abroad events.Place }{
	{city("New York", "US", 40.71, -74.01), city("Los Angeles", "US", 34.05, -118.24)},
	{city("Moscow", "RU", 55.76, 37.62), city("Irkutsk", "RU", 52.29, 104.28)},
	{city("Perth", "AU", -31.95, 115.86), city("Brisbane", "AU", -27.47, 153.03)},
	{city("Halifax", "CA", 44.65, -63.58), city("Vancouver", "CA", 49.28, -123.12)},
}

// act is one event of a case: minutes after its start, minutes that it arrives late, and where from. The transition that it
// completes must be found when found is set.
type act struct {
	minute, late             int
	from                     spot
	phone, sessionUse, found bool
}

// household is a network at home, stranger one elsewhere; both fixed lines without a class.
func household(p events.Place, n int) spot {
	return spot{place: p, network: events.Network{ASN: 64496 + uint32(n%4), Org: "Access " + p.City}, ip: fmt.Sprintf("198.18.%d.%d", n%200, 10+n%100)}
}

func stranger(p events.Place, n int) spot {
	network := events.Network{ASN: 64504 + uint32(n%4), Org: "Access " + p.City}
	return spot{place: p, network: network, ip: fmt.Sprintf("198.19.%d.%d", n%200, 10+n%100), stranger: true}
}

func classed(s spot, class events.Class, ip string) spot {
	s.network.Classes, s.network.ASN, s.ip, s.stranger = []events.Class{class}, 65000+uint32(len(class)), ip, false
	return s
}

// law is a law with its cases.
type law struct {
	name  string
	must  bool
	cases [][]act
}

func travelLaws() []law {
	var back, inside, phone, late law
	back.name, inside.name, phone.name, late.name = "there_and_back", "inside_one_country", "phone_user_agent", "ten_minutes_late"
	back.must, inside.must, phone.must, late.must = true, true, true, true
	for i, j := range journeys {
		a, b := household(j.home, i), stranger(j.abroad, i)
		back.cases = append(back.cases, []act{{from: a}, {minute: 60, from: b, found: true}, {minute: 120, from: a, found: true}, {minute: 180, from: b, found: true}})
		phone.cases = append(phone.cases, []act{{from: a}, {minute: 60, from: b, phone: true, found: true}})
		// Abroad ten minutes before the event at home, and heard of ten minutes after it.
		late.cases = append(late.cases, []act{{minute: 20, from: a}, {minute: 10, late: 20, from: b, found: true}})
	}
	for i, j := range domestic {
		inside.cases = append(inside.cases, []act{{from: household(j.home, i)}, {minute: 60, from: stranger(j.abroad, i), found: true}})
	}
	laws := []law{back, inside, phone, late}
	hidden := func(name string, class events.Class, use bool) {
		l := law{name: name}
		for i, j := range journeys {
			a := household(j.home, i)
			b := classed(stranger(j.abroad, i), class, fmt.Sprintf("203.0.113.%d", 10+i))
			l.cases = append(l.cases, []act{
				{from: a}, {minute: 20, from: b, sessionUse: use}, {minute: 40, from: a, sessionUse: use}, {minute: 60, from: b, sessionUse: use},
			})
		}
		laws = append(laws, l)
	}
	hidden("relay", events.Relay, true)
	hidden("vpn_toggle", events.VPN, true)
	hidden("office_egress", events.Office, false)
	return append(laws, hubs())
}

// hubs is a phone whose carrier leads it through one far hub after the other.
func hubs() law {
	l := law{name: "carrier_hubs"}
	for i, j := range domestic {
		at := func(p events.Place, ip string) spot {
			p.RadiusKm = 200
			return spot{place: p, network: events.Network{ASN: 64510, Org: "Mobile", Classes: []events.Class{events.Mobile}}, ip: ip}
		}
		near := at(j.home, fmt.Sprintf("100.64.%d.1", i))
		elsewhere := j.home
		elsewhere.Lat += 4 // some 450 km
		elsewhere.City = "Hub"
		far := at(elsewhere, fmt.Sprintf("100.64.%d.2", i))
		l.cases = append(l.cases, []act{
			{from: near, phone: true},
			{minute: 5, from: far, phone: true, sessionUse: true},
			{minute: 9, from: near, phone: true, sessionUse: true},
			{minute: 14, from: far, phone: true, sessionUse: true},
		})
	}
	return l
}

// lawStart is where the stream of a law begins: 5 January 2026, a Monday.
const lawStart events.Millis = 1767571200000

// homeDays is how long a user of a law has been known.
const homeDays = 21

// events writes a case as a stream in the order of arrival.
func (l *law) events(number int) (stream []events.Event, found map[string]bool) {
	found = map[string]bool{}
	acts := l.cases[number]
	user := fmt.Sprintf("%s-%d", strings.ReplaceAll(l.name, "_", "-"), number)
	write := func(name string, t events.Millis, a *act) events.Event {
		e := events.Event{
			Kind: events.SignIn, Tenant: "laws", User: events.User{ID: user, Privileged: events.No}, Time: t, Emitted: t, Ingested: t + events.Millis(a.late)*events.Minute,
			Source: events.Source{Name: "laws", Family: "laws", ID: user + "-" + name}, Outcome: events.Success, Interactive: events.Yes,
			App: events.Ref{ID: "app-mail", Name: "Mail"}, IP: a.from.ip, Network: a.from.network, Place: a.from.place,
			Device:    events.Device{ID: user + "-laptop", OS: "Windows", Browser: "Edge", BrowserMajor: 141, Type: "desktop", Managed: events.Yes},
			UserAgent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Edg/141.0.0.0",
			Auth:      events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: []string{"password"}, Protocol: "oidc"},
		}
		e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
		e.Session.ID = user + "-" + name
		e.Network.Prefix = e.IP[:strings.LastIndexByte(e.IP, '.')] + ".0/24"
		if a.phone {
			e.Device = events.Device{OS: "iOS", Browser: "Safari", BrowserMajor: 26, Type: "mobile", Managed: events.No}
			e.Device.ID = user + "-phone"
			e.UserAgent = "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) Version/26.0 Mobile/15E148 Safari/604.1"
		}
		if a.from.stranger {
			e.Device.ID, e.Device.Managed = "", events.No
		}
		if a.sessionUse {
			e.Kind, e.Interactive, e.Session.ID = events.SessionUse, events.No, user+"-act0"
		}
		return e
	}
	for day := range homeDays {
		at := lawStart + events.Millis(day)*events.Day + 9*events.Hour
		stream = append(stream, write(fmt.Sprintf("home%d", day), at, &act{from: acts[0].from, phone: acts[0].phone}))
	}
	start := lawStart + homeDays*events.Day + 9*events.Hour
	for i := range acts {
		e := write(fmt.Sprintf("act%d", i), start+events.Millis(acts[i].minute)*events.Minute, &acts[i])
		if acts[i].found {
			found[e.ID] = true
		}
		stream = append(stream, e)
	}
	slices.SortStableFunc(stream, func(a, b events.Event) int { return int(a.Ingested - b.Ingested) })
	return stream, found
}

// travelRules are the detections that find journeys.
var travelRules = []string{"LOC-01", "LOC-02", "LOC-03", "SES-02"}

// laws checks the laws on countersign and on the peers.
func laws(rules detector.Rules) ([]report.Law, error) {
	var rows []report.Law
	for _, l := range travelLaws() {
		row := report.Law{Name: l.name, Must: l.must, Peers: map[string]int{}}
		for i := range l.cases {
			stream, wanted := l.events(i)
			for k := range stream {
				if err := stream[k].Validate(); err != nil {
					return nil, fmt.Errorf("law %s: %w", l.name, err)
				}
			}
			row.Cases += cases(l.must, wanted)
			row.Found += found(l.must, wanted, journeysOf(rules, stream))
			for _, p := range peers.All() {
				if p.Rule != nil {
					row.Peers[p.Name] += found(l.must, wanted, journeysOfPeer(p.Rule(), stream))
				}
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func cases(must bool, wanted map[string]bool) int {
	if must {
		return len(wanted)
	}
	return 1
}

// found counts the wanted events that were named, or, when nothing must be found, 1 for anything that was.
func found(must bool, wanted, named map[string]bool) int {
	if !must {
		return min(1, len(named))
	}
	n := 0
	for id := range wanted {
		if named[id] {
			n++
		}
	}
	return n
}

// journeysOf are the events that countersign's active travel findings of medium or more are about.
func journeysOf(rules detector.Rules, stream []events.Event) map[string]bool {
	engine := detector.NewEngine(rules)
	named := map[string]bool{}
	for i := range stream {
		for _, d := range engine.Decide(&stream[i]) {
			for k := range d.Outcome.Findings {
				f := &d.Outcome.Findings[k]
				if f.Disposition == events.Active && f.Severity.Rank() >= events.Medium.Rank() && slices.Contains(travelRules, f.Detection) {
					named[f.EventID] = true
				}
			}
		}
	}
	return named
}

// journeysOfPeer are those of a peer's travel alerts that it does not filter itself, of any severity.
func journeysOfPeer(rule peers.Rule, stream []events.Event) map[string]bool {
	named := map[string]bool{}
	for i := range stream {
		for _, a := range rule.See(&stream[i]) {
			if len(a.Filtered) == 0 && (a.Kind == peers.Travel || a.Kind == peers.Country) {
				named[a.EventID] = true
			}
		}
	}
	return named
}
