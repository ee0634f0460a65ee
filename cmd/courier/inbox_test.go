package main

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// inbox is a push receiver over TLS. What a stream's address gets is kept until it is asked for.
type inbox struct {
	url, ca string

	mu      sync.Mutex
	streams map[string]*feed // by path
	changed chan struct{}    // closed and replaced at each arrival
}

type feed struct {
	id, secret string
	sets       []string
	faults     []string
	// answer, when set, says what to answer to a SET; it is kept when that is 202.
	answer func(compact string) int
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	b := &inbox{streams: make(map[string]*feed), changed: make(chan struct{})}
	server := httptest.NewTLSServer(b)
	t.Cleanup(server.Close)
	b.url, b.ca = server.URL, filepath.Join(t.TempDir(), "inbox.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(b.ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for path, f := range b.streams {
			for _, fault := range f.faults {
				t.Errorf("push to %s: %s", path, fault)
			}
		}
	})
	return b
}

// expect says which Authorization a stream's pushes must have; "" means none at all.
func (b *inbox) expect(path, secret, stream string) *feed {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.at(path)
	f.id, f.secret = stream, secret
	return f
}

func (b *inbox) at(path string) *feed {
	f := b.streams[path]
	if f == nil {
		f = &feed{}
		b.streams[path] = f
	}
	return f
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	b.mu.Lock()
	f := b.at(r.URL.Path)
	answer := f.answer
	b.mu.Unlock()
	status := http.StatusAccepted
	if answer != nil {
		status = answer(string(body))
	}
	b.mu.Lock()
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/secevent+jwt" || !strings.Contains(r.Header.Get("Accept"), "application/json") {
		f.faults = append(f.faults, "method, type or accepted type: "+r.Method+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("Accept"))
	}
	if values := r.Header.Values("Authorization"); f.id != "" && strings.Join(values, ",") != f.secret {
		f.faults = append(f.faults, "authorization: "+strings.Join(values, ","))
	}
	if status == http.StatusAccepted {
		f.sets = append(f.sets, string(body))
		close(b.changed)
		b.changed = make(chan struct{})
	}
	b.mu.Unlock()
	w.WriteHeader(status)
}

// next waits for the next SET of a stream.
func (b *inbox) next(stream string, within time.Duration) (compact string, ok bool) {
	timer := time.NewTimer(max(0, within))
	defer timer.Stop()
	for {
		b.mu.Lock()
		for _, f := range b.streams {
			if f.id == stream && len(f.sets) > 0 {
				compact, f.sets = f.sets[0], f.sets[1:]
				b.mu.Unlock()
				return compact, true
			}
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return "", false
		}
	}
}
