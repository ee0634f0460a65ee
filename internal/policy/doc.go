// Package policy turns an event and its findings into one decision: what is required of the user, and why.
//
// A policy is a condition in CEL with a consequence, written in YAML (default.yaml is the annotated example, docs/policy.md
// the reference). Every policy whose condition holds takes part; the strongest action wins, then the higher priority, then
// the name. A policy in mode "observe" takes part too, but only says what it would have done, and never hides one that is
// enforced.
//
// Only active findings count. A condition that cannot be evaluated (a division by zero, an exhausted cost limit) does not
// match, and the decision's reason says so. Decisions are pure: the same event, findings, facts and set give the same
// decision. A [Set] never changes after [Load] and may be used by any number of goroutines.
//
// The package also holds what decisions are measured with: [ProofOf] and the ranking of methods, and the [Breaker] that
// keeps a runaway policy from asking everybody.
package policy
