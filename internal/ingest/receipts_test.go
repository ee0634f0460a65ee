package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/stepup"
)

// gate is a server with tokens of three kinds: "receipts" sends nothing else, "events" may not send them, "both" is of two
// tenants.
func gate(t *testing.T, to Publisher, change func(*Config)) *httptest.Server {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(tokenOf(name)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cfg := DefaultConfig()
	cfg.Tokens = []TokenConfig{
		{File: file("receipts"), Source: "payroll", Tenants: []string{"acme"}, Format: FormatReceipt},
		{File: file("events"), Source: "feed", Tenants: []string{"acme"}},
		{File: file("both"), Source: "suite", Tenants: []string{"acme", "globex"}, Format: FormatSession, Formats: []string{FormatReceipt}},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, Deps{Pipeline: newPipeline(t, to), Decoders: decoders()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server
}

func tokenOf(name string) string { return name + strings.Repeat("x", minToken) }

func bearerOf(name string) []string { return []string{"Authorization", "Bearer " + tokenOf(name)} }

const goodReceipt = `{"time":"2026-03-04T08:15:31.244Z","user":"u1","session":"s1","requirement":"r1","jti":"j1","app":"bank","status":"challenged"}`

func TestReceiptsReachTheLogAsTheSDKWritesThem(t *testing.T) {
	t.Parallel()
	var l log
	server := gate(t, &l, nil)
	sender, err := stepup.NewReceiptSender(stepup.ReceiptConfig{
		URL: server.URL + "/v1/receipts", App: "bank", Token: func() (string, error) { return tokenOf("receipts"), nil },
		OnError: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 4, 8, 15, 31, 244e6, time.UTC)
	statuses := []stepup.ReceiptStatus{stepup.Delivered, stepup.Challenged, stepup.Satisfied, stepup.Refused, stepup.Revoked}
	var want []events.Receipt
	for _, status := range statuses {
		sender.Record(stepup.Receipt{
			Time: at, Subject: stepup.Subject{Tenant: "acme", User: "u1", Session: "s1"}, Requirement: "r1", JTI: "j1", Status: status,
		})
		want = append(want, events.Receipt{
			ID: events.ID("receipt", "bank", "r1", "j1", "s1", string(status)), Time: events.MillisOf(at), Tenant: "acme", User: "u1",
			Session: "s1", Requirement: "r1", JTI: "j1", App: "bank", Status: events.ReceiptStatus(status),
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what waits is still sent
	if err := sender.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]events.Receipt{"acme/u1": want}, l.receipts); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
	if s := sender.Stats(); s != (stepup.ReceiptStats{Recorded: 5, Sent: 5}) {
		t.Errorf("stats %+v", s)
	}
}

func TestReceiptsNeedTheirOwnPermission(t *testing.T) {
	t.Parallel()
	var l log
	server := gate(t, &l, nil)
	for _, c := range []struct {
		path, token string
		status      int
	}{
		{"/v1/receipts", "receipts", 200},
		{"/v1/receipts", "events", 403},
		{"/v1/receipts", "nobody", 401},
		{"/v1/events", "receipts", 400},
		{"/v1/events?format=event", "receipts", 403},
		{"/v1/events?format=receipt", "events", 400},
		{"/v1/sessions", "receipts", 403},
	} {
		status, text := request(t, server, http.MethodPost, c.path, goodReceipt, bearerOf(c.token)...)
		if status != c.status {
			t.Errorf("%s with the token %s: %d %s, want %d", c.path, c.token, status, text, c.status)
		}
	}
	if len(l.receipts["acme/u1"]) != 1 || len(l.events) != 0 {
		t.Errorf("on the log: %+v, %+v", l.receipts, l.events)
	}
}

func TestBadReceiptsAreToldOneByOne(t *testing.T) {
	t.Parallel()
	with := func(from, to string) string {
		text := strings.Replace(goodReceipt, from, to, 1)
		if text == goodReceipt {
			t.Fatalf("%s is not in the receipt", from)
		}
		return text
	}
	for name, c := range map[string]struct{ body, token, want string }{
		"no object":         {`"receipt"`, "receipts", "parse error"},
		"no user":           {with(`"user":"u1"`, `"user":""`), "receipts", "user: is missing"},
		"no requirement":    {with(`"requirement":"r1",`, ``), "receipts", "requirement: is missing"},
		"odd status":        {with("challenged", "seen"), "receipts", "status: is"},
		"no status":         {with(`,"status":"challenged"`, ``), "receipts", "status: is"},
		"control character": {with(`"s1"`, `"s\u0000"`), "receipts", "session: has control characters"},
		"long jti":          {with(`"j1"`, `"`+strings.Repeat("j", 257)+`"`), "receipts", "jti: has 257 bytes"},
		"no time":           {with(`"time":"2026-03-04T08:15:31.244Z",`, ``), "receipts", "time: is missing"},
		"the future":        {with("2026-03", "2126-03"), "receipts", "in the future"},
		"long ago":          {with("2026-03", "1996-03"), "receipts", "older than"},
		"another's tenant":  {with(`"user"`, `"tenant":"globex","user"`), "receipts", "may not write"},
		"which tenant":      {goodReceipt, "both", "tenant: is"},
		"larger":            {with(`"j1"`, `"`+strings.Repeat("j", maxReceipt)+`"`), "receipts", "is larger"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l log
			server := gate(t, &l, nil)
			good := with(`"user"`, `"tenant":"acme","user"`)
			status, text := request(t, server, http.MethodPost, "/v1/receipts", good+"\n"+c.body+"\n"+good, bearerOf(c.token)...)
			var answer struct {
				Accepted int
				Rejected []struct {
					Line  int
					Error string
				}
			}
			if err := json.Unmarshal([]byte(text), &answer); err != nil {
				t.Fatal(err)
			}
			if status != 200 || answer.Accepted != 2 || len(answer.Rejected) != 1 || answer.Rejected[0].Line != 2 || !strings.Contains(answer.Rejected[0].Error, c.want) {
				t.Errorf("%d %s, want line 2 refused: %s", status, text, c.want)
			}
			if len(l.receipts["acme/u1"]) != 2 || len(l.dead) != 1 || l.dead[0].Stage != "ingest" {
				t.Errorf("on the log: %+v, dead letters %+v", l.receipts, l.dead)
			}
		})
	}
}

func TestReceiptsInEveryLayoutAndForm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body     string
		header   []string
		status   int
		accepted int
	}{
		"one":         {goodReceipt, nil, 200, 1},
		"array":       {"[" + goodReceipt + "," + goodReceipt + "]", []string{"Content-Type", "application/json"}, 200, 2},
		"lines":       {goodReceipt + "\n" + goodReceipt + "\n", []string{"Content-Type", "application/x-ndjson"}, 200, 2},
		"none":        {"", nil, 400, 0},
		"all refused": {"{}", nil, 400, 0},
		"cloud event": {"{}", []string{"Content-Type", "application/cloudevents+json"}, 415, 0},
		"binary mode": {goodReceipt, []string{"ce-specversion", "1.0"}, 415, 0},
		"xml":         {"<a/>", []string{"Content-Type", "application/xml"}, 415, 0},
		"too many":    {strings.Repeat(goodReceipt+"\n", 4), nil, 413, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l log
			server := gate(t, &l, func(c *Config) { c.MaxRecords = 3 })
			status, text := request(t, server, http.MethodPost, "/v1/receipts", c.body, append(c.header, bearerOf("receipts")...)...)
			if status != c.status || len(l.receipts["acme/u1"]) != c.accepted || !strings.Contains(text, fmt.Sprintf(`"accepted":%d`, c.accepted)) {
				t.Errorf("%d %s, %d on the log", status, text, len(l.receipts["acme/u1"]))
			}
		})
	}
}

// Nothing is acknowledged before the log has it.
func TestReceiptsAreNotAcknowledgedWithoutTheLog(t *testing.T) {
	t.Parallel()
	var l log
	l.fail(errors.New("no broker"))
	server := gate(t, &l, nil)
	if status, text := request(t, server, http.MethodPost, "/v1/receipts", goodReceipt, bearerOf("receipts")...); status != 503 || !strings.Contains(text, `"accepted":0`) {
		t.Errorf("%d %s", status, text)
	}
}

func TestManyReceiptsOfOneRequest(t *testing.T) {
	t.Parallel()
	var l log
	server := gate(t, &l, nil)
	const n = 2*chunkEvents + 7
	status, text := request(t, server, http.MethodPost, "/v1/receipts", strings.Repeat(goodReceipt+"\n", n), bearerOf("receipts")...)
	if status != 200 || len(l.receipts["acme/u1"]) != n {
		t.Errorf("%d %s, %d on the log", status, text, len(l.receipts["acme/u1"]))
	}
}
