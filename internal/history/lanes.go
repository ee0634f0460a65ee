package history

import (
	"context"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// Limits of the lanes of one user.
const (
	maxLanes            = 12
	maxLaneFindings     = 500
	maxLaneRequirements = 200
)

// laneDimensions are the lanes.
var laneDimensions = []dimension{byPlace, byDevice, byNetwork, bySession}

// Lanes answers with a user's steps in a span, which is widened to whole ones. A user who was not there has empty lanes.
func (s *Store) Lanes(ctx context.Context, q report.LanesQuery) (*report.Lanes, error) {
	span, step := chart(q.Span)
	answer := &report.Lanes{From: span.From, To: span.To, Step: step, Findings: []report.LaneFinding{}}
	lanes, err := s.lanes(ctx, q, span, step)
	if err != nil {
		return nil, err
	}
	if err := s.others(ctx, q, span, step, lanes); err != nil {
		return nil, err
	}
	for _, l := range []struct {
		of   dimension
		list *[]report.Lane
	}{
		{byPlace, &answer.Lanes.Places}, {byDevice, &answer.Lanes.Devices}, {byNetwork, &answer.Lanes.Networks}, {bySession, &answer.Lanes.Sessions},
	} {
		*l.list = append([]report.Lane{}, lanes[l.of]...)
	}
	where := ofUser(q.Scope, q.Tenant, q.User).during("not_before", span)
	if answer.Requirements, err = s.userRequirements(ctx, where, q.Now, maxLaneRequirements); err != nil {
		return nil, err
	}
	where = ofUser(q.Scope, q.Tenant, q.User).during("time", span)
	err = s.rows(ctx, `SELECT `+hexID+`, toUnixTimestamp64Milli(time), detection, severity, disposition, session_id
FROM ${database}.findings FINAL
WHERE `+where.String()+`
ORDER BY time DESC, id DESC
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(maxLaneFindings))), func(r rowScanner) error {
		var f report.LaneFinding
		var at int64
		var severity, disposition string
		if err := r.Scan(&f.ID, &at, &f.Detection, &severity, &disposition, &f.Session); err != nil {
			return err
		}
		f.Time, f.Severity, f.Disposition = millis(at), events.Severity(severity), events.Disposition(disposition)
		answer.Findings = append(answer.Findings, f)
		return nil
	})
	return answer, err
}

// steps are a user's events with the start of the step they are in, in seconds.
func (s *Store) steps(q report.LanesQuery, span report.Span, step int64) (query string, args []any) {
	where := ofUser(q.Scope, q.Tenant, q.User).during("time", span)
	return sortedBy(laneDimensions, where.String(), "intDiv(toUnixTimestamp(time), {step:Int64}) * {step:Int64} AS step"), where.with(named("step", step))
}

// lanes reads the most frequent rows of each lane.
func (s *Store) lanes(ctx context.Context, q report.LanesQuery, span report.Span, step int64) (map[dimension][]report.Lane, error) {
	groupings, lane, key := sets(laneDimensions)
	query, args := s.steps(q, span, step)
	lanes := map[dimension][]report.Lane{}
	err := s.rows(ctx, `SELECT `+lane+` AS lane, `+key+` AS group_key,
    (sumMap([step], [1::UInt64], [toUInt64(`+failed+`)]) AS points).1, points.2, points.3, count() AS events,
    `+newest+`
FROM (
`+query+`
)
GROUP BY GROUPING SETS (`+groupings+`)
HAVING group_key != ''
ORDER BY events DESC, max(time) DESC, group_key
LIMIT {top:UInt32} BY lane`, append(args, named("top", uint32(maxLanes))), func(r rowScanner) error {
		var g group
		var of string
		var at []int64
		var all, failures []uint64
		if err := r.Scan(append([]any{&of, &g.key, &at, &all, &failures, &g.events}, g.dest()...)...); err != nil {
			return err
		}
		g.of = dimension(of)
		l := report.Lane{Key: g.key, Label: g.label(), Points: make([]report.LanePoint, len(at))}
		for i := range at {
			l.Points[i] = report.LanePoint{Time: millis(at[i] * events.Second), Events: all[i], Failures: failures[i]}
		}
		lanes[g.of] = append(lanes[g.of], l)
		return nil
	})
	return lanes, err
}

// others adds the row of the rest to each lane that has one: all that is known, less the rows that are there.
func (s *Store) others(ctx context.Context, q report.LanesQuery, span report.Span, step int64, lanes map[dimension][]report.Lane) error {
	query, args := s.steps(q, span, step)
	var columns []string
	for _, d := range laneDimensions {
		columns = append(columns, "countIf("+string(d)+"_key != '')", "countIf("+string(d)+"_key != '' AND "+failed+")")
	}
	shown := map[dimension]map[events.Millis]report.LanePoint{}
	for d, list := range lanes {
		shown[d] = map[events.Millis]report.LanePoint{}
		for _, l := range list {
			for _, p := range l.Points {
				sum := shown[d][p.Time]
				shown[d][p.Time] = report.LanePoint{Events: sum.Events + p.Events, Failures: sum.Failures + p.Failures}
			}
		}
	}
	rest := map[dimension][]report.LanePoint{}
	err := s.rows(ctx, `SELECT step, `+strings.Join(columns, ", ")+`
FROM (
`+query+`
)
GROUP BY step
ORDER BY step`, args, func(r rowScanner) error {
		var at int64
		n := make([]uint64, len(columns))
		dest := []any{&at}
		for i := range n {
			dest = append(dest, &n[i])
		}
		if err := r.Scan(dest...); err != nil {
			return err
		}
		for i, d := range laneDimensions {
			p := report.LanePoint{Time: millis(at * events.Second)}
			sum := shown[d][p.Time]
			// An event that came between the two questions is in the rest.
			if p.Events, p.Failures = less(n[2*i], sum.Events), less(n[2*i+1], sum.Failures); p.Events > 0 {
				rest[d] = append(rest[d], p)
			}
		}
		return nil
	})
	for d, points := range rest {
		lanes[d] = append(lanes[d], report.Lane{Label: "other", Points: points})
	}
	return err
}

func less(a, b uint64) uint64 { return a - min(a, b) }
