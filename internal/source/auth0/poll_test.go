package auth0_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/pull/pulltest"
	"github.com/countersign-io/countersign/internal/source/auth0"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

var (
	_ pull.Fetcher    = (*auth0.Poller)(nil)
	_ pull.Backfiller = (*auth0.Poller)(nil)
)

func TestMain(m *testing.M) {
	pulltest.Main(m, map[string]pulltest.Factory{
		"auth0": func(upstream string) (pulltest.Source, error) {
			p, err := auth0.New(config(upstream), auth0.Deps{})
			return pulltest.Source{Decoder: auth0.Logs(), Format: "auth0", Tenant: "example", Fetcher: p}, err
		},
	})
}

func config(url string) auth0.Config {
	return auth0.Config{
		Name: "auth0", Tenant: "example", TenantURL: url, ClientID: "exampleClient01", ClientSecretFile: "testdata/secret.txt", RequestsPerMinute: 1_000_000,
	}
}

// reader reads from a poller.
type reader struct {
	*upstreamtest.Reader
	poller *auth0.Poller
}

func newReader(t testing.TB, cfg auth0.Config) *reader {
	t.Helper()
	p, err := auth0.New(cfg, auth0.Deps{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	id := func(value []byte) (string, error) {
		var record struct {
			ID string `json:"log_id"`
		}
		err := json.Unmarshal(value, &record)
		return record.ID, err
	}
	return &reader{&upstreamtest.Reader{From: p.Fetch, ID: id, Interval: auth0.DefaultInterval}, p}
}

// complete fails the test unless every record came.
func (r *reader) complete(t *testing.T, entries []entry) {
	t.Helper()
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.id
	}
	r.Complete(t, ids)
}

func TestFetchSearchesOnceAndFollowsTheLinks(t *testing.T) {
	t.Parallel()
	o := newTenant(t, entriesOf(250, now))
	r := newReader(t, config(o.URL))
	r.MustFetch(t)
	r.complete(t, o.entries)
	asked := o.asked()
	if q := asked[0]; q.Get("q") != "date:[2026-03-03T09:00:00.000Z TO *]" {
		t.Errorf("the first question is %v", q)
	}
	if q := asked[1]; q.Get("from") != o.entries[0].id || q.Get("take") != "100" {
		t.Errorf("the second question is %v", q)
	}
	if len(asked) != 5 || asked[2].Get("link") == "" || o.tokensGranted() != 1 {
		t.Errorf("%d tokens, questions %q", o.tokensGranted(), asked)
	}
	before := string(r.Position)
	r.MustFetch(t)
	if asked := o.asked(); len(asked) != 6 || asked[5].Get("from") != o.entries[249].id || string(r.Position) != before {
		t.Errorf("questions %q, position %s", asked, r.Position)
	}
	empty := newReader(t, config(newTenant(t, nil).URL))
	empty.MustFetch(t)
	if empty.Pages != 0 {
		t.Errorf("%d pages of nothing", empty.Pages)
	}
}

// Records that were stored late have high ids and old times: as the first of a search, and after everything was read.
func TestLateRecordsCome(t *testing.T) {
	t.Parallel()
	entries := entriesOf(150, now.Add(-time.Minute))
	for i, late := range []time.Duration{10 * time.Minute, 6 * time.Hour} {
		entries = append(entries, entry{fmt.Sprintf("9002026030409%06d", i), now.Add(-late)})
	}
	o := newTenant(t, entries)
	r := newReader(t, config(o.URL))
	r.MustFetch(t)
	r.complete(t, entries)

	o = newTenant(t, entries)
	o.visible = 150
	r = newReader(t, config(o.URL))
	r.MustFetch(t)
	o.change(func(o *tenant) { o.visible = len(entries) })
	r.MustFetch(t)
	r.complete(t, entries)
}

func TestFaultsLoseNothing(t *testing.T) {
	t.Parallel()
	for _, fault := range []upstreamtest.Fault{
		upstreamtest.Throttled, upstreamtest.ThrottledSilently, upstreamtest.Broken, upstreamtest.Unavailable,
		upstreamtest.Truncated, upstreamtest.Short, upstreamtest.HungUp,
	} {
		o := newTenant(t, entriesOf(250, now))
		r := newReader(t, config(o.URL))
		o.Script("", "", "", fault, fault) // a token and two pages come
		for range 2 {
			_, err := r.Fetch(t.Context())
			if fault == upstreamtest.HungUp {
				continue // net/http may ask again by itself
			}
			if err == nil || r.Pages != 2 {
				t.Errorf("%s: error %v, %d pages were taken, want 2", fault, err, r.Pages)
			}
		}
		r.MustFetch(t)
		r.complete(t, o.entries)
	}
}

func TestTheLimitOfAuth0IsKept(t *testing.T) {
	t.Parallel()
	o := newTenant(t, entriesOf(3, now))
	o.reset = now.Add(7 * time.Second)
	_, err := newReader(t, config(o.URL)).Fetch(t.Context())
	wait, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err)
	if !ok || wait.RetryAfter() != 7*time.Second {
		t.Errorf("%v, want to wait 7 s", err)
	}
}

func TestLinksAndIdsThatAreNoLongerTaken(t *testing.T) {
	t.Parallel()
	for name, age := range map[string]func(o *tenant){
		"links": func(o *tenant) { o.stale = true },
		"ids":   func(o *tenant) { o.stale, o.forgotten = true, true },
	} {
		o := newTenant(t, entriesOf(50, now.Add(-time.Minute)))
		r := newReader(t, config(o.URL))
		r.MustFetch(t)
		o.change(func(o *tenant) {
			o.entries = append(o.entries, entry{"9002026030409000001", now})
			o.visible++
			age(o)
		})
		before := len(o.asked())
		if _, err := r.Fetch(t.Context()); (err == nil) != (name == "links") {
			t.Errorf("%s that are never taken: %v", name, err)
		}
		r.complete(t, o.entries)
		if name == "ids" {
			if q := o.asked()[before+2]; q.Get("q") != "date:[2026-03-04T08:49:00.000Z TO *]" {
				t.Errorf("it searches %v", q)
			}
		}
		o.change(func(o *tenant) { o.stale, o.forgotten = false, false })
		r.MustFetch(t)
	}
}

// After an absence, however long, a search goes back to the newest record, as far as Auth0 keeps any.
func TestAbsenceLongerThanTheHistory(t *testing.T) {
	t.Parallel()
	for away, from := range map[time.Duration]string{
		5 * 24 * time.Hour:  "date:[2026-02-27T08:50:00.000Z TO *]",
		90 * 24 * time.Hour: "date:[2026-02-02T09:00:00.000Z TO *]",
	} {
		last := now.Add(-away)
		o := newTenant(t, append(entriesOf(50, last), entry{"9002026030409000001", last.Add(time.Hour)}))
		if away > auth0.Retention {
			o.entries[50].date = now.Add(-29 * 24 * time.Hour)
		}
		r := newReader(t, config(o.URL))
		r.Position = fmt.Appendf(nil, `{"from":%q,"date":%q}`, o.entries[49].id, events.MillisOf(last).String())
		o.Script("", upstreamtest.Gone) // a token, and the id is no longer known
		r.MustFetch(t)
		if q := o.asked()[1].Get("q"); q != from || r.IDs["9002026030409000001"] == 0 {
			t.Errorf("away for %v: it searches %s and finds %v", away, q, r.IDs)
		}
	}
}

// Neither a record from the future nor one that is late moves where a search begins.
func TestTimesThatAreFarOff(t *testing.T) {
	t.Parallel()
	o := newTenant(t, append(entriesOf(99, now), entry{"9002026030409000001", now.Add(48 * time.Hour)}, entry{"9002026030409000002", now.Add(-6 * time.Hour)}))
	r := newReader(t, config(o.URL))
	r.MustFetch(t)
	o.Script(upstreamtest.Gone, upstreamtest.Gone) // the link, and the id
	r.MustFetch(t)
	searches := slices.DeleteFunc(o.asked(), func(q url.Values) bool { return !q.Has("q") })
	if len(searches) != 2 || searches[1].Get("q") != "date:[2026-03-04T08:50:00.000Z TO *]" {
		t.Errorf("searches %v", searches)
	}
}

func TestLinksToElsewhereAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := newTenant(t, nil)
	for name, link := range map[string]func(string) string{
		"other host":   func(string) string { return elsewhere.URL + "/api/v2/logs?from=1" },
		"other scheme": func(l string) string { return "https" + strings.TrimPrefix(l, "http") },
		"other path":   func(l string) string { return strings.Replace(l, "/logs", "/users", 1) },
		"endless":      func(l string) string { return l + "&x=" + strings.Repeat("x", 9000) },
	} {
		o := newTenant(t, entriesOf(250, now))
		o.next = link
		r := newReader(t, config(o.URL))
		r.MustFetch(t)
		r.complete(t, o.entries)
		if strings.Contains(string(r.Position), "next") {
			t.Errorf("%s: the position is %s", name, r.Position)
		}
	}
	r := newReader(t, config(newTenant(t, entriesOf(3, now)).URL))
	r.Position = []byte(`{"next":"` + elsewhere.URL + `/api/v2/logs?from=1","from":"9002026030408000000"}`)
	r.MustFetch(t)
	if asked := elsewhere.Requests(); len(asked) != 0 || len(r.IDs) != 2 {
		t.Errorf("%d records, elsewhere %q", len(r.IDs), asked)
	}
}

func TestTokensAndSecrets(t *testing.T) {
	t.Parallel()
	o := newTenant(t, entriesOf(3, now))
	cfg := config(o.URL)
	cfg.ClientSecretFile = filepath.Join(t.TempDir(), "secret")
	write := func(secret string) {
		if err := os.WriteFile(cfg.ClientSecretFile, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := auth0.New(cfg, auth0.Deps{}); err == nil || !strings.Contains(err.Error(), "client_secret_file") {
		t.Errorf("an absent file: %v", err)
	}
	write("")
	if _, err := auth0.New(cfg, auth0.Deps{}); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("an empty file: %v", err)
	}
	write("hunter2")
	r := newReader(t, cfg)
	if _, err := r.Fetch(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "access token") {
		t.Errorf("a wrong secret: %v", err)
	}
	write(o.secret)
	r.MustFetch(t)
	o.Script(upstreamtest.Expired)
	r.MustFetch(t)
	if o.tokensGranted() != 2 {
		t.Errorf("%d tokens after one expired", o.tokensGranted())
	}
	o.Script(upstreamtest.Expired, "", upstreamtest.Expired)
	if _, err := r.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("new tokens that are not taken either: %v", err)
	}
}

func TestAPageThatIsNotTakenComesAgain(t *testing.T) {
	t.Parallel()
	o := newTenant(t, entriesOf(250, now))
	r := newReader(t, config(o.URL))
	full := errors.New("the log is full")
	r.Fail = func() error {
		if r.Pages == 2 {
			return full
		}
		return nil
	}
	if _, err := r.Fetch(t.Context()); !errors.Is(err, full) {
		t.Error(err)
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
	o := newTenant(t, entriesOf(1000, now))
	r := newReader(t, config(o.URL))
	since, until := now.Add(-699*time.Second), now.Add(-400*time.Second)
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
	r.Fail = nil
	if err := fill(); err != nil {
		t.Fatal(err)
	}
	for _, e := range o.entries {
		if wanted := !e.date.Before(since) && e.date.Before(until); wanted && r.IDs[e.id] == 0 {
			t.Errorf("%s is lost", e.id)
		}
	}
	if len(r.IDs) > 500 || !slices.IsSorted(told) || told[len(told)-1] != 1 {
		t.Errorf("%d records, progress %v", len(r.IDs), told)
	}
	searches := 0
	for _, q := range o.asked() {
		if q.Has("q") {
			searches++
		}
	}
	if searches != 1 {
		t.Errorf("%d searches: it began anew", searches)
	}
}

// Whatever happens between the questions, every record is taken.
func TestEveryRecordIsTakenWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		entries := entriesOf(rapid.IntRange(0, 60).Draw(rt, "records"), now)
		o := newTenant(t, entries)
		o.page = rapid.IntRange(2, 20).Draw(rt, "page")
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
			if _, err := r.Fetch(t.Context()); err == nil && o.Left() == 0 && o.stored() == len(entries) {
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
		entries = append(entries, entry{fmt.Sprintf("9002026030409%06d", i), last.Add(-late)})
	}
	o := newTenant(t, entries)
	o.mess, o.visible, o.grow, o.page = rand.New(rand.NewPCG(1, 2)), 80, 3, 10
	for range 12 {
		o.Script("", "", upstreamtest.Truncated, "", upstreamtest.Broken, upstreamtest.Broken, "", upstreamtest.Short, "", upstreamtest.Gone,
			"", upstreamtest.HungUp, "", upstreamtest.Throttled, "", upstreamtest.ThrottledSilently, upstreamtest.Expired)
	}
	var want []string
	for _, e := range entries {
		want = append(want, events.EventID("example", auth0.Family, e.id))
	}
	pulltest.Prove(t, "auth0", o.URL, want, pulltest.Options{})
}

func TestConfigsThatAreNone(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(c *auth0.Config){
		"name: ":                func(c *auth0.Config) { c.Name = "" },
		"tenant: ":              func(c *auth0.Config) { c.Tenant = "a/b" },
		"use an address":        func(c *auth0.Config) { c.TenantURL = "example.eu.auth0.com" },
		"tenant_url: ":          func(c *auth0.Config) { c.TenantURL = "https://example.eu.auth0.com/api/v2/" },
		"use https":             func(c *auth0.Config) { c.TenantURL = "http://example.eu.auth0.com" },
		"client_id: ":           func(c *auth0.Config) { c.ClientID = "" },
		"client_secret_file: ":  func(c *auth0.Config) { c.ClientSecretFile = "" },
		"history: ":             func(c *auth0.Config) { c.History = 100 * 24 * time.Hour },
		"interval: ":            func(c *auth0.Config) { c.Interval = -1 },
		"requests_per_minute: ": func(c *auth0.Config) { c.RequestsPerMinute = -1 },
	} {
		cfg := config("https://example.eu.auth0.com")
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := auth0.New(cfg, auth0.Deps{}); err == nil {
			t.Errorf("New takes it, want %q", want)
		}
	}
}
