package score

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Longest is the longest history that a [Curve] looks at, in logins.
const Longest = 39

// Histories are the history sizes at which a [Curve] takes attempts, in logins.
var Histories = []int{1, 2, 3, 5, 8, 12, 20, 30, Longest}

// Unscored stands for a login or an attempt that the score says nothing about: it is never caught and never asks for
// re-authentication.
var Unscored = math.Inf(-1)

// Curve measures a score of logins, higher meaning less familiar, the way Wiefling et al. did (doi 10.1145/3546069): one
// attempt per attacker and victim against the state after exactly h logins, and against it the victim's own logins
// 1 to h, each scored before it was learnt. One threshold holds for all users.
//
// A user's first login has no history and is therefore unscored; it counts as a login that asks for nothing.
type Curve struct {
	attackers []string
	users     []trial
}

// trial is one user: the scores of their own logins, and those of the attempts by attacker and history.
type trial struct {
	own      []float64
	attempts map[attempt]float64
	class    string
}

type attempt struct{ attacker, history int }

// NewCurve makes a curve for the attackers named.
func NewCurve(attackers []string) *Curve { return &Curve{attackers: slices.Clone(attackers)} }

// Attackers are the names given.
func (c *Curve) Attackers() []string { return slices.Clone(c.attackers) }

func (c *Curve) user(user int) *trial {
	for len(c.users) <= user {
		c.users = append(c.users, trial{})
	}
	return &c.users[user]
}

// Login takes the score of a user's next login. Logins beyond [Longest] are ignored.
func (c *Curve) Login(user int, score float64) {
	if u := c.user(user); len(u.own) < Longest {
		u.own = append(u.own, score)
	}
}

// Logins is how many logins of a user were taken.
func (c *Curve) Logins(user int) int {
	if user >= len(c.users) {
		return 0
	}
	return len(c.users[user].own)
}

// Attempt takes the score of an attacker's attempt on a user after as many logins as were taken.
func (c *Curve) Attempt(user, attacker int, score float64) {
	u := c.user(user)
	if u.attempts == nil {
		u.attempts = map[attempt]float64{}
	}
	u.attempts[attempt{attacker, len(u.own)}] = score
}

// Class puts a user into a login-frequency class, for [Sample.Class].
func (c *Curve) Class(user int, class string) { c.user(user).class = class }

// Sample is one attacker at one history size: the users who came so far.
type Sample struct {
	Attacker string
	History  int
	subjects []subject
}

type subject struct {
	attempt float64
	own     []float64 // highest first
	class   string
}

// Sample collects the users with a history of h logins who were attempted then.
func (c *Curve) Sample(attacker, h int) Sample {
	s := Sample{Attacker: c.attackers[attacker], History: h}
	for i := range c.users {
		u := &c.users[i]
		score, tried := u.attempts[attempt{attacker, h}]
		if !tried || len(u.own) < h {
			continue
		}
		own := slices.Clone(u.own[:h])
		slices.SortFunc(own, func(a, b float64) int { return cmp.Compare(b, a) })
		s.subjects = append(s.subjects, subject{attempt: score, own: own, class: u.class})
	}
	// By score, so that a threshold is a place in the list whatever the weights.
	slices.SortStableFunc(s.subjects, func(a, b subject) int { return cmp.Compare(b.attempt, a.attempt) })
	return s
}

// Users is the size of the sample.
func (s *Sample) Users() int { return len(s.subjects) }

// Class is the part of the sample in one login-frequency class.
func (s *Sample) Class(class string) Sample {
	part := Sample{Attacker: s.Attacker, History: s.History}
	for i := range s.subjects {
		if s.subjects[i].class == class {
			part.subjects = append(part.subjects, s.subjects[i])
		}
	}
	return part
}

// Rate is a point of the curve.
type Rate struct {
	// Threshold is the score from which on an attempt is caught and a login asks for re-authentication.
	Threshold float64 `json:"threshold"`
	// TPR is the share of attempts that it catches.
	TPR float64 `json:"tpr"`
	// Median is the median number of re-authentications over users, Rate the same as a share of their logins.
	Median float64 `json:"median_reauths"`
	Rate   float64 `json:"median_rate"`
	// Mean is the mean share over users.
	Mean float64 `json:"mean_rate"`
}

// AtTPR finds the highest threshold that catches a share of the attempts. It is false when no threshold does, because too
// many attempts were not scored, or there are none.
func (s *Sample) AtTPR(tpr float64) (Rate, bool) { return s.atTPR(tpr, nil) }

// weights are how often each subject counts; nil is once.
func (s *Sample) atTPR(tpr float64, weights []int) (Rate, bool) {
	wanted := int(math.Ceil(tpr*float64(len(s.subjects)) - 1e-9))
	caught := 0
	for i := range s.subjects {
		caught += weight(weights, i)
		if caught >= wanted && caught > 0 {
			if s.subjects[i].attempt == Unscored {
				return Rate{}, false
			}
			return s.at(s.subjects[i].attempt, weights), true
		}
	}
	return Rate{}, false
}

func weight(weights []int, i int) int {
	if weights == nil {
		return 1
	}
	return weights[i]
}

// At is what a threshold leads to in this sample.
func (s *Sample) At(threshold float64) Rate { return s.at(threshold, nil) }

func (s *Sample) at(threshold float64, weights []int) Rate {
	r := Rate{Threshold: threshold}
	users, caught, total := 0, 0, 0
	var counts [Longest + 1]int // users by number of re-authentications
	for i := range s.subjects {
		u, w := &s.subjects[i], weight(weights, i)
		users += w
		if u.attempt >= threshold {
			caught += w
		}
		asked := asked(u.own, threshold)
		counts[asked] += w
		total += w * asked
	}
	if users == 0 {
		return r
	}
	r.TPR = float64(caught) / float64(users)
	r.Median = medianOf(counts[:], users)
	r.Rate = r.Median / float64(s.History)
	r.Mean = float64(total) / float64(users*s.History)
	return r
}

// asked counts the scores from a threshold on, in a list with the highest first.
func asked(own []float64, threshold float64) int {
	n, _ := slices.BinarySearchFunc(own, threshold, func(score, threshold float64) int {
		if score >= threshold {
			return -1
		}
		return 1
	})
	return n
}

// medianOf is the median of n numbers given as how often each occurs.
func medianOf(counts []int, n int) float64 {
	nth := func(k int) float64 {
		for value, count := range counts {
			if k -= count; k < 0 {
				return float64(value)
			}
		}
		return math.NaN()
	}
	return (nth((n-1)/2) + nth(n/2)) / 2
}

// AtRate finds the threshold that catches most while the median re-authentication rate is no higher than limit. Only the
// scores of the sample's attempts are tried: nothing between two of them catches more.
func (s *Sample) AtRate(limit float64) (Rate, bool) { return s.atRate(limit, nil) }

func (s *Sample) atRate(limit float64, weights []int) (Rate, bool) {
	// The rate only falls as the threshold rises, that is, towards the front of the list.
	n, _ := slices.BinarySearchFunc(s.subjects, limit, func(u subject, limit float64) int {
		if u.attempt != Unscored && s.at(u.attempt, weights).Rate <= limit+1e-9 {
			return -1
		}
		return 1
	})
	if n == 0 {
		return Rate{}, false
	}
	return s.at(s.subjects[n-1].attempt, weights), true
}

// Interval is a 95 % confidence interval by bootstrap over users.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// RateInterval is the interval of the median re-authentication rate at a TPR.
func (s *Sample) RateInterval(tpr float64, rounds int) Interval {
	return s.bootstrap(rounds, func(weights []int) (float64, bool) {
		r, ok := s.atTPR(tpr, weights)
		return r.Rate, ok
	})
}

// TPRInterval is the interval of the TPR at a limit of the median re-authentication rate.
func (s *Sample) TPRInterval(limit float64, rounds int) Interval {
	return s.bootstrap(rounds, func(weights []int) (float64, bool) {
		r, ok := s.atRate(limit, weights)
		return r.TPR, ok
	})
}

// bootstrap draws users with replacement. Draws for which the figure does not exist are left out.
func (s *Sample) bootstrap(rounds int, figure func(weights []int) (float64, bool)) Interval {
	n := len(s.subjects)
	if n == 0 || rounds == 0 {
		return Interval{}
	}
	random := rand.New(rand.NewPCG(1, uint64(n))) // the same draws on every run
	weights := make([]int, n)
	var values []float64
	for range rounds {
		clear(weights)
		for range n {
			weights[random.IntN(n)]++
		}
		if v, ok := figure(weights); ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return Interval{}
	}
	slices.Sort(values)
	return Interval{Low: Quantile(values, 0.025), High: Quantile(values, 0.975)}
}

// Quantile is the q-quantile of sorted values: the smallest that at least the share q of them does not exceed. It is NaN
// of none.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	i := int(math.Ceil(q*float64(len(sorted))-1e-9)) - 1
	return sorted[max(0, min(i, len(sorted)-1))]
}

// Scored is the share of the users' own logins that have a score.
func (s *Sample) Scored() float64 {
	scored := 0
	for i := range s.subjects {
		n, _ := slices.BinarySearchFunc(s.subjects[i].own, Unscored, func(score, unscored float64) int {
			if score > unscored {
				return -1
			}
			return 1
		})
		scored += n
	}
	return ratio(scored, len(s.subjects)*s.History)
}
