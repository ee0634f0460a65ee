package report

import (
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/internal/eval/score"
)

// The scores among the curves: countersign's own; the same on what the published one looks at, without device ids; and the
// score as published.
const (
	Countersign = "countersign"
	Networks    = "countersign without device ids"
	Freeman     = "freeman"
)

// PublishedTPR is the TPR that the targets are for, VeryTargetedRate the median rate within which the very targeted
// attacker's TPR is taken.
const (
	PublishedTPR     = 0.99
	VeryTargetedRate = 0.15
)

// The targets of the curves: the median re-authentication rate at [PublishedTPR] after 12 and after 39 logins.
var targets = []struct {
	attacker  string
	history   int
	rate      float64
	published float64 // by Wiefling et al., on their data
}{
	{"naive", 12, 0.15, 0.17},
	{"vpn", 12, 0.20, 0.25},
	{"targeted", 12, 0.25, 0.33},
	{"naive", 39, 0.03, 0.03},
	{"vpn", 39, 0.05, 0.05},
	{"targeted", 39, 0.08, 0.08},
}

// VeryTargeted is what a score reaches against the very targeted attacker within [VeryTargetedRate].
type VeryTargeted struct {
	Scorer string `json:"scorer"`
	Users  int    `json:"users"`
	OK     bool   `json:"reached"`
	score.Rate
	Interval score.Interval `json:"tpr_95"`
}

// Conclude derives the figures and where countersign falls behind from what was measured.
func (r *Report) Conclude() {
	r.Figures = nil
	if r.RBA != nil {
		r.rbaFigures()
		return
	}
	r.curveFigures(Countersign, "eval")
	r.curveFigures(Networks, "eval.without_device_ids")
	all := &r.All
	for i := range r.Recalls {
		row := &r.Recalls[i]
		r.add(NewFigure("eval.recall_"+string(row.Attack), row.Share(), "share", row.Incidents))
	}
	r.add(NewFigure("eval.recall", all.Share(), "share", all.Incidents))
	r.add(NewFigure("eval.recall_high", all.ShareHigh(), "share", all.Incidents))
	r.add(NewFigure("eval.session.recall", r.Session.Recall(), "share", r.Session.Passed.Incidents).AtLeast(0.9))
	r.add(NewFigure("eval.session.recall_any_rule", r.Session.Passed.Share(), "share", r.Session.Passed.Incidents))
	a := &r.Alarms
	r.add(NewFigure("eval.fp_medium_per_1000", a.Per(a.Medium), "findings", a.Logins).AtMost(5))
	r.add(NewFigure("eval.fp_high_per_1000", a.Per(a.High), "findings", a.Logins).AtMost(0.5))
	r.add(NewFigure("eval.fp_medium_per_1000_users_day", float64(a.Medium)/float64(max(1, r.Counts.Users*r.Days))*1000, "findings", r.Counts.Users))
	r.add(NewFigure("eval.fp_worst_confounder_times_mean", r.Worst.TimesMean, "times", 0).AtMost(3))
	r.add(NewFigure("eval.fp_worst_confounder_times_overall", r.Worst.Times, "times", 0))
	r.add(NewFigure("eval.time_to_detect_p50_ms", r.Timing.P50, "ms", r.Timing.Findings))
	r.add(NewFigure("eval.time_to_detect_p95_ms", r.Timing.P95, "ms", r.Timing.Findings))
	r.add(NewFigure("eval.time_to_detect_p99_ms", r.Timing.P99, "ms", r.Timing.Findings).AtMost(2000))
	if all.Caught > 0 {
		r.add(NewFigure("eval.delay_p50_s", all.DelayP50Seconds, "s", all.Caught))
		r.add(NewFigure("eval.delay_p99_s", all.DelayP99Seconds, "s", all.Caught))
		r.add(NewFigure("eval.attacker_events_before_p50", all.EventsBeforeP50, "events", all.Caught))
		r.add(NewFigure("eval.attacker_events_before_p99", all.EventsBeforeP99, "events", all.Caught))
	}
	r.add(NewFigure("eval.events_per_second", r.Counts.EventsPerSecond, "events/s", r.Counts.Events))
	for _, p := range r.Precision {
		r.add(NewFigure("eval.precision_"+string(p.Severity), p.Precision, "share", 0))
	}
	r.add(NewFigure("eval.pr_auc", r.Area, "area", 0))
	r.lawFigures()
	r.add(NewFigure("eval.challenges_per_1000", a.Per(r.Challenges), "challenges", a.Logins))
	for _, c := range []struct{ metric, name string }{
		{"eval.no_faults", NoFaults}, {"eval.many_faults", MoreFaults}, {"eval.unanswered", Unanswered},
	} {
		before, after := r.condition(AsReported), r.condition(c.name)
		if before != nil && after != nil {
			r.add(NewFigure(c.metric+".recall_change", after.Recall-before.Recall, "share", after.Incidents))
			r.add(NewFigure(c.metric+".fp_medium_per_1000_change", after.Medium-before.Medium, "findings", 0))
		}
	}
	r.peerFigures(all)
}

// rbaFigures are apart from those of the simulated company, and never averaged with them. The targets are the published
// figures, which countersign must not fall behind.
func (r *Report) rbaFigures() {
	r.curveFigures(Networks, "eval.rba")
	r.curveFigures(Freeman, "eval.rba.peer.freeman")
	for _, t := range r.RBA.TakeoverRates {
		name := "eval.rba"
		if t.Scorer == Freeman {
			name = "eval.rba.peer.freeman"
		}
		f := NewFigure(name+".takeovers_caught", float64(t.Caught)/float64(max(1, t.Scored)), "share", t.Scored)
		if !t.OK {
			f.Value = nil
		}
		r.add(f)
	}
}

func (r *Report) condition(name string) *Robustness {
	for i := range r.Robustness {
		if r.Robustness[i].Name == name {
			return &r.Robustness[i]
		}
	}
	return nil
}

func (r *Report) add(f Figure) { r.Figures = append(r.Figures, f) }

func (r *Report) curveFigures(scorer, prefix string) {
	for _, t := range targets {
		p, ok := r.point(scorer, t.attacker, t.history)
		if !ok {
			continue
		}
		value := p.Rate.Rate
		f := NewFigure(fmt.Sprintf("%s.%s.reauth_h%d", prefix, t.attacker, t.history), value, "rate", p.Users).Within(p.Interval)
		if !p.OK {
			f.Value = nil
		}
		switch {
		case scorer == Countersign:
			f = f.AtMostRounded(t.rate)
		case scorer == Networks && r.RBA != nil:
			f = f.AtMostRounded(t.published)
		}
		r.add(f)
	}
	for _, attacker := range []string{"naive", "vpn", "targeted"} {
		if h, ok := r.untilSeldom(scorer, attacker); ok {
			r.add(NewFigure(prefix+"."+attacker+".logins_until_below_10_percent", float64(h), "logins", 0))
		}
	}
	for _, v := range r.VeryTargeted {
		if v.Scorer != scorer {
			continue
		}
		f := NewFigure(prefix+".very_targeted.tpr_h39", v.TPR, "share", v.Users).Within(v.Interval)
		if v.Users == 0 {
			f.Value = nil
		}
		if scorer == Countersign {
			f = f.AtLeast(0.83)
		}
		r.add(f)
	}
}

// point finds the point of a curve at [PublishedTPR].
func (r *Report) point(scorer, attacker string, history int) (Point, bool) {
	for i := range r.Curves {
		c := &r.Curves[i]
		if c.Scorer != scorer || c.Attacker != attacker {
			continue
		}
		for _, p := range c.Points {
			if p.History == history && p.Wanted == PublishedTPR {
				return p, true
			}
		}
	}
	return Point{}, false
}

func (r *Report) lawFigures() {
	learning := 0
	for i := range r.Laws {
		l := &r.Laws[i]
		if learning += l.Learning; l.Cases == 0 {
			continue // all were of users who were still being learned
		}
		share := float64(l.Found) / float64(l.Cases)
		f := NewFigure("eval.travel."+l.Name, share, "share", l.Cases)
		if l.Must {
			f = f.AtLeast(1)
		} else {
			f = f.AtMost(0)
		}
		r.add(f)
	}
	r.add(NewFigure("eval.travel.stream_learning", float64(learning), "journeys", 0))
}

// peerFigures adds a row a peer and metric, and collects where a peer is better. A peer's alert of any severity counts for
// it: it has no other way to tell.
func (r *Report) peerFigures(all *score.Recall) {
	r.Behind = nil
	ours := map[string]score.Recall{}
	for _, row := range r.Recalls {
		ours[string(row.Attack)] = row
	}
	for i := range r.Peers {
		p := &r.Peers[i]
		prefix := "eval.peer." + p.Name
		behind := func(metric string, ours, theirs float64, lowerIsBetter bool) {
			if lowerIsBetter && theirs < ours-1e-9 || !lowerIsBetter && theirs > ours+1e-9 {
				r.Behind = append(r.Behind, Behind{Peer: p.Name, Metric: metric, Ours: ours, Theirs: theirs})
			}
		}
		for k := range p.Recalls {
			row := &p.Recalls[k]
			mine := ours[string(row.Attack)]
			r.add(NewFigure(prefix+".recall_"+string(row.Attack), row.ShareAny(), "share", row.Incidents))
			behind("recall_"+string(row.Attack), mine.Share(), row.ShareAny(), false)
		}
		r.add(NewFigure(prefix+".recall", p.All.ShareAny(), "share", p.All.Incidents))
		behind("recall", all.Share(), p.All.ShareAny(), false)
		told := p.Alarms.Per(p.Alarms.Medium + p.Alarms.Lower)
		r.add(NewFigure(prefix+".fp_per_1000", told, "alerts", p.Alarms.Logins))
		r.add(NewFigure(prefix+".fp_medium_per_1000", p.Alarms.Per(p.Alarms.Medium), "alerts", p.Alarms.Logins))
		behind("fp_per_1000", r.Alarms.Per(r.Alarms.Medium), told, true)
		r.add(NewFigure(prefix+".pr_auc", p.Area, "area", 0))
		behind("pr_auc", r.Area, p.Area, false)
		if p.All.CaughtAny > 0 {
			r.add(NewFigure(prefix+".delay_p50_s", p.All.DelayP50Seconds, "s", p.All.CaughtAny))
		}
		if p.Both > 0 {
			sooner := float64(p.Sooner) / float64(p.Both)
			r.add(NewFigure(prefix+".countersign_no_later", sooner, "share", p.Both))
			behind("told first, of what both caught", sooner, 0.5, false)
		}
		for k := range r.Laws {
			l := &r.Laws[k]
			if n, ran := l.Peers[p.Name]; ran {
				r.add(NewFigure(prefix+".travel."+l.Name, float64(n)/float64(max(1, l.Cases)), "share", l.Cases))
				behind("travel."+l.Name, float64(l.Found), float64(n), !l.Must)
			}
		}
	}
	for _, scorer := range r.scorers() {
		if scorer == Countersign || scorer == Networks {
			continue
		}
		r.curveFigures(scorer, "eval.peer."+scorer)
		for _, t := range targets {
			mine, ok := r.point(Countersign, t.attacker, t.history)
			theirs, ok2 := r.point(scorer, t.attacker, t.history)
			if !ok || !ok2 {
				continue
			}
			if theirs.OK && (!mine.OK || mine.Rate.Rate > theirs.Rate.Rate+1e-9) {
				r.Behind = append(r.Behind, Behind{
					Peer: scorer, Metric: fmt.Sprintf("%s.reauth_h%d", t.attacker, t.history), Ours: mine.Rate.Rate, Theirs: theirs.Rate.Rate,
				})
			}
		}
		mine, theirs := r.veryTargeted(Countersign), r.veryTargeted(scorer)
		if mine.TPR < theirs.TPR {
			r.Behind = append(r.Behind, Behind{Peer: scorer, Metric: "very_targeted.tpr_h39", Ours: mine.TPR, Theirs: theirs.TPR})
		}
	}
}

func (r *Report) veryTargeted(scorer string) VeryTargeted {
	for _, v := range r.VeryTargeted {
		if v.Scorer == scorer {
			return v
		}
	}
	return VeryTargeted{}
}

// untilSeldom is the history size from which on the median rate at [PublishedTPR] stays below 0.1; false when it never does.
func (r *Report) untilSeldom(scorer, attacker string) (history int, ok bool) {
	for _, h := range slices.Backward(score.Histories) {
		p, found := r.point(scorer, attacker, h)
		if !found || !p.OK || p.Rate.Rate >= 0.1 {
			return history, history != 0
		}
		history = h
	}
	return history, history != 0
}

func (r *Report) scorers() (list []string) {
	for i := range r.Curves {
		if len(list) == 0 || list[len(list)-1] != r.Curves[i].Scorer {
			list = append(list, r.Curves[i].Scorer)
		}
	}
	return list
}
