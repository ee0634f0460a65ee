package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// refuse answers 400 as RFC 8935 §2.3 has it.
func refuse(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Language", "en")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"err": code, "description": "because"})
}

// cut breaks a connection after some bytes of an answer.
func cut(w http.ResponseWriter, answer string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = conn.Write([]byte(answer))
	_ = conn.Close()
}

// quickly has a courier try again soon, so that hours of trouble pass in seconds.
func quickly(config string) string {
	return strings.Replace(config, "retry_min: 50ms\n  retry_max: 500ms\n", `retry_min: 20ms
  retry_max: 100ms
  slow_retry_min: 20ms
  slow_retry_max: 100ms
  retry_after_max: 1s
`, 1)
}

// TestReceiversInTrouble has receivers of every kind at one courier. What one of them does not take for good is a dead letter
// with its reason, everything else arrives, each subject's in order; and who is well has got everything while the others
// were still in trouble.
func TestReceiversInTrouble(t *testing.T) {
	t.Parallel()
	slowly := 8 * time.Second
	if testing.Short() {
		slowly = time.Second
	}
	w := newWorld(t, quickly)
	box := w.outbox(t)
	ledger := newLedger(t, w.another(t, push).keys(t))
	well := make(chan struct{}) // closed when the trouble is over
	lasting := func(bad func(w http.ResponseWriter)) answer {
		return func(_ int, _ secevent, w http.ResponseWriter) bool {
			select {
			case <-well:
				return true
			default:
				bad(w)
				return false
			}
		}
	}
	status := func(code int) answer { return lasting(func(w http.ResponseWriter) { w.WriteHeader(code) }) }
	// refused are those of one user.
	const refused = "user-1"
	never := func(bad func(w http.ResponseWriter)) answer {
		return func(_ int, s secevent, w http.ResponseWriter) bool {
			if userOf(s) != refused {
				return true
			}
			bad(w)
			return false
		}
	}
	err := func(code string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { refuse(w, code) }
	}
	first := func(bad func(w http.ResponseWriter)) answer {
		return func(n int, _ secevent, w http.ResponseWriter) bool {
			if n > 1 {
				return true
			}
			bad(w)
			return false
		}
	}
	asks := func(seconds string) answer {
		return first(func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", seconds)
			w.WriteHeader(http.StatusTooManyRequests)
		})
	}
	var inner atomic.Int32
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		inner.Add(1)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(elsewhere.Close)
	redirect := func(code int) answer {
		return lasting(func(w http.ResponseWriter) {
			w.Header().Set("Location", elsewhere.URL+"/latest/meta-data/")
			w.WriteHeader(code)
		})
	}

	cases := []struct {
		name   string
		answer answer
		// buried is what the dead letters of the user say whose SETs are not taken; "" when there are none.
		buried string
	}{
		{name: "well"},
		{name: "slow", answer: func(n int, _ secevent, _ http.ResponseWriter) bool {
			if n == 1 {
				<-time.After(slowly)
			}
			return true
		}},
		{name: "down", answer: lasting(func(http.ResponseWriter) { panic(http.ErrAbortHandler) })},
		{name: "not authenticated", answer: lasting(err("authentication_failed"))},
		{name: "access denied", answer: lasting(err("access_denied"))},
		{name: "invalid request", answer: never(err("invalid_request")), buried: "invalid_request: because"},
		{name: "invalid key", answer: never(err("invalid_key")), buried: "invalid_key: because"},
		{name: "invalid issuer", answer: never(err("invalid_issuer")), buried: "invalid_issuer: because"},
		{name: "invalid audience", answer: never(err("invalid_audience")), buried: "invalid_audience: because"},
		{name: "invalid state", answer: never(err("invalid_state")), buried: "invalid_state: because"},
		{name: "its own error", answer: never(err("<script>alert(1)</script>")), buried: "<script>alert(1)</script>: because"},
		{name: "400 with a page", answer: never(func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, "<html>Bad Request</html>")
		}), buried: "did not say why"},
		{name: "400 with garbage", answer: never(func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"err":["\x00`)
		}), buried: "did not say why"},
		{name: "413", answer: never(func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestEntityTooLarge) }), buried: "413"},
		{name: "401", answer: status(http.StatusUnauthorized)},
		{name: "403", answer: status(http.StatusForbidden)},
		{name: "404", answer: status(http.StatusNotFound)},
		{name: "408", answer: status(http.StatusRequestTimeout)},
		{name: "429", answer: status(http.StatusTooManyRequests)},
		{name: "429 for a second", answer: asks("1")},
		{name: "429 for centuries", answer: asks("9999999999")},
		{name: "500", answer: status(http.StatusInternalServerError)},
		{name: "503", answer: status(http.StatusServiceUnavailable)},
		{name: "301", answer: redirect(http.StatusMovedPermanently)},
		{name: "302", answer: redirect(http.StatusFound)},
		{name: "307", answer: redirect(http.StatusTemporaryRedirect)},
		{name: "reset before the status", answer: lasting(func(w http.ResponseWriter) { cut(w, "HTTP/1.1 2") })},
		{name: "reset within the head", answer: lasting(func(w http.ResponseWriter) { cut(w, "HTTP/1.1 202 Accepted\r\nContent-Le") })},
		{name: "no HTTP", answer: lasting(func(w http.ResponseWriter) { cut(w, "220 mail.example.com ESMTP\r\n") })},
		{name: "500 without its end", answer: lasting(func(w http.ResponseWriter) { cut(w, "HTTP/1.1 500 Oh\r\nContent-Length: 1000\r\n\r\nshort") })},
		{name: "202 without its end", answer: func(_ int, _ secevent, w http.ResponseWriter) bool {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte("short"))
			return false
		}},
		{name: "202 with 10 MB", answer: func(_ int, _ secevent, w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusAccepted)
			for part := strings.Repeat("x", 1<<20); ; {
				if n, err := w.Write([]byte(part)); err != nil || n == 0 {
					return false // the courier had enough
				}
			}
		}},
		{name: "200 with an error", answer: func(_ int, _ secevent, w http.ResponseWriter) bool {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			fmt.Fprint(w, `{"err":"invalid_request"}`)
			return false
		}},
		{name: "204", answer: func(_ int, _ secevent, w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusNoContent)
			return false
		}},
		{name: "takes and fails", answer: func(n int, s secevent, w http.ResponseWriter) bool {
			if n%2 == 1 {
				ledger.note("takes and fails", s)
				w.WriteHeader(http.StatusInternalServerError)
				return false
			}
			return true
		}},
	}
	ids := map[string]string{}
	var p *party
	for i, c := range cases {
		if i%10 == 0 {
			p = w.another(t, push)
		}
		_, ids[c.name] = p.open(t, pushTo(newSink(t, ledger, c.name, c.answer).URL), sessionRevoked)
	}
	for range 3 {
		for user := range 4 {
			box.revoke(t, tenant, fmt.Sprint("user-", user))
		}
	}
	want := box.order(tenant)
	ledger.await(t, "well", everything(want)...)
	close(well)
	others := map[string][]string{}
	for user, jtis := range want {
		if user != refused {
			others[user] = jtis
		}
	}
	for _, c := range cases {
		expect := want
		if c.buried != "" {
			expect = others
		}
		ledger.await(t, c.name, everything(expect)...)
		ledger.complete(t, c.name, expect)
	}
	if n := inner.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
	checkTakenOnce(t, ledger, want, "well", "202 with 10 MB", "202 without its end", "200 with an error", "204")

	byStream := map[string][]events.DeadLetter{}
	eventually(t, patience, func() bool {
		clear(byStream)
		for _, d := range box.letters(t) {
			byStream[d.Source] = append(byStream[d.Source], d)
		}
		for _, c := range cases {
			if c.buried != "" && len(byStream["stream:"+ids[c.name]]) < len(want[refused]) {
				return false
			}
		}
		return true
	})
	known := map[string]bool{}
	for _, c := range cases {
		letters := byStream["stream:"+ids[c.name]]
		if c.buried == "" {
			if len(letters) > 0 {
				t.Errorf("%s: dead letters %+v", c.name, letters)
			}
			continue
		}
		for i, jti := range want[refused] {
			if i >= len(letters) {
				break
			}
			d, at := letters[i], box.at(jti)
			if d.Stage != "courier" || d.Topic != events.TopicRevocations || d.Partition != at.partition || d.Offset != at.offset || d.Size != len(d.Bytes) {
				t.Errorf("%s: dead letter %d is %+v, of a decision at %+v", c.name, i, d, at)
			}
			if !strings.HasPrefix(d.Reason, "jti "+jti+": ") || !strings.Contains(d.Reason, c.buried) {
				t.Errorf("%s: the reason of dead letter %d is %q", c.name, i, d.Reason)
			}
			if string(d.Bytes) != string(box.value(jti)) || d.ID == "" || known[d.ID] || d.Time == 0 {
				t.Errorf("%s: dead letter %d is %+v, id used before: %v", c.name, i, d, known[d.ID])
			}
			known[d.ID] = true
		}
		if len(letters) != len(want[refused]) {
			t.Errorf("%s: %d dead letters", c.name, len(letters))
		}
	}
}

// checkTakenOnce demands that what was answered with a success did not come again.
func checkTakenOnce(t *testing.T, l *ledger, want map[string][]string, names ...string) {
	t.Helper()
	for _, name := range names {
		for _, jti := range everything(want) {
			if n := l.times(name, jti); n != 1 {
				t.Errorf("%s: %s came %d times", name, jti, n)
			}
		}
	}
}

// TestManySlowReceiversHoldUpNobody has more receivers that never answer than pushes may be under way.
func TestManySlowReceiversHoldUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quickly, func(c string) string {
		return strings.Replace(c, "courier:\n", "courier:\n  max_in_flight: 4\n", 1)
	})
	box := w.outbox(t)
	p := w.another(t, push)
	ledger := newLedger(t, p.keys(t))
	open := make(chan struct{})
	for i := range 8 {
		p.open(t, pushTo(newSink(t, ledger, fmt.Sprint("slow ", i), func(int, secevent, http.ResponseWriter) bool {
			<-open
			return true
		}).URL), sessionRevoked)
	}
	release := sync.OnceFunc(func() { close(open) })
	t.Cleanup(release)
	p.open(t, pushTo(newSink(t, ledger, "well", nil).URL), sessionRevoked)
	for n := range 20 {
		box.revoke(t, tenant, fmt.Sprint("user-", n%5))
	}
	want := box.order(tenant)
	ledger.await(t, "well", everything(want)...)
	for i := range 8 {
		if name := fmt.Sprint("slow ", i); len(ledger.first(name)) > 0 {
			t.Errorf("%s has answered", name)
		}
	}
	release()
	for i := range 8 {
		name := fmt.Sprint("slow ", i)
		ledger.await(t, name, everything(want)...)
		ledger.complete(t, name, want)
	}
}
