package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Table reads topics as a whole, every partition, without a consumer group. Calls of fn are never concurrent; keys
// keep their order. A record is valid during the call. An error of fn ends the read and is returned.
type Table struct {
	c      *Cluster
	report func(partition int, err error)
}

// Table returns a table reader. Report, if not nil, is told about trouble that is retried.
func (c *Cluster) Table(report func(partition int, err error)) *Table {
	if report == nil {
		report = func(int, error) {}
	}
	return &Table{c: c, report: report}
}

// Load hands every record that topic holds now to fn and returns. On a compacted topic a key may appear more than
// once, the last one counts; a nil Value deletes it. Network trouble is retried until ctx ends, whose error is returned.
func (t *Table) Load(ctx context.Context, topic string, fn func(Record) error) error {
	return t.read(ctx, topic, FromStart, serial(fn), func() {}, false)
}

// LoadFrom is Load of what lies at or past the given offsets, one a partition, and returns where the next call goes on.
// An offset that is not in the log, such as -1, stands for the first retained one; so does each of nil.
func (t *Table) LoadFrom(ctx context.Context, topic string, from []int64, fn func(Record) error) (next []int64, err error) {
	first, end, err := t.ends(ctx, topic)
	if err != nil {
		return nil, err
	}
	start := first
	if len(from) == len(first) {
		start = make([]int64, len(first))
		for p := range start {
			if start[p] = from[p]; start[p] < first[p] || start[p] > end[p] {
				start[p] = first[p]
			}
		}
	}
	if err := t.between(ctx, topic, start, end, serial(fn), func() {}, false); err != nil {
		return nil, err
	}
	return end, nil
}

// Follow is Load, then onCaughtUp once (nil is allowed; not concurrent with fn), then every new record as it arrives,
// until ctx ends, and returns nil then. Network trouble is retried for ever: a caller that must know how stale it is
// watches Ends or its own heartbeat records.
func (t *Table) Follow(ctx context.Context, topic string, fn func(Record) error, onCaughtUp func()) error {
	if onCaughtUp == nil {
		onCaughtUp = func() {}
	}
	err := t.read(ctx, topic, FromStart, serial(fn), onCaughtUp, true)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// Follow is [Table.Follow] without a report.
func (c *Cluster) Follow(ctx context.Context, topic string, fn func(Record) error, onCaughtUp func()) error {
	return c.Table(nil).Follow(ctx, topic, fn, onCaughtUp)
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
	err := c.Table(nil).read(ctx, topic, from, serial(fn), func() {}, true)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// serial wraps fn so that its calls are never concurrent.
func serial(fn func(Record) error) *serialFn { return &serialFn{fn: fn} }

type serialFn struct {
	mu sync.Mutex
	fn func(Record) error
}

// fnError tells an error of the caller's function from those of the network.
type fnError struct{ err error }

func (e *fnError) Error() string { return e.err.Error() }
func (e *fnError) Unwrap() error { return e.err }

func (s *serialFn) call(r *Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fn(*r); err != nil {
		return &fnError{err}
	}
	return nil
}

// followWait is the long poll of tailing reads. It ends with the first byte, so it does not delay records.
const followWait = time.Second

func (t *Table) read(ctx context.Context, topic string, from TailFrom, fn *serialFn, onCaughtUp func(), follow bool) error {
	start, end, err := t.ends(ctx, topic)
	if err != nil {
		return err
	}
	if from == FromEnd {
		start = end
	}
	return t.between(ctx, topic, start, end, fn, onCaughtUp, follow)
}

// between reads every partition from start to end, and on if it is to follow.
func (t *Table) between(ctx context.Context, topic string, start, end []int64, fn *serialFn, onCaughtUp func(), follow bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	var behind sync.WaitGroup
	behind.Add(len(start))
	for p := range start {
		group.Go(func() error {
			var once sync.Once
			caughtUp := func() { once.Do(behind.Done) }
			err := t.partition(ctx, topic, p, start[p], end[p], follow, fn, caughtUp)
			if err != nil {
				cancel() // before the waiter below is let go, so that it tells nobody
			}
			caughtUp()
			return err
		})
	}
	group.Go(func() error {
		behind.Wait()
		if ctx.Err() == nil {
			fn.mu.Lock()
			defer fn.mu.Unlock()
			onCaughtUp()
		}
		return nil
	})
	err := group.Wait()
	if own, ok := errors.AsType[*fnError](err); ok {
		return own.err
	}
	return err
}

// ends asks for the topic's offsets until it gets them. A missing topic is an error at once.
func (t *Table) ends(ctx context.Context, topic string) (first, end []int64, err error) {
	for attempt := 0; ; attempt++ {
		first, end, err = t.c.Ends(ctx, topic)
		if err == nil || errors.Is(err, ErrTopicMissing) {
			return first, end, err
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		t.report(-1, err)
		if !sleep(ctx, backoff(attempt)) {
			return nil, nil, ctx.Err()
		}
	}
}

// partition reads one partition from start, calls caughtUp at end, and goes on if it is to follow.
func (t *Table) partition(ctx context.Context, topic string, p int, start, end int64, follow bool, fn *serialFn, caughtUp func()) error {
	s := t.c.scan(topic, p, start)
	for attempt := 0; ; {
		if s.next >= end {
			caughtUp()
			if !follow {
				return nil
			}
		}
		upTo := int64(-1)
		if !follow {
			upTo = end
		}
		_, err := s.fetch(ctx, followWait, upTo, fn.call)
		var own *fnError
		switch {
		case err == nil:
			attempt = 0
			continue
		case errors.As(err, &own):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errOutOfRange):
			if err := t.reposition(ctx, s); err != nil {
				t.report(p, err)
			}
		default:
			t.report(p, err)
		}
		if !sleep(ctx, backoff(attempt)) {
			return ctx.Err()
		}
		attempt++
	}
}

// reposition moves s to the first retained offset after the log moved under it.
func (t *Table) reposition(ctx context.Context, s *scanner) error {
	first, end, err := t.c.ends(ctx, s.topic, s.partition)
	switch {
	case err != nil:
		return err
	case s.next < first:
		s.next = first
	case s.next > end:
		return fmt.Errorf("%s/%d ends at %d, before %d: the topic was truncated or created anew", s.topic, s.partition, end, s.next)
	}
	return nil
}
