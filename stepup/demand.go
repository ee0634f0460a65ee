package stepup

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Proof is what a sensitive route demands of every caller.
type Proof struct {
	// ACRValues are acceptable authentication contexts, best first; one is enough. None: any will do.
	ACRValues []string
	// MaxAge is the greatest age of the proof; 0: any age will do.
	MaxAge time.Duration
}

// Require returns a middleware for routes that need a strong or fresh proof whatever anybody found: confidential data,
// account settings, high-value transactions, protected APIs. It challenges as [Guard] does, and must stand behind a guard's
// Middleware; without one it answers 500, for it cannot know the caller.
func Require(p Proof) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, _ := r.Context().Value(callerKey{}).(*caller)
			if c == nil {
				http.Error(w, "stepup.Require is used outside of a Guard's Middleware", http.StatusInternalServerError)
				return
			}
			now := time.Now()
			d := demand{acr: p.ACRValues, maxAge: NoMaxAge}
			if p.MaxAge > 0 {
				d.maxAge = int(p.MaxAge / time.Second)
				d.notBefore = now.Add(-p.MaxAge)
			}
			switch lack := c.guard.lacks(&c.token, &d, now); {
			case !c.known:
				c.guard.answerStranger(w, r, &d)
			case lack != "":
				c.guard.answer(w, r, &c.token, &d, lack)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

// demand is what a token has to show, be it for a requirement or for a route.
type demand struct {
	requirement *Requirement // nil for a route's
	acr         []string
	maxAge      int       // for the challenge, in seconds
	notBefore   time.Time // zero: any age will do
}

func demandOf(r *Requirement) demand {
	return demand{requirement: r, acr: r.ACRValues, maxAge: r.MaxAge, notBefore: r.NotBefore}
}

// revokes tells whether the session has been ended, rather than asked for more.
func (d *demand) revokes() bool {
	return d.requirement != nil && d.requirement.Action != ActionStepUp
}

// entraContext is the Entra authentication context that a demand asks for: the last that it names, which is the least that
// is enough, else the configured one.
func (g *Guard) entraContext(d *demand) string {
	for _, v := range slices.Backward(d.acr) {
		if entraContext(v) {
			return v
		}
	}
	return g.cfg.Entra.AuthContext
}

// entraContext tells an id of an Entra authentication context: c1 to c99.
func entraContext(v string) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(v, "c"))
	return err == nil && n >= 1 && n <= 99 && v == "c"+strconv.Itoa(n)
}

// lacks names the claim that keeps a token from satisfying a demand; "" means that it satisfies. A claim that is not there
// satisfies nothing.
func (g *Guard) lacks(t *Token, d *demand, now time.Time) string {
	if d.revokes() && d.requirement.Session != "" && d.requirement.Session == t.Session {
		// Whoever stole a session shares every proof made in it, so no proof brings it back.
		return "session"
	}
	if d.requirement != nil && d.requirement.CredentialChange {
		return "credential"
	}
	if !d.notBefore.IsZero() && !g.fresh(t.proved(), d.notBefore, now) {
		if t.Entra {
			return "iat"
		}
		return "auth_time"
	}
	if len(d.acr) == 0 || g.strong(t, d) {
		return ""
	}
	if t.Entra {
		return "acrs"
	}
	return "acr"
}

func (g *Guard) fresh(proof, notBefore, now time.Time) bool {
	if proof.IsZero() {
		return false
	}
	// A proof from the future would be fresh for ever.
	const farFuture = 5 * time.Minute
	return !proof.Before(notBefore.Add(-g.cfg.Leeway)) && proof.Before(now.Add(g.cfg.Leeway+farFuture))
}

func (g *Guard) strong(t *Token, d *demand) bool {
	accepted := func(v string) bool { return g.cfg.Ranking.accepts(v, d.acr) }
	if accepted(t.ACR) || slices.ContainsFunc(t.ACRS, accepted) {
		return true
	}
	if !t.Entra {
		return false
	}
	if c := g.entraContext(d); c != "" {
		return slices.Contains(t.ACRS, c)
	}
	// Without a context a requirement asks Entra for a new token only; a route asks for the method.
	return d.requirement != nil || slices.Contains(t.AMR, "mfa")
}

// challenge puts a demand into the form that the token's client understands.
func (g *Guard) challenge(t *Token, d *demand) Challenge {
	c := Challenge{Scheme: "Bearer", Error: ErrorInvalidToken, MaxAge: NoMaxAge}
	if t.Kind == DPoP {
		c.Scheme = "DPoP"
	}
	switch {
	case d.revokes():
		c.Description = "The session has been revoked"
		if d.requirement.CredentialChange {
			c.Description = "Every session has been revoked until the credential is changed"
		}
	case t.Entra && !t.handlesClaims():
		c.Description = "A new token is required"
	case t.Entra:
		c.Error = ErrorInsufficientClaims
		c.Claims = g.claims(d).String()
		c.AuthorizationURI, c.Realm = g.cfg.Entra.AuthorizationURI, g.cfg.Entra.Realm
	default:
		c.Error = ErrorInsufficientAuthentication
		c.Description = "A more recent or stronger authentication is required"
		c.ACRValues, c.MaxAge = d.acr, d.maxAge
	}
	return c
}

// claims is a demand as Entra's claims request.
func (g *Guard) claims(d *demand) claimsRequest {
	var r claimsRequest
	if !d.notBefore.IsZero() {
		r.NBF = notBefore(d.notBefore)
	}
	if len(d.acr) == 0 {
		return r
	}
	switch context := g.entraContext(d); {
	case context != "":
		r.ACRS = &claimValue{Essential: true, Value: context}
	case d.requirement == nil:
		r.AMR = &claimValues{Values: []string{"mfa"}}
	}
	return r
}
