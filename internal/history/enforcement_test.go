package history_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

// decided inserts a finding whose event was accepted at a moment and that entered the log some milliseconds later, with the
// requirement that it opened. It returns the requirement.
func decided(t *testing.T, s *history.Store, tenant, user string, seconds int, took events.Millis) *report.Requirement {
	t.Helper()
	e := event(tenant, user, seconds)
	e.Ingested = at(seconds)
	f := finding(e, "LOC-01", events.High)
	f.Ingested = e.Ingested
	q := requirement(tenant, user, seconds, report.Open)
	q.EventID, f.Decision.Requirement = e.ID, q.ID
	for i := range 3 { // the archiver may read a record again, and the detector write it again, much later
		b := history.NewFindings()
		if err := b.Append(f, events.Encode(f), (e.Ingested + took + events.Millis(i/2)*events.Hour).Time()); err != nil {
			t.Fatal(err)
		}
		insert(t, s, &b.Block)
	}
	insertRequirements(t, s, q, q)
	return q
}

func receipt(q *report.Requirement, app string, status events.ReceiptStatus, when events.Millis) *events.Receipt {
	r := &events.Receipt{Time: when, Tenant: q.Tenant, User: q.User, Requirement: q.ID, App: app, Status: status}
	r.ID = events.ReceiptID(r)
	return r
}

func TestEnforcementMeasuresFromEventToProof(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	var receipts []*events.Receipt
	for i := range 10 {
		q := decided(t, s, "acme", fmt.Sprint("u", i), 100*i, 20)
		at := q.NotBefore + 20 // when it was decided
		if i == 9 {
			break // nobody answers
		}
		ms := events.Millis(i + 1)
		receipts = append(receipts,
			receipt(q, "bank", events.Delivered, at+10*ms), receipt(q, "mail", events.Delivered, at+5*ms),
			receipt(q, "bank", events.Challenged, at+100*ms))
		if i < 4 {
			receipts = append(receipts, receipt(q, "bank", events.Satisfied, at+30*events.Second))
		}
	}
	odd := requirement("acme", "odd", 50, report.Open) // whose event is no id of ours
	insertRequirements(t, s, odd)
	insertReceipts(t, s, append(receipts, receipt(odd, "bank", events.Challenged, at(60)))...)
	insertReceipts(t, s, receipts[:7]...)
	foreign := decided(t, s, "globex", "u0", 10, 999)
	insertReceipts(t, s, receipt(foreign, "wiki", events.Refused, foreign.NotBefore+2000))

	got, err := s.Enforcement(t.Context(), report.Scope{Tenants: []string{"acme"}}, day)
	if err != nil {
		t.Fatal(err)
	}
	want := &report.Enforcement{
		From: day.From, To: day.To, Requirements: 11, Unanswered: 1,
		Stages: []report.Stage{
			{Stage: "decided", Count: 10, P50: 20, P95: 20, P99: 20},
			{Stage: "delivered", Count: 9, P50: 25, P95: 45, P99: 45},
			{Stage: "challenged", Count: 9, P50: 500, P95: 900, P99: 900},
			{Stage: "satisfied", Count: 4, P50: 30000, P95: 30000, P99: 30000},
			{Stage: "revoked"},
		},
		Apps: []report.AppEnforcement{{App: "bank", Count: 9, P50: 500, P95: 900}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The numbers stay when the server has merged what repeats.
	if err := s.Exec(t.Context(), "OPTIMIZE TABLE ${database}.findings FINAL"); err != nil {
		t.Fatal(err)
	}
	if got, err = s.Enforcement(t.Context(), report.Scope{Tenants: []string{"acme"}}, day); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after a merge (-want +got):\n%s", diff)
	}
	if list, err := s.EventFindings(t.Context(), everything, event("acme", "u0", 0).ID); err != nil || len(list) != 1 || list[0].Logged != at(0)+20 {
		t.Errorf("after a merge the findings of an event are %+v, %v", list, err)
	}
	if got, err = s.Enforcement(t.Context(), report.Scope{}, day); err != nil || got.Requirements != 0 || got.Stages[0].Count != 0 || len(got.Apps) != 0 {
		t.Errorf("who may see nothing sees %+v, %v", got, err)
	}
	if got, err = s.Enforcement(t.Context(), everything, report.Span{From: at(0), To: at(30)}); err != nil || got.Requirements != 2 || len(got.Apps) != 2 {
		t.Errorf("of the first half minute: %+v, %v", got, err)
	}
}

func TestReceiptsTellHowLongAfterTheDecision(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	q := decided(t, s, "acme", "u1", 100, 40)
	odd := requirement("acme", "u2", 50, report.Open)
	insertRequirements(t, s, odd)
	early, late := receipt(q, "bank", events.Delivered, at(100)), receipt(q, "bank", events.Satisfied, at(160))
	other := receipt(odd, "mail", events.Challenged, at(120))
	foreign := receipt(decided(t, s, "globex", "u1", 5, 1), "bank", events.Delivered, at(110))
	for range 2 {
		insertReceipts(t, s, early, late, other, foreign)
	}
	acme := report.Scope{Tenants: []string{"acme"}}
	ms := func(v int64) *int64 { return &v }
	line := func(r *events.Receipt, decided events.Millis, took *int64) report.ReceiptLine {
		return report.ReceiptLine{Receipt: *r, Decided: decided, Milliseconds: took}
	}
	first, last := line(early, at(100)+40, ms(0)), line(late, at(100)+40, ms(59960)) // an app's clock may be behind
	whole := []report.ReceiptLine{last, line(other, 0, nil), first}
	for name, c := range map[string]struct {
		q    report.ReceiptQuery
		want []report.ReceiptLine
	}{
		"all":         {report.ReceiptQuery{}, whole},
		"user":        {report.ReceiptQuery{User: "u2"}, whole[1:2]},
		"app":         {report.ReceiptQuery{App: "mail"}, whole[1:2]},
		"status":      {report.ReceiptQuery{Status: events.Satisfied}, whole[:1]},
		"requirement": {report.ReceiptQuery{Requirement: q.ID}, []report.ReceiptLine{last, first}},
		"nothing":     {report.ReceiptQuery{User: hostile[0]}, []report.ReceiptLine{}},
	} {
		c.q.Scope, c.q.Span, c.q.Limit = acme, day, 10
		page, err := s.ReceiptList(t.Context(), c.q)
		if diff := cmp.Diff(c.want, page.Receipts); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	var paged []report.ReceiptLine
	for after := (&report.Cursor{}); after != nil; {
		page, err := s.ReceiptList(t.Context(), report.ReceiptQuery{Scope: acme, Span: day, Limit: 1, After: *after})
		if err != nil {
			t.Fatal(err)
		}
		paged, after = append(paged, page.Receipts...), page.Next
	}
	if diff := cmp.Diff(whole, paged); diff != "" {
		t.Errorf("in pages (-want +got):\n%s", diff)
	}
	got, err := s.RequirementReceipts(t.Context(), acme, q.ID)
	if diff := cmp.Diff([]report.ReceiptLine{first, last}, got); diff != "" || err != nil {
		t.Errorf("of the requirement: %v (-want +got):\n%s", err, diff)
	}
	if got, err = s.RequirementReceipts(t.Context(), report.Scope{Tenants: []string{"globex"}}, q.ID); err != nil || len(got) != 0 {
		t.Errorf("another tenant sees %+v, %v", got, err)
	}
	findings, err := s.RequirementFindings(t.Context(), acme, q.ID)
	if err != nil || len(findings) != 1 {
		t.Errorf("%d findings, %v", len(findings), err)
	}
	for _, id := range append([]string{"", "nothing"}, hostile...) {
		if findings, err = s.RequirementFindings(t.Context(), everything, id); err != nil || len(findings) != 0 {
			t.Errorf("of %q: %d findings, %v", id, len(findings), err)
		}
	}
}

func TestSourcesTellTheLastHour(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	// What sources sent is kept for a month only.
	begin := events.MillisOf(time.Now().Add(-3 * time.Hour).Truncate(time.Hour))
	at := func(seconds int) events.Millis { return begin + events.Millis(seconds)*events.Second }
	send := func(tenant, source string, seconds int, delay events.Millis) *events.Event {
		e := event(tenant, "u", seconds)
		e.Source.Name, e.Source.Family, e.Source.ID = source, "entra", fmt.Sprint(source, seconds)
		e.ID = events.EventID(tenant, e.Source.Family, e.Source.ID)
		e.Time = at(seconds)
		e.Ingested = e.Time + delay
		return e
	}
	var list []*events.Event
	for i := range 100 {
		delay := events.Millis(1000)
		if i%10 == 0 {
			delay = 60 * events.Second
		}
		list = append(list, send("acme", "entra-main", 7200+i, delay))
	}
	list = append(list, send("acme", "entra-main", 100, 1000), send("acme", "quiet", 200, -5000), send("globex", "other", 7200, 500))
	verdict := send("acme", "countersign", 7200, 0)
	verdict.Kind = events.NetworkVerdict
	again := *list[1] // sent anew, and accepted later
	again.Ingested += 3000
	for range 3 {
		insertEvents(t, s, append(list, verdict, &again)...)
	}
	b := history.NewDeadLetters()
	for i := range 6 {
		d := &events.DeadLetter{
			ID: events.ID("letter", fmt.Sprint(i)), Time: at(7200), Source: []string{"entra-main", "broken"}[i%2], Stage: "ingest", Reason: "?",
		}
		if i == 4 {
			d.Stage = "archiver"
		}
		b.Append(d, time.Now())
		b.Append(d, time.Now())
	}
	insert(t, s, &b.Block)
	got, err := s.Sources(t.Context(), report.Scope{Tenants: []string{"acme"}}, at(7300))
	if err != nil {
		t.Fatal(err)
	}
	ms := func(v int64) *int64 { return &v }
	want := []report.SourceHealth{
		{Source: "entra-main", Family: "entra", Newest: at(7299), Accepted: at(7290) + 60000, LastHour: 100, DelayP50: ms(1024), DelayP95: ms(55109)},
		{Source: "quiet", Family: "entra", Newest: at(200), Accepted: at(195)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err = s.Sources(t.Context(), everything, at(7300)); err != nil {
		t.Fatal(err)
	}
	letters := map[string]uint64{}
	for _, v := range got {
		letters[v.Source+"/"+v.Family] = v.DeadLetters
	}
	if diff := cmp.Diff(map[string]uint64{"broken/": 3, "entra-main/entra": 2, "other/entra": 0, "quiet/entra": 0}, letters); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

func TestAlertsAreAsTheyWereLast(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	first := alert(finding(event("acme", "u1", 1), "LOC-01", events.Medium), 10)
	closed := *first
	closed.Closed, closed.Ending = at(70), "quiet"
	closed.Deliveries = append(closed.Deliveries[:0:0], closed.Deliveries...)
	closed.Deliveries[0].Outcome = "sent"
	second := alert(finding(event("acme", "u2", 2), "LOC-01", events.High), 10)
	foreign := alert(finding(event("globex", "u1", 3), "LOC-01", events.High), 30)
	insertAlerts(t, s, first, second, foreign, &closed)
	insertAlerts(t, s, second)
	acme := report.Scope{Tenants: []string{"acme"}}
	all := []report.Alert{report.AlertOf(&closed), report.AlertOf(second)}
	if all[0].ID < all[1].ID {
		all[0], all[1] = all[1], all[0]
	}
	if a := report.AlertOf(&closed); a.Deliveries[0].Outcome != "sent" || a.Deliveries[0].Due != 0 {
		t.Errorf("a delivery that is over: %+v", a.Deliveries[0])
	}
	if a := report.AlertOf(second); a.Deliveries[0].Outcome != "pending" || a.Deliveries[0].Due != at(15) || a.Requirements[0] != "q" {
		t.Errorf("one that is not: %+v", a)
	}
	for name, c := range map[string]struct {
		q    report.AlertQuery
		want []report.Alert
	}{
		"all":      {report.AlertQuery{}, all},
		"open":     {report.AlertQuery{State: "open"}, []report.Alert{report.AlertOf(second)}},
		"closed":   {report.AlertQuery{State: "closed"}, []report.Alert{report.AlertOf(&closed)}},
		"severity": {report.AlertQuery{Severity: []events.Severity{events.High}}, []report.Alert{report.AlertOf(second)}},
		"user":     {report.AlertQuery{User: "u1"}, []report.Alert{report.AlertOf(&closed)}},
		"kind":     {report.AlertQuery{Kind: "flood"}, []report.Alert{}},
		"hostile":  {report.AlertQuery{User: hostile[1]}, []report.Alert{}},
	} {
		c.q.Scope, c.q.Span, c.q.Limit = acme, day, 10
		page, err := s.Alerts(t.Context(), c.q)
		if diff := cmp.Diff(c.want, page.Alerts); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	var paged []report.Alert
	for after := (&report.Cursor{}); after != nil; {
		page, err := s.Alerts(t.Context(), report.AlertQuery{Scope: acme, Span: day, Limit: 1, After: *after})
		if err != nil {
			t.Fatal(err)
		}
		paged, after = append(paged, page.Alerts...), page.Next
	}
	if diff := cmp.Diff(all, paged); diff != "" {
		t.Errorf("in pages (-want +got):\n%s", diff)
	}
	bad := *first
	bad.Tenant = "a/b"
	if err := history.NewAlerts().Append(&bad, time.Now(), 0); err == nil {
		t.Error("an incident of no tenant was taken")
	}
}
