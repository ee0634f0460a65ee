package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// The room of one record batch of state: keys, and bytes of keys and values with [StateOverhead] each.
const (
	// MaxStateRecords bounds what the progress rule may cost when compaction empties a batch.
	MaxStateRecords = 2000 - 1 // and the checkpoint
	MaxStateBytes   = MaxBatchBytes - checkpointRoom
	StateOverhead   = recordOverhead + maxEnvelope
)

func (w *worker) checkpoint(epoch, seq, next int64, guarded map[string]int64) checkpoint {
	return checkpoint{
		Format: stateFormat, Cluster: w.cluster, Topic: w.cfg.Input, Partitions: w.partitions, NextOffset: next,
		Epoch: epoch, Seq: seq, Member: w.member, Generation: w.generation, Version: w.cfg.Version, Guarded: guarded,
	}
}

func (w *worker) encodeCheckpoint(ck *checkpoint) error {
	value, err := json.Marshal(ck)
	if err != nil {
		return fmt.Errorf("encoding checkpoint: %w", err)
	}
	w.enc.add(&Record{Key: checkpointKey, Value: value}, nil, nil)
	return nil
}

// checkpointRoom is kept free in every state batch for the checkpoint.
const checkpointRoom = 4096

// write makes state, the dirty keys and the input position next durable: one record batch if it fits, else several with
// the checkpoint in the last only, and the last keys of state in it that belong together. After an error p must not be used any more.
func (w *worker) write(ctx context.Context, p *partition, state []KeyValue, together int, next int64) error {
	var dirty map[string]struct{}
	if len(p.dirty) > 0 {
		dirty, p.dirty = p.dirty, make(map[string]struct{})
	}
	w.enc.reset()
	add := func(key, value []byte) error {
		if len(key) == 0 || key[0] == 0 {
			return w.stop(StopProcessor, fmt.Errorf("state key %q: must not be empty or start with a zero byte", key))
		}
		rec := Record{Key: key, Value: value}
		size := rec.size() + maxEnvelope
		if size > MaxStateBytes {
			return w.stop(StopTooLarge, fmt.Errorf("state of key %q has %d bytes: %w", key, len(value), ErrTooLarge))
		}
		if w.enc.count >= MaxStateRecords || len(w.enc.raw)+size > MaxStateBytes {
			if err := w.flush(ctx, p); err != nil {
				return err
			}
		}
		// Everything below next is in the value; of a key under replay guard, more.
		env := envelope{Epoch: p.epoch, Seq: p.seq + 1, Last: next - 1}
		if last, ok := p.guards[string(key)]; ok {
			env.Last = max(env.Last, last)
		}
		w.scratch = env.append(w.scratch[:0])
		if value == nil {
			rec.Headers = []Header{{Key: headerEnvelope, Value: w.scratch}}
		}
		w.enc.add(&rec, nil, w.scratch)
		return nil
	}
	for i := range state {
		delete(dirty, string(state[i].Key))
	}
	for k := range dirty {
		if err := add([]byte(k), p.proc.Encode([]byte(k))); err != nil {
			return err
		}
	}
	alone := len(state) - min(together, len(state))
	for i := range state {
		if i == alone && w.enc.count > 0 && !w.fits(state[i:]) {
			if err := w.flush(ctx, p); err != nil {
				return err
			}
		}
		if err := add(state[i].Key, state[i].Value); err != nil {
			return err
		}
	}
	ck := w.checkpoint(p.epoch, p.seq+1, next, p.guarded)
	if err := w.encodeCheckpoint(&ck); err != nil {
		return err
	}
	return w.flush(ctx, p)
}

// fits tells whether state still fits the record batch in the encoder.
func (w *worker) fits(state []KeyValue) bool {
	size := len(w.enc.raw)
	for i := range state {
		size += len(state[i].Key) + len(state[i].Value) + StateOverhead
	}
	return w.enc.count+len(state) <= MaxStateRecords && size <= MaxStateBytes
}

// flush appends the batch in the encoder as the next of p, checks that it continues the log, and starts another.
func (w *worker) flush(ctx context.Context, p *partition) error {
	n := int64(w.enc.count)
	raw, err := w.enc.finish()
	if err != nil {
		return err
	}
	p.seq++
	base, err := w.append(ctx, raw, p.end, func(rec *Record) bool {
		env, err := stateEnvelope(rec)
		return err == nil && env.Epoch == p.epoch && env.Seq == p.seq
	})
	if err != nil {
		return err
	}
	switch {
	case base < p.end:
		return w.stop(StopStateTruncated, fmt.Errorf("%s/%d continued at %d instead of %d", w.cfg.State, w.id, base, p.end))
	case base > p.end:
		if err := w.inspect(ctx, p, base); err != nil {
			return err
		}
	}
	p.end = base + n
	w.enc.reset()
	return nil
}

// append writes an encoded batch to the state partition and returns its base offset. When the outcome of a request is
// unknown it looks for the batch from offset from on, by mine, and sends it again only if it is not there. A copy that
// arrives later still is found by the continuity check of the next batch.
func (w *worker) append(ctx context.Context, raw []byte, from int64, mine func(*Record) bool) (base int64, err error) {
	for attempt := 0; ; attempt++ {
		base, err := w.c.produceOnce(ctx, w.cfg.State, w.id, raw)
		if err == nil {
			return base, nil
		}
		if errors.Is(err, ErrTooLarge) {
			return 0, w.stop(StopTooLarge, err)
		}
		w.trouble(err)
		for ; ; attempt++ {
			if !sleep(ctx, backoff(attempt)) {
				return 0, ctx.Err()
			}
			var found int64
			if found, err = w.find(ctx, from, mine); err == nil {
				if found >= 0 {
					return found, nil
				}
				break
			}
			if _, ok := errors.AsType[*StopError](err); ok {
				return 0, err
			}
			w.trouble(err)
		}
	}
}

// find returns the first offset at or past from whose record is mine, -1 when there is none.
func (w *worker) find(ctx context.Context, from int64, mine func(*Record) bool) (int64, error) {
	var end int64
	for attempt := 0; ; attempt++ {
		var err error
		if _, end, err = w.c.ends(ctx, w.cfg.State, w.id); err != nil {
			return 0, err
		}
		if end >= from {
			break
		}
		if attempt == truncationChecks {
			return 0, w.stop(StopStateTruncated, fmt.Errorf("%s/%d ends at %d, before %d", w.cfg.State, w.id, end, from))
		}
		if !sleep(ctx, truncationPause) {
			return 0, ctx.Err()
		}
	}
	found := int64(-1)
	err := w.c.scan(w.cfg.State, w.id, from).until(ctx, end, w.trouble, func(rec *Record) error {
		if found < 0 && mine(rec) {
			found = rec.Offset
		}
		return nil
	})
	return found, err
}

// stateEnvelope is the envelope of a state record or a checkpoint.
func stateEnvelope(rec *Record) (envelope, error) {
	if bytes.Equal(rec.Key, checkpointKey) {
		ck, err := parseCheckpoint(rec.Value)
		return ck.envelope(), err
	}
	env, _, err := parseEnvelope(rec)
	return env, err
}

// inspect reads what lies between the end we knew and the base of the batch just written, and decides what it means.
func (w *worker) inspect(ctx context.Context, p *partition, base int64) error {
	zombies := 0
	var verdict error
	err := w.c.scan(w.cfg.State, w.id, p.end).until(ctx, base, w.trouble, func(rec *Record) error {
		env, err := stateEnvelope(rec)
		isCkpt := bytes.Equal(rec.Key, checkpointKey)
		switch {
		case err != nil: // nobody but owners may write here; what is in memory is right
			zombies++
		case env.Epoch > p.epoch:
			verdict = fmt.Errorf("epoch %d at offset %d of %s/%d, ours is %d: %w", env.Epoch, rec.Offset, w.cfg.State, w.id, p.epoch, errFenced)
		case env.Epoch < p.epoch:
			zombies++
		case env.Seq > p.seq || (isCkpt && !w.written(rec)):
			verdict = fmt.Errorf("epoch %d of %s/%d has two owners: %w", p.epoch, w.cfg.State, w.id, errRestoreAgain)
		case env.Seq >= p.seq-1:
			return nil // a repeat of the newest batch, nothing lies over it
		}
		// A key that later writes of ours cover is written once more than needed; a missed one would be lost.
		if !isCkpt && len(rec.Key) > 0 && rec.Key[0] != 0 {
			p.dirty[string(rec.Key)] = struct{}{}
		}
		return verdict
	})
	if zombies > 0 {
		w.c.metrics.zombies.WithLabelValues(w.cfg.State).Add(float64(zombies))
	}
	return err
}

// written reports whether rec is a checkpoint of this member.
func (w *worker) written(rec *Record) bool {
	ck, err := parseCheckpoint(rec.Value)
	return err == nil && ck.Member == w.member
}
