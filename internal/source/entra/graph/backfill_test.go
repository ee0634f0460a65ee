package graph_test

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/source/entra/graph"
	"github.com/countersign-io/countersign/internal/source/entra/graph/graphtest"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// interrupt lets some pages be taken and then fails.
func (l *log) interrupt(after int) func([][]byte, []byte) error {
	return func(records [][]byte, next []byte) error {
		if after--; after < 0 {
			return errInterrupted
		}
		return l.take(records, next)
	}
}

var errInterrupted = errors.New("interrupted")

// A backfill gives everything between two moments, however often it is interrupted, and tells how far it is.
func TestABackfillIsResumed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := graphtest.New(t, time.Now)
		api.PageSize(3)
		now := time.Now()
		var want []string
		for n := range 240 {
			at, id := now.Add(-time.Duration(n)*time.Hour-time.Minute), "id-"+strconv.Itoa(n)
			api.Add(graphtest.Record{Path: "/v1.0/auditLogs/signIns", ID: id, Created: at, Appears: at})
			if n >= 24 && n < 240-24 {
				want = append(want, id)
			}
		}
		slices.Sort(want)
		getter := &direct{handler: api}
		feed := feedsOf(t, config(graph.SignIns), graph.Deps{Getter: getter})[0]
		var l log
		last := -1.0
		progress := func(done float64) {
			if done < last || done < 0 || done > 1 {
				t.Errorf("progress from %v to %v", last, done)
			}
			last = done
		}
		since, until := now.Add(-216*time.Hour-time.Minute+time.Second), now.Add(-24*time.Hour)
		runs := 0
		for ; ; runs++ {
			err := feed.Backfill(t.Context(), since, until, l.position, l.interrupt(7), progress)
			if err == nil {
				break
			}
			if !errors.Is(err, errInterrupted) || runs > 100 {
				t.Fatal(err)
			}
			api.Expire() // whoever resumes a day later has no good link left
		}
		if diff := cmp.Diff(l.unique(), want); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
		if runs < 5 || last != 1 {
			t.Errorf("%d runs, progress ended at %v", runs, last)
		}
		if n := len(l.ids); n > 2*len(want) {
			t.Errorf("%d records were taken to get %d", n, len(want))
		}
	})
}

// The same backfill asked for later has a later end; it goes on. One that begins earlier begins anew.
func TestABackfillMayBeExtended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := graphtest.New(t, time.Now)
		now := time.Now()
		for n := range 10 {
			at := now.Add(-time.Duration(n+1) * time.Hour)
			api.Add(graphtest.Record{Path: "/v1.0/auditLogs/signIns", ID: strconv.Itoa(n), Created: at, Appears: at})
		}
		feed := feedsOf(t, config(graph.SignIns), graph.Deps{Getter: &direct{handler: api}})[0]
		var l log
		fill := func(since, until time.Duration) []string {
			l.ids = nil
			if err := feed.Backfill(t.Context(), now.Add(-since), now.Add(-until), l.position, l.take, func(float64) {}); err != nil {
				t.Fatal(err)
			}
			return l.unique()
		}
		const half = 30 * time.Minute
		for _, c := range []struct {
			since, until time.Duration
			want         []string
		}{
			{6*time.Hour + half, 3*time.Hour + half, []string{"3", "4", "5"}},
			{6*time.Hour + half, time.Hour + half, []string{"1", "2"}},
			{6*time.Hour + half, time.Hour + half, nil},
			{7*time.Hour + half, time.Hour + half, []string{"1", "2", "3", "4", "5", "6"}},
		} {
			if diff := cmp.Diff(fill(c.since, c.until), c.want); diff != "" {
				t.Errorf("from %v to %v ago (-got +want):\n%s", c.since, c.until, diff)
			}
		}
	})
}

// Graph refuses filters that begin too long ago: what it no longer has is not asked for.
func TestWhatGraphNoLongerHasIsNotAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := graphtest.New(t, time.Now)
		want := seed(api, "/v1.0/auditLogs/signIns", "", 20, time.Hour)
		getter := &direct{handler: api}
		feed := feedsOf(t, config(graph.SignIns), graph.Deps{Getter: getter})[0]
		var l log
		if err := feed.Backfill(t.Context(), time.Now().AddDate(-1, 0, 0), time.Now(), nil, l.take, func(float64) {}); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(l.unique(), want); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
		if n := len(getter.asked); n > 60 {
			t.Errorf("%d requests for a month with a day of records", n)
		}
		// The same after a long outage, in the middle of a sweep.
		l = log{}
		stop := l.interrupt(1)
		if _, err := feed.Fetch(t.Context(), nil, stop); !errors.Is(err, errInterrupted) {
			t.Fatal(err)
		}
		time.Sleep(200 * 24 * time.Hour) // of the bubble
		want = seed(api, "/v1.0/auditLogs/signIns", "", 30, time.Hour)
		l.ids = nil
		if _, err := feed.Fetch(t.Context(), l.position, l.take); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(l.unique(), want); diff != "" {
			t.Errorf("after an outage (-got +want):\n%s", diff)
		}
	})
}

// Faults end a run of a backfill, and are not lost in it.
func TestFaultsEndABackfill(t *testing.T) {
	t.Parallel()
	getter := &direct{before: func(string) error { return &upstream.Error{Status: http.StatusForbidden, Detail: "no licence"} }}
	feed := feedsOf(t, config(graph.SignIns), graph.Deps{Getter: getter})[0]
	var l log
	err := feed.Backfill(t.Context(), time.Now().Add(-time.Hour), time.Now(), nil, l.take, func(float64) {})
	if answer, ok := errors.AsType[*upstream.Error](err); !ok || answer.Status != http.StatusForbidden {
		t.Errorf("error %v", err)
	}
}
