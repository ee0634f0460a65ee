package api

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
)

// questions is a History that keeps what it was asked.
type questions struct {
	History  // what no test of this kind asks
	mu       sync.Mutex
	err      error
	scopes   []report.Scope
	findings report.FindingQuery
	page     report.FindingPage
	marks    map[string]events.Mark // by finding

	// Of the operations that act.
	records     map[string]report.PolicyRecord
	letters     []events.DeadLetter
	letterQuery report.LetterQuery
	newest      events.Millis
}

func (q *questions) asked(s report.Scope) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.scopes = append(q.scopes, s)
	return q.err
}

func (q *questions) Overview(_ context.Context, s report.Scope, _ report.Span, _ events.Millis) (*report.Overview, error) {
	return &report.Overview{}, q.asked(s)
}

func (q *questions) Findings(_ context.Context, f report.FindingQuery) (report.FindingPage, error) {
	q.findings = f
	return q.page, q.asked(f.Scope)
}

func (q *questions) Finding(_ context.Context, s report.Scope, id string) (json.RawMessage, error) {
	if err := q.asked(s); err != nil {
		return nil, err
	}
	if !s.Allows("acme") {
		return nil, report.ErrNotFound
	}
	return json.RawMessage(fmt.Sprintf(`{"id":%q}`, id)), nil
}

func (q *questions) Timeline(_ context.Context, t report.TimelineQuery) (report.Timeline, error) {
	return report.Timeline{}, q.asked(t.Scope)
}

func (q *questions) Requirements(_ context.Context, r report.RequirementQuery) (report.RequirementPage, error) {
	return report.RequirementPage{}, q.asked(r.Scope)
}

func (q *questions) Audit(_ context.Context, a report.AuditQuery) (report.AuditPage, error) {
	return report.AuditPage{}, q.asked(a.Scope)
}

// tail is a Log whose records are sent by the test, on a channel each topic; the others stay silent.
type tail map[string]chan stream.Record

func (l tail) Tail(ctx context.Context, topic string, _ stream.TailFrom, fn func(stream.Record) error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-l[topic]:
			if err := fn(r); err != nil {
				return err
			}
		}
	}
}

// ledger is a Publisher that keeps what it took.
type ledger struct {
	mu      sync.Mutex
	err     error
	records []stream.Record
}

func (l *ledger) Publish(_ context.Context, topic string, records []stream.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	for _, r := range records {
		r.Topic = topic
		l.records = append(l.records, r)
	}
	return nil
}

func (l tail) Follow(ctx context.Context, topic string, fn func(stream.Record) error, onCaughtUp func()) error {
	onCaughtUp()
	return l.Tail(ctx, topic, stream.FromStart, fn)
}

func (l tail) Ends(context.Context, string) (first, end []int64, err error) { return nil, nil, nil }

func (l tail) LoadSince(context.Context, string, time.Time, func(stream.Record) error) error {
	return nil
}

const (
	wholeSecret = "a-secret-for-all-of-it-12345"
	acmeSecret  = "a-secret-for-acme-alone-1234"
	blindSecret = "a-secret-without-timelines-1"
)

func token(name, secret string, tenants, scopes []string) Token {
	sum := sha256.Sum256([]byte(secret))
	return Token{Name: name, SHA256: hex.EncodeToString(sum[:]), Tenants: tenants, Scopes: scopes}
}

func newAPI(t *testing.T, change func(*Config)) (*API, *questions, string) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Tokens = []Token{
		token("whole", wholeSecret, []string{"*"}, Scopes),
		token("acme", acmeSecret, []string{"acme"}, Scopes),
		token("blind", blindSecret, []string{"*"}, []string{ScopeRead}),
	}
	if change != nil {
		change(&cfg)
	}
	q := &questions{}
	a, err := New(cfg, Deps{
		History: q, Log: tail{}, Publisher: &ledger{},
		Schemas: fstest.MapFS{"event.v1.json": {Data: []byte(`{"title":"event"}`)}},
		Web:     fstest.MapFS{"index.html": {Data: []byte("<!doctype html>")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a.Handler())
	t.Cleanup(func() { a.stop(); server.Close() })
	return a, q, server.URL
}

func get(t *testing.T, address, secret string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

var guardedPaths = []string{
	"/v1/overview", "/v1/findings", "/v1/findings/" + strings.Repeat("0", 32), "/v1/users/acme/u1/timeline", "/v1/revocations",
	"/v1/schemas/event.v1.json",
}

func TestEveryRouteWantsATokenAndIsSecured(t *testing.T) {
	t.Parallel()
	_, q, base := newAPI(t, nil)
	for _, path := range append([]string{"/v1/live", "/v1/nothing", "/v1/openapi.json"}, guardedPaths...) {
		for name, secret := range map[string]string{"none": "", "wrong": wholeSecret + "x", "empty bearer": " "} {
			res, body := get(t, base+path, secret)
			if res.StatusCode != http.StatusUnauthorized || res.Header.Get("WWW-Authenticate") == "" || !strings.Contains(res.Header.Get("Content-Type"), "problem+json") {
				t.Errorf("%s with token %q: %d %v %s", path, name, res.StatusCode, res.Header, body)
			}
		}
	}
	if len(q.scopes) > 0 {
		t.Errorf("the history was asked %d times by strangers", len(q.scopes))
	}
	for _, path := range append([]string{"/", "/plain.css", "/healthz", "/nothing"}, guardedPaths...) {
		res, body := get(t, base+path, wholeSecret)
		if path != "/nothing" && res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
		policy := res.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") ||
			res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: headers %v", path, res.Header)
		}
	}
}

func TestACallerSeesItsTenantsAndNoOthers(t *testing.T) {
	t.Parallel()
	_, q, base := newAPI(t, nil)
	for _, path := range []string{"/v1/overview", "/v1/findings", "/v1/revocations", "/v1/users/acme/u1/timeline"} {
		q.scopes = nil
		if res, body := get(t, base+path, acmeSecret); res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", path, res.StatusCode, body)
		}
		if diff := cmp.Diff(q.scopes, []report.Scope{{Tenants: []string{"acme"}}}); diff != "" {
			t.Errorf("%s (-got, +want)\n%s", path, diff)
		}
	}
	q.scopes = nil
	for _, path := range []string{"/v1/overview?tenant=globex", "/v1/findings?tenant=globex", "/v1/revocations?tenant=globex"} {
		get(t, base+path, acmeSecret)
	}
	for _, s := range q.scopes {
		if s.Allows("globex") || s.Allows("acme") {
			t.Errorf("a foreign tenant was asked for with scope %+v", s)
		}
	}
	q.scopes = nil
	if res, _ := get(t, base+"/v1/users/globex/u1/timeline", acmeSecret); res.StatusCode != http.StatusNotFound || len(q.scopes) > 0 {
		t.Errorf("a foreign timeline: %d, the history was asked %d times", res.StatusCode, len(q.scopes))
	}
	if res, _ := get(t, base+"/v1/users/acme/u1/timeline", blindSecret); res.StatusCode != http.StatusForbidden {
		t.Errorf("a timeline without the scope: %d", res.StatusCode)
	}
}

func TestParametersAreValuesAndBounded(t *testing.T) {
	t.Parallel()
	_, q, base := newAPI(t, nil)
	hostile := `x' OR 1=1; DROP TABLE events --`
	res, body := get(t, base+"/v1/findings?user="+url.QueryEscape(hostile)+"&detection=LOC-01&severity=high,critical&limit=7", wholeSecret)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if q.findings.User != hostile || q.findings.Limit != 7 || len(q.findings.Severity) != 2 || q.findings.Detection != "LOC-01" {
		t.Errorf("asked %+v", q.findings)
	}
	for _, bad := range []string{
		"limit=0", "limit=100000", "limit=x", "severity=loud", "disposition=perhaps", "cursor=!!!", "cursor=" + strings.Repeat("x", 1000),
		"from=yesterday", "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from=2001-01-01T00:00:00Z", "user=" + strings.Repeat("x", 300), "nothing=1",
	} {
		if res, _ := get(t, base+"/v1/findings?"+bad, wholeSecret); res.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%.60s: %d", bad, res.StatusCode)
		}
	}
	if res, _ := get(t, base+"/v1/findings/not-an-id", wholeSecret); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a bad id: %d", res.StatusCode)
	}
}

func TestPagesGoOnWhereTheOneBeforeEnded(t *testing.T) {
	t.Parallel()
	_, q, base := newAPI(t, nil)
	want := report.Cursor{Time: 1767225599123, ID: strings.Repeat("a", 32)}
	q.page = report.FindingPage{Findings: []json.RawMessage{[]byte(`{"summary":"<script>alert(1)</script>"}`)}, Next: &want}
	_, body := get(t, base+"/v1/findings", wholeSecret)
	var page struct {
		Findings []map[string]string
		Next     string `json:"next_cursor"`
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil || page.Findings[0]["summary"] != "<script>alert(1)</script>" {
		t.Fatalf("%v: %s", err, body)
	}
	get(t, base+"/v1/findings?cursor="+page.Next, wholeSecret)
	if diff := cmp.Diff(q.findings.After, want); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
}

// What is 24 hours ago now was not on the first page's end of time: the pages of a list are of one time.
func TestPagesAreOfTheTimeOfTheFirst(t *testing.T) {
	t.Parallel()
	_, q, base := newAPI(t, nil)
	q.page = report.FindingPage{Next: &report.Cursor{Time: 1767225599123, ID: strings.Repeat("a", 32)}}
	ask := func(query string) (report.Span, string) {
		t.Helper()
		res, body := get(t, base+"/v1/findings"+query, wholeSecret)
		var page struct {
			Next string `json:"next_cursor"`
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v: %s", query, res.StatusCode, err, body)
		}
		return q.findings.Span, page.Next
	}
	first, cursor := ask("")
	if second, _ := ask("?cursor=" + cursor); second != first {
		t.Errorf("the second page is of %v, the first of %v", second, first)
	}
	first, cursor = ask("?from=2026-01-01T00:00:00Z&to=2026-01-09T00:00:00Z")
	second, cursor := ask("?cursor=" + cursor)
	if third, _ := ask("?cursor=" + cursor); second != first || third != first {
		t.Errorf("pages of %v, %v and %v", first, second, third)
	}
	own, _ := ask("?from=2026-01-03T00:00:00Z&cursor=" + cursor)
	if want := (report.Span{From: first.From + 2*events.Day, To: first.To}); own != want {
		t.Errorf("with a start of its own it is of %v, want %v", own, want)
	}
}

func TestAwayHistoryIs503AndNothingElseBreaks(t *testing.T) {
	t.Parallel()
	a, q, base := newAPI(t, nil)
	q.err = fmt.Errorf("asking: %w", report.ErrUnavailable)
	for _, path := range []string{"/v1/overview", "/v1/findings", "/v1/revocations"} {
		if res, _ := get(t, base+path, wholeSecret); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v", path, res.StatusCode, res.Header)
		}
	}
	// Without an API there were no live feed and no marks, and nobody to say what is away.
	for _, path := range []string{"/healthz", "/readyz", "/"} {
		if res, _ := get(t, base+path, ""); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	a.deps.Ready = func(context.Context) error { return io.ErrUnexpectedEOF }
	if res, _ := get(t, base+"/readyz", ""); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("/readyz without the log: %d", res.StatusCode)
	}
}

func TestALinkWorksOnceAndOpensASession(t *testing.T) {
	t.Parallel()
	a, _, base := newAPI(t, nil)
	link := base + a.Link()
	res, _ := get(t, link, "")
	if res.StatusCode != http.StatusOK || len(res.Cookies()) != 1 {
		t.Fatalf("the link: %d, cookies %v", res.StatusCode, res.Cookies())
	}
	c := res.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("cookie %+v", c)
	}
	if res, _ := get(t, link, ""); res.StatusCode != http.StatusForbidden {
		t.Errorf("the link again: %d", res.StatusCode)
	}
	ask := func(method, path string, header ...string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(c)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if status := ask(http.MethodGet, "/v1/overview"); status != http.StatusOK {
		t.Errorf("with the cookie: %d", status)
	}
	if status := ask(http.MethodPost, "/logout", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); status != http.StatusForbidden {
		t.Errorf("signed out by another site: %d", status)
	}
	if status := ask(http.MethodPost, "/logout"); status != http.StatusForbidden {
		t.Errorf("signed out by who knows whom: %d", status)
	}
	if status := ask(http.MethodPost, "/logout", "Sec-Fetch-Site", "same-origin"); status != http.StatusSeeOther {
		t.Errorf("signing out: %d", status)
	}
	if status := ask(http.MethodGet, "/v1/overview"); status != http.StatusUnauthorized {
		t.Errorf("after signing out: %d", status)
	}
}

func TestTheLiveFeedShowsWhatTheCallerMaySee(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	cfg.Tokens = []Token{token("acme", acmeSecret, []string{"acme"}, Scopes)}
	log := tail{events.TopicFindings: make(chan stream.Record)}
	a, err := New(cfg, Deps{History: &questions{err: report.ErrUnavailable}, Log: log, Publisher: &ledger{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	addr, err := a.Addr(ctx)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+acmeSecret)
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%v, %v", res, err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() { // the feed is open from here on
		t.Fatal(lines.Err())
	}
	for _, tenant := range []string{"globex", "acme"} {
		f := events.Finding{ID: events.ID("f", tenant), Detection: "LOC-01", Tenant: tenant, Summary: "<b>\n\ndata: x"}
		select {
		case log[events.TopicFindings] <- stream.Record{Topic: events.TopicFindings, Key: []byte(tenant + "/u"), Value: events.Encode(&f), Time: time.Now()}:
		case <-time.After(5 * time.Second):
			t.Fatal("nobody reads the log")
		}
	}
	for lines.Scan() {
		text := lines.Text()
		if strings.Contains(text, "globex") {
			t.Fatalf("a foreign tenant's finding: %s", text)
		}
		if data, ok := strings.CutPrefix(text, "data: "); ok && strings.Contains(data, "LOC-01") {
			if !strings.Contains(data, `"tenant":"acme"`) {
				t.Errorf("data %s", data)
			}
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestConfigNamesEveryProblem(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Listen, cfg.TLSCertFile, cfg.MaxQuestions, cfg.LiveHeartbeat = "here", "x", 0, time.Hour
	cfg.Tokens = []Token{{SHA256: "zz", Tenants: []string{"a/b"}, Scopes: []string{"all"}}, {Name: "two", File: "f", SHA256: strings.Repeat("0", 64)}}
	err := cfg.Validate()
	for _, path := range []string{"listen: ", "tls_cert_file: ", "max_questions: ", "live_heartbeat: ", "tokens[0].name: ", "tokens[0].sha256: ", "tokens[0].tenants: ", "tokens[0].scopes: ", "tokens[1].file: "} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+path) {
			t.Errorf("nothing about %q in\n%v", path, err)
		}
	}
}
