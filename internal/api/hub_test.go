package api

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

func newTestHub(t *testing.T, buffer, limit int) *hub {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	return newHub(buffer, limit, 100, m, newRecent())
}

func join(t *testing.T, h *hub, scope report.Scope, lastID string) (r *reader, missed []uint64, whole bool) {
	t.Helper()
	r, start, err := h.join(hash{}, scope, lastID)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range start.missed {
		missed = append(missed, m.number)
	}
	return r, missed, !strings.Contains(string(start.frame), "event: reset")
}

// idOf is how far a frame says that its reader is.
func idOf(frame []byte) string {
	for line := range strings.Lines(string(frame)) {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			return strings.TrimSuffix(id, "\n")
		}
	}
	return ""
}

var all = report.Scope{All: true}

func TestASlowReaderIsLetGoAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	const buffer = 4
	h := newTestHub(t, buffer, 10)
	slow, _, _ := join(t, h, all, "")
	quick, _, _ := join(t, h, all, "")
	elsewhere, _, _ := join(t, h, report.Scope{Tenants: []string{"globex"}}, "")
	for n := range 3 * buffer {
		h.send("finding", "acme", []byte("{}"))
		if m := <-quick.out; m.number != uint64(n+1) {
			t.Fatalf("the quick reader got message %d, want %d", m.number, n+1)
		}
	}
	held := 0
	for range slow.out { // closed, or this would not end
		held++
	}
	if held != buffer {
		t.Errorf("the slow reader was left with %d messages, want %d", held, buffer)
	}
	if n := testutil.ToFloat64(h.metrics.liveDropped); n != 1 {
		t.Errorf("%v readers are counted as let go, want 1", n)
	}
	if len(elsewhere.out) != 0 {
		t.Error("a reader got the messages of a tenant that it may not see")
	}
	h.leave(slow) // its handler says so once more
	h.leave(quick)
	h.leave(elsewhere)
	if n := testutil.ToFloat64(h.metrics.liveClients); n != 0 || len(h.readers) != 0 {
		t.Errorf("%v readers are left", n)
	}
}

func TestAReaderThatComesBackGetsWhatItMissed(t *testing.T) {
	t.Parallel()
	h := newTestHub(t, 1, 100)
	for n := range 10 {
		h.send("finding", []string{"acme", "globex"}[n%2], fmt.Appendf(nil, "%d", n+1))
	}
	acme := report.Scope{Tenants: []string{"acme"}}
	for _, c := range []struct {
		name   string
		scope  report.Scope
		last   string
		missed []uint64
		whole  bool
	}{
		{"a new one", all, "", nil, true},
		{"up to date", all, h.boot + "-10", nil, true},
		{"three behind", all, h.boot + "-7", []uint64{8, 9, 10}, true},
		{"three behind, one tenant", acme, h.boot + "-7", []uint64{9}, true},
		{"from the start", acme, h.boot + "-0", []uint64{1, 3, 5, 7, 9}, true},
		{"of another process", all, "otherone-7", nil, false},
		{"of the future", all, h.boot + "-11", nil, false},
		{"nonsense", all, "<script>", nil, false},
		{"no number", all, h.boot + "-", nil, false},
		{"negative", all, h.boot + "--1", nil, false},
		{"out of range", all, h.boot + "-99999999999999999999999", nil, false},
	} {
		_, missed, whole := join(t, h, c.scope, c.last)
		if diff := cmp.Diff(c.missed, missed); diff != "" || whole != c.whole {
			t.Errorf("%s: whole %v, want %v, missed (-want +got):\n%s", c.name, whole, c.whole, diff)
		}
	}
	for range recentMessages - 3 {
		h.send("finding", "acme", []byte("{}"))
	}
	if _, missed, whole := join(t, h, all, h.boot+"-6"); whole || len(missed) != 0 {
		t.Errorf("messages that are gone: whole %v, %d missed", whole, len(missed))
	}
	if _, missed, whole := join(t, h, all, h.boot+"-7"); !whole || len(missed) != recentMessages || missed[0] != 8 {
		t.Errorf("the oldest that is kept: whole %v, %d missed", whole, len(missed))
	}
}

// Wherever a connection breaks, the reader comes back with an id by which it gets all that it did not get.
func TestAReaderKnowsHowFarItIsFromTheFirstFrameOn(t *testing.T) {
	t.Parallel()
	h := newTestHub(t, 4, 100)
	acme := report.Scope{Tenants: []string{"acme"}}
	begin := func(lastID string) (*reader, string) {
		t.Helper()
		r, start, err := h.join(hash{}, acme, lastID)
		if err != nil {
			t.Fatal(err)
		}
		return r, idOf(start.frame)
	}
	missed := func(what, lastID string, want ...uint64) {
		t.Helper()
		if _, got, whole := join(t, h, acme, lastID); !whole || !cmp.Equal(got, want) {
			t.Errorf("%s: back with %q it gets %v, whole %v; want %v", what, lastID, got, whole, want)
		}
	}
	h.send("finding", "acme", []byte("{}"))
	reader, fresh := begin("")
	_, reset := begin("otherone-1")
	_, behind := begin(h.boot + "-0")
	h.send("finding", "acme", []byte("{}"))
	missed("a new one", fresh, 2)
	missed("after a reset", reset, 2)
	missed("before it caught up", behind, 1, 2)
	if id := idOf(h.quiet(reader)); id != "" {
		t.Errorf("a quiet moment says %q while a message waits", id)
	}
	<-reader.out
	for range 2 * recentMessages {
		h.send("finding", "globex", []byte("{}"))
	}
	quiet := idOf(h.quiet(reader))
	h.send("finding", "acme", []byte("{}"))
	missed("after much that it may not see", quiet, 2*recentMessages+3)
}

func TestReadersAreBounded(t *testing.T) {
	t.Parallel()
	h := newTestHub(t, 1, 2)
	first, _, _ := join(t, h, all, "")
	join(t, h, all, "")
	if _, _, err := h.join(hash{}, all, ""); err == nil {
		t.Fatal("a third reader was let in")
	}
	h.leave(first)
	join(t, h, all, "")
}

// One who opens feed after feed is told so, and shuts nobody else out.
func TestOneReaderLeavesPlaceForOthers(t *testing.T) {
	t.Parallel()
	_, _, base := newAPI(t, func(c *Config) { c.MaxLiveClients, c.MaxLiveClientsEach = 3, 2 })
	for _, c := range []struct {
		secret string
		want   int
	}{{acmeSecret, 200}, {acmeSecret, 200}, {acmeSecret, 429}, {wholeSecret, 200}, {wholeSecret, 503}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/live", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.secret)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		if res.StatusCode != c.want || (c.want != 200) != (res.Header.Get("Retry-After") != "") {
			t.Errorf("%d %v, want %d", res.StatusCode, res.Header, c.want)
		}
	}
}

// What is on the log may be anything: one frame stays one frame, and nothing in it is markup.
func TestAFrameHoldsWhateverTheRecordSays(t *testing.T) {
	t.Parallel()
	h := newTestHub(t, 10, 1)
	r, _, _ := join(t, h, all, "")
	f := events.Finding{ID: "x", Tenant: "acme", Summary: "<script>alert(1)</script>\r\n\r\nevent: reset\ndata: {}\n\n\u2028"}
	c := revocation.Claims{
		Issuer: "https://countersign.example", IssuedAt: 1767225600, JTI: "j", Tenant: "acme", User: "u\n\ndata: x", Status: revocation.Open,
		Requirement: revocation.Requirement{
			ID: "q", Action: events.StepUp, NotBefore: 1767225600, Expires: 1767229200, EventID: "e", Policy: "p", PolicyVersion: "1",
		},
	}
	for _, record := range []stream.Record{
		{Topic: events.TopicFindings, Value: events.Encode(&f)},
		{Topic: events.TopicRevocations, Value: c.Encode()},
		{Topic: events.TopicRevocations, Key: []byte("acme/u/q")}, // a deletion
		{Topic: events.TopicFindings, Value: []byte("{")},
		{Topic: events.TopicFindings, Value: []byte(`{"tenant":"a/b"}`)},
		{Topic: events.TopicRevocations, Value: []byte("\xff")},
		{Topic: "another", Value: []byte("{}")},
	} {
		h.take(&record)
	}
	if n := len(r.out); n != 2 {
		t.Fatalf("%d messages, want those of the two good records", n)
	}
	if n := testutil.ToFloat64(h.metrics.liveBad); n != 3 {
		t.Errorf("%v records are counted as unreadable, want 3", n)
	}
	for _, kind := range []string{"finding", "requirement"} {
		frame := string((<-r.out).frame)
		body, ends := strings.CutSuffix(frame, "\n\n")
		lines := strings.Split(body, "\n")
		if !ends || len(lines) != 3 || lines[1] != "event: "+kind || !strings.HasPrefix(lines[2], "data: {") || strings.ContainsAny(frame, "<>\r") {
			t.Errorf("frame of a %s: %q", kind, frame)
		}
	}
}

// TestAFeedGoesOnAfterABreak takes the feed as a browser does: it reads, goes away, and comes back with the last id.
func TestAFeedGoesOnAfterABreak(t *testing.T) {
	t.Parallel()
	a, _, base := newAPI(t, func(c *Config) { c.MaxLiveClients = 1 })
	open := func(last string) (*http.Response, *bufio.Scanner) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/live", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+acmeSecret)
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res, bufio.NewScanner(res.Body)
	}
	// until reads the feed up to a line that starts so.
	until := func(lines *bufio.Scanner, prefix string) string {
		t.Helper()
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), prefix); ok {
				return text
			}
		}
		t.Fatalf("the feed ended before %q: %v", prefix, lines.Err())
		return ""
	}
	send := func(id string) {
		f := events.Finding{ID: id, Tenant: "acme"}
		a.hub.take(&stream.Record{Topic: events.TopicFindings, Value: events.Encode(&f)})
	}

	first, lines := open("")
	until(lines, "id: ")
	send("one")
	last := until(lines, "id: ")
	if second, _ := open(""); second.StatusCode != http.StatusServiceUnavailable || second.Header.Get("Retry-After") == "" {
		t.Errorf("one reader too many: %d", second.StatusCode)
	}
	a.hub.mu.Lock()
	reader := func() *reader {
		for r := range a.hub.readers {
			return r
		}
		return nil
	}()
	a.hub.mu.Unlock()
	a.hub.leave(reader) // as for a reader that is too slow
	for lines.Scan() {  // to its end
	}
	first.Body.Close()

	send("two")
	_, lines = open(last)
	if data := until(lines, "data: "); !strings.Contains(data, `"two"`) {
		t.Errorf("after the break came %s, want what was missed", data)
	}
	a.stop()
	for lines.Scan() { // the server stops: the feed ends, and does not keep it
	}
}

func TestAFeedThatMissedTooMuchSaysSo(t *testing.T) {
	t.Parallel()
	a, _, base := newAPI(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+wholeSecret)
	req.Header.Set("Last-Event-ID", "before-17")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var seen []string
	for lines := bufio.NewScanner(res.Body); lines.Scan() && len(seen) < 4; {
		if text := lines.Text(); text != "" {
			seen = append(seen, text)
		}
	}
	if diff := cmp.Diff([]string{"retry: 2000", "id: " + a.hub.boot + "-0", "event: reset", "data: {}"}, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
