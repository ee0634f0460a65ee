package ssf

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign-io/countersign/internal/jwks"
)

const asForm = "application/x-www-form-urlencoded"

func TestTokenEndpoint(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	secret := p.secrets["acme"]
	basic := func(id, secret string) http.Header {
		return http.Header{
			"Content-Type":  {asForm + "; charset=utf-8"},
			"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))},
		}
	}
	form := http.Header{"Content-Type": {asForm}}
	own := "client_id=acme&client_secret=" + secret
	for _, tc := range []struct {
		name, body string
		header     http.Header
		status     int
		code       string // or the scope
	}{
		{"in the form", "grant_type=client_credentials&" + own, form, 200, "ssf.manage ssf.read"},
		{"by Basic", "grant_type=client_credentials", basic("acme", secret), 200, "ssf.manage ssf.read"},
		{"by Basic and named", "grant_type=client_credentials&client_id=acme", basic("acme", secret), 200, "ssf.manage ssf.read"},
		{"one scope", "grant_type=client_credentials&scope=ssf.read&" + own, form, 200, "ssf.read"},
		{"a scope twice", "grant_type=client_credentials&scope=ssf.read+ssf.read&" + own, form, 200, "ssf.read"},
		{"unknown scope", "grant_type=client_credentials&scope=ssf.read+admin&" + own, form, 400, "invalid_scope"},
		{"scope of others", "grant_type=client_credentials&scope=ssf.manage&client_id=viewer&client_secret=" + p.secrets["viewer"], form, 400, "invalid_scope"},
		{"another grant", "grant_type=authorization_code&" + own, form, 400, "unsupported_grant_type"},
		{"no grant", own, form, 400, "invalid_request"},
		{"a parameter twice", "grant_type=client_credentials&grant_type=client_credentials&" + own, form, 400, "invalid_request"},
		{"two ways", "grant_type=client_credentials&" + own, basic("acme", secret), 400, "invalid_request"},
		{"two names", "grant_type=client_credentials&client_id=viewer", basic("acme", secret), 400, "invalid_request"},
		{"no form", "%zz", form, 400, "invalid_request"},
		{"JSON", `{"grant_type":"client_credentials"}`, http.Header{"Content-Type": {"application/json"}}, 400, "invalid_request"},
		{"too large", strings.Repeat("x", 20_000), form, 400, "invalid_request"},
		{"wrong secret", "grant_type=client_credentials&client_id=acme&client_secret=" + secret[1:], form, 401, "invalid_client"},
		{"no secret", "grant_type=client_credentials&client_id=acme", form, 401, "invalid_client"},
		{"secret of another", "grant_type=client_credentials&client_id=viewer&client_secret=" + secret, form, 401, "invalid_client"},
		{"nobody", "grant_type=client_credentials", form, 401, "invalid_client"},
		{"unknown client", "grant_type=client_credentials", basic("nobody", secret), 401, "invalid_client"},
	} {
		a := p.send(http.MethodPost, PathToken, tc.body, tc.header)
		var body struct {
			Token     string `json:"access_token"`
			Type      string `json:"token_type"`
			ExpiresIn int    `json:"expires_in"`
			Scope     string `json:"scope"`
			Error     string `json:"error"`
		}
		if err := json.Unmarshal([]byte(a.body), &body); err != nil {
			t.Fatalf("%s: %v in %s", tc.name, err, a.body)
		}
		if a.status != tc.status || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %+v", tc.name, a)
		}
		if a.status == http.StatusOK {
			if body.Scope != tc.code || body.Type != "Bearer" || body.ExpiresIn != 3600 || body.Token == "" {
				t.Errorf("%s: %s", tc.name, a.body)
			}
		} else if body.Error != tc.code || body.Token != "" || strings.Contains(a.body, secret) {
			t.Errorf("%s: %s", tc.name, a.body)
		}
		if (a.header.Get("WWW-Authenticate") != "") != (a.status == http.StatusUnauthorized) {
			t.Errorf("%s: %v", tc.name, a.header)
		}
	}
	if a := p.send(http.MethodGet, PathToken, "", nil); a.status != http.StatusMethodNotAllowed {
		t.Errorf("%+v", a)
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	guess := func(id string) answer {
		return p.grant("grant_type=client_credentials&client_id=" + id + "&client_secret=x")
	}
	for range failuresBurst {
		if a := guess("acme"); a.status != http.StatusUnauthorized {
			t.Fatalf("%+v", a)
		}
	}
	if a := guess("acme"); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "3" {
		t.Errorf("%+v", a)
	}
	p.token("viewer") // others are not held up
	p.token("acme")   // nor is who knows the secret: or whoever knows its name could lock it out
	if a := guess("acme"); a.status != http.StatusTooManyRequests {
		t.Errorf("the right secret in between lets one guess on: %+v", a)
	}
	for range failuresBurst {
		guess("unknown")
	}
	if a := guess("unknown too"); a.status != http.StatusTooManyRequests {
		t.Errorf("%+v", a)
	}
	p.clock.pass(failureEvery)
	if a := guess("acme"); a.status != http.StatusUnauthorized {
		t.Errorf("when it may try again: %+v", a)
	}
}

func TestTokensEnd(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	token := p.token("acme")
	status := func(token string) int { return p.send("GET", "/ssf/v1/acme/streams", "", bearer(token)).status }
	asked := func(cfg Config, token string) int { // of another courier with another configuration
		h, err := New(cfg, Deps{
			Registry: p.registry, Supported: supported, Delivered: delivered, CheckURL: checkURL, Now: p.clock.now,
			Keys: func(string) ([]byte, string) { return nil, "" }, Forward: func(http.ResponseWriter, *http.Request, []byte, string) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/ssf/v1/acme/streams", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+token)
		h.ServeHTTP(w, r)
		return w.Code
	}
	if got := asked(p.cfg, token); got != http.StatusOK {
		t.Errorf("another courier does not take the token: %d", got)
	}

	without := p.cfg
	without.Clients = p.cfg.Clients[1:]
	if got := asked(without, token); got != http.StatusUnauthorized {
		t.Errorf("the token of a client that was taken out: %d", got)
	}
	moved := p.cfg
	moved.Clients = append([]Client(nil), p.cfg.Clients...)
	moved.Clients[0].Tenant = "other"
	if got := asked(moved, token); got != http.StatusUnauthorized {
		t.Errorf("the token of a client of another tenant by now: %d", got)
	}

	file := p.cfg.Clients[0].SecretFile
	next := rand.Text() + rand.Text()
	for content, want := range map[string]int{next + "\n" + p.secrets["acme"]: http.StatusOK, next: http.StatusUnauthorized} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := asked(p.cfg, token); got != want {
			t.Errorf("while or after the secret is replaced: %d, want %d", got, want)
		}
	}

	p.clock.pass(time.Hour - time.Second)
	if got := status(token); got != http.StatusOK {
		t.Errorf("before its end: %d", got)
	}
	p.clock.pass(time.Second)
	if got := status(token); got != http.StatusUnauthorized {
		t.Errorf("after its end: %d", got)
	}
}

// TestNarrowerScopesCountAtOnce: a token with more than the client may have by now has what it may have.
func TestNarrowerScopesCountAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	g, err := newGuard(p.cfg, Deps{Now: p.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	c := g.clients["viewer"]
	token, err := g.grant(c, c.secrets[0], []string{ScopeManage, ScopeRead})
	if err != nil {
		t.Fatal(err)
	}
	if a := p.send("POST", "/ssf/v1/acme/streams", "{}", bearer(token)); a.status != http.StatusForbidden {
		t.Errorf("%+v", a)
	}
}

// TestForgedTokens signs what looks like tokens in all ways that are not allowed.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	g, err := newGuard(p.cfg, Deps{Now: p.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	now := p.clock.now()
	key := g.clients["acme"].secrets[0].key
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := func() map[string]any {
		return map[string]any{
			"iss": p.cfg.BaseURL, "aud": p.cfg.Issuer("acme"), "sub": "acme", "client_id": "acme", "scope": "ssf.manage",
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		}
	}
	for name, tc := range map[string]struct {
		alg    jose.SignatureAlgorithm
		key    any
		typ    jose.ContentType
		change func(map[string]any)
		status int
	}{
		"as it should be":    {jose.HS256, key, "at+jwt", nil, 200},
		"long name of typ":   {jose.HS256, key, "application/at+JWT", nil, 200},
		"a SET":              {jose.HS256, key, "secevent+jwt", nil, 401},
		"a JWT":              {jose.HS256, key, "JWT", nil, 401},
		"key of another":     {jose.HS256, g.clients["viewer"].secrets[0].key, "at+jwt", nil, 401},
		"plain secret":       {jose.HS256, []byte(p.secrets["acme"]), "at+jwt", nil, 401},
		"digest of secret":   {jose.HS256, g.clients["acme"].secrets[0].digest, "at+jwt", nil, 401},
		"longer MAC":         {jose.HS512, append(key, key...), "at+jwt", nil, 401},
		"RSA":                {jose.RS256, private, "at+jwt", nil, 401},
		"other client":       {jose.HS256, key, "at+jwt", func(c map[string]any) { c["client_id"] = "viewer" }, 401},
		"no client":          {jose.HS256, key, "at+jwt", func(c map[string]any) { delete(c, "client_id") }, 401},
		"other audience":     {jose.HS256, key, "at+jwt", func(c map[string]any) { c["aud"] = p.cfg.Issuer("other") }, 401},
		"other issuer":       {jose.HS256, key, "at+jwt", func(c map[string]any) { c["iss"] = "https://x.example.com" }, 401},
		"expired":            {jose.HS256, key, "at+jwt", func(c map[string]any) { c["exp"] = now.Unix() }, 401},
		"for ever":           {jose.HS256, key, "at+jwt", func(c map[string]any) { delete(c, "exp") }, 401},
		"of tomorrow":        {jose.HS256, key, "at+jwt", func(c map[string]any) { c["iat"] = now.Add(time.Hour).Unix() }, 401},
		"odd claims":         {jose.HS256, key, "at+jwt", func(c map[string]any) { c["scope"] = 1 }, 401},
		"scopes are unknown": {jose.HS256, key, "at+jwt", func(c map[string]any) { c["scope"] = "admin" }, 403},
	} {
		claims := good()
		if tc.change != nil {
			tc.change(claims)
		}
		token := signed(t, tc.alg, tc.key, tc.typ, "", claims)
		if a := p.send("GET", "/ssf/v1/acme/streams", "", bearer(token)); a.status != tc.status {
			t.Errorf("%s: %+v", name, a)
		}
	}
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"client_id":"acme"}`)) + "."
	if a := p.send("GET", "/ssf/v1/acme/streams", "", bearer(unsigned)); a.status != http.StatusUnauthorized {
		t.Errorf("%+v", a)
	}
}

func signed(t *testing.T, alg jose.SignatureAlgorithm, key any, typ jose.ContentType, kid string, claims any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType(typ)
	if typ == "" {
		options = &jose.SignerOptions{}
	}
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestExternalIssuer takes the tokens of an authorization server that writes them as Entra does.
func TestExternalIssuer(t *testing.T) {
	t.Parallel()
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var keys atomic.Value
	var status, fetches atomic.Int64
	status.Store(http.StatusOK)
	publish := func(kid string, key *rsa.PrivateKey) {
		raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: kid, Use: "sig"}}})
		if err != nil {
			t.Fatal(err)
		}
		keys.Store(raw)
	}
	publish("k1", old)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write(keys.Load().([]byte))
	}))
	t.Cleanup(server.Close)
	const iss = "https://login.example.com/v2.0"
	p := start(t, func(c *Config) {
		c.Burst = 10_000
		c.ExternalIssuers = []ExternalIssuer{{Issuer: iss, Audience: "api://ssf", JWKSURL: server.URL, ClientClaim: "azp", ScopeClaim: "roles"}}
		c.Clients = append(c.Clients, Client{ID: "app-1", Issuer: iss, Tenant: "acme", Audience: []string{"https://app1.example.com"}})
	})
	now := p.clock.now()
	claims := func(change func(map[string]any)) map[string]any {
		c := map[string]any{"iss": iss, "aud": "api://ssf", "azp": "app-1", "roles": []string{"ssf.manage"}, "exp": now.Add(48 * time.Hour).Unix()}
		if change != nil {
			change(c)
		}
		return c
	}
	ask := func(token string) int { return p.send("POST", "/ssf/v1/acme/streams", "{}", bearer(token)).status }
	status.Store(http.StatusInternalServerError)
	if got := ask(signed(t, jose.RS256, old, "JWT", "k1", claims(nil))); got != http.StatusServiceUnavailable {
		t.Errorf("without keys: %d", got)
	}
	status.Store(http.StatusOK)
	p.clock.pass(jwks.Retry)
	for name, tc := range map[string]struct {
		typ    jose.ContentType
		kid    string
		key    *rsa.PrivateKey
		change func(map[string]any)
		status int
	}{
		"plain":             {"JWT", "k1", old, nil, 201},
		"RFC 9068":          {"at+jwt", "k1", old, nil, 201},
		"without kid":       {"", "", old, nil, 201},
		"scopes in a text":  {"JWT", "k1", old, func(c map[string]any) { c["roles"] = "x ssf.manage" }, 201},
		"several audiences": {"JWT", "k1", old, func(c map[string]any) { c["aud"] = []string{"x", "api://ssf"} }, 201},
		"read only":         {"JWT", "k1", old, func(c map[string]any) { c["roles"] = []string{"ssf.read"} }, 403},
		"no scopes":         {"JWT", "k1", old, func(c map[string]any) { delete(c, "roles") }, 403},
		"a SET":             {"secevent+jwt", "k1", old, nil, 401},
		"another key":       {"JWT", "k1", fresh, nil, 401},
		"unknown key":       {"JWT", "k9", old, nil, 401},
		"another audience":  {"JWT", "k1", old, func(c map[string]any) { c["aud"] = "api://other" }, 401},
		"another issuer":    {"JWT", "k1", old, func(c map[string]any) { c["iss"] = "https://evil.example.com" }, 401},
		"another client":    {"JWT", "k1", old, func(c map[string]any) { c["azp"] = "app-2" }, 401},
		"a client of ours":  {"JWT", "k1", old, func(c map[string]any) { c["azp"] = "acme" }, 401},
		"no client":         {"JWT", "k1", old, func(c map[string]any) { delete(c, "azp") }, 401},
		"expired":           {"JWT", "k1", old, func(c map[string]any) { c["exp"] = now.Add(-time.Minute).Unix() }, 401},
		"for ever":          {"JWT", "k1", old, func(c map[string]any) { delete(c, "exp") }, 401},
		"not yet":           {"JWT", "k1", old, func(c map[string]any) { c["nbf"] = now.Add(time.Hour).Unix() }, 401},
	} {
		if got := ask(signed(t, jose.RS256, tc.key, tc.typ, tc.kid, claims(tc.change))); got != tc.status {
			t.Errorf("%s: %d, want %d", name, got, tc.status)
		}
	}
	if n := fetches.Load(); n != 2 {
		t.Errorf("the keys were fetched %d times", n)
	}

	publish("k2", fresh)
	rotated := signed(t, jose.RS256, fresh, "JWT", "k2", claims(nil))
	p.clock.pass(jwks.Every)
	if got := ask(rotated); got != http.StatusCreated {
		t.Errorf("after rotation: %d", got)
	}
	if got := ask(signed(t, jose.RS256, old, "JWT", "k1", claims(nil))); got != http.StatusUnauthorized {
		t.Errorf("the key that was withdrawn: %d", got)
	}
	status.Store(http.StatusInternalServerError)
	p.clock.pass(jwks.Fresh)
	if got := ask(rotated); got != http.StatusCreated {
		t.Errorf("while the issuer is away: %d", got)
	}
	p.clock.pass(jwks.Stale)
	if got := ask(rotated); got != http.StatusServiceUnavailable {
		t.Errorf("the issuer has been away for too long: %d", got)
	}
}
