package history_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

var (
	everything = report.Scope{All: true}
	day        = report.Span{From: at(0), To: at(24 * 3600)}
)

// at is a moment in seconds after the tests' start of time.
func at(seconds int) events.Millis {
	return events.MillisOf(time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)) + events.Millis(seconds*1000)
}

func event(tenant, user string, seconds int) *events.Event {
	e := &events.Event{
		Kind: events.SignIn, Tenant: tenant, User: events.User{ID: user, Name: user + " of " + tenant}, Time: at(seconds),
		Source:  events.Source{Name: "test", Family: "test", ID: fmt.Sprintf("%s/%s/%d", tenant, user, seconds)},
		Outcome: events.Success, IP: "192.0.2.10", Place: events.Place{Lat: 48.1, Lon: 11.5, Country: "DE", City: "München"},
		Network: events.Network{ASN: 64496, Classes: []events.Class{events.VPN, events.Hosting}},
		Auth:    events.Auth{Methods: []string{"password", "push"}, Strength: events.MultiFactor},
	}
	e.ID = events.EventID(tenant, e.Source.Family, e.Source.ID)
	return e
}

func finding(e *events.Event, detection string, severity events.Severity) *events.Finding {
	return &events.Finding{
		ID: events.FindingID(detection, 1, e.Tenant, e.User.ID, e.ID), Detection: detection, Version: 1, Title: "Test", Summary: "a test",
		Tenant: e.Tenant, User: e.User, EventID: e.ID, Time: e.Time, Severity: severity, Disposition: events.Active,
		Evidence: events.Evidence{Sight: events.SightOf(e)},
		Decision: &events.Decision{Policy: "p", Version: "1", Action: events.StepUp, Reason: "test"},
	}
}

func requirement(tenant, user string, seconds int, status report.Status) *report.Requirement {
	return &report.Requirement{
		ID: events.ID("requirement", tenant, user, fmt.Sprint(seconds)), Tenant: tenant, User: user, Status: status,
		Action: events.StepUp, Severity: events.High, ACRValues: []string{"phr", "mfa"}, NotBefore: at(seconds),
		Expires: at(seconds + 3600), Policy: "p", PolicyVersion: "1", Reason: "because", EventID: "e", JTI: "j",
		Claims: []byte(`{"iss":"x"}`),
	}
}

func insert(t testing.TB, s *history.Store, b *history.Block) {
	t.Helper()
	if err := s.Insert(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func insertEvents(t testing.TB, s *history.Store, list ...*events.Event) {
	t.Helper()
	b := history.NewEvents()
	for _, e := range list {
		if err := b.Append(e, events.Encode(e), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	insert(t, s, &b.Block)
}

func insertFindings(t testing.TB, s *history.Store, list ...*events.Finding) {
	t.Helper()
	b := history.NewFindings()
	for _, f := range list {
		if err := b.Append(f, events.Encode(f), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	insert(t, s, &b.Block)
}

func insertRequirements(t testing.TB, s *history.Store, list ...*report.Requirement) {
	t.Helper()
	b := history.NewRequirements()
	for _, r := range list {
		if err := b.Append(r, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	insert(t, s, &b.Block)
}

func TestRepeatedRowsChangeNoAnswer(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	e1, e2 := event("acme", "u1", 100), event("acme", "u2", 4000)
	e2.Outcome = events.Failure
	f := finding(e1, "LOC-01", events.High)
	r := requirement("acme", "u1", 100, report.Open)
	// Batches that are cut differently after a restart: the same rows in other inserts.
	insertEvents(t, s, e1, e2)
	insertEvents(t, s, e1)
	insertEvents(t, s, e2, e1, e2)
	for range 3 {
		insertFindings(t, s, f, f)
		insertRequirements(t, s, r, r)
	}
	o, err := s.Overview(t.Context(), everything, day, at(200))
	if err != nil {
		t.Fatal(err)
	}
	got := *o
	got.Series = nil
	want := report.Overview{
		From: day.From, To: day.To, Step: 900, Events: 2, Findings: 1, Newest: at(4000),
		Requirements: report.Requirements{Open: 1},
		Severities:   []report.Count{{Name: "critical"}, {Name: "high", Count: 1}, {Name: "medium"}, {Name: "low"}, {Name: "info"}},
		Detections:   []report.Count{{Name: "LOC-01", Count: 1}},
		Dispositions: []report.Count{{Name: "active", Count: 1}},
		Countries:    []report.Count{{Name: "DE", Count: 2}},
		Users:        []report.UserCount{{Tenant: "acme", User: "u1", Name: "u1 of acme", Findings: 1, Severity: events.High}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("overview (-want +got):\n%s", diff)
	}
	if len(o.Series) != 96 {
		t.Fatalf("the chart has %d steps, want 96 of 15 minutes", len(o.Series))
	}
	if p := o.Series[0]; p.Events != 1 || p.Failures != 0 || p.Findings != 1 {
		t.Errorf("first step is %+v", p)
	}
	if p := o.Series[4]; p.Time != at(3600) || p.Events != 1 || p.Failures != 1 || p.Findings != 0 {
		t.Errorf("fifth step is %+v", p)
	}
	page, err := s.Findings(t.Context(), report.FindingQuery{Scope: everything, Span: day, Limit: 10})
	if err != nil || len(page.Findings) != 1 || page.Next != nil {
		t.Errorf("findings are %d, next %v, %v: want one", len(page.Findings), page.Next, err)
	}
	timeline, err := s.Timeline(t.Context(), report.TimelineQuery{Scope: everything, Tenant: "acme", User: "u1", Span: day, Now: at(200), Limit: 10})
	if err != nil || len(timeline.Entries) != 3 {
		t.Errorf("timeline is %+v, %v: want event, finding and requirement once", timeline.Entries, err)
	}
}

func TestRepeatedInsertsAreAllTakenAndCountOnce(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	b := history.NewEvents()
	for i := range 100 {
		e := event("acme", "u", i)
		if err := b.Append(e, events.Encode(e), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := s.Insert(t.Context(), &b.Block); err != nil {
			t.Fatal(err)
		}
	}
	// If the server called one a repeat, it could do so after a kill that left none.
	n, err := s.Rows(t.Context(), history.TableEvents)
	if err != nil || n != 300 {
		t.Errorf("%d rows are stored, %v: want those of all three inserts", n, err)
	}
	if n, err = s.Things(t.Context(), history.TableEvents); err != nil || n != 100 {
		t.Errorf("%d events, %v: want each counted once", n, err)
	}
}

func TestInsertTakesSeveralBlocksAndPartsOfThem(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	a, b := history.NewEvents(), history.NewEvents()
	for i := range 10 {
		e := event("acme", "a", i)
		if err := a.Append(e, events.Encode(e), time.Now()); err != nil {
			t.Fatal(err)
		}
		e = event("acme", "b", i)
		if err := b.Append(e, events.Encode(e), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Insert(t.Context(), &a.Block, b.Slice(3, 5)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Rows(t.Context(), history.TableEvents); err != nil || n != 12 {
		t.Errorf("%d rows are stored, %v: want 12", n, err)
	}
	if err := s.Insert(t.Context(), &a.Block, &history.NewFindings().Block); err == nil {
		t.Error("blocks of two tables were taken as one insert")
	}
	a.Reset()
	if err := s.Insert(t.Context(), &a.Block); err != nil || a.Len() != 0 {
		t.Errorf("an empty insert: %v", err)
	}
}

func TestTextIsKeptByteForByte(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	for i, text := range []string{
		`'; DROP TABLE events; --`, "`\"\\\t\r\n\\'", "{tenant:String}", "${database}", "<script>alert(1)</script>", "🦆\u202e", `\N`, "%", "?",
	} {
		e := event("acme", text, i)
		e.User.Name, e.App.ID, e.Session.ID, e.Code = text, text, text, text
		insertEvents(t, s, e)
		f := finding(e, text, events.Low)
		insertFindings(t, s, f)
		got, err := s.Timeline(t.Context(), report.TimelineQuery{Scope: everything, Tenant: "acme", User: text, Span: day, Limit: 10})
		if err != nil || len(got.Entries) != 2 {
			t.Fatalf("%q: %+v, %v: want two entries", text, got.Entries, err)
		}
		for _, entry := range got.Entries {
			want := events.Encode(e)
			have := entry.Event
			if entry.Kind == report.EntryFinding {
				want, have = events.Encode(f), entry.Finding
			}
			if string(have) != string(want) {
				t.Errorf("%q: came back as %s, want %s", text, have, want)
			}
		}
		page, err := s.Findings(t.Context(), report.FindingQuery{Scope: everything, Span: day, Detection: text, Limit: 10})
		if err != nil || len(page.Findings) != 1 {
			t.Errorf("detection %q: %d findings, %v: want one", text, len(page.Findings), err)
		}
	}
}

// What providers report can be asked for without reading the record.
func TestReportsOfProvidersHaveColumns(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	e := event("acme", "sp-1", 0)
	e.Kind, e.User.Type = events.AccountChange, events.Workload
	e.Access.Result, e.Change = events.AccessDenied, events.Change{Type: events.ConsentChange, Action: events.Added}
	e.Risk = events.Risk{Level: events.RiskMedium, User: events.RiskHigh, State: events.RiskOpen}
	insertEvents(t, s, e)
	got, err := s.Text(t.Context(), `SELECT concatWithSeparator(' ', kind, user_type, access, risk, user_risk, risk_state, change_type, change_action)
FROM ${database}.events`)
	if want := "account_change workload failure medium high at_risk consent added"; err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestRowsThatTheHistoryCannotHold(t *testing.T) {
	t.Parallel()
	b := history.NewEvents()
	for want, change := range map[string]func(*events.Event){
		"id: ":       func(e *events.Event) { e.ID = "short" },
		"time: ":     func(e *events.Event) { e.Time = -62135596800000 },
		"ingested: ": func(e *events.Event) { e.Ingested = 253402300799000 },
		"ip: ":       func(e *events.Event) { e.IP = "999.1.1.1" },
		"tenant: ":   func(e *events.Event) { e.Tenant = "a/b" },
	} {
		e := event("acme", "u", 0)
		change(e)
		if err := b.Append(e, nil, time.Now()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s was answered with %v", want, err)
		}
	}
	if b.Len() != 0 {
		t.Errorf("%d rows were added", b.Len())
	}
}

func TestRejectedRowsAreTellApartFromTroubleThatPasses(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	err := s.Insert(t.Context(), history.BadBlock())
	var rejected *history.RejectedError
	if !errors.As(err, &rejected) {
		t.Errorf("a row that cannot be converted gave %v, want a RejectedError", err)
	}
	if err := s.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := history.NewEvents()
	e := event("acme", "u", 0)
	if err := b.Append(e, events.Encode(e), time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := s.Insert(t.Context(), &b.Block); err == nil || errors.As(err, &rejected) {
		t.Errorf("a missing table gave %v, want an error that may pass", err)
	}
	if _, err := s.Overview(t.Context(), everything, day, at(0)); !errors.Is(err, report.ErrUnavailable) {
		t.Errorf("a missing table gave %v, want ErrUnavailable", err)
	}
}

func TestQuestionsHaveALimit(t *testing.T) {
	t.Parallel()
	cfg := historytest.Config(t)
	cfg.QueryTimeout = time.Second
	s := historytest.OpenConfig(t, cfg)
	err := s.Ask(t.Context(), "SELECT sum(sipHash64(number)) FROM numbers(100000000000)")
	if !errors.Is(err, report.ErrTooExpensive) {
		t.Errorf("an endless question gave %v, want ErrTooExpensive", err)
	}
}

func TestAnUnreachableServerIsUnavailable(t *testing.T) {
	t.Parallel()
	cfg := history.DefaultConfig()
	cfg.URLs = []string{"http://127.0.0.1:1"}
	s, err := history.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, err := range map[string]error{
		"ping":  s.Ping(t.Context()),
		"ready": s.Ready(t.Context()),
		"ask":   func() error { _, err := s.Overview(t.Context(), everything, day, 0); return err }(),
	} {
		if !errors.Is(err, report.ErrUnavailable) {
			t.Errorf("%s gave %v, want ErrUnavailable", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Overview(ctx, everything, day, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled question gave %v", err)
	}
}

func TestConfigNamesEveryProblem(t *testing.T) {
	t.Parallel()
	if err := history.DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	cfg := history.Config{
		URLs:    []string{"ftp://x:1", "http://u:secret@x:1", "http://x", "clickhouse://y:9000/db"},
		Tiering: history.Tiering{StoragePolicy: "x'y", EventDays: 5}, Cluster: "a b",
		Database: "a;b", Compression: "zip", TLS: history.TLSConfig{CertFile: "x"}, PasswordFile: "f", Password: "secret",
	}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("nothing is wrong with it")
	}
	for _, want := range []string{
		"urls[0]: scheme", "urls[1]: holds credentials", "urls[2]: needs a host and a port", "urls[3]: holds more", "password_file: ",
		"user: ", "database: ", "compression: ", "tls.cert_file: ", "max_connections: ", "dial_timeout: ", "insert_timeout: ",
		"query_timeout: ", "retention.event_days: ", "retention.decision_days: ", "retention.dead_letter_days: ",
		"tiering.storage_policy: ", "tiering.volume: ", "tiering.event_days: ", "cluster: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the problems:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the problems name a secret:\n%v", err)
	}
}

// Servers that are no cluster would each take the rows of a while, and none would have them all.
func TestSeveralServersAreOneCluster(t *testing.T) {
	t.Parallel()
	cfg := history.DefaultConfig()
	cfg.URLs = []string{"http://a:8123", "http://b:8123"}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "cluster: empty although there are 2 urls") {
		t.Errorf("two servers without a cluster: %v", err)
	}
	cfg.Cluster = "countersign"
	if err := cfg.Validate(); err != nil {
		t.Errorf("two servers of a cluster: %v", err)
	}
}
