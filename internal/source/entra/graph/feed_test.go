package graph_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/source/entra/graph"
	"github.com/countersign-io/countersign/internal/source/entra/graph/graphtest"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

const tenant = "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80"

// direct asks a handler without a network, so that time may be that of a synctest bubble. before may answer instead.
type direct struct {
	handler http.Handler
	before  func(address string) error

	mu    sync.Mutex
	asked []string
	at    []time.Time
}

func (d *direct) Get(ctx context.Context, address string, header http.Header) ([]byte, error) {
	d.mu.Lock()
	d.asked, d.at = append(d.asked, address), append(d.at, time.Now())
	d.mu.Unlock()
	if d.before != nil {
		if err := d.before(address); err != nil {
			return nil, err
		}
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	r.Header = header
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return nil, &upstream.Error{Status: w.Code, Detail: w.Body.String()}
	}
	return w.Body.Bytes(), nil
}

// config is a valid configuration of some feeds.
func config(feeds ...string) graph.Config {
	return graph.Config{
		Name: "contoso", Tenant: tenant, Feeds: feeds, BaseURL: "http://127.0.0.1",
		Credential: graph.Credential{Kind: graph.ManagedIdentity},
	}
}

func feedsOf(t *testing.T, cfg graph.Config, deps graph.Deps) []*graph.Feed {
	t.Helper()
	if deps.Limits == nil {
		deps.Limits = graph.Unlimited()
	}
	out, err := graph.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// log takes pages, and keeps the ids in order and the position.
type log struct {
	ids      []string
	position []byte
	fail     error
}

func (l *log) take(records [][]byte, next []byte) error {
	if l.fail != nil {
		return l.fail
	}
	for _, record := range records {
		var r struct{ ID string }
		if err := json.Unmarshal(record, &r); err != nil {
			return err
		}
		l.ids = append(l.ids, r.ID)
	}
	l.position = next
	return nil
}

func (l *log) unique() []string {
	return slices.Compact(slices.Sorted(slices.Values(l.ids)))
}

// seed adds n records to a collection, one every so often back from now.
func seed(api *graphtest.Upstream, path, kind string, n int, every time.Duration) (ids []string) {
	for i := range n {
		at := time.Now().Add(-time.Duration(i)*every - time.Minute)
		id := fmt.Sprintf("%s-%s-%03d", path[strings.LastIndex(path, "/")+1:], kind, i)
		api.Add(graphtest.Record{Path: path, ID: id, Type: kind, Created: at, Appears: at})
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Every feed asks for its own records in the way Graph documents; the fake refuses everything else.
func TestT43_EveryFeedGivesItsOwnRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := graphtest.New(t, time.Now)
		want := map[string][]string{}
		for feed, c := range map[string]struct{ path, kind string }{
			graph.SignIns: {"/v1.0/auditLogs/signIns", ""}, graph.NonInteractive: {"/beta/auditLogs/signIns", "nonInteractiveUser"},
			graph.ServicePrincipals: {"/beta/auditLogs/signIns", "servicePrincipal"}, graph.ManagedIdentities: {"/beta/auditLogs/signIns", "managedIdentity"},
			graph.SignInsBeta: {"/beta/auditLogs/signIns", "interactiveUser"}, graph.DirectoryAudits: {"/v1.0/auditLogs/directoryAudits", ""},
			graph.RiskDetections: {"/v1.0/identityProtection/riskDetections", ""}, graph.RiskyUsers: {"/v1.0/identityProtection/riskyUsers", ""},
		} {
			want[feed] = seed(api, c.path, c.kind, 20, time.Hour)
		}
		for _, name := range graph.Feeds() {
			getter := &direct{handler: api}
			feed := feedsOf(t, config(name), graph.Deps{Getter: getter})[0]
			if feed.Name() != "contoso/"+name {
				t.Errorf("the feed's name is %q", feed.Name())
			}
			var l log
			wait, err := feed.Fetch(t.Context(), nil, l.take)
			if err != nil || wait <= 0 || wait > 30*time.Second {
				t.Errorf("%s: to wait %v, %v", name, wait, err)
			}
			if diff := cmp.Diff(l.unique(), want[name]); diff != "" {
				t.Errorf("%s (-got +want):\n%s", name, diff)
			}
		}
	})
}

// 5 requests per 10 seconds for the reports of an app and tenant, whatever the feed; 1 a second for the risks of a tenant,
// whatever the app.
func TestRequestsAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := graphtest.New(t, time.Now)
		limits := graph.NewLimits()
		run := func(names ...string) []time.Time {
			getter := &direct{handler: api}
			done := make(chan error)
			var feeds []*graph.Feed
			for i, name := range names {
				cfg := config(name)
				if strings.HasPrefix(name, "risk") {
					cfg.Credential.ClientID = fmt.Sprintf("5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e3%02d", i)
				}
				feeds = append(feeds, feedsOf(t, cfg, graph.Deps{Getter: getter, Limits: limits})...)
			}
			for _, feed := range feeds {
				go func() {
					_, err := feed.Fetch(t.Context(), nil, func([][]byte, []byte) error { return nil })
					done <- err
				}()
			}
			for range feeds {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			return getter.at
		}
		for _, c := range []struct {
			feeds []string
			every time.Duration
		}{
			{[]string{graph.SignIns, graph.NonInteractive, graph.DirectoryAudits}, 2 * time.Second},
			{[]string{graph.RiskDetections, graph.RiskyUsers}, time.Second},
		} {
			at := run(c.feeds...)
			if len(at) < 10 {
				t.Fatalf("%v: only %d requests", c.feeds, len(at))
			}
			for i := 1; i < len(at); i++ {
				if gap := at[i].Sub(at[i-1]); gap < c.every {
					t.Errorf("%v: %v between two requests, want %v", c.feeds, gap, c.every)
				}
			}
		}
	})
}

// Graph names no pause for risks: it grows from 3 seconds to a minute, and begins anew after an answer.
func TestUnnamedPausesGrow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		getter := &direct{handler: graphtest.New(t, time.Now)}
		feed := feedsOf(t, config(graph.RiskDetections), graph.Deps{Getter: getter})[0]
		throttled := &upstream.Error{Status: http.StatusTooManyRequests}
		getter.before = func(string) error { return throttled }
		var l log
		fetch := func() time.Duration {
			_, err := feed.Fetch(t.Context(), l.position, l.take)
			if answer, ok := errors.AsType[*upstream.Error](err); ok {
				return answer.RetryAfter()
			}
			t.Errorf("error %v", err)
			return 0
		}
		for _, want := range []float64{3, 6, 12, 24, 48, 60, 60, 60, 60, 60, 60, 60} {
			if got := fetch(); got.Seconds() != want {
				t.Errorf("to wait %v, want %v s", got, want)
			}
		}
		throttled = &upstream.Error{Status: http.StatusTooManyRequests, Wait: 17 * time.Second}
		if got := fetch(); got != 17*time.Second {
			t.Errorf("to wait %v, want the 17 s that were named", got)
		}
		getter.before = nil
		if _, err := feed.Fetch(t.Context(), l.position, l.take); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // of the bubble
		throttled = &upstream.Error{Status: http.StatusTooManyRequests}
		getter.before = func(string) error { return throttled }
		if got := fetch(); got != 3*time.Second {
			t.Errorf("after an answer: to wait %v, want 3 s", got)
		}
	})
}

// A next link that has expired begins its window again, not the history.
func TestAnExpiredLinkRestartsItsWindow(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusGone} {
		synctest.Test(t, func(t *testing.T) {
			api := graphtest.New(t, time.Now)
			api.PageSize(5)
			want := seed(api, "/v1.0/auditLogs/signIns", "", 60, 10*time.Minute)
			getter := &direct{handler: api}
			feed := feedsOf(t, config(graph.SignIns), graph.Deps{Getter: getter})[0]
			links := 0
			getter.before = func(address string) error {
				if !strings.Contains(address, "skiptoken") {
					return nil
				}
				if links++; links == 2 {
					return &upstream.Error{Status: status}
				}
				return nil
			}
			var l log
			if _, err := feed.Fetch(t.Context(), nil, l.take); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(l.unique(), want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			if repeats := len(l.ids) - len(want); repeats > 15 {
				t.Errorf("%d records were taken again: more than the window", repeats)
			}
		})
	}
}

// A window that Graph cannot gather in time is cut narrower until it can; one that cannot be is an error.
func TestWindowsGetNarrower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := graphtest.New(t, time.Now)
		want := seed(api, "/v1.0/auditLogs/signIns", "", 50, 7*time.Minute)
		getter := &direct{handler: api}
		feed := feedsOf(t, config(graph.SignIns), graph.Deps{Getter: getter})[0]
		widest := 7 * time.Minute
		getter.before = func(address string) error {
			if width(t, address) > widest {
				return &upstream.Error{Status: http.StatusGatewayTimeout}
			}
			return nil
		}
		var l log
		for tries := 0; ; tries++ { // growing again, it is refused again: that must not be an error
			if _, err := feed.Fetch(t.Context(), l.position, l.take); err == nil {
				break
			} else if tries > 3 {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(l.unique(), want); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
		widest = 0
		time.Sleep(time.Hour) // of the bubble
		before := len(getter.asked)
		if _, err := feed.Fetch(t.Context(), l.position, l.take); err == nil {
			t.Error("no error where nothing can be gathered")
		}
		if n := len(getter.asked) - before; n > 30 {
			t.Errorf("%d requests before giving up", n)
		}
	})
}

// width is that of the window an address asks for.
func width(t *testing.T, address string) time.Duration {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, address, nil)
	words := strings.Fields(r.URL.Query().Get("$filter"))
	from, err := time.Parse(time.RFC3339, words[2])
	to, err2 := time.Parse(time.RFC3339, words[6])
	if err != nil || err2 != nil {
		t.Fatalf("%v: %v, %v", words, err, err2)
	}
	return to.Sub(from)
}

// A next link that leads to another host, path or scheme is not followed, and its page not taken.
func TestLinksThatLeadElsewhereAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"http://127.0.0.1.example.com", "https://127.0.0.1", "http://127.0.0.1/x", "http://user@127.0.0.1", "http://127.0.0.1:81", "file://", "::"} {
		synctest.Test(t, func(t *testing.T) {
			api := graphtest.New(t, time.Now)
			api.PageSize(2)
			want := seed(api, "/v1.0/auditLogs/signIns", "", 5, time.Minute)
			getter := &direct{handler: api}
			feed := feedsOf(t, config(graph.SignIns), graph.Deps{Getter: getter})[0]
			api.Mislead(base)
			var l log
			_, err := feed.Fetch(t.Context(), nil, l.take)
			if err == nil || !strings.Contains(err.Error(), "leads elsewhere") || len(l.ids) > 0 {
				t.Errorf("%s: error %v, taken %v", base, err, l.ids)
			}
			for _, address := range getter.asked {
				if !strings.HasPrefix(address, "http://127.0.0.1/v1.0/auditLogs/signIns?") {
					t.Errorf("asked for %s", address)
				}
			}
			api.Mislead("http://127.0.0.1:80") // the same, spelt otherwise
			if _, err := feed.Fetch(t.Context(), l.position, l.take); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(l.unique(), want); diff != "" {
				t.Errorf("afterwards (-got +want):\n%s", diff)
			}
		})
	}
}

// Links that lead round in circles end.
func TestCirclesEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		getter := &direct{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next := map[bool]string{true: "b", false: "a"}[strings.HasSuffix(r.RequestURI, "=a")]
			fmt.Fprintf(w, `{"value":[],"@odata.nextLink":"http://127.0.0.1%s?$skiptoken=%s"}`, r.URL.Path, next)
		})}
		feed := feedsOf(t, config(graph.SignIns), graph.Deps{Getter: getter})[0]
		var l log
		var last time.Duration
		for range 3 { // narrower every time, in case it was only too wide
			_, err := feed.Fetch(t.Context(), l.position, l.take)
			if err == nil || !strings.Contains(err.Error(), "in one window") {
				t.Errorf("error %v", err)
			}
			first := slices.IndexFunc(getter.asked, func(address string) bool { return strings.Contains(address, "$filter") })
			if got := width(t, getter.asked[first]); last > 0 && got >= last {
				t.Errorf("a window of %v follows one of %v", got, last)
			} else {
				last = got
			}
			getter.asked = nil
		}
	})
}

// What is no whole page is an error, and nothing of it is taken.
func TestBrokenPagesAreNotTaken(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"cut off": `{"value":[{"id":"a"},{"id":"b"`, "empty": ``, "an error": `{"error":{"code":"x"}}`, "no list": `{"value":{}}`, "null": `{"value":null}`,
		"an array": `[{"id":"a"}]`, "more behind it": `{"value":[]}{`, "a link that is none": `{"value":[],"@odata.nextLink":5}`,
		"an endless link": `{"value":[{"id":"a"}],"@odata.nextLink":"http://127.0.0.1/v1.0/auditLogs/signIns?` + strings.Repeat("x", 4000) + `"}`,
	} {
		getter := &direct{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })}
		feed := feedsOf(t, config(graph.SignIns), graph.Deps{Getter: getter})[0]
		var l log
		if _, err := feed.Fetch(t.Context(), nil, l.take); err == nil || len(l.ids) > 0 || l.position != nil {
			t.Errorf("%s: error %v, taken %v", name, err, l.ids)
		}
	}
}

// After an error of take nothing more is asked.
func TestAnErrorOfTakeIsReturnedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		getter := &direct{handler: graphtest.New(t, time.Now)}
		feed := feedsOf(t, config(graph.SignIns), graph.Deps{Getter: getter})[0]
		l := log{fail: errors.New("the log is gone")}
		if _, err := feed.Fetch(t.Context(), nil, l.take); !errors.Is(err, l.fail) || len(getter.asked) != 1 {
			t.Errorf("error %v, asked %d times", err, len(getter.asked))
		}
		if err := feed.Backfill(t.Context(), time.Now().Add(-time.Hour), time.Now(), nil, l.take, func(float64) {}); !errors.Is(err, l.fail) || len(getter.asked) != 2 {
			t.Errorf("backfill: error %v, asked %d times", err, len(getter.asked))
		}
	})
}

// A broken position is not taken for the beginning.
func TestABrokenPositionIsAnError(t *testing.T) {
	t.Parallel()
	feed := feedsOf(t, config(graph.SignIns), graph.Deps{Getter: &direct{}})[0]
	var l log
	if _, err := feed.Fetch(t.Context(), []byte(`{"levels":7}`), l.take); err == nil {
		t.Error("Fetch: no error")
	}
	if err := feed.Backfill(t.Context(), time.Now().Add(-time.Hour), time.Now(), []byte(`[]`), l.take, func(float64) {}); err == nil {
		t.Error("Backfill: no error")
	}
}
