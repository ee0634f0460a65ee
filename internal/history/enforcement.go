package history

import (
	"context"
	"math"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// decisions is a query for when the decisions that opened requirements entered the log: when the first finding of the event
// that a requirement is about did. What the detector wrote twice, after a crash, counts as it was written first. requirements is a
// query for tenant, requirement and event of these requirements; scope are the caller's tenants, within which findings are looked
// for.
func decisions(scope *conditions, requirements string) string {
	return `SELECT tenant, q.requirement AS requirement, min(f.decided) AS decided
FROM (SELECT tenant, event_id, decided FROM ${database}.finding_times WHERE ` + scope.String() + `
    AND event_id IN (SELECT toFixedString(unhex(event), 16) FROM (` + requirements + `))) AS f
INNER JOIN (SELECT tenant, requirement, toFixedString(unhex(event), 16) AS event_id FROM (` + requirements + `)) AS q
    ON f.tenant = q.tenant AND f.event_id = q.event_id
GROUP BY tenant, requirement`
}

// opened is a query for the requirements that a condition lets through, as [decisions] wants them.
func opened(where *conditions) string {
	return `SELECT tenant, requirement, any(event_id) AS event FROM ${database}.revocations WHERE ` + where.String() + `
    AND length(event_id) = 32 GROUP BY tenant, requirement`
}

// ReceiptList answers with one page of receipts, newest first, each with the time since its decision.
func (s *Store) ReceiptList(ctx context.Context, q report.ReceiptQuery) (report.ReceiptPage, error) {
	where := within(q.Scope).during("time", q.Span).equal("user_id", "user", q.User).equal("app", "app", q.App).
		equal("status", "status", string(q.Status)).equal("requirement", "requirement", q.Requirement).after("time", "id", q.After)
	list, err := s.selectReceipts(ctx, where, `ORDER BY time DESC, id DESC
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(q.Limit+1))))
	if err != nil {
		return report.ReceiptPage{}, err
	}
	list, next := page(list, q.Limit, func(r events.Receipt) report.Cursor { return report.Cursor{Time: r.Time, ID: r.ID} })
	lines, err := s.withDecisions(ctx, q.Scope, list)
	return report.ReceiptPage{Receipts: lines, Next: next}, err
}

// RequirementReceipts answers with what applications did with a requirement, oldest first, each with the time since the
// decision.
func (s *Store) RequirementReceipts(ctx context.Context, scope report.Scope, requirement string) ([]report.ReceiptLine, error) {
	list, err := s.Receipts(ctx, scope, requirement)
	if err != nil {
		return nil, err
	}
	return s.withDecisions(ctx, scope, list)
}

// withDecisions looks up when the decisions behind some receipts were made.
func (s *Store) withDecisions(ctx context.Context, scope report.Scope, list []events.Receipt) ([]report.ReceiptLine, error) {
	lines := make([]report.ReceiptLine, len(list))
	var requirements []string
	for i, r := range list {
		lines[i].Receipt = r
		requirements = append(requirements, r.Requirement)
	}
	if len(list) == 0 {
		return lines, nil
	}
	slices.Sort(requirements)
	tenants := within(scope)
	where := within(scope).and("requirement IN {requirements:Array(String)}", named("requirements", slices.Compact(requirements)))
	decided := map[[2]string]events.Millis{}
	err := s.rows(ctx, `SELECT tenant, requirement, toUnixTimestamp64Milli(decided)
FROM (`+decisions(tenants, opened(where))+`)`, where.with(), func(r rowScanner) error {
		var tenant, requirement string
		var at int64
		if err := r.Scan(&tenant, &requirement, &at); err != nil {
			return err
		}
		decided[[2]string{tenant, requirement}] = millis(at)
		return nil
	})
	for i := range lines {
		r := &lines[i]
		r.Since(decided[[2]string{r.Tenant, r.Requirement}])
	}
	return lines, err
}

// maxEnforcingApps is how many applications are told of.
const maxEnforcingApps = 100

// Enforcement tells what became of the requirements that were opened in a span, and how fast.
func (s *Store) Enforcement(ctx context.Context, scope report.Scope, span report.Span) (*report.Enforcement, error) {
	e := &report.Enforcement{From: span.From, To: span.To, Apps: []report.AppEnforcement{}}
	for _, name := range report.Stages {
		e.Stages = append(e.Stages, report.Stage{Stage: name})
	}
	for _, part := range []func(context.Context, report.Scope, *report.Enforcement) error{
		s.decidedStage, s.receiptStages, s.enforcingApps, s.unanswered,
	} {
		if err := part(ctx, scope, e); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// rounded is a time in milliseconds as people read it; what is not a number is none.
func rounded(ms float64) int64 {
	if math.IsNaN(ms) {
		return 0
	}
	return int64(math.Round(ms))
}

func scanStage(r rowScanner, e *report.Enforcement) error {
	var name string
	var n uint64
	var at []float64
	if err := r.Scan(&name, &n, &at); err != nil {
		return err
	}
	if i := slices.Index(report.Stages, name); i >= 0 && n > 0 && len(at) == 3 {
		e.Stages[i] = report.Stage{Stage: name, Count: n, P50: rounded(at[0]), P95: rounded(at[1]), P99: rounded(at[2])}
	}
	return nil
}

// decidedStage measures from an event's acceptance to its finding's place on the log.
func (s *Store) decidedStage(ctx context.Context, scope report.Scope, e *report.Enforcement) error {
	where := within(scope).during("time", report.Span{From: e.From, To: e.To}).and("t.took IS NOT NULL")
	return s.rows(ctx, `SELECT 'decided', count(), quantilesExact(0.5, 0.95, 0.99)(assumeNotNull(took))
FROM (
    SELECT min(t.took) AS took
    FROM ${database}.finding_times AS t
    WHERE `+where.String()+`
    GROUP BY tenant, time, event_id, id
)`, where.with(), func(r rowScanner) error { return scanStage(r, e) })
}

// ahead is how far the clock of an application may be behind ours: its receipt seems to be from before the decision.
const ahead = events.Hour

// timed is a query for the first receipt of each requirement of a span, by tenant and what else is given, with the time since the
// decision.
func timed(scope report.Scope, e *report.Enforcement, by, statuses string) (query string, where *conditions) {
	where = within(scope).during("not_before", report.Span{From: e.From, To: e.To})
	where.args = append(where.args, named("receipts_from", int64(e.From-ahead)))
	tenants := within(scope)
	return `SELECT r.tenant AS tenant, ` + by + `, greatest(0, toUnixTimestamp64Milli(first) - toUnixTimestamp64Milli(decided)) AS took
FROM (
    SELECT tenant, requirement, ` + by + `, min(time) AS first
    FROM ${database}.receipts
    WHERE ` + tenants.String() + ` AND status IN (` + statuses + `) AND time >= fromUnixTimestamp64Milli({receipts_from:Int64})
    GROUP BY tenant, requirement, ` + by + `
) AS r
INNER JOIN (` + decisions(tenants, opened(where)) + `) AS d ON r.tenant = d.tenant AND r.requirement = d.requirement`, where
}

func (s *Store) receiptStages(ctx context.Context, scope report.Scope, e *report.Enforcement) error {
	query, where := timed(scope, e, "status", "'delivered', 'challenged', 'satisfied', 'revoked'")
	return s.rows(ctx, `SELECT status, count(), quantilesExact(0.5, 0.95, 0.99)(took)
FROM (`+query+`)
GROUP BY status`, where.with(), func(r rowScanner) error { return scanStage(r, e) })
}

func (s *Store) enforcingApps(ctx context.Context, scope report.Scope, e *report.Enforcement) error {
	query, where := timed(scope, e, "app", acted)
	return s.rows(ctx, `SELECT app, count() AS n, quantilesExact(0.5, 0.95)(took)
FROM (`+query+`)
GROUP BY app
ORDER BY n DESC, app
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(maxEnforcingApps))), func(r rowScanner) error {
		var a report.AppEnforcement
		var at []float64
		if err := r.Scan(&a.App, &a.Count, &at); err != nil {
			return err
		}
		if len(at) == 2 {
			a.P50, a.P95 = rounded(at[0]), rounded(at[1])
		}
		e.Apps = append(e.Apps, a)
		return nil
	})
}

func (s *Store) unanswered(ctx context.Context, scope report.Scope, e *report.Enforcement) error {
	where := within(scope).during("not_before", report.Span{From: e.From, To: e.To})
	return s.rows(ctx, `SELECT count(), countIf((tenant, requirement) NOT IN (
    SELECT tenant, requirement FROM ${database}.receipts WHERE `+within(scope).String()+`
        AND requirement IN (SELECT requirement FROM ${database}.revocations WHERE `+where.String()+`)))
FROM ${database}.revocations FINAL
WHERE `+where.String(), where.with(), func(r rowScanner) error { return r.Scan(&e.Requirements, &e.Unanswered) })
}
