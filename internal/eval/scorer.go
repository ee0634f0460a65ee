package eval

import (
	"github.com/countersign-io/countersign/internal/eval/report"
	"github.com/countersign-io/countersign/internal/eval/score"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

// scorer is a score that is compared with countersign's on the same logins, with its curve.
type scorer struct {
	name  string
	curve *score.Curve
	model model
}

// model scores logins of users and learns them.
type model interface {
	score(user string, l familiarity.Login, at events.Millis) (float64, bool)
	learn(user string, l familiarity.Login, at events.Millis)
}

func newScorers(attackers []string) []scorer {
	return []scorer{
		{report.Networks, score.NewCurve(attackers), newOwn()},
		{report.Freeman, score.NewCurve(attackers), freeman{familiarity.NewPublished()}},
	}
}

// see scores a login before it is learnt, and the attempts that follow it, which are not.
func (s *scorer) see(it *item) {
	if !score.Login(&it.event) {
		return
	}
	key, login := it.event.Key(), familiarity.LoginOf(&it.event)
	if it.login {
		s.curve.Login(it.user, orUnscored(s.model.score(key, login, it.event.Time)))
	}
	s.model.learn(key, login, it.event.Time)
	for i := range it.attempts {
		a := &it.attempts[i]
		s.curve.Attempt(it.user, i, orUnscored(s.model.score(key, familiarity.LoginOf(a), a.Time)))
	}
}

func orUnscored(value float64, ok bool) float64 {
	if !ok {
		return score.Unscored
	}
	return value
}

// freeman is the score as published.
type freeman struct{ *familiarity.Published }

func (f freeman) score(user string, l familiarity.Login, _ events.Millis) (float64, bool) {
	return f.Published.Score(user, l)
}

func (f freeman) learn(user string, l familiarity.Login, _ events.Millis) { f.Add(user, l) }

// own is countersign's own score on what the published one looks at: without device ids, which in the simulated company
// every genuine login has and no attacker.
type own struct {
	model  familiarity.Model
	users  map[string]*familiarity.Counts
	totals familiarity.Totals
	prior  *familiarity.Prior
	day    int64
}

func newOwn() *own {
	return &own{model: familiarity.DefaultModel(), users: map[string]*familiarity.Counts{}}
}

func (o *own) score(user string, l familiarity.Login, at events.Millis) (float64, bool) {
	c := o.users[user]
	if c == nil {
		return 0, false
	}
	l.Values[familiarity.DeviceID] = 0
	s, ok := o.model.Score(c, o.prior, l, at)
	return s.Value, ok
}

func (o *own) learn(user string, l familiarity.Login, at events.Millis) {
	l.Values[familiarity.DeviceID] = 0
	c := o.users[user]
	if c == nil {
		c = &familiarity.Counts{}
		o.users[user] = c
	}
	c.Learn(l, at)
	o.totals.Learn(l, at)
	// As in the product, what is known of all users is told once a day.
	if day := int64(at) / events.Day; day > o.day {
		o.day = day
		o.prior = familiarity.PriorOf(o.totals.Levels(), len(o.users), o.totals.Total(at))
	}
}
