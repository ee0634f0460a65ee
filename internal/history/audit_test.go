package history_test

import (
	stdcmp "cmp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

func TestTheAuditTrailIsReadNewestFirst(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	b := history.NewAudit()
	var all []events.AuditEntry
	for i := range 12 {
		e := events.AuditEntry{
			Tenant: []string{"acme", "globex", ""}[i%3], Time: at(i / 4), Action: []string{"user.timeline", "finding.triage"}[i%2], Target: "t" + strconv.Itoa(i),
			Actor: []string{"ann", "bo"}[i/6], Via: events.ViaOIDC, User: "u" + strconv.Itoa(i%2), Detail: "<b>", Outcome: events.AuditDone, Address: "192.0.2.1", Request: "r" + strconv.Itoa(i),
		}
		e.ID = events.AuditID(&e)
		if err := b.Append(&e, time.Now()); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	insert(t, s, &b.Block)
	slices.SortFunc(all, func(x, y events.AuditEntry) int {
		return stdcmp.Or(stdcmp.Compare(y.Time, x.Time), stdcmp.Compare(y.ID, x.ID))
	})
	for name, c := range map[string]struct {
		q    report.AuditQuery
		want func(e *events.AuditEntry) bool
	}{
		"all":                 {report.AuditQuery{Scope: report.Scope{All: true}}, func(*events.AuditEntry) bool { return true }},
		"a tenant's":          {report.AuditQuery{Scope: report.Scope{Tenants: []string{"acme"}}}, func(e *events.AuditEntry) bool { return e.Tenant == "acme" }},
		"nobody's":            {report.AuditQuery{}, func(*events.AuditEntry) bool { return false }},
		"of an actor":         {report.AuditQuery{Scope: report.Scope{All: true}, Actor: "bo"}, func(e *events.AuditEntry) bool { return e.Actor == "bo" }},
		"of an action":        {report.AuditQuery{Scope: report.Scope{All: true}, Action: "finding.triage"}, func(e *events.AuditEntry) bool { return e.Action == "finding.triage" }},
		"of a kind of action": {report.AuditQuery{Scope: report.Scope{All: true}, Action: "user."}, func(e *events.AuditEntry) bool { return e.Action == "user.timeline" }},
		"about a user":        {report.AuditQuery{Scope: report.Scope{Tenants: []string{"acme", "globex"}}, User: "u1"}, func(e *events.AuditEntry) bool { return e.User == "u1" && e.Tenant != "" }},
		"an injection":        {report.AuditQuery{Scope: report.Scope{Tenants: []string{"acme"}}, Actor: "' OR 1=1 --"}, func(*events.AuditEntry) bool { return false }},
	} {
		var want, got []events.AuditEntry
		for i := range all {
			if c.want(&all[i]) {
				want = append(want, all[i])
			}
		}
		c.q.Span, c.q.Limit = report.Span{From: at(0), To: at(100)}, 3
		for {
			page, err := s.Audit(t.Context(), c.q)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page.Entries...)
			if page.Next == nil {
				break
			}
			c.q.After = *page.Next
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got, +want)\n%s", name, diff)
		}
	}
}
