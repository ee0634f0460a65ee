package stream

import (
	"context"
	"errors"
)

// Table reads topics as a whole, every partition, without a consumer group. Calls of fn are never concurrent; keys
// keep their order. A record is valid during the call. An error of fn ends the read and is returned.
type Table struct{}

// Table returns a table reader.
func (c *Cluster) Table() *Table { return &Table{} }

// Load hands every record that topic holds now to fn and returns. On a compacted topic a key may appear more than
// once, the last one counts; a nil Value deletes it.
func (t *Table) Load(ctx context.Context, topic string, fn func(Record) error) error {
	return errors.ErrUnsupported
}

// Follow is Load, then onCaughtUp once (nil is allowed; not concurrent with fn), then every new record as it arrives,
// until ctx ends, and returns nil then. Network trouble is retried for ever: a caller that must know how stale it is
// watches Ends or its own heartbeat records.
func (t *Table) Follow(ctx context.Context, topic string, fn func(Record) error, onCaughtUp func()) error {
	return errors.ErrUnsupported
}

// TailFrom is where a Tail starts.
type TailFrom int

// Where a Tail may start.
const (
	// FromEnd starts with the first record after the call.
	FromEnd TailFrom = iota
	// FromStart starts with the first retained record.
	FromStart
)

// Tail hands the records of topic to fn as they arrive until ctx ends, and returns nil then. It belongs to no group
// and commits nothing. If retention passes it, it goes on at the first retained record.
func (c *Cluster) Tail(ctx context.Context, topic string, from TailFrom, fn func(Record) error) error {
	return errors.ErrUnsupported
}
