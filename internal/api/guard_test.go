package api

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// described is an operation as the OpenAPI document has it.
type describedOperation struct {
	method, path, id, scope string
	body                    bool
}

// operations are all that the document lists.
func operations(t *testing.T) []describedOperation {
	t.Helper()
	raw, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			RequestBody json.RawMessage
			Security    []map[string][]string
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{tenant}", "acme", "{user}", "u1", "{session}", "s1", "{app}", "a1", "{kind}", "findings", "{verb}", "pause", "{id}", strings.Repeat("0", 32))
	var list []describedOperation
	for path, methods := range d.Paths {
		for method, o := range methods {
			one := describedOperation{method: strings.ToUpper(method), path: fill.Replace(path), id: o.OperationID, body: o.RequestBody != nil}
			if strings.Contains(one.path, "{") {
				t.Errorf("%s: the test does not know how to fill %s", one.id, path)
			}
			if len(o.Security) != 2 || o.Security[0]["token"] == nil || o.Security[1]["session"] == nil {
				t.Errorf("%s does not say what it needs: %v", one.id, o.Security)
			} else if scopes := o.Security[0]["token"]; len(scopes) == 1 {
				one.scope = scopes[0]
			}
			if one.scope == "" && one.id != "me" {
				t.Errorf("%s needs no scope", one.id)
			}
			list = append(list, one)
		}
	}
	if len(list) < 35 {
		t.Errorf("%d operations", len(list))
	}
	return list
}

// everyScope are configured tokens: one for each scope, that has all but this one.
func everyScope(c *Config) {
	for _, without := range Scopes {
		var rest []string
		for _, s := range Scopes {
			if s != without {
				rest = append(rest, s)
			}
		}
		c.Tokens = append(c.Tokens, token("no "+without, "a-token-without-the-scope-"+without, []string{"*"}, rest))
	}
	c.RequestBurst = 100_000
}

func TestEveryOperationNeedsItsScope(t *testing.T) {
	t.Parallel()
	a, q, base := newAPI(t, everyScope)
	for _, o := range operations(t) {
		if o.scope == "" {
			continue
		}
		body := ""
		if o.body {
			body = "{}"
		}
		res, text := send(t, o.method, base+o.path, "a-token-without-the-scope-"+o.scope, body)
		// A body or a parameter that is missing may be told first: that tells nothing.
		if res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s %s without %s: %d %s", o.method, o.path, o.scope, res.StatusCode, text)
		}
		for _, secret := range []string{"", "x", secretPrefix + "x", "a.b.c"} {
			req, err := http.NewRequestWithContext(t.Context(), o.method, base+o.path, http.NoBody)
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
			res.Body.Close()
			if want := map[bool]int{true: http.StatusServiceUnavailable, false: http.StatusUnauthorized}[strings.HasPrefix(secret, secretPrefix)]; res.StatusCode != want {
				t.Errorf("%s %s with %q: %d", o.method, o.path, secret, res.StatusCode)
			}
		}
	}
	if len(q.scopes) > 0 {
		t.Errorf("the history was asked %d times", len(q.scopes))
	}
	eventually(t, "the notes do not end", func() bool { return len(a.notes) == 0 })
	for _, e := range a.deps.Publisher.(*ledger).audited(t) {
		if e.Outcome != events.AuditRefused {
			t.Errorf("something was done: %+v", e)
		}
	}
}

func TestNoOtherSiteChangesAnything(t *testing.T) {
	t.Parallel()
	a, q, base := newAPI(t, func(c *Config) { c.RequestBurst = 100_000 })
	secret, _ := a.gate.start(operator, "", time.Time{}, time.Now())
	host := strings.TrimPrefix(base, "http://")
	ask := func(method, path string, header ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", "countersign="+secret)
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			req.Header.Add(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(raw)
	}
	for _, o := range operations(t) {
		if o.method == http.MethodGet {
			for _, site := range []string{"cross-site", "same-site"} {
				if status, _ := ask(o.method, o.path, "Sec-Fetch-Site", site); status != http.StatusForbidden {
					t.Errorf("%s %s from %s: %d", o.method, o.path, site, status)
				}
			}
			continue
		}
		for name, header := range map[string][]string{
			"nothing": nil, "another site": {"Sec-Fetch-Site", "cross-site"}, "a neighbour": {"Sec-Fetch-Site", "same-site"}, "a bookmark": {"Sec-Fetch-Site", "none"},
			"another origin": {"Origin", "https://evil.example"}, "no origin": {"Origin", "null"}, "an empty origin": {"Origin", ""},
			"another origin that begins so": {"Origin", "http://" + host + ".evil.example"}, "a user of another": {"Origin", "http://" + host + "@evil.example"},
			"two origins": {"Origin", "http://" + host, "Origin", "https://evil.example"}, "another site that says otherwise": {"Sec-Fetch-Site", "cross-site", "Origin", "http://" + host},
			"two sites": {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"},
		} {
			if status, text := ask(o.method, o.path, header...); status != http.StatusForbidden {
				t.Errorf("%s %s from %s: %d %s", o.method, o.path, name, status, text)
			}
		}
		for _, header := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Origin", "http://" + host}} {
			if status, text := ask(o.method, o.path, header...); status == http.StatusForbidden && !strings.Contains(text, "tenants") {
				t.Errorf("%s %s from the dashboard: %d %s", o.method, o.path, status, text)
			}
		}
		// A form, which other sites may send without asking.
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json-seq", "application/json; charset=utf-7", ""} {
			req, err := http.NewRequestWithContext(t.Context(), o.method, base+o.path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Cookie", "countersign="+secret)
			req.Header.Set("Sec-Fetch-Site", "same-origin")
			if kind != "" {
				req.Header.Set("Content-Type", kind)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusUnsupportedMediaType {
				t.Errorf("%s %s with a body of %q: %d", o.method, o.path, kind, res.StatusCode)
			}
		}
	}
	_ = q
}

// raw sends bytes as they are, and returns the status line and the headers of the answer.
func raw(t *testing.T, address, request string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	// The server may answer, and close, before it has read everything.
	go func() { _, _ = io.WriteString(conn, request) }()
	b := make([]byte, 1<<16)
	n, err := io.ReadAtLeast(conn, b, len("HTTP/1.1 200"))
	if err != nil {
		return err.Error()
	}
	return string(b[:n])
}

func TestSmuggledAndOversizedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	cfg.Tokens = []Token{token("whole", wholeSecret, []string{"*"}, Scopes)}
	q := &questions{}
	a, err := New(cfg, Deps{History: q, Log: tail{}, Publisher: &ledger{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	addr, err := a.Addr(ctx)
	if err != nil {
		t.Fatal(err)
	}
	head := "GET /v1/overview HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	bearer := "Authorization: Bearer " + wholeSecret + "\r\n"
	post := "POST /v1/tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n" + bearer
	for name, c := range map[string]struct {
		request string
		want    []string
	}{
		"right":                       {head + bearer + "\r\n", []string{"200"}},
		"two bearers":                 {head + bearer + "Authorization: Bearer x\r\n\r\n", []string{"401"}},
		"two that are the same":       {head + bearer + bearer + "\r\n", []string{"401"}},
		"two in one":                  {head + "Authorization: Bearer x, Bearer " + wholeSecret + "\r\n\r\n", []string{"401"}},
		"Basic":                       {head + "Authorization: Basic " + wholeSecret + "\r\n\r\n", []string{"401"}},
		"a bearer in a cookie":        {head + "Cookie: countersign=" + wholeSecret + "\r\n\r\n", []string{"401"}},
		"a bearer in the query":       {strings.Replace(head, "overview", "overview?access_token="+wholeSecret, 1) + "\r\n", []string{"401"}},
		"a header over two lines":     {head + "Authorization: Bearer\r\n " + wholeSecret + "x\r\n\r\n", []string{"400", "401"}},
		"a space before the colon":    {head + "Authorization : Bearer " + wholeSecret + "\r\n\r\n", []string{"400"}},
		"a header with a zero":        {head + "Authorization: Bearer \x00" + wholeSecret + "\r\n\r\n", []string{"400"}},
		"two lengths":                 {post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", []string{"400"}},
		"a length and chunks":         {post + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []string{"400", "401", "422", "503"}},
		"chunks of another kind":      {post + "Transfer-Encoding: xchunked\r\n\r\n{}", []string{"501", "400"}},
		"two hosts":                   {"GET /v1/overview HTTP/1.1\r\nHost: x\r\nHost: y\r\n" + bearer + "\r\n", []string{"400"}},
		"no host":                     {"GET /v1/overview HTTP/1.1\r\n" + bearer + "\r\n", []string{"400"}},
		"headers too long":            {head + bearer + "X: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", []string{"431"}},
		"a path too long":             {"GET /v1/" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", []string{"431"}},
		"another method by a header":  {head + bearer + "X-HTTP-Method-Override: DELETE\r\n\r\n", []string{"200"}},
		"a method that there is not":  {strings.Replace(head, "GET", "TRACE", 1) + bearer + "\r\n", []string{"405", "404", "403"}},
		"another path by a header":    {"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Original-URL: /v1/tokens\r\nX-Rewrite-URL: /v1/tokens\r\n\r\n", []string{"200"}},
		"a body too long":             {post + "Content-Length: 104857600\r\n\r\n{\"name\":\"" + strings.Repeat("x", 1<<20), []string{"413", "422", "400", "503"}},
		"CRLF in a path":              {"GET /users/%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: text/html\r\n\r\n", []string{"503", "200"}},
		"CRLF in a return path":       {"GET /oidc/login?return=/%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []string{"404"}},
		"a code with CRLF":            {"GET /login?code=%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []string{"403"}},
		"where it comes from, by who": {head + bearer + "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n", []string{"200"}},
	} {
		got := raw(t, addr, c.request)
		ok := false
		for _, want := range c.want {
			ok = ok || strings.HasPrefix(got, "HTTP/1.1 "+want)
		}
		header, _, _ := strings.Cut(got, "\r\n\r\n")
		if !ok || strings.Contains(header, "\r\nSet-Cookie: a=b") || strings.Contains(header, "Strict-Transport-Security") {
			t.Errorf("%s: %.300q, want %v", name, got, c.want)
		}
	}
}

func TestOnlyTrustedProxiesSayWhereARequestComesFrom(t *testing.T) {
	t.Parallel()
	a, _, _ := newAPI(t, func(c *Config) { c.TrustedProxies = []string{"10.0.0.0/8", "2001:db8::/32"} })
	for _, c := range []struct {
		remote, forwarded, proto, want string
		tls                            bool
	}{
		{"192.0.2.1:5", "203.0.113.9", "https", "192.0.2.1", false},
		{"10.1.1.1:5", "203.0.113.9", "https", "203.0.113.9", true},
		{"10.1.1.1:5", "198.51.100.7, 203.0.113.9, 10.2.2.2", "http, https", "203.0.113.9", true},
		{"10.1.1.1:5", "198.51.100.7, rubbish", "https, http", "10.1.1.1", false},
		{"10.1.1.1:5", "", "", "10.1.1.1", false},
		{"[2001:db8::1]:5", "2001:db9::9", "", "2001:db9::9", false},
		{"10.1.1.1:5", "10.3.3.3, 10.2.2.2", "", "10.3.3.3", false},
		{"10.1.1.1:5", "::ffff:203.0.113.9", "", "203.0.113.9", false},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if c.proto != "" {
			r.Header.Set("X-Forwarded-Proto", c.proto)
		}
		if got, tls := a.origin(r); got != c.want || tls != c.tls {
			t.Errorf("%+v: %s, %v", c, got, tls)
		}
	}
}

func TestRequestsAreBoundedForEach(t *testing.T) {
	t.Parallel()
	_, _, base := newAPI(t, func(c *Config) { c.RequestsPerSecond, c.RequestBurst = 0.1, 3 })
	statuses := map[int]int{}
	for range 6 {
		res, _ := get(t, base+"/v1/me", wholeSecret)
		statuses[res.StatusCode]++
		if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	if statuses[http.StatusOK] != 3 || statuses[http.StatusTooManyRequests] != 3 {
		t.Errorf("answers %v", statuses)
	}
	if res, _ := get(t, base+"/v1/me", acmeSecret); res.StatusCode != http.StatusOK {
		t.Errorf("another token: %d", res.StatusCode)
	}
}

func TestBucketsFillAndAreForgotten(t *testing.T) {
	t.Parallel()
	p, at := newPace(2, 4), time.Unix(0, 0)
	for i := range 4 {
		if p.take(addressKey("a"), at) != 0 {
			t.Fatalf("request %d has to wait", i)
		}
	}
	if wait := p.take(addressKey("a"), at); wait <= 0 || wait > time.Second/2 {
		t.Errorf("waits %v", wait)
	}
	if p.take(addressKey("a"), at.Add(time.Second/2)) != 0 || p.take(addressKey("a"), at.Add(time.Second/2)) == 0 {
		t.Error("half a second gives one")
	}
	if p.take(addressKey("a"), at.Add(-time.Hour)) == 0 {
		t.Error("a clock that goes back gives")
	}
	for i := range maxBuckets + 1000 {
		p.take(hash{byte(i), byte(i >> 8), byte(i >> 16)}, at)
	}
	if len(p.buckets) > maxBuckets {
		t.Errorf("%d buckets", len(p.buckets))
	}
	if p.take(addressKey("new"), at.Add(time.Hour)); len(p.buckets) > 1 {
		t.Errorf("%d buckets after all are full", len(p.buckets))
	}
}
