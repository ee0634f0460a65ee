package engine_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"

	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
)

func embedded(t testing.TB) service {
	e := enginetest.Shared(t)
	return service{"embedded", true, func() *clickhouse.Options { return parseDSN(t, e.DSN()) }}
}

func TestShimAnswers501ForWhatItDoesNotDo(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	for _, c := range []struct {
		name, method, path, body string
		header                   map[string]string
		status                   int
	}{
		{"compressed answer", "POST", "/?compress=1", "SELECT 1", nil, 501},
		{"compressed rows", "POST", "/?decompress=1", "SELECT 1", nil, 501},
		{"gzip body", "POST", "/", "SELECT 1", map[string]string{"Content-Encoding": "gzip"}, 501},
		{"external table", "POST", "/?query=SELECT+1", "--x--", map[string]string{"Content-Type": "multipart/form-data; boundary=x"}, 501},
		{"session", "POST", "/?session_id=a", "SELECT 1", nil, 501},
		{"two statements", "POST", "/", "SELECT 1; SELECT 2", nil, 501},
		{"password in URL", "POST", "/?password=x", "SELECT 1", nil, 501},
		{"rows for a SELECT", "POST", "/?query=SELECT+1", "rows", nil, 501},
		{"GET", "GET", "/?query=SELECT+1", "", nil, 501},
		{"parameter twice", "POST", "/?max_threads=1&max_threads=2", "SELECT 1", nil, 501},
		{"unknown path", "POST", "/play", "", nil, 404},
		{"unknown setting", "POST", "/?extremes=1", "SELECT 1", nil, 500},
		{"bad setting value", "POST", "/?max_threads=many", "SELECT 1", nil, 500},
		{"empty statement", "POST", "/", "", nil, 500},
		{"long statement", "POST", "/", "SELECT '" + strings.Repeat("x", 17<<20) + "'", nil, 413},
		{"uncompressed", "POST", "/?compress=0", "SELECT 1", nil, 200},
	} {
		res := rawRequest(t, s, c.method, c.path, c.header, strings.NewReader(c.body))
		text, _ := io.ReadAll(res.Body)
		if res.StatusCode != c.status {
			t.Errorf("%s: got %s %.300q, want %d", c.name, res.Status, text, c.status)
		}
		if c.status >= 500 && (res.Header.Get("X-ClickHouse-Exception-Code") == "" || !strings.HasPrefix(string(text), "Code: ")) {
			t.Errorf("%s: no exception code in %v %q", c.name, res.Header, text)
		}
	}
	table, err := ext.NewTable("external", ext.Column("a", "UInt8"))
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Append(uint8(1)); err != nil {
		t.Fatal(err)
	}
	_, err = s.conn(t).Query(clickhouse.Context(t.Context(), clickhouse.WithExternalTable(table)), "SELECT * FROM external")
	wantCode(t, err, 48)
	o := s.options()
	o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	wantCode(t, s.open(t, o).Ping(t.Context()), 48)
}

func TestShimNeedsTheKey(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	for name, header := range map[string]map[string]string{
		"none":       {"X-ClickHouse-Key": ""},
		"wrong":      {"X-ClickHouse-Key": "x"},
		"wrong user": {"X-ClickHouse-User": "admin"},
		"basic":      {"Authorization": "Basic ZGVmYXVsdDp4"}, // default:x
	} {
		res := rawRequest(t, s, "POST", "/", header, strings.NewReader("SELECT 1"))
		if res.StatusCode != http.StatusForbidden || res.Header.Get("X-ClickHouse-Exception-Code") != "516" {
			t.Errorf("%s: got %s, want 403 with code 516", name, res.Status)
		}
	}
	if res := rawRequest(t, s, "GET", "/ping", map[string]string{"X-ClickHouse-Key": ""}, nil); res.StatusCode != http.StatusOK {
		t.Errorf("/ping: got %s", res.Status)
	}
}

func TestShimListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	addr, err := net.ResolveTCPAddr("tcp", enginetest.Shared(t).Addr())
	if err != nil || !addr.IP.IsLoopback() {
		t.Errorf("listens on %v, %v", addr, err)
	}
}

// An aggregate state cannot be decoded: the error must come in place of the
// result, not after a part of it.
func TestShimRefusesAggregateStates(t *testing.T) {
	t.Parallel()
	res := rawRequest(t, embedded(t), "POST", "/?default_format=Native&client_protocol_version=54460", nil, strings.NewReader("SELECT uniqState(number) FROM numbers(10)"))
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusInternalServerError || !strings.Contains(string(text), "AggregateFunction") {
		t.Errorf("got %s %q, want 500 that names the type", res.Status, text)
	}
}

func TestShimCapsMemoryAndThreads(t *testing.T) {
	t.Parallel()
	conn := embedded(t).conn(t)
	for _, asked := range []any{0, uint64(1) << 40} {
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_memory_usage": asked}))
		if got := scanOneCtx[uint64](t, ctx, conn, "SELECT toUInt64(getSetting('max_memory_usage'))"); got != 1<<30 {
			t.Errorf("max_memory_usage=%v gave %d, want the bound", asked, got)
		}
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_memory_usage": 5_000_000}))
	if got := scanOneCtx[uint64](t, ctx, conn, "SELECT toUInt64(getSetting('max_memory_usage'))"); got != 5_000_000 {
		t.Errorf("a lower max_memory_usage gave %d", got)
	}
	if got := scanOne[uint64](t, conn, "SELECT toUInt64(getSetting('max_memory_usage'))"); got != 1<<30 {
		t.Errorf("without a setting max_memory_usage is %d", got)
	}
}

// A client that leaves in mid result frees its place: more leave than there
// are places, and the next statement still runs.
func TestShimClientThatLeavesFreesItsPlace(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	conn := s.conn(t)
	for range 12 {
		ctx, cancel := context.WithCancel(t.Context())
		rows, err := conn.Query(ctx, "SELECT number, repeat('x', 100) FROM numbers(100000000)")
		if err != nil {
			cancel()
			t.Fatal(err)
		}
		if !rows.Next() {
			t.Error("no row")
		}
		cancel()
		rows.Close()
	}
	if got := scanOne[uint8](t, s.conn(t), "SELECT 1"); got != 1 {
		t.Error("no answer")
	}
}
