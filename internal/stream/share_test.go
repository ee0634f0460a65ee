package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// shared counts who works on which partition.
type shared struct {
	mu      sync.Mutex
	working map[int]string // by partition
	clashes []string
	failed  map[int]int
}

// share joins the group as a member of its own, and returns what ends it.
func (s *shared) share(t *testing.T, c *Cluster, cfg ShareConfig, name string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Share(ctx, cfg, func(ctx context.Context, partition int) error {
			s.mu.Lock()
			if s.failed[partition]++; s.failed[partition] <= 2 {
				s.mu.Unlock()
				return errors.New("not yet")
			}
			if other, taken := s.working[partition]; taken {
				s.clashes = append(s.clashes, fmt.Sprintf("%s began partition %d of %s", name, partition, other))
			}
			s.working[partition] = name
			s.mu.Unlock()
			<-ctx.Done()
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.working, partition)
			return ctx.Err()
		})
	}()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("share: %v", err)
		}
	})
}

// spread is how many partitions each member works on.
func (s *shared) spread() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for _, name := range s.working {
		out[name]++
	}
	return out
}

// Members work on every partition, each in one place; a failure is tried again; who leaves leaves his to the others.
func TestShareSpreadsWork(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	var reported sync.Map
	cfg := ShareConfig{
		Group: kafkatest.Name("group"), Topic: kafkatest.Topic(t, brokers, "share", 4, nil), HeartbeatInterval: 100 * time.Millisecond,
		Report: func(partition int, _ error) { reported.Store(partition, true) },
	}
	s := &shared{working: map[int]string{}, failed: map[int]int{}}
	await := func(want map[string]int) {
		t.Helper()
		kafkatest.Eventually(t, 60*time.Second, func() error {
			if d := cmp.Diff(want, s.spread()); d != "" {
				return fmt.Errorf("partitions by member (-want, +got):\n%s", d)
			}
			return nil
		})
	}
	stopA := s.share(t, c, cfg, "a")
	defer stopA()
	await(map[string]int{"a": 4})
	stopB := s.share(t, c, cfg, "b")
	defer stopB()
	await(map[string]int{"a": 2, "b": 2})
	stopA()
	await(map[string]int{"b": 4})
	stopB()
	await(map[string]int{})
	if len(s.clashes) > 0 {
		t.Errorf("two at once: %q", s.clashes)
	}
	for p := range 4 {
		if _, ok := reported.Load(p); !ok {
			t.Errorf("the failures of partition %d were not reported", p)
		}
	}
	if err := c.Share(t.Context(), ShareConfig{}, nil); err == nil {
		t.Error("a group and a topic without names are accepted")
	}
}

// Work that is done is not done again while the assignment lasts, and does not end it for the others.
func TestShareLetsWorkEnd(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	cfg := ShareConfig{Group: kafkatest.Name("group"), Topic: kafkatest.Topic(t, brokers, "share", 3, nil), HeartbeatInterval: 100 * time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := make(chan int, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Share(ctx, cfg, func(ctx context.Context, partition int) error {
			calls <- partition
			if partition > 0 {
				return nil
			}
			for range 10 { // longer than heartbeats and pauses
				sleep(ctx, 100*time.Millisecond)
			}
			cancel()
			return nil
		})
	}()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	close(calls)
	got := map[int]int{}
	for p := range calls {
		got[p]++
	}
	if d := cmp.Diff(map[int]int{0: 1, 1: 1, 2: 1}, got); d != "" {
		t.Errorf("calls by partition (-want, +got):\n%s", d)
	}
}
