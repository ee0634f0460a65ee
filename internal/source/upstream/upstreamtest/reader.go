package upstreamtest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"
)

// Reader keeps what a source gives, and where it came to, as the runner does.
type Reader struct {
	// From is the source's Fetch.
	From func(ctx context.Context, position []byte, take func(values [][]byte, next []byte) error) (time.Duration, error)
	// ID is the id of a record.
	ID func(record []byte) (string, error)
	// Interval is how long the source waits when it has caught up.
	Interval time.Duration
	// Fail, when set, may return an error instead of taking a page.
	Fail func() error

	Position []byte
	// IDs counts how often records came, Pages how often something was taken.
	IDs   map[string]int
	Pages int
}

// Take takes a page.
func (r *Reader) Take(values [][]byte, next []byte) error {
	if r.Fail != nil {
		if err := r.Fail(); err != nil {
			return err
		}
	}
	if r.IDs == nil {
		r.IDs = map[string]int{}
	}
	for _, v := range values {
		id, err := r.ID(v)
		if err != nil {
			return err
		}
		r.IDs[id]++
	}
	r.Pages++
	if !json.Valid(next) || len(next) > 64<<10 {
		return errors.New("the position is no JSON, or too long")
	}
	r.Position = slices.Clone(next)
	return nil
}

// Fetch goes on from where it came to.
func (r *Reader) Fetch(ctx context.Context) (time.Duration, error) {
	return r.From(ctx, r.Position, r.Take)
}

// MustFetch fails the test unless the source catches up.
func (r *Reader) MustFetch(t testing.TB) {
	t.Helper()
	if wait, err := r.Fetch(t.Context()); err != nil || wait != r.Interval {
		t.Fatalf("wait %v and error %v", wait, err)
	}
}

// Complete fails the test unless all of these records came, and no others.
func (r *Reader) Complete(t testing.TB, ids []string) {
	t.Helper()
	for _, id := range ids {
		if r.IDs[id] == 0 {
			t.Errorf("%s is lost", id)
		}
	}
	if len(r.IDs) != len(ids) {
		t.Errorf("%d records, want %d", len(r.IDs), len(ids))
	}
}
