package ssf

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// Deps are what the transmitter works with. Logger, Registerer, HTTP and Now may be nil.
type Deps struct {
	Registry Registry
	// Keys returns the JSON Web Key Set with which the SETs of a tenant are signed, and its entity tag with quotes.
	Keys func(tenant string) (jwks []byte, etag string)
	// KeysMaxAge is for how long a receiver may keep them; 0 is five minutes.
	KeysMaxAge time.Duration
	// Supported lists the event types that a stream could get (events_supported), Delivered those that it does get
	// (events_delivered): supported and requested, and without a request the standard ones.
	Supported, Delivered func(Stream) []string
	// CheckURL refuses the address of a push that would never be called (outbound.Guard.CheckURL); its errors are shown to
	// the receiver.
	CheckURL func(raw string) error
	// Forward passes a request on to the courier at base, since that one holds its stream, and copies the answer. The body
	// has been read already. It must refuse a request that was forwarded before, with 503.
	Forward func(w http.ResponseWriter, r *http.Request, body []byte, base string)
	// HTTP fetches the keys of external issuers; nil is a client that gives up after 10 seconds.
	HTTP       *http.Client
	Logger     *zap.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Paths of the handler. Everything else that it answers is below PathPrefix and PathWellKnown.
const (
	PathPrefix    = "/ssf/v1/"
	PathWellKnown = "/.well-known/"
	PathToken     = "/token"
)

// Handler answers receivers. It is safe for concurrent use.
type Handler struct {
	cfg     Config
	deps    Deps
	log     *zap.Logger
	metrics *metrics
	guard   *guard
	seldom  rate.Sometimes // what goes wrong for everybody is logged now and then
	mux     *http.ServeMux
}

// New validates cfg, reads the clients' secrets and builds the routes. It starts nothing.
func New(cfg Config, deps Deps) (*Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Registry == nil || deps.Keys == nil || deps.Supported == nil || deps.Delivered == nil || deps.CheckURL == nil || deps.Forward == nil {
		return nil, errors.New("ssf: needs a registry, keys, event types, a check of URLs and a way to forward")
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	if deps.KeysMaxAge == 0 {
		deps.KeysMaxAge = cacheFor
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.HTTP == nil {
		deps.HTTP = &http.Client{Timeout: 10 * time.Second}
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of ssf: %w", err)
	}
	g, err := newGuard(cfg, deps)
	if err != nil {
		return nil, err
	}
	h := &Handler{cfg: cfg, deps: deps, log: deps.Logger, metrics: m, guard: g, mux: http.NewServeMux(), seldom: rate.Sometimes{First: 1, Interval: 10 * time.Second}}
	h.routes()
	return h, nil
}

// route counts what it answers.
func (h *Handler) route(e endpoint, pattern string, serve http.HandlerFunc) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		out := &StatusWriter{ResponseWriter: w, Status: http.StatusOK}
		serve(out, r)
		h.metrics.count(e, out.Status)
	})
}

// StatusWriter remembers the status of an answer. Status is what the caller begins with until there is one.
type StatusWriter struct {
	http.ResponseWriter
	Status int
}

// WriteHeader implements [http.ResponseWriter].
func (w *StatusWriter) WriteHeader(status int) {
	w.Status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap serves [http.ResponseController].
func (w *StatusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }
