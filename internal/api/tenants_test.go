package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/api"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/schemas"
)

// How an operation keeps tenants apart.
const (
	// inPath: the tenant is in the path, and a foreign one is not found.
	inPath = "path"
	// asParameter: the tenant is a parameter, and without it the answer is about the caller's tenants.
	asParameter = "parameter"
	// byID: the thing is not found when it is a foreign tenant's.
	byID = "id"
	// whole: it is about the installation, and only for who may see all tenants.
	whole = "whole"
	// nobody: it tells nothing of any tenant.
	nobody = "nobody"
)

// tenantRules names each operation's rule. A new operation without one fails the test: think first.
var tenantRules = map[string]string{
	"alerts": asParameter, "apps": asParameter, "audit": asParameter, "enforcement": asParameter, "erasures": asParameter, "export": asParameter,
	"findings": asParameter, "map": asParameter, "network": asParameter, "overview": asParameter, "policies": asParameter, "receipts": asParameter,
	"revocations": asParameter, "rules": asParameter, "streams": asParameter, "users": asParameter,

	"app": inPath, "session": inPath, "session-events": inPath, "user": inPath, "erase-user": inPath, "lanes": inPath, "timeline": inPath,

	"finding": byID, "finding-details": byID, "finding-explanation": byID, "triage-finding": byID, "revocation": byID,
	"backtest": byID, "cancel-backtest": byID, "operate-stream": byID, "token-revoke": byID,

	"dead-letters": whole, "dead-letter": whole, "replay-dead-letter": whole,

	// Job lists are of their owner's tenants, tokens of those whose rights the caller has: actions_test.go, tokens_test.go.
	"backtests": nobody, "start-backtest": nobody, "tokens": nobody, "token-create": nobody,
	"check-policy": nobody, "me": nobody, "pipeline": nobody, "sources": nobody,
}

type described struct {
	Paths map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Parameters  []struct {
			Name, In string
			Required bool
		}
		RequestBody json.RawMessage
		Security    []map[string][]string
	}
}

func document(t *testing.T) described {
	t.Helper()
	raw, err := api.Document()
	if err != nil {
		t.Fatal(err)
	}
	var d described
	if err := json.Unmarshal(raw, &d); err != nil || len(d.Paths) < 30 {
		t.Fatalf("%d paths, %v", len(d.Paths), err)
	}
	return d
}

// TestNoOperationCrossesTenants asks every operation for a foreign tenant's data, on the real engine.
func TestNoOperationCrossesTenants(t *testing.T) {
	t.Parallel()
	s := filled(t)
	hash := func(secret string) string { sum := sha256.Sum256([]byte(secret)); return hex.EncodeToString(sum[:]) }
	cfg := api.DefaultConfig()
	cfg.Tokens = []api.Token{
		{Name: "some", SHA256: hash(secret), Tenants: []string{"acme", "globex"}, Role: api.RoleAdmin},
		{Name: "all", SHA256: hash("all-" + secret), Tenants: []string{"*"}, Role: api.RoleAdmin},
	}
	a, err := api.New(cfg, api.Deps{History: s, Bulk: s, Log: silent{}, Publisher: silent{}, Schemas: schemas.FS})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a.Handler())
	t.Cleanup(server.Close)
	ask := func(method, path, secret, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(raw)
	}
	hidden := "hidden"
	foreign := map[string]string{
		"{tenant}": hidden, "{user}": "u1", "{session}": "s", "{app}": "a", "{kind}": "findings", "{verb}": "pause",
		"{id}": events.FindingID("LOC-01", 1, hidden, "u1", events.EventID(hidden, "", "2")),
	}
	job := strings.Repeat("a", 26)
	ids := map[string]string{"revocation": events.ID("requirement", "2"), "backtest": job, "cancel-backtest": job}
	bodies := map[string]string{"triage-finding": `{"verdict":"false_positive"}`, "erase-user": `{"confirm":"u1","reason":"because"}`}
	span := "from=2026-03-04T07:00:00Z&to=2026-03-04T12:00:00Z"
	// Where all of it is more than what some may see, so that the test would see what it must not.
	full := map[string]bool{"findings": true, "revocations": true, "overview": true, "users": true, "export": true, "map": true}
	seen := map[string]bool{}
	for path, methods := range document(t).Paths {
		for method, o := range methods {
			id, rule := o.OperationID, tenantRules[o.OperationID]
			seen[id] = true
			if rule == "" {
				t.Errorf("%s (%s %s) has no tenant rule", id, method, path)
				continue
			}
			address := path
			for name, value := range foreign {
				if name == "{id}" && ids[id] != "" {
					value = ids[id]
				}
				address = strings.ReplaceAll(address, name, value)
			}
			query, tenantParameter := []string{}, false
			for _, p := range o.Parameters {
				switch {
				case p.Name == "tenant" && p.In == "query":
					tenantParameter = true
				case p.Name == "from":
					query = append(query, span)
				case p.Name == "ip":
					query = append(query, "ip=192.0.2.1")
				}
			}
			body := bodies[id]
			if body == "" && o.RequestBody != nil && rule != nobody {
				body = "{}"
			}
			method = strings.ToUpper(method)
			with := func(more ...string) string { return address + "?" + strings.Join(append(more, query...), "&") }
			switch rule {
			case inPath, byID:
				status, text := ask(method, with(), secret, body)
				if status != http.StatusNotFound && (id != "token-revoke" || status != http.StatusServiceUnavailable) {
					t.Errorf("%s %s of a foreign tenant: %d %.300s", method, with(), status, text)
				}
			case whole:
				if status, text := ask(method, with(), secret, body); status != http.StatusForbidden && status != http.StatusNotFound {
					t.Errorf("%s %s for who may see some tenants: %d %.300s", method, with(), status, text)
				}
			case asParameter:
				if !tenantParameter {
					t.Errorf("%s has no parameter tenant", id)
				}
				status, some := ask(method, with(), secret, body)
				if strings.Contains(some, hidden) {
					t.Errorf("%s tells of a foreign tenant: %d %.300s", with(), status, some)
				}
				status, none := ask(method, with("tenant="+hidden), secret, body)
				if strings.Contains(none, hidden) || status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable {
					t.Errorf("%s tells of a foreign tenant: %d %.300s", with("tenant="+hidden), status, none)
				}
				if _, all := ask(method, with(), "all-"+secret, body); full[id] && (all == some || some == none) {
					t.Errorf("%s answers all the same: all %.300s\nsome %.300s\nnone %.300s", id, all, some, none)
				}
			}
		}
	}
	for id := range tenantRules {
		if !seen[id] {
			t.Errorf("there is no operation %s", id)
		}
	}
}
