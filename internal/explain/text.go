package explain

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/terminal"
)

// WriteText writes the explanation for a terminal: every policy, or those that matched or nearly did. Texts of others are made
// harmless.
func (x *Explanation) WriteText(w io.Writer, everyPolicy bool) error {
	var b strings.Builder
	p := printer{&b}
	if x.Event != nil {
		p.title("EVENT " + x.Event.ID)
	} else {
		p.title("EVENT " + x.Findings[0].Finding.EventID)
	}
	p.lines(x.Facts)
	p.title("HOW LONG IT TOOK")
	p.lines(x.Times.Lines())
	if len(x.Findings) == 0 {
		p.title("NOTHING WAS FOUND")
	}
	for _, f := range x.Findings {
		p.finding(&f)
	}
	p.decision(x)
	p.policies(x, everyPolicy)
	p.requirement(x)
	for _, note := range x.Notes {
		p.line("")
		p.line("note: " + note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Lines are the times in words.
func (t Times) Lines() []Line {
	var l lines
	step := func(name string, at, since events.Millis, from string) {
		if at == 0 {
			return
		}
		text := at.String()
		if since != 0 {
			text += fmt.Sprintf(", %s after %s", time.Duration(at-since)*time.Millisecond, from)
		}
		l.add(name, text)
	}
	step("happened", t.Happened, 0, "")
	step("written by the source", t.Emitted, t.Happened, "it happened")
	step("accepted", t.Ingested, t.Happened, "it happened")
	step("on the log", t.Logged, t.Ingested, "it was accepted")
	step("decided", t.Decided, t.Logged, "it was on the log")
	if t.Decided != 0 && t.Happened != 0 {
		l.add("in all", (time.Duration(t.Decided-t.Happened) * time.Millisecond).String())
	}
	return l
}

// printer writes plain text.
type printer struct{ b *strings.Builder }

func (p printer) line(s string) { fmt.Fprintln(p.b, terminal.Plain(s)) }

func (p printer) title(s string) {
	if p.b.Len() > 0 {
		p.line("")
	}
	p.line(s)
}

// nameWidth is that of the column of names.
const nameWidth = 24

func (p printer) lines(list []Line) {
	for _, l := range list {
		fmt.Fprintf(p.b, "  %-*s  %s\n", nameWidth, terminal.Plain(l.Name), terminal.Plain(l.Text))
	}
}

func (p printer) finding(f *Finding) {
	n := f.Finding
	p.title(fmt.Sprintf("FINDING %s %s, %s, %s", n.Detection, n.Title, n.Severity, n.Disposition))
	p.line("  " + n.Summary)
	p.lines(f.Evidence)
	p.lines([]Line{{"id", joined(", ", n.ID, fmt.Sprintf("version %d of the detection", n.Version), n.Technique)}})
}

func (p printer) decision(x *Explanation) {
	if d := x.Decision; d != nil {
		p.title("DECISION " + decisionText(d))
		p.lines([]Line{{"because", d.Reason}, {"version", d.Version}})
	}
}

func (p printer) policies(x *Explanation, every bool) {
	if len(x.Policies) == 0 {
		return
	}
	p.title("POLICIES, in the order in which they are asked (" + x.Rules + ")")
	left := 0
	for _, c := range x.Policies {
		mark := "  "
		if d := x.Decision; d != nil && c.Name == d.Policy {
			mark = "* "
		} else if !every && (c.Answer == policy.NoMatch || c.Answer == policy.NotFor) {
			left++
			continue
		}
		mode := ""
		if c.Mode == policy.OnlyObserve {
			mode = "(only observes)"
		}
		p.line(mark + joined(" ", c.Name, c.Version, "→", string(c.Action), mode) + ": " + joined(", ", answerText(c.Answer), c.Problem))
		p.line("      when " + strings.Join(strings.Fields(c.When), " "))
	}
	if left > 0 {
		p.line(fmt.Sprintf("  %d more do not match or are not for this user or app (--all shows them)", left))
	}
}

// answerText is a policy's answer in words.
func answerText(a policy.Answer) string {
	switch a {
	case policy.Matches:
		return "matches"
	case policy.NoMatch:
		return "does not match"
	case policy.NotFor:
		return "is not for this user or app"
	case policy.Answered:
		return "matches, but this very event gives the proof, or is a failed attempt"
	case policy.OnCooldown:
		return "matches, but asked lately"
	case policy.Unevaluated:
		return "could not be evaluated"
	}
	return string(a)
}

// decisionText is a decision in some words.
func decisionText(d *events.Decision) string {
	state := ""
	switch {
	case d.Observed:
		state = "only watched"
	case d.Held:
		state = "held by the breaker until a person has looked"
	case d.Cooling:
		state = "not again: asked lately"
	case d.Covered:
		state = "asked already"
	}
	by := "by no policy"
	if d.Policy != "" {
		by = "by policy " + d.Policy
	}
	return joined(", ", string(d.Action), by, state)
}

func (p printer) requirement(x *Explanation) {
	q := x.Requirement
	if q == nil {
		return
	}
	p.title("REQUIREMENT " + q.ID)
	scope := "all sessions of the user"
	if q.Session != "" {
		scope = "session " + q.Session
	}
	var l lines
	l.add("status", string(q.Status))
	l.add("asks for", string(q.Action), "of "+scope, named("proof", strings.Join(q.ACRValues, " ")), freshness(q.MaxAge))
	l.add("opened", q.NotBefore.String(), named("by event", q.EventID), named("policy", joined(" ", q.Policy, q.PolicyVersion)))
	l.add("ends by itself", q.Expires.String())
	if q.Closed != 0 {
		l.add("closed", q.Closed.String(), (time.Duration(q.Closed-q.NotBefore)*time.Millisecond).String()+" later", named("by event", q.SatisfiedBy))
	}
	l.add("reason", q.Reason)
	for i := range x.Receipts {
		r := &x.Receipts[i]
		l.add("app "+r.App, string(r.Status), r.Time.String(), (time.Duration(r.Time-q.NotBefore)*time.Millisecond).String()+" after it was opened",
			named("session", r.Session))
	}
	p.lines(l)
	if len(x.ProvedBy) > 0 {
		p.title("PROVED BY " + q.SatisfiedBy)
		p.lines(x.ProvedBy)
	}
}
