package score

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// four users with two logins each, of which the first is unscored, and an attempt on each after the second.
func four(attempts ...float64) *Curve {
	c := NewCurve([]string{"naive"})
	for user, own := range []float64{1, 6, 3, 2} {
		c.Login(user, Unscored)
		c.Attempt(user, 0, 100) // after one login: another history size, which must not be mixed up
		c.Login(user, own)
		c.Attempt(user, 0, attempts[user])
	}
	return c
}

func TestCurveByHand(t *testing.T) {
	t.Parallel()
	s := four(5, 4, 10, 1).Sample(0, 2)
	if s.Users() != 4 || s.Scored() != 0.5 {
		t.Fatalf("%d users, %g scored", s.Users(), s.Scored())
	}
	for _, c := range []struct {
		tpr  float64
		want Rate
	}{
		// Two of four attempts are 10 and 5; from 5 on lies the 6 of one user's two logins.
		{0.5, Rate{Threshold: 5, TPR: 0.5, Median: 0, Rate: 0, Mean: 1.0 / 8}},
		{0.51, Rate{Threshold: 4, TPR: 0.75, Median: 0, Rate: 0, Mean: 1.0 / 8}},
		// All: from 1 on lies every second login.
		{1, Rate{Threshold: 1, TPR: 1, Median: 1, Rate: 0.5, Mean: 0.5}},
	} {
		got, ok := s.AtTPR(c.tpr)
		if diff := cmp.Diff(c.want, got); diff != "" || !ok {
			t.Errorf("TPR %g: %v\n%s", c.tpr, ok, diff)
		}
	}
	if got, ok := s.AtRate(0.49); !ok || got.TPR != 0.75 {
		t.Errorf("within a rate of 0.49: %+v, %v", got, ok)
	}
	if got, ok := s.AtRate(0.5); !ok || got.TPR != 1 {
		t.Errorf("within a rate of 0.5: %+v, %v", got, ok)
	}
}

func TestMedianOfAnEvenNumber(t *testing.T) {
	t.Parallel()
	// From 3 on: 6 and 3 of two users, nothing of two: the median of 0, 0, 1, 1.
	s := four(5, 4, 10, 1).Sample(0, 2)
	if got := s.At(3); got.Median != 0.5 || got.Rate != 0.25 || got.TPR != 0.75 {
		t.Errorf("%+v", got)
	}
}

func TestUnscoredAttemptsAreNeverCaught(t *testing.T) {
	t.Parallel()
	s := four(5, 4, 10, Unscored).Sample(0, 2)
	if got, ok := s.AtTPR(0.75); !ok || got.TPR != 0.75 {
		t.Errorf("%+v, %v", got, ok)
	}
	if got, ok := s.AtTPR(0.76); ok {
		t.Errorf("three of four were scored, yet: %+v", got)
	}
	if got, ok := s.AtRate(1); !ok || got.TPR != 0.75 {
		t.Errorf("%+v, %v", got, ok)
	}
}

func TestSampleLeavesOutShortHistories(t *testing.T) {
	t.Parallel()
	c := four(5, 4, 10, 1)
	c.Login(0, 9)
	c.Attempt(0, 0, 50)
	c.Class(0, "daily")
	s := c.Sample(0, 3)
	if s.Users() != 1 {
		t.Fatalf("%d users", s.Users())
	}
	if got, _ := s.AtTPR(1); got.Threshold != 50 {
		t.Errorf("%+v", got)
	}
	two := c.Sample(0, 2)
	daily, rest := two.Class("daily"), two.Class("")
	if daily.Users() != 1 || rest.Users() != 3 {
		t.Errorf("%d daily, %d others", daily.Users(), rest.Users())
	}
	if empty := c.Sample(0, 12); empty.Users() != 0 {
		t.Error("a history of twelve out of nothing")
	}
}

func TestCurveIgnoresWhatIsBeyondTheLongest(t *testing.T) {
	t.Parallel()
	c := NewCurve([]string{"naive"})
	for range Longest + 5 {
		c.Login(0, 1)
	}
	if c.Logins(0) != Longest {
		t.Errorf("%d logins", c.Logins(0))
	}
}

// TestWeightsAreCopies checks the bootstrap's short cut: a weight of k is k users.
func TestWeightsAreCopies(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		one, many := NewCurve([]string{"x"}), NewCurve([]string{"x"})
		n := 1 + random.IntN(7)
		weights := make([]int, n)
		copies, total := 0, 0
		type user struct{ own, attempt float64 }
		users := make([]user, n)
		for i := range users {
			users[i] = user{float64(random.IntN(5)), float64(random.IntN(5))}
		}
		// The sample sorts by attempt, highest first and stable: give the users in that order, so that weights match.
		for score := 4.0; score >= 0; score-- {
			for i := range users {
				if users[i].attempt != score {
					continue
				}
				one.Login(total, users[i].own)
				one.Attempt(total, 0, score)
				weights[total] = random.IntN(3)
				for range weights[total] {
					many.Login(copies, users[i].own)
					many.Attempt(copies, 0, score)
					copies++
				}
				total++
			}
		}
		if copies == 0 {
			continue
		}
		a, b := one.Sample(0, 1), many.Sample(0, 1)
		for threshold := 0.0; threshold < 6; threshold++ {
			if diff := cmp.Diff(b.at(threshold, nil), a.at(threshold, weights), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
				t.Fatalf("users %v, weights %v, threshold %g:\n%s", users, weights, threshold, diff)
			}
		}
	}
}

func TestIntervalHoldsTheValue(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	c := NewCurve([]string{"x"})
	for user := range 500 {
		for range 12 {
			c.Login(user, random.NormFloat64())
		}
		c.Attempt(user, 0, random.NormFloat64()+3)
	}
	s := c.Sample(0, 12)
	value, ok := s.AtTPR(0.99)
	if !ok {
		t.Fatal("not reached")
	}
	i := s.RateInterval(0.99, 200)
	if i.Low > value.Rate || i.High < value.Rate || i.High-i.Low > 0.5 || i != s.RateInterval(0.99, 200) {
		t.Errorf("rate %g in %+v", value.Rate, i)
	}
	tpr, _ := s.AtRate(0.15)
	if i := s.TPRInterval(0.15, 200); i.Low > tpr.TPR || i.High < tpr.TPR {
		t.Errorf("TPR %g in %+v", tpr.TPR, i)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	list := []float64{1, 2, 3, 4}
	for q, want := range map[float64]float64{0: 1, 0.25: 1, 0.26: 2, 0.5: 2, 0.99: 4, 1: 4} {
		if got := Quantile(list, q); got != want {
			t.Errorf("%g-quantile is %g, want %g", q, got, want)
		}
	}
	if !math.IsNaN(Quantile(nil, 0.5)) {
		t.Error("a quantile of nothing")
	}
}
