package anomaly

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

func TestValidateNamesEveryProblem(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	c.Place.CityRadiusKm = math.NaN()
	c.Travel.MediumKmh, c.Travel.HighKmh = 900, 500
	c.Travel.Window = 48 * time.Hour
	c.Session.TTL = 0
	c.Allow.Prefixes = []string{"192.0.2.0/24", "192.0.2.1"}
	c.Allow.Countries = []string{"nl"}
	err := c.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, path := range []string{
		"place.city_radius_km: ", "travel.high_kmh: ", "travel.window: ", "session.ttl: ", "allow.prefixes[1]: ", "allow.countries[0]: ",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+path) {
			t.Errorf("no problem named for %s in\n%v", path, err)
		}
	}
	if _, err := New(c); err == nil {
		t.Error("New accepts what Validate refuses")
	}
}

// What can never match, or would make another parameter void, is refused; so is what is too long to be meant.
func TestValidateRefusesWhatCannotMatch(t *testing.T) {
	t.Parallel()
	long := make([]string, maxList+1)
	for i := range long {
		long[i] = "NL"
	}
	for problem, change := range map[string]func(*Config){
		"aitm.kits[0].user_agent: ":                      func(c *Config) { c.AiTM.Kits[0].UserAgent = "Axios/" },
		"aitm.kits[0].asns: has 10001 entries":           func(c *Config) { c.AiTM.Kits[0].ASNs = make([]uint32, maxList+1) },
		"allow.prefixes[0]: ":                            func(c *Config) { c.Allow.Prefixes = []string{"::ffff:192.0.2.0/120"} },
		"network.deny_prefixes[1]: ":                     func(c *Config) { c.Network.DenyPrefixes = []string{"192.0.2.0/24", "::ffff:192.0.2.0/120"} },
		"allow.countries: has 10001 entries":             func(c *Config) { c.Allow.Countries = long },
		"novelty.watch_countries: has 10001 entries":     func(c *Config) { c.Novelty.WatchCountries = long },
		"mfa.any_codes: is 9, must not be below ":        func(c *Config) { c.MFA.AnyCodes = 9 },
		"credential.spread_failures: is 4, must not be":  func(c *Config) { c.Credential.SpreadFailures = 4 },
		"credential.spread_failures: is 10, must not be": func(c *Config) { c.Credential.SpreadASNs = 11 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), problem) {
			t.Errorf("%s is not the first problem of\n%v", problem, err)
		}
	}
}

// Parameters and lists name the detections that read them, for their pages and for the evidence of their findings.
func TestParametersNameTheDetectionsThatReadThem(t *testing.T) {
	t.Parallel()
	of := map[string][]string{}
	leaves(reflect.ValueOf(DefaultConfig()), "", func(path string, f reflect.StructField, _ reflect.Value) {
		of[path] = strings.Fields(f.Tag.Get("of"))
		for i, id := range of[path] {
			if byID[id] == nil || slices.Contains(of[path][:i], id) {
				t.Errorf("%s: %s is no detection, or named twice", path, id)
			}
		}
	})
	for path, want := range map[string]string{
		"session.first_party_apps":  "SES-03 SES-08",
		"device.scripted_apps":      "DEV-02 AIT-02 OAU-01 OAU-02",
		"oauth.broker_apps":         "OAU-01 OAU-04",
		"novelty.org_users":         "LOC-02 LOC-04 NET-01 NET-02 NET-03 DEV-01 CONJ-02 SES-03",
		"session.skew":              "TIM-03 SES-05",
		"travel.min_km":             "LOC-01 LOC-02 LOC-03 SES-02 MFA-06",
		"travel.min_fixed_line_km":  "LOC-01 SES-02 SES-06",
		"novelty.cluster_km":        "LOC-01 LOC-02 LOC-03 LOC-07 TIM-02 SES-02 SES-04 SES-05 SES-08 OAU-05",
		"novelty.cluster_mobile_km": "LOC-07 TIM-02 SES-04 SES-05 OAU-05",
		"novelty.confirm_after":     "LOC-04 NET-01 NET-03 DEV-01 CONJ-01 CONJ-02",
		"place.city_radius_km":      "LOC-01 LOC-02 LOC-03 MFA-06 SES-02 SES-06",
		"place.conflict_km":         "LOC-01 LOC-03 LOC-06 LOC-08 SES-02",
	} {
		if got := strings.Join(of[path], " "); got != want {
			t.Errorf("%s is of %q, want %q", path, got, want)
		}
	}
}

func TestVersionTellsParametersApart(t *testing.T) {
	base := catalogue(t).Version()
	if again := catalogue(t).Version(); again != base {
		t.Errorf("%q and %q", base, again)
	}
	for name, change := range map[string]func(*Config){
		"speed":   func(c *Config) { c.Travel.MediumKmh++ },
		"prefix":  func(c *Config) { c.Allow.Prefixes = []string{"192.0.2.0/24"} },
		"backend": func(c *Config) { c.BackendASNs = nil },
		"gate":    func(c *Config) { c.Learning.Logins = 11 },
	} {
		config := DefaultConfig()
		change(&config)
		c, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if c.Version() == base {
			t.Errorf("%s: the version stays %q", name, base)
		}
	}
}

func TestFindingExplainsItself(t *testing.T) {
	c := catalogue(t)
	p := known(c)
	s := newScenario(t)
	c.Evaluate(p, nil, s.event("09:00 home sign_in utrecht laptop session=s1"))
	e := s.event("09:58 away sign_in tokyo iphone session=s2")
	e.Ingested, e.App = e.Time+700, events.Ref{ID: "app", Name: "Payroll"}
	found := c.Evaluate(p, nil, e).Findings
	i := slices.IndexFunc(found, func(f events.Finding) bool { return f.Detection == "LOC-01" })
	if i < 0 {
		t.Fatalf("%d findings", len(found))
	}
	f := found[i]
	want := events.Finding{
		ID:        events.FindingID("LOC-01", 3, "acme", "u1", min(f.EventID, f.Anchors[0]), max(f.EventID, f.Anchors[0])),
		Detection: "LOC-01", Version: 3, Title: "Impossible travel",
		Summary: "Utrecht NL to Tokyo JP: 9,305 km less 40 km of uncertainty in 58 min, 9,584 km/h",
		Tenant:  "acme", User: events.User{ID: "u1"}, EventID: e.ID, Anchors: []string{events.EventID("acme", "custom", "home")},
		Time: e.Time, Ingested: e.Ingested, Severity: events.High, Disposition: events.Active, Technique: "T1078.004",
		Evidence: events.Evidence{
			Sight: events.SightOf(e),
			Travel: &events.Travel{
				From: events.Sight{
					EventID: events.EventID("acme", "custom", "home"), Time: dayZero + 9*events.Hour, IP: address("utrecht", ""),
					Network: events.Network{Prefix: strings.TrimSuffix(address("utrecht", ""), "10") + "0/24", ASN: 1012},
					Place:   events.Place{Lat: 52.0907, Lon: 5.1214, RadiusKm: 20, City: "Utrecht", Country: "NL"},
					Device:  events.Device{ID: "1a0c8f2e-laptop", OS: "Windows", Browser: "Edge", Managed: events.Yes},
				},
				To: events.SightOf(e), DistanceKm: 9304.8, RadiusFrom: 20, RadiusTo: 20, EffectiveKm: 9264.8, GapSeconds: 58 * 60, SpeedKmh: 9584.3,
			},
			History: &events.History{FirstSeen: dayZero - 30*events.Day, Successes: 21},
		},
		Suppressions: []events.Suppression{
			{Rung: "learning", Fact: "21 successes in 30 days before this one", Effect: "none"},
			{Rung: "operator_allow", Fact: "neither address is on the operator's list", Effect: "none"},
			{Rung: "org_egress", Fact: "no address is of an office network", Effect: "none"},
			{Rung: "vpn_or_relay", Fact: "no address is of a VPN, a relay, Tor or a satellite network", Effect: "none"},
			{Rung: "known_transition", Fact: "the user has not proved this way twice", Effect: "none"},
			{Rung: "same_network_and_device", Fact: "another network or another device", Effect: "none"},
			{Rung: "phishing_resistant_on_managed_device", Fact: "no phishing-resistant proof was given in this event", Effect: "none"},
		},
		Parameters: c.parameters[&loc01],
	}
	if diff := cmp.Diff(f, want); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
}

func TestParametersReadAsTheyAreWritten(t *testing.T) {
	c := DefaultConfig()
	texts := map[string]string{}
	all := c.Parameters()
	for i := range all {
		p := &all[i]
		if p.Low > p.High || len(p.Text(p.Low)) == 0 {
			t.Errorf("%s: from %g to %g", p.Path, p.Low, p.High)
		}
		for _, id := range p.Of {
			if byID[id] == nil {
				t.Errorf("%s: no detection %s", p.Path, id)
			}
		}
		texts[p.Path] = p.Text(p.Value)
	}
	for path, want := range map[string]string{
		"travel.same_device": "10m", "travel.window": "1d", "session.token_life": "28h", "credential.spread_window": "1h",
		"timing.off_hours": "0.005", "credential.failures": "10", "novelty.country_ttl": "90d",
	} {
		if texts[path] != want {
			t.Errorf("%s is %q, want %q", path, texts[path], want)
		}
	}
}
