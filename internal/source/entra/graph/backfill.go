package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// past is the position of a backfill.
type past struct {
	Span  time.Duration `json:"span"`
	Sweep sweep         `json:"sweep"`
}

// Backfill asks for everything from since to until, oldest window first, whatever Fetch has taken. Position is nil at the
// beginning, or what take was given last by a run that was interrupted; progress is told the done part, 0 to 1. What is
// older than Graph keeps is left out. Errors and take are as in Fetch.
func (f *Feed) Backfill(ctx context.Context, since, until time.Time, position []byte, take func(records [][]byte, next []byte) error, progress func(done float64)) error {
	now := f.now()
	b, err := readPast(position, since, earlier(until, now.Add(-settle)), now)
	if err != nil {
		return err
	}
	b.Sweep.skip(now.Add(-f.feed.retained).Truncate(time.Second), b.Span)
	for b.Sweep.running() {
		progress(b.done())
		records, moved, err := f.step(ctx, &b.Sweep, &b.Span)
		if moved {
			if err := take(records, b.encode()); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
	progress(1)
	return nil
}

// readPast reads the position of a backfill. It may be resumed with a later end, as "until now" is later every time, and
// with a later beginning; an earlier one begins anew.
func readPast(position []byte, since, until, now time.Time) (*past, error) {
	since, until = since.UTC().Truncate(time.Second), until.UTC().Truncate(time.Second)
	b := &past{Span: firstSpan}
	if len(position) > 0 {
		if err := json.Unmarshal(position, b); err != nil {
			return nil, fmt.Errorf("reading the position: %w", err)
		}
		b.Span = min(max(b.Span, minSpan), maxSpan)
	}
	s := &b.Sweep
	if len(position) == 0 || since.Before(s.From) {
		*s = sweep{From: since, At: since, Begun: now}
	}
	s.End = until
	if s.Next == "" || s.To.After(until) {
		s.open(b.Span)
	}
	s.skip(since, b.Span)
	return b, nil
}

func (b *past) done() float64 {
	s := &b.Sweep
	return float64(s.At.Sub(s.From)) / float64(s.End.Sub(s.From))
}

func (b *past) encode() []byte {
	out, err := json.Marshal(b)
	if err != nil {
		panic(err) // times and texts of our own
	}
	return out
}
