package stepup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/session"
)

// hands is a clock that a test sets.
type hands struct{ now time.Time }

func (h *hands) read() time.Time { return h.now }

func newObserver(t testing.TB, change func(*ObserverConfig)) (*Observer, *hands) {
	t.Helper()
	clock := &hands{time.Date(2026, 3, 4, 8, 15, 31, 244e6, time.UTC)}
	cfg := ObserverConfig{
		URL: "https://countersign.example.com/v1/sessions", Token: func() (string, error) { return "t", nil },
		App: "bank", Tenant: "acme", Now: clock.read,
	}
	if change != nil {
		change(&cfg)
	}
	o, err := NewObserver(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return o, clock
}

func useOf(session, ip, agent string) SessionUse {
	return SessionUse{Subject: Subject{User: "u1", Session: session}, IP: ip, UserAgent: agent}
}

// reported observes a use, and tells whether it gave a report.
func reported(o *Observer, use SessionUse) bool {
	before := o.Stats().Reports
	o.Observe(use)
	return o.Stats().Reports != before
}

func TestObserverReportsOnceAnInterval(t *testing.T) {
	t.Parallel()
	o, clock := newObserver(t, nil)
	step := func(wait time.Duration, use SessionUse, want bool) {
		t.Helper()
		clock.now = clock.now.Add(wait)
		if got := reported(o, use); got != want {
			t.Errorf("at %v: reported %v, want %v", clock.now, got, want)
		}
	}
	const a, b = "192.0.2.1", "198.51.100.1"
	step(0, useOf("s1", a, "ua"), true)
	step(time.Second, useOf("s1", a, "ua"), false)
	step(0, useOf("s2", a, "ua"), true)
	step(58*time.Second, useOf("s1", a, "ua"), false)
	step(time.Second, useOf("s1", a, "ua"), true)
	step(time.Second, useOf("s1", b, "ua"), true)   // another address, at once
	step(time.Second, useOf("s1", b, "ua-2"), true) // another user agent, at once
	step(time.Second, useOf("s1", a, "ua"), false)  // back: said within the interval
	step(time.Hour, useOf("s1", a, "ua"), true)
	clock.now = clock.now.Add(-24 * time.Hour) // the clock is set
	step(0, useOf("s1", a, "ua"), true)
	other := useOf("s1", a, "ua")
	other.User = "u2"
	step(0, other, true) // sessions of two users are two
}

func TestChangesWakeTheSender(t *testing.T) {
	t.Parallel()
	o, _ := newObserver(t, func(c *ObserverConfig) { c.Batch = 3 })
	woken := func() bool {
		select {
		case <-o.wake:
			return true
		default:
			return false
		}
	}
	o.Observe(useOf("s1", "192.0.2.1", "ua"))
	if woken() {
		t.Error("a session that is new may wait")
	}
	if o.Observe(useOf("s1", "192.0.2.2", "ua")); !woken() {
		t.Error("a changed address waits")
	}
	if o.Observe(useOf("s2", "192.0.2.1", "ua")); !woken() {
		t.Error("a full batch waits")
	}
}

// TestSamplingLaw checks every use against what was reported before: it is reported when its pair of address and user
// agent was not, within an interval; and when it is reported, either nothing of the session was for an interval, or the
// pair is another than at the last use.
func TestSamplingLaw(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const interval = time.Minute
		clock := &hands{time.Unix(1772612131, 0)}
		o, err := NewObserver(ObserverConfig{
			URL: "http://127.0.0.1/v1/sessions", Token: func() (string, error) { return "", nil }, Interval: interval, Now: clock.read,
		})
		if err != nil {
			t.Fatal(err)
		}
		type pair struct{ session, pair int }
		said := map[pair]time.Time{}
		last := map[int]int{}
		inWindow := map[int][]time.Time{}
		for range rapid.IntRange(1, 300).Draw(t, "uses") {
			clock.now = clock.now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
			p := pair{rapid.IntRange(0, 2).Draw(t, "session"), rapid.IntRange(0, 6).Draw(t, "pair")}
			got := reported(o, useOf(fmt.Sprint(p.session), fmt.Sprintf("192.0.2.%d", p.pair%3), fmt.Sprint(p.pair/3)))
			recent := 0
			for _, at := range inWindow[p.session] {
				if clock.now.Sub(at) < interval {
					recent++
				}
			}
			at, ever := said[p]
			fresh := ever && clock.now.Sub(at) < interval
			if !got && !fresh && recent < maxReports/2 {
				t.Fatalf("%v was not reported: %v", p, clock.now)
			}
			if before, used := last[p.session]; got && fresh && used && before == p.pair {
				t.Fatalf("%v was reported again, and nothing had changed", p)
			}
			if got && recent >= maxReports+pairsKept {
				t.Fatalf("%d reports of one session in an interval", recent)
			}
			if got {
				said[p] = clock.now
				inWindow[p.session] = append(inWindow[p.session], clock.now)
			}
			last[p.session] = p.pair
		}
	})
}

// One client with a new user agent for every request does not crowd out the others.
func TestOneSessionCannotFlood(t *testing.T) {
	t.Parallel()
	o, clock := newObserver(t, nil)
	flood := func() {
		for i := range 1000 {
			o.Observe(useOf("s1", "192.0.2.1", fmt.Sprint("agent ", clock.now.Unix(), i)))
		}
	}
	flood()
	if s := o.Stats(); s.Reports != maxReports || s.Limited != 1000-maxReports || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	if !reported(o, useOf("s2", "192.0.2.1", "ua")) {
		t.Error("another session is silenced")
	}
	clock.now = clock.now.Add(time.Minute)
	flood()
	if s := o.Stats(); s.Reports != 2*maxReports+1 {
		t.Errorf("%+v: the next interval counts anew", s)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bound := rapid.IntRange(1, 200).Draw(t, "bound")
		s := newSampler(bound, time.Minute)
		for i := range rapid.IntRange(0, 1000).Draw(t, "sessions") {
			use := useOf(fmt.Sprint(i), "192.0.2.1", "ua")
			if s.see(&use, int64(i)+1) != due || s.see(&use, int64(i)+1) != known {
				t.Fatalf("session %d: a new one is due, and then known", i)
			}
			slots, index := 0, 0
			for j := range s.shards {
				slots += len(s.shards[j].slots)
				index += len(s.shards[j].index)
			}
			if slots > bound || index != slots {
				t.Fatalf("%d sessions in %d slots, at most %d", index, slots, bound)
			}
		}
	})
}

// What is used stays, what is not makes room.
func TestIdleSessionsMakeRoom(t *testing.T) {
	t.Parallel()
	s := newSampler(1, time.Minute) // one shard
	s.shards[0].limit = 100
	busy := useOf("busy", "192.0.2.1", "ua")
	s.see(&busy, 1)
	for i := range 10_000 {
		idle := useOf(fmt.Sprint(i), "192.0.2.1", "ua")
		s.see(&idle, 1)
		if s.see(&busy, 1) != known {
			t.Fatalf("the busy session was forgotten after %d others", i)
		}
	}
}

func TestQueueDropsItsOldest(t *testing.T) {
	t.Parallel()
	o, _ := newObserver(t, func(c *ObserverConfig) { c.Queue = 4 })
	for i := range 7 {
		o.Observe(useOf(fmt.Sprint(i), "192.0.2.1", "ua"))
	}
	if o.Dropped() != 3 {
		t.Errorf("dropped %d, want 3", o.Dropped())
	}
	var got []string
	for _, r := range append(o.waiting.take(3), o.waiting.take(100)...) {
		got = append(got, r.use.Session)
	}
	if diff := cmp.Diff([]string{"3", "4", "5", "6"}, got); diff != "" || o.waiting.take(1) == nil || len(o.waiting.take(1)) != 0 {
		t.Error(diff)
	}
}

func TestNothingToReport(t *testing.T) {
	t.Parallel()
	o, _ := newObserver(t, nil)
	o.Observe(SessionUse{Subject: Subject{User: "u1"}})
	o.Observe(SessionUse{Subject: Subject{Session: "s1"}})
	if s := o.Stats(); s != (ObserverStats{}) {
		t.Errorf("%+v", s)
	}
	o.Observe(useOf(strings.Repeat("s", 300), "", ""))
	if s := o.Stats(); s != (ObserverStats{Refused: 1}) {
		t.Errorf("%+v: names that countersign would refuse are not sent", s)
	}
}

// TestReportIsWhatIngestReads decodes reports as countersign does: nothing is lost.
func TestReportIsWhatIngestReads(t *testing.T) {
	t.Parallel()
	o, clock := newObserver(t, nil)
	o.Observe(useOf("s1", "[2001:db8::1]:4711", `Mozilla/5.0 "quoted" <ü>`))
	body := o.encode(o.waiting.take(10))
	var wire []map[string]string
	if err := json.Unmarshal(body, &wire); err != nil || len(wire) != 1 {
		t.Fatalf("%s: %v", body, err)
	}
	var got events.Event
	session.Reports().Decode(body, func(_ []byte, e *events.Event, err error) {
		if err != nil {
			t.Fatal(err)
		}
		got = *e
	})
	want := events.Event{
		Kind: events.SessionUse, Tenant: "acme", User: events.User{ID: "u1"}, Time: events.MillisOf(clock.now),
		Source: events.Source{Family: session.Family, ID: wire[0]["id"]}, App: events.Ref{ID: "bank"}, Session: events.Session{ID: "s1"},
		IP: "2001:db8::1", UserAgent: `Mozilla/5.0 "quoted" <ü>`, Interactive: got.Interactive,
	}
	if diff := cmp.Diff(want, got); diff != "" || got.Validate() != nil {
		t.Error(diff, got.Validate())
	}
}

func TestIDsNameUseAndInterval(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1772612160000) // a full minute
	base := report{use: SessionUse{Subject: Subject{Tenant: "acme", User: "u1", Session: "s1"}, IP: "192.0.2.1", UserAgent: "ua", App: "bank"}, at: at}
	id := base.id(time.Minute)
	for name, change := range map[string]struct {
		edit func(*report)
		same bool
	}{
		"nothing":       {func(*report) {}, true},
		"later":         {func(r *report) { r.at = at.Add(59_999 * time.Millisecond) }, true},
		"next interval": {func(r *report) { r.at = at.Add(time.Minute) }, false},
		"before":        {func(r *report) { r.at = at.Add(-time.Millisecond) }, false},
		"session":       {func(r *report) { r.use.Session = "s2" }, false},
		"user":          {func(r *report) { r.use.User = "u2" }, false},
		"address":       {func(r *report) { r.use.IP = "192.0.2.2" }, false},
		"user agent":    {func(r *report) { r.use.UserAgent = "ub" }, false},
		"app":           {func(r *report) { r.use.App = "shop" }, false},
		"a shift":       {func(r *report) { r.use.IP, r.use.UserAgent = "192.0.2.1u", "a" }, false},
	} {
		r := base
		change.edit(&r)
		if got := r.id(time.Minute); (got == id) != change.same || len(got) != 32 {
			t.Errorf("%s: %s and %s", name, id, got)
		}
	}
}

func TestObserverConfigIsChecked(t *testing.T) {
	t.Parallel()
	token := func() (string, error) { return "t", nil }
	for name, c := range map[string]struct {
		cfg  ObserverConfig
		want string
	}{
		"good":             {ObserverConfig{URL: "https://c.example.com/v1/sessions", Token: token}, ""},
		"this machine":     {ObserverConfig{URL: "http://[::1]:8081/v1/sessions", TokenFile: "t"}, ""},
		"allowed":          {ObserverConfig{URL: "http://ingest:8081/v1/sessions", PlainHTTP: true, Token: token}, ""},
		"plain":            {ObserverConfig{URL: "http://ingest:8081/v1/sessions", Token: token}, "must be https"},
		"nearly this host": {ObserverConfig{URL: "http://127.0.0.1.example.com/", Token: token}, "must be https"},
		"no address":       {ObserverConfig{URL: "/v1/sessions", Token: token}, "URL: must be one"},
		"password":         {ObserverConfig{URL: "https://u:p@c.example.com/", Token: token}, "must hold no password"},
		"no token":         {ObserverConfig{URL: "https://c.example.com/"}, "set one of them"},
		"two tokens":       {ObserverConfig{URL: "https://c.example.com/", Token: token, TokenFile: "t"}, "set one of them"},
		"negative":         {ObserverConfig{URL: "https://c.example.com/", Token: token, Queue: -1}, "must not be negative"},
		"tiny interval":    {ObserverConfig{URL: "https://c.example.com/", Token: token, Interval: 1}, "at least a millisecond"},
		"long name":        {ObserverConfig{URL: "https://c.example.com/", Token: token, App: strings.Repeat("a", 300)}, "too long"},
	} {
		_, err := NewObserver(c.cfg)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "u:p") {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}

// A guard reports what it lets through, with the address of the connection unless the application knows better.
func TestGuardObserves(t *testing.T) {
	t.Parallel()
	o, _ := newObserver(t, nil)
	b := newBench(t, func(c *Config) { c.Observer = o })
	b.token = Token{Subject: Subject{Tenant: "acme", User: "u1", Session: "s1"}, AuthTime: time.Now().Add(-time.Hour)}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "[2001:db8::7]:4711"
	r.Header.Set("User-Agent", "ua")
	r.Header.Set("X-Forwarded-For", "203.0.113.66")
	b.ask(r)
	want := []SessionUse{{Subject: b.token.Subject, IP: "2001:db8::7", UserAgent: "ua", App: "bank"}}
	uses := func() (all []SessionUse) {
		for _, r := range o.waiting.take(100) {
			all = append(all, r.use)
		}
		return all
	}
	if diff := cmp.Diff(want, uses()); diff != "" {
		t.Error(diff)
	}
	b.token.Session = ""
	b.ask(r)
	b.err = ErrNoToken
	b.ask(r)
	b.err = nil
	b.token.Session = "s2"
	b.open(nil)
	if b.ask(r).StatusCode != http.StatusUnauthorized {
		t.Fatal("the requirement is not enforced")
	}
	if got := uses(); len(got) != 0 {
		t.Errorf("%+v: no session, no token and no entrance are no use", got)
	}

	b = newBench(t, func(c *Config) {
		c.Observer, c.ClientIP = o, func(r *http.Request) string { return r.Header.Get("X-Real-Ip") }
	})
	b.token = Token{Subject: Subject{Tenant: "acme", User: "u1", Session: "s1"}}
	r.Header.Set("X-Real-Ip", "198.51.100.9")
	b.ask(r)
	if got := uses(); len(got) != 1 || got[0].IP != "198.51.100.9" {
		t.Errorf("%+v", got)
	}
}

func TestRemoteIP(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{"192.0.2.1:80": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::1", "": "", "@": "", "pipe": ""} {
		if got := remoteIP(&http.Request{RemoteAddr: addr}); got != want {
			t.Errorf("%q: %q, want %q", addr, got, want)
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add("s1", "u1", "192.0.2.1", "ua")
	f.Add("\x00", "ü\xff", "", strings.Repeat("\xf0\x9f\x92\xa9", 300))
	f.Fuzz(func(t *testing.T, session, user, ip, agent string) {
		o, _ := newObserver(t, nil)
		use := SessionUse{Subject: Subject{User: user, Session: session}, IP: ip, UserAgent: agent}
		o.Observe(use)
		o.Observe(use)
		batch := o.waiting.take(10)
		if s := o.Stats(); len(batch) > 1 || s.Reports != uint64(len(batch)) {
			t.Fatalf("%d reports of one use: %+v", len(batch), s)
		}
		if len(batch) == 0 {
			return
		}
		body := o.encode(batch)
		if !json.Valid(body) || len(body) > 16<<10 || !bytes.Equal(body, o.encode(batch)) {
			t.Errorf("%d bytes: %.200s", len(body), body)
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	for _, lane := range []struct {
		name     string
		sessions int
	}{{"one", 1}, {"many", 50_000}} {
		b.Run(lane.name, func(b *testing.B) {
			o, _ := newObserver(b, func(c *ObserverConfig) { c.Now = time.Now; c.Interval = time.Hour })
			uses := make([]SessionUse, lane.sessions)
			for i := range uses {
				uses[i] = useOf(fmt.Sprintf("3c2b1a09-f8e7-4d6c-b5a4-%012d", i), "192.0.2.1", "Mozilla/5.0 (X11; Linux x86_64) Example/1.0 (KHTML, like Gecko) Example/131.0.0.0")
				o.Observe(uses[i])
			}
			before := o.Stats().Reports
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					o.Observe(uses[i%len(uses)])
				}
			})
			if o.Stats().Reports != before {
				b.Error("there were reports, this is about uses that are known")
			}
		})
	}
}
