// Package telemetry builds the logger and the metrics registry of a process and serves its metrics and health. It is
// the only place that builds a logger.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Config says how a process logs and where it shows its metrics.
type Config struct {
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
	// LogFormat is json or console.
	LogFormat string `yaml:"log_format"`
	// Listen is the address of /metrics, /healthz and /readyz, host:port. Empty serves none. There is no authentication:
	// keep it on loopback or on a network of your own.
	Listen string `yaml:"listen"`
}

// DefaultConfig logs JSON at level info and serves metrics on loopback.
func DefaultConfig() Config {
	return Config{LogLevel: "info", LogFormat: "json", Listen: "127.0.0.1:9464"}
}

// Validate reports every problem.
func (c Config) Validate() error {
	var errs []error
	if _, err := zapcore.ParseLevel(c.LogLevel); err != nil {
		errs = append(errs, fmt.Errorf("log_level: is %q, must be debug, info, warn or error", c.LogLevel))
	}
	if c.LogFormat != "json" && c.LogFormat != "console" {
		errs = append(errs, fmt.Errorf("log_format: is %q, must be json or console", c.LogFormat))
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			errs = append(errs, fmt.Errorf("listen: %q is not host:port: %w", c.Listen, err))
		}
	}
	return errors.Join(errs...)
}

// Logger builds the process's logger, which writes to standard error.
func Logger(c Config) (*zap.Logger, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	level, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("log_level: %w", err)
	}
	conf := zap.NewProductionEncoderConfig()
	conf.TimeKey, conf.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	encoder := zapcore.NewJSONEncoder(conf)
	if c.LogFormat == "console" {
		conf.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		conf.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(conf)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(os.Stderr), level)), nil
}

// Registry returns a registry with the metrics of the Go runtime and of the process.
func Registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Server serves /metrics, /healthz (the process lives) and /readyz (it does its work).
type Server struct {
	listen   string
	gatherer prometheus.Gatherer
	ready    func(context.Context) error
	addr     atomic.Pointer[net.TCPAddr]
	bound    chan struct{}
}

// NewServer returns a server that listens once it runs. ready says whether the process does its work; nil means always.
func NewServer(listen string, g prometheus.Gatherer, ready func(context.Context) error) *Server {
	return &Server{listen: listen, gatherer: g, ready: ready, bound: make(chan struct{})}
}

// Addr waits until the server listens and returns its address.
func (s *Server) Addr(ctx context.Context) (string, error) {
	select {
	case <-s.bound:
		return s.addr.Load().String(), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Handler is the server's routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if s.ready != nil {
			if err := s.ready(ctx); err != nil {
				answer(w, http.StatusServiceUnavailable, err.Error())
				return
			}
		}
		answer(w, http.StatusOK, "ready")
	})
	return mux
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("listening for metrics on %s (telemetry.listen): %w", s.listen, err)
	}
	s.addr.Store(l.Addr().(*net.TCPAddr))
	close(s.bound)
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	return Serve(ctx, server, l)
}

// Serve runs an HTTP server on l until ctx ends, then lets running requests finish for 5 s.
func Serve(ctx context.Context, server *http.Server, l net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving on %s: %w", l.Addr(), err)
	case <-ctx.Done():
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(drain); err != nil {
			return errors.Join(fmt.Errorf("finishing requests on %s: %w", l.Addr(), err), server.Close())
		}
		return nil
	}
}
