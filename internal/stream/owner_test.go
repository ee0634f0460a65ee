package stream

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

func TestOwnerProcessesEverythingOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 4)
	w.send(5000, 300)
	o := w.own()
	w.settle()
	w.send(500, 300)
	w.settle()
	o.stop()
	w.check()
}

// Who watches a partition watches this: it moves on with every batch, and goes with the partition.
func TestTheTimeOfTheCheckpointIsExported(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 4)
	times := func() map[string]float64 {
		families, err := w.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			if f.GetName() != "countersign_stream_checkpoint_timestamp_seconds" {
				continue
			}
			for _, m := range f.GetMetric() {
				got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
		return got
	}
	began := float64(time.Now().Unix())
	o := w.own()
	w.send(500, 300)
	w.settle()
	first := times()
	w.send(500, 300)
	w.settle()
	// It is set after the records that settle looks for.
	kafkatest.Eventually(t, 10*time.Second, func() error {
		for partition, at := range times() {
			if at < began || at <= first[partition] {
				return fmt.Errorf("partition %s: durable at %f, then at %f; began at %f", partition, first[partition], at, began)
			}
		}
		return nil
	})
	if len(first) != 4 {
		t.Errorf("partitions %v", first)
	}
	o.stop()
	if left := times(); len(left) > 0 {
		t.Errorf("still told of: %v", left)
	}
}
