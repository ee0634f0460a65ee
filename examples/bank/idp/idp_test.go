package idp

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
)

const redirect = "http://127.0.0.1/callback"

// browser is one person's, at a provider of the test's own.
type browser struct {
	*testing.T
	provider *Provider
	client   *http.Client
	base     string
	reports  *[]SignIn
}

func start(t *testing.T) *browser {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	base := "http://" + server.Listener.Addr().String() + "/idp"
	var reports []SignIn
	p, err := New(Config{
		Issuer: base, Tenant: "acme", Report: func(_ *http.Request, s SignIn) { reports = append(reports, s) },
		Users:   []User{{"ada", "Ada Lovelace", "secret"}, {"bob", "Bob", "other"}},
		Clients: []Client{{ID: "cli", RedirectURIs: []string{redirect}, Audience: "api"}, {ID: "entra", RedirectURIs: []string{redirect}, Audience: "api", Entra: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = p
	server.Start()
	t.Cleanup(server.Close)
	return newBrowser(t, p, base, &reports)
}

func newBrowser(t *testing.T, p *Provider, base string, reports *[]SignIn) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, p, &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}, base, reports}
}

const verifier = "a-verifier-that-is-long-enough-to-be-one-of-pkce"

func request(edit ...string) url.Values {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"response_type": {"code"}, "scope": {"openid"}, "client_id": {"cli"}, "redirect_uri": {redirect}, "state": {"st"}, "nonce": {"no"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(edit); i += 2 {
		q.Set(edit[i], edit[i+1])
	}
	return q
}

// result is an answer: a page, or where it sends.
type result struct {
	status int
	body   string
	to     url.Values // of the redirect
	header http.Header
}

func (b *browser) do(method, path string, form url.Values) result {
	b.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(b.Context(), method, b.base+path, body)
	if err != nil {
		b.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	r := result{status: resp.StatusCode, body: string(text), header: resp.Header}
	if to, err := resp.Location(); err == nil {
		if !strings.HasPrefix(to.String(), redirect+"?") {
			b.Fatalf("sent to %s", to)
		}
		r.to = to.Query()
		if r.to.Get("state") != "st" || r.to.Get("iss") != b.base {
			b.Errorf("sent with %v", r.to)
		}
	}
	return r
}

func (b *browser) authorize(q url.Values) result {
	b.Helper()
	return b.do(http.MethodGet, "/authorize?"+q.Encode(), nil)
}

var flowField = regexp.MustCompile(`name="flow" value="(\w+)"`)

func (b *browser) login(page result, user, password, method string) result {
	b.Helper()
	flow := flowField.FindStringSubmatch(page.body)
	if flow == nil {
		b.Fatalf("%d is no login page: %v %s", page.status, page.to, page.body)
	}
	return b.do(http.MethodPost, "/login", url.Values{"flow": {flow[1]}, "user": {user}, "password": {password}, "method": {method}})
}

func (b *browser) exchange(code string, edit ...string) (status int, answer map[string]any) {
	b.Helper()
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"cli"}, "redirect_uri": {redirect}, "code": {code}, "code_verifier": {verifier},
	}
	for i := 0; i < len(edit); i += 2 {
		form.Set(edit[i], edit[i+1])
	}
	r := b.do(http.MethodPost, "/token", form)
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
		b.Fatal(err)
	}
	return r.status, answer
}

// claims verifies a token with the published keys.
func (b *browser) claims(raw any) (Claims, map[string]any) {
	b.Helper()
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(b.do(http.MethodGet, "/jwks", nil).body), &keys); err != nil {
		b.Fatal(err)
	}
	token, err := jwt.ParseSigned(raw.(string), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		b.Fatal(err)
	}
	var c Claims
	all := map[string]any{}
	if err := token.Claims(keys.Key(token.Headers[0].KeyID)[0], &c, &all); err != nil {
		b.Fatal(err)
	}
	return c, all
}

func TestCodeFlowGivesTokens(t *testing.T) {
	t.Parallel()
	b := start(t)
	r := b.login(b.authorize(request()), "ada", "secret", MultiFactor)
	status, answer := b.exchange(r.to.Get("code"))
	if status != 200 || answer["token_type"] != "Bearer" {
		t.Fatalf("%d %v", status, answer)
	}
	access, _ := b.claims(answer["access_token"])
	id, _ := b.claims(answer["id_token"])
	now := time.Now()
	if access.Issuer != b.base || access.Subject != "ada" || !access.Audience.Contains("api") || access.ACR != "mfa" || access.Session == "" ||
		access.Tenant != "acme" || now.Sub(access.AuthTime.Time()) > time.Minute || !slices.Contains(access.AMR, "mfa") {
		t.Errorf("access token %+v", access)
	}
	if id.Nonce != "no" || !id.Audience.Contains("cli") || id.Session != access.Session || id.Name != "Ada Lovelace" {
		t.Errorf("ID token %+v", id)
	}
	if status, answer := b.exchange(r.to.Get("code")); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("a code worked twice: %d %v", status, answer)
	}
}

func TestCodesNeedTheirClientAndVerifier(t *testing.T) {
	t.Parallel()
	b := start(t)
	for _, edit := range [][]string{
		{"code_verifier", "another"}, {"code_verifier", ""}, {"client_id", "entra"}, {"redirect_uri", redirect + "2"}, {"code", "guess"},
	} {
		code := b.login(b.authorize(request("prompt", "login")), "ada", "secret", Password).to.Get("code")
		if status, answer := b.exchange(code, edit...); status != 400 || answer["error"] != "invalid_grant" {
			t.Errorf("%v: %d %v", edit, status, answer)
		}
		if status, _ := b.exchange(code); edit[0] != "code" && status != 400 {
			t.Errorf("%v: the code works after a wrong guess", edit)
		}
	}
	if _, answer := b.exchange("x", "grant_type", "password"); answer["error"] != "unsupported_grant_type" {
		t.Errorf("%v", answer)
	}
}

func TestNobodyIsSentToAStranger(t *testing.T) {
	t.Parallel()
	b := start(t)
	for _, q := range []url.Values{
		request("client_id", "other"), request("redirect_uri", "https://evil.example/"), request("redirect_uri", "http://127.0.0.1.evil.example/callback"),
		request("redirect_uri", "http://127.0.0.1:80@evil.example/callback"), request("redirect_uri", "http://127.0.0.1:81/other"), request("redirect_uri", ""),
	} {
		if r := b.authorize(q); r.status != 400 || r.to != nil {
			t.Errorf("%s: %d %v", q.Get("redirect_uri"), r.status, r.to)
		}
	}
	client := Client{RedirectURIs: []string{redirect}}
	if !client.allows("http://127.0.0.1:4321/callback") {
		t.Error("a native client may choose its port")
	}
}

func TestBadRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	b := start(t)
	for _, c := range []struct{ want, name, value string }{
		{"unsupported_response_type", "response_type", "token"},
		{"invalid_scope", "scope", "email"},
		{"invalid_request", "code_challenge", ""},
		{"invalid_request", "code_challenge_method", "plain"},
		{"invalid_request", "max_age", "-1"},
		{"invalid_request", "max_age", "soon"},
		{"invalid_request", "prompt", "consent"},
		{"invalid_request", "claims", "{"},
		{"invalid_request", "claims", `{"access_token":{"nbf":{"value":"x"}}}`},
		{"invalid_request", "nonce", strings.Repeat("n", 513)},
		{"unmet_authentication_requirements", "acr_values", "gold"},
		{"unmet_authentication_requirements", "claims", `{"access_token":{"acrs":{"value":"c99"}}}`},
		{"login_required", "prompt", "none"},
	} {
		if r := b.authorize(request(c.name, c.value)); r.to.Get("error") != c.want {
			t.Errorf("%s=%.40s: %d %v, want %s", c.name, c.value, r.status, r.to, c.want)
		}
	}
}

// TestSessionIsAskedAgainWhenItIsNotEnough is what step-up rests on.
func TestSessionIsAskedAgainWhenItIsNotEnough(t *testing.T) {
	t.Parallel()
	b := start(t)
	first := b.login(b.authorize(request()), "ada", "secret", MultiFactor)
	_, answer := b.exchange(first.to.Get("code"))
	before, _ := b.claims(answer["access_token"])
	for _, c := range []struct {
		name string
		q    url.Values
		asks bool
	}{
		{"nothing in particular", request(), false},
		{"old enough", request("max_age", "600"), false},
		{"just now", request("max_age", "0"), true},
		{"strong enough", request("acr_values", "phr mfa"), false},
		{"not strong enough", request("acr_values", "phr"), true},
		{"login", request("prompt", "login"), true},
		{"another person", request("login_hint", "bob"), true},
		{"claims that hold", request("claims", `{"access_token":{"acrs":{"essential":true,"value":"c1"},"nbf":{"value":"1"}}}`), false},
		{"a stronger context", request("claims", `{"access_token":{"acrs":{"essential":true,"value":"c2"}}}`), true},
		{"by method", request("claims", `{"access_token":{"amr":{"values":["mfa"]}}}`), false},
		{"not before tomorrow", request("claims", `{"access_token":{"nbf":{"value":"99999999999"}}}`), true},
	} {
		if r := b.authorize(c.q); (r.to.Get("code") == "") != c.asks {
			t.Errorf("%s: %d %v, want asked %v", c.name, r.status, r.to, c.asks)
		}
	}
	if r := b.authorize(request("prompt", "none", "acr_values", "phr")); r.to.Get("error") != "interaction_required" {
		t.Errorf("%v", r.to)
	}
	_, answer = b.exchange(b.login(b.authorize(request("acr_values", "phr", "max_age", "0")), "ada", "secret", PhishingResistant).to.Get("code"))
	after, _ := b.claims(answer["access_token"])
	if after.Session != before.Session || after.ACR != "phr" || after.AuthTime.Time().Before(before.AuthTime.Time()) {
		t.Errorf("a step-up goes on with the session: %+v, before %+v", after, before)
	}
	_, answer = b.exchange(b.login(b.authorize(request("prompt", "login")), "ada", "secret", Password).to.Get("code"))
	if anew, _ := b.claims(answer["access_token"]); anew.Session == before.Session {
		t.Error("prompt=login goes on with the session")
	}
}

func TestWeakerMethodThanDemandedFails(t *testing.T) {
	t.Parallel()
	b := start(t)
	page := b.authorize(request("acr_values", "phr"))
	if strings.Contains(page.body, `value="pwd"`) {
		t.Error("the page offers what will not do")
	}
	if r := b.login(page, "ada", "secret", MultiFactor); r.to.Get("error") != "unmet_authentication_requirements" {
		t.Errorf("%v", r.to)
	}
	if r := b.login(b.authorize(request()), "ada", "secret", "cancel"); r.to.Get("error") != "access_denied" {
		t.Errorf("%v", r.to)
	}
}

func TestWrongPasswords(t *testing.T) {
	t.Parallel()
	b := start(t)
	page := b.authorize(request())
	if again := b.login(page, "nobody", "secret", Password); again.status != 401 {
		t.Errorf("unknown user: %d", again.status)
	}
	if r := b.login(page, "ada", "secret", Password); r.status != 400 {
		t.Errorf("a form was taken twice: %d", r.status)
	}
	page = b.authorize(request())
	for range maxFailures {
		if page = b.login(page, "ada", "guess", Password); page.status != 401 || page.to != nil {
			t.Fatalf("%d %v", page.status, page.to)
		}
	}
	if page = b.login(page, "ada", "secret", Password); page.status != 429 || page.header.Get("Retry-After") == "" {
		t.Errorf("the right password after %d wrong ones: %d", maxFailures, page.status)
	}
	if r := b.login(page, "bob", "other", "smoke signals"); r.status != 400 {
		t.Errorf("unknown method: %d", r.status)
	}
	failed := 0
	for _, s := range *b.reports {
		if s.OK || s.Session != "" || s.User.ID != "ada" {
			t.Errorf("report %+v", s)
		}
		failed++
	}
	if failed != maxFailures {
		t.Errorf("%d failures reported, want %d", failed, maxFailures)
	}
}

func TestEntraTokensAreLikeEntras(t *testing.T) {
	t.Parallel()
	b := start(t)
	r := b.login(b.authorize(request("client_id", "entra", "claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`)), "ada", "secret", MultiFactor)
	_, answer := b.exchange(r.to.Get("code"), "client_id", "entra")
	c, all := b.claims(answer["access_token"])
	if c.TenantID != "acme" || !slices.Equal(c.XMSCC, []string{"cp1"}) || !slices.Equal(c.ACRS, []string{"c1"}) || all["auth_time"] != nil {
		t.Errorf("%v", all)
	}
}

func TestDiscoveryNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	b := start(t)
	var d map[string]any
	if err := json.Unmarshal([]byte(b.do(http.MethodGet, "/.well-known/openid-configuration", nil).body), &d); err != nil {
		t.Fatal(err)
	}
	if d["issuer"] != b.base || d["token_endpoint"] != b.base+"/token" || d["jwks_uri"] != b.provider.JWKSURL() {
		t.Errorf("%v", d)
	}
	if diff := cmp.Diff(d["acr_values_supported"], []any{"pwd", "mfa", "phr"}); diff != "" {
		t.Errorf("(-got, +want):\n%s", diff)
	}
}

func TestNewRefusesBadConfigurations(t *testing.T) {
	t.Parallel()
	users, clients := []User{{"a", "A", "p"}}, []Client{{ID: "c"}}
	for name, cfg := range map[string]Config{
		"no path": {Issuer: "http://x", Users: users, Clients: clients}, "no host": {Issuer: "/idp", Users: users, Clients: clients},
		"no users": {Issuer: "http://x/idp", Clients: clients}, "no clients": {Issuer: "http://x/idp", Users: users},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
