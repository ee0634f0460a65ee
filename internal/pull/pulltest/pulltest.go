// Package pulltest proves of a source that nothing is lost and nothing doubled, whatever happens: the source runs in a
// process of its own, against a real upstream in the test and a real broker, and that process is killed with -9 again and
// again, between asking and publishing, between publishing and keeping the position, and at random.
//
// The test's package calls [Main] from TestMain with its sources, and [Prove] in its tests.
package pulltest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/stream"
)

// Source is a source under test.
type Source struct {
	Decoder ingest.Decoder
	Format  string
	// Tenant is the only one it may write for; "" is any.
	Tenant  string
	Fetcher pull.Fetcher
}

// Factory builds a source that asks the upstream at an address. Its pauses may be those of production: the harness waits
// no longer than some milliseconds between two calls.
type Factory = func(upstream string) (Source, error)

// factories are those of the test program that runs.
var factories map[string]Factory

// Main is what TestMain calls: it runs the tests, or, as the process to be killed, one source.
func Main(m *testing.M, sources map[string]Factory) {
	factories = sources
	if text := os.Getenv(childEnv); text != "" {
		if err := child(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) //nolint:forbidigo // it is all of TestMain
		}
		return
	}
	os.Exit(m.Run()) //nolint:forbidigo // it is all of TestMain
}

// Options say how a source is tried. The zero value kills it ten times (three in short runs).
type Options struct {
	// Kills is how often the process is killed.
	Kills int
	// SourceIDs says that the wanted ids are the source's own, and not those of the log.
	SourceIDs bool
	// Letters is how many different dead letters there must be at the end.
	Letters int
	// Repeats tolerates events that are on the log more than once.
	Repeats bool
	// Takeover has another process wait for the source before the first is killed; else the next is started afterwards.
	Takeover bool
	// Timeout bounds how long the last run may take until all is there. Default 60 s.
	Timeout time.Duration
	// Seed chooses the moments of the kills; 0 is a random one, which is logged.
	Seed uint64
}

// Prove runs the named source against an upstream, kills it again and again, lets it come to its end, and fails the test
// unless every wanted event is on the log exactly once and no other one is. It returns what is on the log, by time.
func Prove(t *testing.T, name, upstream string, want []string, o Options) []events.Event {
	t.Helper()
	if factories[name] == nil {
		t.Fatalf("no source %q is known: TestMain must call pulltest.Main with it", name)
	}
	if o.Kills == 0 {
		o.Kills = 10
		if testing.Short() {
			o.Kills = 3
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 60 * time.Second
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	p := &proof{t: t, o: o, want: want, spec: spec{Name: name, Upstream: upstream, Brokers: kafkatest.Brokers(t), Prefix: kafkatest.Name("pull") + "."}}
	var err error
	if p.cluster, err = p.spec.connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cluster.Close() })
	topics := []stream.TopicSpec{
		{Name: events.TopicEvents, Partitions: 3, Replication: 1},
		{Name: events.TopicDeadLetter, Partitions: 1, Replication: 1},
		{Name: events.TopicCursors, Partitions: 2, Replication: 1, Compact: true},
	}
	if err := p.cluster.EnsureTopics(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	p.random = rand.New(rand.NewPCG(o.Seed, 0))
	at := map[string]int{}
	for run := range o.Kills {
		at[p.kill(run)]++
	}
	p.finish()
	t.Logf("seed %d: killed %d times: %v", o.Seed, o.Kills, at)
	all := p.onLog()
	for _, problem := range p.problems(all, p.letters()) {
		t.Error(problem)
	}
	return all
}

// proof is one call of Prove.
type proof struct {
	t       *testing.T
	o       Options
	want    []string
	spec    spec
	cluster *stream.Cluster
	random  *rand.Rand
	standby *process // the one to take over, if any
}

// process is one run of the source.
type process struct {
	// die and left say where it dies by itself; die "" is nowhere.
	die  string
	left int
	last string // the step that it was seen at last
	seen int    // how many

	cmd    *exec.Cmd
	steps  chan string // as they happen; closed at the end
	stderr *tailBuffer
	once   sync.Once // of end
}

// process returns the process of a run: the one that waits, or a new one. The last run does not die.
func (p *proof) process(run int) *process {
	p.t.Helper()
	c := p.standby
	if c == nil {
		c = p.start(run)
	}
	if p.standby = nil; p.o.Takeover && run < p.o.Kills {
		p.standby = p.start(run + 1)
	}
	return c
}

func (p *proof) start(run int) *process {
	p.t.Helper()
	c := &process{left: 1 + p.random.IntN(3), steps: make(chan string, 1000), stderr: &tailBuffer{}}
	if run < p.o.Kills {
		// The process hits a step of its own exactly; from outside it is hit somewhere near.
		c.die = []string{stepPage, stepPublished, stepKept, ""}[run%4]
	}
	s := p.spec
	s.Die, s.Left, s.Group = c.die, c.left, "pull"
	if !p.o.Takeover {
		s.Group = fmt.Sprintf("pull-%d", run) // the one who was killed stays a member of his for a while
	}
	text, err := json.Marshal(s)
	if err != nil {
		p.t.Fatal(err)
	}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	c.cmd.Stderr = c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.end)
	go func() {
		defer close(c.steps)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.steps <- lines.Text()
		}
		_, _ = io.Copy(io.Discard, out) // nothing is left but what is no line
	}()
	return c
}

// end kills what still runs.
func (c *process) end() {
	c.once.Do(func() {
		_ = c.cmd.Process.Kill() // it may be dead
		for range c.steps {
			continue // nobody may wait to send
		}
		_ = c.cmd.Wait() // it was killed
	})
}

// kill starts the source, kills it at a random step, and returns at which.
func (p *proof) kill(run int) string {
	p.t.Helper()
	c := p.process(run)
	defer func() { c.end() }()
	timeout := time.After(p.o.Timeout)
	for {
		var others chan string
		if p.standby != nil {
			others = p.standby.steps
		}
		var step string
		var running bool
		select {
		case step, running = <-c.steps:
		case step, running = <-others:
			c, p.standby = p.standby, c // it is the one that has the source
		case <-timeout:
			p.t.Fatalf("nothing was fetched within %v after %q: %s%s", p.o.Timeout, c.last, p.status(), c.stderr)
		}
		switch {
		case !running && c.last != c.die:
			p.t.Fatalf("the source ended by itself after %q: %s", c.last, c.stderr)
		case !running:
			return c.last
		case step == stepIdle:
			return stepIdle // there is nothing more to fetch now
		}
		c.last = step
		if c.seen++; c.die == "" && c.seen == 2*c.left {
			return "about " + c.last
		}
	}
}

// finish lets the source run until all is there, and twice more to the end of what the upstream has.
func (p *proof) finish() {
	p.t.Helper()
	c := p.process(p.o.Kills)
	defer func() { c.end() }()
	timeout := time.After(p.o.Timeout)
	for left := 2; left > 0; {
		select {
		case step, running := <-c.steps:
			switch {
			case !running && c.last == c.die: // one that waited through all takeovers
				c = p.start(p.o.Kills)
			case !running:
				p.t.Fatalf("the source ended by itself after %q: %s", c.last, c.stderr)
			case step == stepIdle && (left < 2 || len(p.missing()) == 0):
				left--
			}
			c.last = step
		case <-timeout:
			missing := p.missing()
			p.t.Fatalf("not all is on the log after %v: %d of %d are missing, such as %.3q; %s%s",
				p.o.Timeout, len(missing), len(p.want), missing[:min(len(missing), 3)], p.status(), c.stderr)
		}
	}
}

// id is that by which an event is wanted.
func (p *proof) id(e *events.Event) string {
	if p.o.SourceIDs {
		return e.Source.ID
	}
	return e.ID
}

func (p *proof) onLog() []events.Event {
	p.t.Helper()
	var all []events.Event
	err := p.cluster.Table(nil).Load(p.t.Context(), events.TopicEvents, func(r stream.Record) error {
		e, err := events.Decode(r.Value)
		if err != nil {
			return err
		}
		all = append(all, *e)
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b events.Event) int { return int(a.Time - b.Time) })
	return all
}

func (p *proof) missing() []string {
	p.t.Helper()
	there := map[string]bool{}
	all := p.onLog()
	for i := range all {
		there[p.id(&all[i])] = true
	}
	return slices.DeleteFunc(slices.Clone(p.want), func(id string) bool { return there[id] })
}

// letters are the reasons of the dead letters by id: a record that is fetched again has the same.
func (p *proof) letters() map[string]string {
	p.t.Helper()
	reasons := map[string]string{}
	err := p.cluster.Table(nil).Load(p.t.Context(), events.TopicDeadLetter, func(r stream.Record) error {
		l, err := events.DecodeDeadLetter(r.Value)
		if err == nil {
			reasons[l.ID] = l.Reason
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return reasons
}

// problems compares what is on the log with what should be.
func (p *proof) problems(all []events.Event, letters map[string]string) []string {
	var problems []string
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	count := map[string]int{}
	for i := range all {
		count[p.id(&all[i])]++
	}
	wanted := map[string]bool{}
	for _, id := range p.want {
		wanted[id] = true
		if count[id] == 0 {
			bad("event %s is not on the log", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(count)) {
		switch n := count[id]; {
		case !wanted[id]:
			bad("event %s is on the log and was not wanted", id)
		case n > 1 && !p.o.Repeats:
			bad("event %s is on the log %d times", id, n)
		}
	}
	if len(letters) != p.o.Letters {
		bad("%d dead letters, want %d: %q", len(letters), p.o.Letters, slices.Sorted(maps.Values(letters)))
	}
	return problems
}

// status is what the source says of itself.
func (p *proof) status() string {
	list, err := pull.ReadStatus(p.t.Context(), p.cluster.Table(nil))
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "%s: position %.200s, accepted %d, duplicates %d, skipped %d, rejected %d, error %q\n",
			s.Source, s.Position, s.Accepted, s.Duplicates, s.Skipped, s.Rejected, s.Error)
	}
	return b.String()
}

// tailBuffer keeps the end of what a process said.
type tailBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *tailBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	const most = 32 << 10
	if b.buf.Len() > most {
		b.buf.Reset()
	}
	return b.buf.Write(text)
}

func (b *tailBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// spec is what the process to be killed is told.
type spec struct {
	Name, Upstream string
	Brokers        []string
	Prefix, Group  string
	// Die is the step at which the process kills itself, at the occasion Left, from 1; "" is none.
	Die  string
	Left int
}

func (s *spec) connect() (*stream.Cluster, error) {
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.Prefix = s.Brokers, s.Prefix
	return stream.Connect(cfg, nil)
}
