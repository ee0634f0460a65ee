package telemetry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

func TestServerShowsMetricsAndHealth(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var broken atomic.Bool
	broken.Store(true)
	s := NewServer("127.0.0.1:0", Registry(), func(context.Context) error {
		if broken.Load() {
			return errors.New("kafka: no answer")
		}
		return nil
	})
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	addr, err := s.Addr(ctx)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "go_goroutines") {
		t.Errorf("/metrics: %d %.80q", code, body)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, "kafka: no answer") {
		t.Errorf("/readyz while broken: %d %q", code, body)
	}
	broken.Store(false)
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("/readyz: %d", code)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestConfigNamesEveryProblem(t *testing.T) {
	err := Config{LogLevel: "loud", LogFormat: "xml", Listen: "9464"}.Validate()
	for _, want := range []string{"log_level: ", "log_format: ", "listen: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no problem named for %q in %v", want, err)
		}
	}
	if _, err := Logger(DefaultConfig()); err != nil {
		t.Error(err)
	}
}
