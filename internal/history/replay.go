package history

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// The limits of a replay.
const (
	// A replay is read in slices of the time of the log, so that the server never sorts more than one: of sliceRows rows, or
	// of all rows by maxSlices when that is more, as every slice walks through all months that it touches.
	sliceRows = 500_000
	maxSlices = 16
	// sortMemory is how much of a sort the server keeps in memory before it goes on on disk, in bytes.
	sortMemory = 256 << 20
)

// slice is a half-open span of the time of the log, in milliseconds, and how many rows it has.
type slice struct {
	from, to int64
	rows     uint64
}

// Replay gives take the record of every event with a time in q's span, in the order of the log: by when they entered it,
// within a millisecond by their own times. A row that repeats is given once. An event that entered the log more than once,
// because a source sent it again, is given where it entered last, and until the server has merged its rows at the former
// places too. The bytes are valid during the call. progress is told how much is done, from 0 to 1. It takes as long as it
// takes: ctx ends it, and no time-out does.
func (s *Store) Replay(ctx context.Context, q report.ReplayQuery, take func(raw []byte) error, progress func(done float64)) error {
	slices, total, err := s.slices(ctx, q)
	if err != nil {
		return err
	}
	type row struct {
		logged int64
		id     string
	}
	done, last := uint64(0), row{}
	for _, part := range slices {
		where := replayed(q).and("logged >= fromUnixTimestamp64Milli({first:Int64}, 'UTC') AND logged < fromUnixTimestamp64Milli({end:Int64}, 'UTC')",
			named("first", part.from), named("end", part.to))
		err := s.stream(ctx, `SELECT toUnixTimestamp64Milli(logged), id, raw
FROM ${database}.events
WHERE `+where.String()+`
ORDER BY logged, time, id`, where.with(), func(r rowScanner) error {
			var at row
			var raw []byte
			if err := r.Scan(&at.logged, &at.id, &raw); err != nil {
				return err
			}
			if done++; done%1024 == 0 {
				progress(min(1, float64(done)/float64(total)))
			}
			// Rows that the server has yet to merge are next to one another.
			if at == last {
				return nil
			}
			last = at
			return take(raw)
		})
		if err != nil {
			return err
		}
	}
	progress(1)
	return nil
}

func replayed(q report.ReplayQuery) *conditions {
	return within(q.Scope).during("time", report.Span{From: max(q.Span.From, 0), To: bounded(q.Span.To)})
}

// bounded makes an end of what may be unbounded.
func bounded(to events.Millis) events.Millis {
	if to == 0 {
		return latest
	}
	return to
}

// slices cuts the time of the log into pieces of about equal numbers of rows, none shorter than a minute.
func (s *Store) slices(ctx context.Context, q report.ReplayQuery) (out []slice, total uint64, err error) {
	return s.cut(ctx, TableEvents, "logged", replayed(q), int64(events.Minute), s.sliceRows, maxSlices)
}

// cut cuts the time of a column into pieces of about equal numbers of rows, none shorter than unit, in milliseconds: of rows
// rows, or of all rows by most when that is more.
func (s *Store) cut(ctx context.Context, table Table, column string, where *conditions, unit int64, rows, most uint64) (out []slice, total uint64, err error) {
	var units []slice
	err = s.stream(ctx, `SELECT toInt64(intDiv(toUnixTimestamp64Milli(`+column+`), {unit:Int64})) AS unit, count()
FROM ${database}.`+string(table)+`
WHERE `+where.String()+`
GROUP BY unit
ORDER BY unit`, where.with(named("unit", unit)), func(r rowScanner) error {
		var n int64
		var rows uint64
		if err := r.Scan(&n, &rows); err != nil {
			return err
		}
		total += rows
		units = append(units, slice{n * unit, (n + 1) * unit, rows})
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	size := max(rows, total/most)
	for _, m := range units {
		if n := len(out); n > 0 && out[n-1].rows+m.rows <= size {
			out[n-1].to, out[n-1].rows = m.to, out[n-1].rows+m.rows
			continue
		}
		out = append(out, m)
	}
	return out, total, nil
}

// stream runs a query whose answer is long: without a time-out and a limit of rows, in bounded memory. The server ends it
// when we go away.
func (s *Store) stream(ctx context.Context, query string, args []any, scan func(rowScanner) error) (err error) {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(s.cfg.settings(clickhouse.Settings{
		"max_execution_time":                           0,
		"max_bytes_before_external_sort":               sortMemory,
		"max_bytes_ratio_before_external_sort":         0,
		"max_block_size":                               8192,
		"cancel_http_readonly_queries_on_client_close": 1,
	})))
	rows, err := s.conn.Query(ctx, s.sql(query), args...)
	if err != nil {
		return classify(fmt.Errorf("asking the history: %w", err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return classify(fmt.Errorf("asking the history: %w", err))
	}
	return nil
}
