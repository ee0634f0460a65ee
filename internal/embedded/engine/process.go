package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// stopGrace is for closing the data after the statements have finished.
	stopGrace = 10 * time.Second
	// startTimeout covers the wait for a lock and a cold disk.
	startTimeout = time.Minute
	minLife      = 10 * time.Second
	firstPause   = 100 * time.Millisecond
	maxPause     = 5 * time.Second
)

// boot is the first line on the child's standard input. The key travels this
// way because arguments and environment can be read by others.
type boot struct {
	Key                  string
	Library              string
	DataDir              string
	MaxThreads           int
	MaxStatements        int
	MaxServerMemoryBytes uint64
	MaxQueryMemoryBytes  uint64
	DrainTimeout         time.Duration
}

// arguments are those of every engine connection. The server-level ones count
// for the first alone, but the path must be the same for all.
func (b *boot) arguments() []string {
	cache := b.MaxServerMemoryBytes / 8
	return []string{
		"--path=" + b.DataDir,
		fmt.Sprintf("--max_server_memory_usage=%d", b.MaxServerMemoryBytes),
		fmt.Sprintf("--mark_cache_size=%d", cache),
		fmt.Sprintf("--primary_index_cache_size=%d", cache),
		fmt.Sprintf("--index_mark_cache_size=%d", cache),
		"--background_pool_size=2",
		fmt.Sprintf("--max_thread_pool_size=%d", 200+b.MaxStatements*b.MaxThreads*2),

		fmt.Sprintf("--max_threads=%d", b.MaxThreads),
		fmt.Sprintf("--max_memory_usage=%d", b.MaxQueryMemoryBytes),
		// The command line tool's defaults that differ from a server's.
		"--implicit_select=0",
		"--allow_introspection_functions=0",
		// Answered means written; and tokens work.
		"--async_insert=0",
	}
}

// readyStatus is the child's one line on its status pipe.
type readyStatus struct {
	Version string `json:",omitempty"`
	Error   string `json:",omitempty"`
}

// A process is one life of the engine process.
type process struct {
	cmd     *exec.Cmd
	orders  io.Closer // its standard input
	output  *tail
	started time.Time
	version string
	done    chan struct{}
	waitErr error // read after done
}

// spawn starts the child and waits until it is ready or ctx ends.
func (e *Engine) spawn(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	listener, err := e.listener.File()
	if err != nil {
		return nil, fmt.Errorf("sharing the listener: %w", err)
	}
	defer listener.Close()
	status, statusOut, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("opening the status pipe: %w", err)
	}
	defer status.Close()

	p := &process{output: &tail{}, started: time.Now(), done: make(chan struct{})}
	// The link names the running file even when it was replaced on disk.
	p.cmd = exec.Command(selfExecutable(), ChildVerb)
	p.cmd.Args[0] = os.Args[0]
	p.cmd.Env = append(os.Environ(), "TZ=UTC")
	p.cmd.ExtraFiles = []*os.File{listener, statusOut} // 3 and 4
	p.cmd.Stderr = p.output
	p.cmd.WaitDelay = time.Second
	orders, err := p.cmd.StdinPipe()
	if err != nil {
		statusOut.Close()
		return nil, fmt.Errorf("opening the order pipe: %w", err)
	}
	p.orders = orders
	err = p.cmd.Start()
	statusOut.Close()
	if err != nil {
		orders.Close()
		return nil, fmt.Errorf("running %s: %w", ChildVerb, err)
	}
	go func() {
		p.waitErr = p.cmd.Wait()
		close(p.done)
	}()

	ready := make(chan error, 1)
	go func() { ready <- p.handshake(&e.boot, orders, status) }()
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		// Handing the descriptor over may have left the shared socket blocking.
		err = setNonblock(e.listener)
	}
	if err != nil {
		p.cmd.Process.Kill()
		<-p.done
		return nil, err
	}
	return p, nil
}

// handshake sends the boot line and reads the answer.
func (p *process) handshake(b *boot, orders io.Writer, status io.Reader) error {
	line, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encoding the boot line: %w", err)
	}
	// A child that is gone already is reported by what it left behind.
	_, writeErr := orders.Write(append(line, '\n'))
	var answer readyStatus
	err = json.NewDecoder(io.LimitReader(status, 64<<10)).Decode(&answer)
	switch {
	case err != nil:
		<-p.done
		return fmt.Errorf("the engine process ended before it was ready (%w): %s", errors.Join(p.waitErr, writeErr), p.output)
	case answer.Error != "":
		return errors.New(answer.Error)
	}
	p.version = answer.Version
	return nil
}

// stop orders the process to end and kills it when it has not after limit.
func (p *process) stop(limit time.Duration) error {
	p.orders.Close()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		if p.waitErr != nil {
			return fmt.Errorf("stopping the engine process: %w: %s", p.waitErr, p.output)
		}
		return nil
	case <-timer.C:
		p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("stopping the engine process: killed, because it had not ended after %s", limit)
	}
}

// A tail keeps the end of what a process wrote to standard error.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if excess := len(t.text) - tailBytes; excess > 0 {
		t.text = append(t.text[:0], t.text[excess:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := strings.TrimSpace(string(t.text)); text != "" {
		return text
	}
	return "it left no message"
}
