// Package explain shows one decision in full: the event, what was found in it and why, what policy made of it, and what
// became of that. It reads the history ([FromHistory]), or decides anew from events ([FromEvents]).
package explain

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/report"
)

// ID says which decision to explain. One of its fields is set.
type ID struct {
	// Event is the event that was decided on, Finding one of its findings, Requirement what the decision raised.
	Event, Finding, Requirement string
}

// Check tells whether exactly one is named.
func (id ID) Check() error {
	n := 0
	for _, s := range []string{id.Event, id.Finding, id.Requirement} {
		if s != "" {
			n++
		}
	}
	if n != 1 {
		return errors.New("name one event, one finding or one requirement")
	}
	return nil
}

// String says what is looked for.
func (id ID) String() string {
	switch {
	case id.Finding != "":
		return fmt.Sprintf("finding %.80q", id.Finding)
	case id.Requirement != "":
		return fmt.Sprintf("requirement %.80q", id.Requirement)
	}
	return fmt.Sprintf("event %.80q", id.Event)
}

// Explanation is one decision in full.
type Explanation struct {
	// Event is nil when the history has it no more; then Sight is what the findings remember of it.
	Event *events.Event `json:"event,omitempty"`
	Sight *events.Sight `json:"sight,omitempty"`
	// Facts are who, when, where, through what, with what, in words.
	Facts    []Line    `json:"facts"`
	Times    Times     `json:"times"`
	Findings []Finding `json:"findings"` // those that count first, worst first
	// Decision is nil when nothing was found.
	Decision *events.Decision `json:"decision,omitempty"`
	// Policies are those of Rules, in the order in which they were asked. Current tells that the decision was made by them; when it
	// was not, they say what they would decide.
	Policies []policy.Considered `json:"policies,omitempty"`
	Rules    string              `json:"rules,omitempty"`
	Current  bool                `json:"current"`
	// Requirement is what the decision opened, or what was open already.
	Requirement *report.Requirement `json:"requirement,omitempty"`
	Receipts    []events.Receipt    `json:"receipts,omitempty"`
	// ProvedBy is the event that satisfied the requirement, in words.
	ProvedBy []Line `json:"proved_by,omitempty"`
	// Notes say what is missing.
	Notes []string `json:"notes,omitempty"`
}

// Line is one fact in words.
type Line struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Finding is a finding, and its evidence in words.
type Finding struct {
	Finding  *events.Finding `json:"finding"`
	Evidence []Line          `json:"evidence"`
}

// Times are how long it took, as far as it is known.
type Times struct {
	Happened events.Millis `json:"happened,omitempty"`
	// Emitted is when the source wrote the record, Ingested when it was accepted, Logged when it entered the log, Decided when
	// the first finding or requirement did.
	Emitted  events.Millis `json:"emitted,omitempty"`
	Ingested events.Millis `json:"ingested,omitempty"`
	Logged   events.Millis `json:"logged,omitempty"`
	Decided  events.Millis `json:"decided,omitempty"`
}

// complete fills in what follows from the rest: the words, and what the policies of the rules in force say.
func (x *Explanation) complete(rules *policy.Set) {
	e := x.Event
	if e != nil {
		x.Facts = eventLines(e)
		x.Times.Happened, x.Times.Emitted, x.Times.Ingested = e.Time, e.Emitted, e.Ingested
	}
	if e == nil && len(x.Findings) > 0 {
		f := x.Findings[0].Finding
		x.Sight = &f.Evidence.Sight
		x.Facts = append([]Line{{"who", userText(f.Tenant, &f.User)}}, sightLines(x.Sight)...)
		x.Times.Happened, x.Times.Ingested = f.Time, f.Ingested
		x.Notes = append(x.Notes, "the event itself is no longer in the history; this is what its findings remember")
	}
	slices.SortFunc(x.Findings, func(a, b Finding) int {
		return cmp.Or(counts(b)-counts(a), b.Finding.Severity.Rank()-a.Finding.Severity.Rank(),
			cmp.Compare(a.Finding.Detection, b.Finding.Detection), cmp.Compare(a.Finding.ID, b.Finding.ID))
	})
	var findings []events.Finding // those that the policies saw
	for i := range x.Findings {
		f := &x.Findings[i]
		f.Evidence = evidenceLines(f.Finding)
		if f.Finding.Decision != nil {
			x.Decision = f.Finding.Decision
		}
		if f.Finding.Detection != policy.UnpromptedDetection { // it came of the decision
			findings = append(findings, *f.Finding)
		}
	}
	if e == nil || rules == nil || len(x.Findings) == 0 {
		return
	}
	x.Rules = rules.Version()
	x.Policies = rules.Consider(e, findings, factsOf(findings))
	if x.Decision != nil {
		x.compare(x.Decision)
	}
	if !x.Current {
		x.Notes = append(x.Notes, "other policies are in force now than decided; what they are said to do below is what they would do now")
	}
}

// compare finds out whether the policies are those that decided. Then it says which of them were on cooldown, since what
// the user met before is not known here: those that would have decided instead of the one that did.
func (x *Explanation) compare(d *events.Decision) {
	decider := slices.IndexFunc(x.Policies, func(c policy.Considered) bool { return c.Name == d.Policy && c.Version == d.Version })
	if x.Current = decider >= 0 || d.Version == x.Rules; decider < 0 {
		return
	}
	if d.Cooling {
		x.Policies[decider].Answer = policy.OnCooldown
	}
	if !policy.Cooled(d) {
		return // what would have decided is newer than the decision
	}
	for i := range x.Policies {
		c := &x.Policies[i]
		sooner := c.Mode == policy.Enforce && (i < decider || d.Observed)
		if c.Answer == policy.Matches && (sooner || d.Cooling) {
			c.Answer = policy.OnCooldown
		}
	}
}

// counts is 1 for a finding that reaches policy.
func counts(f Finding) int {
	if f.Finding.Disposition == events.Active {
		return 1
	}
	return 0
}

// factsOf is what a condition may ask beyond the findings, as far as their evidence tells.
func factsOf(findings []events.Finding) policy.Facts {
	var facts policy.Facts
	for i := range findings {
		evidence := &findings[i].Evidence
		if evidence.Risk != nil {
			facts.Risk = evidence.Risk.After
		}
		if evidence.Score != nil {
			facts.Score, facts.Scored = evidence.Score.Value, true
		}
	}
	return facts
}
