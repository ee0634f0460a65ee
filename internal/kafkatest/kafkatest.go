// Package kafkatest gives tests a Kafka: a real broker when COUNTERSIGN_KAFKA names one (`make test-kafka` starts it),
// else an in-process fake that lives as long as the test. It is the one place where tests wait, probe or inject faults.
//
// The fake does not reproduce kafka-go's trouble with compacted topics, replication, throttling or truncation: a test
// that depends on those says so with [NeedReal].
package kafkatest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// Env names the environment variable with the real brokers, host:port separated by commas.
const Env = "COUNTERSIGN_KAFKA"

// Real reports whether tests run against a real Kafka.
func Real() bool { return os.Getenv(Env) != "" }

// NeedReal skips a test that proves nothing on the fake. `make test-kafka` runs it.
func NeedReal(t testing.TB) {
	t.Helper()
	if !Real() {
		t.Skipf("needs a real Kafka: run `make test-kafka`, or name brokers in %s", Env)
	}
}

// NeedFake skips a test that injects faults when a real Kafka is under test.
func NeedFake(t testing.TB) {
	t.Helper()
	if Real() {
		t.Skipf("injects faults into the fake broker, and %s names a real one", Env)
	}
}

// Brokers returns the bootstrap addresses of the Kafka under test. On the fake every call starts a cluster of its own,
// which ends with the test; on a real Kafka all tests share it, so they take their names from [Name] and [Topic].
func Brokers(t testing.TB) []string {
	t.Helper()
	if !Real() {
		return Fake(t).Addrs()
	}
	var addrs []string
	for addr := range strings.SplitSeq(os.Getenv(Env), ",") {
		if addr = strings.TrimSpace(addr); addr != "" {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		t.Fatalf("%s=%q names no broker, want host:port", Env, os.Getenv(Env))
	}
	return addrs
}

// Name returns a topic or group name that no other test uses: the prefix and ten random letters.
func Name(prefix string) string {
	return prefix + "." + strings.ToLower(rand.Text()[:10])
}

// Topic creates a topic with a fresh name and waits until every partition can be used. The topic is deleted when the
// test passes and kept for a look when it fails. config holds topic settings such as "cleanup.policy"; nil is fine.
func Topic(t testing.TB, brokers []string, prefix string, partitions int, config map[string]string) string {
	t.Helper()
	name := Name(prefix)
	CreateTopic(t, brokers, name, partitions, config)
	return name
}

// CreateTopic is [Topic] for a name of the caller's choice.
func CreateTopic(t testing.TB, brokers []string, name string, partitions int, config map[string]string) {
	t.Helper()
	entries := make([]kafka.ConfigEntry, 0, len(config))
	for key, value := range config {
		entries = append(entries, kafka.ConfigEntry{ConfigName: key, ConfigValue: value})
	}
	slices.SortFunc(entries, func(a, b kafka.ConfigEntry) int { return strings.Compare(a.ConfigName, b.ConfigName) })
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: 10 * time.Second}
	answer, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: name, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: entries,
	}}})
	if err == nil {
		err = answer.Errors[name]
	}
	if err != nil {
		t.Fatalf("creating topic %s: %v", name, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		// The answer is of no use: a fake broker may be closed by now, and the names are never used again.
		_, _ = client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{name}})
	})
	Eventually(t, 15*time.Second, func() error { return led(t.Context(), client, name, partitions) })
}

// led returns nil once every partition of the topic has a leader that serves it. Metadata alone would say so too early: it
// names a leader before that broker has opened the partition.
func led(ctx context.Context, client *kafka.Client, topic string, partitions int) error {
	request := make([]kafka.OffsetRequest, partitions)
	for p := range request {
		request[p] = kafka.LastOffsetOf(p)
	}
	answer, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: request}})
	if err != nil {
		return fmt.Errorf("asking for the offsets of %s: %w", topic, err)
	}
	if got := len(answer.Topics[topic]); got != partitions {
		return fmt.Errorf("topic %s: %d partitions answer, want %d", topic, got, partitions)
	}
	for _, p := range answer.Topics[topic] {
		if p.Error != nil {
			return fmt.Errorf("topic %s partition %d: %w", topic, p.Partition, p.Error)
		}
	}
	return nil
}

// Eventually calls check until it returns nil, and fails the test with check's last error when that takes longer than
// within. It is the only wait that tests poll with; prefer a channel or testing/synctest where there is one.
func Eventually(t testing.TB, within time.Duration, check func() error) {
	t.Helper()
	const first, longest = time.Millisecond, 100 * time.Millisecond
	deadline := time.Now().Add(within)
	for pause := first; ; pause = min(2*pause, longest) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", within, err)
		}
		time.Sleep(pause)
	}
}
