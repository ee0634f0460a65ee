package stepupssf_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

// quietly keeps verification out of the polls.
func quietly(c *stepupssf.Config) { c.VerifyEvery = time.Hour }

func TestPollsAlwaysSayHowManyAndWhether(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	a := p.live(p.app(stepupssf.Poll, func(c *stepupssf.Config) {
		quietly(c)
		c.MaxEvents, c.ShortPoll = 2, true
	}))
	good, bad := p.stepUp("j1", "u1", "open"), key1().sign(p.claims("j2", "urn:x", object{}, func(c object) { c["aud"] = "x" }), nil)
	p.until("the verification is settled", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.open()) == 0 && a.Stats().Verifications == 1
	})
	p.with(func() { p.polls = nil })
	p.offer(offered{"j1", good}, offered{"j2", bad}, offered{"j3", p.stepUp("another", "u3", "open")}, offered{"j4", "nonsense"})
	p.until("all is settled", func() bool { return p.settled("j4") != "" })
	for jti, want := range map[string]string{"j1": "ack", "j2": "invalid_audience", "j3": "invalid_request", "j4": "invalid_request"} {
		if got := p.settled(jti); got != want {
			t.Errorf("%s: %q, want %q", jti, got, want)
		}
	}
	if !a.open("u1") || a.open("u3") {
		t.Error("wrong effects")
	}
	p.with(func() {
		told := 0
		for _, body := range p.polls {
			if body["maxEvents"] != float64(2) || body["returnImmediately"] != true {
				t.Errorf("%v", body)
			}
			if body["ack"] != nil || body["setErrs"] != nil {
				told++
			}
		}
		if told != 2 {
			t.Errorf("%d polls with acknowledgements, want one a page", told)
		}
	})
}

// TestALongPollBringsAnEventAtOnce: the event wakes the held request.
func TestALongPollBringsAnEventAtOnce(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	a := p.live(p.app(stepupssf.Poll, func(c *stepupssf.Config) {
		quietly(c)
		c.PollInterval = time.Hour // so that only a held request can bring it
	}))
	<-p.kept
	p.offer(offered{"j1", p.stepUp("j1", "u1", "open")})
	p.until("it is here", func() bool { return a.open("u1") })
	p.with(func() {
		if p.polls[0]["returnImmediately"] != false {
			t.Errorf("%v", p.polls[0])
		}
	})
}

// TestATransmitterThatDoesNotHoldPollsIsNotHammered and one that sends again what was acknowledged neither.
func TestATransmitterThatDoesNotHoldPollsIsNotHammered(t *testing.T) {
	t.Parallel()
	for name, deaf := range map[string]bool{"nothing there": false, "the same again and again": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newTransmitter(t)
			p.noHold, p.deaf = true, deaf
			a := p.app(stepupssf.Poll, func(c *stepupssf.Config) {
				quietly(c)
				c.PollInterval = time.Hour
			})
			p.sets = []offered{{"j1", p.stepUp("j1", "u1", "open")}}
			p.start(a)
			p.until("it is here, and was acknowledged", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return a.open("u1") && len(p.polls) >= 2
			})
			// The verification may have come with the first answer or with a later one; then there is silence for an hour.
			for range 100 { // in whose time many polls would have been
				if _, err := a.Client().Status(t.Context(), a.Stats().StreamID); err != nil {
					t.Fatal(err)
				}
			}
			p.with(func() {
				if n := len(p.polls); n > 4 {
					t.Errorf("%d polls", n)
				}
			})
			if s := a.Stats(); s.Accepted != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestRepeatsAreAcknowledgedAgain(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	a := p.live(p.app(stepupssf.Poll, nil))
	set := p.stepUp("j1", "u1", "open")
	for n := range 3 {
		p.with(func() { delete(p.acked, "j1") })
		p.with(func() { p.sets = nil })
		if got := p.send(a, stepupssf.Poll, "j1", set); got != "ok" {
			t.Errorf("copy %d: %s", n, got)
		}
	}
	p.until("the application was told", func() bool { return a.Stats().Waiting == 0 })
	if applied, _ := a.told(); len(applied) != 1 || a.Stats().Accepted != 1 {
		t.Errorf("applied %v, %+v", applied, a.Stats())
	}
}

func TestMoreAvailableIsFetchedAtOnce(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	p.more, p.noHold = 3, true
	a := p.app(stepupssf.Poll, func(c *stepupssf.Config) {
		quietly(c)
		c.PollInterval = time.Hour
	})
	for i := range 20 {
		user := fmt.Sprint("u", i)
		p.sets = append(p.sets, offered{user, p.stepUp(user, user, "open")})
	}
	p.start(a)
	p.until("all are here", func() bool { return a.index.Stats().Open == 20 })
}

// TestPollingGoesOnAfterTrouble: faults cost time, no events, and make the index no fresher.
func TestPollingGoesOnAfterTrouble(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	a := p.live(p.app(stepupssf.Poll, quietly))
	for _, status := range []int{http.StatusInternalServerError, http.StatusTooManyRequests, http.StatusForbidden, http.StatusFound} {
		failed := 0
		p.with(func() {
			p.fail = func(r *http.Request) int {
				if r.URL.Path == "/poll" {
					p.mu.Lock()
					defer p.mu.Unlock()
					failed++
					return status
				}
				return 0
			}
		})
		p.until("it failed", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return failed > 0 })
		p.with(func() { p.fail = nil })
		user := fmt.Sprint("u", status)
		if got := p.send(a, stepupssf.Poll, user, p.stepUp(user, user, "open")); got != "ok" || !a.open(user) {
			t.Errorf("after %d: %s", status, got)
		}
	}
	// A token that is no longer good is replaced at once.
	p.with(func() { p.tokens++ })
	if got := p.send(a, stepupssf.Poll, "j1", p.stepUp("j1", "u1", "open")); got != "ok" {
		t.Error(got)
	}
}

// TestATransmitterThatTakesNoErrorsIsPolledAllTheSame.
func TestATransmitterThatTakesNoErrorsIsPolledAllTheSame(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	a := p.live(p.app(stepupssf.Poll, quietly))
	p.with(func() {
		p.fail = func(r *http.Request) int {
			if r.Header.Get("Content-Language") != "" {
				return http.StatusBadRequest
			}
			return 0
		}
	})
	p.offer(offered{"bad", "nonsense"})
	p.until("it was refused", func() bool { return a.Stats().Refused > 0 })
	if got := p.send(a, stepupssf.Poll, "j1", p.stepUp("j1", "u1", "open")); got != "ok" || !a.open("u1") {
		t.Error(got)
	}
}

// TestTheLastAcknowledgementsAreSentAtTheEnd although the transmitter is not heard of otherwise.
func TestTheLastAcknowledgementsAreSentAtTheEnd(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	a := p.live(p.app(stepupssf.Poll, quietly))
	p.with(func() {
		p.fail = func(r *http.Request) int {
			if r.URL.Path == "/poll" && a.open("u1") {
				return http.StatusServiceUnavailable
			}
			return 0
		}
	})
	p.offer(offered{"j1", p.stepUp("j1", "u1", "open")})
	trouble := a.Stats().Trouble
	p.until("it is here, and could not be acknowledged", func() bool { return a.open("u1") && a.Stats().Trouble > trouble })
	p.with(func() { p.fail = nil })
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if got := p.settled("j1"); got != "ack" {
		t.Errorf("settled %q", got)
	}
}
