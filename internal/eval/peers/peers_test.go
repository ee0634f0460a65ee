package peers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// midnight is what the times of the tests count from.
var midnight = events.MillisOf(time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC))

var places = map[string]events.Place{
	"rome":       {Lat: 41.8919, Lon: 12.5113, City: "Rome", Country: "IT"},
	"milan":      {Lat: 45.4643, Lon: 9.1895, City: "Milan", Country: "IT"},
	"tokyo":      {Lat: 35.6895, Lon: 139.6917, City: "Tokyo", Country: "JP"},
	"newyork":    {Lat: 40.7128, Lon: -74.006, City: "New York", Country: "US"},
	"losangeles": {Lat: 34.0522, Lon: -118.2437, City: "Los Angeles", Country: "US"},
	"frankfurt":  {Lat: 50.1109, Lon: 8.6821, City: "Frankfurt", Country: "DE"},
	"quito":      {Lat: 0, Lon: -78.5, City: "Quito", Country: "EC"},
	"nowhere":    {},
}

// agents are real user agents, shortened.
const (
	windowsEdge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Edg/124.0.0.0"
	linuxFox    = "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"
	iPhone      = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15"
)

// change alters an event of a test.
type change func(*events.Event)

// at makes a successful sign-in of "ann" with Edge on Windows, hours after midnight.
func at(h float64, place string, changes ...change) *events.Event {
	e := &events.Event{
		Kind: events.SignIn, Outcome: events.Success, Interactive: events.Yes, Tenant: "acme", User: events.User{ID: "ann"},
		Time: midnight + events.Millis(h*events.Hour), Source: events.Source{Name: "idp"}, App: events.Ref{ID: "mail"},
		Place: places[place], IP: "192.0.2." + fmt.Sprint(len(place)), Network: events.Network{ASN: 64500 + uint32(len(place)), Org: "Carrier " + place},
		Device: events.Device{OS: "Windows", Browser: "Edge", Type: "desktop"}, UserAgent: windowsEdge,
	}
	for _, c := range changes {
		c(e)
	}
	e.ID = fmt.Sprintf("%s@%s/%.4f", e.User.ID, place, h)
	return e
}

func by(id string) change     { return func(e *events.Event) { e.User.ID = id } }
func from(ip string) change   { return func(e *events.Event) { e.IP = ip } }
func source(s string) change  { return func(e *events.Event) { e.Source.Name = s } }
func session(s string) change { return func(e *events.Event) { e.Session.ID = s } }
func class(c events.Class) change {
	return func(e *events.Event) { e.Network.Classes = []events.Class{c} }
}

func failed(c events.Cause) change {
	return func(e *events.Event) { e.Outcome, e.Cause = events.Failure, c }
}

func phone(e *events.Event) {
	e.Device, e.UserAgent = events.Device{OS: "iOS", Browser: "Safari", Type: "mobile"}, iPhone
}

func linux(e *events.Event) {
	e.Device, e.UserAgent = events.Device{OS: "Linux", Browser: "Firefox", Type: "desktop"}, linuxFox
}

// peer finds a peer by name.
func peer(t *testing.T, name string) Peer {
	t.Helper()
	for _, p := range All() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no peer %q", name)
	return Peer{}
}

// run shows a peer's rule some events.
func run(t *testing.T, name string, stream ...*events.Event) []Alert {
	t.Helper()
	rule := peer(t, name).Rule()
	var alerts []Alert
	for _, e := range stream {
		alerts = append(alerts, rule.See(e)...)
	}
	return alerts
}

// short writes alerts as "EVENT check severity", with the filters behind when there are any.
func short(alerts []Alert) []string {
	var lines []string
	for _, a := range alerts {
		line := a.EventID + " " + a.Check + " " + string(a.Severity)
		if len(a.Filtered) > 0 {
			line += " (" + strings.Join(a.Filtered, ", ") + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

func expect(t *testing.T, alerts []Alert, want ...string) {
	t.Helper()
	if diff := cmp.Diff(short(alerts), want); diff != "" {
		t.Errorf("alerts (-got, +want):\n%s", diff)
	}
}

// days repeats a sign-in at 10:00 of the days from one to another, both before day 0.
func days(first, last int, place string, changes ...change) []*events.Event {
	var stream []*events.Event
	for d := first; d >= last; d-- {
		stream = append(stream, at(float64(-24*d)+10, place, changes...))
	}
	return stream
}

func TestPeersAreComplete(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, p := range All() {
		if p.Name == "" || p.Peer == "" || p.Restated == "" || p.LeftOut == "" || p.Delay == "" || names[p.Name] {
			t.Errorf("%q says too little of itself, or is there twice", p.Name)
		}
		names[p.Name] = true
		if (p.Rule == nil) == (p.Scorer == nil) {
			t.Errorf("%s must have either a rule or a scorer", p.Name)
		}
		if p.Setting != Defaults && p.Setting != Best {
			t.Errorf("%s has setting %q", p.Name, p.Setting)
		}
	}
}
