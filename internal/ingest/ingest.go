package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Deps are what a Server needs from outside. Logger, Registerer and Ready may be nil.
type Deps struct {
	Pipeline *Pipeline
	// Decoders are the formats by name; FormatEvent must be among them.
	Decoders   map[string]Decoder
	Logger     *zap.Logger
	Registerer prometheus.Registerer
	// Ready tells whether the log can be reached; nil means that it always can.
	Ready func(context.Context) error

	// CloudEvents returns a decoder of CloudEvents whose data are what inner decodes; nil takes no CloudEvents.
	CloudEvents func(inner Decoder, attributes func(name string) string) Decoder
	// Challenge answers the question by which a provider makes sure that a hook's address is meant to be one; ok is false
	// for requests that are none. It may be nil.
	Challenge func(r *http.Request) (answer any, ok bool)
	// Receivers serves what is below /v1/ssf/, with authentication of its own; nil is none.
	Receivers http.Handler
	// Recall tells the pipeline the newest ids of the log; it is called after a publish failed whose records may be there.
	// nil is never.
	Recall func(context.Context) error
	// Report is told what became of every request of a source; nil is not.
	Report func(source, format string, result Result, err error)
}

// Server takes records in over HTTP.
type Server struct {
	cfg      Config
	pipeline *Pipeline
	decoders map[string]Decoder
	tokens   []token
	cert     *tls.Certificate
	deps     Deps
	log      *zap.Logger
	metrics  *httpMetrics
	ready    func(context.Context) error
	slots    chan struct{}

	draining   atomic.Bool
	complained atomic.Int64 // when publishing last failed loudly, in Unix nanoseconds
	reachable  reachability
	addr       atomic.Pointer[net.Addr]
	bound      chan struct{}
}

// New validates cfg and reads the files it names. It opens no socket.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Pipeline == nil || deps.Decoders[FormatEvent] == nil {
		return nil, fmt.Errorf("an ingest server needs a pipeline and a decoder for %q", FormatEvent)
	}
	var problems []error
	for i, t := range cfg.Tokens {
		for _, format := range append(slices.Clone(t.Formats), t.format()) {
			if format != anyFormat && format != FormatReceipt && deps.Decoders[format] == nil {
				problems = append(problems, fmt.Errorf("tokens[%d].format: %.40q is unknown, use one of %s", i, format, strings.Join(sortedKeys(deps.Decoders), ", ")))
			}
		}
	}
	tokens, err := loadTokens(cfg.Tokens)
	problems = append(problems, err)
	s := &Server{
		cfg: cfg, deps: deps, pipeline: deps.Pipeline, decoders: deps.Decoders, tokens: tokens, log: deps.Logger, ready: deps.Ready,
		slots: make(chan struct{}, cfg.MaxRequests), bound: make(chan struct{}),
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if cfg.TLS.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(cfg.TLS.CertFile, cfg.TLS.KeyFile)
		if err != nil {
			problems = append(problems, fmt.Errorf("tls.cert_file: %w", err))
		}
		s.cert = &cert
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if s.metrics, err = newHTTPMetrics(deps.Registerer); err != nil {
		return nil, err
	}
	return s, nil
}

// Pipeline is what the server puts events through.
func (s *Server) Pipeline() *Pipeline { return s.pipeline }

// Addr waits until the server listens, and returns where; nil when ctx ends first.
func (s *Server) Addr(ctx context.Context) net.Addr {
	select {
	case <-s.bound:
		return *s.addr.Load()
	case <-ctx.Done():
		return nil
	}
}

// Run serves until ctx ends. Then readiness fails, no new connection is taken, and requests at hand are finished, for as
// long as Config.DrainTimeout allows. It returns nil when all were.
func (s *Server) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.cfg.Listen, err)
	}
	addr := listener.Addr()
	s.addr.Store(&addr)
	close(s.bound)
	if s.cert != nil {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{*s.cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: min(10*time.Second, s.cfg.ReadTimeout),
		ReadTimeout:       s.cfg.ReadTimeout,
		// The answer comes after the body was read and the log has acknowledged it.
		WriteTimeout:   s.cfg.ReadTimeout + 2*s.cfg.PublishTimeout + 10*time.Second,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       zap.NewStdLog(s.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return fmt.Errorf("draining requests: %w", errors.Join(err, server.Close()))
	}
	return nil
}
