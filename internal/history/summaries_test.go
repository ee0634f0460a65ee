package history_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

// seen is an event with all that is summed up.
func seen(tenant, user string, seconds int, outcome events.Outcome) *events.Event {
	e := event(tenant, user, seconds)
	e.Time = events.MillisOf(recent) + events.Millis(seconds*1000)
	e.Outcome, e.Session.ID, e.Network.Prefix, e.Network.Org = outcome, "session-"+user, "192.0.2.0/24", "Example Net"
	e.App = events.Ref{ID: fmt.Sprintf("app-%d", seconds%2), Name: "Mail"}
	return e
}

// summaries are what the tables that the server fills say, one line a thing.
var summaries = map[string]string{
	"sessions": `SELECT concatWithSeparator(' ', session_id, user_id, toString(toUnixTimestamp(min(first)) - ${base}), toString(toUnixTimestamp(max(last)) - ${base})) AS line FROM ${database}.by_session GROUP BY tenant, session_id, user_id`,
	"users":    `SELECT concatWithSeparator(' ', user_id, argMaxIfMerge(user_name), toString(toUnixTimestamp(min(first)) - ${base}), toString(toUnixTimestamp(max(last)) - ${base})) AS line FROM ${database}.by_user GROUP BY tenant, user_id`,
	"networks": `SELECT concatWithSeparator(' ', prefix, user_id, toString(any(ip)), toString(max(asn)), max(org), max(classes), max(country), arrayStringConcat(arraySort(groupUniqArrayArray(apps)), '+'), toString(uniqMerge(events)), toString(uniqIfMerge(failures))) AS line FROM ${database}.by_prefix GROUP BY tenant, prefix, user_id`,
	"apps":     `SELECT concatWithSeparator(' ', toString(step), toString(toUnixTimestamp(bucket) - ${base}), app_id, max(app_name), toString(uniqCombinedMerge(12)(events)), toString(uniqCombinedIfMerge(12)(failures)), toString(uniqCombinedMerge(12)(users))) AS line FROM ${database}.by_app WHERE step < 604800 GROUP BY tenant, step, bucket, app_id`,
	"places":   `SELECT concatWithSeparator(' ', toString(step), toString(toUnixTimestamp(bucket) - ${base}), country, city, toString(any(lat)), toString(any(lon)), toString(uniqCombinedMerge(12)(events)), toString(uniqCombinedMerge(12)(users))) AS line FROM ${database}.by_place WHERE step < 604800 GROUP BY tenant, step, bucket, country, region, city`,
	"weeks":    `SELECT concatWithSeparator(' ', toString(uniqCombinedMerge(12)(events)), toString(uniqCombinedMerge(12)(users)), toString(sum(toUnixTimestamp(bucket) % 604800))) AS line FROM (SELECT events, users, bucket FROM ${database}.by_app WHERE step = 604800 UNION ALL SELECT events, users, bucket FROM ${database}.by_place WHERE step = 604800)`,
	"days":     `SELECT concatWithSeparator(' ', toString(toUnixTimestamp(toDateTime(day, 'UTC')) - ${base}), outcome, toString(toUnixTimestamp(max(newest)) - ${base}), toString(uniqCombinedMerge(14)(events))) AS line FROM ${database}.event_days GROUP BY tenant, day, outcome`,
}

// recent is the midnight three days ago: what is counted by hours goes after forty days.
var recent = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -3)

// summed reads them all, with times in seconds after recent.
func summed(t *testing.T, s *history.Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	for name, query := range summaries {
		text, err := s.Text(t.Context(), "SELECT arrayStringConcat(arraySort(groupArray(line)), '\n') FROM ("+strings.ReplaceAll(query, "${base}", fmt.Sprint(recent.Unix()))+")")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got[name] = text
	}
	return got
}

// The history as three users made it, in rows that repeat.
func insertSeen(t *testing.T, s *history.Store, logged time.Time) {
	t.Helper()
	ana, ben, late := seen("acme", "ana", 10, events.Success), seen("acme", "ana", 4001, events.Failure), seen("acme", "ben", 90000, events.Success)
	context := seen("acme", "", 20, "")
	context.Kind = events.TenantContext
	for _, list := range [][]*events.Event{{ana, ben}, {late, context, ana}, {ben}} {
		b := history.NewEvents()
		for _, e := range list {
			if err := b.Append(e, events.Encode(e), logged); err != nil {
				t.Fatal(err)
			}
		}
		insert(t, s, &b.Block)
	}
}

var wantSummed = map[string]string{
	"sessions": "session-ana ana 10 4001\nsession-ben ben 90000 90000",
	"users":    "ana ana of acme 10 4001\nben ben of acme 90000 90000",
	"networks": `192.0.2.0/24 ana ::ffff:192.0.2.10 64496 Example Net vpn,hosting DE app-0+app-1 2 1
192.0.2.0/24 ben ::ffff:192.0.2.10 64496 Example Net vpn,hosting DE app-0 1 0`,
	"apps": `3600 0 app-0 Mail 1 0 1
3600 3600 app-1 Mail 1 1 1
3600 90000 app-0 Mail 1 0 1
86400 0 app-0 Mail 1 0 1
86400 0 app-1 Mail 1 1 1
86400 86400 app-0 Mail 1 0 1`,
	"places": `3600 0 DE München 48.1 11.5 1 1
3600 3600 DE München 48.1 11.5 1 1
3600 90000 DE München 48.1 11.5 1 1
86400 0 DE München 48.1 11.5 2 1
86400 86400 DE München 48.1 11.5 1 1`,
	"weeks": "3 2 0",
	"days": `0 failure 4001 1
0 success 10 1
86400 success 90000 1`,
}

func TestTheServerSumsUpEveryInsert(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	insertSeen(t, s, time.Now())
	if diff := cmp.Diff(wantSummed, summed(t, s)); diff != "" {
		t.Errorf("summaries (-want +got):\n%s", diff)
	}
	// Neither by minutes nor by days does the overview count what countersign itself writes.
	begin := events.MillisOf(recent)
	for _, days := range []events.Millis{2, 200} {
		o, err := s.Overview(t.Context(), everything, report.Span{From: begin + (2-days)*events.Day, To: begin + 2*events.Day}, begin)
		if err != nil || o.Events != 3 || o.Newest != begin+90000*events.Second {
			t.Errorf("the overview of %d days counts %d events until %v, %v", days, o.Events, o.Newest, err)
		}
	}
}

// Tables that sum up are filled with what was there before them, also where it is kept longer than by default.
func TestMigrationsSumUpWhatIsThere(t *testing.T) {
	t.Parallel()
	cfg := historytest.Config(t)
	cfg.Retention.EventDays = 800
	s, err := history.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// What is there is older than the retention that tables start with.
	const release = 10 // the last step before there were any
	if err := s.MigrateFirst(t.Context(), release); err != nil {
		t.Fatal(err)
	}
	if err := s.Retain(t.Context()); err != nil {
		t.Fatal(err)
	}
	insertSeen(t, s, time.Now().AddDate(0, 0, -120))
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantSummed, summed(t, s)); diff != "" {
		t.Errorf("summaries (-want +got):\n%s", diff)
	}
	if err := s.Drop(t.Context()); err != nil {
		t.Error(err)
	}
}

// A month that is over for a week becomes one part; the newest is left alone.
func TestQuietMonthsBecomeOnePart(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	const later = 45 * 24 * 3600
	for n := range 3 {
		insertEvents(t, s, event("acme", "alice", n))
		insertEvents(t, s, event("acme", "alice", later+n))
	}
	if err := s.MergeQuiet(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Text(t.Context(), `SELECT arrayStringConcat(arraySort(groupArray(concat(table, ' ', toString(parts)))), ', ') FROM (
    SELECT table, count() AS parts FROM system.parts
    WHERE active AND database = '${database}' AND table IN ('events', 'event_counts', 'by_place') AND partition = '202603' GROUP BY table)`)
	if want := "by_place 1, event_counts 1, events 1"; err != nil || got != want {
		t.Errorf("parts of a quiet month: %s, %v; want %s", got, err, want)
	}
}
