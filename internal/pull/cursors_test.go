package pull

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/stream"
)

// installation is the topics of one installation, which several processes of a test may reach.
type installation struct {
	brokers []string
	prefix  string
}

func install(t *testing.T) *installation {
	t.Helper()
	i := &installation{brokers: kafkatest.Brokers(t), prefix: kafkatest.Name("pull") + "."}
	err := i.connect(t).EnsureTopics(t.Context(), []stream.TopicSpec{
		{Name: events.TopicEvents, Partitions: 3, Replication: 1},
		{Name: events.TopicDeadLetter, Partitions: 1, Replication: 1},
		{Name: events.TopicCursors, Partitions: 3, Replication: 1, Compact: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *installation) connect(t *testing.T) *stream.Cluster {
	t.Helper()
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.Prefix = i.brokers, i.prefix
	c, err := stream.Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (i *installation) cursors(t *testing.T) *Cursors {
	t.Helper()
	c, err := OpenCursors(t.Context(), i.connect(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (i *installation) status(t *testing.T) []Status {
	t.Helper()
	list, err := ReadStatus(t.Context(), i.connect(t).Table(nil))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// write puts a raw record on the topic of cursors.
func (i *installation) write(t *testing.T, key string, value []byte) {
	t.Helper()
	err := i.connect(t).Publisher(stream.PublisherConfig{}).Publish(t.Context(), events.TopicCursors, []stream.Record{{Key: []byte(key), Value: value}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCursorsAreKeptAndSharedAndShown(t *testing.T) {
	t.Parallel()
	i := install(t)
	a, b := i.cursors(t), i.cursors(t)
	okta := Status{
		Source: "okta", Format: "okta-log", Position: []byte(`{"after":"<1>"}`), Updated: 3, LastEvent: 1, LastSuccess: 2,
		Accepted: 1, Duplicates: 2, Skipped: 3, Rejected: 4, Error: "down", ErrorSince: 1,
	}
	for _, s := range []Status{{Source: "okta", Updated: 1}, okta, {Source: "entra", Updated: 5}} {
		if err := a.Put(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*Cursors{"its own": a, "another's": b, "a new one's": i.cursors(t)} {
		got, err := c.Get("okta")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(okta, got, cmp.Transformer("text", func(b []byte) string { return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(b)) })); d != "" {
			t.Errorf("%s view (-want, +got):\n%s", name, d)
		}
	}
	list := i.status(t)
	if len(list) != 2 || list[0].Source != "entra" || list[1].Error != "down" {
		t.Errorf("status %+v, want entra and okta", list)
	}
	i.write(t, "okta", nil)
	if err := b.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Get("okta"); err != nil || got.Source != "" {
		t.Errorf("after a tombstone: %+v, %v", got, err)
	}
	if list := i.status(t); len(list) != 1 {
		t.Errorf("after a tombstone: %+v", list)
	}
}

func TestCursorThatCannotBeReadSaysWhatToDo(t *testing.T) {
	t.Parallel()
	i := install(t)
	for key, c := range map[string]struct{ value, want string }{
		"newer":   {`{"version":2,"source":"newer"}`, "update this one"},
		"broken":  {`{"version":1,`, "write a tombstone"},
		"none":    {`{"source":"none"}`, "has no version"},
		"foreign": {`{"version":1,"source":"other"}`, "is of source"},
	} {
		i.write(t, key, []byte(c.value))
		_, err := i.cursors(t).Get(key)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one with %q", key, err, c.want)
		}
	}
	for _, s := range i.status(t) {
		if s.Error == "" || s.Updated == 0 {
			t.Errorf("status %+v says nothing of its record", s)
		}
	}
	c := i.cursors(t)
	if err := c.Put(t.Context(), Status{Source: "large", Position: make([]byte, MaxPosition+backfillOverhead+1)}); err == nil {
		t.Error("a position that is too large is kept")
	}
}

// What is read may be older than what was just put; it must not win.
func TestRefreshDoesNotGoBack(t *testing.T) {
	t.Parallel()
	i := install(t)
	c := i.cursors(t)
	for n := range 3 {
		if err := c.Put(t.Context(), Status{Source: "okta", Accepted: int64(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.keep("okta", entry{status: Status{Source: "okta", Accepted: 1}, offset: 1}); err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.Get("okta"); got.Accepted != 2 {
		t.Errorf("status %+v, want the newest", got)
	}
}

func TestReportsAddUp(t *testing.T) {
	t.Parallel()
	i := install(t)
	a, b := i.cursors(t), i.cursors(t)
	if err := a.Put(t.Context(), Status{Source: "hook", Accepted: 100, Error: "old", ErrorSince: 1}); err != nil {
		t.Fatal(err)
	}
	a.Report("hook", "okta-hook", ingest.Result{Accepted: 5, Duplicates: 1, LastEvent: 7}, nil)
	a.Report("hook", "okta-hook", ingest.Result{Accepted: 1, Rejected: 2, LastEvent: 6}, nil)
	b.Report("hook", "okta-hook", ingest.Result{Skipped: 4}, errors.New("log\nis busy"))
	for _, c := range []*Cursors{a, b, a, b} {
		if err := c.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := i.status(t)[0]
	worked, since := got.LastSuccess, got.ErrorSince
	got.Updated, got.LastSuccess, got.ErrorSince = 0, 0, 0
	want := Status{Source: "hook", Format: "okta-hook", Accepted: 106, Duplicates: 1, Skipped: 4, Rejected: 2, LastEvent: 7, Error: "log is busy"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("status (-want, +got):\n%s", d)
	}
	if worked == 0 || since < worked {
		t.Errorf("last success %v, error since %v", worked, since)
	}
	b.Report("hook", "okta-hook", ingest.Result{}, nil)
	if err := b.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := i.status(t)[0]; got.Error != "" || got.ErrorSince != 0 {
		t.Errorf("the error outlives a success: %+v", got)
	}
}

// Reports that cannot be written are kept; the last ones are written at the end of Run.
func TestReportsAreNotLost(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	i := &installation{brokers: fake.Addrs(), prefix: "x."}
	cluster := i.connect(t)
	if err := cluster.EnsureTopics(t.Context(), []stream.TopicSpec{{Name: events.TopicCursors, Partitions: 1, Replication: 1, Compact: true}}); err != nil {
		t.Fatal(err)
	}
	c := i.cursors(t)
	i.write(t, "newer", []byte(`{"version":2,"source":"newer"}`))
	c.Report("hook", "f", ingest.Result{Accepted: 1}, nil)
	c.Report("newer", "f", ingest.Result{Accepted: 1}, nil)
	c.Report("zoo", "f", ingest.Result{Accepted: 1}, errors.New("bad"))
	if err := c.flush(t.Context()); err == nil {
		t.Error("a status of a newer version is written over")
	}
	if got, err := i.cursors(t).Get("zoo"); err != nil || got.Accepted != 1 {
		t.Errorf("one source that cannot be written holds up another: %+v, %v", got, err)
	}
	c.Report("zoo", "f", ingest.Result{Accepted: 2}, nil)
	i.write(t, "newer", nil)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- c.Run(ctx) }()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, s := range i.status(t) {
		counts[s.Source] = s.Accepted
	}
	if d := cmp.Diff(map[string]int64{"hook": 1, "newer": 1, "zoo": 3}, counts); d != "" {
		t.Errorf("accepted (-want, +got):\n%s", d)
	}
}
