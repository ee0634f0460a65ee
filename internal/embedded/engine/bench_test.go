//go:build linux

package engine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/countersign-io/countersign/internal/embedded/engine"
	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
)

// BenchmarkStart is the time to ready, and back to nothing, on an
// empty directory.
func BenchmarkStart(b *testing.B) {
	enginetest.Require(b)
	cfg := engine.DefaultConfig()
	cfg.DataDir = b.TempDir()
	var ready time.Duration
	for b.Loop() {
		started := time.Now()
		e, err := engine.Start(b.Context(), cfg, engine.Deps{})
		if err != nil {
			b.Fatal(err)
		}
		ready += time.Since(started)
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(ready.Milliseconds())/float64(b.N), "ms-to-ready/op")
}

// wideColumns is a row like that of the events table: 40 columns.
func wideColumns() (names []clickhouse.ColumnNameAndType, ddl string) {
	for i, t := range []string{
		"String", "FixedString(16)", "DateTime64(3)", "DateTime64(3)", "LowCardinality(String)", "LowCardinality(String)", "LowCardinality(String)", "LowCardinality(String)",
		"IPv6", "UInt32", "Float64", "Float64", "UInt16", "Bool", "UInt8", "UInt8", "Int64", "UInt64", "UInt64", "String",
		"String", "String", "String", "LowCardinality(String)", "LowCardinality(String)", "LowCardinality(String)", "LowCardinality(String)", "LowCardinality(String)", "Nullable(Float64)", "Nullable(UInt32)",
		"Enum8('success' = 1, 'failure' = 2)", "String", "String", "String", "UInt8", "UInt8", "UInt32", "LowCardinality(String)", "Array(String)", "String",
	} {
		c := clickhouse.ColumnNameAndType{Name: fmt.Sprint("c", i), Type: t}
		names = append(names, c)
		ddl += c.Name + " " + t + ", "
	}
	return names, ddl
}

// BenchmarkInsert40Columns counts rows through clickhouse-go, encoding
// included.
func BenchmarkInsert40Columns(b *testing.B) {
	e := enginetest.Start(b, b.TempDir())
	conn := open(b, e)
	columns, ddl := wideColumns()
	mustExec(b, conn, "CREATE TABLE default.wide ("+ddl+"INDEX ip c8 TYPE bloom_filter) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(c2) ORDER BY (c4, c0, c2, c1) SETTINGS non_replicated_deduplication_window = 1000")
	const n = 50_000
	values := make([]any, len(columns))
	now := time.Date(2026, 3, 4, 8, 0, 0, 0, time.UTC)
	for i, c := range columns {
		values[i] = benchValues(c.Type, n, now)
	}
	round := 0
	for b.Loop() {
		round++
		ctx := clickhouse.Context(b.Context(), clickhouse.WithColumnNamesAndTypes(columns), clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0, "insert_deduplication_token": fmt.Sprint(round)}))
		batch, err := conn.PrepareBatch(ctx, "INSERT INTO default.wide")
		if err != nil {
			b.Fatal(err)
		}
		for i := range columns {
			err = errors.Join(err, batch.Column(i).Append(values[i]))
		}
		if err := errors.Join(err, batch.Send()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(residentMB(e.PID())), "engine-MB")
}

func residentMB(pid int) int {
	text, _ := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "statm"))
	var size, resident int
	fmt.Sscan(string(text), &size, &resident) //nolint:errcheck // 0 then
	return resident * os.Getpagesize() >> 20
}

func benchValues(typeName string, n int, now time.Time) any {
	switch typeName {
	case "String":
		return benchSlice(n, func(i int) string { return fmt.Sprintf("5b9e1f04-8c2d-4a76-b3f1-%012d", i*7919%n) })
	case "FixedString(16)":
		return benchSlice(n, func(i int) string { return fmt.Sprintf("%016d", i) })
	case "LowCardinality(String)":
		return benchSlice(n, func(i int) string { return fmt.Sprint("value ", i%50) })
	case "DateTime64(3)":
		return benchSlice(n, func(i int) time.Time { return now.Add(time.Duration(i) * 37 * time.Millisecond) })
	case "IPv6":
		return benchSlice(n, func(i int) string { return fmt.Sprintf("::ffff:192.0.2.%d", i%256) })
	case "UInt64":
		return benchSlice(n, func(i int) uint64 { return uint64(i) })
	case "UInt32":
		return benchSlice(n, func(i int) uint32 { return uint32(i) })
	case "UInt16":
		return benchSlice(n, func(i int) uint16 { return uint16(i) })
	case "UInt8":
		return benchSlice(n, func(i int) uint8 { return uint8(i) })
	case "Int64":
		return benchSlice(n, func(i int) int64 { return int64(i) })
	case "Float64":
		return benchSlice(n, func(i int) float64 { return float64(i) / 7 })
	case "Bool":
		return benchSlice(n, func(i int) bool { return i%3 == 0 })
	case "Nullable(Float64)":
		return benchSlice(n, func(i int) *float64 { return nil })
	case "Nullable(UInt32)":
		return benchSlice(n, func(i int) *uint32 { v := uint32(i); return &v })
	case "Array(String)":
		return benchSlice(n, func(i int) []string { return []string{"LOC-01", "CONJ-01"}[:i%3] })
	default: // the enumeration
		return benchSlice(n, func(i int) string { return []string{"success", "failure"}[i%2] })
	}
}

func benchSlice[T any](n int, value func(i int) T) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = value(i)
	}
	return s
}

// BenchmarkSelectOne is the whole way of a small statement.
func BenchmarkSelectOne(b *testing.B) {
	conn := open(b, enginetest.Shared(b))
	for b.Loop() {
		if got := scanOne[uint8](b, conn, "SELECT 1"); got != 1 {
			b.Fatal(got)
		}
	}
}

// BenchmarkSelectMillionRows streams numbers and texts.
func BenchmarkSelectMillionRows(b *testing.B) {
	conn := open(b, enginetest.Shared(b))
	for b.Loop() {
		rows, err := conn.Query(b.Context(), "SELECT number, toString(number) FROM numbers(1000000)")
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for rows.Next() {
			n++
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil || n != 1_000_000 {
			b.Fatal(n, err)
		}
	}
}
