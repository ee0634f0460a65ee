package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/api"
	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/schemas"
)

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

var (
	_ api.History = (*history.Store)(nil)
	_ api.Log     = (*stream.Cluster)(nil)
)

const secret = "the-secret-of-acme-and-globex"

// silent is a log on which nothing happens.
type silent struct{}

func (silent) Tail(ctx context.Context, _ string, _ stream.TailFrom, _ func(stream.Record) error) error {
	<-ctx.Done()
	return nil
}

func (s silent) Follow(ctx context.Context, topic string, fn func(stream.Record) error, onCaughtUp func()) error {
	onCaughtUp()
	return s.Tail(ctx, topic, stream.FromStart, fn)
}

func (silent) Ends(context.Context, string) (first, end []int64, err error) { return nil, nil, nil }

func (silent) Publish(context.Context, string, []stream.Record) error { return nil }

func (silent) LoadSince(context.Context, string, time.Time, func(stream.Record) error) error {
	return nil
}

// client asks an API that stands on a real history.
type client struct {
	*testing.T
	base string
}

func newClient(t *testing.T, h api.History) client {
	t.Helper()
	sum := sha256.Sum256([]byte(secret))
	cfg := api.DefaultConfig()
	cfg.Tokens = []api.Token{{Name: "test", SHA256: hex.EncodeToString(sum[:]), Tenants: []string{"acme", "globex"}, Scopes: api.Scopes}}
	a, err := api.New(cfg, api.Deps{History: h, Log: silent{}, Publisher: silent{}, Schemas: schemas.FS})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a.Handler())
	t.Cleanup(server.Close)
	return client{t, server.URL}
}

func (c client) get(path string, parameters url.Values) (status int, body string) {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), http.MethodGet, c.base+path+"?"+parameters.Encode(), nil)
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// ask is get for an answer that must be there.
func (c client) ask(path string, parameters url.Values, into any) (body string) {
	c.Helper()
	status, body := c.get(path, parameters)
	if status != http.StatusOK {
		c.Fatalf("%s?%s: %d %s", path, parameters.Encode(), status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		c.Fatalf("%s: %v in %s", path, err, body)
	}
	return body
}

// markup is what a source may send as a name.
const markup = `<img src=x onerror=alert(1)>"'&`

var start = time.Date(2026, 3, 4, 8, 0, 0, 0, time.UTC)

func filled(t *testing.T) *history.Store {
	t.Helper()
	s := historytest.Open(t)
	logged := time.Now() // retention counts from here
	sights, findings, requirements := history.NewEvents(), history.NewFindings(), history.NewRequirements()
	for i := range 45 {
		tenant := []string{"acme", "globex", "hidden"}[i%3]
		e := events.Event{
			Kind: events.SignIn, Tenant: tenant, User: events.User{ID: []string{"u1", "a/b ?#%"}[i%2], Name: markup}, Outcome: events.Success,
			Time: events.MillisOf(start.Add(time.Duration(i/9) * time.Minute)), Source: events.Source{ID: fmt.Sprint(i)}, IP: "192.0.2.1",
			Place: events.Place{Country: "DE", City: markup, Lat: 50, Lon: 8},
		}
		e.ID = events.EventID(tenant, "", e.Source.ID)
		f := events.Finding{
			ID: events.FindingID("LOC-01", 1, tenant, e.User.ID, e.ID), Detection: "LOC-01", Version: 1, Summary: markup, Tenant: tenant,
			User: e.User, EventID: e.ID, Time: e.Time, Severity: events.High, Disposition: events.Active, Evidence: events.Evidence{Sight: events.SightOf(&e)},
		}
		r := report.Requirement{
			ID: events.ID("requirement", fmt.Sprint(i)), Tenant: tenant, User: e.User.ID, Status: report.Open, Action: events.StepUp, Severity: events.High,
			NotBefore: e.Time, Expires: e.Time + events.Hour, Reason: markup, Claims: []byte(`{"iss":"<b>"}`),
		}
		for _, err := range []error{
			sights.Append(&e, events.Encode(&e), logged), findings.Append(&f, events.Encode(&f), logged), requirements.Append(&r, logged),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, b := range []*history.Block{&sights.Block, &findings.Block, &requirements.Block} {
		if err := s.Insert(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

var morning = url.Values{"from": {"2026-03-04T07:00:00Z"}, "to": {"2026-03-04T12:00:00Z"}}

func with(pairs ...string) url.Values {
	v := maps.Clone(morning)
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

func TestPagesOverTheRealHistoryHoldEverythingOnce(t *testing.T) {
	t.Parallel()
	c := newClient(t, filled(t))
	for _, list := range []struct {
		path, field, key string
		want             int
	}{
		{"/v1/findings", "findings", "id", 30},
		{"/v1/revocations", "revocations", "id", 30},
		{"/v1/users/acme/u1/timeline", "entries", "id", 24},
		{"/v1/users/acme/" + url.PathEscape("a/b ?#%") + "/timeline", "entries", "id", 21},
	} {
		collect := func(limit string) (ids []string) {
			for cursor := ""; ; {
				var page map[string]json.RawMessage
				parameters := with("limit", limit)
				if cursor != "" {
					parameters.Set("cursor", cursor)
				}
				if body := c.ask(list.path, parameters, &page); strings.ContainsAny(body, "<>&") {
					t.Fatalf("markup in an answer: %s", body)
				} else if strings.Contains(body, "hidden") {
					t.Fatalf("another tenant's in an answer: %s", body)
				}
				var entries []map[string]any
				if err := json.Unmarshal(page[list.field], &entries); err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					ids = append(ids, fmt.Sprint(e[list.key]))
				}
				cursor = ""
				if next := page["next_cursor"]; next != nil {
					if err := json.Unmarshal(next, &cursor); err != nil {
						t.Fatal(err)
					}
				}
				if cursor == "" {
					return ids
				}
			}
		}
		whole := collect("200")
		if distinct := slices.Compact(slices.Sorted(slices.Values(whole))); len(whole) != list.want || len(distinct) != list.want {
			t.Errorf("%s: %d entries, %d of them distinct, want %d", list.path, len(whole), len(distinct), list.want)
		}
		for _, limit := range []string{"1", "7", "30"} {
			if diff := cmp.Diff(whole, collect(limit)); diff != "" {
				t.Errorf("%s in pages of %s (-want +got):\n%s", list.path, limit, diff)
			}
		}
	}
}

func TestNamesComeBackAsTheText(t *testing.T) {
	t.Parallel()
	c := newClient(t, filled(t))
	var o report.Overview
	c.ask("/v1/overview", morning, &o)
	if o.Events != 30 || o.Findings != 30 || o.Requirements.Expired != 30 || len(o.Users) != 4 || o.Users[0].Name != markup {
		t.Errorf("overview is %+v", o)
	}
	var page struct{ Findings []events.Finding }
	c.ask("/v1/findings", with("limit", "1"), &page)
	f := page.Findings[0]
	if f.Summary != markup || f.Evidence.Sight.Place.City != markup {
		t.Errorf("finding is %+v", f)
	}
	var one events.Finding
	c.ask("/v1/findings/"+f.ID, nil, &one)
	if diff := cmp.Diff(f, one); diff != "" {
		t.Errorf("the finding alone differs (-want +got):\n%s", diff)
	}
	if status, _ := c.get("/v1/findings/"+events.FindingID("LOC-01", 1, "hidden", "u1", events.EventID("hidden", "", "2")), nil); status != http.StatusNotFound {
		t.Errorf("another tenant's finding: %d", status)
	}
}

func TestInjectionsFindNothingAndBreakNothing(t *testing.T) {
	t.Parallel()
	s := filled(t)
	c := newClient(t, s)
	for _, text := range []string{
		"' OR '1'='1", `\' OR 1=1 --`, "') OR 1=1 --", "u1' UNION ALL SELECT raw FROM events --", "{tenants:Array(String)}", "'; DROP TABLE events; --",
		"u1\x00", "${database}", "hidden') OR (tenant != '",
	} {
		for _, question := range []struct{ path, field, parameter string }{
			{"/v1/findings", "findings", "user"},
			{"/v1/findings", "findings", "detection"},
			{"/v1/findings", "findings", "tenant"},
			{"/v1/findings", "findings", "session"},
			{"/v1/findings", "findings", "app"},
			{"/v1/receipts", "receipts", "user"},
			{"/v1/receipts", "receipts", "app"},
			{"/v1/receipts", "receipts", "requirement"},
			{"/v1/alerts", "alerts", "user"},
			{"/v1/revocations", "revocations", "user"},
			{"/v1/revocations", "revocations", "tenant"},
			{"/v1/users/acme/" + url.PathEscape(text) + "/timeline", "entries", ""},
		} {
			parameters := with()
			if question.parameter != "" {
				parameters.Set(question.parameter, text)
			}
			var page map[string]any
			c.ask(question.path, parameters, &page)
			if list, ok := page[question.field].([]any); !ok || len(list) != 0 {
				n := len(list)
				t.Errorf("%s with %s %q: %d entries, want none", question.path, question.parameter, text, n)
			}
		}
		var o report.Overview
		if c.ask("/v1/overview", with("tenant", text), &o); o.Events != 0 || len(o.Users) != 0 {
			t.Errorf("overview of tenant %q is %+v", text, o)
		}
		for _, parameter := range []string{"severity", "disposition", "cursor", "limit", "from", "ip", "triage"} {
			if status, body := c.get("/v1/findings", with(parameter, text)); status != http.StatusUnprocessableEntity {
				t.Errorf("%s %q: %d %s", parameter, text, status, body)
			}
		}
	}
	if n, err := s.Things(t.Context(), history.TableEvents); err != nil || n != 45 {
		t.Errorf("%d events are left, %v: want 45", n, err)
	}
}

func TestAnEngineThatIsAwayIs503(t *testing.T) {
	t.Parallel()
	cfg := history.DefaultConfig()
	cfg.URLs = []string{"http://127.0.0.1:1"}
	s, err := history.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := newClient(t, s)
	for _, path := range []string{"/v1/overview", "/v1/findings", "/v1/revocations", "/v1/users/acme/u1/timeline", "/v1/findings/" + strings.Repeat("0", 32)} {
		status, body := c.get(path, nil)
		if status != http.StatusServiceUnavailable || strings.Contains(body, "127.0.0.1") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestTheSchemasAndTheDescriptionAreServed(t *testing.T) {
	t.Parallel()
	s, err := history.Open(history.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := newClient(t, s)
	for _, name := range []string{"event.v1", "event.v1.json", "finding.v1", "revocation.v1"} {
		var schema map[string]any
		if c.ask("/v1/schemas/"+name, nil, &schema); schema["$schema"] == nil {
			t.Errorf("%s is no schema", name)
		}
	}
	for _, name := range []string{"nothing", "..%2fembed.go", "embed.go", "testdata%2fx", "%2e%2e", "a%00b"} {
		if status, body := c.get("/v1/schemas/"+name, nil); status != http.StatusNotFound {
			t.Errorf("schema %s: %d %s", name, status, body)
		}
	}
	var description struct {
		Paths      map[string]map[string]any
		Components struct{ Schemas map[string]map[string]any }
	}
	body := c.ask("/v1/openapi.json", nil, &description)
	for _, path := range []string{"/v1/overview", "/v1/findings", "/v1/findings/{id}", "/v1/users/{tenant}/{user}/timeline", "/v1/revocations"} {
		if description.Paths[path]["get"] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	for _, parameter := range []string{`"name":"from"`, `"name":"cursor"`, `"name":"tenant"`} {
		if !strings.Contains(body, parameter) {
			t.Errorf("%s is not described", parameter)
		}
	}
	if finding := description.Components.Schemas["Finding"]; finding == nil || !strings.Contains(fmt.Sprint(finding), "date-time") {
		t.Errorf("a finding is described as %v, want its fields, times as date-time", finding)
	}
}
