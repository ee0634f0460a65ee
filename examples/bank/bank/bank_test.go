package bank

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/examples/bank/idp"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/stepup"
)

// ingest takes events as countersign does, and refuses what countersign would refuse.
type ingest struct {
	*testing.T
	mu   sync.Mutex
	got  []events.Event
	fail int // requests to answer with 503 first
	seen chan events.Event
}

func (i *ingest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fail > 0 {
		i.fail--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if r.Header.Get("Authorization") != "Bearer secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var batch []json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
		i.Errorf("reading events: %v", err)
	}
	for _, raw := range batch {
		e, err := events.Decode(raw)
		if err == nil {
			err = e.Validate()
		}
		if err != nil {
			i.Errorf("%s: %v", raw, err)
			continue
		}
		i.got = append(i.got, *e)
		select {
		case i.seen <- *e:
		default:
		}
	}
}

type site struct {
	*testing.T
	bank   *Bank
	index  *stepup.Index
	ingest *ingest
}

func start(t *testing.T, edit func(*Config)) *site {
	t.Helper()
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		t.Fatal(err)
	}
	index.CaughtUp()
	listener := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	in := &ingest{T: t, seen: make(chan events.Event, 1000)}
	server := &http.Server{Handler: in, ReadHeaderTimeout: time.Second}
	at := listener()
	go func() { _ = server.Serve(at) }()
	cfg := Config{
		Listener: listener(), Index: index, Demo: true, Events: Events{URL: "http://" + at.Addr().String() + "/v1/events", Token: "secret"},
	}
	if edit != nil {
		edit(&cfg)
	}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returns %v", err)
		}
		_ = server.Close()
	})
	return &site{t, b, index, in}
}

// require opens a requirement as the detector would after an attack now.
func (s *site) require(id string, action stepup.Action, session string) stepup.Claims {
	now := time.Now()
	c := stepup.Claims{JTI: "j-" + id, Status: stepup.StatusOpen, Requirement: stepup.Requirement{
		ID: id, JTI: "j-" + id, Subject: stepup.Subject{Tenant: "acme", User: "ada", Session: session}, Action: action,
		ACRValues: []string{"phr", "mfa"}, NotBefore: now.Add(time.Second - 1).Truncate(time.Second), Expires: now.Add(time.Hour),
		Reason: "We noticed a sign-in from an unusual place.",
	}}
	s.index.Apply(c)
	return c
}

func (s *site) person() ClientConfig {
	return ClientConfig{BaseURL: s.bank.URL(), User: "ada", Password: DemoPassword}
}

func (s *site) api(c *Client, status int) *Answer {
	s.Helper()
	a, err := c.Accounts(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	if a.Status != status {
		s.Fatalf("status %d, want %d: %s %s", a.Status, status, a.Header, a.Body)
	}
	return a
}

func (s *site) signIn(c *Client, method string, challenge *stepup.Challenge) {
	s.Helper()
	if err := c.SignIn(s.Context(), method, challenge); err != nil {
		s.Fatal(err)
	}
}

func (s *site) nextSecond() {
	s.Helper()
	now := time.Now()
	if err := wait(s.Context(), time.Until(now.Truncate(time.Second).Add(time.Second))); err != nil {
		s.Fatal(err)
	}
}

func TestWalkGoesAroundTheLoop(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	var c stepup.Claims
	walked, err := Walk{Person: s.person(), Attack: func(context.Context) error {
		c = s.require("r1", stepup.ActionStepUp, "")
		return nil
	}}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := `Bearer error="insufficient_user_authentication", error_description="A more recent or stronger authentication is required", acr_values="phr mfa", max_age="0"`
	if walked.Header != want || walked.Calls < 1 || walked.SteppedUp <= 0 {
		t.Errorf("%+v", walked)
	}
	// The event of the stronger sign-in is what closes the requirement in the log.
	for e := range s.events(t) {
		if e.Kind == events.SignIn && e.Auth.ACR == idp.PhishingResistant {
			if e.Auth.Time.Time().Before(c.Requirement.NotBefore) || e.Auth.Strength != events.PhishingResistant || e.Session.ID == "" {
				t.Errorf("event %+v", e)
			}
			break
		}
	}
}

// events yields what ingest takes until the test's patience is over.
func (s *site) events(t *testing.T) func(func(events.Event) bool) {
	return func(yield func(events.Event) bool) {
		for {
			select {
			case e := <-s.ingest.seen:
				if !yield(e) {
					return
				}
			case <-time.After(10 * time.Second):
				t.Error("the awaited event did not come")
				return
			}
		}
	}
}

func TestWalkSaysWhatWentWrong(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	_, err := Walk{Person: s.person(), Within: 50 * time.Millisecond}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no challenge within 50ms") {
		t.Errorf("error %v", err)
	}
	person := s.person()
	person.Password = "guess"
	if _, err := (Walk{Person: person}).Run(t.Context()); err == nil {
		t.Error("a wrong password went unnoticed")
	}
}

func TestEntraClientsGetTheirForm(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	cfg := s.person()
	cfg.ID, cfg.Capabilities = EntraClient, []string{"cp1"}
	c := NewClient(cfg)
	s.signIn(c, idp.Password, nil)
	s.api(c, 200)
	old := c.Token()
	req := s.require("r1", stepup.ActionStepUp, "").Requirement
	a := s.api(c, 401)
	want := fmt.Sprintf(`{"access_token":{"nbf":{"essential":true,"value":"%d"},"acrs":{"essential":true,"value":"c1"}}}`, req.NotBefore.Unix())
	if len(a.Challenges) != 1 || a.Challenges[0].Error != stepup.ErrorInsufficientClaims || a.Challenges[0].Claims != want {
		t.Fatalf("challenge %+v\nwant claims %s", a.Challenges, want)
	}
	s.nextSecond()
	s.signIn(c, idp.MultiFactor, &a.Challenges[0])
	s.api(c, 200)
	c.UseToken(old)
	s.api(c, 401)

	cfg.Capabilities = nil
	plain := NewClient(cfg)
	plain.UseToken(old) // has cp1; a client without declares nothing
	s.api(plain, 401)
	s.require("r2", stepup.ActionStepUp, "")
	s.signIn(plain, idp.Password, nil)
	if a := s.api(plain, 401); a.Challenges[0].Error != stepup.ErrorInvalidToken {
		t.Errorf("without cp1: %s", a.Header)
	}
}

// TestOldTokensStayRefused is the thief who waits for the true user's step-up.
func TestOldTokensStayRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	c := NewClient(s.person())
	s.signIn(c, idp.PhishingResistant, nil)
	stolen := c.Token()
	open := s.require("r1", stepup.ActionStepUp, "")
	challenge := s.api(c, 401).Challenges[0]
	s.nextSecond()
	s.signIn(c, idp.PhishingResistant, &challenge)
	s.api(c, 200)
	satisfied := open
	satisfied.Status, satisfied.ClosedAt = stepup.StatusSatisfied, time.Now()
	s.index.Apply(satisfied)
	s.api(c, 200)
	c.UseToken(stolen)
	s.api(c, 401)
}

func TestStepUpThatIsNotReachedIsSaid(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	c := NewClient(s.person())
	challenge := stepup.Challenge{ACRValues: []string{"phr"}, MaxAge: 0}
	err := c.SignIn(t.Context(), idp.Password, &challenge)
	if err == nil || !strings.Contains(err.Error(), "unmet_authentication_requirements") {
		t.Errorf("error %v", err)
	}
	challenge.ACRValues = []string{"gold"}
	if err := c.SignIn(t.Context(), idp.PhishingResistant, &challenge); err == nil || !strings.Contains(err.Error(), "unmet_authentication_requirements") {
		t.Errorf("error %v", err)
	}
}

func TestAPIRefusesWhatIsNoAccessToken(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	other := start(t, nil)
	c := NewClient(s.person())
	if a := s.api(c, 401); a.Header != "Bearer" {
		t.Errorf("without a token: %s", a.Header)
	}
	s.signIn(c, idp.Password, nil)
	good := c.Token()
	parts := strings.Split(good, ".")
	foreign := NewClient(other.person())
	other.signIn(foreign, idp.Password, nil)
	for name, token := range map[string]string{
		"garbage": "abc", "empty": "", "unsigned": "eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"changed": parts[0] + "." + parts[1][:len(parts[1])-4] + "AAAA." + parts[2], "another issuer's": foreign.Token(),
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.bank.URL()+"/api/accounts", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(resp.Header.Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		}
	}
}

// browser follows redirects and fills in forms.
type browser struct {
	*site
	client *http.Client
}

func newBrowser(s *site) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.Fatal(err)
	}
	return &browser{site: s, client: &http.Client{Jar: jar, Timeout: 10 * time.Second}}
}

// page is where a browser ended up.
type page struct {
	status int
	path   string // with query
	body   string
	header http.Header
}

func (b *browser) send(method, path string, form url.Values, header map[string]string) page {
	b.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(b.Context(), method, b.bank.URL()+path, body)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Referer", b.bank.URL()+path)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range header {
		req.Header.Set(name, value)
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
	return page{resp.StatusCode, resp.Request.URL.RequestURI(), string(text), resp.Header}
}

func (b *browser) get(path string) page { return b.send(http.MethodGet, path, nil, nil) }

// prove fills in the login page.
func (b *browser) prove(login page, method string) page {
	b.Helper()
	flow := flowField.FindStringSubmatch(login.body)
	if flow == nil {
		b.Fatalf("%s %d is no login page: %s", login.path, login.status, login.body)
	}
	return b.send(http.MethodPost, "/idp/login", url.Values{
		"flow": {flow[1]}, "user": {"ada"}, "password": {DemoPassword}, "method": {method},
	}, nil)
}

func (b *browser) expect(p page, status int, path string) {
	b.Helper()
	if p.status != status || p.path != path {
		b.Fatalf("ended at %d %s, want %d %s: %s", p.status, p.path, status, path, p.body)
	}
}

func TestBrowserIsSentToTheSignInAndBack(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	b := newBrowser(s)
	home := b.prove(b.get("/signin"), idp.Password)
	b.expect(home, 200, "/")
	if !strings.Contains(home.body, "Ada Lovelace") {
		t.Error("not greeted")
	}
	s.require("r1", stepup.ActionStepUp, "")
	login := b.get("/transfer?x=1")
	if !strings.HasPrefix(login.path, "/idp/authorize?") || strings.Contains(login.body, `value="pwd"`) {
		t.Fatalf("at %s, want the login page without the password-only way: %s", login.path, login.body)
	}
	s.nextSecond()
	b.expect(b.prove(login, idp.MultiFactor), 200, "/transfer?x=1")
	b.expect(b.get("/"), 200, "/")
	// A script of the page is told, not sent away.
	s.require("r2", stepup.ActionStepUp, "")
	p := b.send(http.MethodGet, "/api/accounts", nil, map[string]string{"Sec-Fetch-Mode": "cors", "Accept": "application/json"})
	if p.status != 401 || !strings.Contains(p.header.Get("WWW-Authenticate"), `max_age="0"`) || p.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v", p.status, p.header)
	}
}

func TestStolenCookieIsWorthNothingAfterTheStepUp(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	b := newBrowser(s)
	b.expect(b.prove(b.get("/signin"), idp.MultiFactor), 200, "/")
	thief := newBrowser(s)
	site, err := url.Parse(s.bank.URL())
	if err != nil {
		t.Fatal(err)
	}
	thief.client.Jar.SetCookies(site, b.client.Jar.Cookies(site))
	thief.expect(thief.get("/statements"), 200, "/statements")
	s.require("r1", stepup.ActionStepUp, "")
	s.nextSecond()
	b.expect(b.prove(b.get("/statements"), idp.PhishingResistant), 200, "/statements")
	if p := thief.get("/statements"); p.path == "/statements" {
		t.Errorf("the copied cookie still works: %d", p.status)
	}
}

func TestRevokedSessionEndsAndANewOneBegins(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	b := newBrowser(s)
	b.expect(b.prove(b.get("/signin"), idp.MultiFactor), 200, "/")
	session := ""
	for e := range s.events(t) {
		if e.Kind == events.SignIn {
			session = e.Session.ID
			break
		}
	}
	s.require("r1", stepup.ActionRevokeSession, session)
	p := b.get("/statements")
	if p.status != 401 || !strings.Contains(p.header.Get("WWW-Authenticate"), "invalid_token") || strings.Contains(p.body, "Ada") {
		t.Fatalf("%d %v: %s", p.status, p.header, p.body)
	}
	if p := b.get("/"); strings.Contains(p.body, "Ada") {
		t.Error("the session goes on")
	}
	b.expect(b.prove(b.get("/signin?prompt=login&return_to=/statements"), idp.MultiFactor), 200, "/statements")
}

func TestSensitiveRoutesDemandTheirProof(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	b := newBrowser(s)
	// A stranger is sent to sign in with what the page needs at once.
	login := b.get("/statements")
	b.expect(b.prove(login, idp.MultiFactor), 200, "/statements")
	b.expect(b.get("/settings"), 200, "/settings")
	b.expect(b.get("/api/accounts"), 200, "/api/accounts")
	b.expect(b.send(http.MethodPost, "/settings", url.Values{"email": {"new@acme.example"}}, nil), 200, "/settings")

	transfer := func(amount string) page {
		return b.send(http.MethodPost, "/transfer", url.Values{"to": {"Rent"}, "amount": {amount}}, nil)
	}
	b.expect(transfer("999"), 200, "/")
	login = transfer("1000")
	form := b.prove(login, idp.PhishingResistant)
	b.expect(form, 200, "/transfer")
	if !strings.Contains(form.body, `value="1000"`) || !strings.Contains(form.body, `value="Rent"`) {
		t.Errorf("the form was not kept: %s", form.body)
	}
	b.expect(transfer("1000"), 200, "/")
	if got := s.bank.ledger.account("ada"); got.Balance != 12_345-1999 || got.Email != "new@acme.example" {
		t.Errorf("account %+v", got)
	}
	for _, amount := range []string{"-5", "0", "x", "", "1e9", "99999999999999999999"} {
		if p := transfer(amount); p.status != 400 {
			t.Errorf("amount %q: %d", amount, p.status)
		}
	}
}

func TestBankIsSafeForBrowsers(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	b := newBrowser(s)
	b.expect(b.prove(b.get("/signin"), idp.PhishingResistant), 200, "/")
	foreign := b.send(http.MethodPost, "/transfer", url.Values{"to": {"x"}, "amount": {"5"}}, map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"})
	if foreign.status != 403 {
		t.Errorf("a form from another site: %d", foreign.status)
	}
	for _, path := range []string{"/", "/transfer", "/idp/authorize"} {
		p := b.get(path)
		csp := p.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || strings.Contains(p.body, "<script") || strings.Contains(p.body, "style=") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	for _, to := range []string{"//evil.example/", `/\evil.example`, "https://evil.example/", "evil"} {
		c := newBrowser(s)
		c.expect(c.prove(c.get("/signin?return_to="+url.QueryEscape(to)), idp.Password), 200, "/")
	}
	// Nobody else's answer signs this browser in.
	other := newBrowser(s)
	other.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	to, err := url.Parse(other.prove(other.get("/signin"), idp.Password).header.Get("Location"))
	if err != nil || to.Path != "/callback" {
		t.Fatalf("%v, %v", to, err)
	}
	if p := newBrowser(s).get(to.RequestURI()); p.status != 400 {
		t.Errorf("an answer meant for another browser: %d", p.status)
	}
	// What people type is shown as text.
	b.send(http.MethodPost, "/transfer", url.Values{"to": {"<script>alert(1)</script>"}, "amount": {"5"}}, nil)
	if p := b.get("/statements"); !strings.Contains(p.body, "&lt;script&gt;") || strings.Contains(p.body, "<script>") {
		t.Error("the payee is not escaped")
	}
}

func TestCookieFlags(t *testing.T) {
	t.Parallel()
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(Config{BaseURL: "https://bank.example", Index: index})
	if err != nil {
		t.Fatal(err)
	}
	c := b.cookie(sessionCookie, "x", 60)
	want := &http.Cookie{Name: "__Host-bank_session", Value: "x", Path: "/", MaxAge: 60, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	if diff := cmp.Diff(c, want); diff != "" {
		t.Errorf("(-got, +want):\n%s", diff)
	}
}

func TestEventsTellWhoWhereAndHow(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *Config) { c.Demo = true })
	s.ingest.mu.Lock()
	s.ingest.fail = 2 // and come through all the same
	s.ingest.mu.Unlock()
	cfg := s.person()
	cfg.From, cfg.Password = "tokyo", "guess"
	wrong := NewClient(cfg)
	if err := wrong.SignIn(t.Context(), idp.Password, nil); err == nil {
		t.Fatal("a wrong password was right")
	}
	cfg.From, cfg.Password = "", DemoPassword
	c := NewClient(cfg)
	s.signIn(c, idp.MultiFactor, nil)
	s.api(c, 200)
	s.api(c, 200)
	s.signIn(c, idp.Password, nil) // the session is enough
	type gist struct {
		Kind        events.Kind
		Outcome     events.Outcome
		Interactive events.Tri
		City, IP    string
		ACR         string
		Strength    events.Strength
		Session     bool
	}
	want := []gist{
		{events.SignIn, events.Failure, events.Yes, "Tokyo", "203.0.113.17", "", "", false},
		{events.SignIn, events.Success, events.Yes, "Berlin", "192.0.2.17", "mfa", events.MultiFactor, true},
		{events.SessionUse, events.Success, events.No, "Berlin", "192.0.2.17", "mfa", events.MultiFactor, true},
		{events.SignIn, events.Success, events.No, "Berlin", "192.0.2.17", "mfa", events.MultiFactor, true},
	}
	var got []gist
	sessions := map[string]bool{}
	for e := range s.events(t) {
		got = append(got, gist{e.Kind, e.Outcome, e.Interactive, e.ProviderPlace.City, e.IP, e.Auth.ACR, e.Auth.Strength, e.Session.ID != ""})
		if e.Session.ID != "" {
			sessions[e.Session.ID] = true
		}
		if e.Source.Family != "bank-idp" || e.User.ID != "ada" || e.Tenant != "acme" {
			t.Errorf("event %+v", e)
		}
		if len(got) == len(want) {
			break
		}
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got, +want):\n%s", diff)
	}
	if len(sessions) != 1 {
		t.Errorf("%d sessions, want one", len(sessions))
	}
}

func TestPretendedPlacesNeedTheDemo(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *Config) { c.Demo = false })
	cfg := s.person()
	cfg.From = "tokyo"
	s.signIn(NewClient(cfg), idp.Password, nil)
	for e := range s.events(t) {
		if e.IP != "127.0.0.1" || e.ProviderPlace.City != "" {
			t.Errorf("event %+v", e)
		}
		break
	}
	if p := newBrowser(s).send(http.MethodPost, "/demo/from", url.Values{"from": {"tokyo"}}, nil); p.status != 404 {
		t.Errorf("status %d", p.status)
	}
	demo := newBrowser(start(t, nil))
	demo.expect(demo.send(http.MethodPost, "/demo/from", url.Values{"from": {"tokyo"}}, nil), 200, "/")
	demo.prove(demo.get("/signin"), idp.Password)
	for e := range demo.events(t) {
		if e.ProviderPlace.City != "Tokyo" {
			t.Errorf("event %+v", e)
		}
		break
	}
}

func TestOnlyTheDemoTellsThePassword(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*Config)
		told bool
	}{
		"demo":    {nil, true},
		"no demo": {func(c *Config) { c.Demo = false }, false},
		"another word": {func(c *Config) {
			c.Users = append(DemoUsers(), User{User: idp.User{ID: "eve", Name: "Eve", Password: "secret"}})
		}, false},
	} {
		p := newBrowser(start(t, c.edit)).get("/signin")
		if got := strings.Contains(p.body, "<code>"+DemoPassword+"</code>"); got != c.told || strings.Contains(p.body, "sample's README") == c.told {
			t.Errorf("%s: told %v, want %v: %s", name, got, c.told, p.body)
		}
	}
}

func TestPagesHaveTitles(t *testing.T) {
	t.Parallel()
	b := newBrowser(start(t, nil))
	if p := b.get("/"); !strings.Contains(p.body, "<title>Sample bank</title>") {
		t.Error(p.body)
	}
	b.prove(b.get("/signin"), idp.MultiFactor)
	if p := b.get("/statements"); !strings.Contains(p.body, "<title>Statements · Sample bank</title>") {
		t.Error(p.body)
	}
}

func TestNewRefusesBadConfigurations(t *testing.T) {
	t.Parallel()
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"nothing": {}, "no index": {BaseURL: "http://x"}, "a path": {BaseURL: "http://x/y", Index: index}, "no host": {BaseURL: "x", Index: index},
		"no users": {BaseURL: "http://x", Index: index, Users: []User{}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	b, err := New(Config{BaseURL: "http://x", Index: index})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(t.Context()); err == nil {
		t.Error("Run without a listener: no error")
	}
}
