package simulate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
)

func small(start time.Time, days int) *company.Company {
	cfg := company.DefaultConfig()
	cfg.Users, cfg.Days, cfg.Start = 50, days, events.MillisOf(start)
	return company.New(cfg)
}

func TestLiveTimeNeverRunsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		<-time.After(3 * 365 * 24 * time.Hour) // the bubble's clock starts in 2000, before the company can
		// Two days ago until now: one day at once, one at a hundredfold, then in real time.
		now := time.Now()
		skip := events.MillisOf(now.Add(-24 * time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour)
		defer cancel()
		var atOnce, fast, live int
		p := &Player{
			Company: small(now.Add(-48*time.Hour), 0), Pace: Pace{Speed: 100, Skip: skip, Live: true},
			Sink: func(_ context.Context, batch []events.Event) error {
				for _, e := range batch {
					passed := time.Since(now)
					switch {
					case e.Time.Time().After(time.Now()):
						t.Errorf("an event of the future: %s at %s", e.Time, time.Now())
					case e.Time <= skip:
						atOnce++
						if passed > 0 {
							t.Errorf("an event of the first day after %s", passed)
						}
					case passed < 15*time.Minute:
						fast++
					default:
						live++
						if late := time.Since(e.Time.Time()); late > 31*time.Minute {
							t.Errorf("an event %s late", late)
						}
					}
				}
				return nil
			},
		}
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if atOnce < 20 || fast < 20 || live < 2 {
			t.Errorf("%d events at once, %d fast, %d live", atOnce, fast, live)
		}
	})
}

func TestBatchesAreAsLargeAsAsked(t *testing.T) {
	t.Parallel()
	for asked, want := range map[int]int{0: 500, 70: 70} {
		var sizes []int
		p := &Player{Company: small(time.Now().Add(-10*24*time.Hour), 10), Batch: asked, Sink: func(_ context.Context, batch []events.Event) error {
			sizes = append(sizes, len(batch))
			return nil
		}}
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, n := range sizes {
			if last := i == len(sizes)-1; n != want && (!last || n > want) {
				t.Errorf("batch %d of %d has %d events, want %d", i, len(sizes), n, want)
			}
		}
		if len(sizes) < 3 {
			t.Errorf("%d batches", len(sizes))
		}
	}
}

func TestHTTPComesBackUntilItIsHeard(t *testing.T) {
	var calls atomic.Int32
	var got bytes.Buffer
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if calls.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = io.Copy(&got, r.Body)
		fmt.Fprintln(w, `{"accepted":2}`)
	}))
	defer server.Close()
	batch := []events.Event{{Tenant: "a"}, {Tenant: "b"}}
	if err := HTTP(server.Client(), server.URL, "secret")(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(got.String(), "\n"); lines != 2 || calls.Load() != 2 {
		t.Errorf("%d lines in %d calls", lines, calls.Load())
	}
	if err := HTTP(server.Client(), server.URL, "wrong")(t.Context(), batch); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a wrong token: %v", err)
	}
}

func TestRefusedEventsAreAnError(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"accepted":1,"rejected":[{"line":2,"error":"kind: is missing"}]}`)
	}))
	defer server.Close()
	err := HTTP(server.Client(), server.URL, "t")(t.Context(), make([]events.Event, 2))
	if err == nil || !strings.Contains(err.Error(), "line 2: kind: is missing") {
		t.Errorf("got %v", err)
	}
}
