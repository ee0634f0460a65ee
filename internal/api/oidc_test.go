package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/api/oidctest"
	"github.com/countersign-io/countersign/internal/events"
)

const audience = "api://countersign"

// house is an API with TLS beside a provider.
type house struct {
	*testing.T
	*API
	provider *oidctest.Provider
	log      *ledger
	asked    *questions
	base     string
	roots    *x509.CertPool
}

func newHouse(t *testing.T, change func(*Config, *oidctest.Provider)) *house {
	t.Helper()
	p := oidctest.Start(t)
	server := httptest.NewUnstartedServer(nil)
	base := "https://" + server.Listener.Addr().String()
	p.Redirects = []string{base + oidcReturnPath}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(oidctest.ClientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Tokens = []Token{token("whole", wholeSecret, []string{"*"}, Scopes)}
	cfg.OIDC.Issuer, cfg.OIDC.ClientID, cfg.OIDC.ClientSecretFile, cfg.OIDC.RedirectURL = p.URL, oidctest.ClientID, secret, base+oidcReturnPath
	cfg.OIDC.Outbound.AllowNetworks, cfg.OIDC.Outbound.CAFile = []string{"127.0.0.0/8"}, p.CAFile(t)
	cfg.OIDC.AcceptBearer, cfg.OIDC.Audience = true, audience
	cfg.OIDC.Mappings = []RoleMapping{
		{Value: "security", Role: RoleAnalyst, Tenants: []string{"acme"}}, {Value: "everybody", Role: RoleViewer, Tenants: []string{"acme", "globex"}},
	}
	if change != nil {
		change(&cfg, p)
	}
	h := &house{T: t, provider: p, log: &ledger{}, asked: &questions{}, base: base, roots: x509.NewCertPool()}
	var err error
	if h.API, err = New(cfg, Deps{History: h.asked, Log: tail{}, Publisher: h.log}); err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = h.Handler()
	server.StartTLS()
	t.Cleanup(func() { h.stop(); server.Close() })
	h.roots.AddCert(server.Certificate())
	raw, err := os.ReadFile(cfg.OIDC.Outbound.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	h.roots.AddCert(cert)
	h.person(map[string]any{"sub": "subject-1", "preferred_username": "ann@acme.example", "roles": []string{"security"}})
	return h
}

func (h *house) person(claims map[string]any) {
	h.provider.Set(func(p *oidctest.Provider) { p.Person = claims })
}

// browser keeps cookies and follows redirects, as one does.
func (h *house) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots}}
	h.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

// visit opens an address as a person does.
func (h *house) visit(b *http.Client, address string) (*http.Response, string) {
	h.Helper()
	if strings.HasPrefix(address, "/") {
		address = h.base + address
	}
	req, err := http.NewRequestWithContext(h.Context(), http.MethodGet, address, nil)
	if err != nil {
		h.Fatal(err)
	}
	res, err := b.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		h.Fatal(err)
	}
	return res, string(body)
}

// me is what /v1/me says; nil when nobody is signed in.
func (h *house) me(b *http.Client) *Me {
	h.Helper()
	res, body := h.visit(b, "/v1/me")
	if res.StatusCode == http.StatusUnauthorized {
		return nil
	}
	me := &Me{}
	if err := json.Unmarshal([]byte(body), me); err != nil || res.StatusCode != http.StatusOK {
		h.Fatalf("/v1/me: %d %s", res.StatusCode, body)
	}
	return me
}

// stopAt makes a browser stop before it follows a redirect to a path, and returns where that was to.
func stopAt(b *http.Client, path string) *url.URL {
	at := &url.URL{}
	b.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == path {
			*at = *r.URL
			return http.ErrUseLastResponse
		}
		return nil
	}
	return at
}

func TestPeopleSignInWithTheProvider(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	res, body := h.visit(b, "/oidc/login?return="+url.QueryEscape("/findings?severity=high&user=a%2Fb#x"))
	if res.StatusCode != http.StatusOK || !strings.Contains(body, `content="0; url=/findings?severity=high&amp;user=a%2Fb#x"`) {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	cookies := res.Header.Values("Set-Cookie")
	i := slices.IndexFunc(cookies, func(c string) bool { return strings.HasPrefix(c, "__Host-countersign=") })
	if i < 0 || !strings.Contains(cookies[i], "HttpOnly") || !strings.Contains(cookies[i], "Secure") || !strings.Contains(cookies[i], "SameSite=Strict") || !strings.Contains(cookies[i], "Path=/") {
		t.Errorf("cookies %q", cookies)
	}
	if !slices.ContainsFunc(cookies, func(c string) bool {
		return strings.HasPrefix(c, "__Host-countersign-oidc-") && strings.Contains(c, "Max-Age=0")
	}) {
		t.Errorf("the sign-in's own cookie stays: %q", cookies)
	}
	me := h.me(b)
	if me == nil || me.SessionEnds == 0 {
		t.Fatalf("me is %+v", me)
	}
	want := &Me{Name: "ann@acme.example", Via: events.ViaOIDC, Roles: []string{RoleAnalyst}, Scopes: RoleScopes(RoleAnalyst), Tenants: []string{"acme"}, SessionEnds: me.SessionEnds, Version: me.Version}
	if diff := cmp.Diff(me, want); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	if got := h.log.audited(t); len(got) != 1 || got[0].Action != "sign_in" || got[0].Actor != "ann@acme.example" || got[0].Outcome != events.AuditDone || !strings.Contains(got[0].Detail, "subject-1") {
		t.Errorf("entries %+v", got)
	}
}

func TestAPublicClientSignsInWithoutASecret(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config, p *oidctest.Provider) { c.OIDC.ClientSecretFile, p.Public = "", true })
	b := h.browser()
	if res, body := h.visit(b, "/oidc/login"); res.StatusCode != http.StatusOK || h.me(b) == nil {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// forgeries are tokens that must not be taken, made from the claims of one that would be.
func forgeries(h *house) map[string]func(claims map[string]any) string {
	p := h.provider
	changed := func(more map[string]any) func(map[string]any) string {
		return func(c map[string]any) string {
			c = maps.Clone(c)
			maps.Copy(c, more)
			maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
			return p.Sign(c)
		}
	}
	now := time.Now()
	public, err := x509.MarshalPKIXPublicKey(p.RSA.Public())
	if err != nil {
		h.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	jwk, err := json.Marshal(jose.JSONWebKey{Key: p.RSA.Public(), KeyID: "rsa"})
	if err != nil {
		h.Fatal(err)
	}
	hs256 := func(key []byte) func(map[string]any) string {
		return func(c map[string]any) string {
			head := strings.TrimSuffix(oidctest.Compact(map[string]any{"alg": "HS256", "typ": "JWT", "kid": "rsa"}, c, nil), ".")
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(head))
			return head + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		}
	}
	return map[string]func(claims map[string]any) string{
		"alg none": func(c map[string]any) string { return oidctest.Compact(map[string]any{"alg": "none"}, c, nil) },
		"alg none, with a kid": func(c map[string]any) string {
			return oidctest.Compact(map[string]any{"alg": "none", "kid": "rsa"}, c, nil)
		},
		"alg None": func(c map[string]any) string {
			return oidctest.Compact(map[string]any{"alg": "nOnE", "kid": "rsa"}, c, []byte("x"))
		},
		"HS256 with the public key, PEM": hs256(publicPEM),
		"HS256 with the public key, DER": hs256(public),
		"HS256 with the public key, JWK": hs256(jwk),
		"HS256 with the client's secret": hs256([]byte(oidctest.ClientSecret)),
		"a key of nobody's": func(c map[string]any) string {
			return oidctest.SignWith(jose.RS256, jose.JSONWebKey{Key: p.Stranger, KeyID: "rsa"}, "JWT", c)
		},
		"a key of nobody's, without a kid": func(c map[string]any) string { return oidctest.SignWith(jose.RS256, p.Stranger, "JWT", c) },
		"a kid that there is not": func(c map[string]any) string {
			return oidctest.SignWith(jose.RS256, jose.JSONWebKey{Key: p.RSA, KeyID: "../../etc/passwd"}, "JWT", c)
		},
		"the kid of another key": func(c map[string]any) string {
			return oidctest.SignWith(jose.RS256, jose.JSONWebKey{Key: p.RSA, KeyID: "ec"}, "JWT", c)
		},
		"PS256 with a key for RS256": func(c map[string]any) string {
			return oidctest.SignWith(jose.PS256, jose.JSONWebKey{Key: p.RSA, KeyID: "rsa"}, "JWT", c)
		},
		"an algorithm that the provider does not name": func(c map[string]any) string {
			return oidctest.SignWith(jose.RS512, jose.JSONWebKey{Key: p.RSA, KeyID: "rsa"}, "JWT", c)
		},
		"a key in its own header": func(c map[string]any) string {
			payload, _ := json.Marshal(c)
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: p.Stranger}, &jose.SignerOptions{EmbedJWK: true})
			if err != nil {
				h.Error(err)
			}
			signed, err := signer.Sign(payload)
			if err != nil {
				h.Error(err)
			}
			text, _ := signed.CompactSerialize()
			return text
		},
		"changed after signing": func(c map[string]any) string {
			parts := strings.Split(p.Sign(c), ".")
			c = maps.Clone(c)
			c["roles"] = []string{"security", "admin"}
			other := strings.Split(p.Sign(c), ".")
			return parts[0] + "." + other[1] + "." + parts[2]
		},
		"a token for logging out": func(c map[string]any) string {
			return oidctest.SignWith(jose.RS256, jose.JSONWebKey{Key: p.RSA, KeyID: "rsa"}, "logout+jwt", c)
		},
		"a security event": func(c map[string]any) string {
			return oidctest.SignWith(jose.RS256, jose.JSONWebKey{Key: p.RSA, KeyID: "rsa"}, "application/secevent+jwt", c)
		},
		"another audience":                  changed(map[string]any{"aud": "another"}),
		"no audience":                       changed(map[string]any{"aud": nil}),
		"another issuer":                    changed(map[string]any{"iss": "https://evil.example"}),
		"an issuer with a slash":            changed(map[string]any{"iss": p.URL + "/"}),
		"no issuer":                         changed(map[string]any{"iss": nil}),
		"expired":                           changed(map[string]any{"exp": now.Add(-2 * leeway).Unix()}),
		"no expiry":                         changed(map[string]any{"exp": nil}),
		"not yet valid":                     changed(map[string]any{"nbf": now.Add(2 * leeway).Unix()}),
		"of the future":                     changed(map[string]any{"iat": now.Add(2 * leeway).Unix()}),
		"without a time":                    changed(map[string]any{"iat": nil}),
		"of nobody":                         changed(map[string]any{"sub": nil}),
		"of nobody, with an expiry of text": changed(map[string]any{"exp": "tomorrow"}),
		"too long":                          changed(map[string]any{"padding": strings.Repeat("x", maxToken)}),
		"no token":                          func(map[string]any) string { return "no.token.this" },
		"JSON serialization": func(c map[string]any) string {
			parts := strings.Split(p.Sign(c), ".")
			return `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`
		},
	}
}

func TestForgedIDTokensAreRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(_ *Config, p *oidctest.Provider) {
		p.Keys = append(p.Keys, jose.JSONWebKey{Key: p.EC.Public(), KeyID: "ec-for-encryption", Use: "enc"})
	})
	list := forgeries(h)
	list["another nonce"] = func(c map[string]any) string { c["nonce"] = "x"; return h.provider.Sign(c) }
	list["no nonce"] = func(c map[string]any) string { delete(c, "nonce"); return h.provider.Sign(c) }
	list["for two parties"] = func(c map[string]any) string {
		c["aud"] = []string{oidctest.ClientID, "another"}
		return h.provider.Sign(c)
	}
	list["for another authorized party"] = func(c map[string]any) string {
		c["aud"], c["azp"] = []string{oidctest.ClientID, "another"}, "another"
		return h.provider.Sign(c)
	}
	list["a key for encryption"] = func(c map[string]any) string {
		return oidctest.SignWith(jose.ES256, jose.JSONWebKey{Key: h.provider.EC, KeyID: "ec-for-encryption"}, "JWT", c)
	}
	h.signIns = newPace(1000, 1000)
	for name, forge := range list {
		h.provider.Set(func(p *oidctest.Provider) { p.Forge = forge })
		b := h.browser()
		res, body := h.visit(b, "/oidc/login")
		if res.StatusCode != http.StatusForbidden || h.me(b) != nil || !strings.Contains(body, "That did not work") {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	// The forger itself is right: a token that is not changed is taken.
	h.provider.Set(func(p *oidctest.Provider) {
		p.Forge = func(c map[string]any) string {
			c["aud"], c["azp"] = []string{oidctest.ClientID, "another"}, oidctest.ClientID
			return oidctest.SignWith(jose.ES256, jose.JSONWebKey{Key: p.EC, KeyID: "ec"}, "JWT", c)
		}
	})
	b := h.browser()
	if res, body := h.visit(b, "/oidc/login"); res.StatusCode != http.StatusOK || h.me(b) == nil {
		t.Errorf("a token that is right: %d %s", res.StatusCode, body)
	}
}

func TestForgedBearersAreRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	ask := func(bearer string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.base+"/v1/overview", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		res, err := b.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	right := h.provider.Claims(audience, nil)
	if status := ask(h.provider.Sign(right)); status != http.StatusOK {
		t.Fatalf("a token that is right: %d", status)
	}
	if status := ask(oidctest.SignWith(jose.RS256, jose.JSONWebKey{Key: h.provider.RSA, KeyID: "rsa"}, "at+jwt", right)); status != http.StatusOK {
		t.Fatalf("an access token by its type: %d", status)
	}
	list := forgeries(h)
	list["an ID token of the dashboard"] = func(map[string]any) string { return h.provider.Sign(h.provider.Claims(oidctest.ClientID, nil)) }
	for name, forge := range list {
		if name == "too long" {
			continue // the server refuses such a header before it looks at it
		}
		if status := ask(forge(maps.Clone(right))); status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status := ask(h.provider.Sign(h.provider.Claims(audience, map[string]any{"roles": []string{"staff"}}))); status != http.StatusForbidden {
		t.Errorf("somebody without a role: %d", status)
	}
	// Made-up key ids do not make the provider work.
	asked := 0
	h.provider.Set(func(p *oidctest.Provider) { asked = p.Asked["/keys"] })
	if asked > 2 {
		t.Errorf("the keys were fetched %d times", asked)
	}
	if got := h.asked; len(got.scopes) != 2 {
		t.Errorf("the history was asked %d times", len(got.scopes))
	}
}

func TestBearersOfTheProviderAreOffByDefault(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config, _ *oidctest.Provider) { c.OIDC.AcceptBearer, c.OIDC.Audience = false, "" })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.base+"/v1/overview", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.provider.Sign(h.provider.Claims("", nil)))
	res, err := h.browser().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d", res.StatusCode)
	}
}
