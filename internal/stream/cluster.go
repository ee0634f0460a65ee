// Package stream moves bytes through Kafka for countersign, and is the only importer of kafka-go. It knows topics,
// partitions, keys, values and headers, and nothing of what they mean.
//
// The guarantees it gives:
//
//   - Own: every record of an owned partition is folded over its state once, effects are visible at least once with
//     equal bytes, and nothing is lost by a crash, a rebalance or a paused former owner (see owner.go).
//   - Consume: at least once; an offset is committed only after the handler returned nil.
//   - Publish and Produce: nil means that every in-sync replica has the records.
//   - Load, Follow: every live key of a compacted topic, in spite of kafka-go's difficulties with compaction.
//
// A Cluster and everything it hands out are safe for concurrent use.
package stream

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Cluster is a configured way to a Kafka cluster.
type Cluster struct {
	cfg Config
}

// Connect validates cfg and reads its certificate and password files. It opens no connection. Metrics are registered
// with reg; nil keeps them unregistered. Several clusters may share one reg.
func Connect(cfg Config, reg prometheus.Registerer) (*Cluster, error) {
	return nil, errors.ErrUnsupported
}

// Close closes idle connections. Calls that are running keep theirs until their contexts end.
func (c *Cluster) Close() error { return errors.ErrUnsupported }

// Ping asks the cluster for its metadata over a fresh connection.
func (c *Cluster) Ping(ctx context.Context) error { return errors.ErrUnsupported }
