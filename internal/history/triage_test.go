package history_test

import (
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
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
