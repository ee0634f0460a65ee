package auth0_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

// now is the clock of most tests.
var now = time.Date(2026, 3, 4, 9, 0, 0, 0, time.UTC)

// tenant plays the Management API of a tenant: by checkpoint in the order of the log ids, by search in that of time.
type tenant struct {
	*upstreamtest.Server

	mu      sync.Mutex
	entries []entry // in the order of their ids
	visible int     // how many are stored by now
	grow    int     // how many more are with every question
	page    int     // how many records a page has at most
	mess    *rand.Rand
	// forgotten are ids that are no longer known; stale refuses links; next replaces the link to the next page; reset is
	// X-RateLimit-Reset.
	forgotten bool
	stale     bool
	next      func(link string) string
	reset     time.Time

	secret  string
	token   string
	granted int
}

type entry struct {
	id   string
	date time.Time
}

func (e entry) record() string {
	return fmt.Sprintf(`{"log_id":%q,"date":%q,"type":"s","user_id":"auth0|%s","ip":"192.0.2.1","details":{}}`,
		e.id, e.date.UTC().Format("2006-01-02T15:04:05.000Z"), e.id[len(e.id)-1:])
}

func newTenant(t testing.TB, entries []entry) *tenant {
	t.Helper()
	o := &tenant{entries: entries, visible: len(entries), page: 100, secret: "example-client-secret"}
	o.Server = upstreamtest.New(t, o)
	return o
}

// entriesOf are n records, one a second, the last one at a time.
func entriesOf(n int, last time.Time) (out []entry) {
	for i := range n {
		out = append(out, entry{fmt.Sprintf("9002026030408%06d", i), last.Add(time.Duration(i-n+1) * time.Second)})
	}
	return out
}

func (o *tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case r.URL.Path == "/oauth/token" && r.Method == http.MethodPost:
		o.grant(w, r)
	case r.URL.Path != "/api/v2/logs" || r.Method != http.MethodGet:
		http.NotFound(w, r)
	case o.token == "" || r.Header.Get("Authorization") != "Bearer "+o.token:
		http.Error(w, `{"statusCode":401,"error":"Unauthorized"}`, http.StatusUnauthorized)
	case !o.reset.IsZero():
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(o.reset.Unix(), 10))
		w.Header().Set("Date", now.Format(http.TimeFormat))
		http.Error(w, `{"errorCode":"too_many_requests"}`, http.StatusTooManyRequests)
	case o.stale && r.FormValue("link") != "", o.forgotten && r.FormValue("from") != "":
		http.Error(w, `{"statusCode":400,"message":"from"}`, http.StatusBadRequest)
	default:
		o.answer(w, r)
	}
}

func (o *tenant) answer(w http.ResponseWriter, r *http.Request) {
	o.visible = min(o.visible+o.grow, len(o.entries))
	found := slices.Clone(o.entries[:o.visible])
	size, err := strconv.Atoi(r.FormValue("take") + r.FormValue("per_page"))
	if from := r.FormValue("from"); from != "" {
		found = slices.DeleteFunc(found, func(e entry) bool { return e.id <= from })
	} else {
		text, _ := strings.CutPrefix(r.FormValue("q"), "date:[")
		since, wrong := time.Parse(time.RFC3339, strings.TrimSuffix(text, " TO *]"))
		if wrong != nil || r.FormValue("sort") != "date:1" {
			err = fmt.Errorf("search %q: %w", r.FormValue("q"), wrong)
		}
		found = slices.DeleteFunc(found, func(e entry) bool { return e.date.Before(since) })
		slices.SortStableFunc(found, func(a, b entry) int { return a.date.Compare(b.date) })
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	page := found[:min(size, o.page, len(found))]
	if r.FormValue("from") != "" {
		last := r.FormValue("from")
		if len(page) > 0 {
			last = page[len(page)-1].id
		}
		link := o.URL + "/api/v2/logs?" + url.Values{"from": {last}, "take": {"100"}, "link": {"1"}}.Encode()
		if o.next != nil {
			link = o.next(link)
		}
		w.Header().Set("Link", "<"+link+`>; rel="next"`)
	}
	if o.mess != nil && len(page) > 0 { // some come twice, and in any order
		page = append(slices.Clone(page), page[0])
		o.mess.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
	}
	texts := make([]string, len(page))
	for i, e := range page {
		texts[i] = e.record()
	}
	fmt.Fprintf(w, "[%s]", strings.Join(texts, ","))
}

func (o *tenant) grant(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("grant_type") != "client_credentials" || r.PostFormValue("client_id") != "exampleClient01" ||
		r.PostFormValue("client_secret") != o.secret || r.PostFormValue("audience") != o.URL+"/api/v2/" {
		http.Error(w, `{"error":"access_denied","error_description":"Unauthorized"}`, http.StatusUnauthorized)
		return
	}
	o.granted++
	o.token = "token-" + strconv.Itoa(o.granted)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": o.token, "token_type": "Bearer", "expires_in": 86400})
}

// change edits the tenant while it is asked.
func (o *tenant) change(edit func(o *tenant)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	edit(o)
}

// stored is how many records there are by now.
func (o *tenant) stored() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.visible
}

// tokensGranted is how many access tokens were given.
func (o *tenant) tokensGranted() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.granted
}

// asked are the questions for records, as their parameters.
func (o *tenant) asked() (out []url.Values) {
	for _, request := range o.Requests() {
		if _, query, ok := strings.Cut(request, "/api/v2/logs?"); ok {
			q, _ := url.ParseQuery(query)
			out = append(out, q)
		}
	}
	return out
}
