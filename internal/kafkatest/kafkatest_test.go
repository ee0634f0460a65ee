package kafkatest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// produce writes values to partition 0 by the API that the pipeline uses and returns the base offset.
func produce(ctx context.Context, brokers []string, topic string, values ...string) (int64, error) {
	records := make([]kafka.Record, len(values))
	for i, v := range values {
		records[i] = kafka.Record{Key: kafka.NewBytes([]byte("k")), Value: kafka.NewBytes([]byte(v))}
	}
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: 5 * time.Second}
	answer, err := client.Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, Partition: 0, RequiredAcks: kafka.RequireAll, Compression: kafka.Lz4, Records: kafka.NewRecordReader(records...),
	})
	if err != nil {
		return 0, err
	}
	return answer.BaseOffset, answer.Error
}

// end is the high watermark of partition 0.
func end(t *testing.T, brokers []string, topic string) int64 {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: 5 * time.Second}
	answer, err := client.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(0)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Topics[topic][0].LastOffset
}

// TestRoundTrip shows that kafka-go and the Kafka under test speak to each other: create, produce, read in a group,
// commit, fetch. On a real broker it proves the protocol versions.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, "roundtrip", 3, map[string]string{"cleanup.policy": "compact,delete"})
	want := []string{"one", "two", "three"}
	if base, err := produce(t.Context(), brokers, topic, want...); err != nil || base != 0 {
		t.Fatalf("produce: base offset %d, %v; want 0", base, err)
	}

	groupID := kafkatest.Name("group")
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: groupID, Brokers: brokers, Topics: []string{topic}, StartOffset: kafka.FirstOffset,
		JoinGroupBackoff: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var generation *kafka.Generation
	kafkatest.Eventually(t, 30*time.Second, func() error { // a broker's first group finds no coordinator for a moment
		generation, err = group.Next(ctx)
		return err
	})
	if got := len(generation.Assignments[topic]); got != 3 {
		t.Fatalf("assigned %d partitions, want 3", got)
	}

	conn, err := (&kafka.Dialer{}).DialLeader(ctx, "tcp", brokers[0], topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
	var got []string
	for range want {
		m, err := batch.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(m.Value))
	}
	if err := batch.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}

	if err := generation.CommitOffsets(map[string]map[int]int64{topic: {0: 3}}); err != nil {
		t.Fatalf("committing: %v", err)
	}
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: 5 * time.Second}
	offsets, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: groupID, Topics: map[string][]int{topic: {0}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := offsets.Topics[topic][0].CommittedOffset; got != 3 {
		t.Errorf("committed offset %d, want 3", got)
	}
	fetched, err := client.Fetch(ctx, &kafka.FetchRequest{Topic: topic, Partition: 0, Offset: 1, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
	if err != nil || fetched.Error != nil {
		t.Fatal(err, fetched)
	}
	if fetched.HighWatermark != 3 {
		t.Errorf("high watermark %d, want 3", fetched.HighWatermark)
	}
}

func TestRejectedProduceWritesNothing(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	topic := kafkatest.Topic(t, fake.Addrs(), "reject", 1, nil)
	fault := fake.RejectProduce(topic, 1)
	if _, err := produce(t.Context(), fake.Addrs(), topic, "a"); !errors.Is(err, kafka.NotEnoughReplicas) {
		t.Fatalf("produce: %v, want NOT_ENOUGH_REPLICAS", err)
	}
	if got := end(t, fake.Addrs(), topic); got != 0 || fault.Hits() != 1 {
		t.Fatalf("end offset %d after %d faults, want 0 after 1", got, fault.Hits())
	}
	if _, err := produce(t.Context(), fake.Addrs(), topic, "a"); err != nil {
		t.Fatalf("second produce: %v", err)
	}
}

func TestLostAckIsWritten(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	topic := kafkatest.Topic(t, fake.Addrs(), "lostack", 1, nil)
	fake.LoseAck(topic, 1)
	if _, err := produce(t.Context(), fake.Addrs(), topic, "a"); !errors.Is(err, kafka.RequestTimedOut) {
		t.Fatalf("produce: %v, want REQUEST_TIMED_OUT", err)
	}
	if got := end(t, fake.Addrs(), topic); got != 1 {
		t.Fatalf("end offset %d, want 1", got)
	}
}

func TestHangUpCutsTheConnectionOnce(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	topic := kafkatest.Topic(t, fake.Addrs(), "hangup", 1, nil)
	fake.HangUp(kafkatest.KeyProduce, 1, nil)
	if _, err := produce(t.Context(), fake.Addrs(), topic, "a"); err == nil {
		t.Fatal("produce went through a closed connection")
	}
	if _, err := produce(t.Context(), fake.Addrs(), topic, "a"); err != nil {
		t.Fatalf("second produce: %v", err)
	}
	if got := end(t, fake.Addrs(), topic); got != 1 {
		t.Fatalf("end offset %d, want 1", got)
	}
}

func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		name := kafkatest.Name("x")
		if seen[name] {
			t.Fatalf("%s came twice", name)
		}
		seen[name] = true
	}
}

func TestEventuallyWaits(t *testing.T) {
	t.Parallel()
	calls := 0
	kafkatest.Eventually(t, time.Minute, func() error {
		if calls++; calls < 4 {
			return fmt.Errorf("only %d calls", calls)
		}
		return nil
	})
	if calls != 4 {
		t.Errorf("%d calls, want 4", calls)
	}
}
