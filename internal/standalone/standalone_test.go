package standalone

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/embedded/engine"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// The test runs everything as a process of its own, as `countersign up` is: this test program, told so by the environment.
const childEnv = "COUNTERSIGN_TEST_STANDALONE"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == engine.ChildVerb {
		os.Exit(engine.ChildMain())
	}
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// addresses is what a child tells when it is ready.
type addresses struct{ Ingest, API, Link, Kafka, ClickHouse, Key, Signals string }

func child(dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	const free = "127.0.0.1:0"
	s, err := Open(ctx, Config{DataDir: dir, APIListen: free, IngestListen: free, CourierListen: free, Tenants: []string{"acme"}}, zap.NewNop())
	if err != nil {
		return err
	}
	err = s.Process.Run(ctx, func() {
		api, _ := s.API.Addr(ctx)
		line, _ := json.Marshal(addresses{s.Ingest.Addr(ctx).String(), api, s.API.Link(), s.Broker.Addr(), s.Engine.Addr(), s.Engine.Key(), s.SignalsURL})
		fmt.Println(string(line))
	})
	return errors.Join(err, s.Close())
}

type process struct {
	addresses
	cmd *exec.Cmd
	in  io.Closer
}

func start(t *testing.T, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	p := &process{cmd: cmd, in: in}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the process ended before it was ready: %v", errors.Join(err, cmd.Wait()))
	}
	if err := json.Unmarshal(line, &p.addresses); err != nil {
		t.Fatal(err)
	}
	return p
}

// began is when the test's events happened; the same record sent again has the same time.
var began = events.MillisOf(time.Now().Add(-time.Minute))

// theft is a session that is used from a second network on a second device, in 2 events.
func theft(user string) string {
	use := func(n int, kind, network, place, device string) string {
		return fmt.Sprintf(`{"kind":%q,"tenant":"acme","user":{"id":%q},"time":%q,"source":{"id":"%s-%d"},"outcome":"success",`+
			`"session":{"id":"s-%s"},"ip":%q,"place":%s,"device":%s}`+"\n",
			kind, user, began+events.Millis(n)*events.Second, user, n, user, network, place, device)
	}
	return use(0, "sign_in", "192.0.2.7", `{"lat":52.1,"lon":5.1,"radius_km":10,"country":"NL"}`, `{"id":"d1","os":"Windows","browser":"Edge"}`) +
		use(1, "session_use", "198.51.100.7", `{"lat":35.7,"lon":139.7,"radius_km":10,"country":"JP"}`, `{"id":"d2","os":"Linux","browser":"Firefox"}`)
}

func (p *process) send(t *testing.T, dir, body string) {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(dir, "demo.token"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.Ingest+"/v1/events", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || !strings.Contains(string(answer), `"rejected":[]`) {
		t.Fatalf("ingest answered %s: %s", res.Status, answer)
	}
}

// open waits until exactly these users have a requirement on the log.
func (p *process) open(t *testing.T, users ...string) {
	t.Helper()
	cfg := stream.DefaultConfig()
	cfg.Brokers = []string{p.Kafka}
	cluster, err := stream.Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	kafkatest.Eventually(t, time.Minute, func() error {
		got := map[string]int{}
		err := cluster.Table(nil).Load(t.Context(), events.TopicRevocations, func(r stream.Record) error {
			c, err := revocation.ParseClaims(r.Value)
			if err == nil && c.Status == revocation.Open {
				got[c.User]++
			}
			return err
		})
		for _, u := range users {
			if got[u] == 0 {
				return fmt.Errorf("no requirement for %s in %v", u, got)
			}
			delete(got, u)
		}
		if len(got) > 0 {
			t.Errorf("requirements for %v too", got)
		}
		return err
	})
}

// things waits until the history has so many of each.
func (p *process) things(t *testing.T, want map[history.Table]uint64) {
	t.Helper()
	cfg := history.DefaultConfig()
	cfg.URLs, cfg.User, cfg.Password = []string{"http://" + p.ClickHouse}, engine.User, p.Key
	store, err := history.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for table, n := range want {
		kafkatest.Eventually(t, time.Minute, func() error {
			got, err := store.Things(t.Context(), table)
			if err == nil && got != n {
				err = fmt.Errorf("%d %s in the history, want %d", got, table, n)
			}
			return err
		})
	}
}

// erase has a user erased, as a person who followed the one-time link.
func (p *process) erase(t *testing.T, user string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	do := func(method, path, body string, want int) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.API+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", "http://"+p.API)
		res, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if answer, _ := io.ReadAll(res.Body); res.StatusCode != want {
			t.Fatalf("%s %s answered %s: %s", method, path, res.Status, answer)
		}
	}
	do(http.MethodGet, p.Link, "", http.StatusOK)
	do(http.MethodPost, "/v1/users/acme/"+user+"/erase", `{"confirm":"`+user+`","reason":"a test"}`, http.StatusAccepted)
}

func TestASecondStartGoesOnWhereTheFirstWas(t *testing.T) {
	t.Parallel()
	if _, err := engine.FindLibrary(""); err != nil {
		if os.Getenv("CI_REQUIRE_SERVICES") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	first := start(t, dir)
	first.send(t, dir, theft("ana"))
	first.open(t, "ana")
	_ = first.cmd.Process.Kill() // before the archiver has seen much
	_ = first.cmd.Wait()

	second := start(t, dir)
	second.send(t, dir, theft("ana")) // the same records again: known, or harmless
	second.send(t, dir, theft("bob"))
	second.open(t, "ana", "bob")
	second.things(t, map[history.Table]uint64{history.TableEvents: 4, history.TableRevocations: 2})
	res, err := http.Get("http://" + second.API + "/healthz")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("health: %v, %v", res, err)
	}
	_ = second.in.Close()
	if err := second.cmd.Wait(); err != nil {
		t.Errorf("an orderly stop: %v", err)
	}

	third := start(t, dir)
	third.open(t, "ana", "bob")
	third.things(t, map[history.Table]uint64{history.TableEvents: 4, history.TableRevocations: 2})
	third.erase(t, "ana")
	third.things(t, map[history.Table]uint64{history.TableEvents: 2, history.TableRevocations: 1, history.TableErasures: 1})
	_ = third.in.Close()
	if err := third.cmd.Wait(); err != nil {
		t.Errorf("an orderly stop: %v", err)
	}
}
