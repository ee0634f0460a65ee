// Package oidctest is a small OpenID Connect provider for tests: it serves discovery, keys, the authorization-code flow with
// PKCE and RP-initiated logout by TLS, and signs with real keys. It refuses what a provider must refuse, and can be told to
// sign what a provider never would.
package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The client that is registered.
const (
	ClientID     = "dashboard"
	ClientSecret = "the secret of the dashboard"
)

// Provider is a provider on loopback. Its fields may be changed between requests, with Lock held.
type Provider struct {
	sync.Mutex
	// URL is the address and, unless Issuer says otherwise, the issuer.
	URL string
	// Issuer is what discovery and tokens call it.
	Issuer string
	// Redirects are the registered redirect URIs.
	Redirects []string
	// Public says that the client has no secret.
	Public bool
	// Person are the claims of whoever signs in next; they go over those that the provider sets.
	Person map[string]any
	// Deny, when set, is the error that the authorization endpoint answers with.
	Deny string
	// Forge, when set, makes the ID token from its claims instead of [Provider.Sign].
	Forge func(claims map[string]any) string
	// Away answers everything with 503.
	Away bool
	// Describe changes what discovery says.
	Describe func(document map[string]any)
	// Asked counts the requests by path.
	Asked map[string]int

	// RSA, EC and Stranger are keys; the last is in no key set. Keys is the set.
	RSA      *rsa.PrivateKey
	EC       *ecdsa.PrivateKey
	Stranger *rsa.PrivateKey
	Keys     []jose.JSONWebKey

	server *httptest.Server
	codes  map[string]grant
}

type grant struct {
	redirect, challenge, nonce string
}

// Start starts a provider. It ends with the test.
func Start(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{codes: map[string]grant{}, Asked: map[string]int{}, Person: map[string]any{"sub": "subject-1"}}
	var err error
	if p.RSA, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if p.Stranger, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if p.EC, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	p.Keys = []jose.JSONWebKey{
		{Key: p.RSA.Public(), KeyID: "rsa", Use: "sig", Algorithm: string(jose.RS256)},
		{Key: p.EC.Public(), KeyID: "ec", Use: "sig", Algorithm: string(jose.ES256)},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	p.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.Lock()
		defer p.Unlock()
		p.Asked[r.URL.Path]++
		if p.Away {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.server.Close)
	p.URL = p.server.URL
	p.Issuer = p.URL
	return p
}

// CAFile writes the provider's certificate to a file, PEM.
func (p *Provider) CAFile(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "provider.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Set changes the provider between requests.
func (p *Provider) Set(change func(*Provider)) {
	p.Lock()
	defer p.Unlock()
	change(p)
}

// Claims are what the provider would sign now for an audience, with more over them; nil values remove one.
func (p *Provider) Claims(audience string, more map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{"iss": p.Issuer, "aud": audience, "iat": now, "exp": now + 300}
	maps.Copy(c, p.Person)
	maps.Copy(c, more)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// Sign signs claims as the provider does.
func (p *Provider) Sign(claims map[string]any) string {
	return SignWith(jose.RS256, jose.JSONWebKey{Key: p.RSA, KeyID: "rsa"}, "JWT", claims)
}

// SignWith signs claims with any key. It panics when that cannot be done: tests name keys that fit.
func SignWith(algorithm jose.SignatureAlgorithm, key any, typ string, claims any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}

// Compact puts a header, claims and a signature together as they are.
func Compact(header, claims any, signature []byte) string {
	encode := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	return encode(header) + "." + encode(claims) + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	document := map[string]any{
		"issuer": p.Issuer, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"end_session_endpoint": p.URL + "/logout", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"RS256", "PS256", "ES256", "HS256", "none"},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post"},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	}
	if p.Describe != nil {
		p.Describe(document)
	}
	answer(w, http.StatusOK, document)
}

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: p.Keys})
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	redirect := q.Get("redirect_uri")
	if q.Get("client_id") != ClientID || !slices.Contains(p.Redirects, redirect) {
		http.Error(w, "unknown client or redirect_uri", http.StatusBadRequest)
		return
	}
	back := url.Values{"state": {q.Get("state")}, "iss": {p.Issuer}}
	switch {
	case p.Deny != "":
		back.Set("error", p.Deny)
		back.Set("error_description", "<script>alert(1)</script>")
	case q.Get("response_type") != "code" || !slices.Contains(strings.Fields(q.Get("scope")), "openid") || q.Get("code_challenge_method") != "S256" ||
		q.Get("code_challenge") == "" || q.Get("state") == "" || q.Get("nonce") == "":
		back.Set("error", "invalid_request")
	default:
		code := rand.Text()
		p.codes[code] = grant{redirect, q.Get("code_challenge"), q.Get("nonce")}
		back.Set("code", code)
	}
	http.Redirect(w, r, redirect+"?"+back.Encode(), http.StatusSeeOther) //nolint:gosec // it is one of the registered redirect URIs
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_request"})
		return
	}
	id, secret, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if id != ClientID || !p.Public && secret != ClientSecret {
		answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	code := r.PostForm.Get("code")
	g, ok := p.codes[code]
	delete(p.codes, code) // it works once
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	if !ok || r.PostForm.Get("grant_type") != "authorization_code" || r.PostForm.Get("redirect_uri") != g.redirect ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	claims := p.Claims(ClientID, map[string]any{"nonce": g.nonce})
	sign := p.Sign
	if p.Forge != nil {
		sign = p.Forge
	}
	answer(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 300, "id_token": sign(claims)})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the reader has gone
}
