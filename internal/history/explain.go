package history

import (
	"context"
	"encoding/json"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// byHash is the condition for a column with the 16 bytes of an id.
func byHash(column string) string { return column + " = toFixedString(unhex({id:String}), 16)" }

// Event answers with one event as it is on the log. Of one that entered it more than once, the server keeps the last record in
// the end: when it entered is then not the first time.
func (s *Store) Event(ctx context.Context, scope report.Scope, id string) (report.Record, error) {
	list, err := s.logged(ctx, scope, "id", id, `SELECT toUnixTimestamp64Milli(logged), raw
FROM ${database}.events
WHERE `)
	if err != nil {
		return report.Record{}, err
	}
	if len(list) == 0 {
		return report.Record{}, report.ErrNotFound
	}
	return list[0], nil
}

// EventFindings answers with the findings of one event as they are on the log, by their ids, and when each entered it first.
func (s *Store) EventFindings(ctx context.Context, scope report.Scope, event string) ([]report.Record, error) {
	return s.logged(ctx, scope, "event_id", event, `SELECT toUnixTimestamp64Milli(if(t.decided = toDateTime64(0, 3, 'UTC'), logged, least(logged, t.decided))), raw
FROM ${database}.findings
LEFT JOIN (
    SELECT tenant, id, min(finding_times.decided) AS decided FROM ${database}.finding_times WHERE `+byHash("event_id")+` GROUP BY tenant, id
) AS t USING (tenant, id)
WHERE `)
}

// logged reads the records whose column is an id, each once, by a query up to its condition.
func (s *Store) logged(ctx context.Context, scope report.Scope, column, id, query string) ([]report.Record, error) {
	if _, err := hash("id", id); err != nil {
		return nil, report.ErrNotFound
	}
	where := within(scope).and(byHash(column), named("id", id))
	var list []report.Record
	err := s.rows(ctx, query+where.String()+`
ORDER BY id, logged
LIMIT 1 BY id`, where.with(), func(r rowScanner) error {
		var at int64
		var raw string
		if err := r.Scan(&at, &raw); err != nil {
			return err
		}
		list = append(list, report.Record{Logged: millis(at), Raw: json.RawMessage(raw)})
		return nil
	})
	return list, err
}

// Requirement answers with one requirement and its newest status; now decides whether an open one has expired.
func (s *Store) Requirement(ctx context.Context, scope report.Scope, id string, now events.Millis) (report.Requirement, error) {
	where := within(scope).equal("requirement", "id", id)
	list, err := s.selectRequirements(ctx, where, `LIMIT 1`, where.with(named("now", int64(now))))
	if err != nil {
		return report.Requirement{}, err
	}
	if id == "" || len(list) == 0 {
		return report.Requirement{}, report.ErrNotFound
	}
	return list[0], nil
}

// Receipts answers with what applications did with a requirement, oldest first, at most 1,000.
func (s *Store) Receipts(ctx context.Context, scope report.Scope, requirement string) ([]events.Receipt, error) {
	where := within(scope).and("requirement = {requirement:String}", named("requirement", requirement))
	return s.selectReceipts(ctx, where, `ORDER BY time, id
LIMIT 1000`, where.with())
}
