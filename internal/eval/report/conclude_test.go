package report

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/eval/peers"
	"github.com/countersign-io/countersign/internal/eval/score"
)

func TestTargetsAreComparedInTheirDirection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		figure Figure
		met    bool
	}{
		"at most, below":        {NewFigure("f", 4.9, "x", 1).AtMost(5), true},
		"at most, above":        {NewFigure("f", 5.1, "x", 1).AtMost(5), false},
		"at least, below":       {NewFigure("f", 0.82, "x", 1).AtLeast(0.83), false},
		"at least, above":       {NewFigure("f", 0.84, "x", 1).AtLeast(0.83), true},
		"at most, no value":     {NewFigure("f", math.NaN(), "x", 1).AtMost(5), false},
		"at least, no value":    {NewFigure("f", math.Inf(1), "x", 1).AtLeast(5), false},
		"2 of 39, published as": {NewFigure("f", 2.0/39, "x", 1).AtMostRounded(0.05), true},
		"3 of 39":               {NewFigure("f", 3.0/39, "x", 1).AtMostRounded(0.05), false},
		"unreached, rounded":    {NewFigure("f", math.NaN(), "x", 1).AtMostRounded(0.05), false},
	} {
		if c.figure.Met == nil || *c.figure.Met != c.met {
			t.Errorf("%s: %+v", name, c.figure)
		}
	}
	if f := NewFigure("f", 2.0/39, "x", 1).AtMostRounded(0.05); *f.Value != 2.0/39 {
		t.Errorf("the value itself is rounded: %g", *f.Value)
	}
}

// TestBehindByHand: countersign beats the peer in one attack, not in the other, has more false alarms, and finds fewer of
// what a law is about.
func TestBehindByHand(t *testing.T) {
	t.Parallel()
	r := Report{
		Recalls: []score.Recall{
			{Attack: company.Spray, Incidents: 10, Caught: 9, CaughtAny: 10},
			{Attack: company.AiTM, Incidents: 10, Caught: 5, CaughtAny: 10},
		},
		Alarms: score.Alarms{Medium: 20, Lower: 900, Logins: 10_000},
		Laws:   []Law{{Name: "flip", Must: true, Cases: 4, Found: 3, Peers: map[string]int{"other": 4}}, {Name: "hub", Cases: 4, Found: 1, Peers: map[string]int{"other": 2}}},
		Area:   0.5,
		All:    score.Recall{Incidents: 20, Caught: 14},
		Peers: []Peer{{
			Info: peers.Info{Name: "other"},
			Recalls: []score.Recall{
				{Attack: company.Spray, Incidents: 10, CaughtAny: 8}, {Attack: company.AiTM, Incidents: 10, Caught: 1, CaughtAny: 6},
			},
			All: score.Recall{Incidents: 20, CaughtAny: 14}, Alarms: score.Alarms{Medium: 5, Lower: 10, Logins: 10_000}, Area: 0.4,
		}},
	}
	r.Conclude()
	want := []Behind{
		{Peer: "other", Metric: "recall_aitm", Ours: 0.5, Theirs: 0.6},
		{Peer: "other", Metric: "fp_per_1000", Ours: 2, Theirs: 1.5},
		{Peer: "other", Metric: "travel.flip", Ours: 3, Theirs: 4},
	}
	if diff := cmp.Diff(want, r.Behind); diff != "" {
		t.Error(diff)
	}
}

func TestScoresAreComparedAtTheTargets(t *testing.T) {
	t.Parallel()
	point := func(scorer string, ok bool, rate float64) Curve {
		return Curve{Scorer: scorer, Attacker: "naive", Points: []Point{{History: 12, Wanted: PublishedTPR, OK: ok, Rate: score.Rate{Rate: rate}}}}
	}
	for name, c := range map[string]struct {
		ours, theirs Curve
		behind       bool
	}{
		"better":             {point(Countersign, true, 0.08), point(Freeman, true, 0.17), false},
		"the same":           {point(Countersign, true, 0.17), point(Freeman, true, 0.17), false},
		"worse":              {point(Countersign, true, 0.25), point(Freeman, true, 0.17), true},
		"ours does not come": {point(Countersign, false, 0), point(Freeman, true, 0.17), true},
		"neither comes":      {point(Countersign, false, 0), point(Freeman, false, 0), false},
	} {
		r := Report{Curves: []Curve{c.ours, c.theirs}}
		r.Conclude()
		if (len(r.Behind) == 1) != c.behind {
			t.Errorf("%s: %+v", name, r.Behind)
		}
	}
}

func TestFewCasesAreWarnedOf(t *testing.T) {
	t.Parallel()
	figure := func(metric string, n int) Figure { return NewFigure(metric, 0.5, "share", n).AtLeast(0.4) }
	r := &Report{Figures: []Figure{figure("many", 30), figure("uncounted", 0), figure("two", 2), figure("some", 29)}}
	got := r.Warnings()
	if len(got) != 1 || !strings.HasPrefix(got[0], "2 of 4 figures rest on fewer than 30 cases, such as two on 2: ") {
		t.Errorf("%q", got)
	}
	var b strings.Builder
	if err := r.Text(&b); err != nil || !strings.Contains(b.String(), "NOTE: 2 of 4") {
		t.Errorf("%v\n%s", err, b.String())
	}
	if got := (&Report{Figures: r.Figures[:2]}).Warnings(); got != nil {
		t.Errorf("%q", got)
	}
	if got := (&Report{Seed: 3, Tuning: true}).Warnings(); len(got) != 1 || !strings.Contains(got[0], "seed 3") {
		t.Errorf("%q", got)
	}
}
