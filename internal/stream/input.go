package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// stallTimeout is how long a connection may make no progress although there are records, before it is replaced.
const stallTimeout = 30 * time.Second

var errStalled = errors.New("no progress although there are records")

// chunk is what one fetch brought. Its records stay valid; the slice goes back to the input with recycle. There may be
// none, when the log goes on with what is for no reader.
type chunk struct {
	records []Record
	next    int64 // the offset to go on from after them
	err     error // ends the input: errOutOfRange
}

// input reads one partition of a topic ahead of its user, with Conn.ReadBatchWith when the topic is not compacted: that
// is several times faster than Client.Fetch.
type input struct {
	c         *Cluster
	topic     string
	partition int
	compacted bool
	minBytes  int
	maxBytes  int
	wait      time.Duration
	stall     time.Duration // 0 means stallTimeout
	report    func(error)

	next int64        // of the fetch loop
	high atomic.Int64 // high watermark of the last answer
	out  chan chunk
	free chan []Record
}

// inputAhead is how many fetched chunks may wait for the user.
const inputAhead = 4

// start begins to read at offset until ctx ends or the offset is out of range.
func (in *input) start(ctx context.Context, offset int64) {
	def(&in.stall, stallTimeout)
	in.next = offset
	in.out = make(chan chunk, inputAhead)
	in.free = make(chan []Record, inputAhead+2)
	go in.run(ctx)
}

// recycle gives a chunk's slice back.
func (in *input) recycle(records []Record) {
	clear(records)
	select {
	case in.free <- records[:0]:
	default:
	}
}

func (in *input) slice() []Record {
	select {
	case s := <-in.free:
		return s
	default:
		return nil
	}
}

func (in *input) run(ctx context.Context) {
	read := in.readConn
	if in.compacted {
		read = in.readScan
	}
	for attempt := 0; ctx.Err() == nil; attempt++ {
		from := in.next
		err := read(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errOutOfRange) {
			in.send(ctx, chunk{err: err})
			return
		}
		reason := redialError
		switch {
		case errors.Is(err, errStalled):
			reason = redialStalled
		case staleMetadata(err):
			reason = redialLeadership
			in.c.noteError(err)
		}
		in.c.metrics.redials.WithLabelValues(in.topic, reason).Inc()
		in.report(err)
		if in.next > from {
			attempt = 0
		}
		if !sleep(ctx, backoff(attempt)) {
			return
		}
	}
}

func (in *input) send(ctx context.Context, ch chunk) {
	select {
	case in.out <- ch:
	case <-ctx.Done():
	}
}

// readConn reads over one connection to the partition's leader until it fails.
func (in *input) readConn(ctx context.Context) (err error) {
	// kafka-go panics on some batches it should not meet here; that must not take the process down.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading %s/%d at %d: kafka-go: %v", in.topic, in.partition, in.next, p)
		}
	}()
	conn, err := in.c.dialLeader(ctx, in.topic, in.partition)
	if err != nil {
		return fmt.Errorf("connecting to the leader of %s/%d: %w", in.topic, in.partition, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	moved := time.Now()
	for {
		if _, err := conn.Seek(in.next, kafka.SeekAbsolute|kafka.SeekDontCheck); err != nil {
			return fmt.Errorf("seeking %s/%d to %d: %w", in.topic, in.partition, in.next, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(in.wait + in.c.cfg.RequestTimeout)); err != nil {
			return fmt.Errorf("reading %s/%d: %w", in.topic, in.partition, err)
		}
		batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: in.minBytes, MaxBytes: in.maxBytes, MaxWait: in.wait})
		// Without an answer there is no watermark either.
		if batch.Err() == nil {
			in.high.Store(batch.HighWaterMark())
		}
		records, from := in.slice(), in.next
		marked := false
		var readErr error
		for {
			m, err := batch.ReadMessage()
			if err != nil {
				readErr = err
				break
			}
			if m.Offset < in.next {
				continue
			}
			in.next = m.Offset + 1
			marked = marked || resemblesControl(m.Key)
			records = append(records, Record{
				Topic: in.topic, Partition: in.partition, Offset: m.Offset, Time: m.Time, Key: m.Key, Value: m.Value, Headers: m.Headers,
			})
		}
		high := in.high.Load()
		closeErr := batch.Close()
		if marked {
			if records, err = in.withoutControl(ctx, records); err != nil {
				in.next = from
				return err
			}
		}
		if in.next > from {
			moved = time.Now()
			in.send(ctx, chunk{records: records, next: in.next})
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(closeErr, kafka.OffsetOutOfRange) || errors.Is(readErr, kafka.OffsetOutOfRange):
			return fmt.Errorf("reading %s/%d at %d: %w", in.topic, in.partition, in.next, errOutOfRange)
		case closeErr != nil && !errors.Is(closeErr, kafka.RequestTimedOut): // that is how kafka-go says "nothing new"
			return fmt.Errorf("reading %s/%d at %d: %w", in.topic, in.partition, in.next, closeErr)
		case in.next >= high:
			moved = time.Now()
		case time.Since(moved) > in.stall:
			return fmt.Errorf("reading %s/%d at %d of %d: %w", in.topic, in.partition, in.next, high, errStalled)
		}
	}
}

// readScan reads with the progress rule until a fetch fails.
func (in *input) readScan(ctx context.Context) error {
	s := in.c.scan(in.topic, in.partition, in.next)
	for {
		records, from := in.slice(), s.next
		// The long poll ends with the first byte; waiting for minBytes is left to the user's batching.
		_, err := s.fetch(ctx, in.wait, -1, func(r *Record) error {
			c := *r
			c.Key, c.Value = clone(r.Key), clone(r.Value)
			records = append(records, c)
			return nil
		})
		in.next = s.next
		if s.high >= 0 {
			in.high.Store(s.high)
		}
		if s.next > from {
			in.send(ctx, chunk{records: records, next: s.next})
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// resemblesControl reports whether a record with this key may be a control record: their keys are two 16-bit numbers,
// version and type, both small. Conn.ReadBatchWith does not tell them from others, Client.Fetch does.
func resemblesControl(key []byte) bool { return len(key) == 4 && key[0] == 0 && key[2] == 0 }

// withoutControl removes the control records from records, which hold some that resemble them, by fetching them again.
func (in *input) withoutControl(ctx context.Context, records []Record) ([]Record, error) {
	control := make(map[int64]bool)
	last := records[len(records)-1].Offset
	first := slices.IndexFunc(records, func(r Record) bool { return resemblesControl(r.Key) })
	for next := records[first].Offset; next <= last; {
		res, err := in.c.client().Fetch(ctx, &kafka.FetchRequest{
			Topic: in.c.physical(in.topic), Partition: in.partition, Offset: next, MinBytes: 1, MaxBytes: int64(in.maxBytes), MaxWait: scanWait,
		})
		if err == nil {
			err = res.Error
		}
		from := next
		if err == nil {
			err = eachRecord(res.Records, func(rec *protocol.Record, is bool) error {
				control[rec.Offset] = is
				next = max(next, rec.Offset+1)
				return nil
			})
		}
		if err == nil && next == from {
			err = errStalled
		}
		if err != nil {
			return nil, fmt.Errorf("telling control records of %s/%d at %d: %w", in.topic, in.partition, from, err)
		}
	}
	return slices.DeleteFunc(records, func(r Record) bool { return control[r.Offset] }), nil
}

// clone copies b and keeps nil apart from empty.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}
