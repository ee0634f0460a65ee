// Package archiver copies the log into the history: events, findings, revocations, receipts, dead
// letters, marks and the audit trail.
//
// What it guarantees: an offset is committed only after its row is durable in ClickHouse, so a crash of archiver or
// ClickHouse at any moment loses nothing; what is then written again replaces itself, because a row is named by what it
// says. A record that cannot be kept becomes a dead letter, and the rest goes on. While ClickHouse is away the archiver
// waits with what it holds, which is bounded, and reads on when it is back.
//
// The records of several partitions share an insert, because ClickHouse wants few large ones: see gatherer.
package archiver

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/stream"
)

// Consumer reads topics in a group. handle returns nil when the batch is done with for good; otherwise the same batch
// is handed in again. Its context ends when the partition is taken away.
type Consumer interface {
	Consume(ctx context.Context, cfg stream.ConsumerConfig, handle func(ctx context.Context, partition int, batch []stream.Record) error) error
}

// Publisher writes records; nil means that every in-sync replica has them.
type Publisher interface {
	Publish(ctx context.Context, topic string, records []stream.Record) error
}

// Store keeps rows. Insert returns nil when they are durable, a [history.RejectedError] when the rows themselves are at
// fault, and any other error when the same call should be made again. Migrate may be repeated.
type Store interface {
	Migrate(ctx context.Context) ([]string, error)
	Insert(ctx context.Context, blocks ...*history.Block) error
	// Erase has deleted what is there of erased persons, and counts what is left; see [history.Store.Erase].
	Erase(ctx context.Context) (remaining uint64, err error)
}

var _ Store = (*history.Store)(nil)

// Deps are what an Archiver works with. Logger and Registerer may be nil.
type Deps struct {
	Consumer   Consumer
	Publisher  Publisher
	Store      Store
	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// Archiver copies the log into the history.
type Archiver struct {
	cfg      Config
	deps     Deps
	log      *zap.Logger
	metrics  *metrics
	migrated chan struct{}
	erased   chan struct{} // has one element when there is someone new to erase
	failing  atomic.Bool
}

// New validates cfg. It starts nothing.
func New(cfg Config, deps Deps) (*Archiver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Consumer == nil || deps.Publisher == nil || deps.Store == nil {
		return nil, errors.New("archiver: needs a consumer, a publisher and a store")
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering the archiver's metrics: %w", err)
	}
	return &Archiver{cfg: cfg, deps: deps, log: deps.Logger, metrics: m, migrated: make(chan struct{}), erased: make(chan struct{}, 1)}, nil
}

// Ready waits until the history has its tables, which is when reading starts.
func (a *Archiver) Ready(ctx context.Context) error {
	select {
	case <-a.migrated:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the history's tables: %w", ctx.Err())
	}
}

// Run brings the history's tables up to date and copies until ctx ends. It returns an error only when it can never go
// on: the database is not ours, or a configuration is wrong.
func (a *Archiver) Run(ctx context.Context) error {
	if err := a.migrate(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	close(a.migrated)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		a.sweep(ctx)
		return nil
	})
	for _, s := range sinks {
		g := newGatherer(a, s.table)
		group.Go(func() error {
			g.run(ctx)
			return nil
		})
		group.Go(func() error { return a.copy(ctx, s, g) })
	}
	return group.Wait()
}

func (a *Archiver) migrate(ctx context.Context) error {
	return a.untilDone(ctx, func() error {
		done, err := a.deps.Store.Migrate(ctx)
		if len(done) > 0 {
			a.log.Info("history migrated", zap.Strings("steps", done))
		}
		return err
	}, func(err error) bool { return errors.Is(err, history.ErrMigrationChanged) })
}

// untilDone calls do until it succeeds, ctx ends, or its error is final. Only a final error is returned.
func (a *Archiver) untilDone(ctx context.Context, do func() error, final func(error) bool) error {
	for pause := a.cfg.RetryMin; ; pause = min(2*pause, a.cfg.RetryMax) {
		err := do()
		switch {
		case err == nil:
			if a.failing.CompareAndSwap(true, false) {
				a.log.Info("history is back")
			}
			return nil
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end of ctx is no error
		case final(err):
			return err
		}
		// Once for each outage: the retries are counted.
		if a.failing.CompareAndSwap(false, true) {
			a.log.Warn("history does not take anything, retrying", zap.Error(err))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// copy reads one topic into its table.
func (a *Archiver) copy(ctx context.Context, s *sink, g *gatherer) error {
	cfg := stream.ConsumerConfig{
		Group: a.cfg.Group + "." + string(s.table), Topic: s.topic, Compacted: s.compacted,
		SessionTimeout: a.cfg.SessionTimeout, HeartbeatInterval: min(3*time.Second, a.cfg.SessionTimeout/5),
		MaxRecords: a.cfg.MaxRows, MaxBytes: a.cfg.PartitionBytes,
		// The gatherer does the waiting, over all partitions together.
		MaxWait: -1,
		Report: func(partition int, err error) {
			a.metrics.troubles.WithLabelValues(string(s.table)).Inc()
			a.log.Debug("reading the log again", zap.String("topic", s.topic), zap.Int("partition", partition), zap.Error(err))
		},
	}
	err := a.deps.Consumer.Consume(ctx, cfg, func(ctx context.Context, _ int, batch []stream.Record) error {
		return a.take(ctx, s, g, batch)
	})
	if err != nil {
		return fmt.Errorf("consuming %s: %w", s.topic, err)
	}
	return nil
}

// take makes the records of one partition durable: rows in the history, dead letters on their topic.
func (a *Archiver) take(ctx context.Context, s *sink, g *gatherer, batch []stream.Record) error {
	rows := s.get()
	dead := letters{a: a, sink: s}
	now := time.Now()
	var newest time.Time
	var erasures []int
	for i := range batch {
		r := &batch[i]
		if r.Value == nil {
			a.metrics.tombstones.WithLabelValues(string(s.table)).Inc()
			continue
		}
		logged := loggedAt(r, now)
		if err := rows.add(r, logged); errors.Is(err, errPassed) {
			continue
		} else if errors.Is(err, errErasure) {
			erasures = append(erasures, i)
			continue
		} else if err != nil {
			dead.add(r, reasonUnreadable, err)
			continue
		}
		newest = logged
		rows.records = append(rows.records, i)
	}
	if err := dead.send(ctx); err != nil {
		s.put(rows)
		return err
	}
	if err := a.note(ctx, s, batch, erasures); err != nil {
		s.put(rows)
		return err
	}
	if rows.block.Len() == 0 {
		s.put(rows)
		return nil
	}
	err := g.insert(ctx, &portion{ctx: ctx, block: rows.block, newest: newest, done: make(chan error, 1)})
	if ctx.Err() != nil {
		return ctx.Err() // an insert may still be reading the rows: they are left to the collector
	}
	defer s.put(rows)
	if _, ok := errors.AsType[*history.RejectedError](err); ok {
		return a.salvage(ctx, s, rows, batch)
	}
	return err
}

// loggedAt is when a record entered the log. A time that cannot be, which is the producer's to set, becomes now: it
// decides how long the row is kept.
func loggedAt(r *stream.Record, now time.Time) time.Time {
	if r.Time.Year() < 2000 || r.Time.After(now.Add(24*time.Hour)) {
		return now
	}
	return r.Time
}
