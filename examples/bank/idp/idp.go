// Package idp is a very small identity provider for the bank example: the authorization code flow of OpenID Connect with
// PKCE, RS256 tokens, and the parameters that step-up needs: acr_values, max_age, prompt and claims.
//
// The people, their password and their security keys are make-believe: whoever knows the demo password may also "touch the
// key". Everything around them is meant seriously.
package idp

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/examples/bank/expiring"
)

// Authentication context classes, weakest first.
const (
	Password          = "pwd" // a password
	MultiFactor       = "mfa" // and a code from an app
	PhishingResistant = "phr" // and a security key
)

var ranking = []string{Password, MultiFactor, PhishingResistant}

// contexts are the classes that Entra-like authentication contexts ask for.
var contexts = map[string]string{"c1": MultiFactor, "c2": PhishingResistant}

// Config configures a [Provider].
type Config struct {
	// Issuer is the provider's URL, with a path of its own on the host, such as http://127.0.0.1:8080/idp.
	Issuer string
	// Tenant is in every token and event.
	Tenant  string
	Users   []User
	Clients []Client
	// ShownPassword is everybody's password where the sign-in page is to tell it, else empty.
	ShownPassword string
	// Report is told about every attempt; nil is fine. It must not block.
	Report func(*http.Request, SignIn)
}

// User is a person who can sign in.
type User struct {
	ID, Name, Password string
}

// Client is an application. All are public clients: PKCE protects their codes.
type Client struct {
	ID string
	// RedirectURIs are compared as text. For a host of 127.0.0.1 without a port any port will do (RFC 8252).
	RedirectURIs []string
	// Audience is that of its access tokens.
	Audience string
	// Entra gives it access tokens as Microsoft Entra ID makes them: tid, acrs and xms_cc, no auth_time.
	Entra bool
}

// SignIn is one attempt, or one code that an existing session gave.
type SignIn struct {
	User    User
	Client  string
	Session string
	Time    time.Time
	// OK is false for a wrong password. Interactive is false when the session was enough.
	OK, Interactive bool
	ACR             string
	AMR             []string
	// AuthTime is when the person proved identity.
	AuthTime time.Time
}

// Provider is the identity provider, an http.Handler below Issuer's path.
type Provider struct {
	cfg      Config
	base     *url.URL
	key      *rsa.PrivateKey
	keyID    string
	signer   jose.Signer // of access tokens
	idSigner jose.Signer
	mux      *http.ServeMux

	flows    *expiring.Map[authorization]
	codes    *expiring.Map[grant]
	sessions *expiring.Map[session]
	failures *expiring.Map[int]
}

// session is one person in one browser.
type session struct {
	id       string // `sid`, which lasts through step-ups
	user     User
	authTime time.Time
	acr      string
	amr      []string
}

// grant is what a code is good for.
type grant struct {
	authorization
	session session
}

const (
	sessionLifetime = 8 * time.Hour
	flowLifetime    = 10 * time.Minute
	codeLifetime    = time.Minute
	tokenLifetime   = 10 * time.Minute
	maxHeld         = 10_000
	// A user who has failed so often within a minute has to wait.
	maxFailures = 10
)

// New makes a provider with a key of its own, which lives as long as the process.
func New(cfg Config) (*Provider, error) {
	base, err := url.Parse(cfg.Issuer)
	if err != nil || base.Host == "" || base.Path == "" || strings.HasSuffix(base.Path, "/") {
		return nil, fmt.Errorf("issuer: %q must be a URL with a path such as http://127.0.0.1:8080/idp", cfg.Issuer)
	}
	if len(cfg.Users) == 0 || len(cfg.Clients) == 0 {
		return nil, errors.New("users, clients: at least one of each is needed")
	}
	if cfg.Report == nil {
		cfg.Report = func(*http.Request, SignIn) {}
	}
	p := &Provider{
		cfg: cfg, base: base, keyID: rand.Text()[:8],
		flows: expiring.New[authorization](maxHeld), codes: expiring.New[grant](maxHeld),
		sessions: expiring.New[session](maxHeld), failures: expiring.New[int](maxHeld),
	}
	if p.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	if p.signer, err = p.newSigner("at+jwt"); err != nil {
		return nil, err
	}
	if p.idSigner, err = p.newSigner("JWT"); err != nil {
		return nil, err
	}
	p.mux = http.NewServeMux()
	p.mux.HandleFunc("GET "+base.Path+"/.well-known/openid-configuration", p.discovery)
	p.mux.HandleFunc("GET "+base.Path+"/jwks", p.jwks)
	p.mux.HandleFunc("GET "+base.Path+"/authorize", p.authorize)
	p.mux.HandleFunc("POST "+base.Path+"/login", p.login)
	p.mux.HandleFunc("POST "+base.Path+"/token", p.token)
	p.mux.HandleFunc("GET "+base.Path+"/style.css", stylesheet)
	return p, nil
}

// ServeHTTP serves the provider's endpoints.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self' http://127.0.0.1:*; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	p.mux.ServeHTTP(w, r)
}

// JWKSURL is where the keys are.
func (p *Provider) JWKSURL() string { return p.cfg.Issuer + "/jwks" }

// End ends the session of a browser.
func (p *Provider) End(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(p.cookieName()); err == nil {
		p.sessions.Delete(c.Value)
	}
	p.setCookie(w, "", -1)
}

func (p *Provider) secure() bool { return p.base.Scheme == "https" }

func (p *Provider) cookieName() string {
	if p.secure() {
		return "__Secure-idp"
	}
	return "idp"
}

func (p *Provider) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // the flags follow; Secure where the provider has TLS
		Name: p.cookieName(), Value: value, Path: p.base.Path, MaxAge: maxAge, HttpOnly: true, Secure: p.secure(),
		SameSite: http.SameSiteLaxMode,
	})
}

func (p *Provider) client(id string) *Client {
	i := slices.IndexFunc(p.cfg.Clients, func(c Client) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return &p.cfg.Clients[i]
}

func (p *Provider) userByID(id string) (User, bool) {
	i := slices.IndexFunc(p.cfg.Users, func(u User) bool { return u.ID == id })
	if i < 0 {
		return User{}, false
	}
	return p.cfg.Users[i], true
}

// allows tells whether a redirect URI is one of the client's.
func (c *Client) allows(uri string) bool {
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() != "127.0.0.1" || u.Port() == "" {
		return false
	}
	u.Host = "127.0.0.1"
	return slices.Contains(c.RedirectURIs, u.String())
}

// atLeast tells whether a class is as strong as another.
func atLeast(have, want string) bool {
	return have != "" && slices.Index(ranking, have) >= slices.Index(ranking, want)
}

// weakest returns the weakest of the known classes in a list; ok is false when none is known.
func weakest(classes []string) (class string, ok bool) {
	known := slices.DeleteFunc(slices.Clone(classes), func(c string) bool { return !slices.Contains(ranking, c) })
	if len(known) == 0 {
		return "", false
	}
	return slices.MinFunc(known, func(a, b string) int {
		return cmp.Compare(slices.Index(ranking, a), slices.Index(ranking, b))
	}), true
}
