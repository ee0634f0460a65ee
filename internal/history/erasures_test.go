package history_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/report"
)

// erase has everything deleted that is to be, and waits until it is.
func erase(t *testing.T, s *history.Store) {
	t.Helper()
	for pause := time.NewTicker(10 * time.Millisecond); ; {
		remaining, err := s.Erase(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if remaining == 0 {
			pause.Stop()
			return
		}
		select {
		case <-pause.C:
		case <-t.Context().Done():
			t.Fatalf("%d rows are still there", remaining)
		}
	}
}

func TestAnErasureDeletesOnePersonsPast(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	// No record has control characters.
	hostile := slices.DeleteFunc(slices.Clone(hostile), func(user string) bool { return strings.Contains(user, "\x00") })
	people := append([]string{"ana", "ben"}, hostile...)
	fill := func() {
		for _, tenant := range []string{"acme", "globex"} {
			for _, user := range people {
				before, after := event(tenant, user, 10), event(tenant, user, 100)
				for _, e := range []*events.Event{before, after} {
					e.Session.ID, e.Network.Prefix = "session of "+user, "192.0.2.0/24"
				}
				insertEvents(t, s, before, after)
				old, young := finding(before, "LOC-01", events.High), finding(after, "LOC-01", events.High)
				insertFindings(t, s, old, young)
				insertRequirements(t, s, requirement(tenant, user, 10, report.Open), requirement(tenant, user, 100, report.Open))
				marked := mark(old, 11, events.FalsePositive)
				insertMarks(t, s, marked)
				b := history.NewReceipts()
				r := &events.Receipt{
					ID: events.ID("receipt", tenant, user), Tenant: tenant, User: user, Time: at(11), Status: events.Challenged, App: "bank",
					Requirement: requirement(tenant, user, 10, report.Open).ID,
				}
				if err := b.Append(r, time.Now()); err != nil {
					t.Fatal(err)
				}
				insert(t, s, &b.Block)
				insertAlerts(t, s, alert(old, 12))
			}
		}
	}
	fill()
	count := func(table history.Table) uint64 {
		n, err := s.Things(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	erased := hostile[1:]
	whole := map[history.Table]uint64{}
	for _, table := range history.Personal() {
		whole[table] = count(table)
	}
	b := history.NewErasures()
	for _, user := range append([]string{"ana"}, erased...) {
		if err := b.Append(events.NewErasure("acme", user, at(50)), time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	insert(t, s, &b.Block)
	erase(t, s)
	gone := uint64(1 + len(erased)) // of each table one row a person is of before
	for table, n := range whole {
		if got := count(table); got != n-gone {
			t.Errorf("%s has %d rows of %d, want %d less", table, got, n, gone)
		}
	}
	for _, user := range people {
		timeline, err := s.Timeline(t.Context(), report.TimelineQuery{
			Scope: report.Scope{All: true}, Tenant: "acme", User: user, Span: report.Span{From: at(0), To: at(1000)}, Now: at(1000), Limit: 100,
		})
		if err != nil {
			t.Fatal(err)
		}
		past := 0
		for _, e := range timeline.Entries {
			if e.Time < at(50) {
				past++
			}
		}
		if want := user == "ben" || user == hostile[0]; (past > 0) != want {
			t.Errorf("the timeline of %q has %d entries of before, want any: %v", user, past, want)
		}
	}

	// A log that is read anew brings the rows back, until the next look.
	fill()
	list, err := s.Erasures(t.Context(), report.Scope{Tenants: []string{"acme"}})
	if err != nil || len(list) != int(gone) || list[0].Remaining == 0 || list[0].Before != at(50) {
		t.Fatalf("after the rows came back the erasures are %+v, %v", list, err)
	}
	erase(t, s)
	if list, err = s.Erasures(t.Context(), report.Scope{Tenants: []string{"acme"}}); err != nil || list[0].Remaining != 0 {
		t.Errorf("after the second look the erasures are %+v, %v", list, err)
	}
	if list, err := s.Erasures(t.Context(), report.Scope{Tenants: []string{"globex"}}); err != nil || len(list) != 0 {
		t.Errorf("globex sees the erasures %+v, %v", list, err)
	}
}

// A source's clock may be ahead: what was on the log before an erasure goes, and what came behind it stays.
func TestAnErasureReachesWhatIsAheadOfTime(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	accepted := time.Now().Add(-time.Hour)
	for i, logged := range []time.Time{accepted.Add(-time.Second), accepted.Add(time.Second)} {
		e := event("acme", "ana", 60+i)
		b, f := history.NewEvents(), history.NewFindings()
		if err := errors.Join(b.Append(e, events.Encode(e), logged), f.Append(finding(e, "LOC-01", events.High), []byte("{}"), logged)); err != nil {
			t.Fatal(err)
		}
		insert(t, s, &b.Block)
		insert(t, s, &f.Block)
	}
	b := history.NewErasures()
	if err := b.Append(events.NewErasure("acme", "ana", at(50)), accepted); err != nil {
		t.Fatal(err)
	}
	insert(t, s, &b.Block)
	erase(t, s)
	for _, table := range []string{"events", "findings"} {
		if left, err := s.Text(t.Context(), "SELECT arrayStringConcat(groupArray(toString(toUnixTimestamp64Milli(time))), ' ') FROM ${database}."+table); err != nil || left != fmt.Sprint(int64(at(61))) {
			t.Errorf("of %s %q is left, %v: want what entered the log after the erasure", table, left, err)
		}
	}
}

// An incident of many users names some of them in what people are sent, and not in the history.
func TestIncidentsOfManyNameNobody(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	i := alert(finding(event("acme", "ana", 1), "LOC-01", events.High), 10)
	i.Kind, i.User, i.UserName, i.Sample = incident.Network, "", "", []string{"Ana of acme", "ben"}
	insertAlerts(t, s, i)
	if named, err := s.Text(t.Context(), "SELECT toString(countIf(raw LIKE '%Ana%' OR raw LIKE '%ben%')) FROM ${database}.alerts"); err != nil || named != "0" {
		t.Errorf("%s incidents of many name users, %v", named, err)
	}
	if len(i.Sample) != 2 {
		t.Error("the incident itself lost its users")
	}
}

// A table with a user's rows is either one that an erasure reaches or one that is meant to keep them.
func TestEveryTableOfPersonsIsErased(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	text, err := s.Text(t.Context(), `SELECT arrayStringConcat(arraySort(groupUniqArray(table)), ',') FROM system.columns
WHERE database = '${database}' AND name = 'user_id' AND table IN (SELECT name FROM system.tables WHERE database = '${database}' AND engine LIKE '%MergeTree')`)
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{"audit": true, "erasures": true}
	for _, table := range history.Personal() {
		reached[string(table)] = true
	}
	for table := range strings.SplitSeq(text, ",") {
		if !reached[table] {
			t.Errorf("the table %s holds users and is in no list of what an erasure reaches: add it to `personal`", table)
		}
	}
}
