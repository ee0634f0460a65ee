package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const streamUpdated = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"

// status sets the status of a stream as its receiver.
func (p *party) status(t *testing.T, id, status string) {
	t.Helper()
	p.want(t, http.StatusOK, http.MethodPost, p.endpoint(t, "status_endpoint"), object{"stream_id": id, "status": status})
}

// follow polls a poll stream until the test ends, into a ledger.
func (w *world) follow(t *testing.T, p *party, l *ledger, name string, stream object) {
	t.Helper()
	u, err := url.Parse(pollURL(stream))
	if err != nil {
		t.Fatal(err)
	}
	one := &poller{client: w.client, token: p.token, path: u.Path, bases: []string{w.base}, ledger: l, name: name, max: 10}
	ctx := t.Context()
	var polling sync.WaitGroup
	polling.Go(func() { one.run(ctx) })
	t.Cleanup(polling.Wait)
}

// pair is a stream by push and one by poll of a party, and one of another party that is always enabled: a witness.
type pair struct {
	*world
	t      *testing.T
	p      *party
	box    *outbox
	ledger *ledger
	sink   *sink
	ids    map[string]string // by name
}

func newPair(t *testing.T, change ...func(string) string) *pair {
	t.Helper()
	w := newWorld(t, change...)
	c := &pair{world: w, t: t, p: w.another(t, push), box: w.outbox(t), ids: map[string]string{}}
	c.ledger = newLedger(t, c.p.keys(t))
	c.sink = newSink(t, c.ledger, "push", nil)
	_, c.ids["push"] = c.p.open(t, pushTo(c.sink.URL), sessionRevoked)
	polled, id := c.p.open(t, object{"method": poll}, sessionRevoked)
	c.ids["poll"] = id
	w.follow(t, c.p, c.ledger, "poll", polled)
	w.another(t, push).open(t, pushTo(newSink(t, c.ledger, "witness", nil).URL), sessionRevoked)
	return c
}

// decide writes decisions about some users and waits until the witness has them all.
func (c *pair) decide(rounds int) (jtis []string) {
	c.t.Helper()
	for range rounds {
		for user := range 3 {
			jtis = append(jtis, c.box.revoke(c.t, tenant, fmt.Sprint("user-", user)))
		}
	}
	c.ledger.await(c.t, "witness", jtis...)
	return jtis
}

// types are those of the control events that a stream got, with status and reason.
func (c *pair) controls(name string) []string {
	var out []string
	for _, s := range c.ledger.first(name) {
		if userOf(s) == "" {
			kind := s.eventType[strings.LastIndex(s.eventType, "/")+1:]
			out = append(out, strings.TrimSpace(fmt.Sprint(kind, " ", text(s.event, "status"), text(s.event, "state"), " ", text(s.event, "reason"))))
		}
	}
	return out
}

// decisions are the SETs of decisions that a stream got, by user.
func (c *pair) decisions(name string) map[string][]string {
	all := c.ledger.bySubject(name)
	for kind := range all {
		if strings.Contains(kind, "://") {
			delete(all, kind)
		}
	}
	return all
}

// TestPausedHolds pauses streams as their receiver, over a crash, too: nothing comes, and everything does afterwards, in order.
func TestPausedHolds(t *testing.T) {
	t.Parallel()
	c := newPair(t)
	before := c.decide(1)
	for name, id := range c.ids {
		c.ledger.await(t, name, before...)
		c.p.status(t, id, "paused")
	}
	total := map[string]int{"push": len(c.ledger.first("push")), "poll": len(c.ledger.first("poll"))}
	c.decide(3)
	for _, id := range c.ids {
		c.p.verify(t, id, "while paused")
	}
	c.kill()
	c.start(t)
	c.decide(2)
	for name, id := range c.ids {
		if got := len(c.ledger.first(name)); got != total[name] {
			t.Errorf("%s: %d SETs while it was paused", name, got-total[name])
		}
		got := c.p.want(t, http.StatusOK, http.MethodGet, c.p.endpoint(t, "status_endpoint")+"?stream_id="+id, nil)
		if text(got, "status") != "paused" {
			t.Errorf("%s: status after a crash is %v", name, got)
		}
		c.p.status(t, id, "enabled")
	}
	want := c.box.order(tenant)
	for name := range c.ids {
		c.ledger.await(t, name, everything(want)...)
		if d := cmp.Diff(want, c.decisions(name)); d != "" {
			t.Errorf("%s (-want, +got):\n%s", name, d)
		}
		c.ledger.until(t, "the verification has come", func() bool { return len(c.controls(name)) > 0 })
		// What the receiver itself asked for is not announced.
		if d := cmp.Diff([]string{"verification while paused"}, c.controls(name)); d != "" {
			t.Errorf("%s: control events (-want, +got):\n%s", name, d)
		}
	}
}

// TestDisabledDrops disables streams: what is decided meanwhile never comes, what is decided afterwards does.
func TestDisabledDrops(t *testing.T) {
	t.Parallel()
	c := newPair(t)
	for _, id := range c.ids {
		c.p.status(t, id, "paused")
	}
	c.decide(1) // held, and then dropped
	for _, id := range c.ids {
		c.p.status(t, id, "disabled")
		status, _, body := c.p.call(t, http.MethodPost, c.p.endpoint(t, "verification_endpoint"), object{"stream_id": id})
		if status != http.StatusBadRequest {
			t.Errorf("verification of a disabled stream: %d %s", status, body)
		}
	}
	c.decide(2)
	c.kill()
	c.start(t)
	c.decide(1)
	for _, id := range c.ids {
		c.p.status(t, id, "enabled")
	}
	after := c.decide(2)
	for name := range c.ids {
		c.ledger.await(t, name, after...)
		if d := cmp.Diff(slices.Sorted(slices.Values(after)), everything(c.decisions(name))); d != "" {
			t.Errorf("%s (-want, +got):\n%s", name, d)
		}
	}
}

// TestOperatorsChangesAreAnnounced has an operator pause, enable and disable streams: each change is announced, on a stream
// that sends nothing else, too.
func TestOperatorsChangesAreAnnounced(t *testing.T) {
	t.Parallel()
	c := newPair(t)
	var want []string
	step := func(action, status, reason string) {
		t.Helper()
		want = append(want, strings.TrimSpace("stream-updated "+status+" "+reason))
		for name, id := range c.ids {
			c.operate(t, "streams/"+id+"/"+action, object{"reason": reason})
			c.ledger.until(t, name+" has heard of "+action, func() bool { return len(c.controls(name)) >= len(want) })
			if d := cmp.Diff(want, c.controls(name)); d != "" {
				t.Errorf("%s: control events (-want, +got):\n%s", name, d)
			}
			got := c.p.want(t, http.StatusOK, http.MethodGet, c.p.endpoint(t, "status_endpoint")+"?stream_id="+id, nil)
			if text(got, "status") != status || text(got, "reason") != reason {
				t.Errorf("%s: status is %v after %s", name, got, action)
			}
		}
	}
	step("pause", "paused", "too many complaints")
	held := c.decide(2)
	for name := range c.ids {
		if n := len(c.decisions(name)); n != 0 {
			t.Errorf("%s: decisions about %d users while it was paused", name, n)
		}
	}
	step("enable", "enabled", "sorry")
	for name := range c.ids {
		c.ledger.await(t, name, held...)
		if d := cmp.Diff(c.box.order(tenant), c.decisions(name)); d != "" {
			t.Errorf("%s (-want, +got):\n%s", name, d)
		}
	}
	step("disable", "disabled", "")
	c.decide(1)
	step("enable", "enabled", "")
	after := c.decide(1)
	for name, id := range c.ids {
		c.ledger.await(t, name, after...)
		if d := cmp.Diff(slices.Sorted(slices.Values(append(slices.Clone(held), after...))), everything(c.decisions(name))); d != "" {
			t.Errorf("%s (-want, +got):\n%s", name, d)
		}
		for _, s := range c.ledger.first(name) {
			sub, _ := s.claims["sub_id"].(object)
			if s.eventType == streamUpdated && (text(sub, "format") != "opaque" || text(sub, "id") != id) {
				t.Errorf("%s: sub_id of stream-updated is %v", name, sub)
			}
		}
	}
}

// TestDeadReceiverIsPaused has a receiver that takes nothing for what counts as long: its stream is paused with an
// announcement, and when the receiver is back and enables it, it gets everything in order.
func TestDeadReceiverIsPaused(t *testing.T) {
	t.Parallel()
	c := newPair(t, quickly, func(config string) string {
		return strings.Replace(config, "courier:\n", "courier:\n  dead_after: 300ms\n  watch_every: 50ms\n", 1)
	})
	back := make(chan struct{})
	c.sink.answers(func(_ int, _ secevent, w http.ResponseWriter) bool {
		select {
		case <-back:
			return true
		default:
			w.WriteHeader(http.StatusBadGateway)
			return false
		}
	})
	c.decide(2)
	status := func() string {
		return text(c.p.want(t, http.StatusOK, http.MethodGet, c.p.endpoint(t, "status_endpoint")+"?stream_id="+c.ids["push"], nil), "status")
	}
	eventually(t, patience, func() bool { return status() == "paused" })
	c.decide(1)
	close(back)
	c.ledger.until(t, "the pause is announced", func() bool { return len(c.controls("push")) > 0 })
	if got := c.controls("push"); len(got) != 1 || !strings.HasPrefix(got[0], "stream-updated paused ") {
		t.Errorf("control events %q", got)
	}
	if got := c.decisions("push"); len(got) != 0 {
		t.Errorf("a paused stream sent %v", got)
	}
	c.p.status(t, c.ids["push"], "enabled")
	for name := range c.ids {
		c.ledger.await(t, name, everything(c.box.order(tenant))...)
		if d := cmp.Diff(c.box.order(tenant), c.decisions(name)); d != "" {
			t.Errorf("%s (-want, +got):\n%s", name, d)
		}
	}
}

// secretSink keeps what Authorization came with each push.
func secretSink(t *testing.T) (*httptest.Server, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.URL.Path+" "+strings.Join(r.Header.Values("Authorization"), "+"))
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(s.Close)
	return s, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// TestUpdateAndReplace says what PATCH and PUT mean, by what is delivered afterwards.
func TestUpdateAndReplace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.another(t, push)
	first, seen := secretSink(t)
	other, seenByOther := secretSink(t)
	conf := p.endpoint(t, "configuration_endpoint")
	stream := p.want(t, http.StatusCreated, http.MethodPost, conf, object{
		"delivery":         object{"method": push, "endpoint_url": first.URL + "/a", "authorization_header": "Bearer secret-one"},
		"events_requested": []string{sessionRevoked, "https://example.com/unknown"}, "description": "mine",
	})
	id := text(stream, "stream_id")
	patch := func(status int, body object) object {
		t.Helper()
		body["stream_id"] = id
		return p.want(t, status, http.MethodPatch, conf, body)
	}
	put := func(status int, body object) object {
		t.Helper()
		body["stream_id"] = id
		return p.want(t, status, http.MethodPut, conf, body)
	}
	// expect sends a synthetic event, and says where it has to come in and with which authorization.
	expect := func(got func() []string, n int, want string) {
		t.Helper()
		w.operate(t, "streams/"+id+"/emit", object{"type": sessionRevoked})
		eventually(t, patience, func() bool { return len(got()) >= n })
		if last := got()[n-1]; last != want {
			t.Errorf("push %d is %q, want %q", n, last, want)
		}
	}
	expect(seen, 1, "/a Bearer secret-one")

	// A member that is absent stays.
	got := patch(http.StatusOK, object{"description": "yours"})
	if d := list(got["events_delivered"]); !slices.Equal(d, []string{sessionRevoked}) || text(got, "description") != "yours" {
		t.Errorf("after PATCH of the description: %v", got)
	}
	expect(seen, 2, "/a Bearer secret-one")
	// The secret stays with the origin, and can be read nowhere.
	got = patch(http.StatusOK, object{"delivery": object{"method": push, "endpoint_url": first.URL + "/b"}})
	if raw, _ := json.Marshal(got); strings.Contains(string(raw), "secret") {
		t.Errorf("the secret can be read: %s", raw)
	}
	expect(seen, 3, "/b Bearer secret-one")
	patch(http.StatusOK, object{"delivery": object{"method": push, "endpoint_url": first.URL + "/b", "authorization_header": "Bearer secret-two"}})
	expect(seen, 4, "/b Bearer secret-two")
	patch(http.StatusOK, object{"delivery": object{"method": push, "endpoint_url": first.URL + "/b", "authorization_header": ""}})
	expect(seen, 5, "/b ")
	patch(http.StatusOK, object{"delivery": object{"method": push, "endpoint_url": first.URL + "/b", "authorization_header": "Bearer secret-three"}})
	patch(http.StatusOK, object{"delivery": object{"method": push, "endpoint_url": other.URL + "/c"}})
	expect(seenByOther, 1, "/c ")

	// What the transmitter supplies must be what it is; an update that fails changes nothing.
	current := p.want(t, http.StatusOK, http.MethodGet, p.about(t, id), nil)
	for name, value := range map[string]any{
		"iss": "https://evil.example.com", "aud": "https://evil.example.com", "events_supported": []string{sessionRevoked},
		"events_delivered": []string{}, "min_verification_interval": 77, "inactivity_timeout": 77,
		"delivery":         object{"method": "urn:example:carrier-pigeon", "endpoint_url": "https://example.com"},
		"events_requested": "https://example.com", "description": 5,
	} {
		patch(http.StatusBadRequest, object{name: value, "status": "x"})
		put(http.StatusBadRequest, object{"delivery": current["delivery"], name: value})
	}
	if d := cmp.Diff(current, p.want(t, http.StatusOK, http.MethodGet, p.about(t, id), nil)); d != "" {
		t.Errorf("what is refused has changed something (-before, +after):\n%s", d)
	}
	if d := cmp.Diff(current, put(http.StatusOK, maps.Clone(current))); d != "" {
		t.Errorf("PUT of what GET gave (-before, +after):\n%s", d)
	}
	expect(seenByOther, 2, "/c ")

	// A replacement without a member deletes it; without a delivery that is poll.
	got = put(http.StatusOK, object{"delivery": object{"method": push, "endpoint_url": first.URL + "/d"}})
	if got["description"] != nil || got["events_requested"] != nil || slices.Contains(list(got["events_delivered"]), stepUpRequired) {
		t.Errorf("after PUT of the delivery alone: %v", got)
	}
	expect(seen, 6, "/d ")
	got = put(http.StatusOK, object{"events_requested": []string{stepUpRequired, sessionRevoked}})
	if pollURL(got) == "" || !slices.Equal(list(got["events_delivered"]), []string{stepUpRequired, sessionRevoked}) {
		t.Errorf("after PUT without a delivery: %v", got)
	}
	w.operate(t, "streams/"+id+"/emit", object{"type": sessionRevoked})
	answer := p.want(t, http.StatusOK, http.MethodPost, pollURL(got), object{})
	if sets, _ := answer["sets"].(object); len(sets) != 1 {
		t.Errorf("polled %v", answer)
	}
	// What was handed out by poll and not acknowledged is pushed when the stream becomes one by push.
	patch(http.StatusOK, object{"delivery": object{"method": push, "endpoint_url": first.URL + "/e"}})
	eventually(t, patience, func() bool { return len(seen()) >= 7 })
	if last := seen()[6]; last != "/e " {
		t.Errorf("the last push is %q", last)
	}
	status, _, body := p.call(t, http.MethodPost, pollURL(got), object{"returnImmediately": true})
	if status/100 != 4 {
		t.Errorf("polling a stream by push: %d %s", status, body)
	}
}
