package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// problemIn reads an answer that is a problem.
func problemIn(t *testing.T, res *http.Response, body string) huma.ErrorModel {
	t.Helper()
	var p huma.ErrorModel
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Status != res.StatusCode || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%s %s: no problem of status %d: %s (%v)", res.Header.Get("Content-Type"), res.Request.URL.Path, res.StatusCode, body, err)
	}
	return p
}

// Whoever is told to come back learns what is away: only then may a mark be written blind, and only then do the words fit.
func TestA503SaysWhatIsAway(t *testing.T) {
	t.Parallel()
	finding := strings.Repeat("0", 32)
	put := func(base, path string, body string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+wholeSecret)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("If-Match", `"open"`)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(answer)
	}
	for _, c := range []struct {
		name   string
		before func(*API, *questions)
		put    bool
		path   string
		want   outage
	}{
		{"history", func(_ *API, q *questions) { q.err = fmt.Errorf("asking: %w", report.ErrUnavailable) }, false, "/v1/overview", historyAway},
		{"log", func(a *API, _ *questions) { a.deps.Publisher.(*ledger).err = io.ErrUnexpectedEOF }, false, "/v1/users/acme/u1/timeline", logAway},
		{"questions", func(a *API, _ *questions) {
			for range cap(a.questions) {
				a.questions <- struct{}{}
			}
		}, false, "/v1/overview", busy},
		{"marks", func(a *API, _ *questions) {
			a.recent.found(&events.Finding{ID: finding, Tenant: "acme"})
			a.marking <- struct{}{}
		}, true, "/v1/findings/" + finding + "/triage", busy},
	} {
		a, q, base := newAPI(t, func(c *Config) { c.QuestionWait = 1e6 })
		c.before(a, q)
		res, body := get(t, base+c.path, wholeSecret)
		if c.put {
			res, body = put(base, c.path, `{"verdict":"acknowledged"}`)
		}
		p := problemIn(t, res, body)
		if p.Status != http.StatusServiceUnavailable || p.Type != problemTypes+c.want.name || p.Title != c.want.title || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
}

// strained is a History that has the error of its questions for what is one thing as well.
type strained struct{ *questions }

func (h strained) Requirement(context.Context, report.Scope, string, events.Millis) (report.Requirement, error) {
	return report.Requirement{}, h.err
}

func (h strained) Erasures(context.Context, report.Scope) ([]report.Erasure, error) {
	return nil, h.err
}

func (h strained) User(context.Context, report.Scope, string, string, events.Millis) (*report.UserProfile, error) {
	return nil, h.err
}

func (h strained) Session(context.Context, report.Scope, string, string, events.Millis) (*report.SessionProfile, error) {
	return nil, h.err
}

func (h strained) SessionEvents(context.Context, report.SessionQuery) (report.EventPage, error) {
	return report.EventPage{}, h.err
}

// A question about one thing has no time to shorten: that the history is slow is no mistake of who asks.
func TestASlowHistoryIsNoMistakeOfWhoAsksForOneThing(t *testing.T) {
	t.Parallel()
	a, q, base := newAPI(t, nil)
	q.err = fmt.Errorf("asking: %w", report.ErrTooExpensive)
	a.deps.History = strained{q}
	finding := strings.Repeat("0", 32)
	for _, path := range []string{
		"/v1/findings/" + finding, "/v1/findings/" + finding + "/details", "/v1/revocations/some-id", "/v1/erasures", "/v1/users/acme/u1",
		"/v1/sessions/acme/s1", "/v1/sessions/acme/s1/events",
	} {
		res, body := get(t, base+path, wholeSecret)
		if p := problemIn(t, res, body); p.Status != http.StatusServiceUnavailable || p.Type != problemTypes+historyAway.name || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for _, path := range []string{"/v1/overview", "/v1/findings", "/v1/revocations"} {
		res, body := get(t, base+path, wholeSecret)
		if p := problemIn(t, res, body); p.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %+v", path, p)
		}
	}
}
