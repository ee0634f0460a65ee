package history

import (
	"cmp"
	"context"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// maxApps is how many applications are listed.
const maxApps = 200

// appKey names an application.
type appKey struct{ tenant, app string }

// acted are the receipts by which an application says that it did what was asked.
const acted = "'challenged', 'satisfied', 'refused', 'revoked'"

// Apps answers with the applications of a span, those with most events first. The span is widened to whole hours, or to
// whole days where it is longer than a week or long ago.
func (s *Store) Apps(ctx context.Context, q report.AppQuery) ([]report.AppSummary, error) {
	apps, err := s.appSums(ctx, q)
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
func (s *Store) appSums(ctx context.Context, q report.AppQuery) (map[appKey]*report.AppSummary, error) {
	apps := map[appKey]*report.AppSummary{}
	where := scopedTo(q, "app_id")
	q.Span = where.buckets(q.Span, q.Now)
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
		return nil, err
	}
	return apps, s.enforced(ctx, q, apps)
}

// scopedTo binds a question about applications to what may be seen, and to one application when it names one.
func scopedTo(q report.AppQuery, column string) *conditions {
	if q.App == "" {
		return within(q.Scope)
	}
	return one(q.Scope, q.Tenant).and(column+" = {app:String}", named("app", q.App))
}

// enforced adds what the applications did with the requirements that were opened in the span.
func (s *Store) enforced(ctx context.Context, q report.AppQuery, apps map[appKey]*report.AppSummary) error {
	tenants := q.Scope
	if q.App != "" {
		tenants = q.Scope.Narrow(q.Tenant)
	}
	raised := within(tenants).during("not_before", q.Span)
	where := scopedTo(q, "app").and("(tenant, requirement) IN (SELECT tenant, requirement FROM (" + opened(raised) + "))")
	args := append(where.with(), raised.args...)
	err := s.rows(ctx, `SELECT tenant, app, uniqExact(requirement) AS n, uniqExactIf(requirement, status IN (`+acted+`)), toUnixTimestamp64Milli(max(time))
FROM ${database}.receipts
WHERE `+where.String()+`
GROUP BY tenant, app
ORDER BY n DESC, tenant, app
LIMIT {limit:UInt32}`, append(args, named("limit", uint32(maxApps))), func(r rowScanner) error {
		var key appKey
		var n, done uint64
		var last int64
		if err := r.Scan(&key.tenant, &key.app, &n, &done, &last); err != nil {
			return err
		}
		a := apps[key]
		if a == nil {
			a = &report.AppSummary{Tenant: key.tenant, App: key.app}
			apps[key] = a
		}
		a.Requirements, a.Enforced, a.Last = n, done, max(a.Last, millis(last))
		return nil
	})
	if err != nil {
		return err
	}
	query, taken := timed(tenants, &report.Enforcement{From: q.Span.From, To: q.Span.To}, "app", acted)
	return s.rows(ctx, `SELECT tenant, app, quantilesExact(0.5, 0.95)(took)
FROM (`+query+`)
GROUP BY tenant, app`, taken.with(), func(r rowScanner) error {
		var key appKey
		var at []float64
		if err := r.Scan(&key.tenant, &key.app, &at); err != nil {
			return err
		}
		if a := apps[key]; a != nil && len(at) == 2 {
			half, most := rounded(at[0]), rounded(at[1])
			a.P50, a.P95 = &half, &most
		}
		return nil
	})
}

// appNames are the names of applications.
func (s *Store) appNames(ctx context.Context, scope report.Scope, ids []string) (map[appKey]string, error) {
	names := map[appKey]string{}
	where := within(scope).and("step = 86400").and("app_id IN {ids:Array(String)}", named("ids", ids))
	err := s.rows(ctx, `SELECT tenant, app_id, max(app_name)
FROM ${database}.by_app
WHERE `+where.String()+`
GROUP BY tenant, app_id`, where.with(), func(r rowScanner) error {
		var key appKey
		var name string
		if err := r.Scan(&key.tenant, &key.app, &name); err != nil {
			return err
		}
		names[key] = name
		return nil
	})
	return names, err
}

// App answers with one application in a span, which is widened to whole steps of its chart.
func (s *Store) App(ctx context.Context, q report.AppQuery) (*report.AppProfile, error) {
	known, name, err := s.appKnown(ctx, q)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, report.ErrNotFound
	}
	var step int64
	q.Span, step = appChart(q)
	a := &report.AppProfile{
		AppSummary: report.AppSummary{Tenant: q.Tenant, App: q.App, Name: name},
		From:       q.Span.From, To: q.Span.To, Step: step,
		Series: []report.AppPoint{}, Receipts: []report.Count{}, Findings: []report.FindingLine{},
	}
	apps, err := s.appSums(ctx, q)
	if err != nil {
		return nil, err
	}
	if sums := apps[appKey{q.Tenant, q.App}]; sums != nil {
		sums.Name = cmp.Or(sums.Name, name)
		a.AppSummary = *sums
	}
	if err := s.appSeries(ctx, q, a); err != nil {
		return nil, err
	}
	where := scopedTo(q, "app").during("time", q.Span)
	err = s.rows(ctx, `SELECT status, uniqExact(id) AS n
FROM ${database}.receipts
WHERE `+where.String()+`
GROUP BY status
ORDER BY n DESC, status`, where.with(), func(r rowScanner) error {
		var c report.Count
		if err := r.Scan(&c.Name, &c.Count); err != nil {
			return err
		}
		a.Receipts = append(a.Receipts, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	a.Findings, err = s.findingLines(ctx, scopedTo(q, "app_id").during("time", q.Span), maxFindingLines)
	return a, err
}

// appKnown reports whether an application was ever seen, and its name.
func (s *Store) appKnown(ctx context.Context, q report.AppQuery) (known bool, name string, err error) {
	if q.App == "" {
		return false, "", nil
	}
	for _, from := range []struct{ query, column string }{
		{"SELECT count(), max(app_name) FROM ${database}.by_app WHERE step = 86400 AND ", "app_id"},
		{"SELECT count(), '' FROM ${database}.receipts WHERE ", "app"},
	} {
		where := scopedTo(q, from.column)
		err := s.rows(ctx, from.query+where.String(), where.with(), func(r rowScanner) error {
			var n uint64
			if err := r.Scan(&n, &name); err != nil {
				return err
			}
			known = n > 0
			return nil
		})
		if err != nil || known {
			return known, name, err
		}
	}
	return false, "", nil
}

// appChart cuts the span of an application's chart: by the hour at the finest, and by the day where hours are no longer kept.
func appChart(q report.AppQuery) (span report.Span, step int64) {
	span, step = chartOf(q.Span, hourSeconds)
	if span.From < q.Now-(hourDays-1)*events.Day {
		span, step = chartOf(q.Span, daySeconds)
	}
	return span, step
}

// appSeries reads the chart of an application, whose span is of whole steps.
func (s *Store) appSeries(ctx context.Context, q report.AppQuery, a *report.AppProfile) error {
	for at := a.From; at < a.To; at += millis(a.Step * 1000) {
		a.Series = append(a.Series, report.AppPoint{Time: at})
	}
	rows := hourSeconds
	if a.Step >= daySeconds {
		rows = daySeconds
	}
	where := scopedTo(q, "app_id").and("step = {rows:UInt32}", named("rows", uint32(rows))).during("bucket", q.Span)
	return s.rows(ctx, `SELECT toInt64(intDiv(toUnixTimestamp(bucket), {chart_step:UInt32}) * {chart_step:UInt32}) AS start,
    uniqCombinedMerge(12)(events), uniqCombinedIfMerge(12)(failures)
FROM ${database}.by_app
WHERE `+where.String()+`
GROUP BY start`, where.with(named("chart_step", uint32(a.Step))), func(r rowScanner) error {
		var start int64
		var all, failures uint64
		if err := r.Scan(&start, &all, &failures); err != nil {
			return err
		}
		if i := (start*1000 - int64(a.From)) / (a.Step * 1000); i >= 0 && i < int64(len(a.Series)) {
			a.Series[i].Events, a.Series[i].Failures = all, failures
		}
		return nil
	})
}
