package notify

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/webhook"
)

// within bounds every wait of a test.
const within = 30 * time.Second

// whsec is a secret for tests.
const whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// inbox is a receiver of webhooks over TLS that notes what it takes.
type inbox struct {
	*httptest.Server
	ca string

	mu sync.Mutex
	// answer is asked for the status of each request; nil is 200.
	answer func(n int, w http.ResponseWriter) int
	n      int
	taken  []Message
	bodies []string
	header []http.Header
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	b := &inbox{}
	b.Server = httptest.NewTLSServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Close)
	b.ca = filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, b.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Certificate().Raw})))
	return b
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (b *inbox) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	status := http.StatusOK
	if b.answer != nil {
		status = b.answer(b.n, w)
	}
	b.bodies, b.header = append(b.bodies, r.URL.Path+" "+string(body)), append(b.header, r.Header.Clone())
	if status == http.StatusOK {
		var p payload
		if json.Unmarshal(body, &p) == nil && p.Data != nil {
			b.taken = append(b.taken, *p.Data)
		}
	}
	w.WriteHeader(status)
}

func (b *inbox) messages() []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Message(nil), b.taken...)
}

func (b *inbox) requests() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n
}

// world is a log with the topics that alerts need.
type world struct {
	t       *testing.T
	prefix  string
	brokers []string
	cluster *stream.Cluster
}

func newWorld(t *testing.T) *world { return newWorldOn(t, kafkatest.Brokers(t)) }

func newWorldOn(t *testing.T, brokers []string) *world {
	t.Helper()
	w := &world{t: t, prefix: kafkatest.Name("notify") + ".", brokers: brokers}
	w.cluster = w.connect()
	if err := w.cluster.EnsureTopics(t.Context(), []stream.TopicSpec{
		{Name: events.TopicFindings, Partitions: 2, Replication: 1},
		{Name: events.TopicRevocations, Partitions: 2, Replication: 1, Compact: true},
		{Name: events.TopicAlerts, Partitions: 1, Replication: 1, Compact: true},
		{Name: events.TopicDeadLetter, Partitions: 2, Replication: 1},
	}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) connect() *stream.Cluster {
	w.t.Helper()
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.Prefix, cfg.RequestTimeout = w.brokers, w.prefix, 3*time.Second
	c, err := stream.Connect(cfg, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// toHook is a configuration that tells a webhook of everything.
func (w *world) toHook(b *inbox) Config {
	cfg := DefaultConfig()
	cfg.Outbound.CAFile, cfg.Outbound.AllowNetworks = b.ca, []string{"127.0.0.0/8", "::1/128"}
	cfg.GroupWait, cfg.RetryMin, cfg.RetryMax, cfg.SessionTimeout = 20*time.Millisecond, 10*time.Millisecond, 50*time.Millisecond, 2*time.Second
	cfg.Targets = []Target{{Name: "hook", Type: TypeWebhook, URL: b.URL + "/hook", SecretFile: writeFile(w.t, filepath.Join(w.t.TempDir(), "secret"), whsec), Rate: 100_000}}
	cfg.Routes = []incident.Route{{Name: "all", To: []string{"hook"}, Resolved: true}}
	return cfg
}

// start runs a notifier on a cluster of its own until the returned function is called.
func (w *world) start(cfg Config) (stop func()) {
	w.t.Helper()
	n, err := New(cfg, Deps{Cluster: w.connect(), Logger: zaptest.NewLogger(w.t, zaptest.Level(zap.InfoLevel))})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) publish(topic, key string, value []byte) {
	w.t.Helper()
	err := w.cluster.Publisher(stream.PublisherConfig{}).Publish(w.t.Context(), topic, []stream.Record{{Key: []byte(key), Value: value}})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) find(f *events.Finding) {
	w.t.Helper()
	w.publish(events.TopicFindings, events.Key(f.Tenant, f.User.ID), events.Encode(f))
}

func (w *world) letters() []Letter {
	w.t.Helper()
	var list []Letter
	if err := Letters(w.t.Context(), w.cluster.Table(nil), func(l Letter) error { list = append(list, l); return nil }); err != nil {
		w.t.Fatal(err)
	}
	return list
}

// finding is the n-th of a user.
func finding(user string, n int, severity events.Severity, txn string) *events.Finding {
	f := &events.Finding{
		ID: fmt.Sprintf("finding-%s-%d", user, n), Detection: "LOC-01", Version: 1, Title: "Impossible travel", Summary: user + " was in two places",
		Tenant: "acme", User: events.User{ID: user, Name: user + "@example.com"}, EventID: "event", Time: events.MillisOf(time.Now()),
		Severity: severity, Disposition: events.Active,
	}
	f.Evidence.Sight = events.Sight{IP: "203.0.113.9", Place: events.Place{City: "Lagos", Country: "NG"}, Device: events.Device{OS: "Linux", Browser: "Chrome"}}
	if txn != "" {
		f.Decision = &events.Decision{Policy: "travel", Version: "1", Action: events.StepUp, Requirement: txn, Reason: "too fast"}
	}
	return f
}

func claims(user, txn string, status revocation.Status) *revocation.Claims {
	now := time.Now().Unix()
	c := &revocation.Claims{Issuer: revocation.DefaultIssuer, IssuedAt: now - 1, JTI: "jti-" + txn + string(status), Tenant: "acme", User: user, Status: status}
	c.ID, c.Action, c.Severity = txn, events.StepUp, events.High
	c.NotBefore, c.Expires, c.EventTime = now-1, now+3600, now-1
	c.ReasonAdmin, c.Policy, c.PolicyVersion, c.EventID = "a test", "travel", "1", "event"
	if status != revocation.Open {
		c.ClosedAt = now
	}
	return c
}

func (w *world) claim(c *revocation.Claims) {
	w.t.Helper()
	w.publish(events.TopicRevocations, revocation.Key(c.Tenant, c.User, c.ID), c.Encode())
}

func (w *world) eventually(check func() error) {
	w.t.Helper()
	kafkatest.Eventually(w.t, within, check)
}

func wantMessages(b *inbox, n int) func() error {
	return func() error {
		if got := b.messages(); len(got) != n {
			return fmt.Errorf("%d messages, want %d", len(got), n)
		}
		return nil
	}
}

func verified(t *testing.T, b *inbox) {
	t.Helper()
	secret, err := webhook.ParseSecret(whsec)
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.bodies {
		_, body, _ := cutPath(b.bodies[i])
		if err := (webhook.Secrets{secret}).Verify(b.header[i], []byte(body), time.Now()); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
}

func cutPath(s string) (path, body string, ok bool) {
	for i := range s {
		if s[i] == ' ' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
