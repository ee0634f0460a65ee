package kafkatest

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FakeCluster is an in-process Kafka with faults on demand. Besides the methods below it has those of kfake: Compact,
// ApplyRetention, DeleteRecords, MoveTopicPartition, ShufflePartitionLeaders, GroupInfo, WaitGroupStable and Fault.
type FakeCluster struct {
	*kfake.Cluster
}

// The vocabulary of faults, so that tests elsewhere need not import the fake itself.
type (
	// Fault selects requests and the error that answers them.
	Fault = kfake.Fault
	// FaultHandle counts the requests that were answered so (Hits, Wait) and takes the fault back (Remove).
	FaultHandle = kfake.FaultHandle
	// Key is the kind of a request.
	Key = kmsg.Key
)

// Kinds of requests that tests fail.
const (
	KeyProduce      = kmsg.Produce
	KeyFetch        = kmsg.Fetch
	KeyListOffsets  = kmsg.ListOffsets
	KeyMetadata     = kmsg.Metadata
	KeyOffsetCommit = kmsg.OffsetCommit
	KeyOffsetFetch  = kmsg.OffsetFetch
	KeyJoinGroup    = kmsg.JoinGroup
	KeySyncGroup    = kmsg.SyncGroup
	KeyHeartbeat    = kmsg.Heartbeat
)

// Fake starts a cluster of three brokers in memory; it closes when the test ends. Options of kfake may add to or
// override that, for example kfake.NumBrokers(1).
func Fake(t testing.TB, opts ...Option) *FakeCluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(3),
		kfake.ClusterID(Name("fake")),
		// Broker defaults wait 6 s for a silent member; tests want to see it die sooner.
		kfake.GroupMinSessionTimeout(0),
		kfake.ListenFn(listen),
	}, opts...)...)
	if err != nil {
		t.Fatalf("starting the fake broker: %v", err)
	}
	t.Cleanup(cluster.Close)
	return &FakeCluster{Cluster: cluster}
}

// Addrs are the bootstrap addresses of the cluster.
func (c *FakeCluster) Addrs() []string { return c.ListenAddrs() }

// RejectProduce answers the next n produce requests to a topic with NOT_ENOUGH_REPLICAS: nothing is written.
func (c *FakeCluster) RejectProduce(topic string, n int) *FaultHandle {
	return c.Fault(Fault{Keys: []Key{KeyProduce}, Topic: topic, Err: kerr.NotEnoughReplicas, Count: n})
}

// LoseAck writes the records of the next n produce requests to a topic, and answers REQUEST_TIMED_OUT all the same: the
// outcome that a producer must treat as unknown.
func (c *FakeCluster) LoseAck(topic string, n int) *FaultHandle {
	return c.Fault(Fault{Keys: []Key{KeyProduce}, Topic: topic, Err: kerr.RequestTimedOut, Count: n})
}

// DenyLeader answers the next n requests of a kind to a topic with NOT_LEADER_FOR_PARTITION, as after a move.
func (c *FakeCluster) DenyLeader(key Key, topic string, n int) *FaultHandle {
	return c.Fault(Fault{Keys: []Key{key}, Topic: topic, Err: kerr.NotLeaderForPartition, Count: n})
}

// errHangUp is the error by which a control function makes kfake close the connection.
var errHangUp = errors.New("hanging up")

// HangUp closes the connection of the next n requests of a kind instead of serving them. With a when it takes
// only the requests that when accepts; when runs on the broker's goroutine and must not block.
func (c *FakeCluster) HangUp(key Key, n int, when func(kmsg.Request) bool) {
	left := n
	c.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if when != nil && !when(req) {
			return nil, nil, false //nolint:nilnil // this is how kfake wants to hear "serve it yourself"
		}
		if left--; left > 0 {
			c.KeepControl() // one that handled its request is dropped otherwise
		}
		return nil, errHangUp, true
	})
}

// Option changes a fake.
type Option = kfake.Opt

// WithTLS makes a fake speak TLS.
func WithTLS(cfg *tls.Config) Option { return kfake.TLS(cfg) }

// WithUser makes a fake ask for SASL, and know one user. mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
func WithUser(mechanism, user, password string) []Option {
	return []Option{kfake.EnableSASL(), kfake.Superuser(mechanism, user, password)}
}

// WithListener makes a fake one broker that listens where the test has decided beforehand.
func WithListener(l net.Listener) []Option {
	return []Option{kfake.NumBrokers(1), kfake.ListenFn(func(string, string) (net.Listener, error) { return lingerer{l}, nil })}
}
