package familiarity

import (
	"math"
	"math/big"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// row is a login of a user in a loaded file.
type row struct {
	user string
	l    Login
}

// transcribed is the closed form of the published score, word for word over all rows, in exact fractions but for the
// weights' own digits: past are the rows before the scored one.
func transcribed(past []row, user string, l Login) *big.Rat {
	weights := [][]string{
		{"0.6", "0.3", "0.1"},
		{"0.5386653840551359", "0.2680451498625666", "0.18818295100109536", "0.0051065150812021525"},
	}
	rat := func(n int) *big.Rat { return big.NewRat(int64(n), 1) }
	count := func(rows []row, level int, of string) (n int) {
		for _, r := range rows {
			if r.l.Values[level] == l.Values[level] && (of == "" || r.user == of) {
				n++
			}
		}
		return n
	}
	users, own := map[string]bool{}, 0
	for _, r := range past {
		users[r.user] = true
		if r.user == user {
			own++
		}
	}
	n := len(past)
	s := new(big.Rat).Quo(big.NewRat(1, int64(len(users))), big.NewRat(int64(own), int64(n)))
	first := 0
	for _, w := range weights {
		q, g := new(big.Rat), new(big.Rat)
		distinct := func(sharing bool) int {
			seen := map[string]bool{}
			for _, r := range past {
				if sharing && r.l.Values[first] != l.Values[first] {
					continue
				}
				for k := first + 1; k < first+len(w); k++ {
					seen[strconv.Itoa(k)+" "+strconv.FormatUint(r.l.Values[k], 10)] = true
				}
			}
			return 1 + len(seen)
		}
		for k, text := range w {
			weight, _ := new(big.Rat).SetString(text)
			q.Add(q, new(big.Rat).Mul(weight, new(big.Rat).Quo(rat(count(past, first+k, user)), rat(own))))
			if k > 0 {
				g.Add(g, new(big.Rat).Mul(weight, new(big.Rat).Quo(rat(count(past, first+k, "")), rat(n))))
				continue
			}
			outer := new(big.Rat).Quo(rat(max(count(past, first, ""), 1)), rat(n+distinct(false)))
			inner := rat(1)
			if a := count(past, first, ""); a > 0 {
				inner = new(big.Rat).Quo(rat(a), rat(a+distinct(true)))
			}
			g.Add(g, new(big.Rat).Mul(weight, new(big.Rat).Mul(outer, inner)))
		}
		if q.Sign() == 0 {
			q.Quo(g, rat(4))
		}
		s.Mul(s, new(big.Rat).Quo(g, q))
		first += len(w)
	}
	return s
}

func drawRows(t *rapid.T) []row {
	rows := make([]row, rapid.IntRange(1, 40).Draw(t, "rows"))
	for i := range rows {
		rows[i].user = rapid.SampledFrom([]string{"ada", "bo", "cy"}).Draw(t, "user")
		for k := range rows[i].l.Values {
			rows[i].l.Values[k] = rapid.Uint64Range(0, 4).Draw(t, "value")
		}
	}
	return rows
}

// TestPublishedIsTheClosedForm compares every row of random files.
func TestPublishedIsTheClosedForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, firsts := NewPublished(), map[string]bool{}
		rows := drawRows(t)
		for i, r := range rows {
			got, ok := p.Score(r.user, r.l)
			if ok != firsts[r.user] {
				t.Fatalf("row %d scored: %v", i, ok)
			}
			if ok {
				if want, _ := transcribed(rows[:i], r.user, r.l).Float64(); math.Abs(got-want) > 1e-13*want {
					t.Fatalf("row %d: %.17g, want %.17g", i, got, want)
				}
			}
			firsts[r.user] = true
			p.Add(r.user, r.l)
		}
	})
}

// TestPublishedByHand is small enough to be computed on paper. Two users, four logins: Ada's three from address 1, Bo's one
// from address 2, all in one network and country, with one user agent. Ada's fourth comes from address 2.
//
//	network: M = 1 + 1 + 1 = 3, m = 1 + 1 + 1 = 3, a = (1, 4, 4), b = (0, 3, 3), N = 4, N_u = 3
//	g = 0.6·1/(4+3)·1/(1+3) + 0.3 + 0.1 = 0.6/28 + 0.4, q = 0.4
//	agent: M = m = 4, g = w1·4/(4+4)·4/(4+4) + (w2+w3+w4) = 1 − 0.75·w1, q = 1 (the weights sum to 1)
//	S = (0.6/28 + 0.4)/0.4 · (1 − 0.75·w1) · (1/2)/(3/4)
func TestPublishedByHand(t *testing.T) {
	t.Parallel()
	from := func(ip uint64) Login { return Login{Values: [Levels]uint64{ip, 5, 6, 7, 8, 9, 10}} }
	p := NewPublished()
	for range 3 {
		p.Add("ada", from(1))
	}
	p.Add("bo", from(2))
	got, ok := p.Score("ada", from(2))
	want := (0.6/28 + 0.4) / 0.4 * (1 - 0.75*0.5386653840551359) * (1. / 2) / (3. / 4)
	if !ok || math.Abs(got-want) > 1e-15 {
		t.Errorf("%.17g, want %.17g", got, want)
	}
}

// TestPublishedUnseenFeatureIsFour: whatever the history, what is entirely new to a user contributes exactly 4.
func TestPublishedUnseenFeatureIsFour(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		p := NewPublished()
		users := map[string]int{}
		for _, r := range rows {
			p.Add(r.user, r.l)
			users[r.user]++
		}
		user := rows[0].user
		strange := Login{Values: [Levels]uint64{11, 12, 13, 14, 15, 16, 17}}
		if rapid.Bool().Draw(t, "others have it") {
			p.Add("dee", strange)
			users["dee"]++
			rows = append(rows, row{})
		}
		got, ok := p.Score(user, strange)
		prior := float64(len(rows)) / (float64(len(users)) * float64(users[user]))
		if !ok || math.Abs(got/prior-16) > 1e-12 {
			t.Fatalf("both features together %.17g, want 4 times 4", got/prior)
		}
	})
}
