package history

import (
	"context"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// Audit answers with one page of the audit trail, newest first.
func (s *Store) Audit(ctx context.Context, q report.AuditQuery) (report.AuditPage, error) {
	where := &conditions{}
	if !q.Scope.All {
		where = within(q.Scope)
	}
	where.during("time", q.Span).
		equal("actor", "actor", q.Actor).
		equal("user_id", "user", q.User).
		equal("outcome", "outcome", string(q.Outcome)).
		after("time", hexID, q.After)
	if strings.HasSuffix(q.Action, ".") {
		where.and("startsWith(action, {action:String})", named("action", q.Action))
	} else {
		where.equal("action", "action", q.Action)
	}
	var list []events.AuditEntry
	err := s.rows(ctx, auditColumns+`
FROM ${database}.audit FINAL
WHERE `+where.String()+`
ORDER BY time DESC, id DESC
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(q.Limit+1))), func(r rowScanner) error {
		e, err := scanAudit(r)
		list = append(list, e)
		return err
	})
	if err != nil {
		return report.AuditPage{}, err
	}
	list, next := page(list, q.Limit, func(e events.AuditEntry) report.Cursor { return report.Cursor{Time: e.Time, ID: e.ID} })
	return report.AuditPage{Entries: list, Next: next}, nil
}

// auditColumns are what scanAudit reads.
const auditColumns = `SELECT ` + hexID + `, toUnixTimestamp64Milli(time), tenant, actor, via, action, target, user_id, detail, outcome, address, request`

func scanAudit(r rowScanner) (e events.AuditEntry, err error) {
	var at int64
	var via, outcome string
	if err := r.Scan(&e.ID, &at, &e.Tenant, &e.Actor, &via, &e.Action, &e.Target, &e.User, &e.Detail, &outcome, &e.Address, &e.Request); err != nil {
		return e, err
	}
	e.Time, e.Via, e.Outcome = millis(at), events.Via(via), events.AuditOutcome(outcome)
	return e, nil
}
