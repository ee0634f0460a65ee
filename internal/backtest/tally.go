package backtest

import (
	"cmp"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/revocation"
)

// tally is what one side decided.
type tally struct {
	decisions  map[string]judged // by identity; those for which a policy matched
	total      Counts
	byPolicy   map[string]*Counts
	detections map[string]*FindingCounts
	// expires is when each requirement that was opened in the span and is still open ends, in seconds.
	expires      map[string]int64
	requirements Requirements
	trips        []Trip
	problems     []PolicyProblem
}

// maxTrips and maxPolicyProblems are how many of them are shown.
const (
	maxTrips          = 20
	maxPolicyProblems = 20
)

func (t *tally) trip(e *events.Event, why string) {
	if len(t.trips) < maxTrips {
		t.trips = append(t.trips, Trip{Time: e.Time, Tenant: strings.Clone(e.Tenant), Reason: why})
	}
}

func (t *tally) broken(problem string) {
	for i := range t.problems {
		if t.problems[i].Problem == problem {
			t.problems[i].Events++
			return
		}
	}
	if len(t.problems) < maxPolicyProblems {
		t.problems = append(t.problems, PolicyProblem{Problem: problem, Events: 1})
	}
}

func newTally() *tally {
	return &tally{
		decisions: map[string]judged{}, byPolicy: map[string]*Counts{}, detections: map[string]*FindingCounts{},
		expires: map[string]int64{},
	}
}

// judged is one decision, kept small: there may be many.
type judged struct {
	at                          events.Millis
	user                        *user
	event                       string
	week                        int
	policy, version, detections string
	// summary is kept only while the decision may be listed: of one with an effect that the other side has not.
	summary, requirement             string
	action                           events.Action
	observed, held, cooling, covered bool
}

// effect is what people notice of a decision, "" for nothing. A demand that was there already is noticed as before.
func (j *judged) effect() events.Action {
	if j.observed || j.held || j.cooling || j.action == events.Observe {
		return ""
	}
	return j.action
}

// asks tells whether the decision asks the user for a proof that was not asked for already.
func (j *judged) asks() bool { return j.effect() == events.StepUp && !j.covered }

func (c *Counts) add(j *judged) {
	switch {
	case j.observed:
		c.Watched++
	case j.held:
		c.Held++
	case j.cooling:
		c.Cooling++
	case j.covered:
		c.Covered++
	default:
		switch j.action {
		case events.Notify:
			c.Notify++
		case events.StepUp:
			c.StepUp++
		case events.RevokeSession:
			c.RevokeSession++
		case events.RevokeAll:
			c.RevokeAll++
		case events.Observe:
			c.Observe++
		}
	}
}

func (t *tally) finding(f *events.Finding) {
	n := t.detections[f.Detection]
	if n == nil {
		n = &FindingCounts{}
		t.detections[f.Detection] = n
	}
	switch {
	case f.Disposition != events.Active:
		n.Other++
	case f.Severity == events.Critical:
		n.Critical++
	case f.Severity == events.High:
		n.High++
	case f.Severity == events.Medium:
		n.Medium++
	default:
		n.Low++
	}
}

// change follows a requirement of a run.
func (t *tally) change(c *revocation.Claims) {
	switch c.Status {
	case revocation.Open:
		t.requirements.Opened++
		t.expires[c.ID] = c.Expires
	case revocation.Satisfied, revocation.Expired:
		if _, ours := t.expires[c.ID]; !ours {
			return // opened in the warm-up
		}
		delete(t.expires, c.ID)
		if c.Status == revocation.Satisfied {
			t.requirements.Satisfied++
		} else {
			t.requirements.Expired++
		}
	}
}

// close ends what is over by a moment without an event that says so.
func (t *tally) close(at events.Millis) {
	for _, expires := range t.expires {
		if expires*events.Second <= int64(at) {
			t.requirements.Expired++
		}
	}
}

// requirement counts one that was recorded.
func (t *tally) requirement(q *report.Requirement) {
	t.requirements.Opened++
	switch q.Status {
	case report.Satisfied:
		t.requirements.Satisfied++
	case report.Expired:
		t.requirements.Expired++
	case report.Open:
	}
}

// detections names the active findings, worst first: "LOC-01 high, LOC-04 medium".
func detections(findings []events.Finding) string {
	var parts []string
	for _, f := range active(findings) {
		parts = append(parts, f.Detection+" "+string(f.Severity))
	}
	return strings.Join(parts, ", ")
}

// summary is that of the worst active finding.
func summary(findings []events.Finding) string {
	const limit = 300
	worst := active(findings)
	if len(worst) == 0 {
		return ""
	}
	return strings.Clone(events.Cut(worst[0].Summary, limit))
}

// active are the findings that reach policy, worst first.
func active(findings []events.Finding) []*events.Finding {
	var out []*events.Finding
	for i := range findings {
		if findings[i].Disposition == events.Active {
			out = append(out, &findings[i])
		}
	}
	slices.SortStableFunc(out, func(a, b *events.Finding) int {
		return cmp.Or(cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), cmp.Compare(a.Detection, b.Detection))
	})
	return out
}
