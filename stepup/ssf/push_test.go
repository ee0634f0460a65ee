package stepupssf_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

func TestPushIsKnownByItsAuthorization(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	a := p.app(stepupssf.Push, known)
	set := p.stepUp("j1", "u1", "open")
	for name, value := range map[string]string{
		"none": "", "wrong": "Bearer another-secret-of-pushes-xx", "another case": strings.ToLower(secretHeader), "longer": secretHeader + "x",
		"shorter": secretHeader[:len(secretHeader)-1],
	} {
		w := a.post(set, func(r *http.Request) {
			if r.Header.Set("Authorization", value); value == "" {
				r.Header.Del("Authorization")
			}
		})
		if got := refusal(t, w); got != "authentication_failed" || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %q %s", name, got, w.Body)
		}
	}
	if a.open("u1") {
		t.Error("it had an effect")
	}
	if got := refusal(t, a.post(set, nil)); got != "" || !a.open("u1") {
		t.Errorf("the right one: %q", got)
	}
}

func TestPushTakesOneSETOfBoundedSize(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	a := p.app(stepupssf.Push, known)
	set := p.stepUp("j1", "u1", "open")
	for name, c := range map[string]struct {
		set    string
		edit   func(*http.Request)
		status int
	}{
		"GET":          {set, func(r *http.Request) { r.Method = http.MethodGet }, http.StatusMethodNotAllowed},
		"JSON":         {set, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, http.StatusUnsupportedMediaType},
		"no type":      {set, func(r *http.Request) { r.Header.Del("Content-Type") }, http.StatusUnsupportedMediaType},
		"too large":    {strings.Repeat("x", stepupssf.MaxSET+1), nil, http.StatusRequestEntityTooLarge},
		"with charset": {set, func(r *http.Request) { r.Header.Set("Content-Type", "application/secevent+jwt; charset=utf-8") }, http.StatusAccepted},
	} {
		w := a.post(c.set, c.edit)
		if refusal(t, w); w.Code != c.status {
			t.Errorf("%s: %d, want %d", name, w.Code, c.status)
		}
	}
	polled := p.app(stepupssf.Poll, known)
	if w := polled.post(set, nil); w.Code != http.StatusNotFound {
		t.Errorf("a receiver that polls answers a push with %d", w.Code)
	}
}

// faulty is a store that fails on demand, and counts what it has kept.
type faulty struct {
	stepupssf.Store
	fail atomic.Pointer[error]
	kept atomic.Int64
	hold chan struct{} // if set, Accept waits for it
}

func (s *faulty) Accept(records ...stepupssf.Record) error {
	if s.hold != nil {
		<-s.hold
	}
	if err := s.fail.Load(); err != nil {
		return *err
	}
	s.kept.Add(int64(len(records)))
	return nil
}

// TestARefusedEventIsNotLost: what the store does not take is answered 503, has no effect, and is not known as a repeat
// when it comes again.
func TestARefusedEventIsNotLost(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		store := &faulty{Store: stepupssf.NoStore}
		full := fmt.Errorf("disk: %w", stepupssf.ErrStoreFull)
		store.fail.Store(&full)
		a := p.live(p.app(delivery, func(c *stepupssf.Config) { c.Store = store }))
		set := p.stepUp("j1", "u1", "open")
		if delivery == stepupssf.Push {
			w := a.post(set, nil)
			if got := refusal(t, w); got != "Service Unavailable" || w.Header().Get("Retry-After") == "" {
				t.Errorf("%q %v", got, w.Header())
			}
		} else {
			p.offer(offered{"j1", set})
			p.until("it was tried", func() bool { return a.Stats().Postponed > 0 })
			if got := p.settled("j1"); got != "" {
				t.Errorf("it was settled: %s", got)
			}
		}
		if a.open("u1") || a.Stats().Accepted != 0 {
			t.Error("it had an effect before it was kept")
		}
		store.fail.Store(nil)
		if got := p.send(a, delivery, "j1", set); got != "ok" || !a.open("u1") {
			t.Errorf("again: %s, open %v", got, a.open("u1"))
		}
		// A repeat is answered as if it were new, and has no effect.
		p.with(func() { clear(p.acked) })
		if got := p.send(a, delivery, "j1", set); got != "ok" {
			t.Errorf("a repeat: %s", got)
		}
		p.until("the application was told", func() bool { return a.Stats().Waiting == 0 })
		if applied, _ := a.told(); len(applied) != 1 || store.kept.Load() != 1 || a.Stats().Accepted != 1 || a.Stats().Repeated == 0 {
			t.Errorf("applied %v, kept %d, %+v", applied, store.kept.Load(), a.Stats())
		}
	})
}

// TestCopiesThatComeTogether: of many copies at once one is kept. If that fails, another one is.
func TestCopiesThatComeTogether(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	store := &faulty{Store: stepupssf.NoStore, hold: make(chan struct{})}
	broken := errors.New("broken")
	store.fail.Store(&broken)
	a := p.app(stepupssf.Push, func(c *stepupssf.Config) {
		known(c)
		c.Store = store
	})
	set := p.stepUp("j1", "u1", "open")
	var wg sync.WaitGroup
	var ok, again atomic.Int64
	for range 16 {
		wg.Go(func() {
			switch w := a.post(set, nil); w.Code {
			case http.StatusAccepted:
				ok.Add(1)
			case http.StatusServiceUnavailable:
				again.Add(1)
			default:
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	store.hold <- struct{}{} // the first one fails
	p.until("one has failed", func() bool { return again.Load() == 1 })
	store.fail.Store(nil)
	close(store.hold)
	wg.Wait()
	if ok.Load() != 15 || again.Load() != 1 || store.kept.Load() != 1 || a.Stats().Repeated != 14 {
		t.Errorf("%d accepted, %d to come again, %d kept, %+v", ok.Load(), again.Load(), store.kept.Load(), a.Stats())
	}
}

// TestSlowStrangersKeepNobodyOut: a body that does not come takes none of the places.
func TestSlowStrangersKeepNobodyOut(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	a := p.app(stepupssf.Push, func(c *stepupssf.Config) {
		known(c)
		c.AuthorizationFile = ""
	})
	var strangers sync.WaitGroup
	var begun atomic.Int64
	var bodies []*io.PipeWriter
	for range 100 {
		from, to := io.Pipe()
		bodies = append(bodies, to)
		strangers.Go(func() {
			a.post("", func(r *http.Request) { r.Body = &counted{from, &begun} })
		})
	}
	p.until("all strangers are being read from", func() bool { return begun.Load() >= 100 })
	if got := refusal(t, a.post(p.stepUp("j1", "u1", "open"), nil)); got != "" || !a.open("u1") {
		t.Errorf("%q, open %v", got, a.open("u1"))
	}
	for _, to := range bodies {
		to.CloseWithError(io.ErrUnexpectedEOF)
	}
	strangers.Wait()
}

// counted counts the bodies that are being read.
type counted struct {
	io.ReadCloser
	begun *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	c.begun.Add(1)
	return c.ReadCloser.Read(b)
}

func TestTooManyPushesAreToComeAgain(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	store := &faulty{Store: stepupssf.NoStore, hold: make(chan struct{})}
	a := p.app(stepupssf.Push, func(c *stepupssf.Config) {
		known(c)
		c.Store = store
	})
	var wg sync.WaitGroup
	var ok, again atomic.Int64
	for i := range 70 {
		wg.Go(func() {
			switch w := a.post(p.stepUp(fmt.Sprint("j", i), fmt.Sprint("u", i), "open"), nil); w.Code {
			case http.StatusAccepted:
				ok.Add(1)
			case http.StatusServiceUnavailable:
				again.Add(1)
			default:
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	p.until("the rest was sent away", func() bool { return again.Load() == 6 })
	close(store.hold)
	wg.Wait()
	if ok.Load() != 64 || a.Stats().Accepted != 64 {
		t.Errorf("%d accepted, %+v", ok.Load(), a.Stats())
	}
}
