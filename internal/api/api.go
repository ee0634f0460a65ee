// Package api serves what the history and the log know: a REST interface with its OpenAPI description, a live feed, the
// JSON Schemas, and the dashboard at every other path.
//
// Everything under /v1 needs a bearer token or a browser's session; a caller sees the tenants of its token and no
// others, and what it may not see looks like what does not exist. Errors are problem details (RFC 9457). While
// ClickHouse is away, questions are answered with 503 and Retry-After, and the live feed goes on: it comes from the log.
//
// The package knows no database: it declares the History it reads from.
package api

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/telemetry"
)

// History answers questions. Its errors wrap those of package report. It must bound its own time.
type History interface { //nolint:interfacebloat // one question each
	Overview(ctx context.Context, scope report.Scope, span report.Span, now events.Millis) (*report.Overview, error)
	Findings(ctx context.Context, q report.FindingQuery) (report.FindingPage, error)
	Finding(ctx context.Context, scope report.Scope, id string) (json.RawMessage, error)
	Requirements(ctx context.Context, q report.RequirementQuery) (report.RequirementPage, error)
	auditHistory
	peopleHistory
	placesHistory
	actionHistory
	erasureHistory
	decisionHistory
	triageHistory
	enforcementHistory
	healthHistory
}

// Log reads topics.
type Log interface {
	// Tail hands the records of a topic to fn as they arrive, until ctx ends, and returns nil then.
	Tail(ctx context.Context, topic string, from stream.TailFrom, fn func(stream.Record) error) error
	// Follow hands over what the topic holds, then calls onCaughtUp once, then hands over what arrives, until ctx ends, and
	// returns nil then.
	Follow(ctx context.Context, topic string, fn func(stream.Record) error, onCaughtUp func()) error
	// Ends returns the first offset and the one after the last of each partition.
	Ends(ctx context.Context, topic string) (first, end []int64, err error)
	// LoadSince hands those to fn that are there now and entered the log at or after a moment.
	LoadSince(ctx context.Context, topic string, since time.Time, fn func(stream.Record) error) error
}

// Deps are what the API works with. Logger and Registerer may be nil; without Schemas none are served. Web is a build of
// the dashboard; without one a page says how to make it.
type Deps struct {
	History   History
	Log       Log
	Publisher Publisher
	// Bulk and Rules are for backtests and exports, Topics for replays and the state of the pipeline; what is nil is answered
	// with 404. IngestAddr says where ingest listens when Config.Ingest has no URL.
	Bulk       Bulk
	Rules      func(*policy.Set) (detector.Rules, error)
	Topics     Topics
	Watched    Watched
	IngestAddr func(context.Context) (string, error)
	Explainer  Explainer // without one there are no explanations
	// Ready is asked for /readyz, which does not ask for the history: without it the live feed and marks go on, and the dashboard
	// says what is away. It may be nil.
	Ready      func(context.Context) error
	Schemas    fs.FS
	Web        fs.FS
	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// API is the HTTP server.
type API struct {
	cfg       Config
	deps      Deps
	log       *zap.Logger
	metrics   *metrics
	gate      *gate
	hub       *hub
	site      site
	questions chan struct{} // a place for each question at a time
	notes     chan struct{} // and for each note on its way
	// One explanation is made, and one mark written, at a time.
	explaining, marking chan struct{}
	recent              *recent
	pace                *pace // of requests, for each principal
	signIns             *pace // of attempts, for each address
	seal                *signInSeal
	proxies             []netip.Prefix
	parts               map[string]bool // of the API: the first names below /v1/
	tls                 *tls.Config
	handler             http.Handler

	bound    chan struct{}
	addr     net.Addr // set before bound is closed
	stopping chan struct{}
	stopOnce sync.Once

	*actions
}

// New validates cfg, reads its certificate and builds the routes. It listens nowhere.
func New(cfg Config, deps Deps) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.History == nil || deps.Log == nil || deps.Publisher == nil {
		return nil, errors.New("api: needs a history, a log and a publisher")
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering the api's metrics: %w", err)
	}
	secure, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	if cfg.Tokens, err = cfg.hashed(); err != nil {
		return nil, err
	}
	pages, err := loadSite(deps.Web)
	if err != nil {
		return nil, err
	}
	identity, err := newProvider(cfg.OIDC)
	if err != nil {
		return nil, err
	}
	seal, err := newSignInSeal()
	if err != nil {
		return nil, err
	}
	proxies, err := cfg.proxies()
	if err != nil {
		return nil, err
	}
	a := &API{
		cfg: cfg, deps: deps, log: deps.Logger, metrics: m, site: pages,
		gate:      newGate(cfg, newAccessBook(deps.Log, deps.Logger, m), identity),
		questions: make(chan struct{}, cfg.MaxQuestions), notes: make(chan struct{}, maxNotes),
		pace: newPace(cfg.RequestsPerSecond, cfg.RequestBurst), signIns: newPace(signInsPerSecond, signInBurst),
		seal: seal, proxies: proxies, parts: map[string]bool{"live": true, "schemas": true}, tls: secure,
		bound: make(chan struct{}), stopping: make(chan struct{}),
	}
	if a.actions, err = openActions(cfg, &deps); err != nil {
		return nil, err
	}
	a.explaining, a.marking, a.recent = make(chan struct{}, 1), make(chan struct{}, 1), newRecent()
	a.hub = newHub(cfg.LiveBuffer, cfg.MaxLiveClients, cfg.MaxLiveClientsEach, m, a.recent)
	a.handler = a.routes()
	return a, nil
}

// Handler is all routes, for tests and for servers of the caller's own.
func (a *API) Handler() http.Handler { return a.handler }

// Addr waits until the API listens and returns its address.
func (a *API) Addr(ctx context.Context) (string, error) {
	select {
	case <-a.bound:
		return a.addr.String(), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Link is a path with a code that signs one browser in, once, as the operator. Only a person who may see everything
// may see it.
func (a *API) Link() string { return "/login?code=" + a.gate.link(time.Now()) }

// Run serves until ctx ends, then lets running requests finish for some seconds.
func (a *API) Run(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listening on %s (listen): %w", a.cfg.Listen, err)
	}
	a.addr = l.Addr()
	close(a.bound)
	if a.tls != nil {
		l = tls.NewListener(l, a.tls)
	}
	server := &http.Server{
		Handler: a.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: zap.NewStdLog(a.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return telemetry.Serve(ctx, server, l) })
	group.Go(func() error {
		// A feed never ends by itself, and the server waits for its requests.
		<-ctx.Done()
		a.stop()
		return nil
	})
	group.Go(func() error { return a.gate.access.run(ctx) })
	for _, topic := range liveTopics {
		group.Go(func() error {
			if err := a.deps.Log.Tail(ctx, topic, stream.FromEnd, func(r stream.Record) error {
				a.hub.take(&r)
				return nil
			}); err != nil {
				return fmt.Errorf("following %s: %w", topic, err)
			}
			return nil
		})
	}
	group.Go(func() error {
		if err := a.loadMarks(ctx); err != nil && ctx.Err() == nil {
			// They are in the history, or will be soon.
			a.log.Warn("reading the latest marks", zap.Error(err))
		}
		return nil
	})
	return group.Wait()
}

// stop ends the live feeds and the backtests.
func (a *API) stop() {
	a.stopOnce.Do(func() {
		close(a.stopping)
		a.backtests.Close()
	})
}

func (a *API) routes() http.Handler {
	v1 := http.NewServeMux()
	for path := range a.describe(v1).OpenAPI().Paths {
		part, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
		a.parts[part] = true
	}
	v1.HandleFunc("GET /v1/live", a.live)
	v1.HandleFunc("GET /v1/schemas/{name}", a.schema)
	v1.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusNotFound, "There is nothing here; /v1/openapi.json lists what there is.")
	})

	mux := http.NewServeMux()
	mux.Handle("/v1/", a.authenticated(v1))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.HandleFunc("GET /login", a.login)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("GET /login/ways", a.signInWays)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("GET /plain.css", func(w http.ResponseWriter, _ *http.Request) { a.servePage(w, "plain.css", http.StatusOK) })
	mux.HandleFunc("GET /oidc/login", a.oidcLogin)
	mux.HandleFunc("GET "+oidcReturnPath, a.oidcReturn)
	mux.HandleFunc("/", a.page)

	// Requests that change something must come from this site; a one-time link changes nothing that it does not open.
	h := http.NewCrossOriginProtection().Handler(mux)
	h = http.MaxBytesHandler(h, maxBody)
	return a.guarded(h, mux)
}

// maxBody is the most a request may carry, in bytes: policies in JSON. Operations that take less say so.
const maxBody = maxPolicyBody

// guarded wraps every route: limits, headers, metrics, and an answer even when a handler breaks.
func (a *API) guarded(next http.Handler, mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		_, pattern := mux.Handler(r)
		route := a.routeLabel(pattern, r)
		out := &statusWriter{ResponseWriter: w}
		// The live feed sets its own deadlines.
		_ = http.NewResponseController(w).SetWriteDeadline(begun.Add(writeTimeout)) // not every writer has one
		// The id is ours: what a caller makes up could be that of another request.
		v := &visit{request: strings.ToLower(rand.Text())}
		v.address, v.tls = a.origin(r)
		secure(w.Header(), v.tls)
		w.Header().Set("X-Request-Id", v.request)
		defer func() {
			cause := recover()
			// What has begun and broke off must not look whole.
			cut := cause != nil && out.status != 0
			if cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // it is that very value
				a.log.Error("handler broke", zap.String("route", route), zap.Any("cause", cause), zap.Stack("stack"))
				if !cut {
					problem(out, http.StatusInternalServerError, "Something is wrong here; the log says what.")
				}
			}
			a.metrics.requests.WithLabelValues(route, statusClass(max(out.status, http.StatusOK))).Inc()
			if route != "live" {
				a.metrics.seconds.WithLabelValues(route).Observe(time.Since(begun).Seconds())
			}
			if cut {
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
	})
}

const writeTimeout = 30 * time.Second

// routeLabel names a route by a closed set.
func (a *API) routeLabel(pattern string, r *http.Request) string {
	if pattern != "/v1/" {
		_, path, _ := strings.Cut(pattern, " ")
		switch path {
		case "/healthz", "/readyz", "/login", "/logout":
			return path[1:]
		case "/login/ways", "/oidc/login", oidcReturnPath:
			return "login"
		case "":
			return "unknown"
		}
		return "page"
	}
	if part, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/"); a.parts[part] {
		return part
	}
	return "other"
}

// statusWriter remembers the status for metrics.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (a *API) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if a.deps.Ready != nil && a.deps.Ready(ctx) != nil {
		w.Header().Set("Retry-After", retryAfter)
		text(w, http.StatusServiceUnavailable, "the log is not available")
		return
	}
	text(w, http.StatusOK, "ready")
}

func text(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, line)
}

// schema serves one of the JSON Schemas by its name, with or without ".json".
func (a *API) schema(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSuffix(r.PathValue("name"), ".json") + ".json"
	if a.deps.Schemas == nil || strings.ContainsAny(name, `/\`) || !fs.ValidPath(name) {
		problem(w, http.StatusNotFound, "There is no such schema.")
		return
	}
	b, err := fs.ReadFile(a.deps.Schemas, name)
	if err != nil {
		problem(w, http.StatusNotFound, "There is no such schema.")
		return
	}
	w.Header().Set("Content-Type", "application/schema+json")
	_, _ = w.Write(b) //nolint:gosec // embedded files, and the reader may have gone
}
