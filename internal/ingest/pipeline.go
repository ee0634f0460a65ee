package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/useragent"
)

// PipelineConfig says what is accepted.
type PipelineConfig struct {
	// MaxAge is how old an event may be, MaxSkew how far in the future.
	MaxAge  time.Duration `yaml:"max_age"`
	MaxSkew time.Duration `yaml:"max_skew"`
	// RecentIDs is how many ids of accepted events are remembered to spare the log repeats, at about 40 bytes each.
	// It should cover what sources look back on: two days of Graph, three of Google. Repeats that were forgotten are on
	// the log twice, with one id. UserAgents is how many user agents are remembered.
	RecentIDs  int `yaml:"recent_ids"`
	UserAgents int `yaml:"user_agents"`
}

// DefaultPipelineConfig accepts events of ten years.
func DefaultPipelineConfig() PipelineConfig {
	return PipelineConfig{MaxAge: 3650 * 24 * time.Hour, MaxSkew: 10 * time.Minute, RecentIDs: 1 << 22, UserAgents: 1 << 14}
}

// Validate reports every problem of c at once, each as "field.path: problem, what to do".
func (c PipelineConfig) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.MaxAge < time.Hour {
		bad("max_age: is %v, use at least 1h", c.MaxAge)
	}
	if c.MaxSkew < 0 || c.MaxSkew > 24*time.Hour {
		bad("max_skew: is %v, use 0s to 24h", c.MaxSkew)
	}
	const most = 1 << 24
	if c.RecentIDs < 1 || c.RecentIDs > most {
		bad("recent_ids: is %d, must be between 1 and %d", c.RecentIDs, most)
	}
	if c.UserAgents < 1 || c.UserAgents > most {
		bad("user_agents: is %d, must be between 1 and %d", c.UserAgents, most)
	}
	return errors.Join(problems...)
}

// PipelineDeps are what a Pipeline needs from outside. Families, Registerer and Now may be nil.
type PipelineDeps struct {
	Publisher Publisher
	Geo       *geo.DB
	// Families are the identity spaces of the foreign formats: senders of events may not write into them.
	Families   map[string]bool
	Registerer prometheus.Registerer
	// Now is the clock that stamps events; nil is time.Now.
	Now func() time.Time
}

// Pipeline checks, enriches and publishes. It is safe for concurrent use.
type Pipeline struct {
	cfg       PipelineConfig
	publisher Publisher
	geo       *geo.DB
	agents    *useragent.Parser
	recent    *memory
	reserved  map[string]bool
	// unsure is set when a publish failed whose records may be on the log all the same.
	unsure  atomic.Bool
	now     func() time.Time
	metrics *metrics
}

// NewPipeline returns a pipeline.
func NewPipeline(cfg PipelineConfig, deps PipelineDeps) (*Pipeline, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Publisher == nil || deps.Geo == nil {
		return nil, errors.New("a pipeline needs a publisher and a geo database")
	}
	p := &Pipeline{cfg: cfg, publisher: deps.Publisher, geo: deps.Geo, reserved: deps.Families, recent: newMemory(cfg.RecentIDs), now: deps.Now}
	if p.now == nil {
		p.now = time.Now
	}
	var err error
	if p.agents, err = useragent.New(cfg.UserAgents); err != nil {
		return nil, err
	}
	if p.metrics, err = newMetrics(deps.Registerer); err != nil {
		return nil, err
	}
	return p, nil
}

// Remember tells the pipeline that an event is on the log, so that its repeats are dropped. Whoever starts a pipeline
// tells it the newest ids: then a record that was acknowledged just before a crash is not put on the log once more.
func (p *Pipeline) Remember(id string) { p.recent.add(recentOf(id)) }

// Settle calls recall, which reads the newest ids of the log, if a publish has failed since: its records may be there, and
// their senders send them again.
func (p *Pipeline) Settle(ctx context.Context, recall func(context.Context) error) error {
	if !p.unsure.Swap(false) {
		return nil
	}
	if err := recall(ctx); err != nil {
		p.unsure.Store(true)
		return fmt.Errorf("reading what is on the log: %w", err)
	}
	return nil
}

// publish waits while the publisher is overloaded, when patient; else that is an error at once.
func (p *Pipeline) publish(ctx context.Context, to Publisher, topic string, records []stream.Record, patient bool) error {
	began := p.now()
	const longest = 250 * time.Millisecond
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, longest) {
		err := to.Publish(ctx, topic, records)
		if err == nil {
			p.metrics.publish.Observe(p.now().Sub(began).Seconds())
			return nil
		}
		if !patient || !errors.Is(err, stream.ErrOverloaded) {
			return fmt.Errorf("publishing to %s: %w", topic, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("publishing to %s: %w", topic, errors.Join(err, ctx.Err()))
		}
	}
}
