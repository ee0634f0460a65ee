package history_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
)

// seen is an event with all that is summed up.
func seen(tenant, user string, seconds int, outcome events.Outcome) *events.Event {
	e := event(tenant, user, seconds)
	e.Outcome, e.Session.ID, e.Network.Prefix, e.Network.Org = outcome, "session-"+user, "192.0.2.0/24", "Example Net"
	e.App = events.Ref{ID: fmt.Sprintf("app-%d", seconds%2), Name: "Mail"}
	return e
}

// summaries are what the tables that the server fills say, one line a thing.
var summaries = map[string]string{
	"sessions": `SELECT concatWithSeparator(' ', session_id, user_id, toString(min(first)), toString(max(last))) AS line FROM ${database}.by_session GROUP BY tenant, session_id, user_id`,
	"users":    `SELECT concatWithSeparator(' ', user_id, argMaxIfMerge(user_name), toString(min(first)), toString(max(last))) AS line FROM ${database}.by_user GROUP BY tenant, user_id`,
	"networks": `SELECT concatWithSeparator(' ', prefix, user_id, toString(any(ip)), toString(max(asn)), max(org), max(classes), max(country), arrayStringConcat(arraySort(groupUniqArrayArray(apps)), '+'), toString(uniqMerge(events)), toString(uniqIfMerge(failures))) AS line FROM ${database}.by_prefix GROUP BY tenant, prefix, user_id`,
	"apps":     `SELECT concatWithSeparator(' ', toString(step), toString(bucket), app_id, max(app_name), toString(uniqCombinedMerge(12)(events)), toString(uniqCombinedIfMerge(12)(failures)), toString(uniqCombinedMerge(12)(users))) AS line FROM ${database}.by_app GROUP BY tenant, step, bucket, app_id`,
	"places":   `SELECT concatWithSeparator(' ', toString(step), toString(bucket), country, city, toString(any(lat)), toString(any(lon)), toString(uniqCombinedMerge(12)(events)), toString(uniqCombinedMerge(12)(users))) AS line FROM ${database}.by_place GROUP BY tenant, step, bucket, country, region, city`,
	"days":     `SELECT concatWithSeparator(' ', toString(day), outcome, toString(max(newest)), toString(uniqCombinedMerge(14)(events))) AS line FROM ${database}.event_days GROUP BY tenant, day, outcome`,
}

// summed reads them all.
func summed(t *testing.T, s *history.Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	for name, query := range summaries {
		text, err := s.Text(t.Context(), "SELECT arrayStringConcat(arraySort(groupArray(line)), '\n') FROM ("+query+")")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got[name] = text
	}
	return got
}

// The history as three users made it, in rows that repeat.
func insertSeen(t *testing.T, s *history.Store) {
	t.Helper()
	ana, ben, late := seen("acme", "ana", 10, events.Success), seen("acme", "ana", 4001, events.Failure), seen("acme", "ben", 90000, events.Success)
	context := seen("acme", "", 20, "")
	context.Kind = events.TenantContext
	insertEvents(t, s, ana, ben)
	insertEvents(t, s, late, context, ana)
	insertEvents(t, s, ben)
}

var wantSummed = map[string]string{
	"sessions": `session-ana ana 2026-03-04 00:00:10.000 2026-03-04 01:06:41.000
session-ben ben 2026-03-05 01:00:00.000 2026-03-05 01:00:00.000`,
	"users": `ana ana of acme 2026-03-04 00:00:10.000 2026-03-04 01:06:41.000
ben ben of acme 2026-03-05 01:00:00.000 2026-03-05 01:00:00.000`,
	"networks": `192.0.2.0/24 ana ::ffff:192.0.2.10 64496 Example Net vpn,hosting DE app-0+app-1 2 1
192.0.2.0/24 ben ::ffff:192.0.2.10 64496 Example Net vpn,hosting DE app-0 1 0`,
	"apps": `3600 2026-03-04 00:00:00 app-0 Mail 1 0 1
3600 2026-03-04 01:00:00 app-1 Mail 1 1 1
3600 2026-03-05 01:00:00 app-0 Mail 1 0 1
86400 2026-03-04 00:00:00 app-0 Mail 1 0 1
86400 2026-03-04 00:00:00 app-1 Mail 1 1 1
86400 2026-03-05 00:00:00 app-0 Mail 1 0 1`,
	"places": `3600 2026-03-04 00:00:00 DE München 48.1 11.5 1 1
3600 2026-03-04 01:00:00 DE München 48.1 11.5 1 1
3600 2026-03-05 01:00:00 DE München 48.1 11.5 1 1
86400 2026-03-04 00:00:00 DE München 48.1 11.5 2 1
86400 2026-03-05 00:00:00 DE München 48.1 11.5 1 1`,
	"days": `2026-03-04  2026-03-04 00:00:20.000 1
2026-03-04 failure 2026-03-04 01:06:41.000 1
2026-03-04 success 2026-03-04 00:00:10.000 1
2026-03-05 success 2026-03-05 01:00:00.000 1`,
}

func TestTheServerSumsUpEveryInsert(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	insertSeen(t, s)
	if diff := cmp.Diff(wantSummed, summed(t, s)); diff != "" {
		t.Errorf("summaries (-want +got):\n%s", diff)
	}
}

// Tables that sum up are filled with what was there before them.
func TestMigrationsSumUpWhatIsThere(t *testing.T) {
	t.Parallel()
	cfg := historytest.Config(t)
	s, err := history.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const release = 10 // the last step before there were any
	if err := s.MigrateFirst(t.Context(), release); err != nil {
		t.Fatal(err)
	}
	insertSeen(t, s)
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	insertSeen(t, s)
	if diff := cmp.Diff(wantSummed, summed(t, s)); diff != "" {
		t.Errorf("summaries (-want +got):\n%s", diff)
	}
	if err := s.Drop(t.Context()); err != nil {
		t.Error(err)
	}
}
