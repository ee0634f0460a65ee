package anomaly

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/profile"
)

// What is only observed, suppressed or found while learning is stored with its reasons and reaches no policy: the shipped ones ask
// for nothing. The same events with everything on make them ask.
func TestOnlyWhatCountsReachesPolicy(t *testing.T) {
	t.Parallel()
	watch := DefaultConfig()
	watch.Modes = map[string]Mode{}
	for _, d := range Detections() {
		watch.Modes[d.ID] = Observe
	}
	allow := DefaultConfig()
	allow.Allow.Prefixes = []string{"0.0.0.0/0"}
	learning := DefaultConfig()
	learning.Learning.Logins = 1000
	learning.Learning.Period = learning.Learning.Inactive
	shipped := policy.Default()
	for name, test := range map[string]struct {
		config Config
		want   events.Disposition
	}{
		"on": {DefaultConfig(), events.Active}, "observed": {watch, events.Observed}, "allowed": {allow, events.Suppressed},
		"learning": {learning, events.Learning},
	} {
		c, err := New(test.config)
		if err != nil {
			t.Fatal(err)
		}
		s := newScenario(t)
		p := profile.New()
		s.getKnown(c, p, "known utrecht windows")
		c.Evaluate(p, nil, s.event("09:00 home sign_in utrecht windows"))
		e := s.event("10:00 thief sign_in tokyo linux")
		r := c.Evaluate(p, nil, e)
		for i := range r.Findings {
			if f := &r.Findings[i]; f.Detection == loc01.ID && f.Disposition != test.want {
				t.Errorf("%s: %s is %s", name, f.Detection, f.Disposition)
			}
		}
		d := shipped.Decide(e, r.Findings, policy.Facts{Risk: r.Risk, Score: r.Score, Scored: r.Scored})
		if asks := d.Action.Rank() >= events.StepUp.Rank(); asks != (test.want == events.Active) {
			t.Errorf("%s: policy %s asks for %s", name, d.Policy, d.Action)
		}
	}
}
