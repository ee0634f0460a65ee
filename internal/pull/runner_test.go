package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/source/native"
	"github.com/countersign-io/countersign/internal/stream"
)

// counter is a source of numbered records, each page one. It notes when two of its kind run at once.
type counter struct {
	name string

	mu      sync.Mutex
	total   int
	running int
	both    bool
	runs    map[string]int // pages by runner
}

func (c *counter) left(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return n < c.total
}

func (c *counter) grow(by int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total += by
	return c.total
}

// of is the counter as one runner knows it.
func (c *counter) of(runner string) Source {
	return Source{Name: c.name, Format: "event", Decoder: native.Decoder{}, Tenants: []string{"acme"}, Fetcher: &counting{c, runner}}
}

type counting struct {
	c      *counter
	runner string
}

func (f *counting) Fetch(_ context.Context, position []byte, take func([][]byte, []byte) error) (time.Duration, error) {
	f.c.mu.Lock()
	f.c.running++
	f.c.both = f.c.both || f.c.running > 1
	f.c.mu.Unlock()
	defer func() {
		f.c.mu.Lock()
		defer f.c.mu.Unlock()
		f.c.running--
	}()
	n, _ := strconv.Atoi(string(position))
	for f.c.left(n) {
		n++
		if err := take(values(f.c.name+"-"+strconv.Itoa(n)), strconv.AppendInt(nil, int64(n), 10)); err != nil {
			return 0, err
		}
		f.c.mu.Lock()
		f.c.runs[f.runner]++
		f.c.mu.Unlock()
	}
	return time.Millisecond, nil
}

// Backfill gives numbered records too, and fails now and then.
func (f *counting) Backfill(_ context.Context, since, until time.Time, position []byte, take func([][]byte, []byte) error, progress func(float64)) error {
	if !since.Before(until) {
		return errors.New("nothing to do")
	}
	n, _ := strconv.Atoi(string(position))
	for n < f.c.total {
		n++
		if err := take(values(f.c.name+"-old-"+strconv.Itoa(n)), strconv.AppendInt(nil, int64(n), 10)); err != nil {
			return err
		}
		progress(float64(n) / float64(f.c.total))
		if n%10 == 0 {
			return errors.New("down for a moment")
		}
	}
	return nil
}

func (i *installation) runner(t *testing.T, reg prometheus.Registerer, sources ...Source) *Runner {
	t.Helper()
	cursors := i.cursors(t)
	places, err := noPlaces()
	if err != nil {
		t.Fatal(err)
	}
	pipeline, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{Publisher: cursors.cluster.Publisher(stream.PublisherConfig{}), Geo: places})
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.MinPause, cfg.MaxPause = time.Millisecond, 10*time.Millisecond
	r, err := New(cfg, Deps{Pipeline: pipeline, Cursors: cursors, Registerer: reg}, sources)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// start runs a runner, and returns what stops it.
func start(t *testing.T, r *Runner) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// onLog counts the events on the log by their sources' ids.
func (i *installation) onLog(t *testing.T) map[string]int {
	t.Helper()
	got := map[string]int{}
	err := i.connect(t).Table(nil).Load(t.Context(), events.TopicEvents, func(r stream.Record) error {
		e, err := events.Decode(r.Value)
		if err == nil {
			got[e.Source.ID]++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Two runners share sources; each source runs in one place at a time; when one runner goes, the other takes over where it
// was; all records are on the log once.
func TestRunnersShareSources(t *testing.T) {
	t.Parallel()
	i := install(t)
	var counters []*counter
	var ofA, ofB []Source
	for n := range 8 {
		c := &counter{name: fmt.Sprintf("source-%d", n), runs: map[string]int{}}
		counters = append(counters, c)
		ofA, ofB = append(ofA, c.of("a")), append(ofB, c.of("b"))
	}
	// pages are more and more, while by waits for its share.
	pages := func(by string) error {
		taken := 0
		for _, c := range counters {
			c.grow(5)
			c.mu.Lock()
			taken += c.runs[by]
			c.mu.Unlock()
		}
		return atLeast("pages of "+by, taken, 100)
	}
	stopA := start(t, i.runner(t, nil, ofA...))
	defer stopA()
	await(t, func() error { return pages("a") })
	stopB := start(t, i.runner(t, nil, ofB...))
	defer stopB()
	await(t, func() error { return pages("b") })
	stopA()
	want, positions := map[string]int{}, map[string]string{}
	for _, c := range counters {
		total := c.grow(20)
		for n := range total {
			want[fmt.Sprintf("%s-%d", c.name, n+1)] = 1
		}
		positions[c.name] = strconv.Itoa(total)
	}
	await(t, func() error { return atLeast("events", len(i.onLog(t)), len(want)) })
	got := map[string]string{}
	await(t, func() error {
		for _, s := range i.status(t) {
			got[s.Source] = string(s.Position)
		}
		if d := cmp.Diff(positions, got); d != "" {
			return fmt.Errorf("positions (-want, +got):\n%s", d)
		}
		return nil
	})
	stopB()
	for _, c := range counters {
		if c.both {
			t.Errorf("%s ran in two places at once", c.name)
		}
	}
	if d := cmp.Diff(want, i.onLog(t)); d != "" {
		t.Errorf("events on the log (-want, +got):\n%.2000s", d)
	}
	for _, s := range i.status(t) {
		if strconv.FormatInt(s.Accepted, 10) != string(s.Position) || s.LastSuccess == 0 {
			t.Errorf("status %+v, want as many accepted as the position says", s)
		}
	}
}

func await(t *testing.T, check func() error) {
	t.Helper()
	kafkatest.Eventually(t, 60*time.Second, check)
}

func atLeast(what string, got, least int) error {
	if got < least {
		return fmt.Errorf("%d %s, want %d", got, what, least)
	}
	return nil
}

// A former owner's late position lies over a newer one: the next owner repeats what it covers, and nothing is on the log
// twice.
func TestLatePositionOfFormerOwnerDoesNoHarm(t *testing.T) {
	t.Parallel()
	i := install(t)
	c := &counter{name: "okta", total: 50, runs: map[string]int{}}
	late := i.cursors(t)
	stop := start(t, i.runner(t, nil, c.of("a")))
	defer stop()
	await(t, func() error { return atLeast("pages", len(i.onLog(t)), 50) })
	stop()
	if err := late.Put(t.Context(), Status{Source: "okta", Format: "event", Position: []byte("20"), Accepted: 20}); err != nil {
		t.Fatal(err)
	}
	c.grow(10)
	reg := prometheus.NewRegistry()
	stop = start(t, i.runner(t, reg, c.of("b")))
	defer stop()
	await(t, func() error { return atLeast("pages", len(i.onLog(t)), 60) })
	stop()
	for id, n := range i.onLog(t) {
		if n != 1 {
			t.Errorf("%s is on the log %d times", id, n)
		}
	}
	want := map[string]float64{"accepted": 10, "duplicate": 30, "skipped": 0, "rejected": 0}
	if d := cmp.Diff(want, counts(t, reg)); d != "" {
		t.Errorf("records of the second runner (-want, +got):\n%s", d)
	}
}

// counts are the records of all sources by result.
func counts(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "countersign_pull_records_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "result" {
					got[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return got
}

// A cursor of a newer version stops its source, and no other one.
func TestUnreadableCursorStopsOnlyItsSource(t *testing.T) {
	t.Parallel()
	i := install(t)
	newer := []byte(`{"version":2,"source":"newer"}`)
	i.write(t, "newer", newer)
	a, b := &counter{name: "newer", total: 5, runs: map[string]int{}}, &counter{name: "okta", total: 5, runs: map[string]int{}}
	stop := start(t, i.runner(t, nil, a.of("a"), b.of("a")))
	defer stop()
	await(t, func() error { return atLeast("pages", len(i.onLog(t)), 5) })
	stop()
	for id := range i.onLog(t) {
		if strings.HasPrefix(id, "newer") {
			t.Errorf("%s: a source began anew over a cursor that it cannot read", id)
		}
	}
}

func TestBackfillGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	i := install(t)
	c := &counter{name: "okta", total: 35, runs: map[string]int{}}
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := i.runner(t, nil, c.of("a")).Backfill(ctx, "okta", since, time.Time{}, func(done float64) {
		if done > .5 {
			cancel() // a person interrupts it
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v, want that it was interrupted", err)
	}
	before := len(i.onLog(t))
	if before < 17 || before > 30 {
		t.Errorf("%d events before it was interrupted", before)
	}
	var first backfill
	status, err := i.cursors(t).Get("okta" + backfillSuffix)
	if err != nil || json.Unmarshal(status.Position, &first) != nil {
		t.Fatal(err, status)
	}
	reg := prometheus.NewRegistry()
	last := 0.
	status, err = i.runner(t, reg, c.of("b")).Backfill(t.Context(), "okta", since, time.Time{}, func(done float64) { last = done })
	if err != nil || last != 1 || status.Accepted != 35 {
		t.Fatalf("the rest: %v, done %v, %+v", err, last, status)
	}
	if got := counts(t, reg)["accepted"] + counts(t, reg)["duplicate"]; int(got) != 35-before {
		t.Errorf("%v records were fetched for the rest, want %d", got, 35-before)
	}
	var second backfill
	if err := json.Unmarshal(status.Position, &second); err != nil || second.Until != first.Until || !second.Done {
		t.Errorf("position %s, want that of the same backfill, done (%v)", status.Position, err)
	}
	for id, n := range i.onLog(t) {
		if n != 1 {
			t.Errorf("%s is on the log %d times", id, n)
		}
	}
	// One that is done, or another one, begins at the beginning.
	status, err = i.runner(t, nil, c.of("b")).Backfill(t.Context(), "okta", since, time.Time{}, nil)
	if err != nil || status.Accepted != 0 || status.Duplicates != 35 {
		t.Errorf("once more: %v, %+v, want 35 duplicates", err, status)
	}
	for _, name := range []string{"nobody", "okta"} {
		if _, err := i.runner(t, nil, Source{Name: "okta", Decoder: native.Decoder{}, Fetcher: &script{}}).Backfill(t.Context(), name, since, time.Time{}, nil); err == nil {
			t.Errorf("%s is taken for a source with a history", name)
		}
	}
}

func TestBackfillGivesUpWithoutProgress(t *testing.T) {
	t.Parallel()
	i := install(t)
	r := i.runner(t, nil, Source{Name: "okta", Decoder: native.Decoder{}, Fetcher: broken{&script{}}})
	_, err := r.Backfill(t.Context(), "okta", time.Now().Add(-time.Hour), time.Time{}, nil)
	if err == nil || !strings.Contains(err.Error(), `going back in source "okta": for ever down`) {
		t.Errorf("error is %v", err)
	}
}

type broken struct{ *script }

func (broken) Backfill(context.Context, time.Time, time.Time, []byte, func([][]byte, []byte) error, func(float64)) error {
	return errors.New("for ever down")
}

func TestSourcesAreValidated(t *testing.T) {
	t.Parallel()
	i := install(t)
	ok := Source{Name: "okta", Decoder: native.Decoder{}, Fetcher: &script{}}
	_, err := New(DefaultConfig(), Deps{Pipeline: &ingest.Pipeline{}, Cursors: i.cursors(t)}, []Source{
		ok, ok, {Name: "x#backfill", Decoder: native.Decoder{}, Fetcher: &script{}}, {}, {Name: "half"},
	})
	for _, want := range []string{`two sources have the name "okta"`, `"x#backfill" is none`, `"" is none`, `source "half" needs`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %s: %v", want, err)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{MinPause: time.Second, WarmUp: -1}.Validate()
	for _, want := range []string{"group: ", "session_timeout: ", "max_pause: ", "heartbeat: ", "drain_timeout: ", "warm_up: "} {
		if bad == nil || !strings.Contains(bad.Error(), want) {
			t.Errorf("error does not mention %s: %v", want, bad)
		}
	}
}
