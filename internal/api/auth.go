package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

type hash = [sha256.Size]byte

// gate knows who may come in: bearers of tokens, and browsers that followed a one-time link or gave a token once. Its
// memory ends with the process.
type gate struct {
	tokens []struct {
		hash hash
		who  *principal
	}
	sessionTTL, linkTTL time.Duration

	mu       sync.Mutex
	sessions map[hash]session
	links    map[hash]time.Time // by code, when it ends
}

type session struct {
	who  *principal
	ends time.Time
}

// maxSessions and maxLinks bound what is remembered; the oldest go first.
const (
	maxSessions = 1000
	maxLinks    = 16
)

// operator is who follows a one-time link: whoever reads the output of the process that runs it all.
var operator = newPrincipal("operator", events.ViaLink, []string{RoleAdmin}, nil, []string{AllTenants})

func newGate(cfg Config) *gate {
	g := &gate{sessionTTL: cfg.SessionTTL, linkTTL: cfg.LinkTTL, sessions: map[hash]session{}, links: map[hash]time.Time{}}
	for _, t := range cfg.Tokens {
		var roles []string
		if t.Role != "" {
			roles = []string{t.Role}
		}
		who := newPrincipal(t.Name, events.ViaToken, roles, t.Scopes, t.Tenants)
		var h hash
		_, _ = hex.Decode(h[:], []byte(t.SHA256)) // Config.Validate has looked at it
		g.tokens = append(g.tokens, struct {
			hash hash
			who  *principal
		}{h, who})
	}
	return g
}

// bearer finds a token's principal. It takes the same time whichever token it is, or none.
func (g *gate) bearer(secret string) *principal {
	given := sha256.Sum256([]byte(secret))
	var found *principal
	for i := range g.tokens {
		if subtle.ConstantTimeCompare(given[:], g.tokens[i].hash[:]) == 1 {
			found = g.tokens[i].who
		}
	}
	return found
}

// link makes a code that opens one session.
func (g *gate) link(now time.Time) string {
	code := rand.Text()
	g.mu.Lock()
	defer g.mu.Unlock()
	evict(g.links, maxLinks, func(ends time.Time) time.Time { return ends }, now)
	g.links[sha256.Sum256([]byte(code))] = now.Add(g.linkTTL)
	return code
}

// follow takes a link's code, which works once.
func (g *gate) follow(code string, now time.Time) *principal {
	h := sha256.Sum256([]byte(code))
	g.mu.Lock()
	defer g.mu.Unlock()
	ends, ok := g.links[h]
	delete(g.links, h)
	if !ok || now.After(ends) {
		return nil
	}
	return operator
}

// open starts a session and returns its secret.
func (g *gate) open(who *principal, now time.Time) string {
	secret := rand.Text()
	g.mu.Lock()
	defer g.mu.Unlock()
	evict(g.sessions, maxSessions, func(s session) time.Time { return s.ends }, now)
	g.sessions[sha256.Sum256([]byte(secret))] = session{who, now.Add(g.sessionTTL)}
	return secret
}

func (g *gate) close(secret string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sessions, sha256.Sum256([]byte(secret)))
}

func (g *gate) session(secret string, now time.Time) (session, bool) {
	h := sha256.Sum256([]byte(secret))
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.sessions[h]
	if !ok || now.After(s.ends) {
		delete(g.sessions, h)
		return session{}, false
	}
	return s, true
}

// evict makes room for one more: it drops what has ended, and else what ends next.
func evict[V any](m map[hash]V, limit int, ends func(V) time.Time, now time.Time) {
	if len(m) < limit {
		return
	}
	var next hash
	var nextEnds time.Time
	for h, v := range m {
		switch at := ends(v); {
		case now.After(at):
			delete(m, h)
		case nextEnds.IsZero() || at.Before(nextEnds):
			next, nextEnds = h, at
		}
	}
	if len(m) >= limit {
		delete(m, next)
	}
}

// cookieName is the session's cookie. Over TLS it has the __Host- prefix, by which a browser takes it from this very
// host over TLS only.
func cookieName(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-countersign"
	}
	return "countersign"
}

func setCookie(w http.ResponseWriter, r *http.Request, value string, ttl time.Duration) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // the flags follow; Secure where the api has TLS
		Name: cookieName(r), Value: value, Path: "/", MaxAge: int(ttl.Seconds()), HttpOnly: true, Secure: r.TLS != nil,
		SameSite: http.SameSiteStrictMode,
	})
}

// identify finds out who asks, and when that ends; zero is never. A request with an Authorization header stands and falls
// with it.
func (g *gate) identify(r *http.Request, now time.Time) (who *principal, ends time.Time) {
	if values, ok := r.Header["Authorization"]; ok {
		if len(values) != 1 {
			return nil, ends
		}
		scheme, secret, _ := strings.Cut(values[0], " ")
		if !strings.EqualFold(scheme, "Bearer") || secret == "" {
			return nil, ends
		}
		return g.bearer(secret), ends
	}
	if c, err := r.Cookie(cookieName(r)); err == nil {
		if s, ok := g.session(c.Value, now); ok {
			return s.who, s.ends
		}
	}
	return nil, ends
}

// authenticated lets through who is known and may use scope; it tells the handler who it is.
func (a *API) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ends := a.gate.identify(r, time.Now())
		if who == nil {
			a.metrics.denied.Inc()
			w.Header().Set("WWW-Authenticate", `Bearer realm="countersign"`)
			problem(w, http.StatusUnauthorized, "Give a bearer token in the Authorization header, or sign in on the page.")
			return
		}
		v := *visitOf(r.Context())
		v.who, v.ends = who, ends
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, &v)))
	})
}

// stillIn reports whether a request that goes on, such as a feed, would be let in now.
func (a *API) stillIn(r *http.Request) bool {
	who, _ := a.gate.identify(r, time.Now())
	return who != nil
}

// login opens a browser's session: with a one-time code from a link, or with a token from the page's form.
func (a *API) login(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	var who *principal
	if r.Method == http.MethodGet {
		who = a.gate.follow(r.URL.Query().Get("code"), now)
	} else if err := r.ParseForm(); err == nil {
		who = a.gate.bearer(r.PostForm.Get("token"))
	}
	if who == nil {
		a.metrics.denied.Inc()
		a.servePage(w, "denied.html", http.StatusForbidden)
		return
	}
	setCookie(w, r, a.gate.open(who, now), a.cfg.SessionTTL)
	// A page that goes on by itself, not a redirect: a browser that came from elsewhere sends a strict cookie only with
	// a request that this site has started.
	a.servePage(w, "welcome.html", http.StatusOK)
}

func (a *API) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName(r)); err == nil {
		a.gate.close(c.Value)
	}
	setCookie(w, r, "", -time.Second)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
