package detector

import (
	"slices"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
)

// decide makes of what was seen in an event what is required of its user: policy, breaker, requirements. A decision that
// no active finding called for leaves a finding of its own, unless it changed nothing.
func (r Rules) decide(t *Tenant, u *User, e *events.Event, seen *anomaly.Result) Outcome {
	t.Breaker.See(e)
	decision := r.Policies.Decide(e, seen.Findings, policy.Facts{
		Risk: seen.Risk, Score: seen.Score, Scored: seen.Scored, Passes: u.Requirements.Passes(),
	})
	out := Outcome{Findings: seen.Findings, Sighting: seen.Sighting, Score: seen.Score, Scored: seen.Scored, Broken: decision.Broken}
	if u.Requirements.Raises(e, &decision) {
		if why, tripped := t.Breaker.Take(r.Policies.Breaker(), r.Partitions, e); why != "" {
			decision.Hold(why)
			if tripped {
				out.Tripped = why
			}
		}
	}
	unprompted := decision.Policy != "" && decision.Severity == ""
	if unprompted {
		out.Findings = append(slices.Clip(out.Findings), policy.Unprompted(e, &decision))
	}
	out.Changes = u.Requirements.Apply(e, out.Findings, decision)
	if unprompted {
		last := len(out.Findings) - 1
		if made := out.Findings[last].Decision; made.Covered || made.Cooling {
			out.Findings = out.Findings[:last]
		}
	}
	return out
}
