package detector

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// The tests of this file run the detector as a process of its own: this test program, told so by the environment.
const childEnv = "COUNTERSIGN_TEST_DETECTOR"

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

// child runs a detector until standard input ends, and prints a line for every partition that is live.
func child(spec string) error {
	brokers, prefix, _ := strings.Cut(spec, " ")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	d, cluster, err := open(strings.Split(brokers, ","), prefix, func(p int, _ int64) { fmt.Printf("live %d\n", p) })
	if err != nil {
		return err
	}
	defer cluster.Close()
	return d.Run(ctx)
}

func open(brokers []string, prefix string, live func(int, int64)) (*Detector, *stream.Cluster, error) {
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.Prefix = brokers, prefix
	cluster, err := stream.Connect(cfg, nil)
	if err != nil {
		return nil, nil, err
	}
	conf := DefaultConfig()
	conf.SessionTimeout = time.Second
	d, err := New(conf, Deps{Cluster: cluster, Log: zap.NewNop(), Live: live})
	return d, cluster, err
}

const partitions = 4

// installation is a set of topics with the log of a small company, and what an uninterrupted detector makes of it.
type installation struct {
	t       *testing.T
	brokers []string
	prefix  string
	cluster *stream.Cluster
	records []stream.Record
	want    results
}

// results holds every distinct value of an output by key of comparison: finding id, or jti.
type results struct{ findings, revocations map[string]string }

func newInstallation(t *testing.T, users, days int) *installation {
	t.Helper()
	in := &installation{t: t, brokers: kafkatest.Brokers(t), prefix: kafkatest.Name("crash") + "."}
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.Prefix = in.brokers, in.prefix
	var err error
	if in.cluster, err = stream.Connect(cfg, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.cluster.Close() })
	topic := func(name string, compact bool) stream.TopicSpec {
		return stream.TopicSpec{Name: name, Partitions: partitions, Replication: 1, Compact: compact}
	}
	if err := in.cluster.EnsureTopics(t.Context(), []stream.TopicSpec{
		topic(events.TopicEvents, false), topic(events.TopicState, true), topic(events.TopicFindings, false),
		topic(events.TopicRevocations, true), topic(events.TopicDeadLetter, false),
	}); err != nil {
		t.Fatal(err)
	}
	in.records = log(t, users, days)
	in.want = fold(t, in.records)
	if len(in.want.revocations) < 20 {
		t.Fatalf("the log leads to %d revocations only, too few to prove anything", len(in.want.revocations))
	}
	return in
}

// log is some days of a simulated company with many attacks, as records.
func log(t *testing.T, users, days int) []stream.Record {
	t.Helper()
	var records []stream.Record
	cfg := company.DefaultConfig()
	cfg.Users, cfg.Days, cfg.QuietDays, cfg.AttacksPerDay, cfg.Ingested = users, days, 2, 30, true
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	for e := range company.New(cfg).Events() {
		records = append(records, stream.Record{Key: []byte(e.Key()), Value: events.Encode(&e)})
	}
	return records
}

// fold is the oracle: the rules over the log, without Kafka, processes or crashes.
func fold(t *testing.T, records []stream.Record) results {
	t.Helper()
	rules, err := LoadRules(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	users := map[string]*User{}
	out := results{map[string]string{}, map[string]string{}}
	for _, rec := range records {
		e, err := events.Decode(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		u := users[e.Key()]
		if u == nil {
			u = NewUser()
			users[e.Key()] = u
		}
		outcome := rules.Fold(&Tenant{}, u, e)
		for i := range outcome.Findings {
			out.findings[outcome.Findings[i].ID] = string(events.Encode(&outcome.Findings[i]))
		}
		for _, c := range outcome.Changes {
			out.revocations[c.Claims.JTI] = string(c.Claims.Encode())
		}
	}
	return out
}

// publish writes a part of the log, in order.
func (in *installation) publish(records []stream.Record) {
	in.t.Helper()
	p := in.cluster.Publisher(stream.PublisherConfig{})
	for chunk := range slices.Chunk(records, 500) {
		if err := p.Publish(in.t.Context(), events.TopicEvents, chunk); err != nil {
			in.t.Fatal(err)
		}
	}
}

// compare waits until all that must come has come, and then checks that nothing else did, and that what came twice came
// with the same bytes.
func (in *installation) compare() {
	in.t.Helper()
	check := func(topic string, id func([]byte) string, want map[string]string) {
		in.t.Helper()
		ctx, cancel := context.WithTimeout(in.t.Context(), 2*time.Minute)
		defer cancel()
		got := map[string]string{}
		repeats := 0
		err := in.cluster.Tail(ctx, topic, stream.FromStart, func(rec stream.Record) error {
			if rec.Value == nil {
				return nil
			}
			key, value := id(rec.Value), string(rec.Value)
			if before, ok := got[key]; ok {
				repeats++
				if before != value {
					in.t.Errorf("%s: %s came with other bytes\n%s\n%s", topic, key, before, value)
				}
			}
			got[key] = value
			if w, ok := want[key]; !ok {
				in.t.Errorf("%s: %s was not called for:\n%s", topic, key, value)
			} else if w != value {
				in.t.Errorf("%s: %s differs from the uninterrupted run\n got %s\nwant %s", topic, key, value, w)
			}
			if len(got) == len(want) {
				cancel()
			}
			return nil
		})
		if err != nil {
			in.t.Fatal(err)
		}
		if len(got) < len(want) {
			in.t.Errorf("%s: %d of %d came", topic, len(got), len(want))
		}
		in.t.Logf("%s: %d, of which %d came again", topic, len(want), repeats)
	}
	check(events.TopicFindings, func(b []byte) string {
		f, err := events.DecodeFinding(b)
		if err != nil {
			in.t.Fatal(err)
		}
		return f.ID
	}, in.want.findings)
	check(events.TopicRevocations, func(b []byte) string {
		c, err := revocation.ParseClaims(b)
		if err != nil {
			in.t.Fatal(err)
		}
		return c.JTI
	}, in.want.revocations)
}

// detectorProcess is a running child.
type detectorProcess struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	live chan struct{} // closed when the first partition is live
	errs bytes.Buffer
}

func (in *installation) start() *detectorProcess {
	in.t.Helper()
	p := &detectorProcess{cmd: exec.Command(os.Args[0]), live: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(in.brokers, ",")+" "+in.prefix)
	p.cmd.Stderr = &p.errs
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		in.t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		in.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	go func() {
		var once sync.Once
		for lines := bufio.NewScanner(out); lines.Scan(); {
			once.Do(func() { close(p.live) })
		}
	}()
	return p
}

func (p *detectorProcess) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (in *installation) stop(p *detectorProcess) {
	in.t.Helper()
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		in.t.Errorf("the detector did not stop cleanly: %v\n%s", err, p.errs.String())
	}
}

func (in *installation) awaitLive(p *detectorProcess) {
	in.t.Helper()
	select {
	case <-p.live:
	case <-time.After(time.Minute):
		p.kill()
		in.t.Fatalf("no partition live within a minute\n%s", p.errs.String())
	}
}

func kills() int {
	switch {
	case testing.Short():
		return 3
	case kafkatest.Real():
		return 20
	default:
		return 50
	}
}

func TestKilledAgainAndAgainLosesAndInventsNothing(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, 1200, 20)
	n := kills()
	random := rand.New(rand.NewPCG(1, uint64(n)))
	size := (len(in.records) + n - 1) / n
	for chunk := range slices.Chunk(in.records, size) {
		p := in.start()
		in.awaitLive(p)
		in.publish(chunk)
		// The moment of death is the point of the test: from before the first read to after the last checkpoint.
		timer := time.NewTimer(time.Duration(random.IntN(120)) * time.Millisecond)
		<-timer.C
		p.kill()
	}
	last := in.start()
	in.compare()
	in.stop(last)
}

// A second detector takes over a part of the partitions, dies without a word, comes again and leaves in order, while the
// log grows.
func TestRebalancesLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, 300, 20)
	parts := slices.Collect(slices.Chunk(in.records, (len(in.records)+3)/4))
	first := in.start()
	in.awaitLive(first)
	in.publish(parts[0])
	second := in.start()
	in.awaitLive(second) // it owns partitions now
	in.publish(parts[1])
	second.kill()
	in.publish(parts[2])
	third := in.start()
	in.awaitLive(third)
	in.publish(parts[3])
	in.stop(third)
	in.compare()
	in.stop(first)
}

func TestReplayGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	records := log(t, 200, 20)
	first, second := fold(t, records), fold(t, records)
	if len(first.findings) == 0 || len(first.revocations) == 0 {
		t.Fatal("the log leads to nothing")
	}
	if diff := cmp.Diff(first, second, cmp.AllowUnexported(results{})); diff != "" {
		t.Errorf("(-first, +second)\n%s", diff)
	}
	// The log itself is the same too: the company is deterministic.
	again := log(t, 200, 20)
	if !slices.EqualFunc(records, again, func(a, b stream.Record) bool {
		return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
	}) {
		t.Error("the simulated company made another log")
	}
}
