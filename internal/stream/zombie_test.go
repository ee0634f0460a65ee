package stream

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// metric sums the values of a metric whose labels include want.
func (w *world) metric(name string, want map[string]string) float64 {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "countersign_stream_"+name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			labels := make(prometheus.Labels)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			for k, v := range want {
				if labels[k] != v {
					continue series
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func (w *world) awaitMetric(name string, labels map[string]string, least float64) {
	w.t.Helper()
	kafkatest.Eventually(w.t, 30*briefly, func() error {
		if got := w.metric(name, labels); got < least {
			return fmt.Errorf("%s%v is %v, want %v", name, labels, got, least)
		}
		return nil
	})
}

// checkUnshadowed proves that compaction may come: the last record of every key, checkpoints included, is its best.
// Besides what the oracle expects, extra keys may be there.
func (w *world) checkUnshadowed(extra ...string) {
	w.t.Helper()
	_, _, want := w.expected()
	want = append(want, extra...)
	slices.Sort(want)
	last := make(map[string]string)
	best := make([]envelope, w.partitions)
	final := make([]envelope, w.partitions)
	err := w.c.Table(nil).Load(w.t.Context(), w.state, func(r Record) error {
		env, err := stateEnvelope(&r)
		if string(r.Key) == string(checkpointKey) {
			if err != nil {
				return err
			}
			if env.follows(best[r.Partition]) {
				best[r.Partition] = env
			}
			final[r.Partition] = env
			return nil
		}
		switch _, payload, err := parseEnvelope(&r); {
		case err != nil:
			last[string(r.Key)] = "unreadable"
		case payload == nil:
			delete(last, string(r.Key))
		default:
			last[string(r.Key)] = string(payload)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var got []string
	for k, v := range last {
		got = append(got, k+"="+v)
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		w.t.Errorf("last records (-want, +got):\n%s", clip(d))
	}
	if d := cmp.Diff(best, final); d != "" {
		w.t.Errorf("last checkpoints (-best, +last):\n%s", d)
	}
}

// TestPausedOwnerWritesLate stops a process between two steps until another owns its partition and has gone on, and
// then lets it write.
func TestPausedOwnerWritesLate(t *testing.T) {
	t.Parallel()
	for _, step := range []int{stepOutputs, stepState} {
		t.Run(stepNames[step], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, kafkatest.Brokers(t), 1)
			w.send(300, 30)
			paused, resume := make(chan struct{}), make(chan struct{})
			var once sync.Once
			var a *running
			ready := make(chan struct{})
			a = w.own(withStep(func(s, _ int) {
				<-ready
				if s == step {
					once.Do(func() {
						a.wire.freeze()
						close(paused)
						<-resume
					})
				}
			}))
			close(ready)
			<-paused
			b := w.own()
			w.send(300, 30)
			w.settle()
			a.wire.thaw()
			close(resume)
			w.awaitMetric("zombie_writes_total", map[string]string{"topic": w.state}, 1)
			a.stop()
			w.send(60, 30)
			w.settle()
			b.stop()
			w.check()
			w.checkUnshadowed()
		})
	}
}

// TestClaimRace lets two members restore the same partition and claim it with the same epoch at the same moment.
func TestClaimRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(300, 30)
	var barrier sync.WaitGroup
	barrier.Add(2)
	var both []*running
	ready := make(chan struct{})
	for i := range 2 {
		var once sync.Once
		r := w.own(
			// Two groups, so that nothing but the claim decides.
			withConfig(func(c *OwnerConfig) { c.Group = fmt.Sprint(w.group, i) }),
			withStep(func(s, _ int) {
				<-ready
				if s == stepClaim {
					once.Do(func() { barrier.Done(); barrier.Wait() })
				}
			}))
		both = append(both, r)
	}
	close(ready)
	loser := -1
	kafkatest.Eventually(t, 30*briefly, func() error {
		for i, r := range both {
			for _, err := range r.errors() {
				if errors.Is(err, errFenced) {
					loser = i
					return nil
				}
			}
		}
		w.send(10, 30) // a former owner notices when it writes
		return errors.New("nobody is fenced")
	})
	both[loser].stop()
	w.send(300, 30)
	w.settle()
	both[1-loser].stop()
	if lost := w.metric("claims_total", map[string]string{"result": claimLost}); lost < 1 {
		t.Errorf("%v claims lost, want at least 1", lost)
	}
	w.check()
	w.checkUnshadowed()
}

// inject appends records to the state partition as a former owner, or nobody we know, would.
func (w *world) inject(partition int, env envelope, keys map[string]string) {
	w.t.Helper()
	var recs []Record
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		recs = append(recs, Record{Key: []byte(k), Value: append(env.append(nil), keys[k]...)})
	}
	if _, err := w.c.Producer().Produce(w.t.Context(), w.state, partition, recs); err != nil {
		w.t.Fatal(err)
	}
}

// TestForeignWritesAreOverwritten appends what must not be there behind a running owner's back.
func TestForeignWritesAreOverwritten(t *testing.T) {
	t.Parallel()
	cases := map[string]func(w *world, ck checkpoint) []Record{
		"lower_epoch": func(_ *world, ck checkpoint) []Record {
			e := envelope{Epoch: ck.Epoch - 1, Seq: 9, Last: ck.NextOffset + 100}
			return []Record{{Key: []byte("user-1"), Value: append(e.append(nil), "999:zombie"...)}}
		},
		"tombstone": func(_ *world, ck checkpoint) []Record {
			e := envelope{Epoch: ck.Epoch - 1, Seq: 9, Last: 3}
			return []Record{{Key: []byte("user-2"), Headers: []Header{{Key: headerEnvelope, Value: e.append(nil)}}}}
		},
		"unknown_key": func(_ *world, ck checkpoint) []Record {
			e := envelope{Epoch: ck.Epoch - 1, Seq: 9, Last: 3}
			return []Record{{Key: []byte("nobody"), Value: append(e.append(nil), "1:x"...)}}
		},
		"garbage": func(*world, checkpoint) []Record {
			return []Record{{Key: []byte("user-3"), Value: []byte("hello")}, {Key: []byte("user-4")}, {Key: []byte("nobody"), Value: []byte{}}}
		},
		"checkpoint": func(w *world, ck checkpoint) []Record {
			ck.Epoch, ck.NextOffset, ck.Member = ck.Epoch-1, ck.NextOffset+50, "other"
			return []Record{ckptRecord(w.t, ck)}
		},
	}
	for name, records := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, kafkatest.Brokers(t), 1)
			w.send(300, 30)
			o := w.own()
			w.settle()
			_, ckpts := w.restored()
			if _, err := w.c.Producer().Produce(t.Context(), w.state, 0, records(w, ckpts[0])); err != nil {
				t.Fatal(err)
			}
			w.awaitMetric("zombie_writes_total", map[string]string{"topic": w.state}, 1)
			w.send(30, 30)
			w.settle()
			o.stop()
			w.check()
			w.checkUnshadowed()
		})
	}
}

// TestDelayedRetryIsOverwritten appends an older batch of the owner itself once more, as a request does that was
// thought lost.
func TestDelayedRetryIsOverwritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(300, 30)
	o := w.own(withConfig(func(c *OwnerConfig) { c.MaxBatch = 30 }))
	w.settle()
	// The owner's first batch after the claim: offsets 1 to 31.
	var old []Record
	err := w.c.scan(w.state, 0, 1).until(t.Context(), 32, nil, func(r *Record) error {
		old = append(old, Record{Key: clone(r.Key), Value: clone(r.Value), Headers: r.Headers})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.Producer().Produce(t.Context(), w.state, 0, old); err != nil {
		t.Fatal(err)
	}
	// The idle checkpoint finds them.
	kafkatest.Eventually(t, 30*briefly, func() error {
		_, end, err := w.c.Ends(t.Context(), w.state)
		if err != nil {
			return err
		}
		n := 0
		err = w.c.scan(w.state, 0, end[0]-1).until(t.Context(), end[0], nil, func(r *Record) error {
			if string(r.Key) == string(checkpointKey) {
				n++
			}
			return nil
		})
		if n == 0 {
			return errors.New("no checkpoint at the end")
		}
		return err
	})
	w.send(1, 30)
	w.settle()
	o.stop()
	w.check()
	w.checkUnshadowed()
}

// TestLateWritesBetweenOwners lets a former owner's records land when nobody owns the partition.
func TestLateWritesBetweenOwners(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(300, 30)
	w.own().finish(w)
	w.own().finish(w) // a second epoch
	w.inject(0, envelope{Epoch: 1, Seq: 3, Last: 50}, map[string]string{"user-1": "5:old", "user-2": "6:old", "gone": "1:x"})
	strays := []Record{{Key: []byte("user-3"), Value: []byte("hello")}, {Key: []byte("user-4")}, {Key: []byte("nobody"), Value: []byte{}}}
	if _, err := w.c.Producer().Produce(t.Context(), w.state, 0, strays); err != nil {
		t.Fatal(err)
	}
	w.own().finish(w)
	// "gone" is state that only a former owner had, and counts; "nobody" is nothing.
	_, _, want := w.expected()
	got, _ := w.restored()
	want = append(want, "gone=1:x")
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("state (-want, +got):\n%s", clip(d))
	}
	w.checkUnshadowed("gone=1:x")
	if n := w.metric("zombie_writes_total", map[string]string{"topic": w.state}); n != 5 {
		t.Errorf("%v zombie writes counted, want 5", n)
	}
}

// TestHigherEpochFences shows that an owner leaves as soon as it sees a successor, and comes back above it.
func TestHigherEpochFences(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(100, 10)
	o := w.own()
	w.settle()
	_, ckpts := w.restored()
	ck := ckpts[0]
	ck.Epoch, ck.Seq, ck.Member, ck.Claim = ck.Epoch+5, 0, "other", true
	if _, err := w.c.Producer().Produce(t.Context(), w.state, 0, []Record{ckptRecord(t, ck)}); err != nil {
		t.Fatal(err)
	}
	w.send(100, 10)
	w.settle()
	kafkatest.Eventually(t, 10*briefly, func() error {
		for _, err := range o.errors() {
			if errors.Is(err, errFenced) {
				return nil
			}
		}
		return errors.New("not fenced")
	})
	o.stop()
	_, ckpts = w.restored()
	if ckpts[0].Epoch <= ck.Epoch {
		t.Errorf("epoch %d after a claim of epoch %d", ckpts[0].Epoch, ck.Epoch)
	}
	w.check()
	w.checkUnshadowed()
}
