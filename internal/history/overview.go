package history

import (
	"context"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// steps are the lengths of a step of the chart, in seconds; each is a multiple of the five minutes that are counted. Above
// six hours there are days only, which are counted in a table of their own: so a question of the former reads the sets of a
// month at most.
var steps = []int64{300, 600, 900, 1800, 3600, 7200, 10800, 21600, daySeconds, 7 * daySeconds, 30 * daySeconds}

const (
	maxPoints = 120
	topN      = 10
)

// chart cuts a span into steps: the shortest that give at most maxPoints, and the span widened to whole steps.
func chart(span report.Span) (aligned report.Span, step int64) { return chartOf(span, steps[0]) }

// chartOf is chart with steps of at least so many seconds.
func chartOf(span report.Span, least int64) (aligned report.Span, step int64) {
	for _, step = range steps {
		if step < least {
			continue
		}
		from := floor(int64(span.From), step*1000)
		to := floor(int64(span.To)+step*1000-1, step*1000)
		aligned = report.Span{From: events.Millis(from), To: events.Millis(to)}
		if (to-from)/(step*1000) <= maxPoints {
			break
		}
	}
	return aligned, step
}

func floor(v, step int64) int64 { return v - (v%step+step)%step }

// Overview sums up a span of event time, widened to whole steps of its chart. now decides which requirements have
// expired.
func (s *Store) Overview(ctx context.Context, scope report.Scope, span report.Span, now events.Millis) (*report.Overview, error) {
	span, step := chart(span)
	o := &report.Overview{
		From: span.From, To: span.To, Step: step,
		Severities: []report.Count{}, Detections: []report.Count{}, Dispositions: []report.Count{},
		Countries: []report.Count{}, Users: []report.UserCount{},
	}
	for at := span.From; at < span.To; at += events.Millis(step * 1000) {
		o.Series = append(o.Series, report.Point{Time: at})
	}
	for _, part := range []func(context.Context, report.Scope, *report.Overview) error{
		s.countEvents, s.newestEvent, s.countFindings, s.countUsers,
		func(ctx context.Context, scope report.Scope, o *report.Overview) error {
			return s.countCountries(ctx, scope, o, now)
		},
		func(ctx context.Context, scope report.Scope, o *report.Overview) error {
			return s.countRequirements(ctx, scope, o, now)
		},
	} {
		if err := part(ctx, scope, o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func spanOf(o *report.Overview) report.Span { return report.Span{From: o.From, To: o.To} }

// pointAt is the step of the chart that holds a moment, in seconds; nil outside the span.
func pointAt(o *report.Overview, seconds int64) *report.Point {
	i := (seconds*1000 - int64(o.From)) / (o.Step * 1000)
	if i < 0 || i >= int64(len(o.Series)) {
		return nil
	}
	return &o.Series[i]
}

// stepStart is the start of a step that holds a time, in seconds. Steps are aligned to the epoch, as chart does.
func stepStart(column string) string {
	return "toInt64(intDiv(toUnixTimestamp(" + column + "), {step:UInt32}) * {step:UInt32})"
}

// countEvents sums over steps: an event is in one step only, and sets stay small enough to be exact, or nearly so where
// they are of days.
func (s *Store) countEvents(ctx context.Context, scope report.Scope, o *report.Overview) error {
	table, column, merge := "event_counts", "bucket", "uniqMerge"
	if o.Step >= daySeconds {
		table, column, merge = "event_days", "toDateTime(day, 'UTC')", "uniqCombinedMerge(14)"
	}
	where := within(scope).during(column, spanOf(o))
	return s.rows(ctx, `SELECT `+stepStart(column)+` AS start, `+merge+`(events), `+strings.Replace(merge, "Merge", "MergeIf", 1)+`(events, outcome IN ('failure', 'blocked'))
FROM ${database}.`+table+`
WHERE `+where.String()+`
GROUP BY start`, where.with(named("step", uint32(o.Step))), func(r rowScanner) error {
		var start int64
		var all, failures uint64
		if err := r.Scan(&start, &all, &failures); err != nil {
			return err
		}
		if p := pointAt(o, start); p != nil {
			p.Events, p.Failures = all, failures
			o.Events += all
		}
		return nil
	})
}

// countCountries reads the days of places for what is longer than a day: their sets are bounded.
func (s *Store) countCountries(ctx context.Context, scope report.Scope, o *report.Overview, now events.Millis) error {
	where, table, merge := within(scope).and("country != ''"), "event_counts", "uniqMerge"
	if o.To-o.From > daySeconds*1000 {
		where.buckets(spanOf(o), now)
		table, merge = "by_place", "uniqCombinedMerge(12)"
	} else {
		where.during("bucket", spanOf(o))
	}
	return s.rows(ctx, `SELECT country, `+merge+`(events) AS n
FROM ${database}.`+table+`
WHERE `+where.String()+`
GROUP BY country
ORDER BY n DESC, country
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(topN))), func(r rowScanner) error {
		var c report.Count
		if err := r.Scan(&c.Name, &c.Count); err != nil {
			return err
		}
		o.Countries = append(o.Countries, c)
		return nil
	})
}

func (s *Store) newestEvent(ctx context.Context, scope report.Scope, o *report.Overview) error {
	where := within(scope)
	return s.rows(ctx, `SELECT toUnixTimestamp64Milli(max(newest))
FROM ${database}.event_days
WHERE `+where.String(), where.with(), func(r rowScanner) error {
		var at int64
		if err := r.Scan(&at); err != nil {
			return err
		}
		o.Newest = millis(at)
		return nil
	})
}

func (s *Store) countFindings(ctx context.Context, scope report.Scope, o *report.Overview) error {
	where := within(scope).during("bucket", spanOf(o))
	severities, detections, dispositions := map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
	err := s.rows(ctx, `SELECT `+stepStart("bucket")+` AS start, detection, severity, disposition, uniqMerge(findings)
FROM ${database}.finding_counts
WHERE `+where.String()+`
GROUP BY start, detection, severity, disposition`, where.with(named("step", uint32(o.Step))), func(r rowScanner) error {
		var start int64
		var detection, severity, disposition string
		var n uint64
		if err := r.Scan(&start, &detection, &severity, &disposition, &n); err != nil {
			return err
		}
		if p := pointAt(o, start); p != nil {
			p.Findings += n
		}
		dispositions[disposition] += n
		if disposition == string(events.Active) {
			if p := pointAt(o, start); p != nil {
				p.Severities.Add(events.Severity(severity), n)
			}
			severities[severity] += n
			detections[detection] += n
			o.Findings += n
		}
		return nil
	})
	o.Detections, o.Dispositions = ranked(detections), ranked(dispositions)
	// Severities in their own order, the highest first, and also those that did not occur.
	for _, v := range slices.Backward(events.Severities) {
		o.Severities = append(o.Severities, report.Count{Name: string(v), Count: severities[string(v)]})
	}
	return err
}

// countUsers needs no FINAL: it counts distinct ids.
func (s *Store) countUsers(ctx context.Context, scope report.Scope, o *report.Overview) error {
	where := within(scope).during("time", spanOf(o)).and("disposition = 'active'")
	names := make([]string, len(events.Severities))
	for i, v := range events.Severities {
		names[i] = string(v)
	}
	return s.rows(ctx, `SELECT tenant, user_id, argMax(user_name, time), uniqExact(id) AS n, argMax(severity, indexOf({severities:Array(String)}, severity)) AS top
FROM ${database}.findings
WHERE `+where.String()+`
GROUP BY tenant, user_id
ORDER BY indexOf({severities:Array(String)}, top) DESC, n DESC, tenant, user_id
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(topN)), named("severities", names)), func(r rowScanner) error {
		var u report.UserCount
		var severity string
		if err := r.Scan(&u.Tenant, &u.User, &u.Name, &u.Findings, &severity); err != nil {
			return err
		}
		u.Severity = events.Severity(severity)
		o.Users = append(o.Users, u)
		return nil
	})
}

func (s *Store) countRequirements(ctx context.Context, scope report.Scope, o *report.Overview, now events.Millis) error {
	where := within(scope).during("not_before", spanOf(o))
	return s.rows(ctx, `SELECT `+statusNow+` AS now_is, count()
FROM ${database}.revocations FINAL
WHERE `+where.String()+`
GROUP BY now_is`, where.with(named("now", int64(now))), func(r rowScanner) error {
		var status string
		var n uint64
		if err := r.Scan(&status, &n); err != nil {
			return err
		}
		switch report.Status(status) {
		case report.Open:
			o.Requirements.Open = n
		case report.Satisfied:
			o.Requirements.Satisfied = n
		case report.Expired:
			o.Requirements.Expired = n
		}
		return nil
	})
}

// ranked lists counts, the highest first.
func ranked(counts map[string]uint64) []report.Count {
	list := make([]report.Count, 0, len(counts))
	for name, n := range counts {
		list = append(list, report.Count{Name: name, Count: n})
	}
	slices.SortFunc(list, func(a, b report.Count) int {
		if a.Count != b.Count {
			if a.Count > b.Count {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}
