// Package enginetest gives tests an embedded ClickHouse engine.
//
// A test package that uses it calls Main from its TestMain, because the engine
// process is the test binary run again:
//
//	func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }
package enginetest

import (
	"os"
	"sync"
	"testing"

	"github.com/countersign-io/countersign/internal/embedded/engine"
)

var shared struct {
	once   sync.Once
	engine *engine.Engine
	dir    string
	err    error
}

// Main runs the tests, or the engine process when the binary was started as
// one. It stops the engine of Shared.
func Main(m *testing.M) int {
	if len(os.Args) == 2 && os.Args[1] == engine.ChildVerb {
		return engine.ChildMain()
	}
	code := m.Run()
	if shared.engine != nil {
		shared.engine.Close()
	}
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	return code
}

// Require skips the test when the engine cannot run here, and fails it when
// CI_REQUIRE_SERVICES is 1.
func Require(tb testing.TB) {
	tb.Helper()
	if _, err := engine.FindLibrary(""); err != nil {
		if os.Getenv("CI_REQUIRE_SERVICES") == "1" {
			tb.Fatal(err)
		}
		tb.Skip(err)
	}
}

// Shared is one engine for all tests of the process. Use a database of its own
// in each test.
func Shared(tb testing.TB) *engine.Engine {
	tb.Helper()
	Require(tb)
	shared.once.Do(func() {
		shared.dir, shared.err = os.MkdirTemp("", "engine") //nolint:usetesting // shared by all tests of a package
		if shared.err == nil {
			cfg := engine.DefaultConfig()
			cfg.DataDir = shared.dir
			shared.engine, shared.err = engine.Start(tb.Context(), cfg, engine.Deps{})
		}
	})
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.engine
}

// Start is an engine on dir for this test alone, closed at its end.
func Start(tb testing.TB, dir string) *engine.Engine {
	tb.Helper()
	Require(tb)
	cfg := engine.DefaultConfig()
	cfg.DataDir = dir
	return StartConfig(tb, cfg, engine.Deps{})
}

// StartConfig is Start with a configuration and dependencies of one's own.
func StartConfig(tb testing.TB, cfg engine.Config, deps engine.Deps) *engine.Engine {
	tb.Helper()
	Require(tb)
	e, err := engine.Start(tb.Context(), cfg, deps)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
	})
	return e
}
