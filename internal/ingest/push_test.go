package ingest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/cloudevents"
	"github.com/countersign-io/countersign/stepup"
)

// front is a server with everything that may be pushed to it.
func front(t *testing.T, to Publisher, change func(*Deps)) *httptest.Server {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Tokens = []TokenConfig{{File: token, Source: "test", Tenants: []string{"acme"}, Formats: []string{"*"}}}
	deps := Deps{Pipeline: newPipeline(t, to), Decoders: decoders(), CloudEvents: func(inner Decoder, attribute func(string) string) Decoder {
		if attribute == nil {
			return cloudevents.Structured(inner)
		}
		return cloudevents.Binary(inner, attribute("id"), attribute("time"))
	}}
	if change != nil {
		change(&deps)
	}
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server
}

func request(t *testing.T, server *httptest.Server, method, path, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	server.Config.Handler.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

var bearer = []string{"Authorization", "Bearer " + secret}

func TestSessionReportsHaveTheirOwnDoor(t *testing.T) {
	t.Parallel()
	var l log
	server := front(t, &l, nil)
	const report = `{"session":"s9","user":"u1","ip":"192.0.2.1","app":"bank","time":"2026-03-04T08:15:31Z"}`
	status, text := request(t, server, http.MethodPost, "/v1/sessions", "["+report+","+report+`,{"user":"u1"}]`, bearer...)
	if status != 200 || !strings.Contains(text, `"accepted":1`) || !strings.Contains(text, `"duplicates":1`) || !strings.Contains(text, "session: is missing") {
		t.Errorf("%d %s", status, text)
	}
	if len(l.events) != 1 || l.events[0].Kind != events.SessionUse || l.events[0].Tenant != "acme" || len(l.dead) != 1 {
		t.Errorf("events %+v, %d dead letters", l.events, len(l.dead))
	}
	if status, _ := request(t, server, http.MethodPost, "/v1/sessions", report); status != 401 {
		t.Errorf("without a token: %d", status)
	}
}

func TestCloudEventsInEveryMode(t *testing.T) {
	t.Parallel()
	const data = `{"kind":"sign_in","user":{"id":"u1"},"source":{}}`
	envelope := func(id string) string {
		return `{"specversion":"1.0","type":"t","source":"/s","id":"` + id + `","time":"2026-03-04T08:15:31Z","data":` + data + `}`
	}
	var l log
	server := front(t, &l, nil)
	for _, c := range []struct {
		body   string
		header []string
	}{
		{envelope("a"), []string{"Content-Type", "application/cloudevents+json; charset=utf-8"}},
		{"[" + envelope("b") + "," + envelope("c") + "]", []string{"Content-Type", "application/cloudevents-batch+json"}},
		{data, []string{"Content-Type", "application/json", "ce-specversion", "1.0", "ce-id", "d", "ce-time", "2026-03-04T08:15:31Z"}},
	} {
		if status, text := request(t, server, http.MethodPost, "/v1/events", c.body, append(c.header, bearer...)...); status != 200 {
			t.Errorf("%v: %d %s", c.header, status, text)
		}
	}
	ids := ""
	for _, e := range l.events {
		ids += e.Source.ID
	}
	if ids != "abcd" || len(l.dead) != 0 {
		t.Errorf("events %q, dead letters %v", ids, l.dead)
	}
	plain := front(t, &l, func(d *Deps) { d.CloudEvents = nil })
	if status, _ := request(t, plain, http.MethodPost, "/v1/events", envelope("e"), append([]string{"Content-Type", "application/cloudevents+json"}, bearer...)...); status != 415 {
		t.Errorf("where they are not taken: %d", status)
	}
}

func TestHooksAreChallengedBehindTheToken(t *testing.T) {
	t.Parallel()
	server := front(t, &log{}, func(d *Deps) {
		d.Challenge = func(r *http.Request) (any, bool) {
			return map[string]string{"verification": r.Header.Get("X-Challenge")}, r.Header.Get("X-Challenge") != ""
		}
	})
	ask := append([]string{"X-Challenge", "xyz"}, bearer...)
	if status, text := request(t, server, http.MethodGet, "/v1/events", "", ask...); status != 200 || strings.TrimSpace(text) != `{"verification":"xyz"}` {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := request(t, server, http.MethodGet, "/v1/events", "", "X-Challenge", "xyz"); status != 401 {
		t.Errorf("without a token: %d", status)
	}
	if status, _ := request(t, server, http.MethodGet, "/v1/events", "", bearer...); status != 405 {
		t.Errorf("no challenge: %d", status)
	}
}

func TestSourcesAreReported(t *testing.T) {
	t.Parallel()
	var got []string
	var last events.Millis
	server := front(t, &log{}, func(d *Deps) {
		d.Report = func(source, format string, r Result, err error) {
			got, last = append(got, source+" "+format), r.LastEvent
			if r.Accepted != 1 || err != nil {
				t.Errorf("%+v, %v", r, err)
			}
		}
	})
	request(t, server, http.MethodPost, "/v1/events", line("a", ""), bearer...)
	request(t, server, http.MethodPost, "/v1/events", line("a", "")) // nobody's
	if len(got) != 1 || got[0] != "test event" || last != 1772612130000 {
		t.Errorf("%q, last event %v", got, last)
	}
}

func TestRememberedEventsAreRepeats(t *testing.T) {
	t.Parallel()
	var l log
	p := newPipeline(t, &l)
	src := Source{Name: "test", Decoder: decoders()[FormatEvent], Format: FormatEvent}
	p.Remember(events.EventID("acme", "custom", "a"))
	p.Remember("what is no id")
	r, err := p.Take(t.Context(), src, [][]byte{[]byte(line("a", "")), []byte(line("b", "")), make([]byte, events.MaxRecord+1)})
	if err != nil || r.Accepted != 1 || r.Duplicates != 1 || r.Rejected != 1 || len(l.events) != 1 || l.events[0].Source.ID != "b" {
		t.Errorf("%+v, %v", r, err)
	}
	if len(l.dead) != 1 || l.dead[0].Size != events.MaxRecord+1 || l.dead[0].Line != 3 {
		t.Errorf("dead letters %+v", l.dead)
	}
}

// What was read from a foreign log says where, in its dead letter.
func TestDeadLettersNameTheirOrigin(t *testing.T) {
	t.Parallel()
	var l log
	p := newPipeline(t, &l)
	in := p.Intake(Source{Name: "hub", Decoder: decoders()[FormatEvent], Format: FormatEvent})
	in.AddFrom([]byte(`{`), Origin{Topic: "idp", Partition: 3, Offset: 42})
	in.AddFrom(make([]byte, events.MaxRecord+1), Origin{Topic: "idp", Partition: 3, Offset: 43})
	in.AddFrom([]byte(line("a", "")), Origin{Topic: "idp", Partition: 3, Offset: 44})
	r, err := in.Close(t.Context())
	if err != nil || r.Accepted != 1 || len(l.dead) != 2 {
		t.Fatalf("%+v, %v, %d dead letters", r, err, len(l.dead))
	}
	for i, d := range l.dead {
		if d.Topic != "idp" || d.Partition != 3 || d.Offset != int64(42+i) {
			t.Errorf("dead letter %d comes from %s %d %d", i, d.Topic, d.Partition, d.Offset)
		}
	}
}

// What the SDK's observer sends is what the door for session reports takes.
func TestTheSDKsReportsComeIn(t *testing.T) {
	t.Parallel()
	var l log
	server := front(t, &l, nil)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := stepup.NewObserver(stepup.ObserverConfig{URL: server.URL + "/v1/sessions", TokenFile: token, App: "bank", Tenant: "acme", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	o.Observe(stepup.SessionUse{Subject: stepup.Subject{User: "u1", Session: "s9"}, IP: "192.0.2.1", UserAgent: "Mozilla/5.0 (example)"})
	o.Observe(stepup.SessionUse{Subject: stepup.Subject{User: "u1", Session: "s9"}, IP: "192.0.2.1", UserAgent: "Mozilla/5.0 (example)"})
	o.Observe(stepup.SessionUse{Subject: stepup.Subject{User: "u1", Session: "s9"}, IP: "198.51.100.1", UserAgent: "Mozilla/5.0 (example)"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it drains at its end
	if err := o.Run(ctx); err != nil || o.Dropped() != 0 {
		t.Fatalf("%v, %d dropped", err, o.Dropped())
	}
	if len(l.events) != 2 || l.events[0].App.ID != "bank" || l.events[0].Session.ID != "s9" || l.events[1].IP != "198.51.100.1" || len(l.dead) != 0 {
		t.Errorf("events %+v, dead letters %+v", l.events, l.dead)
	}
}
