package courier

import (
	"context"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/ssf/dialect"
)

// item is one SET that waits.
type item struct {
	partition int // of the decision; controlPartition for a control event
	offset    int64
	at        time.Time // of the record
	control   *control
	subject   *subject
	jti       string
	turn      uint64    // who has waited longest goes first
	due       time.Time // not before
	failing   time.Time // since when it failed
	attempts  int
	// alone counts the failures while the stream was well otherwise, so that it may be this SET that is at fault.
	alone  int
	handed bool // to a poll, and not acknowledged
}

const controlPartition = -1

// subject is the queue of one subject: only the first may be under way.
type subject struct {
	hash    uint64
	items   []*item
	current *item // under way
}

// cursor is where a stream is in one partition.
type cursor struct {
	next int64 // the first offset that was not looked at
	// again are offsets below next that waited when the stream was held last, and have to be read again.
	again   []int64
	reading bool
}

// outlet is one stream at work: it takes the decisions that are for it into a window, and hands them to its receiver, each
// subject's in order. It belongs to the courier that holds it.
type outlet struct {
	c       *Courier
	holding *holding
	id      string

	edit chan struct{} // held while the configuration is changed

	mu      sync.Mutex
	stream  ssf.Stream
	wanted  *subjects // of stream
	problem error     // why it cannot deliver
	sealed  []byte    // the secret as it was read, for as long as it cannot be opened
	cursors []cursor
	// subjects by hash, the control events' among them.
	subjects map[uint64]*subject
	controls *subject
	waiting  int // items of decisions
	turn     uint64
	stopped  bool
	deleted  bool

	// Delivery by push.
	limit, inFlight int
	until           time.Time // nothing is sent before
	failures        int
	failingSince    time.Time
	lastSuccess     time.Time
	lastError       string
	timer           *time.Timer

	// Delivery by poll.
	polling bool          // somebody waits
	news    chan struct{} // closed when there may be something to hand out

	// What has to be written.
	configDirty, dirty bool
	advanced           bool // only the positions moved
	revision           uint64
	usedWritten        int64
	written            time.Time
	verified           time.Time // the last verification that was asked for
}

var seed = maphash.MakeSeed()

func newOutlet(h *holding, s ssf.Stream, partitions int) *outlet {
	return &outlet{
		c: h.c, holding: h, id: s.ID, edit: make(chan struct{}, 1), stream: s, wanted: newSubjects(&s), cursors: make([]cursor, partitions),
		subjects: map[uint64]*subject{}, controls: &subject{}, limit: 1, news: make(chan struct{}),
	}
}

// restore puts the outlet where its record says. What waited is read again from the log.
func (o *outlet) restore(p *progress, ends []int64) {
	for i := range o.cursors {
		o.cursors[i].next = ends[i]
		if i < len(p.Partitions) {
			// A position behind the end of the log is one of a log that was made anew.
			o.cursors[i].next = min(p.Partitions[i].Next, ends[i])
			o.cursors[i].again = slices.DeleteFunc(slices.Clone(p.Partitions[i].Pending), func(v int64) bool { return v >= ends[i] })
		}
	}
	for i := range p.Control {
		o.addControl(p.Control[i])
	}
	o.failures, o.lastError = p.Failures, p.LastError
	o.failingSince, o.lastSuccess = fromMillis(p.FailingSince), fromMillis(p.LastSuccess)
	o.stream.Used = max(o.stream.Used, p.Used)
	o.usedWritten = o.stream.Used
}

// progress is what to write. It is called with o.mu held.
func (o *outlet) progress() *progress {
	p := &progress{
		Failures: o.failures, FailingSince: toMillis(o.failingSince), LastSuccess: toMillis(o.lastSuccess), LastError: o.lastError, Used: o.stream.Used,
	}
	if o.stream.Status != ssf.Disabled {
		p.Partitions = make([]position, len(o.cursors))
		for i, c := range o.cursors {
			p.Partitions[i] = position{Next: c.next, Pending: slices.Clone(c.again)}
		}
		for _, s := range o.subjects {
			for _, it := range s.items {
				at := &p.Partitions[it.partition]
				at.Pending = append(at.Pending, it.offset)
			}
		}
		for i := range p.Partitions {
			slices.Sort(p.Partitions[i].Pending)
			p.Partitions[i].Pending = slices.Compact(p.Partitions[i].Pending)
		}
	}
	for _, it := range o.controls.items {
		p.Control = append(p.Control, *it.control)
	}
	return p
}

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// room reports whether another decision fits the window. Subjects that are blocked do not use up the room of others, up to
// some times the window. It is called with o.mu held.
func (o *outlet) room() bool {
	window, behind := o.c.cfg.Window, o.behind()
	if behind < window {
		return true
	}
	if behind >= blockedWindows*window {
		return false
	}
	blocked := 0
	for _, s := range o.subjects {
		if len(s.items) > 0 && (s.items[0].handed || !s.items[0].failing.IsZero()) {
			blocked += len(s.items)
		}
	}
	return behind-blocked < window
}

// behind is how many decisions below the cursors wait, in memory or to be read again. It is called with o.mu held.
func (o *outlet) behind() int {
	n := o.waiting
	for i := range o.cursors {
		n += len(o.cursors[i].again)
	}
	return n
}

const blockedWindows = 4

// pull takes in what there is in the hub, as far as there is room, and has read what is not.
func (o *outlet) pull() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped || o.stream.Status == ssf.Disabled {
		return
	}
	now := time.Now()
	took := 0
	for p := range o.cursors {
		took += o.pullPartition(p, now)
	}
	if took > 0 {
		o.wake()
	}
}

// pullPartition is called with o.mu held.
func (o *outlet) pullPartition(p int, now time.Time) (took int) {
	c := &o.cursors[p]
	for !c.reading {
		from, limit := c.next, o.c.cfg.Window
		again := len(c.again) > 0
		if again {
			from = c.again[0]
		} else if !o.room() {
			return took
		}
		list, next, known := o.c.hub.look(p, from, limit)
		if !known {
			c.reading = true
			o.holding.background(func(ctx context.Context) {
				_ = o.c.hub.read(ctx, p, from) // it ends with the context only
				o.mu.Lock()
				c.reading = false
				o.mu.Unlock()
				o.pull()
			})
			return took
		}
		if next == from {
			return took
		}
		for _, d := range list {
			if again {
				i, waits := slices.BinarySearch(c.again, d.offset)
				if waits && i == 0 {
					c.again = c.again[1:]
				} else if waits {
					c.again = slices.Delete(c.again, i, i+1)
				}
				if !waits {
					continue
				}
			} else if !o.room() {
				next = d.offset
				break
			}
			if o.add(d, now) {
				took++
				o.dirty = o.dirty || !again
			}
		}
		if again {
			// What waited and is not in the log any more has been superseded.
			i, _ := slices.BinarySearch(c.again, next)
			c.again = c.again[i:]
			continue
		}
		if c.next != next {
			c.next, o.advanced = next, true
		}
	}
	return took
}

// add puts a decision that is for this stream into its subject's queue. It is called with o.mu held.
func (o *outlet) add(d *decision, now time.Time) bool {
	if d.claims.Tenant != o.stream.Tenant || !o.wanted.matches(&o.stream, &d.claims, now, o.c.cfg.RemovalGrace) {
		return false
	}
	// What cannot be written goes to the dead letters when its turn has come.
	if _, ok, err := dialect.Encode(o.stream, &d.claims, now); err == nil && !ok {
		return false
	}
	return o.enqueue(&item{partition: d.partition, offset: d.offset, at: d.at, jti: d.claims.JTI}, maphash.String(seed, d.subject))
}

// enqueue puts an item into the queue of a subject, at its place by offset; it reports false when it is there already.
func (o *outlet) enqueue(it *item, hash uint64) bool {
	s := o.subjects[hash]
	if s == nil {
		s = &subject{hash: hash}
		o.subjects[hash] = s
	}
	i, found := slices.BinarySearchFunc(s.items, it, func(a, b *item) int {
		if a.partition != b.partition {
			return a.partition - b.partition
		}
		return int(min(max(a.offset-b.offset, math.MinInt32), math.MaxInt32))
	})
	if found {
		return false
	}
	if i == 0 && len(s.items) > 0 && s.items[0] == s.current {
		i = 1 // who is under way stays the first
	}
	it.subject = s
	o.turn++
	it.turn = o.turn
	s.items = slices.Insert(s.items, i, it)
	o.waiting++
	return true
}

// addControl queues a control event, in order; but the announcement of a status goes before all others, since it is the only
// one that a paused stream sends, and takes the place of an earlier one. It is called with o.mu held, or before the outlet
// is known.
func (o *outlet) addControl(c control) {
	o.turn++
	it := &item{partition: controlPartition, control: &c, subject: o.controls, jti: c.JTI, turn: o.turn, at: time.Unix(c.At, 0)}
	q, at := o.controls, len(o.controls.items)
	if c.Kind == streamUpdated {
		q.items = slices.DeleteFunc(q.items, func(i *item) bool { return i.control.Kind == streamUpdated && i != q.current })
		if at = 0; len(q.items) > 0 && q.items[0] == q.current {
			at = 1
		}
	}
	q.items = slices.Insert(q.items, at, it)
	o.dirty = true
}

// remove takes an item out of its queue. It is called with o.mu held.
func (o *outlet) remove(it *item) {
	s := it.subject
	i := slices.Index(s.items, it)
	if i < 0 {
		return
	}
	s.items = slices.Delete(s.items, i, i+1)
	o.dirty = true
	if s == o.controls {
		return
	}
	o.waiting--
	if len(s.items) == 0 && s.current == nil {
		delete(o.subjects, s.hash)
	}
}

// free lets the next of the subject go. It is called with o.mu held.
func (o *outlet) free(s *subject) {
	if s.current = nil; len(s.items) == 0 && s != o.controls {
		delete(o.subjects, s.hash)
	}
}

// ready returns who goes next: control events before decisions, then who has waited longest among the first of their
// subjects; nil when nobody may go now, with the time at which somebody may. It is called with o.mu held.
func (o *outlet) ready(now time.Time) (it *item, at time.Time) {
	consider := func(s *subject) {
		if s.current != nil || len(s.items) == 0 {
			return
		}
		first := s.items[0]
		switch {
		case first.due.After(now):
			if at.IsZero() || first.due.Before(at) {
				at = first.due
			}
		case it == nil || first.turn < it.turn:
			it = first
		}
	}
	consider(o.controls)
	if it != nil && (o.stream.Status == ssf.Enabled || it.control.Kind == streamUpdated) {
		return it, time.Time{}
	}
	if it = nil; o.stream.Status != ssf.Enabled {
		return nil, at
	}
	for _, s := range o.subjects {
		consider(s)
	}
	return it, at
}

// drop forgets every decision that waits. Who is under way is of no account then. It is called with o.mu held.
func (o *outlet) drop() {
	for hash, s := range o.subjects {
		if s.items = nil; s.current == nil {
			delete(o.subjects, hash)
		}
	}
	o.waiting, o.dirty = 0, true
	for i := range o.cursors {
		o.cursors[i].again = nil
	}
}

// wake starts what may go. It is called with o.mu held.
func (o *outlet) wake() {
	close(o.news)
	o.news = make(chan struct{})
	o.pump()
}

// stop ends the outlet: nothing is started any more, and who waits is let go.
func (o *outlet) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = true
	if o.timer != nil {
		o.timer.Stop()
	}
	close(o.news)
	o.news = make(chan struct{})
}

func (o *outlet) isStopped() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stopped
}
