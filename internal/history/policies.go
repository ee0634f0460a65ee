package history

import (
	"context"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// PolicyRecords tells what policies have done in a span, by their names; one that did nothing is not there. now decides
// which requirements have expired.
func (s *Store) PolicyRecords(ctx context.Context, scope report.Scope, span report.Span, now events.Millis) (map[string]report.PolicyRecord, error) {
	records := map[string]report.PolicyRecord{}
	ask := func(query string, where *conditions, set func(r *report.PolicyRecord, a, b, c uint64)) error {
		return s.rows(ctx, query, where.with(named("now", int64(now))), func(row rowScanner) error {
			var name string
			var a, b, c uint64
			if err := row.Scan(&name, &a, &b, &c); err != nil {
				return err
			}
			r := records[name]
			r.Policy = name
			set(&r, a, b, c)
			records[name] = r
			return nil
		})
	}
	// All findings of an event carry its decision; ids are counted because rows may repeat.
	where := within(scope).during("time", span).and("policy != ''")
	err := ask(`SELECT policy, uniqExact(event_id), uniqExactIf(event_id, observed = 1), uniqExact(tenant, user_id)
FROM ${database}.findings
WHERE `+where.String()+`
GROUP BY policy`, where, func(r *report.PolicyRecord, matched, observed, users uint64) {
		r.Matched, r.Observed, r.Users = matched, observed, users
	})
	if err != nil {
		return nil, err
	}
	marked := within(scope).during("found", span)
	err = ask(`SELECT policy, uniqExactIf(event_id, verdict = 'true_positive'), uniqExactIf(event_id, verdict = 'false_positive'), count()
FROM
(
    SELECT id, policy, event_id
    FROM ${database}.findings
    WHERE `+where.String()+`
) AS findings
INNER JOIN
(
    SELECT finding, argMax(verdict, (time, id)) AS verdict
    FROM ${database}.marks
    WHERE `+marked.String()+`
    GROUP BY tenant, finding
    HAVING verdict IN ('true_positive', 'false_positive')
) AS marks ON findings.id = marks.finding
GROUP BY policy`, where, func(r *report.PolicyRecord, right, wrong, _ uint64) {
		r.TruePositive, r.FalsePositive = right, wrong
	})
	if err != nil {
		return nil, err
	}
	opened := within(scope).during("not_before", span).and("policy != ''")
	err = ask(`SELECT policy, count(), countIf(`+statusNow+` = 'satisfied'), countIf(`+statusNow+` = 'expired')
FROM ${database}.revocations FINAL
WHERE `+opened.String()+`
GROUP BY policy`, opened, func(r *report.PolicyRecord, opened, satisfied, expired uint64) {
		r.Opened, r.Satisfied, r.Expired = opened, satisfied, expired
	})
	return records, err
}

// Newest answers with the time of the newest event, 0 when there is none.
func (s *Store) Newest(ctx context.Context, scope report.Scope) (events.Millis, error) {
	var o report.Overview
	err := s.newestEvent(ctx, scope, &o)
	return o.Newest, err
}
