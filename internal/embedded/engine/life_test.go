//go:build linux

package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/internal/embedded/engine"
	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
)

// parentEnv makes the test binary a process that starts an engine on the
// directory named, prints the engine's pid, and waits to be killed.
const parentEnv = "ENGINE_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" && len(os.Args) == 1 {
		cfg := engine.DefaultConfig()
		cfg.DataDir = dir
		e, err := engine.Start(context.Background(), cfg, engine.Deps{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(e.PID())
		select {}
	}
	os.Exit(enginetest.Main(m))
}

// waitUntil polls condition, the one place of this package that does.
func waitUntil(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still not after a minute: %s", what)
		}
	}
}

func alive(pid int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(state), ") ")
	return !strings.HasPrefix(rest, "Z") // a zombie waits for its new parent only
}

func open(t testing.TB, e *engine.Engine) clickhouse.Conn {
	return service{options: func() *clickhouse.Options { return parseDSN(t, e.DSN()) }}.conn(t)
}

func TestEngineKeepsDataAcrossRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	enginetest.Require(t)
	cfg := engine.DefaultConfig()
	cfg.DataDir = dir
	for round := range uint64(3) {
		e, err := engine.Start(t.Context(), cfg, engine.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		conn := open(t, e)
		mustExec(t, conn, "CREATE DATABASE IF NOT EXISTS kept")
		mustExec(t, conn, "CREATE TABLE IF NOT EXISTS kept.t (id UInt64) ENGINE = MergeTree ORDER BY id")
		mustExec(t, conn, "CREATE TABLE IF NOT EXISTS default.t (id UInt64) ENGINE = MergeTree ORDER BY id")
		for _, table := range []string{"kept.t", "default.t"} {
			if n := scanOne[uint64](t, conn, "SELECT count() FROM "+table); n != round {
				t.Errorf("round %d: %s has %d rows", round, table, n)
			}
			if err := sendIDs(t, conn, table, round); err != nil {
				t.Fatal(err)
			}
		}
		pid := e.PID()
		for range 2 {
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if alive(pid) || e.PID() != 0 {
			t.Errorf("the engine process %d outlived Close", pid)
		}
		if _, err := net.Dial("tcp", e.Addr()); err == nil {
			t.Error("the address still answers after Close")
		}
	}
}

// Rows that were acknowledged are there after kill -9 in the middle of
// inserts, although every unknown outcome was tried again. The tries must not
// be deduplicated: the engine notes an insert's token before it commits the
// part, so a try after a kill between the two would be called a repeat of
// rows that are not there. Repeats are for the table's keys to fold.
func TestEngineKill9LosesNoAcknowledgedRow(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	cfg := engine.DefaultConfig()
	cfg.DataDir = t.TempDir()
	e := enginetest.StartConfig(t, cfg, engine.Deps{Registerer: registry})
	conn := open(t, e)
	mustExec(t, conn, "CREATE TABLE default.k (id UInt64) ENGINE = ReplacingMergeTree ORDER BY id")
	addr, dsn := e.Addr(), e.DSN()

	const kills, writers, rowsPerBatch = 6, 3, 500
	acknowledged := make(chan struct{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var batches, retries atomic.Uint64
	for w := range uint64(writers) {
		wg.Go(func() {
			conn := open(t, e)
			for batch := uint64(0); ; batch++ {
				ids := make([]uint64, rowsPerBatch)
				for i := range ids {
					ids[i] = w<<40 | batch*rowsPerBatch + uint64(i)
				}
				ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{
					"async_insert": 0, "insert_deduplicate": 0,
				}), clickhouse.WithColumnNamesAndTypes([]clickhouse.ColumnNameAndType{{Name: "id", Type: "UInt64"}}))
				waitUntil(t, "the engine takes an insert", func() bool {
					b, err := conn.PrepareBatch(ctx, "INSERT INTO default.k (id)")
					if err == nil {
						defer b.Close()
						err = errors.Join(b.Column(0).Append(ids), b.Send())
					}
					if err != nil {
						retries.Add(1)
					}
					return err == nil
				})
				batches.Add(1)
				select {
				case acknowledged <- struct{}{}:
				case <-stop:
					return
				}
			}
		})
	}
	for range kills {
		for range 10 {
			<-acknowledged
		}
		pid := e.PID()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		waitUntil(t, "the engine is another process", func() bool { p := e.PID(); return p != 0 && p != pid })
	}
	close(stop)
	wg.Wait()

	if e.Addr() != addr || e.DSN() != dsn {
		t.Error("address or key changed")
	}
	var rows, ids uint64
	if err := open(t, e).QueryRow(t.Context(), "SELECT count(), uniqExact(id) FROM default.k FINAL").Scan(&rows, &ids); err != nil {
		t.Fatal(err)
	}
	if want := batches.Load() * rowsPerBatch; rows != want || ids != want {
		t.Errorf("%d rows with %d ids, want %d acknowledged ones once each", rows, ids, want)
	}
	t.Logf("%d batches over %d kills, %d tries again", batches.Load(), kills, retries.Load())
	if got := gathered(t, registry); got["countersign_engine_restarts_total"] != kills || got["countersign_engine_up"] != 1 || got["countersign_engine_resident_bytes"] < 50<<20 {
		t.Errorf("metrics: %v", got)
	}
}

func gathered(t testing.TB, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		values[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	return values
}

func TestEngineDiesWithItsParent(t *testing.T) {
	t.Parallel()
	enginetest.Require(t)
	dir := t.TempDir()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"="+dir)
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer parent.Wait() //nolint:errcheck // killed on purpose
	var pid int
	if _, err := fmt.Fscan(bufio.NewReader(out), &pid); err != nil || !alive(pid) {
		t.Fatalf("no engine process: pid %d, %v", pid, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The next engine waits for the orphan to let go of the directory.
	e := enginetest.Start(t, dir)
	waitUntil(t, "the orphan is gone", func() bool { return !alive(pid) })
	mustExec(t, open(t, e), "SELECT 1")
}

func TestEngineSecondOnOneDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := enginetest.Start(t, dir)
	cfg := engine.DefaultConfig()
	cfg.DataDir = dir
	_, err := engine.Start(t.Context(), cfg, engine.Deps{})
	if err == nil || !strings.Contains(err.Error(), "in use by another engine") || !strings.Contains(err.Error(), fmt.Sprint(first.PID())) {
		t.Errorf("got %v, want an error that names the other process", err)
	}
	mustExec(t, open(t, first), "SELECT 1")
}

// Signals that reach the whole terminal or service do not stop the engine:
// its parent still has rows to write.
func TestEngineLeavesSignalsToItsParent(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, t.TempDir())
	pid := e.PID()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
	mustExec(t, open(t, e), "SELECT 1")
	if e.PID() != pid {
		t.Error("the engine process changed")
	}
}

func TestEngineCloseLetsStatementsFinish(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		drain    time.Duration
		finishes bool
	}{"in time": {20 * time.Second, true}, "too slow": {time.Millisecond, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			enginetest.Require(t)
			cfg := engine.DefaultConfig()
			cfg.DataDir, cfg.DrainTimeout = t.TempDir(), c.drain
			e, err := engine.Start(t.Context(), cfg, engine.Deps{})
			if err != nil {
				t.Fatal(err)
			}
			conn := open(t, e)
			mustExec(t, conn, "CREATE TABLE default.slow (id UInt64) ENGINE = MergeTree ORDER BY id")
			done := make(chan error, 1)
			go func() {
				done <- conn.Exec(context.Background(), "INSERT INTO default.slow SELECT number + sleepEachRow(0.02) FROM numbers(100) SETTINGS max_block_size = 10")
			}()
			watch := open(t, e)
			waitUntil(t, "the statement runs", func() bool {
				return scanOne[uint64](t, watch, "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO default.slow%'") == 1
			})
			err = e.Close()
			if got := <-done; (got == nil) != c.finishes || (err == nil) != c.finishes {
				t.Errorf("the statement ended with %v and Close with %v", got, err)
			}
		})
	}
}

// While the engine cannot be started clients are refused at once, and when it
// can be again they are served.
func TestEngineRecoversFromFailedRestarts(t *testing.T) {
	t.Parallel()
	enginetest.Require(t)
	library, err := engine.FindLibrary("")
	if err != nil {
		t.Fatal(err)
	}
	cfg := engine.DefaultConfig()
	cfg.DataDir, cfg.Library = t.TempDir(), filepath.Join(t.TempDir(), "lib.so")
	if err := os.Symlink(library, cfg.Library); err != nil {
		t.Fatal(err)
	}
	e := enginetest.StartConfig(t, cfg, engine.Deps{})
	if err := os.Remove(cfg.Library); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(e.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	conn := open(t, e)
	waitUntil(t, "a client is refused", func() bool { return conn.Ping(t.Context()) != nil && e.PID() == 0 })
	if err := os.Symlink(library, cfg.Library); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "a client is served again", func() bool { return conn.Ping(t.Context()) == nil })
}

func TestStartNamesWhatIsWrong(t *testing.T) {
	enginetest.Require(t)
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*engine.Config)
		want   string
	}{
		"no directory":      {func(c *engine.Config) { c.DataDir = "" }, "data_dir: is empty"},
		"directory is file": {func(c *engine.Config) { c.DataDir = text }, "creating data_dir"},
		"no library there":  {func(c *engine.Config) { c.Library = "/nonexistent/lib.so" }, "no such file"},
		"not a library":     {func(c *engine.Config) { c.Library = text }, "loading " + text},
		"all at once": {
			func(c *engine.Config) {
				c.MaxThreads, c.MaxStatements, c.MaxQueryMemoryBytes, c.DrainTimeout = 0, 65, 0, -1
			},
			"max_query_memory_bytes",
		},
	} {
		cfg := engine.DefaultConfig()
		cfg.DataDir = t.TempDir()
		c.change(&cfg)
		_, err := engine.Start(t.Context(), cfg, engine.Deps{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := engine.DefaultConfig()
	cfg.DataDir = t.TempDir()
	if _, err := engine.Start(cancelled, cfg, engine.Deps{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestFindLibrary(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(engine.LibraryEnv, "")
	t.Chdir(dir)
	if _, err := engine.FindLibrary(""); err == nil || !strings.Contains(err.Error(), "make assets") && !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("got %v, want an error that says what to run", err)
	}
	if errors.Is(err, engine.ErrUnsupported) {
		t.Skip(err)
	}
	matches := map[string]string{"explicit": "explicit.so", "env": "env.so"}
	for _, name := range maps.All(matches) {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(engine.LibraryEnv, "env.so")
	got := map[string]string{}
	got["explicit"], _ = engine.FindLibrary("explicit.so")
	got["env"], _ = engine.FindLibrary("")
	want := map[string]string{"explicit": filepath.Join(dir, "explicit.so"), "env": filepath.Join(dir, "env.so")}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	t.Setenv(engine.LibraryEnv, "gone.so")
	if _, err := engine.FindLibrary(""); err == nil || !strings.Contains(err.Error(), engine.LibraryEnv) {
		t.Errorf("got %v, want an error that names the variable", err)
	}
}

func TestChildVerbOnTheCommandLineExplainsItself(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(os.Args[0], engine.ChildVerb).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !bytes.Contains(out, []byte("run by countersign itself")) {
		t.Errorf("got %v and %q", err, out)
	}
}

// An insert of half a gigabyte does not grow the engine by its size.
func TestEngineStreamsInsertsInConstantMemory(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, t.TempDir())
	conn := open(t, e)
	mustExec(t, conn, "CREATE TABLE default.n (id UInt64) ENGINE = Null")
	const rows, blocks = 65536, 1024 // 512 KB each
	block := append([]byte{1, 0x80, 0x80, 0x04, 2, 'i', 'd', 6}, "UInt64"...)
	block = append(block, make([]byte, rows*8)...)
	pipe, in := io.Pipe()
	go func() {
		for range blocks {
			if _, err := in.Write(block); err != nil {
				return
			}
		}
		in.Close()
	}()
	s := service{options: func() *clickhouse.Options { return parseDSN(t, e.DSN()) }}
	res := rawRequest(t, s, "POST", "/?query=INSERT+INTO+default.n+FORMAT+Native", nil, pipe)
	if want := fmt.Sprintf(`{"written_rows":"%d"}`, rows*blocks); res.StatusCode != http.StatusOK || res.Header.Get("X-ClickHouse-Summary") != want {
		text, _ := io.ReadAll(res.Body)
		t.Fatalf("got %s %v %q", res.Status, res.Header, text)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	var kb int
	fmt.Sscan(peak, &kb) //nolint:errcheck // 0 then
	t.Logf("peak resident memory %d MB", kb/1024)
	if kb < 1000 || kb > 600<<10 {
		t.Errorf("peak resident memory is %d KB", kb)
	}
}
