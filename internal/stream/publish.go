package stream

import (
	"context"
	"errors"
)

// PublisherConfig configures a Publisher.
type PublisherConfig struct {
	// MaxInFlightBytes bounds the unacknowledged bytes of all callers together. Default 32 MB.
	MaxInFlightBytes int
}

// Publisher spreads records over partitions by key, and groups concurrent callers into shared record batches. It waits
// for no timer: an idle partition is written at once, a busy one takes what gathered during the request before.
type Publisher struct{}

// Publisher returns a publisher. Records of one key keep the order of the calls that published them one after another.
func (c *Cluster) Publisher(cfg PublisherConfig) *Publisher { return &Publisher{} }

// Publish writes records to topic, each to PartitionFor(Key), and returns nil only when all are acknowledged by every
// in-sync replica. The slices must not change until it returns. It fails at once with ErrOverloaded when the limit of
// unacknowledged bytes would be passed, and with ErrTooLarge when a record cannot fit a batch; then nothing was written.
// After any other error some records may be written, now or later.
func (p *Publisher) Publish(ctx context.Context, topic string, records []Record) error {
	return errors.ErrUnsupported
}
