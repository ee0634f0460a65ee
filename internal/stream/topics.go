package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// TopicSpec is what a topic must be.
type TopicSpec struct {
	Name       string
	Partitions int
	// Replication is the replica count on creation; 0 leaves it to the broker.
	Replication int
	// MinInSync is min.insync.replicas on creation; 0 leaves it to the broker.
	MinInSync int
	// Compact keeps the newest record of every key. With Retention as well, records are also deleted by age.
	Compact bool
	// Retention is how long records are kept; 0 with Compact means for ever, 0 without leaves it to the broker.
	Retention time.Duration
	// MinCompactionLag is how long a record is safe from compaction.
	MinCompactionLag time.Duration
	// TombstoneRetention is how long a deleted key's tombstone is kept after compaction; 0 leaves it to the broker.
	TombstoneRetention time.Duration
	// MaxMessageBytes is the largest record batch; 0 leaves it to the broker (1 MiB, enough for MaxBatchBytes).
	MaxMessageBytes int
	// Configs are further topic settings on creation, by Kafka's names.
	Configs map[string]string
}

func (t TopicSpec) cleanup() string {
	switch {
	case t.Compact && t.Retention > 0:
		return "compact,delete"
	case t.Compact:
		return "compact"
	default:
		return "delete"
	}
}

func (t TopicSpec) config() kafka.TopicConfig {
	entries := map[string]string{"cleanup.policy": t.cleanup(), "unclean.leader.election.enable": "false"}
	millis := func(name string, d time.Duration) {
		if d > 0 {
			entries[name] = strconv.FormatInt(d.Milliseconds(), 10)
		}
	}
	millis("retention.ms", t.Retention)
	millis("min.compaction.lag.ms", t.MinCompactionLag)
	millis("delete.retention.ms", t.TombstoneRetention)
	if t.MinInSync > 0 {
		entries["min.insync.replicas"] = strconv.Itoa(t.MinInSync)
	}
	if t.MaxMessageBytes > 0 {
		entries["max.message.bytes"] = strconv.Itoa(t.MaxMessageBytes)
	}
	maps.Copy(entries, t.Configs)
	out := kafka.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.Replication}
	if t.Replication == 0 {
		out.ReplicationFactor = -1
	}
	for _, k := range sortedKeys(entries) {
		out.ConfigEntries = append(out.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: entries[k]})
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// EnsureTopics creates the missing topics and checks the others: another partition count or cleanup policy is an
// ErrTopicMismatch that says what to do. All problems are reported at once.
func (c *Cluster) EnsureTopics(ctx context.Context, specs []TopicSpec) error {
	if len(specs) == 0 {
		return nil
	}
	var errs []error
	for _, t := range specs {
		if t.Name == "" || t.Partitions < 1 {
			errs = append(errs, fmt.Errorf("topic %q with %d partitions: name it and give it at least one", t.Name, t.Partitions))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	req := &kafka.CreateTopicsRequest{}
	for _, t := range specs {
		named := t.config()
		named.Topic = c.physical(t.Name)
		req.Topics = append(req.Topics, named)
	}
	res, err := c.client().CreateTopics(ctx, req)
	if err != nil {
		return fmt.Errorf("creating topics: %w", err)
	}
	var existing []TopicSpec
	for _, t := range specs {
		switch err := res.Errors[c.physical(t.Name)]; {
		case err == nil:
		case errors.Is(err, kafka.TopicAlreadyExists):
			existing = append(existing, t)
		default:
			errs = append(errs, fmt.Errorf("creating topic %s: %w", t.Name, err))
		}
	}
	for _, t := range existing {
		if err := c.checkTopic(ctx, t); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	// Creation returns before every broker knows; wait until the leaders answer, or the first user fails.
	for _, t := range specs {
		if err := c.awaitTopic(ctx, t.Name); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) checkTopic(ctx context.Context, t TopicSpec) error {
	n, err := c.Partitions(ctx, t.Name)
	if err != nil {
		return err
	}
	var errs []error
	if n != t.Partitions {
		errs = append(errs, fmt.Errorf("topic %s has %d partitions and not %d: set the count to what the topic has, or move to a new topic, because keys would change partition: %w", t.Name, n, t.Partitions, ErrTopicMismatch))
	}
	res, err := c.client().DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: c.physical(t.Name), ConfigNames: []string{"cleanup.policy"},
	}}})
	if err == nil && len(res.Resources) == 1 && res.Resources[0].Error != nil {
		err = res.Resources[0].Error
	}
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("reading the settings of topic %s: %w", t.Name, err))...)
	}
	for _, r := range res.Resources {
		for _, e := range r.ConfigEntries {
			if e.ConfigName == "cleanup.policy" && !samePolicy(e.ConfigValue, t.cleanup()) {
				errs = append(errs, fmt.Errorf("topic %s has cleanup.policy %q and not %q: change the topic's setting: %w", t.Name, e.ConfigValue, t.cleanup(), ErrTopicMismatch))
			}
		}
	}
	return errors.Join(errs...)
}

func samePolicy(a, b string) bool {
	split := func(s string) []string {
		parts := strings.Split(strings.ReplaceAll(s, " ", ""), ",")
		slices.Sort(parts)
		return slices.Compact(parts)
	}
	return slices.Equal(split(a), split(b))
}

// awaitTopic returns when every partition of topic answers.
func (c *Cluster) awaitTopic(ctx context.Context, topic string) error {
	for attempt := 0; ; attempt++ {
		_, _, err := c.Ends(ctx, topic)
		if err == nil || attempt == 20 || !staleMetadata(err) {
			return err
		}
		if !sleep(ctx, backoff(attempt)) {
			return fmt.Errorf("waiting for topic %s: %w", topic, err)
		}
	}
}

// Partitions returns the partition count of topic, ErrTopicMissing when it does not exist.
func (c *Cluster) Partitions(ctx context.Context, topic string) (int, error) {
	c.mu.Lock()
	n := c.counts[topic]
	c.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	for attempt := 0; ; attempt++ {
		n, err := c.askPartitions(ctx, topic)
		if err == nil {
			c.mu.Lock()
			c.counts[topic] = n
			c.mu.Unlock()
			return n, nil
		}
		// The cached metadata may be older than the topic.
		if attempt == 3 || !staleMetadata(err) || !sleep(ctx, backoff(attempt+2)) {
			if errors.Is(err, kafka.UnknownTopicOrPartition) {
				err = ErrTopicMissing
			}
			return 0, fmt.Errorf("looking up topic %s: %w", topic, err)
		}
	}
}

func (c *Cluster) askPartitions(ctx context.Context, topic string) (int, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(c.cfg.RequestTimeout))
	parts, err := conn.ReadPartitions(c.physical(topic))
	if err != nil {
		return 0, err
	}
	if len(parts) == 0 {
		return 0, kafka.UnknownTopicOrPartition
	}
	return len(parts), nil
}

// clusterID returns the cluster's own id.
func (c *Cluster) clusterID(ctx context.Context) (string, error) {
	res, err := c.client().Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return "", fmt.Errorf("asking for the cluster id: %w", err)
	}
	return res.ClusterID, nil
}

// Ends returns, per partition of topic, the first retained offset and the offset after the last record.
func (c *Cluster) Ends(ctx context.Context, topic string) (first, end []int64, err error) {
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	first, end = make([]int64, n), make([]int64, n)
	partitions := make([]int, n)
	for p := range partitions {
		partitions[p] = p
	}
	err = c.offsets(ctx, topic, partitions, func(p int, f, e int64) { first[p], end[p] = f, e })
	if err != nil {
		return nil, nil, err
	}
	return first, end, nil
}

// ends is Ends of one partition.
func (c *Cluster) ends(ctx context.Context, topic string, partition int) (first, end int64, err error) {
	err = c.offsets(ctx, topic, []int{partition}, func(_ int, f, e int64) { first, end = f, e })
	return first, end, err
}

func (c *Cluster) offsets(ctx context.Context, topic string, partitions []int, fn func(p int, first, end int64)) error {
	var ask []kafka.OffsetRequest
	for _, p := range partitions {
		ask = append(ask, kafka.FirstOffsetOf(p), kafka.LastOffsetOf(p))
	}
	res, err := c.client().ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{c.physical(topic): ask}})
	if err != nil {
		c.noteError(err)
		return fmt.Errorf("listing offsets of %s: %w", topic, err)
	}
	seen := 0
	for _, p := range res.Topics[c.physical(topic)] {
		// kafka-go answers 0 for what it did not get, so trust nothing that came with an error.
		if p.Error != nil {
			// kafka-go also hides which error it was when one of several requests failed.
			c.renewTransport()
			return fmt.Errorf("listing offsets of %s/%d: %w", topic, p.Partition, p.Error)
		}
		if p.FirstOffset < 0 || p.LastOffset < p.FirstOffset {
			return fmt.Errorf("listing offsets of %s/%d: impossible answer %d to %d", topic, p.Partition, p.FirstOffset, p.LastOffset)
		}
		fn(p.Partition, p.FirstOffset, p.LastOffset)
		seen++
	}
	if seen != len(partitions) {
		return fmt.Errorf("listing offsets of %s: %d of %d partitions answered", topic, seen, len(partitions))
	}
	return nil
}
