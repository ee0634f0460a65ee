package courier

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/ssf/dialect"
)

// operate asks the operator endpoints.
func (r *running) operate(method, path, body, token string) (int, string) {
	r.t.Helper()
	addr, err := r.Addr(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	q, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+addr+"/operator/v1/"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestOperatorsAreLetInByTheirTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	s := c.pushTo("https://receiver.example.com/events?secret=in-the-address")
	for _, token := range []string{"", "wrong", operatorToken + "x"} {
		for _, path := range []string{"streams", "streams/" + s.ID, "nothing"} {
			if status, _ := c.operate("GET", path, "", token); status != http.StatusUnauthorized {
				t.Errorf("%s with %q: %d", path, token, status)
			}
		}
	}
	status, body := c.operate("GET", "streams", "", operatorToken)
	if status != http.StatusOK || strings.Contains(body, "of the receiver") || !strings.Contains(body, s.ID) {
		t.Errorf("%d %s", status, body)
	}
	for path, want := range map[string]int{
		"streams/unknown": 404, "streams/..%2f": 404, "streams/" + s.ID: 200,
	} {
		if status, body := c.operate("GET", path, "", operatorToken); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// An operator can verify, emit, pause, enable and disable; what the transmitter changes is announced.
func TestOperatorsChangeStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	r := newReceiver(t, nil)
	s := c.pushTo(r.URL)
	do := func(want int, path, body string) StreamView {
		t.Helper()
		status, text := c.operate("POST", "streams/"+s.ID+"/"+path, body, operatorToken)
		var v StreamView
		if status != want || want == 200 && json.Unmarshal([]byte(text), &v) != nil {
			t.Fatalf("%s %s: %d %s", path, body, status, text)
		}
		return v
	}
	types := func(n int) []string {
		t.Helper()
		r.await(t, n)
		var out []string
		for _, g := range r.accepted() {
			kind := g.Type[strings.LastIndex(g.Type, "/")+1:]
			if status, ok := g.Event["status"].(string); ok {
				kind += " " + status
			}
			out = append(out, kind)
		}
		return out
	}
	do(200, "verify", `{"state":"s"}`)
	do(200, "emit", `{"type":"`+dialect.SessionRevoked+`"}`)
	do(400, "emit", `{"type":"https://example.com/none"}`)
	do(400, "emit", `{"kind":1}`)
	types(2)
	if v := do(200, "pause", `{"reason":"maintenance"}`); v.Status != ssf.Paused || v.Reason != "maintenance" {
		t.Errorf("%+v", v)
	}
	types(3)
	w.decide("alice")
	c.seenAll(w)
	do(200, "enable", "")
	types(5)
	do(200, "disable", `{"reason":"over"}`)
	do(409, "verify", "")
	got := types(6)
	slices.Sort(got[3:5]) // both go at a time
	want := []string{"verification", "session-revoked open", "stream-updated paused", "session-revoked open", "stream-updated enabled", "stream-updated disabled"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("SETs (-want, +got):\n%s", d)
	}
}

// The answer to a verb says what was done, and what waits is counted whole.
func TestVerbsSayWhatTheyDid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	r := newReceiver(t, nil)
	s := c.pushTo(r.URL)
	do := func(path, body, want string, pending int) StreamView {
		t.Helper()
		status, text := c.operate("POST", "streams/"+s.ID+"/"+path, body, operatorToken)
		var v StreamView
		if err := json.Unmarshal([]byte(text), &v); status != http.StatusOK || err != nil {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		if !strings.HasPrefix(v.Result, strings.SplitN(want, "*", 2)[0]) || !strings.HasSuffix(v.Result, want[strings.Index(want, "*")+1:]) {
			t.Errorf("%s: %q, want %q", path, v.Result, want)
		}
		if pending >= 0 && v.Pending != pending {
			t.Errorf("%s: %d pending, want %d", path, v.Pending, pending)
		}
		return v
	}
	emit := `{"type":"` + dialect.SessionRevoked + `"}`
	v := do("emit", emit, "emitted, jti *", -1)
	r.await(t, 1)
	if jti := r.jtis()[0]; v.Result != "emitted, jti "+jti {
		t.Errorf("%q, sent %q", v.Result, jti)
	}
	do("pause", "", "paused", -1)
	r.await(t, 2)
	w.decide("alice")
	c.seenAll(w)
	const held = "; held: the stream is paused"
	eventually(t, "the decision waits, and nothing else", func() bool {
		_, text := c.operate("GET", "streams/"+s.ID, "", operatorToken)
		var v StreamView
		return json.Unmarshal([]byte(text), &v) == nil && v.Pending == 1 && v.Result == ""
	})
	do("emit", emit, "emitted, jti *"+held, 2)
	do("verify", "", "verification asked for, jti *"+held, 3)
	since := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	do("replay", `{"since":"`+since+`"}`, "1 decisions since "+since+" will *"+held, -1)
	eventually(t, "it waits again", func() bool {
		_, text := c.operate("GET", "streams/"+s.ID, "", operatorToken)
		return strings.Contains(text, `"pending":3,`)
	})
	do("disable", "", "disabled, SETs dropped that waited: 3", -1)
	do("disable", "", "disabled, SETs dropped that waited: 0", -1)
}

// What was delivered can be delivered again, from a time on or one by one, with the same ids and in order.
func TestReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	refusing := true
	r := newReceiver(t, func(_ int, g got, w http.ResponseWriter) {
		if g.JTI == "jti-bad" && refusing {
			refuse(w, "invalid_request")
		}
	})
	s := c.pushTo(r.URL)
	before := w.decide("alice")
	r.await(t, 1)
	began := time.Now().Add(time.Millisecond)
	eventually(t, "a millisecond passes", func() bool { return time.Now().After(began) })
	w.decideAs("alice", "bad")
	want := []string{w.decide("alice"), w.decide("alice")}
	r.await(t, 3)
	letters := w.letters()
	if len(letters) != 1 {
		t.Fatalf("%d dead letters", len(letters))
	}
	r.answers(nil)
	one := func(jti string, partition int, offset int64) int {
		status, _ := c.operate("POST", "streams/"+s.ID+"/replay", fmt.Sprintf(`{"jti":%q,"partition":%d,"offset":%d}`, jti, partition, offset), operatorToken)
		return status
	}
	d := letters[0]
	if got := one("jti-other", d.Partition, d.Offset); got != http.StatusBadRequest {
		t.Errorf("another's place: %d", got)
	}
	if got := one("jti-bad", 7, 0); got != http.StatusBadRequest {
		t.Errorf("no place: %d", got)
	}
	if got := one("jti-bad", d.Partition, d.Offset); got != http.StatusOK {
		t.Errorf("replay: %d", got)
	}
	r.await(t, 4)
	n := len(r.accepted())
	status, body := c.operate("POST", "streams/"+s.ID+"/replay", fmt.Sprintf(`{"since":%q}`, began.Format(time.RFC3339Nano)), operatorToken)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	eventually(t, "three come again", func() bool { return len(r.accepted()) == n+3 })
	var again []string
	for _, g := range r.accepted()[n:] {
		again = append(again, g.JTI)
	}
	if diff := cmp.Diff(append([]string{"jti-bad"}, want...), again); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
	if slices.Contains(again, before) {
		t.Error("what was before came too")
	}
}

// An operator makes streams for receivers that cannot, and ends them.
func TestOperatorsMakeStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	r := newReceiver(t, nil)
	for _, bad := range []string{
		`{`, `{"receiver":"nobody"}`, `{"receiver":"app"}`, `{"receiver":"app","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"http://plain.example.com"}}`,
		`{"receiver":"app","delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":"https://x.example.com"}}`,
		`{"receiver":"app","delivery":{"method":"urn:ietf:rfc:8936"},"events_requested":["https://example.com/none"]}`,
		`{"receiver":"app","delivery":{"method":"urn:ietf:rfc:8936"},"default_subjects":"SOME"}`,
		`{"receiver":"app","delivery":{"method":"urn:ietf:rfc:8936"},"status":"paused"}`,
		`{"receiver":"phone","delivery":{"method":"urn:ietf:rfc:8936"}}`,
		`{"receiver":"app","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://x.example.com","authorization_header":"a\r\nb: c"}}`,
	} {
		if status, body := c.operate("POST", "streams", bad, operatorToken); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
	status, body := c.operate("POST", "streams", fmt.Sprintf(`{"receiver":"app","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":%q,"authorization_header":"k"}}`, r.URL), operatorToken)
	var v StreamView
	if err := json.Unmarshal([]byte(body), &v); err != nil || status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	w.decide("alice")
	r.await(t, 1)
	if g := r.accepted()[0]; g.Header.Get("Authorization") != "k" {
		t.Errorf("%+v", g)
	}
	if status, body := c.operate("DELETE", "streams/"+v.ID, "", operatorToken); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := c.operate("GET", "streams/"+v.ID, "", operatorToken); status != http.StatusNotFound {
		t.Errorf("after deletion %d", status)
	}
	for body, want := range map[string]ssf.Stream{
		`{"receiver":"workspace","delivery":{"method":"urn:ietf:rfc:8936"}}`:                                           {Audience: []string{ssf.GoogleAudience}, DefaultSubjects: ssf.SubjectsNone},
		`{"receiver":"workspace","delivery":{"method":"urn:ietf:rfc:8936"},"default_subjects":"ALL"}`:                  {Audience: []string{ssf.GoogleAudience}, DefaultSubjects: ssf.SubjectsAll},
		`{"receiver":"phone","delivery":{"method":"urn:ietf:rfc:8936"},"aud":"https://federation.example.com/org1/2"}`: {Audience: []string{"https://federation.example.com/org1/2"}, DefaultSubjects: ssf.SubjectsAll},
	} {
		status, answer := c.operate("POST", "streams", body, operatorToken)
		if err := json.Unmarshal([]byte(answer), &v); err != nil || status != http.StatusCreated {
			t.Errorf("%s: %d %s", body, status, answer)
			continue
		}
		o, err := c.find(t.Context(), v.ID)
		if err != nil {
			t.Fatal(err)
		}
		got := o.config()
		if diff := cmp.Diff(want, ssf.Stream{Audience: got.Audience, DefaultSubjects: got.DefaultSubjects}); diff != "" {
			t.Errorf("%s: (-want, +got):\n%s", body, diff)
		}
	}
}

// Who changed a stream is in the log.
func TestOperatorsAreNamedInTheLog(t *testing.T) {
	t.Parallel()
	core, lines := observer.New(zap.InfoLevel)
	w := newWorld(t)
	w.log = zap.New(core)
	c := w.start(nil)
	s := c.pollStream()
	if status, text := c.operate("POST", "streams/"+s.ID+"/pause", "", operatorToken); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	changes := lines.FilterMessage("operator changed a stream").All()
	if len(changes) != 1 || changes[0].ContextMap()["operator"] != "tests" {
		t.Errorf("%+v", changes)
	}
}
