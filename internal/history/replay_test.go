package history_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

// lately is when the log of these tests begins: retention drops what entered it long ago.
var lately = time.Now().Add(-48 * time.Hour).Truncate(time.Hour)

// logged is an event and when it entered the log, in seconds after its beginning.
type logged struct {
	e  *events.Event
	at int
}

func insertLogged(t *testing.T, s *history.Store, list ...logged) {
	t.Helper()
	b := history.NewEvents()
	for _, l := range list {
		if err := b.Append(l.e, events.Encode(l.e), lately.Add(time.Duration(l.at)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	insert(t, s, &b.Block)
}

func replay(t *testing.T, s *history.Store, q report.ReplayQuery) (ids []string) {
	t.Helper()
	last := 0.0
	err := s.Replay(t.Context(), q, func(raw []byte) error {
		e, err := events.Decode(raw)
		if err != nil {
			return err
		}
		ids = append(ids, e.Source.ID)
		return nil
	}, func(done float64) {
		if done < last || done > 1 {
			t.Errorf("progress from %v to %v", last, done)
		}
		last = done
	})
	if err != nil || last != 1 {
		t.Fatalf("%v, progress %v", err, last)
	}
	return ids
}

func TestReplayIsInTheOrderOfTheLog(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	early, late, other := event("acme", "u1", 1000), event("acme", "u1", 500), event("globex", "u9", 1001)
	outside := event("acme", "u2", 90_000)
	// Of one millisecond of the log: by their own times.
	first, second := event("acme", "u3", 2000), event("acme", "u3", 2001)
	insertLogged(t, s, logged{early, 1010}, logged{second, 3000}, logged{first, 3000}, logged{other, 1020}, logged{outside, 90_010})
	insertLogged(t, s, logged{late, 5000}, logged{first, 3000}) // one comes late, another is a repeat in another part
	for name, c := range map[string]struct {
		q    report.ReplayQuery
		want []string
	}{
		"all":         {report.ReplayQuery{Scope: everything}, []string{"acme/u1/1000", "globex/u9/1001", "acme/u3/2000", "acme/u3/2001", "acme/u1/500", "acme/u2/90000"}},
		"a day":       {report.ReplayQuery{Scope: everything, Span: day}, []string{"acme/u1/1000", "globex/u9/1001", "acme/u3/2000", "acme/u3/2001", "acme/u1/500"}},
		"a tenant":    {report.ReplayQuery{Scope: everything.Narrow("globex"), Span: day}, []string{"globex/u9/1001"}},
		"no tenant":   {report.ReplayQuery{Span: day}, nil},
		"no events":   {report.ReplayQuery{Scope: everything, Span: report.Span{From: at(-100), To: at(0)}}, nil},
		"half a span": {report.ReplayQuery{Scope: everything, Span: report.Span{From: at(1001), To: at(2001)}}, []string{"globex/u9/1001", "acme/u3/2000"}},
	} {
		if diff := cmp.Diff(c.want, replay(t, s, c.q)); diff != "" {
			t.Errorf("%s: (-want, +got)\n%s", name, diff)
		}
	}
}

// TestReplayIsReadInSlices has more rows than fit one slice, which begin and end inside the span.
func TestReplayIsReadInSlices(t *testing.T) {
	t.Parallel()
	const n = 5000
	s := historytest.Open(t)
	b := history.NewEvents()
	for i := range n {
		e := event("acme", fmt.Sprintf("u%d", i*7919%100), i)
		if err := b.Append(e, events.Encode(e), lately.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	insert(t, s, &b.Block)
	history.SliceRows(s, 700)
	ids := replay(t, s, report.ReplayQuery{Scope: everything, Span: day})
	if len(ids) != n {
		t.Fatalf("%d events, want %d", len(ids), n)
	}
	for i, id := range ids {
		if want := fmt.Sprintf("acme/u%d/%d", i*7919%100, i); id != want {
			t.Fatalf("event %d is %s, want %s", i, id, want)
		}
	}
}

func TestReplayEndsWithItsContextAndItsTaker(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	var list []logged
	for i := range 100 {
		list = append(list, logged{event("acme", "u1", i), i})
	}
	insertLogged(t, s, list...)
	enough := errors.New("enough")
	q, none := report.ReplayQuery{Scope: everything}, func(float64) {}
	if err := s.Replay(t.Context(), q, func([]byte) error { return enough }, none); !errors.Is(err, enough) {
		t.Errorf("the taker's error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Replay(ctx, q, func([]byte) error { cancel(); return ctx.Err() }, none)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the context's error: %v", err)
	}
	// The connection is of use again.
	deadline, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := s.Ping(deadline); err != nil {
		t.Error(err)
	}
}

func TestOneDecisionIsFoundByItsIds(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	e := event("acme", "u1", 1000)
	insertLogged(t, s, logged{e, 1010}, logged{event("acme", "u1", 1001), 1011})
	insertLogged(t, s, logged{e, 1010})
	f, g := finding(e, "LOC-01", events.High), finding(e, "LOC-04", events.Medium)
	insertFindings(t, s, f, g)
	insertFindings(t, s, g)
	q := requirement("acme", "u1", 1000, report.Open)
	closed := *q
	closed.Status, closed.Closed = report.Satisfied, at(1100)
	insertRequirements(t, s, q, &closed)
	b := history.NewReceipts()
	receipt := events.Receipt{ID: "r1", Time: at(1050), Tenant: "acme", User: "u1", Requirement: q.ID, App: "bank", Status: events.Challenged}
	if err := b.Append(&receipt, time.Now()); err != nil {
		t.Fatal(err)
	}
	insert(t, s, &b.Block)

	ctx, now := t.Context(), at(2000)
	record, err := s.Event(ctx, everything, e.ID)
	if want := events.MillisOf(lately) + 1010*events.Second; err != nil || record.Logged != want || string(record.Raw) != string(events.Encode(e)) {
		t.Errorf("event: %v, %v %s", err, record.Logged, record.Raw)
	}
	if list, err := s.EventFindings(ctx, everything, e.ID); err != nil || len(list) != 2 {
		t.Errorf("%d findings, %v", len(list), err)
	}
	if got, err := s.Requirement(ctx, everything, q.ID, now); err != nil || got.Status != report.Satisfied || got.Closed != at(1100) {
		t.Errorf("requirement: %v, %+v", err, got)
	}
	if list, err := s.Receipts(ctx, everything, q.ID); err != nil || cmp.Diff([]events.Receipt{receipt}, list) != "" {
		t.Errorf("receipts: %v, %+v", err, list)
	}
	for name, c := range map[string]struct {
		scope report.Scope
		id    string
	}{
		"of another tenant": {report.Scope{Tenants: []string{"globex"}}, e.ID}, "unknown": {everything, events.ID("x")},
		"no id": {everything, ""}, "no hash": {everything, "' OR 1 = 1"},
	} {
		if _, err := s.Event(ctx, c.scope, c.id); !errors.Is(err, report.ErrNotFound) {
			t.Errorf("event %s: %v", name, err)
		}
		if list, err := s.EventFindings(ctx, c.scope, c.id); err != nil && !errors.Is(err, report.ErrNotFound) || len(list) != 0 {
			t.Errorf("findings %s: %v, %d", name, err, len(list))
		}
		if _, err := s.Requirement(ctx, c.scope, c.id, now); !errors.Is(err, report.ErrNotFound) {
			t.Errorf("requirement %s: %v", name, err)
		}
	}
	if _, err := s.Requirement(ctx, report.Scope{Tenants: []string{"globex"}}, q.ID, now); !errors.Is(err, report.ErrNotFound) {
		t.Errorf("another tenant's requirement: %v", err)
	}
}
