package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// load reads a whole topic.
func load(t testing.TB, c *Cluster, topic string) []Record {
	t.Helper()
	var out []Record
	err := c.Table(nil).Load(t.Context(), topic, func(r Record) error {
		r.Key, r.Value = clone(r.Key), clone(r.Value)
		out = append(out, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPublishKeepsOrderPerKeyAndSharesBatches has many callers at once.
func TestPublishKeepsOrderPerKeyAndSharesBatches(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "events", 3, nil)
	p := c.Publisher(PublisherConfig{})
	const callers, calls = 40, 25
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range calls {
				recs := []Record{{Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "%d", j)}, {Key: fmt.Appendf(nil, "other-%d", j), Value: []byte("x")}}
				if err := p.Publish(t.Context(), topic, recs); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	next := make(map[string]int)
	total := 0
	for _, r := range load(t, c, topic) {
		total++
		if PartitionFor(r.Key, 3) != r.Partition {
			t.Errorf("%s is in partition %d", r.Key, r.Partition)
		}
		if strings.HasPrefix(string(r.Key), "key-") {
			if want := fmt.Sprint(next[string(r.Key)]); string(r.Value) != want {
				t.Errorf("%s: value %s, want %s", r.Key, r.Value, want)
			}
			next[string(r.Key)]++
		}
	}
	if total != 2*callers*calls {
		t.Errorf("%d records, want %d", total, 2*callers*calls)
	}
}

// TestPublishReturnsAfterTheAck holds the broker's answer back.
func TestPublishReturnsAfterTheAck(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	c, _ := connect(t, fake.Addrs())
	topic := kafkatest.Topic(t, fake.Addrs(), "events", 1, nil)
	p := c.Publisher(PublisherConfig{MaxInFlightBytes: 2000})
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		once.Do(func() {
			close(arrived)
			fake.SleepControl(func() { <-release })
		})
		return nil, nil, false //nolint:nilnil // the fake serves it then
	})
	first := make(chan error, 1)
	big := []Record{{Key: []byte("k"), Value: make([]byte, 1500)}}
	go func() { first <- p.Publish(t.Context(), topic, big) }()
	<-arrived
	// In flight: the limit holds, and the caller hears at once.
	if err := p.Publish(t.Context(), topic, big); !errors.Is(err, ErrOverloaded) {
		t.Errorf("second publish: %v, want ErrOverloaded", err)
	}
	second := make(chan error, 1)
	go func() { second <- p.Publish(t.Context(), topic, []Record{{Key: []byte("k"), Value: []byte("y")}}) }()
	select {
	case err := <-first:
		t.Fatalf("publish returned %v before the ack", err)
	default:
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	if err := p.Publish(t.Context(), topic, big); err != nil {
		t.Errorf("after the ack the limit is free again: %v", err)
	}
	if n := len(load(t, c, topic)); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
}

func TestPublishRefusesWhatCannotFit(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "events", 2, nil)
	p := c.Publisher(PublisherConfig{})
	recs := []Record{{Key: []byte("a"), Value: []byte("fits")}, {Key: []byte("b"), Value: make([]byte, MaxBatchBytes)}}
	if err := p.Publish(t.Context(), topic, recs); !errors.Is(err, ErrTooLarge) {
		t.Errorf("publish: %v, want ErrTooLarge", err)
	}
	if _, err := c.Producer().Produce(t.Context(), topic, 0, recs); !errors.Is(err, ErrTooLarge) {
		t.Errorf("produce: %v, want ErrTooLarge", err)
	}
	if n := len(load(t, c, topic)); n != 0 {
		t.Errorf("%d records written", n)
	}
	if err := p.Publish(t.Context(), kafkatest.Name("missing"), recs[:1]); !errors.Is(err, ErrTopicMissing) {
		t.Errorf("publish to a missing topic: %v, want ErrTopicMissing", err)
	}
	// More than a batch holds is split, in order.
	var many []Record
	for i := range 30 {
		many = append(many, Record{Key: []byte("k"), Value: fmt.Appendf(nil, "%03d%s", i, strings.Repeat("x", 100_000))})
	}
	if err := p.Publish(t.Context(), topic, many); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range load(t, c, topic) {
		got = append(got, string(r.Value[:3]))
	}
	if !slices.IsSorted(got) || len(got) != 30 {
		t.Errorf("order %v", got)
	}
}

// TestPublishFaults shows that an error is temporary for the publisher, and that a caller who gives up gets one.
func TestPublishFaults(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	c, _ := connect(t, fake.Addrs())
	topic := kafkatest.Topic(t, fake.Addrs(), "events", 1, nil)
	p := c.Publisher(PublisherConfig{})
	one := []Record{{Key: []byte("k"), Value: []byte("v")}}
	for name, fault := range map[string]*kafkatest.FaultHandle{
		"rejected": fake.RejectProduce(topic, 2), "lost ack": fake.LoseAck(topic, 1), "leader": fake.DenyLeader(kafkatest.KeyProduce, topic, 2),
	} {
		if err := p.Publish(t.Context(), topic, one); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		fault.Remove()
	}
	fault := fake.Fault(kafkatest.Fault{Keys: []kafkatest.Key{kafkatest.KeyProduce}, Topic: topic, Err: kerr.NotEnoughReplicas, Count: -1})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Publish(ctx, topic, one) }()
	if err := fault.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v, want context.Canceled", err)
	}
	fault.Remove()
	denied := fake.Fault(kafkatest.Fault{Keys: []kafkatest.Key{kafkatest.KeyProduce}, Topic: topic, Err: kerr.TopicAuthorizationFailed})
	if err := p.Publish(t.Context(), topic, one); err == nil || !strings.Contains(err.Error(), topic) {
		t.Errorf("without rights: %v, want an error that names the topic", err)
	}
	denied.Remove()
	if err := p.Publish(t.Context(), topic, one); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestProduceReturnsTheBaseOffset(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "events", 2, nil)
	p := c.Producer()
	var bases []int64
	for range 3 {
		base, err := p.Produce(t.Context(), topic, 1, []Record{{Value: []byte("a")}, {Key: []byte{}, Value: nil}})
		if err != nil {
			t.Fatal(err)
		}
		bases = append(bases, base)
	}
	if d := cmp.Diff([]int64{0, 2, 4}, bases); d != "" {
		t.Errorf("base offsets (-want, +got):\n%s", d)
	}
	if _, err := p.Produce(t.Context(), topic, 1, nil); err == nil {
		t.Error("producing nothing is no error")
	}
	got := load(t, c, topic)
	if len(got) != 6 || got[0].Key != nil || got[1].Key == nil || got[1].Value != nil {
		t.Errorf("records %+v", got)
	}
}
