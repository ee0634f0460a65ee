package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/archiver"
	"github.com/countersign-io/countersign/internal/embedded/engine"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/stream"
)

// Archive measures the archiver from the log into the embedded engine, from its start to the last row durable, beside
// the same rows inserted by the same client without log, decoding or offsets.
func Archive(ctx context.Context, o Options, n, users int) (figures []Figure, err error) {
	cluster, address, stop, err := startBroker(ctx, filepath.Join(o.Dir, "broker"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := fillEvents(ctx, cluster, o, n, users); err != nil {
		return nil, err
	}
	eng, err := engine.Start(ctx, engineConfig(filepath.Join(o.Dir, "engine")), engine.Deps{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()

	o.Progress("inserting the same rows bare")
	bare, err := bareInsert(ctx, cluster, eng, min(n, 400_000))
	if err != nil {
		return nil, err
	}
	o.Progress("archiving %d events from the log", n)
	store, err := openHistory(eng, "countersign")
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if _, err := store.Migrate(ctx); err != nil {
		return nil, err
	}
	// A cluster of its own: its consumer group must not wait for ours.
	cfg := stream.DefaultConfig()
	cfg.Brokers = []string{address}
	own, err := stream.Connect(cfg, nil)
	if err != nil {
		return nil, err
	}
	defer own.Close()
	arch, err := archiver.New(archiver.DefaultConfig(), archiver.Deps{
		Consumer: own, Publisher: own.Publisher(stream.PublisherConfig{}), Store: store, Logger: zap.NewNop(), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- arch.Run(running) }()
	var rows uint64
	for rows < uint64(n) {
		select {
		case err := <-done:
			cancel()
			return nil, fmt.Errorf("the archiver stopped early: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
		if rows, err = store.Rows(ctx, history.TableEvents); err != nil {
			cancel()
			return nil, errors.Join(err, <-done)
		}
	}
	took := time.Since(began)
	cancel()
	if err := <-done; err != nil {
		return nil, err
	}
	return []Figure{figure("archive.rows_per_second", rate(n, took), "rows/s", bare)}, nil
}

func engineConfig(dir string) engine.Config {
	cfg := engine.DefaultConfig()
	cfg.DataDir = dir
	return cfg
}

func openHistory(eng *engine.Engine, database string) (*history.Store, error) {
	cfg := history.DefaultConfig()
	cfg.URLs, cfg.User, cfg.Password, cfg.Database = []string{"http://" + eng.Addr()}, engine.User, eng.Key(), database
	return history.Open(cfg)
}

// bareInsert fills blocks beforehand and measures only their way into a table of the same form.
func bareInsert(ctx context.Context, cluster *stream.Cluster, eng *engine.Engine, n int) (perSecond float64, err error) {
	store, err := openHistory(eng, "bare")
	if err != nil {
		return 0, err
	}
	defer store.Close()
	if _, err := store.Migrate(ctx); err != nil {
		return 0, err
	}
	var blocks []*history.Events
	block := history.NewEvents()
	read, enough := 0, errors.New("enough")
	err = cluster.Table(nil).Load(ctx, events.TopicEvents, func(rec stream.Record) error {
		if read == n {
			return enough
		}
		read++
		e, err := events.Decode(rec.Value)
		if err != nil {
			return err
		}
		if err := block.Append(e, rec.Value, rec.Time); err != nil {
			return err
		}
		if block.Len() == 100_000 {
			blocks = append(blocks, block)
			block = history.NewEvents()
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return 0, err
	}
	blocks = append(blocks, block)
	began := time.Now()
	for _, b := range blocks {
		if err := store.Insert(ctx, &b.Block); err != nil {
			return 0, err
		}
	}
	return rate(n, time.Since(began)), store.Drop(ctx)
}
