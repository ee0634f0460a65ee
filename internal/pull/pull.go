// Package pull asks sources for their records: it keeps how far each one came, and moves on only past what is on the log.
//
// A [Fetcher] knows one upstream. The [Runner] calls it, puts what it fetched through the ingest pipeline, and then, when
// all of it is acknowledged, keeps the position on the compacted topic of cursors. So at any time the kept position of a
// source is one before which nothing is missing; a process that dies in between repeats, and repeats are dropped by the
// events' ids, of which the newest are read from the log at the start ([WarmUp]).
//
// Every source runs in one process at a time: where the partition of its cursor is assigned ([stream.Cluster.Share]). A
// former owner that wakes up late may still put its page on the log and its position over a newer one. Neither does
// harm: whatever position is written, everything before it is on the log, because no position is ever written earlier
// than that; so an old one only makes the next owner fetch again what is on the log, and repeats are dropped by id.
//
// A foreign Kafka cluster keeps its own positions; see [Kafka].
package pull

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/stream"
)

// Fetcher asks one upstream.
type Fetcher interface {
	// Fetch asks for what follows position, which is nil at the very beginning and else what an earlier call gave to
	// take: JSON of the source's own shape, at most MaxPosition bytes. It calls take for every page, with the values as
	// the source's decoder reads them and the position to go on from once they are on the log. take returns when they are
	// acknowledged and the position is kept; after an error of take, Fetch returns it at once. Fetch returns when it has
	// caught up, with how long to wait before the next call. An error with a method RetryAfter() time.Duration above zero
	// is waited for that long. Calls are never concurrent.
	Fetch(ctx context.Context, position []byte, take func(values [][]byte, next []byte) error) (wait time.Duration, err error)
}

// Backfiller is a Fetcher whose upstream still has its history.
type Backfiller interface {
	// Backfill asks for what happened from since until before until, going on from position, with the same rules as Fetch.
	// It tells progress how much is done, from 0 to 1.
	Backfill(ctx context.Context, since, until time.Time, position []byte, take func(values [][]byte, next []byte) error, progress func(done float64)) error
}

// Source is a source to be asked.
type Source struct {
	// Name is under which its events and its cursor are known. Format names what Decoder decodes.
	Name, Format string
	Decoder      ingest.Decoder
	// Tenants are those it may write for; empty means all. With exactly one, records that name none are its.
	Tenants []string
	Fetcher Fetcher
}

// ingest is what the pipeline wants to know of a source.
func (s *Source) ingest() ingest.Source {
	return ingest.Source{Name: s.Name, Decoder: s.Decoder, Format: s.Format, Tenants: s.Tenants}
}

// Config configures a Runner.
type Config struct {
	// Group is the consumer group that spreads the sources over the processes.
	Group string `yaml:"group"`
	// SessionTimeout is how long the others wait for a process that went silent before they take its sources over.
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// MinPause is the shortest pause between two calls of a source, and the first one after an error; MaxPause is how far
	// it grows while errors go on.
	MinPause time.Duration `yaml:"min_pause"`
	MaxPause time.Duration `yaml:"max_pause"`
	// Heartbeat is how often the state of a source is written although nothing changed.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// DrainTimeout bounds how long the page at hand may take to get on the log when the process stops.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// WarmUp is how many of the newest events on the log are remembered at the start.
	WarmUp int `yaml:"warm_up"`
}

// DefaultConfig suits most sources.
func DefaultConfig() Config {
	return Config{
		Group: "countersign-pull", SessionTimeout: 30 * time.Second, MinPause: time.Second, MaxPause: 5 * time.Minute, Heartbeat: time.Minute,
		DrainTimeout: 5 * time.Second, WarmUp: 200_000,
	}
}

// Validate reports every problem of c at once, each as "field.path: problem, what to do".
func (c Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Group == "" {
		bad("group: is empty, name the consumer group")
	}
	if c.SessionTimeout < time.Second {
		bad("session_timeout: is %v, use for example 30s", c.SessionTimeout)
	}
	if c.MinPause <= 0 {
		bad("min_pause: is %v, use for example 1s", c.MinPause)
	}
	if c.MaxPause < c.MinPause {
		bad("max_pause: is %v, use at least min_pause (%v)", c.MaxPause, c.MinPause)
	}
	if c.Heartbeat < time.Second {
		bad("heartbeat: is %v, use at least 1s", c.Heartbeat)
	}
	if c.DrainTimeout <= 0 || c.DrainTimeout > 20*time.Second {
		bad("drain_timeout: is %v, use up to 20s: other processes wait for it", c.DrainTimeout)
	}
	const most = 1 << 24
	if c.WarmUp < 0 || c.WarmUp > most {
		bad("warm_up: is %d, must be between 0 and %d", c.WarmUp, most)
	}
	return errors.Join(problems...)
}

// Deps are what a Runner needs from outside. Logger and Registerer may be nil.
type Deps struct {
	Pipeline   *ingest.Pipeline
	Cursors    *Cursors
	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// Runner runs sources. Every process of an installation must be given the same ones, since any of them may be assigned
// any source.
type Runner struct {
	cfg     Config
	deps    Deps
	sources []Source
	tail    *tail
	metrics *metrics
}

// New returns a runner of sources. It asks nobody.
func New(cfg Config, deps Deps, sources []Source) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Pipeline == nil || deps.Cursors == nil {
		return nil, errors.New("a runner needs a pipeline and cursors")
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	names := make(map[string]bool)
	var problems []error
	for _, s := range sources {
		switch {
		case s.Name == "" || len(s.Name) > events.MaxName || strings.ContainsAny(s.Name, "#\n"):
			problems = append(problems, fmt.Errorf("name: %.40q is none for a source, use 1 to %d bytes without #", s.Name, events.MaxName))
		case names[s.Name]:
			problems = append(problems, fmt.Errorf("name: two sources have the name %q, give each its own", s.Name))
		case s.Decoder == nil || s.Fetcher == nil:
			problems = append(problems, fmt.Errorf("source %q needs a decoder and a fetcher", s.Name))
		}
		names[s.Name] = true
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	for _, s := range sources {
		m.expect(s.Name)
	}
	return &Runner{
		cfg: cfg, deps: deps, sources: sources, metrics: m,
		tail: &tail{cluster: deps.Cursors.cluster, pipeline: deps.Pipeline, most: cfg.WarmUp},
	}, nil
}

// Run runs the sources that fall to this process until ctx ends; then it lets the pages at hand get on the log, for as
// long as Config.DrainTimeout allows, and returns nil.
func (r *Runner) Run(ctx context.Context) error {
	if len(r.sources) == 0 {
		<-ctx.Done()
		return nil
	}
	sharing := newNotice(r.deps.Logger, "spreading the sources", "the sources are spread again")
	share := stream.ShareConfig{
		Group: r.cfg.Group, Topic: events.TopicCursors,
		SessionTimeout: r.cfg.SessionTimeout, HeartbeatInterval: min(3*time.Second, r.cfg.SessionTimeout/5),
		RebalanceTimeout: max(r.cfg.SessionTimeout, 2*r.cfg.DrainTimeout),
		Report:           func(_ int, err error) { sharing.failed(err) },
	}
	return r.deps.Cursors.cluster.Share(ctx, share, func(ctx context.Context, partition int) error {
		err := r.work(ctx, partition)
		if err == nil {
			sharing.worked()
		}
		return err
	})
}

// work runs the sources whose cursors are in one partition, until ctx ends.
func (r *Runner) work(ctx context.Context, partition int) error {
	mine, err := r.assigned(ctx, partition)
	if err != nil || len(mine) == 0 {
		return err
	}
	// Others may have run them since: what they put on the log and how far they came is read again.
	if err := r.deps.Cursors.Refresh(ctx); err != nil {
		return err
	}
	if err := r.tail.read(ctx); err != nil {
		return err
	}
	var group errgroup.Group
	for _, s := range mine {
		status, err := r.deps.Cursors.Get(s.Name)
		if err != nil {
			r.metrics.errors.WithLabelValues(s.Name).Inc()
			r.deps.Logger.Error("source stays stopped", zap.String("source", s.Name), zap.Error(err))
			continue
		}
		group.Go(func() error { return r.puller(s, status).run(ctx) })
	}
	return group.Wait()
}

// assigned are the sources whose cursors are in a partition.
func (r *Runner) assigned(ctx context.Context, partition int) ([]Source, error) {
	n, err := r.deps.Cursors.cluster.Partitions(ctx, events.TopicCursors)
	if err != nil {
		return nil, err
	}
	var mine []Source
	for _, s := range r.sources {
		if stream.PartitionFor([]byte(s.Name), n) == partition {
			mine = append(mine, s)
		}
	}
	return mine, nil
}

func (r *Runner) puller(s Source, status Status) *puller {
	status.Source, status.Format = s.Name, s.Format
	return &puller{
		cfg: r.cfg, src: s, status: status, pipeline: r.deps.Pipeline, put: r.deps.Cursors.Put, recall: r.tail.read,
		metrics: r.metrics, notice: newNotice(r.deps.Logger.With(zap.String("source", s.Name)), "source fails", "source works again"),
	}
}
