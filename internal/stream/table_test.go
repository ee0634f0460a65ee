package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// view is the map that a follower keeps.
type view struct {
	mu   sync.Mutex
	rows map[string]string
}

func (v *view) apply(r Record) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.rows == nil {
		v.rows = make(map[string]string)
	}
	if r.Value == nil {
		delete(v.rows, string(r.Key))
	} else {
		v.rows[string(r.Key)] = string(r.Value)
	}
	return nil
}

func (v *view) copy() map[string]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.rows)
}

func (v *view) await(t *testing.T, want map[string]string) {
	t.Helper()
	kafkatest.Eventually(t, 30*briefly, func() error {
		if d := cmp.Diff(want, v.copy()); d != "" {
			return fmt.Errorf("rows (-want, +got):\n%s", clip(d))
		}
		return nil
	})
}

// follow runs Follow in the background; caught is closed when it has caught up.
func follow(t *testing.T, c *Cluster, topic string, v *view) (caught chan struct{}, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	caught = make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- c.Table(nil).Follow(ctx, topic, v.apply, func() { close(caught) }) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return caught, stop
}

func put(t testing.TB, c *Cluster, topic, key, value string, partitions int) {
	t.Helper()
	r := Record{Key: []byte(key)}
	if value != "" {
		r.Value = []byte(value)
	}
	if _, err := c.Producer().Produce(t.Context(), topic, PartitionFor(r.Key, partitions), []Record{r}); err != nil {
		t.Fatal(err)
	}
}

func TestFollowBootstrapsThenTails(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "table", 3, stateConfig)
	want := make(map[string]string)
	for i := range 60 {
		k, v := fmt.Sprint("k", i%20), fmt.Sprint("v", i)
		put(t, c, topic, k, v, 3)
		want[k] = v
	}
	put(t, c, topic, "k3", "", 3)
	delete(want, "k3")
	var v view
	caught, stop := follow(t, c, topic, &v)
	<-caught
	if d := cmp.Diff(want, v.copy()); d != "" {
		t.Errorf("rows when caught up (-want, +got):\n%s", d)
	}
	put(t, c, topic, "k4", "new", 3)
	put(t, c, topic, "k5", "", 3)
	want["k4"] = "new"
	delete(want, "k5")
	v.await(t, want)
	stop()
}

func TestFollowOfAnEmptyTopicCatchesUp(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "table", 2, stateConfig)
	var v view
	caught, stop := follow(t, c, topic, &v)
	<-caught
	put(t, c, topic, "a", "1", 2)
	v.await(t, map[string]string{"a": "1"})
	stop()
}

func TestFollowOutlivesFaults(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	c, _ := connect(t, fake.Addrs())
	topic := kafkatest.Topic(t, fake.Addrs(), "table", 2, stateConfig)
	put(t, c, topic, "a", "1", 2)
	fake.DenyLeader(kafkatest.KeyListOffsets, topic, 1)
	fake.DenyLeader(kafkatest.KeyFetch, topic, 2)
	var v view
	caught, stop := follow(t, c, topic, &v)
	<-caught
	fake.HangUp(kafkatest.KeyFetch, 1, nil)
	fake.ShufflePartitionLeaders()
	put(t, c, topic, "a", "2", 2)
	put(t, c, topic, "b", "3", 2)
	v.await(t, map[string]string{"a": "2", "b": "3"})
	stop()
}

func TestTableReturnsTheErrorsOfItsCaller(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "table", 2, stateConfig)
	put(t, c, topic, "a", "1", 2)
	boom := errors.New("boom")
	fail := func(Record) error { return boom }
	if err := c.Table(nil).Load(t.Context(), topic, fail); !errors.Is(err, boom) {
		t.Errorf("load: %v", err)
	}
	if err := c.Table(nil).Follow(t.Context(), topic, fail, func() { t.Error("caught up in spite of the error") }); !errors.Is(err, boom) {
		t.Errorf("follow: %v", err)
	}
	if err := c.Tail(t.Context(), topic, FromStart, fail); !errors.Is(err, boom) {
		t.Errorf("tail: %v", err)
	}
	if err := c.Table(nil).Load(t.Context(), kafkatest.Name("missing"), fail); !errors.Is(err, ErrTopicMissing) {
		t.Errorf("missing topic: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Table(nil).Load(ctx, topic, fail); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled load: %v", err)
	}
}

func TestTailStartsAtTheEnd(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "events", 1, nil)
	put(t, c, topic, "old", "1", 1)
	got := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Tail(ctx, topic, FromEnd, func(r Record) error {
			got <- string(r.Key)
			return nil
		})
	}()
	// There is no telling when the tail has found the end, so write until something comes.
	kafkatest.Eventually(t, 20*briefly, func() error {
		put(t, c, topic, "new", "2", 1)
		select {
		case k := <-got:
			if k != "new" {
				t.Errorf("got %s", k)
			}
			return nil
		case <-time.After(20 * time.Millisecond):
			return errors.New("nothing yet")
		}
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFollowOnCompactedTopic reads a topic whose batches lost records, in the middle and at their ends.
func TestFollowOnCompactedTopic(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	c, _ := connect(t, fake.Addrs())
	topic := kafkatest.Topic(t, fake.Addrs(), "table", 1, map[string]string{"cleanup.policy": "compact", "min.compaction.lag.ms": "0", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "1", "delete.retention.ms": "0"})
	want := compactable(t, c, topic)
	fake.Compact()
	if n := len(load(t, c, topic)); n > len(want)*4 {
		t.Logf("%d records left for %d keys", n, len(want))
	}
	var v view
	caught, stop := follow(t, c, topic, &v)
	<-caught
	stop()
	if d := cmp.Diff(want, v.copy()); d != "" {
		t.Errorf("rows (-want, +got):\n%s", clip(d))
	}
}

// compactable writes batches whose records are mostly outdated by later ones, above all at the ends of the batches.
func compactable(t testing.TB, c *Cluster, topic string) map[string]string {
	t.Helper()
	want := make(map[string]string)
	p := c.Producer()
	pad := strings.Repeat("0123456789abcdef", 20)
	for round := range 30 {
		var recs []Record
		add := func(key, value string) {
			r := Record{Key: []byte(key)}
			if value == "" {
				delete(want, key)
			} else {
				r.Value = []byte(value)
				want[key] = value
			}
			recs = append(recs, r)
		}
		add(fmt.Sprint("once-", round), fmt.Sprint("kept-", round))
		for i := range 400 {
			add(fmt.Sprint("often-", i), fmt.Sprint(round, pad))
		}
		if round%3 == 0 {
			add(fmt.Sprint("once-", round/2), "")
		}
		if _, err := p.Produce(t.Context(), topic, 0, recs); err != nil {
			t.Fatal(err)
		}
	}
	return want
}
