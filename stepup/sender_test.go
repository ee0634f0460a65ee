package stepup

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
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// transport answers requests without a network, so that a bubble's clock can run.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

const accepted = `{"accepted":1,"duplicates":0,"rejected":[]}`

// bubbleObserver is an observer in a bubble whose requests f answers.
func bubbleObserver(t *testing.T, f transport, change func(*ObserverConfig)) *Observer {
	t.Helper()
	o, _ := newObserver(t, func(c *ObserverConfig) {
		c.Now, c.HTTP = time.Now, &http.Client{Transport: f}
		if change != nil {
			change(c)
		}
	})
	return o
}

// start runs an observer; stop ends it and waits.
func start(t *testing.T, o *Observer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func sentBy(r *http.Request) []wireReport {
	var reports []wireReport
	if err := json.NewDecoder(r.Body).Decode(&reports); err != nil {
		panic(err)
	}
	return reports
}

// faults is an ingest server that goes through a script of faults, and then behaves. Some faults come after it has taken
// the reports: then they are sent again, and must be known again.
type faults struct {
	mu     sync.Mutex
	script []string
	ids    map[string]string // what each id said, the first time
	taken  int
	wrong  []string
}

func (f *faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer t" || r.Header.Get("Content-Type") != "application/json" {
		f.wrong = append(f.wrong, fmt.Sprint(r.Method, r.Header))
	}
	fault := ""
	if len(f.script) > 0 {
		fault, f.script = f.script[0], f.script[1:]
	}
	switch fault {
	case "", "ok":
	case "taken, then cut", "taken, then 503", "taken, then half an answer":
	default:
		w.WriteHeader(map[string]int{"429": 429, "500": 500, "503": 503, "401": 401, "404": 404}[fault])
		return
	}
	for _, report := range sentBy(r) {
		says := fmt.Sprint(report)
		if before, again := f.ids[report.ID]; again && before != says {
			f.wrong = append(f.wrong, before+" is also "+says)
		} else if !again {
			f.ids[report.ID] = says
			f.taken++
		}
	}
	switch fault {
	case "taken, then 503":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "taken, then cut":
		panic(http.ErrAbortHandler)
	case "taken, then half an answer":
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `{"accepted`)
	default:
		fmt.Fprint(w, accepted)
	}
}

func (f *faults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.taken
}

func TestEveryReportArrivesOnceByID(t *testing.T) {
	t.Parallel()
	f := &faults{ids: map[string]string{}, script: []string{
		"503", "429", "ok", "taken, then cut", "500", "ok", "taken, then 503", "401", "ok", "taken, then half an answer", "404",
	}}
	server := httptest.NewServer(f)
	defer server.Close()
	const sessions = 250
	all := make(chan struct{})
	o, _ := newObserver(t, func(c *ObserverConfig) {
		c.URL, c.Batch, c.FlushEvery, c.Now = server.URL, 50, 10*time.Millisecond, time.Now
		c.HTTP = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			resp, err := http.DefaultTransport.RoundTrip(r)
			if f.count() == sessions && err == nil && resp.StatusCode == http.StatusOK {
				select {
				case all <- struct{}{}:
				default:
				}
			}
			return resp, err
		})}
	})
	stop := start(t, o)
	for i := range sessions {
		o.Observe(useOf(fmt.Sprint(i), "192.0.2.1", "ua"))
	}
	<-all
	stop()
	s := o.Stats()
	if f.count() != sessions || s.Sent != sessions || s.Dropped != 0 || s.Refused != 0 || s.Trouble < 7 {
		t.Errorf("%d taken, %+v", f.count(), s)
	}
	if len(f.wrong) > 0 {
		t.Error(f.wrong)
	}
}

// A server that hangs costs the application nothing: Observe returns, the queue is bounded, and the end comes.
func TestObserveNeverWaitsForAServerThatHangs(t *testing.T) {
	t.Parallel()
	release, asked := make(chan struct{}), make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(release)
	o, _ := newObserver(t, func(c *ObserverConfig) {
		c.URL, c.Queue, c.Batch, c.FlushEvery, c.Now = server.URL, 100, 10, time.Hour, time.Now
	})
	stop := start(t, o)
	for i := range 10 {
		o.Observe(useOf(fmt.Sprint("first ", i), "192.0.2.1", "ua"))
	}
	<-asked // it hangs with ten
	var g sync.WaitGroup
	for i := range 8 {
		g.Go(func() {
			for j := range 500 {
				o.Observe(useOf(fmt.Sprint(i, " ", j), "192.0.2.1", "ua"))
			}
		})
	}
	g.Wait()
	if o.Dropped() != 4000-100 {
		t.Errorf("dropped %d, want all but the queue", o.Dropped())
	}
	stop()
	if s := o.Stats(); s.Reports != 4010 || s.Dropped != 4010 || s.Sent != 0 {
		t.Errorf("%+v: every report is sent or counted as dropped", s)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header   string
		min, max time.Duration
	}{
		"seconds":       {"7", 7 * time.Second, 7 * time.Second},
		"date":          {"date", 90 * time.Second, 90 * time.Second},
		"a week":        {"604800", maxRetryAfter, maxRetryAfter},
		"the past":      {"Sat, 01 Jan 2000 00:00:00 GMT", firstBackoff / 2, firstBackoff},
		"rubbish":       {"soon", firstBackoff / 2, firstBackoff},
		"not mentioned": {"", firstBackoff / 2, firstBackoff},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var at []time.Time
				o := bubbleObserver(t, func(*http.Request) (*http.Response, error) {
					if at = append(at, time.Now()); len(at) > 1 {
						return answer(200, accepted), nil
					}
					header := c.header
					if header == "date" {
						header = time.Now().UTC().Add(90 * time.Second).Format(http.TimeFormat)
					}
					return answer(429, "", "Retry-After", header), nil
				}, nil)
				stop := start(t, o)
				o.Observe(useOf("s1", "192.0.2.1", "ua"))
				time.Sleep(10 * time.Minute)
				stop()
				if len(at) != 2 || at[1].Sub(at[0]) < c.min || at[1].Sub(at[0]) > c.max {
					t.Errorf("asked at %v", at)
				}
				if s := o.Stats(); s.Sent != 1 || s.Trouble != 1 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestBackoffIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		attempts, errs := 0, 0
		o := bubbleObserver(t, func(*http.Request) (*http.Response, error) {
			attempts++
			return nil, errors.New("connection refused")
		}, func(c *ObserverConfig) { c.OnError = func(error) { errs++ } })
		stop := start(t, o)
		o.Observe(useOf("s1", "192.0.2.1", "ua"))
		time.Sleep(time.Hour)
		stop()
		if attempts < 120 || attempts > 270 || errs < attempts-1 {
			t.Errorf("%d attempts in an hour, %d errors told", attempts, errs)
		}
		if o.Dropped() != 1 {
			t.Errorf("dropped %d", o.Dropped())
		}
	})
}

func TestFlushing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		type request struct {
			At       time.Duration
			Sessions string
		}
		var got []request
		o := bubbleObserver(t, func(r *http.Request) (*http.Response, error) {
			var sessions []string
			for _, report := range sentBy(r) {
				sessions = append(sessions, report.Session)
			}
			got = append(got, request{time.Since(begin), strings.Join(sessions, " ")})
			return answer(200, accepted), nil
		}, func(c *ObserverConfig) { c.FlushEvery, c.Batch = 10*time.Second, 3 })
		stop := start(t, o)
		use := func(session, ip string) { o.Observe(useOf(session, ip, "ua")) }
		synctest.Wait()
		use("a", "192.0.2.1")
		use("b", "192.0.2.1")
		time.Sleep(11 * time.Second) // after 10 they are sent together
		use("c", "192.0.2.1")
		use("c", "192.0.2.2") // changed: at once, with what waits
		synctest.Wait()
		for i := range 3 { // a batch is full: at once
			use(fmt.Sprint("d", i), "192.0.2.1")
		}
		synctest.Wait()
		use("e", "192.0.2.1")
		stop() // the end: at once
		want := []request{{10 * time.Second, "a b"}, {11 * time.Second, "c c"}, {11 * time.Second, "d0 d1 d2"}, {11 * time.Second, "e"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// At the end a report that waits for its next attempt is tried at once, and then for two seconds.
func TestTheEnd(t *testing.T) {
	t.Parallel()
	for name, healed := range map[string]bool{"server is back": true, "server stays away": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var stopping atomic.Bool
				o := bubbleObserver(t, func(*http.Request) (*http.Response, error) {
					if stopping.Load() && healed {
						return answer(200, accepted), nil
					}
					return answer(503, "", "Retry-After", "120"), nil
				}, nil)
				stop := start(t, o)
				o.Observe(useOf("s1", "192.0.2.1", "ua"))
				time.Sleep(time.Minute)
				o.Observe(useOf("s2", "192.0.2.1", "ua"))
				stopping.Store(true)
				begin := time.Now()
				stop()
				took, s := time.Since(begin), o.Stats()
				if healed && (took > 0 || s.Sent != 2 || s.Dropped != 0) || !healed && (took != lastWords || s.Sent != 0 || s.Dropped != 2) {
					t.Errorf("it took %v: %+v", took, s)
				}
			})
		})
	}
}

func TestRunOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := bubbleObserver(t, func(*http.Request) (*http.Response, error) { return answer(200, accepted), nil }, nil)
		o.Observe(useOf("s1", "192.0.2.1", "ua"))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := o.Run(ended); err != nil || o.Stats().Sent != 1 {
			t.Errorf("%v, %+v: what waits is sent, also when the end came first", err, o.Stats())
		}
		if o.Run(ended) == nil {
			t.Error("a second Run is no error")
		}
	})
}

func TestAnswersThatAreFinal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var sizes []int
		o := bubbleObserver(t, func(r *http.Request) (*http.Response, error) {
			reports := sentBy(r)
			sizes = append(sizes, len(reports))
			switch {
			case len(reports) > 2:
				return answer(413, ""), nil
			case reports[0].Session == "0":
				return answer(400, `{"title":"Bad Request","status":400,"detail":"every record was rejected"}`), nil
			case reports[0].Session == "2":
				return answer(200, `{"accepted":1,"rejected":[{"line":1,"error":"user.id: is missing"}]}`), nil
			}
			return answer(200, accepted), nil
		}, func(c *ObserverConfig) { c.OnError = func(err error) { told = append(told, err.Error()) } })
		stop := start(t, o)
		for i := range 8 {
			o.Observe(useOf(fmt.Sprint(i), "192.0.2.1", "ua"))
		}
		stop()
		if diff := cmp.Diff([]int{8, 4, 2, 2, 4, 2, 2}, sizes); diff != "" {
			t.Error(diff)
		}
		if s := o.Stats(); s != (ObserverStats{Reports: 8, Sent: 5, Refused: 3}) {
			t.Errorf("%+v", s)
		}
		want := []string{
			`sending session reports: the answer was 400: "every record was rejected"`,
			`1 session reports were refused, the first: "user.id: is missing"`,
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Error(diff)
		}
	})
}

// A redirect would take the token elsewhere.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%v went elsewhere", r.Header)
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	failed := make(chan error, 1)
	mine := &http.Client{}
	o, _ := newObserver(t, func(c *ObserverConfig) {
		c.URL, c.HTTP, c.FlushEvery = server.URL, mine, time.Millisecond
		c.OnError = func(err error) {
			select {
			case failed <- err:
			default:
			}
		}
	})
	stop := start(t, o)
	o.Observe(useOf("s1", "192.0.2.1", "ua"))
	if err := <-failed; !strings.Contains(err.Error(), "307") {
		t.Error(err)
	}
	server.Close() // so that the end does not wait for it
	stop()
	if mine.CheckRedirect != nil {
		t.Error("the application's own client was changed")
	}
}

func TestTokenFileMayChange(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var seen, told []string
		o := bubbleObserver(t, func(r *http.Request) (*http.Response, error) {
			seen = append(seen, r.Header.Get("Authorization"))
			if seen[len(seen)-1] != "Bearer new-token" {
				return answer(401, ""), nil
			}
			return answer(200, accepted), nil
		}, func(c *ObserverConfig) {
			c.Token, c.TokenFile = nil, path
			c.OnError = func(err error) { told = append(told, err.Error()) }
		})
		stop := start(t, o)
		o.Observe(useOf("s1", "192.0.2.1", "ua"))
		time.Sleep(time.Minute) // no file yet
		synctest.Wait()
		if len(seen) > 0 || len(told) == 0 || !strings.Contains(told[0], path) {
			t.Errorf("asked with %q, told %q", seen, told)
		}
		write("old-token\n")
		time.Sleep(time.Minute)
		write("two tokens secret")
		time.Sleep(time.Minute)
		write("new-token\n")
		time.Sleep(time.Minute)
		stop()
		if s := o.Stats(); s.Sent != 1 || s.Dropped != 0 {
			t.Errorf("%+v, asked with %q", s, seen)
		}
		if all := strings.Join(told, "\n"); strings.Contains(all, "-token") || strings.Contains(all, "secret") || !strings.Contains(all, "must hold one token") {
			t.Errorf("told %q", told)
		}
	})
}

// TestObserverUnderLoad is for the race detector: many goroutines observe few sessions while reports are sent.
func TestObserverUnderLoad(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for _, report := range sentBy(r) {
			got[report.ID]++
		}
		fmt.Fprint(w, accepted)
	}))
	defer server.Close()
	o, _ := newObserver(t, func(c *ObserverConfig) { c.URL, c.FlushEvery = server.URL, time.Millisecond })
	stop := start(t, o)
	var g sync.WaitGroup
	for range 8 {
		g.Go(func() {
			for i := range 2000 {
				o.Observe(useOf(fmt.Sprint(i%50), fmt.Sprintf("192.0.2.%d", i%3), "ua"))
			}
		})
	}
	g.Wait()
	stop()
	if s := o.Stats(); s.Reports != 150 || s.Sent != 150 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	if len(got) != 150 {
		t.Errorf("%d ids, want one for each session and address", len(got))
	}
	for id, n := range got {
		if n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
}
