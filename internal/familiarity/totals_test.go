package familiarity

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
)

func TestTotalsEncodeLosslessly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var a Totals
		for range rapid.IntRange(0, 200).Draw(t, "logins") {
			a.Learn(logins.Draw(t, "login"), times.Draw(t, "at"))
		}
		text := a.AppendBinary(nil)
		var b Totals
		if err := b.Decode(text); err != nil {
			t.Fatal(err)
		}
		l, at := logins.Draw(t, "login"), times.Draw(t, "at")
		a.Learn(l, at)
		b.Learn(l, at)
		if !bytes.Equal(a.AppendBinary(nil), b.AppendBinary(nil)) {
			t.Fatal("decoded counters learn otherwise")
		}
		if diff := cmp.Diff(a.Levels(), b.Levels()); diff != "" {
			t.Fatal(diff)
		}
		for _, level := range a.Levels() {
			if !(level.Total >= 0 && level.Distinct >= 0) {
				t.Fatalf("%+v", level)
			}
		}
	})
}

// TestTotalsKnowTheFrequentValues: of 100,000 logins from 30,000 addresses the tenant's two offices stand out, and the
// rest is told as what it is.
func TestTotalsKnowTheFrequentValues(t *testing.T) {
	t.Parallel()
	var totals Totals
	want := map[string]float64{}
	for i := range uint64(100_000) {
		ip := hashNumber(i % 30_000)
		switch {
		case i%10 < 2:
			ip = 1 << 60
		case i%10 == 2:
			ip = 2 << 60
		}
		totals.Learn(Login{Values: [Levels]uint64{IP: ip}}, start)
	}
	want[hashName(1<<60)], want[hashName(2<<60)] = 20_000, 10_000
	level := totals.Levels()[IP]
	if len(level.Top) < 2 || len(level.Top) > told[IP] || level.Total != 100_000 {
		t.Fatalf("%d values of %g logins", len(level.Top), level.Total)
	}
	for i, top := range level.Top {
		if n := want[top.Hash]; i < 2 && math.Abs(top.Count-n) > n/50 {
			t.Errorf("%s: %g, want %g", top.Hash, top.Count, n)
		}
	}
	if got := level.Distinct; math.Abs(got-21_002) > 0.2*21_002 {
		t.Errorf("%g distinct addresses, want about 21,002", got)
	}
	p := PriorOf(totals.Levels(), 100, 100_000)
	office, home := p.share(IP, 1<<60, 1), p.share(IP, hashNumber(7), 1)
	if math.Abs(office-0.2) > 0.01 || home < 1e-5 || home > 1e-4 {
		t.Errorf("an office has a share of %g, a home of %g", office, home)
	}
	if n := len(totals.AppendBinary(nil)); n > 20_000 {
		t.Errorf("%d bytes", n)
	}
}

func TestTotalsForget(t *testing.T) {
	t.Parallel()
	var totals Totals
	for i := range uint64(1000) {
		totals.Learn(Login{Values: [Levels]uint64{IP: hashNumber(i)}}, start)
	}
	if got := totals.Levels()[IP].Distinct; math.Abs(got-1000) > 200 {
		t.Errorf("%g distinct, want about 1000", got)
	}
	at := start + 2*generationDays*events.Day
	totals.Learn(Login{Values: [Levels]uint64{IP: 1 << 60}}, at)
	if got := totals.Levels()[IP].Distinct; got != 1 {
		t.Errorf("after two generations %g distinct, want 1", got)
	}
	if got := totals.Total(at); math.Abs(got-501) > 0.01 {
		t.Errorf("total %g, want half of 1000, and 1", got)
	}
}

func TestDecodeRefusesWhatIsNoTotals(t *testing.T) {
	t.Parallel()
	var totals Totals
	for i := range uint64(300) {
		totals.Learn(Login{Values: [Levels]uint64{IP: hashNumber(i), ASN: 5}}, start)
	}
	good := totals.AppendBinary(nil)
	for n := range good {
		if err := new(Totals).Decode(good[:n]); !errors.Is(err, errCorrupt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func FuzzDecodeTotals(f *testing.F) {
	var totals Totals
	f.Add(totals.AppendBinary(nil))
	totals.Learn(LoginOf(&events.Event{IP: "192.0.2.1"}), start)
	f.Add(totals.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Totals
		if err := d.Decode(b); err != nil {
			return
		}
		d.Learn(LoginOf(&events.Event{IP: "192.0.2.1"}), start)
		text := d.AppendBinary(nil)
		var e Totals
		if err := e.Decode(text); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.AppendBinary(nil), text) {
			t.Fatal("encoding changes")
		}
		p := PriorOf(d.Levels(), 1, d.Total(start))
		if share := p.share(IP, 1, 1); !(share > 0 && share <= 1) {
			t.Fatalf("share %g", share)
		}
	})
}

func TestThresholds(t *testing.T) {
	t.Parallel()
	var th Thresholds
	for i := range 10_000 { // scores 0 to 9.999, evenly
		th.Add(Daily, float64(i)/1000, start)
	}
	for range 100 {
		th.Add(Weekly, 20, start)
		th.Add("moonly", 30, start)
		th.Add(Daily, math.NaN(), start)
	}
	want := []events.OrgThreshold{
		{Class: Daily, Score: 9.9, Scores: 10_000},
		{Class: SeveralAWeek, Score: 9.9, Scores: 10_000},
		{Class: Weekly, Score: 9.99, Scores: 10_100}, // 1 % of 10,100 are the 100 and one more
		{Class: Monthly, Score: 9.99, Scores: 10_100},
		{Class: Rarer, Score: 9.99, Scores: 10_100},
	}
	got := th.Table(0.01)
	for i := range got {
		if i >= len(want) || got[i].Class != want[i].Class || got[i].Scores != want[i].Scores || math.Abs(got[i].Score-want[i].Score) > 0.015 {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
	// Half of them count after 60 days.
	th.Add(Daily, 0, start+60*events.Day)
	if got := th.Table(0.01)[0].Scores; got != 5001 {
		t.Errorf("%g scores", got)
	}
	var few Thresholds
	for range MinScores - 1 {
		few.Add(Rarer, 1, start)
	}
	if got := few.Table(0.01); len(got) != 0 {
		t.Errorf("%+v of too few scores", got)
	}
}

// TestThresholdsAskAsOftenAsWanted: whatever the scores, about the target's share of them lies above the threshold.
func TestThresholdsAskAsOftenAsWanted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var th Thresholds
		scores := rapid.SliceOfN(rapid.Float64Range(-31, 31), MinScores, 2000).Draw(t, "scores")
		for _, s := range scores {
			th.Add(Daily, s, start)
		}
		target := rapid.Float64Range(0.001, 0.2).Draw(t, "target")
		limit := th.Table(target)[0].Score
		sure, possible := 0, 0
		for _, s := range scores {
			if s > limit+binWidth {
				sure++
			}
			if s > limit-binWidth {
				possible++
			}
		}
		if wanted := target * float64(len(scores)); float64(sure) > wanted+1e-6 || float64(possible) < wanted-1 {
			t.Fatalf("%d to %d of %d scores above %g, want %g", sure, possible, len(scores), limit, wanted)
		}
	})
}

func TestThresholdsEncodeLosslessly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var a Thresholds
		for range rapid.IntRange(0, 400).Draw(t, "scores") {
			a.Add(rapid.SampledFrom(Classes[:]).Draw(t, "class"), hostile.Draw(t, "score"), times.Draw(t, "at"))
		}
		var b Thresholds
		if err := b.Decode(a.AppendBinary(nil)); err != nil {
			t.Fatal(err)
		}
		if b != a {
			t.Fatal("decoded thresholds differ")
		}
		for _, row := range b.Table(0.01) {
			if math.IsNaN(row.Score) || row.Score < lowest || row.Score > -lowest {
				t.Fatalf("%+v", row)
			}
		}
	})
}

func FuzzDecodeThresholds(f *testing.F) {
	var th Thresholds
	f.Add(th.AppendBinary(nil))
	th.Add(Daily, 1, start)
	f.Add(th.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d, e Thresholds
		if err := d.Decode(b); err != nil {
			return
		}
		text := d.AppendBinary(nil)
		if err := e.Decode(text); err != nil || e != d {
			t.Fatal("encoding changes", err)
		}
	})
}
