package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"

	"github.com/countersign-io/countersign/internal/events"
)

// revision goes into every version. It grows when the same policy text may decide otherwise than before.
const revision = "1"

// Mode says whether a policy acts or only watches.
type Mode string

// The modes.
const (
	Enforce     Mode = "enforce"
	OnlyObserve Mode = "observe"
)

// Scope says what a requirement binds.
type Scope string

// The scopes: the session of the event, or every session of the user.
const (
	ScopeSession Scope = "session"
	ScopeUser    Scope = "user"
)

// Policy is one condition and its consequence, as loaded. It is read-only.
type Policy struct {
	Name string
	// Number is the version its author gave, 0 when none; Version is the identity of its content, such as
	// "3-9f86d081884c".
	Number      int
	Version     string
	Owner       string
	Description string
	Mode        Mode
	Priority    int
	When        string
	Then        Then

	program cel.Program
}

// Then is the consequence of a policy.
type Then struct {
	Action events.Action
	// ACRValues are the authentication context classes one of which is enough, best first.
	ACRValues []string
	// MaxAge is the age of the proof that applications should ask for, in seconds.
	MaxAge int
	// TTL is how long a requirement stays open, in milliseconds.
	TTL   events.Millis
	Scope Scope
	// Message is what the user is told, by BCP 47 language tag.
	Message map[string]string
}

// Decision is what the set makes of one event: the part that findings carry, and what a requirement needs. The zero
// Decision is that of an event without findings.
type Decision struct {
	events.Decision
	// Severity is the highest one among the active findings.
	Severity events.Severity
	// The consequence of the policy that decided; see [Then].
	ACRValues []string
	MaxAge    int
	TTL       events.Millis
	Scope     Scope
	Message   map[string]string
}

// Required reports whether the decision asks for a requirement on the user or the session.
func (d Decision) Required() bool {
	return !d.Observed && (d.Action == events.StepUp || d.Action == events.RevokeSession)
}

// Set is a checked set of policies.
type Set struct {
	policies []*Policy // strongest action first, then priority, then name
	version  string
}

// seal orders the policies and derives the versions.
func (s *Set) seal() {
	slices.SortFunc(s.policies, func(a, b *Policy) int {
		return cmp.Or(
			cmp.Compare(b.Then.Action.Rank(), a.Then.Action.Rank()),
			cmp.Compare(b.Priority, a.Priority),
			cmp.Compare(a.Name, b.Name),
		)
	})
	all := []string{"policies", revision}
	for _, p := range s.policies {
		fields := []string{
			"policy", revision, p.Name, strconv.Itoa(p.Number), string(p.Mode), strconv.Itoa(p.Priority), p.When,
			string(p.Then.Action), strings.Join(p.Then.ACRValues, " "), strconv.Itoa(p.Then.MaxAge),
			strconv.FormatInt(int64(p.Then.TTL), 10), string(p.Then.Scope),
		}
		for _, language := range slices.Sorted(maps.Keys(p.Then.Message)) {
			fields = append(fields, language, p.Then.Message[language])
		}
		p.Version = events.ID(fields...)[:12]
		if p.Number > 0 {
			p.Version = strconv.Itoa(p.Number) + "-" + p.Version
		}
		all = append(all, p.Name, p.Version)
	}
	s.version = events.ID(all...)[:16]
}

// Version names the content of the set: it changes when any decision may change, and not with comments, order, owners
// and descriptions.
func (s *Set) Version() string { return s.version }

// Policies lists the policies, strongest action first. The elements are shared and must not be changed.
func (s *Set) Policies() []*Policy { return slices.Clone(s.policies) }

// Facts are what a condition may ask beyond the event and its findings.
type Facts struct {
	// Risk is the user's accumulated risk, in decibans.
	Risk float64
	// Score is the familiarity score of a login that has one.
	Score  float64
	Scored bool
}

// Decide finds the strongest consequence of the event's active findings. Without any finding it does nothing and returns
// the zero Decision.
func (s *Set) Decide(e *events.Event, fs []events.Finding, _ Facts) Decision {
	if len(fs) == 0 {
		return Decision{}
	}
	active := make([]viewFinding, 0, len(fs))
	highest := 0
	for i := range fs {
		if fs[i].Disposition == events.Active {
			active = append(active, viewOfFinding(&fs[i]))
			highest = max(highest, fs[i].Severity.Rank())
		}
	}
	d := Decision{Decision: events.Decision{Version: s.version, Action: events.Observe}}
	if len(active) == 0 {
		d.Reason = describe(fs) + "; no active finding, recorded only"
		return d
	}
	if highest > 0 {
		d.Severity = events.Severities[highest-1]
	}
	scene := map[string]any{"event": viewOf(e), "findings": active, "max_severity": int64(highest)}

	// The policies are in order of strength, so that the first one that matches is the strongest of its mode. The
	// search stops at the first enforced one: what is weaker cannot change the outcome.
	var enforced, watched *Policy
	var notes []string
	for _, p := range s.policies {
		if p.Mode == OnlyObserve && watched != nil {
			continue
		}
		matches, err := p.matches(scene)
		switch {
		case err != nil:
			notes = append(notes, fmt.Sprintf("policy %s could not be evaluated: %s", p.label(), shorten(err.Error())))
		case !matches:
		case p.Mode == OnlyObserve:
			watched = p
		default:
			enforced = p
		}
		if enforced != nil {
			break
		}
	}
	reason := describe(fs)
	if enforced != nil {
		d.apply(enforced)
		reason += fmt.Sprintf("; policy %s: %s", enforced.label(), enforced.Then.Action)
	}
	if watched != nil && (enforced == nil || watched.Then.Action.Rank() > enforced.Then.Action.Rank()) {
		if enforced == nil {
			d.apply(watched)
			d.Observed = true
		}
		reason += fmt.Sprintf("; policy %s, which only observes, would: %s", watched.label(), watched.Then.Action)
	}
	if enforced == nil && watched == nil {
		reason += "; no policy matched"
	}
	var reasonSb190 strings.Builder
	for _, note := range notes {
		reasonSb190.WriteString("; " + note)
	}
	reason += reasonSb190.String()
	d.Reason = reason
	return d
}

func (d *Decision) apply(p *Policy) {
	d.Policy, d.Version, d.Action = p.Name, p.Version, p.Then.Action
	d.ACRValues, d.MaxAge, d.TTL = p.Then.ACRValues, p.Then.MaxAge, p.Then.TTL
	d.Scope, d.Message = p.Then.Scope, p.Then.Message
}

func (p *Policy) matches(scene map[string]any) (bool, error) {
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

// label is the name people know: the author's version, not the hash.
func (p *Policy) label() string {
	if p.Number > 0 {
		return p.Name + " v" + strconv.Itoa(p.Number)
	}
	return p.Name
}

// describe lists findings, worst first: "LOC-01 Impossible travel (high), LOC-04 New country (learning)".
func describe(fs []events.Finding) string {
	order := make([]int, len(fs))
	for i := range order {
		order[i] = i
	}
	active := func(i int) int {
		if fs[i].Disposition == events.Active {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(
			cmp.Compare(active(b), active(a)),
			cmp.Compare(fs[b].Severity.Rank(), fs[a].Severity.Rank()),
			cmp.Compare(fs[a].Detection, fs[b].Detection),
		)
	})
	const shown = 4
	var parts []string
	for _, i := range order[:min(shown, len(order))] {
		note := string(fs[i].Severity)
		if fs[i].Disposition != events.Active {
			note = string(fs[i].Disposition)
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", strings.TrimSpace(fs[i].Detection+" "+shorten(fs[i].Title)), note))
	}
	if more := len(order) - shown; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ")
}

// shorten bounds a text that others wrote, never inside a character.
func shorten(s string) string {
	const limit = 160
	if len(s) <= limit {
		return s
	}
	s = s[:limit]
	for s != "" && !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}
