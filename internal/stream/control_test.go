package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// transactions fills a partition with what transactions leave there: values, a control record after each transaction,
// also as the last one, and a record whose key is like that of a control record. It returns the values in order.
func transactions(t *testing.T, c *Cluster, brokers []string, topic string) []string {
	t.Helper()
	kafkatest.Transact(t, brokers, topic, 0, true, "one", "two")
	lookalike := Record{Key: []byte{0, 0, 0, 1}, Value: []byte{0, 0, 0, 0, 0, 0}}
	if _, err := c.Producer().Produce(t.Context(), topic, 0, []Record{lookalike, {Key: []byte("k"), Value: []byte("three")}}); err != nil {
		t.Fatal(err)
	}
	kafkatest.Transact(t, brokers, topic, 0, true, "four")
	kafkatest.Transact(t, brokers, topic, 0, true, "five")
	return []string{"one", "two", "\x00\x00\x00\x00\x00\x00", "three", "four", "five"}
}

// end is where the topic's only partition ends: behind a control record.
func end(t *testing.T, c *Cluster, topic string, values int) int64 {
	t.Helper()
	_, ends, err := c.Ends(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if ends[0] != int64(values)+3 {
		t.Fatalf("the partition ends at %d, want %d values and 3 control records", ends[0], values)
	}
	return ends[0]
}

func TestControlRecordsReachNoConsumer(t *testing.T) {
	t.Parallel()
	for _, compacted := range []bool{false, true} {
		t.Run(fmt.Sprintf("compacted %v", compacted), func(t *testing.T) {
			t.Parallel()
			brokers := kafkatest.Brokers(t)
			c, _ := connect(t, brokers)
			topic, group := kafkatest.Topic(t, brokers, "control", 1, nil), kafkatest.Name("group")
			want := transactions(t, c, brokers, topic)
			last := end(t, c, topic, len(want))
			var mu sync.Mutex
			var got []string
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				cfg := ConsumerConfig{Group: group, Topic: topic, Compacted: compacted, MaxRecords: 2, MaxWait: -1, MinFetchBytes: 1}
				ended <- c.Consume(ctx, cfg, func(_ context.Context, _ int, batch []Record) error {
					mu.Lock()
					defer mu.Unlock()
					for _, r := range batch {
						got = append(got, string(r.Value))
					}
					return nil
				})
			}()
			// The offsets count: the group comes to the very end.
			awaitCommit(t, c, group, topic, last)
			kafkatest.Transact(t, brokers, topic, 0, true, "six")
			awaitCommit(t, c, group, topic, last+2)
			cancel()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(append(want, "six"), got); d != "" {
				t.Errorf("values (-want, +got):\n%s", d)
			}
		})
	}
}

func awaitCommit(t *testing.T, c *Cluster, group, topic string, want int64) {
	t.Helper()
	kafkatest.Eventually(t, 30*time.Second, func() error {
		res, err := c.client().OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0}}})
		if err != nil {
			return err
		}
		if len(res.Topics[topic]) != 1 || res.Topics[topic][0].CommittedOffset != want {
			return fmt.Errorf("committed %+v, want %d", res.Topics[topic], want)
		}
		return nil
	})
}

func TestControlRecordsReachNoTable(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "control", 1, nil)
	want := transactions(t, c, brokers, topic)
	last := end(t, c, topic, len(want))
	var got []string
	load := func(r Record) error {
		got = append(got, string(r.Value))
		return nil
	}
	next, err := c.Table(nil).LoadFrom(t.Context(), topic, nil, load)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("values (-want, +got):\n%s", d)
	}
	if d := cmp.Diff([]int64{last}, next); d != "" {
		t.Errorf("next (-want, +got):\n%s", d)
	}
	got = nil
	kafkatest.Transact(t, brokers, topic, 0, true, "six")
	if next, err = c.Table(nil).LoadFrom(t.Context(), topic, next, load); err != nil || next[0] != last+2 {
		t.Errorf("next %v, error %v; want %d", next, err, last+2)
	}
	if d := cmp.Diff([]string{"six"}, got); d != "" {
		t.Errorf("values from where it was left (-want, +got):\n%s", d)
	}
}

// An owner whose input ends with control records folds the rest once, and its checkpoint comes to the end.
func TestControlRecordsReachNoProcessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(40, 4)
	kafkatest.Transact(t, w.brokers, w.input, 0, true, "a", "b")
	kafkatest.Transact(t, w.brokers, w.input, 0, true, "c")
	_, ends, err := w.c.Ends(t.Context(), w.input)
	if err != nil {
		t.Fatal(err)
	}
	if ends[0] != 40+5 {
		t.Fatalf("the input ends at %d, want 45", ends[0])
	}
	for i, v := range []string{"a", "b", "", "c"} {
		if v != "" {
			w.events[0] = append(w.events[0], Record{Key: []byte("k"), Value: []byte(v), Offset: int64(40 + i)})
		}
	}
	a := w.own()
	kafkatest.Eventually(t, 30*time.Second, func() error { return w.reached(ends[0]) })
	a.stop()
	w.check()
}

// reached reports whether the newest checkpoint of partition 0 is at next.
func (w *world) reached(next int64) error {
	var offsets []int64
	err := w.c.Table(nil).Load(w.t.Context(), w.state, func(r Record) error {
		if string(r.Key) != string(checkpointKey) {
			return nil
		}
		ck, err := parseCheckpoint(r.Value)
		offsets = append(offsets, ck.NextOffset)
		return err
	})
	if err == nil && !slices.Contains(offsets, next) {
		err = errors.New("the checkpoint is not there yet")
	}
	if err != nil {
		return fmt.Errorf("%w: checkpoints at %v, want %d", err, offsets, next)
	}
	return nil
}
