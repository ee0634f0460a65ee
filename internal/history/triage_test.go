package history_test

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/report"
)

func mark(f *events.Finding, seconds int, verdict events.TriageVerdict) *events.Mark {
	m := &events.Mark{
		Tenant: f.Tenant, Finding: f.ID, Detection: f.Detection, User: f.User.ID, Found: f.Time, Verdict: verdict,
		Comment: "because\nit's so", Assignee: "Bo", By: "bo", Time: at(seconds),
	}
	m.ID = events.MarkID(m)
	return m
}

func insertMarks(t testing.TB, s *history.Store, list ...*events.Mark) {
	t.Helper()
	b := history.NewMarks()
	for _, m := range list {
		if err := b.Append(m, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	insert(t, s, &b.Block)
}

func TestMarksAndAuditEntriesAreKeptOnce(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	m := mark(finding(event("acme", "u1", 1), "LOC-01", events.High), 10, events.TruePositive)
	entry := &events.AuditEntry{Time: at(10), Action: "token.create", Actor: "bo", Outcome: events.AuditDone, Request: "r1"}
	entry.ID = events.AuditID(entry)
	for range 2 {
		insertMarks(t, s, m, m)
		b := history.NewAudit()
		if err := b.Append(entry, time.Now()); err != nil {
			t.Fatal(err)
		}
		insert(t, s, &b.Block)
	}
	for _, table := range []history.Table{history.TableMarks, history.TableAudit} {
		if n, err := s.Things(t.Context(), table); err != nil || n != 1 {
			t.Errorf("%s: %d, %v; want one", table, n, err)
		}
	}
	m.Comment = "\x00"
	if err := history.NewMarks().Append(m, time.Now()); err == nil {
		t.Error("a mark with a control character was taken")
	}
	entry.Action = ""
	if err := history.NewAudit().Append(entry, time.Now()); err == nil {
		t.Error("an entry without an action was taken")
	}
}

func alert(f *events.Finding, seconds int) *incident.Incident {
	return &incident.Incident{
		ID: events.ID("incident", f.ID), Kind: incident.User, Tenant: f.Tenant, User: f.User.ID, UserName: f.User.Name, Severity: f.Severity,
		Title: f.Title, Summary: f.Summary, Since: f.Time, Opened: at(seconds), Updated: at(seconds), Findings: 1, Users: 1,
		Detections: []string{f.Detection}, Requirements: []incident.Requirement{{ID: "q"}},
		Deliveries: []incident.Delivery{{Target: "chat", Phase: incident.Firing, Severity: f.Severity, Created: at(seconds), Due: at(seconds + 5)}},
	}
}

// insertAlerts inserts incidents as they were last, each later than the one before.
func insertAlerts(t testing.TB, s *history.Store, list ...*incident.Incident) {
	t.Helper()
	b := history.NewAlerts()
	for n, i := range list {
		if err := b.Append(i, time.Now(), int64(n)); err != nil {
			t.Fatal(err)
		}
	}
	insert(t, s, &b.Block)
}

func insertReceipts(t testing.TB, s *history.Store, list ...*events.Receipt) {
	t.Helper()
	b := history.NewReceipts()
	for _, r := range list {
		if err := b.Append(r, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	insert(t, s, &b.Block)
}

// The newest mark of a finding holds, by time and then id, whatever the order of marks and however often they come; the triage,
// the filter and the record of the rule say the same.
func TestTheNewestMarkHoldsWhateverTheOrder(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		tenant := "tenant-" + strconv.Itoa(n) // each has a history of its own
		everything := report.Scope{Tenants: []string{tenant}}
		var list []*events.Finding
		for i := range 4 {
			list = append(list, finding(event(tenant, "u"+strconv.Itoa(i), i), "LOC-01", events.High))
		}
		insertFindings(t, s, list...)
		var marks []*events.Mark
		for i := range rapid.IntRange(0, 12).Draw(r, "marks") {
			m := mark(rapid.SampledFrom(list).Draw(r, "finding"), rapid.IntRange(10, 13).Draw(r, "time"), rapid.SampledFrom(events.TriageVerdicts).Draw(r, "verdict"))
			m.By = strconv.Itoa(i % 3)
			m.ID = events.MarkID(m)
			marks = append(marks, m)
		}
		holds := map[string]*events.Mark{}
		for _, m := range marks {
			if h := holds[m.Finding]; h == nil || m.Time > h.Time || m.Time == h.Time && m.ID > h.ID {
				holds[m.Finding] = m
			}
		}
		order := rapid.Permutation(append(slices.Clone(marks), marks[:len(marks)/2]...)).Draw(r, "order")
		// Some are in the history, in several inserts; of the rest the newest of a finding are told as recent, as the API does.
		split := rapid.IntRange(0, len(order)).Draw(r, "archived")
		for i := 0; i < split; i += 3 {
			insertMarks(t, s, order[i:min(i+3, split)]...)
		}
		recent := map[string]*events.Mark{}
		for _, m := range order[split:] {
			if holds[m.Finding] == m {
				recent[m.Finding] = m
			}
		}
		if split == len(order) && len(recent) > 0 {
			r.Fatal("nothing can be recent")
		}
		outranking := slices.Collect(maps.Values(recent))
		var want [4]int // by verdict
		var rule report.Rule
		rule.Findings = uint64(len(list))
		for _, f := range list {
			verdict := events.TriageOpen
			if h := holds[f.ID]; h != nil {
				verdict = h.Verdict
			}
			want[slices.Index(events.TriageVerdicts, verdict)]++
			rule.Judge(verdict, 1)
		}
		rule.Finish()
		for i, verdict := range events.TriageVerdicts {
			page, err := s.Findings(t.Context(), report.FindingQuery{Scope: everything, Span: day, Triage: verdict, Recent: outranking, Limit: 10})
			if err != nil || len(page.Findings) != want[i] {
				r.Fatalf("%s: %d findings, %v; want %d", verdict, len(page.Findings), err, want[i])
			}
		}
		rules, err := s.Rules(t.Context(), report.RuleQuery{Scope: everything, Span: day, Recent: outranking})
		if err != nil || len(rules) != 1 {
			r.Fatalf("%d rules, %v", len(rules), err)
		}
		got := rules[0]
		if got.TruePositive != rule.TruePositive || got.FalsePositive != rule.FalsePositive || got.Acknowledged != rule.Acknowledged || got.Open != rule.Open ||
			got.Users != 4 || got.Severities.High != 4 || !cmp.Equal(got.Precision, rule.Precision) {
			r.Fatalf("the rule is %+v, want %+v", got, rule)
		}
		if len(recent) > 0 {
			return
		}
		triage, err := s.Triage(t.Context(), everything, []string{list[0].ID, list[1].ID, list[2].ID, list[3].ID, "nonsense"})
		if err != nil || len(triage) != len(holds) {
			r.Fatalf("%d are marked, %v; want %d", len(triage), err, len(holds))
		}
		for id, m := range triage {
			if diff := cmp.Diff(*holds[id], m); diff != "" {
				r.Fatalf("(-want +got):\n%s", diff)
			}
		}
	})
}

func TestFindingsAreFilteredByWhereAndWhat(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	var list []*events.Finding
	for i, ip := range []string{"192.0.2.10", "192.0.2.200", "198.51.100.7", "2001:db8::1", "2001:db8:0:1::1", ""} {
		e := event("acme", "u1", i)
		e.IP, e.Session.ID, e.App = ip, "s"+strconv.Itoa(i%2), events.Ref{ID: "app-" + strconv.Itoa(i%3), Name: "App"}
		e.Place.Country = []string{"NL", "DE"}[i%2]
		list = append(list, finding(e, "LOC-01", events.High))
	}
	insertFindings(t, s, list...)
	insertFindings(t, s, list...)
	for name, c := range map[string]struct {
		q    report.FindingQuery
		want []int
	}{
		"session":      {report.FindingQuery{Session: "s1"}, []int{5, 3, 1}},
		"app":          {report.FindingQuery{App: "app-2"}, []int{5, 2}},
		"country":      {report.FindingQuery{Country: "NL"}, []int{4, 2, 0}},
		"both":         {report.FindingQuery{Country: "NL", App: "app-2"}, []int{2}},
		"address":      {report.FindingQuery{Addresses: netip.MustParsePrefix("192.0.2.10/32")}, []int{0}},
		"network":      {report.FindingQuery{Addresses: netip.MustParsePrefix("192.0.2.99/24")}, []int{1, 0}},
		"odd network":  {report.FindingQuery{Addresses: netip.MustParsePrefix("192.0.2.0/25")}, []int{0}},
		"all of IPv4":  {report.FindingQuery{Addresses: netip.MustParsePrefix("0.0.0.0/0")}, []int{2, 1, 0}},
		"IPv6":         {report.FindingQuery{Addresses: netip.MustParsePrefix("2001:db8::/48")}, []int{4, 3}},
		"IPv6 address": {report.FindingQuery{Addresses: netip.MustParsePrefix("2001:db8::1/128")}, []int{3}},
		"none":         {report.FindingQuery{Session: hostile[0]}, nil},
		"nor here":     {report.FindingQuery{App: hostile[1], Country: hostile[2]}, nil},
	} {
		c.q.Scope, c.q.Span, c.q.Limit = everything, day, 10
		page, err := s.Findings(t.Context(), c.q)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, i := range c.want {
			want = append(want, list[i].ID)
		}
		if diff := cmp.Diff(want, ids(t, page)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestMarksAreOfTheirTenant(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	ours, theirs := finding(event("acme", "u1", 1), "LOC-01", events.High), finding(event("globex", "u1", 1), "LOC-01", events.High)
	insertFindings(t, s, ours, theirs)
	old, newest := mark(ours, 10, events.TriageAcknowledged), mark(ours, 20, events.FalsePositive)
	insertMarks(t, s, newest, old, mark(theirs, 5, events.TruePositive), old)
	acme, globex := report.Scope{Tenants: []string{"acme"}}, report.Scope{Tenants: []string{"globex"}}
	marks, err := s.Marks(t.Context(), acme, ours.ID)
	if diff := cmp.Diff([]events.Mark{*newest, *old}, marks); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, scope := range []report.Scope{globex, {}} {
		marks, err := s.Marks(t.Context(), scope, ours.ID)
		triage, err2 := s.Triage(t.Context(), scope, []string{ours.ID})
		if err != nil || err2 != nil || len(marks)+len(triage) != 0 {
			t.Errorf("%+v sees %v and %v, %v, %v", scope, marks, triage, err, err2)
		}
	}
	for _, id := range hostile {
		marks, err := s.Marks(t.Context(), everything, id)
		triage, err2 := s.Triage(t.Context(), everything, []string{id})
		if err != nil || err2 != nil || len(marks)+len(triage) != 0 {
			t.Errorf("of %q: %v and %v, %v, %v", id, marks, triage, err, err2)
		}
	}
	rules, err := s.Rules(t.Context(), report.RuleQuery{Scope: globex, Span: day, Recent: []*events.Mark{newest}})
	if err != nil || len(rules) != 1 || rules[0].TruePositive != 1 || rules[0].FalsePositive != 0 || *rules[0].Precision != 1 {
		t.Errorf("the rules of another tenant are %+v, %v", rules, err)
	}
}

func TestNeighboursAreTheUsersOwn(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	var list []*events.Finding
	for i := range 3 {
		e := event("acme", "u1", 100)
		e.Source.ID += strconv.Itoa(i)
		e.ID = events.EventID("acme", "test", e.Source.ID)
		list = append(list, finding(e, "LOC-01", events.High)) // all at one time
	}
	slices.SortFunc(list, func(a, b *events.Finding) int { return strings.Compare(a.ID, b.ID) })
	before := finding(event("acme", "u1", 50), "LOC-01", events.Low)
	others := []*events.Finding{finding(event("acme", "u2", 99), "LOC-01", events.Low), finding(event("globex", "u1", 101), "LOC-01", events.Low)}
	insertFindings(t, s, append(append(others, before), list...)...)
	chain := append([]*events.Finding{before}, list...)
	for i, f := range chain {
		var want report.Neighbours
		if i > 0 {
			want.Previous = chain[i-1].ID
		}
		if i < len(chain)-1 {
			want.Next = chain[i+1].ID
		}
		got, err := s.Neighbours(t.Context(), everything, "acme", "u1", report.Cursor{Time: f.Time, ID: f.ID})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("of %d: %v (-want +got):\n%s", i, err, diff)
		}
	}
	got, err := s.Neighbours(t.Context(), report.Scope{Tenants: []string{"globex"}}, "acme", "u1", report.Cursor{Time: at(60), ID: "f"})
	if err != nil || got != (report.Neighbours{}) {
		t.Errorf("another tenant sees %+v, %v", got, err)
	}
}
