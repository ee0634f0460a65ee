package history_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

func TestPoliciesHaveARecord(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	findings, marks, requirements := history.NewFindings(), history.NewMarks(), history.NewRequirements()
	add := func(tenant, user, event, detection string, d *events.Decision, verdicts ...events.TriageVerdict) {
		t.Helper()
		f := &events.Finding{
			Detection: detection, Version: 1, Tenant: tenant, User: events.User{ID: user}, EventID: events.ID(event), Time: at(10), Severity: events.High,
			Disposition: events.Active, Decision: d,
		}
		f.ID = events.FindingID(f.Detection, f.Version, f.Tenant, f.User.ID, f.EventID)
		raw := events.Encode(f)
		for range 2 { // a repeat counts once
			if err := findings.Append(f, raw, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		for i, v := range verdicts {
			m := &events.Mark{ID: events.ID(f.ID, fmt.Sprint(i)), Tenant: tenant, Finding: f.ID, Detection: detection, User: user, Verdict: v, By: "ann", Time: at(20 + i), Found: f.Time}
			if err := marks.Append(m, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	acts, watches := &events.Decision{Policy: "travel", Action: events.StepUp}, &events.Decision{Policy: "travel", Action: events.StepUp, Observed: true}
	add("acme", "u1", "e1", "LOC-01", acts, events.TruePositive)
	add("acme", "u1", "e1", "LOC-02", acts, events.TruePositive) // of the same event
	add("acme", "u1", "e2", "LOC-01", acts, events.TruePositive, events.FalsePositive)
	add("acme", "u2", "e3", "LOC-01", watches, events.TriageAcknowledged)
	add("acme", "u2", "e4", "LOC-01", nil)
	add("globex", "u1", "e5", "LOC-01", &events.Decision{Policy: "other", Action: events.Notify}, events.FalsePositive)
	for i, status := range []report.Status{report.Open, report.Open, report.Satisfied, report.Expired} {
		r := &report.Requirement{
			ID: fmt.Sprintf("r%d", i), Tenant: "acme", User: "u1", Status: status, Action: events.StepUp, NotBefore: at(10), Expires: at(1000), Policy: "travel", EventID: "e",
		}
		if i == 1 {
			r.Expires = at(11) // its time has run out
		}
		if err := requirements.Append(r, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	insert(t, s, &findings.Block)
	insert(t, s, &marks.Block)
	insert(t, s, &requirements.Block)
	span := report.Span{From: at(0), To: at(100)}
	travel := report.PolicyRecord{Policy: "travel", Matched: 3, Observed: 1, Users: 2, Opened: 4, Satisfied: 1, Expired: 2, TruePositive: 1, FalsePositive: 1}
	for name, c := range map[string]struct {
		scope report.Scope
		span  report.Span
		want  map[string]report.PolicyRecord
	}{
		"all":       {everything, span, map[string]report.PolicyRecord{"travel": travel, "other": {Policy: "other", Matched: 1, Users: 1, FalsePositive: 1}}},
		"a tenant":  {report.Scope{Tenants: []string{"acme"}}, span, map[string]report.PolicyRecord{"travel": travel}},
		"nobody":    {report.Scope{}, span, map[string]report.PolicyRecord{}},
		"elsewhere": {everything, report.Span{From: at(200), To: at(300)}, map[string]report.PolicyRecord{}},
	} {
		got, err := s.PolicyRecords(t.Context(), c.scope, c.span, at(50))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, c.want); diff != "" {
			t.Errorf("%s (-got, +want)\n%s", name, diff)
		}
	}
}

func TestDeadLettersAreListedAndRead(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	b := history.NewDeadLetters()
	var all []events.DeadLetter
	for i := range 7 {
		d := events.DeadLetter{
			ID: events.ID("d", fmt.Sprint(i)), Time: at(i / 2), Source: []string{"push", "stream:a"}[i%2], Stage: []string{"ingest", "courier"}[i%2], Reason: "no ' good",
			Format: []string{"okta", ""}[i%2], Topic: "t", Partition: i, Offset: int64(i) << 33, Line: i, Bytes: []byte{0, 255, byte(i)}, Size: 3 + i,
		}
		b.Append(&d, time.Now())
		b.Append(&d, time.Now())
		all = append(all, d)
	}
	insert(t, s, &b.Block)
	slices.SortFunc(all, func(x, y events.DeadLetter) int {
		if x.Time != y.Time {
			return int(y.Time - x.Time)
		}
		return strings.Compare(y.ID, x.ID)
	})
	for name, c := range map[string]struct {
		q    report.LetterQuery
		want func(*events.DeadLetter) bool
	}{
		"all":          {report.LetterQuery{}, func(*events.DeadLetter) bool { return true }},
		"of a stage":   {report.LetterQuery{Stage: "courier"}, func(d *events.DeadLetter) bool { return d.Stage == "courier" }},
		"of a source":  {report.LetterQuery{Source: "push"}, func(d *events.DeadLetter) bool { return d.Source == "push" }},
		"an injection": {report.LetterQuery{Source: "' OR 1=1 --"}, func(*events.DeadLetter) bool { return false }},
	} {
		var got, want []events.DeadLetter
		for _, d := range all {
			if c.want(&d) {
				d.Bytes = []byte{}
				want = append(want, d)
			}
		}
		c.q.Span, c.q.Limit = report.Span{From: at(0), To: at(100)}, 2
		for {
			page, err := s.DeadLetters(t.Context(), c.q)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page.Letters...)
			if page.Next == nil {
				break
			}
			c.q.After = *page.Next
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got, +want)\n%s", name, diff)
		}
	}
	got, err := s.DeadLetter(t.Context(), all[3].ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*got, all[3]); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	if _, err := s.DeadLetter(t.Context(), "' OR 1=1 --"); !errors.Is(err, report.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
}

func TestExportsHaveEveryRecordOnceInOrder(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	sights, findings, requirements, audit := history.NewEvents(), history.NewFindings(), history.NewRequirements(), history.NewAudit()
	want := map[string][]string{}
	day := func(i int) events.Millis { return at(0) + events.Millis(i)*9*events.Hour }
	for i := range 30 {
		tenant, user := []string{"acme", "globex"}[i%2], fmt.Sprintf("u%d", i%3)
		e := events.Event{Kind: events.SignIn, Tenant: tenant, User: events.User{ID: user}, Time: day(i), Source: events.Source{ID: fmt.Sprint(i)}, Outcome: events.Success}
		if i == 4 {
			e.Kind, e.Verdict = events.NetworkVerdict, &events.Verdict{Detection: "NET-01"}
		}
		e.ID = events.EventID(tenant, "", e.Source.ID)
		f := events.Finding{
			Detection: "LOC-01", Version: 1, Tenant: tenant, User: e.User, EventID: e.ID, Time: e.Time, Severity: []events.Severity{events.Low, events.High}[i/15],
			Disposition: events.Active,
		}
		f.ID = events.FindingID(f.Detection, 1, tenant, user, e.ID)
		r := report.Requirement{ID: fmt.Sprintf("r%02d", i), Tenant: tenant, User: user, Status: report.Open, Action: events.StepUp, NotBefore: day(i), Expires: day(i) + 1, Claims: json.RawMessage(`{}`)}
		a := events.AuditEntry{Tenant: []string{"acme", "globex", ""}[i%3], Time: day(i), Action: "x.read", Outcome: events.AuditDone, Request: "q"}
		a.ID = events.AuditID(&a)
		for k := range 2 {
			logged := time.Now().Add(time.Duration(k) * time.Second)
			if err := errors.Join(sights.Append(&e, events.Encode(&e), logged), findings.Append(&f, events.Encode(&f), logged), requirements.Append(&r, logged), audit.Append(&a, logged)); err != nil {
				t.Fatal(err)
			}
		}
		if i != 4 { // our own kinds stay here
			want["events all"] = append(want["events all"], e.ID)
			if tenant == "acme" && user == "u0" {
				want["events mine"] = append(want["events mine"], e.ID)
			}
		}
		want["findings all"] = append(want["findings all"], f.ID)
		if f.Severity == events.High {
			want["findings high"] = append(want["findings high"], f.ID)
		}
		want["revocations all"] = append(want["revocations all"], r.ID)
		want["audit all"] = append(want["audit all"], a.ID)
		if a.Tenant == "acme" {
			want["audit acme"] = append(want["audit acme"], a.ID)
		}
	}
	insert(t, s, &sights.Block)
	insert(t, s, &findings.Block)
	insert(t, s, &requirements.Block)
	insert(t, s, &audit.Block)
	acme := report.Scope{Tenants: []string{"acme"}}
	for name, q := range map[string]report.ExportQuery{
		"events all":      {Kind: report.ExportEvents, Scope: everything},
		"events mine":     {Kind: report.ExportEvents, Scope: acme, User: "u0"},
		"events none":     {Kind: report.ExportEvents},
		"findings all":    {Kind: report.ExportFindings, Scope: everything, Detection: "LOC-01"},
		"findings high":   {Kind: report.ExportFindings, Scope: everything, Severity: []events.Severity{events.High}},
		"findings no":     {Kind: report.ExportFindings, Scope: everything, Detection: "' OR 1=1 --"},
		"revocations all": {Kind: report.ExportRevocations, Scope: everything, Now: day(100)},
		"audit all":       {Kind: report.ExportAudit, Scope: everything},
		"audit acme":      {Kind: report.ExportAudit, Scope: acme},
	} {
		q.Span = report.Span{From: day(0), To: day(30)}
		var got []string
		err := s.Export(t.Context(), q, func(record []byte) error {
			var r struct {
				ID     string
				Status string
			}
			if err := json.Unmarshal(record, &r); err != nil {
				return err
			}
			if q.Kind == report.ExportRevocations && r.Status != "expired" {
				t.Errorf("a requirement whose time has run out is %q", r.Status)
			}
			got = append(got, r.ID)
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(got, want[name]); diff != "" {
			t.Errorf("%s (-got, +want)\n%s", name, diff)
		}
		n, err := s.ExportSize(t.Context(), q)
		if err != nil || n < uint64(len(got)) || n > 2*uint64(len(got)) {
			t.Errorf("%s: size %d of %d, %v", name, n, len(got), err)
		}
	}
	// An error of take ends it, and is told.
	stop := errors.New("enough")
	if err := s.Export(t.Context(), report.ExportQuery{Kind: report.ExportEvents, Scope: everything, Span: report.Span{From: day(0), To: day(30)}}, func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("told %v", err)
	}
	if _, err := s.ExportSize(t.Context(), report.ExportQuery{Kind: "secrets"}); err == nil {
		t.Error("there is no such export")
	}
	newest, err := s.Newest(t.Context(), everything)
	if err != nil || newest != day(29) {
		t.Errorf("newest: %v %v, want %v", newest, err, day(29))
	}
}
