// Package broker runs the embedded Kafka broker: the laptop default, so that one command needs no Kafka.
//
// It is kfake (from franz-go) with a data directory and synced writes, on loopback. Every topic, record and committed
// group offset that was acknowledged is there again after a restart, a kill -9 or a power loss. It speaks the Kafka
// protocol, so any Kafka client on the machine can join at [Broker.Addr].
//
// What it is not: a production broker. It is one node without replication, so a lost disk is lost data; it has no
// quotas, no TLS and no authentication, which is why it listens on loopback only; and one goroutine serves all requests.
// Production runs on Apache Kafka (docs and deploy/).
package broker

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
)

// ErrInUse says that another process has the data directory open.
var ErrInUse = errors.New("data directory in use")

// Config says where the embedded broker listens and keeps its data.
type Config struct {
	// DataDir holds the log segments and group offsets; it is created (mode 0700) when absent. One broker per directory.
	DataDir string `yaml:"data_dir"`
	// Port is the loopback TCP port; 0 takes any free one.
	Port int `yaml:"port"`
	// Logger receives the broker's own warnings; nil discards them.
	Logger *zap.Logger `yaml:"-"`
}

// DefaultConfig is the configuration of `countersign up`: data below ./data, any free port.
func DefaultConfig() Config {
	return Config{DataDir: filepath.Join("data", "broker")}
}

// Validate reports every problem of the configuration at once.
func (c Config) Validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("data_dir: empty, name a directory for the embedded broker"))
	}
	if c.Port < 0 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("port: %d is no TCP port, use 0 (any free one) to 65535", c.Port))
	}
	return errors.Join(errs...)
}

// Broker is a running embedded broker. Its methods may be called from any goroutine.
type Broker struct {
	cluster *kfake.Cluster
	lock    *os.File
	log     *relay
	addr    string

	close    sync.Once
	closeErr error
}

// Start opens (or creates) the data directory and serves Kafka on loopback. When it returns, the broker answers. A
// directory that another process uses is refused with an error that wraps [ErrInUse].
func Start(cfg Config) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the broker's data directory: %w", err)
	}
	lock, err := lockDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	log := &relay{log: cfg.Logger}
	if log.log == nil {
		log.log = zap.NewNop()
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			return net.Listen(network, net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Port)))
		}),
		// Only a new directory takes this id, an old one keeps its own: consumers notice by it that a log was replaced.
		kfake.ClusterID(newClusterID()),
		kfake.DataDir(cfg.DataDir),
		kfake.SyncWrites(),
		kfake.WithLogger(log),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the embedded broker on %s: %w", cfg.DataDir, err), lock.Close())
	}
	return &Broker{cluster: cluster, lock: lock, log: log, addr: cluster.ListenAddrs()[0]}, nil
}

// Addr is the broker's host:port, both where it listens and what it advertises to clients.
func (b *Broker) Addr() string { return b.addr }

// Close stops the broker, writes its state and frees the data directory. Later calls return the first one's result.
// Skipping Close loses no acknowledged record; it only makes the next start scan the log.
func (b *Broker) Close() error {
	b.close.Do(func() {
		b.log.collect()
		b.cluster.Close()
		b.closeErr = errors.Join(b.log.collected(), b.lock.Close())
	})
	return b.closeErr
}

// newClusterID makes an id of the form Kafka uses: 16 random bytes in base64url.
func newClusterID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// relay turns kfake's log lines into zap ones. While the broker closes it keeps the errors instead, because kfake has no
// other way to say that saving its state went wrong.
type relay struct {
	log *zap.Logger

	mu      sync.Mutex
	closing bool
	errs    []error
}

// Logf implements kfake.Logger.
func (r *relay) Logf(level kfake.LogLevel, format string, args ...any) {
	if level == kfake.LogLevelNone || level > kfake.LogLevelWarn {
		return
	}
	text := fmt.Sprintf(format, args...)
	if level == kfake.LogLevelWarn {
		r.log.Warn("embedded broker", zap.String("detail", text))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		r.errs = append(r.errs, fmt.Errorf("closing the embedded broker: %s", text))
		return
	}
	r.log.Error("embedded broker", zap.String("detail", text))
}

func (r *relay) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closing = true
}

func (r *relay) collected() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}
