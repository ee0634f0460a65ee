package backtest

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/terminal"
)

// shown is how many lines of each list of differences and users the text has; the others have all of the report's.
const shown = 20

// WriteText writes the report for a terminal. Texts of others are made harmless.
func (r *Report) WriteText(w io.Writer) error {
	t := &text{w: w}
	t.head(r)
	t.table("\nDecisions\tnew\told\t", countRows(r.Total))
	t.line("\nRequirements opened: %d new, %d old; satisfied: %d, %d; expired: %d, %d", r.Requirements.New.Opened, r.Requirements.Old.Opened,
		r.Requirements.New.Satisfied, r.Requirements.Old.Satisfied, r.Requirements.New.Expired, r.Requirements.Old.Expired)
	t.table("\nStep-ups per user and week\tusers asked\tmean\tmedian\tp95\tmax\t", [][]string{rateRow("new", r.StepUps.New), rateRow("old", r.StepUps.Old)})

	var rows [][]string
	for _, p := range r.Deciders() {
		rows = append(rows, append([]string{p.Policy}, pairCells(p.Pair)...))
	}
	t.table("\nBy policy\tnotify\tstep-up\trevoke\tcovered\tcooling\theld\twatched\t", rows)
	if silent := len(r.Policies) - len(rows); silent > 0 {
		t.line("and %d that decided nothing", silent)
	}
	rows = nil
	for _, d := range r.Detections {
		rows = append(rows, append([]string{d.Detection}, findingCells(d)...))
	}
	t.table("\nFindings\tcritical\thigh\tmedium\tlow\tnot counted\t", rows)
	rows = nil
	for _, d := range r.Days {
		rows = append(rows, append([]string{d.Day, strconv.FormatUint(d.Events, 10)}, pairCells(d.Pair)...))
	}
	t.table("\nBy day (UTC)\tevents\tnotify\tstep-up\trevoke\tcovered\tcooling\theld\twatched\t", rows)
	rows = nil
	for _, u := range r.ByUser[:min(shown, len(r.ByUser))] {
		rows = append(rows, append([]string{label(u.Tenant, u.User, u.Name)}, pairCells(u.Pair)...))
	}
	t.table("\nUsers concerned most\tnotify\tstep-up\trevoke\tcovered\tcooling\theld\twatched\t", rows)

	t.line("\n%d events have the same effect on both sides.", r.Same)
	t.differences("Only the new rules act", r.OnlyNew)
	t.differences("Only the old rules acted", r.OnlyOld)
	t.differences("Both act, but not the same", r.Changed)
	return t.err
}

// text writes until the first error.
type text struct {
	w   io.Writer
	err error
}

func (t *text) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format+"\n", args...)
	}
}

// table writes rows of cells.
func (t *text) table(head string, rows [][]string) {
	if t.err != nil || len(rows) == 0 {
		return
	}
	tw := tabwriter.NewWriter(t.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, head)
	for _, row := range rows {
		for _, cell := range row {
			fmt.Fprint(tw, terminal.Cut(cell, 48), "\t")
		}
		fmt.Fprintln(tw)
	}
	t.err = tw.Flush()
}

func (t *text) head(r *Report) {
	t.line("new  %s", r.New.label())
	t.line("old  %s", r.Old.label())
	t.line("from %v to %v, %d events of %d users, %d events before to warm up", r.From, r.To, r.Events, r.Users, r.WarmUp)
	if r.Tenant != "" {
		t.line("only tenant %s", terminal.Plain(r.Tenant))
	}
	for _, note := range r.Notes() {
		t.line("note: %s", terminal.Cut(note, 400))
	}
}

// Notes are what a reader has to know about what is missing.
func (r *Report) Notes() []string {
	var out []string
	if r.Problems.Count > 0 {
		out = append(out, fmt.Sprintf("%d records of the input are no events and were left out", r.Problems.Count))
		for _, p := range r.Problems.First {
			out = append(out, strings.TrimPrefix(fmt.Sprintf("line %d: %s", p.Line, oneLine(p.Error)), "line 0: "))
		}
	}
	for i, rules := range []*Rules{&r.New, &r.Old} {
		side := []string{"new", "old"}[i]
		for _, x := range rules.Trips {
			out = append(out, fmt.Sprintf("%s: the breaker of tenant %s tripped at %v and held from then on: %s", side, x.Tenant, x.Time, x.Reason))
		}
		for _, x := range rules.Problems {
			out = append(out, fmt.Sprintf("%s: on %d events: %s", side, x.Events, x.Problem))
		}
	}
	if r.Missing > 0 {
		out = append(out, fmt.Sprintf("%d recorded decisions were left out: their events are no longer in the history", r.Missing))
	}
	if r.Internal > 0 {
		out = append(out, fmt.Sprintf("%d events of the network stage were left out and concluded anew", r.Internal))
	}
	return out
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }

func (t *text) differences(title string, d Differences) {
	t.line("\n%s: %d", title, d.Count)
	for i := range d.First[:min(shown, len(d.First))] {
		x := &d.First[i]
		t.line("  %v  %s  %s", x.Time, x.EventID, terminal.Cut(label(x.Tenant, x.User, x.Name), 60))
		t.line("      %s -> %s: %s", terminal.Plain(x.Old.String()), terminal.Plain(x.New.String()), terminal.Cut(x.Found(), 160))
	}
	if more := d.Count - uint64(min(shown, len(d.First))); more > 0 && d.Count > 0 {
		t.line("  and %d more", more)
	}
}

// Found is what the decision rests on.
func (d *Difference) Found() string {
	j := d.New
	if j == nil || j.Summary == "" && d.Old != nil {
		j = d.Old
	}
	return j.Detections + ": " + j.Summary
}

// label is tenant/user with the name when there is another.
func label(tenant, user, name string) string {
	s := events.Key(tenant, user)
	if name != "" && name != user {
		s += " (" + name + ")"
	}
	return s
}

func (s Rules) label() string {
	name := terminal.Plain(s.Name)
	if s.Version == "" {
		return name
	}
	return fmt.Sprintf("%s, %d policies, version %s", name, len(s.Policies), s.Version)
}

// countRows are the counts of both sides, one kind a row, without those that are 0 on both.
func countRows(p Pair) [][]string {
	var rows [][]string
	for _, c := range []struct {
		name     string
		new, old uint64
	}{
		{"notify", p.New.Notify, p.Old.Notify},
		{"step-up", p.New.StepUp, p.Old.StepUp},
		{"revoke session", p.New.RevokeSession, p.Old.RevokeSession},
		{"revoke all", p.New.RevokeAll, p.Old.RevokeAll},
		{"observe", p.New.Observe, p.Old.Observe},
		{"covered (asked already)", p.New.Covered, p.Old.Covered},
		{"cooling (asked lately)", p.New.Cooling, p.Old.Cooling},
		{"held by the breaker", p.New.Held, p.Old.Held},
		{"watched only", p.New.Watched, p.Old.Watched},
	} {
		if c.new+c.old > 0 || c.name == "step-up" {
			rows = append(rows, []string{c.name, strconv.FormatUint(c.new, 10), strconv.FormatUint(c.old, 10)})
		}
	}
	return rows
}

// pairCells are the counts as cells.
func pairCells(p Pair) []string {
	return []string{
		arrow(p.Old.Notify, p.New.Notify), arrow(p.Old.StepUp, p.New.StepUp),
		arrow(p.Old.RevokeSession+p.Old.RevokeAll, p.New.RevokeSession+p.New.RevokeAll), arrow(p.Old.Covered, p.New.Covered),
		arrow(p.Old.Cooling, p.New.Cooling), arrow(p.Old.Held, p.New.Held), arrow(p.Old.Watched, p.New.Watched),
	}
}

// findingCells are the findings by severity, worst first, and those that do not count.
func findingCells(d DetectionLine) []string {
	return []string{
		arrow(d.Old.Critical, d.New.Critical), arrow(d.Old.High, d.New.High), arrow(d.Old.Medium, d.New.Medium), arrow(d.Old.Low, d.New.Low),
		arrow(d.Old.Other, d.New.Other),
	}
}

// arrow is "old → new", one number when they are equal, "-" for none.
func arrow(was, would uint64) string {
	switch {
	case was != would:
		return fmt.Sprintf("%d → %d", was, would)
	case was == 0:
		return "-"
	}
	return strconv.FormatUint(was, 10)
}

// Deciders are the policies that decided anything on either side.
func (r *Report) Deciders() []PolicyLine {
	return slices.DeleteFunc(slices.Clone(r.Policies), func(p PolicyLine) bool { return p.New.sum()+p.Old.sum() == 0 })
}

func rateRow(side string, r Rate) []string {
	return []string{
		side, strconv.Itoa(r.Asked), fmt.Sprintf("%.4f", r.Mean), strconv.FormatUint(r.Median, 10),
		strconv.FormatUint(r.P95, 10), strconv.FormatUint(r.Max, 10),
	}
}
