package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// world is one set of topics under test, with an oracle: what an uninterrupted run leaves behind is computed from the
// input alone.
type world struct {
	t          *testing.T
	c          *Cluster
	brokers    []string
	reg        *prometheus.Registry
	partitions int

	input, state, findings, verdicts, group string

	wire *wire // of the owners to come; nil for one each, without faults

	events map[int][]Record // by partition, in offset order
}

// stateConfig is a state topic that is safe from compaction while the test runs.
var stateConfig = map[string]string{"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000"}

func connect(t testing.TB, brokers []string) (*Cluster, *prometheus.Registry) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Brokers = brokers
	cfg.RequestTimeout = 3 * time.Second
	reg := prometheus.NewRegistry()
	c, err := Connect(cfg, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, reg
}

func newWorld(t *testing.T, brokers []string, partitions int) *world {
	t.Helper()
	c, reg := connect(t, brokers)
	w := &world{t: t, c: c, brokers: brokers, reg: reg, partitions: partitions, group: kafkatest.Name("group"), events: make(map[int][]Record)}
	w.input = kafkatest.Topic(t, brokers, "input", partitions, nil)
	w.state = kafkatest.Topic(t, brokers, "state", partitions, stateConfig)
	w.findings = kafkatest.Topic(t, brokers, "findings", partitions, nil)
	w.verdicts = kafkatest.Topic(t, brokers, "verdicts", partitions, stateConfig)
	return w
}

// send appends n events spread over keys, and remembers them for the oracle.
func (w *world) send(n, keys int) {
	w.t.Helper()
	byPart := make(map[int][]Record)
	for i := range n {
		key := []byte("user-" + strconv.Itoa(i%keys))
		part := PartitionFor(key, w.partitions)
		value := fmt.Sprintf("event-%d-%d", len(w.events[part])+len(byPart[part]), i)
		byPart[part] = append(byPart[part], Record{Key: key, Value: []byte(value)})
	}
	p := w.c.Producer()
	for part, recs := range byPart {
		for batch := range slices.Chunk(recs, 1000) {
			base, err := p.Produce(w.t.Context(), w.input, part, batch)
			if err != nil {
				w.t.Fatal(err)
			}
			for i := range batch {
				batch[i].Offset, batch[i].Partition = base+int64(i), part
			}
			w.events[part] = append(w.events[part], batch...)
		}
	}
}

// ledger is the processor under test. A key's state is its event count and a hash chained over its events; ids of
// outputs contain the chain, so a lost, repeated or reordered event changes every later id of the key.
type ledger struct {
	findings, verdicts string
	committed, copies  map[string]string
	uncommitted        bool
	process            func(batch []Record) error // may fail or wait
}

func (w *world) ledger() *ledger {
	return &ledger{findings: w.findings, verdicts: w.verdicts, committed: make(map[string]string), copies: make(map[string]string)}
}

func (l *ledger) Restore(key, payload []byte) error {
	if payload == nil {
		delete(l.committed, string(key))
		return nil
	}
	l.committed[string(key)] = string(payload)
	return nil
}

// fold applies one event to a key's state.
func fold(state string, value []byte) string {
	n, chain, _ := strings.Cut(state, ":")
	count, _ := strconv.Atoi(n)
	sum := sha256.Sum256(append([]byte(chain), value...))
	return strconv.Itoa(count+1) + ":" + hex.EncodeToString(sum[:8])
}

func isVerdict(state string) bool {
	n, _, _ := strings.Cut(state, ":")
	count, _ := strconv.Atoi(n)
	return count%3 == 0
}

func (l *ledger) Process(_ context.Context, batch []Record) (Result, error) {
	if l.uncommitted {
		return Result{}, errors.New("Process called again without Commit")
	}
	if l.process != nil {
		if err := l.process(batch); err != nil {
			return Result{}, err
		}
	}
	var res Result
	findings, verdicts := Output{Topic: l.findings}, Output{Topic: l.verdicts}
	for i := range batch {
		r := &batch[i]
		if r.Misplaced {
			continue
		}
		key := string(r.Key)
		state, ok := l.copies[key]
		if !ok {
			state = l.committed[key]
		}
		state = fold(state, r.Value)
		l.copies[key] = state
		id := []byte(key + "/" + state)
		findings.Records = append(findings.Records, Record{Key: r.Key, Value: id, Offset: r.Offset})
		if isVerdict(state) {
			verdicts.Records = append(verdicts.Records, Record{Key: r.Key, Value: id, Offset: r.Offset})
		}
	}
	res.Outputs = []Output{findings, verdicts}
	for _, k := range slices.Sorted(maps.Keys(l.copies)) {
		res.State = append(res.State, KeyValue{Key: []byte(k), Value: []byte(l.copies[k])})
	}
	l.uncommitted = true
	return res, nil
}

func (l *ledger) Commit() {
	maps.Copy(l.committed, l.copies)
	clear(l.copies)
	l.uncommitted = false
}

func (l *ledger) Encode(key []byte) []byte {
	if s, ok := l.committed[string(key)]; ok {
		return []byte(s)
	}
	return nil
}

// Current makes the ledger a Rewriter: a key's verdict is that of its last third event, which the state does not tell;
// so the tests that use it keep to keys whose newest event is one.
func (l *ledger) Current(_ string, key []byte) (Record, bool) {
	s, ok := l.committed[string(key)]
	return Record{Value: []byte(string(key) + "/" + s)}, ok && isVerdict(s)
}

var (
	_ Processor = (*ledger)(nil)
	_ Rewriter  = (*ledger)(nil)
)

// expected is what an uninterrupted run leaves behind.
func (w *world) expected() (findings, verdicts, state []string) {
	for _, recs := range w.events {
		states := make(map[string]string)
		for i := range recs {
			key := string(recs[i].Key)
			states[key] = fold(states[key], recs[i].Value)
			findings = append(findings, key+"/"+states[key])
			if isVerdict(states[key]) {
				verdicts = append(verdicts, key+"/"+states[key])
			}
		}
		for k, s := range states {
			state = append(state, k+"="+s)
		}
	}
	slices.Sort(findings)
	slices.Sort(verdicts)
	slices.Sort(state)
	return findings, verdicts, state
}

// ids reads the distinct values of a topic.
func (w *world) ids(topic string) []string {
	w.t.Helper()
	set := make(map[string]bool)
	err := w.c.Table(nil).Load(w.t.Context(), topic, func(r Record) error {
		set[string(r.Value)] = true
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(set))
}

// restored is the state that a new owner would restore, and the checkpoints, by partition.
func (w *world) restored() (state []string, ckpts []checkpoint) {
	w.t.Helper()
	ckpts = make([]checkpoint, w.partitions)
	first, end, err := w.c.Table(nil).ends(w.t.Context(), w.state) // retries: tests fail such requests
	if err != nil {
		w.t.Fatal(err)
	}
	for p := range w.partitions {
		l := w.ledger()
		r := newRestorer(l, 0, nil)
		for {
			if err := w.c.scan(w.state, p, first[p]).until(w.t.Context(), end[p], nil, r.add); err != nil {
				w.t.Fatal(err)
			}
			if r.settled() {
				break
			}
			l = w.ledger()
			r = r.again(l)
		}
		if _, err := r.finish(); err != nil {
			w.t.Fatal(err)
		}
		for k, s := range l.committed {
			state = append(state, k+"="+s)
		}
		ckpts[p] = r.ckpt
	}
	slices.Sort(state)
	return state, ckpts
}

// unsettled says which partition's checkpoint is not yet at the end of its input.
func (w *world) unsettled() error {
	_, ckpts := w.restored()
	for p, recs := range w.events {
		if len(recs) == 0 {
			continue
		}
		if want := recs[len(recs)-1].Offset + 1; ckpts[p].NextOffset != want {
			return fmt.Errorf("partition %d is at %d of %d", p, ckpts[p].NextOffset, want)
		}
	}
	return nil
}

// settle waits until every partition's checkpoint is at the end of its input.
func (w *world) settle() {
	w.t.Helper()
	kafkatest.Eventually(w.t, 90*time.Second, w.unsettled)
}

// check compares what is left behind with the oracle.
func (w *world) check() {
	w.t.Helper()
	findings, verdicts, state := w.expected()
	if d := cmp.Diff(findings, w.ids(w.findings)); d != "" {
		w.t.Errorf("findings (-want, +got):\n%s", clip(d))
	}
	if d := cmp.Diff(verdicts, w.ids(w.verdicts)); d != "" {
		w.t.Errorf("verdicts (-want, +got):\n%s", clip(d))
	}
	got, _ := w.restored()
	if d := cmp.Diff(state, got); d != "" {
		w.t.Errorf("state (-want, +got):\n%s", clip(d))
	}
}

func clip(s string) string { return s[:min(len(s), 2000)] }

// session is the shortest session timeout that the broker accepts.
func (w *world) session() time.Duration {
	if kafkatest.Real() {
		return 6 * time.Second
	}
	return time.Second
}

// config is that of the tests' owners: everything sooner.
func (w *world) config() OwnerConfig {
	return OwnerConfig{
		Group: w.group, Input: w.input, State: w.state, Version: "v1", MaxBatch: 100,
		IdleCheckpoint: 500 * time.Millisecond, DrainTimeout: time.Second,
		SessionTimeout: w.session(), HeartbeatInterval: 200 * time.Millisecond, RebalanceTimeout: 2 * time.Second,
	}
}

// running is an owner in the background.
type running struct {
	t       *testing.T
	wire    *wire
	stopCtx context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	reports []error
	live    map[int]int64
}

type ownerOption func(*owner)

func withStep(fn func(step, partition int)) ownerOption { return func(o *owner) { o.step = fn } }

func withConfig(fn func(*OwnerConfig)) ownerOption { return func(o *owner) { fn(&o.cfg) } }

func withProcessor(fn func(*ledger)) ownerOption {
	return func(o *owner) {
		inner := o.newProcessor
		o.newProcessor = func(p int) Processor {
			l := inner(p).(*ledger)
			fn(l)
			return l
		}
	}
}

// own starts an owner with connections of its own.
func (w *world) own(opts ...ownerOption) *running {
	w.t.Helper()
	cfg := DefaultConfig()
	cfg.Brokers = w.brokers
	cfg.RequestTimeout = 3 * time.Second
	c, err := Connect(cfg, w.reg)
	if err != nil {
		w.t.Fatal(err)
	}
	net := &wire{}
	if w.wire != nil {
		net = w.wire
	}
	c.dialer.DialFunc, c.transport.Dial = net.dial, net.dial
	r := &running{t: w.t, wire: net, done: make(chan struct{}), live: make(map[int]int64)}
	oc := w.config()
	oc.Report = func(p int, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reports = append(r.reports, fmt.Errorf("%s partition %d: %w", time.Now().Format("05.000"), p, err))
	}
	oc.Live = func(p int, next int64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.live[p] = next
	}
	o := newOwner(c, oc, func(int) Processor { return w.ledger() })
	for _, opt := range opts {
		opt(o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stopCtx = cancel
	go func() {
		defer close(r.done)
		if err := o.run(ctx); err != nil {
			w.t.Errorf("owner: %v", err)
		}
		_ = c.Close()
	}()
	w.t.Cleanup(func() {
		net.thaw()
		r.stop()
		if w.t.Failed() || testing.Verbose() {
			for _, err := range r.errors() {
				w.t.Logf("reported: %v", err)
			}
		}
	})
	return r
}

// kill ends the owner as kill -9 would: nothing of it reaches the broker any more.
func (r *running) kill() {
	r.wire.kill()
	r.stopCtx()
}

// stop ends the owner and waits for it to leave.
func (r *running) stop() {
	r.stopCtx()
	select {
	case <-r.done:
	case <-time.After(30 * time.Second):
		r.t.Error("owner does not stop")
	}
}

func (r *running) errors() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.reports)
}

// awaitLive waits until n partitions have been restored.
func (r *running) awaitLive(n int) {
	r.t.Helper()
	kafkatest.Eventually(r.t, 30*time.Second, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.live) < n {
			return fmt.Errorf("%d of %d partitions live, reports %v", len(r.live), n, r.reports)
		}
		return nil
	})
}

// awaitStop waits for a partition to stop and returns why.
func (r *running) awaitStop() *StopError {
	r.t.Helper()
	var stop *StopError
	kafkatest.Eventually(r.t, 30*time.Second, func() error {
		for _, err := range r.errors() {
			if errors.As(err, &stop) {
				return nil
			}
		}
		return fmt.Errorf("not stopped, reports %v", r.errors())
	})
	return stop
}
