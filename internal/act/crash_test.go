package act_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/act"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// childEnv holds the brokers and the configuration of a process that runs actions: the test binary, started again.
const childEnv = "ACT_TEST_CHILD"

type child struct {
	Brokers []string
	Config  act.Config
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	cluster, err := connect(c.Brokers)
	if err != nil {
		return err
	}
	r, err := act.New(c.Config, act.Deps{Log: cluster, Publisher: cluster.Publisher(stream.PublisherConfig{})})
	if err != nil {
		return err
	}
	return r.Run(context.Background())
}

func connect(brokers []string) (*stream.Cluster, error) {
	cfg := stream.DefaultConfig()
	cfg.Brokers = brokers
	return stream.Connect(cfg, nil)
}

// entra is a server that behaves like Graph under load: it throttles, fails, and forgets users.
type entra struct {
	*httptest.Server
	mu    sync.Mutex
	done  map[string]int // by user
	calls int
}

func (e *entra) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/token") {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"t","token_type":"Bearer","expires_in":3600}`)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	user := strings.Split(r.URL.Path, "/")[3]
	switch {
	case e.calls%13 == 0:
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
	case e.calls%7 == 0:
		w.WriteHeader(http.StatusServiceUnavailable)
	case strings.HasSuffix(user, "9"):
		w.WriteHeader(http.StatusNotFound)
	default:
		e.done[user]++
		w.WriteHeader(http.StatusNoContent)
	}
}

func userOf(n int) string { return fmt.Sprintf("cccccccc-0000-4000-8000-%012d", n) }

// TestKillsLoseNothing kills the process that acts at random moments, and starts it again. At the end every user's sessions
// were ended, with a receipt, or there is a dead letter.
func TestKillsLoseNothing(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t) // it uses the topics by their own names
	const users, kills = 600, 6
	cluster := kafkatest.Fake(t)
	for _, topic := range []string{events.TopicReceipts, events.TopicDeadLetter} {
		kafkatest.CreateTopic(t, cluster.Addrs(), topic, 4, nil)
	}
	kafkatest.CreateTopic(t, cluster.Addrs(), events.TopicRevocations, 4, map[string]string{"cleanup.policy": "compact"})
	e := &entra{done: map[string]int{}}
	e.Server = httptest.NewTLSServer(http.HandlerFunc(e.serve))
	t.Cleanup(e.Close)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}

	cfg := act.DefaultConfig()
	cfg.Outbound.AllowNetworks = []string{"127.0.0.0/8"}
	cfg.Outbound.CAFile = write("ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Certificate().Raw})))
	cfg.SessionTimeout = 2 * time.Second
	cfg.RetryMin, cfg.RetryMax = 10*time.Millisecond, 50*time.Millisecond
	cfg.Graph = []act.GraphAccount{{
		Name: "entra", Directory: userOf(1), ClientID: userOf(2), SecretFile: write("secret", "s"), BaseURL: e.URL, AuthorityURL: e.URL,
	}}
	cfg.Actions = []act.ActionConfig{{
		Name: "end", Kind: act.GraphRevoke, Mode: act.On, Account: "entra", PerMinute: 6000,
		Match: act.Match{Tenants: []string{"acme"}, Actions: []events.Action{events.RevokeAll}},
	}}
	arguments, err := json.Marshal(child{cluster.Addrs(), cfg})
	if err != nil {
		t.Fatal(err)
	}
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0]) // this test binary, killed below
		cmd.Env, cmd.Stderr = append(os.Environ(), childEnv+"="+string(arguments)), os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}

	producer, err := connect(cluster.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	publisher := producer.Publisher(stream.PublisherConfig{})
	cmd := start()
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended
	now := time.Now().Unix()
	for n := range users {
		c := revocation.Claims{
			Issuer: revocation.DefaultIssuer, IssuedAt: now, JTI: fmt.Sprint("jti", n), Tenant: "acme", User: userOf(n), Status: revocation.Open,
			Requirement: revocation.Requirement{
				ID: fmt.Sprint("r", n), Action: events.RevokeAll, NotBefore: now, Expires: now + 3600, Policy: "p", EventID: fmt.Sprint("e", n), EventTime: now,
			},
		}
		record := stream.Record{Key: []byte(revocation.Key(c.Tenant, c.User, c.ID)), Value: c.Encode()}
		if err := publisher.Publish(t.Context(), events.TopicRevocations, []stream.Record{record}); err != nil {
			t.Fatal(err)
		}
		if (n+1)%(users/(kills+1)) == 0 && n < users-1 {
			before := e.count()
			// Each life does something before it is killed in the middle of it.
			kafkatest.Eventually(t, 30*time.Second, func() error {
				if got := e.count(); got < before+1+rand.IntN(20) {
					return fmt.Errorf("%d requests, had %d", got, before)
				}
				return nil
			})
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			cmd = start()
		}
	}

	table := producer.Table(nil)
	receipts, letters := map[string]bool{}, map[string]bool{}
	kafkatest.Eventually(t, 90*time.Second, func() error {
		clear(receipts)
		if err := table.Load(t.Context(), events.TopicReceipts, func(r stream.Record) error {
			receipt, err := events.DecodeReceipt(r.Value)
			if err == nil {
				receipts[strings.Clone(receipt.User)] = true
			}
			return err
		}); err != nil {
			return err
		}
		list, err := act.ReadLetters(t.Context(), table, "end", time.Unix(now, 0).Add(-time.Hour))
		if err != nil {
			return err
		}
		for _, d := range list {
			c, err := revocation.ParseClaims(d.Bytes)
			if err != nil {
				return err
			}
			letters[c.User] = true
		}
		if len(receipts)+len(letters) < users {
			return fmt.Errorf("%d receipts and %d letters", len(receipts), len(letters))
		}
		return nil
	})
	repeats := 0
	e.mu.Lock()
	defer e.mu.Unlock()
	for n := range users {
		user, gone := userOf(n), n%10 == 9
		if receipts[user] == gone || letters[user] != gone || (e.done[user] > 0) == gone {
			t.Errorf("%s: receipt %v, letter %v, done %d times", user, receipts[user], letters[user], e.done[user])
		}
		repeats += max(0, e.done[user]-1)
	}
	t.Logf("%d requests, %d repeated after %d kills", e.calls, repeats, kills)
}

func (e *entra) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}
