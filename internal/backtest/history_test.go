package backtest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/archiver"
	"github.com/countersign-io/countersign/internal/backtest"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
)

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

// log is the log after a detector has worked: records by topic. An archiver reads it once.
type log struct {
	records map[string][]stream.Record
	done    chan struct{}
}

func (l *log) Consume(ctx context.Context, cfg stream.ConsumerConfig, handle func(ctx context.Context, partition int, batch []stream.Record) error) error {
	if list := l.records[cfg.Topic]; len(list) > 0 {
		if err := handle(ctx, 0, list); err != nil {
			return err
		}
		l.done <- struct{}{}
	}
	<-ctx.Done()
	return nil
}

func (l *log) Publish(context.Context, string, []stream.Record) error { return nil }

// decide writes what a detector with these rules would have to the log, a second for each event, and lets the archiver
// copy it.
func decide(t *testing.T, store *history.Store, rules detector.Rules, list []*events.Event) {
	t.Helper()
	l := &log{records: map[string][]stream.Record{}, done: make(chan struct{}, 8)}
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	add := func(topic, key string, value []byte) {
		l.records[topic] = append(l.records[topic], stream.Record{
			Topic: topic, Offset: int64(len(l.records[topic])), Time: at, Key: []byte(key), Value: value,
		})
	}
	engine := detector.NewEngine(rules)
	for _, e := range list {
		at = at.Add(time.Second)
		add(events.TopicEvents, e.Key(), events.Encode(e))
		for _, d := range engine.Decide(e) {
			for i := range d.Outcome.Findings {
				add(events.TopicFindings, e.Key(), events.Encode(&d.Outcome.Findings[i]))
			}
			for _, c := range d.Outcome.Changes {
				add(events.TopicRevocations, c.Key, c.Claims.Encode())
			}
		}
	}
	a, err := archiver.New(archiver.DefaultConfig(), archiver.Deps{Consumer: l, Publisher: l, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for range l.records {
		<-l.done
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestRecordedHistoryIsComparedWith(t *testing.T) {
	t.Parallel()
	store := historytest.Open(t)
	o := options(t)
	decide(t, store, o.Baseline.Rules, story())
	source := backtest.History{Store: store, Scope: report.Scope{All: true}}

	// Against what was recorded.
	o.Baseline, o.From, o.To = nil, dayZero+travelDay*events.Day, dayZero+30*events.Day
	o.WarmUp = 30 * events.Day
	last := 0.0
	r, err := backtest.Run(t.Context(), source, o, func(done float64) {
		if done < last {
			t.Errorf("progress from %v to %v", last, done)
		}
		last = done
	})
	if err != nil || last != 1 {
		t.Fatalf("%v, progress %v", err, last)
	}
	checkStory(t, r)
	if r.Events != 12 || r.WarmUp != 6*travelDay || r.Missing != 0 || r.Old.Name != "recorded" {
		t.Errorf("%d events, %d warm-up, %d missing, %s", r.Events, r.WarmUp, r.Missing, r.Old.Name)
	}

	// The policy that was in force decides now what it decided then.
	o.New = side(t, "old.yaml", oldPolicies)
	if r, err = backtest.Run(t.Context(), source, o, nil); err != nil {
		t.Fatal(err)
	}
	if r.Same != 5 || r.OnlyNew.Count+r.OnlyOld.Count+r.Changed.Count != 0 || r.Total.New != r.Total.Old || r.StepUps.New != r.StepUps.Old {
		t.Errorf("the same rules: %+v", r)
	}
	if diff := cmp.Diff(r.Requirements.New, r.Requirements.Old); diff != "" {
		t.Errorf("requirements (-new, +old)\n%s", diff)
	}
	for _, d := range r.Detections {
		if d.New != d.Old {
			t.Errorf("findings differ: %+v", d)
		}
	}

	// A file with the same events gives the same decisions.
	baseline := side(t, "old.yaml", oldPolicies)
	o.New, o.Baseline = side(t, "new.yaml", newPolicies), &baseline
	stored, err := backtest.Run(t.Context(), source, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	read, err := backtest.Run(t.Context(), backtest.File{Path: write(t, encoded(story())...)}, o, nil)
	if diff := cmp.Diff(read, stored); err != nil || diff != "" {
		t.Errorf("%v, (-file, +history)\n%s", err, diff)
	}

	// What may not be seen is not there.
	source.Scope = report.Scope{Tenants: []string{"globex"}}
	if _, err := backtest.Run(t.Context(), source, o, nil); err == nil {
		t.Error("another tenant's history was read")
	}
}

func TestDecisionsOnLostEventsAreLeftOut(t *testing.T) {
	t.Parallel()
	store := historytest.Open(t)
	o := options(t)
	list := story()
	decide(t, store, o.Baseline.Rules, list)
	// A decision older than all events that are left.
	f := &events.Finding{
		ID: events.ID("finding", "old"), Detection: "LOC-01", Version: 1, Tenant: "acme", User: events.User{ID: "u1"}, EventID: events.ID("event", "gone"),
		Time: dayZero - events.Day, Severity: events.High, Disposition: events.Active,
		Decision: &events.Decision{Policy: "travel", Version: "1", Action: events.StepUp, Requirement: "r"},
	}
	b := history.NewFindings()
	if err := b.Append(f, events.Encode(f), time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := store.Insert(t.Context(), &b.Block); err != nil {
		t.Fatal(err)
	}
	o.Baseline, o.From, o.To = nil, dayZero-10*events.Day, dayZero+30*events.Day
	r, err := backtest.Run(t.Context(), backtest.History{Store: store, Scope: report.Scope{All: true}}, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Missing != 1 {
		t.Errorf("%d missing", r.Missing)
	}
	checkStory(t, r)
}
