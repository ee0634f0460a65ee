package okta_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/pull/pulltest"
	"github.com/countersign-io/countersign/internal/source/okta"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

var (
	_ pull.Fetcher    = (*okta.Poller)(nil)
	_ pull.Backfiller = (*okta.Poller)(nil)
)

func TestMain(m *testing.M) {
	pulltest.Main(m, map[string]pulltest.Factory{
		"okta": func(upstream string) (pulltest.Source, error) {
			p, err := okta.New(config(upstream), okta.Deps{})
			return pulltest.Source{Decoder: okta.SystemLog(), Format: "okta", Tenant: "example", Fetcher: p}, err
		},
	})
}

func config(url string) okta.Config {
	return okta.Config{Name: "okta", Tenant: "example", OrgURL: url, TokenFile: "testdata/token.txt", RequestsPerMinute: 1_000_000}
}

// reader reads from a poller.
type reader struct {
	*upstreamtest.Reader
	poller *okta.Poller
}

func newReader(t testing.TB, cfg okta.Config) *reader {
	t.Helper()
	p, err := okta.New(cfg, okta.Deps{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	id := func(value []byte) (string, error) {
		var record struct{ UUID string }
		err := json.Unmarshal(value, &record)
		return record.UUID, err
	}
	return &reader{&upstreamtest.Reader{From: p.Fetch, ID: id, Interval: okta.DefaultInterval}, p}
}

// complete fails the test unless every record came.
func (r *reader) complete(t *testing.T, entries []entry) {
	t.Helper()
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.uuid
	}
	r.Complete(t, ids)
}

func TestFetchFollowsTheLinks(t *testing.T) {
	t.Parallel()
	o := newOrg(t, entriesOf(25, now))
	cfg := config(o.URL)
	cfg.Filter = `eventType sw "user."`
	r := newReader(t, cfg)
	r.MustFetch(t)
	r.complete(t, o.entries)
	for id, n := range r.IDs {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
	asked := o.asked()
	if r.Pages != 3 || len(asked) != 4 {
		t.Fatalf("%d pages, questions %q", r.Pages, asked)
	}
	if q := asked[0]; q.Get("since") != "2026-03-03T09:00:00.000Z" || q.Get("limit") != "1000" || q.Get("filter") != cfg.Filter || q.Has("until") {
		t.Errorf("the first question is %v", q)
	}
	// Nothing new: one question, and the position stays.
	before := string(r.Position)
	r.MustFetch(t)
	if asked := o.asked(); len(asked) != 5 || asked[4].Get("after") != "25" || string(r.Position) != before {
		t.Errorf("questions %q, position %s", asked, r.Position)
	}
}

// Records that Okta stored late are older than what was read already.
func TestT8_LateRecordsCome(t *testing.T) {
	t.Parallel()
	entries := entriesOf(12, now.Add(-time.Minute))
	for i, late := range []time.Duration{10 * time.Minute, 6 * time.Hour, 30 * time.Hour} {
		entries = append(entries, entry{"late-" + strconv.Itoa(i), now.Add(-late), now.Add(time.Duration(i) * time.Second)})
	}
	o := newOrg(t, entries)
	o.visible = 12
	r := newReader(t, config(o.URL))
	r.MustFetch(t)
	o.change(func(o *org) { o.visible = len(entries) })
	r.MustFetch(t)
	r.complete(t, entries)

	// Also when the link is no longer taken: the question goes by the time of storing, which is later than all times that
	// were read.
	o = newOrg(t, entries)
	o.visible = 12
	r = newReader(t, config(o.URL))
	r.MustFetch(t)
	o.change(func(o *org) { o.visible, o.staleLinks = len(entries), http.StatusGone })
	if _, err := r.Fetch(t.Context()); err == nil {
		t.Error("links that are never taken are no error")
	}
	o.change(func(o *org) { o.staleLinks = 0 })
	r.MustFetch(t)
	r.complete(t, entries)
}

func TestFaultsLoseNothing(t *testing.T) {
	t.Parallel()
	for _, fault := range []upstreamtest.Fault{
		upstreamtest.Throttled, upstreamtest.ThrottledSilently, upstreamtest.Broken, upstreamtest.Unavailable,
		upstreamtest.Truncated, upstreamtest.Short, upstreamtest.HungUp,
	} {
		o := newOrg(t, entriesOf(25, now))
		r := newReader(t, config(o.URL))
		o.Script("", fault, fault) // the first page comes
		for range 2 {
			_, err := r.Fetch(t.Context())
			if fault == upstreamtest.HungUp {
				continue // net/http may ask again by itself
			}
			if err == nil || r.Pages != 1 {
				t.Errorf("%s: error %v, %d pages were taken, want 1", fault, err, r.Pages)
			}
		}
		r.MustFetch(t)
		r.complete(t, o.entries)
	}
}

// Okta says in which second it wants to be asked again, on its own clock.
func TestTheLimitOfOktaIsKept(t *testing.T) {
	t.Parallel()
	o := newOrg(t, entriesOf(3, now))
	r := newReader(t, config(o.URL))
	o.reset = now.Add(42 * time.Second)
	_, err := r.Fetch(t.Context())
	wait, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err)
	if !ok || wait.RetryAfter() != 42*time.Second {
		t.Errorf("%v, want to wait 42 s", err)
	}
	o.change(func(o *org) { o.reset = now.Add(-time.Minute) })
	if _, err = r.Fetch(t.Context()); !errors.As(err, &wait) || wait.RetryAfter() != time.Second {
		t.Errorf("%v, want to wait 1 s", err)
	}
}

func TestLinksThatAreNoLongerTaken(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusNotFound, http.StatusGone} {
		o := newOrg(t, entriesOf(1200, now))
		o.page = 500
		r := newReader(t, config(o.URL))
		r.MustFetch(t)
		o.change(func(o *org) {
			o.entries = append(o.entries, entry{"new", now, now.Add(time.Minute)})
			o.visible++
			o.staleLinks, o.page = status, 1000
		})
		pages := r.Pages
		_, err := r.Fetch(t.Context())
		asked := o.asked()
		// Ten minutes before the last record, and not a day.
		if q := asked[len(asked)-2]; q.Get("since") != "2026-03-04T08:50:00.000Z" || q.Has("after") {
			t.Errorf("%d: asked %v, %v", status, q, err)
		}
		r.complete(t, o.entries)
		if r.Pages <= pages {
			t.Errorf("%d: nothing came", status)
		}
	}
}

// Neither a record from the future nor one that is late moves where a question without a link begins.
func TestTimesThatAreFarOff(t *testing.T) {
	t.Parallel()
	o := newOrg(t, append(entriesOf(12, now), entry{"future", now.Add(48 * time.Hour), now}, entry{"late", now.Add(-6 * time.Hour), now}))
	o.page = 13 // the late one has a page of its own
	r := newReader(t, config(o.URL))
	r.MustFetch(t)
	o.Script(upstreamtest.Gone)
	r.MustFetch(t)
	asked := o.asked()
	if q := asked[len(asked)-3]; q.Get("since") != "2026-03-04T08:50:00.000Z" {
		t.Errorf("asked %v", asked)
	}
}

// The next page's address comes out of an answer: the token goes to no other place, and records go on to come.
func TestLinksToElsewhereAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := newOrg(t, nil)
	for name, link := range map[string]func(string) string{
		"other host":   func(string) string { return elsewhere.URL + "/api/v1/logs?after=1" },
		"other scheme": func(l string) string { return "https" + strings.TrimPrefix(l, "http") },
		"other path":   func(l string) string { return strings.Replace(l, "/api/v1/logs", "/api/v1/users", 1) },
		"none":         func(string) string { return "" },
		"endless":      func(l string) string { return l + "&x=" + strings.Repeat("x", 9000) },
	} {
		o := newOrg(t, entriesOf(8, now))
		o.next = link
		r := newReader(t, config(o.URL))
		if _, err := r.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be followed") {
			t.Errorf("%s: %v", name, err)
		}
		r.complete(t, o.entries)
	}
	if asked := elsewhere.Requests(); len(asked) != 0 {
		t.Errorf("another host was asked: %q", asked)
	}
	// Nor one that an older configuration kept.
	r := newReader(t, config(newOrg(t, entriesOf(3, now)).URL))
	r.Position = []byte(`{"next":"` + elsewhere.URL + `/api/v1/logs?after=1","published":"2026-03-04T08:59:00.000Z"}`)
	r.MustFetch(t)
	if len(r.IDs) != 3 || len(elsewhere.Requests()) != 0 {
		t.Errorf("%d records, elsewhere %q", len(r.IDs), elsewhere.Requests())
	}
}

func TestAnotherFilterIsUsedAtOnce(t *testing.T) {
	t.Parallel()
	o := newOrg(t, entriesOf(3, now))
	r := newReader(t, config(o.URL))
	r.MustFetch(t)
	cfg := config(o.URL)
	cfg.Filter = `eventType eq "user.session.start"`
	other := newReader(t, cfg)
	other.Position = r.Position
	other.MustFetch(t)
	if q := o.asked()[2]; q.Get("filter") != cfg.Filter || q.Has("after") || q.Get("since") != "2026-03-04T08:50:00.000Z" {
		t.Errorf("asked %v", q)
	}
}

func TestAPageThatIsNotTakenComesAgain(t *testing.T) {
	t.Parallel()
	o := newOrg(t, entriesOf(25, now))
	r := newReader(t, config(o.URL))
	full := errors.New("the log is full")
	r.Fail = func() error {
		if r.Pages == 1 {
			return full
		}
		return nil
	}
	if _, err := r.Fetch(t.Context()); !errors.Is(err, full) || len(r.IDs) != 10 {
		t.Errorf("%v after %d records", err, len(r.IDs))
	}
	r.Fail = nil
	r.MustFetch(t)
	r.complete(t, o.entries)
	if _, err := r.poller.Fetch(t.Context(), []byte(`{"next":`), r.Take); err == nil {
		t.Error("a broken position is no error")
	}
}

func TestBackfillEndsAndResumes(t *testing.T) {
	t.Parallel()
	entries := entriesOf(60, now)
	entries = append(entries, entry{"late", now.Add(-30 * time.Second), now.Add(time.Hour)})
	o := newOrg(t, entries)
	r := newReader(t, config(o.URL))
	since, until := now.Add(-41*time.Second), now.Add(-time.Second)
	var told []float64
	fill := func() error {
		return r.poller.Backfill(t.Context(), since, until, r.Position, r.Take, func(done float64) { told = append(told, done) })
	}
	interrupted := errors.New("interrupted")
	r.Fail = func() error {
		if r.Pages == 2 {
			return interrupted
		}
		return nil
	}
	if err := fill(); !errors.Is(err, interrupted) {
		t.Fatal(err)
	}
	before := len(o.asked())
	r.Fail = nil
	o.Script("", upstreamtest.Broken)
	if err := fill(); err == nil {
		t.Error("a broken page is no error")
	}
	o.Script(upstreamtest.Gone) // the link of the position
	if err := fill(); err != nil {
		t.Fatal(err)
	}
	r.complete(t, append(slices.Clone(entries[18:58]), entries[60]))
	if !slices.IsSorted(told) || told[len(told)-1] < 0.95 || told[len(told)-1] > 1 {
		t.Errorf("progress %v", told)
	}
	if q := o.asked()[before]; q.Get("after") != "20" {
		t.Errorf("it went on with %v", q)
	}
	// A time without records has an end, too.
	empty := newReader(t, config(o.URL))
	if err := empty.poller.Backfill(t.Context(), now.Add(-time.Hour*48), now.Add(-time.Hour*47), nil, empty.Take, func(float64) {}); err != nil || empty.Pages != 0 {
		t.Errorf("%d pages, %v", empty.Pages, err)
	}
}

// Whatever happens between the questions, every record is taken.
func TestEveryRecordIsTakenWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		entries := entriesOf(rapid.IntRange(0, 60).Draw(rt, "records"), now)
		o := newOrg(t, entries)
		o.page = rapid.IntRange(1, 20).Draw(rt, "page")
		o.visible, o.grow = 0, rapid.IntRange(1, 20).Draw(rt, "grow")
		seed := rapid.Uint64().Draw(rt, "seed")
		o.mess = rand.New(rand.NewPCG(seed, 0))
		faults := []upstreamtest.Fault{
			"", "", "", upstreamtest.Throttled, upstreamtest.Broken, upstreamtest.Truncated, upstreamtest.Short,
			upstreamtest.HungUp, upstreamtest.Gone, upstreamtest.Expired,
		}
		o.Script(rapid.SliceOfN(rapid.SampledFrom(faults), 0, 20).Draw(rt, "script")...)
		chance := rand.New(rand.NewPCG(seed, 1))
		r := newReader(t, config(o.URL))
		r.Fail = func() error {
			if chance.IntN(4) == 0 {
				return errors.New("killed")
			}
			return nil
		}
		for range 300 {
			_, err := r.Fetch(t.Context())
			if err == nil && o.Left() == 0 && o.stored() == len(entries) {
				break
			}
		}
		r.Fail = nil
		r.MustFetch(t)
		if len(r.IDs) != len(entries) {
			rt.Errorf("%d records of %d", len(r.IDs), len(entries))
		}
	})
}

// Kill -9 between page and acknowledgement, faults, repeats, disorder and late records: all is on the log exactly once.
func TestNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	last := time.Now().Add(-time.Minute)
	entries := entriesOf(200, last)
	for i, late := range []time.Duration{10 * time.Minute, 6 * time.Hour} {
		entries = append(entries, entry{"late-" + strconv.Itoa(i), last.Add(-late), last.Add(time.Duration(i+3) * time.Second)})
	}
	o := newOrg(t, entries)
	o.mess, o.visible, o.grow = rand.New(rand.NewPCG(1, 2)), 80, 3
	for range 12 {
		o.Script("", "", upstreamtest.Truncated, "", upstreamtest.Broken, upstreamtest.Broken, "", upstreamtest.Short, "", upstreamtest.Gone,
			"", upstreamtest.HungUp, "", upstreamtest.Throttled, "", upstreamtest.ThrottledSilently, upstreamtest.Expired)
	}
	var want []string
	for _, e := range entries {
		want = append(want, events.EventID("example", okta.Family, e.uuid))
	}
	pulltest.Prove(t, "okta", o.URL, want, pulltest.Options{})
}
