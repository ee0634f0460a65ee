package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/countersign-io/countersign/internal/embedded/engine"
	"github.com/countersign-io/countersign/internal/history"
)

// openHistory opens the history of the configuration or, when dataDir is named, that of a `countersign up` which does not
// run: then the engine runs until the history is closed.
func openHistory(ctx context.Context, cfg history.Config, dataDir string) (store *history.Store, closeAll func() error, err error) {
	stop := func() error { return nil }
	if dataDir != "" {
		conf := engine.DefaultConfig()
		conf.DataDir = filepath.Join(dataDir, "clickhouse")
		if _, err := os.Stat(conf.DataDir); err != nil {
			return nil, nil, fmt.Errorf("--data: is no directory of `countersign up`: %w", err)
		}
		e, err := engine.Start(ctx, conf, engine.Deps{})
		if err != nil {
			return nil, nil, fmt.Errorf("%w (--data is for when `countersign up` does not run)", err)
		}
		stop = e.Close
		cfg.URLs, cfg.User, cfg.Password, cfg.PasswordFile = []string{"http://" + e.Addr()}, engine.User, e.Key(), ""
	}
	if store, err = history.Open(cfg); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	closeAll = func() error { return errors.Join(store.Close(), stop()) }
	if err := store.Ready(ctx); err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	return store, closeAll, nil
}
