package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// lead is the one that sends. All its state belongs to the goroutine of run.
type lead struct {
	n     *Notifier
	state *incident.State
	next  position
	// waiting are the incidents with pending deliveries.
	waiting map[string]bool
	lanes   map[string]*lane
	results chan result
	wrote   time.Time
	ticked  time.Time
	moved   bool
}

// position is where reading goes on, by topic: one offset a partition. Early are ends of requirements whose findings are yet
// to come.
type position struct {
	Findings    []int64                   `json:"findings"`
	Revocations []int64                   `json:"revocations"`
	Early       map[string]incident.Early `json:"early,omitempty"`
}

// The keys on countersign.alerts.v1.
const (
	keyPosition = "position"
	keyIncident = incident.KeyPrefix
)

// input is a record that was read.
type input struct {
	topic     string
	partition int
	offset    int64
	at        time.Time
	value     []byte
}

// Bounds of what is held between reading and folding.
const (
	maxInputs = 256
	maxFold   = 500
)

func newLead(n *Notifier) *lead {
	l := &lead{
		n: n, state: incident.New(n.rules()), waiting: map[string]bool{}, lanes: map[string]*lane{},
		results: make(chan result, len(n.targets)),
	}
	for _, t := range n.targets {
		l.lanes[t.Name] = &lane{target: t}
	}
	return l
}

// run reads what is kept, then follows the log until ctx ends.
func (l *lead) run(ctx context.Context) error {
	if err := l.load(ctx); err != nil {
		return err
	}
	inputs := make(chan input, maxInputs)
	group, ctx := errgroup.WithContext(ctx)
	for topic, from := range map[string][]int64{events.TopicFindings: l.next.Findings, events.TopicRevocations: l.next.Revocations} {
		start := append([]int64(nil), from...)
		group.Go(func() error {
			return l.n.deps.Cluster.Table(l.n.trouble).FollowFrom(ctx, topic, start, func(r stream.Record) error {
				in := input{topic, r.Partition, r.Offset, r.Time, bytes.Clone(r.Value)}
				select {
				case inputs <- in:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
	}
	var sending errgroup.Group
	lasting, stop := outlive(ctx, l.n.drain)
	group.Go(func() error {
		defer stop()
		return l.loop(ctx, lasting, inputs, func(try func(context.Context)) {
			sending.Go(func() error { try(lasting); return nil })
		})
	})
	err := group.Wait()
	_ = sending.Wait() // none returns an error
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// outlive is a context that ends d after ctx: what is under way when a process stops is given that time, so that the next does
// not send it again.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return lasting, func() { stop(); cancel() }
}

// load reads what is kept: the incidents by id, and the position if there is one.
func load(ctx context.Context, table *stream.Table) (kept map[string]*incident.Incident, next position, found bool, err error) {
	kept = map[string]*incident.Incident{}
	err = table.Load(ctx, events.TopicAlerts, func(r stream.Record) error {
		id, isIncident := strings.CutPrefix(string(r.Key), keyIncident)
		switch {
		case isIncident && r.Value == nil:
			delete(kept, id)
		case isIncident:
			i := new(incident.Incident)
			if err := json.Unmarshal(r.Value, i); err != nil {
				return fmt.Errorf("reading incident at offset %d of %s: %w", r.Offset, events.TopicAlerts, err)
			}
			kept[id] = i
		case string(r.Key) == keyPosition:
			next = position{}
			if err := json.Unmarshal(r.Value, &next); err != nil {
				return fmt.Errorf("reading position at offset %d of %s: %w", r.Offset, events.TopicAlerts, err)
			}
			found = true
		}
		return nil
	})
	return kept, next, found, err
}

// load puts back incidents and positions. The first time, it begins as far back as an incident takes findings in.
func (l *lead) load(ctx context.Context) error {
	kept, next, found, err := load(ctx, l.n.deps.Cluster.Table(l.n.trouble))
	if err != nil {
		return err
	}
	l.next = next
	for id, i := range kept {
		l.state.Restore(i)
		if i.Waiting() {
			l.waiting[id] = true
		}
	}
	if err := l.abandon(ctx); err != nil {
		return err
	}
	l.state.RestoreEarly(l.next.Early)
	since := time.Now().Add(-l.n.cfg.Window)
	for topic, offsets := range map[string]*[]int64{events.TopicFindings: &l.next.Findings, events.TopicRevocations: &l.next.Revocations} {
		first, end, err := l.n.deps.Cluster.Ends(ctx, topic)
		if err != nil {
			return err
		}
		if !found || len(*offsets) != len(end) {
			if *offsets, err = l.n.deps.Cluster.OffsetsAt(ctx, topic, since); err != nil {
				return err
			}
		}
		for p, next := range *offsets {
			if next > end[p] { // the topic was made anew
				(*offsets)[p] = first[p]
			}
		}
	}
	l.moved = true
	return nil
}

// errUnconfigured is why a message is dead whose target is not configured any more.
var errUnconfigured = errors.New("the target is not configured any more")

// abandon sends what waits for targets that are gone to the dead letters.
func (l *lead) abandon(ctx context.Context) error {
	for id := range l.waiting {
		i := l.state.Get(id)
		for k := range i.Deliveries {
			d := &i.Deliveries[k]
			if d.Outcome != incident.Pending || l.lanes[d.Target] != nil {
				continue
			}
			m := message(i, d)
			l.n.templates.write(&m, plain)
			if err := l.bury(ctx, d.Target, &m, errUnconfigured); err != nil {
				return err
			}
			d.Outcome = incident.Dead
			l.state.Touch(id)
		}
	}
	return nil
}

// Pace of the loop.
const (
	tickEvery     = time.Second
	positionEvery = 2 * time.Second
)

// loop folds, keeps, sends.
func (l *lead) loop(ctx, lasting context.Context, inputs <-chan input, start starter) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		look := true
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), l.finish(lasting))
		case in := <-inputs:
			look = false
			l.fold(in)
			for n := 1; n < maxFold && len(inputs) > 0; n++ {
				l.fold(<-inputs)
			}
		case r := <-l.results:
			if err := l.done(lasting, r); err != nil {
				return err
			}
		case <-timer.C:
		}
		if now := time.Now(); now.Sub(l.ticked) >= tickEvery {
			l.state.Tick(events.MillisOf(now))
			l.ticked = now
		}
		changed, err := l.keep(lasting)
		if err != nil {
			return err
		}
		// Most findings concern nobody: they are not worth a look at all that waits.
		if look || changed {
			timer.Reset(l.dispatch(start))
		}
	}
}

// starter runs a try beside the loop.
type starter func(try func(ctx context.Context))

// finish waits a moment for what is under way, and notes it.
func (l *lead) finish(ctx context.Context) error {
	for _, lane := range l.lanes {
		for lane.busy {
			select {
			case r := <-l.results:
				if err := l.done(ctx, r); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil // the next sends it again
			}
		}
	}
	_, err := l.keep(ctx)
	return err
}

// fold takes one record in. What is unreadable is counted: the archiver makes its dead letter.
func (l *lead) fold(in input) {
	l.moved = true
	now := events.MillisOf(time.Now())
	offsets := l.next.Findings
	if in.topic == events.TopicRevocations {
		offsets = l.next.Revocations
	}
	if in.partition < len(offsets) {
		offsets[in.partition] = in.offset + 1
	}
	if in.value == nil {
		return
	}
	if in.topic == events.TopicRevocations {
		c, err := revocation.ParseClaims(in.value)
		if err != nil {
			l.n.metrics.unreadable.WithLabelValues(in.topic).Inc()
			return
		}
		l.state.Claims(&c, now)
		return
	}
	f, err := events.DecodeFinding(in.value)
	if err != nil {
		l.n.metrics.unreadable.WithLabelValues(in.topic).Inc()
		return
	}
	l.n.metrics.behind.Set(max(0, time.Since(in.at).Seconds()))
	l.state.Finding(f, now)
}

// keep writes what has changed: first the incidents, then the position.
func (l *lead) keep(ctx context.Context) (changed bool, err error) {
	var records []stream.Record
	for _, id := range l.state.Changed() {
		r := stream.Record{Key: []byte(keyIncident + id)}
		if i := l.state.Get(id); i != nil {
			r.Value = encode(i)
			l.waiting[id] = true
			if !i.Waiting() {
				delete(l.waiting, id)
			}
		} else {
			delete(l.waiting, id)
		}
		records = append(records, r)
	}
	if err := l.publish(ctx, events.TopicAlerts, records); err != nil {
		return false, err
	}
	if l.moved && (len(records) > 0 || time.Since(l.wrote) > positionEvery) {
		l.next.Early = l.state.Early()
		if err := l.publish(ctx, events.TopicAlerts, []stream.Record{{Key: []byte(keyPosition), Value: encode(l.next)}}); err != nil {
			return false, err
		}
		l.moved, l.wrote = false, time.Now()
	}
	l.n.metrics.incidents.Set(float64(l.state.Len()))
	return len(records) > 0, nil
}

// publish writes until it succeeds or ctx ends.
func (l *lead) publish(ctx context.Context, topic string, records []stream.Record) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := l.n.publisher.Publish(ctx, topic, records)
		if err == nil || ctx.Err() != nil {
			return err
		}
		l.n.metrics.publishing.Inc()
		l.n.log.Debug("writing to the log again", zap.String("topic", topic), zap.Error(err))
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
