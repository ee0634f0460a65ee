package stream

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

const briefly = time.Second

func ckptRecord(t testing.TB, ck checkpoint) Record {
	t.Helper()
	value, err := json.Marshal(ck)
	if err != nil {
		t.Fatal(err)
	}
	return Record{Key: checkpointKey, Value: value}
}

// commitOffset sets the group's offset of partition 0, as an operator's tool does.
func (w *world) commitOffset(offset int64) {
	w.t.Helper()
	kafkatest.Eventually(w.t, 20*briefly, func() error {
		res, err := w.c.client().OffsetCommit(w.t.Context(), &kafka.OffsetCommitRequest{
			GroupID: w.group, GenerationID: -1,
			Topics: map[string][]kafka.OffsetCommit{w.input: {{Partition: 0, Offset: offset}}},
		})
		if err != nil {
			return err
		}
		return res.Topics[w.input][0].Error
	})
}

// TestRefuses puts the partition in every state that must not be guessed about.
func TestRefuses(t *testing.T) {
	t.Parallel()
	good := func(w *world) checkpoint {
		id, err := w.c.clusterID(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		return checkpoint{Format: stateFormat, Cluster: id, Topic: w.input, Partitions: 1, NextOffset: 10, Epoch: 3, Member: "m"}
	}
	write := func(w *world, recs ...Record) {
		if _, err := w.c.Producer().Produce(w.t.Context(), w.state, 0, recs); err != nil {
			w.t.Fatal(err)
		}
	}
	changed := func(change func(*checkpoint)) func(*world) {
		return func(w *world) {
			ck := good(w)
			change(&ck)
			write(w, ckptRecord(w.t, ck))
		}
	}
	cases := []struct {
		name   string
		reason Reason
		set    func(w *world)
		opt    ownerOption
	}{
		{"state_without_checkpoint", StopNoCheckpoint, func(w *world) { w.inject(0, envelope{Epoch: 1}, map[string]string{"a": "1:x"}) }, nil},
		{"group_offset_without_checkpoint", StopNoCheckpoint, func(w *world) { w.commitOffset(7) }, nil},
		{"other_cluster", StopCluster, changed(func(c *checkpoint) { c.Cluster = "elsewhere" }), nil},
		{"other_topic", StopTopic, changed(func(c *checkpoint) { c.Topic = "elsewhere" }), nil},
		{"other_partition_count", StopPartitionCount, changed(func(c *checkpoint) { c.Partitions = 2 }), nil},
		{"past_the_end", StopInputTruncated, changed(func(c *checkpoint) { c.NextOffset = 1e6 }), nil},
		{"newer_checkpoint", StopFormat, changed(func(c *checkpoint) { c.Format = stateFormat + 1 }), nil},
		{"newer_state", StopFormat, func(w *world) {
			write(w, Record{Key: []byte("a"), Value: []byte{stateMagic, stateFormat + 1, 1, 1, 1}}, ckptRecord(w.t, good(w)))
		}, nil},
		{"garbage_checkpoint", StopNoCheckpoint, func(w *world) { write(w, Record{Key: checkpointKey, Value: []byte("{")}) }, nil},
		{"garbage_state", StopNoCheckpoint, func(w *world) { write(w, Record{Key: []byte("a"), Value: []byte("hello")}) }, nil},
		{"processor_error", StopProcessor, func(*world) {}, withProcessor(func(l *ledger) {
			l.process = func([]Record) error { return errors.New("boom") }
		})},
		{"reserved_state_key", StopProcessor, func(w *world) {
			recs := []Record{{Key: []byte("\x00mine"), Value: []byte("x")}}
			if _, err := w.c.Producer().Produce(w.t.Context(), w.input, 0, recs); err != nil {
				w.t.Fatal(err)
			}
		}, nil},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, kafkatest.Brokers(t), 1)
			w.send(100, 10)
			tc.set(w)
			opts := []ownerOption{}
			if tc.opt != nil {
				opts = append(opts, tc.opt)
			}
			_, before := mustEnds(t, w.c, w.state)
			o := w.own(opts...)
			stop := o.awaitStop()
			if stop.Reason != tc.reason {
				t.Errorf("stopped for %s (%v), want %s", stop.Reason, stop, tc.reason)
			}
			labels := map[string]string{"topic": w.input, "partition": "0", "reason": string(tc.reason)}
			w.awaitMetric("partition_stopped", labels, 1)
			o.stop()
			if got := w.metric("partition_stopped", labels); got != 0 {
				t.Errorf("partition_stopped is %v after the owner left, want none", got)
			}
			if tc.reason == StopProcessor {
				return
			}
			// What could be evidence is untouched.
			if _, after := mustEnds(t, w.c, w.state); after[0] != before[0] {
				t.Errorf("the refusing owner wrote %d state records", after[0]-before[0])
			}
			if got := w.ids(w.findings); len(got) > 0 {
				t.Errorf("the refusing owner wrote %d findings", len(got))
			}
		})
	}
}

func mustEnds(t testing.TB, c *Cluster, topic string) (first, end []int64) {
	t.Helper()
	first, end, err := c.Ends(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return first, end
}

// TestOversizedOutputStops shows that an output which no broker takes stops the partition instead of being dropped.
func TestOversizedOutputStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(3, 1)
	o := w.own(func(o *owner) {
		o.newProcessor = func(int) Processor {
			return &fixed{res: Result{Outputs: []Output{{Topic: w.findings, Records: []Record{{Value: []byte(strings.Repeat("x", MaxBatchBytes))}}}}}}
		}
	})
	if stop := o.awaitStop(); stop.Reason != StopTooLarge || !errors.Is(stop, ErrTooLarge) {
		t.Errorf("stopped by %v, want %s", stop, StopTooLarge)
	}
	o.stop()

	w = newWorld(t, kafkatest.Brokers(t), 1)
	w.send(3, 1)
	o = w.own(func(o *owner) {
		o.newProcessor = func(int) Processor {
			return &fixed{res: Result{State: []KeyValue{{Key: []byte("k"), Value: make([]byte, MaxBatchBytes)}}}}
		}
	})
	if stop := o.awaitStop(); stop.Reason != StopTooLarge || !errors.Is(stop, ErrTooLarge) {
		t.Errorf("stopped by %v, want %s", stop, StopTooLarge)
	}
}

// fixed answers every batch with the same result.
type fixed struct {
	Processor
	res Result
}

func (f *fixed) Process(context.Context, []Record) (Result, error) { return f.res, nil }

func TestInputLostToRetention(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorld(t, fake.Addrs(), 1)
	w.send(100, 10)
	w.own().finish(w)
	w.send(100, 10)
	if err := fake.DeleteRecords(w.input, 0, 130); err != nil {
		t.Fatal(err)
	}
	o := w.own()
	if stop := o.awaitStop(); stop.Reason != StopInputLost {
		t.Fatalf("stopped by %v, want %s", stop, StopInputLost)
	}
	o.stop()
	if n := w.metric("events_lost_to_retention_total", nil); n != 0 {
		t.Errorf("%v events counted as lost although the owner waits for a person", n)
	}
	o = w.own(withConfig(func(c *OwnerConfig) { c.ContinueAfterLoss = true }))
	w.settle()
	o.stop()
	if n := w.metric("events_lost_to_retention_total", map[string]string{"topic": w.input}); n != 30 {
		t.Errorf("%v events counted as lost, want 30", n)
	}
	// What was left is processed once, after what had been.
	w.events[0] = append(w.events[0][:100:100], w.events[0][130:]...)
	w.check()
}

// TestStateTopicRecreated shows that an owner whose state partition lost acknowledged records stops.
func TestStateTopicRecreated(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorld(t, fake.Addrs(), 1)
	w.send(100, 10)
	o := w.own(withConfig(func(c *OwnerConfig) { c.IdleCheckpoint = time.Hour }))
	w.settle()
	if err := fake.DeleteTopic(w.state); err != nil {
		t.Fatal(err)
	}
	if err := fake.CreateTopic(w.state, 1, nil); err != nil {
		t.Fatal(err)
	}
	w.send(10, 10)
	if stop := o.awaitStop(); stop.Reason != StopStateTruncated {
		t.Errorf("stopped by %v, want %s", stop, StopStateTruncated)
	}
}

// TestResumesFromCheckpointNotGroupOffset moves the group's offset both ways.
func TestResumesFromCheckpointNotGroupOffset(t *testing.T) {
	t.Parallel()
	for name, offset := range map[string]int64{"ahead": 350, "behind": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, kafkatest.Brokers(t), 1)
			w.send(200, 20)
			w.own().finish(w)
			w.send(200, 20)
			w.commitOffset(offset)
			o := w.own()
			w.settle()
			o.stop()
			if o.live[0] != 200 {
				t.Errorf("resumed at %d, want 200", o.live[0])
			}
			w.check()
		})
	}
}
