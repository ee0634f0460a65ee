package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// anyRequest is a fault's filter that lets fn see every request.
func anyRequest(fn func()) func(kmsg.Request) bool {
	return func(kmsg.Request) bool {
		fn()
		return true
	}
}

// TestProduceFaults fails produce requests of every topic in every way: dropped, applied with the answer lost, refused
// by a former leader, connection closed.
func TestProduceFaults(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	faults := map[string]func(*kafkatest.FakeCluster, string) (hits func() int){
		"dropped":  func(f *kafkatest.FakeCluster, topic string) func() int { return f.RejectProduce(topic, 3).Hits },
		"lost_ack": func(f *kafkatest.FakeCluster, topic string) func() int { return f.LoseAck(topic, 3).Hits },
		"not_leader": func(f *kafkatest.FakeCluster, topic string) func() int {
			return f.DenyLeader(kafkatest.KeyProduce, topic, 3).Hits
		},
		"after_append": func(f *kafkatest.FakeCluster, topic string) func() int {
			return f.Fault(kafkatest.Fault{Keys: []kafkatest.Key{kafkatest.KeyProduce}, Topic: topic, Err: kerr.NotEnoughReplicasAfterAppend, Count: 3}).Hits
		},
		"hang_up": func(f *kafkatest.FakeCluster, topic string) func() int {
			var hits atomic.Int64
			for range 3 {
				f.HangUp(kafkatest.KeyProduce, 1, func(r kmsg.Request) bool {
					p, ok := r.(*kmsg.ProduceRequest)
					match := ok && len(p.Topics) > 0 && p.Topics[0].Topic == topic
					if match {
						hits.Add(1)
					}
					return match
				})
			}
			return func() int { return int(hits.Load()) }
		},
	}
	for name, fault := range faults {
		for _, topic := range []string{"findings", "verdicts", "state"} {
			for _, when := range []string{"claiming", "working"} {
				t.Run(name+"/"+topic+"/"+when, func(t *testing.T) {
					t.Parallel()
					fake := kafkatest.Fake(t)
					w := newWorld(t, fake.Addrs(), 2)
					w.send(600, 40)
					target := map[string]string{"findings": w.findings, "verdicts": w.verdicts, "state": w.state}[topic]
					hits := func() int { return 0 }
					if when == "claiming" {
						hits = fault(fake, target)
					}
					o := w.own()
					o.awaitLive(2)
					if when == "working" {
						hits = fault(fake, target)
					}
					w.send(600, 40)
					w.settle()
					if hits() != 3 {
						t.Errorf("%d requests failed, want 3", hits())
					}
					o.stop()
					w.check()
				})
			}
		}
	}
}

// TestReadFaults fails the reads that restore, claim and input need.
func TestReadFaults(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	for _, key := range []kafkatest.Key{kafkatest.KeyFetch, kafkatest.KeyListOffsets} {
		for _, topic := range []string{"input", "state"} {
			t.Run(fmt.Sprintf("%s/%s", key.Name(), topic), func(t *testing.T) {
				t.Parallel()
				fake := kafkatest.Fake(t)
				w := newWorld(t, fake.Addrs(), 2)
				w.send(600, 40)
				w.own().finish(w)
				target := map[string]string{"input": w.input, "state": w.state}[topic]
				fake.DenyLeader(key, target, 3)
				fake.Fault(kafkatest.Fault{Keys: []kafkatest.Key{key}, Topic: target, Err: kerr.UnknownServerError, Count: 2})
				w.send(600, 40)
				w.own().finish(w)
				w.check()
			})
		}
	}
}

// finish waits until all input is processed, and stops the owner.
func (r *running) finish(w *world) {
	w.t.Helper()
	r.awaitLive(w.partitions)
	w.settle()
	r.stop()
}

// TestLeaderMoves moves the partitions of every topic to other brokers while the owner works.
func TestLeaderMoves(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorld(t, fake.Addrs(), 2)
	o := w.own()
	for i := range 8 {
		w.send(200, 40)
		fake.ShufflePartitionLeaders()
		if i%2 == 0 {
			w.settle()
		}
	}
	o.finish(w)
	w.check()
}

// TestSeededChaos runs two owners through random faults of every kind; the seed is in the name.
func TestSeededChaos(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			fake := kafkatest.Fake(t)
			w := newWorld(t, fake.Addrs(), 3)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			owners := []*running{w.own(), w.own()}
			topics := []string{w.input, w.state, w.findings, w.verdicts}
			for ctx.Err() == nil {
				topic := topics[rng.IntN(len(topics))]
				switch rng.IntN(9) {
				case 0:
					fake.RejectProduce(topic, 1+rng.IntN(2))
				case 1:
					if topic != w.input { // that producer is the test's own
						fake.LoseAck(topic, 1+rng.IntN(2))
					}
				case 2:
					fake.DenyLeader(kafkatest.KeyFetch, topic, 1+rng.IntN(3))
				case 3:
					fake.ShufflePartitionLeaders()
				case 4:
					fake.Fault(kafkatest.Fault{Keys: []kafkatest.Key{kafkatest.KeyHeartbeat}, Group: w.group, Err: kerr.RebalanceInProgress})
				case 5:
					fake.Fault(kafkatest.Fault{Keys: []kafkatest.Key{kafkatest.KeyOffsetCommit}, Group: w.group, Err: kerr.IllegalGeneration})
				case 6:
					i := rng.IntN(len(owners))
					owners[i].kill()
					owners[i] = w.own()
				case 7:
					i := rng.IntN(len(owners))
					owners[i].stop()
					owners[i] = w.own()
				case 8:
					fake.HangUp(kafkatest.Key(kmsg.Fetch), 1, nil)
				}
				w.send(50+rng.IntN(100), 30)
				sleep(ctx, time.Duration(rng.IntN(60))*time.Millisecond)
			}
			// The fake sets no session timer for a member whose connection was cut while it waited to join, so that such a
			// member keeps its partitions until the next rebalance. (A real broker times it out.) Another owner brings one.
			joined := time.Now()
			kafkatest.Eventually(t, 90*time.Second, func() error {
				err := w.unsettled()
				if err != nil && time.Since(joined) > 10*time.Second {
					owners, joined = append(owners, w.own()), time.Now()
				}
				return err
			})
			for _, o := range owners {
				o.stop()
			}
			w.check()
		})
	}
}
