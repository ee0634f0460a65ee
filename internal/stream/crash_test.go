package stream

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

var stepNames = map[int]string{
	stepClaim: "claim", stepProcess: "process", stepOutputs: "outputs", stepState: "state", stepCommit: "commit", stepDone: "done",
}

// TestCrashBeforeEveryStep kills the owner before each numbered step, early and in the middle of the work, and lets
// another finish.
func TestCrashBeforeEveryStep(t *testing.T) {
	t.Parallel()
	for step, name := range stepNames {
		for _, nth := range []int64{1, 4} {
			if step == stepClaim && nth > 1 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", name, nth), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, kafkatest.Brokers(t), 1)
				w.send(1000, 60)
				var count atomic.Int64
				crashed := make(chan struct{})
				var first *running
				ready := make(chan struct{})
				first = w.own(withStep(func(s, _ int) {
					<-ready
					if s == step && count.Add(1) == nth {
						first.kill()
						close(crashed)
					}
				}))
				close(ready)
				<-crashed
				w.send(200, 60)
				second := w.own()
				w.settle()
				second.stop()
				w.check()
			})
		}
	}
}

// TestCrashAfterRequestLeft kills the owner while a produce request of each step is with the broker: it is applied, and
// nobody hears the answer.
func TestCrashAfterRequestLeft(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	for _, name := range []string{"findings", "verdicts", "state"} {
		for _, nth := range []int64{1, 3} {
			t.Run(fmt.Sprintf("%s/%d", name, nth), func(t *testing.T) {
				t.Parallel()
				fake := kafkatest.Fake(t)
				w := newWorld(t, fake.Addrs(), 1)
				w.send(1000, 60)
				topic := map[string]string{"findings": w.findings, "verdicts": w.verdicts, "state": w.state}[name]
				var count atomic.Int64
				var first atomic.Pointer[running]
				crashed := make(chan struct{})
				fake.Fault(kafkatest.Fault{
					Keys: []kafkatest.Key{kafkatest.KeyProduce}, Topic: topic, Count: -1, Observe: true,
					When: anyRequest(func() {
						if count.Add(1) == nth {
							go func() {
								first.Load().kill()
								close(crashed)
							}()
						}
					}),
				})
				first.Store(w.own())
				<-crashed
				second := w.own()
				w.settle()
				second.stop()
				w.check()
			})
		}
	}
}

// TestAnswersLost breaks the connection of every third produce request, before the broker sees it or after it has
// answered, for claims, outputs and state alike; on a real broker that is an outcome nobody can know.
func TestAnswersLost(t *testing.T) {
	t.Parallel()
	for name, fate := range map[string]wireVerdict{"dropped": dropped, "answer_lost": answerLost} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, kafkatest.Brokers(t), 2)
			var hits atomic.Int64
			w.wire = &wire{verdict: func(n int) wireVerdict {
				if n%3 != 1 { // the first claim is the first
					return pass
				}
				hits.Add(1)
				return fate
			}}
			w.send(900, 40)
			o := w.own()
			o.awaitLive(2)
			w.send(900, 40)
			w.settle()
			if hits.Load() < 5 {
				t.Errorf("%d requests lost, want at least 5", hits.Load())
			}
			o.stop()
			w.check()
			w.checkUnshadowed()
		})
	}
}
