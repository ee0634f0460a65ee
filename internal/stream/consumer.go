package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// ConsumerConfig configures Consume. Zero durations and counts mean the default.
type ConsumerConfig struct {
	// Group is the consumer group. Its committed offsets are the resume point; a partition without one starts at
	// its first record.
	Group string
	Topic string
	// Compacted says that Topic is compacted and has to be read with the progress rule.
	Compacted bool
	// MaxRecords and MaxBytes bound a batch. Defaults 20,000 and 16 MB. A batch holds at least one record.
	MaxRecords int
	MaxBytes   int
	// FetchBytes bounds one fetch, of which up to six are held for a partition besides the batch. Default 4 MB. A single
	// record batch that is larger is fetched all the same.
	FetchBytes int
	// MaxWait is the longest time a record waits for its batch to fill. Default 1 s; negative means not at all.
	MaxWait time.Duration
	// MinFetchBytes lets the broker gather before it answers, at most for MaxWait. Default 64 KB; 1 for low latency.
	// Ignored with Compacted.
	MinFetchBytes int
	// SessionTimeout is how long the group waits for a silent member. Default 30 s.
	SessionTimeout time.Duration
	// HeartbeatInterval must be well below SessionTimeout. Default 3 s.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long the group waits for its members to come together. Default 30 s.
	RebalanceTimeout time.Duration
	// Report, if set, is told about trouble that is retried. It is called from many goroutines and must not block.
	Report func(partition int, err error)
}

func (cfg ConsumerConfig) withDefaults() ConsumerConfig {
	def(&cfg.MaxRecords, 20_000)
	def(&cfg.MaxBytes, 16<<20)
	def(&cfg.FetchBytes, 4<<20)
	def(&cfg.MaxWait, time.Second)
	def(&cfg.MinFetchBytes, 64<<10)
	def(&cfg.SessionTimeout, 30*time.Second)
	def(&cfg.HeartbeatInterval, 3*time.Second)
	def(&cfg.RebalanceTimeout, 30*time.Second)
	return cfg
}

func (cfg ConsumerConfig) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if cfg.Group == "" {
		add("group: empty, name the consumer group")
	}
	if cfg.Topic == "" {
		add("topic: empty, name the topic")
	}
	if cfg.MaxRecords < 1 || cfg.MaxBytes < 1 || cfg.FetchBytes < 1 || cfg.MinFetchBytes < 1 {
		add("max_records %d, max_bytes %d, fetch_bytes %d, min_fetch_bytes %d: must be positive", cfg.MaxRecords, cfg.MaxBytes, cfg.FetchBytes, cfg.MinFetchBytes)
	}
	return errors.Join(append(errs, validateSession(cfg.SessionTimeout, cfg.HeartbeatInterval))...)
}

// Consume joins the group and hands the records of each assigned partition to handle, in order, one batch at a time,
// partitions in parallel, until ctx ends; then it leaves the group and returns nil. The offset after a batch is
// committed once handle returned nil. When handle fails, the error is reported and the same batch handed in again after
// a pause: nothing is skipped, so bad records are the handler's to divert. When a partition is taken away handle's
// context ends and what was buffered is dropped. Records are valid until handle returns.
//
// An error is returned only for an invalid configuration.
func (c *Cluster) Consume(ctx context.Context, cfg ConsumerConfig, handle func(ctx context.Context, partition int, batch []Record) error) error {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	report := func(partition int, err error) {
		if cfg.Report != nil {
			cfg.Report(partition, err)
		}
	}
	m := &membership{c: c, group: cfg.Group, topic: cfg.Topic, session: cfg.SessionTimeout, heartbeat: cfg.HeartbeatInterval, rebalance: cfg.RebalanceTimeout}
	return m.run(ctx, func(err error) { report(-1, err) }, func(gen *kafka.Generation, commits *committer) {
		commits.every = min(commitInterval, 200*time.Millisecond)
		for _, a := range gen.Assignments[c.physical(cfg.Topic)] {
			k := &consumerPart{c: c, cfg: &cfg, id: a.ID, offset: a.Offset, commits: commits, handle: handle}
			k.report = func(err error) { report(a.ID, err) }
			commits.start(k.run)
		}
	})
}

// consumerPart reads one partition of one generation.
type consumerPart struct {
	c       *Cluster
	cfg     *ConsumerConfig
	id      int
	offset  int64 // the next; negative: the first retained
	commits *committer
	handle  func(ctx context.Context, partition int, batch []Record) error
	report  func(error)
}

// run reads until the generation ends; to return earlier would end it for every partition.
func (k *consumerPart) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		from := k.offset
		err := k.read(ctx)
		if ctx.Err() != nil {
			break
		}
		k.report(err)
		if k.offset != from {
			attempt = 0
		}
		sleep(ctx, backoff(attempt))
	}
	k.c.metrics.lag.DeleteLabelValues(k.cfg.Topic, label(k.id))
}

func (k *consumerPart) read(ctx context.Context) error {
	if err := k.position(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wait := max(k.cfg.MaxWait, 10*time.Millisecond)
	in := &input{
		c: k.c, topic: k.cfg.Topic, partition: k.id, compacted: k.cfg.Compacted, report: k.report,
		minBytes: min(k.cfg.MinFetchBytes, k.cfg.FetchBytes), maxBytes: k.cfg.FetchBytes, wait: min(wait, time.Second),
	}
	if in.minBytes == 1 {
		in.wait = 500 * time.Millisecond // a long poll: it ends with the first byte
	}
	in.start(ctx, k.offset)
	b := &consumerBatch{}
	for {
		err := k.gather(ctx, in, b)
		if len(b.records) > 0 {
			if ctx.Err() != nil {
				return ctx.Err() // taken away: what is buffered belongs to the next owner
			}
			k.deliver(ctx, in, b)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if err != nil {
			return err
		}
	}
}

// consumerBatch gathers a batch; what exceeds it waits in rest.
type consumerBatch struct {
	records []Record
	rest    chunk
}

// next is the offset after the batch.
func (b *consumerBatch) next() int64 {
	if len(b.rest.records) == 0 {
		return b.rest.next
	}
	return b.records[len(b.records)-1].Offset + 1
}

// gather fills b until a limit or the wait is reached. An error may come with records.
func (k *consumerPart) gather(ctx context.Context, in *input, b *consumerBatch) error {
	size := 0
	var timeout <-chan time.Time
	for {
		for i := range b.rest.records {
			r := &b.rest.records[i]
			if len(b.records) == k.cfg.MaxRecords || (len(b.records) > 0 && size+r.size() > k.cfg.MaxBytes) {
				b.rest.records = b.rest.records[i:]
				return nil
			}
			size += r.size()
			b.records = append(b.records, *r)
		}
		b.rest.records = nil
		if len(b.records) == 0 && b.rest.next > k.offset {
			k.done(in, b.rest.next) // what was there is for no reader
		}
		if len(b.records) > 0 && k.cfg.MaxWait < 0 {
			select {
			case ch := <-in.out:
				if ch.err != nil {
					return ch.err
				}
				b.rest = ch
				continue
			default:
				return nil
			}
		}
		if len(b.records) > 0 && timeout == nil {
			timer := time.NewTimer(k.cfg.MaxWait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return nil
		case ch := <-in.out:
			if ch.err != nil {
				return ch.err
			}
			b.rest = ch
		}
	}
}

// done notes that everything before next is.
func (k *consumerPart) done(in *input, next int64) {
	k.offset = next
	k.commits.mark(k.id, k.offset)
	k.c.metrics.lag.WithLabelValues(k.cfg.Topic, label(k.id)).Set(float64(max(0, in.high.Load()-k.offset)))
}

// deliver hands the batch to the handler until it succeeds or the partition is taken away.
func (k *consumerPart) deliver(ctx context.Context, in *input, b *consumerBatch) {
	for attempt := 0; ; attempt++ {
		err := k.handle(ctx, k.id, b.records)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		k.report(fmt.Errorf("handling %d records of %s/%d from %d: %w", len(b.records), k.cfg.Topic, k.id, b.records[0].Offset, err))
		if !sleep(ctx, 5*backoff(attempt)) {
			return
		}
	}
	k.done(in, b.next())
	m := k.c.metrics
	m.records.WithLabelValues(k.cfg.Topic).Add(float64(len(b.records)))
	m.batches.WithLabelValues(k.cfg.Topic).Inc()
	clear(b.records)
	b.records = b.records[:0]
}

// position finds the offset to start at, and counts what retention took.
func (k *consumerPart) position(ctx context.Context) error {
	first, end, err := k.c.ends(ctx, k.cfg.Topic, k.id)
	if err != nil {
		return err
	}
	switch {
	case k.offset < 0:
		k.offset = first
	case k.offset < first:
		// Compaction may move the first offset without losing anything.
		if !k.cfg.Compacted {
			k.c.metrics.lost.WithLabelValues(k.cfg.Topic).Add(float64(first - k.offset))
			k.report(fmt.Errorf("continuing %s/%d at %d behind %d records that retention deleted unread", k.cfg.Topic, k.id, first, first-k.offset))
		}
		k.offset = first
	case k.offset > end:
		return fmt.Errorf("group %s is at %d, %s/%d ends at %d: the topic was truncated or created anew, reset the group's offsets: %w", k.cfg.Group, k.offset, k.cfg.Topic, k.id, end, kafka.OffsetOutOfRange)
	}
	return nil
}
