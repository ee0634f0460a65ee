package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/countersign-io/countersign/internal/eval/score"
)

// honesty is what a reader must know before believing any figure.
const honesty = `Simulated company. The generator, its attackers and the detector have the same authors: no figure here is a result from
the field. Peers are restatements of published rules, not the products. A login is an interactive sign-in that succeeded.
The scores are compared as published: one threshold for all users. A company in many countries is harder for the published
score than the users of one country that its figures come from.`

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error {
	p := &printer{w: w}
	if r.RBA != nil {
		r.rbaText(p)
		return p.err
	}
	p.line("countersign eval: seed %d, %d users, %d days, code %s, rules %s", r.Seed, r.Users, r.Days, r.Code, r.Rules)
	p.line("%s; took %.0f s", r.Hardware, r.Seconds)
	c := &r.Counts
	p.line("%d benign events, %d of them logins; %d attack events in %d incidents; %.0f decisions/s on one core",
		c.Events, c.Logins, c.AttackEvents, c.Incidents, c.EventsPerSecond)
	p.line("%s", honesty)
	r.warningsText(p)
	r.curvesText(p)
	r.recallText(p)
	r.alarmsText(p)
	r.lawsText(p)
	r.precisionText(p)
	r.peersText(p)
	r.figuresText(p)
	return p.err
}

func (r *Report) rbaText(p *printer) {
	d := r.RBA
	fit := &d.Fit
	p.line("countersign eval on the public RBA data set: %d rows, %d left out, %.0f%% of users: %d with %d logins; code %s",
		d.Rows, d.Left, 100*d.Share, r.Users, d.Logins, r.Code)
	p.line("%s; took %.0f s; attempts by seed %d", r.Hardware, r.Seconds, r.Seed)
	p.line("%s", fit.Cite)
	p.line("Fit for: %s.\nNot for: %s.\nNotes: %s.", strings.Join(fit.For, "; "), strings.Join(fit.Not, "; "), strings.Join(fit.Notes, "; "))
	p.line("Attempts but the takeovers are made of other rows; their making is ours.")
	r.warningsText(p)
	r.curvesText(p)
	var rows [][]string
	for _, t := range d.TakeoverRates {
		rows = append(rows, []string{t.Scorer, strconv.Itoa(t.Scored), strconv.Itoa(t.Caught), strconv.Itoa(t.Unscored)})
	}
	p.table(fmt.Sprintf("Real takeovers, at the threshold of a median rate of %g after %d logins", VeryTargetedRate, score.Longest),
		[]string{"score", "scored", "caught", "without history"}, rows)
	r.figuresText(p)
}

func (r *Report) warningsText(p *printer) {
	for _, w := range r.Warnings() {
		p.line("NOTE: %s", w)
	}
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// table writes rows under a head; the first column is text, the others are numbers.
func (p *printer) table(title string, head []string, rows [][]string) {
	p.line("\n%s", title)
	if len(rows) == 0 {
		p.line("  none")
		return
	}
	if p.err != nil {
		return
	}
	// The first column is padded by hand, since a tabwriter aligns all cells the same way.
	width := len(head[0])
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintf(t, "  %-*s\t%s\t\n", width, row[0], strings.Join(row[1:], "\t"))
	}
	p.err = t.Flush()
}

func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 1000 || v <= -1000:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func percent(v float64) string { return fmt.Sprintf("%.1f%%", 100*v) }

func (r *Report) curvesText(p *printer) {
	head := []string{"score, attacker", "TPR"}
	for _, h := range score.Histories {
		head = append(head, fmt.Sprintf("h%d", h))
	}
	var rows [][]string
	for i := range r.Curves {
		c := &r.Curves[i]
		byTPR := map[float64][]string{}
		for _, pt := range c.Points {
			cell := "-"
			if pt.OK {
				cell = fmt.Sprintf("%.2f", pt.Rate.Rate)
			}
			byTPR[pt.Wanted] = append(byTPR[pt.Wanted], cell)
		}
		for _, tpr := range slices.Backward(slices.Sorted(maps.Keys(byTPR))) {
			rows = append(rows, append([]string{c.Scorer + ", " + c.Attacker, fmt.Sprint(tpr)}, byTPR[tpr]...))
		}
	}
	p.table("Median re-authentication rate at a TPR, by logins of history (- where no threshold reaches it)", head, rows)
	if len(r.Curves) > 0 {
		sizes := []string{"users"}
		scored := []string{"own logins with a score"}
		for _, pt := range r.Curves[0].Points {
			if pt.Wanted == r.Curves[0].Points[0].Wanted {
				sizes = append(sizes, strconv.Itoa(pt.Users))
				scored = append(scored, percent(pt.Scored))
			}
		}
		p.table("Behind it ("+r.Curves[0].Scorer+", "+r.Curves[0].Attacker+")", append([]string{""}, head[2:]...), [][]string{sizes, scored})
	}
}

func (r *Report) recallText(p *printer) {
	var rows [][]string
	for i := range r.Recalls {
		row := &r.Recalls[i]
		rows = append(rows, []string{
			string(row.Attack), strconv.Itoa(row.Incidents), percent(row.Share()), percent(row.ShareHigh()), strconv.Itoa(row.Quiet),
			number(row.DelayP50Seconds), number(row.DelayP99Seconds), number(row.EventsBeforeP50), number(row.EventsBeforeP99), rulesOf(row),
		})
	}
	p.table("Attacks: incidents with an active finding of medium or more (high or more); time and attacker events before the first",
		[]string{"attack", "incidents", "recall", "high", "quiet", "s p50", "s p99", "events p50", "p99", "by"}, rows)
	s := &r.Session
	p.line("  sessions in two hands: %d incidents, %d passed the score, %d of those caught by rules about sessions (%.1f%%), %d by any",
		s.All.Incidents, s.Passed.Incidents, s.ByRules, 100*s.Recall(), s.Passed.Caught)
	p.line("  an event's finding takes p50 %.3f ms, p95 %.3f ms, p99 %.3f ms (%d events with findings)",
		r.Timing.P50, r.Timing.P95, r.Timing.P99, r.Timing.Findings)
}

// rulesOf lists the rules that caught most incidents of a row.
func rulesOf(row *score.Recall) string {
	names := slices.SortedFunc(maps.Keys(row.Rules), func(a, b string) int {
		return cmp.Or(cmp.Compare(row.Rules[b], row.Rules[a]), cmp.Compare(a, b))
	})
	var list []string
	for _, name := range names[:min(4, len(names))] {
		list = append(list, fmt.Sprintf("%s:%d", name, row.Rules[name]))
	}
	return strings.Join(list, " ")
}

func (r *Report) alarmsText(p *printer) {
	row := func(a *score.Alarms) []string {
		return []string{
			a.Name, strconv.Itoa(a.Logins), number(a.Per(a.Medium)), number(a.Per(a.High)), strconv.Itoa(a.Medium), strconv.Itoa(a.High),
			strconv.Itoa(a.Lower), strconv.Itoa(a.Suppressed), strconv.Itoa(a.Learning), strconv.Itoa(a.Observed),
		}
	}
	head := []string{"", "logins", "M+/1000", "H+/1000", "M+", "H+", "lower", "suppressed", "learning", "observed"}
	rows := [][]string{row(&r.Alarms)}
	for i := range r.Confounded {
		rows = append(rows, row(&r.Confounded[i]))
	}
	p.table("False alarms: findings on benign events, by confounder (logins of the user-days that it touched)", head, rows)
	rows = nil
	for i := range r.ByRule {
		rows = append(rows, row(&r.ByRule[i]))
	}
	p.table("False alarms by rule", head, rows)
	p.line("  challenges to genuine people: %d, %s in 1,000 logins, all answered", r.Challenges, number(r.Alarms.Per(r.Challenges)))
	p.line("  worst confounder: %s, %s in 1,000 logins, %.1f times the mean of the confounders, %.1f times the overall rate",
		cmp.Or(r.Worst.Name, "none"), number(r.Worst.Rate), r.Worst.TimesMean, r.Worst.Times)
	rows = nil
	for i := range r.Classes {
		c := &r.Classes[i]
		per := 0.0
		if c.Logins > 0 {
			per = float64(c.AlarmDays) / float64(c.Logins) * 1000
		}
		cells := []string{c.Name, strconv.Itoa(c.Users), strconv.Itoa(c.Logins), number(per)}
		for _, attacker := range []string{"naive", "vpn", "targeted"} {
			cell := "-"
			if rate, ok := c.Rates[attacker]; ok {
				cell = fmt.Sprintf("%.2f", rate)
			}
			cells = append(cells, cell)
		}
		rows = append(rows, cells)
	}
	p.table("By login frequency: user-days with a false alarm in 1,000 logins; median re-authentication rate at TPR 0.99 after 12 logins",
		[]string{"class", "users", "logins", "alarm days", "naive", "vpn", "targeted"}, rows)
}

func (r *Report) lawsText(p *printer) {
	var rows [][]string
	for i := range r.Laws {
		l := &r.Laws[i]
		want, verdict := "none", "holds"
		if l.Must {
			want = "all"
		}
		if !l.Holds() {
			verdict = "BROKEN"
		}
		rows = append(rows, []string{l.Name, want, strconv.Itoa(l.Cases), strconv.Itoa(l.Found), strconv.Itoa(l.Learning), verdict})
	}
	p.table("Laws of travel", []string{"", "must be found", "cases", "found", "learning", ""}, rows)
	rows = nil
	for _, b := range r.Robustness {
		rows = append(rows, []string{
			b.Name, strconv.Itoa(b.Users), strconv.Itoa(b.Incidents), percent(b.Recall), percent(b.High), number(b.Medium), number(b.HighRate),
			strconv.Itoa(b.Challenges),
		})
	}
	p.table("Under other conditions, on fewer users", []string{"", "users", "incidents", "recall", "high", "M+/1000", "H+/1000", "challenges"}, rows)
}

func (r *Report) precisionText(p *printer) {
	var rows [][]string
	for _, row := range r.Precision {
		rows = append(rows, []string{string(row.Severity) + " and up", percent(row.Precision), percent(row.Recall), number(row.FalsePerMonth)})
	}
	p.table("Precision at one compromise in 10,000 users a month, by user-day", []string{"", "precision", "recall of compromises", "false user-days/10k users/month"}, rows)
	p.line("  area under precision against recall: %.3f", r.Area)
	rows = nil
	for _, a := range r.Ablation {
		rows = append(rows, []string{
			a.Rule, strconv.Itoa(a.Caught), strconv.Itoa(a.Alone), percent(a.AloneRecall), strconv.Itoa(a.FalseAlarms), number(a.SavedPer1000), strconv.Itoa(a.SavedUserDays),
		})
	}
	p.table("Ablation: what is lost and saved without a rule", []string{"rule", "caught", "by it alone", "recall lost", "false alarms", "saved/1000", "user-days saved"}, rows)
}

func (r *Report) peersText(p *printer) {
	rows := [][]string{{Countersign, percent(r.All.Share()), number(r.Alarms.Per(r.Alarms.Medium)), fmt.Sprintf("%.3f", r.Area), "", "", ""}}
	for i := range r.Peers {
		peer := &r.Peers[i]
		sooner := "-"
		if peer.Both > 0 {
			sooner = percent(float64(peer.Sooner) / float64(peer.Both))
		}
		rows = append(rows, []string{
			peer.Name, percent(peer.All.ShareAny()), number(peer.Alarms.Per(peer.Alarms.Medium + peer.Alarms.Lower)), fmt.Sprintf("%.3f", peer.Area),
			strconv.Itoa(peer.Both), sooner, peer.Delay,
		})
	}
	p.table("Side by side: countersign at medium or more, a restated peer at any severity",
		[]string{"", "recall", "false alarms/1000", "PR area", "caught by both", "countersign no later", "tells"}, rows)
	r.matrix(p)
	for i := range r.Peers {
		peer := &r.Peers[i]
		p.line("  %s (%s), restated: %s. Left out: %s.", peer.Name, peer.Setting, strings.TrimSuffix(peer.Restated, "."), strings.TrimSuffix(peer.LeftOut, "."))
	}
	rows = nil
	for _, b := range r.Behind {
		rows = append(rows, []string{b.Peer, b.Metric, number(b.Ours), number(b.Theirs)})
	}
	p.table("Where countersign is not at least as good", []string{"peer", "metric", Countersign, "theirs"}, rows)
}

// matrix is recall by attack and journey, a column a system.
func (r *Report) matrix(p *printer) {
	head := []string{"", Countersign}
	for i := range r.Peers {
		head = append(head, r.Peers[i].Name)
	}
	var rows [][]string
	for i := range r.Recalls {
		row := []string{string(r.Recalls[i].Attack), percent(r.Recalls[i].Share())}
		for k := range r.Peers {
			row = append(row, percent(r.Peers[k].Recalls[i].ShareAny())) // of the same incidents, in the same order
		}
		rows = append(rows, row)
	}
	for i := range r.Laws {
		l := &r.Laws[i]
		if l.Peers == nil {
			continue
		}
		name := "journey: " + l.Name
		if !l.Must {
			name = "no journey: " + l.Name
		}
		row := []string{name, fmt.Sprintf("%d of %d", l.Found, l.Cases)}
		for k := range r.Peers {
			row = append(row, fmt.Sprintf("%d of %d", l.Peers[r.Peers[k].Name], l.Cases))
		}
		rows = append(rows, row)
	}
	p.table("Recall by attack; journeys found", head, rows)
}

func (r *Report) figuresText(p *printer) {
	var rows [][]string
	for _, f := range r.Figures {
		if f.Target == nil {
			continue
		}
		value, interval, bound, met := "-", "", "≥ ", "missed"
		if f.Value != nil {
			value = number(*f.Value)
		}
		if f.Low != nil {
			interval = number(*f.Low) + " to " + number(*f.High)
		}
		if f.Most {
			bound = "≤ "
		}
		switch {
		case *f.Met:
			met = "met"
		case f.Value == nil:
			met = "not measured"
		}
		cases := "-"
		if f.N > 0 {
			cases = strconv.Itoa(f.N)
		}
		rows = append(rows, []string{f.Metric, value, interval, cases, bound + number(*f.Target), met})
	}
	p.table("Targets (95 % interval by bootstrap over users; n users, incidents, logins or findings)",
		[]string{"figure", "value", "interval", "n", "target", ""}, rows)
}
