package stepup

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// log collects receipts.
type log struct {
	mu  sync.Mutex
	all []Receipt
}

func (l *log) Record(r Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r)
}

func (l *log) statuses() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, r := range l.all {
		all = append(all, string(r.Status)+":"+r.Requirement)
	}
	return strings.Join(all, " ")
}

// bench is a guard over an index, in front of a handler that says "in".
type bench struct {
	*testing.T
	index    *Index
	guard    *Guard
	receipts log
	token    Token
	err      error
	handler  http.Handler
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{T: t, index: newIndex(t, IndexConfig{})}
	b.index.CaughtUp()
	cfg := Config{
		Index: b.index, Stale: FailClosed, App: "bank", Ranking: Ranking{"pwd", "mfa", "phr"}, Receipts: &b.receipts,
		Identify: func(*http.Request) (Token, error) { return b.token, b.err },
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if b.guard, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	in := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "in") })
	mux := http.NewServeMux()
	mux.Handle("/", in)
	mux.Handle("/strong", Require(Proof{ACRValues: []string{"phr"}})(in))
	mux.Handle("/recent", Require(Proof{MaxAge: time.Minute})(in))
	b.handler = b.guard.Middleware(mux)
	return b
}

func (b *bench) ask(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w.Result()
}

func (b *bench) get(path string) *http.Response {
	return b.ask(httptest.NewRequest(http.MethodGet, path, nil))
}

// open opens a requirement on user u1 that is two seconds old.
func (b *bench) open(edit func(*Requirement)) Requirement {
	c := change("r1", "u1", "", StatusOpen)
	// A token that was made just before, across the border of a second, must count as new.
	c.Requirement.NotBefore = time.Now().Add(-2 * time.Second).Truncate(time.Second)
	c.Requirement.Reason = `We noticed "something" <odd>.`
	if edit != nil {
		edit(&c.Requirement)
	}
	b.index.Apply(c)
	return c.Requirement
}

func (b *bench) satisfy(r Requirement) {
	b.index.Apply(Claims{JTI: "j2", Status: StatusSatisfied, ClosedAt: time.Now(), Requirement: r})
}

// token is one of u1 that was obtained the given time from now.
func token(kind Kind, ago time.Duration, acr string) Token {
	at := time.Now().Add(-ago)
	return Token{Subject: Subject{"acme", "u1", "s1"}, Kind: kind, AuthTime: at, IssuedAt: at, ACR: acr}
}

// later moves the times of a token by as long as its test has waited for its turn.
func later(t Token, waited time.Duration) Token {
	for _, at := range []*time.Time{&t.AuthTime, &t.IssuedAt} {
		if !at.IsZero() {
			*at = at.Add(waited)
		}
	}
	return t
}

func inSession(id string, t Token) Token {
	t.Session = id
	return t
}

func entra(ago time.Duration, capabilities []string, acrs ...string) Token {
	t := token(Bearer, ago, "1")
	t.AuthTime, t.Entra, t.XMSCC, t.ACRS = time.Time{}, true, capabilities, acrs
	return t
}

const rfc9470 = `Bearer error="insufficient_user_authentication", error_description="A more recent or stronger authentication is required", acr_values="phr mfa", max_age="0"`

// TestGuardAnswersByTheCaller has a case for every row of the decision table.
func TestGuardAnswersByTheCaller(t *testing.T) {
	t.Parallel()
	table := []struct {
		name    string
		token   Token
		edit    func(*Requirement)
		config  func(*Config)
		request func(*http.Request)
		status  int
		header  string // WWW-Authenticate, with NBF for the requirement's not_before
		claims  string // decoded, with NBF likewise
		to      string // Location
		ended   bool
	}{
		{
			name: "Entra bearer token with cp1, by time of issue", token: entra(time.Hour, []string{"cp1"}), status: 401,
			claims: `{"access_token":{"nbf":{"essential":true,"value":"NBF"}}}`,
		},
		{
			name: "Entra bearer token with cp1, by authentication context", token: entra(time.Hour, []string{"x", "CP1"}), status: 401,
			config: func(c *Config) { c.Entra.AuthContext = "c7" },
			claims: `{"access_token":{"nbf":{"essential":true,"value":"NBF"},"acrs":{"essential":true,"value":"c7"}}}`,
		},
		{
			name: "Entra bearer token with cp1, new but without the context", token: entra(0, []string{"cp1"}, "c1"), status: 401,
			config: func(c *Config) { c.Entra.AuthContext = "c7" },
			claims: `{"access_token":{"nbf":{"essential":true,"value":"NBF"},"acrs":{"essential":true,"value":"c7"}}}`,
		},
		{
			name: "Entra bearer token without cp1", token: entra(time.Hour, []string{"other"}), status: 401,
			header: `Bearer error="invalid_token", error_description="A new token is required"`,
		},
		{name: "other bearer token", token: token(Bearer, time.Hour, "phr"), status: 401, header: rfc9470},
		{name: "DPoP token", token: token(DPoP, time.Hour, "phr"), status: 401, header: strings.Replace(rfc9470, "Bearer", "DPoP", 1)},
		{
			name: "cookie, navigation", token: token(Cookie, time.Hour, "pwd"), request: navigation, status: 303,
			to: "/signin?acr_values=phr+mfa&max_age=0&return_to=%2Fpage%3Fa%3Db",
		},
		{
			name: "cookie, navigation of an old browser", token: token(Cookie, time.Hour, "pwd"), status: 303,
			request: func(r *http.Request) { r.Header.Set("Accept", "text/html,*/*;q=0.8") },
			to:      "/signin?acr_values=phr+mfa&max_age=0&return_to=%2Fpage%3Fa%3Db",
		},
		{
			name: "cookie, form sent", token: token(Cookie, time.Hour, "pwd"), status: 303, to: "/signin?acr_values=phr+mfa&max_age=0&return_to=%2Fform%3Fx%3D1",
			request: func(r *http.Request) {
				navigation(r)
				r.Method = http.MethodPost
				r.Header.Set("Referer", "https://example.com/form?x=1")
			},
		},
		{
			name: "cookie, form sent from elsewhere", token: token(Cookie, time.Hour, "pwd"), status: 303, to: "/signin?acr_values=phr+mfa&max_age=0&return_to=%2F",
			request: func(r *http.Request) {
				navigation(r)
				r.Method = http.MethodPost
				r.Header.Set("Referer", "https://evil.example/form")
			},
		},
		{
			name: "cookie, path that looks like a host", token: token(Cookie, time.Hour, "pwd"), status: 303, to: "/signin?acr_values=phr+mfa&max_age=0&return_to=%2Fevil.example%2F",
			request: func(r *http.Request) { navigation(r); r.URL.Path = "//evil.example/"; r.URL.RawQuery = "" },
		},
		{
			name: "cookie, script", token: token(Cookie, time.Hour, "pwd"), status: 401, header: rfc9470,
			request: func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "cors"); r.Header.Set("Accept", "text/html") },
		},
		{
			name: "cookie, navigation, no sign-in page", token: token(Cookie, time.Hour, "pwd"), status: 401, header: rfc9470,
			request: navigation, config: func(c *Config) { c.SignIn = nil },
		},
		{
			name: "session revoked, bearer", token: token(Bearer, time.Hour, "phr"), status: 401, edit: revoked,
			header: `Bearer error="invalid_token", error_description="The session has been revoked"`,
		},
		{
			name: "session revoked, Entra with cp1", token: entra(time.Hour, []string{"cp1"}), status: 401, edit: revoked,
			header: `Bearer error="invalid_token", error_description="The session has been revoked"`,
		},
		{
			name: "session revoked, cookie", token: token(Cookie, time.Hour, "phr"), status: 401, edit: revoked, request: navigation,
			header: `Bearer error="invalid_token", error_description="The session has been revoked"`, ended: true,
		},

		{name: "cleared: fresh and strong enough", token: token(Bearer, 0, "mfa"), status: 200},
		{name: "cleared: fresh and stronger than named", token: token(Bearer, 0, "phr"), edit: func(r *Requirement) { r.ACRValues = []string{"mfa"} }, status: 200},
		{name: "cleared: fresh, an acrs entry", token: Token{Subject: Subject{"acme", "u1", "s1"}, AuthTime: time.Now(), ACRS: []string{"x", "phr"}}, status: 200},
		{name: "cleared: no context wanted", token: token(Bearer, 0, ""), edit: func(r *Requirement) { r.ACRValues = nil }, status: 200},
		{name: "cleared: Entra, issued since", token: entra(0, nil), status: 200},
		{
			name: "cleared: Entra, issued since with the context", token: entra(0, []string{"cp1"}, "c7"), status: 200,
			config: func(c *Config) { c.Entra.AuthContext = "c7" },
		},
		{
			name: "session revoked, proved again in the same session", token: token(Bearer, 0, "phr"), status: 401, edit: revoked,
			header: `Bearer error="invalid_token", error_description="The session has been revoked"`,
		},
		{name: "cleared: signed in anew after a revocation", token: inSession("s3", token(Cookie, 0, "pwd")), edit: revoked, status: 200},
		{
			name: "all sessions revoked", token: token(Bearer, time.Hour, "phr"), status: 401,
			edit:   func(r *Requirement) { revoked(r); r.Session = "" },
			header: `Bearer error="invalid_token", error_description="The session has been revoked"`,
		},
		{
			name: "cleared: signed in after all sessions were revoked", token: token(Bearer, 0, "pwd"), status: 200,
			edit: func(r *Requirement) { revoked(r); r.Session = "" },
		},
		{
			name: "everything revoked until the credential is changed", token: token(Bearer, 0, "phr"), status: 401,
			edit:   func(r *Requirement) { everything(r); r.CredentialChange = true },
			header: `Bearer error="invalid_token", error_description="Every session has been revoked until the credential is changed"`,
		},
		{
			name: "everything revoked, old cookie", token: token(Cookie, time.Hour, "phr"), status: 401, edit: everything, request: navigation,
			header: `Bearer error="invalid_token", error_description="The session has been revoked"`, ended: true,
		},
		{name: "cleared: signed in with the new credential", token: token(Bearer, 0, "mfa"), status: 200, edit: everything},
		{name: "cleared: within the leeway", token: token(Bearer, 3*time.Second, "mfa"), status: 200, config: func(c *Config) { c.Leeway = 10 * time.Second }},
		{name: "not concerned: another session", token: token(Bearer, time.Hour, "pwd"), status: 200, edit: func(r *Requirement) { r.Session = "s2" }},
		{name: "not cleared: strong but old", token: token(Bearer, 5*time.Second, "phr"), status: 401, header: rfc9470},
		{name: "not cleared: fresh but weak", token: token(Bearer, 0, "pwd"), status: 401, header: rfc9470},
		{name: "not cleared: unknown context", token: token(Bearer, 0, "gold"), status: 401, header: rfc9470},
		{name: "not cleared: no acr", token: token(Bearer, 0, ""), status: 401, header: rfc9470},
		{name: "not cleared: no auth_time", token: Token{Subject: Subject{"acme", "u1", "s1"}, IssuedAt: time.Now(), ACR: "phr"}, status: 401, header: rfc9470},
		{name: "not cleared: proof from the future", token: token(Bearer, -time.Hour, "phr"), status: 401, header: rfc9470},
		{
			name: "not cleared: a token that hides its session", token: Token{Subject: Subject{"acme", "u1", ""}, AuthTime: time.Now().Add(-time.Hour), ACR: "phr"},
			edit: func(r *Requirement) { r.Session = "s2" }, status: 401, header: rfc9470,
		},
	}
	made := time.Now()
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ended := false
			b := newBench(t, func(cfg *Config) {
				cfg.SignIn = signIn
				cfg.EndSession = func(http.ResponseWriter, *http.Request) { ended = true }
				if c.config != nil {
					c.config(cfg)
				}
			})
			b.token = later(c.token, time.Since(made))
			req := b.open(c.edit)
			r := httptest.NewRequest(http.MethodGet, "https://example.com/page?a=b", nil)
			if c.request != nil {
				c.request(r)
			}
			resp := b.ask(r)
			nbf := fmt.Sprint(req.NotBefore.Unix())
			if resp.StatusCode != c.status {
				t.Fatalf("status %d, want %d; %v", resp.StatusCode, c.status, resp.Header)
			}
			if got := resp.Header.Get("Location"); got != c.to {
				t.Errorf("Location\n got %s\nwant %s", got, c.to)
			}
			if ended != c.ended {
				t.Errorf("session ended %v, want %v", ended, c.ended)
			}
			if c.status != 200 && resp.Header.Get("Cache-Control") != "no-store" {
				t.Error("the refusal may be cached")
			}
			if c.claims != "" {
				got := ParseChallenges(resp.Header)
				want := []Challenge{{
					Scheme: "Bearer", Error: ErrorInsufficientClaims, MaxAge: NoMaxAge, ACRValues: []string{},
					Claims:           strings.ReplaceAll(c.claims, "NBF", nbf),
					AuthorizationURI: "https://login.microsoftonline.com/common/oauth2/authorize",
				}}
				if diff := cmp.Diff(got, want); diff != "" {
					t.Errorf("challenge (-got, +want):\n%s", diff)
				}
				return
			}
			if got := resp.Header.Get("WWW-Authenticate"); got != c.header {
				t.Errorf("WWW-Authenticate\n got %s\nwant %s", got, c.header)
			}
		})
	}
}

func navigation(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "navigate") }

func revoked(r *Requirement) {
	r.Action, r.Session, r.ACRValues = ActionRevokeSession, "s1", nil
}

func signIn(_ *http.Request, c Challenge, returnTo string) string {
	q := url.Values{"return_to": {returnTo}}
	for name, value := range c.AuthorizationParams() {
		q.Set(name, value)
	}
	return "/signin?" + q.Encode()
}

func TestGuardExplainsInTheBody(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.token = token(Bearer, time.Hour, "pwd")
	b.open(nil)
	resp := b.get("/")
	var got map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"title": "A stronger or fresher sign-in is required", "status": 401.0, "detail": `We noticed "something" <odd>.`,
		"error": "insufficient_user_authentication", "acr_values": []any{"phr", "mfa"}, "requirement": "r1",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got, +want):\n%s", diff)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %s", ct)
	}
}

func TestGuardTellsNothingToStrangers(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.open(nil)
	b.err = fmt.Errorf("reading session: %w", ErrNoToken)
	if resp := b.get("/"); resp.StatusCode != http.StatusOK {
		t.Errorf("a request without a token is the application's to judge, got %d", resp.StatusCode)
	}
	if resp := b.get("/strong"); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("%d %q", resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
	}
	b.err = errors.New("signature is wrong")
	if resp := b.get("/"); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
		t.Errorf("%d %q", resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
	}
}

// TestOldTokenStaysRefusedAfterSatisfaction is the thief who waits until the true user has stepped up.
func TestOldTokenStaysRefusedAfterSatisfaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		stolen := token(Bearer, time.Minute, "phr")
		req := b.open(nil)
		time.Sleep(10 * time.Second)
		b.token = token(Bearer, 0, "mfa")
		stepped := b.token
		if resp := b.get("/"); resp.StatusCode != http.StatusOK {
			t.Fatalf("stepped up: %d", resp.StatusCode)
		}
		weak := token(Bearer, 0, "pwd")
		time.Sleep(time.Second)
		b.satisfy(req)
		b.index.CaughtUp()
		for _, c := range []struct {
			name   string
			token  Token
			status int
		}{
			{"the old token", stolen, 401},
			{"a weak one from between", weak, 401},
			{"the one that stepped up", stepped, 200},
			{"a weak one from after", token(Bearer, 0, "pwd"), 200},
		} {
			b.token = c.token
			if resp := b.get("/"); resp.StatusCode != c.status {
				t.Errorf("%s: %d, want %d", c.name, resp.StatusCode, c.status)
			}
		}
		if _, open := b.index.Check(Subject{"acme", "u1", "s1"}); open {
			t.Error("a satisfied requirement is not open")
		}
		time.Sleep(time.Hour)
		b.index.CaughtUp()
		b.token = stolen
		if resp := b.get("/"); resp.StatusCode != http.StatusOK {
			t.Errorf("after the requirement's end: %d", resp.StatusCode)
		}
	})
}

func TestGuardStopsChallengeLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxChallenges = 3 })
		b.open(nil)
		b.token = token(Bearer, time.Minute, "pwd")
		for range 20 { // the same token again is no loop
			if resp := b.get("/"); resp.StatusCode != http.StatusUnauthorized {
				t.Fatalf("status %d", resp.StatusCode)
			}
		}
		for i, want := range []int{401, 401, 403, 403} {
			time.Sleep(time.Second)
			b.token = token(Bearer, 0, "pwd")
			resp := b.get("/")
			if resp.StatusCode != want || (want == 403) != (resp.Header.Get("WWW-Authenticate") == "") {
				t.Errorf("new token %d: %d %v, want %d", i, resp.StatusCode, resp.Header, want)
			}
		}
		b.token = token(Bearer, 0, "phr")
		if resp := b.get("/"); resp.StatusCode != http.StatusOK {
			t.Errorf("a token that satisfies is never refused: %d", resp.StatusCode)
		}
		if got, want := b.receipts.statuses(), "challenged:r1 refused:r1 satisfied:r1"; got != want {
			t.Errorf("receipts %q, want %q", got, want)
		}
		if got, want := b.guard.Stats(), (GuardStats{Challenged: 22, Refused: 2, Satisfied: 1}); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
		time.Sleep(11 * time.Minute)
		b.index.CaughtUp()
		b.token = token(Bearer, time.Hour, "pwd")
		if resp := b.get("/"); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("after the window: %d", resp.StatusCode)
		}
	})
}

func TestReceiptsAreWrittenOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	r := b.open(nil)
	old, good := token(Bearer, time.Hour, "pwd"), token(Bearer, 0, "phr")
	for range 5 {
		for _, b.token = range []Token{old, good} {
			b.get("/")
		}
	}
	b.token = good
	b.token.Session = "s2"
	b.get("/")
	if got, want := b.receipts.statuses(), "challenged:r1 satisfied:r1 satisfied:r1"; got != want {
		t.Errorf("receipts %q, want %q", got, want)
	}
	got := b.receipts.all[0]
	got.Time = time.Time{}
	want := Receipt{Subject: Subject{"acme", "u1", "s1"}, Requirement: "r1", JTI: r.JTI, App: "bank", Status: Challenged}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got, +want):\n%s", diff)
	}
}

func TestAReceiptTellsASessionThatWasEndedFromAChallenge(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.open(revoked)
	for range 3 {
		b.token = token(Bearer, time.Hour, "phr")
		b.get("/")
	}
	if got, want := b.receipts.statuses(), "revoked:r1"; got != want {
		t.Errorf("receipts %q, want %q", got, want)
	}
}

func TestAttemptsStayBounded(t *testing.T) {
	t.Parallel()
	a := newAttempts(time.Hour)
	now := time.Now()
	for i := range 3 * maxAttempts {
		a.challenged(fmt.Sprint(i), now, now)
	}
	if n := len(a.young) + len(a.old); n > maxAttempts {
		t.Errorf("%d entries, want at most %d", n, maxAttempts)
	}
}

func TestStalePolicy(t *testing.T) {
	for _, c := range []struct {
		policy          StalePolicy
		unknown, passed int
	}{{FailOpen, 200, 200}, {FailClosed, 503, 503}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, func(cfg *Config) { cfg.Stale = c.policy })
			b.open(nil)
			time.Sleep(time.Minute) // without a sign of life
			stranger := token(Bearer, time.Hour, "pwd")
			stranger.User = "u2"
			for _, q := range []struct {
				name   string
				token  Token
				status int
			}{
				{"nothing known", stranger, c.unknown},
				{"known and unsatisfied", token(Bearer, time.Hour, "pwd"), 401},
				{"known and satisfied", token(Bearer, 0, "phr"), c.passed},
			} {
				b.token = q.token
				resp := b.get("/")
				if resp.StatusCode != q.status {
					t.Errorf("policy %d, %s: %d, want %d", c.policy, q.name, resp.StatusCode, q.status)
				}
				if q.status == 503 && (resp.Header.Get("Retry-After") == "" || resp.Header.Get("WWW-Authenticate") != "") {
					t.Errorf("headers %v", resp.Header)
				}
			}
			b.index.Heartbeat()
			b.token = stranger
			if resp := b.get("/"); resp.StatusCode != http.StatusOK {
				t.Errorf("fresh again: %d", resp.StatusCode)
			}
		})
	}
}

func TestRequireDemandsWhateverTheAnomaliesSay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		path   string
		token  Token
		status int
		header string
	}{
		{"strong", "/strong", token(Bearer, time.Hour, "phr"), 200, ""},
		{"weak", "/strong", token(Bearer, 0, "mfa"), 401, `Bearer error="insufficient_user_authentication", error_description="A more recent or stronger authentication is required", acr_values="phr"`},
		{"recent", "/recent", token(Cookie, 30*time.Second, ""), 200, ""},
		{"old", "/recent", token(DPoP, 2*time.Minute, "phr"), 401, `DPoP error="insufficient_user_authentication", error_description="A more recent or stronger authentication is required", max_age="60"`},
		{"no auth_time", "/recent", Token{Subject: Subject{"acme", "u9", ""}, IssuedAt: time.Now()}, 401, `Bearer error="insufficient_user_authentication", error_description="A more recent or stronger authentication is required", max_age="60"`},
		{"Entra, recent", "/recent", entra(30*time.Second, []string{"cp1"}), 200, ""},
		{"Entra, by method", "/strong", Token{Subject: Subject{"acme", "u9", ""}, Entra: true, AMR: []string{"pwd", "mfa"}}, 200, ""},
		{
			"Entra, weak", "/strong",
			Token{Subject: Subject{"acme", "u9", ""}, Entra: true, XMSCC: []string{"cp1"}},
			401,
			`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsiYW1yIjp7InZhbHVlcyI6WyJtZmEiXX19fQ=="`,
		},
	} {
		b := newBench(t, nil)
		b.token = c.token
		resp := b.get(c.path)
		if resp.StatusCode != c.status || resp.Header.Get("WWW-Authenticate") != c.header {
			t.Errorf("%s: %d %s\nwant %d %s", c.name, resp.StatusCode, resp.Header.Get("WWW-Authenticate"), c.status, c.header)
		}
		if got := b.receipts.statuses(); got != "" {
			t.Errorf("%s: a route's demand is no requirement, yet there are receipts: %s", c.name, got)
		}
	}
	w := httptest.NewRecorder()
	Require(Proof{})(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("without a guard: %d, want 500", w.Code)
	}
}

func TestFromContextHasTheToken(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.token = token(Bearer, 0, "pwd")
	var got Token
	var ok bool
	h := b.guard.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, ok = FromContext(r.Context()) }))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	if diff := cmp.Diff(got, b.token); diff != "" || !ok {
		t.Errorf("%v (-got, +want):\n%s", ok, diff)
	}
	if _, ok := FromContext(t.Context()); ok {
		t.Error("a token from nowhere")
	}
}

func TestNewReportsAllProblems(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Leeway: -1, Entra: Entra{AuthContext: `c"1`}})
	for _, want := range []string{"Index:", "Identify:", "Stale:", "Leeway", "AuthContext:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	if _, err := NewIndex(IndexConfig{MaxOpen: -1}); err == nil {
		t.Error("a negative bound was accepted")
	}
}

func everything(r *Requirement) { r.Action, r.Session = ActionRevokeAll, "" }

// The acceptable contexts of a requirement may be Entra's own ids; the least that is enough is asked for.
func TestEntraIsAskedForTheContextOfTheRequirement(t *testing.T) {
	t.Parallel()
	for acr, want := range map[string]string{
		"phr c1 mfa c22": `"value":"c22"`, "phr c1": `"value":"c1"`, "phr mfa": `"value":"c7"`, "c0 c100 c01 cc": `"value":"c7"`,
	} {
		g := &Guard{cfg: Config{Entra: Entra{AuthContext: "c7"}}}
		d := demandOf(&Requirement{Action: ActionStepUp, ACRValues: strings.Fields(acr)})
		if got := g.claims(&d).String(); !strings.Contains(got, want) {
			t.Errorf("%s: %s", acr, got)
		}
	}
	g := &Guard{}
	d := demandOf(&Requirement{Action: ActionStepUp, ACRValues: []string{"phr", "c1", "mfa", "c2"}})
	for context, want := range map[string]bool{"c1": true, "c2": true, "c3": false} {
		if got := g.strong(&Token{Entra: true, ACRS: []string{context}}, &d); got != want {
			t.Errorf("%s: %v", context, got)
		}
	}
}
