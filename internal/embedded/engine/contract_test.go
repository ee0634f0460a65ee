package engine_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
)

// A service is a ClickHouse that the contract is checked on.
type service struct {
	name     string
	embedded bool
	options  func() *clickhouse.Options
}

// eachService runs a contract test against the embedded engine, and against
// the real server at CLICKHOUSE_ADDR (a DSN like http://user:key@host:8123/)
// when that is set. Each run has a database of its own.
func eachService(t *testing.T, test func(t *testing.T, s service, db string)) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		e := enginetest.Shared(t)
		s := service{"embedded", true, func() *clickhouse.Options { return parseDSN(t, e.DSN()) }}
		test(t, s, s.createDatabase(t))
	})
	if dsn := os.Getenv("CLICKHOUSE_ADDR"); dsn != "" {
		t.Run("server", func(t *testing.T) {
			t.Parallel()
			s := service{"server", false, func() *clickhouse.Options { return parseDSN(t, dsn) }}
			test(t, s, s.createDatabase(t))
		})
	}
}

func parseDSN(t testing.TB, dsn string) *clickhouse.Options {
	t.Helper()
	o, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (s service) open(t testing.TB, o *clickhouse.Options) clickhouse.Conn {
	t.Helper()
	conn, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (s service) conn(t testing.TB) clickhouse.Conn { return s.open(t, s.options()) }

func (s service) createDatabase(t *testing.T) string {
	t.Helper()
	db := "contract_" + strings.ToLower(rand.Text()[:12])
	mustExec(t, s.conn(t), "CREATE DATABASE "+db)
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		conn, err := clickhouse.Open(s.options())
		if err == nil {
			defer conn.Close()
			err = conn.Exec(ctx, "DROP DATABASE "+db)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return db
}

func mustExec(t testing.TB, conn clickhouse.Conn, sql string, args ...any) {
	t.Helper()
	if err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func scanOne[T any](t testing.TB, conn clickhouse.Conn, sql string, args ...any) T {
	t.Helper()
	return scanOneCtx[T](t, t.Context(), conn, sql, args...)
}

func scanOneCtx[T any](t testing.TB, ctx context.Context, conn clickhouse.Conn, sql string, args ...any) (v T) { //nolint:revive // tests come first
	t.Helper()
	if err := conn.QueryRow(ctx, sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// wantCode fails unless err is a typed exception with the code.
func wantCode(t testing.TB, err error, code int32) {
	t.Helper()
	var e *clickhouse.Exception
	if !errors.As(err, &e) {
		t.Fatalf("got error %v (%T), want a ClickHouse exception with code %d", err, err, code)
	}
	if e.Code != code {
		t.Fatalf("got code %d (%s), want %d", e.Code, e.Message, code)
	}
}

func TestContractErrorCodes(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		conn := s.conn(t)
		mustExec(t, conn, fmt.Sprintf("CREATE TABLE %s.t (a UInt8, s String) ENGINE = MergeTree ORDER BY a", db))
		for _, c := range []struct {
			name, sql string
			code      int32
		}{
			{"unknown column", "SELECT nope", 47},
			{"unknown table", "SELECT * FROM " + db + ".nope", 60},
			{"unknown database", "SELECT * FROM nope_db.nope", 81},
			{"syntax", "SELEC 1", 62},
			{"syntax in select", "SELECT FROM WHERE", 62},
			{"multi statement", "SELECT 1; SELECT 2", 62},
			{"unknown function", "SELECT no_such_function(1)", 46},
			{"bad number", "SELECT toUInt8('abc')", 6},
			{"type mismatch", "SELECT 1 + 'a'", 43},
			{"throwIf", "SELECT throwIf(1)", 395},
			{"timeout", "SELECT sleepEachRow(0.05) FROM numbers(100) SETTINGS max_execution_time = 0.2, max_block_size = 1", 159},
			{"memory", "SELECT groupArray(number) FROM numbers(100000000) SETTINGS max_memory_usage = 10000000", 241},
			{"table exists", "CREATE TABLE " + db + ".t (a UInt8) ENGINE = MergeTree ORDER BY a", 57},
			{"unknown setting in text", "SELECT 1 SETTINGS no_such_setting = 1", 115},
			{"missing parameter", "SELECT {missing:UInt8}", 456},
			{"too many rows", "SELECT number FROM numbers(1000) SETTINGS max_result_rows = 10, result_overflow_mode = 'throw'", 396},
		} {
			t.Run(c.name, func(t *testing.T) {
				rows, err := conn.Query(t.Context(), c.sql)
				if err == nil {
					for rows.Next() {
					}
					err = rows.Err()
					rows.Close()
				}
				wantCode(t, err, c.code)
			})
		}
		wantCode(t, conn.Exec(t.Context(), "INSERT INTO "+db+".t VALUES (1, 'a') (nonsense"), 62)
		wantCode(t, conn.Exec(t.Context(), "DROP TABLE "+db+".nope"), 60)
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"no_such_setting": 1}))
		wantCode(t, conn.Exec(ctx, "SELECT 1"), 115)
		// The connection is fit for use after each of them.
		if got := scanOne[uint8](t, conn, "SELECT 7"); got != 7 {
			t.Errorf("got %d, want 7", got)
		}
	})
}

func TestContractWrongPassword(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		o := s.options()
		o.Auth.Password = "wrong"
		wantCode(t, s.open(t, o).Ping(t.Context()), 516)
	})
}

func TestContractDefaultDatabase(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		o := s.options()
		o.Auth.Database = db
		conn := s.open(t, o)
		mustExec(t, conn, "CREATE TABLE here (a UInt8) ENGINE = MergeTree ORDER BY a")
		if got := scanOne[string](t, s.conn(t), "SELECT database FROM system.tables WHERE name = 'here' AND database = {db:String}", clickhouse.Named("db", db)); got != db {
			t.Errorf("table is in %q, want %q", got, db)
		}
		o = s.options()
		o.Auth.Database = "no_such_database"
		wantCode(t, s.open(t, o).Ping(t.Context()), 81)
	})
}

func TestContractParameters(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		conn := s.conn(t)
		for _, value := range []string{
			"", "plain", "it's", `"double"`, "semi;colon; DROP TABLE x", "back\\slash", "tab\tnew\nline\r",
			"`tick`", "{brace:String}", "-- comment", "/* c */", "ünïcödé 🛂", "nul\x00byte", "NULL", `\N`, "%27", "+ &=?#",
		} {
			got := scanOne[string](t, conn, "SELECT {v:String}", clickhouse.Named("v", value))
			if got != value {
				t.Errorf("parameter %q came back as %q", value, got)
			}
		}
		if got := scanOne[uint64](t, conn, "SELECT count() FROM numbers(100) WHERE number IN {ids:Array(UInt64)}", clickhouse.Named("ids", []uint64{1, 2, 300})); got != 2 {
			t.Errorf("got %d rows for an array parameter, want 2", got)
		}
		at := time.Date(2026, 3, 4, 8, 15, 30, 123e6, time.UTC)
		got := scanOne[time.Time](t, conn, "SELECT {t:DateTime64(3)}", clickhouse.DateNamed("t", at, clickhouse.MilliSeconds))
		if !got.Equal(at) {
			t.Errorf("got %s, want %s", got, at)
		}
		if got := scanOne[uint8](t, conn, "SELECT {n:Nullable(UInt8)} IS NULL", clickhouse.Named("n", nil)); got != 1 {
			t.Error("a NULL parameter is not NULL")
		}
		// An identifier cannot break out of its quotes.
		mustExec(t, conn, "CREATE TABLE "+db+".`we``ird;` (a UInt8) ENGINE = MergeTree ORDER BY a")
		if got := scanOne[uint64](t, conn, "SELECT count() FROM {db:Identifier}.{t:Identifier}", clickhouse.Named("db", db), clickhouse.Named("t", "we`ird;")); got != 0 {
			t.Errorf("got %d, want 0", got)
		}
	})
}

func TestContractSettingsDoNotLeak(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		o := s.options()
		o.MaxOpenConns, o.MaxIdleConns = 1, 1
		conn := s.open(t, o)
		before := scanOne[uint64](t, conn, "SELECT toUInt64(getSetting('max_block_size'))")
		for range 3 {
			ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{
				"max_block_size": 1234, "log_comment": `quo'te\;`,
			}))
			if got := scanOneCtx[uint64](t, ctx, conn, "SELECT toUInt64(getSetting('max_block_size'))"); got != 1234 {
				t.Fatalf("the setting did not apply: %d", got)
			}
			if got := scanOneCtx[string](t, ctx, conn, "SELECT getSetting('log_comment')"); got != `quo'te\;` {
				t.Fatalf("the setting came as %q", got)
			}
			if got := scanOne[uint64](t, conn, "SELECT toUInt64(getSetting('max_block_size'))"); got != before {
				t.Fatalf("the setting leaked: %d, was %d", got, before)
			}
		}
		// Session state ends with its request too.
		mustExec(t, conn, "SET max_block_size = 4321")
		mustExec(t, conn, "USE system")
		if got := scanOne[uint64](t, conn, "SELECT toUInt64(getSetting('max_block_size'))"); got != before {
			t.Errorf("SET leaked: %d", got)
		}
		if got := scanOne[string](t, conn, "SELECT currentDatabase()"); got == "system" {
			t.Error("USE leaked")
		}
		mustExec(t, conn, "CREATE TEMPORARY TABLE leaked (a UInt8)")
		_, err := conn.Query(t.Context(), "SELECT * FROM leaked")
		wantCode(t, err, 60)
	})
}

func TestContractStatementsThatReturnTables(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		conn := s.conn(t)
		mustExec(t, conn, "CREATE TABLE "+db+".t (a UInt8, b LowCardinality(String)) ENGINE = MergeTree ORDER BY a")
		for _, c := range []struct {
			sql  string
			rows int // -1: some
		}{
			{"SHOW TABLES FROM " + db, 1},
			{"DESCRIBE TABLE " + db + ".t", 2},
			{"EXISTS TABLE " + db + ".t", 1},
			{"SHOW CREATE TABLE " + db + ".t", 1},
			{"EXPLAIN SELECT 1", -1},
			{"(SELECT 1) UNION ALL (SELECT 2)", 2},
			{"WITH 1 AS x SELECT x", 1},
			{"/* comment */ SELECT 1 -- end", 1},
			{"SELECT 1;", 1},
			{"SELECT 1 FORMAT Native", 1},
			{"SELECT 1 AS format", 1},
			{"SELECT * FROM " + db + ".t", 0},
			{"SELECT number FROM numbers(3) SETTINGS max_threads = 1", 3},
			{"SELECT name FROM system.columns WHERE database = '" + db + "'", 2},
		} {
			rows, err := conn.Query(t.Context(), c.sql)
			if err != nil {
				t.Errorf("%s: %v", c.sql, err)
				continue
			}
			n := 0
			for rows.Next() {
				n++
			}
			if err := rows.Err(); err != nil {
				t.Errorf("%s: %v", c.sql, err)
			}
			rows.Close()
			if c.rows >= 0 && n != c.rows || c.rows < 0 && n == 0 {
				t.Errorf("%s: got %d rows, want %d", c.sql, n, c.rows)
			}
		}
	})
}
