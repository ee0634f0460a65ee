package api

import (
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
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/peer"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
)

// other is another process of the installation, which answers as the test says.
type other struct {
	mu     sync.Mutex
	asked  []string
	answer func(r *http.Request) (int, string)
}

func (o *other) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	o.mu.Lock()
	o.asked = append(o.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	o.mu.Unlock()
	status, text := o.answer(r)
	w.Header().Set("Retry-After", "7")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func (o *other) config(t *testing.T) peer.Config {
	t.Helper()
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("a-token"), 0o600); err != nil {
		t.Fatal(err)
	}
	return peer.Config{URL: server.URL, TokenFile: file}
}

// logOf is Topics with one record, and figures for the pipeline.
type logOf struct {
	record stream.Record
	err    error
	looks  int
}

func (l *logOf) ReadRange(_ context.Context, topic string, partition int, from, to int64, fn func(stream.Record) error) (int64, error) {
	if l.err != nil {
		return from, l.err
	}
	if r := l.record; r.Topic == topic && r.Partition == partition && r.Offset >= from && r.Offset < to {
		return to, fn(r)
	}
	return to, nil
}

func (l *logOf) Ends(_ context.Context, topic string) (first, end []int64, err error) {
	l.looks++
	if topic == "missing" {
		return nil, nil, stream.ErrTopicMissing
	}
	return []int64{10, 0}, []int64{15, 7}, l.err
}

func (l *logOf) Lag(_ context.Context, group, _ string) (int64, bool, error) {
	return 3, group != "idle", l.err
}

func TestStreamsAreThoseOfOnesTenants(t *testing.T) {
	t.Parallel()
	courier := &other{answer: func(r *http.Request) (int, string) {
		switch {
		case r.URL.Path == "/operator/v1/streams":
			return 200, `{"streams":[{"stream_id":"a","tenant":"acme","status":"enabled"},{"stream_id":"g","tenant":"globex","status":"paused"}]}`
		case strings.HasPrefix(r.URL.Path, "/operator/v1/streams/g"):
			return 200, `{"stream_id":"g","tenant":"globex","result":"done"}`
		case strings.HasSuffix(r.URL.Path, "/a"):
			return 200, `{"stream_id":"a","tenant":"acme"}`
		case strings.HasSuffix(r.URL.Path, "/a/verify"):
			return 429, `{"error":"too often"}`
		case strings.HasSuffix(r.URL.Path, "/a/replay"):
			return 409, `{"error":"it is disabled"}`
		case strings.HasSuffix(r.URL.Path, "/a/pause"):
			return 200, `{"stream_id":"a","tenant":"acme","status":"paused","result":"paused"}`
		}
		return 404, `{"error":"no such stream"}`
	}}
	cfg := courier.config(t)
	a, _, base := newAPI(t, func(c *Config) { c.Courier = cfg })
	ids := func(secret, query string) (list []string) {
		var got struct{ Streams []report.Stream }
		exchange(t, http.MethodGet, base+"/v1/streams"+query, secret, nil, &got)
		for _, s := range got.Streams {
			list = append(list, s.ID)
		}
		return list
	}
	if diff := cmp.Diff([][]string{ids(wholeSecret, ""), ids(acmeSecret, ""), ids(acmeSecret, "?tenant=globex")}, [][]string{{"a", "g"}, {"a"}, nil}); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	courier.asked = nil
	for path, want := range map[string]int{"a/pause": 200, "a/verify": 429, "a/replay": 409, "g/pause": 404, "n/pause": 404, "a/explode": 422, "a%2Fb/pause": 422} {
		var body any = map[string]any{}
		if path == "a/replay" {
			body = map[string]any{"since": yesterday}
		}
		if res := exchange(t, http.MethodPost, base+"/v1/streams/"+path, acmeSecret, body, nil); res.StatusCode != want || want == 429 && res.Header.Get("Retry-After") != "7" {
			t.Errorf("%s: %d %v", path, res.StatusCode, res.Header)
		}
	}
	for _, asked := range courier.asked {
		if strings.HasPrefix(asked, "POST") && strings.Contains(asked, "/g/") {
			t.Errorf("a foreign stream was touched: %s", asked)
		}
	}
	if res := exchange(t, http.MethodPost, base+"/v1/streams/g/pause", wholeSecret, map[string]any{"reason": "why"}, nil); res.StatusCode != http.StatusOK {
		t.Errorf("a reason: %d", res.StatusCode)
	}
	if last := courier.asked[len(courier.asked)-1]; last != `POST /operator/v1/streams/g/pause {"reason":"why"}` {
		t.Errorf("asked %s", last)
	}
	for name, body := range map[string]map[string]any{
		"pause": {"since": yesterday}, "verify": {"reason": "x"}, "replay": {}, "replay ": {"since": yesterday, "jti": "j", "partition": 0, "offset": 1}, "replay  ": {"jti": "j"},
	} {
		if res := exchange(t, http.MethodPost, base+"/v1/streams/a/"+strings.TrimSpace(name), acmeSecret, body, nil); res.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s with %v: %d", name, body, res.StatusCode)
		}
	}
	trail := map[string]int{}
	for _, e := range a.deps.Publisher.(*ledger).audited(t) {
		trail[e.Tenant+" "+e.Action+" "+e.Target]++
	}
	if trail["acme stream.pause a"] != 1 || trail["globex stream.pause g"] != 1 || trail["globex stream.pause "] != 0 {
		t.Errorf("the trail: %v", trail)
	}
	// Without its entry nothing is done.
	courier.asked = nil
	a.deps.Publisher.(*ledger).fail(errors.New("no broker"))
	if res := exchange(t, http.MethodPost, base+"/v1/streams/a/pause", acmeSecret, map[string]any{}, nil); res.StatusCode != http.StatusServiceUnavailable || len(courier.asked) != 1 {
		t.Errorf("without a log: %d, asked %v", res.StatusCode, courier.asked)
	}
	if res, _ := get(t, base+"/v1/streams", blindSecret); res.StatusCode != http.StatusForbidden {
		t.Errorf("without the scope: %d", res.StatusCode)
	}
}

func TestACourierThatIsNotThere(t *testing.T) {
	t.Parallel()
	_, _, base := newAPI(t, nil)
	if res, body := get(t, base+"/v1/streams", wholeSecret); res.StatusCode != http.StatusNotFound || !strings.Contains(body, "api.courier") {
		t.Errorf("not configured: %d %s", res.StatusCode, body)
	}
	courier := &other{answer: func(*http.Request) (int, string) { return 401, `{"error":"who are you"}` }}
	cfg := courier.config(t)
	_, _, base = newAPI(t, func(c *Config) { c.Courier = cfg })
	if res, body := get(t, base+"/v1/streams", wholeSecret); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "api.courier.token_file") {
		t.Errorf("a wrong token: %d %s", res.StatusCode, body)
	}
	for _, text := range []string{"<html>", "[]", "{"} {
		courier.answer = func(*http.Request) (int, string) { return 200, text }
		if res, _ := get(t, base+"/v1/streams", wholeSecret); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("an answer %q: %d", text, res.StatusCode)
		}
	}
	_, _, base = newAPI(t, func(c *Config) { c.Courier = cfg; c.Courier.URL = "http://127.0.0.1:1" })
	if res, body := get(t, base+"/v1/streams", wholeSecret); res.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "127.0.0.1") {
		t.Errorf("away: %d %s", res.StatusCode, body)
	}
}

func anEvent(kind events.Kind) *events.Event {
	e := &events.Event{Kind: kind, Tenant: "acme", User: events.User{ID: "u1"}, Time: 1_700_000_000_000, Source: events.Source{ID: "1", Family: "custom"}, Outcome: events.Success}
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	return e
}

func TestDeadLettersGoBackWhereTheyCameFrom(t *testing.T) {
	t.Parallel()
	good, own := events.Encode(anEvent(events.SignIn)), events.Encode(anEvent(events.Erasure))
	letter := func(id, stage, source, topic string, raw []byte) events.DeadLetter {
		return events.DeadLetter{ID: id, Stage: stage, Source: source, Topic: topic, Partition: 1, Offset: 42, Reason: "jti abc-1: no", Bytes: raw, Size: len(raw)}
	}
	letters := []events.DeadLetter{
		letter("ingest", "ingest", "push", "", []byte(`{"a":1}`)),
		letter("ingest.lines", "ingest", "push", "", []byte("{\n}")),
		letter("ingest.receipt", "ingest", "push", "", []byte(`{"b":1}`)),
		letter("ingest.refused", "ingest", "push", "", []byte(`refused`)),
		letter("ingest.denied", "ingest", "push", "", []byte(`denied`)),
		letter("ingest.busy", "ingest", "push", "", []byte(`busy`)),
		letter("ingest.cut", "ingest", "push", "", []byte(`{`)),
		letter("detector", "detector", events.TopicEvents, events.TopicEvents, good),
		letter("detector.odd", "detector", events.TopicEvents, events.TopicEvents, []byte("odd")),
		letter("detector.gone", "detector", events.TopicEvents, events.TopicEvents, []byte("gone")),
		letter("detector.own", "detector", events.TopicEvents, events.TopicEvents, own),
		letter("network", "network", events.TopicSightings, events.TopicSightings, []byte("{}")),
		letter("archiver", "archiver", "archiver", events.TopicRevocations, []byte("{}")),
		letter("stream", "courier", "stream:s/1", events.TopicRevocations, []byte("{}")),
		letter("stream.control", "courier", "stream:s1", "", []byte("{}")),
		letter("act", "courier", "act/lock", events.TopicRevocations, []byte("{}")),
		letter("alert", "courier", "alert:mail", "", []byte("{}")),
		letter("unknown", "moon", "x", "", []byte("{}")),
	}
	letters[0].Format, letters[2].Format, letters[6].Size = "okta&x=1", "receipt", 1000
	ingest := &other{answer: func(*http.Request) (int, string) { return 200, `{"accepted":1,"duplicates":0,"rejected":[]}` }}
	courier := &other{answer: func(*http.Request) (int, string) {
		return 200, `{"stream_id":"s/1","result":"jti abc-1 will be sent again"}`
	}}
	fromIngest, fromCourier := ingest.config(t), courier.config(t)
	a, q, base := newAPI(t, func(c *Config) { c.Ingest, c.Courier = fromIngest, fromCourier })
	q.letters = letters
	a.deps.Topics = &logOf{record: stream.Record{Topic: events.TopicEvents, Partition: 1, Offset: 42, Key: []byte("its/key"), Value: []byte("odd")}}
	log := a.deps.Publisher.(*ledger)
	for id, want := range map[string]struct {
		status int
		say    string
	}{
		"ingest": {200, "1 accepted"}, "ingest.lines": {200, "1 accepted"}, "ingest.receipt": {200, "1 accepted"}, "ingest.cut": {409, "Only the beginning"},
		"detector": {200, "written to"}, "detector.odd": {200, "written to"}, "detector.gone": {409, "nobody knows its key"}, "detector.own": {409, "countersign's own"},
		"network": {409, "wrote it itself"}, "archiver": {409, "offset 42"}, "stream": {200, "sent again"}, "stream.control": {409, "verify the stream"},
		"act": {409, "countersign act replay --action lock --id act"}, "alert": {409, "countersign alerts replay --id alert"}, "unknown": {409, ""}, "nothing": {404, ""},
	} {
		var said map[string]any
		res := exchange(t, http.MethodPost, base+"/v1/deadletters/"+id+"/replay", wholeSecret, map[string]any{}, &said)
		if text := fmt.Sprint(said); res.StatusCode != want.status || !strings.Contains(text, want.say) {
			t.Errorf("%s: %d %s", id, res.StatusCode, text)
		}
	}
	for id, c := range map[string]struct {
		answer, say string
		answers     int
		status      int
	}{
		"ingest.refused": {`{"accepted":0,"rejected":[{"line":1,"error":"still wrong"}],"rejected_total":1}`, "still wrong", 200, 409},
		"ingest.denied":  {`{"detail":"this token may not send format"}`, "may not send", 403, 409},
		"ingest.busy":    {`{"detail":"come back"}`, "come back", 429, 429},
		"ingest.lines":   {`<html>`, "does not answer", 200, 503},
		"ingest.receipt": {`{"detail":"who"}`, "api.ingest.token_file", 401, 503},
	} {
		ingest.answer = func(*http.Request) (int, string) { return c.answers, c.answer }
		var said map[string]any
		if res := exchange(t, http.MethodPost, base+"/v1/deadletters/"+id+"/replay", wholeSecret, map[string]any{}, &said); res.StatusCode != c.status || !strings.Contains(fmt.Sprint(said), c.say) {
			t.Errorf("%s: %d %v", id, res.StatusCode, said)
		}
	}
	asked := map[string]bool{}
	for _, request := range append(ingest.asked, courier.asked...) {
		asked[request] = true
	}
	for _, want := range []string{
		`POST /v1/events?format=okta%26x%3D1 {"a":1}`, `POST /v1/receipts {"b":1}`, "POST /v1/events {\n}",
		`POST /operator/v1/streams/s%2F1/replay {"jti":"abc-1","partition":1,"offset":42}`,
	} {
		if !asked[want] {
			t.Errorf("nobody was asked %q in %v", want, asked)
		}
	}
	produced := map[string]string{}
	log.mu.Lock()
	for _, r := range log.records {
		if r.Topic == events.TopicEvents {
			produced[string(r.Key)] = string(r.Value)
		}
	}
	log.mu.Unlock()
	if diff := cmp.Diff(produced, map[string]string{"acme/u1": string(good), "its/key": "odd"}); diff != "" {
		t.Errorf("on the log (-got, +want)\n%s", diff)
	}
	outcomes := map[events.AuditOutcome]int{}
	for _, e := range log.audited(t) {
		if e.Action == "deadletter.replay" && e.Target == "detector.gone" {
			outcomes[e.Outcome]++
		}
	}
	if outcomes[events.AuditDone] != 1 {
		t.Errorf("the trail of one that failed: %v", outcomes)
	}
	if res := exchange(t, http.MethodPost, base+"/v1/deadletters/detector/replay", wholeSecret, map[string]any{"format": "okta"}, nil); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a format for the log: %d", res.StatusCode)
	}
	log.fail(errors.New("no broker"))
	if res := exchange(t, http.MethodPost, base+"/v1/deadletters/ingest/replay", wholeSecret, map[string]any{}, nil); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a log: %d", res.StatusCode)
	}
}

func TestDeadLettersAreForWhoSeesAllTenants(t *testing.T) {
	t.Parallel()
	a, q, base := newAPI(t, nil)
	q.letters = []events.DeadLetter{{ID: "l1", Stage: "ingest", Source: "push", Bytes: []byte("a<b>\u202e\x00\xff\n"), Size: 99}}
	for _, path := range []string{"/v1/deadletters", "/v1/deadletters/l1"} {
		if res, _ := get(t, base+path, acmeSecret); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s for one tenant: %d", path, res.StatusCode)
		}
		if res, _ := get(t, base+path, blindSecret); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s without the scope: %d", path, res.StatusCode)
		}
	}
	if res := exchange(t, http.MethodPost, base+"/v1/deadletters/l1/replay", acmeSecret, map[string]any{}, nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("a replay for one tenant: %d", res.StatusCode)
	}
	eventually(t, "the notes do not end", func() bool { return len(a.notes) == 0 })
	refused := map[string]int{}
	for _, e := range a.deps.Publisher.(*ledger).audited(t) {
		if e.Action == "refused" && e.Outcome == events.AuditRefused {
			refused[e.Actor]++
		}
	}
	if refused["acme"] != 3 || refused["blind"] != 2 {
		t.Errorf("refusals in the trail: %v", refused)
	}
	res, body := get(t, base+"/v1/deadletters?stage=ingest&source=push&limit=7", wholeSecret)
	if res.StatusCode != http.StatusOK || q.letterQuery.Stage != "ingest" || q.letterQuery.Source != "push" || q.letterQuery.Limit != 7 || strings.Contains(body, "bytes") {
		t.Errorf("%d %s, asked %+v", res.StatusCode, body, q.letterQuery)
	}
	if days := (q.letterQuery.Span.To - q.letterQuery.Span.From) / events.Day; days < 29 || days > 31 {
		t.Errorf("%d days by default", days)
	}
	var whole WholeLetter
	exchange(t, http.MethodGet, base+"/v1/deadletters/l1", wholeSecret, nil, &whole)
	if string(whole.Bytes) != string(q.letters[0].Bytes) || whole.Text != "a<b>\\u202e\\x00\\xff\n" || !whole.Cut || whole.Replay != "no" {
		t.Errorf("%+v", whole)
	}
	if e := a.deps.Publisher.(*ledger).audited(t); e[len(e)-1].Action != "deadletter.read" || e[len(e)-1].Target != "l1" {
		t.Errorf("the trail: %+v", e)
	}
	q.err = report.ErrUnavailable
	if res, _ := get(t, base+"/v1/deadletters", wholeSecret); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a history: %d", res.StatusCode)
	}
}

func FuzzPreview(f *testing.F) {
	for _, s := range []string{"", "{}", "\x00", "\xff\xfe", "é\u202e", strings.Repeat("é", maxPreview), strings.Repeat("x", maxPreview-1) + "é"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		text := preview(raw)
		for _, r := range text {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Errorf("%q shows %q", raw, r)
			}
		}
		if len(text) > 10*maxPreview {
			t.Errorf("%d bytes of %d", len(text), len(raw))
		}
		if b, err := json.Marshal(text); err != nil || len(b) == 0 {
			t.Error(err)
		}
	})
}

func TestThePipelineIsLookedAtForEverybodyAtOnce(t *testing.T) {
	t.Parallel()
	a, q, base := newAPI(t, nil)
	if res, _ := get(t, base+"/v1/pipeline", acmeSecret); res.StatusCode != http.StatusNotFound {
		t.Errorf("without topics: %d", res.StatusCode)
	}
	log := &logOf{}
	a.deps.Topics, a.deps.Watched = log, Watched{Topics: []string{"t1", "missing"}, Groups: []report.GroupLag{{Group: "g", Topic: "t1"}, {Group: "idle", Topic: "t1"}}}
	q.newest = 1_700_000_000_000
	var got map[string]any
	for range 5 {
		exchange(t, http.MethodGet, base+"/v1/pipeline", acmeSecret, nil, &got)
	}
	at := got["at"]
	delete(got, "at")
	want := map[string]any{
		"topics": []any{map[string]any{"topic": "t1", "partitions": 2.0, "records": 12.0}}, "groups": []any{map[string]any{"group": "g", "topic": "t1", "lag": 3.0}},
		"log": "ok", "history": "ok", "newest_event": "2023-11-14T22:13:20.000Z",
	}
	if diff := cmp.Diff(got, want); diff != "" || at == nil {
		t.Errorf("at %v (-got, +want)\n%s", at, diff)
	}
	if log.looks != 2 || len(q.scopes) != 1 || q.scopes[0].All {
		t.Errorf("%d looks, %v", log.looks, q.scopes)
	}
	exchange(t, http.MethodGet, base+"/v1/pipeline", wholeSecret, nil, nil) // other tenants have another newest event
	if len(q.scopes) != 2 || !q.scopes[1].All {
		t.Errorf("%v", q.scopes)
	}
	// What is away is said so; the figures are those of before.
	log.err, q.err = errors.New("no broker"), report.ErrUnavailable
	a.looked.log.at, a.looked.newest = time.Time{}, nil
	clear(got)
	exchange(t, http.MethodGet, base+"/v1/pipeline", acmeSecret, nil, &got)
	if got["log"] != "away" || got["history"] != "away" || got["newest_event"] != nil || len(got["topics"].([]any)) != 1 {
		t.Errorf("%v", got)
	}
}
