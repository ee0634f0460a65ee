// Package notify tells people of incidents, through what they already use.
//
// It reads findings and requirements from the log, makes incidents of them (package incident), and keeps these on the
// compacted topic countersign.alerts.v1, which is its outbox: an incident is durable there before any message about it is
// sent, and the positions in the input are written after the incidents that rest on it. So a crash at any moment loses
// nothing; what may be sent a second time, because the process died between the answer of a target and the note of it, has
// the same message id.
//
// One process sends for the whole installation: the topic has one partition, and the couriers agree who has it
// ([stream.Cluster.Share]). The others wait and go on within the session timeout when it dies. A process that was stopped
// for longer than that and wakes may send what is under way once more, and its late writes are followed by those of its
// successor; nothing is lost by it, for what it writes is as true as what it has read.
package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/outbound"
	"github.com/countersign-io/countersign/internal/stream"
)

// Deps are what a Notifier works with. Owner, Logger and Registerer may be nil.
type Deps struct {
	Cluster *stream.Cluster
	// Owner is the team that owns a policy, "" when nobody is known.
	Owner      func(policy string) string
	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// Notifier tells people of incidents.
type Notifier struct {
	cfg       Config
	deps      Deps
	log       *zap.Logger
	metrics   *metrics
	publisher *stream.Publisher
	templates *templates
	targets   []*target
	client    *http.Client
	// drain is how long a process that stops waits for what is under way.
	drain time.Duration
}

// target is a configured target with how to send to it.
type target struct {
	Target
	sender  sender
	dialect escape
}

// New validates cfg and reads the files that it names. It connects nothing.
func New(cfg Config, deps Deps) (*Notifier, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Cluster == nil {
		return nil, errors.New("notify: needs a cluster")
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	n := &Notifier{cfg: cfg, deps: deps, log: deps.Logger, publisher: deps.Cluster.Publisher(stream.PublisherConfig{})}
	n.drain = min(3*time.Second, cfg.SessionTimeout/2) // others wait for it
	var err error
	if n.templates, err = newTemplates(cfg); err != nil {
		return nil, err
	}
	if n.client, err = outbound.New(cfg.Outbound); err != nil {
		return nil, fmt.Errorf("outbound.%w", err)
	}
	if n.targets, err = openTargets(cfg, n.client); err != nil {
		return nil, err
	}
	if n.metrics, err = newMetrics(deps.Registerer, cfg.Targets); err != nil {
		return nil, fmt.Errorf("registering the metrics of alerts: %w", err)
	}
	return n, nil
}

func openTargets(cfg Config, client *http.Client) ([]*target, error) {
	guard, err := outbound.NewGuard(cfg.Outbound)
	if err != nil {
		return nil, fmt.Errorf("outbound.%w", err)
	}
	var list []*target
	var errs []error
	for i := range cfg.Targets {
		t := &target{Target: cfg.Targets[i]}
		if t.sender, t.dialect, err = newSender(&t.Target, client, guard); err != nil {
			errs = append(errs, fmt.Errorf("targets[%d].%w", i, err))
		}
		list = append(list, t)
	}
	return list, errors.Join(errs...)
}

// Run sends until ctx ends, when it is this process' turn. It returns nil then.
func (n *Notifier) Run(ctx context.Context) error {
	if len(n.targets) == 0 {
		<-ctx.Done()
		return nil
	}
	defer n.client.CloseIdleConnections()
	cfg := stream.ShareConfig{
		Group: n.cfg.Group, Topic: events.TopicAlerts, SessionTimeout: n.cfg.SessionTimeout,
		HeartbeatInterval: min(2*time.Second, n.cfg.SessionTimeout/5), RebalanceTimeout: n.cfg.SessionTimeout, Report: n.trouble,
	}
	err := n.deps.Cluster.Share(ctx, cfg, func(ctx context.Context, partition int) error {
		if partition != 0 {
			return nil // the topic was made with one; another installation's habits do not make us send twice
		}
		n.metrics.leading.Set(1)
		defer n.metrics.leading.Set(0)
		return newLead(n).run(ctx)
	})
	if err != nil {
		return fmt.Errorf("sharing %s: %w", events.TopicAlerts, err)
	}
	return nil
}

func (n *Notifier) trouble(partition int, err error) {
	n.log.Debug("working with the log again", zap.Int("partition", partition), zap.Error(err))
}

// rules are the configuration of the incidents.
func (n *Notifier) rules() incident.Config {
	return incident.Config{
		Least: n.cfg.Severity, Window: millis(n.cfg.Window), TellWithin: millis(n.cfg.TellWithin), GroupWait: millis(n.cfg.GroupWait), MaxOpen: n.cfg.MaxIncidents,
		Routes: n.cfg.Routes, Owner: n.deps.Owner,
	}
}

func millis(d time.Duration) events.Millis { return events.Millis(d.Milliseconds()) }
