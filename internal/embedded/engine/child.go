//go:build linux && (amd64 || arm64)

package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	listenerFD = 3 // inherited from the parent
	statusFD   = 4
	// lockWait covers an engine whose parent died and that is still finishing.
	lockWait = 5 * time.Second
)

// ChildMain is the engine process: the binary runs it, and exits with its
// result, when its first argument is ChildVerb. It takes its orders from the
// parent over inherited descriptors and ends when the parent does.
func ChildMain() int {
	// A Ctrl-C reaches every process of the terminal and a service manager may
	// signal them all, but the parent still has rows to write here. Its pipe is
	// the only order to stop. SIGPIPE: standard error may end before we do.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)

	orders := bufio.NewReader(os.Stdin)
	line, err := orders.ReadSlice('\n')
	var b boot
	if err == nil {
		err = json.Unmarshal(line, &b)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s is run by countersign itself and is of no use on the command line\n", ChildVerb)
		return 2
	}
	stop, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, orders) //nolint:errcheck // its end is all that matters
		cancel()
	}()

	status := os.NewFile(statusFD, "status")
	ready := func(s readyStatus) {
		json.NewEncoder(status).Encode(s) //nolint:errcheck // a parent that has gone is noticed by its pipe
		status.Close()
	}
	if err := serveChild(stop, &b, ready); err != nil {
		ready(readyStatus{Error: err.Error()})
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveChild(stop context.Context, b *boot, ready func(readyStatus)) error {
	file := os.NewFile(listenerFD, "listener")
	listener, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("taking over the listener: %w", err)
	}
	file.Close()
	if dataDirLock, err = lockDataDir(stop, b.DataDir); err != nil {
		return err
	}
	if err := loadLibrary(b.Library); err != nil {
		return err
	}
	anchor, version, err := openEngine(b)
	if err != nil {
		return err
	}
	if stop.Err() != nil {
		return errors.New("the parent process ended")
	}

	srv := &http.Server{
		Handler:           newServer(b),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    1 << 20, // an insert of many columns has a long URL
		ErrorLog:          log.New(os.Stderr, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	ready(readyStatus{Version: version})

	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-stop.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), b.DrainTimeout)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil { //nolint:contextcheck // the drain outlives what ended the service
		// A statement still runs and its connection cannot be closed under it.
		// Leaving at once is what a kill would do, and that loses nothing
		// acknowledged.
		srv.Close()
		return fmt.Errorf("finishing the statements that run: %w", err)
	}
	// The last connection to close takes the engine down in order.
	anchor.close()
	shutdownLibrary() //nolint:errcheck // the process ends
	return nil
}

// openEngine opens the connection that is held for the life of the process,
// because closing the last one shuts the engine down.
func openEngine(b *boot) (anchor *connection, version string, err error) {
	deadline := time.Now().Add(lockWait)
	for {
		anchor, err = connect(b.arguments())
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return nil, "", fmt.Errorf("opening %s: %w; it may be damaged, not writable, or written by a newer engine", b.DataDir, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	_, err = anchor.query("SELECT version()", "TSVRaw", nil, func(data []byte) error {
		version = strings.TrimSpace(string(data))
		return nil
	})
	return anchor, version, err
}

// dataDirLock is held until the process is gone, not until it is done: threads
// of the engine may live to the end. The variable keeps the file from being
// collected, and so closed.
var dataDirLock *os.File //nolint:unused // held, not read

// lockDataDir makes sure that one engine at a time uses the directory. The
// lock ends with the process, however it ends.
func lockDataDir(ctx context.Context, dir string) (*os.File, error) {
	path := filepath.Join(dir, "engine.lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	for deadline := time.Now().Add(lockWait); ; {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			file.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			holder := make([]byte, 20)
			n, _ := file.ReadAt(holder, 0)
			file.Close()
			return nil, fmt.Errorf("the data directory %s is in use by another engine (process %s): stop that one or choose another directory",
				dir, strings.TrimSpace(string(holder[:n])))
		}
		time.Sleep(50 * time.Millisecond)
	}
	file.Truncate(0) //nolint:errcheck // the next write tells
	fmt.Fprintf(file, "%d\n", os.Getpid())
	return file, nil
}
