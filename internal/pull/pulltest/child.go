package pulltest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/stream"
)

// childEnv tells the test program that it is the process to be killed.
const childEnv = "COUNTERSIGN_TEST_PULL"

// The steps of a page, and the end of what the upstream has. The process prints them, and may die at the first three.
const (
	stepPage      = "page"      // before its events are published
	stepPublished = "published" // they are acknowledged
	stepKept      = "kept"      // and the position is kept
	stepIdle      = "idle"
)

// longestWait is how long the process waits where the source would wait longer.
const longestWait = 20 * time.Millisecond

// sessionTimeout is how long a process that was killed keeps its source. Real brokers take no less than 6 s.
func sessionTimeout() time.Duration {
	if kafkatest.Real() {
		return 6 * time.Second
	}
	return time.Second
}

// child runs one source until it is killed.
func child(text string) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	ctx := context.Background()
	factory := factories[s.Name]
	if factory == nil {
		return fmt.Errorf("no source %q", s.Name)
	}
	source, err := factory(s.Upstream)
	if err != nil {
		return err
	}
	cluster, err := s.connect()
	if err != nil {
		return err
	}
	places, err := geo.Open(geo.DefaultConfig(), geo.Deps{})
	if err != nil {
		return err
	}
	steps := &stepper{die: s.Die, left: s.Left}
	pipeline, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{
		Publisher: &publisher{inner: cluster.Publisher(stream.PublisherConfig{}), steps: steps}, Geo: places,
	})
	if err != nil {
		return err
	}
	log, err := zap.NewDevelopment(zap.IncreaseLevel(zap.WarnLevel))
	if err != nil {
		return err
	}
	cursors, err := pull.OpenCursors(ctx, cluster, log)
	if err != nil {
		return err
	}
	cfg := pull.DefaultConfig()
	cfg.MinPause, cfg.MaxPause = 2*time.Millisecond, 200*time.Millisecond
	cfg.Group, cfg.SessionTimeout, cfg.DrainTimeout = s.Group, sessionTimeout(), 500*time.Millisecond
	var tenants []string
	if source.Tenant != "" {
		tenants = []string{source.Tenant}
	}
	runner, err := pull.New(cfg, pull.Deps{Pipeline: pipeline, Cursors: cursors, Logger: log}, []pull.Source{{
		Name: s.Name, Format: source.Format, Decoder: source.Decoder, Tenants: tenants, Fetcher: &fetcher{source.Fetcher, steps},
	}})
	if err != nil {
		return err
	}
	return runner.Run(ctx)
}

// stepper prints the steps, and dies at one of them.
type stepper struct {
	die string // the step to die at; "" is none

	mu   sync.Mutex
	left int // the occasion, counted down
}

func (s *stepper) at(step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(os.Stdout, step)
	if step != s.die {
		return
	}
	if s.left--; s.left > 0 {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		panic(err)
	}
	_ = self.Kill() // that is kill -9
	select {}
}

// publisher tells of the steps around the events of a page.
type publisher struct {
	inner ingest.Publisher
	steps *stepper
}

func (p *publisher) Publish(ctx context.Context, topic string, records []stream.Record) error {
	if topic != events.TopicEvents {
		return p.inner.Publish(ctx, topic, records)
	}
	p.steps.at(stepPage)
	err := p.inner.Publish(ctx, topic, records)
	if err == nil {
		p.steps.at(stepPublished)
	}
	return err
}

// fetcher tells when a page is kept and when there is no more, and does not wait for long.
type fetcher struct {
	inner pull.Fetcher
	steps *stepper
}

func (f *fetcher) Fetch(ctx context.Context, position []byte, take func(values [][]byte, next []byte) error) (time.Duration, error) {
	wait, err := f.inner.Fetch(ctx, position, func(values [][]byte, next []byte) error {
		err := take(values, next)
		if err == nil {
			f.steps.at(stepKept)
		}
		return err
	})
	if err == nil {
		f.steps.at(stepIdle)
	}
	return min(wait, longestWait), err
}
