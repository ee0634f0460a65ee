package o365_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/o365"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// letters are the values that the decoder refuses because their content is not there.
func letters(c *taken) (n int) {
	for _, v := range c.values {
		o365.Audit().Decode([]byte(v), func(_ []byte, _ *events.Event, err error) {
			if err != nil && strings.Contains(err.Error(), "could not be fetched") {
				n++
			}
		})
	}
	return n
}

// A content that never comes stops neither the others nor, in the end, the feed: it becomes a dead letter.
func TestContentThatNeverComesIsGivenUp(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	at := now.Add(-time.Hour)
	for name, bad := range map[string]blob{
		"another 4xx":     {status: http.StatusConflict},
		"a lasting 5xx":   {status: http.StatusInternalServerError},
		"too large":       {size: upstream.MaxBody},
		"never complete":  {records: []string{`{"Id":`}},
		"an unknown code": {gone: "AF50000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad.id, bad.created, bad.listed = "bad", at, at
			f := newFeed(t, now, bad)
			for n := range 5 {
				f.blobs = append(f.blobs, blob{id: fmt.Sprint(n), created: at, listed: at, records: []string{record(fmt.Sprint(n), at)}})
			}
			var c taken
			for call := range 10 { // each of another process
				if len(c.values) != 5*min(call, 1) {
					t.Fatalf("%d values before call %d", len(c.values), call+1)
				}
				if call == 9 { // enough calls there were before
					f.set(func(f *feed) { f.now = now.Add(time.Hour) })
				}
				_, err := f.poller(t).Fetch(t.Context(), c.position, c.take)
				if (err == nil) != (call == 9) {
					t.Fatalf("call %d: %v", call+1, err)
				}
			}
			if len(c.values) != 6 || letters(&c) != 1 || f.asked("/audit/bad") != 10 {
				t.Errorf("%d letters, asked %d times, values %.500q", letters(&c), f.asked("/audit/bad"), c.values)
			}
			if strings.Contains(string(c.position), "stuck") {
				t.Errorf("the position still counts: %s", c.position)
			}
			fetched(t, f.poller(t), &c)
			if f.asked("/audit/bad") != 10 || len(c.values) != 6 {
				t.Errorf("it is asked for again: values %.500q", c.values)
			}
		})
	}
}

// What says that the API is unwell, or that we may not, is nothing that a content can help.
func TestContentIsNotGivenUpForWhatTheAPIDoes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	at := now.Add(-time.Hour)
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests} {
		f := newFeed(t, now, blob{id: "a", created: at, listed: at, status: status, records: []string{record("a", at)}})
		var c taken
		for range 9 {
			f.set(func(f *feed) { f.now = f.now.Add(10 * time.Minute) })
			if _, err := f.poller(t).Fetch(t.Context(), c.position, c.take); err == nil {
				t.Fatalf("%d is no error", status)
			}
		}
		f.set(func(f *feed) { f.blobs[0].status = 0 })
		fetched(t, f.poller(t), &c)
		if len(c.values) != 1 || letters(&c) != 0 {
			t.Errorf("%d: values %q", status, c.values)
		}
	}
}

// An outage of the contents that ends within the hour costs nothing, and no call asks for ever more that fail.
func TestOutageOfManyContents(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	at := now.Add(-30 * time.Hour) // beyond what is looked back at
	f := newFeed(t, now)
	for n := range 40 {
		f.blobs = append(f.blobs, blob{id: fmt.Sprint(n), created: at, listed: at, status: http.StatusBadGateway, records: []string{record(fmt.Sprint(n), at)}})
	}
	var c taken
	for range 3 {
		f.set(func(f *feed) { f.now = f.now.Add(time.Minute) })
		if _, err := f.poller(t).Fetch(t.Context(), c.position, c.take); err == nil || !strings.Contains(err.Error(), "502") {
			t.Fatal(err)
		}
	}
	if len(c.values) > 0 || len(c.position) > 8<<10 || f.asked("/audit/") != 3*32 {
		t.Errorf("asked %d times, %d values, a position of %d bytes", f.asked("/audit/"), len(c.values), len(c.position))
	}
	f.set(func(f *feed) {
		for n := range f.blobs {
			f.blobs[n].status = 0
		}
	})
	fetched(t, f.poller(t), &c)
	if len(c.values) != 40 || letters(&c) != 0 {
		t.Errorf("%d values", len(c.values))
	}
}
