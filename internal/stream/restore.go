package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// restorer folds the records of a state partition into a processor, in log order.
//
// In a log without late writes, (epoch, batch number) never falls, so the last record of a key is its best. A record
// out of that order was written late by a former owner, or by a delayed retry; its key's records have to be ranked.
// Such keys are rare and known only when met, so the restore is then done again with them held back: memory stays
// small however many keys there are. Records that no owner can have written rank below all others.
type restorer struct {
	proc Processor
	// floor is a lower bound of the final checkpoint's NextOffset, so that guards need not hold every key.
	floor int64
	held  map[string]*heldKey
	late  map[string]struct{} // met out of order in this pass and not held

	top     envelope // highest epoch and batch number so far
	records int      // except readable checkpoints
	ckpt    checkpoint
	hasCkpt bool
	guards  map[string]int64 // last input offset of the keys that a replay from ckpt must skip
}

// heldKey is the best record so far of a key that has late ones.
type heldKey struct {
	env     envelope
	payload []byte // nil when deleted
	best    bool   // the best record is also the last
	seen    bool
}

func newRestorer(proc Processor, floor int64, held map[string]*heldKey) *restorer {
	for k := range held {
		held[k] = &heldKey{}
	}
	return &restorer{proc: proc, floor: floor, held: held, late: make(map[string]struct{}), guards: make(map[string]int64)}
}

// errProcessorRestore marks an error of the processor, which is a matter of the state's format.
var errProcessorRestore = errors.New("restoring a state record")

func (r *restorer) add(rec *Record) error {
	if bytes.Equal(rec.Key, checkpointKey) {
		return r.addCheckpoint(rec)
	}
	r.records++
	env, payload, err := parseEnvelope(rec)
	if errors.Is(err, errBadEnvelope) {
		r.stray(rec.Key)
		return nil
	}
	if err != nil {
		return fmt.Errorf("state record at offset %d: %w", rec.Offset, err)
	}
	inOrder := env.follows(r.top)
	if inOrder {
		r.top = env
	}
	if h := r.held[string(rec.Key)]; h != nil {
		h.best = !h.seen || !h.env.outranks(env)
		if h.best {
			h.env, h.payload, h.seen = env, clone(payload), true
		}
		return nil
	}
	if !inOrder {
		r.late[string(rec.Key)] = struct{}{}
		return nil // the pass will be repeated
	}
	r.guard(rec.Key, env.Last)
	if err := r.proc.Restore(rec.Key, payload); err != nil {
		return fmt.Errorf("%w at offset %d: %w", errProcessorRestore, rec.Offset, err)
	}
	return nil
}

// stray notes a record that is not ours: its key's best record has to be written again.
func (r *restorer) stray(key []byte) {
	if len(key) == 0 || key[0] == 0 {
		return // no key of ours; a checkpoint is written again anyway
	}
	if h := r.held[string(key)]; h != nil {
		h.best = false
	} else {
		r.late[string(key)] = struct{}{}
	}
}

func (r *restorer) addCheckpoint(rec *Record) error {
	ck, err := parseCheckpoint(rec.Value)
	if errors.Is(err, errBadEnvelope) {
		r.records++
		return nil
	}
	if err != nil {
		return fmt.Errorf("checkpoint at offset %d: %w", rec.Offset, err)
	}
	env := ck.envelope()
	if env.follows(r.top) {
		r.top = env
	}
	if r.hasCkpt && !env.follows(r.ckpt.envelope()) {
		return nil // late: the claim that follows the restore outranks it in the log as well
	}
	r.ckpt, r.hasCkpt = ck, true
	for k, last := range r.guards {
		if last < ck.NextOffset {
			delete(r.guards, k)
		}
	}
	return nil
}

func (r *restorer) guard(key []byte, last int64) {
	if last >= max(r.floor, r.ckpt.NextOffset) {
		r.guards[string(key)] = last
	} else {
		delete(r.guards, string(key))
	}
}

// settled reports whether the pass was right; if not, again says with what to repeat it.
func (r *restorer) settled() bool {
	return len(r.late) == 0 && (!r.hasCkpt || r.ckpt.NextOffset >= r.floor)
}

func (r *restorer) again(proc Processor) *restorer {
	if r.held == nil {
		r.held = make(map[string]*heldKey)
	}
	for k := range r.late {
		r.held[k] = nil
	}
	return newRestorer(proc, min(r.floor, r.ckpt.NextOffset), r.held)
}

// finish restores the held keys and returns those whose best record has to be written again, because a late one
// follows it and compaction would keep the late one.
func (r *restorer) finish() (dirty map[string]struct{}, err error) {
	dirty = make(map[string]struct{})
	for k, h := range r.held {
		if h.seen {
			r.guard([]byte(k), h.env.Last)
			if err := r.proc.Restore([]byte(k), h.payload); err != nil {
				return nil, fmt.Errorf("%w: %w", errProcessorRestore, err)
			}
		}
		if !h.best {
			dirty[k] = struct{}{}
		}
	}
	return dirty, nil
}

// probeBack is how far before the end of the log a checkpoint is looked for; every batch of ours ends with one.
const probeBack = 8192

// errRestoreAgain means that records which change the picture arrived during the restore.
var errRestoreAgain = errors.New("state partition changed during restore")

// restore loads the state partition, checks that it may be continued, claims it, and returns it ready to go.
func (w *worker) restore(ctx context.Context) (*partition, error) {
	began := time.Now()
	cluster, err := w.c.clusterID(ctx)
	if err != nil {
		return nil, err
	}
	// Asked anew, not from the cache: a grown topic must be noticed.
	partitions, err := w.c.askPartitions(ctx, w.cfg.Input)
	if err != nil {
		return nil, fmt.Errorf("looking up topic %s: %w", w.cfg.Input, err)
	}
	w.cluster, w.partitions = cluster, partitions
	first, end, err := w.c.ends(ctx, w.cfg.State, w.id)
	if err != nil {
		return nil, err
	}
	floor, err := w.probe(ctx, first, end)
	if err != nil {
		return nil, err
	}
	r := newRestorer(w.o.newProcessor(w.id), floor, nil)
	if _, ok := r.proc.(Rewriter); !ok && len(w.cfg.Guarded) > 0 {
		return nil, w.stop(StopProcessor, errors.New("guarded topics need a processor that is a Rewriter"))
	}
	for {
		if err := w.load(ctx, r, first, end); err != nil {
			return nil, err
		}
		if r.settled() {
			break
		}
		r = r.again(w.o.newProcessor(w.id))
	}
	next, err := w.admit(ctx, r)
	if err != nil {
		return nil, err
	}
	p, err := w.claim(ctx, r, end, next)
	if err != nil {
		return nil, err
	}
	w.c.metrics.restore.WithLabelValues(w.cfg.Input).Observe(time.Since(began).Seconds())
	return p, nil
}

func (w *worker) probe(ctx context.Context, first, end int64) (floor int64, err error) {
	found := false
	s := w.c.scan(w.cfg.State, w.id, max(first, end-probeBack))
	err = s.until(ctx, end, w.trouble, func(rec *Record) error {
		if bytes.Equal(rec.Key, checkpointKey) {
			if ck, err := parseCheckpoint(rec.Value); err == nil && (!found || ck.NextOffset < floor) {
				floor, found = ck.NextOffset, true
			}
		}
		return nil
	})
	return floor, w.readError(err)
}

// load feeds the offsets from first up to end to r.
func (w *worker) load(ctx context.Context, r *restorer, first, end int64) error {
	var failed error
	err := w.c.scan(w.cfg.State, w.id, first).until(ctx, end, w.trouble, func(rec *Record) error {
		failed = r.add(rec)
		return failed
	})
	if failed != nil {
		return w.stop(StopFormat, failed)
	}
	return w.readError(err)
}

// readError turns an offset that left the log while it was read into another attempt.
func (w *worker) readError(err error) error {
	if errors.Is(err, errOutOfRange) {
		return fmt.Errorf("%w: %w", errRestoreAgain, err)
	}
	return err
}

// admit decides whether the partition may be continued, and where. It refuses rather than guesses.
func (w *worker) admit(ctx context.Context, r *restorer) (next int64, err error) {
	ck := &r.ckpt
	switch {
	case !r.hasCkpt && r.records > 0:
		return 0, w.stop(StopNoCheckpoint, fmt.Errorf("%s/%d holds %d state records and no checkpoint", w.cfg.State, w.id, r.records))
	case !r.hasCkpt && w.groupOffset >= 0:
		return 0, w.stop(StopNoCheckpoint, fmt.Errorf("group %s committed offset %d and there is no checkpoint", w.cfg.Group, w.groupOffset))
	case r.hasCkpt && ck.Cluster != w.cluster:
		return 0, w.stop(StopCluster, fmt.Errorf("checkpoint is of cluster %q, this is %q", ck.Cluster, w.cluster))
	case r.hasCkpt && ck.Topic != w.cfg.Input:
		return 0, w.stop(StopTopic, fmt.Errorf("checkpoint is of topic %q, the input is %q", ck.Topic, w.cfg.Input))
	case r.hasCkpt && ck.Partitions != w.partitions:
		return 0, w.stop(StopPartitionCount, fmt.Errorf("checkpoint is of %d partitions, %s has %d", ck.Partitions, w.cfg.Input, w.partitions))
	}
	return w.position(ctx, ck.NextOffset, r.hasCkpt)
}

// position compares the checkpoint with the input partition and returns where to read on.
func (w *worker) position(ctx context.Context, next int64, known bool) (int64, error) {
	for attempt := 0; ; attempt++ {
		first, end, err := w.c.ends(ctx, w.cfg.Input, w.id)
		switch {
		case err != nil:
			return 0, err
		case !known:
			return first, nil
		case next < first && !w.cfg.ContinueAfterLoss:
			return 0, w.stop(StopInputLost, fmt.Errorf("checkpoint is at %d, retention kept %s/%d from %d: %d records were never processed", next, w.cfg.Input, w.id, first, first-next))
		case next < first:
			w.c.metrics.lost.WithLabelValues(w.cfg.Input).Add(float64(first - next))
			w.trouble(fmt.Errorf("continuing %s/%d at %d behind %d records that retention deleted unprocessed", w.cfg.Input, w.id, first, first-next))
			return first, nil
		case next <= end:
			return next, nil
		case attempt == truncationChecks:
			return 0, w.stop(StopInputTruncated, fmt.Errorf("checkpoint is at %d, %s/%d ends at %d", next, w.cfg.Input, w.id, end))
		}
		// A new leader may not know the high watermark yet; a truncated log stays short.
		if !sleep(ctx, truncationPause) {
			return 0, ctx.Err()
		}
	}
}

const (
	truncationChecks = 4
	truncationPause  = 250 * time.Millisecond
)
