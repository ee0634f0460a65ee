package stream

import (
	"context"
	"errors"
	"time"
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

// EnsureTopics creates the missing topics and checks the others: another partition count or cleanup policy is an
// ErrTopicMismatch that says what to do. All problems are reported at once.
func (c *Cluster) EnsureTopics(ctx context.Context, specs []TopicSpec) error {
	return errors.ErrUnsupported
}

// Partitions returns the partition count of topic, ErrTopicMissing when it does not exist.
func (c *Cluster) Partitions(ctx context.Context, topic string) (int, error) {
	return 0, errors.ErrUnsupported
}

// Ends returns, per partition of topic, the first retained offset and the offset after the last record.
func (c *Cluster) Ends(ctx context.Context, topic string) (first, end []int64, err error) {
	return nil, nil, errors.ErrUnsupported
}
