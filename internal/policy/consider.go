package policy

import (
	"github.com/countersign-io/countersign/internal/events"
)

// Answer is what a policy says of an event when it is asked alone.
type Answer string

// The answers.
const (
	// Matches is of a policy that would decide if no stronger one did.
	Matches Answer = "matches"
	// NoMatch is of a condition that does not hold, NotFor of a policy that is not for this user, group, tenant or app.
	NoMatch Answer = "no_match"
	NotFor  Answer = "not_for"
	// Answered is of a policy that would ask for what has just been given, or whose demand a failed attempt must not raise.
	Answered Answer = "answered"
	// OnCooldown is of a policy that asked the same so lately that it does not ask again.
	OnCooldown Answer = "cooldown"
	// Unevaluated is of a condition that could not be evaluated.
	Unevaluated Answer = "not_evaluated"
)

// Considered is one policy and its answer.
type Considered struct {
	Name     string        `json:"name"`
	Version  string        `json:"version"`
	Mode     Mode          `json:"mode"`
	Priority int           `json:"priority"`
	Action   events.Action `json:"action"`
	When     string        `json:"when"`
	Answer   Answer        `json:"answer"`
	// Problem is why the condition could not be evaluated.
	Problem string `json:"problem,omitempty"`
}

// Consider asks every policy alone, in the order in which [Set.Decide] asks them. The first enforced one that matches
// decides.
func (s *Set) Consider(e *events.Event, fs []events.Finding, facts Facts) []Considered {
	highest, count := worst(fs)
	seen := s.sceneOf(e, fs, facts)
	out := make([]Considered, 0, len(s.policies))
	for _, p := range s.policies {
		c := choice{event: e, scene: seen, proof: ProofOf(e), highest: highest}
		considered := Considered{Name: p.Name, Version: p.Version, Mode: p.Mode, Priority: p.Priority, Action: p.Then.Action, When: p.When}
		if count > 0 || !e.Kind.Internal() {
			c.weigh(p)
		}
		considered.Answer, considered.Problem = p.answer(&c)
		out = append(out, considered)
	}
	return out
}

// answer is what a choice with this policy alone has come to.
func (p *Policy) answer(c *choice) (answer Answer, problem string) {
	switch {
	case c.enforced != nil || c.watched != nil:
		return Matches, ""
	case c.cooling != nil:
		return OnCooldown, ""
	case len(c.broken) > 0:
		return Unevaluated, c.broken[0]
	case !p.For.all(c.event) || p.Except.any(c.event):
		return NotFor, ""
	}
	if matches, err := p.matches(c.scene); err == nil && matches {
		return Answered, ""
	}
	return NoMatch, ""
}
