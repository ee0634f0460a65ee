package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// MaxBatchBytes is the most a record batch may hold before compression, well below the brokers' default of 1 MiB.
const MaxBatchBytes = 900_000

// Producer writes record batches to chosen partitions.
type Producer struct {
	c     *Cluster
	mu    sync.Mutex
	lanes map[lane]*producerLane
}

// lane names one partition of one topic.
type lane struct {
	topic     string
	partition int
}

// producerLane serialises the requests of one partition. Its lock is a channel so that waiting ends with a context.
type producerLane struct {
	lock chan struct{}
	enc  batchEncoder
}

// Producer returns a producer. Producers of one Cluster share connections.
func (c *Cluster) Producer() *Producer { return &Producer{c: c, lanes: make(map[lane]*producerLane)} }

// Produce appends records to the partition as one record batch and returns the offset of the first. The batch is
// compressed with lz4, appended whole or not at all, and acknowledged by every in-sync replica. Temporary errors are
// retried with backoff until ctx ends; a retry may append the batch twice. One request per partition and Producer is
// in flight at a time. Larger batches than MaxBatchBytes are an ErrTooLarge: nothing is split.
//
// After an error the outcome is unknown unless it is ErrTooLarge.
func (p *Producer) Produce(ctx context.Context, topic string, partition int, records []Record) (base int64, err error) {
	if len(records) == 0 {
		return 0, errors.New("producing no records")
	}
	size := 0
	for i := range records {
		size += records[i].size()
	}
	if size > MaxBatchBytes {
		return 0, fmt.Errorf("producing %d bytes to %s/%d, limit %d: %w", size, topic, partition, MaxBatchBytes, ErrTooLarge)
	}
	l := p.lane(topic, partition)
	select {
	case l.lock <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-l.lock }()
	l.enc.reset()
	for i := range records {
		l.enc.add(&records[i], nil, nil)
	}
	raw, err := l.enc.finish()
	if err != nil {
		return 0, err
	}
	return p.c.produce(ctx, topic, partition, raw, nil)
}

func (p *Producer) lane(topic string, partition int) *producerLane {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := lane{topic, partition}
	l := p.lanes[k]
	if l == nil {
		l = &producerLane{lock: make(chan struct{}, 1)}
		p.lanes[k] = l
	}
	return l
}

// produce sends an encoded batch until it is acknowledged, refused for good, or ctx ends. report may be nil.
func (c *Cluster) produce(ctx context.Context, topic string, partition int, raw []byte, report func(error)) (int64, error) {
	for attempt := 0; ; attempt++ {
		base, err := c.produceOnce(ctx, topic, partition, raw)
		if err == nil || permanent(err) {
			return base, err
		}
		if report != nil {
			report(err)
		}
		if !sleep(ctx, backoff(attempt)) {
			return 0, errors.Join(ctx.Err(), err)
		}
	}
}

// produceOnce sends an encoded batch once. After an error the outcome is unknown.
func (c *Cluster) produceOnce(ctx context.Context, topic string, partition int, raw []byte) (int64, error) {
	batch := &lent{raw: raw}
	defer batch.takeBack()
	res, err := c.client().RawProduce(ctx, &kafka.RawProduceRequest{
		Topic: c.physical(topic), Partition: partition, RequiredAcks: kafka.RequireAll,
		RawRecords: protocol.RawRecordSet{Reader: batch},
	})
	if err == nil {
		err = res.Error
	}
	if err == nil && res.BaseOffset < 0 {
		err = fmt.Errorf("answer without a base offset (%d)", res.BaseOffset)
	}
	if err != nil {
		c.metrics.retries.WithLabelValues(topic).Inc()
		c.noteError(err)
		if errors.Is(err, kafka.MessageSizeTooLarge) {
			err = errors.Join(ErrTooLarge, err)
		}
		return 0, fmt.Errorf("writing to %s/%d: %w", topic, partition, err)
	}
	return res.BaseOffset, nil
}

// lent is a batch in the hands of one request. kafka-go may come to write a request after its caller has left it, because a
// context is over or time is up; the buffer may hold the next batch by then.
type lent struct {
	mu  sync.Mutex
	raw []byte
}

func (l *lent) takeBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raw = nil
}

// WriteTo writes the batch into the request, which is in memory.
func (l *lent) WriteTo(w io.Writer) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.raw == nil {
		return 0, errTakenBack
	}
	n, err := w.Write(l.raw)
	return int64(n), err
}

// Read is for the type: [io.Copy] uses WriteTo.
func (l *lent) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.raw == nil {
		return 0, errTakenBack
	}
	if len(l.raw) == 0 {
		return 0, io.EOF
	}
	n := copy(p, l.raw)
	l.raw = l.raw[n:]
	return n, nil
}

var errTakenBack = errors.New("the caller has left the request")

// permanent reports errors that no retry of the same bytes can mend.
func permanent(err error) bool {
	for _, e := range []error{
		ErrTooLarge, kafka.InvalidTopic, kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed,
		kafka.InvalidRequiredAcks, kafka.UnsupportedForMessageFormat, kafka.PolicyViolation, kafka.SASLAuthenticationFailed,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
