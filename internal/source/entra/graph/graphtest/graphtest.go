// Package graphtest plays Microsoft Graph's reports for tests: collections that are filtered by time and type, paged with
// opaque skip tokens, newest first, and whose records appear later than they happened.
package graphtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Record is one record of a collection.
type Record struct {
	// Path is the collection, such as "/v1.0/auditLogs/signIns".
	Path string
	ID   string
	// Created is the moment by which the collection is filtered; until Appears the record is not there.
	Created, Appears time.Time
	// Type is the sign-in event type, for beta.
	Type string
}

// Upstream is the API. It is safe for concurrent use.
type Upstream struct {
	t   testing.TB
	now func() time.Time

	mu       sync.Mutex
	records  []Record
	top      int
	expired  int // skip tokens of older generations are refused
	shuffled bool
	repeated bool
	misled   string
	queries  []string
}

// New returns an upstream whose clock is now.
func New(t testing.TB, now func() time.Time) *Upstream {
	return &Upstream{t: t, now: now, top: 1000}
}

// Add adds records.
func (u *Upstream) Add(records ...Record) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.records = append(u.records, records...)
}

// PageSize makes pages smaller than asked for.
func (u *Upstream) PageSize(n int) { u.set(func() { u.top = n }) }

// Expire makes all next links given so far invalid, as they are after a while.
func (u *Upstream) Expire() { u.set(func() { u.expired++ }) }

// Shuffle turns the order of every page round.
func (u *Upstream) Shuffle() { u.set(func() { u.shuffled = true }) }

// Repeat begins every page with the last record of the one before it.
func (u *Upstream) Repeat() { u.set(func() { u.repeated = true }) }

// Mislead puts another beginning before next links, "" for the right one.
func (u *Upstream) Mislead(base string) { u.set(func() { u.misled = base }) }

func (u *Upstream) set(change func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change()
}

// Filters are the filters that were asked for so far, first pages only.
func (u *Upstream) Filters() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.queries)
}

// filters accepts what Graph documents, and nothing more: ge and le on the moment, and one sign-in event type.
var filters = regexp.MustCompile(`^(\w+) ge (\S+Z) and (\w+) le (\S+Z)(?: and signInEventTypes/any\(t: t eq '(\w+)'\))?$`)

var moments = map[string]string{
	"signIns": "createdDateTime", "directoryAudits": "activityDateTime", "riskDetections": "lastUpdatedDateTime", "riskyUsers": "riskLastUpdatedDateTime",
}

// ServeHTTP answers as Graph does.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	q := r.URL.Query()
	filter, offset := q.Get("$filter"), 0
	if token := q.Get("$skiptoken"); token != "" {
		var ok bool
		if filter, offset, ok = u.read(token); !ok {
			refuse(w, "Invalid Skip Token, skip token is null")
			return
		}
	} else {
		u.queries = append(u.queries, filter)
	}
	collection := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	f := filters.FindStringSubmatch(filter)
	if f == nil || f[1] != moments[collection] || f[3] != f[1] {
		refuse(w, "Invalid filter clause")
		return
	}
	from, err := time.Parse(time.RFC3339, f[2])
	to, err2 := time.Parse(time.RFC3339, f[4])
	if err != nil || err2 != nil || from.Before(u.now().Add(-90*24*time.Hour)) {
		refuse(w, "Invalid filter clause")
		return
	}
	top, err := strconv.Atoi(q.Get("$top"))
	if limit := map[bool]int{true: 500, false: 1000}[strings.Contains(r.URL.Path, "identityProtection")]; err != nil || top < 1 || top > limit {
		refuse(w, "Invalid page size")
		return
	}
	u.page(w, r, u.visible(r.URL.Path, from, to, f[5]), filter, offset, min(top, u.top))
}

// visible finds the records that are there now, newest first.
func (u *Upstream) visible(path string, from, to time.Time, kind string) []Record {
	if strings.HasPrefix(path, "/beta/auditLogs/signIns") && kind == "" {
		kind = "interactiveUser"
	}
	var out []Record
	for _, r := range u.records {
		if r.Path == path && !r.Created.Before(from) && !r.Created.After(to) && !r.Appears.After(u.now()) && r.Type == kind {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b Record) int { return b.Created.Compare(a.Created) })
	return out
}

func (u *Upstream) page(w http.ResponseWriter, r *http.Request, found []Record, filter string, offset, top int) {
	first, end := min(offset, len(found)), min(offset+top, len(found))
	if u.repeated && first > 0 {
		first--
	}
	page := map[string]any{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#" + strings.TrimPrefix(r.URL.Path, "/v1.0/")}
	value := []any{}
	for _, record := range found[first:end] {
		value = append(value, record.json())
	}
	if u.shuffled {
		slices.Reverse(value)
	}
	page["value"] = value
	if end < len(found) {
		base := "http://" + r.Host
		if u.misled != "" {
			base = u.misled
		}
		page["@odata.nextLink"] = fmt.Sprintf("%s%s?$top=%d&$skiptoken=%s", base, r.URL.Path, top, u.write(filter, end))
	}
	w.Header().Set("Content-Type", "application/json;odata.metadata=minimal")
	if err := json.NewEncoder(w).Encode(page); err != nil {
		u.t.Logf("answering: %v", err) // the client is gone
	}
}

func (u *Upstream) write(filter string, offset int) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d %s", u.expired, offset, filter))
}

func (u *Upstream) read(token string) (filter string, offset int, ok bool) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	parts := strings.SplitN(string(text), " ", 3)
	if err != nil || len(parts) != 3 || parts[0] != strconv.Itoa(u.expired) {
		return "", 0, false
	}
	offset, err = strconv.Atoi(parts[1])
	return parts[2], offset, err == nil
}

// json is a record with what the decoder needs.
func (r Record) json() map[string]any {
	at := r.Created.UTC().Format(time.RFC3339Nano)
	const user, name = "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315", "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315@example.com"
	switch r.Path[strings.LastIndex(r.Path, "/")+1:] {
	case "directoryAudits":
		return map[string]any{
			"id": r.ID, "activityDateTime": at, "category": "UserManagement", "activityDisplayName": "Reset user password", "operationType": "Update", "result": "success",
			"loggedByService": "Core Directory", "initiatedBy": map[string]any{"user": map[string]any{"id": user, "userPrincipalName": name}},
			"targetResources": []any{map[string]any{"id": user, "type": "User", "userPrincipalName": name}},
		}
	case "riskDetections":
		return map[string]any{
			"id": r.ID, "userId": user, "userPrincipalName": name, "riskEventType": "unfamiliarFeatures", "riskLevel": "medium", "riskState": "atRisk",
			"riskDetail": "none", "activityDateTime": at, "detectedDateTime": at, "lastUpdatedDateTime": at, "ipAddress": "192.0.2.10",
		}
	case "riskyUsers":
		return map[string]any{
			"id": r.ID, "userPrincipalName": name, "riskLevel": "high", "riskState": "atRisk", "riskDetail": "none", "riskLastUpdatedDateTime": at, "isDeleted": false,
		}
	}
	out := map[string]any{
		"id": r.ID, "createdDateTime": at, "userId": user, "userPrincipalName": name, "appId": "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00",
		"ipAddress": "192.0.2.10", "isInteractive": true, "status": map[string]any{"errorCode": 0},
	}
	if r.Type != "" {
		out["signInEventTypes"] = []string{r.Type}
	}
	return out
}

func refuse(w http.ResponseWriter, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": "BadRequest", "message": message}}) // a client that is gone
}
