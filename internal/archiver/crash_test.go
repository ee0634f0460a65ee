package archiver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/archiver"
	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
)

// childEnv holds the configuration of an archiver process: the test binary, started again.
const childEnv = "ARCHIVER_TEST_CHILD"

type child struct {
	Brokers  []string
	URLs     []string
	User     string
	Password string
	Database string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(enginetest.Main(m))
}

func runChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	cfg := history.DefaultConfig()
	cfg.URLs, cfg.User, cfg.Password, cfg.Database = c.URLs, c.User, c.Password, c.Database
	store, err := history.Open(cfg)
	if err != nil {
		return err
	}
	cluster, err := connect(c.Brokers)
	if err != nil {
		return err
	}
	a, err := newArchiver(cluster, store)
	if err != nil {
		return err
	}
	return a.Run(context.Background())
}

func connect(brokers []string) (*stream.Cluster, error) {
	cfg := stream.DefaultConfig()
	cfg.Brokers = brokers
	return stream.Connect(cfg, nil)
}

func newArchiver(cluster *stream.Cluster, store *history.Store) (*archiver.Archiver, error) {
	cfg := archiver.DefaultConfig()
	cfg.SessionTimeout = 2 * time.Second
	cfg.FlushInterval = 50 * time.Millisecond
	cfg.PartitionBytes = 128 << 10 // many small inserts, so that a kill falls into one
	return archiver.New(cfg, archiver.Deps{Consumer: cluster, Publisher: cluster.Publisher(stream.PublisherConfig{}), Store: store})
}

func createTopics(t *testing.T, brokers []string, partitions int) {
	t.Helper()
	for _, topic := range []string{events.TopicEvents, events.TopicFindings, events.TopicReceipts, events.TopicDeadLetter, events.TopicAudit} {
		kafkatest.CreateTopic(t, brokers, topic, partitions, nil)
	}
	for _, topic := range []string{events.TopicRevocations, events.TopicMarks} {
		kafkatest.CreateTopic(t, brokers, topic, partitions, map[string]string{"cleanup.policy": "compact"})
	}
}

func sighting(i int) *events.Event {
	e := &events.Event{
		Kind: events.SignIn, Tenant: "acme", User: events.User{ID: fmt.Sprintf("u%d", i%500)}, Outcome: events.Success,
		Time: 1772582400000 + events.Millis(i)*events.Second, Source: events.Source{Family: "test", ID: fmt.Sprint(i)}, IP: "192.0.2.1",
	}
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	return e
}

func findingOf(e *events.Event) *events.Finding {
	return &events.Finding{
		ID: events.FindingID("LOC-01", 1, e.Tenant, e.User.ID, e.ID), Detection: "LOC-01", Version: 1, Tenant: e.Tenant, User: e.User,
		EventID: e.ID, Time: e.Time, Severity: events.High, Disposition: events.Active, Evidence: events.Evidence{Sight: events.SightOf(e)},
	}
}

// TestKillsOfArchiverAndEngineLoseAndDoubleNothing kills the archiver's process and the engine's at random moments of
// their work. At the end every event and every finding is in the history, once.
func TestKillsOfArchiverAndEngineLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t) // it uses the topics by their own names
	enginetest.Require(t)
	const eventCount, findingCount, kills = 30_000, 3_000, 12
	cluster := kafkatest.Fake(t)
	createTopics(t, cluster.Addrs(), 4)
	producer, err := connect(cluster.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	publisher := producer.Publisher(stream.PublisherConfig{})
	server := enginetest.Start(t, t.TempDir())
	cfg := historytest.For(server)
	store := historytest.OpenConfig(t, cfg)

	produced := make(chan error, 1)
	go func() {
		produced <- func() error {
			for i := 0; i < eventCount; i += 100 {
				var sights, findings []stream.Record
				for n := i; n < i+100; n++ {
					e := sighting(n)
					sights = append(sights, stream.Record{Key: []byte(e.Key()), Value: events.Encode(e)})
					if n%(eventCount/findingCount) == 0 {
						findings = append(findings, stream.Record{Key: []byte(e.Key()), Value: events.Encode(findingOf(e))})
					}
				}
				if err := errors.Join(publisher.Publish(t.Context(), events.TopicEvents, sights),
					publisher.Publish(t.Context(), events.TopicFindings, findings)); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	arguments, err := json.Marshal(child{
		Brokers: cluster.Addrs(), URLs: cfg.URLs, User: cfg.User, Password: cfg.Password, Database: cfg.Database,
	})
	if err != nil {
		t.Fatal(err)
	}
	launch := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+string(arguments))
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	things := func(table history.Table) uint64 {
		n, err := store.Things(t.Context(), table)
		if err != nil {
			return 0 // the engine is between two lives
		}
		return n
	}
	unfinished := 0
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	running := launch()
	for kill := range kills {
		// A moment that work decides, not a clock: some more rows than before, and how many is random.
		before, more := things(history.TableEvents), 1+random.Uint64N(eventCount/kills/2)
		kafkatest.Eventually(t, time.Minute, func() error {
			if n := things(history.TableEvents); n < before+more && n < eventCount {
				return fmt.Errorf("kill %d: %d events are in the history, waiting for %d", kill, n, before+more)
			}
			return nil
		})
		if things(history.TableEvents) < eventCount {
			unfinished++
		}
		if kill%3 == 2 {
			if pid := server.PID(); pid > 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may be dead already
			}
			continue
		}
		if err := running.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = running.Wait() // says that it was killed
		running = launch()
	}
	defer func() {
		_ = running.Process.Kill()
		_ = running.Wait()
	}()
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	kafkatest.Eventually(t, 5*time.Minute, func() error {
		if e, f := things(history.TableEvents), things(history.TableFindings); e < eventCount || f < findingCount {
			return fmt.Errorf("%d of %d events and %d of %d findings are in the history", e, eventCount, f, findingCount)
		}
		return nil
	})
	if e, f := things(history.TableEvents), things(history.TableFindings); e != eventCount || f != findingCount {
		t.Errorf("%d events and %d findings are in the history, want %d and %d: each once", e, f, eventCount, findingCount)
	}
	// The last insert may be in its table and not yet in the view: then it is not acknowledged, and comes again.
	kafkatest.Eventually(t, time.Minute, func() error {
		o, err := store.Overview(t.Context(), report.Scope{All: true}, report.Span{From: sighting(0).Time, To: sighting(eventCount).Time}, 0)
		if err == nil && (o.Events != eventCount || o.Findings != findingCount) {
			err = fmt.Errorf("the overview counts %d events and %d findings, want %d and %d", o.Events, o.Findings, eventCount, findingCount)
		}
		return err
	})
	stored, err := store.Rows(t.Context(), history.TableEvents)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d kills fell into work; %d rows are stored for %d events", unfinished, kills, stored, eventCount)
}

// TestOneBadRowDoesNotHoldUpTheRest has ClickHouse itself refuse a row: it goes to the dead letters, which come back
// into the history by their own topic.
func TestOneBadRowDoesNotHoldUpTheRest(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	store := historytest.Open(t)
	if err := store.Exec(t.Context(), "ALTER TABLE ${database}.events ADD CONSTRAINT refused CHECK user_id NOT IN ('u7', 'u123')"); err != nil {
		t.Fatal(err)
	}
	cluster := kafkatest.Fake(t)
	createTopics(t, cluster.Addrs(), 2)
	c, err := connect(cluster.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	var records []stream.Record
	for i := range 500 {
		e := sighting(i)
		records = append(records, stream.Record{Key: []byte(e.Key()), Value: events.Encode(e)})
	}
	records = append(records, stream.Record{Key: []byte("acme/u1"), Value: []byte("{")})
	if err := c.Publisher(stream.PublisherConfig{}).Publish(t.Context(), events.TopicEvents, records); err != nil {
		t.Fatal(err)
	}
	a, err := newArchiver(c, store)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	kafkatest.Eventually(t, time.Minute, func() error {
		kept, err := store.Things(t.Context(), history.TableEvents)
		if err != nil {
			return err
		}
		dead, err := store.Things(t.Context(), history.TableDeadLetters)
		if err == nil && (kept != 498 || dead != 3) {
			err = fmt.Errorf("%d events and %d dead letters, want 498 and 3", kept, dead)
		}
		return err
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("the archiver ended with %v", err)
	}
}
