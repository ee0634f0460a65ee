package okta_test

import (
	"crypto/ecdsa"
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

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

// now is the clock of most tests.
var now = time.Date(2026, 3, 4, 9, 0, 0, 0, time.UTC)

// org plays an organisation's System Log. Without until it answers by when records were stored, and every answer has a
// link to a next page; with until by when they were published, and the last page has none.
type org struct {
	*upstreamtest.Server

	mu      sync.Mutex
	entries []entry // in the order in which they were stored
	visible int     // how many are stored by now
	grow    int     // how many more are with every question
	page    int     // how many records a page has at most
	mess    *rand.Rand
	// staleLinks answers links with this status; next replaces the link to the next page; reset is X-Rate-Limit-Reset.
	staleLinks int
	next       func(link string) string
	reset      time.Time

	// tokens are those that are taken, with the scheme.
	tokens  map[string]bool
	key     *ecdsa.PublicKey // of the service application
	granted int
	kind    string // of the tokens that are granted
}

type entry struct {
	uuid              string
	published, stored time.Time
}

func (e entry) record() string {
	return fmt.Sprintf(`{"uuid":%q,"published":%q,"eventType":"user.session.start","outcome":{"result":"SUCCESS"},`+
		`"actor":{"id":"00u%s","type":"User","alternateId":"a@example.com"},"client":{"ipAddress":"192.0.2.1"},"target":[]}`,
		e.uuid, e.published.UTC().Format("2006-01-02T15:04:05.000Z"), e.uuid[len(e.uuid)-1:])
}

func newOrg(t testing.TB, entries []entry) *org {
	t.Helper()
	o := &org{entries: entries, visible: len(entries), page: 10, tokens: map[string]bool{"SSWS example-api-token": true}, kind: "Bearer"}
	o.Server = upstreamtest.New(t, o)
	return o
}

// entriesOf are n records, one a second, the last one now.
func entriesOf(n int, last time.Time) (out []entry) {
	for i := range n {
		at := last.Add(time.Duration(i-n+1) * time.Second)
		out = append(out, entry{"record-" + strconv.Itoa(i), at, at.Add(2 * time.Second)})
	}
	return out
}

func (o *org) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case r.URL.Path == "/oauth2/v1/token" && r.Method == http.MethodPost:
		o.grant(w, r)
	case r.URL.Path != "/api/v1/logs" || r.Method != http.MethodGet:
		http.NotFound(w, r)
	case !o.tokens[r.Header.Get("Authorization")]:
		http.Error(w, `{"errorCode":"E0000011","errorSummary":"Invalid token provided"}`, http.StatusUnauthorized)
	case !o.reset.IsZero():
		w.Header().Set("X-Rate-Limit-Reset", strconv.FormatInt(o.reset.Unix(), 10))
		w.Header().Set("Date", now.Format(http.TimeFormat))
		http.Error(w, `{"errorCode":"E0000047"}`, http.StatusTooManyRequests)
	case r.FormValue("after") != "" && o.staleLinks != 0:
		http.Error(w, `{"errorCode":"E0000053"}`, o.staleLinks)
	default:
		o.answer(w, r)
	}
}

// answer answers a question for records.
func (o *org) answer(w http.ResponseWriter, r *http.Request) {
	since, err := time.Parse(time.RFC3339, r.FormValue("since"))
	limit, wrong := strconv.Atoi(r.FormValue("limit"))
	if err != nil || wrong != nil || r.FormValue("sortOrder") != "ASCENDING" {
		http.Error(w, `{"errorCode":"E0000001"}`, http.StatusBadRequest)
		return
	}
	o.visible = min(o.visible+o.grow, len(o.entries))
	found := slices.Clone(o.entries[:o.visible])
	bounded := r.FormValue("until") != ""
	if bounded {
		until, _ := time.Parse(time.RFC3339, r.FormValue("until"))
		found = slices.DeleteFunc(found, func(e entry) bool { return e.published.Before(since) || !e.published.Before(until) })
		slices.SortStableFunc(found, func(a, b entry) int { return a.published.Compare(b.published) })
	} else {
		found = slices.DeleteFunc(found, func(e entry) bool { return e.stored.Before(since) })
	}
	from, _ := strconv.Atoi(r.FormValue("after"))
	from = min(from, len(found))
	to := min(from+min(limit, o.page), len(found))
	q := r.URL.Query()
	q.Set("after", strconv.Itoa(to))
	link := o.URL + "/api/v1/logs?" + q.Encode()
	if o.next != nil {
		link = o.next(link)
	}
	w.Header().Add("Link", "<"+o.URL+r.RequestURI+`>; rel="self"`)
	if (!bounded || to < len(found)) && link != "" {
		w.Header().Add("Link", "<"+link+`>; rel="next"`)
	}
	page := slices.Clone(found[from:to])
	if o.mess != nil && len(page) > 0 { // some come twice, and in any order
		page = append(page, page[0], found[max(0, from-1)])
		o.mess.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
	}
	texts := make([]string, len(page))
	for i, e := range page {
		texts[i] = e.record()
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "[%s]", strings.Join(texts, ","))
}

// grant gives an access token for a statement that the service application signed.
func (o *org) grant(w http.ResponseWriter, r *http.Request) {
	refuse := func(why string) {
		http.Error(w, `{"error":"invalid_client","error_description":"`+why+`"}`, http.StatusBadRequest)
	}
	signed, err := jwt.ParseSigned(r.FormValue("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || o.key == nil {
		refuse("no assertion")
		return
	}
	var claims jwt.Claims
	if signed.Claims(o.key, &claims) != nil || signed.Headers[0].KeyID != "key-1" {
		refuse("signature")
		return
	}
	expected := jwt.Expected{Issuer: "0oaSERVICE", Subject: "0oaSERVICE", AnyAudience: jwt.Audience{o.URL + "/oauth2/v1/token"}, Time: now}
	if claims.Validate(expected) != nil || claims.ID == "" || claims.Expiry.Time().Sub(now) > time.Hour ||
		r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "okta.logs.read" ||
		r.FormValue("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		refuse("claims")
		return
	}
	o.granted++
	token := "token-" + strconv.Itoa(o.granted)
	o.tokens = map[string]bool{"Bearer " + token: true}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": o.kind, "expires_in": 3600})
}

// change edits the organisation while it is asked.
func (o *org) change(edit func(o *org)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	edit(o)
}

// stored is how many records there are by now.
func (o *org) stored() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.visible
}

// tokensGranted is how many access tokens were given.
func (o *org) tokensGranted() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.granted
}

// asked are the questions for records, as their parameters.
func (o *org) asked() (out []url.Values) {
	for _, request := range o.Requests() {
		if _, query, ok := strings.Cut(request, "/api/v1/logs?"); ok {
			q, _ := url.ParseQuery(query)
			out = append(out, q)
		}
	}
	return out
}
