package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
)

// lane is what is under way to one target.
type lane struct {
	target *target
	busy   bool
	// since is the minute in which used messages went out. exceeded tells that more were due.
	since    time.Time
	used     int
	exceeded bool
	// not is the time before which the target does not want anything.
	not time.Time
}

// result is what became of a try.
type result struct {
	lane     *lane
	message  Message
	covers   []covered
	took     time.Duration
	err      error
	summary  bool
	finished time.Time
}

// covered is a delivery that a message stands for.
type covered struct {
	incident string
	phase    incident.Phase
	severity events.Severity
}

// dispatch starts what is due and tells when to look again.
func (l *lead) dispatch(start starter) time.Duration {
	now := time.Now()
	again := now.Add(tickEvery)
	for _, t := range l.n.targets {
		lane := l.lanes[t.Name]
		due, first, pending := l.due(t.Name, events.MillisOf(now))
		l.n.metrics.waiting.WithLabelValues(t.Name).Set(float64(pending))
		if !first.IsZero() && first.Before(again) {
			again = first
		}
		if lane.busy || len(due) == 0 || now.Before(lane.not) {
			continue
		}
		if now.Sub(lane.since) >= time.Minute {
			lane.since, lane.used = now, 0
		}
		if limit := t.limit(); limit > 0 && lane.used >= limit {
			lane.exceeded = lane.exceeded || len(due) > 1
			continue
		}
		lane.used++
		lane.busy = true
		r := l.compose(lane, due, now)
		start(func(ctx context.Context) {
			began := time.Now()
			r.err = t.sender.send(ctx, &r.message)
			r.finished = time.Now()
			r.took = r.finished.Sub(began)
			l.results <- r // it has room for every target
		})
	}
	return max(time.Until(again), time.Millisecond)
}

// ready is a delivery that may go out.
type ready struct {
	incident *incident.Incident
	delivery *incident.Delivery
}

// due lists the deliveries to a target that are due, oldest first as far as the first goes, the time when the next one is, and how
// many wait.
func (l *lead) due(target string, now events.Millis) (list []ready, first time.Time, pending int) {
	for id := range l.waiting {
		i := l.state.Get(id)
		if i == nil {
			continue
		}
		if d := i.Next(target, now); d != nil {
			list = append(list, ready{i, d})
			if o := list[0]; d.Due < o.delivery.Due || d.Due == o.delivery.Due && i.ID < o.incident.ID {
				list[0], list[len(list)-1] = list[len(list)-1], list[0]
			}
		}
		for k := range i.Deliveries {
			d := &i.Deliveries[k]
			if d.Target != target || d.Outcome != incident.Pending {
				continue
			}
			pending++
			if at := d.Due.Time(); d.Due > now && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	return list, first, pending
}

// maxSummary bounds the incidents of one summary.
const maxSummary = 1000

// compose writes the oldest message, or one for all that fire when the target has had enough.
func (l *lead) compose(lane *lane, due []ready, now time.Time) result {
	var firing []ready
	if lane.exceeded {
		for _, r := range due {
			if r.delivery.Phase == incident.Firing && len(firing) < maxSummary {
				firing = append(firing, r)
			}
		}
		lane.exceeded = false
	}
	r := result{lane: lane}
	if len(firing) > 1 {
		var list []*incident.Incident
		for _, f := range firing {
			list = append(list, f.incident)
			r.covers = append(r.covers, covered{f.incident.ID, f.delivery.Phase, f.delivery.Severity})
		}
		r.summary, r.message = true, summary(lane.target.Name, list, now)
		l.n.templates.writeSummary(&r.message, lane.target.dialect)
		return r
	}
	d := due[0]
	r.covers = []covered{{d.incident.ID, d.delivery.Phase, d.delivery.Severity}}
	r.message = message(d.incident, d.delivery)
	l.n.templates.write(&r.message, lane.target.dialect)
	return r
}

// done notes what became of a try.
func (l *lead) done(ctx context.Context, r result) error {
	r.lane.busy = false
	if r.err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	rejected, _ := errors.AsType[*rejection](r.err)
	if rejected != nil && rejected.after > 0 {
		r.lane.not = r.finished.Add(rejected.after)
	}
	name, now := r.lane.target.Name, events.MillisOf(r.finished)
	outcome := resultSent
	for _, c := range r.covers {
		i := l.state.Get(c.incident)
		if i == nil {
			continue
		}
		d := i.Delivery(name, c.phase, c.severity)
		if d == nil {
			continue // it tells of a higher severity by now, and goes out again
		}
		d.Tries++
		// A summary that is refused is told one by one.
		final := rejected != nil && rejected.final && !r.summary || r.finished.Sub(d.Created.Time()) > l.n.cfg.MaxAge
		switch {
		case r.err == nil && r.summary:
			i.Summarise(d)
			l.n.metrics.summarised.WithLabelValues(name).Inc()
		case r.err == nil:
			d.Outcome = incident.Sent
		case final:
			m := r.message
			if r.summary {
				m = message(i, d)
				l.n.templates.write(&m, r.lane.target.dialect)
			}
			if err := l.bury(ctx, name, &m, r.err); err != nil {
				return err
			}
			d.Outcome, outcome = incident.Dead, resultDead
		default:
			outcome = resultFailed
			d.Due = now + millis(l.pause(d.Tries))
		}
		l.state.Touch(c.incident)
	}
	l.n.metrics.tried(name, outcome, r.took)
	if r.err != nil {
		l.n.log.Debug("message not taken", zap.String("target", name), zap.String("message", r.message.ID), zap.Error(r.err))
	}
	return nil
}

// pause before another try: it doubles, with a chance part so that many do not come at once.
func (l *lead) pause(tries int) time.Duration {
	d := min(l.n.cfg.RetryMin<<min(tries-1, 20), l.n.cfg.RetryMax)
	if d <= 0 {
		d = l.n.cfg.RetryMax
	}
	return d/2 + rand.N(d/2+1)
}
