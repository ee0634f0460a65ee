// Package act acts at the source of an identity on what was decided: it ends the sessions of a user at Microsoft Entra ID
// or Okta, tells Entra ID Protection of a compromised user, or posts the requirement to an address, signed. Each action is
// off until configured, and can be observed first.
//
// What it guarantees:
//
//   - Every requirement that an action matches is acted on at least once, or is a dead letter with the reason. An offset is
//     committed after that. What is asked of a source may be repeated without harm, and within one process it is not.
//   - Nothing is done for a requirement that is over, as far as the log tells at that moment, or older than the action's
//     max_age.
//   - The actions on one user keep the order of the log.
//   - Each action has a consumer group of its own: a source that is down holds up its own actions only.
//   - At most so many users of a tenant are acted on in a minute; what exceeds waits, and a metric says so.
package act

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/outbound"
	"github.com/countersign-io/countersign/internal/stream"
)

// Log is the log as the actions read it. Consume hands in batches until their handler returned nil; ReadRange and Ends are
// as [stream.Cluster] has them.
type Log interface {
	Consume(ctx context.Context, cfg stream.ConsumerConfig, handle func(ctx context.Context, partition int, batch []stream.Record) error) error
	ReadRange(ctx context.Context, topic string, partition int, from, to int64, fn func(stream.Record) error) (next int64, err error)
	Ends(ctx context.Context, topic string) (first, end []int64, err error)
}

var _ Log = (*stream.Cluster)(nil)

// Publisher writes records; nil means that every in-sync replica has them.
type Publisher interface {
	Publish(ctx context.Context, topic string, records []stream.Record) error
}

// Deps are what a Runner works with. Logger and Registerer may be nil.
type Deps struct {
	Log        Log
	Publisher  Publisher
	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// Runner runs the configured actions.
type Runner struct {
	cfg     Config
	actions []*action
	client  *http.Client
}

// New validates cfg and reads the files of credentials of every action that is not off. It starts nothing and asks nobody.
func New(cfg Config, deps Deps) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Log == nil || deps.Publisher == nil {
		return nil, errors.New("act: needs a log and a publisher")
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	client, err := outbound.New(cfg.Outbound)
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of actions: %w", err)
	}
	r := &Runner{cfg: cfg, client: client}
	for i, a := range cfg.Actions {
		if a.Mode == Off || a.Mode == "" {
			continue
		}
		a = a.withDefaults()
		s, err := newSource(&cfg, &a, client)
		if err != nil {
			return nil, fmt.Errorf("actions[%d].%w", i, err)
		}
		r.actions = append(r.actions, newAction(&cfg, a, s, deps, m))
	}
	return r, nil
}

// Run acts until ctx ends, and returns nil then.
func (r *Runner) Run(ctx context.Context) error {
	defer r.client.CloseIdleConnections()
	group, inner := errgroup.WithContext(ctx)
	for _, a := range r.actions {
		group.Go(func() error { return a.run(inner) })
	}
	if len(r.actions) == 0 {
		<-ctx.Done()
	}
	return group.Wait()
}

func (a *action) run(ctx context.Context) error {
	err := a.deps.Log.Consume(ctx, stream.ConsumerConfig{
		Group: a.limits.Group + "." + a.cfg.Name, Topic: events.TopicRevocations, Compacted: true,
		SessionTimeout: a.limits.SessionTimeout, HeartbeatInterval: min(3*time.Second, a.limits.SessionTimeout/5),
		// Small, so that little is asked for again after a partition has moved.
		MaxRecords: 64, MaxWait: -1,
		Report: func(partition int, err error) {
			a.metrics.troubles.WithLabelValues(a.cfg.Name).Inc()
			a.log.Debug("trying again", zap.Int("partition", partition), zap.Error(err))
		},
	}, a.take)
	if err != nil {
		return fmt.Errorf("consuming for action %s: %w", a.cfg.Name, err)
	}
	return nil
}

// CheckResult is what a dry run found out about one action.
type CheckResult struct {
	Action, Kind, Mode string
	// Note is what could not be seen. Err is what is missing.
	Note string
	Err  error
}

// Check asks the source of every configured action, those that are off too, for an access token and for something that may
// be read, and changes nothing there.
func Check(ctx context.Context, cfg Config) ([]CheckResult, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	client, err := outbound.New(cfg.Outbound)
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	defer client.CloseIdleConnections()
	var results []CheckResult
	for i := range cfg.Actions {
		a := &cfg.Actions[i]
		result := CheckResult{Action: a.Name, Kind: a.Kind, Mode: a.Mode}
		s, err := newSource(&cfg, a, client)
		if err == nil {
			result.Note, err = s.check(ctx)
		}
		result.Err = err
		results = append(results, result)
	}
	return results, nil
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
