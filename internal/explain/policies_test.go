package explain_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/explain"
)

func answersOf(x *explain.Explanation) []string {
	var out []string
	for _, c := range x.Policies {
		out = append(out, c.Name+": "+string(c.Answer))
	}
	return out
}

// The finding that keeps the reason of a policy which needs none was not there when the policies were asked.
func TestTheFindingOfAPolicyIsNoReasonForPolicies(t *testing.T) {
	t.Parallel()
	const alone = `version: 1
policies:
  - {name: told, when: 'size(findings) == 1', then: {action: revoke_session}}
  - {name: quiet, when: 'event.app.id == "mail" && size(findings) == 0', then: {action: step_up, acr_values: [mfa]}}
`
	e := signIn(events.Hour)
	x, err := explain.FromEvents(t.Context(), write(t, []*events.Event{e}), explain.ID{Event: e.ID}, rules(t, alone), nil)
	if err != nil {
		t.Fatal(err)
	}
	if x.Decision == nil || x.Decision.Policy != "quiet" || len(x.Findings) != 1 || x.Findings[0].Finding.Detection != "POL-01" {
		t.Fatalf("decision %+v, findings %+v", x.Decision, x.Findings)
	}
	if diff := cmp.Diff([]string{"told: no_match", "quiet: matches"}, answersOf(x)); diff != "" {
		t.Errorf("(-want, +got)\n%s", diff)
	}
}

// A stronger policy that let the weaker one decide was on cooldown, although it would match without.
func TestAStrongerPolicyOnCooldownIsSaidToBe(t *testing.T) {
	t.Parallel()
	const cooling = `version: 1
policies:
  - {name: ask, cooldown: 24h, when: 'event.app.id == "mail"', then: {action: step_up, acr_values: [mfa]}}
  - {name: tell, cooldown: 1m, when: 'event.app.id == "mail"', then: {action: notify}}
`
	asked, proof, later := signIn(events.Hour), signIn(events.Hour+events.Minute), signIn(2*events.Hour)
	proof.Session, later.Session = asked.Session, asked.Session
	proof.Auth = events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, ACR: "phr"}
	list := []*events.Event{asked, proof, later}
	x, err := explain.FromEvents(t.Context(), write(t, list), explain.ID{Event: later.ID}, rules(t, cooling), nil)
	if err != nil {
		t.Fatal(err)
	}
	if x.Decision == nil || x.Decision.Policy != "tell" || !x.Current {
		t.Fatalf("decision %+v, current %v", x.Decision, x.Current)
	}
	if diff := cmp.Diff([]string{"ask: cooldown", "tell: matches"}, answersOf(x)); diff != "" {
		t.Errorf("(-want, +got)\n%s", diff)
	}
}

// The text shows the policies that came near, and counts the others.
func TestPoliciesThatDoNotMatchAreOnlyCounted(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	many.WriteString(policies)
	for i := range 5 {
		fmt.Fprintf(&many, "  - {name: other-%d, when: 'event.app.id == \"nothing\"', then: {action: notify}}\n", i)
	}
	list, tokyo, _ := story()
	x, err := explain.FromEvents(t.Context(), write(t, list), explain.ID{Event: tokyo.ID}, rules(t, many.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	var some, all strings.Builder
	if err := x.WriteText(&some, false); err != nil {
		t.Fatal(err)
	}
	if err := x.WriteText(&all, true); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]bool{"* travel": {true, true}, "other-3": {false, true}, "payroll": {false, true}, "6 more do not match": {true, false}} {
		if got := [2]bool{strings.Contains(some.String(), name), strings.Contains(all.String(), name)}; got != want {
			t.Errorf("%q: in short and in full %v, want %v", name, got, want)
		}
	}
}
