package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/backtest"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// bulk is a Bulk with so many audit entries, of which the reading fails after some.
type bulk struct {
	backtest.Store
	size  uint64
	rows  int
	fails error
	hold  chan struct{} // when set, exports wait for it

	mu    sync.Mutex
	query report.ExportQuery
}

func (b *bulk) asked() report.ExportQuery {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.query
}

func (b *bulk) ExportSize(_ context.Context, q report.ExportQuery) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.query = q
	return b.size, nil
}

func (b *bulk) Export(ctx context.Context, _ report.ExportQuery, take func([]byte) error) error {
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for i := range b.rows {
		e := events.AuditEntry{ID: fmt.Sprint(i), Time: 1_700_000_000_000, Actor: "=1+1", Action: "a.read", Outcome: events.AuditDone, Request: strings.Repeat("q", 200)}
		if err := take(events.Encode(&e)); err != nil {
			return err
		}
	}
	return b.fails
}

// fail has the log refuse, or take again what it is given.
func (l *ledger) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func exporting(t *testing.T, b *bulk, change func(*Config)) (*API, string) {
	t.Helper()
	a, _, base := newAPI(t, change)
	a.deps.Bulk = b
	return a, base
}

func TestExportsAreFilesWithAName(t *testing.T) {
	t.Parallel()
	b := &bulk{size: 3, rows: 3}
	a, base := exporting(t, b, nil)
	const span = "?from=2026-03-04T00:00:00Z&to=2026-03-05T00:00:00Z"
	for format, want := range map[string]struct{ kind, ending, begin string }{
		"csv":     {"text/csv; charset=utf-8; header=present", "csv", "time,id,"},
		"ndjson":  {"application/x-ndjson", "ndjson", `{"id":"0"`},
		"parquet": {"application/vnd.apache.parquet", "parquet", "PAR1"},
		"ocsf":    {"application/x-ndjson", "ocsf.ndjson", `{"`},
	} {
		res, body := get(t, base+"/v1/export/audit"+span+"&user=u1&format="+format, wholeSecret)
		name := `attachment; filename="countersign-audit-20260304T0000-20260305T0000.` + want.ending + `"`
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != want.kind || res.Header.Get("Content-Disposition") != name || !strings.HasPrefix(body, want.begin) {
			t.Errorf("%s: %d %q %q\n%.200s", format, res.StatusCode, res.Header.Get("Content-Type"), res.Header.Get("Content-Disposition"), body)
		}
	}
	if q := b.asked(); q.User != "u1" || !q.Scope.All || q.Kind != report.ExportAudit {
		t.Errorf("asked for %+v", q)
	}
	entries := a.deps.Publisher.(*ledger).audited(t)
	if len(entries) != 4 || entries[0].Action != "export.audit" || entries[0].User != "u1" || !strings.Contains(entries[0].Detail, "3 records") {
		t.Errorf("the trail: %+v", entries)
	}
	// Nothing is a file, too.
	b.rows = 0
	if res, body := get(t, base+"/v1/export/audit"+span+"&format=csv", wholeSecret); res.StatusCode != http.StatusOK || !strings.HasPrefix(body, "time,id,") || strings.Count(body, "\n") != 1 {
		t.Errorf("nothing: %d %q", res.StatusCode, body)
	}
	if res, body := get(t, base+"/v1/export/audit"+span, wholeSecret); res.StatusCode != http.StatusOK || body != "" || res.Header.Get("Content-Disposition") == "" {
		t.Errorf("nothing: %d %q", res.StatusCode, body)
	}
	get(t, base+"/v1/export/audit?tenant=acme", acmeSecret)
	if scope := b.asked().Scope; scope.All || len(scope.Tenants) != 1 {
		t.Errorf("one tenant's: %+v", scope)
	}
}

// fetch reads an export, and tells the error of reading it.
func fetch(t *testing.T, address string) (status int, read int, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+wholeSecret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, len(b), err
}

func TestAnExportThatBreaksOffDoesNotLookWhole(t *testing.T) {
	t.Parallel()
	b := &bulk{size: 1, rows: 5000, fails: report.ErrUnavailable}
	a, base := exporting(t, b, nil)
	for _, format := range []string{"csv", "ndjson", "parquet", "ocsf"} {
		if status, n, err := fetch(t, base+"/v1/export/audit?format="+format); err == nil && status == http.StatusOK {
			t.Errorf("%s: %d bytes look whole", format, n)
		}
	}
	if status, n, err := fetch(t, base+"/v1/export/audit?tenant=acme"); err == nil && status == http.StatusOK {
		t.Errorf("%d bytes look whole", n)
	}
	eventually(t, "the notes do not end", func() bool { return len(a.notes) == 0 })
	failed := map[string]int{}
	for _, e := range a.deps.Publisher.(*ledger).audited(t) {
		if e.Outcome == events.AuditFailed {
			failed[e.Tenant]++
		}
	}
	if failed[""] != 4 || failed["acme"] != 1 {
		t.Errorf("failures in the trails of tenants: %v", failed)
	}
	// Before the first byte it is an answer.
	b.rows = 3
	if res, body := get(t, base+"/v1/export/audit", wholeSecret); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" ||
		res.Header.Get("Content-Type") != "application/problem+json" || res.Header.Get("Content-Disposition") != "" {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	// So does what turns out to be too much after it was counted, and what breaks.
	b.rows, b.fails = 5000, nil
	_, small := exporting(t, b, func(c *Config) { c.Export.MaxRows = 4000 })
	if status, _, err := fetch(t, small+"/v1/export/audit"); err == nil && status == http.StatusOK {
		t.Error("more rows than may be look whole")
	}
	b.fails = errors.New("something else")
	if status, _, err := fetch(t, base+"/v1/export/audit"); err == nil && status == http.StatusOK {
		t.Error("an unknown error looks whole")
	}
}

// TestTheTrailIsExportedForTheTenantsOfBothScopes: one may take data out of one tenant and read the trail of another.
func TestTheTrailIsExportedForTheTenantsOfBothScopes(t *testing.T) {
	t.Parallel()
	b := &bulk{size: 1, rows: 1}
	a, base := exporting(t, b, nil)
	signIn := func(who *principal) *http.Cookie {
		secret, _ := a.gate.start(who, "", time.Time{}, time.Now())
		return &http.Cookie{Name: sessionCookieName, Value: secret}
	}
	apart := newPrincipal("apart", events.ViaOIDC, RoleAnalyst, nil, []string{"acme"})
	apart.with(RoleAdmin, nil, []string{"globex"})
	strange := newPrincipal("strange", events.ViaOIDC, RoleAnalyst, nil, []string{"acme"})
	strange.with("", []string{ScopeAudit}, []string{"globex"})
	for _, c := range []struct {
		who    *principal
		path   string
		want   int
		scopes report.Scope
	}{
		{apart, "/v1/export/audit", http.StatusOK, report.Scope{Tenants: []string{"globex"}}},
		{apart, "/v1/export/audit?tenant=globex", http.StatusOK, report.Scope{Tenants: []string{"globex"}}},
		{apart, "/v1/export/audit?tenant=acme", http.StatusOK, report.Scope{}},
		{apart, "/v1/export/events?tenant=acme", http.StatusOK, report.Scope{Tenants: []string{"acme"}}},
		{strange, "/v1/export/audit?tenant=acme", http.StatusForbidden, report.Scope{}},
		{strange, "/v1/export/audit", http.StatusForbidden, report.Scope{}},
	} {
		b.mu.Lock()
		b.query = report.ExportQuery{}
		b.mu.Unlock()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(signIn(c.who))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if diff := cmp.Diff(b.asked().Scope, c.scopes); res.StatusCode != c.want || diff != "" {
			t.Errorf("%s by %s: %d, asked for (-got, +want)\n%s", c.path, c.who.name, res.StatusCode, diff)
		}
	}
	eventually(t, "the notes do not end", func() bool { return len(a.notes) == 0 })
	refused := 0
	for _, e := range a.deps.Publisher.(*ledger).audited(t) {
		if e.Outcome == events.AuditRefused && e.Actor == "strange" && e.Target == "GET /v1/export/audit" {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d refusals are in the trail, want 2", refused)
	}
}

func TestExportsAreRefused(t *testing.T) {
	t.Parallel()
	b := &bulk{size: 1_000_001}
	a, base := exporting(t, b, nil)
	if res, body := get(t, base+"/v1/export/findings", wholeSecret); res.StatusCode != http.StatusUnprocessableEntity || !regexp.MustCompile(`1000001 records, at most 1000000`).MatchString(body) {
		t.Errorf("too many: %d %s", res.StatusCode, body)
	}
	b.size = 1
	for path, want := range map[string]int{
		"/v1/export/secrets": 422, "/v1/export/findings?format=xlsx": 422, "/v1/export/events?severity=high": 422, "/v1/export/events?from=2020-01-01T00:00:00Z": 422,
	} {
		if res, body := get(t, base+path, wholeSecret); res.StatusCode != want {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	if res, _ := get(t, base+"/v1/export/findings", blindSecret); res.StatusCode != http.StatusForbidden {
		t.Errorf("without the scope: %d", res.StatusCode)
	}
	// Only so many at a time; each gives its place back.
	b.hold = make(chan struct{})
	done := make(chan error, a.cfg.Export.AtOnce)
	for range a.cfg.Export.AtOnce {
		go func() {
			_, _, err := fetch(t, base+"/v1/export/audit")
			done <- err
		}()
	}
	for len(a.exporting) < a.cfg.Export.AtOnce { // until both have their places
		runtime.Gosched()
	}
	if res, _ := get(t, base+"/v1/export/audit", wholeSecret); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d", res.StatusCode)
	}
	close(b.hold)
	for range a.cfg.Export.AtOnce {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	b.hold = nil
	if res, body := get(t, base+"/v1/export/audit", wholeSecret); res.StatusCode != http.StatusOK {
		t.Errorf("after them: %d %s", res.StatusCode, body)
	}
	a.deps.Publisher.(*ledger).fail(errors.New("no broker"))
	if res, _ := get(t, base+"/v1/export/audit", wholeSecret); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a trail: %d", res.StatusCode)
	}
	a.deps.Publisher.(*ledger).fail(nil)
	for range 3 * a.cfg.Export.AtOnce { // refusals give their places back
		if res, _ := get(t, base+"/v1/export/audit", wholeSecret); res.StatusCode != http.StatusOK {
			t.Errorf("after a refusal: %d", res.StatusCode)
		}
	}
}
