package google_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/source/google"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

const (
	admin  = "admin@example.com"
	robot  = "reader@example.iam.example.com"
	scope  = "https://www.googleapis.com/auth/admin.reports.audit.readonly"
	prefix = "/admin/reports/v1/activity/users/all/applications/"
)

// reports plays the Reports API and its token endpoint: newest first, pages by token, records that appear late.
type reports struct {
	*upstreamtest.Server

	public   *rsa.PublicKey
	pageSize int
	now      func() time.Time

	mu         sync.Mutex
	all        []report
	bearer     string
	tokens     int // how many were given out
	generation int // page tokens of an older one are refused
	asked      int // how many pages were asked for
	answer     func(w http.ResponseWriter) bool
	disorder   *mathrand.Rand // when set, pages come in no order, with records of the page before
}

// report is one activity that the API has.
type report struct {
	application, event string
	qualifier          int
	at                 time.Time
	// appears is when it is to be seen, after how many requests.
	appears time.Time
	after   int
}

func (r *report) sourceID() string {
	return fmt.Sprintf("%s/%d#0", r.at.UTC().Format("2006-01-02T15:04:05.000Z"), r.qualifier)
}

func (r *report) json() json.RawMessage {
	raw, err := json.Marshal(object{
		"kind":      "admin#reports#activity",
		"id":        object{"time": r.at.UTC().Format("2006-01-02T15:04:05.000Z"), "uniqueQualifier": fmt.Sprint(r.qualifier), "applicationName": r.application, "customerId": "C0example"},
		"actor":     object{"email": fmt.Sprintf("u%d@example.com", r.qualifier%7), "profileId": fmt.Sprintf("10000000000000000000%d", r.qualifier%7)},
		"ipAddress": "192.0.2.7", "events": []object{happening(r.event)},
	})
	if err != nil {
		panic(err)
	}
	return raw
}

func newReports(t *testing.T, now func() time.Time) (*reports, google.Config) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r := &reports{public: &key.PublicKey, pageSize: 5, now: now}
	r.Server = upstreamtest.New(t, r)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := writeKey(t, object{
		"type": "service_account", "client_email": robot, "private_key_id": "k1", "token_uri": r.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	})
	return r, google.Config{Name: "workspace", CredentialsFile: file, Admin: admin, BaseURL: r.URL, Applications: []string{"login", "token"}}
}

func writeKey(t *testing.T, key object) string {
	t.Helper()
	raw, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// add gives the API one more activity and returns its source id.
func (r *reports) add(application, event string, at time.Time, late time.Duration) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := report{application: application, event: event, qualifier: len(r.all) + 1, at: at.Truncate(time.Millisecond), appears: at.Add(late)}
	r.all = append(r.all, one)
	return one.sourceID()
}

func (r *reports) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if req.URL.Path == "/token" {
		r.serveToken(w, req)
		return
	}
	application, ok := strings.CutPrefix(req.URL.Path, prefix)
	switch {
	case !ok:
		http.NotFound(w, req)
	case r.bearer == "" || req.Header.Get("Authorization") != "Bearer "+r.bearer:
		refuse(w, http.StatusUnauthorized, "authError", "Invalid Credentials")
	case r.answer != nil && r.answer(w):
	default:
		r.serveList(w, req, application)
	}
}

func refuse(w http.ResponseWriter, status int, reason, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object{"error": object{"code": status, "message": message, "errors": []object{{"reason": reason}}}})
}

// serveToken gives a token out for an assertion that is signed, for us, by the service account, for the administrator.
func (r *reports) serveToken(w http.ResponseWriter, req *http.Request) {
	parts := strings.Split(req.FormValue("assertion"), ".")
	if len(parts) != 3 || req.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuse(w, http.StatusBadRequest, "invalid_request", "no assertion")
		return
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(r.public, crypto.SHA256, digest[:], signature) != nil {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`))
		return
	}
	var claims struct{ Iss, Sub, Aud, Scope string }
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(raw, &claims) != nil || claims.Iss != robot || claims.Sub != admin || claims.Scope != scope || claims.Aud != r.URL+"/token" {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"unauthorized_client","error_description":"Client is unauthorized to retrieve access tokens using this method."}`))
		return
	}
	r.tokens++
	r.bearer = fmt.Sprintf("token-%d", r.tokens)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object{"access_token": r.bearer, "token_type": "Bearer", "expires_in": 3600})
}

func (r *reports) serveList(w http.ResponseWriter, req *http.Request, application string) {
	r.asked++
	q := req.URL.Query()
	start, err1 := time.Parse(time.RFC3339, q.Get("startTime"))
	end, err2 := time.Parse(time.RFC3339, q.Get("endTime"))
	if err1 != nil || err2 != nil || !start.Before(end) || q.Get("maxResults") != "1000" {
		refuse(w, http.StatusBadRequest, "invalid", "Start time must be before end time.")
		return
	}
	from := 0
	if text := q.Get("pageToken"); text != "" {
		var generation int
		if n, err := fmt.Sscanf(text, "g%d:%d", &generation, &from); n != 2 || err != nil || generation != r.generation {
			refuse(w, http.StatusBadRequest, "invalid", "Invalid page token.")
			return
		}
	}
	var found []report
	for _, a := range r.all {
		seen := !a.appears.After(r.now()) && a.after <= r.asked
		if a.application == application && seen && !a.at.Before(start) && !a.at.After(end) && (q.Get("eventName") == "" || q.Get("eventName") == a.event) {
			found = append(found, a)
		}
	}
	slices.SortStableFunc(found, func(a, b report) int { return b.at.Compare(a.at) })
	_ = json.NewEncoder(w).Encode(r.page(found, from))
}

// page is one page of what was found, as the API answers: a page without activities has no items at all.
func (r *reports) page(found []report, from int) object {
	begin := min(from, len(found))
	page := slices.Clone(found[begin:min(begin+r.pageSize, len(found))])
	answer := object{"kind": "admin#reports#activities", "etag": "\"e\""}
	if begin+len(page) < len(found) {
		answer["nextPageToken"] = fmt.Sprintf("g%d:%d", r.generation, begin+len(page))
	}
	if r.disorder != nil {
		page = append(page, found[max(begin-2, 0):begin]...)
		r.disorder.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
	}
	var items []json.RawMessage
	for _, a := range page {
		items = append(items, a.json())
	}
	if len(items) > 0 {
		answer["items"] = items
	}
	return answer
}

// forgetPages makes every page token that was given out one that is no longer known.
func (r *reports) forgetPages() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
}

// otherKey is a key that the token endpoint does not know.
func otherKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}
