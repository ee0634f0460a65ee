package ssf

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPollTakesAcknowledgesAndRefuses(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *Config) { c.Limits.PollSets = 3 })
	id := p.create("acme", `{}`)
	poll := func(body string) string {
		t.Helper()
		a := p.as("acme", "POST", "poll/"+id, body)
		if a.status != http.StatusOK {
			t.Fatalf("%+v", a)
		}
		return a.body
	}
	sameJSON(t, `{"sets":{}}`, poll(`{"returnImmediately":true}`))
	sameJSON(t, `{"sets":{}}`, poll(`{"maxEvents":0}`)) // it does not wait
	for _, text := range []string{"a", "b", "c", "d"} {
		p.registry.put(id, text)
	}
	var first PollResponse
	if err := json.Unmarshal([]byte(poll(`{"returnImmediately":true,"maxEvents":2}`)), &first); err != nil {
		t.Fatal(err)
	}
	if len(first.Sets) != 2 || !first.MoreAvailable {
		t.Errorf("%+v", first)
	}
	sameJSON(t, `{"sets":{"jti-0002":"a","jti-0003":"b","jti-0004":"c"},"moreAvailable":true}`, poll(`{"maxEvents":1000}`))
	sameJSON(t, `{"sets":{},"moreAvailable":true}`, poll(`{"maxEvents":0,"ack":["jti-0002","unknown"]}`))
	last := poll(`{"ack":["jti-0003","jti-0004"],"setErrs":{"jti-0003":{"err":"invalid_key","description":"gone"}}}`)
	sameJSON(t, `{"sets":{"jti-0005":"d"}}`, last)
	if strings.Contains(last, "moreAvailable") {
		t.Error("moreAvailable is written though false")
	}
	if diff := cmp.Diff(map[string]SetError{"jti-0003": {"invalid_key", "gone"}}, p.registry.refused); diff != "" {
		t.Error(diff)
	}
}

func TestPollIsWokenByTheEvent(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := p.create("acme", `{}`)
	header := bearer(p.token("acme"))
	answered := make(chan answer)
	go func() { answered <- p.send("POST", tenantPath("acme")+"poll/"+id, `{}`, header) }()
	<-p.registry.polling
	if a := p.as("acme", "POST", "verify", `{"stream_id":"`+id+`","state":"now"}`); a.status != http.StatusNoContent {
		t.Fatalf("%+v", a)
	}
	sameJSON(t, `{"sets":{"jti-0002":"state now"}}`, (<-answered).body)
}

func TestPollWaitsNoLongerThanItMay(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := p.create("acme", `{}`)
	token := p.token("acme")
	handler := p.server.Config.Handler
	synctest.Test(t, func(t *testing.T) {
		p.registry.arrived, p.registry.polling = make(chan struct{}), make(chan struct{}, 1)
		begun := time.Now()
		r := httptest.NewRequestWithContext(t.Context(), "POST", tenantPath("acme")+"poll/"+id, strings.NewReader(`{}`))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if waited := time.Since(begun); waited != 30*time.Second || w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"sets":{}}` {
			t.Errorf("%v, %d, %s", waited, w.Code, w.Body)
		}
	})
}

func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		";{ broken", "null", "{}", `{"delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":""},"events_requested":["a"],"description":"é"}`,
		`{"stream_id":"s-1","aud":["a"],"iss":"b","min_verification_interval":1e400}`, `{"stream_id":null,"delivery":{"authorization_header":""}}`,
		`{"maxEvents":0,"ack":["a","b"],"setErrs":{"a":{"err":"x","description":"y"}},"returnImmediately":true}`,
		`{"stream_id":"s-1","status":"paused","reason":"\u0000"}`, `{"stream_id":"s","subject":{"format":"email","email":"a@example.com"},"verified":false}`,
	} {
		f.Add([]byte(seed))
	}
	l := DefaultConfig().Limits
	f.Fuzz(func(t *testing.T, raw []byte) {
		if q, err := parseConfiguration(raw, l); err == nil {
			if q.description != nil && len([]rune(*q.description)) > l.Description || q.requested != nil && len(*q.requested) > l.EventsRequested {
				t.Errorf("%+v", q)
			}
			if q.delivery != nil && (q.delivery.method == "" || q.delivery.authorization != nil && strings.ContainsAny(*q.delivery.authorization, "\r\n\x00")) {
				t.Errorf("%+v", q.delivery)
			}
		}
		if q, err := parsePoll(raw, l); err == nil {
			if q.MaxEvents == nil || *q.MaxEvents < 0 || *q.MaxEvents > l.PollSets || *q.MaxEvents == 0 && !q.ReturnImmediately ||
				len(q.Ack) > l.PollAcks || len(q.SetErrs) > l.PollAcks {
				t.Errorf("%+v", q)
			}
			for jti := range q.SetErrs {
				if slices.Contains(q.Ack, jti) {
					t.Errorf("%q is acknowledged and refused", jti)
				}
			}
		}
		if q, err := parseStatus(raw, l); err == nil && q.status != Enabled && q.status != Paused && q.status != Disabled {
			t.Errorf("%+v", q)
		}
		if q, err := parseVerify(raw); err == nil && q.state != nil && len(*q.state) > MaxState {
			t.Errorf("%+v", q)
		}
		if q, err := parseSubjectRequest(raw); err == nil && len(q.subject) == 0 {
			t.Errorf("%+v", q)
		}
	})
}
