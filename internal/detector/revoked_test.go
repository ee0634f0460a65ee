package detector

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// findings are the severities of the active findings of a detection.
func findings(list []Decided, detection string) (out []events.Severity) {
	for i := range list {
		for k := range list[i].Outcome.Findings {
			if f := &list[i].Outcome.Findings[k]; f.Detection == detection && f.Disposition == events.Active {
				out = append(out, f.Severity)
			}
		}
	}
	return out
}

// A session that we have revoked and that is used on is a replay: critical for the thief once the clocks' skew is over, nothing or
// low for the victim's own device.
func TestRevokedSessionInUse(t *testing.T) {
	t.Parallel()
	const revokedAt = 11.5
	for name, c := range map[string]struct {
		later          float64 // hours after the revocation
		asn            uint32
		device, system string
		want           events.Severity
	}{
		"the thief at once":              {0.1, 64510, "", "Linux", ""},
		"the thief goes on":              {0.3, 64510, "", "Linux", events.Critical},
		"the thief copies the agent":     {0.3, 64511, "", "Windows", events.Critical},
		"the victim goes on":             {0.3, 64500, "laptop", "Windows", ""},
		"the victim on another network":  {0.3, 64520, "laptop", "Windows", events.Low},
		"a second device of the thief's": {20, 64512, "stolen", "Windows", events.Critical},
	} {
		g := NewEngine(rules(t))
		for _, e := range stolen() {
			g.Decide(e)
		}
		e := use(100, revokedAt+c.later, "home", c.asn, c.device, c.system)
		e.Kind, e.Auth = events.SessionUse, events.Auth{}
		list := g.Decide(e)
		got := findings(list, "SES-05")
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || got[0] != c.want) {
			t.Errorf("%s: %v, want %q", name, got, c.want)
		}
	}
}

// A revocation of one session ends that one only, and a policy that is only held or observed ends none.
func TestOtherSessionsGoOnAfterARevocation(t *testing.T) {
	t.Parallel()
	g := NewEngine(rules(t))
	g.Decide(use(50, 10, "other", 64500, "laptop", "Windows"))
	for _, e := range stolen() {
		g.Decide(e)
	}
	e := use(100, 12, "other", 64510, "", "Linux")
	e.Kind, e.Auth = events.SessionUse, events.Auth{}
	list := g.Decide(e)
	if len(findings(list, "SES-01")) != 1 || len(findings(list, "SES-05")) != 0 {
		t.Errorf("%+v", list[0].Outcome.Findings)
	}
}
