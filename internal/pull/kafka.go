package pull

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/stream"
)

// KafkaConfig configures a source that is another Kafka cluster, such as an Azure Event Hubs namespace, or a topic into
// which an identity broker writes.
type KafkaConfig struct {
	// Name is under which its events are known.
	Name string `yaml:"name"`
	// Format is what the values are; several records a value are fine when the format has an envelope for them.
	Format string `yaml:"format"`
	// Tenants are those it may write for; "*" alone means every tenant. With exactly one, records that name none are its.
	Tenants []string `yaml:"tenants"`
	// Topics are read from their first record on, or from where the group came.
	Topics []string `yaml:"topics"`
	// Group begins the names of the consumer groups, by default "countersign." and the source's name. Every topic has a
	// group of its own, this name, a dot and the topic's: in one group a topic that is missing keeps all others from being
	// assigned. Every process of an installation has the same.
	Group string `yaml:"group"`
	// TrustedPlaces keeps the places and networks that its events carry.
	TrustedPlaces bool `yaml:"trusted_places"`
	// Kafka says how to reach the cluster.
	Kafka stream.Config `yaml:"kafka"`
	// ConnectionStringFile holds an Event Hubs connection string, which stands for brokers, TLS, SASL, and, when it is that
	// of one hub, the topic.
	ConnectionStringFile string `yaml:"connection_string_file"`
}

// missingPause is how often it is looked whether a topic that was missing is there.
const missingPause = 10 * time.Second

// anyTenant stands for every tenant.
const anyTenant = "*"

// Limits of what is held of one partition. Event Hubs namespaces have up to some dozens of partitions.
const (
	kafkaBatchRecords = 2000
	kafkaBatchBytes   = 4 << 20
	kafkaFetchBytes   = 1 << 20
)

// Validate reports every problem of c at once, each as "field.path: problem, what to do". It opens no file.
func (c KafkaConfig) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Name == "" || len(c.Name) > events.MaxName {
		bad("name: must have 1 to %d bytes, name where its records come from", events.MaxName)
	}
	if c.Format == "" {
		bad("format: is empty, name what the values are, such as %s", ingest.FormatEvent)
	}
	if len(c.Tenants) == 0 {
		bad(`tenants: is empty, name its tenants, or "*" for all`)
	}
	for i, tenant := range c.Tenants {
		switch {
		case tenant == anyTenant && len(c.Tenants) > 1:
			bad(`tenants[%d]: "*" means every tenant, remove the others`, i)
		case tenant != anyTenant && !events.ValidTenant(tenant):
			bad("tenants[%d]: %.80q is no tenant: 1 to %d letters, digits, dots, dashes, underscores", i, tenant, events.MaxTenant)
		}
	}
	for i, topic := range c.Topics {
		if topic == "" || slices.Contains(c.Topics[:i], topic) {
			bad("topics[%d]: %q is empty or named twice, remove it", i, topic)
		}
	}
	if c.ConnectionStringFile == "" {
		if len(c.Topics) == 0 {
			bad("topics: is empty, name at least one topic")
		}
		if err := withDefaults(c.Kafka).Validate(); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				bad("kafka.%s", line)
			}
		}
	} else if len(c.Kafka.Brokers) > 0 || c.Kafka.SASL.Mechanism != "" {
		bad("kafka.brokers: and kafka.sasl come from the connection string, remove them or connection_string_file")
	}
	return errors.Join(problems...)
}

// withDefaults fills what every cluster needs; its brokers have no default.
func withDefaults(c stream.Config) stream.Config {
	d := stream.DefaultConfig()
	if c.ClientID == "" {
		c.ClientID = d.ClientID
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = d.DialTimeout
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = d.RequestTimeout
	}
	return c
}

// KafkaDeps are what a Kafka needs from outside. Reporter, Logger and Registerer may be nil.
type KafkaDeps struct {
	Pipeline *ingest.Pipeline
	// Cluster is that of the log, whose newest events are read when a partition is assigned.
	Cluster *stream.Cluster
	// Decoder decodes KafkaConfig.Format.
	Decoder    ingest.Decoder
	Reporter   Reporter
	Logger     *zap.Logger
	Registerer prometheus.Registerer
	// WarmUp is how many of the newest events are remembered at the start; see [Config.WarmUp].
	WarmUp int
}

// Kafka takes in the records of another Kafka cluster. Offsets are committed to the other cluster, after the events are
// acknowledged on the log. What cannot be decoded becomes a dead letter with its topic, partition and offset, and stops
// nothing. Processes share the partitions.
type Kafka struct {
	cfg      KafkaConfig
	deps     KafkaDeps
	cluster  *stream.Cluster
	source   ingest.Source
	tail     *tail
	metrics  *metrics
	notice   *notice
	draining Config

	mu     sync.Mutex
	leases map[lease]<-chan struct{} // what ends each assignment whose beginning was seen
}

// lease names a partition.
type lease struct {
	topic     string
	partition int
}

// NewKafka validates cfg and reads the files it names. It opens no connection.
func NewKafka(cfg KafkaConfig, deps KafkaDeps) (*Kafka, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Pipeline == nil || deps.Cluster == nil || deps.Decoder == nil {
		return nil, errors.New("a Kafka source needs a pipeline, the log's cluster and a decoder")
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	cfg.Kafka = withDefaults(cfg.Kafka)
	if cfg.ConnectionStringFile != "" {
		if err := cfg.fromConnectionString(); err != nil {
			return nil, fmt.Errorf("connection_string_file: %w", err)
		}
	}
	if cfg.Group == "" {
		cfg.Group = "countersign." + cfg.Name
	}
	cluster, err := stream.Connect(cfg.Kafka, deps.Registerer)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	m.expect(cfg.Name)
	source := ingest.Source{Name: cfg.Name, Decoder: deps.Decoder, Format: cfg.Format, Tenants: cfg.Tenants, TrustedPlaces: cfg.TrustedPlaces}
	if slices.Contains(cfg.Tenants, anyTenant) {
		source.Tenants = nil
	}
	return &Kafka{
		cfg: cfg, deps: deps, cluster: cluster, source: source, metrics: m, draining: DefaultConfig(),
		tail:   &tail{cluster: deps.Cluster, pipeline: deps.Pipeline, most: deps.WarmUp},
		notice: newNotice(deps.Logger.With(zap.String("source", cfg.Name)), "source fails", "source works again"),
		leases: make(map[lease]<-chan struct{}),
	}, nil
}

// Run reads until ctx ends; then it lets the batches at hand get on the log, and returns nil.
func (k *Kafka) Run(ctx context.Context) error {
	defer k.cluster.Close()
	defer k.metrics.forget(k.cfg.Name)
	group, ctx := errgroup.WithContext(ctx)
	for _, topic := range k.cfg.Topics {
		cfg := stream.ConsumerConfig{
			Group: k.cfg.Group + "." + topic, Topic: topic, MaxRecords: kafkaBatchRecords, MaxBytes: kafkaBatchBytes, FetchBytes: kafkaFetchBytes,
			MinFetchBytes: 1, MaxWait: 20 * time.Millisecond,
			Report: func(_ int, err error) { k.failed(err) },
		}
		group.Go(func() error {
			if !k.present(ctx, topic) {
				return nil
			}
			return k.cluster.Consume(ctx, cfg, func(ctx context.Context, _ int, batch []stream.Record) error { return k.take(ctx, batch) })
		})
	}
	return group.Wait()
}

// present waits until a topic is there; it is false when ctx ended first.
func (k *Kafka) present(ctx context.Context, topic string) bool {
	for {
		_, err := k.cluster.Partitions(ctx, topic)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		k.failed(fmt.Errorf("looking for topic %s: %w", topic, err))
		if !sleep(ctx, missingPause) {
			return false
		}
	}
}

func (k *Kafka) failed(err error) {
	k.metrics.errors.WithLabelValues(k.cfg.Name).Inc()
	k.notice.failed(err)
	if k.deps.Reporter != nil {
		k.deps.Reporter.Report(k.cfg.Name, k.cfg.Format, ingest.Result{}, err)
	}
}

// take puts a batch on the log.
func (k *Kafka) take(ctx context.Context, batch []stream.Record) error {
	if err := k.settle(ctx, lease{batch[0].Topic, batch[0].Partition}); err != nil {
		return err
	}
	outlive, stop := k.draining.outlive(ctx)
	defer stop()
	result, err := k.ingest(outlive, batch)
	for errors.Is(err, stream.ErrOverloaded) && sleep(ctx, 100*time.Millisecond) {
		result, err = k.ingest(outlive, batch)
	}
	k.metrics.count(k.cfg.Name, result)
	k.metrics.arrived(k.cfg.Name, result.LastEvent, time.Now())
	if err != nil {
		k.forget(lease{batch[0].Topic, batch[0].Partition}) // a part of it may be on the log
		return err
	}
	now := seconds(time.Now())
	k.metrics.lastSuccess.WithLabelValues(k.cfg.Name).Set(now)
	k.metrics.position.WithLabelValues(k.cfg.Name).Set(now)
	k.notice.worked()
	if k.deps.Reporter != nil {
		k.deps.Reporter.Report(k.cfg.Name, k.cfg.Format, result, nil)
	}
	return nil
}

func (k *Kafka) ingest(ctx context.Context, batch []stream.Record) (ingest.Result, error) {
	in := k.deps.Pipeline.Intake(k.source)
	for i := range batch {
		r := &batch[i]
		if r.Value == nil {
			continue // a tombstone: it says nothing of a sign-in
		}
		in.AddFrom(r.Value, ingest.Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset})
		if in.Full() {
			if err := in.Flush(ctx); err != nil {
				return in.Abandon(), err
			}
		}
	}
	return in.Close(ctx)
}

// settle reads the newest events when a partition was just assigned: a former owner may have put records on the log whose
// offsets it did not commit any more. An assignment is told by what ends it.
func (k *Kafka) settle(ctx context.Context, l lease) error {
	k.mu.Lock()
	known := k.leases[l] == ctx.Done()
	k.mu.Unlock()
	if known {
		return nil
	}
	if err := k.tail.read(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leases[l] = ctx.Done()
	return nil
}

func (k *Kafka) forget(l lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.leases, l)
}
