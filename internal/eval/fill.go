package eval

import (
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/eval/report"
	"github.com/countersign-io/countersign/internal/eval/score"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

// wantedTPRs are the true positive rates that thresholds are chosen for, by attacker, as published.
func wantedTPRs(attacker string) []float64 {
	if attacker == string(company.VeryTargetedAttacker) {
		return []float64{0.9425, 0.8966, 0.83, 0.8276, 0.7816}
	}
	return []float64{0.999, 0.995, report.PublishedTPR, 0.98}
}

// fill writes what a full run measured into the report.
func (r *run) fill(to *report.Report, o Options) {
	end := until(r.config)
	to.Counts = report.Counts{
		Events: r.truth.Events, Logins: r.truth.Logins, Successes: r.truth.Successes, AttackEvents: r.truth.AttackEvents,
		Incidents: len(r.truth.Incidents()), Users: r.truth.Users(),
		EventsPerSecond: float64(r.all) / max(r.busy.Seconds(), 1e-9),
	}
	for i, name := range r.names {
		r.curve.Class(i, r.truth.Class(name, end))
	}
	curves(to, report.Countersign, r.curve, o.Rounds)
	for i := range r.peers.scorers {
		s := &r.peers.scorers[i]
		curves(to, s.name, s.curve, o.Rounds)
	}
	to.Recalls = r.ledger.Recalls()
	to.All = r.ledger.RecallOver(every)
	to.Session = session(r.ledger)
	to.Alarms, to.Confounded, to.ByRule = r.ledger.FalseAlarms()
	to.Worst = worst(&to.Alarms, to.Confounded)
	to.Challenges = r.challenges
	to.Laws = append(to.Laws, r.streamLaws()...)
	to.Timing = timing(r.took)
	to.Precision, to.Area = r.ledger.Precisions(float64(r.config.Days))
	to.Ablation = r.ledger.Ablations()
	to.Classes = r.classes(end)
	for i := range r.peers.rules {
		p := &r.peers.rules[i]
		all, _, _ := p.ledger.FalseAlarms()
		_, area := p.ledger.Precisions(float64(r.config.Days))
		row := report.Peer{Info: p.Info, Recalls: p.ledger.Recalls(), All: p.ledger.RecallOver(every), Alarms: all, Area: area}
		row.Both, row.Sooner = r.sooner(p)
		to.Peers = append(to.Peers, row)
	}
}

// sooner counts the incidents that both caught, and those of which countersign told no later. A peer's alert of any severity
// counts.
func (r *run) sooner(p *rival) (both, sooner int) {
	ours := map[int]*score.Catch{}
	for _, i := range r.truth.Incidents() {
		if c := r.ledger.Catch(i); c != nil && c.First != 0 {
			ours[i.Number] = c
		}
	}
	for _, i := range r.peers.truth.Incidents() {
		theirs := p.ledger.Catch(i)
		if theirs == nil || theirs.Any == 0 || ours[i.Number] == nil {
			continue
		}
		both++
		if ours[i.Number].First <= theirs.Any {
			sooner++
		}
	}
	return both, sooner
}

func every(*score.Incident, *score.Catch) bool { return true }

// curves evaluates one score against all attackers.
func curves(to *report.Report, scorer string, c *score.Curve, rounds int) {
	for i, attacker := range c.Attackers() {
		row := report.Curve{Scorer: scorer, Attacker: attacker}
		for _, h := range score.Histories {
			sample := c.Sample(i, h)
			scored := sample.Scored()
			for _, tpr := range wantedTPRs(attacker) {
				p := report.Point{History: h, Users: sample.Users(), Wanted: tpr, Scored: scored}
				if p.Rate, p.OK = sample.AtTPR(tpr); p.OK && tpr == report.PublishedTPR {
					p.Interval = sample.RateInterval(tpr, rounds)
				}
				row.Points = append(row.Points, p)
			}
			if h != score.Longest {
				continue
			}
			row.Trace = trace(&sample)
			if attacker == string(company.VeryTargetedAttacker) {
				v := report.VeryTargeted{Scorer: scorer, Users: sample.Users()}
				if v.Rate, v.OK = sample.AtRate(report.VeryTargetedRate); v.OK {
					v.Interval = sample.TPRInterval(report.VeryTargetedRate, rounds)
				}
				to.VeryTargeted = append(to.VeryTargeted, v)
			}
		}
		to.Curves = append(to.Curves, row)
	}
}

// trace is TPR against the median rate, for the plot: at every per cent, and closer near the top.
func trace(s *score.Sample) []score.Rate {
	var list []score.Rate
	for tpr := 0.01; tpr < 1.0005; {
		if rate, ok := s.AtTPR(min(tpr, 1)); ok {
			list = append(list, rate)
		}
		if tpr < 0.9795 {
			tpr += 0.01
		} else {
			tpr += 0.001
		}
	}
	return list
}

// sessionAttacks are those on a session or a token that the victim opened, which no score of logins can see all of.
var sessionAttacks = []company.Attack{company.StolenSession, company.StolenRefreshToken, company.ReplayAfterSignOut, company.AiTM}

// sessionRules are the families of detections about sessions, tokens and AiTM.
var sessionRules = []string{"SES-", "AIT-", "OAU-"}

const familiarityRule = "FAM-01"

func session(l *score.Ledger) report.Session {
	var s report.Session
	of := func(i *score.Incident) bool { return slices.Contains(sessionAttacks, i.Attack) }
	s.All = l.RecallOver(func(i *score.Incident, _ *score.Catch) bool { return of(i) })
	s.Passed = l.RecallOver(func(i *score.Incident, c *score.Catch) bool {
		return of(i) && !slices.Contains(c.Rules, familiarityRule)
	})
	s.ByRules = l.RecallOver(func(i *score.Incident, c *score.Catch) bool {
		return of(i) && !slices.Contains(c.Rules, familiarityRule) && slices.ContainsFunc(c.Rules, aboutSessions)
	}).Incidents
	return s
}

func aboutSessions(rule string) bool {
	return slices.ContainsFunc(sessionRules, func(family string) bool { return strings.HasPrefix(rule, family) })
}

// enoughLogins is how many logins a confounder needs for its rate to mean anything: at three times the target of 5 in 1,000
// they have three false alarms.
const enoughLogins = 200

// worst finds the confounder with most false alarms for its logins.
func worst(all *score.Alarms, confounded []score.Alarms) report.Worst {
	var w report.Worst
	sum, n := 0.0, 0
	for i := range confounded {
		a := &confounded[i]
		if a.Name == score.Ordinary || a.Logins < enoughLogins {
			continue
		}
		rate := a.Per(a.Medium)
		sum += rate
		n++
		if rate > w.Rate {
			w.Name, w.Rate = a.Name, rate
		}
	}
	if overall := all.Per(all.Medium); overall > 0 {
		w.Times = w.Rate / overall
	}
	if sum > 0 {
		w.TimesMean = w.Rate / (sum / float64(n))
	}
	return w
}

func timing(took []time.Duration) report.Timing {
	ms := make([]float64, len(took))
	for i, d := range took {
		ms[i] = float64(d) / float64(time.Millisecond)
	}
	slices.Sort(ms)
	t := report.Timing{Findings: len(ms)}
	if len(ms) > 0 {
		t.P50, t.P95, t.P99 = score.Quantile(ms, .5), score.Quantile(ms, .95), score.Quantile(ms, .99)
	}
	return t
}

// classes is one row for every login-frequency class, re-authentication at the threshold that holds for all users.
func (r *run) classes(end events.Millis) []report.Class {
	users, logins := r.truth.ClassSizes(end)
	days := r.ledger.ClassAlarms(end)
	var rows []report.Class
	for _, name := range familiarity.Classes {
		row := report.Class{Name: name, Users: users[name], Logins: logins[name], AlarmDays: days[name], Rates: map[string]float64{}}
		for i, attacker := range r.curve.Attackers() {
			if attacker == string(company.VeryTargetedAttacker) {
				continue
			}
			sample := r.curve.Sample(i, 12)
			at, ok := sample.AtTPR(report.PublishedTPR)
			part := sample.Class(name)
			if ok && part.Users() > 0 {
				row.Rates[attacker] = part.At(at.Threshold).Rate
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// travelAttacks are the attacks of the stream that no journey explains, smooth the confounders that only look like journeys.
var (
	travelAttacks = []company.Attack{company.ImpossibleTravel, company.BackAndForth, company.DomesticTravel, company.PhoneTravel}
	smooth        = []company.Confounder{
		company.MobileHub, company.RelayUse, company.VPNUse, company.PersonalVPN, company.OfficeNAT,
	}
)

// streamLaws are the laws of travel on the stream: incidents found by a rule about journeys, and false alarms of these rules.
func (r *run) streamLaws() []report.Law {
	var rows []report.Law
	for _, attack := range travelAttacks {
		row := report.Law{Name: "stream_" + string(attack), Must: true}
		for _, i := range r.truth.Incidents() {
			if i.Attack != attack {
				continue
			}
			switch c := r.ledger.Catch(i); {
			case c != nil && slices.ContainsFunc(c.Rules, aboutTravel):
				row.Cases++
				row.Found++
			case c != nil && slices.ContainsFunc(c.Learning, aboutTravel):
				row.Learning++ // seen, and recorded only: of a user just met nothing about places counts
			default:
				row.Cases++
			}
		}
		if row.Cases+row.Learning > 0 {
			rows = append(rows, row)
		}
	}
	for _, confounder := range smooth {
		row := report.Law{Name: "stream_" + string(confounder), Cases: r.truth.Exposure()[confounder]}
		for _, rule := range travelRules {
			row.Found += r.ledger.FalseAlarmsOf(rule, confounder)
		}
		if row.Cases > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

func aboutTravel(rule string) bool { return slices.Contains(travelRules, rule) }

// robustness sums a run up in a row.
func (r *run) robustness() report.Robustness {
	all := r.ledger.RecallOver(every)
	alarms, _, _ := r.ledger.FalseAlarms()
	return report.Robustness{
		Incidents: all.Incidents, Recall: all.Share(), High: all.ShareHigh(),
		Medium: alarms.Per(alarms.Medium), HighRate: alarms.Per(alarms.High), Challenges: r.challenges,
	}
}
