package history

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// The limits of an export.
const (
	// exportRows is how many rows the server sorts at once, or all rows by exportSlices when that is more.
	exportRows   = 50_000
	exportSlices = 64
)

// exported is the condition of an export, and the table and the column of time that it is about.
func exported(q report.ExportQuery) (where *conditions, table Table, column string, err error) {
	where = within(q.Scope)
	switch q.Kind {
	case report.ExportEvents:
		table, column = TableEvents, "time"
		var own []events.Kind
		for _, k := range events.Kinds {
			if k.Internal() {
				own = append(own, k)
			}
		}
		where.and("kind NOT IN {own:Array(String)}", named("own", texts(own)))
	case report.ExportFindings:
		table, column = TableFindings, "time"
		where.equal("detection", "detection", q.Detection)
		if len(q.Severity) > 0 {
			where.and("severity IN {severities:Array(String)}", named("severities", texts(q.Severity)))
		}
	case report.ExportRevocations:
		table, column = TableRevocations, "not_before"
	case report.ExportAudit:
		table, column = TableAudit, "time"
		if q.Scope.All {
			where = &conditions{} // also what concerns no tenant
		}
	default:
		return nil, "", "", fmt.Errorf("there is no export of %q", q.Kind)
	}
	return where.equal("user_id", "user", q.User).during(column, q.Span), table, column, nil
}

// ExportSize tells how many rows an export is made of; one that repeats counts twice until the server has merged it.
func (s *Store) ExportSize(ctx context.Context, q report.ExportQuery) (n uint64, err error) {
	where, table, _, err := exported(q)
	if err != nil {
		return 0, err
	}
	err = s.rows(ctx, `SELECT count()
FROM ${database}.`+string(table)+`
WHERE `+where.String(), where.with(), func(r rowScanner) error { return r.Scan(&n) })
	return n, err
}

// Export gives take every record that q asks for, oldest first, each once, without the events of our own kinds: JSON of an [events.Event], an [events.Finding], a
// [report.Requirement] or an [events.AuditEntry]. The bytes are valid during the call. It takes as long as it takes: ctx ends
// it, and no time-out does.
func (s *Store) Export(ctx context.Context, q report.ExportQuery, take func(record []byte) error) error {
	where, table, column, err := exported(q)
	if err != nil {
		return err
	}
	switch q.Kind {
	case report.ExportRevocations:
		return s.stream(ctx, requirementColumns+`
FROM ${database}.revocations FINAL
WHERE `+where.String()+`
ORDER BY not_before, requirement`, where.with(named("now", int64(q.Now))), func(row rowScanner) error {
			r, err := scanRequirement(row)
			if err != nil {
				return err
			}
			return takeJSON(&r, take)
		})
	case report.ExportAudit:
		return s.stream(ctx, auditColumns+`
FROM ${database}.audit FINAL
WHERE `+where.String()+`
ORDER BY time, id`, where.with(), func(row rowScanner) error {
			e, err := scanAudit(row)
			if err != nil {
				return err
			}
			return take(events.Encode(&e))
		})
	}
	const hour = int64(events.Hour)
	slices, _, err := s.cut(ctx, table, column, where, hour, exportRows, exportSlices)
	if err != nil {
		return err
	}
	type row struct {
		at int64
		id string
	}
	var last row
	for _, part := range slices {
		err := s.stream(ctx, `SELECT toUnixTimestamp64Milli(time), id, raw
FROM ${database}.`+string(table)+`
WHERE `+where.String()+`
  AND time >= fromUnixTimestamp64Milli({first:Int64}, 'UTC') AND time < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
ORDER BY time, id, logged DESC`, where.with(named("first", part.from), named("end", part.to)), func(r rowScanner) error {
			var at row
			var raw []byte
			if err := r.Scan(&at.at, &at.id, &raw); err != nil {
				return err
			}
			if at == last { // a row that the server has yet to merge: the newest came first
				return nil
			}
			last = at
			return take(raw)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func takeJSON(v any, take func([]byte) error) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return take(b)
}
