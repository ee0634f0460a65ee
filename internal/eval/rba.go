package eval

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/eval/rba"
	"github.com/countersign-io/countersign/internal/eval/report"
	"github.com/countersign-io/countersign/internal/eval/score"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

// RBAOptions say how the public data set is measured.
type RBAOptions struct {
	// File is the data set as its authors publish it.
	File string
	// Share of the users that are looked at, above 0 and at most 1: all of the millions need much memory. Who is, depends on
	// the id alone.
	Share float64
	// Seed chooses the attempts. Rounds, CodeVersion and Progress are as in [Options].
	Seed        uint64
	Rounds      int
	CodeVersion string
	Progress    func(phase string, done float64)
}

// Validate reports the problem.
func (o *RBAOptions) Validate() error {
	if !(o.Share > 0 && o.Share <= 1) {
		return fmt.Errorf("rba_share: is %g, must be above 0 and at most 1", o.Share)
	}
	return nil
}

// RunRBA measures the familiarity score, and the published one beside it, on the public data set. The data have no device
// ids, coordinates, sessions or second factors: nothing else can be measured on them.
//
// Attempts are made of other rows: the naive attacker has the network of a row marked as an attacker's, and the commonest
// user agent; the VPN attacker such a network in the victim's country; the targeted attacker the network of somebody else
// there, of the victim's own carrier where one was seen, and the user agent of somebody there with the victim's system.
// The very targeted attackers are the real takeovers, each scored against its victim's history at the time.
func RunRBA(ctx context.Context, o RBAOptions) (*report.Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	began := time.Now()
	attackers := []string{string(company.NaiveAttacker), string(company.VPNAttacker), string(company.TargetedAttacker)}
	w := rbaWorld{
		scorers: newScorers(attackers), people: map[string]int{}, countries: map[string]*pool{}, agents: map[string]int{},
		chance: rand.New(rand.NewPCG(o.Seed, 39)), // the same attempts on every run
	}
	rows := 0
	stats, err := rba.Each(ctx, o.File, rba.Options{}, func(row *rba.Row) error {
		if rows++; rows%100_000 == 0 && o.Progress != nil {
			o.Progress("rows", float64(rows)/rowsOfWhole)
		}
		if sampled(row.Event.User.ID, o.Share) {
			w.see(row)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the data set: %w", err)
	}
	r := &report.Report{
		Seed: o.Seed, Code: o.CodeVersion, Hardware: hardware(), Users: len(w.people),
		RBA: &report.RBA{
			Rows: stats.Rows, Left: stats.Bulk, Share: o.Share, Logins: w.logins, Takeovers: stats.Takeovers, Fit: rba.Fitness(),
		},
	}
	for i := range w.scorers {
		s := &w.scorers[i]
		curves(r, s.name, s.curve, o.Rounds)
		r.RBA.TakeoverRates = append(r.RBA.TakeoverRates, w.takeoverRate(i))
	}
	r.Seconds = time.Since(began).Seconds()
	r.Conclude()
	return r, nil
}

// rowsOfWhole is how many rows the whole data set has, without the user who is many, for the progress.
const rowsOfWhole = 17_300_000

// sampled tells whether a user belongs to a share of all.
func sampled(user string, share float64) bool {
	if share >= 1 {
		return true
	}
	return float64(xxhash.Sum64String(user)>>11)/(1<<53) < share
}

// rbaWorld is what is known of the rows so far.
type rbaWorld struct {
	scorers   []scorer
	people    map[string]int
	logins    int
	countries map[string]*pool
	attacks   pool
	agents    map[string]int
	common    rba.Row // one with the commonest user agent
	takeovers [][]float64
	chance    *rand.Rand
}

// pool keeps some of many rows, each with the same chance (reservoir sampling).
type pool struct {
	rows    []rba.Row
	attacks []rba.Row
	seen    int
	struck  int
}

const poolSize = 64

func (p *pool) add(row *rba.Row, chance *rand.Rand) {
	keep := func(list *[]rba.Row, seen *int) {
		*seen++
		if len(*list) < poolSize {
			*list = append(*list, *row)
		} else if at := chance.IntN(*seen); at < poolSize {
			(*list)[at] = *row
		}
	}
	if row.Label.AttackIP {
		keep(&p.attacks, &p.struck)
		return
	}
	keep(&p.rows, &p.seen)
}

// see takes the next row.
func (w *rbaWorld) see(row *rba.Row) {
	e := &row.Event
	if !score.Login(e) {
		return
	}
	key := e.Key()
	if row.Label.Takeover {
		w.takeover(key, row)
		return
	}
	user, known := w.people[key]
	if !known {
		user = len(w.people)
		w.people[key] = user
	}
	w.logins++
	measured := w.scorers[0].curve.Logins(user) < score.Longest
	for i := range w.scorers {
		s := &w.scorers[i]
		login := loginOf(i, row)
		if measured {
			s.curve.Login(user, orUnscored(s.model.score(key, login, e.Time)))
		}
		s.model.learn(key, login, e.Time)
	}
	if measured && slices.Contains(score.Histories, w.scorers[0].curve.Logins(user)) {
		w.attempt(user, key, row)
	}
	w.remember(row)
}

// loginOf is what a scorer looks at. The published score has the data set's own words, with versions.
func loginOf(scorer int, row *rba.Row) familiarity.Login {
	if scorer == 0 {
		return familiarity.LoginOf(&row.Event)
	}
	e := row.Event
	e.Device = events.Device{Browser: row.Browser, OS: row.OS, Type: row.DeviceType}
	return familiarity.LoginOf(&e)
}

// remember keeps a row for attempts on others.
func (w *rbaWorld) remember(row *rba.Row) {
	country := row.Event.Place.Country
	p := w.countries[country]
	if p == nil {
		p = &pool{}
		w.countries[country] = p
	}
	p.add(row, w.chance)
	if row.Label.AttackIP {
		w.attacks.add(row, w.chance)
		return
	}
	if len(w.agents) < 100_000 || w.agents[row.Event.UserAgent] > 0 {
		w.agents[row.Event.UserAgent]++
	}
	if agent := row.Event.UserAgent; agent != w.common.Event.UserAgent && w.agents[agent] > w.agents[w.common.Event.UserAgent] {
		w.common = *row
	}
}

// attempt scores one attempt of every attacker. One that has nobody to be made of is left out.
func (w *rbaWorld) attempt(user int, key string, row *rba.Row) {
	e := &row.Event
	near := w.countries[e.Place.Country]
	if near == nil {
		near = &pool{}
	}
	others := func(rows []rba.Row, fits func(*rba.Row) bool) *rba.Row {
		var list []*rba.Row
		for i := range rows {
			if rows[i].Event.User.ID != e.User.ID && fits(&rows[i]) {
				list = append(list, &rows[i])
			}
		}
		if len(list) == 0 {
			return nil
		}
		return list[w.chance.IntN(len(list))]
	}
	anybody := func(*rba.Row) bool { return true }
	neighbour := cmp.Or(
		others(near.rows, func(r *rba.Row) bool { return r.Event.Network.ASN == e.Network.ASN }), others(near.rows, anybody),
	)
	alike := cmp.Or(others(near.rows, func(r *rba.Row) bool { return r.Event.Device.OS == e.Device.OS }), neighbour)
	for i, parts := range [...][2]*rba.Row{
		{others(w.attacks.attacks, anybody), &w.common},
		{cmp.Or(others(near.attacks, anybody), others(near.rows, anybody)), &w.common},
		{neighbour, alike},
	} {
		if parts[0] == nil || parts[1] == nil {
			continue
		}
		made := *parts[1]
		made.Event.IP, made.Event.Network, made.Event.Place = parts[0].Event.IP, parts[0].Event.Network, parts[0].Event.Place
		for k := range w.scorers {
			s := &w.scorers[k]
			s.curve.Attempt(user, i, orUnscored(s.model.score(key, loginOf(k, &made), e.Time)))
		}
	}
}

// takeover scores a real one.
func (w *rbaWorld) takeover(key string, row *rba.Row) {
	scores := make([]float64, len(w.scorers))
	for k := range w.scorers {
		scores[k] = orUnscored(w.scorers[k].model.score(key, loginOf(k, row), row.Event.Time))
	}
	w.takeovers = append(w.takeovers, scores)
}

// takeoverRate is the share of the real takeovers that a scorer catches at the threshold where the targeted attacker's
// victims, after the longest history, re-authenticate at most at [report.VeryTargetedRate].
func (w *rbaWorld) takeoverRate(scorer int) report.TakeoverRate {
	s := &w.scorers[scorer]
	sample := s.curve.Sample(2, score.Longest)
	row := report.TakeoverRate{Scorer: s.name}
	rate, ok := sample.AtRate(report.VeryTargetedRate)
	for _, scores := range w.takeovers {
		if scores[scorer] == score.Unscored {
			row.Unscored++
			continue
		}
		row.Scored++
		if ok && scores[scorer] >= rate.Threshold {
			row.Caught++
		}
	}
	row.Threshold, row.OK = rate.Threshold, ok
	return row
}
