package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
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

func (p *persons) Session(_ context.Context, s report.Scope, tenant, session string, _ events.Millis) (*report.SessionProfile, error) {
	if session == "gone" {
		_ = p.ask(s, "session")
		return nil, report.ErrNotFound
	}
	return &report.SessionProfile{User: "ana", Others: []string{"eve"}}, p.ask(s.Narrow(tenant), "session")
}

func (p *persons) SessionEvents(_ context.Context, q report.SessionQuery) (report.EventPage, error) {
	if q.Session == "gone" {
		_ = p.ask(q.Scope, "session events")
		return report.EventPage{}, report.ErrNotFound
	}
	page := report.EventPage{}
	for _, user := range []string{"ana", "ana", "eve"} {
		page.Events = append(page.Events, events.Encode(&events.Event{Tenant: q.Tenant, User: events.User{ID: user}}))
	}
	return page, p.ask(q.Scope.Narrow(q.Tenant), "session events")
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

func (p *persons) Findings(_ context.Context, q report.FindingQuery) (report.FindingPage, error) {
	return report.FindingPage{}, p.ask(q.Scope, "findings")
}

func (p *persons) Finding(_ context.Context, s report.Scope, id string) (json.RawMessage, error) {
	return events.Encode(&events.Finding{ID: id, Tenant: "acme", User: events.User{ID: "ana"}}), p.ask(s, "finding")
}

func (p *persons) Requirements(_ context.Context, q report.RequirementQuery) (report.RequirementPage, error) {
	return report.RequirementPage{}, p.ask(q.Scope, "requirements")
}

func (p *persons) Requirement(_ context.Context, s report.Scope, id string, _ events.Millis) (report.Requirement, error) {
	return report.Requirement{ID: id, Tenant: "acme", User: "ana"}, p.ask(s, "requirement")
}

func (p *persons) RequirementReceipts(context.Context, report.Scope, string) ([]report.ReceiptLine, error) {
	return nil, nil
}

func (p *persons) RequirementFindings(context.Context, report.Scope, string) ([]json.RawMessage, error) {
	return nil, nil
}

func (p *persons) ReceiptList(_ context.Context, q report.ReceiptQuery) (report.ReceiptPage, error) {
	return report.ReceiptPage{}, p.ask(q.Scope, "receipts")
}

func (p *persons) Alerts(_ context.Context, q report.AlertQuery) (report.AlertPage, error) {
	return report.AlertPage{}, p.ask(q.Scope, "alerts")
}

func (p *persons) Erasures(_ context.Context, s report.Scope) ([]report.Erasure, error) {
	return nil, p.ask(s, "erasures")
}

func TestReadsOfPeopleNeedTheirScopeAndAreOnTheLog(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("0", 32)
	for _, c := range []struct {
		path  string
		asked string
		// want is the entry; without an action the read is of no person.
		want events.AuditEntry
		// scope is what it needs besides read.
		scope string
		// known says that whose data it is is known only when the history has answered.
		known bool
	}{
		{"/v1/users?q=An%25&tenant=acme", "users", events.AuditEntry{Action: "user.search", Tenant: "acme", Target: "An%"}, ScopeTimeline, false},
		{"/v1/users", "users", events.AuditEntry{Action: "user.search", Tenant: "acme"}, ScopeTimeline, false},
		{"/v1/users/acme/CORP%5Canna", "user", events.AuditEntry{Action: "user.read", Tenant: "acme", User: `CORP\anna`}, ScopeTimeline, false},
		{"/v1/users/acme/a%2Fb/lanes", "lanes", events.AuditEntry{Action: "user.lanes", Tenant: "acme", User: "a/b"}, ScopeTimeline, false},
		{"/v1/sessions/acme/s%201", "session", events.AuditEntry{Action: "session.read", Tenant: "acme", User: "ana", Target: "s 1", Detail: `also of ["eve"]`}, ScopeTimeline, true},
		{"/v1/sessions/acme/gone", "session", events.AuditEntry{Action: "session.read", Tenant: "acme", Target: "gone"}, ScopeTimeline, true},
		{"/v1/sessions/acme/s/events", "session events", events.AuditEntry{Action: "session.events", Tenant: "acme", User: "ana", Target: "s", Detail: `also of ["eve"]`}, ScopeTimeline, true},
		{"/v1/sessions/acme/gone/events", "session events", events.AuditEntry{Action: "session.events", Tenant: "acme", Target: "gone"}, ScopeTimeline, true},
		{"/v1/networks?ip=192.0.2.1", "network", events.AuditEntry{Action: "network.read", Tenant: "acme", Target: "192.0.2.1"}, ScopeTimeline, false},
		{"/v1/networks?prefix=192.0.2.0/24", "network", events.AuditEntry{Action: "network.read", Tenant: "acme", Target: "192.0.2.0/24"}, ScopeTimeline, false},
		{"/v1/findings/" + id, "finding", events.AuditEntry{Action: "finding.read", Tenant: "acme", User: "ana", Target: id}, "", true},
		{"/v1/findings?user=ana", "findings", events.AuditEntry{Action: "finding.search", Tenant: "acme", User: "ana"}, "", false},
		{"/v1/findings?session=s", "findings", events.AuditEntry{Action: "finding.search", Tenant: "acme", Target: "s"}, "", false},
		{"/v1/findings?ip=::ffff:192.0.2.1", "findings", events.AuditEntry{Action: "finding.search", Tenant: "acme", Target: "192.0.2.1"}, "", false},
		{"/v1/findings?user=ana&session=s&ip=2001:db8::1/128", "findings", events.AuditEntry{Action: "finding.search", Tenant: "acme", User: "ana", Target: "s 2001:db8::1"}, "", false},
		{"/v1/findings?ip=192.0.2.0/24&severity=high", "findings", events.AuditEntry{}, "", false},
		{"/v1/revocations?user=ana", "requirements", events.AuditEntry{Action: "revocation.search", Tenant: "acme", User: "ana"}, "", false},
		{"/v1/revocations?status=open", "requirements", events.AuditEntry{}, "", false},
		{"/v1/revocations/r1", "requirement", events.AuditEntry{Action: "revocation.read", Tenant: "acme", User: "ana", Target: "r1"}, "", true},
		{"/v1/receipts?user=ana", "receipts", events.AuditEntry{Action: "receipt.search", Tenant: "acme", User: "ana"}, "", false},
		{"/v1/receipts?requirement=r1", "receipts", events.AuditEntry{Action: "receipt.search", Tenant: "acme", Target: "r1"}, "", false},
		{"/v1/receipts?app=a", "receipts", events.AuditEntry{}, "", false},
		{"/v1/alerts?user=ana", "alerts", events.AuditEntry{Action: "alert.search", Tenant: "acme", User: "ana"}, ScopeOperate, false},
		{"/v1/alerts", "alerts", events.AuditEntry{}, ScopeOperate, false},
		{"/v1/erasures", "erasures", events.AuditEntry{Action: "erasure.list", Tenant: "acme"}, ScopeErase, false},
		{"/v1/map", "map", events.AuditEntry{}, "", false},
		{"/v1/apps", "apps", events.AuditEntry{}, "", false},
		{"/v1/apps/acme/a%2Fb", "app", events.AuditEntry{}, "", false},
	} {
		a, _, base := newAPI(t, nil)
		p := &persons{}
		a.deps.History = p
		log := a.deps.Publisher.(*ledger)
		status := http.StatusOK
		if strings.Contains(c.path, "/gone") {
			status = http.StatusNotFound
		}
		if res, body := get(t, base+c.path, acmeSecret); res.StatusCode != status {
			t.Fatalf("%s: %d %s", c.path, res.StatusCode, body)
		}
		var want []events.AuditEntry
		if c.want.Action != "" {
			want = append(want, c.want)
		}
		var got []events.AuditEntry
		for _, e := range log.audited(t) {
			got = append(got, events.AuditEntry{Action: e.Action, Tenant: e.Tenant, Target: e.Target, User: e.User, Detail: e.Detail})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.path, diff)
		}
		res, body := get(t, base+c.path, blindSecret)
		if (c.scope != "") != (res.StatusCode == http.StatusForbidden) {
			t.Errorf("%s without the scope %q: %d %s", c.path, c.scope, res.StatusCode, body)
		}
		p.asked = nil
		log.mu.Lock() // the refusal may be on its way to it
		log.err = context.DeadlineExceeded
		log.mu.Unlock()
		res, body = get(t, base+c.path, acmeSecret)
		personal := c.want.Action != ""
		if personal != (res.StatusCode == http.StatusServiceUnavailable) || strings.Contains(body, "ana") {
			t.Errorf("%s without a log: %d %s", c.path, res.StatusCode, body)
		}
		var asked []string
		if !personal || c.known {
			asked = []string{c.asked}
		}
		if diff := cmp.Diff(asked, p.asked); diff != "" {
			t.Errorf("%s without a log asked (-want, +got)\n%s", c.path, diff)
		}
	}
}
