package history_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

// schema is the tables as the server describes them, without the database's name.
func schema(t *testing.T, s *history.Store, database string) string {
	t.Helper()
	text, err := s.Text(t.Context(), `SELECT arrayStringConcat(groupArray(create_table_query), '\n') FROM (
SELECT create_table_query FROM system.tables WHERE database = '`+database+`' AND NOT startsWith(name, '.') ORDER BY name)`)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(text, database, "db")
}

func TestSecondMigrationAppliesNothing(t *testing.T) {
	t.Parallel()
	cfg := historytest.Config(t)
	s, err := history.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ready(t.Context()); !errors.Is(err, report.ErrUnavailable) {
		t.Errorf("an empty server is ready: %v", err)
	}
	done, err := s.Migrate(t.Context())
	if err != nil || len(done) != history.Migrations() {
		t.Fatalf("first run: %v, %v", done, err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("a migrated server is not ready: %v", err)
	}
	before := schema(t, s, cfg.Database)
	if strings.Contains(before, "materialize_ttl_recalculate_only") {
		t.Error("retention was changed although it is the default: retain does not know what it has")
	}
	done, err = s.Migrate(t.Context())
	if err != nil || len(done) != 0 {
		t.Errorf("second run: %v, %v: want no step", done, err)
	}
	if diff := cmp.Diff(before, schema(t, s, cfg.Database)); diff != "" {
		t.Errorf("the second run changed the schema (-want +got):\n%s", diff)
	}
	if err := s.Drop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEveryOlderSchemaReachesTheSameOne(t *testing.T) {
	t.Parallel()
	cfg := historytest.Config(t)
	want := schema(t, historytest.OpenConfig(t, cfg), cfg.Database)
	for n := 0; n < history.Migrations(); n += 4 {
		cfg := historytest.Config(t)
		s, err := history.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.MigrateFirst(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if done, err := s.Migrate(t.Context()); err != nil || len(done) != history.Migrations()-n {
			t.Fatalf("from step %d: %v, %v", n, done, err)
		}
		if diff := cmp.Diff(want, schema(t, s, cfg.Database)); diff != "" {
			t.Errorf("from step %d (-want +got):\n%s", n, diff)
		}
		if err := errors.Join(s.Drop(t.Context()), s.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestMigrationsAtTheSameTime(t *testing.T) {
	t.Parallel()
	cfg := historytest.Config(t)
	s, err := history.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := errors.Join(s.Ready(t.Context()), s.Drop(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestAChangedMigrationIsRefused(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	if err := s.Exec(t.Context(), "ALTER TABLE ${database}.schema_migrations UPDATE checksum = 'other' WHERE version = 1 SETTINGS mutations_sync = 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrate(t.Context()); !errors.Is(err, history.ErrMigrationChanged) {
		t.Errorf("migrating gave %v, want ErrMigrationChanged", err)
	}
}

func TestRetentionFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	cfg := historytest.Config(t)
	cfg.Retention = history.Retention{EventDays: 7, DecisionDays: 70, DeadLetterDays: 3}
	s := historytest.OpenConfig(t, cfg)
	for _, days := range []string{"7", "9"} {
		engine, err := s.Text(t.Context(), "SELECT engine_full FROM system.tables WHERE database = '"+cfg.Database+"' AND name = 'events'")
		if err != nil || !strings.Contains(engine, "toIntervalDay("+days+") ") {
			t.Errorf("events are kept as %s, %v: want %s days", engine, err, days)
		}
		cfg.Retention.EventDays = 9
		other, err := history.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Migrate(t.Context()); err != nil {
			t.Error(err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is there is held to a changed retention as well, without being written anew.
func TestAChangedRetentionReachesWhatIsThere(t *testing.T) {
	t.Parallel()
	cfg := historytest.Config(t)
	s := historytest.OpenConfig(t, cfg)
	e := seen("acme", "ana", 10, events.Success)
	insertEvents(t, s, e)
	insertFindings(t, s, finding(e, "LOC-01", events.High))
	// until is when the parts of a table are to go, in whole days from now.
	until := func(table string) string {
		text, err := s.Text(t.Context(), `SELECT toString(round((toUnixTimestamp(max(delete_ttl_info_max)) - toUnixTimestamp(now())) / 86400))
FROM system.parts WHERE database = '${database}' AND table = '`+table+`' AND active`)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	tables := []string{"events", "findings", "by_session", "by_user", "by_prefix", "finding_times", "event_counts", "event_days", "by_app", "by_place", "finding_counts"}
	for _, c := range []struct {
		events, decisions int
		want              []string
	}{
		{90, 400, []string{"90", "400", "90", "90", "90", "400", "797", "797", "797", "797", "797"}},
		{2000, 1000, []string{"2000", "1000", "2000", "2000", "2000", "1000", "1997", "1997", "1997", "1997", "997"}},
		{30, 60, []string{"30", "60", "30", "30", "30", "60", "797", "797", "797", "797", "797"}},
	} {
		cfg.Retention.EventDays, cfg.Retention.DecisionDays = c.events, c.decisions
		changed, err := history.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(changed.Retain(t.Context()), changed.Close()); err != nil {
			t.Fatal(err)
		}
		for busy := "1"; busy != "0"; {
			if busy, err = s.Text(t.Context(), "SELECT toString(count()) FROM system.mutations WHERE database = '${database}' AND NOT is_done"); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, table := range tables {
			got = append(got, until(table))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("of %v with %d and %d days (-want +got):\n%s", tables, c.events, c.decisions, diff)
		}
	}
}

// The engine has one policy with one volume: what can be tested is that the tables say it, once.
func TestTieringFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	cfg := historytest.Config(t)
	cfg.Tiering = history.Tiering{StoragePolicy: "default", Volume: "default", EventDays: 14}
	s := historytest.OpenConfig(t, cfg)
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	engine, err := s.Text(t.Context(), "SELECT engine_full FROM system.tables WHERE database = '"+cfg.Database+"' AND name = 'events'")
	want := "TTL toDateTime(logged) + toIntervalDay(14) TO VOLUME 'default', toDateTime(logged) + toIntervalDay(90) SETTINGS"
	if err != nil || !strings.Contains(engine, want) || !strings.Contains(engine, "storage_policy = 'default'") {
		t.Errorf("events are kept as %s, %v: want %s", engine, err, want)
	}
	cfg.Tiering = history.Tiering{}
	other, err := history.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	engine, err = s.Text(t.Context(), "SELECT engine_full FROM system.tables WHERE database = '"+cfg.Database+"' AND name = 'events'")
	if err != nil || strings.Contains(engine, "VOLUME") {
		t.Errorf("events are kept as %s, %v: want them not moved", engine, err)
	}
}
