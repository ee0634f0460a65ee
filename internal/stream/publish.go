package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// PublisherConfig configures a Publisher.
type PublisherConfig struct {
	// MaxInFlightBytes bounds the unacknowledged bytes of all callers together. Default 32 MB.
	MaxInFlightBytes int
}

// Publisher spreads records over partitions by key, and groups concurrent callers into shared record batches. It waits
// for no timer: an idle partition is written at once, a busy one takes what gathered during the request before.
type Publisher struct {
	c     *Cluster
	limit int

	mu       sync.Mutex
	inFlight int // bytes
	lanes    map[lane]*publishLane
}

// publishLane is the queue of one partition. Whoever finds it idle becomes its sender until it is empty.
type publishLane struct {
	queue   []publishPart
	sending bool
}

// publishPart is what one caller wants in one partition: records fit one batch.
type publishPart struct {
	ctx     context.Context //nolint:containedctx // the caller's, so that the sender drops what nobody waits for
	records []*Record
	size    int
	done    chan<- error
}

// Publisher returns a publisher. Records of one key keep the order of the calls that published them one after another.
func (c *Cluster) Publisher(cfg PublisherConfig) *Publisher {
	def(&cfg.MaxInFlightBytes, 32<<20)
	return &Publisher{c: c, limit: cfg.MaxInFlightBytes, lanes: make(map[lane]*publishLane)}
}

// Publish writes records to topic, each to PartitionFor(Key), and returns nil only when all are acknowledged by every
// in-sync replica. The slices must not change until it returns. It fails at once with ErrOverloaded when the limit of
// unacknowledged bytes would be passed, and with ErrTooLarge when a record cannot fit a batch; then nothing was written.
// After any other error some records may be written, now or later.
func (p *Publisher) Publish(ctx context.Context, topic string, records []Record) error {
	total := 0
	for i := range records {
		size := records[i].size()
		if size > MaxBatchBytes {
			return fmt.Errorf("record %d of %d has %d bytes, limit %d: %w", i, len(records), size, MaxBatchBytes, ErrTooLarge)
		}
		total += size
	}
	if len(records) == 0 {
		return nil
	}
	n, err := p.c.Partitions(ctx, topic)
	if err != nil {
		return err
	}
	if !p.admit(total) {
		return fmt.Errorf("publishing %d bytes to %s: %w", total, topic, ErrOverloaded)
	}
	defer p.release(total)
	parts := split(records, n)
	count := 0
	for _, list := range parts {
		count += len(list)
	}
	done := make(chan error, count)
	for partition, list := range parts {
		for _, part := range list {
			part.ctx, part.done = ctx, done
			p.enqueue(lane{topic, partition}, part) //nolint:contextcheck // the batch serves callers with contexts of their own
		}
	}
	// Wait for all, not only until the first error: the slices are in use until then.
	var errs []error
	for range count {
		if err := <-done; err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// split groups records by partition, in parts that fit a batch each.
func split(records []Record, partitions int) map[int][]publishPart {
	parts := make(map[int][]publishPart)
	for i := range records {
		r := &records[i]
		k := PartitionFor(r.Key, partitions)
		list := parts[k]
		if len(list) == 0 || list[len(list)-1].size+r.size() > MaxBatchBytes {
			list = append(list, publishPart{})
		}
		last := &list[len(list)-1]
		last.records = append(last.records, r)
		last.size += r.size()
		parts[k] = list
	}
	return parts
}

func (p *Publisher) admit(bytes int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	// One caller alone may pass the limit, or a large request could never be served.
	if p.inFlight > 0 && p.inFlight+bytes > p.limit {
		return false
	}
	p.inFlight += bytes
	return true
}

func (p *Publisher) release(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight -= bytes
}

func (p *Publisher) enqueue(k lane, part publishPart) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[k]
	if l == nil {
		l = &publishLane{}
		p.lanes[k] = l
	}
	l.queue = append(l.queue, part)
	if !l.sending {
		l.sending = true
		go p.send(k, l)
	}
}

// send writes what is queued, batch after batch, until the queue is empty.
func (p *Publisher) send(k lane, l *publishLane) {
	var enc batchEncoder
	for {
		parts := p.take(l)
		if parts == nil {
			return
		}
		err := p.write(k, &enc, parts)
		for _, part := range parts {
			part.done <- err
		}
	}
}

// take removes the parts of the next batch from the queue; nil when there are none, and then sending has ended.
func (p *Publisher) take(l *publishLane) []publishPart {
	p.mu.Lock()
	defer p.mu.Unlock()
	size, n := 0, 0
	for n < len(l.queue) {
		part := &l.queue[n]
		if n > 0 && size+part.size > MaxBatchBytes {
			break
		}
		size += part.size
		n++
	}
	if n == 0 {
		l.sending, l.queue = false, nil
		return nil
	}
	parts := l.queue[:n:n]
	l.queue = l.queue[n:]
	return parts
}

// write produces one batch. It gives up when none of its callers waits any more.
func (p *Publisher) write(k lane, enc *batchEncoder, parts []publishPart) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var mu sync.Mutex
	waiting := len(parts)
	enc.reset()
	for _, part := range parts {
		stop := context.AfterFunc(part.ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if waiting--; waiting == 0 {
				cancel(context.Cause(part.ctx))
			}
		})
		defer stop()
		for _, r := range part.records {
			enc.add(r, nil, nil)
		}
	}
	raw, err := enc.finish()
	if err != nil {
		return err
	}
	_, err = p.c.produce(ctx, k.topic, k.partition, raw, nil)
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}
