package bank

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/examples/bank/access"
	"github.com/countersign-io/countersign/stepup"
)

// session is a customer in a browser.
type session struct {
	token stepup.Token
	name  string
	// draft is a transfer that waits for a stronger sign-in.
	draft draft
}

// flow is a sign-in under way in a browser.
type flow struct {
	browser, nonce, verifier, returnTo string
}

const (
	sessionLifetime = time.Hour
	flowLifetime    = 10 * time.Minute
)

func (b *Bank) secure() bool { return strings.HasPrefix(b.cfg.BaseURL, "https://") }

// cookie makes one that scripts and other sites cannot have. Over https its name binds it to this host.
func (b *Bank) cookie(name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // the flags follow; Secure where the bank has TLS
		Name: b.cookieName(name), Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: b.secure(), SameSite: http.SameSiteLaxMode,
	}
}

func (b *Bank) cookieName(name string) string {
	if b.secure() {
		return "__Host-" + name
	}
	return name
}

const (
	sessionCookie = "bank_session"
	flowCookie    = "bank_flow"
)

// session returns the browser's session.
func (b *Bank) session(r *http.Request) (*session, bool) {
	c, err := r.Cookie(b.cookieName(sessionCookie))
	if err != nil {
		return nil, false
	}
	return b.sessions.Get(c.Value)
}

// identify is what the guard asks: who is this, and how and when did they prove it?
func (b *Bank) identify(r *http.Request) (stepup.Token, error) {
	t, err := b.keys.Bearer(r, b.issuer(), Audience)
	if !errors.Is(err, stepup.ErrNoToken) {
		return t, err
	}
	if s, ok := b.session(r); ok {
		return s.token, nil
	}
	return stepup.Token{}, stepup.ErrNoToken
}

// signInURL is where the guard sends browsers.
func signInURL(_ *http.Request, c stepup.Challenge, returnTo string) string {
	q := url.Values{"return_to": {returnTo}}
	for name, value := range c.AuthorizationParams() {
		q.Set(name, value)
	}
	return "/signin?" + q.Encode()
}

// signIn sends the browser to the identity provider with what was asked for. Whoever asks for less than a page demands
// is sent here again by that page.
func (b *Bank) signIn(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	browser := rand.Text()
	if c, err := r.Cookie(b.cookieName(flowCookie)); err == nil && len(c.Value) == len(browser) {
		browser = c.Value // other tabs may be signing in too
	}
	f := flow{browser: browser, nonce: rand.Text(), verifier: rand.Text() + rand.Text(), returnTo: localPath(q.Get("return_to"))}
	state := rand.Text()
	b.flows.Put(state, f, flowLifetime)
	http.SetCookie(w, b.cookie(flowCookie, browser, int(flowLifetime/time.Second)))

	to := authorizationQuery(WebClient, b.redirectURI(), state, f.nonce, f.verifier)
	for _, name := range []string{"acr_values", "max_age", "prompt"} {
		if v := q.Get(name); v != "" {
			to.Set(name, v)
		}
	}
	if s, ok := b.session(r); ok && to.Get("prompt") == "" {
		to.Set("login_hint", s.token.User)
	}
	http.Redirect(w, r, b.issuer()+"/authorize?"+to.Encode(), http.StatusSeeOther)
}

// authorizationQuery is an authorization request with PKCE.
func authorizationQuery(client, redirectURI, state, nonce, verifier string) url.Values {
	sum := sha256.Sum256([]byte(verifier))
	return url.Values{
		"response_type": {"code"}, "scope": {"openid"}, "client_id": {client}, "redirect_uri": {redirectURI}, "state": {state},
		"nonce": {nonce}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
}

// localPath is a path on this host, or "/".
func localPath(p string) string {
	if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\r\n") {
		return "/"
	}
	return p
}

// callback takes the identity provider's answer.
func (b *Bank) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f, ok := b.flows.Take(q.Get("state"))
	c, err := r.Cookie(b.cookieName(flowCookie))
	if !ok || err != nil || c.Value != f.browser {
		b.say(w, r, http.StatusBadRequest, "This sign-in has lapsed", "Please start again.")
		return
	}
	switch code := q.Get("error"); {
	case q.Get("iss") != b.issuer():
		b.say(w, r, http.StatusBadRequest, "This answer is not from our identity provider", "Please start again.")
		return
	case code == "unmet_authentication_requirements":
		b.say(w, r, http.StatusForbidden, "That was not strong enough", "The page you asked for needs a stronger way to sign in.")
		return
	case code != "":
		b.say(w, r, http.StatusForbidden, "You are not signed in", "The identity provider says: "+q.Get("error_description"))
		return
	}
	tokens, err := exchange(r.Context(), b.client, b.issuer()+"/token", WebClient, b.redirectURI(), q.Get("code"), f.verifier)
	if err != nil {
		b.cfg.Logger.Warn("exchanging the code", "error", err)
		b.say(w, r, http.StatusBadGateway, "The sign-in did not work", "Please start again.")
		return
	}
	claims, err := b.keys.Verify(r.Context(), tokens.ID, access.Expectation{Type: "JWT", Issuer: b.issuer(), Audience: WebClient})
	if err != nil || claims.Nonce != f.nonce {
		b.cfg.Logger.Warn("checking the ID token", "error", err)
		b.say(w, r, http.StatusBadGateway, "The sign-in did not work", "Please start again.")
		return
	}
	s := &session{token: access.TokenOf(claims), name: claims.Name}
	s.token.Kind = stepup.Cookie
	if old, err := r.Cookie(b.cookieName(sessionCookie)); err == nil {
		// A new cookie for the stronger session; the old one, and every copy of it, is worth nothing from now on.
		if before, ok := b.sessions.Take(old.Value); ok && before.token.User == s.token.User {
			s.draft = before.draft
		}
	}
	id := rand.Text()
	b.sessions.Put(id, s, sessionLifetime)
	http.SetCookie(w, b.cookie(sessionCookie, id, int(sessionLifetime/time.Second)))
	http.Redirect(w, r, f.returnTo, http.StatusSeeOther)
}

// tokens are a token endpoint's answer.
type tokens struct {
	Access string `json:"access_token"`
	ID     string `json:"id_token"`
	Error  string `json:"error"`
}

// exchange turns a code into tokens.
func exchange(ctx context.Context, client *http.Client, endpoint, clientID, redirectURI, code, verifier string) (*tokens, error) {
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {clientID}, "redirect_uri": {redirectURI}, "code": {code}, "code_verifier": {verifier},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	t := new(tokens)
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(t); err != nil {
		return nil, fmt.Errorf("reading the answer of status %d: %w", resp.StatusCode, err)
	}
	if t.Error != "" || t.Access == "" || t.ID == "" {
		return nil, fmt.Errorf("the token endpoint answers %d %.100q", resp.StatusCode, t.Error)
	}
	return t, nil
}

// endSession is what the guard calls for a session that was revoked.
func (b *Bank) endSession(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(b.cookieName(sessionCookie)); err == nil {
		b.sessions.Delete(c.Value)
	}
	http.SetCookie(w, b.cookie(sessionCookie, "", -1))
}

func (b *Bank) signOut(w http.ResponseWriter, r *http.Request) {
	b.endSession(w, r)
	b.provider.End(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// refuse is what the guard calls to say no: a page for people, a problem document for programs.
func (b *Bank) refuse(w http.ResponseWriter, r *http.Request, f stepup.Refusal) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") || strings.HasPrefix(r.URL.Path, "/api/") {
		stepup.WriteProblem(w, r, f)
		return
	}
	b.say(w, r, f.Status, f.Title, f.Reason)
}

// pretend moves a demo browser to another place.
func (b *Bank) pretend(w http.ResponseWriter, r *http.Request) {
	place := r.PostFormValue("from")
	if _, ok := b.cfg.Places[place]; !b.cfg.Demo || !remoteIP(r).IsLoopback() || !ok {
		http.NotFound(w, r)
		return
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // as above
		Name: demoCookie, Value: place, Path: "/", HttpOnly: true, Secure: b.secure(), SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// places lists where a demo browser may pretend to be.
func (b *Bank) places() []string {
	if !b.cfg.Demo {
		return nil
	}
	names := make([]string, 0, len(b.cfg.Places))
	for name := range b.cfg.Places {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
