// Package detector folds the log of events into findings and revocations. Each partition of the event topic has one
// owner among the running detectors; what the owner remembers of its users, and how far it has read, is itself on the
// log, written together. So a detector may die at any moment, anywhere: whoever owns its partitions next goes on from
// there, and every effect has the id that it would have had.
//
// The decision itself is [Rules.Fold], a pure function. All else here is about moving records.
package detector

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/events"
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
		return Rules{}, fmt.Errorf("detector.anomaly: %w", err)
	}
	set, err := LoadPolicies(cfg.PolicyFile)
	if err != nil {
		return Rules{}, fmt.Errorf("detector.policy_file: %w", err)
	}
	return Rules{Catalogue: catalogue, Policies: set}, nil
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
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); live.watch(ctx) }()
	defer func() { cancel(); <-watched }()
	return d.deps.Cluster.Own(ctx, stream.OwnerConfig{
		Group: d.cfg.Group, Input: events.TopicEvents, State: events.TopicState,
		Guarded: []string{events.TopicRevocations}, Version: d.rules.Version(),
		ContinueAfterLoss: d.cfg.ContinueAfterLoss,
		SessionTimeout:    d.cfg.SessionTimeout, HeartbeatInterval: d.cfg.SessionTimeout / 10,
		Live: d.deps.Live, Report: d.report,
	}, func(partition int) stream.Processor {
		p := newProcessor(rules, d.metrics)
		n, err := d.deps.Cluster.Partitions(ctx, events.TopicEvents) // known by now: it is asked for once
		if err != nil {
			d.report(partition, fmt.Errorf("counting the partitions of the events: %w", err))
		}
		p.rules.Partitions = n
		p.live, p.log = live, d.deps.Log
		return p
	})
}

// report counts trouble and tells of it. A stopped partition needs a person, so it is an error; the rest is retried.
func (d *Detector) report(partition int, err error) {
	if stop, ok := errors.AsType[*stream.StopError](err); ok {
		d.metrics.troubles.WithLabelValues("stopped").Inc()
		d.deps.Log.Error("partition stopped", zap.Int("partition", partition), zap.String("reason", string(stop.Reason)), zap.Error(err))
		return
	}
	d.metrics.troubles.WithLabelValues("retried").Inc()
	d.deps.Log.Warn("partition has trouble, retrying", zap.Int("partition", partition), zap.Error(err))
}
