package stream

import (
	"context"
	"errors"
)

// MaxBatchBytes is the most a record batch may hold before compression, well below the brokers' default of 1 MiB.
const MaxBatchBytes = 900_000

// Producer writes record batches to chosen partitions.
type Producer struct{}

// Producer returns a producer. Producers of one Cluster share connections.
func (c *Cluster) Producer() *Producer { return &Producer{} }

// Produce appends records to the partition as one record batch and returns the offset of the first. The batch is
// compressed with lz4, appended whole or not at all, and acknowledged by every in-sync replica. Temporary errors are
// retried with backoff until ctx ends; a retry may append the batch twice. One request per partition and Producer is
// in flight at a time. Larger batches than MaxBatchBytes are an ErrTooLarge: nothing is split.
//
// After an error the outcome is unknown unless it is ErrTooLarge.
func (p *Producer) Produce(ctx context.Context, topic string, partition int, records []Record) (base int64, err error) {
	return 0, errors.ErrUnsupported
}
