package detector

import (
	"bufio"
	"bytes"
	"cmp"
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

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/mailru/easyjson"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/org"
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

// installation is a set of topics and the log of a small company.
type installation struct {
	t       *testing.T
	brokers []string
	prefix  string
	cluster *stream.Cluster
	records []stream.Record
}

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
		return stream.TopicSpec{Name: name, Partitions: partitions, Replication: 1, Compact: compact, MinCompactionLag: time.Hour}
	}
	if err := in.cluster.EnsureTopics(t.Context(), []stream.TopicSpec{
		topic(events.TopicEvents, false), topic(events.TopicState, true), topic(events.TopicFindings, false),
		topic(events.TopicRevocations, true), topic(events.TopicDeadLetter, false), topic(events.TopicSightings, false),
		topic(events.TopicNetwork, true),
	}); err != nil {
		t.Fatal(err)
	}
	in.records = log(t, users, days)
	return in
}

// log is some days of a simulated company with many attacks, as records. On every day one source sprays the company's
// users, so that the network stage has verdicts to tell.
func log(t *testing.T, users, days int) []stream.Record {
	t.Helper()
	var list []*events.Event
	cfg := company.DefaultConfig()
	cfg.Users, cfg.Days, cfg.QuietDays, cfg.AttacksPerDay, cfg.Ingested = users, days, 2, 30, true
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	var names []events.User
	known := map[string]bool{}
	tenant, began := "", events.Millis(0)
	for e := range company.New(cfg).Events() {
		if began == 0 {
			tenant, began = e.Tenant, e.Time
		}
		if !known[e.User.ID] && e.User.Type == "" {
			known[e.User.ID] = true
			names = append(names, e.User)
		}
		list = append(list, &e)
	}
	for day := range days {
		for i := range min(40, len(names)) {
			at := began + events.Millis(day)*events.Day + events.Millis(i)*15*events.Second
			id := fmt.Sprintf("spray-%d-%d", day, i)
			list = append(list, &events.Event{
				ID: events.EventID(tenant, "t", id), Kind: events.SignIn, Tenant: tenant, User: names[(day*37+i)%len(names)], Time: at,
				Ingested: at + events.Second, Source: events.Source{Family: "t", ID: id}, Outcome: events.Failure, Cause: events.BadPassword,
				IP: fmt.Sprintf("203.0.113.%d", day+1), Network: events.Network{Prefix: "203.0.113.0/24", ASN: 64511},
				Device: events.Device{OS: "Linux", Browser: "Firefox"},
			})
		}
	}
	slices.SortStableFunc(list, func(a, b *events.Event) int { return cmp.Compare(a.Ingested, b.Ingested) })
	var records []stream.Record
	for _, e := range list {
		records = append(records, stream.Record{Key: []byte(e.Key()), Value: events.Encode(e)})
	}
	return records
}

// results holds every distinct value of an output, by its identity: finding id, jti, event id.
type results struct{ findings, revocations, sightings, told map[string]string }

func newResults() results {
	return results{findings: map[string]string{}, revocations: map[string]string{}, sightings: map[string]string{}, told: map[string]string{}}
}

// fold is the oracle of the user stage: the rules over the log of events, partition by partition, without Kafka, processes
// or crashes.
func (r *results) fold(t *testing.T, log []stream.Record) {
	t.Helper()
	rules, err := LoadRules(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	rules.Partitions = partitions
	var tenants [partitions]map[string]*tenant
	users := map[string]*User{}
	for _, rec := range log {
		e, err := events.Decode(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind.Internal() {
			r.told[e.ID] = string(rec.Value)
		}
		u := users[e.Key()]
		if u == nil {
			u = NewUser()
			users[e.Key()] = u
		}
		if tenants[rec.Partition] == nil {
			tenants[rec.Partition] = map[string]*tenant{}
		}
		of := tenants[rec.Partition][e.Tenant]
		if of == nil {
			of = &tenant{}
			tenants[rec.Partition][e.Tenant] = of
		}
		if of.heard.again(&rec) {
			continue
		}
		outcome := rules.Fold(&of.Tenant, u, e)
		for i := range outcome.Findings {
			r.findings[outcome.Findings[i].ID] = string(events.Encode(&outcome.Findings[i]))
		}
		for _, c := range outcome.Changes {
			r.revocations[c.Claims.JTI] = string(c.Claims.Encode())
		}
		if m := outcome.Sighting; m != nil {
			m.Partition, m.Offset = rec.Partition, rec.Offset
			r.sightings[place(m)] = string(events.Encode(m))
		}
	}
}

func place(m *events.Sighting) string { return fmt.Sprintf("%d/%d", m.Partition, m.Offset) }

// judge is the oracle of the network stage: the events that sightings lead to.
func judge(t *testing.T, log []stream.Record) map[string]string {
	t.Helper()
	config := DefaultConfig().Network
	states := map[string]*org.State{}
	told := map[string]string{}
	for _, rec := range log {
		var m events.Sighting
		if err := easyjson.Unmarshal(rec.Value, &m); err != nil {
			t.Fatal(err)
		}
		s := states[m.Tenant]
		if s == nil {
			s = org.NewState(m.Tenant, &config)
			states[m.Tenant] = s
		}
		for _, notice := range s.Fold(&m) {
			if notice.Verdict != nil {
				e := verdictEvent(&m, &notice)
				told[e.ID] = string(events.Encode(e))
				continue
			}
			for _, user := range keysOfPartitions(m.Tenant, contextUser, partitions) {
				e := contextEvent(&m, notice.Context, user)
				told[e.ID] = string(events.Encode(e))
			}
		}
	}
	return told
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

// read returns what is on a topic, by its identity; a record that came twice must have come with the same bytes.
func (in *installation) read(topic string, id func([]byte) (string, error)) (distinct map[string]string, all []stream.Record) {
	in.t.Helper()
	distinct = map[string]string{}
	if err := in.cluster.Table(nil).Load(in.t.Context(), topic, func(rec stream.Record) error {
		if rec.Value == nil {
			return nil
		}
		rec.Value, rec.Headers = bytes.Clone(rec.Value), slices.Clone(rec.Headers)
		for i := range rec.Headers {
			rec.Headers[i].Value = bytes.Clone(rec.Headers[i].Value)
		}
		all = append(all, rec)
		key, err := id(rec.Value)
		if before, ok := distinct[key]; ok && before != string(rec.Value) {
			in.t.Errorf("%s: %s came with other bytes\n%s\n%s", topic, key, before, rec.Value)
		}
		distinct[key] = string(rec.Value)
		return err
	}); err != nil {
		in.t.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b stream.Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return distinct, all
}

// results reads all outputs, and what both oracles make of the inputs as they are now on the log: the verdicts among the
// events are an output of the one and an input of the other.
func (in *installation) results() (got, want results) {
	in.t.Helper()
	got, want = newResults(), newResults()
	got.findings, _ = in.read(events.TopicFindings, func(b []byte) (string, error) {
		f, err := events.DecodeFinding(b)
		return f.ID, err
	})
	got.revocations, _ = in.read(events.TopicRevocations, func(b []byte) (string, error) {
		c, err := revocation.ParseClaims(b)
		return c.JTI, err
	})
	var sightings, log []stream.Record
	got.sightings, sightings = in.read(events.TopicSightings, func(b []byte) (string, error) {
		var m events.Sighting
		err := easyjson.Unmarshal(b, &m)
		return place(&m), err
	})
	_, log = in.read(events.TopicEvents, func(b []byte) (string, error) {
		e, err := events.Decode(b)
		return e.ID, err
	})
	want.fold(in.t, log)
	got.told, want.told = want.told, judge(in.t, sightings)
	return got, want
}

// compare waits until the outputs are what the inputs call for, all of it and nothing else. What came twice came with the
// same bytes.
func (in *installation) compare() {
	in.t.Helper()
	var got, want results
	kafkatest.Eventually(in.t, 3*time.Minute, func() error {
		got, want = in.results()
		for name, pair := range map[string][2]map[string]string{
			"findings": {got.findings, want.findings}, "revocations": {got.revocations, want.revocations},
			"sightings": {got.sightings, want.sightings}, "verdicts and contexts": {got.told, want.told},
		} {
			if err := differ(pair[0], pair[1]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
	if len(want.revocations) < 20 || len(want.told) < 100 {
		in.t.Errorf("the log led to %d revocations and %d verdicts and contexts, too few to prove anything", len(want.revocations), len(want.told))
	}
	in.t.Logf("%d findings, %d revocations, %d sightings, %d verdicts and contexts", len(want.findings), len(want.revocations), len(want.sightings), len(want.told))
}

// differ says in what one set of outputs differs from another.
func differ(got, want map[string]string) error {
	missing, wrong, extra := 0, 0, 0
	example := ""
	for key, value := range want {
		if have, ok := got[key]; !ok {
			missing, example = missing+1, value
		} else if have != value {
			wrong, example = wrong+1, have+"\nwant "+value
		}
	}
	for key, value := range got {
		if _, ok := want[key]; !ok {
			extra, example = extra+1, value
		}
	}
	if missing+wrong+extra == 0 {
		return nil
	}
	return fmt.Errorf("of %d there are %d missing, %d different and %d that nothing calls for, such as\n%s", len(want), missing, wrong, extra, example)
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
	replay := func() (out []string) {
		rules, err := LoadRules(DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		engine := NewEngine(rules)
		for _, rec := range records {
			e, err := events.Decode(rec.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range engine.Decide(e) {
				for i := range d.Outcome.Findings {
					out = append(out, string(events.Encode(&d.Outcome.Findings[i])))
				}
				for _, c := range d.Outcome.Changes {
					out = append(out, string(c.Claims.Encode()))
				}
			}
		}
		return out
	}
	first := replay()
	if len(first) < 100 {
		t.Fatalf("the log leads to %d findings and revocations only", len(first))
	}
	if diff := gocmp.Diff(replay(), first); diff != "" {
		t.Errorf("(-second, +first)\n%s", diff)
	}
	// The log itself is the same too: the company is deterministic.
	again := log(t, 200, 20)
	if !slices.EqualFunc(records, again, func(a, b stream.Record) bool {
		return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
	}) {
		t.Error("the simulated company made another log")
	}
}
