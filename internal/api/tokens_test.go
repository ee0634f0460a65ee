package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/api/oidctest"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// sharedLog is a log that several APIs read and write.
type sharedLog struct {
	mu      sync.Mutex
	away    error
	records map[string][]stream.Record
	changed chan struct{}
}

func newSharedLog() *sharedLog {
	return &sharedLog{records: map[string][]stream.Record{}, changed: make(chan struct{})}
}

func (l *sharedLog) set(away error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

func (l *sharedLog) Publish(_ context.Context, topic string, records []stream.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away != nil {
		return l.away
	}
	l.records[topic] = append(l.records[topic], records...)
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

func (l *sharedLog) Ends(context.Context, string) (first, end []int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return nil, nil, l.away
}

func (l *sharedLog) Tail(ctx context.Context, topic string, _ stream.TailFrom, fn func(stream.Record) error) error {
	return l.Follow(ctx, topic, fn, func() {})
}

func (l *sharedLog) Follow(ctx context.Context, topic string, fn func(stream.Record) error, onCaughtUp func()) error {
	caught := false
	for next := 0; ; {
		l.mu.Lock()
		if l.away != nil && next == 0 {
			defer l.mu.Unlock()
			return l.away
		}
		list, changed := l.records[topic][next:], l.changed
		l.mu.Unlock()
		for _, r := range list {
			next++
			if err := fn(r); err != nil {
				return err
			}
		}
		if !caught {
			caught = true
			onCaughtUp()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (l *sharedLog) LoadSince(context.Context, string, time.Time, func(stream.Record) error) error {
	return nil
}

// replica is one API on a shared log.
func replica(t *testing.T, log *sharedLog, change func(*Config)) (*API, string) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Tokens = []Token{
		token("whole", wholeSecret, []string{"*"}, Scopes), token("acme", acmeSecret, []string{"acme"}, Scopes), token("blind", blindSecret, []string{"*"}, []string{ScopeRead, ScopeAdmin}),
	}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg, Deps{History: &questions{}, Log: log, Publisher: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.gate.access.run(ctx) }()
	server := httptest.NewServer(a.Handler())
	t.Cleanup(func() {
		server.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a, server.URL
}

// eventually waits for what another goroutine brings about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal(what)
		}
	}
}

// send sends a body with a bearer token.
func send(t *testing.T, method, address, secret, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

type created struct{ ID, Token, State, Expires string }

func make1(t *testing.T, base, secret, body string) created {
	t.Helper()
	res, text := send(t, http.MethodPost, base+"/v1/tokens", secret, body)
	var c created
	if err := json.Unmarshal([]byte(text), &c); err != nil || res.StatusCode != http.StatusCreated || !strings.HasPrefix(c.Token, secretPrefix) || len(c.Token) != 47 || res.Header.Get("Location") != "/v1/tokens/"+c.ID {
		t.Fatalf("making a token: %d %s %v", res.StatusCode, text, res.Header)
	}
	return c
}

func TestATokenWorksEverywhereUntilItIsRevokedAnywhere(t *testing.T) {
	t.Parallel()
	log := newSharedLog()
	a, here := replica(t, log, nil)
	b, there := replica(t, log, nil)
	eventually(t, "the topic is not read", func() bool { return a.gate.access.ready(time.Now()) && b.gate.access.ready(time.Now()) })
	made := make1(t, here, wholeSecret, `{"name":"siem","role":"viewer","scopes":["timeline"],"tenants":["acme"],"expires_days":30}`)
	if res, body := get(t, here+"/v1/users/acme/u/timeline", made.Token); res.StatusCode != http.StatusOK {
		t.Errorf("at once: %d %s", res.StatusCode, body)
	}
	eventually(t, "the other API does not take the token", func() bool {
		res, _ := get(t, there+"/v1/overview", made.Token)
		return res.StatusCode == http.StatusOK
	})
	for path, want := range map[string]int{"/v1/users/globex/u/timeline": http.StatusNotFound, "/v1/tokens": http.StatusForbidden, "/v1/audit": http.StatusForbidden} {
		if res, body := get(t, there+path, made.Token); res.StatusCode != want {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	_, body := get(t, there+"/v1/me", made.Token)
	var me Me
	if err := json.Unmarshal([]byte(body), &me); err != nil || me.Name != "siem" || me.Via != events.ViaToken || me.SessionEnds == 0 || !cmp.Equal(me.Scopes, []string{ScopeRead, ScopeTimeline}) {
		t.Errorf("me: %s %v", body, err)
	}

	// Neither the list, nor the log, nor the trail has the secret; the list has not even its hash.
	_, list := get(t, there+"/v1/tokens", wholeSecret)
	if !strings.Contains(list, made.ID) || !strings.Contains(list, `"state":"active"`) || !strings.Contains(list, `"created_by":"whole"`) || strings.Contains(list, "sha256") {
		t.Errorf("list: %s", list)
	}
	log.mu.Lock()
	for topic, records := range log.records {
		for _, r := range records {
			if strings.Contains(string(r.Value), made.Token[len(secretPrefix):]) {
				t.Errorf("the secret is on %s", topic)
			}
		}
	}
	log.mu.Unlock()

	for range 2 { // the second time there is nothing left to do
		if res, body := send(t, http.MethodDelete, there+"/v1/tokens/"+made.ID, wholeSecret, ""); res.StatusCode != http.StatusNoContent {
			t.Fatalf("revoking: %d %s", res.StatusCode, body)
		}
	}
	if res, _ := get(t, there+"/v1/overview", made.Token); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("revoked, where it was revoked: %d", res.StatusCode)
	}
	eventually(t, "the other API still takes a revoked token", func() bool {
		res, _ := get(t, here+"/v1/overview", made.Token)
		return res.StatusCode == http.StatusUnauthorized
	})
	// An API that starts later knows too, and what was revoked stays so, whatever comes after it.
	c, later := replica(t, log, nil)
	eventually(t, "the topic is not read", func() bool { return c.gate.access.ready(time.Now()) })
	log.mu.Lock()
	first := log.records[events.TopicAccess][0]
	log.mu.Unlock()
	if err := c.gate.access.take(first); err != nil {
		t.Fatal(err)
	}
	if res, _ := get(t, later+"/v1/overview", made.Token); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("revoked, at an API that started later: %d", res.StatusCode)
	}
	var actions []string
	log.mu.Lock()
	defer log.mu.Unlock()
	for _, r := range log.records[events.TopicAudit] {
		if e, err := events.DecodeAudit(r.Value); err != nil {
			t.Error(err)
		} else if strings.HasPrefix(e.Action, "token.") {
			actions = append(actions, e.Action+" "+string(e.Outcome))
		}
	}
	if diff := cmp.Diff(actions, []string{"token.create done", "token.list done", "token.revoke done"}); diff != "" {
		t.Errorf("trail (-got, +want)\n%s", diff)
	}
}

func TestNobodyGivesATokenMoreThanTheyHave(t *testing.T) {
	t.Parallel()
	log := newSharedLog()
	a, base := replica(t, log, func(c *Config) { c.MaxTokenTTL = 90 * 24 * time.Hour })
	eventually(t, "the topic is not read", func() bool { return a.gate.access.ready(time.Now()) })
	short := make1(t, base, wholeSecret, `{"name":"short","role":"admin","tenants":["*"],"expires_days":2}`)
	for name, c := range map[string]struct {
		secret, body string
		want         int
	}{
		"a tenant too many":       {acmeSecret, `{"name":"a","role":"viewer","tenants":["acme","globex"],"expires_days":1}`, http.StatusForbidden},
		"all tenants":             {acmeSecret, `{"name":"a","role":"viewer","tenants":["*"],"expires_days":1}`, http.StatusForbidden},
		"a scope too many":        {blindSecret, `{"name":"a","scopes":["read","timeline"],"tenants":["acme"],"expires_days":1}`, http.StatusForbidden},
		"a role too high":         {blindSecret, `{"name":"a","role":"analyst","tenants":["acme"],"expires_days":1}`, http.StatusForbidden},
		"longer than its maker":   {short.Token, `{"name":"a","role":"viewer","tenants":["acme"],"expires_days":3}`, http.StatusUnprocessableEntity},
		"longer than is allowed":  {wholeSecret, `{"name":"a","role":"viewer","tenants":["acme"],"expires_days":91}`, http.StatusUnprocessableEntity},
		"for ever":                {wholeSecret, `{"name":"a","role":"viewer","tenants":["acme"],"expires_days":0}`, http.StatusUnprocessableEntity},
		"a name that is taken":    {wholeSecret, `{"name":"short","role":"viewer","tenants":["acme"],"expires_days":1}`, http.StatusConflict},
		"a configured name":       {wholeSecret, `{"name":"whole","role":"viewer","tenants":["acme"],"expires_days":1}`, http.StatusConflict},
		"a name of two lines":     {wholeSecret, `{"name":"a\r\nSet-Cookie: b","role":"viewer","tenants":["acme"],"expires_days":1}`, http.StatusUnprocessableEntity},
		"no name":                 {wholeSecret, `{"name":"  ","role":"viewer","tenants":["acme"],"expires_days":1}`, http.StatusUnprocessableEntity},
		"nothing":                 {wholeSecret, `{"name":"a","tenants":["acme"],"expires_days":1}`, http.StatusUnprocessableEntity},
		"no tenant":               {wholeSecret, `{"name":"a","role":"viewer","tenants":[],"expires_days":1}`, http.StatusUnprocessableEntity},
		"what is no tenant":       {wholeSecret, `{"name":"a","role":"viewer","tenants":["a/b"],"expires_days":1}`, http.StatusUnprocessableEntity},
		"what is no scope":        {wholeSecret, `{"name":"a","scopes":["root"],"tenants":["acme"],"expires_days":1}`, http.StatusUnprocessableEntity},
		"a field that is unknown": {wholeSecret, `{"name":"a","role":"viewer","tenants":["acme"],"expires_days":1,"sha256":"x"}`, http.StatusUnprocessableEntity},
		"no JSON":                 {wholeSecret, `name=a`, http.StatusBadRequest},
	} {
		if res, body := send(t, http.MethodPost, base+"/v1/tokens", c.secret, c.body); res.StatusCode != c.want {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	make1(t, base, short.Token, `{"name":"shorter","role":"viewer","tenants":["acme"],"expires_days":1}`)
	// Who may not have given it may neither see nor revoke it.
	for id, want := range map[string]int{short.ID: http.StatusNotFound, strings.Repeat("0", 32): http.StatusNotFound} {
		if res, body := send(t, http.MethodDelete, base+"/v1/tokens/"+id, acmeSecret, ""); res.StatusCode != want {
			t.Errorf("revoking %s: %d %s", id, res.StatusCode, body)
		}
	}
	if _, list := get(t, base+"/v1/tokens", acmeSecret); strings.Contains(list, `"name":"short"`) || !strings.Contains(list, "shorter") {
		t.Errorf("list for acme: %s", list)
	}
}

func TestWithoutTheLogNoMadeTokenIsTakenAndConfiguredOnesAre(t *testing.T) {
	t.Parallel()
	log := newSharedLog()
	log.set(errors.New("no broker"))
	_, base := replica(t, log, nil)
	for path, c := range map[string]struct {
		secret string
		want   int
	}{
		"/v1/overview": {wholeSecret, http.StatusOK}, "/healthz": {"", http.StatusOK}, "/v1/tokens": {wholeSecret, http.StatusServiceUnavailable},
		"/v1/revocations": {secretPrefix + "whatever", http.StatusServiceUnavailable},
	} {
		res, body := get(t, base+path, c.secret)
		if res.StatusCode != c.want || c.want == http.StatusServiceUnavailable && res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	if res, _ := send(t, http.MethodPost, base+"/v1/tokens", wholeSecret, `{"name":"a","role":"viewer","tenants":["acme"],"expires_days":1}`); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("making a token: %d", res.StatusCode)
	}
	if res, _ := send(t, http.MethodPost, base+"/login", wholeSecret, ""); res.StatusCode != http.StatusForbidden {
		t.Errorf("signing in with nothing: %d", res.StatusCode)
	}
}

// TestTheBookKnowsWhenItKnowsNothing: a token that may have been revoked meanwhile is not taken.
func TestTheBookKnowsWhenItKnowsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newSharedLog()
		m, err := newMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		b := newAccessBook(log, zap.NewNop(), m)
		secret, sum := "cst_x", token("", "cst_x", nil, nil).SHA256
		good := accessToken{ID: "t", Name: "n", SHA256: sum, Role: RoleViewer, Tenants: []string{"acme"}, Created: now(), Expires: events.MillisOf(time.Now().Add(time.Hour))}
		put := func(key string, v any) {
			t.Helper()
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if v == nil {
				raw = nil
			}
			if err := log.Publish(t.Context(), events.TopicAccess, []stream.Record{{Key: []byte(key), Value: raw}}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		log.set(errors.New("no broker"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = b.run(ctx) }()
		pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		state := func() string {
			who, _, err := b.find(secret, time.Now())
			switch {
			case errors.Is(err, errAway):
				return "away"
			case who == nil:
				return "nobody"
			}
			return who.name
		}
		want := func(when, want string) {
			t.Helper()
			if got := state(); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		pass(time.Minute)
		want("while the log is away from the start", "away")
		log.set(nil)
		pass(accessCheck + time.Second)
		want("when it is there", "nobody")
		put("t", good)
		want("made", "n")
		log.set(errors.New("no broker"))
		pass(accessStale - accessCheck)
		want("the log is away for a moment", "n")
		pass(2 * accessCheck)
		want("the log is away for long", "away")
		log.set(nil)
		pass(accessCheck)
		want("it is back", "n")
		for name, bad := range map[string]any{
			"no hash":           accessToken{ID: "t", SHA256: "zz", Role: RoleAdmin, Tenants: []string{"*"}, Expires: good.Expires},
			"no tenant":         accessToken{ID: "t", SHA256: sum, Role: RoleAdmin, Expires: good.Expires},
			"an unknown role":   accessToken{ID: "t", SHA256: sum, Role: "root", Tenants: []string{"*"}, Expires: good.Expires},
			"an unknown scope":  accessToken{ID: "t", SHA256: sum, Scopes: []string{"root"}, Tenants: []string{"*"}, Expires: good.Expires},
			"no expiry":         accessToken{ID: "t", SHA256: sum, Role: RoleAdmin, Tenants: []string{"*"}},
			"under another key": accessToken{ID: "u", SHA256: sum, Role: RoleAdmin, Tenants: []string{"*"}, Expires: good.Expires},
			"no object":         "x",
		} {
			put("t", bad)
			want(name, "nobody")
			put("t", good)
			want("mended", "n")
		}
		put("t", nil)
		want("removed", "nobody")
		put("t", good)
		pass(time.Hour)
		want("expired", "nobody")
		if n := b.working(now()); n != 0 {
			t.Errorf("%d tokens work", n)
		}
		if len(b.forgotten(time.Now())) != 0 || len(b.forgotten(time.Now().Add(forgetAfter+time.Minute))) != 1 {
			t.Error("a token is forgotten at the wrong time")
		}
	})
}

// signIn signs a browser in by the form, with a token, and returns how it asks from then on.
func signIn(t *testing.T, client *http.Client, base, secret string) func(method, path, body string) (*http.Response, string) {
	t.Helper()
	res, text := form(t, client, base, url.Values{"token": {secret}})
	if res.StatusCode != http.StatusOK || len(res.Cookies()) != 1 {
		t.Fatalf("signing in: %d %s", res.StatusCode, text)
	}
	cookie := res.Cookies()[0]
	return func(method, path, body string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		req.AddCookie(cookie)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(text)
	}
}

func TestARevokedTokenEndsTheSessionsThatBeganWithIt(t *testing.T) {
	t.Parallel()
	log := newSharedLog()
	slow := func(c *Config) { c.LiveHeartbeat = time.Minute } // it is not what ends the feed
	a, here := replica(t, log, slow)
	b, there := replica(t, log, slow)
	eventually(t, "the topic is not read", func() bool { return a.gate.access.ready(time.Now()) && b.gate.access.ready(time.Now()) })
	made := make1(t, here, wholeSecret, `{"name":"siem","role":"viewer","tenants":["acme"],"expires_days":30}`)
	other := make1(t, here, wholeSecret, `{"name":"other","role":"viewer","tenants":["acme"],"expires_days":30}`)
	eventually(t, "the other API does not take the tokens", func() bool {
		res, _ := get(t, there+"/v1/me", other.Token)
		return res.StatusCode == http.StatusOK
	})
	asks := signIn(t, http.DefaultClient, there, made.Token)
	stays, configured := signIn(t, http.DefaultClient, there, other.Token), signIn(t, http.DefaultClient, there, acmeSecret)
	if res, text := asks(http.MethodGet, "/v1/overview", ""); res.StatusCode != http.StatusOK {
		t.Fatalf("signed in: %d %s", res.StatusCode, text)
	}
	fed := make(chan int, 1)
	go func() {
		defer close(fed)
		res, _ := asks(http.MethodGet, "/v1/live", "") // until it ends
		fed <- res.StatusCode
	}()
	eventually(t, "the feed has no reader", func() bool {
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		return len(b.hub.readers) == 1
	})
	if res, text := send(t, http.MethodDelete, here+"/v1/tokens/"+made.ID, wholeSecret, ""); res.StatusCode != http.StatusNoContent {
		t.Fatalf("revoking: %d %s", res.StatusCode, text)
	}
	eventually(t, "the session goes on at the other API", func() bool {
		res, _ := asks(http.MethodGet, "/v1/overview", "")
		return res.StatusCode == http.StatusUnauthorized
	})
	if status := <-fed; status != http.StatusOK {
		t.Errorf("the feed: %d", status)
	}
	for name, ask := range map[string]func(method, path, body string) (*http.Response, string){"another token's": stays, "a configured token's": configured} {
		if res, text := ask(http.MethodGet, "/v1/overview", ""); res.StatusCode != http.StatusOK {
			t.Errorf("%s session: %d %s", name, res.StatusCode, text)
		}
	}
	// Whether a token still holds is not known without the topic.
	log.set(errors.New("no broker"))
	b.gate.access.clear()
	if res, _ := stays(http.MethodGet, "/v1/overview", ""); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("without the topic, a session by a token of it: %d", res.StatusCode)
	}
	if res, _ := configured(http.MethodGet, "/v1/overview", ""); res.StatusCode != http.StatusOK {
		t.Errorf("without the topic, a session by a configured token: %d", res.StatusCode)
	}
}

// TestATokenLivesNoLongerThanTheOneItsMakerCameInWith, whether that came in a header or by the form.
func TestATokenLivesNoLongerThanTheOneItsMakerCameInWith(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config, _ *oidctest.Provider) {
		c.OIDC.Mappings = []RoleMapping{{Value: "security", Role: RoleAdmin, Tenants: []string{"*"}}}
	})
	h.gate.access.mu.Lock()
	h.gate.access.loaded, h.gate.access.heard = true, time.Now().Add(time.Hour) // as if it followed the topic
	h.gate.access.mu.Unlock()
	bearer := func(secret string) func(method, path, body string) (*http.Response, string) {
		return func(method, path, body string) (*http.Response, string) {
			req, err := http.NewRequestWithContext(t.Context(), method, h.base+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+secret)
			req.Header.Set("Content-Type", "application/json")
			res, err := h.browser().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return res, string(text)
		}
	}
	order := func(name string, days int) string {
		return fmt.Sprintf(`{"name":%q,"role":"viewer","tenants":["acme"],"expires_days":%d}`, name, days)
	}
	_, text := bearer(wholeSecret)(http.MethodPost, "/v1/tokens", `{"name":"two days","role":"admin","tenants":["*"],"expires_days":2}`)
	var twoDays created
	if err := json.Unmarshal([]byte(text), &twoDays); err != nil || twoDays.Token == "" {
		t.Fatalf("%s %v", text, err)
	}
	access := h.provider.Sign(h.provider.Claims(audience, nil))
	client := &http.Client{Transport: h.browser().Transport}
	for name, c := range map[string]struct {
		ask  func(method, path, body string) (*http.Response, string)
		days int
		want int
	}{
		"a configured token":                  {bearer(wholeSecret), 300, http.StatusCreated},
		"the session of a configured token":   {signIn(t, client, h.base, wholeSecret), 300, http.StatusCreated},
		"a token of two days":                 {bearer(twoDays.Token), 1, http.StatusCreated},
		"a token of two days, too long":       {bearer(twoDays.Token), 3, http.StatusUnprocessableEntity},
		"its session":                         {signIn(t, client, h.base, twoDays.Token), 1, http.StatusCreated},
		"its session, too long":               {signIn(t, client, h.base, twoDays.Token), 3, http.StatusUnprocessableEntity},
		"an access token of the provider":     {bearer(access), 1, http.StatusUnprocessableEntity},
		"the session of such an access token": {signIn(t, client, h.base, access), 1, http.StatusUnprocessableEntity},
	} {
		if res, text := c.ask(http.MethodPost, "/v1/tokens", order(name, c.days)); res.StatusCode != c.want {
			t.Errorf("%s makes one of %d days: %d %s, want %d", name, c.days, res.StatusCode, text, c.want)
		}
	}
	// A person who signed in at the provider came with no token.
	b := h.browser()
	h.visit(b, "/oidc/login")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.base+"/v1/tokens", strings.NewReader(order("by a person", 300)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Errorf("a person: %d", res.StatusCode)
	}
}
