package courier

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/ssf/dialect"
	"github.com/countersign-io/countersign/internal/stream"
)

// within bounds every wait of a test.
const within = 30 * time.Second

// receivers are those of the tests: app, one of google in a tenant whose streams begin without subjects, and one of Apple.
var receivers = ssf.Config{
	BaseURL: "https://tr.example.com",
	Tenants: []ssf.Tenant{{Name: "acme"}, {Name: "quiet", DefaultSubjects: ssf.SubjectsNone}},
	Clients: []ssf.Client{
		{ID: app.ID, Tenant: app.Tenant, Audience: app.Audience, MaxStreams: app.MaxStreams},
		{ID: "workspace", Tenant: "quiet", Dialect: ssf.DialectGoogle, Audience: []string{ssf.GoogleAudience}},
		{ID: "phone", Tenant: "acme", Dialect: ssf.DialectAppleSSE, Audience: []string{"https://federation.example.com/org1/*"}, SubjectIssuer: "https://idp.example.com"},
	},
	Limits: ssf.DefaultConfig().Limits,
}

// app is the receiver of the tests, and what it may.
var app = ssf.Receiver{ID: "app", Tenant: "acme", Audience: []string{"https://app.example.com"}, MaxStreams: 10_000}

// signer is made once: keys take long.
var signer = sync.OnceValue(func() *set.Key {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	key, err := set.NewKey(private)
	if err != nil {
		panic(err)
	}
	return key
})

// world is a log with the topics of the courier.
type world struct {
	t       *testing.T
	brokers []string
	prefix  string
	cluster *stream.Cluster
	made    int
	// receivers are the clients that couriers know that are started from now on.
	receivers ssf.Config
	// log, if set, is theirs; idle ones may be given no streams.
	log  *zap.Logger
	idle bool
	// gone are the addresses of couriers that were stopped.
	gone map[string]bool
}

func newWorld(t *testing.T) *world { return newWorldOn(t, kafkatest.Brokers(t)) }

func newWorldOn(t *testing.T, brokers []string) *world {
	t.Helper()
	w := &world{t: t, brokers: brokers, prefix: kafkatest.Name("courier") + ".", receivers: receivers, gone: map[string]bool{}}
	w.cluster = w.connect()
	var specs []stream.TopicSpec
	for _, name := range []string{events.TopicRevocations, events.TopicStreams} {
		specs = append(specs, stream.TopicSpec{Name: name, Partitions: 2, Replication: 1, Compact: true})
	}
	specs = append(specs, stream.TopicSpec{Name: events.TopicDeadLetter, Partitions: 1, Replication: 1})
	if err := w.cluster.EnsureTopics(t.Context(), specs); err != nil {
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

// decide writes a decision about a user onto the log and returns its jti.
func (w *world) decide(user string) string {
	w.t.Helper()
	w.made++
	return w.decideAs(user, fmt.Sprintf("%s-%d", user, w.made))
}

func (w *world) decideAs(user, id string) string {
	w.t.Helper()
	w.append(claimsOf(user, id))
	return "jti-" + id
}

func claimsOf(user, id string) revocation.Claims {
	c := revocation.Claims{
		Issuer: revocation.DefaultIssuer, IssuedAt: time.Now().Unix() - 1, JTI: "jti-" + id, Tenant: "acme", User: user, Status: revocation.Open,
	}
	c.ID, c.Action, c.Session, c.Severity = id, events.RevokeSession, "session-1", events.High
	c.NotBefore, c.Expires, c.EventTime = time.Now().Unix()-1, time.Now().Unix()+3600, time.Now().Unix()-1
	c.ReasonAdmin, c.Policy, c.PolicyVersion, c.EventID = "a test", "test", "1", "event-"+id
	return c
}

func (w *world) append(list ...revocation.Claims) {
	w.t.Helper()
	p := w.cluster.Producer()
	for _, c := range list {
		user := events.Key(c.Tenant, c.User)
		record := stream.Record{Key: []byte(revocation.Key(c.Tenant, c.User, c.ID)), Value: c.Encode()}
		if _, err := p.Produce(w.t.Context(), events.TopicRevocations, stream.PartitionFor([]byte(user), 2), []stream.Record{record}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// letters are the dead letters so far.
func (w *world) letters() []events.DeadLetter {
	w.t.Helper()
	var out []events.DeadLetter
	if err := w.cluster.Table(nil).Load(w.t.Context(), events.TopicDeadLetter, func(r stream.Record) error {
		d, err := events.DecodeDeadLetter(r.Value)
		if err == nil {
			out = append(out, *d)
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// running is one courier at work.
type running struct {
	*Courier
	t       *testing.T
	world   *world
	metrics *prometheus.Registry
	end     context.CancelFunc
	done    chan error
}

// testConfig is fast.
func testConfig(w *world) Config {
	cfg := DefaultConfig()
	cfg.Listen, cfg.InsecurePlain = "127.0.0.1:0", true
	cfg.Group = "couriers"
	cfg.SessionTimeout, cfg.HeartbeatInterval = 2*time.Second, 100*time.Millisecond
	cfg.FlushEvery, cfg.WatchEvery = 5*time.Millisecond, 20*time.Millisecond
	cfg.RetryMin, cfg.RetryMax = 5*time.Millisecond, 40*time.Millisecond
	cfg.SlowRetryMin, cfg.SlowRetryMax = 20*time.Millisecond, 40*time.Millisecond
	cfg.RetryAfterMax = 2 * time.Second
	cfg.RedeliverAfter = time.Minute
	cfg.Outbound.Timeout = time.Second
	secrets := filepath.Join(w.t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte(strings.Repeat("0123456789", 4)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	token := filepath.Join(w.t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(operatorToken), 0o600); err != nil {
		w.t.Fatal(err)
	}
	cfg.SecretsKeyFile, cfg.OperatorTokens = secrets, []OperatorToken{{Name: "tests", File: token}}
	return cfg
}

const operatorToken = "the-token-of-the-operator"

// start runs a courier until the test ends, or stop is called.
func (w *world) start(change func(*Config)) *running {
	w.t.Helper()
	cfg := testConfig(w)
	if change != nil {
		change(&cfg)
	}
	r := &running{t: w.t, metrics: prometheus.NewRegistry(), done: make(chan error, 1)}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 64} // the receivers of the tests
	w.t.Cleanup(transport.CloseIdleConnections)
	log := zap.NewNop()
	if w.log != nil {
		log = w.log
	} else if testing.Verbose() {
		log = zaptest.NewLogger(w.t)
	}
	c, err := New(cfg, Deps{
		Cluster:   w.connect(),
		Sign:      func(ctx context.Context, t *set.Token) (string, error) { return set.Sign(ctx, signer(), t) },
		Client:    &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Receiver:  w.receivers.Receiver,
		NewStream: func(body []byte) (ssf.Stream, error) { return w.receivers.NewStream(body, mustBeHTTPS) },
		Handler: func(reg ssf.Registry, forward Forward) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // the least that passes on
				body, _ := io.ReadAll(r.Body)
				s, err := reg.Stream(r.Context(), app, strings.TrimPrefix(r.URL.Path, "/"))
				if elsewhere, ok := errors.AsType[*ssf.ElsewhereError](err); ok {
					forward(w, r, body, elsewhere.URL)
					return
				}
				if err != nil {
					http.Error(w, err.Error(), http.StatusNotFound)
					return
				}
				fmt.Fprintf(w, "%s %s", s.ID, body)
			}), nil
		},
		Logger: log, Registerer: r.metrics,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.Courier, r.end = c, cancel
	go func() { r.done <- c.Run(ctx) }()
	w.t.Cleanup(r.stop)
	if _, err := c.Addr(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	r.world = w
	delete(w.gone, c.url)
	eventually(w.t, "the courier holds streams, and nobody who was stopped does", func() bool {
		for p := range c.partitions {
			if _, held, _ := c.table.holder(p); w.gone[held.URL] {
				return false
			}
		}
		return w.idle || len(c.held()) > 0
	})
	return r
}

func mustBeHTTPS(address string) error {
	if !strings.HasPrefix(address, "https://") {
		return errors.New("must be https")
	}
	return nil
}

func (r *running) stop() {
	r.end()
	if r.world != nil {
		r.world.gone[r.url] = true
	}
	if err, ok := <-r.done; ok {
		close(r.done)
		if err != nil {
			r.t.Errorf("the courier ended with %v", err)
		}
	}
}

// pushTo makes a stream that is pushed to url.
func (r *running) pushTo(url string) ssf.Stream {
	r.t.Helper()
	return r.create(ssf.Delivery{Method: ssf.MethodPush, URL: url, Authorization: "Bearer of the receiver"})
}

func (r *running) create(d ssf.Delivery) ssf.Stream {
	r.t.Helper()
	s, err := r.Create(r.t.Context(), ssf.Stream{
		Tenant: "acme", Receiver: app.ID, Issuer: "https://tr.example.com/acme", Audience: []string{"https://app.example.com"},
		Delivery: d, DefaultSubjects: ssf.SubjectsAll, Requested: []string{dialect.SessionRevoked, dialect.StepUpRequired},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// got is one SET that a receiver got.
type got struct {
	JTI, User, Type string
	Header          http.Header
	Event           map[string]any
}

func parse(compact string) (got, error) {
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return got{}, errors.New("no compact SET")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return got{}, err
	}
	var claims struct {
		JTI     string                    `json:"jti"`
		Subject map[string]any            `json:"sub_id"`
		Events  map[string]map[string]any `json:"events"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return got{}, err
	}
	g := got{JTI: claims.JTI}
	for kind, event := range claims.Events {
		g.Type, g.Event = kind, event
	}
	if user, ok := claims.Subject["user"].(map[string]any); ok {
		g.User, _ = user["id"].(string)
	}
	return g, nil
}

// receiver takes pushes and answers as the test says.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	seen   []got
	answer func(n int, g got, w http.ResponseWriter)
}

// newReceiver starts one. answer is asked under a lock, with the number of the request from 1; nil takes everything.
func newReceiver(t *testing.T, answer func(n int, g got, w http.ResponseWriter)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	n := 0
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		g, err := parse(string(body))
		if err != nil {
			t.Errorf("received %q: %v", body, err)
		}
		g.Header = q.Header
		r.mu.Lock()
		n++
		number, answer := n, r.answer
		r.mu.Unlock()
		out := &ssf.StatusWriter{ResponseWriter: w}
		if answer != nil {
			answer(number, g, out)
		}
		if out.Status == 0 {
			out.WriteHeader(http.StatusAccepted)
		}
		if out.Status/100 == 2 {
			r.mu.Lock()
			r.seen = append(r.seen, g)
			r.mu.Unlock()
		}
	}))
	t.Cleanup(r.CloseClientConnections)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answers(answer func(n int, g got, w http.ResponseWriter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// accepted are the SETs that were taken, in order.
func (r *receiver) accepted() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]got(nil), r.seen...)
}

// jtis are those of the SETs that were taken, each once, in the order of their first acceptance.
func (r *receiver) jtis() []string {
	var out []string
	known := map[string]bool{}
	for _, g := range r.accepted() {
		if !known[g.JTI] {
			out = append(out, g.JTI)
		}
		known[g.JTI] = true
	}
	return out
}

// await waits until so many different SETs were taken.
func (r *receiver) await(t *testing.T, n int) {
	t.Helper()
	kafkatest.Eventually(t, within, func() error {
		if got := r.jtis(); len(got) < n {
			return fmt.Errorf("%d of %d SETs were taken: %q", len(got), n, got)
		}
		return nil
	})
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	kafkatest.Eventually(t, within, func() error {
		if !check() {
			return errors.New(what)
		}
		return nil
	})
}
