package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
)

// A typedRow holds one value of every column type that countersign stores.
type typedRow struct {
	ID   uint64            `ch:"id"`
	Str  string            `ch:"str"`
	Low  string            `ch:"low"`
	Fix  string            `ch:"fix"`
	U8   uint8             `ch:"u8"`
	U16  uint16            `ch:"u16"`
	U32  uint32            `ch:"u32"`
	I8   int8              `ch:"i8"`
	I64  int64             `ch:"i64"`
	F32  float32           `ch:"f32"`
	F64  float64           `ch:"f64"`
	TS   time.Time         `ch:"ts"`
	Day  time.Time         `ch:"day"`
	IP   net.IP            `ch:"ip"`
	Yes  bool              `ch:"yes"`
	Arr  []string          `ch:"arr"`
	LArr []string          `ch:"larr"`
	Map  map[string]string `ch:"map"`
	NStr *string           `ch:"nstr"`
	NF   *float64          `ch:"nf"`
	NLow *string           `ch:"nlow"`
	Enum string            `ch:"enum"`
	UUID string            `ch:"uuid"`
	Nest [][]uint32        `ch:"nest"`
}

const typedColumns = `id UInt64, str String, low LowCardinality(String), fix FixedString(4), u8 UInt8, u16 UInt16, u32 UInt32,
	i8 Int8, i64 Int64, f32 Float32, f64 Float64, ts DateTime64(3), day Date, ip IPv6, yes Bool, arr Array(String),
	larr Array(LowCardinality(String)), map Map(String, String), nstr Nullable(String), nf Nullable(Float64),
	nlow LowCardinality(Nullable(String)), enum Enum8('allow' = 1, 'step_up' = 2, 'negative' = -3), uuid UUID, nest Array(Array(UInt32))`

func typedRows(n int) []typedRow {
	rows := make([]typedRow, n)
	for i := range rows {
		text, f := fmt.Sprintf("text %d; '\"\\\x00\n", i), float64(i)*math.Pi
		r := typedRow{
			ID: uint64(i), Str: text, Low: fmt.Sprint("low ", i%300), Fix: fmt.Sprintf("f%03d", i%1000),
			U8: uint8(i), U16: uint16(i * 7), U32: uint32(i * 70001), I8: int8(-i), I64: math.MinInt64 + int64(i),
			F32: float32(f), F64: -f, TS: time.UnixMilli(1772612130123 + int64(i)).UTC(),
			Day: time.Date(2026, 3, 1+i%28, 0, 0, 0, 0, time.UTC), IP: net.ParseIP(fmt.Sprintf("2001:db8::%x", i%65536)),
			Yes: i%2 == 0, Arr: []string{}, LArr: []string{}, Map: map[string]string{}, Nest: [][]uint32{},
			Enum: []string{"allow", "step_up", "negative"}[i%3], UUID: fmt.Sprintf("00000000-0000-4000-8000-%012x", i),
		}
		for j := range i % 4 {
			r.Arr = append(r.Arr, fmt.Sprint(i, "/", j))
			r.LArr = append(r.LArr, fmt.Sprint("tag ", j))
			r.Map[fmt.Sprint("k", j)] = text
			r.Nest = append(r.Nest, []uint32{uint32(i), uint32(j)})
		}
		if i%3 != 0 {
			r.NStr, r.NF, r.NLow = &text, &f, &[]string{fmt.Sprint("opt ", i%5)}[0]
		}
		rows[i] = r
	}
	return rows
}

func sendRows(t testing.TB, ctx context.Context, conn clickhouse.Conn, table string, rows []typedRow) error { //nolint:revive // tests come first
	t.Helper()
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table)
	if err != nil {
		return err
	}
	defer batch.Close()
	for i := range rows {
		if err := batch.AppendStruct(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	return batch.Send()
}

func TestContractEveryType(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		conn := s.conn(t)
		table := db + ".typed"
		mustExec(t, conn, "CREATE TABLE "+table+" ("+typedColumns+") ENGINE = MergeTree ORDER BY id")
		want := typedRows(3000)
		if err := sendRows(t, t.Context(), conn, table, want); err != nil {
			t.Fatal(err)
		}
		var got []typedRow
		if err := conn.Select(t.Context(), &got, "SELECT * FROM "+table+" ORDER BY id"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Fatalf("(-got, +want)\n%.4000s", diff)
		}
		// An IPv4 address travels in its IPv6 form.
		mustExec(t, conn, "INSERT INTO "+table+" (id, ip) VALUES (9999999, '192.0.2.10')")
		if ip := scanOne[net.IP](t, conn, "SELECT ip FROM "+table+" WHERE id = 9999999"); !ip.Equal(net.ParseIP("192.0.2.10")) {
			t.Errorf("got %s", ip)
		}
	})
}

// Column types of results that no table of ours has, but that a query yields.
func TestContractExpressionTypes(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		conn := s.conn(t)
		for _, c := range []struct{ expression, want string }{
			{"toDecimal64('12.345', 3)", "12.345"},
			{"tuple(1, 'a')", "(1,'a')"},
			{"[tuple(1, 'a'), tuple(2, 'b')]", "[(1,'a'),(2,'b')]"},
			{"map('a', [1, 2])", "{'a':[1,2]}"},
			{"toDateTime('2026-03-04 08:15:30', 'Europe/Amsterdam')", "2026-03-04 08:15:30"},
			{"NULL", "\\N"},
			{"nan", "nan"},
			{"toIPv4('192.0.2.1')", "192.0.2.1"},
			{"toUInt256('115792089237316195423570985008687907853269984665640564039457584007913129639935')", "115792089237316195423570985008687907853269984665640564039457584007913129639935"},
			{"toLowCardinality(toNullable('x'))", "x"},
			{"arrayMap(x -> toLowCardinality(toString(x)), range(3))", "['0','1','2']"},
			{"CAST([], 'Array(LowCardinality(String))')", "[]"},
			{"INTERVAL 3 DAY", "3"},
			{"finalizeAggregation(uniqState(1))", "1"},
			{"quantilesTDigest(0.5)(1)", "[1]"},
		} {
			rows, err := conn.Query(t.Context(), "SELECT toString(v) AS want, v FROM (SELECT "+c.expression+" AS v)")
			if err != nil {
				t.Errorf("%s: %v", c.expression, err)
				continue
			}
			n := 0
			for rows.Next() {
				n++
			}
			if rows.Err() != nil || n != 1 {
				t.Errorf("%s: %d rows, error %v", c.expression, n, rows.Err())
			}
			rows.Close()
			if c.want == "\\N" {
				continue
			}
			if got := scanOne[string](t, conn, "SELECT toString("+c.expression+")"); got != c.want {
				t.Errorf("%s is %s, want %s", c.expression, got, c.want)
			}
		}
	})
}

func TestContractDeduplicationToken(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		conn := s.conn(t)
		table := db + ".dedup"
		mustExec(t, conn, "CREATE TABLE "+table+" ("+typedColumns+") ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000")
		rows := typedRows(10)
		send := func(token string) {
			ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{
				"insert_deduplication_token": token, "async_insert": 0,
			}))
			if err := sendRows(t, ctx, conn, table, rows); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			send("events.v1/3/100-110; it's")
		}
		if n := scanOne[uint64](t, conn, "SELECT count() FROM "+table); n != 10 {
			t.Errorf("three inserts with one token left %d rows, want 10", n)
		}
		send("events.v1/3/110-120")
		if n := scanOne[uint64](t, conn, "SELECT count() FROM "+table); n != 20 {
			t.Errorf("another token: %d rows, want 20", n)
		}
	})
}

func TestContractMillionRowsBothWays(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		conn := s.conn(t)
		const n = 1_000_000
		table := db + ".big"
		mustExec(t, conn, "CREATE TABLE "+table+" (id UInt64, s String) ENGINE = MergeTree ORDER BY id")
		ctx := clickhouse.Context(t.Context(), clickhouse.WithColumnNamesAndTypes([]clickhouse.ColumnNameAndType{{Name: "id", Type: "UInt64"}, {Name: "s", Type: "String"}}))
		batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table+" (id, s)")
		if err != nil {
			t.Fatal(err)
		}
		defer batch.Close()
		ids, texts := make([]uint64, n), make([]string, n)
		for i := range ids {
			ids[i], texts[i] = uint64(i), fmt.Sprint("row ", i)
		}
		if err := errors.Join(batch.Column(0).Append(ids), batch.Column(1).Append(texts), batch.Send()); err != nil {
			t.Fatal(err)
		}
		rows, err := conn.Query(t.Context(), "SELECT id, s FROM "+table+" ORDER BY id")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		next := uint64(0)
		for rows.Next() {
			var id uint64
			var text string
			if err := rows.Scan(&id, &text); err != nil {
				t.Fatal(err)
			}
			if id != next || text != texts[id] {
				t.Fatalf("row %d is (%d, %q)", next, id, text)
			}
			next++
		}
		if err := rows.Err(); err != nil || next != n {
			t.Fatalf("got %d rows and error %v, want %d", next, err, n)
		}
	})
}

// A statement that fails after its first rows were sent must not pass for a
// short result.
func TestContractMidStreamError(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		conn := s.conn(t)
		for _, columns := range []string{"number", "number, toString(number), [toLowCardinality('x')]"} {
			rows, err := conn.Query(t.Context(), "SELECT "+columns+", throwIf(number = 400000, 'in mid stream') FROM numbers(1000000) SETTINGS max_threads = 1, max_block_size = 1000")
			n := 0
			if err == nil {
				for rows.Next() {
					n++
				}
				err = rows.Err()
				rows.Close()
			}
			wantCode(t, err, 395)
			if s.embedded && n == 0 {
				t.Error("no row came before the error: the result is not streamed")
			}
		}
	})
}

func TestContractConcurrentClients(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		o := s.options()
		o.MaxOpenConns = 32
		conn := s.open(t, o)
		table := db + ".shared"
		mustExec(t, conn, "CREATE TABLE "+table+" ("+typedColumns+") ENGINE = MergeTree ORDER BY id")
		var wg sync.WaitGroup
		for worker := range 16 {
			wg.Go(func() {
				for i := range 10 {
					block := 100 + worker*10 + i
					ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_block_size": block}))
					if err := sendRows(t, ctx, conn, table, typedRows(20)); err != nil {
						t.Error(err)
						return
					}
					var got, sum uint64
					if err := conn.QueryRow(ctx, "SELECT toUInt64(getSetting('max_block_size')), sum(number) FROM numbers({n:UInt64})", clickhouse.Named("n", block)).Scan(&got, &sum); err != nil {
						t.Error(err)
						return
					}
					if got != uint64(block) || sum != uint64(block*(block-1)/2) {
						t.Errorf("request %d was answered (%d, %d): requests mix", block, got, sum)
					}
					_, err := conn.Query(t.Context(), "SELECT nope")
					var e *clickhouse.Exception
					if !errors.As(err, &e) || e.Code != 47 {
						t.Errorf("got %v, want code 47", err)
					}
				}
			})
		}
		wg.Wait()
		if n := scanOne[uint64](t, conn, "SELECT count() FROM "+table); n != 16*10*20 {
			t.Errorf("got %d rows, want %d", n, 16*10*20)
		}
	})
}

// rawRequest speaks HTTP without clickhouse-go.
func rawRequest(t testing.TB, s service, method, path string, header map[string]string, body io.Reader) *http.Response {
	t.Helper()
	o := s.options()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+o.Addr[0]+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-ClickHouse-User", o.Auth.Username)
	req.Header.Set("X-ClickHouse-Key", o.Auth.Password)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestContractCutInsertBodyLeavesTheConnectionSound(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		conn := s.conn(t)
		mustExec(t, conn, "CREATE TABLE "+db+".cut (id UInt64) ENGINE = MergeTree ORDER BY id")
		o := s.options()
		for range 5 {
			c, err := net.Dial("tcp", o.Addr[0])
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "POST /?query=INSERT+INTO+%s.cut+FORMAT+Native HTTP/1.1\r\nHost: x\r\nX-ClickHouse-User: %s\r\nX-ClickHouse-Key: %s\r\nContent-Length: 800021\r\n\r\n",
				db, o.Auth.Username, o.Auth.Password)
			// A block of 100000 rows of which the first 1000 arrive.
			block := append([]byte{1, 0xa0, 0x8d, 0x06, 2, 'i', 'd', 6}, "UInt64"...)
			c.Write(append(block, bytes.Repeat([]byte{1}, 8000)...)) //nolint:errcheck // cut off on purpose
			c.Close()
		}
		if err := sendIDs(t, conn, db+".cut", 7); err != nil {
			t.Fatal(err)
		}
		if n := scanOne[uint64](t, conn, "SELECT count() FROM "+db+".cut WHERE id = 7"); n != 1 {
			t.Errorf("got %d rows after cut inserts, want 1", n)
		}
		if n := scanOne[uint64](t, conn, "SELECT count() FROM "+db+".cut"); n != 1 {
			t.Errorf("a cut block left %d rows", n-1)
		}
	})
}

func sendIDs(t testing.TB, conn clickhouse.Conn, table string, ids ...uint64) error {
	t.Helper()
	ctx := clickhouse.Context(t.Context(), clickhouse.WithColumnNamesAndTypes([]clickhouse.ColumnNameAndType{{Name: "id", Type: "UInt64"}}),
		clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table+" (id)")
	if err != nil {
		return err
	}
	defer batch.Close()
	return errors.Join(batch.Column(0).Append(ids), batch.Send())
}

func TestContractBrokenInsertData(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		conn := s.conn(t)
		mustExec(t, conn, "CREATE TABLE "+db+".b (id UInt64) ENGINE = MergeTree ORDER BY id")
		for name, body := range map[string]string{
			"garbage":       strings.Repeat("\xff;", 5000),
			"short":         "\x01\x05\x02id\x06UInt64\x01\x02",
			"unknown type":  "\x01\x01\x02id\x05Nopes\x01",
			"not a number":  "\x01\x01\x02id\x06String\x03abc",
			"long and late": "\x01\x01\x02id\x06UInt64" + strings.Repeat("\x01", 8) + strings.Repeat("\xff", 8<<20),
		} {
			res := rawRequest(t, s, "POST", "/?query=INSERT+INTO+"+db+".b+FORMAT+Native", nil, strings.NewReader(body))
			text, _ := io.ReadAll(res.Body)
			if res.StatusCode == http.StatusOK || res.Header.Get("X-ClickHouse-Exception-Code") == "" {
				t.Errorf("%s: got %s %q, want an exception", name, res.Status, text)
			}
		}
		wantCode(t, sendIDs(t, conn, db+".missing", 1), 60)
		if err := sendIDs(t, conn, db+".b", 1); err != nil {
			t.Fatal(err)
		}
	})
}

// Text formats and data inside the statement work as on a server.
func TestContractTextFormats(t *testing.T) {
	eachService(t, func(t *testing.T, s service, db string) {
		conn := s.conn(t)
		mustExec(t, conn, "CREATE TABLE "+db+".f (id UInt64, s String) ENGINE = MergeTree ORDER BY id")
		post := func(query, body string) string {
			t.Helper()
			path := "/"
			if query != "" {
				path = "/?query=" + strings.ReplaceAll(strings.ReplaceAll(query, "\n", "%0A"), " ", "+")
			}
			res := rawRequest(t, s, "POST", path, nil, strings.NewReader(body))
			text, _ := io.ReadAll(res.Body)
			if res.StatusCode != http.StatusOK {
				t.Errorf("%q with body %q: %s %s", query, body, res.Status, text)
			}
			return string(text)
		}
		post("INSERT INTO "+db+".f FORMAT JSONEachRow", `{"id":1,"s":"a;b"}`+"\n"+`{"id":2,"s":"c"}`)
		post("", "INSERT INTO "+db+".f FORMAT TabSeparated\n3\td;e\n4\tf\n")
		post("", "INSERT INTO "+db+".f VALUES (5, 'g;h'), (6, 'i')")
		post("INSERT INTO "+db+".f VALUES", "(7, 'j;k')")
		post("INSERT INTO "+db+".f FORMAT CSV\n8,l\n", "9,m\n")
		post("", "INSERT INTO "+db+".f SELECT id + 10, s FROM "+db+".f")
		want := "1\ta;b\n2\tc\n3\td;e\n4\tf\n5\tg;h\n6\ti\n7\tj;k\n8\tl\n9\tm\n"
		if got := post("", "SELECT * FROM "+db+".f WHERE id < 10 ORDER BY id"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := post("", "SELECT count() AS n FROM "+db+".f FORMAT JSONEachRow"); strings.TrimSpace(got) != `{"n":18}` && strings.TrimSpace(got) != `{"n":"18"}` {
			t.Errorf("got %q", got)
		}
	})
}
