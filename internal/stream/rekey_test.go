package stream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// knot is a processor whose state does not follow the keys of its input: every record changes the whole, and one of a
// few pieces. Its outputs name both, so that state of which a part is newer than the rest shows in every later output.
type knot struct {
	out     string
	pieces  map[string]string
	changed map[string]bool
	limit   int // of changed pieces, after which the state is written
}

func (w *world) knot() *knot {
	return &knot{out: w.findings, pieces: make(map[string]string), changed: make(map[string]bool), limit: 5}
}

const whole = "whole"

// tie folds one record and returns the record that follows from it.
func (k *knot) tie(r *Record) Record {
	piece := fmt.Sprintf("piece-%d", murmur2(r.Value)%16)
	for _, name := range []string{whole, piece} {
		k.pieces[name] = fold(k.pieces[name], r.Value)
		k.changed[name] = true
	}
	id := r.Value
	return Record{Key: append([]byte("to-"), r.Value[:len(r.Value)/2]...), Value: []byte(string(id) + "/" + k.pieces[whole] + "/" + k.pieces[piece]), Offset: r.Offset}
}

func (k *knot) Restore(key, payload []byte) error {
	k.pieces[string(key)] = string(payload)
	return nil
}

func (k *knot) Process(_ context.Context, batch []Record) (Result, error) {
	out := Output{Topic: k.out, Rekeyed: true}
	for i := range batch {
		out.Records = append(out.Records, k.tie(&batch[i]))
		if len(k.changed) > k.limit {
			return Result{Taken: i + 1, Outputs: []Output{out}, State: k.Changed()}, nil
		}
	}
	return Result{Deferred: true, Outputs: []Output{out}}, nil
}

func (k *knot) Changed() []KeyValue {
	var state []KeyValue
	for _, name := range slices.Sorted(maps.Keys(k.changed)) {
		state = append(state, KeyValue{Key: []byte(name), Value: []byte(k.pieces[name])})
	}
	return state
}

func (k *knot) Commit() { clear(k.changed) }

func (k *knot) Encode(key []byte) []byte { return []byte(k.pieces[string(key)]) }

var _ Deferrer = (*knot)(nil)

func withKnot(w *world) ownerOption {
	return func(o *owner) { o.newProcessor = func(int) Processor { return w.knot() } }
}

// checkKnot compares outputs and state with an uninterrupted run.
func (w *world) checkKnot() {
	w.t.Helper()
	var want []string
	placed := map[string]int{}
	for _, recs := range w.events {
		k := w.knot()
		for i := range recs {
			r := k.tie(&recs[i])
			want = append(want, string(r.Value))
			placed[string(r.Value)] = PartitionFor(r.Key, w.partitions)
		}
	}
	slices.Sort(want)
	if d := cmp.Diff(want, w.ids(w.findings)); d != "" {
		w.t.Errorf("outputs (-want, +got):\n%s", clip(d))
	}
	if err := w.c.Table(nil).Load(w.t.Context(), w.findings, func(r Record) error {
		if p, ok := placed[string(r.Value)]; ok && p != r.Partition {
			return fmt.Errorf("record of key %q is in partition %d, want %d", r.Key, r.Partition, p)
		}
		if r.Header(HeaderRank) != nil {
			return fmt.Errorf("record of key %q has a rank", r.Key)
		}
		return nil
	}); err != nil {
		w.t.Error(err)
	}
}

// TestRekeyedAndDeferred kills owners at every step; their successors repeat outputs and change none.
func TestRekeyedAndDeferred(t *testing.T) {
	t.Parallel()
	for step, name := range stepNames {
		for _, nth := range []int64{1, 7} {
			if step == stepClaim && nth > 1 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", name, nth), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, kafkatest.Brokers(t), 2)
				w.send(600, 60)
				var count atomic.Int64
				crashed := make(chan struct{})
				var first *running
				ready := make(chan struct{})
				first = w.own(withKnot(w), withStep(func(s, _ int) {
					<-ready
					if s == step && count.Add(1) == nth {
						first.kill()
						close(crashed)
					}
				}))
				close(ready)
				<-crashed
				w.send(200, 60)
				second := w.own(withKnot(w))
				w.settle()
				second.stop()
				w.checkKnot()
			})
		}
	}
}

// TestDeferredStateIsWrittenInTime looks that a partition without traffic does not stay unwritten.
func TestDeferredStateIsWrittenInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(3, 60) // too few to reach the limit
	o := w.own(withKnot(w))
	w.settle()
	w.send(3, 60)
	o.stop() // draining writes it at the latest
	w.own(withKnot(w)).awaitLive(1)
	w.settle()
	w.checkKnot()
}

// TestRekeyedOutputCannotBeGuarded: the guard looks at one partition.
func TestRekeyedOutputCannotBeGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(3, 3)
	o := w.own(withConfig(func(c *OwnerConfig) { c.Guarded = []string{w.findings} }), func(o *owner) {
		o.newProcessor = func(int) Processor { return rewriter{w.knot()} }
	})
	if stop := o.awaitStop(); stop.Reason != StopProcessor {
		t.Errorf("stopped with %v", stop)
	}
}

type rewriter struct{ *knot }

func (rewriter) Current(string, []byte) (Record, bool) { return Record{}, false }

// bulk answers its first batch with more state than a record batch holds.
type bulk struct{ *knot }

const bulkAlone, bulkTogether = MaxStateRecords + MaxStateRecords/2, MaxStateRecords - 10

func (b bulk) Process(context.Context, []Record) (Result, error) {
	res := Result{Together: bulkTogether}
	for i := range bulkAlone + bulkTogether {
		res.State = append(res.State, KeyValue{Key: fmt.Appendf(nil, "key-%05d", i), Value: []byte("v")})
	}
	return res, nil
}

// TestStateThatBelongsTogetherIsNotSplit: the keys that belong together are in the record batch of the checkpoint.
func TestStateThatBelongsTogetherIsNotSplit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(1, 1)
	o := w.own(func(o *owner) { o.newProcessor = func(int) Processor { return bulk{w.knot()} } })
	w.settle()
	o.stop()
	_, ends, err := w.c.Ends(t.Context(), w.state)
	if err != nil {
		t.Fatal(err)
	}
	batches := map[int64][]string{}
	if err := w.c.scan(w.state, 0, 0).until(t.Context(), ends[0], nil, func(r *Record) error {
		env, err := stateEnvelope(r)
		if env.Seq > 0 && len(batches[env.Seq]) < MaxStateRecords {
			batches[env.Seq] = append(batches[env.Seq], string(r.Key))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	first := fmt.Sprintf("key-%05d", bulkAlone)
	if len(batches[3]) != bulkTogether+1 || batches[3][0] != first || batches[3][bulkTogether] != string(checkpointKey) {
		t.Errorf("batches of %d, %d and %d records, want the third to begin with %s and to hold the checkpoint", len(batches[1]), len(batches[2]), len(batches[3]), first)
	}
}
