package policy

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/countersign-io/countersign/internal/events"
)

// Most events raise no finding, and most conditions cannot hold without one. Which can is found out once, when the file is
// loaded, by evaluating each condition with no findings and everything else unknown (CEL's partial evaluation): one that
// is then false, or an error, is so for every event. The same is done with one fact known at a time, such as the kind of
// the event or the sensitivity of its app, for each value it has. So an event without findings is a handful of masks,
// and only the policies left over are evaluated in full. For events with findings the worst severity is such a fact: most
// findings are of low severity, and few policies ask for those. A policy is never left out that would have matched.

// fact is something known of an event at little cost, with a small number of values.
type fact struct {
	// paths are the fields of viewEvent that it decides.
	paths []string
	// values is how many values there are, 32 at most; show puts one into a view, of tells the value of an event.
	values int
	show   func(v *viewEvent, value int)
	of     func(l *lists, e *events.Event) int
}

// facts are tried in this order: the cheap ones first.
var facts = []fact{
	{
		[]string{"kind"},
		len(events.Kinds) + 1,
		func(v *viewEvent, value int) { v.Kind = at(events.Kinds, value) },
		func(_ *lists, e *events.Event) int { return slices.Index(events.Kinds, e.Kind) + 1 },
	},
	{
		[]string{"outcome"},
		len(events.Outcomes) + 1,
		func(v *viewEvent, value int) { v.Outcome = at(events.Outcomes, value) },
		func(_ *lists, e *events.Event) int { return slices.Index(events.Outcomes, e.Outcome) + 1 },
	},
	{
		[]string{"device.compliant", "device.noncompliant"},
		3,
		func(v *viewEvent, value int) { v.Device.Compliant, v.Device.Noncompliant = value == 2, value == 0 },
		func(_ *lists, e *events.Event) int { return int(e.Device.Compliant) + 1 },
	},
	{
		[]string{"device.managed", "device.unmanaged"},
		3,
		func(v *viewEvent, value int) { v.Device.Managed, v.Device.Unmanaged = value == 2, value == 0 },
		func(_ *lists, e *events.Event) int { return int(e.Device.Managed) + 1 },
	},
	{
		[]string{"risk.level"},
		riskValues,
		func(v *viewEvent, value int) { v.Risk.Level = int64(value) },
		func(_ *lists, e *events.Event) int { return int(riskRank(e.Risk.Level)) },
	},
	{
		[]string{"risk.user"},
		riskValues,
		func(v *viewEvent, value int) { v.Risk.User = int64(value) },
		func(_ *lists, e *events.Event) int { return int(riskRank(e.Risk.User)) },
	},
	{
		[]string{"access.result"},
		len(events.AccessResults) + 1,
		func(v *viewEvent, value int) { v.Access.Result = at(events.AccessResults, value) },
		func(_ *lists, e *events.Event) int { return slices.Index(events.AccessResults, e.Access.Result) + 1 },
	},
	{
		// One fact, because conditions ask for the one or the other.
		[]string{"app.sensitivity", "resource.sensitivity"},
		len(Sensitivities) * len(Sensitivities),
		func(v *viewEvent, value int) {
			v.App.Sensitivity = string(Sensitivities[value/len(Sensitivities)])
			v.Resource.Sensitivity = string(Sensitivities[value%len(Sensitivities)])
		},
		func(l *lists, e *events.Event) int {
			app, resource := sensitivityOf(l.apps, &e.App), sensitivityOf(l.resources, &e.Resource)
			return slices.Index(Sensitivities, app)*len(Sensitivities) + slices.Index(Sensitivities, resource)
		},
	},
	{
		[]string{"user.privileged", "user.unprivileged"},
		3,
		func(v *viewEvent, value int) { v.User.Privileged, v.User.Unprivileged = value == 2, value == 0 },
		func(l *lists, e *events.Event) int { return int(l.isPrivileged(&e.User)) + 1 },
	},
}

// riskValues is one more than the rank of high, the highest that riskRank gives.
const riskValues = 5

// at is the text of the value before index, "" for 0.
func at[T ~string](all []T, index int) string {
	if index == 0 {
		return ""
	}
	return string(all[index-1])
}

// leaves are the paths of every field of viewEvent, such as "device.os".
var leaves = func() []string {
	var out []string
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for f := range t.Fields() {
			path := prefix + f.Tag.Get("cel")
			if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() {
				walk(path+".", f.Type)
			} else {
				out = append(out, path)
			}
		}
	}
	walk("", reflect.TypeFor[viewEvent]())
	return out
}()

// explore finds out what events without findings the condition can hold for, and with findings of which severity.
func (p *Policy) explore(env *cel.Env, l *lists) error {
	program, err := env.Program(p.checked, cel.EvalOptions(cel.OptPartialEval))
	if err != nil {
		return fmt.Errorf("preparing a partial evaluation: %w", err)
	}
	if err := canFailOnly(program, l); err != nil {
		return err
	}
	probe := func(severity int, findings bool, known []string, v *viewEvent) bool {
		can, problem := canHold(program, l, severity, findings, known, v)
		err = errors.Join(err, problem)
		return can
	}
	for severity := range events.Severities {
		if probe(severity+1, true, nil, &viewEvent{}) {
			p.severities |= 1 << (severity + 1)
		}
	}
	if !probe(0, false, nil, &viewEvent{}) {
		return err
	}
	p.reach = make([]uint32, len(facts))
	for i := range facts {
		for value := range facts[i].values {
			v := &viewEvent{}
			facts[i].show(v, value)
			if probe(0, false, facts[i].paths, v) {
				p.reach[i] |= 1 << value
			}
		}
	}
	return err
}

// canFailOnly evaluates with nothing known but the lists: what is an error then is one for every event.
func canFailOnly(program cel.Program, l *lists) error {
	var unknown []*cel.AttributePatternType
	for _, name := range []string{varEvent, varFindings, varSeverity, varRisk, varScore, varScored} {
		unknown = append(unknown, cel.AttributePattern(name))
	}
	vars, err := cel.PartialVars(&scene{event: &viewEvent{}, lists: l.named}, unknown...)
	if err != nil {
		return fmt.Errorf("preparing a partial evaluation: %w", err)
	}
	if _, _, err := program.Eval(vars); err != nil {
		return fmt.Errorf("can only fail: %w", err)
	}
	return nil
}

// canHold evaluates with the worst severity and the known fields of the event, and with no findings or unknown ones.
func canHold(program cel.Program, l *lists, severity int, findings bool, known []string, v *viewEvent) (bool, error) {
	unknown := []*cel.AttributePatternType{
		cel.AttributePattern(varRisk), cel.AttributePattern(varScore), cel.AttributePattern(varScored),
	}
	if findings {
		unknown = append(unknown, cel.AttributePattern(varFindings))
	}
	if known == nil {
		unknown = append(unknown, cel.AttributePattern(varEvent))
	} else {
		for _, leaf := range leaves {
			if slices.Contains(known, leaf) {
				continue
			}
			unknown = append(unknown, patternOf(leaf))
		}
	}
	vars, err := cel.PartialVars(&scene{event: v, findings: []viewFinding{}, severity: int64(severity), lists: l.named}, unknown...)
	if err != nil {
		return false, fmt.Errorf("preparing a partial evaluation: %w", err)
	}
	out, _, err := program.Eval(vars)
	switch {
	case err != nil:
		// An error for every event: it holds for none. With findings it is to be reported, so it is evaluated.
		return findings, nil //nolint:nilerr // it is the answer
	case types.IsUnknown(out):
		return true, nil
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return false, errors.New("a partial evaluation gave no truth value")
	}
	return holds, nil
}

// patternOf names a field of the event to CEL.
func patternOf(leaf string) *cel.AttributePatternType {
	pattern := cel.AttributePattern(varEvent)
	for start, i := 0, 0; i <= len(leaf); i++ {
		if i == len(leaf) || leaf[i] == '.' {
			pattern = pattern.QualString(leaf[start:i])
			start = i + 1
		}
	}
	return pattern
}

// mask is a set of policies by their place in the set.
type mask [MaxPolicies / 64]uint64

func (m *mask) add(i int)      { m[i/64] |= 1 << (i % 64) }
func (m *mask) has(i int) bool { return m[i/64]&(1<<(i%64)) != 0 }
func (m *mask) empty() bool    { return *m == mask{} }

func (m *mask) and(o *mask) {
	for i := range m {
		m[i] &= o[i]
	}
}

// chart puts the policies' reaches side by side.
func (s *Set) chart() {
	s.reach = make([][]mask, len(facts))
	for i := range facts {
		s.reach[i] = make([]mask, facts[i].values)
	}
	for at, p := range s.policies {
		for severity := range s.prompted {
			if p.severities&(1<<severity) != 0 {
				s.prompted[severity].add(at)
			}
		}
		if p.reach == nil {
			continue
		}
		s.unprompted.add(at)
		for i := range facts {
			for value := range facts[i].values {
				if p.reach[i]&(1<<value) != 0 {
					s.reach[i][value].add(at)
				}
			}
		}
	}
}

// candidates are the policies that may match an event without findings.
func (s *Set) candidates(e *events.Event) mask {
	m := s.unprompted
	for i := range facts {
		if m.empty() {
			break
		}
		m.and(&s.reach[i][facts[i].of(&s.lists, e)])
	}
	return m
}
