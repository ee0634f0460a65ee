package pull

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// MaxPosition is the largest position of a source, in bytes.
const MaxPosition = 64 << 10

// maxSources bounds the cursors that are held in memory.
const maxSources = 10_000

// Status is how far a source came and how it is: one record a source on the topic of cursors.
type Status struct {
	Source string `json:"source"`
	Format string `json:"format,omitempty"`
	// Position is where to go on, in the source's own shape. Sources that are not asked have none.
	Position json.RawMessage `json:"position,omitempty"`
	// Updated is when the status was written. While a source runs that is once a minute at least.
	Updated events.Millis `json:"updated"`
	// LastEvent is the time of the newest event so far. LastSuccess is when the source had last been asked to the end
	// without an error, or, for one that sends on its own, when it last sent something that could be taken in.
	LastEvent   events.Millis `json:"last_event,omitzero"`
	LastSuccess events.Millis `json:"last_success,omitzero"`
	// What became of its records since the beginning. Duplicates were on the log already; rejected ones are dead letters.
	Accepted   int64 `json:"accepted"`
	Duplicates int64 `json:"duplicates"`
	Skipped    int64 `json:"skipped"`
	Rejected   int64 `json:"rejected"`
	// Error is what is wrong since ErrorSince, one line; "" when all is well.
	Error      string        `json:"error,omitempty"`
	ErrorSince events.Millis `json:"error_since,omitzero"`
}

// cursorVersion is the version of the record below.
const cursorVersion = 1

// cursor is a Status on the wire.
type cursor struct {
	Version int `json:"version"`
	Status
}

func decodeCursor(key, value []byte) (Status, error) {
	var c cursor
	err := json.Unmarshal(value, &c)
	switch {
	case err == nil && c.Version > cursorVersion:
		return Status{}, fmt.Errorf("the cursor of source %.80q has version %d, which a newer countersign wrote: update this one", key, c.Version)
	case err == nil && c.Version < 1:
		err = errors.New("it has no version")
	case err == nil && c.Source != string(key):
		err = fmt.Errorf("it is of source %.80q", c.Source)
	}
	if err != nil {
		return Status{}, fmt.Errorf("the cursor of source %.80q on %s cannot be read: %w; write a tombstone over it to let the source begin anew", key, events.TopicCursors, err)
	}
	return c.Status, nil
}

// ReadStatus reads the statuses of all sources, sorted by name. Those that cannot be read have an Error that says so.
func ReadStatus(ctx context.Context, table *stream.Table) ([]Status, error) {
	found := make(map[string]Status)
	err := table.Load(ctx, events.TopicCursors, func(r stream.Record) error {
		if r.Value == nil {
			delete(found, string(r.Key))
			return nil
		}
		status, err := decodeCursor(r.Key, r.Value)
		if err != nil {
			status = Status{Source: string(r.Key), Error: oneLine(err), ErrorSince: events.MillisOf(r.Time), Updated: events.MillisOf(r.Time)}
		}
		return limited(found, string(r.Key), status)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the sources' status: %w", err)
	}
	list := make([]Status, 0, len(found))
	for _, s := range found {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Status) int { return cmp.Compare(a.Source, b.Source) })
	return list, nil
}

// limited sets an entry of a map that must not grow without bounds.
func limited[V any](m map[string]V, key string, v V) error {
	if _, known := m[key]; !known && len(m) >= maxSources {
		return fmt.Errorf("%s holds more than %d sources: remove those that are no more with tombstones", events.TopicCursors, maxSources)
	}
	m[key] = v
	return nil
}

// Cursors keeps the statuses of sources on the topic of cursors. It is safe for concurrent use.
type Cursors struct {
	cluster  *stream.Cluster
	producer *stream.Producer
	log      *zap.Logger

	reading sync.Mutex // held by Refresh; guards next
	next    []int64

	mu      sync.Mutex
	entries map[string]entry
	tallies map[string]*tally
}

// entry is the newest record of a source that was seen.
type entry struct {
	status Status
	err    error // it cannot be read
	offset int64
}

// OpenCursors reads the topic of cursors. The logger, which may be nil, is for Run.
func OpenCursors(ctx context.Context, cluster *stream.Cluster, log *zap.Logger) (*Cursors, error) {
	if log == nil {
		log = zap.NewNop()
	}
	c := &Cursors{cluster: cluster, producer: cluster.Producer(), log: log, entries: make(map[string]entry), tallies: make(map[string]*tally)}
	if err := c.Refresh(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Refresh reads what was written since it was called last.
func (c *Cursors) Refresh(ctx context.Context) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	next, err := c.cluster.Table(nil).LoadFrom(ctx, events.TopicCursors, c.next, func(r stream.Record) error {
		e := entry{offset: r.Offset}
		if r.Value != nil {
			e.status, e.err = decodeCursor(r.Key, r.Value)
		}
		return c.keep(string(r.Key), e)
	})
	if err != nil {
		return fmt.Errorf("reading the sources' cursors: %w", err)
	}
	c.next = next
	return nil
}

// keep takes an entry unless a newer one of the key is known.
func (c *Cursors) keep(source string, e entry) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[source].offset > e.offset {
		return nil
	}
	return limited(c.entries, source, e)
}

// Get returns the newest known status of a source, an empty one when there is none. One that cannot be read is an error,
// which says what to do: to begin anew in silence would fetch and forget.
func (c *Cursors) Get(source string) (Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[source]
	return e.status, e.err
}

// Put writes a status, and returns nil when every in-sync replica has it. It retries temporary errors until ctx ends.
func (c *Cursors) Put(ctx context.Context, s Status) error {
	if len(s.Position) > MaxPosition+backfillOverhead {
		return fmt.Errorf("keeping the position of source %q: it has %d bytes, at most %d are allowed", s.Source, len(s.Position), MaxPosition)
	}
	n, err := c.cluster.Partitions(ctx, events.TopicCursors)
	if err != nil {
		return fmt.Errorf("keeping the position of source %q: %w", s.Source, err)
	}
	value, err := json.Marshal(cursor{Version: cursorVersion, Status: s})
	if err != nil {
		return fmt.Errorf("keeping the position of source %q: %w", s.Source, err)
	}
	key := []byte(s.Source)
	offset, err := c.producer.Produce(ctx, events.TopicCursors, stream.PartitionFor(key, n), []stream.Record{{Key: key, Value: value}})
	if err != nil {
		return fmt.Errorf("keeping the position of source %q: %w", s.Source, err)
	}
	return c.keep(s.Source, entry{status: s, offset: offset})
}
