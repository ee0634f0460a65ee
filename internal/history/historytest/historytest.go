// Package historytest gives tests a migrated history of their own: on a real ClickHouse when COUNTERSIGN_CLICKHOUSE
// names one, such as "http://127.0.0.1:8123" or "clickhouse://127.0.0.1:9000", else on the embedded engine. A test
// package that uses it calls enginetest.Main from its TestMain.
package historytest

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/embedded/engine"
	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
	"github.com/countersign-io/countersign/internal/history"
)

// Env names the environment variable with the real server; EnvUser and EnvPassword its credentials.
const (
	Env         = "COUNTERSIGN_CLICKHOUSE"
	EnvUser     = "COUNTERSIGN_CLICKHOUSE_USER"
	EnvPassword = "COUNTERSIGN_CLICKHOUSE_PASSWORD" //nolint:gosec // the name of a variable
)

// Config reaches the ClickHouse under test, with a database name that no other test uses.
func Config(t testing.TB) history.Config {
	t.Helper()
	if url := os.Getenv(Env); url != "" {
		cfg := history.DefaultConfig()
		cfg.URLs = []string{url}
		cfg.Password = os.Getenv(EnvPassword)
		if user := os.Getenv(EnvUser); user != "" {
			cfg.User = user
		}
		cfg.Database = name()
		return cfg
	}
	return For(enginetest.Shared(t))
}

// For reaches an engine, with a database name that no other test uses.
func For(e *engine.Engine) history.Config {
	cfg := history.DefaultConfig()
	cfg.URLs = []string{"http://" + e.Addr()}
	cfg.User, cfg.Password = engine.User, e.Key()
	cfg.Database = name()
	return cfg
}

// Open is a migrated store on a database of its own, which is dropped when the test passes.
func Open(t testing.TB) *history.Store {
	t.Helper()
	return OpenConfig(t, Config(t))
}

// OpenConfig is Open with a configuration of the caller's.
func OpenConfig(t testing.TB, cfg history.Config) *history.Store {
	t.Helper()
	s, err := history.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			// An engine that the test has stopped has nothing to drop.
			_ = s.Drop(ctx)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func name() string { return "test_" + strings.ToLower(rand.Text()[:12]) }
