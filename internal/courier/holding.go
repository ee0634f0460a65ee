package courier

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/stream"
)

// Results of a claim.
const (
	claimWon  = "won"
	claimLost = "lost"
)

// errFenced means that another courier has claimed the partition.
var errFenced = errors.New("the streams of the partition are held by another courier")

// holding is one partition of the topic of streams while this courier holds it: it is the only writer of its records. One
// goroutine writes, what changed meanwhile together.
type holding struct {
	c         *Courier
	partition int
	epoch     uint64

	ctx    context.Context //nolint:containedctx // the life of the partition here; ends when the partition is lost or given up
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	mu       sync.Mutex // taken while an outlet's is held, never the other way round
	closed   bool       // no work is begun any more
	outlets  map[string]*outlet
	dirty    map[*outlet]struct{}
	deleted  map[string]rank // streams to delete, with the rank of the deletion
	waiters  []chan error    // told when what is dirty now is durable
	urgent   chan struct{}
	released chan struct{} // closed when nothing is written any more

	adopt   sync.Once
	adopted chan struct{} // closed when the partition is assigned to us that was held already
}

// claim takes a partition: it appends a claim above all others, waits until it has read everything before it, and takes up
// the streams as that left them.
func (c *Courier) claim(ctx context.Context, partition int) (*holding, error) {
	for {
		epoch, _, _ := c.table.holder(partition)
		epoch++
		mine := claim{Nonce: newID(), URL: c.url, At: time.Now().UnixMilli()}
		mine.MAC = c.secrets.sign(partition, epoch, &mine)
		record := stream.Record{
			Key: []byte(claimKey(partition)), Value: encodeClaim(mine),
			Headers: []stream.Header{{Key: stream.HeaderRank, Value: rank{epoch: epoch}.bytes()}},
		}
		base, err := c.producer.Produce(ctx, events.TopicStreams, partition, []stream.Record{record})
		if err != nil {
			return nil, fmt.Errorf("claiming: %w", err)
		}
		now, holder, err := c.table.await(ctx, partition, base)
		if err != nil {
			return nil, err
		}
		if now == epoch && holder.Nonce == mine.Nonce {
			c.metrics.claims.WithLabelValues(claimWon).Inc()
			return c.hold(ctx, partition, epoch), nil
		}
		c.metrics.claims.WithLabelValues(claimLost).Inc()
		if !pause(ctx, 50*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

// hold starts the streams of a partition that was claimed.
func (c *Courier) hold(ctx context.Context, partition int, epoch uint64) *holding {
	h := &holding{
		c: c, partition: partition, epoch: epoch, outlets: map[string]*outlet{}, dirty: map[*outlet]struct{}{}, deleted: map[string]rank{},
		urgent: make(chan struct{}, 1), released: make(chan struct{}), adopted: make(chan struct{}),
	}
	h.ctx, h.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	ends := c.hub.ends()
	for id, w := range c.table.rows(partition) {
		if w.stream == nil {
			if w.shadowed && w.problem == nil {
				h.deleted[id] = rank{epoch, max(w.config.revision, w.at.revision) + 1}
			}
			continue
		}
		o := newOutlet(h, *w.stream, len(ends))
		o.problem, o.sealed = w.problem, w.sealed
		o.revision = max(w.config.revision, w.at.revision)
		p := &progress{}
		if len(w.position) > 0 {
			read, err := decodeProgress(w.position, len(ends))
			if err != nil {
				// To go on from the end would lose decisions in silence: a person decides, by a replay.
				o.problem = err
				c.log.Error("position of a stream cannot be used, the stream stands still until it is replayed", zap.String("stream", id), zap.Error(err))
			} else {
				p = read
			}
		}
		o.restore(p, ends)
		if w.shadowed {
			o.configDirty, o.dirty = true, true
			h.dirty[o] = struct{}{}
		}
		h.outlets[id] = o
	}
	streams := len(h.outlets) // before others see it, and add to it
	c.mu.Lock()
	if other := c.holdings[partition]; other == nil || other.epoch < epoch { // else this claim was overtaken by another of ours
		c.holdings[partition] = h
	}
	c.mu.Unlock()
	for _, o := range h.list() {
		o.conform()
	}
	go h.run()
	h.urge()
	for _, o := range h.list() {
		o.pull()
		o.mu.Lock()
		o.wake()
		o.mu.Unlock()
	}
	c.log.Info("streams held", zap.Int("partition", partition), zap.Uint64("epoch", epoch), zap.Int("streams", streams))
	return h
}

// conform brings the stream in line with what its receiver may have now: the configuration of clients may have changed
// since the stream was written. One whose receiver is not there any more transmits nothing.
func (o *outlet) conform() {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, known := o.owner()
	if !known {
		if o.stream.Status != ssf.Disabled {
			o.c.log.Warn("stream disabled, its client is not in the configuration any more",
				zap.String("stream", o.id), zap.String("receiver", o.stream.Receiver), zap.String("tenant", o.stream.Tenant))
			o.announce(ssf.Disabled, "the receiver is not known any more", ssf.ByCourier, time.Now())
			o.holding.changed(o)
		}
		return
	}
	if s := o.stream; s.Conform(r) {
		o.stream, o.wanted, o.configDirty = s, newSubjects(&s), true
		o.holding.changed(o)
	}
}

// owner is the stream's receiver as it is configured now; false when it is not, or belongs to another tenant. It is called
// with o.mu held.
func (o *outlet) owner() (ssf.Receiver, bool) {
	r, known := o.c.receiver(o.stream.Receiver)
	return r, known && r.Tenant == o.stream.Tenant
}

// background runs fn while the partition is held.
func (h *holding) background(fn func(ctx context.Context)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.work.Go(func() { fn(h.ctx) })
}

func (h *holding) list() []*outlet {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.outlets))
}

func (h *holding) outlet(id string) *outlet {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.outlets[id]
}

// changed has the position of a stream written soon.
func (h *holding) changed(o *outlet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dirty[o] = struct{}{}
}

func (h *holding) urge() {
	select {
	case h.urgent <- struct{}{}:
	default:
	}
}

// save returns when the stream as it is now is durable. After an error that is not known.
func (h *holding) save(ctx context.Context, o *outlet) error {
	o.mu.Lock()
	o.dirty = true
	o.mu.Unlock()
	h.mu.Lock()
	h.dirty[o] = struct{}{}
	done := h.waiter()
	h.mu.Unlock()
	return h.wait(ctx, done)
}

// waiter is told when everything that is dirty now is durable. It is called with h.mu held.
func (h *holding) waiter() chan error {
	done := make(chan error, 1)
	h.waiters = append(h.waiters, done)
	h.urge()
	return done
}

func (h *holding) wait(ctx context.Context, done chan error) error {
	select {
	case err := <-done:
		return err
	case <-h.released:
		return h.gone()
	case <-ctx.Done():
		return fmt.Errorf("waiting for the log: %w", ctx.Err())
	}
}

// gone is why the partition is not held any more.
func (h *holding) gone() error {
	if err := context.Cause(h.ctx); errors.Is(err, errFenced) {
		return err
	}
	return errReleased
}

// errReleased means that the partition was given up: another courier will have it soon.
var errReleased = errors.New("the streams of the partition are being handed over")

// run writes what changes until the partition is lost or given up, and then what is left.
func (h *holding) run() {
	defer close(h.released)
	watch := time.NewTicker(h.c.cfg.WatchEvery)
	defer watch.Stop()
	soon := time.NewTimer(h.c.cfg.FlushEvery)
	defer soon.Stop()
	for {
		epoch, _, changed := h.c.table.holder(h.partition)
		if epoch != h.epoch { // it may have been claimed before anybody looked
			h.cancel(errFenced)
			return
		}
		select {
		case <-h.ctx.Done():
			return
		case <-changed:
			h.look()
			continue
		case <-h.urgent:
		case <-soon.C:
			soon.Reset(h.c.cfg.FlushEvery)
		case <-watch.C:
			now := time.Now()
			for _, o := range h.list() {
				o.watch(now)
			}
			continue
		}
		h.flush(h.ctx)
	}
}

// look finds out whether a former owner has written late.
func (h *holding) look() {
	for _, id := range h.c.table.shadowed(h.partition) {
		h.c.log.Warn("a former owner wrote late, its record is replaced", zap.String("stream", id), zap.Int("partition", h.partition))
		h.mu.Lock()
		o := h.outlets[id]
		if o == nil {
			h.deleted[id] = rank{h.epoch, h.c.table.revision(h.partition, id) + 1}
		} else {
			h.dirty[o] = struct{}{}
		}
		h.mu.Unlock()
		if o != nil {
			o.mu.Lock()
			o.configDirty, o.dirty = true, true
			o.mu.Unlock()
		}
		h.c.table.settled(h.partition, id)
		h.urge()
	}
}

// Bounds of one batch.
const (
	batchRecords = 400
	batchBytes   = stream.MaxBatchBytes - 64<<10
)

// flush writes what changed since the last time, and tells who waits for it.
func (h *holding) flush(ctx context.Context) {
	h.mu.Lock()
	dirty, deleted, waiters := h.dirty, h.deleted, h.waiters
	h.dirty, h.deleted, h.waiters = map[*outlet]struct{}{}, map[string]rank{}, nil
	h.mu.Unlock()
	var records []stream.Record
	for id, at := range deleted {
		for _, prefix := range []string{prefixStream, prefixPosition} {
			records = append(records, h.record(prefix+id, nil, at))
		}
	}
	var errs []error
	written := make([]*outlet, 0, len(dirty))
	for o := range dirty {
		more, err := o.records()
		if err != nil {
			errs = append(errs, err)
			h.c.log.Error("stream cannot be written", zap.String("stream", o.id), zap.Error(err))
			continue
		}
		records, written = append(records, more...), append(written, o)
	}
	err := errors.Join(append(errs, h.write(ctx, records))...)
	if err != nil {
		if ctx.Err() == nil {
			h.c.metrics.trouble.Inc()
			h.c.log.Warn("writing streams, trying again", zap.Int("partition", h.partition), zap.Error(err))
		}
		for _, o := range written {
			o.mu.Lock()
			o.configDirty, o.dirty = true, true
			o.mu.Unlock()
		}
		h.mu.Lock()
		for _, o := range written {
			h.dirty[o] = struct{}{}
		}
		maps.Copy(h.deleted, deleted)
		h.mu.Unlock()
	}
	for _, done := range waiters {
		done <- err
	}
}

func (h *holding) record(key string, value []byte, at rank) stream.Record {
	return stream.Record{Key: []byte(key), Value: value, Headers: []stream.Header{{Key: stream.HeaderRank, Value: at.bytes()}}}
}

// write appends records, and returns nil when they count: they are acknowledged, and no other claim lies before them.
func (h *holding) write(ctx context.Context, records []stream.Record) error {
	for len(records) > 0 {
		n, size := 0, 0
		for n < len(records) && n < batchRecords {
			size += len(records[n].Key) + len(records[n].Value) + 128
			if n > 0 && size > batchBytes {
				break
			}
			n++
		}
		base, err := h.c.producer.Produce(ctx, events.TopicStreams, h.partition, records[:n])
		if err != nil {
			return err
		}
		records = records[n:]
		if len(records) > 0 {
			continue
		}
		epoch, _, err := h.c.table.await(ctx, h.partition, base+int64(n)-1)
		if err != nil {
			return err
		}
		if epoch != h.epoch {
			h.cancel(errFenced)
			return errFenced
		}
	}
	return nil
}

// release gives the partition up: nothing is begun any more, what is under way may end, and positions are written. One that
// another has claimed is left at once. It does not end with ctx.
func (h *holding) release(ctx context.Context) {
	fenced := errors.Is(h.gone(), errFenced)
	for _, o := range h.list() {
		o.stop()
	}
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		h.work.Wait()
		close(ended)
	}()
	drain := time.NewTimer(h.c.cfg.DrainTimeout)
	defer drain.Stop()
	if !fenced {
		select {
		case <-ended:
		case <-drain.C:
		case <-h.ctx.Done():
		}
	}
	h.cancel(errReleased)
	<-h.released
	if !fenced {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.c.cfg.DrainTimeout)
		defer cancel()
		for _, o := range h.list() {
			o.mu.Lock()
			if o.advanced || o.dirty {
				o.dirty = true
			}
			o.mu.Unlock()
			h.changed(o)
		}
		h.flush(ctx)
	}
	<-ended
	h.c.mu.Lock()
	if h.c.holdings[h.partition] == h {
		delete(h.c.holdings, h.partition)
	}
	h.c.mu.Unlock()
}

// records are what has to be written of a stream, which is clean then.
func (o *outlet) records() ([]stream.Record, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.deleted {
		return nil, nil
	}
	var out []stream.Record
	if o.configDirty {
		value, err := encodeConfig(o.stream, o.sealed, o.c.secrets)
		if err != nil {
			return nil, err
		}
		o.revision++
		out = append(out, o.holding.record(prefixStream+o.id, value, rank{o.holding.epoch, o.revision}))
	}
	if o.dirty && !o.lost() {
		o.revision++
		out = append(out, o.holding.record(prefixPosition+o.id, encodeProgress(o.progress()), rank{o.holding.epoch, o.revision}))
	}
	o.configDirty, o.dirty, o.advanced, o.usedWritten, o.written = false, false, false, o.stream.Used, time.Now()
	return out, nil
}

// errLost means that nothing can be queued for a stream whose position is lost.
var errLost = errors.New("the position of the stream on the log cannot be read: have it replayed")

// lost reports whether the position could not be read: it is left alone until somebody decides.
func (o *outlet) lost() bool { return o.problem != nil && !errors.Is(o.problem, errSecret) }

// restEvery is how often the position of a stream is written that has only passed over what others get. A restart reads no
// more than that again.
const restEvery = 30 * time.Second

// watch does what is a matter of time.
func (o *outlet) watch(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.c
	used := time.Duration(o.stream.Used-o.usedWritten) * time.Second
	if o.advanced && now.Sub(o.written) > restEvery || c.cfg.InactivityTimeout > 0 && used > c.cfg.InactivityTimeout/10 {
		o.dirty = true
	}
	if o.dirty {
		o.holding.changed(o)
	}
	if o.stopped || o.stream.Status != ssf.Enabled {
		return
	}
	idle := now.Sub(time.Unix(max(o.stream.Used, o.stream.Created), 0))
	switch {
	case c.cfg.InactivityTimeout > 0 && idle > c.cfg.InactivityTimeout:
		o.pauseStream("the receiver has not named the stream for "+c.cfg.InactivityTimeout.String(), pausedInactive, now)
	case !o.failingSince.IsZero() && now.Sub(o.failingSince) > c.cfg.DeadAfter && o.lastSuccess.Before(o.failingSince):
		o.pauseStream("the receiver has taken nothing for "+c.cfg.DeadAfter.String(), pausedDead, now)
	}
}

// pauseStream is the transmitter's own decision, so it is announced. It is called with o.mu held.
func (o *outlet) pauseStream(reason, label string, now time.Time) {
	o.c.metrics.paused.WithLabelValues(label).Inc()
	o.c.log.Warn("stream paused", zap.String("stream", o.id), zap.String("receiver", o.stream.Receiver), zap.String("reason", reason), zap.String("last_error", o.lastError))
	o.announce(ssf.Paused, reason, ssf.ByCourier, now)
	o.holding.changed(o)
}

// announce changes the status by a decision of ours. It is called with o.mu held.
func (o *outlet) announce(status ssf.Status, reason string, by ssf.Party, now time.Time) {
	next := o.stream
	next.Status, next.Reason, next.StatusBy = status, reason, by
	o.become(next)
	o.addControl(control{JTI: newID(), Kind: streamUpdated, Status: status, Reason: reason, At: now.Unix()})
	o.wake()
}
