package enforce

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/countersign-io/countersign/stepup"
)

const clientID = "api://payroll"

// provider is an identity provider: it publishes its keys, and signs what it is told.
type provider struct {
	*httptest.Server
	mu     sync.Mutex
	keys   map[string]*ecdsa.PrivateKey
	hidden bool // its keys cannot be read
	asked  int
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{keys: map[string]*ecdsa.PrivateKey{}}
	p.addKey(t, "k1")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, p.URL, p.URL+"/keys")
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked++
		if p.hidden {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		var set jose.JSONWebKeySet
		for id, key := range p.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Use: "sig", Algorithm: "ES256"})
		}
		_ = json.NewEncoder(w).Encode(set)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) addKey(t testing.TB, id string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[id] = key
}

// sign returns a token with a key's signature.
func (p *provider) sign(t testing.TB, id, typ string, claims map[string]any) string {
	t.Helper()
	p.mu.Lock()
	key := p.keys[id]
	p.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// claims are those of a user who signed in by password some time ago.
func (p *provider) claims(ago time.Duration, change map[string]any) map[string]any {
	now := time.Now()
	claims := map[string]any{
		"iss": p.URL, "aud": clientID, "sub": "u1", "sid": "s1", "acr": "pwd", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"auth_time": now.Add(-ago).Unix(),
	}
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// receipts keeps receipts.
type receipts struct {
	mu  sync.Mutex
	all []string
}

func (r *receipts) Record(x stepup.Receipt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, x.App+" "+x.Session+" "+x.Requirement+" "+string(x.Status))
}

// bench is a server with a provider, whose proxies are on loopback.
type bench struct {
	*provider
	server   *Server
	http     *httptest.Server
	index    *stepup.Index
	receipts receipts
	registry *prometheus.Registry
}

func newBench(t testing.TB, change func(*Config)) *bench {
	t.Helper()
	b := &bench{provider: newProvider(t), registry: prometheus.NewRegistry()}
	var err error
	if b.index, err = stepup.NewIndex(stepup.IndexConfig{}); err != nil {
		t.Fatal(err)
	}
	b.index.CaughtUp()
	cfg := DefaultConfig()
	cfg.Listen, cfg.App, cfg.Kafka.Brokers = "127.0.0.1:0", "payroll", []string{"127.0.0.1:9092"}
	cfg.Issuers = []IssuerConfig{{Issuer: b.URL, Audiences: []string{clientID}, Tenant: "acme"}}
	cfg.Ranking = []string{"pwd", "mfa", "phr"}
	cfg.Public = []Match{{Path: "/health"}, {Path: "/", Methods: []string{"OPTIONS"}}}
	cfg.Routes = []RouteConfig{
		{Path: "/transfers", Methods: []string{"POST"}, ACRValues: []string{"phr"}, MaxAge: 5 * time.Minute},
		{Path: "/admin", ACRValues: []string{"mfa"}},
	}
	if change != nil {
		change(&cfg)
	}
	b.server, err = New(cfg, Deps{Index: b.index, Receipts: &b.receipts, Registerer: b.registry})
	if err != nil {
		t.Fatal(err)
	}
	b.http = httptest.NewServer(b.server.Handler())
	t.Cleanup(b.http.Close)
	return b
}

// restrain opens a requirement for user u1.
func (b *bench) restrain(change func(*stepup.Requirement)) {
	now := time.Now()
	r := stepup.Requirement{
		ID: "r1", JTI: "j1", Subject: stepup.Subject{Tenant: "acme", User: "u1"}, Action: stepup.ActionStepUp, ACRValues: []string{"phr", "mfa"},
		NotBefore: now.Add(-time.Minute), Expires: now.Add(time.Hour), Reason: "A new place",
	}
	if change != nil {
		change(&r)
	}
	b.index.Apply(stepup.Claims{JTI: r.JTI, Status: stepup.StatusOpen, IssuedAt: now, Requirement: r})
}

// shapes are the requests that the proxies send, with the snippets of docs/apps.md.
var shapes = map[string]func(method, uri, headers string) string{
	// ngx_http_auth_request_module: a GET of HTTP/1.0 or 1.1 with the client's own headers and those that are set.
	"nginx": func(method, uri, headers string) string {
		return "GET /v1/nginx HTTP/1.0\r\nX-Original-Method: " + method + "\r\nX-Original-URI: " + uri +
			"\r\nX-Forwarded-For: 198.51.100.7, 203.0.113.9\r\nHost: app.example.com\r\nConnection: close\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n" + headers + "\r\n"
	},
	// Traefik v3, forwardAuth with trustForwardHeader false.
	"traefik": func(method, uri, headers string) string {
		return "GET /v1/traefik HTTP/1.1\r\nHost: 127.0.0.1:8083\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n" + headers +
			"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: app.example.com\r\nX-Forwarded-Method: " + method +
			"\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Server: 1f2e3d\r\nX-Forwarded-Uri: " + uri + "\r\nX-Real-Ip: 203.0.113.9\r\nAccept-Encoding: gzip\r\n\r\n"
	},
	// Envoy v1.3x, ext_authz http_service with path_prefix /v1/envoy.
	"envoy": func(method, uri, headers string) string {
		return method + " /v1/envoy" + uri + " HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: 0\r\n" + headers +
			"x-forwarded-for: 203.0.113.9\r\nx-envoy-internal: true\r\nx-request-id: 0c1b2a\r\nx-envoy-expected-rq-timeout-ms: 500\r\n\r\n"
	},
}

// ask sends a request as a proxy does, byte by byte.
func (b *bench) ask(t *testing.T, raw string) *http.Response {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", b.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(raw, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func bearer(token string) string { return "Authorization: Bearer " + token + "\r\n" }

func TestEveryProxyGetsTheSameAnswers(t *testing.T) {
	t.Parallel()
	const more = `Bearer error="insufficient_user_authentication", error_description="A more recent or stronger authentication is required", `
	for proxy, shape := range shapes {
		t.Run(proxy, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			old := b.sign(t, "k1", "at+jwt", b.claims(time.Hour, nil))
			strong := b.sign(t, "k1", "at+jwt", b.claims(0, map[string]any{"acr": "phr"}))
			ended := b.sign(t, "k1", "at+jwt", b.claims(0, map[string]any{"acr": "phr", "sub": "u2", "sid": "s2"}))
			b.restrain(func(r *stepup.Requirement) {
				r.ID, r.JTI, r.User, r.Session, r.Action, r.ACRValues = "r2", "j2", "u2", "s2", stepup.ActionRevokeSession, nil
			})
			for _, c := range []struct {
				name, method, uri, headers string
				status                     int
				challenge                  string
			}{
				{"passes", "GET", "/pay?month=3", bearer(old), 200, ""},
				{"no token", "GET", "/pay", "", 401, "Bearer"},
				{"another scheme", "GET", "/pay", "Authorization: Basic dTpw\r\n", 401, "Bearer"},
				{"not a token", "GET", "/pay", bearer("x"), 401, `Bearer error="invalid_token"`},
				{"public", "GET", "/health/live", "", 200, ""},
				{"preflight", "OPTIONS", "/transfers", "", 200, ""},
				{"sensitive, weak", "POST", "/transfers/9", bearer(old), 401, more + `acr_values="phr", max_age="300"`},
				{"sensitive, another method", "GET", "/transfers/9", bearer(old), 200, ""},
				{"sensitive, strong", "POST", "/transfers/9", bearer(strong), 200, ""},
				{"sensitive, no token", "POST", "/transfers/9", "", 401, "Bearer"},
				{"ranked", "GET", "/admin", bearer(strong), 200, ""},
				{"session revoked", "GET", "/pay", bearer(ended), 401, `Bearer error="invalid_token", error_description="The session has been revoked"`},
				{"not a path", "GET", "/pay%00", bearer(old), 403, ""},
			} {
				resp := b.ask(t, shape(c.method, c.uri, c.headers))
				if resp.StatusCode != c.status || resp.Header.Get("WWW-Authenticate") != c.challenge {
					t.Errorf("%s: %d %q, want %d %q", c.name, resp.StatusCode, resp.Header.Get("WWW-Authenticate"), c.status, c.challenge)
				}
				if resp.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s: the answer may be cached: %v", c.name, resp.Header)
				}
			}
			b.restrain(nil)
			if resp := b.ask(t, shape("GET", "/pay", bearer(old))); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") != more+`acr_values="phr mfa", max_age="0"` {
				t.Errorf("restrained: %d %v", resp.StatusCode, resp.Header)
			}
			if resp := b.ask(t, shape("GET", "/pay", bearer(strong))); resp.StatusCode != http.StatusOK {
				t.Errorf("stepped up: %d", resp.StatusCode)
			}
			if diff := cmp.Diff([]string{"payroll s2 r2 revoked", "payroll s1 r1 challenged", "payroll s1 r1 satisfied"}, b.receipts.all); diff != "" {
				t.Errorf("receipts (-want, +got):\n%s", diff)
			}
			for d, want := range map[decision]float64{passed: 5, public: 2, challenged: 2, revoked: 1, badToken: 1, noToken: 3, unclear: 1} {
				if got := testutil.ToFloat64(b.server.metrics.decided.WithLabelValues(string(d))); got != want {
					t.Errorf("metric %s: %g, want %g", d, got, want)
				}
			}
		})
	}
}

func TestIdentityHeaders(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	token := b.sign(t, "k1", "JWT", b.claims(time.Hour, map[string]any{"sub": "jürgen %\u2028", "auth_time": 1767225600, "acr": nil}))
	forged := "X-Countersign-User: root\r\nX-Countersign-Acr: phr\r\n"
	for proxy, shape := range shapes {
		resp := b.ask(t, shape("GET", "/", bearer(token)+forged))
		got := map[string]string{}
		for name := range resp.Header {
			if strings.HasPrefix(name, "X-Countersign-") || strings.HasPrefix(name, "X-Envoy") {
				got[name] = resp.Header.Get(name)
			}
		}
		want := map[string]string{
			"X-Countersign-Tenant": "acme", "X-Countersign-User": "j%C3%BCrgen%20%25%E2%80%A8", "X-Countersign-Session": "s1",
			"X-Countersign-Auth-Time": "1767225600",
		}
		if proxy == "envoy" {
			want["X-Envoy-Auth-Headers-To-Remove"] = "X-Countersign-Acr"
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want, +got):\n%s", proxy, diff)
		}
	}
	resp := b.ask(t, shapes["envoy"]("GET", "/health", forged))
	if got := resp.Header.Get("X-Envoy-Auth-Headers-To-Remove"); resp.StatusCode != http.StatusOK || strings.Count(got, "X-Countersign-") != 5 {
		t.Errorf("public: %d, Envoy is to remove %q", resp.StatusCode, got)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	other := newProvider(t) // has a key of the same id
	now := time.Now()
	sign := func(change map[string]any) string { return b.sign(t, "k1", "at+jwt", b.claims(0, change)) }
	good := sign(nil)
	parts := strings.Split(good, ".")
	none := "eyJhbGciOiJub25lIn0." + parts[1] + "."
	shared, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("k", 32))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(b.claims(0, nil))
	if err != nil {
		t.Fatal(err)
	}
	mac, err := shared.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	hmac, err := mac.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"empty":                   "",
		"large":                   strings.Repeat("x", maxToken+1),
		"none":                    none,
		"shared secret":           hmac,
		"cut":                     parts[0] + "." + parts[1] + ".",
		"another's signature":     other.sign(t, "k1", "at+jwt", b.claims(0, nil)),
		"another issuer":          sign(map[string]any{"iss": "https://evil.example"}),
		"issuer with a slash":     sign(map[string]any{"iss": b.URL + "/"}),
		"another audience":        sign(map[string]any{"aud": []string{"api://other"}}),
		"no audience":             sign(map[string]any{"aud": nil}),
		"no expiry":               sign(map[string]any{"exp": nil}),
		"expiry null":             sign(map[string]any{"Exp": now.Add(time.Hour).Unix(), "exp": nil}),
		"expired":                 sign(map[string]any{"exp": now.Add(-2 * skew).Unix()}),
		"expiry no number":        sign(map[string]any{"exp": "tomorrow"}),
		"not valid yet":           sign(map[string]any{"nbf": now.Add(2 * skew).Unix()}),
		"from the future":         sign(map[string]any{"iat": now.Add(2 * skew).Unix()}),
		"bound to a key":          sign(map[string]any{"cnf": map[string]any{"jkt": "x"}}),
		"no user":                 sign(map[string]any{"sub": nil}),
		"user no text":            sign(map[string]any{"sub": 7}),
		"user with control":       sign(map[string]any{"sub": "u\n"}),
		"long user":               sign(map[string]any{"sub": strings.Repeat("u", 257)}),
		"security event token":    b.sign(t, "k1", "secevent+jwt", b.claims(0, nil)),
		"logout token":            b.sign(t, "k1", "logout+jwt", b.claims(0, nil)),
		"claims that are no JSON": b.sign(t, "k1", "at+jwt", nil),
	} {
		resp := b.ask(t, shapes["traefik"]("GET", "/", bearer(token)))
		if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
	}
	if resp := b.ask(t, shapes["traefik"]("GET", "/", bearer(good))); resp.StatusCode != http.StatusOK {
		t.Errorf("a good one: %d", resp.StatusCode)
	}
	for name, headers := range map[string]string{
		"two headers": bearer(good) + bearer(good), "DPoP": "Authorization: DPoP " + good + "\r\n",
	} {
		if resp := b.ask(t, shapes["traefik"]("GET", "/", headers)); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}

func TestClaimsOfEntra(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) {
		i := &c.Issuers[0]
		i.Entra, i.Tenant, i.TenantClaim = true, "", "tid"
		c.Entra = EntraConfig{AuthContext: "c1", Realm: "contoso"}
	})
	const tenant, user = "9f1d4ab0-0c6e-4b0e-9f0d-3f2b6a1c7e55", "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315"
	b.restrain(func(r *stepup.Requirement) { r.Tenant, r.User = tenant, user })
	claims := map[string]any{"tid": strings.ToUpper(tenant), "oid": user, "sub": "pairwise", "iat": time.Now().Add(-time.Hour).Unix(), "xms_cc": []string{"CP1"}}
	resp := b.ask(t, shapes["envoy"]("GET", "/", bearer(b.sign(t, "k1", "JWT", b.claims(time.Hour, claims)))))
	if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(got, `Bearer realm="contoso", authorization_uri="https://login.microsoftonline.com/`) || !strings.Contains(got, "insufficient_claims") {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
	claims["iat"], claims["acrs"] = time.Now().Add(time.Second).Unix(), []string{"c1"}
	if resp := b.ask(t, shapes["envoy"]("GET", "/", bearer(b.sign(t, "k1", "JWT", b.claims(time.Hour, claims))))); resp.StatusCode != http.StatusOK {
		t.Errorf("stepped up: %d", resp.StatusCode)
	}
}

func TestCallersThatTheProxyTells(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) {
		c.Issuers = nil
		c.Header = HeaderConfig{User: "X-Auth-User", Session: "X-Auth-Session", AuthTime: "X-Auth-Time", ACR: "X-Auth-Acr", Tenant: "acme"}
	})
	b.restrain(nil)
	for _, c := range []struct {
		name, headers string
		status        int
	}{
		{"nobody", "", 401},
		{"empty", "X-Auth-User: \r\n", 401},
		{"another", "X-Auth-User: u9\r\n", 200},
		{"old proof", "X-Auth-User: u1\r\nX-Auth-Time: 1767225600\r\nX-Auth-Acr: phr\r\n", 401},
		{"fresh proof", fmt.Sprintf("X-Auth-User: u1\r\nX-Auth-Time: %d\r\nX-Auth-Acr: phr\r\n", time.Now().Unix()), 200},
		{"RFC 3339", "X-Auth-User: u1\r\nX-Auth-Time: " + time.Now().Format(time.RFC3339) + "\r\nX-Auth-Acr: mfa\r\n", 200},
		{"no time", "X-Auth-User: u1\r\nX-Auth-Acr: phr\r\n", 401},
		{"odd time", "X-Auth-User: u9\r\nX-Auth-Time: soon\r\n", 401},
		{"two users", "X-Auth-User: u9\r\nX-Auth-User: u1\r\n", 401},
		{"tokens are for nobody", "Authorization: Bearer x\r\n", 401},
	} {
		if resp := b.ask(t, shapes["nginx"]("GET", "/", c.headers)); resp.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.name, resp.StatusCode, c.status)
		}
	}
}

// A browser whose proxy has signed it in is sent to prove more, and comes back; scripts and other clients are challenged.
func TestBrowsersAreSentToTheSignIn(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) {
		c.Header = HeaderConfig{User: "X-Auth-User", AuthTime: "X-Auth-Time", Tenant: "acme"}
		c.SignIn = SignInConfig{URL: "https://id.example.com/start?app=1", ReturnParameter: "rd", AppURL: "https://payroll.example.com/"}
	})
	b.restrain(nil)
	const who, page, script = "X-Auth-User: u1\r\n", "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n", "Sec-Fetch-Mode: cors\r\n"
	for proxy, shape := range shapes {
		for _, c := range []struct{ name, method, uri, headers, to string }{
			{"restrained", "GET", "/pay?a=1&b=2", who + page, "https://id.example.com/start?acr_values=phr+mfa&app=1&max_age=0&rd=https%3A%2F%2Fpayroll.example.com%2Fpay%3Fa%3D1%26b%3D2"},
			{"like another host", "GET", "//evil.example/x", who + page, "https://id.example.com/start?acr_values=phr+mfa&app=1&max_age=0&rd=https%3A%2F%2Fpayroll.example.com%2Fevil.example%2Fx"},
			{"nobody", "GET", "/pay", page, "https://id.example.com/start?app=1&rd=https%3A%2F%2Fpayroll.example.com%2Fpay"},
			{"nobody, sensitive", "GET", "/admin", page, "https://id.example.com/start?acr_values=mfa&app=1&rd=https%3A%2F%2Fpayroll.example.com%2Fadmin"},
			{"a script", "GET", "/pay", who + script, ""},
			{"a token", "GET", "/pay", bearer(b.sign(t, "k1", "JWT", b.claims(time.Hour, nil))) + page, ""},
		} {
			if proxy == "traefik" { // sends one Accept header, the client's
				c.headers = strings.Replace(c.headers, "Accept: text/html\r\n", "", 1)
			}
			resp := b.ask(t, shape(c.method, c.uri, c.headers))
			status, header := http.StatusSeeOther, "Location"
			if proxy == "nginx" {
				status, header = http.StatusUnauthorized, "X-Countersign-Sign-In"
			}
			if c.to == "" {
				status = http.StatusUnauthorized
			}
			if got := resp.Header.Get(header); resp.StatusCode != status || got != c.to {
				t.Errorf("%s, %s: %d to %s, want %d to %s", proxy, c.name, resp.StatusCode, got, status, c.to)
			}
		}
	}
	for range 2 * DefaultConfig().MaxChallenges { // a page asks many times with one sign-in
		if resp := b.ask(t, shapes["envoy"]("GET", "/pay", who+script)); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("again: %d", resp.StatusCode)
		}
	}
	for d, want := range map[decision]float64{passed: 0, challenged: 22, noToken: 6} {
		if got := testutil.ToFloat64(b.server.metrics.decided.WithLabelValues(string(d))); got != want {
			t.Errorf("metric %s: %g, want %g", d, got, want)
		}
	}
}

// A browser comes back to the page of the form that it sent, and out of a session that was revoked.
func TestBrowsersAfterAFormAndARevocation(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) {
		c.Header = HeaderConfig{User: "X-Auth-User", Session: "X-Auth-Session", AuthTime: "X-Auth-Time", Tenant: "acme"}
		c.SignIn = SignInConfig{
			URL: "https://id.example.com/start", ReturnParameter: "rd", AppURL: "https://payroll.example.com",
			EndSessionURL: "https://payroll.example.com/oauth2/sign_out",
		}
	})
	b.restrain(nil)
	b.restrain(func(r *stepup.Requirement) {
		r.ID, r.JTI, r.User, r.Session, r.Action, r.ACRValues = "r2", "j2", "u2", "s2", stepup.ActionRevokeSession, nil
	})
	const page, ended = "Sec-Fetch-Mode: navigate\r\n", "X-Auth-User: u2\r\nX-Auth-Session: s2\r\n"
	start := "https://id.example.com/start?acr_values=phr+mfa&max_age=0&rd=" + url.QueryEscape("https://payroll.example.com")
	for proxy, shape := range shapes {
		for _, c := range []struct{ name, headers, to string }{
			{"form", "X-Auth-User: u1\r\n" + page + "Referer: https://payroll.example.com/form?x=1\r\n", start + "%2Fform%3Fx%3D1"},
			{"form of another", "X-Auth-User: u1\r\n" + page + "Referer: https://evil.example/form?x=1\r\n", start + "%2F"},
			{"revoked", ended + page, "https://payroll.example.com/oauth2/sign_out"},
			{"revoked, a script", ended + "Sec-Fetch-Mode: cors\r\n", ""},
		} {
			resp := b.ask(t, shape("POST", "/pay", c.headers))
			status, header := http.StatusSeeOther, "Location"
			if proxy == "nginx" {
				status, header = http.StatusUnauthorized, "X-Countersign-Sign-In"
			}
			if c.to == "" {
				status = http.StatusUnauthorized
			}
			if got := resp.Header.Get(header); resp.StatusCode != status || got != c.to {
				t.Errorf("%s, %s: %d to %s, want %d to %s", proxy, c.name, resp.StatusCode, got, status, c.to)
			}
		}
	}
	if got := testutil.ToFloat64(b.server.metrics.decided.WithLabelValues(string(revoked))); got != 6 {
		t.Errorf("revoked: %g, want 6", got)
	}
}

func TestProxiesThatAskWrong(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	token := bearer(b.sign(t, "k1", "JWT", b.claims(0, nil)))
	request := func(path, headers string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + token + headers + "\r\n"
	}
	for name, c := range map[string]struct {
		raw    string
		status int
		detail string // what the body says is wrong
	}{
		"nothing said":       {request("/v1/nginx", ""), 403, "the proxy's configuration is wrong: it sends no header X-Original-Method"},
		"no method":          {request("/v1/nginx", "X-Original-URI: /\r\n"), 403, "the proxy's configuration is wrong: it sends no header X-Original-Method"},
		"no URI":             {request("/v1/traefik", "X-Forwarded-Method: GET\r\n"), 403, "the proxy's configuration is wrong: it sends no header X-Forwarded-Uri"},
		"no URI, nginx":      {request("/v1/nginx", "X-Original-Method: GET\r\n"), 403, "the proxy's configuration is wrong: it sends no header X-Original-URI"},
		"two URIs":           {request("/v1/traefik", "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /a\r\nX-Forwarded-Uri: /b\r\n"), 403, "the proxy's configuration is wrong: it sends header X-Forwarded-Uri 2 times"},
		"another's headers":  {request("/v1/nginx", "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /\r\n"), 403, "the proxy's configuration is wrong: it sends no header X-Original-Method"},
		"fragment":           {request("/v1/nginx", "X-Original-Method: GET\r\nX-Original-URI: /health#/../pay\r\n"), 403, "the request's URI is none"},
		"no path":            {request("/v1/nginx", "X-Original-Method: GET\r\nX-Original-URI: pay\r\n"), 403, "the request's URI is none"},
		"odd method":         {request("/v1/nginx", "X-Original-Method: G E T\r\nX-Original-URI: /\r\n"), 403, "the request's method is none"},
		"long URI":           {request("/v1/nginx", "X-Original-Method: GET\r\nX-Original-URI: /"+strings.Repeat("x", maxURI)+"\r\n"), 403, "the request's URI has 16385 bytes, at most 16384 are allowed"},
		"absolute form":      {request("/v1/nginx", "X-Original-Method: GET\r\nX-Original-URI: HTTP://app.example.com\r\n"), 200, ""},
		"elsewhere":          {request("/", ""), 404, ""},
		"like an endpoint":   {request("/v1/envoyer", ""), 404, ""},
		"Envoy, at the root": {request("/v1/envoy/", ""), 200, ""},
		"Envoy, up and away": {request("/v1/envoy/../nginx", ""), 200, ""}, // the path /../nginx of the application
	} {
		resp := b.ask(t, c.raw)
		var problem struct{ Detail string }
		if resp.StatusCode != http.StatusOK {
			if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if resp.StatusCode != c.status || problem.Detail != c.detail {
			t.Errorf("%s: %d %q, want %d %q", name, resp.StatusCode, problem.Detail, c.status, c.detail)
		}
	}
}

func TestOnlyProxiesAreAnswered(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) {
		c.Proxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	})
	token := b.sign(t, "k1", "JWT", b.claims(0, nil))
	for addr, status := range map[string]int{
		"192.0.2.7:1234": 200, "[::ffff:192.0.2.7]:1": 200, "[2001:db8::1%eth0]:1": 200, "192.0.3.7:1234": 403, "127.0.0.1:1": 403, "": 403, "@": 403,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, pathEnvoy+"/", http.NoBody)
		r.RemoteAddr = addr
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
		w := httptest.NewRecorder()
		if b.server.Handler().ServeHTTP(w, r); w.Code != status {
			t.Errorf("%s: %d, want %d", addr, w.Code, status)
		}
	}
}

func TestStaleKnowledge(t *testing.T) {
	t.Parallel()
	for policy, status := range map[string]int{FailOpen: 200, FailClosed: 503} {
		b := newBench(t, func(c *Config) { c.Stale = policy })
		index, err := stepup.NewIndex(stepup.IndexConfig{}) // has heard nothing
		if err != nil {
			t.Fatal(err)
		}
		server, err := New(b.server.cfg, Deps{Index: index})
		if err != nil {
			t.Fatal(err)
		}
		b.http.Config.Handler = server.Handler()
		resp := b.ask(t, shapes["envoy"]("GET", "/", bearer(b.sign(t, "k1", "JWT", b.claims(0, nil)))))
		if resp.StatusCode != status || (status == 503) != (resp.Header.Get("Retry-After") != "") {
			t.Errorf("%s: %d %v", policy, resp.StatusCode, resp.Header)
		}
		if err := server.Ready(t.Context()); (err == nil) != (policy == FailOpen) {
			t.Errorf("%s: ready: %v", policy, err)
		}
	}
}

// The keys change while tokens come: none that is good is refused, and an unknown key is asked for now and then only.
func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	status := func(key string) int {
		return b.ask(t, shapes["envoy"]("GET", "/", bearer(b.sign(t, key, "JWT", b.claims(0, nil))))).StatusCode
	}
	if got := status("k1"); got != 200 {
		t.Fatal(got)
	}
	stranger := newProvider(t)
	stranger.addKey(t, "k9")
	foreign := bearer(stranger.sign(t, "k9", "JWT", b.claims(0, nil)))
	for range 20 {
		if resp := b.ask(t, shapes["envoy"]("GET", "/", foreign)); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("an unknown key: %d", resp.StatusCode)
		}
	}
	if b.asked != 1 {
		t.Errorf("the keys were read %d times, want once in %v", b.asked, keysAtMost)
	}
	b.addKey(t, "k2")
	keys := b.server.issuers[b.URL].keys
	later := func() {
		keys.mu.Lock()
		keys.tried = keys.tried.Add(-keysAtMost)
		keys.mu.Unlock()
	}
	later()
	if got := status("k2"); got != 200 || status("k1") != 200 {
		t.Errorf("after rotation: %d", got)
	}
	b.mu.Lock()
	b.hidden = true
	b.mu.Unlock()
	later()
	if got := status("k1"); got != 200 {
		t.Errorf("a known key, with the provider down: %d", got)
	}
	if resp := b.ask(t, shapes["envoy"]("GET", "/", foreign)); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("an unknown key, with the provider down: %d", resp.StatusCode)
	}
}

func TestUnreadableKeysAre503(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.hidden = true
	resp := b.ask(t, shapes["envoy"]("GET", "/", bearer(b.sign(t, "k1", "JWT", b.claims(0, nil)))))
	if resp.StatusCode != http.StatusServiceUnavailable || b.server.Ready(t.Context()) == nil {
		t.Errorf("%d", resp.StatusCode)
	}
}

// Client, proxy, enforce and application together: a client with the SDK's transport is challenged through a proxy that
// behaves as nginx does, signs in anew, and its request goes through.
func TestTheWholeWay(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	var served []string
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		served = append(served, r.Header.Get("X-Countersign-User")+" "+string(body))
	})
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, b.http.URL+pathNginx, http.NoBody)
		if err != nil {
			t.Error(err)
		}
		ask.Header = r.Header.Clone()
		ask.Header.Set("X-Original-Method", r.Method)
		ask.Header.Set("X-Original-Uri", r.RequestURI)
		resp, err := http.DefaultClient.Do(ask)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusOK:
			r.Header.Set("X-Countersign-User", resp.Header.Get("X-Countersign-User"))
			app.ServeHTTP(w, r)
		case http.StatusUnauthorized:
			w.Header()["Www-Authenticate"] = resp.Header["Www-Authenticate"]
			w.WriteHeader(http.StatusUnauthorized)
		case http.StatusForbidden:
			w.WriteHeader(http.StatusForbidden)
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer proxy.Close()
	transport, err := stepup.NewTransport(stepup.TransportConfig{
		Hosts: []string{proxy.Listener.Addr().String()},
		Source: func(_ context.Context, req stepup.TokenRequest) (stepup.AccessToken, error) {
			ago, acr := time.Hour, "pwd"
			if len(req.ACRValues) > 0 {
				ago, acr = 0, req.ACRValues[0]
			}
			return stepup.AccessToken{Value: b.sign(t, "k1", "at+jwt", b.claims(ago, map[string]any{"acr": acr}))}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	post := func(body string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, proxy.URL+"/pay", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if got := post("1"); got != 200 {
		t.Fatal(got)
	}
	b.restrain(nil)
	if got := post("2"); got != 200 {
		t.Fatal(got)
	}
	if diff := cmp.Diff([]string{"u1 1", "u1 2"}, served); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"payroll s1 r1 challenged", "payroll s1 r1 satisfied"}, b.receipts.all); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkDecision is what enforce adds to a request, without the way to it and back.
func BenchmarkDecision(b *testing.B) {
	bench := newBench(b, nil)
	token := bench.sign(b, "k1", "at+jwt", bench.claims(time.Minute, nil))
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, pathNginx, http.NoBody)
	r.RemoteAddr = "127.0.0.1:1"
	for name, value := range map[string]string{"Authorization": "Bearer " + token, "X-Original-Method": "GET", "X-Original-Uri": "/pay?month=3"} {
		r.Header.Set(name, value)
	}
	h := bench.server.Handler()
	for b.Loop() {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}
