package history_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

// hostile are values that would change a statement if they became part of it.
var hostile = []string{
	"' OR '1'='1", "') OR 1=1 --", `\' OR 1=1 --`, "x' UNION ALL SELECT raw FROM events --", "{tenants:Array(String)}", "${database}",
	"'; DROP TABLE events; --", "u1\x00", "u1'/*", `u1\`, "acme') OR (tenant != '",
}

func ids(t *testing.T, page report.FindingPage) []string {
	t.Helper()
	var list []string
	for _, raw := range page.Findings {
		f, err := events.DecodeFinding(raw)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, f.ID)
	}
	return list
}

// twoTenants holds findings, requirements and events of two tenants with many equal times.
func twoTenants(t *testing.T) (s *history.Store, all []*events.Finding) {
	s = historytest.Open(t)
	var sightings []*events.Event
	var requirements []*report.Requirement
	for i := range 60 {
		e := event([]string{"acme", "globex"}[i%2], fmt.Sprintf("u%d", i%3), i/6)
		e.Source.ID += fmt.Sprint(i)
		e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
		sightings = append(sightings, e)
		f := finding(e, fmt.Sprintf("LOC-0%d", i%4), events.Severities[i%5])
		if i%7 == 0 {
			f.Disposition = events.Learning
		}
		all = append(all, f)
		requirements = append(requirements, requirement(e.Tenant, e.User.ID, i, []report.Status{report.Open, report.Satisfied}[i%2]))
	}
	insertEvents(t, s, sightings...)
	insertFindings(t, s, all...)
	insertFindings(t, s, all[10:30]...) // repeats
	insertRequirements(t, s, requirements...)
	return s, all
}

func TestPagingShowsEveryFindingOnceInOrder(t *testing.T) {
	t.Parallel()
	s, all := twoTenants(t)
	for _, q := range []report.FindingQuery{
		{Scope: everything},
		{Scope: report.Scope{Tenants: []string{"acme"}}},
		{Scope: report.Scope{Tenants: []string{"acme", "globex"}}, User: "u1"},
		{Scope: everything, Detection: "LOC-02"},
		{Scope: everything, Severity: []events.Severity{events.High, events.Critical}, Disposition: events.Active},
		{Scope: everything, Detection: "none"},
	} {
		var want []*events.Finding
		for _, f := range all {
			if q.Scope.Allows(f.Tenant) && (q.User == "" || q.User == f.User.ID) && (q.Detection == "" || q.Detection == f.Detection) &&
				(len(q.Severity) == 0 || slices.Contains(q.Severity, f.Severity)) && (q.Disposition == "" || q.Disposition == f.Disposition) {
				want = append(want, f)
			}
		}
		slices.SortFunc(want, func(a, b *events.Finding) int {
			if a.Time != b.Time {
				return int(b.Time - a.Time)
			}
			return slices.Compare([]byte(b.ID), []byte(a.ID))
		})
		var wantIDs []string
		for _, f := range want {
			wantIDs = append(wantIDs, f.ID)
		}
		for _, limit := range []int{1, 7, 60, 200} {
			if limit == 1 && len(want) > 20 {
				continue
			}
			q.Span, q.Limit, q.After = day, limit, report.Cursor{}
			var got []string
			for {
				page, err := s.Findings(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, ids(t, page)...)
				if page.Next == nil {
					break
				}
				if len(page.Findings) != limit {
					t.Fatalf("a page of %d that is not the last, want %d", len(page.Findings), limit)
				}
				q.After = *page.Next
			}
			if diff := cmp.Diff(wantIDs, got); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", q, diff)
			}
		}
	}
}

func TestTimelinePagesOverAllKinds(t *testing.T) {
	t.Parallel()
	s, _ := twoTenants(t)
	q := report.TimelineQuery{Scope: everything, Tenant: "acme", User: "u1", Span: day, Now: at(30), Limit: 500}
	whole, err := s.Timeline(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.Entries) != 30 {
		t.Fatalf("%d entries, want 10 events, 10 findings and 10 requirements", len(whole.Entries))
	}
	var paged []report.Entry
	q.Limit = 4
	for {
		page, err := s.Timeline(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		paged = append(paged, page.Entries...)
		if page.Next == nil {
			break
		}
		q.After = *page.Next
	}
	if diff := cmp.Diff(whole.Entries, paged); diff != "" {
		t.Errorf("paged timeline differs (-want +got):\n%s", diff)
	}
}

func TestTenantsSeeOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	s, all := twoTenants(t)
	for _, scope := range []report.Scope{{Tenants: []string{"acme"}}, {}, {Tenants: []string{"nobody"}}, {Tenants: hostile}} {
		answers := map[string]any{}
		var err error
		ask := func(name string, answer any, e error) {
			answers[name] = answer
			if e != nil {
				err = e
				t.Errorf("%s for %v: %v", name, scope, e)
			}
		}
		o, e := s.Overview(t.Context(), scope, day, at(30))
		ask("overview", o, e)
		f, e := s.Findings(t.Context(), report.FindingQuery{Scope: scope, Span: day, Limit: 200})
		ask("findings", f, e)
		r, e := s.Requirements(t.Context(), report.RequirementQuery{Scope: scope, Span: day, Now: at(30), Limit: 200})
		ask("requirements", r, e)
		l, e := s.Timeline(t.Context(), report.TimelineQuery{Scope: scope, Tenant: "globex", User: "u1", Span: day, Limit: 200})
		ask("timeline", l, e)
		if err != nil {
			continue
		}
		own := scope.Allows("acme")
		if len(l.Entries) != 0 {
			t.Errorf("%v sees %d entries of globex's user", scope, len(l.Entries))
		}
		if want := map[bool]int{true: 30}[own]; len(f.Findings) != want || len(r.Requirements) != want || int(o.Events) != want {
			t.Errorf("%v sees %d findings, %d requirements, %d events, want %d each", scope, len(f.Findings), len(r.Requirements), o.Events, want)
		}
		text, e := json.Marshal(answers)
		if e != nil {
			t.Fatal(e)
		}
		if !own && len(o.Users)+len(o.Countries)+len(o.Detections) != 0 {
			t.Errorf("%v sees counts of others: %s", scope, text)
		}
		for _, finding := range all {
			_, e := s.Finding(t.Context(), scope, finding.ID)
			if seen := e == nil; seen != scope.Allows(finding.Tenant) {
				t.Errorf("%v asked for a finding of %s: %v", scope, finding.Tenant, e)
			}
		}
	}
}

func TestNoFilterReachesTheStatement(t *testing.T) {
	t.Parallel()
	s, _ := twoTenants(t)
	acme := report.Scope{Tenants: []string{"acme"}}
	for _, text := range hostile {
		for name, q := range map[string]report.FindingQuery{
			"user": {User: text}, "detection": {Detection: text}, "severity": {Severity: []events.Severity{events.Severity(text)}},
			"disposition": {Disposition: events.Disposition(text)}, "cursor": {After: report.Cursor{Time: at(0) - 1, ID: text}},
		} {
			q.Scope, q.Span, q.Limit = acme, day, 100
			page, err := s.Findings(t.Context(), q)
			if err != nil || len(page.Findings) != 0 {
				t.Errorf("%s %q: %d findings, %v: want none", name, text, len(page.Findings), err)
			}
		}
		if _, err := s.Finding(t.Context(), acme, text); err == nil {
			t.Errorf("id %q found something", text)
		}
		if page, err := s.Requirements(t.Context(), report.RequirementQuery{Scope: acme, Span: day, User: text, Limit: 10}); err != nil || len(page.Requirements) != 0 {
			t.Errorf("user %q: %d requirements, %v: want none", text, len(page.Requirements), err)
		}
		if page, err := s.Requirements(t.Context(), report.RequirementQuery{Scope: acme, Span: day, Status: report.Status(text), Limit: 10}); err != nil || len(page.Requirements) != 0 {
			t.Errorf("status %q: %d requirements, %v: want none", text, len(page.Requirements), err)
		}
		l, err := s.Timeline(t.Context(), report.TimelineQuery{Scope: acme, Tenant: "acme", User: text, Span: day, Limit: 10})
		if err != nil || len(l.Entries) != 0 {
			t.Errorf("user %q: %d entries, %v: want none", text, len(l.Entries), err)
		}
		if o, err := s.Overview(t.Context(), report.Scope{Tenants: []string{text}}, day, at(0)); err != nil || o.Events != 0 {
			t.Errorf("tenant %q: %+v, %v: want nothing", text, o, err)
		}
	}
	if n, err := s.Things(t.Context(), history.TableEvents); err != nil || n != 60 {
		t.Errorf("%d events are left, %v: want 60", n, err)
	}
}

func TestARequirementShowsItsNewestStatus(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	open := requirement("acme", "u1", 0, report.Open)
	satisfied := requirement("acme", "u1", 0, report.Satisfied)
	satisfied.Closed, satisfied.SatisfiedBy = at(60), "event"
	expired := requirement("acme", "u2", 0, report.Expired)
	expired.Closed = expired.Expires
	// A former owner's late write of the open status must not open it again, whatever insert it is in.
	insertRequirements(t, s, satisfied)
	insertRequirements(t, s, open)
	insertRequirements(t, s, requirement("acme", "u2", 0, report.Open), expired)
	insertRequirements(t, s, requirement("acme", "u3", 0, report.Open))
	for _, c := range []struct {
		now  events.Millis
		want map[string]report.Status
	}{
		{at(10), map[string]report.Status{"u1": report.Satisfied, "u2": report.Expired, "u3": report.Open}},
		{at(3601), map[string]report.Status{"u1": report.Satisfied, "u2": report.Expired, "u3": report.Expired}},
	} {
		page, err := s.Requirements(t.Context(), report.RequirementQuery{Scope: everything, Span: day, Now: c.now, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]report.Status{}
		for _, r := range page.Requirements {
			got[r.User] = r.Status
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("at %v (-want +got):\n%s", c.now, diff)
		}
		for user, status := range c.want {
			page, err := s.Requirements(t.Context(), report.RequirementQuery{Scope: everything, Span: day, User: user, Status: status, Now: c.now, Limit: 10})
			if err != nil || len(page.Requirements) != 1 {
				t.Errorf("%s, asked for as %s: %d, %v", user, status, len(page.Requirements), err)
			}
		}
	}
	page, err := s.Requirements(t.Context(), report.RequirementQuery{Scope: everything, Span: day, User: "u1", Limit: 10})
	if err != nil || len(page.Requirements) != 1 {
		t.Fatal(page, err)
	}
	if diff := cmp.Diff(*satisfied, page.Requirements[0]); diff != "" {
		t.Errorf("requirement (-want +got):\n%s", diff)
	}
}
