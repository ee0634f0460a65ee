package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/countersign-io/countersign/internal/events"
)

// Decision is what the set makes of one event: the part that findings carry, and what a requirement needs. The zero
// Decision is that of an event that no policy has anything to say about.
type Decision struct {
	events.Decision
	// Severity is the highest one among the active findings; "" without any.
	Severity events.Severity
	// The consequence of the policy that decided; see [Then].
	ACRValues        []string
	MaxAge           int
	TTL              events.Millis
	Scope            Scope
	CredentialChange bool
	Message          map[string]string
	// Cooldown is how long the policy then leaves the user alone, in milliseconds; see [Policy].
	Cooldown events.Millis
	// Broken are the policies that could not be evaluated, with the reason; they did not match.
	Broken []string
}

// Required reports whether the decision asks for a requirement on the user or the session.
func (d Decision) Required() bool {
	return !d.Observed && !d.Held && !d.Cooling && d.Action.Rank() >= events.StepUp.Rank()
}

// Hold keeps the action from being taken, for the breaker's reason.
func (d *Decision) Hold(why string) {
	d.Held = true
	d.Reason += "; held: " + why
}

// Facts are what a condition may ask beyond the event and its findings, and what the policies asked of the user before.
type Facts struct {
	// Risk is the user's accumulated risk, in decibans.
	Risk float64
	// Score is the familiarity score of a login that has one.
	Score  float64
	Scored bool
	// Passes are the user's, as the requirements' state keeps them.
	Passes []Pass
}

// Pass remembers that a user met a policy's requirement, or was told of by it, so that it stays silent for its cooldown.
type Pass struct {
	// Policy identifies the policy and its version.
	Policy uint64
	// Session is the hash of the session in which the proof was given, 0 when none was.
	Session uint64
	// From and Until bound the time, in event time.
	From, Until events.Millis
	// Severity is the rank of what led to the requirement: for anything worse the pass is not valid.
	Severity int
}

// PassOf is the pass that a decision leads to at a moment, and whether it leads to any. Session is where the proof was
// given, "" when the decision asked for none.
func PassOf(policy, version, session string, severity events.Severity, from, cooldown events.Millis) (Pass, bool) {
	return Pass{
		Policy: passID(policy, version), Session: sessionID(session), From: from, Until: from + cooldown,
		Severity: max(severity.Rank(), events.Low.Rank()), // nothing below medium is worse than something else below it
	}, cooldown > 0
}

func passID(policy, version string) uint64 { return xxhash.Sum64String(policy + "\x00" + version) }

func sessionID(session string) uint64 {
	if session == "" {
		return 0
	}
	return max(xxhash.Sum64String(session), 1)
}

// Decide finds the strongest consequence of the event and its active findings. An event without findings that no policy
// matches gives a Decision without an action.
func (s *Set) Decide(e *events.Event, fs []events.Finding, facts Facts) Decision {
	highest, count := worst(fs)
	among := s.prompted[highest]
	if count == 0 {
		if among = s.candidates(e); among.empty() || e.Kind.Internal() {
			return s.nothing(fs)
		}
	}
	c := choice{event: e, scene: s.sceneOf(e, fs, facts), proof: ProofOf(e), highest: highest}
	for i, p := range s.policies {
		if !among.has(i) {
			continue
		}
		if c.weigh(p); c.enforced != nil {
			break // the policies are in order of strength: what is weaker cannot change the outcome
		}
	}
	if count == 0 && c.enforced == nil && c.watched == nil && c.cooling == nil {
		d := s.nothing(fs)
		d.Broken = c.broken
		return d
	}
	return s.decision(fs, &c)
}

// worst is the rank of the highest severity among the active findings, and their number.
func worst(fs []events.Finding) (highest, count int) {
	for i := range fs {
		if fs[i].Disposition == events.Active {
			highest = max(highest, fs[i].Severity.Rank())
			count++
		}
	}
	return highest, count
}

// sceneOf is what the conditions see.
func (s *Set) sceneOf(e *events.Event, fs []events.Finding, facts Facts) *scene {
	highest, count := worst(fs)
	seen := &scene{event: s.viewOf(e), severity: int64(highest), facts: facts, lists: s.lists.named}
	seen.findings = make([]viewFinding, 0, count)
	for i := range fs {
		if fs[i].Disposition == events.Active {
			seen.findings = append(seen.findings, viewOfFinding(&fs[i]))
		}
	}
	slices.SortStableFunc(seen.findings, func(a, b viewFinding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Detection, b.Detection))
	})
	return seen
}

// nothing is the decision when there is neither an active finding nor a policy that matches.
func (s *Set) nothing(fs []events.Finding) Decision {
	if len(fs) == 0 {
		return Decision{}
	}
	return Decision{Decision: events.Decision{
		Version: s.version, Action: events.Observe, Reason: describe(fs) + "; no active finding, recorded only",
	}}
}

// choice is the search for the strongest policy that matches, in each of the ways it can.
type choice struct {
	event   *events.Event
	scene   *scene
	proof   Proof
	highest int

	enforced, watched, cooling *Policy
	pass                       *Pass
	broken                     []string
}

// weigh takes in one policy.
func (c *choice) weigh(p *Policy) {
	if p.Mode == OnlyObserve && c.watched != nil || !p.For.all(c.event) || p.Except.any(c.event) {
		return
	}
	unprompted := len(c.scene.findings) == 0
	if unprompted && p.Then.Action.Rank() >= events.StepUp.Rank() && failed(c.event) {
		return // or anybody could have a user barred by trying the wrong password
	}
	matches, err := p.matches(c.scene)
	switch {
	case err != nil:
		c.broken = append(c.broken, fmt.Sprintf("policy %s could not be evaluated: %s", p.label(), events.Cut(err.Error(), maxQuoted)))
	case !matches:
	case p.Then.Action == events.StepUp && c.highest < events.Medium.Rank() && p.answered(c.proof, c.event.Time):
		// What it would ask for is what has just been given, and nothing serious speaks against whoever gave it.
	default:
		pass := p.pass(c)
		switch {
		case pass != nil && c.cooling == nil:
			c.cooling, c.pass = p, pass
		case pass != nil:
		case p.Mode == OnlyObserve:
			c.watched = p
		default:
			c.enforced = p
		}
	}
}

// failed tells an attempt that has not led anywhere.
func failed(e *events.Event) bool { return e.Outcome != events.Success && e.Outcome != "" }

// sameMoment is how far apart the proof and the event of one sign-in are at most.
const sameMoment = events.Minute

// answered reports whether the event itself brings the proof that the policy asks for.
func (p *Policy) answered(proof Proof, now events.Millis) bool {
	fresh := max(events.Millis(p.Then.MaxAge)*events.Second, sameMoment)
	return proof.Time != 0 && now-proof.Time <= fresh && proof.Enough(p.Then.ACRValues)
}

// pass finds the user's pass for the policy. Of two, the one that is valid for longer counts. What is serious is answered
// for only by the session that gave the proof: a step-up elsewhere says nothing of who holds this one.
func (p *Policy) pass(c *choice) *Pass {
	var found *Pass
	asks := p.Mode == Enforce && p.Then.Action.Rank() >= events.StepUp.Rank()
	session := uint64(0)
	if asks && c.highest >= events.Medium.Rank() {
		if session = sessionID(c.event.Session.ID); session == 0 {
			return nil
		}
	}
	passes := c.scene.facts.Passes
	for i := range passes {
		pass := &passes[i]
		valid := pass.Policy == p.id && c.event.Time >= pass.From && c.event.Time < pass.Until && c.highest <= pass.Severity
		if valid && (session == 0 || session == pass.Session) && (found == nil || pass.Until > found.Until) {
			found = pass
		}
	}
	return found
}

func (p *Policy) matches(scene *scene) (bool, error) {
	out, _, err := p.program.Eval(scene)
	if err != nil {
		return false, err
	}
	matches, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("gave %s", out.Type().TypeName()) // the type check at load leaves no way here
	}
	return matches, nil
}

// decision puts the choice into words.
func (s *Set) decision(fs []events.Finding, c *choice) Decision {
	d := Decision{Decision: events.Decision{Version: s.version, Action: events.Observe}, Broken: c.broken}
	if c.highest > 0 {
		d.Severity = events.Severities[c.highest-1]
	}
	var reason strings.Builder
	reason.WriteString(describe(fs))
	if c.enforced != nil {
		d.apply(c.enforced)
		fmt.Fprintf(&reason, "; policy %s: %s", c.enforced.label(), c.enforced.Then.Action)
	}
	if c.watched != nil && (c.enforced == nil || c.watched.Then.Action.Rank() > c.enforced.Then.Action.Rank()) {
		if c.enforced == nil {
			d.apply(c.watched)
			d.Observed = true
		}
		fmt.Fprintf(&reason, "; policy %s, which only observes, would: %s", c.watched.label(), c.watched.Then.Action)
	}
	if c.cooling != nil {
		if c.enforced == nil && c.watched == nil {
			d.apply(c.cooling)
			d.Cooling, d.Observed = true, c.cooling.Mode == OnlyObserve
		}
		fmt.Fprintf(&reason, "; policy %s: %s%s%s, it was answered at %s",
			c.cooling.label(), c.cooling.Then.Action, notBefore, c.pass.Until, c.pass.From)
	}
	if c.enforced == nil && c.watched == nil && c.cooling == nil {
		reason.WriteString("; no policy matched")
	}
	for _, note := range c.broken {
		reason.WriteString("; " + note)
	}
	d.Reason = reason.String()
	return d
}

// notBefore is in the reason of a decision that a policy on cooldown had no part in.
const notBefore = ", not again before "

// Cooled tells from a decision's reason whether a policy that matched was on cooldown.
func Cooled(d *events.Decision) bool { return strings.Contains(d.Reason, notBefore) }

func (d *Decision) apply(p *Policy) {
	d.Policy, d.Version, d.Action = p.Name, p.Version, p.Then.Action
	d.ACRValues, d.MaxAge, d.TTL = p.Then.ACRValues, p.Then.MaxAge, p.Then.TTL
	d.Scope, d.Message = p.Then.Scope, p.Then.Message
	d.CredentialChange, d.Cooldown = p.Then.CredentialChange, p.Cooldown
}
