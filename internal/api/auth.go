package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// gate knows who may come in: bearers of configured tokens, of tokens made at run time and of an identity provider's, and
// browsers that have signed in.
type gate struct {
	tokens []struct {
		hash hash
		who  *principal
	}
	access   *accessBook
	provider *provider // nil without one
	*sessions
}

// operator is who follows a one-time link: whoever reads the output of the process that runs it all.
var operator = newPrincipal("operator", events.ViaLink, RoleAdmin, nil, []string{AllTenants})

func newGate(cfg Config, access *accessBook, identity *provider) *gate {
	g := &gate{access: access, provider: identity, sessions: newSessions(&cfg)}
	for _, t := range cfg.Tokens {
		var h hash
		_, _ = hex.Decode(h[:], []byte(t.SHA256)) // Config.Validate has looked at it
		g.tokens = append(g.tokens, struct {
			hash hash
			who  *principal
		}{h, newPrincipal(t.Name, events.ViaToken, t.Role, t.Scopes, t.Tenants)})
	}
	return g
}

// configured finds a configured token's principal. It takes the same time whichever token it is, or none.
func (g *gate) configured(secret string) *principal {
	given := sha256.Sum256([]byte(secret))
	var found *principal
	for i := range g.tokens {
		if subtle.ConstantTimeCompare(given[:], g.tokens[i].hash[:]) == 1 {
			found = g.tokens[i].who
		}
	}
	return found
}

// bearer finds out whose a bearer token is, and when it ends. Nobody's has no principal; the error wraps errAway.
func (g *gate) bearer(ctx context.Context, secret string, now time.Time) (standing, error) {
	s := standing{who: g.configured(secret)}
	var err error
	switch {
	case s.who != nil:
	case strings.HasPrefix(secret, secretPrefix):
		s.who, s.ends, err = g.access.find(secret, now)
	case g.provider != nil && g.provider.cfg.AcceptBearer && strings.Count(secret, ".") == 2:
		s.who, s.ends, err = g.provider.bearer(ctx, secret)
	}
	s.tokenEnds = s.ends
	return s, err
}

// identify finds out who asks. A request with an Authorization header stands and falls with it; a browser's session that
// began with a token made at run time ends with that. use keeps a session from going idle. The error wraps errAway.
func (g *gate) identify(r *http.Request, use bool, now time.Time) (standing, error) {
	if values, ok := r.Header["Authorization"]; ok {
		if len(values) != 1 {
			return standing{}, nil
		}
		scheme, secret, _ := strings.Cut(values[0], " ")
		if !strings.EqualFold(scheme, "Bearer") || secret == "" {
			return standing{}, nil
		}
		return g.bearer(r.Context(), secret, now)
	}
	s := g.find(sessionCookie(r), use, now)
	if s.who == nil || s.who.via != events.ViaToken || s.who.subject == "" {
		return s, nil
	}
	if works, err := g.access.works(s.who.subject, now); err != nil || !works {
		return standing{}, err
	}
	return s, nil
}

// authenticated lets through who is known; it tells the handler who it is.
func (a *API) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := a.gate.identify(r, true, time.Now())
		switch {
		case errors.Is(err, errAway):
			away(w, logAway, "Whether this token, or the one that you signed in with, is valid cannot be found out now. Ask again soon.")
			return
		case s.who == nil:
			a.metrics.denied.Inc()
			w.Header().Set("WWW-Authenticate", `Bearer realm="countersign"`)
			problem(w, http.StatusUnauthorized, "Give a bearer token in the Authorization header, or sign in on the page.")
			return
		}
		if !a.orderly(w, r) {
			return
		}
		if wait := a.pace.take(paceKey(s.who), time.Now()); wait > 0 {
			a.metrics.throttled.Inc()
			tooMany(w, wait, "You ask faster than is allowed.")
			return
		}
		v := *visitOf(r.Context())
		v.standing = s
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, &v)))
	})
}

// stillIn reports whether a request that goes on, such as a feed, would be let in now. While that cannot be found out it
// goes on.
func (a *API) stillIn(r *http.Request) bool {
	s, err := a.gate.identify(r, false, time.Now())
	return s.who != nil || err != nil
}
