package ssf

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// Event types of the tests; the last one is known to nobody.
const (
	typeRevoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	typeRisk    = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change"
	typeOwn     = "https://schemas.example.com/own"
	typeUnknown = "https://schemas.example.com/unknown"
)

func supported(s Stream) []string {
	if s.Interop {
		return []string{typeRevoked, typeRisk}
	}
	return []string{typeRevoked, typeRisk, typeOwn}
}

func delivered(s Stream) []string {
	if s.Requested == nil {
		return []string{typeRevoked, typeRisk}
	}
	var list []string
	for _, uri := range supported(s) {
		if slices.Contains(s.Requested, uri) {
			list = append(list, uri)
		}
	}
	return list
}

// checkURL is what the guard of outgoing requests says, in short.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || u.Hostname() == "127.0.0.1" {
		return errors.New("may not be called")
	}
	return nil
}

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Unix(1_767_225_600, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// party is a transmitter over TLS, and what its receivers know.
type party struct {
	t        *testing.T
	cfg      Config
	server   *httptest.Server
	clock    *clock
	registry *memory
	metrics  *prometheus.Registry
	secrets  map[string]string
	jwks     []byte
	forward  func(w http.ResponseWriter, r *http.Request, body []byte, base string)
}

// start starts a transmitter of two tenants. The client acme may do anything in acme, viewer may only read, other is of
// the other tenant, phone speaks apple-sse.
func start(t *testing.T, change func(*Config)) *party {
	t.Helper()
	p := &party{t: t, clock: newClock(), secrets: map[string]string{}, metrics: prometheus.NewRegistry(), jwks: []byte(`{"keys":[]}`)}
	p.registry = newMemory(p.clock.now)
	var h http.Handler
	p.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(p.server.Close)

	p.cfg = DefaultConfig()
	p.cfg.BaseURL = p.server.URL
	p.cfg.InactivityTimeout = time.Hour
	p.cfg.Tenants = []Tenant{{Name: "acme"}, {Name: "other", DefaultSubjects: SubjectsNone}}
	p.cfg.Clients = []Client{
		{ID: "acme", Tenant: "acme", Audience: []string{"https://app.example.com/ssf"}},
		{ID: "viewer", Tenant: "acme", Audience: []string{"https://viewer.example.com"}, Scopes: []string{ScopeRead}},
		{ID: "other", Tenant: "other", Audience: []string{"https://a.example.com", "https://b.example.com"}},
		{ID: "phone", Tenant: "acme", Dialect: DialectAppleSSE, Audience: []string{"https://federation.example.com/feeds/org1/*"}, SubjectIssuer: "https://idp.example.com"},
	}
	for i := range p.cfg.Clients {
		c := &p.cfg.Clients[i]
		p.secrets[c.ID] = rand.Text() + rand.Text()
		c.SecretFile = filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(c.SecretFile, []byte(p.secrets[c.ID]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if change != nil {
		change(&p.cfg)
	}
	h = p.handler(p.cfg)
	return p
}

func (p *party) handler(cfg Config) *Handler {
	p.t.Helper()
	h, err := New(cfg, Deps{
		Registry: p.registry, Supported: supported, Delivered: delivered, CheckURL: checkURL, Now: p.clock.now,
		Keys: func(string) ([]byte, string) { return p.jwks, `"v1"` }, Registerer: p.metrics, HTTP: p.server.Client(),
		Forward: func(w http.ResponseWriter, r *http.Request, body []byte, base string) { p.forward(w, r, body, base) },
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return h
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (p *party) send(method, path, body string, header http.Header) answer {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.server.URL+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header = header
	response, err := p.server.Client().Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(raw)}
}

// token gets one of the own endpoint.
func (p *party) token(client string) string {
	p.t.Helper()
	a := p.grant("grant_type=client_credentials&client_id=" + client + "&client_secret=" + p.secrets[client])
	var granted struct {
		AccessToken string `json:"access_token"`
	}
	if a.status != http.StatusOK || json.Unmarshal([]byte(a.body), &granted) != nil || granted.AccessToken == "" {
		p.t.Fatalf("no token: %+v", a)
	}
	return granted.AccessToken
}

func (p *party) grant(form string) answer {
	p.t.Helper()
	return p.send(http.MethodPost, PathToken, form, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
}

// as sends with a client's token to its tenant; path is below the tenant's.
func (p *party) as(client, method, path, body string) answer {
	p.t.Helper()
	r, _ := p.cfg.Receiver(client)
	return p.send(method, tenantPath(r.Tenant)+path, body, bearer(p.token(client)))
}

func bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
}

// create makes a stream and returns its id.
func (p *party) create(client, body string) string {
	p.t.Helper()
	a := p.as(client, http.MethodPost, "streams", body)
	if a.status != http.StatusCreated {
		p.t.Fatalf("create: %+v", a)
	}
	var c configuration
	if err := json.Unmarshal([]byte(a.body), &c); err != nil {
		p.t.Fatal(err)
	}
	return c.ID
}

func sameJSON(t *testing.T, want, got string) {
	t.Helper()
	var w, g any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%v in %q", err, got)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
}

func TestMetadataIsPublicAndComplete(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for tenant, subjects := range map[string]string{"acme": "ALL", "other": "NONE"} {
		for _, header := range []http.Header{nil, {"Authorization": {"Bearer nonsense:1"}}} {
			a := p.send(http.MethodGet, "/.well-known/ssf-configuration/"+tenant, "", header)
			if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
				t.Fatalf("%+v", a)
			}
			base := p.server.URL + "/ssf/v1/" + tenant
			sameJSON(t, `{"issuer":"`+p.server.URL+`/`+tenant+`","spec_version":"1_0","jwks_uri":"`+base+`/jwks.json",
				"delivery_methods_supported":["urn:ietf:rfc:8935","urn:ietf:rfc:8936"],"configuration_endpoint":"`+base+`/streams",
				"status_endpoint":"`+base+`/status","add_subject_endpoint":"`+base+`/subjects/add",
				"remove_subject_endpoint":"`+base+`/subjects/remove","verification_endpoint":"`+base+`/verify",
				"authorization_schemes":[{"spec_urn":"urn:ietf:rfc:6749"}],"default_subjects":"`+subjects+`"}`, a.body)
			if strings.Contains(a.body, "[]") {
				t.Error("an empty array")
			}
		}
	}
	if a := p.send(http.MethodGet, "/.well-known/ssf-configuration/nobody", "", nil); a.status != http.StatusNotFound {
		t.Errorf("%+v", a)
	}
}

func TestWhatIsPublicIsReadOnly(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for _, path := range []string{"/.well-known/ssf-configuration/acme", "/ssf/v1/acme/jwks.json"} {
		for method, status := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "DELETE": 405, "OPTIONS": 405} {
			a := p.send(method, path, "", nil)
			if a.status != status || (a.header.Get("Allow") == "GET, HEAD") != (status == http.StatusMethodNotAllowed) {
				t.Errorf("%s %s: %+v", method, path, a)
			}
		}
	}
}

func TestKeysHaveATag(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	a := p.send(http.MethodGet, "/ssf/v1/acme/jwks.json", "", nil)
	if a.status != http.StatusOK || a.body != `{"keys":[]}` || a.header.Get("Etag") != `"v1"` || !strings.Contains(a.header.Get("Cache-Control"), "max-age=300") {
		t.Errorf("%+v", a)
	}
	for tag, status := range map[string]int{`"v1"`: 304, `W/"x", "v1"`: 304, "*": 304, `"v0"`: 200} {
		if a := p.send(http.MethodGet, "/ssf/v1/acme/jwks.json", "", http.Header{"If-None-Match": {tag}}); a.status != status {
			t.Errorf("%s: %+v", tag, a)
		}
	}
}

// TestCodes goes through what may be asked, and is answered by SSF 1.0 §8.1.
func TestCodes(t *testing.T) { //nolint:tparallel // the cases work on the same streams, in order
	t.Parallel()
	p := start(t, func(c *Config) { c.Burst = 10_000 })
	push := p.create("acme", `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://app.example.com/push"}}`)
	poll := p.create("acme", `{"delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":""},"stream_id":"mine","max_events":3}`)
	disabled := p.create("acme", `{}`)
	if a := p.as("acme", "POST", "status", `{"stream_id":"`+disabled+`","status":"disabled"}`); a.status != 200 {
		t.Fatalf("%+v", a)
	}
	gone := p.create("acme", `{}`)
	if a := p.as("acme", "DELETE", "streams?stream_id="+gone, ""); a.status != 204 || a.body != "" {
		t.Fatalf("%+v", a)
	}
	foreign := p.create("other", `{}`)
	expand := strings.NewReplacer("PUSH", push, "POLL", poll, "GONE", gone, "FOREIGN", foreign, "DISABLED", disabled).Replace

	const broken = ";{ broken"
	email := `"subject":{"format":"email","email":"a@example.com"}`
	for _, tc := range []struct {
		name, client, method, path, body string
		status                           int
	}{
		{"create with nothing but an object", "acme", "POST", "streams", `{}`, 201},
		{"create broken", "acme", "POST", "streams", broken, 400},
		{"create without a body", "acme", "POST", "streams", ``, 400},
		{"create with null", "acme", "POST", "streams", `null`, 400},
		{"create with an array", "acme", "POST", "streams", `[]`, 400},
		{"create with two values", "acme", "POST", "streams", `{}{}`, 400},
		{"create not in UTF-8", "acme", "POST", "streams", "{\"description\":\"\xff\"}", 400},
		{"create by a reader", "viewer", "POST", "streams", `{}`, 403},
		{"create with another method", "acme", "POST", "streams", `{"delivery":{"method":"urn:ietf:rfc:9999"}}`, 400},
		{"create with an old method", "acme", "POST", "streams", `{"delivery":{"method":"` + legacyPoll + `"}}`, 400},
		{"create without a method", "acme", "POST", "streams", `{"delivery":{}}`, 400},
		{"create with a delivery of text", "acme", "POST", "streams", `{"delivery":"push"}`, 400},
		{"create with a null delivery", "acme", "POST", "streams", `{"delivery":null}`, 201},
		{"create push nowhere", "acme", "POST", "streams", `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":""}}`, 400},
		{"create push in plain text", "acme", "POST", "streams", `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"http://app.example.com/"}}`, 400},
		{"create push to loopback", "acme", "POST", "streams", `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://127.0.0.1/"}}`, 400},
		{"create with a header of two lines", "acme", "POST", "streams", `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://a.example.com/","authorization_header":"a\r\nb"}}`, 400},
		{"create with a header of a number", "acme", "POST", "streams", `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://a.example.com/","authorization_header":1}}`, 400},
		{"create with events of numbers", "acme", "POST", "streams", `{"events_requested":[1]}`, 400},
		{"create with too many events", "acme", "POST", "streams", `{"events_requested":["` + strings.Repeat(`x","`, 100) + `"]}`, 400},
		{"create with a huge type", "acme", "POST", "streams", `{"events_requested":["` + strings.Repeat(`x`, 2000) + `"]}`, 400},
		{"create too large", "acme", "POST", "streams", `{"description":"` + strings.Repeat("x", 70_000) + `"}`, 413},

		{"read", "acme", "GET", "streams?stream_id=PUSH", "", 200},
		{"read gone", "acme", "GET", "streams?stream_id=GONE", "", 404},
		{"read foreign", "acme", "GET", "streams?stream_id=FOREIGN", "", 404},
		{"read another's in the tenant", "viewer", "GET", "streams?stream_id=PUSH", "", 404},
		{"read a strange id", "acme", "GET", "streams?stream_id=%00%2F..", "", 404},
		{"read an empty id", "acme", "GET", "streams?stream_id=", "", 400},
		{"list", "acme", "GET", "streams", "", 200},

		{"update", "acme", "PATCH", "streams", `{"stream_id":"PUSH","description":"x"}`, 200},
		{"update broken", "acme", "PATCH", "streams", broken, 400},
		{"update without an id", "acme", "PATCH", "streams", `{"description":"x"}`, 400},
		{"update gone", "acme", "PATCH", "streams", `{"stream_id":"GONE"}`, 404},
		{"update foreign", "acme", "PATCH", "streams", `{"stream_id":"FOREIGN"}`, 404},
		{"update by a reader", "viewer", "PATCH", "streams", `{"stream_id":"PUSH"}`, 403},
		{"update the issuer", "acme", "PATCH", "streams", `{"stream_id":"PUSH","iss":"https://x.example.com"}`, 400},
		{"update with the issuer", "acme", "PATCH", "streams", `{"stream_id":"PUSH","iss":"` + p.server.URL + `/acme"}`, 200},
		{"update the audience", "acme", "PATCH", "streams", `{"stream_id":"PUSH","aud":["https://x.example.com"]}`, 400},
		{"update with the audience", "acme", "PATCH", "streams", `{"stream_id":"PUSH","aud":["https://app.example.com/ssf"]}`, 200},
		{"update what is supported", "acme", "PATCH", "streams", `{"stream_id":"PUSH","events_supported":[]}`, 400},
		{"update what is delivered", "acme", "PATCH", "streams", `{"stream_id":"PUSH","events_requested":["` + typeRisk + `"],"events_delivered":["` + typeRisk + `"]}`, 400},
		{"update with what was delivered", "acme", "PATCH", "streams", `{"stream_id":"PUSH","events_requested":["` + typeRisk + `"],"events_delivered":["` + typeRisk + `","` + typeRevoked + `"]}`, 200},
		{"update the interval", "acme", "PATCH", "streams", `{"stream_id":"PUSH","min_verification_interval":6}`, 400},
		{"update the timeout", "acme", "PATCH", "streams", `{"stream_id":"PUSH","inactivity_timeout":1}`, 400},
		{"update with both", "acme", "PATCH", "streams", `{"stream_id":"PUSH","min_verification_interval":5,"inactivity_timeout":3600}`, 200},
		{"update the poll address", "acme", "PATCH", "streams", `{"stream_id":"POLL","delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":"https://x.example.com/"}}`, 400},
		{"update without a poll address", "acme", "PATCH", "streams", `{"stream_id":"POLL","delivery":{"method":"urn:ietf:rfc:8936"}}`, 200},
		{"update with the poll address", "acme", "PATCH", "streams", `{"stream_id":"POLL","delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":"` + p.server.URL + `/ssf/v1/acme/poll/POLL"}}`, 200},

		{"replace", "acme", "PUT", "streams", `{"stream_id":"POLL","description":"x"}`, 200},
		{"replace broken", "acme", "PUT", "streams", broken, 400},
		{"replace without an id", "acme", "PUT", "streams", `{}`, 400},
		{"replace gone", "acme", "PUT", "streams", `{"stream_id":"GONE"}`, 404},
		{"replace the issuer", "acme", "PUT", "streams", `{"stream_id":"POLL","iss":"x"}`, 400},

		{"delete everything", "acme", "DELETE", "streams", "", 400},
		{"delete by a body", "acme", "DELETE", "streams", `{"stream_id":"PUSH"}`, 400},
		{"delete gone", "acme", "DELETE", "streams?stream_id=GONE", "", 404},
		{"delete foreign", "acme", "DELETE", "streams?stream_id=FOREIGN", "", 404},
		{"delete by a reader", "viewer", "DELETE", "streams?stream_id=PUSH", "", 403},

		{"status", "viewer", "GET", "status?stream_id=PUSH", "", 404},
		{"status read", "acme", "GET", "status?stream_id=PUSH", "", 200},
		{"status without an id", "acme", "GET", "status", "", 400},
		{"status gone", "acme", "GET", "status?stream_id=GONE", "", 404},
		{"status set", "acme", "POST", "status?stream_id=PUSH", `{"stream_id":"PUSH","status":"paused","reason":"x"}`, 200},
		{"status of another kind", "acme", "POST", "status", `{"stream_id":"PUSH","status":"Paused"}`, 400},
		{"status of none", "acme", "POST", "status", `{"stream_id":"PUSH"}`, 400},
		{"status set without an id", "acme", "POST", "status?stream_id=PUSH", `{"status":"paused"}`, 400},
		{"status set gone", "acme", "POST", "status", `{"stream_id":"GONE","status":"paused"}`, 404},
		{"status set by a reader", "viewer", "POST", "status", `{"stream_id":"PUSH","status":"paused"}`, 403},

		{"add", "acme", "POST", "subjects/add", `{"stream_id":"PUSH",` + email + `,"verified":true}`, 200},
		{"add without a subject", "acme", "POST", "subjects/add", `{"stream_id":"PUSH"}`, 400},
		{"add no subject", "acme", "POST", "subjects/add", `{"stream_id":"PUSH","subject":{"format":"email"}}`, 400},
		{"add broken", "acme", "POST", "subjects/add", broken, 400},
		{"add to gone", "acme", "POST", "subjects/add", `{"stream_id":"GONE",` + email + `}`, 404},
		{"add to foreign", "acme", "POST", "subjects/add", `{"stream_id":"FOREIGN",` + email + `}`, 404},
		{"add by a reader", "viewer", "POST", "subjects/add", `{"stream_id":"PUSH",` + email + `}`, 403},
		{"remove", "acme", "POST", "subjects/remove", `{"stream_id":"PUSH",` + email + `}`, 204},
		{"remove again", "acme", "POST", "subjects/remove", `{"stream_id":"PUSH",` + email + `}`, 204},
		{"remove from gone", "acme", "POST", "subjects/remove", `{"stream_id":"GONE",` + email + `}`, 404},
		{"remove nothing", "acme", "POST", "subjects/remove", `{"stream_id":"PUSH"}`, 400},

		{"verify", "acme", "POST", "verify", `{"stream_id":"POLL","state":"x"}`, 204},
		{"verify without a state", "acme", "POST", "verify", `{"stream_id":"POLL","state":null}`, 204},
		{"verify with a number", "acme", "POST", "verify", `{"stream_id":"POLL","state":1}`, 400},
		{"verify without an id", "acme", "POST", "verify", `{}`, 400},
		{"verify gone", "acme", "POST", "verify", `{"stream_id":"GONE"}`, 404},
		{"verify disabled", "acme", "POST", "verify", `{"stream_id":"DISABLED"}`, 400},
		{"verify by a reader", "viewer", "POST", "verify", `{"stream_id":"POLL"}`, 403},
		{"verify with a huge state", "acme", "POST", "verify", `{"stream_id":"POLL","state":"` + strings.Repeat("x", 2000) + `"}`, 400},

		{"poll", "acme", "POST", "poll/POLL", `{"returnImmediately":true,"max_events":3}`, 200},
		{"poll broken", "acme", "POST", "poll/POLL", broken, 400},
		{"poll gone", "acme", "POST", "poll/GONE", `{"returnImmediately":true}`, 404},
		{"poll foreign", "acme", "POST", "poll/FOREIGN", `{"returnImmediately":true}`, 404},
		{"poll another's", "viewer", "POST", "poll/POLL", `{"returnImmediately":true}`, 404},
		{"poll a push stream", "acme", "POST", "poll/PUSH", `{"returnImmediately":true}`, 400},
		{"poll less than nothing", "acme", "POST", "poll/POLL", `{"maxEvents":-1}`, 400},
		{"poll half an event", "acme", "POST", "poll/POLL", `{"maxEvents":0.5}`, 400},
		{"poll with an ack of text", "acme", "POST", "poll/POLL", `{"ack":"x"}`, 400},
		{"poll with errors without err", "acme", "POST", "poll/POLL", `{"setErrs":{"x":{}}}`, 400},
		{"poll with errors of text", "acme", "POST", "poll/POLL", `{"setErrs":{"x":"y"}}`, 400},
		{"poll by GET", "acme", "GET", "poll/POLL", "", 405},

		{"nothing is here", "acme", "GET", "nothing", "", 404},
		{"no such method", "acme", "PUT", "status", "{}", 405},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := p.as(tc.client, tc.method, expand(tc.path), expand(tc.body))
			if a.status != tc.status {
				t.Fatalf("%d, want %d: %s", a.status, tc.status, a.body)
			}
			if tc.path != "nothing" && a.header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be kept")
			}
			switch {
			case a.status >= 400:
				var body problem
				if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Status != tc.status || body.Detail == "" {
					t.Errorf("no problem: %s", a.body)
				}
				if a.header.Get("Content-Type") != "application/problem+json" || a.header.Get("Content-Language") != "en" {
					t.Errorf("%v", a.header)
				}
			case a.status == 204 || strings.HasPrefix(tc.path, "subjects"):
				if a.body != "" {
					t.Errorf("a body: %s", a.body)
				}
			default:
				if a.header.Get("Content-Type") != "application/json" {
					t.Errorf("%v", a.header)
				}
			}
		})
	}
}

// TestWhoMayNotLearnsNothing sends what would be 400 or 404 without a token that is good: always 401.
func TestWhoMayNotLearnsNothing(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *Config) { c.Burst = 10_000 })
	id := p.create("acme", `{}`)
	good, foreign := p.token("acme"), p.token("other")
	for name, tc := range map[string]struct {
		header    http.Header
		query     string
		challenge string
	}{
		"none":            {nil, "", `Bearer realm="ssf"`},
		"odd syntax":      {bearer("invalid:0b5f4b53"), "", `error="invalid_token"`},
		"nonsense":        {bearer("nonsense"), "", `error="invalid_token"`},
		"empty":           {http.Header{"Authorization": {"Bearer "}}, "", `error="invalid_token"`},
		"basic":           {http.Header{"Authorization": {"Basic YTpi"}}, "", `error="invalid_token"`},
		"two":             {http.Header{"Authorization": {"Bearer " + good, "Bearer " + good}}, "", `error="invalid_request"`},
		"in the query":    {nil, "access_token=" + good, `error="invalid_request"`},
		"there too":       {bearer(good), "access_token=" + good, `error="invalid_request"`},
		"of other tenant": {bearer(foreign), "", `error="invalid_token"`},
		"tampered":        {bearer(good[:len(good)-5] + "AAAAA"), "", `error="invalid_token"`},
		"too long":        {bearer(strings.Repeat("a", 20_000)), "", `error="invalid_token"`},
	} {
		for _, req := range [][3]string{
			{"POST", "streams", ";{ broken"},
			{"GET", "streams?stream_id=" + id, ""},
			{"GET", "streams?stream_id=gone", ""},
			{"PATCH", "streams", ";{"},
			{"PUT", "streams", `{"stream_id":"gone"}`},
			{"DELETE", "streams?stream_id=gone", ""},
			{"POST", "status", ";"},
			{"GET", "status?stream_id=gone", ""},
			{"POST", "verify", ";"},
			{"POST", "subjects/add", ";"},
			{"POST", "subjects/remove", ";"},
			{"POST", "poll/gone", ";"},
			{"POST", "poll/" + id, `{"returnImmediately":true}`},
		} {
			path := req[1]
			if tc.query != "" {
				path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + tc.query
			}
			a := p.send(req[0], tenantPath("acme")+path, req[2], tc.header.Clone())
			if got := a.header.Get("WWW-Authenticate"); a.status != http.StatusUnauthorized || !strings.Contains(got, tc.challenge) {
				t.Errorf("%s, %s %s: %d %q", name, req[0], path, a.status, got)
			}
			if name == "none" && strings.Contains(a.header.Get("WWW-Authenticate"), "error") {
				t.Error("an error code for a request without any token")
			}
		}
	}
	if a := p.as("viewer", "POST", "streams", ";"); a.status != http.StatusForbidden ||
		!strings.Contains(a.header.Get("WWW-Authenticate"), `error="insufficient_scope"`) || !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="ssf.manage"`) {
		t.Errorf("%+v", a)
	}
}

func TestStreamAsItIsRead(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	if a := p.as("acme", "GET", "streams", ""); strings.TrimSpace(a.body) != "[]" {
		t.Errorf("an empty list is %s", a.body)
	}
	a := p.as("acme", "POST", "streams", `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://app.example.com/push","authorization_header":"Bearer secret-1"},
		"events_requested":["`+typeRisk+`","`+typeUnknown+`"],"description":"<b>é</b>","aud":"https://evil.example.com","iss":"x"}`)
	want := `{"stream_id":"s-1","iss":"` + p.server.URL + `/acme","aud":"https://app.example.com/ssf","events_supported":["` + typeRevoked + `","` + typeRisk + `","` + typeOwn + `"],
		"events_requested":["` + typeRisk + `","` + typeUnknown + `"],"events_delivered":["` + typeRisk + `"],"description":"<b>é</b>",
		"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://app.example.com/push"},"min_verification_interval":5,"inactivity_timeout":3600}`
	sameJSON(t, want, a.body)
	sameJSON(t, want, p.as("acme", "GET", "streams?stream_id=s-1", "").body)
	sameJSON(t, "["+want+"]", p.as("acme", "GET", "streams", "").body)
	if got := p.registry.streams["s-1"].Delivery.Authorization; got != "Bearer secret-1" {
		t.Errorf("the secret is %q", got)
	}

	sameJSON(t, `{"stream_id":"s-1","status":"paused","reason":"night"}`, p.as("acme", "POST", "status", `{"stream_id":"s-1","status":"paused","reason":"night"}`).body)
	sameJSON(t, `{"stream_id":"s-1","status":"paused","reason":"night"}`, p.as("acme", "GET", "status?stream_id=s-1", "").body)
	sameJSON(t, `{"stream_id":"s-1","status":"enabled"}`, p.as("acme", "POST", "status", `{"stream_id":"s-1","status":"enabled","reason":null}`).body)

	other := p.as("other", "POST", "streams", `{}`)
	sameJSON(t, `{"stream_id":"s-2","iss":"`+p.server.URL+`/other","aud":["https://a.example.com","https://b.example.com"],
		"events_supported":["`+typeRevoked+`","`+typeRisk+`","`+typeOwn+`"],"events_delivered":["`+typeRevoked+`","`+typeRisk+`"],
		"delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":"`+p.server.URL+`/ssf/v1/other/poll/s-2"},"min_verification_interval":5,"inactivity_timeout":3600}`, other.body)
	if s := p.registry.streams["s-2"]; s.DefaultSubjects != SubjectsNone || s.Status != Enabled {
		t.Errorf("%+v", s)
	}
}

// TestNoEventsAreNotAllEvents: who asks for types that are not known gets none, who asks for none gets the standard ones.
func TestWhatAnOperatorHasStoppedIsForbidden(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := p.create("acme", `{}`)
	r, _ := p.cfg.Receiver("acme")
	if _, err := p.registry.Update(t.Context(), r, id, func(s *Stream) error {
		s.Status, s.Reason, s.StatusBy = Paused, "for now", ByOperator
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	a := p.as("acme", "POST", "status", `{"stream_id":"`+id+`","status":"enabled"}`)
	if a.status != http.StatusForbidden || !strings.Contains(a.body, "operator") || a.header.Get("WWW-Authenticate") != "" {
		t.Errorf("%+v", a)
	}
	sameJSON(t, `{"stream_id":"`+id+`","status":"paused","reason":"for now"}`, p.as("acme", "GET", "status?stream_id="+id, "").body)
}

func TestNoEventsAreNotAllEvents(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for body, want := range map[string]string{
		`{"events_requested":["` + typeUnknown + `"]}`: `[]`, `{"events_requested":[]}`: `["` + typeRevoked + `","` + typeRisk + `"]`,
		`{"events_requested":null}`: `["` + typeRevoked + `","` + typeRisk + `"]`,
	} {
		var got struct {
			Delivered json.RawMessage `json:"events_delivered"`
		}
		if err := json.Unmarshal([]byte(p.as("acme", "POST", "streams", body).body), &got); err != nil {
			t.Fatal(err)
		}
		sameJSON(t, want, string(got.Delivered))
	}
}

func TestDialectOfApple(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for name, tc := range map[string]struct {
		body   string
		status int
	}{
		"no audience":      {`{}`, 400},
		"foreign audience": {`{"aud":"https://federation.example.com/feeds/org2/1"}`, 400},
		"odd format":       {`{"aud":"https://federation.example.com/feeds/org1/1","format":"did"}`, 400},
		"another format":   {`{"aud":"https://federation.example.com/feeds/org1/1","format":"email"}`, 400},
	} {
		if a := p.as("phone", "POST", "streams", tc.body); a.status != tc.status {
			t.Errorf("%s: %+v", name, a)
		}
	}
	for _, req := range [][3]string{{"DELETE", "streams", ""}, {"GET", "status", ""}, {"POST", "verify", "{}"}} {
		if a := p.as("phone", req[0], req[1], req[2]); a.status != http.StatusNotFound {
			t.Errorf("%v without a stream: %+v", req, a)
		}
	}
	create := `{"delivery":{"method":"` + legacyPush + `","endpoint_url":"https://federation.example.com/x"},"aud":"https://federation.example.com/feeds/org1/1","format":"iss_sub"}`
	id := p.create("phone", create)
	if s := p.registry.streams[id]; s.Delivery.Method != MethodPush || s.SubjectIssuer != "https://idp.example.com" || !slices.Equal(s.Audience, []string{"https://federation.example.com/feeds/org1/1"}) {
		t.Errorf("%+v", s)
	}
	if a := p.as("phone", "GET", "streams?stream_id="+id, ""); !strings.Contains(a.body, legacyPush) {
		t.Errorf("%+v", a)
	}
	if a := p.as("phone", "POST", "verify", `{}`); a.status != http.StatusNoContent {
		t.Errorf("%+v", a)
	}
	if a := p.as("phone", "POST", "status", `{"status":"paused"}`); a.status != http.StatusOK {
		t.Errorf("%+v", a)
	}
	second := p.create("phone", create)
	if a := p.as("phone", "DELETE", "streams", ""); a.status != http.StatusBadRequest {
		t.Errorf("one of two is deleted without a name: %+v", a)
	}
	if a := p.as("phone", "DELETE", "streams", `{"stream_id":"`+second+`"}`); a.status != http.StatusNoContent {
		t.Errorf("%+v", a)
	}
	if a := p.as("phone", "DELETE", "streams", ""); a.status != http.StatusNoContent || len(p.registry.streams) != 0 {
		t.Errorf("%+v", a)
	}
}

func TestRegistrySaysNo(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	p.registry.most, p.registry.interval = 1, 5*time.Second
	id := p.create("acme", `{}`)
	if a := p.as("acme", "POST", "streams", `{}`); a.status != http.StatusConflict {
		t.Errorf("%+v", a)
	}
	p.as("acme", "POST", "verify", `{"stream_id":"`+id+`"}`)
	p.clock.pass(1500 * time.Millisecond)
	if a := p.as("acme", "POST", "verify", `{"stream_id":"`+id+`"}`); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "4" {
		t.Errorf("%+v", a)
	}
	p.registry.broken = errors.New("the broker at 10.1.2.3 is away")
	for _, req := range [][2]string{{"GET", "streams"}, {"GET", "streams?stream_id=" + id}, {"POST", "streams"}} {
		a := p.as("acme", req[0], req[1], "{}")
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "10.1.2.3") {
			t.Errorf("%+v", a)
		}
	}
	p.registry.broken = fmt.Errorf("polling: %w", ErrMoving)
	if a := p.as("acme", "GET", "streams", ""); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "2" || !strings.Contains(a.body, "changing hands") {
		t.Errorf("%+v", a)
	}
}

func TestForwardsToTheOwner(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := p.create("acme", `{}`)
	p.registry.elsewhere[id] = "https://other-courier.example.com"
	var got []string
	p.forward = func(w http.ResponseWriter, r *http.Request, body []byte, base string) {
		got = append(got, r.Method+" "+base+r.URL.RequestURI()+" "+string(body))
		w.WriteHeader(http.StatusTeapot)
	}
	for _, req := range [][3]string{
		{"GET", "streams?stream_id=" + id, ""},
		{"PATCH", "streams", `{"stream_id":"` + id + `"}`},
		{"POST", "poll/" + id, `{"ack":["a"]}`},
		{"POST", "verify", `{"stream_id":"` + id + `"}`},
		{"DELETE", "streams?stream_id=" + id, ""},
	} {
		if a := p.as("acme", req[0], req[1], req[2]); a.status != http.StatusTeapot {
			t.Errorf("%+v", a)
		}
	}
	base := "https://other-courier.example.com/ssf/v1/acme/"
	want := []string{
		"GET " + base + "streams?stream_id=s-1 ", "PATCH " + base + `streams {"stream_id":"s-1"}`, "POST " + base + `poll/s-1 {"ack":["a"]}`,
		"POST " + base + `verify {"stream_id":"s-1"}`, "DELETE " + base + "streams?stream_id=s-1 ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if a := p.as("acme", "PATCH", "streams", ";"); a.status != http.StatusBadRequest {
		t.Errorf("what is broken is forwarded: %+v", a)
	}
}

func TestRequestsAreLimitedPerReceiver(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *Config) { c.RequestsPerSecond, c.Burst = 0.5, 3 })
	token, viewer := bearer(p.token("acme")), bearer(p.token("viewer"))
	get := func(header http.Header) answer { return p.send("GET", "/ssf/v1/acme/streams", "", header) }
	for range 3 {
		if a := get(token); a.status != http.StatusOK {
			t.Fatalf("%+v", a)
		}
	}
	if a := get(token); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "2" {
		t.Errorf("%+v", a)
	}
	if a := get(viewer); a.status != http.StatusOK {
		t.Errorf("another receiver is held up: %+v", a)
	}
	p.clock.pass(2 * time.Second)
	if a := get(token); a.status != http.StatusOK {
		t.Errorf("%+v", a)
	}
}

func TestMetricsCountAnswers(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	p.create("acme", `{}`)
	p.as("acme", "POST", "poll/none", `{"returnImmediately":true}`)
	p.send("GET", "/ssf/v1/acme/streams", "", nil)
	families, err := p.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels bytes.Buffer
			for _, l := range m.GetLabel() {
				labels.WriteString(" " + l.GetValue())
			}
			got[f.GetName()+labels.String()] = m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{
		"countersign_ssf_requests_total 200 token": 2, "countersign_ssf_requests_total 201 configuration": 1,
		"countersign_ssf_requests_total 404 poll": 1, "countersign_ssf_requests_total 401 configuration": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
