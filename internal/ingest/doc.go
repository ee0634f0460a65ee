// Package ingest takes records in: it splits what arrives into records, has them decoded, checks and enriches them, and
// publishes them to the log. What it accepts is on the log before it says so; what it refuses becomes a dead letter with
// the reason and the untouched bytes, and stops nothing.
//
// Everything that is not in the log later on, such as the clock and the geo databases, is looked up here, once, and
// written into the event, so that every decision can be repeated from the log alone.
//
// A [Pipeline] is shared; every request or file has its own [Intake] on it. [Server] is the HTTP front, [File] reads
// files. Ids are derived from the records, so that sending a record twice is harmless.
package ingest

import (
	"context"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// Decoder turns the values of a foreign format into events. It is called by many goroutines.
type Decoder interface {
	// MaxValue is the largest value that Decode can take, in bytes. Memory of that size is held for every request.
	MaxValue() int
	// Decode calls emit for every record in value, in order: with its event, or with what is wrong with it. An error
	// with a method Skip() string reports a record that is no mistake and yields no event; Skip returns why, from a
	// small closed set. record is the part of value that the call is about. During the call the event
	// belongs to the callee, who changes it; afterwards it is the decoder's again, but not what its slices hold.
	Decode(value []byte, emit func(record []byte, e *events.Event, err error))
}

// Publisher appends records to a topic, spread by their keys. It returns nil when all are acknowledged by every in-sync
// replica, and [stream.ErrOverloaded] at once, with nothing written, when too much is waiting already. After any other
// error some may be written. It retries temporary errors until ctx ends.
type Publisher interface {
	Publish(ctx context.Context, topic string, records []stream.Record) error
}

var _ Publisher = (*stream.Publisher)(nil)
