package stepupkafka

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/stepup"
)

const (
	// queueLength bounds the receipts that wait for Kafka; more are dropped and counted.
	queueLength = 4096
	// lastWords is how long receipts are still written after the end.
	lastWords = 2 * time.Second
)

// Receipts writes receipts to Kafka, in the background. The same thing has the same id from every instance of an
// application, so that history counts it once.
type Receipts struct {
	topic         string
	publisher     *stream.Publisher
	writing       outage
	queue         chan events.Receipt
	written, lost atomic.Uint64
}

var _ stepup.Receipts = (*Receipts)(nil)

func newReceipts(topic string, p *stream.Publisher, log *slog.Logger) *Receipts {
	return &Receipts{
		topic: topic, publisher: p, queue: make(chan events.Receipt, queueLength),
		writing: outage{log: log, doing: "writing receipts, trying again", done: "receipts are written again"},
	}
}

// Record queues a receipt. It never blocks.
func (q *Receipts) Record(r stepup.Receipt) {
	receipt := events.Receipt{
		Time: events.MillisOf(r.Time), Tenant: r.Tenant, User: r.User, Session: r.Session,
		Requirement: r.Requirement, JTI: r.JTI, App: r.App, Status: events.ReceiptStatus(r.Status),
	}
	receipt.ID = events.ReceiptID(&receipt)
	select {
	case q.queue <- receipt:
	default:
		q.lost.Add(1)
	}
}

// run writes receipts until ctx ends, and then what is left, for at most lastWords.
func (q *Receipts) run(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		pause(work, lastWords)
		cancel()
	})()
	for {
		select {
		case r := <-q.queue:
			q.write(work, q.batch(r))
			continue
		case <-ctx.Done():
		}
		select {
		case r := <-q.queue:
			q.write(work, q.batch(r))
		default:
			return
		}
	}
}

// batch takes what else is waiting.
func (q *Receipts) batch(first events.Receipt) []stream.Record {
	batch := []stream.Record{recordOf(&first)}
	for len(batch) < 256 {
		select {
		case r := <-q.queue:
			batch = append(batch, recordOf(&r))
		default:
			return batch
		}
	}
	return batch
}

func recordOf(r *events.Receipt) stream.Record {
	return stream.Record{Key: []byte(events.Key(r.Tenant, r.User)), Value: events.Encode(r)}
}

// write tries until ctx ends; a repeat carries the same ids.
func (q *Receipts) write(ctx context.Context, batch []stream.Record) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := q.publisher.Publish(ctx, q.topic, batch)
		if err == nil {
			q.written.Add(uint64(len(batch)))
			q.writing.well(time.Now(), "topic", q.topic)
			return
		}
		if ctx.Err() != nil {
			q.lost.Add(uint64(len(batch)))
			return
		}
		q.writing.trouble(time.Now(), err, "topic", q.topic)
		pause(ctx, wait)
	}
}
