package stream

import (
	"context"
	"errors"
	"time"
)

// ConsumerConfig configures Consume. Zero durations and counts mean the default.
type ConsumerConfig struct {
	// Group is the consumer group. Its committed offsets are the resume point; a partition without one starts at
	// its first record.
	Group string
	Topic string
	// Compacted says that Topic is compacted and has to be read with the progress rule.
	Compacted bool
	// MaxRecords and MaxBytes bound a batch. Defaults 20,000 and 16 MB.
	MaxRecords int
	MaxBytes   int
	// MaxWait is the longest time a record waits for its batch to fill. Default 1 s; negative means not at all.
	MaxWait time.Duration
	// MinFetchBytes lets the broker gather before it answers, at most for MaxWait. Default 64 KB; 1 for low latency.
	MinFetchBytes int
	// SessionTimeout is how long the group waits for a silent member. Default 30 s.
	SessionTimeout time.Duration
	// HeartbeatInterval must be well below SessionTimeout. Default 3 s.
	HeartbeatInterval time.Duration
	// Report, if set, is told about trouble that is retried. It is called from many goroutines and must not block.
	Report func(partition int, err error)
}

// Consume joins the group and hands the records of each assigned partition to handle, in order, one batch at a time,
// partitions in parallel, until ctx ends; then it leaves the group and returns nil. The offset after a batch is
// committed once handle returned nil. When handle fails, the error is reported and the same batch handed in again after
// a pause: nothing is skipped, so bad records are the handler's to divert. When a partition is taken away handle's
// context ends and what was buffered is dropped. Records are valid until handle returns.
//
// An error is returned only for an invalid configuration.
func (c *Cluster) Consume(ctx context.Context, cfg ConsumerConfig, handle func(ctx context.Context, partition int, batch []Record) error) error {
	return errors.ErrUnsupported
}
