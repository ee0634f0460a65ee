package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/source/entra"
	"github.com/countersign-io/countersign/internal/source/native"
	"github.com/countersign-io/countersign/internal/source/session"
	"github.com/countersign-io/countersign/internal/stream"
)

// log is a Publisher that keeps what it is given, or fails.
type log struct {
	mu     sync.Mutex
	events []events.Event
	dead   []events.DeadLetter
	// receipts are kept with their keys.
	receipts map[string][]events.Receipt
	err      error
}

func (l *log) Publish(_ context.Context, topic string, records []stream.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	for _, r := range records {
		switch topic {
		case events.TopicEvents:
			e, err := events.Decode(r.Value)
			if err != nil {
				return err
			}
			if string(r.Key) != e.Key() {
				return fmt.Errorf("key %q of %q", r.Key, e.Key())
			}
			l.events = append(l.events, *e)
		case events.TopicReceipts:
			receipt, err := events.DecodeReceipt(r.Value)
			if err != nil {
				return err
			}
			if l.receipts == nil {
				l.receipts = map[string][]events.Receipt{}
			}
			l.receipts[string(r.Key)] = append(l.receipts[string(r.Key)], *receipt)
		case events.TopicDeadLetter:
			d, err := events.DecodeDeadLetter(r.Value)
			if err != nil {
				return err
			}
			l.dead = append(l.dead, *d)
		}
	}
	return nil
}

func (l *log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

const secret = "a-secret-of-thirty-characters!"

// now is the time at which the tests' requests arrive.
var now = time.Date(2026, 3, 4, 8, 20, 0, 0, time.UTC)

func newPipeline(t testing.TB, to Publisher) *Pipeline {
	t.Helper()
	places, err := geo.Open(geo.DefaultConfig(), geo.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPipeline(DefaultPipelineConfig(), PipelineDeps{Publisher: to, Geo: places, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func decoders() map[string]Decoder {
	return map[string]Decoder{FormatEvent: native.Decoder{}, FormatSession: session.Reports(), "entra-eventhub": entra.EventHub()}
}

func newServer(t testing.TB, to Publisher, change func(*Config)) *httptest.Server {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Tokens = []TokenConfig{{File: token, Source: "test", Tenants: []string{"acme"}, Formats: []string{"*"}}}
	cfg.PublishTimeout = 2 * time.Second
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, Deps{Pipeline: newPipeline(t, to), Decoders: decoders()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server
}

type reply struct {
	status int
	header http.Header
	answer
}

func send(t testing.TB, server *httptest.Server, body io.Reader, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/events", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "query" {
			req.URL.RawQuery = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	r := reply{status: res.StatusCode, header: res.Header}
	if err := json.NewDecoder(res.Body).Decode(&r.answer); err != nil {
		t.Fatalf("status %d: %v", res.StatusCode, err)
	}
	return r
}

func line(id, more string) string {
	return fmt.Sprintf(`{"kind":"sign_in","tenant":"acme","user":{"id":"u1"},"time":"2026-03-04T08:15:30Z","source":{"id":%q}%s}`, id, more)
}

func TestEveryBadRecordIsAnsweredAndKeptAndStopsNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ record, says string }{
		"truncated":         {`{"kind":"sign_in","tenant":"ac`, ""},
		"not an object":     {`17`, ""},
		"wrong type":        {line("x", `,"user":17`), "user"},
		"wrong nested type": {line("x", `,"place":{"lat":"north"}`), "lat"},
		"unknown kind":      {strings.Replace(line("x", ""), "sign_in", "dance", 1), "kind: "},
		"future":            {strings.Replace(line("x", ""), "08:15", "09:15", 1), "time: "},
		"ancient":           {strings.Replace(line("x", ""), "2026", "1999", 1), "time: "},
		"no such day":       {strings.Replace(line("x", ""), "03-04", "02-31", 1), "time"},
		"not UTF-8":         {line("x", ",\"reason\":\"\xff\xfe\""), "UTF-8"},
		"invalid address":   {line("x", `,"ip":"300.1.1.1"`), "ip: "},
		"foreign tenant":    {strings.Replace(line("x", ""), "acme", "globex", 1), "tenant: "},
		"bad tenant":        {strings.Replace(line("x", ""), "acme", "a/b", 1), "tenant: "},
		"no user":           {strings.Replace(line("x", ""), `"id":"u1"`, `"id":""`, 1), "user.id: "},
		"control character": {strings.Replace(line("x", ""), `"u1"`, `"u\u0000"`, 1), "user.id: "},
		"ten megabytes":     {line("x", `,"reason":"`+strings.Repeat("x", 10<<20)+`"`), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := &log{}
			server := newServer(t, to, nil)
			body := line("before", "") + "\n" + tc.record + "\n" + line("after", "") + "\n"
			r := send(t, server, strings.NewReader(body), "Content-Type", "application/x-ndjson")
			if r.status != http.StatusOK || r.Accepted != 2 || len(r.Rejected) != 1 {
				t.Fatalf("answered %d: %+v", r.status, r.answer)
			}
			if r.Rejected[0].Line != 2 || !strings.Contains(r.Rejected[0].Error, tc.says) || r.Rejected[0].Error == "" {
				t.Errorf("rejected as %+v, want line 2 and %q", r.Rejected[0], tc.says)
			}
			if len(to.events) != 2 || len(to.dead) != 1 {
				t.Fatalf("%d events and %d dead letters on the log", len(to.events), len(to.dead))
			}
			d := to.dead[0]
			if d.Size != len(tc.record) || !bytes.HasPrefix([]byte(tc.record), d.Bytes) || len(d.Bytes) == 0 || d.Reason != r.Rejected[0].Error {
				t.Errorf("dead letter of %d bytes, size %d, reason %q", len(d.Bytes), d.Size, d.Reason)
			}
		})
	}
}

func TestAcceptedEventsAreStampedAndNamed(t *testing.T) {
	t.Parallel()
	to := &log{}
	r := send(t, newServer(t, to, nil), strings.NewReader("["+line("a", `,"place":{"lat":1,"lon":2},"user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"`)+","+line("b", "")+"]"))
	if r.status != 200 || r.Accepted != 2 {
		t.Fatalf("answered %d: %+v", r.status, r.answer)
	}
	e := to.events[0]
	if e.ID != events.EventID("acme", "custom", "a") || e.Ingested != events.MillisOf(now) || e.Source.Name != "test" {
		t.Errorf("event %+v", e)
	}
	if e.Place.IsDefined() || e.ProviderPlace.Lat != 1 {
		t.Errorf("a source without trust wrote our place: %+v, provider %+v", e.Place, e.ProviderPlace)
	}
	if e.Device.Browser != "Firefox" || e.Device.OS != "Linux" {
		t.Errorf("device %+v", e.Device)
	}
}

func TestDuplicatesAreCountedOnce(t *testing.T) {
	t.Parallel()
	to := &log{}
	server := newServer(t, to, nil)
	r := send(t, server, strings.NewReader(line("a", "")+"\n"+line("a", "")+"\n"+line("b", "")))
	if r.Accepted != 2 || r.Duplicates != 1 || len(to.events) != 2 {
		t.Errorf("first: %+v, %d on the log", r.answer, len(to.events))
	}
	if r = send(t, server, strings.NewReader(line("b", ""))); r.status != 200 || r.Duplicates != 1 || r.Accepted != 0 {
		t.Errorf("again: %d %+v", r.status, r.answer)
	}
}

func TestNothingIsAcceptedBeforeTheLogHasIt(t *testing.T) {
	t.Parallel()
	to := &log{}
	server := newServer(t, to, nil)
	to.fail(stream.ErrOverloaded)
	if r := send(t, server, strings.NewReader(line("a", ""))); r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") == "" || r.Accepted != 0 {
		t.Errorf("overloaded: %d %v %+v", r.status, r.header, r.answer)
	}
	to.fail(errors.New("no leader"))
	if r := send(t, server, strings.NewReader(line("a", ""))); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" || r.Accepted != 0 {
		t.Errorf("log away: %d %v %+v", r.status, r.header, r.answer)
	}
	// What failed is not remembered as known: the same event is taken when it comes again.
	to.fail(nil)
	if r := send(t, server, strings.NewReader(line("a", ""))); r.status != 200 || r.Accepted != 1 || len(to.events) != 1 {
		t.Errorf("again: %d %+v", r.status, r.answer)
	}
}

func TestRequestsAreRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	to := &log{}
	server := newServer(t, to, func(c *Config) { c.MaxBody, c.MaxRecords = 1<<20, 3 })
	zipped := func(s string) io.Reader {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, s)
		_ = w.Close()
		return &b
	}
	for name, tc := range map[string]struct {
		body   io.Reader
		header []string
		status int
	}{
		"no token":          {strings.NewReader(line("a", "")), []string{"Authorization", ""}, 401},
		"wrong token":       {strings.NewReader(line("a", "")), []string{"Authorization", "Bearer " + secret + "x"}, 401},
		"basic auth":        {strings.NewReader(line("a", "")), []string{"Authorization", "Basic " + secret}, 401},
		"empty":             {strings.NewReader(""), nil, 400},
		"only bad records":  {strings.NewReader("{\n"), nil, 400},
		"unknown format":    {strings.NewReader(line("a", "")), []string{"query", "format=csv"}, 400},
		"wrong type":        {strings.NewReader(line("a", "")), []string{"Content-Type", "text/csv"}, 415},
		"unknown encoding":  {strings.NewReader(line("a", "")), []string{"Content-Encoding", "br"}, 415},
		"not gzip":          {strings.NewReader(line("a", "")), []string{"Content-Encoding", "gzip"}, 400},
		"too large":         {strings.NewReader(strings.Repeat(" ", 2<<20)), nil, 413},
		"gzip bomb":         {zipped(strings.Repeat(" ", 100<<20)), []string{"Content-Encoding", "gzip"}, 413},
		"too many records":  {strings.NewReader(strings.Repeat(line("a", "")+"\n", 4)), nil, 413},
		"several documents": {zipped("[" + line("z1", "") + "] trailing"), []string{"Content-Encoding", "gzip"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := send(t, server, tc.body, tc.header...)
			if r.status != tc.status {
				t.Errorf("answered %d, want %d: %+v", r.status, tc.status, r.answer)
			}
			if tc.status >= 400 && (r.Detail == "" || r.header.Get("Content-Type") != "application/problem+json") {
				t.Errorf("no problem details: %v %+v", r.header, r.answer)
			}
		})
	}
}

func TestEntraRecordsComeByTheSameDoor(t *testing.T) {
	t.Parallel()
	to := &log{}
	const body = `{"records":[{"time":"2026-03-04T08:17:55.1043377Z","category":"NonInteractiveUserSignInLogs","tenantId":"acme","resultType":"0",
 "properties":{"id":"1e2d3c4b-5a69-4788-9a7b-6c5d4e3f2a10","createdDateTime":"2026-03-04T08:15:31.2442191+00:00","userId":"5b9e1f04","ipAddress":"2001:db8:10::7","isInteractive":false,"status":{"errorCode":0}}}]}`
	r := send(t, newServer(t, to, nil), strings.NewReader(body), "query", "format=entra-eventhub")
	if r.status != 200 || r.Accepted != 1 || to.events[0].Source.Family != "entra" || to.events[0].IP != "2001:db8:10::7" {
		t.Errorf("answered %d: %+v, %+v", r.status, r.answer, to.events)
	}
}

func TestTooManyRequestsAtOnceAreToldToComeBack(t *testing.T) {
	t.Parallel()
	server := newServer(t, &log{}, func(c *Config) { c.MaxRequests = 1 })
	held, writer := io.Pipe()
	done := make(chan reply, 1)
	go func() { done <- send(t, server, held) }()
	if _, err := io.WriteString(writer, line("a", "")+"\n"); err != nil {
		t.Fatal(err)
	}
	// The first request is being read: the pipe took its bytes. Wait until the server has it in hand.
	deadline := time.Now().Add(5 * time.Second)
	for {
		r := send(t, server, strings.NewReader(line("b", "")))
		if r.status == http.StatusTooManyRequests && r.header.Get("Retry-After") != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("answered %d while another request was being served", r.status)
		}
	}
	_ = writer.Close()
	if r := <-done; r.status != 200 || r.Accepted != 1 {
		t.Errorf("the first: %d %+v", r.status, r.answer)
	}
}

func TestConfigNamesEveryProblem(t *testing.T) {
	t.Parallel()
	err := Config{Listen: "here", TLS: TLSConfig{CertFile: "x"}, Tokens: []TokenConfig{{Tenants: []string{"a/b"}}}}.Validate()
	for _, path := range []string{"listen: ", "tls.cert_file: ", "tokens[0].file: ", "tokens[0].source: ", "tokens[0].tenants[0]: ", "max_body: ", "pipeline."} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+path) {
			t.Errorf("nothing about %q in\n%v", path, err)
		}
	}
}
