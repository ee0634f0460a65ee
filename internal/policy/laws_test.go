package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
)

// conditions of which any may be true, false or broken, with and without findings.
var conditions = []string{
	`event.device.noncompliant && event.app.sensitivity == "high"`,
	`event.device.noncompliant || event.resource.sensitivity == "high"`,
	`!event.device.managed && event.kind != "sign_in"`,
	`event.user.privileged || has_detection("LOC-01", high)`,
	`has_detection(["LOC-01", "SES-01"], medium)`,
	`max_severity >= high || event.risk.user >= high`,
	`findings.all(f, f.severity < high) && event.access.result == "failure"`,
	`findings.exists(f, f.detection == "LOC-01") || event.outcome in ["failure", "blocked"]`,
	`1 / size(findings) == 1 || event.hour == 20`,
	`findings[0].severity >= low || event.kind == "session_use"`,
	`event.auth.age < duration("10m") && event.user.id in lists.vip`,
	`[event].exists(e, e.device.compliant)`,
	`event.device.managed ? event.app.name == "Payroll" : has_detection("SES-01")`,
	`(risk > 40.0 || score > 3.0) && scored && !event.user.unprivileged`,
	`has(event.user) && event.weekday == saturday`,
	`size(findings) == 0 && "vpn" in event.network.classes`,
	`"admins" in event.user.groups`,
}

func drawPolicies(t *rapid.T) []string {
	var out []string
	for i := range rapid.IntRange(1, 6).Draw(t, "policies") {
		action := rapid.SampledFrom([]string{
			"action: notify", "action: step_up, proof: any_mfa", "action: step_up, proof: phishing_resistant, fresh_within: 10m",
			"action: revoke_session", "action: revoke_all, proof: any_mfa", "action: observe",
		}).Draw(t, "action")
		extra := rapid.SampledFrom([]string{
			"", "", "mode: observe, ", "for: {groups: [ADMINS]}, ", "except: {users: [u2], apps: [Payroll]}, ", "cooldown: 4h, ",
		}).Draw(t, "extra")
		if action == "action: revoke_session" && strings.HasPrefix(extra, "cooldown") {
			extra = "" // refused
		}
		out = append(out, fmt.Sprintf("- {name: p%d, priority: %d, %swhen: '%s', then: {%s}}", i, rapid.IntRange(0, 2).Draw(t, "priority"), extra,
			strings.ReplaceAll(rapid.SampledFrom(conditions).Draw(t, "when"), "'", "''"), action))
	}
	return out
}

func load(t interface{ Fatal(args ...any) }, policies []string) *Set {
	s, err := Load([]byte("version: 1\nlists:\n  apps: {high: [Payroll], low: [Lunch]}\n  resources: {high: [files]}\n" +
		"  privileged: {groups: [admins]}\n  named: {vip: [u1]}\npolicies:\n" + strings.Join(policies, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func drawEvent(t *rapid.T) *events.Event {
	tri := rapid.SampledFrom([]events.Tri{events.Unknown, events.Yes, events.No})
	e := event()
	e.Kind = rapid.SampledFrom(events.Kinds).Draw(t, "kind")
	e.Outcome = rapid.SampledFrom(append([]events.Outcome{"", "", events.Success}, events.Outcomes...)).Draw(t, "outcome")
	e.User.ID = rapid.SampledFrom([]string{"u1", "u2"}).Draw(t, "user")
	e.User.Groups = rapid.SampledFrom([][]string{nil, {"admins"}, {"staff", "Admins"}}).Draw(t, "groups")
	e.User.Privileged, e.Device.Managed = tri.Draw(t, "privileged"), tri.Draw(t, "managed")
	e.Device.Compliant, e.Interactive = tri.Draw(t, "compliant"), tri.Draw(t, "interactive")
	e.App.Name = rapid.SampledFrom([]string{"", "payroll", "Lunch", "Other"}).Draw(t, "app")
	e.Resource.ID = rapid.SampledFrom([]string{"", "files"}).Draw(t, "resource")
	e.Access.Result = rapid.SampledFrom(append([]events.AccessResult{""}, events.AccessResults...)).Draw(t, "access")
	e.Risk.User = rapid.SampledFrom(append([]events.RiskLevel{""}, events.RiskLevels...)).Draw(t, "risk")
	e.Auth.Strength = rapid.SampledFrom(append([]events.Strength{""}, events.Strengths...)).Draw(t, "strength")
	e.Time += events.Millis(rapid.IntRange(-48, 48).Draw(t, "hours")) * events.Hour
	return e
}

func drawFindings(t *rapid.T) []events.Finding {
	var fs []events.Finding
	for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"LOC-01", "SES-01", "NET-02"}), 0, 3, rapid.ID[string]).Draw(t, "ids") {
		f := finding(id, rapid.SampledFrom(events.Severities).Draw(t, "severity"))
		f.Disposition = rapid.SampledFrom([]events.Disposition{events.Active, events.Active, events.Learning}).Draw(t, "disposition")
		fs = append(fs, f)
	}
	return fs
}

func drawFacts(t *rapid.T, s *Set, e *events.Event) Facts {
	f := Facts{Risk: rapid.Float64Range(0, 100).Draw(t, "risk"), Scored: rapid.Bool().Draw(t, "scored")}
	for _, p := range s.policies {
		if rapid.IntRange(0, 3).Draw(t, "pass") == 0 {
			pass, _ := PassOf(p.Name, p.Version, rapid.SampledFrom([]string{"", "s9", "other"}).Draw(t, "session"),
				rapid.SampledFrom(events.Severities).Draw(t, "worth"), e.Time-events.Hour, events.Millis(rapid.IntRange(0, 3).Draw(t, "for"))*events.Hour)
			f.Passes = append(f.Passes, pass)
		}
	}
	return f
}

// The order of the policies in the file, of the findings and of the passes changes nothing, and nothing changes from one
// call to the next.
func TestDecisionsAreDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policies := drawPolicies(t)
		set := load(t, policies)
		shuffled := rapid.Permutation(policies).Draw(t, "order")
		other := load(t, shuffled)
		if set.Version() != other.Version() {
			t.Fatal("the order changes the version")
		}
		e, fs := drawEvent(t), drawFindings(t)
		facts := drawFacts(t, set, e)
		want := set.Decide(e, fs, facts)
		if diff := cmp.Diff(set.Decide(e, fs, facts), want); diff != "" {
			t.Fatalf("again (-got, +want)\n%s", diff)
		}
		slices.Reverse(fs)
		slices.Reverse(facts.Passes)
		if diff := cmp.Diff(other.Decide(e, fs, facts), want); diff != "" {
			t.Fatalf("in another order (-got, +want)\n%s", diff)
		}
	})
}

// What is left out without being evaluated would not have matched.
func TestNoPolicyIsLeftOutThatMatches(t *testing.T) {
	reached := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		set := load(t, drawPolicies(t))
		e := drawEvent(t)
		facts := drawFacts(t, set, e)
		among := set.candidates(e)
		scene := scene{event: set.viewOf(e), findings: []viewFinding{}, facts: facts, lists: set.lists.named}
		for i, p := range set.policies {
			matches, _ := p.matches(&scene)
			if matches && !among.has(i) {
				t.Fatalf("%s matches without findings, and was left out: reach %b", p.When, p.reach)
			}
			if matches {
				reached[p.When] = true
			}
		}
		fs := drawFindings(t)
		highest := 0
		for i := range fs {
			if fs[i].Disposition == events.Active {
				scene.findings = append(scene.findings, viewOfFinding(&fs[i]))
				highest = max(highest, fs[i].Severity.Rank())
			}
		}
		if scene.severity = int64(highest); highest == 0 {
			return
		}
		for i, p := range set.policies {
			if matches, err := p.matches(&scene); (matches || err != nil) && !set.prompted[highest].has(i) {
				t.Fatalf("%s with %s: %v, %v, and was left out", p.When, events.Severities[highest-1], matches, err)
			}
		}
	})
	least := 8
	if testing.Short() { // rapid draws a fifth then
		least = 1
	}
	if len(reached) < least {
		t.Errorf("only %d conditions ever matched without findings", len(reached))
	}
}

func TestWhatCanMatchWithoutFindings(t *testing.T) {
	for when, want := range map[string]bool{
		`has_detection("LOC-01")`:                                 false,
		`has_detection("LOC-01") && event.user.privileged`:        false,
		`max_severity >= low`:                                     false,
		`findings.exists(f, f.severity >= low)`:                   false,
		`findings[0].detection == "LOC-01"`:                       false,
		`1 / size(findings) == 1`:                                 false,
		`event.user.privileged && findings.exists(f, true)`:       false,
		`size(findings) > 0 ? event.user.privileged : false`:      false,
		`event.user.privileged`:                                   true,
		`findings.all(f, f.severity < high)`:                      true,
		`!has_detection("LOC-01")`:                                true,
		`has_detection("LOC-01") || event.user.privileged`:        true,
		`risk >= 50.0`:                                            true,
		`scored && score > 4.0`:                                   true,
		`event.app.sensitivity == "high" || max_severity >= high`: true,
	} {
		if got := one(t, when).policies[0].Unprompted(); got != want {
			t.Errorf("%s: %v", when, got)
		}
	}
	s := load(t, []string{`- {name: a, when: 'event.device.noncompliant && event.app.sensitivity == "high"', then: {action: notify}}`})
	e := event()
	for _, c := range []struct {
		compliant events.Tri
		app       string
		want      bool
	}{
		{events.No, "Payroll", true}, {events.No, "Lunch", false}, {events.Yes, "Payroll", false}, {events.Unknown, "Payroll", false},
	} {
		e.Device.Compliant, e.App.Name = c.compliant, c.app
		if m := s.candidates(e); !m.empty() != c.want {
			t.Errorf("%+v: candidates %v", c, m)
		}
	}
}

// A pass silences its policy for the same or less, for as long as it says, and for nobody else's session when it is serious.
func TestPassesAreNoFreeRide(t *testing.T) {
	s := load(t, []string{
		`- {name: ask, cooldown: 4h, when: 'has_detection("LOC-04", low) || event.hour == 3', then: {action: step_up, proof: any_mfa}}`,
		`- {name: tell, when: 'max_severity >= medium', then: {action: notify}}`,
	})
	ask := s.policies[0]
	e := event()
	e.Auth = events.Auth{Strength: events.SingleFactor}
	granted, ok := PassOf(ask.Name, ask.Version, "s9", events.Medium, e.Time-events.Hour, ask.Cooldown)
	if !ok {
		t.Fatal("no pass")
	}
	for name, c := range map[string]struct {
		edit     func(e *events.Event, p *Pass)
		severity events.Severity
		policy   string
		cooling  bool
	}{
		"silent":            {func(*events.Event, *Pass) {}, events.Low, "ask", true},
		"weaker speaks":     {func(*events.Event, *Pass) {}, events.Medium, "tell", false},
		"worse":             {func(*events.Event, *Pass) {}, events.High, "ask", false},
		"other session":     {func(e *events.Event, _ *Pass) { e.Session.ID = "thief" }, events.Medium, "ask", false},
		"no session":        {func(e *events.Event, _ *Pass) { e.Session.ID = "" }, events.Medium, "ask", false},
		"other, not grave":  {func(e *events.Event, _ *Pass) { e.Session.ID = "phone" }, events.Low, "ask", true},
		"over":              {func(e *events.Event, _ *Pass) { e.Time += 3 * events.Hour }, events.Low, "ask", false},
		"before":            {func(e *events.Event, _ *Pass) { e.Time -= events.Hour + 1 }, events.Low, "ask", false},
		"of another policy": {func(_ *events.Event, p *Pass) { p.Policy++ }, events.Low, "ask", false},
	} {
		now, pass := *e, granted
		c.edit(&now, &pass)
		d := s.Decide(&now, []events.Finding{finding("LOC-04", c.severity)}, Facts{Passes: []Pass{pass}})
		if d.Policy != c.policy || d.Cooling != c.cooling || d.Required() != (c.policy == "ask" && !c.cooling) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	d := s.Decide(e, []events.Finding{finding("LOC-04", events.Low)}, Facts{Passes: []Pass{granted}})
	if !strings.Contains(d.Reason, "policy ask: step_up, not again before 2026-01-01T02:59:59.123Z, it was answered at 2025-12-31T22:59:59.123Z") {
		t.Errorf("%s", d.Reason)
	}
}

func TestForAndExcept(t *testing.T) {
	for clause, want := range map[string]bool{
		"":                               true,
		"for: {users: [U1]}":             true,
		"for: {users: [u2]}":             false,
		"for: {groups: [Admins, other]}": true,
		"for: {groups: [admins], tenants: [other]}":        false,
		"for: {groups: [admins], tenants: [acme]}":         true,
		"for: {apps: [payroll]}":                           true,
		"for: {apps: [lunch]}":                             false,
		"except: {users: [ANA]}":                           false,
		"except: {users: [u2], tenants: [other]}":          true,
		"except: {users: [u2], apps: [Payroll]}":           false,
		"for: {users: [u1]}, except: {groups: [glass]}":    true,
		"for: {users: [u1]}, except: {groups: [staff]}":    false,
		"for: {users: [ana]}, except: {tenants: [globex]}": true,
	} {
		if clause != "" {
			clause += ", "
		}
		s := load(t, []string{"- {name: a, " + clause + "when: 'max_severity >= low', then: {action: notify}}"})
		e := event()
		e.User.Name = "Ana"
		if d := s.Decide(e, []events.Finding{finding("LOC-01", events.High)}, Facts{}); (d.Policy == "a") != want {
			t.Errorf("%s: %+v", clause, d)
		}
	}
}

func TestProofsCarryTheProvidersNames(t *testing.T) {
	const text = `
version: 1
proofs:
  phishing_resistant: {acr_values: [loa3], entra: c1}
  any_mfa: {acr_values: [loa2], entra: c2}
policies:
- {name: a, when: 'max_severity >= high', then: {action: step_up, proof: phishing_resistant, fresh_within: 10m}}
- {name: b, when: 'max_severity >= low', then: {action: step_up, proof: any_mfa}}
- {name: c, when: 'max_severity >= critical', then: {action: revoke_all, acr_values: [own], credential_change: false}}
`
	s, err := Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Then{}
	for _, p := range s.Policies() {
		byName[p.Name] = p.Then
	}
	if got := byName["a"]; !slices.Equal(got.ACRValues, []string{"phr", "loa3", "c1"}) || got.MaxAge != 600 {
		t.Errorf("a: %+v", got)
	}
	if got := byName["b"]; !slices.Equal(got.ACRValues, []string{"phr", "loa3", "c1", "mfa", "loa2", "c2"}) {
		t.Errorf("b: %+v", got)
	}
	if !AsksForAtLeast(byName["a"].ACRValues, byName["b"].ACRValues) || AsksForAtLeast(byName["b"].ACRValues, byName["a"].ACRValues) {
		t.Error("the stronger proof is not enough for the weaker")
	}
	if got := byName["c"]; got.CredentialChange || got.Scope != ScopeUser {
		t.Errorf("c: %+v", got)
	}
}

func TestLoadRefusesInTheNewSections(t *testing.T) {
	const policies = "\npolicies: []\n"
	for text, want := range map[string]string{
		"lists: {apps: {secret: [a]}}":                          "lists.apps.secret (line 2): is unknown",
		"lists: {apps: {high: [a], low: [A]}}":                  `lists.apps.high (line 2): "a" is also in low`,
		"lists: {apps: {high: [a, a]}}":                         "lists.apps.high[1] (line 2): repeats",
		"lists: {named: {Bad: [a]}}":                            "lists.named.Bad (line 2): is no name",
		"proofs: {any_mfa: {entra: c100}}":                      "proofs.any_mfa.entra (line 2): is \"c100\"",
		"proofs: {voice: {}}":                                   "proofs.voice (line 2): is unknown",
		"proofs: {any_mfa: {acr_values: [a, b, c, d, e, f,g]}}": "proofs (line 2): comes to 9 values",
		"breaker: {per_minute: 0}":                              "breaker.per_minute (line 2): is \"0\"",
		"breaker: {user_share: NaN}":                            "breaker.user_share (line 2): is \"NaN\"",
		"breaker: {user_share: 2}":                              "breaker.user_share (line 2): is \"2\"",
	} {
		_, err := Load([]byte("version: 1\n" + text + policies))
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for rest, want := range map[string]string{
		"when: 'true', for: {}, then: {action: notify}":                                       "policies[0].for (line 3): is empty",
		"when: 'true', for: {groups: []}, then: {action: notify}":                             "policies[0].for.groups (line 3): is empty",
		"when: 'true', cooldown: 1s, then: {action: notify}":                                  "policies[0].cooldown (line 3): is \"1s\"",
		"when: 'true', then: {action: step_up, proof: any_mfa, acr_values: [a]}":              "policies[0].then.acr_values (line 3): is given besides",
		"when: 'true', then: {action: step_up, proof: voice}":                                 "policies[0].then.proof (line 3): is \"voice\"",
		"when: 'true', then: {action: step_up, proof: any_mfa, fresh_within: 1h, max_age: 1}": "policies[0].then.max_age (line 3): is given besides",
		"when: 'true', then: {action: step_up, proof: any_mfa, credential_change: true}":      "policies[0].then.credential_change (line 3): means nothing",
		"when: 'true', then: {action: revoke_all, proof: any_mfa, scope: session}":            "policies[0].then.scope (line 3): means nothing",
		"when: 'true', then: {action: revoke_all}":                                            "policies[0].then.proof (line 3): is missing",
		"when: 'event.user.id in lists.nobody', then: {action: notify}":                       "policies[0].when (line 3): column ",
		"when: 'event.kind == \"signin\"', then: {action: notify}":                            "policies[0].when (line 3): column 15: event.kind is never \"signin\"",
		"when: 'event.outcome in [\"success\", \"ok\"]', then: {action: notify}":              "policies[0].when (line 3): column 30: event.outcome is never \"ok\"",
		"when: '\"wifi\" in event.network.classes', then: {action: notify}":                   "policies[0].when (line 3): column 1: event.network.classes is never",
		"when: 'event.time.getHours(\"Europe/Amsterdam\") > 20', then: {action: notify}":      "policies[0].when (line 3): column 21: a time zone must be",
		"when: 'event.time.getHours(event.place.city) > 20', then: {action: notify}":          "policies[0].when (line 3): column 32: a time zone must be",
		"when: 'has_detection([])', then: {action: notify}":                                   "policies[0].when (line 3): column 15: has_detection needs",
		"when: 'event.auth.age < duration(\"soon\")', then: {action: notify}":                 "policies[0].when (line 3): column ",
	} {
		_, err := Load([]byte("version: 1\npolicies:\n- {name: a, " + rest + "}\n"))
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+want) {
			t.Errorf("%s: %v", rest, err)
		}
	}
	if _, err := Load([]byte("version: 1\npolicies:\n- {name: a, when: 'event.time.getHours(\"+02:00\") < 6 || event.time.getDayOfWeek(\"UTC\") == sunday', then: {action: notify}}\n")); err != nil {
		t.Error(err)
	}
}

// An event that brings what would be asked for is left alone, unless something serious speaks against it.
func TestAProofInTheEventCounts(t *testing.T) {
	s := load(t, []string{`- {name: a, when: 'event.app.sensitivity == "high"', then: {action: step_up, proof: phishing_resistant, fresh_within: 10m}}`})
	for name, c := range map[string]struct {
		edit     func(e *events.Event)
		severity events.Severity
		asks     bool
	}{
		"weak":            {func(*events.Event) {}, "", true},
		"strong":          {func(e *events.Event) { e.Auth.Strength = events.PhishingResistant }, "", false},
		"by methods":      {func(e *events.Event) { e.Auth = events.Auth{Methods: []string{"password", "FIDO2"}} }, "", false},
		"strong, serious": {func(e *events.Event) { e.Auth.Strength = events.PhishingResistant }, events.Medium, true},
		"strong, noted":   {func(e *events.Event) { e.Auth.Strength = events.PhishingResistant }, events.Low, false},
		"fresh enough":    {func(e *events.Event) { e.Auth.ACR, e.Auth.Time = "phr", e.Time-9*events.Minute }, "", false},
		"too old":         {func(e *events.Event) { e.Auth.ACR, e.Auth.Time = "phr", e.Time-11*events.Minute }, "", true},
		"failed":          {func(e *events.Event) { e.Outcome = events.Failure }, "", false},
		"not a person's":  {func(e *events.Event) { e.Kind = events.NetworkVerdict }, "", false},
	} {
		e := event()
		e.Interactive = events.Yes
		c.edit(e)
		var fs []events.Finding
		if c.severity != "" {
			fs = append(fs, finding("LOC-04", c.severity))
		}
		if d := s.Decide(e, fs, Facts{}); d.Required() != c.asks {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func BenchmarkDecideNothing(b *testing.B) {
	for name, text := range map[string]string{
		"shipped":  string(DefaultYAML()),
		"with_app": strings.Replace(string(DefaultYAML()), "high: []       #", "high: [Vault, Books] #", 1),
	} {
		s, err := Load([]byte(text))
		if err != nil {
			b.Fatal(err)
		}
		e := event()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(e, nil, Facts{})
			}
		})
	}
}

func BenchmarkDecideFinding(b *testing.B) {
	s, e := Default(), event()
	for _, severity := range []events.Severity{events.Low, events.Medium, events.High} {
		fs := []events.Finding{finding("LOC-04", severity)}
		b.Run(string(severity), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(e, fs, Facts{})
			}
		})
	}
}
