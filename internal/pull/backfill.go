package pull

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// backfillSuffix is what the name of a source is followed by in the key of its backfill's cursor.
const backfillSuffix = "#backfill"

// backfillOverhead bounds what a backfill's position adds to the source's own, in bytes.
const backfillOverhead = 256

// patience is how often in a row a backfill may fail without getting on.
const patience = 8

// backfill is the position of a backfill: which one it is, and the source's own position in it.
type backfill struct {
	Since    events.Millis   `json:"since"`
	Until    events.Millis   `json:"until"`
	Done     bool            `json:"done,omitempty"`
	Position json.RawMessage `json:"position,omitempty"`
}

// Backfill fetches the history of one source, from since until before until, by default now. An interrupted one is gone
// on with when it is asked for again with the same since; until is what it was then. It may run beside the source
// itself, here or in another process: each has a position of its own, and repeats are dropped by id. progress, which
// may be nil, is told how much is done, from 0 to 1. Errors are retried as long as it gets on now and then; the one
// returned is the last.
func (r *Runner) Backfill(ctx context.Context, source string, since, until time.Time, progress func(done float64)) (Status, error) {
	s, filler, err := r.backfiller(source)
	if err != nil {
		return Status{}, err
	}
	if progress == nil {
		progress = func(float64) {}
	}
	if err := r.deps.Cursors.Refresh(ctx); err != nil {
		return Status{}, err
	}
	if err := r.tail.read(ctx); err != nil {
		return Status{}, err
	}
	key := source + backfillSuffix
	status, err := r.deps.Cursors.Get(key)
	if err != nil {
		return Status{}, err
	}
	at := backfill{Since: events.MillisOf(since), Until: events.MillisOf(until)}
	if before, ok := unfinished(status, at); ok {
		at = before
	} else {
		status = Status{}
		if at.Until == 0 {
			at.Until = events.MillisOf(time.Now())
		}
	}
	if at.Since >= at.Until {
		return Status{}, fmt.Errorf("since %v is not before until %v", at.Since, at.Until)
	}
	p := r.puller(s, status)
	p.status.Source = key
	defer p.metrics.forget(s.Name)
	err = p.backfill(ctx, filler, at, progress)
	return p.status, err
}

func (r *Runner) backfiller(source string) (Source, Backfiller, error) {
	for _, s := range r.sources {
		if s.Name != source {
			continue
		}
		if filler, ok := s.Fetcher.(Backfiller); ok {
			return s, filler, nil
		}
		return s, nil, fmt.Errorf("source %q has no history to ask for", source)
	}
	return Source{}, nil, fmt.Errorf("no source has the name %q, or it is not one that is asked", source)
}

// unfinished returns the backfill that status is of, when it is to be gone on with.
func unfinished(status Status, want backfill) (backfill, bool) {
	var at backfill
	if len(status.Position) == 0 || json.Unmarshal(status.Position, &at) != nil || at.Done {
		return at, false
	}
	return at, at.Since == want.Since && (want.Until == 0 || want.Until == at.Until)
}

// backfill runs one to its end.
func (p *puller) backfill(ctx context.Context, filler Backfiller, at backfill, progress func(float64)) error {
	for failures := 0; ; failures++ {
		before := at.Position
		err := p.fill(ctx, filler, &at, progress)
		if err == nil {
			at.Done = true
			return p.take(ctx, nil, at.encode())
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.metrics.errors.WithLabelValues(p.src.Name).Inc()
		p.notice.failed(err)
		if !bytes.Equal(before, at.Position) {
			failures = 0
		}
		if failures >= patience {
			return fmt.Errorf("going back in source %q: %w", p.src.Name, err)
		}
		if !sleep(ctx, p.cfg.pause(failures, err)) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// fill calls the source once. at.Position moves with what was kept.
func (p *puller) fill(ctx context.Context, filler Backfiller, at *backfill, progress func(float64)) error {
	if err := p.settle(ctx); err != nil {
		return err
	}
	outlive, stop := p.cfg.outlive(ctx)
	defer stop()
	return filler.Backfill(ctx, at.Since.Time(), at.Until.Time(), at.Position, func(values [][]byte, next []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		moved := *at
		if moved.Position = bytes.Clone(next); next == nil {
			moved.Position = at.Position
		} else if err := p.acceptable(next); err != nil {
			return err
		}
		if err := p.take(outlive, values, moved.encode()); err != nil {
			return err
		}
		*at = moved
		return nil
	}, progress)
}

func (b *backfill) encode() []byte {
	raw, err := json.Marshal(b)
	if err != nil {
		panic(fmt.Sprintf("pull: encoding a position that was valid: %v", err))
	}
	return raw
}
