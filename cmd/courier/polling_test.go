package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// found is the answer to a poll.
type found struct {
	Sets map[string]string
	More *bool `json:"moreAvailable"`
}

func (f found) jtis() []string {
	var out []string
	for jti := range f.Sets {
		out = append(out, jti)
	}
	slices.Sort(out)
	return out
}

// ask polls once, with no fuss about the SETs.
func (p *party) ask(t *testing.T, address string, request object) found {
	t.Helper()
	status, _, body := p.call(t, http.MethodPost, address, request)
	var f found
	if err := json.Unmarshal(body, &f); err != nil || status != http.StatusOK {
		t.Fatalf("poll: %d %s", status, body)
	}
	return f
}

// polled is a poll stream of a world of its own.
type polled struct {
	*world
	p       *party
	box     *outbox
	id, url string
}

func newPolled(t *testing.T, change ...func(string) string) *polled {
	t.Helper()
	w := newWorld(t, change...)
	c := &polled{world: w, p: w.another(t, poll), box: w.outbox(t)}
	stream, id := c.p.open(t, object{"method": poll}, sessionRevoked)
	c.id, c.url = id, pollURL(stream)
	return c
}

// now polls without waiting.
func (c *polled) now(t *testing.T, request object) found {
	t.Helper()
	request["returnImmediately"] = true
	return c.p.ask(t, c.url, request)
}

// TestLongPoll has two polls wait: one of them is answered at once, since somebody waits already, and the other one when
// there is a SET. maxEvents 0 never waits.
func TestLongPoll(t *testing.T) {
	t.Parallel()
	c := newPolled(t)
	answers := make(chan found, 2)
	for range 2 {
		go func() {
			status, _, body := c.p.call(t, http.MethodPost, c.url, object{})
			var f found
			if err := json.Unmarshal(body, &f); err != nil || status != http.StatusOK {
				t.Errorf("poll: %d %s", status, body)
			}
			answers <- f
		}()
	}
	if first := <-answers; len(first.Sets) != 0 || first.More != nil {
		t.Errorf("the second poll got %+v", first)
	}
	if acked := c.p.ask(t, c.url, object{"maxEvents": 0, "ack": []string{"unknown"}}); len(acked.Sets) != 0 {
		t.Errorf("maxEvents 0 got %+v", acked)
	}
	select {
	case early := <-answers:
		t.Errorf("the waiting poll got %+v before there was anything", early)
	default:
	}
	jti := c.box.revoke(t, tenant, "alice")
	if d := cmp.Diff([]string{jti}, (<-answers).jtis()); d != "" {
		t.Errorf("the waiting poll (-want, +got):\n%s", d)
	}
}

// TestLongPollEnds has a poll wait for nothing, for as long as it is configured.
func TestLongPollEnds(t *testing.T) {
	t.Parallel()
	c := newPolled(t, func(config string) string { return config + "  poll_wait: 1s\n" })
	if f := c.p.ask(t, c.url, object{"maxEvents": 5}); len(f.Sets) != 0 || f.More != nil {
		t.Errorf("got %+v", f)
	}
}

// TestMoreAvailable polls in small portions: each but the last says that there is more, and a subject's SETs come one by one.
func TestMoreAvailable(t *testing.T) {
	t.Parallel()
	c := newPolled(t)
	for range 4 {
		for user := range 5 {
			c.box.revoke(t, tenant, fmt.Sprint("user-", user))
		}
	}
	operator := &party{client: c.client, token: c.operator}
	eventually(t, patience, func() bool { // the courier has seen them all
		return operator.want(t, http.StatusOK, http.MethodGet, c.base+"/operator/v1/streams/"+c.id, nil)["pending"] == 20.0
	})
	keys := c.p.keys(t)
	want, got := c.box.order(tenant), map[string][]string{}
	ack := []string{}
	for total := 0; total < 20; {
		f := c.p.ask(t, c.url, object{"maxEvents": 3, "ack": ack})
		ack = f.jtis()
		if total += len(ack); len(ack) > 3 || len(ack) == 0 {
			t.Fatalf("%d SETs for maxEvents 3", len(ack))
		}
		for _, compact := range f.Sets {
			s, err := readSET(compact, keys.key)
			if err != nil {
				t.Fatal(err)
			}
			got[userOf(s)] = append(got[userOf(s)], s.jti)
		}
		if more := f.More != nil && *f.More; more != (total < 20) || f.More != nil && !*f.More {
			t.Errorf("after %d of 20: moreAvailable %v", total, f.More)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("order (-want, +got):\n%s", d)
	}
	if f := c.now(t, object{"ack": ack}); len(f.Sets) != 0 {
		t.Errorf("afterwards: %v", f.jtis())
	}
}

// TestUnacknowledgedComesAgain leaves a SET without an answer: it comes again, the same, and the next of its subject waits.
func TestUnacknowledgedComesAgain(t *testing.T) {
	t.Parallel()
	c := newPolled(t, func(config string) string {
		return strings.Replace(config, "courier:\n", "courier:\n  redeliver_after: 300ms\n", 1)
	})
	first, second := c.box.revoke(t, tenant, "alice"), c.box.revoke(t, tenant, "alice")
	for range 3 {
		f := c.p.ask(t, c.url, object{})
		if d := cmp.Diff([]string{first}, f.jtis()); d != "" {
			t.Fatalf("(-want, +got):\n%s", d)
		}
	}
	if d := cmp.Diff([]string{second}, c.p.ask(t, c.url, object{"ack": []string{first, first, "unknown"}}).jtis()); d != "" {
		t.Errorf("after the acknowledgement (-want, +got):\n%s", d)
	}
}

// TestAcknowledgementsAreDurable kills the courier right after it has answered one.
func TestAcknowledgementsAreDurable(t *testing.T) {
	t.Parallel()
	c := newPolled(t)
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		var want []string
		for user := range 6 {
			want = append(want, c.box.revoke(t, tenant, fmt.Sprint("user-", user)))
		}
		got := map[string]bool{}
		eventually(t, patience, func() bool {
			for _, jti := range c.now(t, object{}).jtis() {
				got[jti] = true
			}
			return len(got) == len(want)
		})
		c.now(t, object{"maxEvents": 0, "ack": want[:3]})
		c.kill()
		c.start(t)
		// The acknowledgement may also be the first thing that a courier hears in its new life.
		c.now(t, object{"maxEvents": 0, "ack": want[3:4]})
		var again []string
		eventually(t, patience, func() bool {
			again = append(again, c.now(t, object{}).jtis()...)
			return len(again) >= 2
		})
		again = append(again, c.now(t, object{}).jtis()...)
		if d := cmp.Diff(slices.Sorted(slices.Values(want[4:])), slices.Sorted(slices.Values(again))); d != "" {
			t.Fatalf("handed out again (-want, +got):\n%s", d)
		}
		c.now(t, object{"maxEvents": 0, "ack": want[4:]})
	}
}

// TestSetErrsAreDeadLetters refuses SETs by poll: each is a dead letter with the receiver's words, the next of its subject
// comes; an operator's replay brings it back with the same jti.
func TestSetErrsAreDeadLetters(t *testing.T) {
	t.Parallel()
	c := newPolled(t)
	first, second := c.box.revoke(t, tenant, "alice"), c.box.revoke(t, tenant, "alice")
	other := c.box.revoke(t, tenant, "bob")
	var got []string
	eventually(t, patience, func() bool {
		got = append(got, c.now(t, object{}).jtis()...)
		return len(got) == 2
	})
	if d := cmp.Diff(slices.Sorted(slices.Values([]string{first, other})), slices.Sorted(slices.Values(got))); d != "" {
		t.Fatalf("(-want, +got):\n%s", d)
	}
	// One that is both acknowledged and refused is refused.
	f := c.p.ask(t, c.url, object{"ack": []string{first, other}, "setErrs": object{
		first:     object{"err": "invalid_audience", "description": "not for\nus"},
		"unknown": object{"err": "invalid_request", "description": ""},
	}})
	if d := cmp.Diff([]string{second}, f.jtis()); d != "" {
		t.Errorf("after the refusal (-want, +got):\n%s", d)
	}
	letters := c.box.letters(t)
	if len(letters) != 1 {
		t.Fatalf("dead letters %+v", letters)
	}
	d, at := letters[0], c.box.at(first)
	if d.Source != "stream:"+c.id || d.Stage != "courier" || d.Topic != events.TopicRevocations || d.Partition != at.partition || d.Offset != at.offset ||
		d.Reason != "jti "+first+": invalid_audience: not for\nus" || string(d.Bytes) != string(c.box.value(first)) || d.Size != len(d.Bytes) || d.ID == "" {
		t.Errorf("dead letter %+v", d)
	}
	c.now(t, object{"maxEvents": 0, "ack": []string{second}})
	if f := c.now(t, object{}); len(f.Sets) != 0 {
		t.Errorf("then %v", f.jtis())
	}
	replay := "streams/" + c.id + "/replay"
	for name, wrong := range map[string]object{
		"another jti":     {"jti": second, "partition": d.Partition, "offset": d.Offset},
		"no such offset":  {"jti": first, "partition": d.Partition, "offset": 1 << 40},
		"a negative one":  {"jti": first, "partition": d.Partition, "offset": -1},
		"no such part":    {"jti": first, "partition": 99, "offset": d.Offset},
		"nothing":         {},
		"both":            {"jti": first, "partition": d.Partition, "offset": d.Offset, "since": "2026-01-01T00:00:00Z"},
		"unknown members": {"jti": first, "partition": d.Partition, "offset": d.Offset, "all": true},
	} {
		operator := &party{client: c.client, token: c.operator}
		if status, _, body := operator.call(t, http.MethodPost, c.base+"/operator/v1/"+replay, wrong); status != http.StatusBadRequest {
			t.Errorf("replay of %s: %d %s", name, status, body)
		}
	}
	c.operate(t, replay, object{"jti": first, "partition": d.Partition, "offset": d.Offset})
	if d := cmp.Diff([]string{first}, c.p.ask(t, c.url, object{}).jtis()); d != "" {
		t.Errorf("replayed (-want, +got):\n%s", d)
	}
	c.now(t, object{"maxEvents": 0, "ack": []string{first}})
	c.operate(t, replay, object{"since": "2026-01-01T00:00:00Z"})
	var all, ack []string
	eventually(t, patience, func() bool {
		ack = c.now(t, object{"ack": ack}).jtis()
		all = append(all, ack...)
		return len(all) >= 3
	})
	if d := cmp.Diff(slices.Sorted(slices.Values([]string{first, second, other})), slices.Sorted(slices.Values(all))); d != "" {
		t.Errorf("replayed since then (-want, +got):\n%s", d)
	}
	if slices.Index(all, first) > slices.Index(all, second) {
		t.Errorf("replayed out of order: %q", all)
	}
}

// TestMalformedPolls sends what is no poll.
func TestMalformedPolls(t *testing.T) {
	t.Parallel()
	c := newPolled(t)
	for _, body := range []string{
		"", "[]", "null", ";{ broken", `{"maxEvents":-1}`, `{"maxEvents":"1"}`, `{"maxEvents":1.5}`, `{"ack":"x"}`, `{"ack":[1]}`, `{"setErrs":[]}`,
		`{"setErrs":{"x":{}}}`, `{"returnImmediately":"yes"}`, `{"ack":["` + strings.Repeat("x", 1000) + `"]}`, "\xff{}",
	} {
		if status, _, answer := c.p.call(t, http.MethodPost, c.url, body); status != http.StatusBadRequest {
			t.Errorf("%.60q: %d %s", body, status, answer)
		}
	}
	if status, _, _ := c.p.call(t, http.MethodPost, c.url, `{"ack":[`+strings.Repeat(`"x",`, 100_000)+`"x"]}`); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a long one: %d", status)
	}
	jti := c.box.revoke(t, tenant, "alice")
	// Members that are not known, and null, are as good as absent.
	f := c.p.ask(t, c.url, object{"max_events": 0, "stream_id": "x", "maxEvents": nil, "ack": nil, "setErrs": nil, "returnImmediately": nil})
	if d := cmp.Diff([]string{jti}, f.jtis()); d != "" {
		t.Errorf("(-want, +got):\n%s", d)
	}
}

// TestTooManyRequests asks for more than a receiver may.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c string) string {
		return strings.NewReplacer("requests_per_second: 1000", "requests_per_second: 0.1", "burst: 1000", "burst: 10", "min_verification_interval: 1s", "min_verification_interval: 60s").Replace(c)
	})
	p := w.another(t, poll)
	tooMany := func(status int, header http.Header) bool {
		after, err := strconv.Atoi(header.Get("Retry-After"))
		return status == http.StatusTooManyRequests && err == nil && after >= 1 && after <= 60
	}
	stream, id := p.open(t, object{"method": poll}, sessionRevoked)
	verify := p.endpoint(t, "verification_endpoint")
	p.verify(t, id, "first")
	if status, header, body := p.call(t, http.MethodPost, verify, object{"stream_id": id}); !tooMany(status, header) {
		t.Errorf("a second verification: %d %s %v", status, body, header)
	}
	limited := false
	for range 20 {
		status, header, _ := p.call(t, http.MethodGet, p.endpoint(t, "configuration_endpoint"), nil)
		if status != http.StatusOK && !tooMany(status, header) {
			t.Fatalf("list: %d %v", status, header)
		}
		limited = limited || status != http.StatusOK
	}
	if status, header, _ := p.call(t, http.MethodPost, pollURL(stream), object{"returnImmediately": true}); !limited || !tooMany(status, header) {
		t.Errorf("the receiver is not limited: %v, %d", limited, status)
	}
	// Others are not.
	q := w.another(t, poll)
	_, own := q.open(t, object{"method": poll}, sessionRevoked)
	q.want(t, http.StatusOK, http.MethodGet, q.about(t, own), nil)
}

// TestIsolation tries every operation on a stream as another receiver, as one of another tenant, with too small a scope, and
// with the token in the wrong place.
func TestIsolation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, twoTenants)
	p := w.another(t, poll)
	stream, id := p.open(t, object{"method": poll}, sessionRevoked)
	box := w.outbox(t)
	operations := func(p *party, own func(address string) string) map[string]func(token, suffix string) (int, http.Header, []byte) {
		conf, status, verify := own(p.endpoint(t, "configuration_endpoint")), own(p.endpoint(t, "status_endpoint")), own(p.endpoint(t, "verification_endpoint"))
		add, remove := own(p.endpoint(t, "add_subject_endpoint")), own(p.endpoint(t, "remove_subject_endpoint"))
		polling := own(pollURL(stream))
		subject := object{"format": "email", "email": "a@example.com"}
		call := func(method, address string, body any) func(token, suffix string) (int, http.Header, []byte) {
			return func(token, suffix string) (int, http.Header, []byte) {
				if strings.Contains(address, "?") {
					suffix = strings.Replace(suffix, "?", "&", 1)
				}
				return p.callAs(t, token, method, address+suffix, body)
			}
		}
		query := "?stream_id=" + url.QueryEscape(id)
		return map[string]func(token, suffix string) (int, http.Header, []byte){
			"read":           call(http.MethodGet, conf+query, nil),
			"update":         call(http.MethodPatch, conf, object{"stream_id": id, "description": "hijacked"}),
			"replace":        call(http.MethodPut, conf, object{"stream_id": id}),
			"read status":    call(http.MethodGet, status+query, nil),
			"pause":          call(http.MethodPost, status, object{"stream_id": id, "status": "paused"}),
			"verify":         call(http.MethodPost, verify, object{"stream_id": id}),
			"add subject":    call(http.MethodPost, add, object{"stream_id": id, "subject": subject}),
			"remove subject": call(http.MethodPost, remove, object{"stream_id": id, "subject": subject}),
			"poll":           call(http.MethodPost, polling, object{"returnImmediately": true}),
			"acknowledge":    call(http.MethodPost, polling, object{"maxEvents": 0, "ack": []string{"x"}}),
			"delete":         call(http.MethodDelete, conf+query, nil),
		}
	}
	same := func(address string) string { return address }
	jti := box.revoke(t, tenant, "alice")
	before := p.want(t, http.StatusOK, http.MethodGet, p.about(t, id), nil)

	stranger, outsider := w.another(t, poll), w.outsider(t)
	for name, do := range operations(p, same) {
		if status, _, body := do(stranger.token, ""); status != http.StatusNotFound {
			t.Errorf("%s by another receiver: %d %s", name, status, body)
		}
		for what, token := range map[string]string{"of another tenant": outsider.token, "of an operator": w.operator, "that is forged": p.token[:len(p.token)-4] + "AAAA"} {
			status, header, body := do(token, "")
			if status != http.StatusUnauthorized || !strings.Contains(header.Get("WWW-Authenticate"), `error="invalid_token"`) {
				t.Errorf("%s with a token %s: %d %s %v", name, what, status, body, header)
			}
		}
		for what, with := range map[string]string{"alone": "", "besides": p.token} {
			status, header, body := do(with, "?access_token="+url.QueryEscape(p.token))
			if status != http.StatusUnauthorized || header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s with the token in the query, %s: %d %s", name, what, status, body)
			}
		}
		if status, header, _ := do("", ""); status != http.StatusUnauthorized || header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s without a token: %d", name, status)
		}
	}
	for name, do := range operations(outsider, func(a string) string { return strings.Replace(a, "/acme/", "/globex/", 1) }) {
		if status, _, body := do(outsider.token, ""); status != http.StatusNotFound {
			t.Errorf("%s through the other tenant's endpoint: %d %s", name, status, body)
		}
	}
	for who, other := range map[string]*party{"another receiver": stranger, "one of another tenant": outsider} {
		if status, _, body := other.call(t, http.MethodGet, other.endpoint(t, "configuration_endpoint"), nil); status != http.StatusOK || strings.TrimSpace(string(body)) != "[]" {
			t.Errorf("the list of %s: %d %s", who, status, body)
		}
	}
	if d := cmp.Diff(before, p.want(t, http.StatusOK, http.MethodGet, p.about(t, id), nil)); d != "" {
		t.Errorf("the stream has changed:\n%s", d)
	}

	// Who may only read, reads and polls.
	reader := w.login(t, p.id, "ssf.read")
	readers := []string{"read", "read status", "poll", "acknowledge"}
	for name, do := range operations(p, same) {
		if name == "poll" {
			continue // below
		}
		status, header, body := do(reader.token, "")
		if slices.Contains(readers, name) {
			if status != http.StatusOK {
				t.Errorf("%s with ssf.read: %d %s", name, status, body)
			}
		} else if status != http.StatusForbidden || !strings.Contains(header.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
			t.Errorf("%s with ssf.read: %d %s %v", name, status, body, header)
		}
	}
	if status, _, body := reader.call(t, http.MethodPost, p.endpoint(t, "configuration_endpoint"), object{}); status != http.StatusForbidden {
		t.Errorf("create with ssf.read: %d %s", status, body)
	}
	if d := cmp.Diff([]string{jti}, reader.ask(t, pollURL(stream), object{}).jtis()); d != "" {
		t.Errorf("polled with ssf.read (-want, +got):\n%s", d)
	}
}
