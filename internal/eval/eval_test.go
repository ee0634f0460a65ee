package eval

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/countersign-io/countersign/internal/eval/report"
	"github.com/countersign-io/countersign/internal/eval/score"
	"github.com/countersign-io/countersign/internal/events"
)

// small is one run that several tests look at.
var small = sync.OnceValues(run200)

func run200() (*report.Report, error) {
	return Run(context.Background(), Options{Seed: 9, Users: 200, Days: 20, AttacksPerDay: 12, Rounds: 20})
}

func smallReport(t *testing.T) *report.Report {
	t.Helper()
	r, err := small()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRun checks what must hold of any report, whatever the detector is worth.
func TestRun(t *testing.T) {
	t.Parallel()
	r := smallReport(t)
	c := &r.Counts
	if r.Tuning || c.Logins == 0 || c.Logins > c.Successes || c.Successes > c.Events || c.Incidents == 0 || c.AttackEvents < c.Incidents {
		t.Errorf("%+v", c)
	}
	incidents := 0
	for i := range r.Recalls {
		row := &r.Recalls[i]
		incidents += row.Incidents
		if row.CaughtHigh > row.Caught || row.Caught > row.CaughtAny || row.CaughtAny > row.Incidents || row.Caught+row.Quiet > row.Incidents || row.Compromises > row.Incidents {
			t.Errorf("%+v", row)
		}
		for rule, n := range row.Rules {
			if n < 1 || n > row.Caught {
				t.Errorf("%s caught %d of %d %s", rule, n, row.Caught, row.Attack)
			}
		}
	}
	if incidents != c.Incidents {
		t.Errorf("%d incidents in the rows, %d in all", incidents, c.Incidents)
	}
	if s := &r.Session; s.ByRules > s.Passed.Caught || s.Passed.Incidents > s.All.Incidents {
		t.Errorf("%+v", s)
	}
	for name, rows := range map[string][]score.Alarms{"confounder": r.Confounded, "rule": r.ByRule} {
		var sum score.Alarms
		for _, a := range rows {
			sum.Medium, sum.High, sum.Lower = sum.Medium+a.Medium, sum.High+a.High, sum.Lower+a.Lower
			sum.Learning, sum.Suppressed, sum.Observed = sum.Learning+a.Learning, sum.Suppressed+a.Suppressed, sum.Observed+a.Observed
		}
		sum.Name, sum.Logins = r.Alarms.Name, r.Alarms.Logins
		if diff := cmp.Diff(r.Alarms, sum); diff != "" {
			t.Errorf("by %s:\n%s", name, diff)
		}
	}
	if r.Alarms.Logins != c.Logins {
		t.Errorf("%d logins to be wrong about, %d in all", r.Alarms.Logins, c.Logins)
	}
	for _, p := range r.Peers {
		if p.All.Incidents != c.Incidents || p.Alarms.Logins != c.Logins {
			t.Errorf("%s saw %d incidents and %d logins", p.Name, p.All.Incidents, p.Alarms.Logins)
		}
	}
	if len(r.Robustness) != 4 || r.Robustness[0].Recall == 0 {
		t.Errorf("%+v", r.Robustness)
	}
	if r.Timing.Findings == 0 || r.Timing.P50 <= 0 || r.Timing.P50 > r.Timing.P99 {
		t.Errorf("%+v", r.Timing)
	}
}

// TestCurves checks the laws of the curves of a run.
func TestCurves(t *testing.T) {
	t.Parallel()
	r := smallReport(t)
	measured := 0
	for i := range r.Curves {
		c := &r.Curves[i]
		for k, p := range c.Points {
			if !p.OK {
				continue
			}
			measured++
			if p.TPR < p.Wanted || p.Rate.Rate < 0 || p.Rate.Rate > 1 || math.Abs(p.Median-p.Rate.Rate*float64(p.History)) > 1e-9 {
				t.Errorf("%s, %s: %+v", c.Scorer, c.Attacker, p)
			}
			// Catching less never costs more.
			if k > 0 && c.Points[k-1].OK && c.Points[k-1].History == p.History && c.Points[k-1].Rate.Rate < p.Rate.Rate {
				t.Errorf("%s, %s after %d: TPR %g costs more than %g", c.Scorer, c.Attacker, p.History, p.Wanted, c.Points[k-1].Wanted)
			}
			if k > 0 && c.Points[k-1].Users < p.Users {
				t.Errorf("%s, %s: more users after %d logins", c.Scorer, c.Attacker, p.History)
			}
		}
	}
	if measured == 0 {
		t.Error("no point of any curve was measured")
	}
	for _, p := range r.Curves[0].Points {
		if r.Curves[0].Scorer != report.Countersign || p.History == 12 && (p.Users < 20 || p.Scored < 0.5) {
			t.Errorf("countersign's own score: %+v", p)
		}
	}
}

// TestRunIsDeterministic leaves out what the clock measures.
func TestRunIsDeterministic(t *testing.T) {
	t.Parallel()
	a := smallReport(t)
	b, err := run200()
	if err != nil {
		t.Fatal(err)
	}
	clock := cmp.Options{
		cmpopts.IgnoreFields(report.Report{}, "Seconds", "Timing", "Figures"), cmpopts.IgnoreFields(report.Counts{}, "EventsPerSecond"),
		cmpopts.IgnoreUnexported(score.Recall{}),
	}
	if diff := cmp.Diff(a, b, clock); diff != "" {
		t.Error(diff)
	}
}

func TestReportIsReadable(t *testing.T) {
	t.Parallel()
	r := smallReport(t)
	var lines, text, all, svg bytes.Buffer
	if err := errors.Join(r.JSONLines(&lines), r.Text(&text), r.JSON(&all), r.SVG(&svg)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	dec := json.NewDecoder(&lines)
	for {
		var f report.Figure
		if err := dec.Decode(&f); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if f.Metric == "" || f.Unit == "" || seen[f.Metric] {
			t.Errorf("figure %+v, or twice", f)
		}
		seen[f.Metric] = true
	}
	for _, metric := range []string{
		"eval.naive.reauth_h12", "eval.vpn.reauth_h12", "eval.targeted.reauth_h12", "eval.naive.reauth_h39", "eval.vpn.reauth_h39",
		"eval.targeted.reauth_h39", "eval.very_targeted.tpr_h39", "eval.session.recall", "eval.fp_medium_per_1000",
		"eval.fp_high_per_1000", "eval.time_to_detect_p99_ms", "eval.peer.buffalogs_defaults.recall", "eval.peer.freeman.naive.reauth_h12",
	} {
		if !seen[metric] {
			t.Errorf("no figure %s", metric)
		}
	}
	if !strings.Contains(text.String(), "same authors") || !strings.Contains(text.String(), "seed 9") {
		t.Error("the text does not say what its figures are worth")
	}
	if err := json.Unmarshal(all.Bytes(), &report.Report{}); err != nil {
		t.Error(err)
	}
	drawing := xml.NewDecoder(&svg)
	lineCount := 0
	for {
		token, err := drawing.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			lineCount++
		}
	}
	if lineCount == 0 && len(r.Curves[len(r.Curves)-1].Trace) > 0 {
		t.Error("no curve is drawn")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	if o := DefaultOptions(); o.Validate() != nil {
		t.Error(o.Validate())
	}
	o := Options{Days: 3, AttacksPerDay: -1, Rounds: -1}
	err := o.Validate()
	for _, path := range []string{"users", "days", "attacks_per_day", "rounds"} {
		if err == nil || !strings.Contains(err.Error(), path+": is ") {
			t.Errorf("%s is not reported: %v", path, err)
		}
	}
	if _, err := Run(t.Context(), o); err == nil {
		t.Error("ran nevertheless")
	}
}

// TestLawStreams checks that the streams of the laws say what the laws mean.
func TestLawStreams(t *testing.T) {
	t.Parallel()
	transitions := map[string]int{}
	for _, l := range travelLaws() {
		for i := range l.cases {
			stream, wanted := l.events(i)
			transitions[l.name] += len(wanted)
			if l.must != (len(wanted) > 0) {
				t.Errorf("%s: %d to be found", l.name, len(wanted))
			}
			ids, last := map[string]bool{}, events.Millis(0)
			for k := range stream {
				e := &stream[k]
				if ids[e.ID] || e.Ingested < last {
					t.Errorf("%s: %s comes twice, or out of order", l.name, e.ID)
				}
				ids[e.ID], last = true, e.Ingested
			}
		}
	}
	want := map[string]int{
		"there_and_back": 15, "inside_one_country": 4, "phone_user_agent": 5, "ten_minutes_late": 5, "relay": 0, "vpn_toggle": 0,
		"office_egress": 0, "carrier_hubs": 0,
	}
	if diff := cmp.Diff(want, transitions); diff != "" {
		t.Error(diff)
	}
}

func TestJourneysThatMustBeFoundAre(t *testing.T) {
	t.Parallel()
	rules, err := rules()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := laws(rules)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		if rows[i].Must && !rows[i].Holds() {
			t.Errorf("%s: %d of %d", rows[i].Name, rows[i].Found, rows[i].Cases)
		}
	}
}
