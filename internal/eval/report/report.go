// Package report shows what an evaluation measured: as a table, as figures in JSON with one object a line, and as curves in
// SVG.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/countersign-io/countersign/internal/eval/peers"
	"github.com/countersign-io/countersign/internal/eval/rba"
	"github.com/countersign-io/countersign/internal/eval/score"
)

// Report is all that one evaluation measured, and under what conditions.
type Report struct {
	Seed uint64 `json:"seed"`
	// Tuning is set when the seed is one of those that parameters may be tuned on: its figures are not results.
	Tuning bool `json:"tuning"`
	Users  int  `json:"users"`
	Days   int  `json:"days"`
	// Code is the version of the program, Rules that of the detections and policies in force.
	Code     string `json:"code"`
	Rules    string `json:"rules"`
	Hardware string `json:"hardware"`
	// Seconds is how long the evaluation took.
	Seconds float64 `json:"seconds"`

	// RBA is set when the public data set was measured instead of a simulated company.
	RBA *RBA `json:"rba,omitempty"`

	Counts       Counts         `json:"counts"`
	Curves       []Curve        `json:"curves"`
	VeryTargeted []VeryTargeted `json:"very_targeted"`
	Recalls      []score.Recall `json:"recalls"`
	// All is over all incidents.
	All        score.Recall   `json:"all"`
	Session    Session        `json:"session"`
	Alarms     score.Alarms   `json:"false_alarms"`
	Confounded []score.Alarms `json:"false_alarms_by_confounder"`
	ByRule     []score.Alarms `json:"false_alarms_by_rule"`
	Worst      Worst          `json:"worst_confounder"`
	// Challenges are the requirements that genuine events led to. People answered them.
	Challenges int               `json:"challenges"`
	Timing     Timing            `json:"timing"`
	Precision  []score.Precision `json:"precision"`
	Area       float64           `json:"pr_auc"`
	Ablation   []score.Ablation  `json:"ablation"`
	Classes    []Class           `json:"classes"`
	Laws       []Law             `json:"laws"`
	Robustness []Robustness      `json:"robustness"`
	Peers      []Peer            `json:"peers"`
	Behind     []Behind          `json:"not_as_good"`
	Figures    []Figure          `json:"figures"`
}

// RBA is what was read of the public data set.
type RBA struct {
	Rows   int64 `json:"rows"`
	Left   int64 `json:"rows_left_out"`
	Logins int   `json:"logins"`
	// Share is the share of users that were looked at.
	Share         float64        `json:"share"`
	Takeovers     int64          `json:"takeovers"`
	TakeoverRates []TakeoverRate `json:"takeover_rates"`
	Fit           rba.Fit        `json:"fit"`
}

// TakeoverRate is what a score makes of the real takeovers, at the threshold of a median re-authentication rate of
// [VeryTargetedRate] after the longest history.
type TakeoverRate struct {
	Scorer    string  `json:"scorer"`
	Threshold float64 `json:"threshold"`
	OK        bool    `json:"reached"`
	Scored    int     `json:"scored"`
	Unscored  int     `json:"unscored"`
	Caught    int     `json:"caught"`
}

// Counts are the size of what was measured on.
type Counts struct {
	Events       int `json:"events"`
	Logins       int `json:"benign_logins"`
	Successes    int `json:"benign_successes"`
	AttackEvents int `json:"attack_events"`
	Incidents    int `json:"incidents"`
	Users        int `json:"users_seen"`
	// EventsPerSecond is how fast decisions were, on one core, the score's extra look-ups left out.
	EventsPerSecond float64 `json:"events_per_second"`
}

// Curve is one score against one attacker.
type Curve struct {
	Scorer   string  `json:"scorer"`
	Attacker string  `json:"attacker"`
	Points   []Point `json:"points"`
	// Trace is TPR against the median re-authentication rate at the longest history, for the plot.
	Trace []score.Rate `json:"trace"`
}

// Point is a curve's value at a history size and a TPR. OK is false when no threshold reaches the TPR.
type Point struct {
	History int     `json:"history"`
	Users   int     `json:"users"`
	Wanted  float64 `json:"wanted_tpr"`
	OK      bool    `json:"reached"`
	score.Rate
	// Interval is that of the median rate; zero where none was computed.
	Interval score.Interval `json:"rate_95"`
	// Scored is the share of the users' own logins that have a score.
	Scored float64 `json:"scored"`
}

// Session is how sessions in two hands fared.
type Session struct {
	// All are those incidents; Passed are the ones that the familiarity score let through.
	All    score.Recall `json:"all"`
	Passed score.Recall `json:"passed"`
	// ByRules counts those of Passed that a rule about sessions, tokens or AiTM caught.
	ByRules int `json:"by_session_rules"`
}

// Recall is the share of what passed the score that the rules about sessions caught.
func (s *Session) Recall() float64 {
	if s.Passed.Incidents == 0 {
		return math.NaN()
	}
	return float64(s.ByRules) / float64(s.Passed.Incidents)
}

// Worst is the confounder with the highest rate of false alarms, of those with enough logins to tell.
type Worst struct {
	Name string `json:"name"`
	// Rate is its false alarms of medium or more per 1,000 logins; Times is that over the rate of all benign logins, TimesMean
	// over the mean of the confounders.
	Rate      float64 `json:"rate"`
	Times     float64 `json:"times_overall"`
	TimesMean float64 `json:"times_mean"`
}

// Timing is the wall-clock time from an event's handing over to its finding.
type Timing struct {
	Findings int     `json:"findings"`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
	P99      float64 `json:"p99_ms"`
}

// Class is a login-frequency class.
type Class struct {
	Name   string `json:"name"`
	Users  int    `json:"users"`
	Logins int    `json:"logins"`
	// AlarmDays are user-days with an active false alarm of medium or more.
	AlarmDays int `json:"alarm_days"`
	// Rates are the median re-authentication rates at TPR 0.99 by attacker after 12 logins, at the threshold of all users.
	Rates map[string]float64 `json:"rates_h12"`
}

// Law is something that must hold in every case: a journey that must be found, or must not.
type Law struct {
	Name string `json:"name"`
	// Must is set when every case has to be found, else none may be.
	Must  bool `json:"must"`
	Cases int  `json:"cases"`
	// Learning are the journeys that were seen and only recorded, since the user was still being learned: no cases of the law.
	Learning int `json:"learning,omitempty"`
	// Found is what countersign found in active findings of medium or more; Peers what each peer did.
	Found int            `json:"found"`
	Peers map[string]int `json:"peers"`
}

// Holds tells whether the law does.
func (l *Law) Holds() bool { return l.Must && l.Found == l.Cases || !l.Must && l.Found == 0 }

// The conditions of a smaller stream: as everything else is reported, that is with 5 % late, 1 % twice, 2 % without place and
// 5 % of clocks wrong; without any of it; with 30, 5, 20 and 30 %; and with people who leave challenges unanswered.
const (
	AsReported = "as reported"
	NoFaults   = "no faults"
	MoreFaults = "many faults"
	Unanswered = "challenges unanswered"
)

// Robustness is a smaller stream under a condition.
type Robustness struct {
	Name      string  `json:"name"`
	Users     int     `json:"users"`
	Incidents int     `json:"incidents"`
	Recall    float64 `json:"recall"`
	High      float64 `json:"recall_high"`
	Medium    float64 `json:"fp_medium_per_1000"`
	HighRate  float64 `json:"fp_high_per_1000"`
	// Challenges are those that genuine events led to.
	Challenges int `json:"challenges"`
}

// Peer is another system's rules on the same events.
type Peer struct {
	peers.Info
	Recalls []score.Recall `json:"recalls"`
	All     score.Recall   `json:"all"`
	Alarms  score.Alarms   `json:"false_alarms"`
	Area    float64        `json:"pr_auc"`
	// Both counts the incidents that countersign and the peer caught, Sooner those of them that countersign told of no later.
	Both   int `json:"caught_by_both"`
	Sooner int `json:"countersign_no_later"`
}

// Behind is a metric on which countersign is not at least as good as a peer.
type Behind struct {
	Peer   string  `json:"peer"`
	Metric string  `json:"metric"`
	Ours   float64 `json:"countersign"`
	Theirs float64 `json:"theirs"`
}

// Figure is one measured value.
type Figure struct {
	Metric string `json:"metric"`
	// Value is null when it does not exist, such as a rate at a TPR that no threshold reaches.
	Value *float64 `json:"value"`
	Unit  string   `json:"unit"`
	// Low and High are a 95 % confidence interval by user bootstrap; N is how many users, incidents or logins it rests on.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
	N    int      `json:"n,omitempty"`
	// Target is what must be reached; Most tells that it is an upper limit. Met compares, absent without a target.
	Target *float64 `json:"target,omitempty"`
	Most   bool     `json:"at_most,omitempty"`
	Met    *bool    `json:"met,omitempty"`
}

// fewest is how many cases a figure should rest on. With fewer the 95 % interval of a share may span more than a third.
const fewest = 30

// Warnings are what keeps the figures from being results.
func (r *Report) Warnings() []string {
	var out []string
	if r.Tuning {
		out = append(out, fmt.Sprintf("seed %d is one of those for tuning (1 to 5): its figures are not results", r.Seed))
	}
	few := slices.DeleteFunc(slices.Clone(r.Figures), func(f Figure) bool { return f.N <= 0 || f.N >= fewest })
	if len(few) > 0 {
		least := slices.MinFunc(few, func(a, b Figure) int { return cmp.Compare(a.N, b.N) })
		out = append(out, fmt.Sprintf("%d of %d figures rest on fewer than %d cases, such as %s on %d: measure more users or days before you conclude from them",
			len(few), len(r.Figures), fewest, least.Metric, least.N))
	}
	return out
}

// NewFigure makes a figure; a value that is no number is left out.
func NewFigure(metric string, value float64, unit string, n int) Figure {
	f := Figure{Metric: metric, Unit: unit, N: n}
	if !math.IsNaN(value) && !math.IsInf(value, 0) {
		f.Value = &value
	}
	return f
}

// AtMostRounded is like [Figure.AtMost] for a target that was published with two digits: the value is rounded like it.
func (f Figure) AtMostRounded(target float64) Figure {
	g := f
	if f.Value != nil {
		rounded := math.Round(*f.Value*100) / 100
		g.Value = &rounded
	}
	g = g.AtMost(target)
	g.Value = f.Value
	return g
}

// AtMost sets the target of a figure that must not be higher, AtLeast of one that must not be lower.
func (f Figure) AtMost(target float64) Figure { return f.against(target, true) }

// AtLeast is the other direction of AtMost.
func (f Figure) AtLeast(target float64) Figure { return f.against(target, false) }

func (f Figure) against(target float64, most bool) Figure {
	met := f.Value != nil && (most && *f.Value <= target+1e-9 || !most && *f.Value >= target-1e-9)
	f.Target, f.Most, f.Met = &target, most, &met
	return f
}

// Within sets the interval.
func (f Figure) Within(i score.Interval) Figure {
	if i != (score.Interval{}) {
		f.Low, f.High = &i.Low, &i.High
	}
	return f
}

// JSONLines writes the figures, one object a line.
func (r *Report) JSONLines(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, f := range r.Figures {
		if err := enc.Encode(f); err != nil {
			return fmt.Errorf("writing figures: %w", err)
		}
	}
	return nil
}

// JSON writes all of the report.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
