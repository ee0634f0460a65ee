package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
)

func finding(detection string, s events.Severity) events.Finding {
	return events.Finding{Detection: detection, Title: "Title of " + detection, Severity: s, Disposition: events.Active}
}

func event() *events.Event {
	return &events.Event{
		ID: "e1", Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u1", Groups: []string{"staff", "admins"}},
		Time: 1767225599123, Source: events.Source{ID: "s1"}, Outcome: events.Success,
		App: events.Ref{Name: "Payroll"}, Session: events.Session{ID: "s9"}, Place: events.Place{Lat: 1, Lon: 2, Country: "NL"},
		Network: events.Network{ASN: 64500, Classes: []events.Class{events.VPN}},
		Device:  events.Device{Managed: events.No}, Auth: events.Auth{Strength: events.MultiFactor},
	}
}

// one wraps a condition into a set with one step-up policy.
func one(t testing.TB, when string) *Set {
	t.Helper()
	s, err := Load([]byte(fmt.Sprintf(
		"version: 1\npolicies:\n- {name: only, when: %q, then: {action: step_up, acr_values: [mfa]}}\n", when)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDefaultDecisions(t *testing.T) {
	set := Default()
	privileged := event()
	privileged.User.Privileged = events.Yes
	failure := event()
	failure.Outcome = events.Failure
	learning := finding("LOC-01", events.High)
	learning.Disposition = events.Learning
	for name, c := range map[string]struct {
		event    *events.Event
		findings []events.Finding
		policy   string
		action   events.Action
		scope    Scope
		observed bool
	}{
		"stolen session":          {event(), []events.Finding{finding("SES-01", events.High)}, "stolen-session", events.RevokeSession, ScopeSession, false},
		"session too fast":        {event(), []events.Finding{finding("SES-02", events.High)}, "stolen-session", events.RevokeSession, ScopeSession, false},
		"session weaker":          {event(), []events.Finding{finding("SES-01", events.Low)}, "", events.Observe, "", false},
		"travel":                  {event(), []events.Finding{finding("LOC-01", events.High)}, "impossible-travel", events.StepUp, ScopeUser, false},
		"there and back":          {event(), []events.Finding{finding("LOC-03", events.High)}, "impossible-travel", events.StepUp, ScopeUser, false},
		"travel, medium":          {event(), []events.Finding{finding("LOC-01", events.Medium)}, "", events.Observe, "", false},
		"travel and stolen":       {event(), []events.Finding{finding("LOC-01", events.High), finding("SES-01", events.High)}, "stolen-session", events.RevokeSession, ScopeSession, false},
		"conjunction":             {event(), []events.Finding{finding("CONJ-01", events.High), finding("LOC-04", events.Medium)}, "new-country-and-device", events.StepUp, ScopeUser, false},
		"new country":             {event(), []events.Finding{finding("LOC-04", events.Medium)}, "new-country", events.Notify, "", false},
		"new country, privileged": {privileged, []events.Finding{finding("LOC-04", events.Medium)}, "privileged-user", events.StepUp, ScopeSession, false},
		"common new country":      {event(), []events.Finding{finding("LOC-04", events.Low)}, "", events.Observe, "", false},
		"learning":                {event(), []events.Finding{learning}, "", events.Observe, "", false},
		"fatigue approved":        {event(), []events.Finding{finding("MFA-02", events.Critical)}, "mfa-fatigue-approved", events.RevokeAll, ScopeUser, false},
		"fatigue":                 {failure, []events.Finding{finding("MFA-01", events.Medium)}, "mfa-fatigue", events.StepUp, ScopeUser, false},
		"phished":                 {event(), []events.Finding{finding("AIT-01", events.Critical)}, "phished-session", events.RevokeAll, ScopeUser, false},
		"guessed":                 {event(), []events.Finding{finding("CRD-06", events.Critical)}, "guessed-password", events.RevokeAll, ScopeUser, false},
		"half guessed":            {event(), []events.Finding{finding("CRD-06", events.High)}, "attacked-and-in", events.RevokeSession, ScopeSession, false},
		"changed after":           {event(), []events.Finding{finding("CONJ-03", events.Critical)}, "account-change-after-finding", events.RevokeAll, ScopeUser, false},
		"changed and proved":      {event(), []events.Finding{finding("CONJ-03", events.Medium)}, "account-change", events.Notify, "", false},
		"risk":                    {event(), []events.Finding{finding("RSK-01", events.Medium)}, "user-risk", events.StepUp, ScopeSession, false},
		"high risk":               {event(), []events.Finding{finding("RSK-01", events.High)}, "user-risk-high", events.RevokeSession, ScopeUser, false},
		"unfamiliar":              {event(), []events.Finding{finding("FAM-01", events.High)}, "unfamiliar-login", events.StepUp, ScopeSession, false},
		"consent":                 {event(), []events.Finding{finding("OAU-03", events.High)}, "risky-consent", events.Notify, "", false},
		"sprayed":                 {failure, []events.Finding{finding("CRD-03", events.Medium)}, "attack", events.Notify, "", false},
		"guessed at, high":        {failure, []events.Finding{finding("MFA-03", events.High)}, "attack", events.Notify, "", false},
		"other critical":          {event(), []events.Finding{finding("TIM-03", events.Critical)}, "critical", events.RevokeAll, ScopeUser, false},
		"other high":              {event(), []events.Finding{finding("NET-02", events.High)}, "high", events.RevokeSession, ScopeSession, false},
		"other high, failed":      {failure, []events.Finding{finding("NET-04", events.High)}, "", events.Observe, "", false},
		"other medium":            {event(), []events.Finding{finding("NET-02", events.Medium)}, "medium", events.StepUp, ScopeSession, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := set.Decide(c.event, c.findings, Facts{})
			if d.Policy != c.policy || d.Action != c.action || d.Scope != c.scope || d.Observed != c.observed {
				t.Errorf("got %+v", d)
			}
			if d.Reason == "" || d.Version == "" {
				t.Errorf("no reason or version: %+v", d)
			}
			if want := c.action.Rank() >= events.StepUp.Rank() && !c.observed; d.Required() != want {
				t.Errorf("required %v", d.Required())
			}
			if d.Required() && (d.TTL < events.Hour || len(d.ACRValues) == 0 || d.Message["en"] == "") {
				t.Errorf("incomplete consequence: %+v", d)
			}
		})
	}
}

func TestReasonNamesFindingsAndPolicy(t *testing.T) {
	suppressed := finding("NET-01", events.Critical)
	suppressed.Disposition = events.Suppressed
	d := Default().Decide(event(), []events.Finding{
		finding("LOC-04", events.Medium), suppressed, finding("LOC-01", events.High),
	}, Facts{})
	const want = "LOC-01 Title of LOC-01 (high), LOC-04 Title of LOC-04 (medium), NET-01 Title of NET-01 (suppressed); " +
		"policy impossible-travel v2: step_up"
	if d.Reason != want {
		t.Errorf("got  %s\nwant %s", d.Reason, want)
	}
	if d.Severity != events.High {
		t.Errorf("severity %s", d.Severity)
	}
}

func TestConditions(t *testing.T) {
	fs := []events.Finding{finding("LOC-01", events.High), finding("CONJ-01", events.Medium)}
	fs[0].Evidence.Travel = &events.Travel{
		SpeedKmh: 5000, DistanceKm: 9000, From: events.Sight{Place: events.Place{Country: "NL"}},
		To: events.Sight{Place: events.Place{Country: "JP"}},
	}
	fs[1].Evidence.Novel = []events.NovelTerm{{Kind: "country"}, {Kind: "device"}}
	for when, want := range map[string]bool{
		`has_detection("LOC-01")`:                                            true,
		`has_detection("LOC-01", high)`:                                      true,
		`has_detection("LOC-01", critical)`:                                  false,
		`has_detection("LOC-03")`:                                            false,
		`max_severity == high`:                                               true,
		`findings.exists(f, f.speed_kmh > 2000.0 && f.from_country == "NL")`: true,
		`findings.exists(f, "device" in f.novel)`:                            true,
		`findings.all(f, f.severity >= medium && f.disposition == "active")`: true,
		`size(findings) == 2`:                                                true,
		`"vpn" in event.network.classes`:                                     true,
		`"admins" in event.user.groups && event.app.name == "Payroll"`:       true,
		`event.device.managed`:                                               false,
		`event.device.unmanaged`:                                             true,
		`event.device.compliant || event.device.noncompliant`:                false,
		`event.auth.strength >= multi_factor`:                                true,
		`event.auth.strength >= phishing_resistant`:                          false,
		`event.place.known && event.place.country == "NL"`:                   true,
		`event.network.asn == 64500`:                                         true,
		`event.kind == "sign_in" && event.session == "s9"`:                   true,
		`event.user.id.startsWith("u") && event.tenant.matches("^ac")`:       true,
	} {
		if got := one(t, when).Decide(event(), fs, Facts{}).Required(); got != want {
			t.Errorf("%s: got %v", when, got)
		}
	}
}

func TestErrorsInConditionsDoNotMatchAndAreReported(t *testing.T) {
	for when, problem := range map[string]string{
		`1 / (size(findings) - 1) == 1`: "division by zero",
		`findings[7].severity >= high`:  "index out of bounds",
		`int(event.app.name) == 1`:      "type conversion error",
		`event.user.groups.exists(g, event.user.groups.exists(h, event.user.id.matches("(a|b|c|d|e|f|g)*x" + g + h)))`: "cost",
	} {
		e := event()
		for i := range events.MaxElements {
			e.User.Groups = append(e.User.Groups, fmt.Sprint("group", i, strings.Repeat("x", 50)))
		}
		e.User.ID = strings.Repeat("abcdefg", 30)
		s := one(t, when)
		fs := []events.Finding{finding("LOC-01", events.High)}
		d := s.Decide(e, fs, Facts{})
		if d.Required() || d.Action != events.Observe || !strings.Contains(d.Reason, "policy only could not be evaluated: ") ||
			!strings.Contains(d.Reason, problem) {
			t.Errorf("%s: %+v", when, d)
		}
		if again := s.Decide(e, fs, Facts{}); cmp.Diff(again, d) != "" {
			t.Errorf("%s: not deterministic", when)
		}
	}
}

func TestStrongestWinsThenPriorityThenName(t *testing.T) {
	const text = `
version: 1
policies:
- {name: weak, priority: 99, when: "true", then: {action: notify}}
- {name: b, priority: 5, when: "true", then: {action: step_up, acr_values: [mfa]}}
- {name: a, priority: 5, when: "true", then: {action: step_up, acr_values: [mfa]}}
- {name: c, priority: 4, when: "true", then: {action: step_up, acr_values: [mfa]}}
- {name: broken, priority: 9, when: "max_severity > critical / (size(findings) - 1)", then: {action: revoke_session}}
- {name: watcher, mode: observe, when: "true", then: {action: revoke_session, scope: user}}
`
	s, err := Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	d := s.Decide(event(), []events.Finding{finding("LOC-01", events.High)}, Facts{})
	if d.Policy != "a" || d.Action != events.StepUp || d.Observed {
		t.Errorf("got %+v", d)
	}
	for _, part := range []string{"policy a: step_up", "policy watcher, which only observes, would: revoke_session", "policy broken could not be evaluated"} {
		if !strings.Contains(d.Reason, part) {
			t.Errorf("no %q in %q", part, d.Reason)
		}
	}
}

var lineNumber = regexp.MustCompile(` \(line \d+\):`)

func TestLoadReportsEveryProblemWithItsPath(t *testing.T) {
	const text = `
version: 2
extra: 1
policies:
- name: Bad Name
  when: event.nope == 1
  then: {action: dance}
- name: fine
  colour: red
  version: none
  priority: 1.5
  mode: maybe
  when: max_severity
  then: {action: step_up, acr_values: ["a b"], max_age: -1, ttl: forever, scope: world, message: {english!: hi, en: ""}}
- name: fine
  when: |
    has_detection("LOC-1")
  then: {action: notify, ttl: 1h}
- name: missing
- 7
- name: a
  name: b
  when: ""
  then: {action: step_up}
- name: c
  when: has_detection(event.id)
  then: []
- name: d
  when: [1]
  then: {action: step_up, acr_values: []}
`
	_, err := Load([]byte(text))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"extra: is unknown", "version: is 2", "policies[0].name: ", "policies[0].when: column 6: undefined field 'nope'",
		"policies[0].then.action: ", "policies[1].colour: is unknown", "policies[1].version: ", "policies[1].priority: ",
		"policies[1].mode: ", "policies[1].when: gives int", "policies[1].then.acr_values[0]: ", "policies[1].then.max_age: ",
		"policies[1].then.ttl: ", "policies[1].then.scope: ", "policies[1].then.message: ", "policies[1].then.message.en: is empty",
		"policies[2].name: \"fine\" is already", "policies[2].when: column 15: has_detection needs", "policies[2].then.ttl: means nothing",
		"policies[3].when: is missing", "policies[3].then: is missing", "policies[4]: must be an object",
		"policies[5].name: is given twice", "policies[5].when: is empty", "policies[5].then.proof: is missing",
		"policies[6].when: column 20: has_detection needs", "policies[6].then: must be an object", "policies[7].when: must be a single",
		"policies[7].then.acr_values: has 0",
	} {
		if !strings.Contains("\n"+lineNumber.ReplaceAllString(err.Error(), ":"), "\n"+want) {
			t.Errorf("no problem %q", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":         "",
		"only comments": "# nothing\n",
		"broken":        "version: [1",
		"two documents": "version: 1\npolicies: []\n---\nversion: 1\npolicies: []\n",
		"a list":        "- version: 1",
		"alias":         "version: &v 1\npolicies:\n- {name: a, version: *v, when: 'true', then: {action: notify}}",
		"too large":     "version: 1\npolicies: []\n#" + strings.Repeat("x", MaxFile),
		"too many":      "version: 1\npolicies:\n" + strings.Repeat("- {}\n", MaxPolicies+1),
		"too long":      "version: 1\npolicies:\n- {name: a, when: '" + strings.Repeat("true && ", 1000) + "true', then: {action: notify}}",
		"too deep":      "version: 1\npolicies:\n- {name: a, when: '" + strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000) + "', then: {action: notify}}",
		"bad regex":     "version: 1\npolicies:\n- {name: a, when: 'event.id.matches(\"(\")', then: {action: notify}}",
		"hidden call":   "version: 1\npolicies:\n- {name: a, when: '@detected(findings, \"LOC-01\", 1)', then: {action: notify}}",
	} {
		if _, err := Load([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if s, err := Load([]byte("version: 1\npolicies: []\n")); err != nil {
		t.Error(err)
	} else if d := s.Decide(event(), []events.Finding{finding("LOC-01", events.High)}, Facts{}); d.Action != events.Observe {
		t.Errorf("an empty set decided %+v", d)
	}
}

func TestVersionFollowsContent(t *testing.T) {
	base := Default().Version()
	edit := func(from, to string) string {
		t.Helper()
		text := strings.Replace(string(DefaultYAML()), from, to, 1)
		if text == string(DefaultYAML()) {
			t.Fatalf("%q is not in the default", from)
		}
		s, err := Load([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return s.Version()
	}
	for _, harmless := range [][2]string{{"# The policies that ship", "# Ours"}, {"owner: security", "owner: blue team"}} {
		if edit(harmless[0], harmless[1]) != base {
			t.Errorf("%q changed the version", harmless[0])
		}
	}
	for _, real := range [][2]string{ //nolint:predeclared // nobody needs the built-in here
		{"      ttl: 24h", "      ttl: 25h"},
		{"mode: observe", "mode: enforce"},
		{"priority: 100", "priority: 101"},
		{`"SES-08"], high)`, `"SES-08"], medium)`},
		{"en: Your", "en: That"},
		{"scope: user", "scope: session"},
		{"proof: any_mfa", "proof: phishing_resistant"},
		{"version: 1\n    owner", "version: 2\n    owner"},
		{"fresh_within: 1h", "fresh_within: 2h"},
		{"cooldown: 12h", "cooldown: 13h"},
		{"      ttl: 24h", "      ttl: 24h\n      credential_change: false"},
		{"user_share: 0.1 ", "user_share: 0.2 "},
		{"high: []       #", "high: [Payroll] #"},
		{"groups: []", "groups: [Admins]"},
		{"[LOC-01, LOC-03", "[LOC-03"},
		{"phishing_resistant: {}", "phishing_resistant: {entra: c1}"},
		{"priority: 120", "priority: 120\n    for: {users: [ana]}"},
		{"priority: 120", "priority: 120\n    except: {users: [ana]}"},
	} {
		if edit(real[0], real[1]) == base {
			t.Errorf("%q -> %q did not change the version", real[0], real[1])
		}
	}
}

// A pass belongs to a policy as it was: with other lists a condition says something else.
func TestVersionOfAPolicyFollowsTheLists(t *testing.T) {
	load := func(lists string) string {
		t.Helper()
		s, err := Load([]byte("version: 1\nlists: " + lists +
			"\npolicies:\n- {name: a, when: 'event.user.privileged && event.app.sensitivity == \"high\"', then: {action: notify}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		return s.Policies()[0].Version
	}
	seen := map[string]string{}
	for _, lists := range []string{
		"{}", "{apps: {high: [Payroll]}}", "{apps: {high: [Vault]}}", "{apps: {low: [Payroll]}}", "{resources: {high: [Payroll]}}",
		"{privileged: {users: [ana]}}", "{privileged: {groups: [ana]}}", "{named: {team: [ana]}}",
	} {
		version := load(lists)
		if other, twice := seen[version]; twice {
			t.Errorf("%s and %s are the same", lists, other)
		}
		seen[version] = lists
	}
	if load("{privileged: {users: [ana, bo]}}") != load("{privileged: {users: [bo, ana]}}") {
		t.Error("the order changes the version")
	}
}

// What can never be evaluated is refused, not found out by the first event.
func TestConditionsThatCanOnlyFailAreRefused(t *testing.T) {
	for when, want := range map[string]string{
		`1 / 0 == 1`:                             "column 5: division by zero",
		`max_severity >= high || 7 % 0 == 1`:     "column 29: division by zero",
		`event.user.privileged && 1u / 0u == 1u`: "column 31: division by zero",
		`1 / (2 - 2) == 1`:                       "can only fail: division by zero",
		`int("x") == 1`:                          "type conversion error",
		`event.user.id == ["a", "b"][7]`:         "can only fail: index out of bounds",
		`1.0 / 0.0 > 2.0`:                        "",
		`1 / size(findings) == 1`:                "",
		`max_severity % 2 == 1`:                  "",
	} {
		_, err := Load(fmt.Appendf(nil, "version: 1\npolicies:\n- {name: a, when: %q, then: {action: notify}}\n", when))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), "policies[0].when (line 3): "+want)) {
			t.Errorf("%s: %v, want %q", when, err, want)
		}
	}
}

func TestUnknownDetectionsAreRefused(t *testing.T) {
	known := []string{"LOC-01", "SES-01"}
	for when, want := range map[string]string{
		`has_detection("LOC-01", high)`:                                  "",
		`has_detection("LOC-99", high)`:                                  `column 15: there is no detection "LOC-99"`,
		`has_detection(["LOC-01", "POL-01"])`:                            `column 26: there is no detection "POL-01"`,
		`findings.exists(f, f.detection == "SES-01")`:                    "",
		`findings.exists(f, f.detection in ["SES-01", "SES-1"])`:         `column 46: there is no detection "SES-1"`,
		`findings.exists(f, !("XXX-01" == f.detection))`:                 `column 22: there is no detection "XXX-01"`,
		`findings.exists(f, f.technique == "T1078" && f.severity > low)`: "",
	} {
		text := fmt.Appendf(nil, "version: 1\npolicies:\n- {name: a, when: %q, then: {action: notify}}\n", when)
		_, err := Load(text, known...)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), "policies[0].when (line 3): "+want)) {
			t.Errorf("%s: %v, want %q", when, err, want)
		}
		if _, err := Load(text); err != nil {
			t.Errorf("%s, with detections unknown: %v", when, err)
		}
	}
}

// What ends a session cannot be answered, so that no cooldown can follow.
func TestRevokingASessionHasNoCooldown(t *testing.T) {
	const policies = "version: 1\npolicies:\n- {name: a, %s, then: {action: %s}}\n"
	for _, mode := range []Mode{Enforce, OnlyObserve} {
		_, err := Load(fmt.Appendf(nil, policies, "mode: "+string(mode)+", cooldown: 8h, when: 'max_severity >= medium'", "revoke_session"))
		if err == nil || !strings.Contains(err.Error(), "policies[0].cooldown (line 3): means nothing with action revoke_session") {
			t.Errorf("%s: %v", mode, err)
		}
	}
	for spec, want := range map[string]events.Millis{
		"mode: enforce, when: 'event.device.noncompliant'": 0, "mode: observe, when: 'event.device.noncompliant'": defaultCooldown,
	} {
		s, err := Load(fmt.Appendf(nil, policies, spec, "revoke_session"))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Policies()[0].Cooldown; got != want {
			t.Errorf("%s: cooldown %v, want %v", spec, got, want)
		}
	}
}

func TestDecisionDoesNotDependOnFindingOrder(t *testing.T) {
	set := Default()
	ids := []string{"LOC-01", "LOC-03", "LOC-04", "CONJ-01", "SES-01", "SES-02", "NET-02"}
	rapid.Check(t, func(t *rapid.T) {
		var fs []events.Finding
		for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, 5, rapid.ID[string]).Draw(t, "ids") {
			f := finding(id, rapid.SampledFrom(events.Severities).Draw(t, "severity"))
			f.Disposition = rapid.SampledFrom([]events.Disposition{events.Active, events.Learning, events.Suppressed}).Draw(t, "disposition")
			fs = append(fs, f)
		}
		want := set.Decide(event(), fs, Facts{})
		slices.Reverse(fs)
		if diff := cmp.Diff(set.Decide(event(), fs, Facts{}), want); diff != "" {
			t.Fatalf("(-got, +want)\n%s", diff)
		}
		if !slices.ContainsFunc(fs, func(f events.Finding) bool { return f.Disposition == events.Active }) && want.Action != events.Observe {
			t.Fatalf("inactive findings decided %+v", want)
		}
	})
}

func TestNoFindingsCostNothing(t *testing.T) {
	set, e := Default(), event()
	if n := testing.AllocsPerRun(100, func() {
		if d := set.Decide(e, nil, Facts{}); d.Action != "" {
			t.Fatal(d)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(DefaultYAML())
	f.Add([]byte("version: 1\npolicies:\n- {name: a, when: 'event.id == \"1\"', then: {action: notify}}"))
	f.Add([]byte("version: 1\nlists: {apps: {high: [a]}, named: {x: [y]}}\nproofs: {any_mfa: {entra: c2}}\nbreaker: {per_minute: 9}\npolicies:\n" +
		"- {name: a, for: {users: [u1]}, except: {groups: [g]}, cooldown: 1h, when: 'event.app.sensitivity == \"high\" || event.id in lists.x'," +
		" then: {action: revoke_all, proof: any_mfa, fresh_within: 10m, credential_change: false}}"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? {a: b}\n: c"))
	fs := []events.Finding{finding("LOC-01", events.High)}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Load(text)
		if err != nil {
			return
		}
		s.Decide(event(), fs, Facts{})
		s.Decide(event(), nil, Facts{Risk: 90, Scored: true})
		var any yaml.Node //nolint:predeclared // nobody needs the built-in here
		if err := yaml.Unmarshal(text, &any); err != nil {
			t.Errorf("accepted what is not YAML: %v", err)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	set, e := Default(), event()
	fs := []events.Finding{finding("CONJ-01", events.High), finding("LOC-04", events.Medium)}
	b.ReportAllocs()
	for b.Loop() {
		set.Decide(e, fs, Facts{})
	}
}
