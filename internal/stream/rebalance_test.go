package stream

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// TestRebalanceInsideEveryStep lets a second member join while the first is between two steps of a batch, and leave
// again in the middle of the work.
func TestRebalanceInsideEveryStep(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	for step, name := range stepNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := kafkatest.Fake(t)
			w := newWorld(t, fake.Addrs(), 2)
			w.send(1000, 60)
			inside, resume := make(chan struct{}), make(chan struct{})
			var count atomic.Int64
			a := w.own(withStep(func(s, _ int) {
				if s == step && count.Add(1) == 2 {
					close(inside)
					<-resume
				}
			}))
			<-inside
			b := w.own()
			kafkatest.Eventually(t, 20*briefly, func() error {
				if g := fake.GroupInfo(w.group); g == nil || g.State == "Stable" {
					return errors.New("group does not rebalance yet")
				}
				return nil
			})
			close(resume)
			b.awaitLive(1)
			w.send(500, 60)
			w.settle()
			b.kill()
			w.send(500, 60)
			w.settle()
			a.stop()
			w.check()
			w.checkUnshadowed()
		})
	}
}

// TestDrainTimesOut takes the partition away while a batch cannot be finished within the drain budget: it is abandoned
// and the next owner does it again.
func TestDrainTimesOut(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorld(t, fake.Addrs(), 1)
	fault := fake.Fault(kafkatest.Fault{Keys: []kafkatest.Key{kafkatest.KeyProduce}, Topic: w.verdicts, Err: kerr.NotEnoughReplicas, Count: -1})
	w.send(500, 60)
	a := w.own()
	if err := fault.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	a.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
	fault.Remove()
	w.own().finish(w)
	w.check()
}

// TestKeptStateIsReused shows that a rebalance which gives a partition back costs no restore.
func TestKeptStateIsReused(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorld(t, fake.Addrs(), 2)
	w.send(300, 30)
	var restores atomic.Int64
	o := w.own(func(o *owner) {
		inner := o.newProcessor
		o.newProcessor = func(p int) Processor {
			restores.Add(1)
			return inner(p)
		}
	})
	w.settle()
	rebalance := func(least float64) {
		t.Helper()
		fake.Fault(kafkatest.Fault{Keys: []kafkatest.Key{kafkatest.KeyHeartbeat}, Group: w.group, Err: kerr.RebalanceInProgress, TopLevel: true})
		w.awaitMetric("claims_total", map[string]string{"result": claimReused}, least)
	}
	rebalance(2)
	if n := restores.Load(); n != 2 {
		t.Errorf("%d processors made, want 2: one for each partition", n)
	}
	w.send(300, 30)
	w.settle()
	rebalance(4)
	o.stop()
	w.check()
	w.checkUnshadowed()
}

// TestKeptStateIsDroppedWhenOthersWrote lets another owner go on between two generations that both give the partition to
// the same member: what that has in memory is outdated.
func TestKeptStateIsDroppedWhenOthersWrote(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorld(t, fake.Addrs(), 1)
	w.send(300, 30)
	drained, resume := make(chan struct{}), make(chan struct{})
	var claims atomic.Int64
	a := w.own(withStep(func(s, _ int) {
		if s == stepClaim && claims.Add(1) == 2 {
			close(drained)
			<-resume
		}
	}))
	w.settle()
	fake.Fault(kafkatest.Fault{Keys: []kafkatest.Key{kafkatest.KeyHeartbeat}, Group: w.group, Err: kerr.RebalanceInProgress, TopLevel: true})
	<-drained
	w.send(300, 30)
	w.own(withConfig(func(c *OwnerConfig) { c.Group += ".other" })).finish(w)
	close(resume)
	w.send(300, 30)
	w.settle()
	a.stop()
	if n := w.metric("claims_total", map[string]string{"result": claimReused}); n != 0 {
		t.Errorf("outdated memory was reused %v times", n)
	}
	w.check()
	w.checkUnshadowed()
}

// TestSplitWriteIsGuarded kills the owner between two batches of one state write: the keys that were written must not
// be decided again, the others must.
func TestSplitWriteIsGuarded(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorld(t, fake.Addrs(), 1)
	const keys = 2*MaxStateRecords + 100
	w.send(keys, keys)
	// The claim and the first part pass, then nothing does.
	seen := make(map[kmsg.Request]bool) // used on the broker's goroutine only
	fault := fake.Fault(kafkatest.Fault{
		Keys: []kafkatest.Key{kafkatest.KeyProduce}, Topic: w.state, Err: kerr.NotEnoughReplicas, Count: -1,
		When: func(r kmsg.Request) bool {
			seen[r] = true
			return len(seen) > 2
		},
	})
	a := w.own(withConfig(func(c *OwnerConfig) { c.MaxBatch = keys }))
	if err := fault.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	a.kill()
	fault.Remove()
	state, ckpts := w.restored()
	if len(state) == 0 || len(state) >= keys || ckpts[0].NextOffset != 0 {
		t.Fatalf("%d keys and checkpoint at %d after the crash, want a part of the keys and a checkpoint at 0", len(state), ckpts[0].NextOffset)
	}
	written := len(state)
	w.own().finish(w)
	if got := w.metric("replayed_records_skipped_total", map[string]string{"topic": w.input}); got != float64(written) {
		t.Errorf("%v records skipped, want %d: one for each key that had been written", got, written)
	}
	w.check()
}

// TestGuardedKeyIsRewrittenWithItsGuard repairs a key that is under replay guard: its record must keep the offset of the
// guard, or the next owner would apply events twice.
func TestGuardedKeyIsRewrittenWithItsGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 1)
	w.send(100, 10)
	w.own(withConfig(func(c *OwnerConfig) { c.MaxBatch = 100 })).finish(w)
	// A part of a split write of the next ten events: user-0 has its event at offset 100 included already.
	w.send(100, 10)
	states := make(map[string]string)
	var last int64
	for _, r := range w.events[0] {
		if r.Offset >= 150 || string(r.Key) != "user-0" {
			continue
		}
		state := fold(states["user-0"], r.Value)
		states["user-0"], last = state, r.Offset
		topics := []string{w.findings}
		if isVerdict(state) {
			topics = append(topics, w.verdicts)
		}
		for _, topic := range topics { // outputs come before state
			if _, err := w.c.Producer().Produce(t.Context(), topic, 0, []Record{{Key: r.Key, Value: []byte("user-0/" + state)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, ckpts := w.restored()
	w.inject(0, envelope{Epoch: ckpts[0].Epoch, Seq: ckpts[0].Seq + 1, Last: last}, states)
	// A late write over it, so that the next owner repairs the key before it replays anything, and dies there.
	w.inject(0, envelope{Epoch: ckpts[0].Epoch, Seq: ckpts[0].Seq, Last: 3}, map[string]string{"user-0": "1:late"})
	crashed := make(chan struct{})
	var once sync.Once
	var a *running
	ready := make(chan struct{})
	a = w.own(withStep(func(s, _ int) {
		<-ready
		if s == stepProcess {
			once.Do(func() {
				a.kill()
				close(crashed)
			})
		}
	}))
	close(ready)
	<-crashed
	w.own().finish(w)
	w.check()
	w.checkUnshadowed()
}

// TestMembersComeAndGo keeps three members joining, leaving and dying.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 6)
	owners := []*running{w.own(), w.own(), w.own()}
	for i := range 6 {
		w.send(300, 50)
		k := i % len(owners)
		if i%2 == 0 {
			owners[k].kill()
		} else {
			owners[k].stop()
		}
		owners[k] = w.own()
		owners[k].awaitLive(0)
	}
	w.send(300, 50)
	w.settle()
	for _, o := range owners {
		o.stop()
	}
	w.check()
	w.checkUnshadowed()
}

// TestMisplacedKeysAreFlagged writes a key to the wrong partition, as a producer with another balancer does.
func TestMisplacedKeysAreFlagged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 4)
	w.send(100, 20)
	key := []byte("user-1")
	wrong := (PartitionFor(key, 4) + 1) % 4
	if _, err := w.c.Producer().Produce(t.Context(), w.input, wrong, []Record{{Key: key, Value: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var flagged []string
	o := w.own(withProcessor(func(l *ledger) {
		l.process = func(batch []Record) error {
			mu.Lock()
			defer mu.Unlock()
			for _, r := range batch {
				if r.Misplaced {
					flagged = append(flagged, fmt.Sprintf("%s in %d", r.Key, r.Partition))
				}
			}
			return nil
		}
	}))
	w.awaitMetric("misplaced_records_total", map[string]string{"topic": w.input}, 1)
	w.send(100, 20)
	w.settle()
	o.stop()
	mu.Lock()
	defer mu.Unlock()
	if want := fmt.Sprintf("%s in %d", key, wrong); len(flagged) != 1 || flagged[0] != want {
		t.Errorf("flagged %v, want [%s]", flagged, want)
	}
	w.check()
}
