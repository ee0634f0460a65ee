package history

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// maxSources is how many sources are told of: those that sent last.
const maxSources = 1000

// Sources answers with how every source is doing that sent something in the last 30 days, by name. Dead letters belong to no
// tenant: only who may see all of them is told.
func (s *Store) Sources(ctx context.Context, scope report.Scope, now events.Millis) ([]report.SourceHealth, error) {
	known := map[[2]string]*report.SourceHealth{}
	where := within(scope)
	err := s.rows(ctx, `SELECT source, family, toUnixTimestamp64Milli(max(newest)), toUnixTimestamp64Milli(max(accepted)) AS latest
FROM ${database}.source_counts
WHERE `+where.String()+`
GROUP BY source, family
ORDER BY latest DESC, source, family
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(maxSources))), func(r rowScanner) error {
		var v report.SourceHealth
		var newest, accepted int64
		if err := r.Scan(&v.Source, &v.Family, &newest, &accepted); err != nil {
			return err
		}
		v.Newest, v.Accepted = millis(newest), millis(accepted)
		known[[2]string{v.Source, v.Family}] = &v
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.sourceDelays(ctx, scope, now, known); err != nil {
		return nil, err
	}
	if scope.All {
		if err := s.sourceLetters(ctx, now, known); err != nil {
			return nil, err
		}
	}
	list := make([]report.SourceHealth, 0, len(known))
	for _, v := range known {
		list = append(list, *v)
	}
	slices.SortFunc(list, func(a, b report.SourceHealth) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Family, b.Family))
	})
	return list, nil
}

// sourceDelays counts the last hour, in whole steps of five minutes, by class of delay.
func (s *Store) sourceDelays(ctx context.Context, scope report.Scope, now events.Millis, known map[[2]string]*report.SourceHealth) error {
	const step = 5 * events.Minute
	where := within(scope).during("bucket", report.Span{From: millis(floor(int64(now)-events.Hour, step)), To: now + events.Day})
	return s.rows(ctx, `SELECT source, family, groupArray(delay), groupArray(n), uniqMerge(sent)
FROM (
    SELECT source, family, delay, uniqMerge(events) AS n, uniqMergeState(events) AS sent
    FROM ${database}.source_counts
    WHERE `+where.String()+`
    GROUP BY source, family, delay
)
GROUP BY source, family`, where.with(), func(r rowScanner) error {
		var key [2]string
		var classes []uint8
		var sent []uint64
		var all uint64
		if err := r.Scan(&key[0], &key[1], &classes, &sent, &all); err != nil {
			return err
		}
		v := known[key]
		if v == nil {
			return nil
		}
		// An event that was sent again is of several classes, and one event.
		counts, total := map[uint8]uint64{}, uint64(0)
		for i, class := range classes {
			counts[class] = sent[i]
			total += sent[i]
		}
		v.LastHour, v.DelayP50, v.DelayP95 = all, delayAt(counts, total, 0.5), delayAt(counts, total, 0.95)
		return nil
	})
}

// delayAt is a quantile of delays that are counted by class.
func delayAt(counts map[uint8]uint64, total uint64, q float64) *int64 {
	rank := uint64(math.Ceil(q * float64(total)))
	var seen uint64
	for class := range 256 {
		seen += counts[uint8(class)]
		if seen >= rank && seen > 0 {
			ms := rounded(math.Exp2(float64(class) / 4))
			return &ms
		}
	}
	return nil
}

// sourceLetters counts what was refused of each source in the last day. A source of which everything is refused is known by
// that alone.
func (s *Store) sourceLetters(ctx context.Context, now events.Millis, known map[[2]string]*report.SourceHealth) error {
	where := (&conditions{}).during("time", report.Span{From: now - events.Day, To: now + events.Day}).and("stage = 'ingest'")
	return s.rows(ctx, `SELECT source, uniqExact(id) AS n
FROM ${database}.dead_letters
WHERE `+where.String()+`
GROUP BY source
ORDER BY n DESC, source
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(maxSources))), func(r rowScanner) error {
		var source string
		var n uint64
		if err := r.Scan(&source, &n); err != nil {
			return err
		}
		found := false
		for key, v := range known {
			if key[0] == source {
				v.DeadLetters, found = n, true
			}
		}
		if !found {
			known[[2]string{source, ""}] = &report.SourceHealth{Source: source, DeadLetters: n}
		}
		return nil
	})
}
