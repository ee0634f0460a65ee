package idp

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// authorization is a valid authorization request.
type authorization struct {
	Client       *Client
	redirectURI  string
	state, nonce string
	challenge    string // of PKCE
	hint         string
	prompt       string
	maxAge       time.Duration // negative: any
	acr          []string
	notBefore    time.Time // of the claims request
	capabilities []string
	essential    string // weakest class that will do; "" for any
}

// claimsParameter is the part of the `claims` parameter that means something here.
type claimsParameter struct {
	AccessToken struct {
		NBF   *claim `json:"nbf"`
		ACRS  *claim `json:"acrs"`
		AMR   *claim `json:"amr"`
		XMSCC *claim `json:"xms_cc"`
	} `json:"access_token"`
}

type claim struct {
	Value  string   `json:"value"`
	Values []string `json:"values"`
}

// protocolError is an error answer of OAuth.
type protocolError struct{ code, description string }

func (e *protocolError) Error() string { return e.code + ": " + e.description }

// errUnmet is the answer when the person cannot or will not prove what is asked for.
var errUnmet = &protocolError{"unmet_authentication_requirements", "The demanded authentication was not reached"}

// parse reads an authorization request whose client and redirect URI are known to be right.
func parse(client *Client, q url.Values) (authorization, error) {
	a := authorization{
		Client: client, redirectURI: q.Get("redirect_uri"), state: q.Get("state"), nonce: q.Get("nonce"),
		challenge: q.Get("code_challenge"), hint: q.Get("login_hint"), prompt: q.Get("prompt"), maxAge: -1,
		acr: strings.Fields(q.Get("acr_values")),
	}
	invalid := func(text string) (authorization, error) { return a, &protocolError{"invalid_request", text} }
	switch {
	case q.Get("response_type") != "code":
		return a, &protocolError{"unsupported_response_type", "response_type must be code"}
	case !slices.Contains(strings.Fields(q.Get("scope")), "openid"):
		return a, &protocolError{"invalid_scope", "scope must include openid"}
	case q.Get("code_challenge_method") != "S256" || len(a.challenge) != 43:
		return invalid("code_challenge with method S256 is required")
	case a.prompt != "" && a.prompt != "none" && a.prompt != "login":
		return invalid("prompt must be none or login")
	case len(a.state) > 512 || len(a.nonce) > 512 || len(a.acr) > 16:
		return invalid("state, nonce or acr_values too long")
	}
	if text := q.Get("max_age"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return invalid("max_age must be a number of seconds")
		}
		a.maxAge = time.Duration(min(n, 1<<30)) * time.Second
	}
	if len(a.acr) > 0 {
		class, ok := weakest(a.acr)
		if !ok {
			return a, errUnmet
		}
		a.essential = class
	}
	if text := q.Get("claims"); text != "" {
		var c claimsParameter
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			return invalid("claims must be JSON")
		}
		if err := a.demand(&c); err != nil {
			return a, err
		}
	}
	return a, nil
}

// demand takes in the claims that an Entra-like client asks for.
func (a *authorization) demand(c *claimsParameter) error {
	if t := c.AccessToken.XMSCC; t != nil {
		a.capabilities = t.Values
	}
	if t := c.AccessToken.NBF; t != nil {
		n, err := strconv.ParseInt(t.Value, 10, 64)
		if err != nil {
			return &protocolError{"invalid_request", "nbf must be a number of seconds"}
		}
		a.notBefore = time.Unix(n, 0)
	}
	if t := c.AccessToken.ACRS; t != nil {
		class, ok := contexts[t.Value]
		if !ok {
			return errUnmet
		}
		if !atLeast(a.essential, class) {
			a.essential = class
		}
	}
	if t := c.AccessToken.AMR; t != nil && slices.Contains(t.Values, "mfa") && !atLeast(a.essential, MultiFactor) {
		a.essential = MultiFactor
	}
	return nil
}

// satisfiedBy tells whether a session is enough without asking the person.
func (a *authorization) satisfiedBy(s *session, now time.Time) bool {
	return a.prompt != "login" && (a.maxAge < 0 || now.Sub(s.authTime) <= a.maxAge && a.maxAge > 0) &&
		!s.authTime.Before(a.notBefore) && (a.essential == "" || atLeast(s.acr, a.essential)) &&
		(a.hint == "" || a.hint == s.user.ID)
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	client := p.client(q.Get("client_id"))
	if client == nil || !client.allows(q.Get("redirect_uri")) {
		// Whoever made this link must not get an answer sent anywhere.
		p.page(w, http.StatusBadRequest, page{Title: "This sign-in link is not valid", Note: "The application or its return address is unknown."})
		return
	}
	a, err := parse(client, q)
	if err != nil {
		p.fail(w, r, &a, err)
		return
	}
	now := time.Now()
	var have *session
	if c, err := r.Cookie(p.cookieName()); err == nil {
		if s, ok := p.sessions.Get(c.Value); ok {
			have = &s
		}
	}
	switch {
	case have != nil && a.satisfiedBy(have, now):
		p.cfg.Report(r, have.report(&a, now, false))
		p.grant(w, r, &a, have)
	case a.prompt == "none" && have == nil:
		p.fail(w, r, &a, &protocolError{"login_required", "Nobody is signed in"})
	case a.prompt == "none":
		p.fail(w, r, &a, &protocolError{"interaction_required", "The session is not enough"})
	default:
		p.ask(w, http.StatusOK, a, "")
	}
}

func (s *session) report(a *authorization, now time.Time, interactive bool) SignIn {
	return SignIn{
		User: s.user, Client: a.Client.ID, Session: s.id, Time: now, OK: true, Interactive: interactive, ACR: s.acr, AMR: s.amr,
		AuthTime: s.authTime,
	}
}

// ask shows the login page for a request.
func (p *Provider) ask(w http.ResponseWriter, status int, a authorization, problem string) {
	flow := rand.Text()
	p.flows.Put(flow, a, flowLifetime)
	l := page{Title: "Sign in", Problem: problem, Flow: flow, Action: p.base.Path + "/login", Users: p.cfg.Users, Hint: a.hint, Password: p.cfg.ShownPassword}
	for _, m := range methods {
		if a.essential == "" || atLeast(m.Class, a.essential) {
			l.Methods = append(l.Methods, m)
		}
	}
	if a.essential != "" || a.maxAge == 0 {
		l.Note = "The application asks you to prove again that it is you."
	}
	p.page(w, status, l)
}

func (p *Provider) login(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form could not be read", http.StatusBadRequest)
		return
	}
	a, ok := p.flows.Take(r.PostForm.Get("flow"))
	if !ok {
		p.page(w, http.StatusBadRequest, page{Title: "This sign-in has lapsed", Note: "Please go back to the application and start again."})
		return
	}
	if r.PostForm.Get("method") == "cancel" {
		p.fail(w, r, &a, &protocolError{"access_denied", "The person did not want to"})
		return
	}
	i := slices.IndexFunc(methods, func(m method) bool { return m.Class == r.PostForm.Get("method") })
	user, known := p.userByID(r.PostForm.Get("user"))
	failed, _ := p.failures.Get(user.ID)
	switch {
	case i < 0:
		p.ask(w, http.StatusBadRequest, a, "Choose a way to sign in.")
		return
	case known && failed >= maxFailures:
		w.Header().Set("Retry-After", "60")
		p.ask(w, http.StatusTooManyRequests, a, "Too many attempts. Please wait a minute.")
		return
	case !known, subtle.ConstantTimeCompare([]byte(user.Password), []byte(r.PostForm.Get("password"))) != 1:
		if known {
			p.failures.Put(user.ID, failed+1, time.Minute)
			p.cfg.Report(r, SignIn{User: user, Client: a.Client.ID, Time: time.Now(), Interactive: true})
		}
		p.ask(w, http.StatusUnauthorized, a, "That is not right.")
		return
	case a.essential != "" && !atLeast(methods[i].Class, a.essential):
		p.fail(w, r, &a, errUnmet)
		return
	}
	now := time.Now()
	s := session{id: rand.Text(), user: user, authTime: now, acr: methods[i].Class, amr: methods[i].amr}
	if c, err := r.Cookie(p.cookieName()); err == nil {
		// A step-up goes on with the session; prompt=login begins a new one. The cookie changes in any case, so that a
		// stolen one is worth nothing after it.
		if old, ok := p.sessions.Take(c.Value); ok && old.user.ID == user.ID && a.prompt != "login" {
			s.id = old.id
		}
	}
	cookie := rand.Text()
	p.sessions.Put(cookie, s, sessionLifetime)
	p.setCookie(w, cookie, int(sessionLifetime/time.Second))
	p.cfg.Report(r, s.report(&a, now, true))
	p.grant(w, r, &a, &s)
}

// grant sends the browser back with a code.
func (p *Provider) grant(w http.ResponseWriter, r *http.Request, a *authorization, s *session) {
	code := rand.Text()
	p.codes.Put(code, grant{*a, *s}, codeLifetime)
	p.back(w, r, a, url.Values{"code": {code}})
}

// fail sends the browser back with an error.
func (p *Provider) fail(w http.ResponseWriter, r *http.Request, a *authorization, err error) {
	e := &protocolError{"server_error", ""}
	_ = errors.As(err, &e) // every error here is one
	p.back(w, r, a, url.Values{"error": {e.code}, "error_description": {e.description}})
}

func (p *Provider) back(w http.ResponseWriter, r *http.Request, a *authorization, answer url.Values) {
	answer.Set("state", a.state)
	answer.Set("iss", p.cfg.Issuer) // RFC 9207
	separator := "?"
	if strings.Contains(a.redirectURI, "?") {
		separator = "&"
	}
	http.Redirect(w, r, a.redirectURI+separator+answer.Encode(), http.StatusSeeOther) //nolint:gosec // one of the client's registered addresses, checked before
}
