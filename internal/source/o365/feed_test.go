package o365_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/source/o365"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

const (
	tenant  = "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80"
	root    = "/api/v1.0/" + tenant + "/activity/feed/"
	secret  = "correct horse battery staple"
	perPage = 3
)

// blob is a content of the feed.
type blob struct {
	id string
	// created is the time by which it is listed, listed is when it really appears in the list.
	created, listed time.Time
	records         []string
	gone            string // the error code it answers with
	status          int    // what it answers instead
	size            int    // it answers so many bytes more
}

// feed plays the Management Activity API and who gives its tokens.
type feed struct {
	mu         sync.Mutex
	now        time.Time
	advance    time.Duration // by every listing
	blobs      []blob
	tokens     int // given so far; only the last one is good
	refuse     bool
	subscribed map[string]int
	generation int            // of addresses of further pages; others are refused
	change     int            // change the generation before every n-th further page
	further    int            // pages asked for so far
	elsewhere  string         // where the next page is instead
	throttle   map[string]int // how often paths that begin so answer 429
	server     *upstreamtest.Server
	clock      *httptest.Server
}

func newFeed(t testing.TB, now time.Time, blobs ...blob) *feed {
	t.Helper()
	f := &feed{now: now.UTC().Truncate(time.Second), blobs: blobs, subscribed: map[string]int{}, throttle: map[string]int{}}
	f.server = upstreamtest.New(t, f)
	f.clock = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, f.Now().Format(time.RFC3339))
	}))
	t.Cleanup(f.clock.Close)
	return f
}

func (f *feed) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *feed) set(change func(*feed)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// config asks the feed.
func (f *feed) config(t testing.TB) o365.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return o365.Config{
		Name: "o365", Tenant: strings.ToUpper(tenant), ClientID: "countersign", SecretFile: file,
		BaseURL: f.server.URL + "/", AuthorityURL: f.server.URL, History: 48 * time.Hour,
	}
}

func (f *feed) poller(t testing.TB) *o365.Poller {
	t.Helper()
	p, err := o365.New(f.config(t), o365.Deps{Now: f.Now})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// asked counts the requests whose line holds a text.
func (f *feed) asked(text string) int {
	n := 0
	for _, r := range f.server.Requests() {
		if strings.Contains(r, text) {
			n++
		}
	}
	return n
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"code":%q,"message":"a message"}}`, code)
}

func (f *feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for prefix, left := range f.throttle {
		if strings.HasPrefix(r.URL.Path, prefix) && left > 0 {
			f.throttle[prefix]--
			refuse(w, http.StatusTooManyRequests, "AF429")
			return
		}
	}
	if r.URL.Path == "/"+tenant+"/oauth2/v2.0/token" {
		f.token(w, r)
		return
	}
	if f.refuse || r.Header.Get("Authorization") != "Bearer token-"+strconv.Itoa(f.tokens) {
		refuse(w, http.StatusUnauthorized, "AF10001")
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, root)
	switch {
	case !ok:
		http.NotFound(w, r)
	case path == "subscriptions/start" && r.Method == http.MethodPost:
		f.start(w, r.FormValue("contentType"))
	case path == "subscriptions/content":
		f.list(w, r)
	case strings.HasPrefix(path, "audit/"):
		f.content(w, strings.TrimPrefix(path, "audit/"))
	default:
		http.NotFound(w, r)
	}
}

func (f *feed) token(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("client_secret") != secret || r.FormValue("scope") != f.server.URL+"/.default" || r.FormValue("grant_type") != "client_credentials" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error":"invalid_client","error_description":"you sent %s"}`, r.FormValue("client_secret"))
		return
	}
	f.tokens++
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3599}`, f.tokens)
}

func (f *feed) start(w http.ResponseWriter, contentType string) {
	if f.subscribed[contentType]++; f.subscribed[contentType] > 1 {
		refuse(w, http.StatusBadRequest, "AF20024")
		return
	}
	fmt.Fprintf(w, `{"contentType":%q,"status":"enabled","webhook":null}`, contentType)
}

func (f *feed) list(w http.ResponseWriter, r *http.Request) {
	if f.subscribed[r.FormValue("contentType")] == 0 {
		refuse(w, http.StatusBadRequest, "AF20022")
		return
	}
	f.now = f.now.Add(f.advance)
	const layout = "2006-01-02T15:04:05"
	start, err1 := time.Parse(layout, r.FormValue("startTime"))
	end, err2 := time.Parse(layout, r.FormValue("endTime"))
	if err1 != nil || err2 != nil || !end.After(start) || end.Sub(start) > 24*time.Hour || start.Before(f.now.Add(-7*24*time.Hour)) {
		refuse(w, http.StatusBadRequest, "AF20030")
		return
	}
	first := 0
	if next := r.FormValue("nextPage"); next != "" {
		f.further++
		if f.change > 0 && f.further%f.change == 0 {
			f.generation++
		}
		generation, number, _ := strings.Cut(next, ".")
		if generation != strconv.Itoa(f.generation) {
			refuse(w, http.StatusBadRequest, "AF20031")
			return
		}
		first, _ = strconv.Atoi(number)
	}
	var found []blob
	for _, b := range f.blobs {
		if !b.created.Before(start) && b.created.Before(end) && !b.listed.After(f.now) {
			found = append(found, b)
		}
	}
	page := slices.Clone(found[min(first, len(found)):min(first+perPage, len(found))])
	if first+perPage < len(found) {
		query := r.URL.Query()
		query.Set("nextPage", fmt.Sprintf("%d.%d", f.generation, first+perPage))
		address := f.server.URL
		if f.elsewhere != "" {
			address = f.elsewhere
		}
		w.Header().Set("NextPageUri", address+r.URL.Path+"?"+strings.ReplaceAll(query.Encode(), "&", "&amp;"))
	}
	if len(page) > 0 {
		page = append(page, page[0]) // some come twice, and none in order
		slices.Reverse(page)
	}
	entries := make([]map[string]any, len(page))
	for n, b := range page {
		entries[n] = map[string]any{
			"contentType": r.FormValue("contentType"), "contentId": b.id, "contentUri": f.server.URL + root + "audit/" + b.id,
			"contentCreated": b.created.Format("2006-01-02T15:04:05.000Z"), "contentExpiration": b.created.Add(7 * 24 * time.Hour).Format("2006-01-02T15:04:05.000Z"),
		}
	}
	_ = json.NewEncoder(w).Encode(entries) // the client may be gone
}

func (f *feed) content(w http.ResponseWriter, id string) {
	for _, b := range f.blobs {
		switch {
		case b.id != id:
		case b.status != 0:
			w.WriteHeader(b.status)
			return
		case b.size != 0:
			fmt.Fprintf(w, "[%s]", strings.Repeat(" ", b.size))
			return
		case b.gone != "":
			refuse(w, http.StatusBadRequest, b.gone)
			return
		default:
			fmt.Fprintf(w, "[%s]\r\n", strings.Join(b.records, ",\r\n"))
			return
		}
	}
	refuse(w, http.StatusNotFound, "AF20050")
}

// record is a sign-in.
func record(id string, at time.Time) string {
	return fmt.Sprintf(`{"Id":%q,"CreationTime":%q,"RecordType":15,"Operation":"UserLoggedIn","OrganizationId":%q,"UserKey":"5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315","ErrorNumber":"0"}`,
		id, at.UTC().Format("2006-01-02T15:04:05"), tenant)
}

// taken is what take was given.
type taken struct {
	values   []string
	position []byte
	fail     error // returned by the call after the next `after` ones
	after    int
}

func (c *taken) take(values [][]byte, next []byte) error {
	if c.fail != nil {
		if c.after--; c.after < 0 {
			return c.fail
		}
	}
	for _, v := range values {
		c.values = append(c.values, string(v))
	}
	c.position = slices.Clone(next)
	return nil
}

// distinct are the values without repeats, in order.
func (c *taken) distinct() []string {
	values := slices.Sorted(slices.Values(c.values))
	return slices.Compact(values)
}
