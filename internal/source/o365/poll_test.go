package o365_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/pull/pulltest"
	"github.com/countersign-io/countersign/internal/source/o365"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

var (
	_ pull.Fetcher    = (*o365.Poller)(nil)
	_ pull.Backfiller = (*o365.Poller)(nil)
)

func TestMain(m *testing.M) {
	pulltest.Main(m, map[string]pulltest.Factory{"o365": provable})
}

// provable asks a feed by its clock; both addresses and the file of the secret are in one text.
func provable(addresses string) (pulltest.Source, error) {
	parts := strings.Split(addresses, " ")
	poller, err := o365.New(o365.Config{
		Name: "o365", Tenant: tenant, ClientID: "countersign", SecretFile: parts[2], BaseURL: parts[0], AuthorityURL: parts[0], History: 48 * time.Hour,
	}, o365.Deps{Now: func() time.Time {
		res, err := http.Get(parts[1])
		if err != nil {
			panic(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			panic(err)
		}
		now, err := time.Parse(time.RFC3339, string(text))
		if err != nil {
			panic(err)
		}
		return now
	}})
	return pulltest.Source{Decoder: o365.Audit(), Format: "o365", Tenant: tenant, Fetcher: poller}, err
}

// Kills, every fault, repeated and reordered and refused pages, contents that appear late by up to a day, and one that is
// gone: every record is on the log once.
func TestNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	begin := time.Now().Add(-5 * 24 * time.Hour).UTC().Truncate(time.Second)
	lateness := []time.Duration{0, 0, 10 * time.Minute, 0, 6 * time.Hour, 0, 23 * time.Hour}
	f := newFeed(t, begin)
	var want []string
	for n := range 60 {
		created := begin.Add(time.Duration(n-30) * 40 * time.Minute)
		b := blob{id: fmt.Sprintf("%d$%d$aad", n, n), created: created, listed: created.Add(lateness[n%len(lateness)])}
		for k := range 1 + n%4 {
			id := fmt.Sprintf("record-%d-%d", n, k)
			b.records = append(b.records, record(id, created.Add(-time.Duration(k)*time.Minute)))
			want = append(want, events.EventID(tenant, o365.Family, id))
		}
		if n%10 == 5 { // a record comes in another content once more
			b.records = append(b.records, record(fmt.Sprintf("record-%d-0", n-1), created.Add(-40*time.Minute)))
		}
		f.blobs = append(f.blobs, b)
	}
	f.blobs = append(f.blobs, blob{id: "gone", created: begin, listed: begin, gone: "AF20051"})
	f.advance, f.change = 20*time.Minute, 7
	for range 6 {
		f.server.Script("", "", upstreamtest.Throttled, "", "", upstreamtest.ThrottledSilently, "", upstreamtest.Broken, upstreamtest.Broken,
			upstreamtest.Unavailable, "", "", "", upstreamtest.Truncated, "", "", upstreamtest.Short, "", upstreamtest.Expired, "", "", upstreamtest.HungUp, "", upstreamtest.Gone)
	}
	cfg := f.config(t)
	pulltest.Prove(t, "o365", f.server.URL+" "+f.clock.URL+" "+cfg.SecretFile, want, pulltest.Options{Letters: 1})
}

func TestFetchGoesOnFromItsPosition(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	f := newFeed(t, now)
	for n := range 8 {
		at := now.Add(-time.Duration(n) * 5 * time.Hour).Add(-time.Minute)
		f.blobs = append(f.blobs, blob{id: fmt.Sprint(n), created: at, listed: at, records: []string{record(fmt.Sprint("r", n), at)}})
	}
	var c taken
	wait, err := f.poller(t).Fetch(t.Context(), nil, c.take)
	if err != nil || wait <= 0 || len(c.values) != 8 {
		t.Fatalf("wait %v, error %v, %d values", wait, err, len(c.values))
	}
	// Another process goes on: the subscription is there already, and nothing is fetched again.
	if _, err := f.poller(t).Fetch(t.Context(), c.position, c.take); err != nil || len(c.values) != 8 {
		t.Fatalf("error %v, %d values", err, len(c.values))
	}
	if n := f.asked("/audit/"); n != 8 {
		t.Errorf("%d contents were fetched, want each of 8 once", n)
	}
	// A content that is listed late is found within the hour's look back at once, and later by the hourly sweep.
	hot, cold := now.Add(-30*time.Minute), now.Add(-22*time.Hour)
	f.set(func(f *feed) {
		f.blobs = append(f.blobs, blob{id: "hot", created: hot, listed: now, records: []string{record("hot", hot)}},
			blob{id: "cold", created: cold, listed: now, records: []string{record("cold", cold)}})
		f.now = now.Add(5 * time.Minute)
	})
	p := f.poller(t)
	if _, err := p.Fetch(t.Context(), c.position, c.take); err != nil || !strings.Contains(c.values[len(c.values)-1], `"hot"`) || len(c.values) != 9 {
		t.Fatalf("error %v, values %q", err, c.values)
	}
	f.set(func(f *feed) { f.now = now.Add(time.Hour) })
	if _, err := p.Fetch(t.Context(), c.position, c.take); err != nil || !strings.Contains(c.values[len(c.values)-1], `"cold"`) || len(c.values) != 10 {
		t.Fatalf("error %v, values %q", err, c.values)
	}
}

// fetched asks until a call ends without an error, and returns the errors before.
func fetched(t *testing.T, p *o365.Poller, c *taken) (problems []error) {
	t.Helper()
	for range 50 {
		_, err := p.Fetch(t.Context(), c.position, c.take)
		if err == nil {
			return problems
		}
		problems = append(problems, err)
	}
	t.Fatalf("it never ends: %v", problems[len(problems)-1])
	return nil
}

func TestFaultsCostNothing(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for name, faults := range map[string][]upstreamtest.Fault{
		"429":          {upstreamtest.Throttled, upstreamtest.ThrottledSilently},
		"5xx burst":    {upstreamtest.Broken, upstreamtest.Broken, upstreamtest.Unavailable, upstreamtest.Broken},
		"cut answers":  {upstreamtest.Truncated, upstreamtest.Short, upstreamtest.HungUp},
		"expired":      {upstreamtest.Expired},
		"page is gone": {upstreamtest.Gone},
	} {
		for skip := range 6 { // the token, the subscription, a list, a content, …
			f := newFeed(t, now)
			var want []string
			for n := range 5 {
				at := now.Add(-time.Duration(n+1) * time.Minute)
				want = append(want, record(fmt.Sprint("r", n), at))
				f.blobs = append(f.blobs, blob{id: fmt.Sprint(n), created: at, listed: at, records: want[n:]})
			}
			f.server.Script(make([]upstreamtest.Fault, skip)...)
			f.server.Script(faults...)
			var c taken
			fetched(t, f.poller(t), &c)
			slices.Sort(want)
			if diff := cmp.Diff(want, c.distinct()); diff != "" || f.server.Left() > 0 {
				t.Errorf("%s after %d: %d faults left; %s", name, skip, f.server.Left(), diff)
			}
		}
	}
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	f := newFeed(t, time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	p := f.poller(t)
	var c taken
	if _, err := p.Fetch(t.Context(), nil, c.take); err != nil {
		t.Fatal(err)
	}
	f.set(func(f *feed) { f.tokens++ }) // the one at hand is no longer good
	if _, err := p.Fetch(t.Context(), c.position, c.take); err != nil || f.asked("/token") != 2 {
		t.Errorf("error %v after %d tokens", err, f.asked("/token"))
	}
	f.set(func(f *feed) { f.refuse = true })
	_, err := p.Fetch(t.Context(), c.position, c.take)
	if err == nil || !strings.Contains(err.Error(), "401") || f.asked("/token") != 3 {
		t.Errorf("error %v after %d tokens", err, f.asked("/token"))
	}
}

func TestThrottlingSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	f := newFeed(t, time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	f.throttle[root] = 1
	var c taken
	_, err := f.poller(t).Fetch(t.Context(), nil, c.take)
	var later interface{ RetryAfter() time.Duration }
	if !errors.As(err, &later) || later.RetryAfter() != time.Minute {
		t.Errorf("error %v must tell to wait a minute", err)
	}
}

func TestChangedPageAddressRestartsTheWindowOnly(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	f := newFeed(t, now)
	for n := range 12 {
		at := now.Add(-time.Duration(n)*4*time.Hour - time.Minute)
		f.blobs = append(f.blobs, blob{id: fmt.Sprint(n), created: at, listed: at, records: []string{record(fmt.Sprint("r", n), at)}})
	}
	f.change = 2 // every second further page is refused
	var c taken
	if problems := fetched(t, f.poller(t), &c); len(problems) > 0 {
		t.Errorf("errors %v, want the window restarted in silence", problems)
	}
	if len(c.values) != 12 || f.asked("/audit/") != 12 {
		t.Errorf("%d values of %d contents fetched, want 12", len(c.values), f.asked("/audit/"))
	}
	// Where every page is refused for ever, it is an error in the end, and what was fetched is kept.
	for n := range f.blobs {
		f.blobs[n].created = now.Add(-time.Hour)
	}
	f = newFeed(t, now, f.blobs...)
	f.change = 1
	c = taken{}
	if _, err := f.poller(t).Fetch(t.Context(), nil, c.take); err == nil || !strings.Contains(err.Error(), "AF20031") || len(c.values) == 0 {
		t.Errorf("error %v after %d values", err, len(c.values))
	}
}

func TestTokenFollowsNoAddressElsewhere(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a request with %q went elsewhere", r.Header.Get("Authorization"))
	}))
	defer thief.Close()
	f := newFeed(t, now)
	for n := range 12 {
		f.blobs = append(f.blobs, blob{id: fmt.Sprint(n), created: now.Add(-time.Hour), listed: now.Add(-time.Hour)})
	}
	for _, elsewhere := range []string{thief.URL, "https://" + f.server.Host} {
		f.set(func(f *feed) { f.elsewhere = elsewhere })
		var c taken
		if _, err := f.poller(t).Fetch(t.Context(), nil, c.take); err == nil || !strings.Contains(err.Error(), "the address to ask") {
			t.Errorf("error %v", err)
		}
	}
}

func TestContentThatIsGoneBecomesALetter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	at := now.Add(-time.Hour)
	f := newFeed(t, now, blob{id: "a", created: at, listed: at, gone: "AF20051"}, blob{id: "b", created: at, listed: at, gone: "AF20050"},
		blob{id: "c", created: at, listed: at, records: []string{record("r", at)}})
	p := f.poller(t)
	var c taken
	for range 3 {
		if problems := fetched(t, p, &c); len(problems) > 0 {
			t.Fatal(problems)
		}
	}
	var letters, signIns int
	for _, v := range c.values {
		o365.Audit().Decode([]byte(v), func(_ []byte, _ *events.Event, err error) {
			switch {
			case err == nil:
				signIns++
			case strings.Contains(err.Error(), "expired before it was fetched"):
				letters++
			}
		})
	}
	if letters != 2 || signIns != 1 || len(c.values) != 3 {
		t.Errorf("%d letters and %d sign-ins of %q", letters, signIns, c.values)
	}
}

func TestLongAbsenceIsToldAndGoneOnFrom(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	f := newFeed(t, now)
	var c taken
	fetched(t, f.poller(t), &c)
	back := now.Add(9 * 24 * time.Hour)
	at := back.Add(-6 * 24 * time.Hour)
	f.set(func(f *feed) {
		f.now = back
		f.blobs = append(f.blobs, blob{id: "kept", created: at, listed: at, records: []string{record("kept", at)}})
	})
	if problems := fetched(t, f.poller(t), &c); len(problems) > 0 {
		t.Fatal(problems)
	}
	if len(c.values) != 2 || !strings.Contains(c.values[0], "startTime=2026-03-04T12%3A00%3A00") || !strings.Contains(c.values[1], `"kept"`) {
		t.Errorf("values %q: the gap must be told, and what is left be fetched", c.values)
	}
	fetched(t, f.poller(t), &c)
	if len(c.values) != 2 {
		t.Errorf("values %q: the gap is told once", c.values)
	}
}

func TestErrorOfTakeEndsTheCall(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	f := newFeed(t, now)
	for n := range 5 {
		f.blobs = append(f.blobs, blob{id: fmt.Sprint(n), created: now.Add(-time.Hour), listed: now.Add(-time.Hour), records: []string{record(fmt.Sprint(n), now)}})
	}
	c := taken{fail: errors.New("the log is full"), after: 2}
	if _, err := f.poller(t).Fetch(t.Context(), nil, c.take); !errors.Is(err, c.fail) || f.asked("/audit/") != 3 {
		t.Errorf("error %v after %d contents", err, f.asked("/audit/"))
	}
	c.fail = nil
	fetched(t, f.poller(t), &c)
	if len(c.distinct()) != 5 {
		t.Errorf("values %q", c.values)
	}
}

func TestBackfill(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 8, 12, 0, 0, 0, time.UTC)
	f := newFeed(t, now)
	var want []string
	for n := range 24 {
		at := now.Add(-time.Duration(n)*5*time.Hour - time.Minute)
		f.blobs = append(f.blobs, blob{id: fmt.Sprint(n), created: at, listed: at, records: []string{record(fmt.Sprint("r", n), at)}})
		want = append(want, f.blobs[n].records[0])
	}
	since, until := now.Add(-6*24*time.Hour), now
	c := taken{fail: errors.New("interrupted"), after: 9}
	var done []float64
	progress := func(d float64) { done = append(done, d) }
	if err := f.poller(t).Backfill(t.Context(), since, until, nil, c.take, progress); !errors.Is(err, c.fail) {
		t.Fatalf("error %v", err)
	}
	if !slices.IsSorted(done) || done[0] != 0 || done[len(done)-1] < 0.2 || done[len(done)-1] > 0.8 {
		t.Errorf("progress %v must begin with 0, and not come to the end", done)
	}
	c.fail, done = nil, nil
	if err := f.poller(t).Backfill(t.Context(), since, until, c.position, c.take, progress); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, c.distinct()); diff != "" || len(c.values) != 24 || f.asked("/audit/") != 25 {
		t.Errorf("%d values of %d contents fetched; %s", len(c.values), f.asked("/audit/"), diff)
	}
	if !slices.IsSorted(done) || done[len(done)-1] != 1 || done[0] < 0.2 {
		t.Errorf("progress %v must go on and come to 1", done)
	}
	err := f.poller(t).Backfill(t.Context(), now.Add(-8*24*time.Hour), until, nil, c.take, progress)
	if err == nil || !strings.Contains(err.Error(), "since: is 2026-02-28T12:00:00Z, but the API keeps 7 days") {
		t.Errorf("error %v", err)
	}
}

func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	f := newFeed(t, time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	cfg := f.config(t)
	cfg.AuthorityURL = f.server.URL + "/v1" // 404, with whatever page
	for _, change := range []func(*o365.Config){
		func(*o365.Config) {},
		func(c *o365.Config) { c.AuthorityURL, c.BaseURL = f.server.URL, f.server.URL+"/other" }, // 401, which quotes the secret
	} {
		change(&cfg)
		p, err := o365.New(cfg, o365.Deps{Now: f.Now})
		if err != nil {
			t.Fatal(err)
		}
		var c taken
		_, err = p.Fetch(t.Context(), nil, c.take)
		if err == nil || strings.Contains(err.Error(), "horse") || !strings.Contains(err.Error(), "getting an access token: the token endpoint answered 40") {
			t.Errorf("error %v", err)
		}
	}
	cfg.SecretFile += ".gone"
	p, err := o365.New(cfg, o365.Deps{Now: f.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Fetch(t.Context(), nil, (&taken{}).take); err == nil || !strings.Contains(err.Error(), "reading the client's secret") {
		t.Errorf("error %v", err)
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	f := newFeed(t, time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.poller(t).Fetch(ctx, nil, (&taken{}).take); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	err := o365.Config{
		Tenant: "example.com", ContentTypes: []string{"Audit.Everything", "DLP.All", "DLP.All"}, History: 200 * time.Hour, BaseURL: "http://manage.example.com", AuthorityURL: "x",
	}.Validate()
	want := []string{
		"name: is missing", "client_id: is missing", "secret_file: is missing", `tenant: is "example.com"`, `content_types[0]: is "Audit.Everything"`,
		"content_types[2]: is there twice", "history: is 200h0m0s", `base_url: is "http://manage.example.com", must begin with https://`, "authority_url: is no address",
	}
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v\nlacks %q", err, text)
		}
	}
	if n := len(strings.Split(err.Error(), "\n")); n != len(want) {
		t.Errorf("%d problems, want %d: %v", n, len(want), err)
	}
	if err := (o365.Config{Name: "o365", Tenant: tenant, ClientID: "x", SecretFile: "y"}).Validate(); err != nil {
		t.Errorf("the least config is refused: %v", err)
	}
}

func TestBrokenPositionIsAnError(t *testing.T) {
	t.Parallel()
	f := newFeed(t, time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	if _, err := f.poller(t).Fetch(t.Context(), []byte(`{"through":`), (&taken{}).take); err == nil || !strings.Contains(err.Error(), "reading the position") {
		t.Errorf("error %v", err)
	}
}

// However many contents there are, a position stays within what a cursor may take.
func TestPositionIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	position := fmt.Sprintf(`{"through":%q,"swept":%q,"seen":[{"at":%d,"ids":%s}]}`, now.Format(time.RFC3339), now.Format(time.RFC3339), now.Unix()/3600-1, many(5000))
	f := newFeed(t, now)
	c := taken{position: []byte(position)}
	f.blobs = append(f.blobs, blob{id: "x", created: now.Add(-time.Minute), listed: now, records: []string{record("x", now)}})
	fetched(t, f.poller(t), &c)
	if len(c.position) > 64<<10 || len(c.position) < 10<<10 || len(c.values) != 1 {
		t.Errorf("a position of %d bytes, values %q", len(c.position), c.values)
	}
}

// many are n digests, all different.
func many(n int) []byte {
	ids := make([]byte, 0, 8*n)
	for i := range n {
		ids = append(ids, byte(i), byte(i>>8), 1, 2, 3, 4, 5, 6)
	}
	text, err := json.Marshal(ids)
	if err != nil {
		panic(err)
	}
	return text
}
