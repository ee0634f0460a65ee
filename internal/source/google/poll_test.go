package google_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/google"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

// clock is set by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

func newClock() *clock { return &clock{time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)} }

// log is what a poller has handed over, and the position after it.
type log struct {
	t        *testing.T
	ids      map[string]int
	position []byte
	largest  int
	pages    int
	// fail, when set, decides that a page is not taken.
	fail func() bool
}

func newLog(t *testing.T) *log { return &log{t: t, ids: map[string]int{}} }

var errNotTaken = errors.New("the log is away")

func (l *log) take(values [][]byte, next []byte) error {
	if l.fail != nil && l.fail() {
		return errNotTaken
	}
	l.pages++
	for _, v := range values {
		for _, e := range all(l.t, string(v)) {
			l.ids[e.Source.ID]++
		}
	}
	l.position = slices.Clone(next)
	l.largest = max(l.largest, len(next))
	return nil
}

// want fails the test unless exactly these are on the log, however often.
func (l *log) want(ids []string) {
	l.t.Helper()
	if diff := cmp.Diff(slices.Sorted(slices.Values(ids)), slices.Sorted(maps.Keys(l.ids))); diff != "" {
		l.t.Errorf("(-want +got)\n%s", diff)
	}
	if l.largest > 64<<10 {
		l.t.Errorf("a position of %d bytes", l.largest)
	}
}

func poller(t *testing.T, cfg google.Config, now func() time.Time) *google.Poller {
	t.Helper()
	p, err := google.New(cfg, google.Deps{Now: now, Requests: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// drain fetches until there is no error, as whoever runs a source does: with a new poller and the last position after
// each. It returns the errors on the way.
func drain(t *testing.T, cfg google.Config, now func() time.Time, l *log) (failures []error) {
	t.Helper()
	p := poller(t, cfg, now)
	for range 1000 {
		wait, err := p.Fetch(t.Context(), l.position, l.take)
		if err == nil {
			if wait < time.Second || wait > time.Minute {
				t.Errorf("the next call is to be in %v", wait)
			}
			return failures
		}
		failures = append(failures, err)
		p = poller(t, cfg, now)
	}
	t.Fatalf("still failing: %v", failures[len(failures)-1])
	return nil
}

// fillReports gives the API n activities of the last hours, of every kind that is asked for.
func fillReports(r *reports, n int, end time.Time, over time.Duration) []string {
	var want []string
	for i := range n {
		at := end.Add(-over * time.Duration(i) / time.Duration(n)).Add(-time.Second)
		switch i % 4 {
		case 0, 1:
			want = append(want, r.add("login", "login_success", at, 0))
		case 2:
			want = append(want, r.add("token", "authorize", at, 0))
		case 3:
			want = append(want, r.add("token", "revoke", at, 0))
		}
		r.add("token", "activity", at, 0) // which is not asked for
	}
	return want
}

func TestEverythingIsReadWhateverGoesWrong(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	want := fillReports(r, 200, c.at, 23*time.Hour)
	r.disorder = mathrand.New(mathrand.NewPCG(1, 2))
	var script []upstreamtest.Fault
	for range 4 {
		script = append(script, "", upstreamtest.Throttled, upstreamtest.ThrottledSilently, "", upstreamtest.Broken, upstreamtest.Broken, upstreamtest.Unavailable,
			upstreamtest.Truncated, "", upstreamtest.Short, upstreamtest.HungUp, upstreamtest.Expired, "", upstreamtest.Gone)
	}
	r.Script(script...)
	l := newLog(t)
	random := mathrand.New(mathrand.NewPCG(3, 4))
	l.fail = func() bool { return random.IntN(10) == 0 }
	failures := drain(t, cfg, c.now, l)
	l.want(want)
	if len(failures) < 20 || r.Left() != 0 {
		t.Errorf("%d errors, %d faults left", len(failures), r.Left())
	}
	for _, err := range failures {
		if strings.Contains(err.Error(), "token-") || strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("an error that tells a secret: %v", err)
		}
	}
}

func TestOldestComesFirst(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	cfg.Applications, r.pageSize = []string{"login"}, 1000
	fillReports(r, 100, c.at, 23*time.Hour)
	last := events.Millis(0)
	_, err := poller(t, cfg, c.now).Fetch(t.Context(), nil, func(values [][]byte, _ []byte) error {
		for _, v := range values {
			e := all(t, string(v))[0]
			if e.Time < last {
				t.Errorf("%v after %v", e.Time, last)
			}
			last = e.Time
		}
		return nil
	})
	if err != nil || last == 0 {
		t.Error(last, err)
	}
}

// T8: Google's records appear late, under the time at which things happened.
func TestT8_LateRecordsAreFound(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	want := fillReports(r, 8, c.at, time.Hour)
	l := newLog(t)
	drain(t, cfg, c.now, l)
	l.want(want)

	lateness := []time.Duration{0, 10 * time.Minute, 14 * time.Minute, 2 * time.Hour, 6 * time.Hour, 23 * time.Hour, 71 * time.Hour}
	found := map[string]time.Duration{}
	due := map[string]time.Duration{}
	for _, late := range lateness {
		for _, kind := range [][2]string{{"login", "login_failure"}, {"token", "authorize"}} {
			id := r.add(kind[0], kind[1], c.at.Add(30*time.Second), late)
			want = append(want, id)
			// How long after it appeared it may take: the period of the look that goes back so far, and one of ours.
			switch {
			case late <= 15*time.Minute:
				due[id] = late + 2*time.Minute
			case late <= 3*time.Hour:
				due[id] = late + 11*time.Minute
			case late <= 24*time.Hour:
				due[id] = late + 3*time.Hour + time.Minute
			default:
				due[id] = late + 24*time.Hour + time.Minute
			}
		}
	}
	p := poller(t, cfg, c.now)
	for passed := time.Duration(0); passed < 100*time.Hour; passed += time.Minute {
		if passed%(7*time.Hour) == 0 {
			r.Script(upstreamtest.Broken, upstreamtest.Short)
		}
		c.advance(time.Minute)
		if _, err := p.Fetch(t.Context(), l.position, l.take); err != nil {
			drain(t, cfg, c.now, l)
		}
		for id := range l.ids {
			if _, known := found[id]; !known {
				found[id] = passed
			}
		}
	}
	l.want(want)
	for id, limit := range due {
		if found[id] > limit {
			t.Errorf("%s was found after %v, want at most %v", id, found[id], limit)
		}
	}
}

// What happened while nobody asked is asked for afterwards.
func TestOutagesAreMadeUpFor(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	l := newLog(t)
	drain(t, cfg, c.now, l)
	c.advance(5 * 24 * time.Hour)
	want := fillReports(r, 60, c.at, 5*24*time.Hour-time.Minute)
	r.Script("", "", upstreamtest.Broken, "", upstreamtest.HungUp)
	drain(t, cfg, c.now, l)
	l.want(want)

	// A clock that was put back asks for no future, and forgets nothing.
	c.advance(-4 * 24 * time.Hour)
	want = append(want, r.add("login", "login_failure", c.at.Add(-5*time.Minute), 0))
	drain(t, cfg, c.now, l)
	l.want(want)
	c.advance(5 * 24 * time.Hour)
	want = append(want, r.add("login", "login_failure", c.at.Add(-30*time.Minute), 0))
	drain(t, cfg, c.now, l)
	l.want(want)
}

func TestRefusedPageTokensRestartTheWindow(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	cfg.Applications, r.pageSize = []string{"login"}, 2
	var want []string
	for i := range 60 {
		want = append(want, r.add("login", "login_success", c.at.Add(-time.Duration(i)*20*time.Minute), 0))
	}
	l := newLog(t)
	pages := 0
	l.fail = func() bool {
		if pages++; pages%13 == 0 {
			r.forgetPages()
		}
		return pages%11 == 0 // and now and then the position of before is all there is
	}
	drain(t, cfg, c.now, l)
	l.want(want)
	windows := map[string]bool{}
	for _, request := range r.Requests() {
		if _, query, ok := strings.Cut(request, "endTime="); ok {
			windows[strings.SplitN(query, "&", 2)[0]] = true
		}
	}
	if len(windows) != 4 {
		t.Errorf("%d windows were asked for, want the 4 of a day: %q", len(windows), slices.Sorted(maps.Keys(windows)))
	}

	// A token that is refused every time is an error, not a loop.
	r.mu.Lock()
	r.answer = func(w http.ResponseWriter) bool {
		r.generation++
		return false
	}
	r.mu.Unlock()
	before := len(r.Requests())
	if _, err := poller(t, cfg, c.now).Fetch(t.Context(), nil, newLog(t).take); err == nil || !strings.Contains(err.Error(), "Invalid page token") {
		t.Errorf("%v", err)
	}
	if n := len(r.Requests()) - before; n > 10 {
		t.Errorf("%d requests", n)
	}
}

func TestBrokenAnswersMoveNothing(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	for name, body := range map[string]string{
		"nothing": "", "null": "null", "empty object": "{}", "array": "[]", "html": "<html>", "other kind": `{"kind":"admin#reports#usage"}`,
		"cut": `{"kind":"admin#reports#activities","items":[{"id"`, "two": `{"kind":"admin#reports#activities"}{}`,
		"long token": `{"kind":"admin#reports#activities","nextPageToken":"` + strings.Repeat("x", 3000) + `"}`,
		"no list":    `{"kind":"admin#reports#activities","items":5}`,
	} {
		r.answer = func(w http.ResponseWriter) bool { _, _ = w.Write([]byte(body)); return true }
		l := newLog(t)
		if _, err := poller(t, cfg, c.now).Fetch(t.Context(), nil, l.take); err == nil || l.pages != 0 {
			t.Errorf("%s: error %v, %d pages taken", name, err, l.pages)
		}
	}
	r.answer = func(w http.ResponseWriter) bool {
		_, _ = w.Write([]byte(`{"kind":"admin#reports#activities","nextPageToken":"again"}`))
		return true
	}
	if _, err := poller(t, cfg, c.now).Fetch(t.Context(), nil, newLog(t).take); err == nil || !strings.Contains(err.Error(), "this one again") {
		t.Errorf("a page that leads to itself: %v", err)
	}
	if _, err := poller(t, cfg, c.now).Fetch(t.Context(), []byte(`{"streams":5}`), newLog(t).take); err == nil || !strings.Contains(err.Error(), "position") {
		t.Errorf("a broken position: %v", err)
	}
}

func TestPositionsStaySmall(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	cfg.Applications = []string{"login", "token", "user_accounts", "saml"}
	pages := 0
	r.answer = func(w http.ResponseWriter) bool {
		pages++
		_, _ = fmt.Fprintf(w, `{"kind":"admin#reports#activities","nextPageToken":"%d%s"}`, pages, strings.Repeat("x", 2000))
		return true
	}
	l := newLog(t)
	l.fail = func() bool { return l.pages > 10 }
	if _, err := poller(t, cfg, c.now).Fetch(t.Context(), nil, l.take); !errors.Is(err, errNotTaken) {
		t.Error(err)
	}
	if l.largest > 64<<10 || l.largest < 2000 {
		t.Errorf("a position of %d bytes", l.largest)
	}
}

func TestBackfillGoesOnWhereItWasInterrupted(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	since, until := c.at.Add(-60*24*time.Hour), c.at.Add(-2*24*time.Hour)
	want := fillReports(r, 300, until, until.Sub(since)-time.Hour)
	r.add("login", "login_success", since.Add(-time.Hour), 0)
	r.add("login", "login_success", until.Add(time.Hour), 0)
	l := newLog(t)
	random := mathrand.New(mathrand.NewPCG(5, 6))
	l.fail = func() bool { return random.IntN(40) == 0 }
	last, interruptions := 0.0, 0
	for {
		first := true
		err := poller(t, cfg, c.now).Backfill(t.Context(), since, until, l.position, l.take, func(done float64) {
			if !first && done < last || done < 0 || done > 1 {
				t.Errorf("progress from %v to %v", last, done)
			}
			first, last = false, done
		})
		if err == nil {
			break
		}
		if interruptions++; interruptions%3 == 0 {
			r.forgetPages()
			r.Script(upstreamtest.Truncated, upstreamtest.Expired)
		}
	}
	l.want(want)
	if last != 1 || interruptions < 10 {
		t.Errorf("progress %v, %d interruptions", last, interruptions)
	}
	repeats := -len(l.ids)
	for _, n := range l.ids {
		repeats += n
	}
	if repeats > 5*interruptions*r.pageSize {
		t.Errorf("%d repeats for %d interruptions: it begins again too early", repeats, interruptions)
	}
	p := poller(t, cfg, c.now)
	if err := p.Backfill(t.Context(), c.at.Add(-181*24*time.Hour), until, nil, l.take, func(float64) {}); err == nil || !strings.Contains(err.Error(), "keeps nothing") {
		t.Errorf("%v", err)
	}
	if err := p.Backfill(t.Context(), until, since, nil, l.take, func(float64) {}); err == nil {
		t.Error("an end before its beginning is no error")
	}
}

func TestStreamsThatComeAndGo(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	want := fillReports(r, 20, c.at, 10*time.Hour)
	cfg.Applications = []string{"login"}
	l := newLog(t)
	drain(t, cfg, c.now, l)
	cfg.Applications = []string{"login", "token", "user_accounts"}
	want = append(want, r.add("user_accounts", "password_edit", c.at.Add(-time.Hour), 0))
	c.advance(time.Minute)
	drain(t, cfg, c.now, l)
	l.want(want)
	if cfg.Applications = []string{"saml"}; len(drain(t, cfg, c.now, l)) != 0 || strings.Contains(string(l.position), "login") {
		t.Errorf("position %s", l.position)
	}
}

func TestCancelEndsAFetch(t *testing.T) {
	t.Parallel()
	c := newClock()
	_, cfg := newReports(t, c.now)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := poller(t, cfg, c.now).Fetch(ctx, nil, func([][]byte, []byte) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
