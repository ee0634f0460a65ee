package history_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

// releases are the schemas that were ever out in the world, by their last step. testdata/release-N.sql is how the server
// described one; with UPDATE_GOLDEN=1 it is written for a new one, and never again.
var releases = []int{10}

// dump describes a database: its tables, and the steps that made them.
func dump(t *testing.T, s *history.Store, database string) string {
	t.Helper()
	tables, err := s.Text(t.Context(), `SELECT arrayStringConcat(groupArray(create_table_query), ';\n') FROM (
SELECT create_table_query FROM system.tables WHERE database = '`+database+`' AND NOT startsWith(name, '.')
ORDER BY startsWith(engine, 'Materialized'), name)`)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := s.Text(t.Context(), `SELECT arrayStringConcat(groupArray(concat('INSERT INTO ${database}.schema_migrations VALUES (', toString(version), ', \'', name, '\', \'', checksum, '\', now64(3))')), ';\n')
FROM (SELECT * FROM ${database}.schema_migrations ORDER BY version)`)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(tables+";\n"+steps, database, "${database}") + "\n"
}

func sortedLines(text string) string {
	return strings.Join(slices.Sorted(strings.SplitSeq(text, "\n")), "\n")
}

// A database of an earlier release, with rows in it, reaches the schema of a new one, and answers with its rows.
func TestEveryReleaseReachesTheNewestSchema(t *testing.T) {
	t.Parallel()
	fresh := historytest.Config(t)
	want := schema(t, historytest.OpenConfig(t, fresh), fresh.Database)
	for _, last := range releases {
		cfg := historytest.Config(t)
		s, err := history.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", fmt.Sprintf("release-%04d.sql", last))
		if _, err := os.Stat(file); os.Getenv("UPDATE_GOLDEN") == "1" && errors.Is(err, os.ErrNotExist) {
			if err := s.MigrateFirst(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(dump(t, s, cfg.Database)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range append([]string{"CREATE DATABASE ${database}"}, strings.Split(strings.TrimSpace(string(text)), ";\n")...) {
			if err := s.Exec(t.Context(), statement); err != nil {
				t.Fatalf("release %d: %v:\n%s", last, err, statement)
			}
		}
		insertSeen(t, s, time.Now())
		// A finding as that release wrote it, without the columns that came later.
		e := seen("acme", "ana", 10, "")
		f := finding(e, "LOC-01", "high")
		if err := s.Exec(t.Context(), `INSERT INTO ${database}.findings (tenant, time, id, logged, user_id, detection, raw)
SELECT {tenant:String}, fromUnixTimestamp64Milli({time:Int64}, 'UTC'), toFixedString(unhex({id:String}), 16), now64(3), {user:String}, {detection:String}, {raw:String}`,
			clickhouse.Named("tenant", f.Tenant), clickhouse.Named("time", int64(f.Time)), clickhouse.Named("id", f.ID),
			clickhouse.Named("user", f.User.ID), clickhouse.Named("detection", f.Detection), clickhouse.Named("raw", string(events.Encode(f)))); err != nil {
			t.Fatal(err)
		}
		// Events that are gone, of which that release still knows how many there were.
		gone := recent.AddDate(0, 0, -200).Add(time.Hour)
		if err := s.Exec(t.Context(), `INSERT INTO ${database}.event_counts (tenant, bucket, outcome, country, newest, events)
SELECT 'acme', fromUnixTimestamp({at:Int64}), 'success', if(number % 4 = 0, 'FR', 'DE') AS place, fromUnixTimestamp64Milli({at:Int64} * 1000, 'UTC'), uniqState(MD5(toString(number)))
FROM numbers(100)
GROUP BY place`, clickhouse.Named("at", gone.Unix())); err != nil {
			t.Fatal(err)
		}
		if done, err := s.Migrate(t.Context()); err != nil || len(done) != history.Migrations()-last {
			t.Fatalf("from release %d: %v, %v", last, done, err)
		}
		if diff := cmp.Diff(want, schema(t, s, cfg.Database)); diff != "" {
			t.Errorf("from release %d (-want +got):\n%s", last, diff)
		}
		wanted := maps.Clone(wantSummed)
		wanted["days"] = fmt.Sprintf("%d success %d 100\n", -200*86400, -200*86400+3600) + wanted["days"]
		wanted["places"] = fmt.Sprintf("86400 %d DE  0 0 75 0\n86400 %d FR  0 0 25 0\n", -200*86400, -200*86400) + wanted["places"]
		got := summed(t, s)
		for name := range got {
			wanted[name], got[name] = sortedLines(wanted[name]), sortedLines(got[name])
		}
		delete(wanted, "weeks")
		delete(got, "weeks")
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("from release %d, summaries (-want +got):\n%s", last, diff)
		}
		begin := events.MillisOf(recent)
		o, err := s.Overview(t.Context(), everything, report.Span{From: begin - 300*events.Day, To: begin - 100*events.Day}, begin)
		if err != nil || o.Events != 100 || len(o.Countries) != 2 || o.Countries[0].Count != 75 {
			t.Errorf("from release %d: of what is gone the overview says %+v, %v", last, o, err)
		}
		span := report.Span{From: e.Time - 1, To: e.Time + 5_000_000}
		timeline, err := s.Timeline(t.Context(), report.TimelineQuery{Scope: everything, Tenant: "acme", User: "ana", Span: span, Now: e.Time, Limit: 10})
		if err != nil || len(timeline.Entries) != 3 {
			t.Errorf("from release %d: the timeline has %d entries, %v: want two events and a finding", last, len(timeline.Entries), err)
		}
		if city, err := s.Text(t.Context(), "SELECT concat(city, ' ', app_id) FROM ${database}.findings"); err != nil || city != "München app-0" {
			t.Errorf("from release %d: the finding is in %q, %v", last, city, err)
		}
		if done, err := s.Migrate(t.Context()); err != nil || len(done) != 0 {
			t.Errorf("from release %d, again: %v, %v: want no step", last, done, err)
		}
		if err := errors.Join(s.Drop(t.Context()), s.Close()); err != nil {
			t.Error(err)
		}
	}
}
