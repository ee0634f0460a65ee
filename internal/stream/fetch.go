package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Sizes of one fetch by scanner: the first covers any batch of ours with room for the next one, the second is what
// the progress rule raises it to.
const (
	scanBytes       = 2 << 20
	scanBytesRaised = 8 << 20
)

// scanner reads one partition in order with Client.Fetch, the only API of kafka-go that is safe on compacted topics.
type scanner struct {
	c         *Cluster
	topic     string
	partition int
	next      int64 // the next offset wanted
	high      int64 // high watermark of the last answer; -1 before the first
	bytes     int   // of a fetch
	raisedTo  int   // by the progress rule
	raised    bool
	buf       []byte // keys and values of the record in hand
	rec       Record
}

func (c *Cluster) scan(topic string, partition int, from int64) *scanner {
	return &scanner{c: c, topic: topic, partition: partition, next: from, high: -1, bytes: scanBytes, raisedTo: scanBytesRaised}
}

// errOutOfRange means that the wanted offset is not in the log.
var errOutOfRange = errors.New("offset out of range")

// fetch asks once, waiting up to wait for at least one byte, and hands every record at or past the wanted offset to fn,
// valid during the call. With upTo >= 0 it stops before that offset.
//
// Progress rule: kafka-go drops a batch's last offset, so when compaction removed the end of a batch, the broker
// answers with that batch again and nothing in it is wanted. Then ask for more bytes once, to see the batches behind,
// and after that step over one offset.
func (s *scanner) fetch(ctx context.Context, wait time.Duration, upTo int64, fn func(*Record) error) (n int, err error) {
	maxBytes := s.bytes
	if s.raised {
		maxBytes = s.raisedTo
	}
	res, err := s.c.client().Fetch(ctx, &kafka.FetchRequest{
		Topic: s.c.physical(s.topic), Partition: s.partition, Offset: s.next, MinBytes: 1, MaxBytes: int64(maxBytes), MaxWait: wait,
	})
	if err == nil {
		err = res.Error
	}
	if errors.Is(err, kafka.OffsetOutOfRange) {
		return 0, fmt.Errorf("reading %s/%d at %d: %w", s.topic, s.partition, s.next, errOutOfRange)
	}
	if err != nil {
		s.c.noteError(err)
		return 0, fmt.Errorf("reading %s/%d at %d: %w", s.topic, s.partition, s.next, err)
	}
	s.high = res.HighWatermark
	from := s.next
	over := false // a record past upTo was seen, so none is missing before it
	var failed error
	err = eachRecord(res.Records, func(rec *protocol.Record, control bool) error {
		switch {
		case upTo >= 0 && rec.Offset >= upTo:
			over = true
			return nil
		case rec.Offset < s.next:
			return nil
		case control:
			s.next = rec.Offset + 1
			return nil
		}
		if err := s.take(rec); err != nil {
			return err
		}
		s.next = rec.Offset + 1
		n++
		failed = fn(&s.rec)
		return failed
	})
	switch {
	case failed != nil:
		return n, failed
	case err != nil:
		return n, fmt.Errorf("decoding %s/%d at %d: %w", s.topic, s.partition, s.next, err)
	}
	switch {
	case over:
		s.next = max(s.next, upTo)
	case s.next > from:
		s.raised = false
	case s.next >= s.high:
	case !s.raised:
		s.raised = true
	default:
		s.next++
	}
	return n, nil
}

// eachRecord hands every record of a fetch to fn, valid during the call, and says which are control records: the marks
// that a transaction's end leaves in the log, whose offsets count and which are for no reader. An error ends it.
func eachRecord(in kafka.RecordReader, fn func(rec *protocol.Record, control bool) error) error {
	batches := []kafka.RecordReader{in}
	if whole, ok := in.(*protocol.RecordStream); ok {
		batches = whole.Records // the stream would leave control batches out in silence
	}
	for _, batch := range batches {
		_, control := batch.(*protocol.ControlBatch)
		for {
			rec, err := batch.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			err = fn(rec, control)
			closeRecord(rec)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// take copies rec into the buffers of s.
func (s *scanner) take(rec *protocol.Record) error {
	nk, nv := -1, -1
	if rec.Key != nil {
		nk = rec.Key.Len()
	}
	if rec.Value != nil {
		nv = rec.Value.Len()
	}
	need := max(nk, 0) + max(nv, 0)
	if cap(s.buf) < need || s.buf == nil { // a slice of nil would turn empty into null
		s.buf = make([]byte, need+need/2)
	}
	s.rec = Record{Topic: s.topic, Partition: s.partition, Offset: rec.Offset, Time: rec.Time, Headers: rec.Headers}
	b := s.buf[:need]
	if nk >= 0 {
		s.rec.Key = b[:nk:nk]
		if _, err := io.ReadFull(rec.Key, s.rec.Key); err != nil {
			return err
		}
		b = b[nk:]
	}
	if nv >= 0 {
		s.rec.Value = b[:nv:nv]
		if _, err := io.ReadFull(rec.Value, s.rec.Value); err != nil {
			return err
		}
	}
	return nil
}

func closeRecord(rec *protocol.Record) {
	if rec.Key != nil {
		_ = rec.Key.Close()
	}
	if rec.Value != nil {
		_ = rec.Value.Close()
	}
}

// scanWait is the long poll of bounded reads; they end at a known offset, so it hardly matters.
const scanWait = 100 * time.Millisecond

// until reads up to, but without, the offset end, and retries network trouble until ctx ends. Errors of fn and
// errOutOfRange are returned as they are. report may be nil.
func (s *scanner) until(ctx context.Context, end int64, report func(error), fn func(*Record) error) error {
	var failed error
	for attempt := 0; s.next < end; {
		_, err := s.fetch(ctx, scanWait, end, func(r *Record) error {
			failed = fn(r)
			return failed
		})
		switch {
		case err == nil:
			attempt = 0
		case failed != nil || errors.Is(err, errOutOfRange):
			return err
		default:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if report != nil {
				report(err)
			}
			if !sleep(ctx, backoff(attempt)) {
				return ctx.Err()
			}
			attempt++
		}
	}
	return nil
}
