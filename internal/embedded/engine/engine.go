// Package engine runs the real ClickHouse engine for single-node use, without
// a server to install: libchdb.so, loaded in a child process that speaks the
// ClickHouse HTTP interface on loopback. clickhouse-go over HTTP is the only
// client; code that uses it cannot tell the engine from a server.
//
// # Processes
//
// Start re-executes the running binary with ChildVerb as its one argument; the
// binary must then call ChildMain and nothing else. The parent keeps the
// listening socket and the key and hands both to each child, so address and
// key stay the same when a child dies and is restarted with backoff: a client
// sees a broken request, retries, and the kernel holds its connection until
// the new child accepts. Orders go over the child's standard input. When that
// pipe closes, because Close was called or the parent died in any way, the
// child finishes the statements that run, closes the data, and exits.
//
// # Guarantees
//
//   - A statement that was answered survives restart and kill -9 of either
//     process, unless it was deduplicated (see below). A power loss is survived by tables with fsync_after_insert and
//     fsync_part_directory set to 1; the engine's default is 0 for both.
//   - Requests are isolated: each runs on its own engine connection, so
//     settings, current database and temporary tables end with it.
//   - A result is whole or an error. An error before the first byte is HTTP
//     500 with X-ClickHouse-Exception-Code; one behind it is the server's
//     __exception__ frame followed by a broken connection.
//   - Inserts stream in constant memory (1 MB pieces). A body that breaks off
//     cancels the insert; as with a server the outcome is then unknown to the
//     client, who tries again. Do not have the engine deduplicate that try: it
//     notes a token before it commits the part, so after a kill between the
//     two the try is dropped as a repeat of rows that are not there. Give it
//     insert_deduplicate=0 and let the table's keys fold repeats (docs/adr/0006).
//   - One engine at a time opens a data directory.
//
// # Limits
//
// Not supported, answered with 501: compressed bodies, external tables,
// sessions, more than one statement in a request. AggregateFunction columns
// cannot be selected as such (use -Merge or finalizeAggregation). Settings
// outside a closed list are refused with code 115. query_id is echoed but not
// known to the engine, so KILL QUERY by it finds nothing; give long statements
// max_execution_time. async_insert defaults to 0, unlike a server's 1. The
// engine runs on Linux x86_64 and arm64 with glibc.
package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// ChildVerb is the hidden argument that makes the binary the engine process.
const ChildVerb = "engine-child"

// User is the name to give beside the key.
const User = "default"

// ErrUnsupported is returned by Start where the engine cannot run.
var ErrUnsupported = errors.New("the embedded ClickHouse engine runs only on Linux x86_64 and arm64 with glibc: use a ClickHouse server here")

// Deps are what an Engine is given. The zero value is silent and unmetered.
type Deps struct {
	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// An Engine is a supervised engine process. It is safe for concurrent use.
type Engine struct {
	cfg      Config
	log      *zap.Logger
	metrics  *metrics
	boot     boot
	listener *net.TCPListener
	version  string

	closing context.Context //nolint:containedctx // it is the engine's own life, not a call's
	close   context.CancelFunc
	done    chan struct{} // closed when the supervisor has ended
	err     error         // of the last stop; read after done

	mu      sync.Mutex
	current *process // nil while there is none
}

// Start brings the engine up on cfg.DataDir and returns when it answers. ctx
// bounds the start alone; the engine lives until Close.
func Start(ctx context.Context, cfg Config, deps Deps) (*Engine, error) {
	if !supported {
		return nil, ErrUnsupported
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	library, err := FindLibrary(cfg.Library)
	if err != nil {
		return nil, err
	}
	dataDir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("resolving data_dir: %w", err)
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("creating data_dir: %w", err)
	}
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listening on loopback: %w", err)
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	e := &Engine{
		cfg:      cfg,
		log:      deps.Logger,
		listener: listener,
		done:     make(chan struct{}),
		boot: boot{
			Key:                  rand.Text(),
			Library:              library,
			DataDir:              dataDir,
			MaxThreads:           cfg.MaxThreads,
			MaxStatements:        cfg.MaxStatements,
			MaxServerMemoryBytes: cfg.MaxServerMemoryBytes,
			MaxQueryMemoryBytes:  cfg.MaxQueryMemoryBytes,
			DrainTimeout:         cfg.DrainTimeout,
		},
	}
	e.closing, e.close = context.WithCancel(context.Background())
	started, err := e.spawn(ctx)
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("starting the embedded ClickHouse engine: %w", err)
	}
	e.version = started.version
	e.current = started
	e.metrics = newMetrics(deps.Registerer, e)
	e.metrics.up.Set(1)
	go e.supervise(started)
	return e, nil
}

// Addr is host:port of the HTTP interface, the same for the Engine's life.
func (e *Engine) Addr() string { return e.listener.Addr().String() }

// Key is the password of User. Treat it as a secret: whoever on this host has
// it can read and write everything.
func (e *Engine) Key() string { return e.boot.Key }

// DSN is address, user and key as a URL for clickhouse.ParseDSN, with database
// "default". It holds the key: never log it.
func (e *Engine) DSN() string {
	u := url.URL{Scheme: "http", User: url.UserPassword(User, e.boot.Key), Host: e.Addr(), Path: "/default"}
	return u.String()
}

// Version is the ClickHouse version of the engine, e.g. "26.7.2.1".
func (e *Engine) Version() string { return e.version }

// PID is the process id of the engine process, 0 while there is none.
func (e *Engine) PID() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil {
		return 0
	}
	return e.current.cmd.Process.Pid
}

// Close lets the statements that run finish, at most Config.DrainTimeout, and
// stops the engine. It is idempotent. An error says that the process had to be
// killed, which loses no statement that was answered.
func (e *Engine) Close() error {
	e.close()
	<-e.done
	return e.err
}

// supervise restarts the process until Close.
func (e *Engine) supervise(p *process) {
	defer close(e.done)
	defer e.listener.Close()
	for {
		select {
		case <-e.closing.Done():
			e.err = p.stop(e.cfg.DrainTimeout + stopGrace)
			e.setCurrent(nil)
			return
		case <-p.done:
		}
		e.setCurrent(nil)
		e.log.Error("engine process ended, restarting it",
			zap.Int("pid", p.cmd.Process.Pid), zap.Error(p.waitErr), zap.String("last_output", p.output.String()))
		if p = e.restart(time.Since(p.started)); p == nil {
			return
		}
		e.setCurrent(p)
		e.metrics.restarts.Inc()
		e.log.Info("engine process restarted", zap.Int("pid", p.cmd.Process.Pid))
	}
}

// restart spawns until it works, nil after Close. One that lived long is
// replaced at once, one that died young after a pause that doubles.
func (e *Engine) restart(lived time.Duration) *process {
	pause := time.Duration(0)
	if lived < minLife {
		pause = firstPause
	}
	for {
		if pause > 0 {
			e.refuse(pause)
		}
		if e.closing.Err() != nil {
			return nil
		}
		p, err := e.spawn(e.closing)
		if err == nil {
			return p
		}
		if e.closing.Err() != nil {
			return nil
		}
		e.log.Error("restarting the engine process", zap.Error(err))
		pause = min(max(pause*2, firstPause), maxPause)
	}
}

// refuse hangs up on clients for the length of a pause: without a child nobody
// would take them from the listener and they would wait for their own timeout.
func (e *Engine) refuse(pause time.Duration) {
	deadline := time.Now().Add(pause)
	release := context.AfterFunc(e.closing, func() { _ = e.listener.SetDeadline(time.Now()) })
	defer release()
	_ = e.listener.SetDeadline(deadline)
	for e.closing.Err() == nil {
		conn, err := e.listener.Accept()
		if err != nil {
			return
		}
		conn.Close()
	}
}

func (e *Engine) setCurrent(p *process) {
	e.mu.Lock()
	e.current = p
	e.mu.Unlock()
	if p == nil {
		e.metrics.up.Set(0)
	} else {
		e.metrics.up.Set(1)
	}
}
