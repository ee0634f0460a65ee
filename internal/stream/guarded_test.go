package stream

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

func guarding(w *world) ownerOption {
	return withConfig(func(c *OwnerConfig) { c.Guarded = []string{w.verdicts} })
}

// rank is the header that an owner of epoch puts on an output caused by the input record at offset.
func rank(epoch, offset int64) []Header {
	b := binary.BigEndian.AppendUint64(nil, uint64(epoch))
	return []Header{{Key: HeaderRank, Value: binary.BigEndian.AppendUint64(b, uint64(offset))}}
}

// lastVerdicts is what compaction would leave of the guarded topic.
func (w *world) lastVerdicts() map[string]string {
	w.t.Helper()
	last := make(map[string]string)
	err := w.c.Table(nil).Load(w.t.Context(), w.verdicts, func(r Record) error {
		last[string(r.Key)] = string(r.Value)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return last
}

func (w *world) awaitVerdict(key, want string) {
	w.t.Helper()
	kafkatest.Eventually(w.t, 20*briefly, func() error {
		if got := w.lastVerdicts()[key]; got != want {
			return errors.New("the last verdict on " + key + " is " + got + ", want " + want)
		}
		return nil
	})
}

// TestGuardedOutputIsRewritten lets a former owner append an older value of a key to a compacted output, behind a running
// owner's back and while nobody owns the partition.
func TestGuardedOutputIsRewritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(90, 30) // three events a key, so every key's newest event is a verdict
	o := w.own(guarding(w))
	w.settle()
	want := w.lastVerdicts()
	late := func(key string, cause int64) {
		t.Helper()
		rec := Record{Key: []byte(key), Value: []byte("late"), Headers: rank(0, cause)}
		if _, err := w.c.Producer().Produce(t.Context(), w.verdicts, 0, []Record{rec}); err != nil {
			t.Fatal(err)
		}
	}
	late("user-3", 7)
	w.awaitVerdict("user-3", want["user-3"])

	o.stop()
	late("user-4", 8)
	o = w.own(guarding(w))
	w.awaitVerdict("user-4", want["user-4"])
	if n := w.metric("zombie_writes_total", map[string]string{"topic": w.verdicts}); n != 2 {
		t.Errorf("%v late verdicts counted, want 2", n)
	}

	// A record of a successor means that this owner is the late one.
	rec := Record{Key: []byte("user-5"), Value: []byte(want["user-5"]), Headers: rank(1000, 9)}
	if _, err := w.c.Producer().Produce(t.Context(), w.verdicts, 0, []Record{rec}); err != nil {
		t.Fatal(err)
	}
	kafkatest.Eventually(t, 20*briefly, func() error {
		for _, err := range o.errors() {
			if errors.Is(err, errFenced) {
				return nil
			}
		}
		return errors.New("not fenced")
	})
}

// TestOutputsCarryTheirRank reads the header that orders the values of a key.
func TestOutputsCarryTheirRank(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(30, 10)
	w.own(guarding(w)).finish(w)
	offsets := make(map[uint64]bool)
	err := w.c.Table(nil).Load(t.Context(), w.findings, func(r Record) error {
		h := r.Header(HeaderRank)
		if len(h) != 16 || binary.BigEndian.Uint64(h) != 1 {
			t.Errorf("rank %x, want epoch 1", h)
			return nil
		}
		offsets[binary.BigEndian.Uint64(h[8:])] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(offsets) != 30 {
		t.Errorf("findings name %d causes, want 30", len(offsets))
	}
}
