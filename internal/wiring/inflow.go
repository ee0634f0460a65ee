package wiring

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/source/ssf"
	"github.com/countersign-io/countersign/internal/stream"
)

// inflow is everything that comes in: the HTTP ingest reports to it, and it runs the sources that are asked or read.
type inflow struct {
	p            *Process
	pipeline     *ingest.Pipeline
	transmitters []*ssf.Transmitter
	asked        []pull.Source
	kafka        []*pull.Kafka
	cursors      atomic.Pointer[pull.Cursors]
	warm         chan struct{} // closed when the pipeline knows the newest events
}

// newInflow builds the configured sources. It asks nobody.
func (p *Process) newInflow(pipeline *ingest.Pipeline, client GraphClient) (*inflow, error) {
	in := &inflow{p: p, pipeline: pipeline, warm: make(chan struct{})}
	var problems []error
	for i, cfg := range p.Config.Sources.SSF {
		t, err := ssf.New(cfg, ssf.Deps{Logger: p.Log.Named("ssf"), Registerer: p.Metrics})
		if err != nil {
			problems = append(problems, fmt.Errorf("sources.ssf[%d].%w", i, err))
			continue
		}
		in.transmitters = append(in.transmitters, t)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	var err error
	if in.asked, err = p.Config.Sources.asked(client, in.transmitters); err != nil {
		return nil, err
	}
	decoders := senders()
	for i, cfg := range p.Config.Sources.Kafka {
		k, err := pull.NewKafka(cfg, pull.KafkaDeps{
			Pipeline: pipeline, Cluster: p.Cluster, Decoder: decoders[cfg.Format], Reporter: in,
			Logger: p.Log.Named("kafka"), Registerer: p.Metrics, WarmUp: p.Config.Sources.Runner.WarmUp,
		})
		if err != nil {
			return nil, fmt.Errorf("sources.kafka[%d].%w", i, err)
		}
		in.kafka = append(in.kafka, k)
	}
	return in, nil
}

// Report keeps what became of the records of a source that sends. Before the cursors are read there is nowhere to keep it.
func (in *inflow) Report(source, format string, result ingest.Result, err error) {
	if c := in.cursors.Load(); c != nil {
		c.Report(source, format, result, err)
	}
}

// receivers is the endpoint of the transmitters that push; nil when none does.
func (in *inflow) receivers() http.Handler {
	if len(in.transmitters) == 0 {
		return nil
	}
	sources := map[string]ingest.Source{}
	for _, t := range in.transmitters {
		sources[t.Name()] = ingest.Source{Name: t.Name(), Decoder: t.Decoder(), Format: ssf.Family, Tenants: []string{t.Tenant()}}
	}
	return ssf.NewPush(in.transmitters, func(ctx context.Context, transmitter string, values [][]byte) error {
		src := sources[transmitter]
		result, err := in.pipeline.Take(ctx, src, values)
		in.Report(src.Name, src.Format, result, err)
		if errors.Is(err, stream.ErrOverloaded) {
			err = fmt.Errorf("%w: %w", ssf.ErrOverloaded, err)
		}
		return err
	})
}

// recall tells the pipeline the newest events of the log.
func (in *inflow) recall(ctx context.Context) error {
	return pull.WarmUp(ctx, in.p.Cluster, in.pipeline, in.p.Config.Sources.Runner.WarmUp)
}

// ready waits until the pipeline knows the newest events: what senders send again, because a process died before it
// answered, must be known as repeats.
func (in *inflow) ready(ctx context.Context) error {
	select {
	case <-in.warm:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run reads cursors and the newest events, and runs the sources until ctx ends.
func (in *inflow) run(ctx context.Context) error {
	log := in.p.Log.Named("sources")
	cursors, err := pull.OpenCursors(ctx, in.p.Cluster, log)
	if err == nil {
		err = in.recall(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil // asked to stop before there was anything to stop
		}
		return err
	}
	runner, err := pull.New(in.p.Config.Sources.Runner, pull.Deps{
		Pipeline: in.pipeline, Cursors: cursors, Logger: log, Registerer: in.p.Metrics,
	}, in.asked)
	if err != nil {
		return err
	}
	in.cursors.Store(cursors)
	close(in.warm)
	// The status is kept until the last source has stopped.
	reporting, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	reported := make(chan error, 1)
	go func() { reported <- cursors.Run(reporting) }()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return runner.Run(ctx) })
	for _, k := range in.kafka {
		group.Go(func() error { return k.Run(ctx) })
	}
	err = group.Wait()
	stop()
	return errors.Join(err, <-reported)
}
