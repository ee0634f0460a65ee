package api

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// persons is a History that is asked about people, places and applications, and knows of all that is in its tenants.
type persons struct {
	questions
	mu    sync.Mutex
	asked []string
}

func (p *persons) ask(s report.Scope, question string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, question)
	if !s.All && len(s.Tenants) == 0 {
		return report.ErrNotFound
	}
	return nil
}

func (p *persons) Users(_ context.Context, q report.UserQuery) (report.UserPage, error) {
	return report.UserPage{}, p.ask(q.Scope, "users")
}

func (p *persons) User(_ context.Context, s report.Scope, tenant, _ string, _ events.Millis) (*report.UserProfile, error) {
	return &report.UserProfile{}, p.ask(s.Narrow(tenant), "user")
}

func (p *persons) Lanes(_ context.Context, q report.LanesQuery) (*report.Lanes, error) {
	return &report.Lanes{}, p.ask(q.Scope.Narrow(q.Tenant), "lanes")
}

func (p *persons) Session(_ context.Context, s report.Scope, tenant, _ string, _ events.Millis) (*report.SessionProfile, error) {
	return &report.SessionProfile{}, p.ask(s.Narrow(tenant), "session")
}

func (p *persons) SessionEvents(_ context.Context, q report.SessionQuery) (report.EventPage, error) {
	return report.EventPage{}, p.ask(q.Scope.Narrow(q.Tenant), "session events")
}

func (p *persons) Map(_ context.Context, q report.MapQuery) (*report.WorldMap, error) {
	return &report.WorldMap{}, p.ask(q.Scope, "map")
}

func (p *persons) Network(_ context.Context, q report.NetworkQuery) (*report.NetworkProfile, error) {
	return &report.NetworkProfile{}, p.ask(q.Scope, "network")
}

func (p *persons) Apps(_ context.Context, q report.AppQuery) ([]report.AppSummary, error) {
	return nil, p.ask(q.Scope, "apps")
}

func (p *persons) App(_ context.Context, q report.AppQuery) (*report.AppProfile, error) {
	return &report.AppProfile{}, p.ask(q.Scope.Narrow(q.Tenant), "app")
}

func TestReadsOfPeopleNeedTheirScopeAndAreOnTheLog(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path  string
		asked string
		// want is the entry; without an action the read is of no person.
		want events.AuditEntry
	}{
		{"/v1/users?q=An%25&tenant=acme", "users", events.AuditEntry{Action: "user.search", Tenant: "acme", Target: "An%"}},
		{"/v1/users", "users", events.AuditEntry{Action: "user.search", Tenant: "acme"}},
		{"/v1/users/acme/CORP%5Canna", "user", events.AuditEntry{Action: "user.read", Tenant: "acme", User: `CORP\anna`}},
		{"/v1/users/acme/a%2Fb/lanes", "lanes", events.AuditEntry{Action: "user.lanes", Tenant: "acme", User: "a/b"}},
		{"/v1/sessions/acme/s%201", "session", events.AuditEntry{Action: "session.read", Tenant: "acme", Target: "s 1"}},
		{"/v1/sessions/acme/s/events", "session events", events.AuditEntry{Action: "session.events", Tenant: "acme", Target: "s"}},
		{"/v1/networks?ip=192.0.2.1", "network", events.AuditEntry{Action: "network.read", Tenant: "acme", Target: "192.0.2.1"}},
		{"/v1/networks?prefix=192.0.2.0/24", "network", events.AuditEntry{Action: "network.read", Tenant: "acme", Target: "192.0.2.0/24"}},
		{"/v1/map", "map", events.AuditEntry{}},
		{"/v1/apps", "apps", events.AuditEntry{}},
		{"/v1/apps/acme/a%2Fb", "app", events.AuditEntry{}},
	} {
		a, _, base := newAPI(t, nil)
		p := &persons{}
		a.deps.History = p
		log := a.deps.Publisher.(*ledger)
		if res, body := get(t, base+c.path, acmeSecret); res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", c.path, res.StatusCode, body)
		}
		var want []events.AuditEntry
		if c.want.Action != "" {
			want = append(want, c.want)
		}
		var got []events.AuditEntry
		for _, e := range log.audited(t) {
			got = append(got, events.AuditEntry{Action: e.Action, Tenant: e.Tenant, Target: e.Target, User: e.User})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.path, diff)
		}
		res, body := get(t, base+c.path, blindSecret)
		if personal := c.want.Action != ""; personal != (res.StatusCode == http.StatusForbidden) {
			t.Errorf("%s without the scope timeline: %d %s", c.path, res.StatusCode, body)
		}
		p.asked = nil
		log.mu.Lock() // the refusal may be on its way to it
		log.err = context.DeadlineExceeded
		log.mu.Unlock()
		res, body = get(t, base+c.path, acmeSecret)
		if personal := c.want.Action != ""; personal != (res.StatusCode == http.StatusServiceUnavailable) || personal != (len(p.asked) == 0) {
			t.Errorf("%s without a log: %d %s, asked %v", c.path, res.StatusCode, body, p.asked)
		}
		if cmp.Diff([]string{c.asked}, p.asked) != "" && c.want.Action == "" {
			t.Errorf("%s asked %v", c.path, p.asked)
		}
	}
}
