package stepupssf_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/countersign-io/countersign/stepup"
	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

const secretHeader = "Bearer the-agreed-secret-of-pushes"

// pusher posts to the tests' own receivers, whose certificates nobody knows.
var pusher = &http.Client{
	Timeout:   20 * time.Second,
	Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
}

// app is an application with a receiver.
type app struct {
	*stepupssf.Receiver
	index *stepup.Index
	URL   string
	stop  func() error

	mu      sync.Mutex
	applied []stepup.Claims
	events  []stepupssf.Event
	states  []stepupssf.State
}

func file(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// config is a good one for the transmitter.
func (p *transmitter) config(delivery stepupssf.Delivery) stepupssf.Config {
	cfg := stepupssf.Config{
		Issuer: p.issuer(), Delivery: delivery, HTTP: p.client, Store: stepupssf.NoStore, PollInterval: 5 * time.Millisecond,
		Description:       "stepup",
		ClientCredentials: &stepupssf.ClientCredentials{TokenURL: p.URL + "/token", ClientID: "app", ClientSecretFile: file(p.TB, "the-secret-of-the-app\n")},
	}
	if delivery == stepupssf.Push {
		cfg.AuthorizationFile = file(p.TB, secretHeader+"\n")
	}
	return cfg
}

// app makes an application; edit changes its configuration. It does not run yet.
func (p *transmitter) app(delivery stepupssf.Delivery, edit func(*stepupssf.Config)) *app {
	p.Helper()
	index, err := stepup.NewIndex(stepup.IndexConfig{MaxStaleness: 2 * time.Minute})
	if err != nil {
		p.Fatal(err)
	}
	a := &app{index: index, URL: "https://app.example/ssf"}
	if _, bare := p.client.Transport.(inProcess); bare {
		p.direct = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.ServeHTTP(w, r) })
	} else {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.ServeHTTP(w, r) }))
		p.Cleanup(server.Close)
		a.URL = server.URL + "/ssf"
	}
	cfg := p.config(delivery)
	if delivery == stepupssf.Push {
		cfg.PushURL = a.URL
	}
	cfg.Applied = func(c stepup.Claims) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.applied = append(a.applied, c)
	}
	cfg.OnEvent = func(e stepupssf.Event) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.events = append(a.events, e)
	}
	cfg.StateChanged = func(s stepupssf.State, _ string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.states = append(a.states, s)
	}
	if edit != nil {
		edit(&cfg)
	}
	if a.Receiver, err = stepupssf.New(cfg, index); err != nil {
		p.Fatal(err)
	}
	a.stop = func() error { return nil }
	return a
}

// start runs the application's receiver until stop, or the end of the test.
func (p *transmitter) start(a *app) *app {
	p.Helper()
	ctx, cancel := context.WithCancel(p.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	a.stop = func() (err error) {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
	p.Cleanup(func() {
		if err := a.stop(); err != nil {
			p.Error(err)
		}
	})
	return a
}

// live starts the application and waits until its stream has proved to be alive.
func (p *transmitter) live(a *app) *app {
	p.Helper()
	p.start(a)
	p.until("the stream is live", func() bool { return a.Stats().State == stepupssf.StateLive })
	return a
}

func (a *app) open(user string) bool {
	_, ok := a.index.Check(stepup.Subject{Tenant: "acme", User: user})
	return ok
}

// told is what the application was told: jtis of requirements, types of events.
func (a *app) told() (applied, events []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.applied {
		applied = append(applied, a.applied[i].JTI)
	}
	for i := range a.events {
		events = append(events, a.events[i].Type)
	}
	return applied, events
}

// until waits for something that happens in another goroutine.
func (p *transmitter) until(what string, ok func() bool) {
	p.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			p.Fatal("waited in vain until ", what)
		}
		select {
		case <-p.Context().Done():
			p.Fatal("ended before ", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// send delivers a SET by the way that the application has, and returns the answer: "202" or "ack", else the code.
func (p *transmitter) send(a *app, delivery stepupssf.Delivery, jti, set string) string {
	p.Helper()
	if delivery == stepupssf.Push {
		status, body := p.push(a.URL, set, secretHeader)
		if status == http.StatusAccepted && body == "" {
			return "ok"
		}
		return fmt.Sprint(status, " ", body)
	}
	p.offer(offered{jti, set})
	p.until(jti+" is settled", func() bool { return p.settled(jti) != "" })
	if got := p.settled(jti); got != "ack" {
		return got
	}
	return "ok"
}

// both runs a test for push and for poll.
func both(t *testing.T, test func(t *testing.T, delivery stepupssf.Delivery)) {
	t.Helper()
	for _, delivery := range []stepupssf.Delivery{stepupssf.Push, stepupssf.Poll} {
		t.Run(string(delivery), func(t *testing.T) {
			t.Parallel()
			test(t, delivery)
		})
	}
}

func newIndex(t testing.TB) *stepup.Index {
	t.Helper()
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// logger writes to a text that the test reads when everything has ended.
func logger(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
