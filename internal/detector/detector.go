// Package detector folds the log of events into findings and revocations. Each partition of the event topic has one
// owner among the running detectors; what the owner remembers of its users, and how far it has read, is itself on the
// log, written together. So a detector may die at any moment, anywhere: whoever owns its partitions next goes on from
// there, and every effect has the id that it would have had.
//
// The decision itself is [Rules.Fold], a pure function. All else here is about moving records.
//
// What concerns many users at once is judged by a second stage, on a topic of its own that is keyed by tenant: it is told of
// sightings and answers with events, which go back into the log of the users concerned ([org.State], docs/adr/0009).
package detector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/stream"
)

// Deps are what a detector works with.
type Deps struct {
	Cluster *stream.Cluster
	Log     *zap.Logger
	// Metrics may be nil.
	Metrics prometheus.Registerer
	// Live, when set, is told when a partition is restored and being read.
	Live func(partition int, next int64)
}

// Detector decides on the partitions it owns.
type Detector struct {
	cfg     Config
	deps    Deps
	rules   Rules
	metrics *metrics
}

// LoadRules builds the rules that cfg asks for.
func LoadRules(cfg Config) (Rules, error) {
	catalogue, err := anomaly.New(cfg.Anomaly)
	if err != nil {
		return Rules{}, below("detector.anomaly", err)
	}
	set, err := LoadPolicies(cfg.PolicyFile)
	if err != nil {
		return Rules{}, fmt.Errorf("detector.policy_file: %w", err)
	}
	if err := cfg.Network.Validate(); err != nil {
		return Rules{}, below("detector.network", err)
	}
	return Rules{Catalogue: catalogue, Policies: set, Network: &cfg.Network}, nil
}

// New checks the configuration and loads the rules.
func New(cfg Config, deps Deps) (*Detector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	rules, err := LoadRules(cfg)
	if err != nil {
		return nil, err
	}
	return &Detector{cfg: cfg, deps: deps, rules: rules, metrics: newMetrics(deps.Metrics)}, nil
}

// Run owns its share of the partitions until ctx ends.
func (d *Detector) Run(ctx context.Context) error {
	live, rules := newPolicies(d.cfg.PolicyFile, d.rules.Policies, d.metrics, d.deps.Log), d.rules
	watching, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); live.watch(watching) }()
	defer func() { cancel(); <-watched }()
	var ok bool
	if rules.Partitions, ok = d.partitions(ctx); !ok {
		return nil
	}
	if err := countable(rules.Partitions); err != nil {
		return err
	}
	both, running := errgroup.WithContext(ctx)
	both.Go(func() error {
		cfg := d.owner(d.cfg.Group, events.TopicEvents, events.TopicState)
		// The version in a checkpoint is that of the start; which policies a decision rests on is in its findings.
		cfg.Guarded, cfg.Version, cfg.Live = []string{events.TopicRevocations}, d.rules.Version(), d.deps.Live
		shared := newContexts()
		return d.deps.Cluster.Own(running, cfg, func(int) stream.Processor {
			p := newProcessor(rules, d.metrics, shared)
			p.live, p.log = live, d.deps.Log
			return p
		})
	})
	both.Go(func() error {
		cfg := d.owner(d.cfg.Group+"-network", events.TopicSightings, events.TopicNetwork)
		cfg.Version = d.rules.Network.Version()
		return d.deps.Cluster.Own(running, cfg, func(int) stream.Processor { return newNetwork(rules.Network, rules.Partitions, d.metrics) })
	})
	return both.Wait()
}

// owner is what both stages have in common.
func (d *Detector) owner(group, input, state string) stream.OwnerConfig {
	return stream.OwnerConfig{
		Group: group, Input: input, State: state, ContinueAfterLoss: d.cfg.ContinueAfterLoss,
		SessionTimeout: d.cfg.SessionTimeout, HeartbeatInterval: d.cfg.SessionTimeout / 10,
		Report: func(partition int, err error) { d.report(input, partition, err) },
	}
}

// partitions asks, for as long as it takes, how many partitions the events have. ok is false when ctx ends before.
func (d *Detector) partitions(ctx context.Context) (n int, ok bool) {
	for {
		n, err := d.deps.Cluster.Partitions(ctx, events.TopicEvents)
		if err == nil {
			return n, true
		}
		if ctx.Err() == nil {
			d.report(events.TopicEvents, -1, err)
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0, false
		case <-timer.C:
		}
	}
}

// countable refuses more partitions of the events than the network stage can tell repeats of.
func countable(partitions int) error {
	if partitions > org.MaxPartitions {
		return fmt.Errorf("topic %s has %d partitions, at most %d are possible", events.TopicEvents, partitions, org.MaxPartitions)
	}
	return nil
}

// report counts trouble and tells of it. A stopped partition needs a person, so it is an error; the rest is retried.
func (d *Detector) report(input string, partition int, err error) {
	if stop, ok := errors.AsType[*stream.StopError](err); ok {
		d.metrics.troubles.WithLabelValues("stopped").Inc()
		d.deps.Log.Error("partition stopped", zap.String("topic", input), zap.Int("partition", partition), zap.String("reason", string(stop.Reason)), zap.Error(err))
		return
	}
	d.metrics.troubles.WithLabelValues("retried").Inc()
	d.deps.Log.Warn("partition has trouble, retrying", zap.String("topic", input), zap.Int("partition", partition), zap.Error(err))
}
