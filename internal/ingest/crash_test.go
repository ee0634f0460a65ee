package ingest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/stream"
)

// The crash test runs ingest as a process of its own: this test program, told so by the environment.
const childEnv = "COUNTERSIGN_TEST_INGEST"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		if err := child(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func connect(brokers []string, prefix string) (*stream.Cluster, error) {
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.Prefix = brokers, prefix
	return stream.Connect(cfg, nil)
}

// child serves until it is killed, and prints its address.
func child(spec string) error {
	parts := strings.Split(spec, " ") // brokers, prefix, token file
	cluster, err := connect(strings.Split(parts[0], ","), parts[1])
	if err != nil {
		return err
	}
	places, err := geo.Open(geo.DefaultConfig(), geo.Deps{})
	if err != nil {
		return err
	}
	p, err := NewPipeline(DefaultPipelineConfig(), PipelineDeps{Publisher: cluster.Publisher(stream.PublisherConfig{}), Geo: places})
	if err != nil {
		return err
	}
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	cfg.Tokens = []TokenConfig{{File: parts[2], Source: "test", Tenants: []string{"*"}}}
	s, err := New(cfg, Deps{Pipeline: p, Decoders: decoders()})
	if err != nil {
		return err
	}
	go func() { fmt.Println(s.Addr(context.Background())) }()
	return s.Run(context.Background())
}

// Ingest is killed again and again while many clients send. Every event that was answered 2xx must be on the log.
func TestKilledIngestHasOnTheLogWhatItAnswered(t *testing.T) {
	t.Parallel()
	brokers, prefix := kafkatest.Brokers(t), kafkatest.Name("ingest")+"."
	cluster, err := connect(brokers, prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cluster.Close() })
	var specs []stream.TopicSpec
	for _, name := range []string{events.TopicEvents, events.TopicDeadLetter} {
		specs = append(specs, stream.TopicSpec{Name: name, Partitions: 4, Replication: 1})
	}
	if err := cluster.EnsureTopics(t.Context(), specs); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	kills := 15
	if testing.Short() {
		kills = 3
	}
	random := rand.New(rand.NewPCG(4, 2))
	var mu sync.Mutex
	answered := map[string]bool{}
	sent := 0
	for round := range kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(brokers, ",")+" "+prefix+" "+token)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		address, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + strings.TrimSpace(address) + "/v1/events"
		var clients sync.WaitGroup
		first := make(chan struct{})
		var once sync.Once
		for c := range 8 {
			clients.Go(func() {
				for n := 0; ; n++ {
					ids := make([]string, 1+n%20)
					var body strings.Builder
					for i := range ids {
						ids[i] = fmt.Sprintf("%d-%d-%d-%d", round, c, n, i)
						fmt.Fprintf(&body, `{"kind":"sign_in","tenant":"acme","user":{"id":"u%d"},"time":%q,"source":{"id":%q}}`+"\n",
							i, events.MillisOf(time.Now()).String(), ids[i])
					}
					req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body.String()))
					if err != nil {
						return
					}
					req.Header.Set("Authorization", "Bearer "+secret)
					res, err := http.DefaultClient.Do(req)
					if err != nil {
						return // killed
					}
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
					mu.Lock()
					sent += len(ids)
					if res.StatusCode/100 == 2 {
						for _, id := range ids {
							answered[events.EventID("acme", "custom", id)] = true
						}
						once.Do(func() { close(first) })
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		select {
		case <-first:
		case <-time.After(30 * time.Second):
			t.Fatal("no answer within 30 s")
		}
		timer := time.NewTimer(time.Duration(random.IntN(150)) * time.Millisecond)
		<-timer.C
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		clients.Wait()
	}
	onLog := map[string]int{}
	if err := cluster.Table(nil).Load(t.Context(), events.TopicEvents, func(r stream.Record) error {
		e, err := events.Decode(r.Value)
		if err != nil {
			return err
		}
		onLog[e.ID]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for id := range answered {
		if onLog[id] == 0 {
			t.Errorf("event %s was answered 2xx and is not on the log", id)
		}
	}
	if len(answered) < 2*kills {
		t.Errorf("only %d events were answered, too few to prove anything", len(answered))
	}
	t.Logf("%d kills, %d events sent, %d answered 2xx, %d on the log", kills, sent, len(answered), len(onLog))
}
