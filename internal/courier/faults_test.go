package courier

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/countersign-io/countersign/internal/ssf"
)

// refuse answers 400 as RFC 8935 §2.3 has it.
func refuse(w http.ResponseWriter, err string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Language", "en")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"err":%q,"description":"because"}`, err)
}

// Whatever goes wrong for a while, every SET arrives, each subject's in order.
func TestNothingIsLostByAReceiverInTrouble(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]func(http.ResponseWriter){
		"internal error":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"unavailable":       func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"timeout":           func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestTimeout) },
		"unauthorized":      func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) },
		"forbidden":         func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
		"not found":         func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"redirect":          func(w http.ResponseWriter) { w.Header().Set("Location", "/elsewhere"); w.WriteHeader(http.StatusFound) },
		"access denied":     func(w http.ResponseWriter) { refuse(w, "access_denied") },
		"not authenticated": func(w http.ResponseWriter) { refuse(w, "authentication_failed") },
		"reset":             func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"lies about length": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte("short"))
		},
		"endless answer": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte(strings.Repeat("x", 200<<10)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.start(nil)
			r := newReceiver(t, func(n int, _ got, w http.ResponseWriter) {
				if n%3 != 0 {
					trouble(w)
				}
			})
			c.pushTo(r.URL)
			want := map[string][]string{}
			for range 4 {
				for _, user := range []string{"alice", "bob", "carol"} {
					want[user] = append(want[user], w.decide(user))
				}
			}
			r.await(t, 12)
			if d := cmp.Diff(want, bySubject(r.accepted())); d != "" {
				t.Errorf("order (-want, +got):\n%s", d)
			}
			if letters := w.letters(); len(letters) != 0 {
				t.Errorf("dead letters: %+v", letters)
			}
		})
	}
}

// Any answer of the class of success is one, whatever its body says.
func TestEverySuccessCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	r := newReceiver(t, func(n int, _ got, w http.ResponseWriter) {
		w.WriteHeader([]int{200, 202, 204}[n%3])
		if n%3 == 0 {
			_, _ = w.Write([]byte(`{"err":"invalid_request"}`))
		}
	})
	c.pushTo(r.URL)
	for i := range 6 {
		w.decide(fmt.Sprint("user-", i))
	}
	r.await(t, 6)
	eventually(t, "six are delivered", func() bool {
		return testutil.ToFloat64(c.Courier.metrics.sets.WithLabelValues(methodPush, outcomeDelivered)) == 6
	})
	if n := len(r.accepted()); n != 6 {
		t.Errorf("%d pushes", n)
	}
}

// What a receiver refuses for good becomes a dead letter with the untouched claims, and its subject goes on.
func TestWhatIsRefusedForGoodIsADeadLetter(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer func(http.ResponseWriter)
		reason string
	}{
		"invalid request": {func(w http.ResponseWriter) { refuse(w, "invalid_request") }, "invalid_request: because"},
		"invalid key":     {func(w http.ResponseWriter) { refuse(w, "invalid_key") }, "invalid_key: because"},
		"no reason":       {func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) }, "400: the receiver did not say why"},
		"too large":       {func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestEntityTooLarge) }, "413: the receiver takes no SET of this size"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.start(nil)
			r := newReceiver(t, func(n int, _ got, w http.ResponseWriter) {
				if n == 1 {
					tc.answer(w)
				}
			})
			s := c.pushTo(r.URL)
			refused := claimsOf("alice", "refused")
			w.append(refused)
			next := w.decide("alice")
			r.await(t, 1)
			if d := cmp.Diff([]string{next}, r.jtis()); d != "" {
				t.Errorf("accepted (-want, +got):\n%s", d)
			}
			letters := w.letters()
			if len(letters) != 1 {
				t.Fatalf("%d dead letters", len(letters))
			}
			d := letters[0]
			if d.Stage != "courier" || d.Source != "stream:"+s.ID || d.Topic != topicRevocations || d.Reason != "jti "+refused.JTI+": "+tc.reason {
				t.Errorf("dead letter %+v", d)
			}
			if diff := cmp.Diff(string(refused.Encode()), string(d.Bytes)); diff != "" {
				t.Errorf("bytes (-want, +got):\n%s", diff)
			}
		})
	}
}

// A SET that its receiver never takes holds up its subject, not others.
func TestABlockedSETBlocksItsSubjectOnly(t *testing.T) {
	t.Parallel()
	for name, block := range map[string]func(http.ResponseWriter){
		"refused for now": func(w http.ResponseWriter) { refuse(w, "access_denied") },
		"always fails":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.start(func(cfg *Config) { cfg.Window = 8 })
			var mu sync.Mutex
			blocking := true
			r := newReceiver(t, func(_ int, g got, w http.ResponseWriter) {
				mu.Lock()
				defer mu.Unlock()
				if g.User == "mallory" && blocking {
					block(w)
				}
			})
			c.pushTo(r.URL)
			var held []string
			for range 10 { // more than the window
				held = append(held, w.decide("mallory"))
			}
			for i := range 20 {
				w.decide(fmt.Sprint("user-", i))
			}
			r.await(t, 20)
			if got := bySubject(r.accepted())["mallory"]; len(got) != 0 {
				t.Errorf("taken of the blocked subject: %q", got)
			}
			mu.Lock()
			blocking = false
			mu.Unlock()
			r.await(t, 30)
			if d := cmp.Diff(held, bySubject(r.accepted())["mallory"]); d != "" {
				t.Errorf("order (-want, +got):\n%s", d)
			}
		})
	}
}

// A receiver that asks for time gets it.
func TestRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	var mu sync.Mutex
	var times []time.Time
	r := newReceiver(t, func(n int, _ got, w http.ResponseWriter) {
		mu.Lock()
		defer mu.Unlock()
		if times = append(times, time.Now()); n == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	c.pushTo(r.URL)
	w.decide("alice")
	eventually(t, "one failed", func() bool {
		return testutil.ToFloat64(c.Courier.metrics.sets.WithLabelValues(methodPush, outcomeFailed)) == 1
	})
	w.decide("bob")
	r.await(t, 2)
	mu.Lock()
	defer mu.Unlock()
	if gap := times[1].Sub(times[0]); gap < time.Second {
		t.Errorf("the receiver asked for a second and got %v", gap)
	}
}

// A receiver that never answers holds up nobody else.
func TestASlowReceiverHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(func(cfg *Config) { cfg.MaxInFlight, cfg.Outbound.Timeout = 2, 5*time.Second })
	open := make(chan struct{})
	slow := newReceiver(t, func(int, got, http.ResponseWriter) { <-open })
	t.Cleanup(sync.OnceFunc(func() { close(open) }))
	for range 4 {
		c.pushTo(slow.URL)
	}
	quick := newReceiver(t, nil)
	c.pushTo(quick.URL)
	for i := range 20 {
		w.decide(fmt.Sprint("user-", i))
	}
	quick.await(t, 20)
	if n := len(slow.accepted()); n != 0 {
		t.Errorf("%d were taken by the slow one", n)
	}
}

// A receiver that takes nothing for long is paused with an announcement, and nothing is lost when it is enabled.
func TestADeadReceiverIsPaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(func(cfg *Config) { cfg.DeadAfter = 100 * time.Millisecond })
	var mu sync.Mutex
	dead := true
	r := newReceiver(t, func(_ int, _ got, w http.ResponseWriter) {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	s := c.pushTo(r.URL)
	first := w.decide("alice")
	status := func() ssf.Stream {
		now, err := c.Stream(t.Context(), app, s.ID)
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	eventually(t, "the stream is paused", func() bool { return status().Status == ssf.Paused })
	if now := status(); !strings.Contains(now.Reason, "taken nothing") {
		t.Errorf("reason %q", now.Reason)
	}
	second := w.decide("alice")
	mu.Lock()
	dead = false
	mu.Unlock()
	r.await(t, 1)
	if g := r.accepted(); len(g) != 1 || !strings.HasSuffix(g[0].Type, "/stream-updated") || g[0].Event["status"] != "paused" {
		t.Fatalf("a paused stream sent %+v", g)
	}
	if _, err := c.Update(t.Context(), app, s.ID, func(s *ssf.Stream) error {
		s.Status, s.Reason = ssf.Enabled, ""
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r.await(t, 3)
	if d := cmp.Diff([]string{first, second}, r.jtis()[1:]); d != "" {
		t.Errorf("after enabling (-want, +got):\n%s", d)
	}
}

// Who asks for a verification after long trouble gets it at once, and what waited after it.
func TestAVerificationDoesNotWaitForTheNextRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(func(cfg *Config) { cfg.SlowRetryMin, cfg.SlowRetryMax = time.Hour, time.Hour })
	r := newReceiver(t, func(_ int, _ got, w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) })
	s := c.pushTo(r.URL)
	alice := w.decide("alice")
	eventually(t, "one is denied", func() bool {
		return testutil.ToFloat64(c.Courier.metrics.sets.WithLabelValues(methodPush, outcomeDenied)) == 1
	})
	bob := w.decide("bob")
	r.answers(nil)
	state := "s"
	if err := c.Verify(t.Context(), app, s.ID, &state); err != nil {
		t.Fatal(err)
	}
	r.await(t, 3)
	if list := r.accepted(); !strings.HasSuffix(list[0].Type, "/verification") {
		t.Errorf("accepted %+v", list)
	}
	if d := cmp.Diff(map[string][]string{"alice": {alice}, "bob": {bob}, "": {r.jtis()[0]}}, bySubject(r.accepted())); d != "" {
		t.Errorf("(-want, +got):\n%s", d)
	}
}
