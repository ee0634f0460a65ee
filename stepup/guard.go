package stepup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// ErrNoToken is what Config.Identify returns for a request without a token or session.
var ErrNoToken = errors.New("request has no token")

// StalePolicy says what a [Guard] does, while its index is not fresh, with callers who may pass by all that is known. A
// requirement that is known is enforced in any case.
type StalePolicy int

// The policies. There is no default: which error is worse is for the application to say.
const (
	// FailOpen lets them pass: the application stays available, and a new requirement may be missed meanwhile.
	FailOpen StalePolicy = iota + 1
	// FailClosed answers 503 with Retry-After: no requirement is missed, and the application is down with its feed.
	FailClosed
)

// Entra says how tokens of Microsoft Entra ID are challenged and judged.
type Entra struct {
	// AuthContext is the authentication context, "c1" to "c99", whose Conditional Access policy asks for the stronger
	// proof. Its sign-in frequency should be "every time", else an old proof meets it. Without a context a token that
	// was issued after the requirement is enough.
	AuthContext string
	// AuthorizationURI is the authorization endpoint. Default: that of the common tenant.
	AuthorizationURI string
	// Realm is the tenant; empty with the common endpoint.
	Realm string
}

// Config configures a [Guard].
type Config struct {
	// Index answers what is required of whom.
	Index *Index
	// Identify returns what the application knows of the caller: it validates the token or the session, and returns
	// ErrNoToken when there is none. Any other error is answered with 401 invalid_token. It runs once a request.
	Identify func(*http.Request) (Token, error)
	// Stale must be FailOpen or FailClosed.
	Stale StalePolicy
	// App names the application in receipts and logs.
	App string

	// Ranking orders authentication contexts, weakest first. Without it only the very contexts a requirement names
	// are accepted.
	Ranking Ranking
	// Leeway is how much older than demanded a proof may be, for the clocks of identity provider and detector may
	// differ. Default 0.
	Leeway time.Duration
	Entra  Entra

	// SignIn returns where to send a browser so that its user proves identity as the challenge says (see
	// [Challenge.AuthorizationParams]) and then comes back to returnTo, a path with query on this host. Without it
	// browsers get the 401 that other clients get.
	SignIn func(r *http.Request, c Challenge, returnTo string) string
	// EndSession ends the caller's session when it has been revoked, and removes its cookie.
	EndSession func(w http.ResponseWriter, r *http.Request)
	// Refuse writes status and body of an answer whose headers are set. Default: WriteProblem.
	Refuse func(w http.ResponseWriter, r *http.Request, f Refusal)

	// MaxChallenges is how many different tokens of one session may fail one requirement within ChallengeWindow before
	// the answer is 403 without a challenge, so that a client whose identity provider cannot comply stops asking for
	// tokens. Default 5 in 10 minutes.
	MaxChallenges   int
	ChallengeWindow time.Duration

	// Observer, if set, is told of the session of every request that passes, unless its token names none. ClientIP returns
	// the client's address for that. Default: that of the connection. Behind a proxy it has to read what the proxy
	// writes, and nothing that a client could have written.
	Observer *Observer
	ClientIP func(*http.Request) string

	// Receipts is told what was done with requirements; nil is fine.
	Receipts Receipts
	// Logger is told what a person should look into; nil is fine.
	Logger *slog.Logger
}

// Refusal is why a request was not let through.
type Refusal struct {
	// Status is the HTTP status: 401, 403 or 503.
	Status int
	// Title is a short fixed text; Reason is the requirement's own, for the person, and may be empty.
	Title, Reason string
	// Challenge is what the answer's header asks for. With status 403 and 503 there is none.
	Challenge Challenge
	// Requirement is its id; empty when the route itself demands the proof.
	Requirement string
}

// Receipts takes receipts. Record must not block: it is called while a request is served.
type Receipts interface {
	Record(Receipt)
}

// ReceiptStatus is what was done with a requirement.
type ReceiptStatus string

// The receipt statuses.
const (
	// Delivered: the application knows of the requirement from now on. Feeds tell it, not a Guard.
	Delivered ReceiptStatus = "delivered"
	// Challenged: the caller was asked for a better proof.
	Challenged ReceiptStatus = "challenged"
	// Satisfied: a token came that satisfies the requirement.
	Satisfied ReceiptStatus = "satisfied"
	// Refused: the challenge limit was reached.
	Refused ReceiptStatus = "refused"
	// Revoked: the caller's session was ended, or its token turned down for good.
	Revoked ReceiptStatus = "revoked"
)

// Receipt tells what an application did with a requirement. A Guard writes one for a requirement, session and status within
// the challenge window.
type Receipt struct {
	Time time.Time
	// Subject is the caller: its Session is that of the token.
	Subject
	Requirement, JTI, App string
	Status                ReceiptStatus
}

// Guard stands before an application's handlers. It is safe for concurrent use.
type Guard struct {
	cfg      Config
	attempts attempts
	stats    struct{ challenged, satisfied, refused, stale atomic.Uint64 }
	wasStale atomic.Bool
}

// New checks cfg and returns a guard.
func New(cfg Config) (*Guard, error) {
	var problems []error
	bad := func(text string) { problems = append(problems, errors.New(text)) }
	if cfg.Index == nil {
		bad("Index: is missing, make one with NewIndex")
	}
	if cfg.Identify == nil {
		bad("Identify: is missing, it has to say who the caller is")
	}
	if cfg.Stale != FailOpen && cfg.Stale != FailClosed {
		bad("Stale: say FailOpen or FailClosed")
	}
	if cfg.Leeway < 0 || cfg.MaxChallenges < 0 || cfg.ChallengeWindow < 0 {
		bad("Leeway, MaxChallenges, ChallengeWindow: must not be negative")
	}
	if c := cfg.Entra.AuthContext; c != "" && !validACR(c) {
		bad("Entra.AuthContext: must be one such as c1")
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("stepup: %w", errors.Join(problems...))
	}
	if cfg.Entra.AuthorizationURI == "" {
		cfg.Entra.AuthorizationURI = "https://login.microsoftonline.com/common/oauth2/authorize"
	}
	if cfg.MaxChallenges == 0 {
		cfg.MaxChallenges = 5
	}
	if cfg.ChallengeWindow == 0 {
		cfg.ChallengeWindow = 10 * time.Minute
	}
	if cfg.Refuse == nil {
		cfg.Refuse = WriteProblem
	}
	if cfg.ClientIP == nil {
		cfg.ClientIP = remoteIP
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Guard{cfg: cfg, attempts: newAttempts(cfg.ChallengeWindow)}, nil
}

// Middleware returns next behind the guard: a caller who is restrained and whose token does not satisfy is challenged, and
// all others pass. Requests without a token pass too: they are the application's to judge. Routes below it may use
// [Require], and handlers [FromContext].
func (g *Guard) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := caller{guard: g}
		var err error
		if c.token, err = g.cfg.Identify(r); err == nil {
			c.known = true
			if g.stop(w, r, &c.token) {
				return
			}
			g.observe(r, &c.token)
		} else if !errors.Is(err, ErrNoToken) {
			g.refuse(w, r, Refusal{
				Status: http.StatusUnauthorized, Title: "The token is not valid",
				Challenge: Challenge{Error: ErrorInvalidToken, MaxAge: NoMaxAge},
			})
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, &c)))
	})
}

func (g *Guard) observe(r *http.Request, t *Token) {
	if g.cfg.Observer != nil && t.Session != "" {
		g.cfg.Observer.Observe(SessionUse{Subject: t.Subject, IP: g.cfg.ClientIP(r), UserAgent: r.UserAgent(), App: g.cfg.App})
	}
}

// stop answers the request when its caller may not pass.
func (g *Guard) stop(w http.ResponseWriter, r *http.Request, t *Token) bool {
	if restrained := g.cfg.Index.restraints(t.Tenant, t.User); restrained != nil {
		now := time.Now()
		for res := range restrained.all() {
			if !res.applies(t.Session) || !res.Expires.After(now) {
				continue
			}
			d := demandOf(&res.Requirement)
			lack := g.lacks(t, &d, now)
			switch {
			case lack == "" && res.closed == 0:
				g.satisfied(t, &res.Requirement, now)
			case lack == "":
			case res.closed != 0 && !t.proved().Before(time.Unix(0, res.closed)):
				// A proof made after the requirement was closed is judged by what came later.
			default:
				g.answer(w, r, t, &d, lack)
				return true
			}
		}
	}
	age, fresh := g.cfg.Index.Fresh()
	if g.wasStale.Swap(!fresh) == fresh { // it changed
		g.cfg.Logger.Warn("freshness of the requirements changed", "fresh", fresh, "age", age.String())
	}
	if fresh {
		return false
	}
	g.stats.stale.Add(1)
	if g.cfg.Stale == FailOpen {
		return false
	}
	w.Header().Set("Retry-After", "5")
	g.refuse(w, r, Refusal{Status: http.StatusServiceUnavailable, Title: "What is required of you cannot be told at the moment"})
	return true
}

func (g *Guard) satisfied(t *Token, req *Requirement, now time.Time) {
	if g.attempts.satisfied(attemptKey(t, req.ID), now) {
		g.stats.satisfied.Add(1)
		g.receipt(t, req, Satisfied, now)
	}
}

func (g *Guard) receipt(t *Token, req *Requirement, s ReceiptStatus, now time.Time) {
	if g.cfg.Receipts != nil {
		g.cfg.Receipts.Record(Receipt{
			Time: now, Subject: t.Subject, Requirement: req.ID, JTI: req.JTI, App: g.cfg.App, Status: s,
		})
	}
}

// GuardStats are numbers for an application's metrics.
type GuardStats struct {
	// Challenged and Refused count answers; Satisfied counts requirements that a token was seen to satisfy; Stale
	// counts requests that came while the index was not fresh.
	Challenged, Satisfied, Refused, Stale uint64
}

// Stats returns the numbers since the start.
func (g *Guard) Stats() GuardStats {
	return GuardStats{
		Challenged: g.stats.challenged.Load(), Satisfied: g.stats.satisfied.Load(),
		Refused: g.stats.refused.Load(), Stale: g.stats.stale.Load(),
	}
}

// caller is what the guard leaves in the request's context.
type caller struct {
	guard *Guard
	token Token
	known bool
}

type callerKey struct{}

// FromContext returns the caller's token, as Config.Identify gave it, inside a handler behind a [Guard]. ok is false for a
// request without a token.
func FromContext(ctx context.Context) (t Token, ok bool) {
	if c, _ := ctx.Value(callerKey{}).(*caller); c != nil {
		return c.token, c.known
	}
	return Token{}, false
}
