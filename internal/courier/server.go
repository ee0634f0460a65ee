package courier

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/telemetry"
)

// server is the courier's HTTP server.
type server struct {
	c       *Courier
	tls     *tls.Config
	handler http.Handler

	mu    sync.Mutex
	bound net.Addr
}

func newServer(c *Courier, receivers http.Handler) (*server, error) {
	s := &server{c: c}
	operators, err := newOperator(c)
	if err != nil {
		return nil, err
	}
	if c.cfg.TLSCertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.cfg.TLSCertFile, c.cfg.TLSKeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls_cert_file: %w", err)
		}
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	}
	mux := http.NewServeMux()
	mux.Handle(operatorPrefix, operators)
	mux.Handle("/", receivers)
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if cause := recover(); cause != nil {
				if cause == http.ErrAbortHandler { //nolint:errorlint // it is that very value
					panic(cause)
				}
				c.log.Error("handler broke", zap.Any("cause", cause), zap.Stack("stack"))
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		mux.ServeHTTP(w, r)
	})
	return s, nil
}

func (s *server) scheme() string {
	if s.tls == nil {
		return "http"
	}
	return "https"
}

func (s *server) addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bound
}

func (s *server) listen(ctx context.Context) (net.Listener, error) {
	l := s.c.deps.Listener
	if l == nil {
		var err error
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.c.cfg.Listen); err != nil {
			return nil, fmt.Errorf("listening on %s (courier.listen): %w", s.c.cfg.Listen, err)
		}
	}
	s.mu.Lock()
	s.bound = l.Addr()
	s.mu.Unlock()
	return l, nil
}

// serve answers until ctx ends. Polls that wait end then too, so that nobody waits for them.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	h := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10, ErrorLog: zap.NewStdLog(s.c.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	return telemetry.Serve(ctx, h, l)
}

// headerForwarded marks a request that a courier has passed on.
const headerForwarded = "Countersign-Forwarded"

// newPeers is the client for other couriers.
func newPeers(cfg Config) (*http.Client, error) {
	var roots *x509.CertPool
	if cfg.PeerCAFile != "" {
		pem, err := os.ReadFile(cfg.PeerCAFile)
		if err != nil {
			return nil, fmt.Errorf("peer_ca_file: %w", err)
		}
		if roots, err = x509.SystemCertPool(); err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("peer_ca_file: %s holds no certificate in PEM", cfg.PeerCAFile)
		}
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:     (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: 2 * time.Minute,
		},
	}, nil
}

// forward passes a request on to the courier at base, once: who gets it from a courier and does not hold the stream either
// says so with 503, since the stream is changing hands.
func (c *Courier) forward(w http.ResponseWriter, r *http.Request, body []byte, base string) {
	to, err := url.Parse(base)
	if err != nil || to.Host == "" || r.Header.Get(headerForwarded) != "" || base == c.url {
		unavailable(w)
		return
	}
	proxy := &httputil.ReverseProxy{
		Transport: c.peers.Transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = to.Scheme, to.Host
			p.Out.Host = r.Host
			p.Out.Header.Set(headerForwarded, c.member)
			p.Out.Body, p.Out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		},
		ErrorLog: zap.NewStdLog(c.log), // of a courier that dies while it answers
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if !errors.Is(err, context.Canceled) {
				c.log.Warn("passing a request on", zap.String("to", base), zap.Error(err))
			}
			unavailable(w)
		},
	}
	proxy.ServeHTTP(w, r)
}

// unavailable asks to come again when the stream has been taken over.
func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "2")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, `{"error":"temporarily_unavailable","error_description":"the stream is changing hands, try again"}`)
}
