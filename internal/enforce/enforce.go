// Package enforce answers proxies that ask whether a request may pass: nginx (auth_request), Traefik (ForwardAuth) and
// Envoy (ext_authz over HTTP). So applications in any language are protected by what a [stepup.Guard] does.
//
// It judges the caller's token, asks the index what is required of the caller, and what the route demands of everybody, and
// answers 200 with the caller's names in headers, or 401, 403 or 503 with the challenge that the client understands.
package enforce

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/telemetry"
	"github.com/countersign-io/countersign/stepup"
)

// Deps are what a Server needs from outside. All but Index may be nil.
type Deps struct {
	// Index is what is required of whom; a feed fills it.
	Index      *stepup.Index
	Receipts   stepup.Receipts
	Observer   *stepup.Observer
	Logger     *zap.Logger
	Registerer prometheus.Registerer
	// Client reads the issuers' keys.
	Client *http.Client
	// Now is the clock by which tokens are judged.
	Now func() time.Time
}

// Server answers proxies.
type Server struct {
	cfg        Config
	deps       Deps
	log        *zap.Logger
	metrics    *metrics
	issuers    map[string]*issuer
	algorithms []jose.SignatureAlgorithm
	guarded    http.Handler
	tls        *tls.Config
	appHost    string // of sign_in.app_url: the application's pages, to which browsers go back
	now        func() time.Time

	complained atomic.Int64 // when a proxy was last told of, in Unix nanoseconds

	addr  atomic.Pointer[net.Addr]
	bound chan struct{}
}

// New validates cfg and reads the certificates it names. It opens no socket.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Index == nil {
		return nil, errors.New("enforce needs an index")
	}
	s := &Server{
		cfg: cfg, deps: deps, log: deps.Logger, issuers: map[string]*issuer{}, now: deps.Now, bound: make(chan struct{}),
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.metrics, err = newMetrics(deps.Registerer, deps.Index); err != nil {
		return nil, err
	}
	client := http.Client{}
	if deps.Client != nil {
		client = *deps.Client
	}
	// Keys come from where the configuration says, not from where that sends us on.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, c := range cfg.Issuers {
		i := newIssuer(c, newKeySet(c, &client, func(err error) {
			s.metrics.keys.Inc()
			s.log.Warn("reading keys", zap.String("issuer", c.Issuer), zap.Error(err))
		}))
		s.issuers[c.Issuer] = i
		for _, a := range i.algorithms {
			if !slices.Contains(s.algorithms, a) {
				s.algorithms = append(s.algorithms, a)
			}
		}
	}
	policy := stepup.FailClosed
	if cfg.Stale == FailOpen {
		policy = stepup.FailOpen
	}
	guard, err := stepup.New(stepup.Config{
		Index: deps.Index, Stale: policy, App: cfg.App, Ranking: cfg.Ranking, Leeway: cfg.Leeway,
		Entra:         stepup.Entra{AuthContext: cfg.Entra.AuthContext, AuthorizationURI: cfg.Entra.AuthorizationURI, Realm: cfg.Entra.Realm},
		MaxChallenges: cfg.MaxChallenges, ChallengeWindow: cfg.ChallengeWindow,
		Identify: identified, Refuse: s.refuse, Receipts: deps.Receipts, Observer: deps.Observer,
		ClientIP: func(r *http.Request) string { return clientIP(r, cfg.Proxies) },
		SignIn:   s.signIn(),
		Logger:   Logger(s.log),
	})
	if err != nil {
		return nil, err
	}
	s.guarded = guard.Middleware(s.routes(http.HandlerFunc(s.pass)))
	if u, err := url.Parse(cfg.SignIn.AppURL); err == nil {
		s.appHost = u.Host
	}
	if s.tls, err = cfg.TLS.load(); err != nil {
		return nil, err
	}
	return s, nil
}

func (c TLSConfig) load() (*tls.Config, error) {
	if c.CertFile == "" {
		return nil, nil //nolint:nilnil // nil is plain HTTP
	}
	cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls.cert_file: %w", err)
	}
	out := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if c.ClientCAFile != "" {
		pem, err := os.ReadFile(c.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.client_ca_file: %w", err)
		}
		out.ClientCAs, out.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !out.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.client_ca_file: %s holds no certificate, it must be PEM", c.ClientCAFile)
		}
	}
	return out, nil
}

// routes puts the demands of the routes before next.
func (s *Server) routes(next http.Handler) http.Handler {
	type route struct {
		cfg     RouteConfig
		require func(http.Handler) http.Handler
	}
	var all []route
	for _, r := range s.cfg.Routes {
		all = append(all, route{r, stepup.Require(stepup.Proof{ACRValues: r.ACRValues, MaxAge: r.MaxAge})})
	}
	signedIn := stepup.Require(stepup.Proof{})(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Whatever the route, somebody must be there.
		q, h := r.Context().Value(questionKey{}).(*question), signedIn
		for i := range slices.Backward(all) {
			if q.original.demanded(&all[i].cfg) {
				h = all[i].require(h)
			}
		}
		h.ServeHTTP(w, r)
	})
}

// question is what is known of a request while it is judged.
type question struct {
	original *original
	token    stepup.Token
	err      error
	answer   decision
}

type questionKey struct{}

// identified is the guard's Identify: the caller was identified before, because not every error is the caller's.
func identified(r *http.Request) (stepup.Token, error) {
	q := r.Context().Value(questionKey{}).(*question)
	return q.token, q.err
}

// Handler answers; Run serves it. Tests and embedders may serve it themselves.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		d := s.answer(w, r)
		if d == "" {
			return
		}
		s.metrics.decided.WithLabelValues(string(d)).Inc()
		s.metrics.duration.Observe(time.Since(began).Seconds())
	})
}

// answer answers a request, and returns what it decided; "" when nothing was asked.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) decision {
	if !believed(s.cfg.Proxies, peer(r)) {
		s.problem(w, r, http.StatusForbidden, "This address is none of the proxies")
		return foreign
	}
	o, err := originalOf(r)
	switch {
	case errors.Is(err, errNoEndpoint):
		s.problem(w, r, http.StatusNotFound, "Proxies ask under "+pathNginx+", "+pathTraefik+" and "+pathEnvoy+"/")
		return ""
	case err != nil:
		s.complain(err)
		// Only texts of our own and names of headers: nothing of the request is in it.
		stepup.WriteProblem(w, r, stepup.Refusal{Status: http.StatusForbidden, Title: "The request cannot be judged", Reason: err.Error()})
		return unclear
	case o.public(s.cfg.Public):
		identify(w.Header(), o, &stepup.Token{})
		w.WriteHeader(http.StatusOK)
		return public
	}
	q := &question{original: o, answer: passed}
	q.token, q.err = s.identify(r)
	switch {
	case errors.Is(q.err, errKeys):
		w.Header().Set("Retry-After", "5")
		s.problem(w, r, http.StatusServiceUnavailable, "The token cannot be checked at the moment")
		return noKeys
	case q.err != nil && !errors.Is(q.err, stepup.ErrNoToken):
		s.log.Debug("token refused", zap.Error(q.err))
	}
	asked := r.WithContext(context.WithValue(r.Context(), questionKey{}, q))
	asked.Method, asked.URL, asked.Host = o.method, o.uri, s.appHost
	if o.proxy == "nginx" {
		w = nginxWriter{w}
	}
	s.guarded.ServeHTTP(w, asked)
	return q.answer
}

// complain tells of a request that cannot be read. A proxy that is wrong is so for every request, so it is told now and
// then; a client that sends rubbish is nobody's concern.
func (s *Server) complain(err error) {
	const every = 10 * time.Second
	now, last := time.Now().UnixNano(), s.complained.Load()
	if errors.Is(err, errProxy) && now-last > int64(every) && s.complained.CompareAndSwap(last, now) {
		s.log.Warn("requests cannot be judged", zap.Error(err))
	}
}

// pass answers for a caller who may pass.
func (s *Server) pass(w http.ResponseWriter, r *http.Request) {
	q := r.Context().Value(questionKey{}).(*question)
	identify(w.Header(), q.original, &q.token)
	w.WriteHeader(http.StatusOK)
}

// signIn is the guard's SignIn: where a browser goes to prove identity.
func (s *Server) signIn() func(*http.Request, stepup.Challenge, string) string {
	c := s.cfg.SignIn
	if c.URL == "" {
		return nil
	}
	return func(r *http.Request, challenge stepup.Challenge, returnTo string) string {
		u, err := url.Parse(c.URL)
		if err != nil {
			return "" // cannot be: it was validated
		}
		query := u.Query()
		for name, value := range challenge.AuthorizationParams() {
			query.Set(name, value)
		}
		query.Set(c.ReturnParameter, strings.TrimSuffix(c.AppURL, "/")+returnTo)
		u.RawQuery = query.Encode()
		q := r.Context().Value(questionKey{}).(*question)
		if q.answer = challenged; q.err != nil {
			q.answer = noToken
		}
		return u.String()
	}
}

// nginxWriter answers nginx, whose auth_request takes 401 and 403 for a refusal and anything else for a fault: a redirect
// becomes 401 with its target in a header, for error_page to follow.
type nginxWriter struct{ http.ResponseWriter }

// WriteHeader writes the status.
func (w nginxWriter) WriteHeader(status int) {
	if status == http.StatusSeeOther {
		h := w.Header()
		h.Set("X-Countersign-Sign-In", h.Get("Location"))
		h.Del("Location")
		status = http.StatusUnauthorized
	}
	w.ResponseWriter.WriteHeader(status)
}

// refuse writes a refusal of the guard, and takes note of its kind.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, f stepup.Refusal) {
	q := r.Context().Value(questionKey{}).(*question)
	switch {
	case f.Status == http.StatusServiceUnavailable:
		q.answer = stale
	case f.Status == http.StatusForbidden:
		q.answer = tooOften
	case f.Challenge.Error == "":
		q.answer = noToken
	case q.err != nil:
		q.answer = badToken
	case f.Challenge.Error == stepup.ErrorInvalidToken && f.Requirement != "":
		q.answer = revoked
	default:
		q.answer = challenged
	}
	if to := s.cfg.SignIn.EndSessionURL; q.answer == revoked && to != "" && q.token.Kind == stepup.Cookie && stepup.Navigates(r) {
		w.Header().Del("WWW-Authenticate")
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	stepup.WriteProblem(w, r, f)
}

func (s *Server) problem(w http.ResponseWriter, r *http.Request, status int, title string) {
	stepup.WriteProblem(w, r, stepup.Refusal{Status: status, Title: title})
}

// identify tells the application who the caller is. Every header is there, or Envoy is told to remove it: else a client could
// send its own. Traefik and nginx overwrite them.
func identify(h http.Header, o *original, t *stepup.Token) {
	at := ""
	if !t.AuthTime.IsZero() {
		at = strconv.FormatInt(t.AuthTime.Unix(), 10)
	}
	var remove []string
	for _, v := range []struct{ name, value string }{
		{"X-Countersign-Tenant", t.Tenant},
		{"X-Countersign-User", t.User},
		{"X-Countersign-Session", t.Session},
		{"X-Countersign-Acr", t.ACR},
		{"X-Countersign-Auth-Time", at},
	} {
		if v.value == "" {
			remove = append(remove, v.name)
			continue
		}
		h.Set(v.name, headerValue(v.value))
	}
	if o.proxy == "envoy" && len(remove) > 0 {
		h.Set("X-Envoy-Auth-Headers-To-Remove", strings.Join(remove, ","))
	}
}

// headerValue is a name as a header can hold it: what is not printable ASCII is percent-encoded, and the percent sign.
func headerValue(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f || c == '%' {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// Ready returns an error while requests would be refused because something is missing: keys, or knowledge of what is
// required.
func (s *Server) Ready(context.Context) error {
	var errs []error
	for _, i := range s.issuers {
		errs = append(errs, i.keys.ready())
	}
	if age, fresh := s.deps.Index.Fresh(); !fresh && s.cfg.Stale != FailOpen {
		errs = append(errs, fmt.Errorf("nothing was heard from countersign for %v", age))
	}
	return errors.Join(errs...)
}

// Addr waits until the server listens and returns its address.
func (s *Server) Addr(ctx context.Context) (string, error) {
	select {
	case <-s.bound:
		return (*s.addr.Load()).String(), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Run serves until ctx ends, and keeps the issuers' keys fresh.
func (s *Server) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.cfg.Listen, err)
	}
	addr := listener.Addr()
	s.addr.Store(&addr)
	close(s.bound)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	for _, i := range s.issuers {
		group.Go(func() { i.keys.run(ctx) })
	}
	if s.tls != nil {
		listener = tls.NewListener(listener, s.tls)
	}
	return telemetry.Serve(ctx, &http.Server{
		Handler: s.Handler(), TLSConfig: s.tls, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: zap.NewStdLog(s.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}, listener)
}
