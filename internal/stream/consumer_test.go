package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// sink is a handler that remembers what it stored, and may fail.
type sink struct {
	mu    sync.Mutex
	seen  map[string]int // by value
	sizes []int
	fail  func(batch []Record) error
}

func (s *sink) handle(_ context.Context, _ int, batch []Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(batch); err != nil {
			return err
		}
	}
	if s.seen == nil {
		s.seen = make(map[string]int)
	}
	for i := range batch {
		s.seen[string(batch[i].Value)]++
	}
	s.sizes = append(s.sizes, len(batch))
	return nil
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

func (s *sink) await(t *testing.T, n int) {
	t.Helper()
	kafkatest.Eventually(t, 60*briefly, func() error {
		if got := s.count(); got < n {
			return fmt.Errorf("%d of %d values stored", got, n)
		}
		return nil
	})
}

// consumerConfig is that of the tests' consumers: everything sooner.
func consumerConfig(group, topic string) ConsumerConfig {
	session := time.Second
	if kafkatest.Real() {
		session = 6 * time.Second
	}
	return ConsumerConfig{
		Group: group, Topic: topic, MaxWait: 20 * time.Millisecond, MinFetchBytes: 1,
		SessionTimeout: session, HeartbeatInterval: 200 * time.Millisecond, RebalanceTimeout: 2 * time.Second,
	}
}

// consume runs a consumer in the background until the returned function is called.
func consume(t *testing.T, c *Cluster, cfg ConsumerConfig, s *sink) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Consume(ctx, cfg, s.handle) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// produceValues appends n distinct values spread over the partitions of topic, the first named from.
func produceValues(t testing.TB, c *Cluster, topic string, partitions, from, n int) {
	t.Helper()
	p := c.Producer()
	for i := from; i < from+n; i++ {
		if _, err := p.Produce(t.Context(), topic, i%partitions, []Record{{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)}}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConsumerResumesAfterWhatWasHandled restarts a consumer whose handler had begun to fail: the committed offset is
// that of the last success, and nothing is skipped.
func TestConsumerResumesAfterWhatWasHandled(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic, group := kafkatest.Topic(t, brokers, "events", 2, nil), kafkatest.Name("group")
	produceValues(t, c, topic, 2, 0, 100)
	var s sink
	stop := consume(t, c, consumerConfig(group, topic), &s)
	s.await(t, 100)
	failed := make(chan struct{})
	var once sync.Once
	s.mu.Lock()
	s.fail = func([]Record) error {
		once.Do(func() { close(failed) })
		return errors.New("the database is away")
	}
	s.mu.Unlock()
	produceValues(t, c, topic, 2, 100, 100)
	<-failed
	stop()
	if n := s.count(); n != 100 {
		t.Fatalf("%d values stored while the handler failed, want 100", n)
	}
	s.fail = nil
	stop = consume(t, c, consumerConfig(group, topic), &s)
	s.await(t, 200)
	stop()
	for v, n := range s.seen {
		if n != 1 {
			t.Errorf("%s stored %d times: offsets of stored batches were not committed", v, n)
		}
	}
}

// TestConsumerHandsTheSameBatchInAgain shows that a failing handler blocks its partition and skips nothing.
func TestConsumerHandsTheSameBatchInAgain(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "events", 1, nil)
	produceValues(t, c, topic, 1, 0, 50)
	var batches [][2]int64
	s := &sink{fail: func(batch []Record) error {
		batches = append(batches, [2]int64{batch[0].Offset, batch[len(batch)-1].Offset})
		if len(batches) < 4 {
			return errors.New("not yet")
		}
		return nil
	}}
	cfg := consumerConfig(kafkatest.Name("group"), topic)
	var reports int
	cfg.Report = func(_ int, err error) {
		if err != nil {
			reports++
		}
	}
	stop := consume(t, c, cfg, s)
	s.await(t, 50)
	stop()
	for _, b := range batches[:4] {
		if b != batches[0] {
			t.Errorf("batch %v handed in again as %v", batches[0], b)
		}
	}
	if reports < 3 {
		t.Errorf("%d failures reported, want 3", reports)
	}
}

// TestConsumerBatchLimits cuts batches by count, by bytes, and by time.
func TestConsumerBatchLimits(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "events", 1, nil)
	produceValues(t, c, topic, 1, 0, 95)
	one := Record{Key: []byte("k0"), Value: []byte("v0")}
	for name, tc := range map[string]struct {
		change func(*ConsumerConfig)
		most   int
		least  int // batches
	}{
		"count":     {func(c *ConsumerConfig) { c.MaxRecords, c.MaxWait = 10, time.Minute }, 10, 8},
		"bytes":     {func(c *ConsumerConfig) { c.MaxBytes, c.MaxWait = 5*one.size(), time.Minute }, 5, 16},
		"oversized": {func(c *ConsumerConfig) { c.MaxBytes, c.MaxWait = 1, time.Minute }, 1, 80},
		"at_once":   {func(c *ConsumerConfig) { c.MaxWait = -1 }, 95, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := connect(t, brokers)
			cfg := consumerConfig(kafkatest.Name("group"), topic)
			tc.change(&cfg)
			var s sink
			stop := consume(t, c, cfg, &s)
			s.await(t, 80) // a minute's wait holds back the records that do not fill a batch
			stop()
			if len(s.sizes) < tc.least {
				t.Errorf("%d batches %v, want at least %d", len(s.sizes), s.sizes, tc.least)
			}
			for _, n := range s.sizes {
				if n > tc.most {
					t.Errorf("a batch of %d records, want at most %d", n, tc.most)
				}
			}
		})
	}
}

// TestConsumerRebalances lets members come, go and die; every value is stored at least once.
func TestConsumerRebalances(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	const partitions = 4
	topic, group := kafkatest.Topic(t, brokers, "events", partitions, nil), kafkatest.Name("group")
	var s sink
	first := consume(t, c, consumerConfig(group, topic), &s)
	for i := range 4 {
		produceValues(t, c, topic, partitions, 100*i, 100)
		other, _ := connect(t, brokers)
		stop := consume(t, other, consumerConfig(group, topic), &s)
		s.await(t, 100*(i+1))
		stop()
	}
	first()
}

// TestConsumerFaults fails what a consumer asks the broker for.
func TestConsumerFaults(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	c, _ := connect(t, fake.Addrs())
	topic, group := kafkatest.Topic(t, fake.Addrs(), "events", 2, nil), kafkatest.Name("group")
	var s sink
	stop := consume(t, c, consumerConfig(group, topic), &s)
	for i, fault := range []func(){
		func() { fake.DenyLeader(kafkatest.KeyFetch, topic, 2) },
		func() {
			fake.Fault(kafkatest.Fault{Keys: []kafkatest.Key{kafkatest.KeyOffsetCommit}, Group: group, Err: kerr.IllegalGeneration})
		},
		func() {
			fake.Fault(kafkatest.Fault{Keys: []kafkatest.Key{kafkatest.KeyHeartbeat}, Group: group, Err: kerr.RebalanceInProgress, TopLevel: true})
		},
		func() { fake.HangUp(kafkatest.KeyFetch, 1, nil) },
		fake.ShufflePartitionLeaders,
	} {
		fault()
		produceValues(t, c, topic, 2, 50*i, 50)
		s.await(t, 50*(i+1))
	}
	stop()
}

// TestConsumerCountsWhatRetentionTook starts behind deleted records.
func TestConsumerCountsWhatRetentionTook(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorld(t, fake.Addrs(), 1)
	produceValues(t, w.c, w.input, 1, 0, 20)
	cfg := consumerConfig(w.group, w.input)
	var s sink
	stop := consume(t, w.c, cfg, &s)
	s.await(t, 20)
	stop()
	produceValues(t, w.c, w.input, 1, 20, 20)
	if err := fake.DeleteRecords(w.input, 0, 30); err != nil {
		t.Fatal(err)
	}
	stop = consume(t, w.c, cfg, &s)
	s.await(t, 30)
	stop()
	if n := w.metric("events_lost_to_retention_total", map[string]string{"topic": w.input}); n != 10 {
		t.Errorf("%v lost records counted, want 10", n)
	}
}

// TestConsumerReportsARecreatedTopic does not start over by itself.
func TestConsumerReportsARecreatedTopic(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorld(t, fake.Addrs(), 1)
	w.send(5, 1)
	w.commitOffset(50)
	cfg := consumerConfig(w.group, w.input)
	reported := make(chan error, 100)
	cfg.Report = func(_ int, err error) {
		select {
		case reported <- err:
		default:
		}
	}
	var s sink
	stop := consume(t, w.c, cfg, &s)
	if err := <-reported; !errors.Is(err, kafka.OffsetOutOfRange) {
		t.Errorf("reported %v, want an offset out of range", err)
	}
	stop()
	if s.count() != 0 {
		t.Error("records of a recreated topic were handed out")
	}
}

func TestConsumeRejectsBadConfig(t *testing.T) {
	t.Parallel()
	c, err := Connect(DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Consume(t.Context(), ConsumerConfig{MaxRecords: -1, HeartbeatInterval: time.Hour}, nil); err == nil {
		t.Error("a consumer without group and topic is accepted")
	}
	if err := c.Own(t.Context(), OwnerConfig{Input: "a", State: "a", MaxBatch: -1, DrainTimeout: time.Hour}, nil); err == nil {
		t.Error("an owner without group, with one topic for input and state, is accepted")
	}
}
