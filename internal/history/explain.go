package history

import (
	"context"
	"encoding/json"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// byHash is the condition for a column with the 16 bytes of an id.
func byHash(column string) string { return column + " = toFixedString(unhex({id:String}), 16)" }

// Event answers with one event as it is on the log.
func (s *Store) Event(ctx context.Context, scope report.Scope, id string) (report.Record, error) {
	list, err := s.logged(ctx, scope, TableEvents, "id", id)
	if err != nil {
		return report.Record{}, err
	}
	if len(list) == 0 {
		return report.Record{}, report.ErrNotFound
	}
	return list[0], nil
}

// EventFindings answers with the findings of one event as they are on the log, by their ids.
func (s *Store) EventFindings(ctx context.Context, scope report.Scope, event string) ([]report.Record, error) {
	return s.logged(ctx, scope, TableFindings, "event_id", event)
}

// logged reads the records whose column is an id, each once: as it entered the log first.
func (s *Store) logged(ctx context.Context, scope report.Scope, table Table, column, id string) ([]report.Record, error) {
	if _, err := hash("id", id); err != nil {
		return nil, report.ErrNotFound
	}
	where := within(scope).and(byHash(column), named("id", id))
	var list []report.Record
	err := s.rows(ctx, `SELECT toUnixTimestamp64Milli(logged), raw
FROM ${database}.`+string(table)+`
WHERE `+where.String()+`
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
