package archiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/stream"
)

type handler func(ctx context.Context, partition int, batch []stream.Record) error

// desk is a consumer whose batches the test hands in.
type desk struct {
	mu       sync.Mutex
	handlers map[string]handler
}

func (d *desk) Consume(ctx context.Context, cfg stream.ConsumerConfig, handle func(ctx context.Context, partition int, batch []stream.Record) error) error {
	d.mu.Lock()
	d.handlers[cfg.Topic] = handle
	d.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (d *desk) hand(ctx context.Context, topic string, partition int, batch []stream.Record) error {
	d.mu.Lock()
	handle := d.handlers[topic]
	d.mu.Unlock()
	return handle(ctx, partition, batch)
}

// outbox keeps what is published.
type outbox struct {
	mu      sync.Mutex
	err     error
	letters []events.DeadLetter
}

func (o *outbox) Publish(_ context.Context, topic string, records []stream.Record) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	for _, r := range records {
		if topic != events.TopicDeadLetter {
			return fmt.Errorf("published to %s", topic)
		}
		d, err := events.DecodeDeadLetter(r.Value)
		if err != nil {
			return err
		}
		o.letters = append(o.letters, *d)
	}
	return nil
}

// insertion is one insert that a ledger saw.
type insertion struct {
	Table history.Table
	Rows  int
}

// ledger is a store that writes down what it is asked, and answers as the test says.
type ledger struct {
	mu      sync.Mutex
	seen    []insertion
	answer  func(n int, i insertion) error
	arrived chan insertion
	looks   int
}

func (l *ledger) Migrate(context.Context) ([]string, error) { return nil, nil }

func (l *ledger) Insert(_ context.Context, blocks ...*history.Block) error {
	i := insertion{Table: blocks[0].Table()}
	for _, b := range blocks {
		i.Rows += b.Len()
	}
	l.mu.Lock()
	l.seen = append(l.seen, i)
	n := len(l.seen)
	l.mu.Unlock()
	if l.arrived != nil {
		l.arrived <- i
	}
	if l.answer == nil {
		return nil
	}
	return l.answer(n, i)
}

// Erase counts the looks.
func (l *ledger) Erase(context.Context) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	return 0, nil
}

func (l *ledger) inserted() []insertion {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]insertion{}, l.seen...)
}

type fixture struct {
	*Archiver
	desk   *desk
	outbox *outbox
	ledger *ledger
}

// start runs an archiver inside a synctest bubble.
func start(t *testing.T, change func(*Config), answer func(n int, i insertion) error) *fixture {
	t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	f := &fixture{desk: &desk{handlers: map[string]handler{}}, outbox: &outbox{}, ledger: &ledger{answer: answer}}
	var err error
	if f.Archiver, err = New(cfg, Deps{Consumer: f.desk, Publisher: f.outbox, Store: f.ledger}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the archiver ended with %v", err)
		}
	})
	synctest.Wait()
	return f
}

func eventRecords(partition, from, n int) []stream.Record {
	list := make([]stream.Record, n)
	for i := range list {
		e := events.Event{
			Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u"}, Time: 1772582400000 + events.Millis(from+i),
			Source: events.Source{ID: fmt.Sprintf("%d/%d", partition, from+i)},
		}
		e.ID = events.EventID(e.Tenant, "", e.Source.ID)
		list[i] = stream.Record{
			Topic: events.TopicEvents, Partition: partition, Offset: int64(from + i), Time: time.Now(), Key: []byte(e.Key()), Value: events.Encode(&e),
		}
	}
	return list
}

func TestAnOffsetIsReleasedOnlyWhenItsRowIsDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("connection refused")
		f := start(t, nil, func(n int, _ insertion) error {
			if n <= 20 {
				return away
			}
			return nil
		})
		begun := time.Now()
		if err := f.desk.hand(t.Context(), events.TopicEvents, 3, eventRecords(3, 7, 5)); err != nil {
			t.Fatal(err)
		}
		seen := f.ledger.inserted()
		if len(seen) != 21 {
			t.Fatalf("%d inserts, want 20 that fail and one", len(seen))
		}
		for _, i := range seen {
			if i != seen[0] || i.Rows != 5 {
				t.Errorf("a retry is another insert: %+v, first %+v", i, seen[0])
			}
		}
		if took := time.Since(begun); took < 20*f.cfg.RetryMax/4 || took > 20*f.cfg.RetryMax {
			t.Errorf("20 retries took %v, want growing pauses up to %v", took, f.cfg.RetryMax)
		}
		if n := testutil.ToFloat64(f.metrics.retries.WithLabelValues("events")); n != 20 {
			t.Errorf("%v retries are counted", n)
		}
		if n := testutil.ToFloat64(f.metrics.buffered.WithLabelValues("events")); n != 0 {
			t.Errorf("%v rows are counted as buffered at the end", n)
		}
	})
}

func TestPartitionsShareAnInsert(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nil, nil)
		var all sync.WaitGroup
		for p := range 4 {
			all.Go(func() {
				if err := f.desk.hand(t.Context(), events.TopicEvents, p, eventRecords(p, 0, 10)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if seen := f.ledger.inserted(); len(seen) != 1 || seen[0].Rows != 40 {
			t.Errorf("inserts are %+v, want one of 40 rows", seen)
		}
	})
}

// Every partition is told a tenant's context; the history keeps it once. Verdicts it keeps all.
func TestATenantsContextIsKeptOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nil, nil)
		for p := range 4 {
			var list []stream.Record
			for i, e := range []events.Event{
				{Kind: events.TenantContext, Org: &events.OrgContext{Until: 1772582400000, Egress: []string{"192.0.2.0/24"}}},
				{Kind: events.NetworkVerdict, Verdict: &events.Verdict{Detection: "CRD-03", Severity: events.Medium}},
			} {
				e.Tenant, e.User.ID, e.Time, e.Source.ID = "acme", fmt.Sprint("u", p), 1772582400000, fmt.Sprint(p, i)
				e.ID = events.EventID(e.Tenant, "countersign", e.Source.ID)
				list = append(list, stream.Record{Topic: events.TopicEvents, Partition: p, Offset: int64(i), Time: time.Now(), Key: []byte(e.Key()), Value: events.Encode(&e)})
			}
			if err := f.desk.hand(t.Context(), events.TopicEvents, p, list); err != nil {
				t.Fatal(err)
			}
		}
		rows := 0
		for _, i := range f.ledger.inserted() {
			rows += i.Rows
		}
		if rows != 5 {
			t.Errorf("%d rows, want four verdicts and one context", rows)
		}
	})
}

func TestAnInsertIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, func(c *Config) { c.FlushRows, c.MaxRows, c.Inserters = 10, 20, 1 }, func(int, insertion) error {
			time.Sleep(time.Second)
			return nil
		})
		var all sync.WaitGroup
		for p := range 8 {
			all.Go(func() {
				if err := f.desk.hand(t.Context(), events.TopicEvents, p, eventRecords(p, 0, 9)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		total := 0
		for _, i := range f.ledger.inserted() {
			total += i.Rows
			if i.Rows > 20 {
				t.Errorf("an insert has %d rows, at most 20 are allowed", i.Rows)
			}
		}
		if total != 72 {
			t.Errorf("%d rows were inserted, want 72", total)
		}
	})
}

func TestRowsOfAPartitionThatIsTakenAwayAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nil, nil)
		ctx, revoke := context.WithCancel(t.Context())
		gone, kept := make(chan error, 1), make(chan error, 1)
		go func() { gone <- f.desk.hand(ctx, events.TopicEvents, 1, eventRecords(1, 0, 10)) }()
		go func() { kept <- f.desk.hand(t.Context(), events.TopicEvents, 2, eventRecords(2, 0, 3)) }()
		synctest.Wait()
		revoke()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the partition that was taken away ended with %v", err)
		}
		if err := <-kept; err != nil {
			t.Error(err)
		}
		if seen := f.ledger.inserted(); len(seen) != 1 || seen[0].Rows != 3 {
			t.Errorf("inserts are %+v, want the 3 rows of the other partition", seen)
		}
	})
}

func TestUnreadableRecordsBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nil, nil)
		batch := eventRecords(0, 0, 6)
		batch[1].Value = []byte(`{"kind":`)
		batch[2].Value = nil // a tombstone
		batch[3].Value = []byte(strings.Replace(string(batch[3].Value), "acme", "a/b", 1))
		batch[4].Value = []byte("\xff\xfe" + strings.Repeat("x", 1<<20))
		if err := f.desk.hand(t.Context(), events.TopicEvents, 0, batch); err != nil {
			t.Fatal(err)
		}
		if seen := f.ledger.inserted(); len(seen) != 1 || seen[0].Rows != 2 {
			t.Errorf("inserts are %+v, want one of 2 rows", seen)
		}
		var got []string
		for i, d := range f.outbox.letters {
			r := batch[[]int{1, 3, 4}[i]]
			if d.Topic != events.TopicEvents || d.Offset != r.Offset || d.Stage != "archiver" || d.Reason == "" || d.Size != len(r.Value) {
				t.Errorf("dead letter %+v does not say where it is from", d)
			}
			got = append(got, string(d.Bytes[:min(8, len(d.Bytes))]))
		}
		if diff := cmp.Diff([]string{`{"kind":`, string(batch[3].Value[:8]), "\xff\xfexxxxxx"}, got); diff != "" {
			t.Errorf("bytes of the dead letters (-want +got):\n%s", diff)
		}
		if n := testutil.ToFloat64(f.metrics.tombstones.WithLabelValues("events")); n != 1 {
			t.Errorf("%v tombstones are counted", n)
		}
	})
}

func TestAPartitionWaitsForItsDeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nil, nil)
		f.outbox.err = errors.New("no broker")
		batch := eventRecords(0, 0, 2)
		batch[0].Value = []byte("nothing")
		if err := f.desk.hand(t.Context(), events.TopicEvents, 0, batch); !errors.Is(err, f.outbox.err) {
			t.Errorf("the batch ended with %v, want the publisher's error", err)
		}
	})
}

func TestAnUnreadableDeadLetterIsKeptAsItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nil, nil)
		if err := f.desk.hand(t.Context(), events.TopicDeadLetter, 0, []stream.Record{{Topic: events.TopicDeadLetter, Value: []byte("?")}}); err != nil {
			t.Fatal(err)
		}
		if seen := f.ledger.inserted(); len(seen) != 1 || seen[0].Rows != 1 || len(f.outbox.letters) != 0 {
			t.Errorf("inserts are %+v and letters %v, want one row and none", seen, f.outbox.letters)
		}
	})
}

func TestMarksAndAuditEntriesAreKeptOrBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nil, nil)
		m := events.Mark{
			Tenant: "acme", Finding: events.ID("f"), Detection: "LOC-01", User: "u", Found: 1772582400000, Verdict: events.FalsePositive, By: "bo",
			Time: 1772582500000,
		}
		m.ID = events.MarkID(&m)
		bad := m
		bad.Comment = "\x1b[2J"
		entry := events.AuditEntry{Time: 1772582500000, Action: "token.create", Actor: "bo", Outcome: events.AuditDone, Request: "r"}
		entry.ID = events.AuditID(&entry)
		for topic, list := range map[string][]stream.Record{
			events.TopicMarks: {{Topic: events.TopicMarks, Value: events.Encode(&m)}, {Topic: events.TopicMarks, Value: events.Encode(&bad), Offset: 1}},
			events.TopicAudit: {{Topic: events.TopicAudit, Value: events.Encode(&entry)}, {Topic: events.TopicAudit, Value: []byte("{}"), Offset: 1}},
		} {
			if err := f.desk.hand(t.Context(), topic, 0, list); err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range f.ledger.inserted() {
			if i.Rows != 1 {
				t.Errorf("%d rows went into %s, want one", i.Rows, i.Table)
			}
		}
		if n, letters := len(f.ledger.inserted()), len(f.outbox.letters); n != 2 || letters != 2 {
			t.Errorf("%d inserts and %d dead letters, want two of each", n, letters)
		}
	})
}

func TestIncidentsAreKeptAndTheCouriersPositionsAreNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nil, nil)
		i := incident.Incident{
			ID: events.ID("incident"), Kind: incident.User, Tenant: "acme", User: "u", Severity: events.High, Since: 1772582400000, Opened: 1772582400000,
		}
		value, err := json.Marshal(&i)
		if err != nil {
			t.Fatal(err)
		}
		list := []stream.Record{
			{Topic: events.TopicAlerts, Key: []byte("position"), Value: []byte(`{"findings":[1]}`)},
			{Topic: events.TopicAlerts, Key: []byte(incident.KeyPrefix + i.ID), Value: value, Offset: 1},
			{Topic: events.TopicAlerts, Key: []byte(incident.KeyPrefix + "gone"), Offset: 2},
			{Topic: events.TopicAlerts, Key: []byte(incident.KeyPrefix + "odd"), Value: []byte(`{"tenant":"a/b"}`), Offset: 3},
		}
		if err := f.desk.hand(t.Context(), events.TopicAlerts, 0, list); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]insertion{{history.TableAlerts, 1}}, f.ledger.inserted()); diff != "" {
			t.Errorf("inserts (-want +got):\n%s", diff)
		}
		if len(f.outbox.letters) != 1 || f.outbox.letters[0].Offset != 3 {
			t.Errorf("dead letters are %+v", f.outbox.letters)
		}
	})
}

func TestATableThatRefusesEverythingStopsItsTopicOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := &history.RejectedError{Code: 53, Err: errors.New("type mismatch")}
		f := start(t, nil, func(_ int, i insertion) error {
			if i.Table == history.TableEvents {
				return refused
			}
			return nil
		})
		if err := f.desk.hand(t.Context(), events.TopicEvents, 0, eventRecords(0, 0, 300)); !errors.Is(err, refused) {
			t.Errorf("the batch ended with %v, want the refusal", err)
		}
		if n := len(f.outbox.letters); n != 0 {
			t.Errorf("%d of 300 rows became dead letters though it is not their fault", n)
		}
		receipt := events.Receipt{ID: "r", Time: 1772582400000, Tenant: "acme", User: "u", Requirement: "q", App: "bank", Status: events.Revoked}
		if err := f.desk.hand(t.Context(), events.TopicReceipts, 0, []stream.Record{{Topic: events.TopicReceipts, Value: events.Encode(receipt)}}); err != nil {
			t.Errorf("another table suffers: %v", err)
		}
	})
}

func TestConfigNamesEveryProblem(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	err := Config{}.Validate()
	for _, want := range []string{
		"group: ", "session_timeout: ", "flush_interval: ", "flush_rows: ", "max_rows: ", "partition_bytes: ", "inserters: ", "retry_max: ",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the problems: %v", want, err)
		}
	}
	if _, err := New(DefaultConfig(), Deps{}); err == nil {
		t.Error("an archiver without parts was made")
	}
}

func TestAnErasureIsKeptAndActedOnAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nil, nil)
		batch := eventRecords(2, 0, 3)
		e := events.NewErasure("acme", "u", 1772582400001)
		batch[1].Value = events.Encode(e)
		if err := f.desk.hand(t.Context(), events.TopicEvents, 2, batch); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []insertion{{history.TableErasures, 1}, {history.TableEvents, 2}}
		if diff := cmp.Diff(want, f.ledger.inserted()); diff != "" {
			t.Errorf("inserted (-want +got):\n%s", diff)
		}
		f.ledger.mu.Lock()
		looks := f.ledger.looks
		f.ledger.mu.Unlock()
		if looks != 2 || len(f.outbox.letters) != 0 {
			t.Errorf("%d looks for erased rows, want one at the start and one after the erasure; %d dead letters", looks, len(f.outbox.letters))
		}
	})
}
