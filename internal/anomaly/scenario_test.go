package anomaly

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// A scenario is a text archive in testdata. Its comment says what it shows and why; its files are
//
//	user       "new", or "known PLACE DEVICE": 20 sign-ins there, one a day, until two days before; several lines may follow
//	allow      optional: what the operator vouches for, a prefix, an AS number or a country a line
//	events     in the order of arrival: [DAYd] HH:MM[:SS] LABEL KIND PLACE DEVICE [KEY=VALUE...]
//	watch      optional: the detections that the scenario is about, all without it
//	findings   what must be found of them, and what else counts (active, medium or more): LABEL DETECTION SEVERITY DISPOSITION [after=LABELS] [RUNG=EFFECT...],
//	           with the rungs that had an effect
//	summaries  optional: LABEL DETECTION TEXT
//
// A PLACE is a city, or city/network with a network of the table below.

var update = flag.Bool("update", false, "write what is found into the scenarios; review every line as text")

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

func TestScenarios(t *testing.T) { //nolint:tparallel // a summary follows the scenarios
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := newScenario(t)
			want := map[string][]string{}
			for _, f := range archive.Files {
				lines := s.lines(string(f.Data))
				switch f.Name {
				case "user", "allow", "watch", "events":
					want[f.Name] = lines
				case "findings", "summaries":
					want[f.Name] = append([]string{}, lines...)
				default:
					t.Fatalf("unknown part %q", f.Name)
				}
			}
			s.watch = strings.Fields(strings.Join(want["watch"], " "))
			s.run(want["user"], want["allow"], want["events"])
			if *update {
				for i := range archive.Files {
					if archive.Files[i].Name == "findings" {
						archive.Files[i].Data = []byte(strings.Join(append(s.findings, ""), "\n"))
					}
				}
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(s.findings, want["findings"]); diff != "" {
				t.Errorf("findings (-got, +want)\n%s", diff)
			}
			for _, line := range want["summaries"] {
				if !slices.Contains(s.summaries, line) {
					t.Errorf("no finding says\n%s\nbut\n%s", line, strings.Join(s.summaries, "\n"))
				}
			}
		})
	}
}

type scenario struct {
	*testing.T
	labels    map[string]string // event id → label
	watch     []string
	findings  []string
	summaries []string
}

func newScenario(t *testing.T) *scenario {
	return &scenario{T: t, labels: map[string]string{}, findings: []string{}}
}

// lines drops comments and empty lines, and joins blanks.
func (s *scenario) lines(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			list = append(list, line)
		}
	}
	return list
}

func (s *scenario) run(user, allow, list []string) {
	config := DefaultConfig()
	if !slices.Contains(s.watch, fam01.ID) {
		config.Modes = map[string]Mode{fam01.ID: Off} // its limits are measured, not written down
	}
	for _, entry := range allow {
		switch {
		case strings.Contains(entry, "/"):
			config.Allow.Prefixes = append(config.Allow.Prefixes, entry)
		case strings.HasPrefix(entry, "AS"):
			config.Allow.ASNs = append(config.Allow.ASNs, uint32(s.number(entry[2:])))
		default:
			config.Allow.Countries = append(config.Allow.Countries, entry)
		}
	}
	c, err := New(config)
	if err != nil {
		s.Fatal(err)
	}
	p := profile.New()
	for _, line := range user {
		if line == "new" {
			continue
		}
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != "known" {
			s.Fatalf("user %q", line)
		}
		for day := -22; day <= -3; day++ {
			e := s.event(fmt.Sprintf("%dd 08:00 known%d sign_in %s %s", day, day, f[1], f[2]))
			e.ID = events.EventID("acme", "known", line+e.ID)
			if found := c.Evaluate(p, nil, e).Findings; active(found) {
				s.Fatalf("while getting known: %s", events.Encode(&found[0]))
			}
		}
	}
	for _, line := range list {
		e := s.event(line)
		found := c.Evaluate(p, nil, e).Findings
		// A profile that was stored and read back must go on the same.
		if p, err = profile.Decode(p.AppendBinary(nil)); err != nil {
			s.Fatal(err)
		}
		for i := range found {
			if len(s.watch) == 0 || slices.Contains(s.watch, found[i].Detection) || adverse(found[i]) {
				s.describe(&found[i])
			}
		}
	}
}

func active(found []events.Finding) bool { return slices.ContainsFunc(found, adverse) }

func (s *scenario) describe(f *events.Finding) {
	line := fmt.Sprintf("%s %s %s %s", s.labels[f.EventID], f.Detection, f.Severity, f.Disposition)
	if len(f.Anchors) > 0 {
		var after []string
		for _, id := range f.Anchors {
			after = append(after, s.labels[id])
		}
		line += " after=" + strings.Join(after, ",")
	}
	for _, r := range f.Suppressions {
		if r.Effect != effectNone {
			line += fmt.Sprintf(" %s=%s", r.Rung, r.Effect)
		}
	}
	s.findings = append(s.findings, line)
	s.summaries = append(s.summaries, fmt.Sprintf("%s %s %s", s.labels[f.EventID], f.Detection, f.Summary))
}

func (s *scenario) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.Fatal(err)
	}
	return n
}

func (s *scenario) float(text string) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		s.Fatal(err)
	}
	return v
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
		Source: events.Source{Name: "scenario", Family: "custom", ID: f[1]}, Outcome: events.Success,
	}
	if e.Kind == events.SignIn {
		e.Interactive = events.Yes
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
		s.option(e, option)
	}
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	if err := e.Validate(); err != nil {
		s.Fatalf("event %q: %v", line, err)
	}
	s.labels[e.ID] = e.Source.ID
	return e
}

func (s *scenario) option(e *events.Event, option string) {
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case "session":
		e.Session.ID = value
	case "outcome":
		e.Outcome = events.Outcome(value)
	case "interactive":
		e.Interactive = events.TriOf(value == "yes")
	case "mfa":
		e.Auth.MFA = events.MFA(value)
	case "strength":
		e.Auth.Strength = events.Strength(value)
	case "ip":
		e.IP = value
	case "asn":
		e.Network.ASN = uint32(s.number(value))
	case "radius":
		e.Place.RadiusKm = s.float(value)
	case "provider":
		e.ProviderPlace = cities[value]
	case "source":
		e.Source.Name, e.Source.Family = value, value
	default:
		s.Fatalf("option %q", option)
	}
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
