package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// hostile is what a source may send as a name.
const hostile = "=HYPERLINK(\"http://evil\",\"x\")\r\n;<b>,é\u202e"

var at = events.MillisOf(time.Date(2026, 3, 4, 8, 30, 15, 250e6, time.UTC))

func sampleEvent(i int) *events.Event {
	e := &events.Event{
		Kind: events.SignIn, Tenant: "acme", User: events.User{ID: fmt.Sprintf("u%d", i), Name: hostile, Privileged: events.Yes}, Time: at + events.Millis(i),
		Ingested: at + 500, Source: events.Source{Name: "entra", Family: "entra", ID: fmt.Sprint(i), Category: "SignInLogs"}, Outcome: events.Success, Code: "0",
		Interactive: events.Yes, App: events.Ref{ID: "app1", Name: "Mail"}, Session: events.Session{ID: "s1"}, IP: "192.0.2.7",
		Network: events.Network{Prefix: "192.0.2.0/24", ASN: 64500, Org: "Example, Inc.", Classes: []events.Class{events.VPN, events.Hosting}},
		Place:   events.Place{Lat: -33.9, Lon: 18.4, RadiusKm: 20, City: "Cape Town", Country: "ZA"},
		Device:  events.Device{ID: "d1", OS: "Windows", Browser: "Edge", Type: "desktop", Managed: events.No}, UserAgent: "Mozilla/5.0",
		Auth: events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "push"}},
	}
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	return e
}

func sampleFinding(i int) *events.Finding {
	e := sampleEvent(i)
	f := &events.Finding{
		Detection: "LOC-01", Version: 3, Title: "Impossible travel", Summary: "@SUM(1) " + hostile, Tenant: e.Tenant, User: e.User, EventID: e.ID, Anchors: []string{"aa"},
		Time: e.Time, Ingested: e.Ingested, Severity: events.High, Disposition: events.Active, Technique: "T1078.004",
		Evidence: events.Evidence{Sight: events.SightOf(e), Travel: &events.Travel{SpeedKmh: 4321.5, DistanceKm: 9000}},
		Decision: &events.Decision{Policy: "travel", Version: "1-abc", Action: events.StepUp, Requirement: "r1", Reason: "because"},
	}
	f.ID = events.FindingID(f.Detection, f.Version, f.Tenant, f.User.ID, f.EventID)
	return f
}

func sampleRequirement(i int) *report.Requirement {
	return &report.Requirement{
		ID: fmt.Sprintf("r%d", i), Tenant: "acme", User: "u1", Session: "s1", Status: report.Satisfied, Action: events.StepUp, Severity: events.High,
		ACRValues: []string{"phr", "mfa"}, MaxAge: 300, NotBefore: at, Expires: at + events.Hour, Closed: at + 1000, SatisfiedBy: "e2", Policy: "travel",
		PolicyVersion: "1-abc", Reason: "-2+3 " + hostile, EventID: "e1", JTI: "j1", Claims: json.RawMessage(`{"jti":"j1"}`),
	}
}

func sampleAudit(i int) *events.AuditEntry {
	e := &events.AuditEntry{
		Time: at + events.Millis(i), Tenant: "acme", Actor: "+" + hostile, Via: events.ViaOIDC, Action: "finding.triage", Target: "f1", User: "u1", Detail: "\tx",
		Outcome: events.AuditDone, Address: "192.0.2.9", Request: "q1",
	}
	e.ID = events.AuditID(e)
	return e
}

// samples are n records of a kind.
func samples(t *testing.T, kind string, n int) [][]byte {
	t.Helper()
	list := make([][]byte, n)
	for i := range list {
		var v any
		switch kind {
		case report.ExportEvents:
			v = sampleEvent(i)
		case report.ExportFindings:
			v = sampleFinding(i)
		case report.ExportRevocations:
			v = sampleRequirement(i)
		case report.ExportAudit:
			v = sampleAudit(i)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = b
	}
	return list
}

var kinds = []string{report.ExportEvents, report.ExportFindings, report.ExportRevocations, report.ExportAudit}

// encode writes records whose bytes are overwritten afterwards, as those of the history are.
func encode(t *testing.T, kind string, format Format, records [][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	e, err := New(&b, kind, format)
	if err != nil {
		t.Fatal(err)
	}
	var shared []byte
	for _, r := range records {
		shared = append(shared[:0], r...)
		if err := e.Write(shared); err != nil {
			t.Fatalf("%s as %s: %v", kind, format, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCSVReadsBack(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		file := encode(t, kind, CSV, samples(t, kind, 3))
		if !bytes.HasSuffix(file, []byte("\r\n")) || bytes.Contains(bytes.ReplaceAll(file, []byte("\r\n"), nil), []byte("\r")) {
			t.Errorf("%s: lines do not end with CR LF:\n%q", kind, file)
		}
		rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
		if err != nil || len(rows) != 4 {
			t.Fatalf("%s: %d rows, %v\n%s", kind, len(rows), err, file)
		}
		for _, cell := range slices.Concat(rows[1:]...) {
			if strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "@") || strings.HasPrefix(cell, "+") {
				t.Errorf("%s: a cell is a formula: %q", kind, cell)
			}
		}
	}
	rows, err := csv.NewReader(bytes.NewReader(encode(t, report.ExportEvents, CSV, samples(t, report.ExportEvents, 1)))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i, name := range rows[0] {
		got[name] = rows[1][i]
	}
	want := map[string]string{
		"time": "2026-03-04T08:30:15.250Z", "user": "u0", "user_name": "'" + strings.ReplaceAll(hostile, "\r\n", "\n"), "privileged": "true", "managed": "false",
		"compliant": "", "lat": "-33.9", "asn": "64500", "org": "Example, Inc.", "network_classes": "vpn hosting", "methods": "password push", "resource": "",
	}
	for name := range got {
		if _, wanted := want[name]; !wanted {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
}

func readBack[T any](t *testing.T, file []byte) []T {
	t.Helper()
	rows, err := parquet.Read[T](bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestParquetReadsBack(t *testing.T) {
	t.Parallel()
	const n = groupRows + 5
	records := samples(t, report.ExportEvents, n)
	file := encode(t, report.ExportEvents, Parquet, records)
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.RowGroups()) != 2 {
		t.Errorf("%d row groups, want 2: a group is what is held in memory", len(f.RowGroups()))
	}
	rows := readBack[event](t, file)
	if len(rows) != n {
		t.Fatalf("%d rows, want %d", len(rows), n)
	}
	for _, i := range []int{0, 1, groupRows - 1, groupRows, n - 1} {
		e, err := events.Decode(records[i])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rows[i], eventRow(e, records[i])); diff != "" {
			t.Fatalf("row %d (-got, +want)\n%s", i, diff)
		}
	}
	findings := samples(t, report.ExportFindings, 2)
	want := findingRow(sampleFinding(1), findings[1])
	if diff := cmp.Diff(readBack[finding](t, encode(t, report.ExportFindings, Parquet, findings))[1], want); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	requirements := samples(t, report.ExportRevocations, 1)
	if diff := cmp.Diff(readBack[requirement](t, encode(t, report.ExportRevocations, Parquet, requirements))[0], requirementRow(sampleRequirement(0), requirements[0])); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	entries := samples(t, report.ExportAudit, 1)
	if diff := cmp.Diff(readBack[audit](t, encode(t, report.ExportAudit, Parquet, entries))[0], auditRow(sampleAudit(0), entries[0])); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	// An empty file is a file.
	if rows := readBack[audit](t, encode(t, report.ExportAudit, Parquet, nil)); len(rows) != 0 {
		t.Errorf("%d rows of nothing", len(rows))
	}
}

func TestNDJSONIsTheRecordsOneALine(t *testing.T) {
	t.Parallel()
	file := encode(t, report.ExportEvents, NDJSON, [][]byte{[]byte("{\n \"id\": \"1\",\r\n \"x\": \"<a\\nb>\"}"), []byte(`{"id":"2"}`)})
	if want := "{\"id\":\"1\",\"x\":\"<a\\nb>\"}\n{\"id\":\"2\"}\n"; string(file) != want {
		t.Errorf("got %q, want %q", file, want)
	}
}

func TestWhatIsBrokenEndsTheExport(t *testing.T) {
	t.Parallel()
	for _, format := range Formats {
		for _, kind := range kinds {
			e, err := New(io.Discard, kind, format)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Write([]byte(`{"time":`)); err == nil {
				t.Errorf("%s as %s: half a record was taken", kind, format)
			}
		}
	}
	if _, err := New(io.Discard, "secrets", CSV); err == nil {
		t.Error("an unknown kind")
	}
	if _, err := New(io.Discard, report.ExportAudit, "xlsx"); err == nil {
		t.Error("an unknown format")
	}
}

func TestMemoryDoesNotGrowWithTheFile(t *testing.T) { //nolint:paralleltest // it measures memory
	record := samples(t, report.ExportEvents, 1)[0]
	record = append(record[:len(record)-1], `,"ballast":"`+strings.Repeat("x", 8<<10)+`"}`...)
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, format := range Formats {
		e, err := New(io.Discard, report.ExportEvents, format)
		if err != nil {
			t.Fatal(err)
		}
		const size = 40 * groupBytes
		before := live()
		for range size / len(record) {
			if err := e.Write(record); err != nil {
				t.Fatal(err)
			}
		}
		if grown := live() - before; grown > 7*groupBytes {
			t.Errorf("%s holds %d MB of a file of %d MB", format, grown>>20, size>>20)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzGuard(f *testing.F) {
	for _, s := range []string{"", "=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", " =1", "\ufeff=1", "＝1", "'=1", "a", "a;=1", "é", "\x00=1", "\xff", "\" \"", "\u3000=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		guarded := Guard(text)
		if guarded != text && guarded != "'"+text {
			t.Errorf("%q became %q", text, guarded)
		}
		begin := strings.TrimLeft(guarded, " \u00a0\u3000\ufeff\x00")
		for _, sign := range []string{"=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"} {
			if strings.HasPrefix(begin, sign) {
				t.Errorf("%q begins as a formula", guarded)
			}
		}
		// In a file it is one cell, which reads back.
		e := &csvEncoder[events.Event, event]{}
		e.cell(text)
		e.cell("end")
		rows, err := csv.NewReader(bytes.NewReader(e.line)).ReadAll()
		if err != nil || len(rows) != 1 || len(rows[0]) != 2 {
			t.Fatalf("%q reads as %q, %v", e.line, rows, err)
		}
		clean := strings.ToValidUTF8(strings.ReplaceAll(guarded, "\x00", ""), "\uFFFD")
		if want := strings.ReplaceAll(clean, "\r\n", "\n"); rows[0][0] != want {
			t.Errorf("%q reads back as %q", want, rows[0][0])
		}
	})
}
