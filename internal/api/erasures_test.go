package api

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestAPersonIsErasedThroughTheLog(t *testing.T) {
	t.Parallel()
	a, _, base := newAPI(t, nil)
	log := a.deps.Publisher.(*ledger)
	erase := func(path, secret, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	const right = `{"confirm":"ana/b","reason":"asked for it"}`
	for _, c := range []struct {
		name, path, secret, body string
		want                     int
	}{
		{"of another tenant", "/v1/users/globex/ana%2Fb/erase", acmeSecret, right, http.StatusNotFound},
		{"without the scope", "/v1/users/acme/ana%2Fb/erase", blindSecret, right, http.StatusForbidden},
		{"another name", "/v1/users/acme/ana%2Fb/erase", acmeSecret, `{"confirm":"ana","reason":"x"}`, http.StatusUnprocessableEntity},
		{"no reason", "/v1/users/acme/ana%2Fb/erase", acmeSecret, `{"confirm":"ana/b","reason":""}`, http.StatusUnprocessableEntity},
		{"control characters", "/v1/users/acme/ana%00/erase", acmeSecret, `{"confirm":"ana\u0000","reason":"x"}`, http.StatusUnprocessableEntity},
	} {
		if status, body := erase(c.path, c.secret, c.body); status != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, status, body, c.want)
		}
	}
	erasures := func() (list []events.Event) {
		log.mu.Lock()
		defer log.mu.Unlock()
		for _, r := range log.records {
			if r.Topic != events.TopicEvents {
				continue
			}
			e, err := events.Decode(r.Value)
			if err != nil || string(r.Key) != e.Key() || e.Validate() != nil {
				t.Fatalf("wrote %q %s: %v, %v", r.Key, r.Value, err, e.Validate())
			}
			list = append(list, *e)
		}
		return list
	}
	if list := erasures(); len(list) > 0 {
		t.Fatalf("what was refused is on the log: %+v", list)
	}
	if status, body := erase("/v1/users/acme/ana%2Fb/erase", acmeSecret, right); status != http.StatusAccepted || !strings.Contains(body, `"before"`) {
		t.Fatalf("%d %s", status, body)
	}
	list := erasures()
	if len(list) != 1 || list[0].Kind != events.Erasure || list[0].Tenant != "acme" || list[0].User.ID != "ana/b" {
		t.Fatalf("on the log is %+v", list)
	}
	var entry *events.AuditEntry
	for _, e := range log.audited(t) {
		if e.Action == "erase" {
			entry = &e
		}
	}
	if entry == nil || entry.User != "ana/b" || entry.Detail != "asked for it" || entry.Outcome != events.AuditDone {
		t.Errorf("the audit has %+v", entry)
	}

	log.mu.Lock()
	log.err = errors.New("no broker")
	log.mu.Unlock()
	if status, body := erase("/v1/users/acme/ana%2Fb/erase", acmeSecret, right); status != http.StatusServiceUnavailable {
		t.Errorf("without a log: %d %s", status, body)
	}
}
