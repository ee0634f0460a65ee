package stream

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// eager makes the cleaner of a real broker compact within seconds. The active segment is never compacted, so a topic
// has to be written to until its older segments were.
var eager = map[string]string{
	"cleanup.policy": "compact", "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "1000", "min.cleanable.dirty.ratio": "0.01",
	"segment.ms": "500", "segment.bytes": "1048576", "delete.retention.ms": "100",
}

// holes counts the offsets of partition 0 that compaction removed.
func holes(t testing.TB, c *Cluster, topic string) int64 {
	t.Helper()
	first, end := mustEnds(t, c, topic)
	left := int64(0)
	err := c.scan(topic, 0, first[0]).until(t.Context(), end[0], nil, func(*Record) error {
		left++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return end[0] - left
}

// TestProgressRuleOnReallyCompactedTopic reads batches that a real cleaner emptied, at their ends above all, where
// kafka-go forgets how far a batch reached.
func TestProgressRuleOnReallyCompactedTopic(t *testing.T) {
	t.Parallel()
	kafkatest.NeedReal(t)
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "table", 1, eager)
	want := compactable(t, c, topic)
	wrote, rounds := int64(30*401), int64(0)
	kafkatest.Eventually(t, 90*briefly, func() error {
		// A write after segment.ms rolls the segment, so that the cleaner may have the one before.
		want[fmt.Sprint("tick-", rounds%3)] = fmt.Sprint(rounds)
		put(t, c, topic, fmt.Sprint("tick-", rounds%3), fmt.Sprint(rounds), 1)
		rounds++
		if n := holes(t, c, topic); n < wrote*8/10 {
			return fmt.Errorf("%d of %d records compacted", n, wrote)
		}
		return nil
	})
	t.Logf("%d of %d records compacted away", holes(t, c, topic), wrote)
	// One byte a fetch: the broker sends one batch at a time, so that nothing but stepping leads past an emptied end.
	var narrow view
	s := c.scan(topic, 0, 0)
	s.bytes, s.raisedTo = 1, 1
	_, end := mustEnds(t, c, topic)
	steps := 0
	for s.next < end[0] {
		before := s.next
		n, err := s.fetch(t.Context(), scanWait, end[0], func(r *Record) error { return narrow.apply(*r) })
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 && s.next > before {
			steps++
		}
	}
	t.Logf("%d steps over emptied offsets", steps)
	if steps == 0 {
		t.Error("no batch had an emptied end, so this proves nothing")
	}
	if d := cmp.Diff(want, narrow.copy()); d != "" {
		t.Errorf("rows read batch by batch (-want, +got):\n%s", clip(d))
	}
	var v view
	caught, stop := follow(t, c, topic, &v)
	<-caught
	put(t, c, topic, "after", "1", 1)
	want["after"] = "1"
	v.await(t, want)
	stop()
}

// TestRestoreFromReallyCompactedState works a key space over and over while the cleaner runs, with members dying, and
// lets a new owner restore what is left.
func TestRestoreFromReallyCompactedState(t *testing.T) {
	t.Parallel()
	kafkatest.NeedReal(t)
	brokers := kafkatest.Brokers(t)
	w := newWorld(t, brokers, 1)
	w.state = kafkatest.Topic(t, brokers, "compacted", 1, eager)
	o := w.own()
	kafkatest.Eventually(t, 120*briefly, func() error {
		w.send(300, 60)
		_, end := mustEnds(t, w.c, w.state)
		if n := holes(t, w.c, w.state); n < 3000 || n < end[0]/2 {
			return fmt.Errorf("%d of %d state records compacted", n, end[0])
		}
		return nil
	})
	w.settle()
	o.kill()
	second := w.own()
	second.awaitLive(1)
	w.send(300, 60)
	w.settle()
	second.stop()
	t.Logf("%d state records compacted away", holes(t, w.c, w.state))
	w.check()
	w.checkUnshadowed()
}

// TestRestoreFromCompactedState is the same against the fake's cleaner.
func TestRestoreFromCompactedState(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorld(t, fake.Addrs(), 1)
	w.state = kafkatest.Topic(t, fake.Addrs(), "compacted", 1, eager)
	w.verdicts = kafkatest.Topic(t, fake.Addrs(), "kept", 1, nil) // the fake knows no compaction lag
	for range 5 {
		w.send(500, 60)
		o := w.own()
		o.awaitLive(1)
		w.settle()
		fake.Compact()
		o.kill()
	}
	w.own().finish(w)
	w.check()
}
