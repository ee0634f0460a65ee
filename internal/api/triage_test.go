package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/explain"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
)

func (q *questions) Triage(context.Context, report.Scope, []string) (map[string]events.Mark, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.marks, q.err
}

// archive is a History of findings whose marks arrive when the test says so.
type archive struct {
	History
	mu       sync.Mutex
	err      error
	findings map[string]*events.Finding
	marks    []events.Mark
}

func (h *archive) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

func (h *archive) keep(marks ...events.Mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.marks = append(h.marks, marks...)
}

func (h *archive) Finding(_ context.Context, scope report.Scope, id string) (json.RawMessage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return nil, h.err
	}
	if f := h.findings[id]; f != nil && scope.Allows(f.Tenant) {
		return events.Encode(f), nil
	}
	return nil, report.ErrNotFound
}

func (h *archive) Triage(_ context.Context, scope report.Scope, ids []string) (map[string]events.Mark, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	newest := map[string]events.Mark{}
	for _, m := range h.marks {
		if have, ok := newest[m.Finding]; scope.Allows(m.Tenant) && slices.Contains(ids, m.Finding) && (!ok || m.Compare(&have) > 0) {
			newest[m.Finding] = m
		}
	}
	if h.err != nil {
		return nil, h.err
	}
	return newest, nil
}

func (h *archive) Marks(_ context.Context, scope report.Scope, id string) (list []events.Mark, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.marks {
		if m.Finding == id && scope.Allows(m.Tenant) {
			list = append(list, m)
		}
	}
	return list, h.err
}

func (h *archive) Event(context.Context, report.Scope, string) (report.Record, error) {
	return report.Record{}, report.ErrNotFound
}

func (h *archive) EventFindings(context.Context, report.Scope, string) ([]report.Record, error) {
	return nil, nil
}

func (h *archive) Neighbours(context.Context, report.Scope, string, string, report.Cursor) (report.Neighbours, error) {
	return report.Neighbours{}, nil
}

// Findings answers as the real history does with marks that outrank its own.
func (h *archive) Findings(ctx context.Context, q report.FindingQuery) (page report.FindingPage, err error) {
	for id, f := range h.findings {
		if !q.Scope.Allows(f.Tenant) {
			continue
		}
		kept, err := h.Triage(ctx, q.Scope, []string{id})
		if err != nil {
			return page, err
		}
		verdict := events.TriageOpen
		if m, ok := kept[id]; ok {
			verdict = m.Verdict
		}
		for _, m := range q.Recent {
			if m.Finding == id {
				verdict = m.Verdict
			}
		}
		if q.Triage == "" || q.Triage == verdict {
			page.Findings = append(page.Findings, events.Encode(f))
		}
	}
	return page, nil
}

func findingOf(tenant, user string) *events.Finding {
	e := events.EventID(tenant, "test", user)
	return &events.Finding{
		ID: events.FindingID("LOC-01", 1, tenant, user, e), Detection: "LOC-01", Tenant: tenant, User: events.User{ID: user}, EventID: e,
		Time: 1767225599123, Severity: events.High, Disposition: events.Active,
	}
}

// triageWorld is an API over an archive with one finding of each of two tenants.
type triageWorld struct {
	*testing.T
	api          *API
	archive      *archive
	log          *ledger
	base         string
	ours, theirs *events.Finding
}

func newTriageWorld(t *testing.T, explainer Explainer) *triageWorld {
	t.Helper()
	w := &triageWorld{T: t, log: &ledger{}, ours: findingOf("acme", "u1"), theirs: findingOf("globex", "u1")}
	w.archive = &archive{findings: map[string]*events.Finding{w.ours.ID: w.ours, w.theirs.ID: w.theirs}}
	cfg := DefaultConfig()
	cfg.QuestionWait = 100 * time.Millisecond
	cfg.Tokens = []Token{
		token("whole", wholeSecret, []string{"*"}, Scopes), token("acme", acmeSecret, []string{"acme"}, Scopes),
		token("blind", blindSecret, []string{"*"}, []string{ScopeRead, ScopeTimeline}),
	}
	var err error
	if w.api, err = New(cfg, Deps{History: w.archive, Log: tail{}, Publisher: w.log, Explainer: explainer}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w.api.Handler())
	t.Cleanup(func() { w.api.stop(); server.Close() })
	w.base = server.URL
	return w
}

// put marks a finding.
func (w *triageWorld) put(secret, id, body, ifMatch string) (*http.Response, report.Triage, string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodPut, w.base+"/v1/findings/"+id+"/triage", strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Content-Type", "application/json")
	if ifMatch != "" {
		req.Header.Set("If-Match", ifMatch)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	var triage report.Triage
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, &triage); err != nil {
			w.Fatal(err)
		}
	}
	return res, triage, string(text)
}

// marks are those that the log took.
func (w *triageWorld) marks() (list []events.Mark) {
	w.Helper()
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	for _, r := range w.log.records {
		if r.Topic != events.TopicMarks {
			continue
		}
		m, err := events.DecodeMark(r.Value)
		if err != nil {
			w.Fatal(err)
		}
		if err := m.Validate(); err != nil || string(r.Key) != m.Key() {
			w.Errorf("mark %s with key %q: %v", r.Value, r.Key, err)
		}
		list = append(list, *m)
	}
	return list
}

func (w *triageWorld) ask(path string, into any) *http.Response {
	w.Helper()
	res, body := get(w.T, w.base+path, acmeSecret)
	if res.StatusCode != http.StatusOK {
		w.Fatalf("%s: %d %s", path, res.StatusCode, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		w.Fatal(err)
	}
	return res
}

func TestWhoMarksAFindingReadsItAtOnce(t *testing.T) {
	t.Parallel()
	w := newTriageWorld(t, nil)
	id := w.ours.ID
	var record map[string]any
	before := w.ask("/v1/findings/"+id, &record).Header.Get("ETag")
	if before != `"open"` {
		t.Errorf("the ETag of a finding that nobody has marked is %s", before)
	}
	res, got, _ := w.put(acmeSecret, id, `{"verdict":"false_positive","comment":"a\n<b>","assignee":"Bo"}`, before)
	want := report.Triage{Verdict: events.FalsePositive, Comment: "a\n<b>", Assignee: "Bo", By: "acme"}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(report.Triage{}, "Mark", "Time")); diff != "" || res.StatusCode != http.StatusOK {
		t.Fatalf("%d (-want +got):\n%s", res.StatusCode, diff)
	}
	if tag := res.Header.Get("ETag"); tag != `"`+got.Mark+`"` || got.Time == 0 {
		t.Errorf("the ETag is %s of %+v", tag, got)
	}
	marks := w.marks()
	if len(marks) != 1 || marks[0].ID != got.Mark || marks[0].User != "u1" || marks[0].Detection != "LOC-01" || marks[0].Found != w.ours.Time {
		t.Errorf("the log has %+v", marks)
	}
	entries := w.log.audited(t)
	reads := func() (list []string) {
		for _, e := range w.log.audited(t) {
			if e.Action != "finding.triage" {
				list = append(list, e.Action+" "+e.Tenant+" "+e.User+" "+e.Target)
			}
		}
		return list
	}
	wantEntry := events.AuditEntry{
		Tenant: "acme", Actor: "acme", Via: events.ViaToken, Action: "finding.triage", Target: id, User: "u1", Detail: "false_positive", Outcome: events.AuditDone,
	}
	wantRead := wantEntry
	wantRead.Action, wantRead.Detail = "finding.read", ""
	if diff := cmp.Diff([]events.AuditEntry{wantRead, wantEntry}, entries, cmpopts.IgnoreFields(events.AuditEntry{}, "ID", "Time", "Request", "Address")); diff != "" {
		t.Errorf("the audit trail (-want +got):\n%s", diff)
	}
	// The same again, as when an answer was lost: nothing new.
	if res, again, _ := w.put(acmeSecret, id, `{"verdict":"false_positive","comment":"a\n<b>","assignee":"Bo"}`, ""); res.StatusCode != http.StatusOK || again != got || len(w.marks()) != 1 {
		t.Errorf("a repeat: %d %+v, %d marks", res.StatusCode, again, len(w.marks()))
	}
	look := func(when string) {
		t.Helper()
		if tag := w.ask("/v1/findings/"+id, &record).Header.Get("ETag"); tag != `"`+got.Mark+`"` {
			t.Errorf("%s the finding's ETag is %s", when, tag)
		}
		var details struct {
			Triage report.Triage
			Marks  []events.Mark
		}
		w.ask("/v1/findings/"+id+"/details", &details)
		if details.Triage != got || len(details.Marks) != 1 || details.Marks[0].ID != got.Mark {
			t.Errorf("%s the details are %+v", when, details)
		}
		for verdict, n := range map[string]int{"": 1, "?triage=false_positive": 1, "?triage=open": 0, "?triage=true_positive": 0} {
			var page struct {
				Findings []any
				Triage   map[string]report.Triage
			}
			w.ask("/v1/findings"+verdict, &page)
			if len(page.Findings) != n || n == 1 && page.Triage[id] != got {
				t.Errorf("%s %d findings of %q, with %+v", when, len(page.Findings), verdict, page.Triage)
			}
		}
	}
	look("before the archiver")
	w.archive.keep(marks[0])
	look("after the archiver")
	read, details := "finding.read acme u1 "+id, "finding.details acme u1 "+id
	if diff := cmp.Diff([]string{read, read, details, read, details}, reads()); diff != "" {
		t.Errorf("the audit trail of what was read (-want +got):\n%s", diff)
	}
	if n := len(w.api.recent.marks); n != 0 {
		t.Errorf("%d marks are remembered that the history has", n)
	}
}

func TestOfTwoWhoSawTheSameTheSecondIsTold(t *testing.T) {
	t.Parallel()
	w := newTriageWorld(t, nil)
	id := w.ours.ID
	res, first, _ := w.put(acmeSecret, id, `{"verdict":"acknowledged"}`, `"open"`)
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.StatusCode)
	}
	for _, tag := range []string{`"open"`, `"` + strings.Repeat("0", 32) + `"`, `W/"` + first.Mark + `"`, first.Mark, `x`} {
		if res, _, body := w.put(wholeSecret, id, `{"verdict":"true_positive"}`, tag); res.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("If-Match %s: %d %s", tag, res.StatusCode, body)
		}
	}
	for _, tag := range []string{`"x", "` + first.Mark + `"`, `*`, ""} {
		if res, _, body := w.put(wholeSecret, id, `{"verdict":"true_positive","comment":"`+fmt.Sprint(len(tag))+`"}`, tag); res.StatusCode != http.StatusOK {
			t.Errorf("If-Match %s: %d %s", tag, res.StatusCode, body)
		}
	}
	marks := w.marks()
	for i := 1; i < len(marks); i++ {
		if marks[i].Compare(&marks[i-1]) <= 0 {
			t.Errorf("mark %d does not outrank the one before", i)
		}
	}
	// A mark from a machine whose clock is ahead is outranked all the same.
	ahead := marks[0]
	ahead.Time += events.Hour
	ahead.ID = events.MarkID(&ahead)
	w.archive.keep(ahead)
	if _, got, _ := w.put(acmeSecret, id, `{"verdict":"open"}`, `"`+ahead.ID+`"`); got.Time != ahead.Time+1 || got.Verdict != events.TriageOpen {
		t.Errorf("after a mark of the future: %+v", got)
	}
}

func TestMarksThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newTriageWorld(t, nil)
	comment := func(text string) string {
		b, err := json.Marshal(map[string]string{"verdict": "acknowledged", "comment": text})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, c := range map[string]struct {
		secret, id, body string
		status           int
	}{
		"nobody":              {"", w.ours.ID, `{"verdict":"open"}`, http.StatusUnauthorized},
		"without the scope":   {blindSecret, w.ours.ID, `{"verdict":"open"}`, http.StatusForbidden},
		"another tenant's":    {acmeSecret, w.theirs.ID, `{"verdict":"open"}`, http.StatusNotFound},
		"no such finding":     {acmeSecret, strings.Repeat("0", 32), `{"verdict":"open"}`, http.StatusNotFound},
		"no id":               {acmeSecret, "x", `{"verdict":"open"}`, http.StatusUnprocessableEntity},
		"no verdict":          {acmeSecret, w.ours.ID, `{}`, http.StatusUnprocessableEntity},
		"unknown verdict":     {acmeSecret, w.ours.ID, `{"verdict":"meh"}`, http.StatusUnprocessableEntity},
		"unknown member":      {acmeSecret, w.ours.ID, `{"verdict":"open","by":"the boss"}`, http.StatusUnprocessableEntity},
		"no JSON":             {acmeSecret, w.ours.ID, `verdict`, http.StatusBadRequest},
		"long comment":        {acmeSecret, w.ours.ID, comment(strings.Repeat("x", events.MaxComment+1)), http.StatusUnprocessableEntity},
		"long in bytes":       {acmeSecret, w.ours.ID, comment(strings.Repeat("é", events.MaxComment/2+1)), http.StatusUnprocessableEntity},
		"control characters":  {acmeSecret, w.ours.ID, comment("a\x1b[2J"), http.StatusUnprocessableEntity},
		"assignee of lines":   {acmeSecret, w.ours.ID, `{"verdict":"open","assignee":"a\nb"}`, http.StatusUnprocessableEntity},
		"assignee in bytes":   {acmeSecret, w.ours.ID, `{"verdict":"open","assignee":"` + strings.Repeat("é", 200) + `"}`, http.StatusUnprocessableEntity},
		"more than a request": {acmeSecret, w.ours.ID, comment(strings.Repeat("x", 1<<20)), http.StatusRequestEntityTooLarge},
	} {
		if res, _, body := w.put(c.secret, c.id, c.body, ""); res.StatusCode != c.status {
			t.Errorf("%s: %d %.200s, want %d", name, res.StatusCode, body, c.status)
		}
	}
	if marks := w.marks(); len(marks) > 0 {
		t.Errorf("the log has %+v", marks)
	}
	if res, _, _ := w.put(acmeSecret, w.ours.ID, comment(strings.Repeat("é", events.MaxComment/2)), ""); res.StatusCode != http.StatusOK {
		t.Errorf("the longest comment: %d", res.StatusCode)
	}
}

func TestMarksGoOnWhileTheHistoryIsAway(t *testing.T) {
	t.Parallel()
	w := newTriageWorld(t, nil)
	w.archive.fail(report.ErrUnavailable)
	if res, _, _ := w.put(acmeSecret, w.ours.ID, `{"verdict":"open"}`, ""); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("a finding that was not seen: %d", res.StatusCode)
	}
	w.api.hub.take(&stream.Record{Topic: events.TopicFindings, Value: events.Encode(w.ours)})
	w.api.hub.take(&stream.Record{Topic: events.TopicFindings, Value: events.Encode(w.theirs)})
	if res, _, body := w.put(acmeSecret, w.ours.ID, `{"verdict":"true_positive"}`, ""); res.StatusCode != http.StatusOK || len(w.marks()) != 1 {
		t.Errorf("one that was: %d %s", res.StatusCode, body)
	}
	if res, _, _ := w.put(acmeSecret, w.theirs.ID, `{"verdict":"open"}`, ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("another tenant's: %d", res.StatusCode)
	}
	if res, _, _ := w.put(acmeSecret, w.ours.ID, `{"verdict":"open"}`, `"open"`); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("what cannot be compared: %d", res.StatusCode)
	}
}

func TestAMarkThatTheLogDoesNotTakeIsNotMade(t *testing.T) {
	t.Parallel()
	w := newTriageWorld(t, nil)
	w.log.err = errors.New("no broker at 10.0.0.1")
	res, _, body := w.put(acmeSecret, w.ours.ID, `{"verdict":"true_positive"}`, "")
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || strings.Contains(body, "10.0.0.1") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	w.log.mu.Lock()
	w.log.err = nil
	w.log.mu.Unlock()
	var details struct{ Triage report.Triage }
	if w.ask("/v1/findings/"+w.ours.ID+"/details", &details); details.Triage.Verdict != events.TriageOpen {
		t.Errorf("the triage is %+v", details.Triage)
	}
	var unmarked map[string]json.RawMessage
	w.ask("/v1/findings/"+w.ours.ID+"/details", &unmarked)
	for _, list := range []string{"marks", "receipts", "siblings"} {
		if got := string(unmarked[list]); !strings.HasPrefix(got, "[") {
			t.Errorf("%s of a finding that nobody has marked are %s", list, got)
		}
	}
}

// Whatever order marks come in, by whichever way, the newest holds.
func TestTheNewestOfRecentAndKeptMarksHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		scope := report.Scope{Tenants: []string{"acme"}}
		f := findingOf("acme", "u1")
		var marks []events.Mark
		for i := range rapid.IntRange(1, 10).Draw(t, "marks") {
			m := events.Mark{
				Tenant: "acme", Finding: f.ID, Detection: "LOC-01", User: "u1", Found: f.Time, By: fmt.Sprint(i),
				Verdict: rapid.SampledFrom(events.TriageVerdicts).Draw(t, "verdict"), Time: f.Time + events.Millis(rapid.IntRange(1, 4).Draw(t, "time")),
			}
			m.ID = events.MarkID(&m)
			marks = append(marks, m)
		}
		want := slices.MaxFunc(marks, func(a, b events.Mark) int { return a.Compare(&b) })
		seen := newRecent()
		kept := map[string]events.Mark{}
		for _, m := range rapid.Permutation(append(marks, marks...)).Draw(t, "order") {
			if rapid.Bool().Draw(t, "archived") {
				if have, ok := kept[m.Finding]; !ok || m.Compare(&have) > 0 {
					kept[m.Finding] = m
				}
			} else {
				seen.see(&m)
			}
			if rapid.Bool().Draw(t, "settle") {
				seen.settle(kept)
			}
		}
		got := seen.merge(scope, []string{f.ID}, kept)
		if got[f.ID].Mark != want.ID {
			t.Fatalf("%+v holds, want %+v", got[f.ID], want)
		}
		if other := seen.merge(report.Scope{Tenants: []string{"globex"}}, []string{f.ID}, nil); len(other) > 0 {
			t.Fatalf("another tenant sees %+v", other)
		}
	})
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	t.Parallel()
	r := newRecent()
	for i := range maxRecentMarks + 50 {
		m := &events.Mark{ID: fmt.Sprint("m", i), Finding: fmt.Sprint("f", i), Tenant: "acme", Time: events.Millis(i + 1)}
		r.see(m)
		r.see(m)
	}
	if len(r.marks) != maxRecentMarks || r.marks["m49"] != nil || r.marks["m50"] == nil {
		t.Errorf("%d marks are remembered", len(r.marks))
	}
	for i := range maxRecentFindings + 50 {
		f := findingOf("acme", fmt.Sprint(i))
		r.found(f)
		r.found(f)
	}
	if _, ok := r.finding(findingOf("acme", "49").ID); ok || len(r.findings) != maxRecentFindings {
		t.Errorf("%d findings are remembered", len(r.findings))
	}
	if f, ok := r.finding(findingOf("acme", "50").ID); !ok || f.user != "50" {
		t.Errorf("the oldest that is kept: %+v, %v", f, ok)
	}
}

// slow explains when it is told to.
type slow struct {
	begun chan struct{}
	gone  chan error
	done  chan struct{}
}

func (s *slow) Explain(ctx context.Context, scope report.Scope, finding string, _ events.Millis) (*explain.Explanation, error) {
	s.begun <- struct{}{}
	select {
	case <-ctx.Done():
		s.gone <- ctx.Err()
		return nil, ctx.Err()
	case <-s.done:
	}
	if !scope.Allows("acme") || finding == strings.Repeat("0", 32) {
		return nil, report.ErrNotFound
	}
	return &explain.Explanation{Rules: "r1", Findings: []explain.Finding{{Finding: findingOf("acme", "u1")}}}, nil
}

func TestOneExplanationIsMadeAtATime(t *testing.T) {
	t.Parallel()
	s := &slow{begun: make(chan struct{}, 10), gone: make(chan error, 10), done: make(chan struct{})}
	w := newTriageWorld(t, s)
	path := w.base + "/v1/findings/" + w.ours.ID + "/explanation"
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+acmeSecret)
	left := make(chan struct{})
	go func() {
		defer close(left)
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	<-s.begun
	if res, body := get(t, path, acmeSecret); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("a second one: %d %s", res.StatusCode, body)
	}
	leave()
	<-left
	if err := <-s.gone; !errors.Is(err, context.Canceled) {
		t.Errorf("whoever asked has gone, and the explanation ends with %v", err)
	}
	close(s.done)
	if res, body := get(t, path, acmeSecret); res.StatusCode != http.StatusOK || !strings.Contains(body, `"rules":"r1"`) {
		t.Errorf("the next: %d %s", res.StatusCode, body)
	}
	if got := w.log.audited(t); len(got) != 1 || got[0].Action != "finding.explanation" || got[0].User != "u1" || got[0].Tenant != "acme" {
		t.Errorf("the audit trail has %+v", got)
	}
	if res, _ := get(t, w.base+"/v1/findings/"+strings.Repeat("0", 32)+"/explanation", acmeSecret); res.StatusCode != http.StatusNotFound {
		t.Errorf("of nothing: %d", res.StatusCode)
	}
	without := newTriageWorld(t, nil)
	if res, _ := get(t, without.base+"/v1/findings/"+w.ours.ID+"/explanation", acmeSecret); res.StatusCode != http.StatusNotFound {
		t.Errorf("without an explainer: %d", res.StatusCode)
	}
}

func TestAnExplanationEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		s := &slow{begun: make(chan struct{}, 1), gone: make(chan error, 1), done: make(chan struct{})}
		a, err := New(cfg, Deps{History: &archive{}, Log: tail{}, Publisher: &ledger{}, Explainer: s})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		_, err = a.explanation(t.Context(), operator, &findingQuestion{ID: strings.Repeat("1", 32)})
		if took := time.Since(begun); took != explanationTimeout || err == nil || !strings.Contains(err.Error(), "too long") {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

func TestTheLiveFeedHasReceiptsAndMarks(t *testing.T) {
	t.Parallel()
	h := newTestHub(t, 10, 2)
	acme, _, _ := join(t, h, report.Scope{Tenants: []string{"acme"}}, "")
	receipt := events.Receipt{ID: "r", Time: 1, Tenant: "acme", User: "u", Requirement: "q", App: "<b>", Status: events.Challenged}
	m := events.Mark{
		Tenant: "acme", Finding: events.ID("f"), Detection: "LOC-01", User: "u", Found: 1, Verdict: events.TruePositive, Comment: "a\n\ndata: <i>", By: "bo", Time: 2,
	}
	m.ID = events.MarkID(&m)
	foreignReceipt, foreignMark, badMark, badReceipt := receipt, m, m, receipt
	foreignReceipt.Tenant, foreignMark.Tenant = "globex", "globex"
	badMark.Comment, badReceipt.Status = "\x00", "seen"
	for _, r := range []stream.Record{
		{Topic: events.TopicReceipts, Value: events.Encode(&foreignReceipt)},
		{Topic: events.TopicMarks, Value: events.Encode(&foreignMark)},
		{Topic: events.TopicReceipts, Value: events.Encode(&badReceipt)},
		{Topic: events.TopicMarks, Value: events.Encode(&badMark)},
		{Topic: events.TopicMarks, Key: []byte(m.Key())}, // a deletion
		{Topic: events.TopicReceipts, Value: events.Encode(&receipt)},
		{Topic: events.TopicMarks, Value: events.Encode(&m)},
	} {
		h.take(&r)
	}
	if n := len(acme.out); n != 2 {
		t.Fatalf("%d messages, want two", n)
	}
	for _, kind := range []string{"receipt", "mark"} {
		lines := bufio.NewScanner(strings.NewReader(string((<-acme.out).frame)))
		var seen []string
		for lines.Scan() {
			seen = append(seen, lines.Text())
		}
		if len(seen) != 4 || seen[1] != "event: "+kind || !strings.HasPrefix(seen[2], `data: {"id":`) || strings.ContainsAny(seen[2], "<>") {
			t.Errorf("the %s is %q", kind, seen)
		}
	}
	if got := h.seen.newest(all)[m.Finding]; got == nil || got.ID != m.ID && got.ID != foreignMark.ID {
		t.Errorf("the mark is remembered as %+v", got)
	}
}
