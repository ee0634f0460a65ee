package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// produce writes one output, in as few batches as it takes, and returns when all of it is acknowledged. A retry may
// repeat records; their ids are the same, so that is harmless.
func (w *worker) produce(ctx context.Context, p *partition, out *Output) error {
	if len(out.Records) == 0 {
		return nil
	}
	if out.Rekeyed {
		return w.publish(ctx, out)
	}
	part, err := w.outputPartition(ctx, out.Topic)
	if err != nil {
		return err
	}
	var rank [16]byte
	binary.BigEndian.PutUint64(rank[:], uint64(p.epoch))
	w.enc.reset()
	for i := range out.Records {
		r := &out.Records[i]
		size := r.size() + headerOverhead + len(HeaderRank) + len(rank)
		if size > MaxBatchBytes {
			return w.stop(StopTooLarge, fmt.Errorf("record of %d bytes for %s: %w", size, out.Topic, ErrTooLarge))
		}
		if len(w.enc.raw)+size > MaxBatchBytes {
			if err := w.send(ctx, p, out.Topic, part); err != nil {
				return err
			}
		}
		binary.BigEndian.PutUint64(rank[8:], uint64(r.Offset))
		w.enc.add(r, rank[:], nil)
	}
	return w.send(ctx, p, out.Topic, part)
}

// publish writes a re-keyed output until all of it is acknowledged: what fits one record batch after the other, so that
// records of one partition stay in order whatever fails.
func (w *worker) publish(ctx context.Context, out *Output) error {
	if slices.Contains(w.cfg.Guarded, out.Topic) {
		return w.stop(StopProcessor, fmt.Errorf("output to %s is re-keyed and the topic is guarded: the guard looks at one partition", out.Topic))
	}
	for rest := out.Records; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && (n == 0 || size+rest[n].size() <= MaxBatchBytes) {
			size += rest[n].size()
			n++
		}
		if err := w.publishPart(ctx, out.Topic, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (w *worker) publishPart(ctx context.Context, topic string, records []Record) error {
	for attempt := 0; ; attempt++ {
		err := w.o.publisher.Publish(ctx, topic, records)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrTooLarge):
			return w.stop(StopTooLarge, err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		w.trouble(err)
		if !sleep(ctx, backoff(attempt)) {
			return ctx.Err()
		}
	}
}

// outputPartition is the partition of topic that belongs to the input partition.
func (w *worker) outputPartition(ctx context.Context, topic string) (int, error) {
	for attempt := 0; ; attempt++ {
		n, err := w.c.Partitions(ctx, topic)
		if err == nil {
			return w.id % n, nil
		}
		w.trouble(err)
		if !sleep(ctx, backoff(attempt)) {
			return 0, ctx.Err()
		}
	}
}

// send produces the batch in the encoder until it is acknowledged: a partition waits for its outputs, it skips none.
func (w *worker) send(ctx context.Context, p *partition, topic string, part int) error {
	n := int64(w.enc.count)
	raw, err := w.enc.finish()
	if err != nil {
		return err
	}
	for {
		base, err := w.c.produce(ctx, topic, part, raw, w.trouble)
		switch {
		case err == nil:
			w.enc.reset()
			return w.continued(ctx, p, topic, part, base, n)
		case errors.Is(err, ErrTooLarge):
			return w.stop(StopTooLarge, err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		w.trouble(err) // such as missing rights: a person can mend that
		if !sleep(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// openGuarded finds the ends of the guarded output partitions. What lies between them and those of the checkpoint was
// written after it: records caused by input still ahead are going to be repeated, others came late.
func (w *worker) openGuarded(ctx context.Context, p *partition, known map[string]int64) error {
	p.guarded = make(map[string]int64)
	for _, topic := range w.cfg.Guarded {
		part, err := w.outputPartition(ctx, topic)
		if err != nil {
			return err
		}
		first, end, err := w.c.ends(ctx, topic, part)
		if err != nil {
			return err
		}
		p.guarded[topic] = end
		from, ok := known[topic]
		if !ok {
			continue
		}
		if err := w.inspectGuarded(ctx, p, topic, part, max(first, from), end, p.next); err != nil {
			return err
		}
	}
	return nil
}

// continued is the continuity check of a guarded output partition.
func (w *worker) continued(ctx context.Context, p *partition, topic string, part int, base, n int64) error {
	if !slices.Contains(w.cfg.Guarded, topic) {
		return nil
	}
	end := p.guarded[topic]
	p.guarded[topic] = base + n
	if base < end {
		return w.stop(StopStateTruncated, fmt.Errorf("%s/%d continued at %d instead of %d", topic, part, base, end))
	}
	return w.inspectGuarded(ctx, p, topic, part, end, base, 0)
}

// checkGuarded looks for late writes to the guarded output partitions without writing there.
func (w *worker) checkGuarded(ctx context.Context, p *partition) error {
	for _, topic := range w.cfg.Guarded {
		part, err := w.outputPartition(ctx, topic)
		if err != nil {
			return err
		}
		_, end, err := w.c.ends(ctx, topic, part)
		if err != nil {
			return err
		}
		if from := p.guarded[topic]; end > from {
			p.guarded[topic] = end
			if err := w.inspectGuarded(ctx, p, topic, part, from, end, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// inspectGuarded marks the keys of records between from and to that shadow newer ones. Records caused by input at or
// past replayed, when that is not 0, will be repeated anyway.
func (w *worker) inspectGuarded(ctx context.Context, p *partition, topic string, part int, from, to, replayed int64) error {
	if from >= to {
		return nil
	}
	var fenced error
	late := 0
	err := w.c.scan(topic, part, from).until(ctx, to, w.trouble, func(rec *Record) error {
		epoch, cause := int64(-1), int64(-1)
		if h := rec.Header(HeaderRank); len(h) == 16 {
			epoch, cause = int64(binary.BigEndian.Uint64(h)), int64(binary.BigEndian.Uint64(h[8:]))
		}
		switch {
		case epoch > p.epoch:
			fenced = fmt.Errorf("epoch %d at offset %d of %s/%d, ours is %d: %w", epoch, rec.Offset, topic, part, p.epoch, errFenced)
			return fenced
		case replayed > 0 && cause >= replayed:
			return nil
		case epoch < p.epoch:
			late++
		}
		if p.shadowed[topic] == nil {
			p.shadowed[topic] = make(map[string]struct{})
		}
		p.shadowed[topic][string(rec.Key)] = struct{}{}
		return nil
	})
	if late > 0 {
		w.c.metrics.zombies.WithLabelValues(topic).Add(float64(late))
	}
	return err
}

// rewriteGuarded appends the current records of the shadowed keys.
func (w *worker) rewriteGuarded(ctx context.Context, p *partition) error {
	for topic, keys := range p.shadowed {
		delete(p.shadowed, topic)
		out := Output{Topic: topic}
		for k := range keys {
			if rec, ok := p.proc.(Rewriter).Current(topic, []byte(k)); ok {
				rec.Key, rec.Offset = []byte(k), p.next-1
				out.Records = append(out.Records, rec)
			}
		}
		if err := w.produce(ctx, p, &out); err != nil {
			return err
		}
	}
	return nil
}
