package api

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/api/oidctest"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// answered takes a browser to the provider and stops before it comes back: it returns the answer that it would bring.
func (h *house) answered(b *http.Client) *url.URL {
	h.Helper()
	at := stopAt(b, oidcReturnPath)
	h.visit(b, "/oidc/login")
	b.CheckRedirect = nil
	if at.Query().Get("code") == "" {
		h.Fatalf("the provider answered %s", at)
	}
	return at
}

func TestAnAnswerIsTakenFromTheBrowserThatBeganAndOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.signIns = newPace(1000, 1000)
	refused := func(what string, b *http.Client, address string) {
		t.Helper()
		res, body := h.visit(b, address)
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "Begin again") || h.me(b) != nil {
			t.Errorf("%s: %d %s", what, res.StatusCode, body)
		}
	}
	with := func(at *url.URL, name string, values ...string) string {
		q := at.Query()
		if q[name] = values; len(values) == 0 {
			delete(q, name)
		}
		return oidcReturnPath + "?" + q.Encode()
	}
	b := h.browser()
	at := h.answered(b)
	refused("another browser", h.browser(), at.String())
	refused("another state", b, with(at, "state", "x"))
	refused("no state", b, with(at, "state"))
	refused("the state twice", b, with(at, "state", at.Query().Get("state"), at.Query().Get("state")))
	refused("the code twice", b, with(at, "code", at.Query().Get("code"), "x"))

	// The answer of one sign-in with the cookie of another, under its name: an attacker's code in the victim's browser.
	attacker := h.browser()
	theirs := h.answered(attacker)
	victim := h.browser()
	mine := h.answered(victim)
	jar := victim.Jar.Cookies(mine)
	i := slices.IndexFunc(jar, func(c *http.Cookie) bool { return strings.Contains(c.Name, "-oidc-") })
	forged := *jar[i]
	forged.Name = "__Host-" + pendingCookie(theirs.Query().Get("state"))
	victim.Jar.SetCookies(mine, []*http.Cookie{{Name: forged.Name, Value: forged.Value, Path: "/", Secure: true}})
	refused("an attacker's answer", victim, theirs.String())
	// And with the victim's own state: the provider sees that the code is of another challenge.
	q := mine.Query()
	q.Set("code", theirs.Query().Get("code"))
	if res, body := h.visit(victim, oidcReturnPath+"?"+q.Encode()); res.StatusCode != http.StatusForbidden || h.me(victim) != nil {
		t.Errorf("an attacker's code: %d %s", res.StatusCode, body)
	}

	again := h.browser()
	at = h.answered(again)
	cookies := again.Jar.Cookies(at)
	if res, body := h.visit(again, at.String()); res.StatusCode != http.StatusOK || h.me(again) == nil {
		t.Fatalf("the answer: %d %s", res.StatusCode, body)
	}
	thief := h.browser()
	for _, c := range cookies {
		thief.Jar.SetCookies(at, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/", Secure: true}})
	}
	refused("the answer again, with the cookies of then", thief, at.String())

	other := h.browser()
	at = h.answered(other)
	refused("of another issuer", other, with(at, "iss", "https://evil.example"))
	other = h.browser()
	at = h.answered(other)
	refused("of no issuer, of a provider that always says", other, with(at, "iss"))
}

func TestASignInEndsAfterAWhile(t *testing.T) {
	t.Parallel()
	s, err := newSignInSeal()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	text, err := s.seal(&pending{State: "s", Ends: now.Add(signInTime)})
	if err != nil {
		t.Fatal(err)
	}
	other, err := newSignInSeal()
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*pending{
		"late": s.open(text, "s", now.Add(signInTime+time.Second)), "of another process": other.open(text, "s", now), "changed": s.open(text[:len(text)-2]+"AA", "s", now),
		"empty": s.open("", "s", now), "of another state": s.open(text, "t", now), "no base64": s.open("!", "s", now),
	} {
		if p != nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if s.open(text, "s", now) == nil || s.open(text, "s", now) != nil {
		t.Error("want it once")
	}
}

func TestWhoHasNoRoleIsToldWhomToAsk(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config, _ *oidctest.Provider) {
		c.OIDC.Help = "Ask the service desk <desk@acme.example>."
		c.OIDC.TenantsClaim = "tenants"
		c.OIDC.Mappings = append(c.OIDC.Mappings, RoleMapping{Claim: "groups", Value: "g1", Role: RoleAdmin})
	})
	h.signIns = newPace(1000, 1000)
	for name, c := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"no roles":               {map[string]any{"sub": "s"}, "nothing there gives you a role"},
		"another role":           {map[string]any{"sub": "s", "roles": []string{"Security", "securit", "security "}}, "nothing there gives you a role"},
		"a role of another kind": {map[string]any{"sub": "s", "roles": map[string]any{"security": true}}, "nothing there gives you a role"},
		"a role without tenant":  {map[string]any{"sub": "s", "groups": []string{"g1"}}, "no tenant that it is for"},
		"all tenants by a claim": {map[string]any{"sub": "s", "groups": []string{"g1"}, "tenants": []string{"*", "a/b"}}, "no tenant that it is for"},
		"too many groups":        {map[string]any{"sub": "s", "_claim_names": map[string]any{"groups": "src1"}, "_claim_sources": map[string]any{"src1": map[string]any{"endpoint": "https://graph.example"}}}, "more groups than"},
	} {
		h.person(c.claims)
		b := h.browser()
		res, body := h.visit(b, "/oidc/login")
		if res.StatusCode != http.StatusForbidden || h.me(b) != nil || !strings.Contains(body, c.want) || !strings.Contains(body, "Ask the service desk &lt;desk@acme.example&gt;.") {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	h.person(map[string]any{"sub": "s", "groups": "g1", "tenants": []string{"initech"}})
	b := h.browser()
	if h.visit(b, "/oidc/login"); h.me(b) == nil || !cmp.Equal(h.me(b).Tenants, []string{"initech"}) || h.me(b).Name != "s" {
		t.Errorf("a tenant by a claim: %+v", h.me(b))
	}
}

func TestARoleIsForItsTenantsOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.person(map[string]any{"sub": "s", "roles": []string{"security", "everybody"}})
	b := h.browser()
	h.visit(b, "/oidc/login")
	if me := h.me(b); me == nil || !cmp.Equal(me.Tenants, []string{"acme", "globex"}) {
		t.Fatalf("me is %+v", me)
	}
	h.asked.scopes = nil
	for path, want := range map[string]int{
		"/v1/overview": http.StatusOK, "/v1/users/acme/u1/timeline": http.StatusOK, "/v1/users/globex/u1/timeline": http.StatusNotFound, "/v1/audit": http.StatusForbidden,
	} {
		if res, body := h.visit(b, path); res.StatusCode != want {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	for _, s := range h.asked.scopes {
		if !cmp.Equal(s, report.Scope{Tenants: []string{"acme"}}) && !cmp.Equal(s, report.Scope{Tenants: []string{"acme", "globex"}}) {
			t.Errorf("asked with %+v", s)
		}
	}
}

func TestKeycloaksRolesAreInAnObject(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config, _ *oidctest.Provider) { c.OIDC.RolesClaim = "realm_access.roles" })
	h.person(map[string]any{"sub": "s", "realm_access": map[string]any{"roles": []string{"security", "offline_access"}}})
	b := h.browser()
	if h.visit(b, "/oidc/login"); h.me(b) == nil {
		t.Error("not let in")
	}
}

func TestAProviderThatIsAwayKeepsNobodyElseOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(_ *Config, p *oidctest.Provider) { p.Away = true })
	b := h.browser()
	res, body := h.visit(b, "/oidc/login")
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(body, "does not answer") {
		t.Errorf("sign-in: %d %s", res.StatusCode, body)
	}
	bearer := func(secret string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.base+"/v1/overview", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		res, err := b.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	jwt := h.provider.Sign(h.provider.Claims(audience, nil))
	for secret, want := range map[string]int{wholeSecret: http.StatusOK, jwt: http.StatusServiceUnavailable} {
		if got := bearer(secret); got != want {
			t.Errorf("a bearer token: %d, want %d", got, want)
		}
	}
	// When it is back, it is asked again, though not at every request.
	h.provider.Set(func(p *oidctest.Provider) { p.Away = false })
	later := time.Now().Add(discoveryRetry + time.Second)
	h.gate.provider.now = func() time.Time { return later }
	if res, body := h.visit(b, "/oidc/login"); res.StatusCode != http.StatusOK || h.me(b) == nil {
		t.Errorf("when it is back: %d %s", res.StatusCode, body)
	}
}

func TestAProviderThatIsAnotherIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(map[string]any){
		"another issuer":       func(d map[string]any) { d["issuer"] = "https://evil.example" },
		"plain http":           func(d map[string]any) { d["authorization_endpoint"] = "http://evil.example/authorize" },
		"a script":             func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" },
		"keys by plain http":   func(d map[string]any) { d["jwks_uri"] = "http://evil.example/keys" },
		"secrets as keys only": func(d map[string]any) { d["id_token_signing_alg_values_supported"] = []string{"HS256", "none"} },
		"too much":             func(d map[string]any) { d["padding"] = strings.Repeat("x", maxProviderBody) },
		"a logout that is a script": func(d map[string]any) {
			d["end_session_endpoint"] = "javascript:alert(1)"
		},
	} {
		h := newHouse(t, func(_ *Config, p *oidctest.Provider) { p.Describe = change })
		res, _ := h.visit(h.browser(), "/oidc/login")
		if res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
}

func TestAProvidersRefusalIsShownInOurWords(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(_ *Config, p *oidctest.Provider) { p.Deny = "access_denied" })
	b := h.browser()
	res, body := h.visit(b, "/oidc/login?return=/users")
	if res.StatusCode != http.StatusForbidden || strings.Contains(body, "script") || !strings.Contains(body, "/oidc/login?return=%2Fusers") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// TestAnIssuerOfManyDirectories is about Entra ID, whose keys say whose tokens they sign.
func TestAnIssuerOfManyDirectories(t *testing.T) {
	t.Parallel()
	const ours, theirs = "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80", "11111111-3a57-4d0c-9d5e-7b1a2c4d6e80"
	p := oidctest.Start(t)
	issuer := p.URL + "/" + tenantPlaceholder + "/v2.0"
	of := func(tenant string) string { return strings.ReplaceAll(issuer, tenantPlaceholder, tenant) }
	cfg := DefaultOIDC()
	cfg.Issuer, cfg.IssuerTenants, cfg.ClientID, cfg.RedirectURL = issuer, []string{ours}, oidctest.ClientID, "https://x.example"+oidcReturnPath
	cfg.Mappings = []RoleMapping{{Value: "security", Role: RoleViewer, Tenants: []string{"acme"}}}
	cfg.Outbound.AllowNetworks, cfg.Outbound.CAFile = []string{"127.0.0.0/8"}, p.CAFile(t)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	known, err := newProvider(cfg)
	if err != nil {
		t.Fatal(err)
	}
	keys := metadataOf(t, known, p)
	for name, c := range map[string]struct {
		claims map[string]any
		want   bool
	}{
		"ours":                    {map[string]any{"iss": of(ours), "tid": ours}, true},
		"another directory's":     {map[string]any{"iss": of(theirs), "tid": theirs}, false},
		"ours by tid only":        {map[string]any{"iss": of(theirs), "tid": ours}, false},
		"ours by issuer only":     {map[string]any{"iss": of(ours), "tid": theirs}, false},
		"without a directory":     {map[string]any{"iss": of(ours)}, false},
		"the placeholder":         {map[string]any{"iss": issuer, "tid": tenantPlaceholder}, false},
		"a directory out of text": {map[string]any{"iss": of(ours), "tid": []string{ours}}, false},
	} {
		_, err := known.verify(t.Context(), keys, p.Sign(p.Claims(oidctest.ClientID, c.claims)), oidctest.ClientID)
		if (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for of, want := range map[string]bool{"": true, issuer: true, "https://other.example/{tenantid}": false} {
		payload := []byte(`{"iss":"` + strings.ReplaceAll(issuer, tenantPlaceholder, ours) + `","tid":"` + ours + `"}`)
		if err := ofItsIssuer(of, payload); (err == nil) != want {
			t.Errorf("a key of %q: %v", of, err)
		}
	}
}

// metadataOf is what discovery would have said: the test provider is at one address only.
func metadataOf(t *testing.T, known *provider, p *oidctest.Provider) *metadata {
	t.Helper()
	cfg := known.cfg
	cfg.Issuer, cfg.IssuerTenants = p.URL, nil
	plain, err := newProvider(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m, err := plain.discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSigningOutOffersToDoSoAtTheProvider(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	h.visit(b, "/oidc/login")
	out := func(header ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.base+"/logout", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Add(header[i], header[i+1])
		}
		res, err := b.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		buf := new(strings.Builder)
		if err := res.Write(buf); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, buf.String()
	}
	for _, header := range [][]string{nil, {"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "null"}} {
		if status, _ := out(header...); status != http.StatusForbidden || h.me(b) == nil {
			t.Errorf("signed out with %v: %d", header, status)
		}
	}
	status, page := out("Origin", h.base)
	want := url.Values{"client_id": {oidctest.ClientID}, "post_logout_redirect_uri": {h.base + "/"}}
	if status != http.StatusOK || h.me(b) != nil || !strings.Contains(page, strings.ReplaceAll(h.provider.URL+"/logout?"+want.Encode(), "&", "&amp;")) {
		t.Errorf("%d %s", status, page)
	}
	var actions []string
	for _, e := range h.log.audited(t) {
		actions = append(actions, e.Action)
	}
	if !cmp.Equal(actions, []string{"sign_in", "sign_out"}) {
		t.Errorf("entries %v", actions)
	}
}

func TestASessionThatSomebodyElseChoseIsNotTakenUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	site, _ := url.Parse(h.base)
	b := h.browser()
	b.Jar.SetCookies(site, []*http.Cookie{{Name: "__Host-countersign", Value: "chosen-by-an-attacker", Path: "/", Secure: true}})
	h.visit(b, "/oidc/login")
	secret := func() string {
		for _, c := range b.Jar.Cookies(site) {
			if c.Name == "__Host-countersign" {
				return c.Value
			}
		}
		return ""
	}
	first := secret()
	if first == "chosen-by-an-attacker" || h.me(b) == nil {
		t.Fatalf("the session's secret is %q", first)
	}
	// A new sign-in ends the session before.
	h.visit(b, "/oidc/login")
	if secret() == first {
		t.Error("the secret is the same after a second sign-in")
	}
	old := h.browser()
	old.Jar.SetCookies(site, []*http.Cookie{{Name: "__Host-countersign", Value: first, Path: "/", Secure: true}})
	if h.me(old) != nil {
		t.Error("the session before goes on")
	}
	// A cookie without the prefix, which a neighbouring site could set, is none; and neither are two.
	plain := h.browser()
	plain.Jar.SetCookies(site, []*http.Cookie{{Name: "countersign", Value: secret(), Path: "/", Secure: true}})
	if h.me(plain) != nil {
		t.Error("a cookie without the prefix was taken")
	}
	two := h.browser()
	two.Jar, _ = cookiejar.New(nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.base+"/v1/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "__Host-countersign=x; __Host-countersign="+secret())
	res, err := two.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("two cookies: %d", res.StatusCode)
	}
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		s := newSessions(&cfg)
		ann := newPrincipal("ann", events.ViaOIDC, RoleViewer, nil, []string{"acme"})
		in := func(secret string) bool { return s.find(secret, true, time.Now()).who != nil }
		idle, _ := s.start(ann, "", time.Time{}, time.Now())
		busy, until := s.start(ann, "", time.Time{}, time.Now())
		watched, _ := s.start(ann, "", time.Time{}, time.Now())
		for time.Until(until) > 0 {
			time.Sleep(cfg.SessionIdle / 2)
			if !in(busy) && time.Until(until) > 0 {
				t.Fatal("a busy session went idle")
			}
			s.find(watched, false, time.Now()) // a feed is no use
		}
		time.Sleep(time.Second)
		if in(busy) || in(idle) || in(watched) {
			t.Error("a session goes on for ever")
		}
		short, ends := s.start(ann, "", time.Now().Add(time.Minute), time.Now())
		if time.Until(ends) > time.Minute {
			t.Errorf("a session of a token that ends in a minute: %v", time.Until(ends))
		}
		time.Sleep(2 * time.Minute)
		if in(short) {
			t.Error("a session outlives its token")
		}
		var secrets []string
		for range maxSessionsOfOne + 3 {
			secret, _ := s.start(ann, "", time.Time{}, time.Now())
			secrets = append(secrets, secret)
			time.Sleep(time.Second)
		}
		for i, secret := range secrets {
			if in(secret) != (i >= 3) {
				t.Errorf("session %d of one person: %v", i, in(secret))
			}
		}
		for i := range 2 * maxSessions {
			s.start(newPrincipal(strings.Repeat("x", i), events.ViaToken, RoleViewer, nil, nil), "", time.Time{}, time.Now())
		}
		if len(s.open) > maxSessions {
			t.Errorf("%d sessions", len(s.open))
		}
	})
}

func TestTheReturnPathIsOurs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "/", "/": "/", "/findings?a=b&c=%2F#d": "/findings?a=b&c=%2F#d", "/users/acme/a%2Fb": "/users/acme/a%2Fb", "/users/acme/": "/users/acme/",
		"//evil.example": "/", `/\evil.example`: "/", `\\evil.example`: "/", "https://evil.example": "/", "evil.example": "/", "/%5cevil.example": "/",
		"/%2f/evil.example": "/", "/%2Fevil.example": "/", "/./evil": "/", "/.//evil.example": "/", "/a/..//evil.example": "/", "/a//b": "/", "///evil.example": "/",
		"/\tevil": "/", "/\n/evil.example": "/", "/\r\nSet-Cookie: a=b": "/", "/ /evil.example": "/", "javascript:alert(1)": "/", "/login?code=x": "/", "/logout": "/",
		"/oidc/login": "/", "/v1/findings": "/", "/" + strings.Repeat("a", maxReturn): "/", "/%00": "/%00", "/x?y=//evil.example": "/x?y=//evil.example",
		"/\u2028/evil": "/%E2%80%A8/evil", "http:/evil.example": "/", "@evil.example": "/", "/@evil.example": "/@evil.example", "?x=y": "/", "#x": "/",
	} {
		got := localPath(text)
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		base, _ := url.Parse("https://countersign.example/")
		if to, err := base.Parse(got); err != nil || to.Host != "countersign.example" || to.Scheme != "https" {
			t.Errorf("%q leads to %s, %v", text, to, err)
		}
	}
}

func FuzzTheReturnPathIsOurs(f *testing.F) {
	for _, s := range []string{"/x", "//evil", `/\evil`, "/%2f%2fevil", "/a/../..//evil", "https:evil", "/x?y#z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := localPath(text)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t <>\"") {
			t.Fatalf("%q: %q", text, got)
		}
		base, _ := url.Parse("https://countersign.example/")
		if to, err := base.Parse(got); err != nil || to.Host != "countersign.example" || to.Scheme != "https" {
			t.Fatalf("%q leads to %v, %v", text, to, err)
		}
	})
}

func TestSigningInIsThrottledByAddress(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	statuses := map[int]int{}
	for range 2 * signInBurst {
		res, _ := h.visit(b, "/login?code=guess")
		statuses[res.StatusCode]++
		if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	if statuses[http.StatusForbidden] < signInBurst || statuses[http.StatusTooManyRequests] == 0 {
		t.Errorf("answers %v", statuses)
	}
	if addressKey("2001:db8::1") != addressKey("2001:db8::ffff:1") || addressKey("2001:db8::1") == addressKey("2001:db8:0:1::1") || addressKey("192.0.2.1") == addressKey("192.0.2.2") {
		t.Error("addresses are told apart wrongly")
	}
}

func TestOIDCConfigNamesEveryProblem(t *testing.T) {
	t.Parallel()
	good := func() OIDC {
		c := DefaultOIDC()
		c.Issuer, c.ClientID, c.RedirectURL = "https://i.example", "c", "https://x.example"+oidcReturnPath
		c.Mappings = []RoleMapping{{Value: "v", Role: RoleViewer, Tenants: []string{"*"}}}
		return c
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	if err := DefaultOIDC().Validate(); err != nil {
		t.Fatal(err)
	}
	for path, change := range map[string]func(*OIDC){
		"issuer: ":              func(c *OIDC) { c.Issuer = "http://i.example" },
		"issuer_tenants: ":      func(c *OIDC) { c.Issuer = "https://i.example/{tenantid}" },
		"client_id: ":           func(c *OIDC) { c.ClientID = "" },
		"redirect_url: ":        func(c *OIDC) { c.RedirectURL = "http://x.example" + oidcReturnPath },
		"scopes: ":              func(c *OIDC) { c.Scopes = []string{"profile"} },
		"mappings: ":            func(c *OIDC) { c.Mappings = nil },
		"mappings[0].role: ":    func(c *OIDC) { c.Mappings[0].Role = "root" },
		"mappings[0].value: ":   func(c *OIDC) { c.Mappings[0].Value = "" },
		"mappings[0].tenants: ": func(c *OIDC) { c.Mappings[0].Tenants = nil },
		"mappings[0].claim: ":   func(c *OIDC) { c.RolesClaim = "" },
		"audience: ":            func(c *OIDC) { c.AcceptBearer = true },
		"outbound.":             func(c *OIDC) { c.Outbound.Timeout = 0 },
	} {
		c := good()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
		whole := DefaultConfig()
		whole.OIDC = c
		if err := whole.Validate(); err == nil || !strings.HasPrefix(err.Error(), "oidc."+path) {
			t.Errorf("in the whole: %v", err)
		}
	}
	for _, address := range []string{"http://localhost:8080" + oidcReturnPath, "http://127.0.0.1" + oidcReturnPath, "http://[::1]:1" + oidcReturnPath} {
		c := good()
		if c.RedirectURL = address; c.Validate() != nil {
			t.Errorf("%s: %v", address, c.Validate())
		}
	}
	for _, address := range []string{"https://x.example/", "https://x.example" + oidcReturnPath + "?x", "https://u@x.example" + oidcReturnPath, "http://localhost.evil.example" + oidcReturnPath, "x"} {
		c := good()
		if c.RedirectURL = address; c.Validate() == nil {
			t.Errorf("%s is taken", address)
		}
	}
}
