package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

func TestEveryPolicyAnswersAlone(t *testing.T) {
	t.Parallel()
	set, err := Load([]byte(`version: 1
policies:
  - {name: revoke, when: 'max_severity >= critical', then: {action: revoke_session}}
  - {name: ask, when: 'has_detection("LOC-01")', then: {action: step_up, acr_values: [mfa]}}
  - {name: others, for: {users: [somebody-else]}, when: 'has_detection("LOC-01")', then: {action: step_up, acr_values: [mfa]}}
  - {name: divide, when: '1 / (findings.size() - 1) == 1', then: {action: notify}}
  - {name: watch, mode: observe, when: 'has_detection("LOC-01")', then: {action: notify}}
`))
	if err != nil {
		t.Fatal(err)
	}
	answers := func(e *events.Event, fs []events.Finding, facts Facts) map[string]Answer {
		out := map[string]Answer{}
		for _, c := range set.Consider(e, fs, facts) {
			out[c.Name] = c.Answer
			if (c.Problem != "") != (c.Answer == Unevaluated) {
				t.Errorf("%s: problem %q", c.Name, c.Problem)
			}
		}
		return out
	}
	e := event()
	fs := []events.Finding{finding("LOC-01", events.High)}
	want := map[string]Answer{"revoke": NoMatch, "ask": Matches, "others": NotFor, "divide": Unevaluated, "watch": Matches}
	if diff := cmp.Diff(want, answers(e, fs, Facts{})); diff != "" {
		t.Errorf("(-want, +got)\n%s", diff)
	}
	if d := set.Decide(e, fs, Facts{}); d.Policy != "ask" {
		t.Errorf("%s decides", d.Policy)
	}
	// The answers are those of the decision also when the policy has just been met.
	ask := set.Policies()[1]
	e.Session.ID = "s"
	pass, _ := PassOf(ask.Name, ask.Version, e.Session.ID, events.High, e.Time, events.Hour)
	want["ask"] = OnCooldown
	if diff := cmp.Diff(want, answers(e, fs, Facts{Passes: []Pass{pass}})); diff != "" {
		t.Errorf("with a pass: (-want, +got)\n%s", diff)
	}
}
