package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// Source says where records come from and what it may say.
type Source struct {
	// Name is written into events, and is the key of dead letters.
	Name string
	// Decoder decodes its values, Format names it in metrics.
	Decoder Decoder
	Format  string
	// Tenants are the tenants it may write for; empty means all. With exactly one, events that name none are its.
	Tenants []string
	// TrustedPlaces keeps the places and networks its events carry, instead of looking them up.
	TrustedPlaces bool
}

// Result says what became of the records of an intake.
type Result struct {
	// Accepted are on the log, Duplicates were there already, Skipped are no events by their kind.
	Accepted, Duplicates, Skipped int
	// Reasons tell why records were skipped, and how many; of many reasons the first [MaxReasons].
	Reasons map[string]int
	// Rejected is how many were refused; Rejections are the first [MaxRejections] of them.
	Rejected   int
	Rejections []Rejection
	// LastEvent is the time of the newest event among the accepted and the duplicates, 0 when there is none.
	LastEvent events.Millis
}

// Origin is where on a foreign log a value was read; the zero value is none.
type Origin struct {
	Topic     string
	Partition int
	Offset    int64
}

// Rejection is one record that was refused.
type Rejection struct {
	// Line is the record's line, or its place among the values of an array, from 1.
	Line  int
	Error string
}

// MaxReasons bounds the reasons that a Result keeps.
const MaxReasons = 50

// MaxRejections bounds the rejections that a Result keeps. All of them become dead letters.
const MaxRejections = 1000

// Reasons of rejections, as metric labels.
const (
	reasonUndecodable = "undecodable"
	reasonTooLarge    = "too_large"
	reasonInvalid     = "invalid"
	reasonTime        = "time"
	reasonTenant      = "tenant"
	reasonFamily      = "family"
)

// A chunk is what is published at once. Larger ones make better record batches, smaller ones answer sooner.
const (
	chunkEvents = 1000
	chunkBytes  = 4 << 20 // of records as they came; events are a fourth of that
)

// Intake takes the records of one request or file in, in order. It is used by one goroutine.
type Intake struct {
	p         *Pipeline
	publisher Publisher
	src       Source
	result    Result
	// patience bounds the time in which the log must acknowledge a chunk; 0 is as long as the context lives.
	patience time.Duration

	// pending are decoded and not yet published; index finds them by id.
	pending []events.Event
	index   map[string]int
	letters []stream.Record
	written map[string]bool // the ids of letters
	bytes   int

	// flight is the chunk being published, nil when there is none; its ids are in flying and posted.
	flight chan error
	flying map[string]int
	posted map[string]bool

	value   []byte // at hand
	line    int    // its number
	origin  Origin
	ordinal int // of the record in it
	refused int // records of it
	records int // of all values
}

// chunks are the events of intakes that are over: growing a slice of such large values anew costs as much as decoding
// them.
var chunks = sync.Pool{New: func() any { return new([]events.Event) }}

// Intake begins an intake from src.
func (p *Pipeline) Intake(src Source) *Intake {
	src.Tenants = canonical(src.Tenants)
	return &Intake{
		p: p, publisher: p.publisher, src: src, pending: *chunks.Get().(*[]events.Event), index: map[string]int{}, written: map[string]bool{},
	}
}

// release gives back what the intake needs no more.
func (i *Intake) release() {
	chunk := i.pending[:0]
	clear(chunk[:cap(chunk)]) // nothing of the sender's may be kept alive
	i.pending = nil
	chunks.Put(&chunk)
}

// Take takes values in and waits until all is acknowledged, for as long as ctx lives. The result holds what was
// acknowledged, also when there is an error.
func (p *Pipeline) Take(ctx context.Context, src Source, values [][]byte) (Result, error) {
	in := p.Intake(src)
	limit := src.Decoder.MaxValue()
	for n, v := range values {
		if len(v) > limit {
			in.Refuse(v[:limit], len(v), n+1, fmt.Errorf("%w than %d bytes", errLarger, limit))
		} else {
			in.Add(v, n+1)
		}
		if in.Full() {
			if err := in.Flush(ctx); err != nil {
				return in.Abandon(), err
			}
		}
	}
	return in.Close(ctx)
}

// Add takes one value. What is wrong with its records goes into the result and the dead letters.
func (i *Intake) Add(value []byte, line int) {
	i.begin(value, line)
	i.src.Decoder.Decode(value, i.record)
	i.value = nil
}

// begin turns to a value.
func (i *Intake) begin(value []byte, line int) {
	i.value, i.line, i.ordinal, i.refused = value, line, 0, 0
	i.bytes += len(value)
}

// Records is how many records all values had so far.
func (i *Intake) Records() int { return i.records }

// AddFrom is Add of a value that was read from a foreign log. One that is larger than the decoder takes is refused.
func (i *Intake) AddFrom(value []byte, origin Origin) {
	i.origin = origin
	defer func() { i.origin = Origin{} }()
	if limit := i.src.Decoder.MaxValue(); len(value) > limit {
		i.Refuse(value[:limit], len(value), 0, fmt.Errorf("%w than %d bytes", errLarger, limit))
		return
	}
	i.Add(value, 0)
}

// Refuse takes a value that cannot be decoded, of which head is the beginning and size the full length.
func (i *Intake) Refuse(head []byte, size, line int, err error) {
	i.begin(head, line)
	reason := reasonUndecodable
	if errors.Is(err, errLarger) {
		reason = reasonTooLarge
	}
	i.reject(reason, head, size, err)
}

// Full reports whether it is time to Flush.
func (i *Intake) Full() bool {
	return len(i.pending) >= chunkEvents || len(i.letters) >= chunkEvents || i.bytes >= chunkBytes
}

// record takes one record: it is the emit of Decode.
func (i *Intake) record(raw []byte, e *events.Event, err error) {
	i.ordinal++
	i.records++
	if err == nil && len(raw) > events.MaxRecord {
		err = events.ErrTooLarge
	}
	if err != nil {
		var skip interface{ Skip() string }
		switch {
		case errors.As(err, &skip):
			i.result.Skipped++
			i.skipped(err)
			i.p.metrics.skip(skip.Skip())
		case errors.Is(err, events.ErrTooLarge):
			i.reject(reasonTooLarge, raw, len(raw), err)
		default:
			i.reject(reasonUndecodable, raw, len(raw), err)
		}
		return
	}
	if err := i.p.check(&i.src, e); err != nil {
		i.reject(err.reason, raw, len(raw), err.err)
		return
	}
	i.result.LastEvent = max(i.result.LastEvent, e.Time)
	if i.known(e.ID) {
		i.result.Duplicates++
		return
	}
	i.p.enrich(e, i.src.TrustedPlaces)
	// What is short cannot become too long: a character has at most six bytes when it is encoded.
	if len(raw) > events.MaxRecord/8 && len(events.Encode(e)) > events.MaxRecord {
		i.reject(reasonTooLarge, raw, len(raw), fmt.Errorf("as an event: %w", events.ErrTooLarge))
		return
	}
	if at, pending := i.index[e.ID]; pending {
		fill(&i.pending[at], e)
		i.result.Duplicates++
		return
	}
	i.index[e.ID] = len(i.pending)
	i.pending = append(i.pending, *e)
}

// skipped keeps why a record was skipped.
func (i *Intake) skipped(err error) {
	reason := cutReason(err.Error())
	if _, known := i.result.Reasons[reason]; !known && len(i.result.Reasons) >= MaxReasons {
		return
	}
	if i.result.Reasons == nil {
		i.result.Reasons = map[string]int{}
	}
	i.result.Reasons[reason]++
}

// known reports whether an event is on the log, or on its way there.
func (i *Intake) known(id string) bool {
	if _, flying := i.flying[id]; flying {
		return true
	}
	return i.p.recent.contains(recentOf(id))
}

// Flush begins to publish what was taken since the last Flush, after what that began is acknowledged. With nothing
// accepted so far an overloaded publisher is an error at once; later it is waited for, so that large intakes get through.
func (i *Intake) Flush(ctx context.Context) error {
	if err := errors.Join(i.wait(), ctx.Err()); err != nil {
		return err
	}
	if len(i.pending) == 0 && len(i.letters) == 0 {
		return nil
	}
	chunk := make([]stream.Record, len(i.pending))
	for n := range i.pending {
		e := &i.pending[n]
		chunk[n] = stream.Record{Key: []byte(e.Key()), Value: events.Encode(e), Time: e.Ingested.Time()}
	}
	letters := i.letters
	patient := i.result.Accepted > 0
	i.flight = make(chan error, 1)
	go func(done chan<- error) {
		done <- i.send(ctx, chunk, letters, patient)
	}(i.flight)
	// The events in flight are encoded; their memory serves the next chunk.
	i.flying, i.index = i.index, map[string]int{}
	i.posted, i.written = i.written, map[string]bool{}
	i.pending, i.letters, i.bytes = i.pending[:0], nil, 0
	return nil
}

// send publishes a chunk, events first. It touches nothing of the intake that changes.
func (i *Intake) send(ctx context.Context, chunk, letters []stream.Record, patient bool) error {
	if i.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, i.patience)
		defer cancel()
	}
	if len(chunk) > 0 {
		if err := i.p.publish(ctx, i.publisher, events.TopicEvents, chunk, patient); err != nil {
			return err
		}
	}
	if len(letters) > 0 {
		return i.p.publish(ctx, i.publisher, events.TopicDeadLetter, letters, patient || len(chunk) > 0)
	}
	return nil
}

// wait waits for the chunk in flight. Only now are its events accepted, and their ids remembered.
func (i *Intake) wait() error {
	if i.flight == nil {
		return nil
	}
	err := <-i.flight
	i.flight = nil
	flown, posted := i.flying, i.posted
	i.flying, i.posted = nil, nil
	if err != nil {
		i.p.unsure.Store(true)
		return err
	}
	for id := range flown {
		i.p.Remember(id)
	}
	for id := range posted {
		i.p.Remember(id)
	}
	i.result.Accepted += len(flown)
	return nil
}

// Close publishes what is left and waits until all is acknowledged. The result holds what was acknowledged, also when
// there is an error; nothing may be said of the rest.
func (i *Intake) Close(ctx context.Context) (Result, error) {
	err := i.Flush(ctx)
	if err == nil {
		err = i.wait()
	}
	i.p.metrics.count(i.src.Format, i.result)
	i.release()
	return i.result, err
}

// Abandon waits for the chunk in flight and drops what is not yet published.
func (i *Intake) Abandon() Result {
	_ = i.wait() // whoever abandons has a reason to tell already
	i.p.metrics.count(i.src.Format, i.result)
	i.release()
	return i.result
}
