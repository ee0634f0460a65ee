package keycloak_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
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

	"github.com/countersign-io/countersign/internal/source/keycloak"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

const (
	realmID = "9a8b7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d"
	secret  = "correct horse battery staple"
)

// happened is an event of the realm: when it happened, and when it is in the database.
type happened struct {
	id           string
	at, inserted time.Time
	admin        bool
}

func (h happened) json() string {
	if h.admin {
		return fmt.Sprintf(`{"id":%q,"time":%d,"realmId":%q,"operationType":"ACTION","resourceType":"USER","resourcePath":"users/u-1/reset-password","authDetails":{"userId":"admin-1"}}`,
			h.id, h.at.UnixMilli(), realmID)
	}
	return fmt.Sprintf(`{"id":%q,"time":%d,"type":"LOGIN","realmId":%q,"clientId":"web","userId":"u-1","ipAddress":"192.0.2.60","details":{"username":"pat"}}`,
		h.id, h.at.UnixMilli(), realmID)
}

// realm plays Keycloak: its tokens, and its admin REST API with the newest event first.
type realm struct {
	mu        sync.Mutex
	now       time.Time
	advance   time.Duration // by every page
	zone      *time.Location
	events    []happened
	tokens    int // given so far; only the last one is good
	forbidden bool
	cap       int // the most events of a page, whatever is asked for
	random    *rand.Rand
	onPage    func(r *realm, offset int)
	server    *upstreamtest.Server
	clock     *httptest.Server
}

func newRealm(t testing.TB, now time.Time, all ...happened) *realm {
	t.Helper()
	r := &realm{now: now.UTC().Truncate(time.Second), events: all, zone: time.UTC, cap: 1 << 20, random: rand.New(rand.NewPCG(1, 2))}
	r.server = upstreamtest.New(t, r)
	r.clock = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, r.Now().Format(time.RFC3339)) }))
	t.Cleanup(r.clock.Close)
	return r
}

func (r *realm) Now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *realm) set(change func(*realm)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// config asks the realm.
func (r *realm) config(t testing.TB) keycloak.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return keycloak.Config{
		Name: "sso", Realm: "prod realm", ClientID: "countersign", SecretFile: file, BaseURL: r.server.URL + "/auth/", AdminEvents: true, PageSize: 7, History: 48 * time.Hour,
	}
}

func (r *realm) poller(t testing.TB) *keycloak.Poller {
	t.Helper()
	p, err := keycloak.New(r.config(t), keycloak.Deps{Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// asked counts the requests whose line holds a text.
func (r *realm) asked(text string) int {
	n := 0
	for _, line := range r.server.Requests() {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (r *realm) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch req.URL.Path {
	case "/auth/realms/prod realm/protocol/openid-connect/token":
		if req.FormValue("client_secret") != secret || req.FormValue("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":"unauthorized_client","error_description":"you sent %s"}`, req.FormValue("client_secret"))
			return
		}
		r.tokens++
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":300}`, r.tokens)
	case "/auth/admin/realms/prod realm/events", "/auth/admin/realms/prod realm/admin-events":
		switch {
		case req.Header.Get("Authorization") != "Bearer token-"+strconv.Itoa(r.tokens):
			http.Error(w, `{"error":"HTTP 401 Unauthorized"}`, http.StatusUnauthorized)
		case r.forbidden:
			http.Error(w, `{"error":"HTTP 403 Forbidden"}`, http.StatusForbidden)
		default:
			r.page(w, req, strings.HasSuffix(req.URL.Path, "/admin-events"))
		}
	default:
		http.NotFound(w, req)
	}
}

func (r *realm) page(w http.ResponseWriter, req *http.Request, admin bool) {
	r.now = r.now.Add(r.advance)
	offset, err1 := strconv.Atoi(req.FormValue("first"))
	most, err2 := strconv.Atoi(req.FormValue("max"))
	from, err3 := time.ParseInLocation(time.DateOnly, req.FormValue("dateFrom"), r.zone)
	to, err4 := time.ParseInLocation(time.DateOnly, req.FormValue("dateTo"), r.zone)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		http.Error(w, `{"error":"bad request"}`, http.StatusBadRequest)
		return
	}
	if r.onPage != nil {
		r.onPage(r, offset)
	}
	var found []happened
	for _, h := range r.events {
		if h.admin == admin && !h.inserted.After(r.now) && !h.at.Before(from) && !h.at.After(to) {
			found = append(found, h)
		}
	}
	// The order of events of one moment is anybody's guess.
	r.random.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	slices.SortStableFunc(found, func(a, b happened) int { return cmp.Compare(b.at.UnixMilli(), a.at.UnixMilli()) })
	found = found[min(offset, len(found)):min(offset+min(most, r.cap), len(found))]
	list := make([]json.RawMessage, len(found))
	for n, h := range found {
		list[n] = json.RawMessage(h.json())
	}
	_ = json.NewEncoder(w).Encode(list) // the client may be gone
}

// taken is what take was given.
type taken struct {
	values   []string
	position []byte
	fail     error // returned after some calls
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

func (c *taken) distinct() []string { return slices.Compact(slices.Sorted(slices.Values(c.values))) }

// wanted are the events as they must be taken, sorted.
func wanted(all []happened) []string {
	texts := make([]string, len(all))
	for n, h := range all {
		texts[n] = h.json()
	}
	slices.Sort(texts)
	return texts
}
