package stream

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

func TestEnsureTopics(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	plain, compacted := kafkatest.Name("plain"), kafkatest.Name("compacted")
	specs := []TopicSpec{
		{Name: plain, Partitions: 3, Replication: 1, Retention: 7 * 24 * time.Hour, MinInSync: 1, MaxMessageBytes: 2 << 20},
		{Name: compacted, Partitions: 2, Replication: 1, Compact: true, Retention: 30 * 24 * time.Hour, MinCompactionLag: time.Hour, TombstoneRetention: 24 * time.Hour},
	}
	for range 2 { // the second time everything exists
		if err := c.EnsureTopics(t.Context(), specs); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := c.Partitions(t.Context(), plain); err != nil || n != 3 {
		t.Errorf("%d partitions, %v; want 3", n, err)
	}
	res, err := c.client().DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: plain}, {ResourceType: kafka.ResourceTypeTopic, ResourceName: compacted},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, r := range res.Resources {
		name, _, _ := strings.Cut(r.ResourceName, ".")
		for _, e := range r.ConfigEntries {
			got[name+" "+e.ConfigName] = e.ConfigValue
		}
	}
	for k, want := range map[string]string{
		"plain cleanup.policy": "delete", "plain retention.ms": "604800000", "plain min.insync.replicas": "1", "plain max.message.bytes": "2097152",
		"compacted cleanup.policy": "compact,delete", "compacted retention.ms": "2592000000",
		"compacted min.compaction.lag.ms": "3600000", "compacted delete.retention.ms": "86400000",
	} {
		if got[k] != want && !strings.Contains(k, "policy") || !samePolicy(got[k], want) {
			t.Errorf("%s is %q, want %q", k, got[k], want)
		}
	}
	first, end := mustEnds(t, c, compacted)
	if len(first) != 2 || len(end) != 2 || end[0] != 0 {
		t.Errorf("ends %v %v", first, end)
	}

	// What differs is named, all of it.
	fresh, _ := connect(t, brokers)
	err = fresh.EnsureTopics(t.Context(), []TopicSpec{{Name: plain, Partitions: 4, Compact: true}, {Name: compacted, Partitions: 2, Compact: true}})
	if !errors.Is(err, ErrTopicMismatch) {
		t.Fatalf("mismatch: %v", err)
	}
	for _, want := range []string{plain + " has 3 partitions", plain + " has cleanup.policy", compacted + " has cleanup.policy"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
	if err := c.EnsureTopics(t.Context(), []TopicSpec{{Name: "x"}, {Partitions: 1}}); err == nil || strings.Count(err.Error(), "name it") != 2 {
		t.Errorf("empty specifications: %v", err)
	}
	if _, err := c.Partitions(t.Context(), kafkatest.Name("missing")); !errors.Is(err, ErrTopicMissing) {
		t.Errorf("missing topic: %v", err)
	}
	if _, _, err := c.Ends(t.Context(), kafkatest.Name("missing")); !errors.Is(err, ErrTopicMissing) {
		t.Errorf("missing topic: %v", err)
	}
}

// TestOwnRefusesDifferentPartitionCounts: state of a partition would have nowhere to go.
func TestOwnRefusesDifferentPartitionCounts(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	input, state := kafkatest.Topic(t, brokers, "input", 3, nil), kafkatest.Topic(t, brokers, "state", 2, stateConfig)
	err := c.Own(t.Context(), OwnerConfig{Group: kafkatest.Name("g"), Input: input, State: state}, nil)
	if !errors.Is(err, ErrTopicMismatch) {
		t.Errorf("own: %v, want ErrTopicMismatch", err)
	}
}

func TestPrefixKeepsInstallationsApart(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Name("events")
	for _, prefix := range []string{"a.", "b."} {
		cfg := DefaultConfig()
		cfg.Brokers, cfg.Prefix = brokers, prefix
		c, err := Connect(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.EnsureTopics(t.Context(), []TopicSpec{{Name: topic, Partitions: 1, Replication: 1}}); err != nil {
			t.Fatal(err)
		}
		if err := c.Publisher(PublisherConfig{}).Publish(t.Context(), topic, []Record{{Key: []byte("k"), Value: []byte(prefix)}}); err != nil {
			t.Fatal(err)
		}
		got := load(t, c, topic)
		if len(got) != 1 || string(got[0].Value) != prefix || got[0].Topic != topic {
			t.Errorf("%s holds %+v", prefix, got)
		}
	}
}
