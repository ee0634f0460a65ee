package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/api"
	"github.com/countersign-io/countersign/internal/archiver"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
)

// logged is a log with every topic that the API and the archiver read.
func logged(t *testing.T) *stream.Cluster {
	t.Helper()
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.Prefix, cfg.RequestTimeout = kafkatest.Brokers(t), kafkatest.Name("api")+".", 3*time.Second
	cluster, err := stream.Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	var specs []stream.TopicSpec
	for _, topic := range []string{
		events.TopicEvents, events.TopicFindings, events.TopicRevocations, events.TopicReceipts, events.TopicDeadLetter, events.TopicMarks, events.TopicAudit,
		events.TopicAccess, events.TopicAlerts,
	} {
		spec := stream.TopicSpec{Name: topic, Partitions: 2, Replication: 1}
		switch topic {
		case events.TopicRevocations, events.TopicMarks, events.TopicAlerts, events.TopicAccess:
			spec.Compact = true
		}
		specs = append(specs, spec)
	}
	if err := cluster.EnsureTopics(t.Context(), specs); err != nil {
		t.Fatal(err)
	}
	return cluster
}

// running is an API that follows a log.
func running(t *testing.T, h api.History, cluster *stream.Cluster) client {
	t.Helper()
	sum := sha256.Sum256([]byte(secret))
	cfg := api.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	cfg.Tokens = []api.Token{{Name: "test", SHA256: hex.EncodeToString(sum[:]), Tenants: []string{"acme", "globex"}, Scopes: api.Scopes}}
	a, err := api.New(cfg, api.Deps{History: h, Log: cluster, Publisher: cluster.Publisher(stream.PublisherConfig{})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the API ended with %v", err)
		}
	})
	addr, err := a.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return client{t, "http://" + addr}
}

func (c client) mark(id, body string) report.Triage {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), http.MethodPut, c.base+"/v1/findings/"+id+"/triage", strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	var triage report.Triage
	if err := json.NewDecoder(res.Body).Decode(&triage); err != nil || res.StatusCode != http.StatusOK {
		c.Fatalf("marking: %d, %v", res.StatusCode, err)
	}
	return triage
}

// shows tells whether an API says that a mark holds, wherever it tells of it.
func (c client) shows(id string, want report.Triage) error {
	var details struct {
		Triage report.Triage
		Marks  []events.Mark
	}
	c.ask("/v1/findings/"+id+"/details", nil, &details)
	if details.Triage != want {
		return fmt.Errorf("the triage is %+v, want %+v", details.Triage, want)
	}
	var page struct {
		Findings []events.Finding
		Triage   map[string]report.Triage
	}
	c.ask("/v1/findings", with("triage", string(want.Verdict), "limit", "200"), &page)
	if len(page.Findings) != 1 || page.Triage[id] != want {
		return fmt.Errorf("%d findings are %s, with %+v", len(page.Findings), want.Verdict, page.Triage)
	}
	var rules struct{ Rules []report.Rule }
	c.ask("/v1/rules", morning, &rules)
	r := rules.Rules[0]
	if r.Detection != "LOC-01" || r.Title == "" || r.Findings != 30 || r.TruePositive+r.FalsePositive != 1 || r.Open != 29 || r.Precision == nil {
		return fmt.Errorf("the rule is %+v", r)
	}
	return nil
}

// A mark that one API has made is shown by another, and by one that starts later, before and after the archiver has brought it
// to the history.
func TestAMarkIsSeenByEveryAPI(t *testing.T) {
	t.Parallel()
	s, cluster := filled(t), logged(t)
	first, second := running(t, s, cluster), running(t, s, cluster)
	var page struct{ Findings []events.Finding }
	first.ask("/v1/findings", with("limit", "1"), &page)
	id := page.Findings[0].ID
	triage := first.mark(id, `{"verdict":"false_positive","comment":"it was Bo"}`)
	if err := first.shows(id, triage); err != nil {
		t.Errorf("where it was made: %v", err)
	}
	eventually := func(c client, what string, want report.Triage) {
		t.Helper()
		kafkatest.Eventually(t, time.Minute, func() error {
			if err := c.shows(id, want); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	eventually(second, "the other API", triage)
	eventually(running(t, s, cluster), "one that started later", triage)

	cfg := archiver.DefaultConfig()
	cfg.FlushInterval, cfg.SessionTimeout = 20*time.Millisecond, 2*time.Second
	copier, err := archiver.New(cfg, archiver.Deps{Consumer: cluster, Publisher: cluster.Publisher(stream.PublisherConfig{}), Store: s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- copier.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the archiver ended with %v", err)
		}
	})
	triage = second.mark(id, `{"verdict":"true_positive"}`)
	kafkatest.Eventually(t, time.Minute, func() error {
		n, err := s.Things(t.Context(), history.TableMarks)
		if err == nil && n != 2 {
			err = fmt.Errorf("%d marks are in the history", n)
		}
		return err
	})
	// This one has nothing but the history.
	if err := newClient(t, s).shows(id, triage); err != nil {
		t.Errorf("from the history: %v", err)
	}
	eventually(first, "the other API after the archiver", triage)
	var answer struct{ Marks []events.Mark }
	if first.ask("/v1/findings/"+id+"/details", nil, &answer); len(answer.Marks) != 2 || answer.Marks[0].ID != triage.Mark {
		t.Errorf("marks are %+v", answer.Marks)
	}
}

// What the new operations answer over a real history, with names that attackers choose.
func TestTriageOperationsOverTheRealHistory(t *testing.T) {
	t.Parallel()
	s := filled(t)
	c := newClient(t, s)
	var page struct{ Findings []events.Finding }
	c.ask("/v1/findings", with("limit", "1"), &page)
	id := page.Findings[0].ID
	receipts := history.NewReceipts()
	q := events.ID("requirement", "0")
	r := &events.Receipt{ID: "r1", Time: events.MillisOf(start), Tenant: "acme", User: "u1", Requirement: q, App: markup, Status: events.Challenged}
	if err := receipts.Append(r, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := s.Insert(t.Context(), &receipts.Block); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/v1/findings/" + id + "/details": `"near":{"previous":"`,
		"/v1/enforcement":                 `"unanswered":29`,
		"/v1/receipts":                    `"requirement":"` + q,
		"/v1/revocations/" + q:            `"findings":[]`,
		"/v1/rules":                       `"detection":"LOC-01"`,
		"/v1/sources":                     `"sources":[`,
		"/v1/alerts":                      `"alerts":[]`,
	} {
		parameters := morning
		if strings.Count(path, "/") > 2 || path == "/v1/sources" {
			parameters = nil
		}
		var answer map[string]any
		body := c.ask(path, parameters, &answer)
		if !strings.Contains(body, want) || strings.ContainsAny(body, "<>") || strings.Contains(body, "hidden") {
			t.Errorf("%s: %s, want %s", path, body, want)
		}
	}
	hidden := events.FindingID("LOC-01", 1, "hidden", "u1", events.EventID("hidden", "", "2"))
	for _, path := range []string{"/v1/findings/" + hidden + "/details", "/v1/revocations/" + events.ID("requirement", "2"), "/v1/revocations/x"} {
		if status, body := c.get(path, nil); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
