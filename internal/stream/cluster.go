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
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Cluster is a configured way to a Kafka cluster.
type Cluster struct {
	cfg     Config
	metrics *metrics
	dialer  *kafka.Dialer

	mu        sync.Mutex
	transport *kafka.Transport
	renewed   time.Time // when transport was replaced last
	renewals  int       // in a row, each soon after the one before
	counts    map[string]int
}

// Connect validates cfg and reads its certificate and password files. It opens no connection. Metrics are registered
// with reg; nil keeps them unregistered. Several clusters may share one reg.
func Connect(cfg Config, reg prometheus.Registerer) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	tlsConfig, err := cfg.TLS.load()
	if err != nil {
		return nil, err
	}
	mechanism, err := cfg.SASL.load()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("registering stream metrics: %w", err)
	}
	// kafka-go has two ways to the brokers, each with its own TLS and SASL: both are built here, from one value.
	return &Cluster{
		cfg:     cfg,
		metrics: m,
		dialer: &kafka.Dialer{
			ClientID:      cfg.ClientID,
			Timeout:       cfg.DialTimeout,
			DualStack:     true,
			KeepAlive:     15 * time.Second,
			TLS:           tlsConfig,
			SASLMechanism: mechanism,
		},
		transport: &kafka.Transport{
			ClientID:    cfg.ClientID,
			DialTimeout: cfg.DialTimeout,
			IdleTimeout: time.Minute,
			MetadataTTL: 5 * time.Second,
			TLS:         tlsConfig,
			SASL:        mechanism,
		},
		counts: make(map[string]int),
	}, nil
}

// Close closes idle connections. Calls that are running keep theirs until their contexts end.
func (c *Cluster) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transport.CloseIdleConnections()
	return nil
}

// Ping asks the cluster for its metadata over a fresh connection.
func (c *Cluster) Ping(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return fmt.Errorf("reaching kafka: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(c.cfg.RequestTimeout))
	if _, err := conn.Brokers(); err != nil {
		return fmt.Errorf("asking kafka for its brokers: %w", err)
	}
	return nil
}

// client returns a Client on the current transport. Its timeout bounds each request.
func (c *Cluster) client() *kafka.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &kafka.Client{Addr: kafka.TCP(c.cfg.Brokers...), Timeout: c.cfg.RequestTimeout, Transport: c.transport}
}

// renewTransport drops the cached metadata after a leadership error: kafka-go refreshes it only by timer. Running
// requests finish on the old transport.
func (c *Cluster) renewTransport() {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := time.Since(c.renewed)
	if since < min(100*time.Millisecond<<c.renewals, 500*time.Millisecond) {
		return
	}
	c.renewals++
	if since > 2*time.Second {
		c.renewals = 0
	}
	c.renewals = min(c.renewals, 8)
	c.renewed = time.Now()
	old := c.transport
	c.transport = &kafka.Transport{
		Dial: old.Dial, ClientID: old.ClientID, DialTimeout: old.DialTimeout, IdleTimeout: old.IdleTimeout,
		MetadataTTL: old.MetadataTTL, TLS: old.TLS, SASL: old.SASL,
	}
	time.AfterFunc(c.cfg.RequestTimeout, old.CloseIdleConnections)
}

// noteError renews the transport when err says that cached metadata is stale.
func (c *Cluster) noteError(err error) {
	if staleMetadata(err) {
		c.renewTransport()
	}
}

func staleMetadata(err error) bool {
	for _, stale := range []error{
		kafka.NotLeaderForPartition, kafka.LeaderNotAvailable, kafka.UnknownTopicOrPartition, kafka.BrokerNotAvailable,
		kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, kafka.KafkaStorageError, kafka.ReplicaNotAvailable,
		protocol.ErrNoTopic, protocol.ErrNoPartition, protocol.ErrNoLeader,
	} {
		if errors.Is(err, stale) {
			return true
		}
	}
	return false
}

// dial opens a connection to the first broker that answers.
func (c *Cluster) dial(ctx context.Context) (*kafka.Conn, error) {
	var errs []error
	for _, b := range c.cfg.Brokers {
		conn, err := c.dialer.DialContext(ctx, "tcp", b)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", b, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// physical is the name on the cluster of a topic or group.
func (c *Cluster) physical(name string) string { return c.cfg.Prefix + name }

// dialLeader opens a connection to the leader of a partition.
func (c *Cluster) dialLeader(ctx context.Context, topic string, partition int) (*kafka.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout+c.cfg.RequestTimeout)
	defer cancel()
	var errs []error
	for _, b := range c.cfg.Brokers {
		conn, err := c.dialer.DialLeader(ctx, "tcp", b, c.physical(topic), partition)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", b, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// backoff is the pause before retry number attempt (from 0): 20 ms doubling up to 1 s.
func backoff(attempt int) time.Duration {
	return min(20*time.Millisecond<<min(attempt, 10), time.Second)
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
