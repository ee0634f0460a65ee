package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func config(change func(*Config)) Config {
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// untilEnd is work that ends with its context.
func untilEnd(ctx context.Context, _ func(float64)) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func submit(t *testing.T, q *Queue[string], work Work) string {
	t.Helper()
	j, err := q.Submit(NewID(), "", work)
	if err != nil {
		t.Fatal(err)
	}
	return j.ID
}

func states(q *Queue[string]) []State {
	var list []State
	for _, j := range q.List() {
		list = append(list, j.State)
	}
	return list
}

func TestJobsRunOneAtATimeInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := New[string](config(nil), nil)
		defer q.Close()
		var running atomic.Int32
		var order []int
		for i := range 5 {
			submit(t, q, func(_ context.Context, progress func(float64)) ([]byte, error) {
				if running.Add(1) != 1 {
					t.Error("two run at once")
				}
				defer running.Add(-1)
				order = append(order, i)
				progress(0.5)
				time.Sleep(time.Minute)
				return fmt.Appendf(nil, "result %d", i), nil
			})
		}
		synctest.Wait()
		if diff := cmp.Diff(states(q), []State{Queued, Queued, Queued, Queued, Running}); diff != "" {
			t.Errorf("(-got, +want)\n%s", diff)
		}
		first := q.List()[4]
		if first.Progress != 0.5 || first.Started.IsZero() || !first.Ended.IsZero() {
			t.Errorf("running: %+v", first)
		}
		time.Sleep(time.Hour)
		list := q.List() // under whose lock the last one ended
		if diff := cmp.Diff(order, []int{0, 1, 2, 3, 4}); diff != "" {
			t.Errorf("order (-got, +want)\n%s", diff)
		}
		for i, j := range list {
			if want := fmt.Sprintf("result %d", 4-i); j.State != Done || string(j.Result) != want || j.Progress != 1 || j.Ended.Sub(j.Started) != time.Minute {
				t.Errorf("job %d: %+v", i, j)
			}
		}
		// The queue works again after it was idle.
		id := submit(t, q, func(context.Context, func(float64)) ([]byte, error) { return []byte("again"), nil })
		synctest.Wait()
		if j, _ := q.Get(id); string(j.Result) != "again" {
			t.Errorf("after a pause: %+v", j)
		}
	})
}

func TestAFullQueueTakesNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := New[string](config(func(c *Config) { c.Waiting = 2 }), nil)
		defer q.Close()
		submit(t, q, untilEnd)
		synctest.Wait() // it runs, and does not wait any more
		submit(t, q, untilEnd)
		last := submit(t, q, untilEnd)
		if _, err := q.Submit(NewID(), "", untilEnd); !errors.Is(err, ErrFull) {
			t.Errorf("a third that waits: %v", err)
		}
		q.Cancel(last)
		submit(t, q, untilEnd)
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := New[string](config(nil), nil)
		defer q.Close()
		release := make(chan struct{})
		runs := submit(t, q, func(ctx context.Context, _ func(float64)) ([]byte, error) {
			<-ctx.Done()
			<-release // it is slow to stop
			return []byte("late"), nil
		})
		waits := submit(t, q, func(context.Context, func(float64)) ([]byte, error) {
			t.Error("cancelled while it waited, and ran")
			return nil, nil
		})
		next := submit(t, q, untilEnd)
		synctest.Wait()
		if j, ok := q.Cancel(waits); !ok || j.State != Cancelled {
			t.Errorf("one that waits: %+v", j)
		}
		if j, ok := q.Cancel(runs); !ok || j.State != Cancelled || j.Ended.IsZero() {
			t.Errorf("one that runs: %+v", j)
		}
		synctest.Wait()
		if j, _ := q.Get(next); j.State != Queued {
			t.Errorf("the next does not wait for the one before to stop: %+v", j)
		}
		close(release)
		synctest.Wait()
		if j, _ := q.Get(runs); j.State != Cancelled || j.Result != nil {
			t.Errorf("a result after the cancellation counts: %+v", j)
		}
		if j, _ := q.Get(next); j.State != Running {
			t.Errorf("the next: %+v", j)
		}
		// One that is over is forgotten.
		if _, ok := q.Cancel(runs); !ok {
			t.Error("not there to be forgotten")
		}
		if _, ok := q.Get(runs); ok {
			t.Error("not forgotten")
		}
		if _, ok := q.Cancel("nobody"); ok {
			t.Error("cancelled what is not there")
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var heap atomic.Uint64
		var told []string
		q := New[string](config(func(c *Config) { c.Time, c.Memory, c.Result = time.Minute, 64<<20, 1<<10 }), func(id string, cause any, stack []byte) {
			told = append(told, fmt.Sprint(cause, " ", len(stack) > 0))
		})
		q.heap = heap.Load
		defer q.Close()
		slow := submit(t, q, untilEnd)
		hungry := submit(t, q, func(ctx context.Context, _ func(float64)) ([]byte, error) {
			heap.Store(1 << 30)
			defer heap.Store(0)
			return untilEnd(ctx, nil)
		})
		large := submit(t, q, func(context.Context, func(float64)) ([]byte, error) { return make([]byte, 1<<10+1), nil })
		breaks := submit(t, q, func(context.Context, func(float64)) ([]byte, error) { panic("boo") })
		fails := submit(t, q, func(context.Context, func(float64)) ([]byte, error) { return []byte("x"), errors.New("no luck") })
		good := submit(t, q, func(context.Context, func(float64)) ([]byte, error) { return []byte("ok"), nil })
		time.Sleep(time.Hour)
		for id, want := range map[string]string{
			slow: ErrTime.Error(), hungry: ErrMemory.Error(), large: "at most 1024", breaks: "it broke", fails: "no luck",
		} {
			if j, _ := q.Get(id); j.State != Failed || !strings.Contains(j.Error, want) || j.Result != nil {
				t.Errorf("want %q: %+v", want, j)
			}
		}
		if j, _ := q.Get(good); j.State != Done || j.Error != "" {
			t.Errorf("the good one after all of them: %+v", j)
		}
		q.Close() // and wait for who tells
		if diff := cmp.Diff(told, []string{"boo true"}); diff != "" {
			t.Errorf("told (-got, +want)\n%s", diff)
		}
	})
}

func TestOnlySomeAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := New[string](config(func(c *Config) { c.Kept = 2 }), nil)
		defer q.Close()
		var ids []string
		for i := range 5 {
			ids = append(ids, submit(t, q, func(context.Context, func(float64)) ([]byte, error) { return fmt.Append(nil, i), nil }))
			synctest.Wait()
		}
		submit(t, q, untilEnd) // what runs is not counted
		synctest.Wait()
		var kept []string
		for _, j := range q.List()[1:] {
			kept = append(kept, j.ID)
		}
		if diff := cmp.Diff(kept, []string{ids[4], ids[3]}); diff != "" {
			t.Errorf("(-got, +want)\n%s", diff)
		}
	})
}

func TestCloseCancelsAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := New[string](config(nil), nil)
		submit(t, q, untilEnd)
		submit(t, q, untilEnd)
		synctest.Wait()
		q.Close()
		q.Close()
		if diff := cmp.Diff(states(q), []State{Cancelled, Cancelled}); diff != "" {
			t.Errorf("(-got, +want)\n%s", diff)
		}
		if _, err := q.Submit(NewID(), "", untilEnd); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestCancelRaces lets cancellations meet starts and ends. Under -race it shows what is shared without a lock; here, that
// every job ends in one state and no later job is lost.
func TestCancelRaces(t *testing.T) {
	t.Parallel()
	q := New[string](config(func(c *Config) { c.Waiting, c.Kept = 1000, 1000 }), nil)
	defer q.Close()
	var ran atomic.Int32
	var group sync.WaitGroup
	for range 200 {
		id := submit(t, q, func(ctx context.Context, progress func(float64)) ([]byte, error) {
			ran.Add(1)
			progress(0.3)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return []byte("done"), nil
		})
		group.Go(func() {
			q.Get(id)
			q.Cancel(id)
			q.List()
		})
	}
	group.Wait()
	last := make(chan struct{})
	submit(t, q, func(context.Context, func(float64)) ([]byte, error) { close(last); return nil, nil })
	<-last
	for _, j := range q.List() {
		if (j.State == Done) != (j.Result != nil) && j.Result != nil {
			t.Errorf("%+v", j)
		}
		if j.State == Queued {
			t.Errorf("left behind: %+v", j)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{}.Validate()
	for _, path := range []string{"waiting: ", "kept: ", "time: ", "memory: ", "result: "} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("want a problem with %s in:\n%v", path, err)
		}
	}
}
