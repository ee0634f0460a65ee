package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// ShareConfig configures Share. Zero durations mean the default.
type ShareConfig struct {
	// Group is the consumer group that spreads the partitions. It commits no offsets.
	Group string
	// Topic is whose partitions are spread; its records are not read.
	Topic string
	// SessionTimeout is how long the group waits for a silent member. Default 30 s.
	SessionTimeout time.Duration
	// HeartbeatInterval must be well below SessionTimeout. Default 3 s.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long the group waits for its members to come together, and so how long work may take to
	// end before another member begins it. Default 30 s.
	RebalanceTimeout time.Duration
	// Report, if set, is told about trouble that is retried. It is called from many goroutines and must not block.
	Report func(partition int, err error)
}

func (cfg ShareConfig) withDefaults() ShareConfig {
	def(&cfg.SessionTimeout, 30*time.Second)
	def(&cfg.HeartbeatInterval, 3*time.Second)
	def(&cfg.RebalanceTimeout, 30*time.Second)
	return cfg
}

func (cfg ShareConfig) validate() error {
	var errs []error
	if cfg.Group == "" {
		errs = append(errs, errors.New("group: empty, name the consumer group"))
	}
	if cfg.Topic == "" {
		errs = append(errs, errors.New("topic: empty, name the topic"))
	}
	return errors.Join(append(errs, validateSession(cfg.SessionTimeout, cfg.HeartbeatInterval))...)
}

// Share spreads work that must be done in one place at a time over the members of a group: it calls work for every
// partition of the topic that this member is assigned, in parallel, until ctx ends; then it leaves the group and returns
// nil. When a partition is taken away work's context ends, and work should return soon: others wait for it. When work
// fails, the error is reported and work called again after a pause; when it returns nil, not before the next assignment.
//
// Like every lease of this kind this one can be outlived: a process that is stopped for longer than the session timeout
// goes on for a moment as if it still had its partitions. What work writes must bear that.
//
// An error is returned only for an invalid configuration.
func (c *Cluster) Share(ctx context.Context, cfg ShareConfig, work func(ctx context.Context, partition int) error) error {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	report := func(partition int, err error) {
		if cfg.Report != nil {
			cfg.Report(partition, err)
		}
	}
	m := &membership{c: c, group: cfg.Group, topic: cfg.Topic, session: cfg.SessionTimeout, heartbeat: cfg.HeartbeatInterval, rebalance: cfg.RebalanceTimeout}
	return m.run(ctx, func(err error) { report(-1, err) }, func(gen *kafka.Generation, commits *committer) {
		for _, a := range gen.Assignments[c.physical(cfg.Topic)] {
			commits.start(func(ctx context.Context) {
				for attempt := 0; ctx.Err() == nil; attempt++ {
					err := work(ctx, a.ID)
					if err == nil {
						break
					}
					if ctx.Err() == nil {
						report(a.ID, fmt.Errorf("working on partition %d of %s: %w", a.ID, cfg.Topic, err))
						sleep(ctx, 5*backoff(attempt))
					}
				}
				<-ctx.Done() // to return earlier would end the generation for every partition
			})
		}
	})
}
