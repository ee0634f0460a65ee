package eval

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/eval/peers"
	"github.com/countersign-io/countersign/internal/eval/score"
	"github.com/countersign-io/countersign/internal/events"
)

// extent is how much of a run is measured.
type extent struct {
	// score measures the familiarity score, and the peers; without it there are countersign's findings only.
	score bool
	// answers lets people meet the challenges that they are given.
	answers bool
}

// item is an event on its way to the peers, with what the familiarity curve needs of it.
type item struct {
	event events.Event
	label company.Label
	// login is set on a login that the curve takes; attempts are those to be scored after it.
	login    bool
	user     int
	attempts []events.Event
}

// batch is how many events go to the peers at a time, and depth how many batches may wait.
const (
	batch = 256
	depth = 16
)

// run is one stream played to its end.
type run struct {
	config company.Config
	truth  *score.Truth
	ledger *score.Ledger
	curve  *score.Curve
	// took is the time of each decision that raised an active finding of medium or more; busy the time of all of them.
	took []time.Duration
	busy time.Duration
	all  int
	// answers tells that people meet challenges, challenges how many there were.
	answers    bool
	challenges int
	due        answers

	people map[string]int
	names  []string

	peers *rivals
}

// play runs a company's stream through countersign and, where the score is measured, through the peers beside it.
func play(ctx context.Context, config company.Config, rules detector.Rules, extent extent, progress func(float64)) (*run, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("the company: %w", err)
	}
	r := &run{config: config, truth: score.NewTruth(), people: map[string]int{}, answers: extent.answers}
	r.ledger = score.NewLedger(r.truth)
	group, ctx := errgroup.WithContext(ctx)
	if !extent.score {
		err := r.watch(ctx, rules, nil, nil, progress)
		return r, err
	}
	var kinds []string
	for _, kind := range company.Statistical {
		kinds = append(kinds, string(kind))
	}
	r.curve = score.NewCurve(kinds)
	r.peers = newRivals(kinds)
	filled, free := make(chan []item, depth), make(chan []item, depth+2)
	group.Go(func() error {
		defer close(filled)
		return r.watch(ctx, rules, filled, free, progress)
	})
	group.Go(func() error {
		for list := range filled {
			for i := range list {
				r.peers.see(&list[i])
			}
			select {
			case free <- list:
			default:
			}
		}
		r.peers.truth.Close()
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return r, nil
}

// watch is countersign's side: it takes events from the company, decides, and passes them on.
func (r *run) watch(ctx context.Context, rules detector.Rules, filled chan<- []item, free <-chan []item, progress func(float64)) error {
	c, engine := company.New(r.config), detector.NewEngine(rules)
	list := make([]item, 0, batch)
	var ahead item // the next of the company, while an answer may come before it
	var more bool
	ahead.label, more = c.Next(&ahead.event)
	for {
		now := events.Millis(math.MaxInt64)
		if more {
			now = max(ahead.event.Ingested, ahead.event.Time)
		}
		it, answering := r.due.next(now)
		left := more || answering
		if left {
			if !answering {
				it = ahead
				ahead = item{}
				ahead.label, more = c.Next(&ahead.event)
			}
			list = append(list, it)
			if err := r.decide(c, engine, &list[len(list)-1]); err != nil {
				return err
			}
		}
		if left && len(list) < batch {
			continue
		}
		if len(list) > 0 {
			progress(float64(list[len(list)-1].event.Time-r.config.Start) / float64(until(r.config)-r.config.Start))
		}
		if filled != nil {
			select {
			case filled <- list:
			case <-ctx.Done():
			}
			select {
			case list = <-free:
			default:
				list = make([]item, 0, batch)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !left {
			r.truth.Close()
			return nil
		}
		clear(list[:cap(list)])
		list = list[:0]
	}
}

// decide takes one event.
func (r *run) decide(c *company.Company, engine *detector.Engine, it *item) error {
	e := &it.event
	key := e.Key()
	first := r.truth.See(e, it.label)
	it.user = r.index(key)
	it.login = first && r.curve != nil && it.label.Attack == "" && score.Login(e) && r.curve.Logins(it.user) < score.Longest &&
		!r.truth.Attacked(key)
	began := time.Now()
	decided := engine.Decide(e)
	took := time.Since(began)
	r.busy += took
	r.all++
	if it.login {
		own := &decided[0].Outcome // the score that it had before it was learnt
		r.curve.Login(it.user, orUnscored(own.Score, own.Scored))
	}
	if r.answers {
		r.challenges += r.due.add(it, decided[0].Outcome.Changes)
	}
	alarmed := false
	for i := range decided {
		for k := range decided[i].Outcome.Findings {
			f := &decided[i].Outcome.Findings[k]
			var confounder company.Confounder
			if i == 0 {
				confounder = it.label.Confounder
			}
			r.ledger.Raise(score.AlertOf(f, confounder))
			alarmed = alarmed || f.Disposition == events.Active && f.Severity.Rank() >= events.Medium.Rank()
		}
	}
	if alarmed {
		r.took = append(r.took, took)
	}
	if !it.login || !slices.Contains(score.Histories, r.curve.Logins(it.user)) {
		return nil
	}
	// Between ten minutes and a day later, since an attacker keeps no hours.
	for i, kind := range company.Statistical {
		attempt, err := c.Attempt(kind, key, e.Time+between(e.ID, 10*events.Minute, events.Day))
		if err != nil {
			return fmt.Errorf("making an attempt: %w", err)
		}
		seen := engine.Peek(&attempt)
		r.curve.Attempt(it.user, i, orUnscored(seen.Score, seen.Scored))
		it.attempts = append(it.attempts, attempt)
	}
	return nil
}

// index numbers the users.
func (r *run) index(key string) int {
	i, ok := r.people[key]
	if !ok {
		i = len(r.people)
		r.people[key] = i
		r.names = append(r.names, key)
	}
	return i
}

// between draws a time by the event's id.
func between(id string, least, most events.Millis) events.Millis {
	return least + events.Millis(xxhash.Sum64String(id)%uint64(most-least))
}

// rivals are the peers, on the same events.
type rivals struct {
	truth   *score.Truth
	rules   []rival
	scorers []scorer
}

// rival is one peer.
type rival struct {
	peers.Info
	rule   peers.Rule
	ledger *score.Ledger
}

func newRivals(attackers []string) *rivals {
	rs := &rivals{truth: score.NewTruth(), scorers: newScorers(attackers)}
	for _, p := range peers.All() {
		if p.Rule != nil {
			rs.rules = append(rs.rules, rival{Info: p.Info, rule: p.Rule(), ledger: score.NewLedger(rs.truth)})
		}
	}
	return rs
}

func (rs *rivals) see(it *item) {
	rs.truth.See(&it.event, it.label)
	for i := range rs.rules {
		for _, a := range rs.rules[i].rule.See(&it.event) {
			rs.rules[i].ledger.Raise(alertOf(&a, it))
		}
	}
	for i := range rs.scorers {
		rs.scorers[i].see(it)
	}
}

// alertOf is a peer's alert. What its own filters hide is suppressed.
func alertOf(a *peers.Alert, it *item) score.Alert {
	alert := score.Alert{
		Detection: a.Check, Severity: a.Severity, Disposition: events.Active, Tenant: a.Tenant, User: a.User, EventID: a.EventID,
		Anchors: a.Events, Time: a.At, Confounder: it.label.Confounder,
	}
	if alert.User == "" {
		alert.User = it.event.User.ID
	}
	if len(a.Filtered) > 0 {
		alert.Disposition = events.Suppressed
	}
	return alert
}
