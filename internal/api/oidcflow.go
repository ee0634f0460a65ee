package api

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"go.uber.org/zap"
	"golang.org/x/oauth2"

	"github.com/countersign-io/countersign/internal/events"
)

// A sign-in may take signInTime from leaving for the provider to coming back. The exchange of the code may take exchangeTime.
const (
	signInTime   = 10 * time.Minute
	exchangeTime = 15 * time.Second
)

// maxUsedStates bounds the sign-ins that are remembered so that they do not happen twice.
const maxUsedStates = 10_000

// pending is a sign-in on its way. The browser itself keeps it, sealed, in a cookie: so strangers who begin sign-ins fill no
// memory here, and whoever brings an answer of the provider must be the browser that went to it.
type pending struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	Return   string    `json:"r"`
	Ends     time.Time `json:"e"`
}

// signInSeal seals pending sign-ins for one process.
type signInSeal struct {
	aead cipher.AEAD

	mu   sync.Mutex
	used map[hash]time.Time // by state, until when it matters
}

func newSignInSeal() (*signInSeal, error) {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &signInSeal{aead: aead, used: map[hash]time.Time{}}, err
}

func (s *signInSeal) seal(p *pending) (string, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, raw, nil)), nil //nolint:gosec // it makes its own random nonce
}

// open opens a sealed sign-in, once: a second time it is nil, as is everything that this process has not sealed for that
// state, or too long ago.
func (s *signInSeal) open(text, state string, now time.Time) *pending {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	raw, err := s.aead.Open(nil, nil, sealed, nil)
	p := &pending{}
	if err != nil || json.Unmarshal(raw, p) != nil || subtle.ConstantTimeCompare([]byte(p.State), []byte(state)) != 1 || now.After(p.Ends) {
		return nil
	}
	h := sha256.Sum256([]byte(state))
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, used := s.used[h]; used {
		return nil
	}
	evict(s.used, maxUsedStates, func(ends time.Time) time.Time { return ends }, now)
	s.used[h] = p.Ends
	return p
}

// pendingCookie is the cookie of a sign-in: each has its own, so that two tabs may sign in at a time.
func pendingCookie(state string) string { return "countersign-oidc-" + state[:min(8, len(state))] }

// oidcLogin sends a browser to the provider.
func (a *API) oidcLogin(w http.ResponseWriter, r *http.Request) {
	p := a.gate.provider
	if p == nil {
		problem(w, http.StatusNotFound, "Signing in with a provider is not configured here.")
		return
	}
	if !a.unhurried(w, r) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), exchangeTime)
	defer cancel()
	m, err := p.discover(ctx)
	if err != nil {
		a.log.Warn("asking the identity provider", zap.Error(err))
		a.providerAway(w)
		return
	}
	wait := pending{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Return: localPath(r.URL.Query().Get("return")), Ends: time.Now().Add(signInTime)}
	sealed, err := a.seal.seal(&wait)
	if err != nil {
		a.log.Error("sealing a sign-in", zap.Error(err))
		problem(w, http.StatusInternalServerError, "Something is wrong here; the log says what.")
		return
	}
	// Lax: the provider's page sends the browser back, which a strict cookie would not survive.
	setCookie(w, r, pendingCookie(wait.State), sealed, signInTime, http.SameSiteLaxMode)
	http.Redirect(w, r, p.oauth(m).AuthCodeURL(wait.State, oidc.Nonce(wait.Nonce), oauth2.S256ChallengeOption(wait.Verifier)), http.StatusSeeOther)
}

func (a *API) providerAway(w http.ResponseWriter) {
	w.Header().Set("Retry-After", retryAfter)
	signPage{
		Title: "The provider does not answer", Text: fmt.Sprintf("You cannot sign in with %s now, because it does not answer this API. Try again soon.", a.gate.provider.label()),
		To: "/", ToText: "Back to the sign-in",
	}.serve(w, http.StatusServiceUnavailable)
}

// oidcReturn takes a browser back from the provider.
func (a *API) oidcReturn(w http.ResponseWriter, r *http.Request) {
	p := a.gate.provider
	if p == nil {
		problem(w, http.StatusNotFound, "Signing in with a provider is not configured here.")
		return
	}
	if !a.unhurried(w, r) {
		return
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	state, code := q.Get("state"), q.Get("code")
	name := pendingCookie(state)
	var wait *pending
	if cookies := r.CookiesNamed(cookieName(r, name)); err == nil && state != "" && len(cookies) == 1 && once(q) {
		wait = a.seal.open(cookies[0].Value, state, time.Now())
		setCookie(w, r, name, "", -time.Second, http.SameSiteLaxMode)
	}
	if wait == nil {
		a.refuseSignIn(w, r, "an answer to no sign-in of this browser", signPage{
			Title: "Begin again", Text: "This browser has not begun this sign-in here, or too long ago, or it has ended already.", To: "/", ToText: "Back to the sign-in",
		}, http.StatusBadRequest)
		return
	}
	again := "/oidc/login?return=" + url.QueryEscape(wait.Return)
	if iss, must := q.Get("iss"), p.namesItself(); iss != "" && !p.isIssuer(iss) || iss == "" && must {
		a.refuseSignIn(w, r, "an answer of another issuer", signPage{Title: "Begin again", Text: "The answer is of another provider.", To: again, ToText: "Sign in again"}, http.StatusBadRequest)
		return
	}
	if code == "" {
		a.log.Info("the identity provider has refused a sign-in", zap.String("error", fmt.Sprintf("%.100q", q.Get("error"))), zap.String("description", fmt.Sprintf("%.300q", q.Get("error_description"))))
		a.refuseSignIn(w, r, "refused by the provider", signPage{
			Title: "The provider has refused the sign-in", Text: p.label() + " did not let you in, or you have cancelled. " + p.cfg.Help, To: again, ToText: "Try again",
		}, http.StatusForbidden)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), exchangeTime)
	defer cancel()
	c, err := p.exchange(ctx, code, wait.Verifier, wait.Nonce)
	switch {
	case errors.Is(err, errAway):
		a.log.Warn("asking the identity provider", zap.Error(err))
		a.providerAway(w)
		return
	case err != nil:
		a.log.Warn("a sign-in with the identity provider was not taken", zap.Error(err))
		a.refuseSignIn(w, r, "with a code or an ID token that is not valid", signPage{
			Title: "That did not work", Text: "What the provider has sent could not be taken; the log of this API says why.", To: again, ToText: "Try again",
		}, http.StatusForbidden)
		return
	}
	subject := fmt.Sprintf("subject %.200q of %.200q", c.Subject, c.Issuer)
	who, why := p.principal(c)
	if who == nil {
		a.refuseSignIn(w, r, c.name(p.cfg.NameClaim)+" has no role; "+subject, signPage{Title: "You have no access", Text: why + " " + p.cfg.Help, To: "/", ToText: "Back to the sign-in"}, http.StatusForbidden)
		return
	}
	a.admit(w, r, who, time.Time{}, wait.Return, subject)
}

// refuseSignIn answers with a page and leaves a note in the trail.
func (a *API) refuseSignIn(w http.ResponseWriter, r *http.Request, why string, page signPage, status int) {
	a.metrics.denied.Inc()
	a.note(r.Context(), events.AuditEntry{Action: "sign_in", Detail: why, Outcome: events.AuditRefused})
	page.serve(w, status)
}

// once reports whether every parameter is there once.
func once(q url.Values) bool {
	for _, values := range q {
		if len(values) != 1 {
			return false
		}
	}
	return true
}

// namesItself reports whether the provider says that its answers name it (RFC 9207).
func (p *provider) namesItself() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.metadata != nil && p.metadata.IssInResponse
}

// isIssuer reports whether the provider may call itself so.
func (p *provider) isIssuer(iss string) bool {
	if len(p.cfg.IssuerTenants) == 0 {
		return iss == p.cfg.Issuer
	}
	for _, t := range p.cfg.IssuerTenants {
		if iss == strings.ReplaceAll(p.cfg.Issuer, tenantPlaceholder, t) {
			return true
		}
	}
	return false
}

// label is what people call the provider.
func (p *provider) label() string {
	if p.cfg.Label != "" {
		return p.cfg.Label
	}
	return "your identity provider"
}

// home is the address of the dashboard.
func (p *provider) home() string { return strings.TrimSuffix(p.cfg.RedirectURL, oidcReturnPath) + "/" }
