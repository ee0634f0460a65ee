package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
)

// audited are the entries that the log took.
func (l *ledger) audited(t *testing.T) []events.AuditEntry {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var entries []events.AuditEntry
	for _, r := range l.records {
		if r.Topic != events.TopicAudit {
			continue
		}
		e, err := events.DecodeAudit(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Validate(); err != nil || string(r.Key) != e.Key() {
			t.Errorf("entry %s with key %q: %v", r.Value, r.Key, err)
		}
		entries = append(entries, *e)
	}
	return entries
}

func TestAReadOfAPersonIsOnTheLogBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	a, q, base := newAPI(t, nil)
	log := a.deps.Publisher.(*ledger)
	res, body := get(t, base+"/v1/users/acme/u1/timeline", acmeSecret)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	want := []events.AuditEntry{{
		Tenant: "acme", Actor: "acme", Via: events.ViaToken, Action: "user.timeline", User: "u1", Outcome: events.AuditDone, Address: "127.0.0.1",
		Request: res.Header.Get("X-Request-Id"),
	}}
	if diff := cmp.Diff(log.audited(t), want, cmpopts.IgnoreFields(events.AuditEntry{}, "ID", "Time")); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}

	log.err = errors.New("no broker")
	q.scopes = nil
	res, body = get(t, base+"/v1/users/acme/u1/timeline", acmeSecret)
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || len(q.scopes) > 0 {
		t.Errorf("without a log: %d %s, the history was asked %d times", res.StatusCode, body, len(q.scopes))
	}
	if res, body := get(t, base+"/v1/overview", acmeSecret); res.StatusCode != http.StatusOK {
		t.Errorf("what is of no person: %d %s", res.StatusCode, body)
	}
}

func TestAnEntryIsInTheTrailOfATenantThatTheCallerMaySee(t *testing.T) {
	t.Parallel()
	a, _, _ := newAPI(t, nil)
	ctx := context.WithValue(t.Context(), visitKey{}, &visit{request: "r"})
	one := newPrincipal("one", events.ViaToken, "", nil, []string{"acme"})
	two := newPrincipal("two", events.ViaToken, "", nil, []string{"acme", "globex"})
	for _, c := range []struct {
		who          *principal
		tenant, want string
	}{{one, "acme", "acme"}, {one, "", "acme"}, {one, "globex", ""}, {two, "", ""}, {two, "globex", "globex"}, {two, "initech", ""}, {operator, "", ""}, {operator, "initech", "initech"}, {one, "no tenant/at all", ""}} {
		if err := a.audit(ctx, c.who, events.AuditEntry{Action: "user.search", Tenant: c.tenant}); err != nil {
			t.Fatal(err)
		}
		got := a.deps.Publisher.(*ledger).audited(t)
		if e := got[len(got)-1]; e.Tenant != c.want {
			t.Errorf("%s of %q: in the trail of %q, want %q", c.who.name, c.tenant, e.Tenant, c.want)
		}
	}
}

// stuck is a Publisher that never gets an answer.
type stuck struct{}

func (stuck) Publish(ctx context.Context, _ string, _ []stream.Record) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestALogThatDoesNotAnswerIsNotWaitedForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		a, err := New(cfg, Deps{History: &questions{}, Log: tail{}, Publisher: stuck{}})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		ctx := context.WithValue(t.Context(), visitKey{}, &visit{request: "r"})
		if err := a.audit(ctx, operator, events.AuditEntry{Action: "user.timeline"}); err == nil || time.Since(begun) > cfg.AuditWait {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		// Notes wait for nobody, and there are so many at most.
		for range 3 * maxNotes {
			a.note(ctx, events.AuditEntry{Action: "refused", Outcome: events.AuditRefused})
		}
		if len(a.notes) != maxNotes {
			t.Errorf("%d notes are on their way, want %d", len(a.notes), maxNotes)
		}
		time.Sleep(cfg.AuditWait)
		synctest.Wait()
		if len(a.notes) != 0 {
			t.Errorf("%d notes still wait", len(a.notes))
		}
	})
}

func TestWhatIsMadeUpKeepsNoEntryFromBeingWritten(t *testing.T) {
	t.Parallel()
	a, _, base := newAPI(t, nil)
	res, body := get(t, base+"/v1/users/acme/%0d%0aSet-Cookie:%20x=y%00/timeline", acmeSecret)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if got := a.deps.Publisher.(*ledger).audited(t); len(got) != 1 || got[0].Action != "user.timeline" {
		t.Errorf("entries %+v", got)
	}
}

func TestTheRequestIDIsOursWhateverTheCallerSends(t *testing.T) {
	t.Parallel()
	_, _, base := newAPI(t, nil)
	seen := map[string]bool{"mine": true}
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Request-Id", "mine")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if id := res.Header.Get("X-Request-Id"); id == "" || seen[id] {
			t.Errorf("request id %q", id)
		}
		seen[res.Header.Get("X-Request-Id")] = true
	}
}

func TestMeSaysWhoAndWhat(t *testing.T) {
	t.Parallel()
	a, _, base := newAPI(t, func(c *Config) {
		c.Tokens = append(c.Tokens, Token{Name: "soc", SHA256: token("", "the-secret-of-the-soc-123", nil, nil).SHA256, Tenants: []string{"globex", "acme"}, Role: RoleAnalyst, Scopes: []string{ScopeAudit}})
	})
	res, body := get(t, base+"/v1/me", "the-secret-of-the-soc-123")
	var me Me
	if err := json.Unmarshal([]byte(body), &me); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s %v", res.StatusCode, body, err)
	}
	want := Me{
		Name: "soc", Via: events.ViaToken, Roles: []string{RoleAnalyst}, Tenants: []string{"acme", "globex"},
		Scopes: []string{ScopeRead, ScopeTimeline, ScopeTriage, ScopeBacktest, ScopeExport, ScopeAudit}, Version: me.Version,
	}
	if diff := cmp.Diff(me, want); diff != "" || me.Version == "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	cookies, _ := get(t, base+a.Link(), "")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(cookies.Cookies()[0])
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	me = Me{}
	if err := json.NewDecoder(answer.Body).Decode(&me); err != nil || me.Via != events.ViaLink || !me.AllTenants || me.SessionEnds <= now() || len(me.Scopes) != len(Scopes) {
		t.Errorf("who followed the link is %+v, %v", me, err)
	}
}

func TestRolesGiveWhatTheySay(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(RoleScopes(RoleAdmin), Scopes); diff != "" {
		t.Errorf("admin (-got, +want)\n%s", diff)
	}
	both := newPrincipal("a", events.ViaOIDC, RoleViewer, nil, []string{"acme", "globex"})
	both.with(RoleAnalyst, []string{ScopeAudit}, []string{"acme"})
	for _, forbidden := range []string{ScopeOperate, ScopeErase, ScopeAdmin} {
		if both.under(forbidden) != nil {
			t.Errorf("an analyst may %s", forbidden)
		}
	}
	for scope, want := range map[string][]string{ScopeRead: {"acme", "globex"}, anyone: {"acme", "globex"}, ScopeTimeline: {"acme"}, ScopeAudit: {"acme"}} {
		if diff := cmp.Diff(both.under(scope).tenants, report.Scope{Tenants: want}); diff != "" {
			t.Errorf("under %q (-got, +want)\n%s", scope, diff)
		}
	}
	for _, c := range []struct {
		scopes  []string
		tenants report.Scope
		want    bool
	}{
		{[]string{ScopeRead}, report.Scope{Tenants: []string{"globex"}}, true},
		{[]string{ScopeRead, ScopeTriage}, report.Scope{Tenants: []string{"acme"}}, true},
		{[]string{ScopeRead, ScopeTriage}, report.Scope{Tenants: []string{"acme", "globex"}}, false},
		{[]string{ScopeRead}, report.Scope{All: true}, false},
		{[]string{ScopeAdmin}, report.Scope{Tenants: []string{"acme"}}, false},
	} {
		if got := both.covers(c.scopes, c.tenants); got != c.want {
			t.Errorf("covers %v for %+v: %v", c.scopes, c.tenants, got)
		}
	}
	if p := newPrincipal("a", events.ViaOIDC, "Admin", []string{"everything"}, nil); len(p.scopes()) > 0 || p.tenants.Allows("acme") {
		t.Errorf("unknown roles give %+v", p)
	}
}

// bounds is a Publisher that keeps whether the newest write to each topic has a time to end at.
type bounds struct {
	ledger
	of map[string]bool
}

func (b *bounds) Publish(ctx context.Context, topic string, records []stream.Record) error {
	_, b.of[topic] = ctx.Deadline()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return b.ledger.Publish(ctx, topic, records)
}

// TestACallerThatLeavesDoesNotTakeItsActionAlong: its entry says that it is done. Nor does a log that does not answer hold it for
// ever.
func TestACallerThatLeavesDoesNotTakeItsActionAlong(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(context.Context, *API) error{
		"erasing": func(ctx context.Context, a *API) error {
			q := &eraseRequest{PathTenant: "acme", User: "u1"}
			q.Body.Confirm, q.Body.Reason = "u1", "asked for"
			_, err := a.erase(ctx, operator, q)
			return err
		},
		"replaying": func(ctx context.Context, a *API) error {
			_, err := a.produceAgain(ctx, &events.DeadLetter{Topic: events.TopicEvents, Bytes: events.Encode(anEvent(events.SignIn))})
			return err
		},
	} {
		a, _, _ := newAPI(t, nil)
		log := &bounds{of: map[string]bool{}}
		a.deps.Publisher = log
		ctx, leave := context.WithCancel(context.WithValue(t.Context(), visitKey{}, &visit{request: "r"}))
		leave()
		if err := act(ctx, a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if bounded, wrote := log.of[events.TopicEvents]; !wrote || !bounded {
			t.Errorf("%s: wrote %v, in a time that is bounded %v", name, wrote, bounded)
		}
	}
}

func TestARefusedFeedIsInTheTrail(t *testing.T) {
	t.Parallel()
	a, _, base := newAPI(t, everyScope)
	if res, body := get(t, base+"/v1/live", "a-token-without-the-scope-"+ScopeRead); res.StatusCode != http.StatusForbidden || !strings.Contains(body, "the scope read") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	eventually(t, "the note does not end", func() bool { return len(a.notes) == 0 })
	if trail := a.deps.Publisher.(*ledger).audited(t); len(trail) != 1 || trail[0].Outcome != events.AuditRefused || trail[0].Target != "GET /v1/live" || trail[0].Actor != "no "+ScopeRead {
		t.Errorf("the trail: %+v", trail)
	}
}
