package stepupssf_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

// changed are the calls that change streams.
func (p *transmitter) changed() (calls []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.path == "/streams" && c.method != http.MethodGet {
			calls = append(calls, strings.TrimSpace(c.method+" "+c.stream))
		}
	}
	return calls
}

// TestTheStreamIsFoundAgain: a second start makes no second stream.
func TestTheStreamIsFoundAgain(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		p.streams["other"] = p.render("other", object{"description": "somebody else", "delivery": object{"method": methodPoll}})
		first := p.live(p.app(delivery, nil))
		if err := first.stop(); err != nil {
			t.Fatal(err)
		}
		second := p.start(p.app(delivery, func(c *stepupssf.Config) {
			if delivery == stepupssf.Push {
				c.PushURL = first.URL
				c.Description = "renamed"
			}
		}))
		p.until("it has a stream", func() bool { return second.Stats().StreamID != "" })
		want := map[stepupssf.Delivery][]string{stepupssf.Push: {"POST", "PATCH stream-1"}, stepupssf.Poll: {"POST"}}[delivery]
		if diff := cmp.Diff(p.changed(), want); diff != "" {
			t.Errorf("(-got, +want):\n%s", diff)
		}
		if id := second.Stats().StreamID; id != "stream-1" {
			t.Errorf("stream %s", id)
		}
	})
}

// TestTheOnlyStreamThatIsGrantedIsTakenOver, also where it is listed as an object, and where there is no PATCH.
func TestTheOnlyStreamThatIsGrantedIsTakenOver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		single, noPatch bool
		want            []string
	}{
		"PATCH": {false, false, []string{"POST", "PATCH old"}}, "single object": {true, false, []string{"POST", "PATCH old"}},
		"PUT": {false, true, []string{"POST", "PATCH old", "PUT old"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, delivery stepupssf.Delivery) {
				p := newTransmitter(t)
				p.one, p.single, p.noPatch = true, c.single, c.noPatch
				p.streams["old"] = p.render("old", object{"description": "old"})
				p.status["old"] = object{"stream_id": "old", "status": "enabled"}
				a := p.live(p.app(delivery, nil))
				if diff := cmp.Diff(p.changed(), c.want); diff != "" || a.Stats().StreamID != "old" {
					t.Errorf("stream %s (-got, +want):\n%s", a.Stats().StreamID, diff)
				}
				if got := p.send(a, delivery, "j1", p.stepUp("j1", "u1", "open")); got != "ok" {
					t.Error(got)
				}
			})
		})
	}
}

func TestAGivenStreamIsUsed(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	p.streams["mine"] = p.render("mine", object{"description": "x"})
	p.status["mine"] = object{"stream_id": "mine", "status": "enabled"}
	a := p.live(p.app(stepupssf.Poll, func(c *stepupssf.Config) { c.StreamID = "mine" }))
	if diff := cmp.Diff(p.changed(), []string{"PATCH mine"}); diff != "" || a.Stats().StreamID != "mine" {
		t.Errorf("stream %s (-got, +want):\n%s", a.Stats().StreamID, diff)
	}
}

// TestAStreamThatIsGoneIsMadeAnew.
func TestAStreamThatIsGoneIsMadeAnew(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		a := p.live(p.app(delivery, func(c *stepupssf.Config) { c.VerifyEvery, c.VerifyWithin = 20*time.Millisecond, time.Second }))
		p.with(func() { clear(p.streams) })
		p.until("there is another", func() bool { return a.Stats().StreamID == "stream-2" && a.Stats().State == stepupssf.StateLive })
		if got := p.send(a, delivery, "j1", p.stepUp("j1", "u1", "open")); got != "ok" || !a.open("u1") {
			t.Error(got)
		}
	})
}

// TestWithoutStreamManagement: the operator of the transmitter has set the stream up.
func TestWithoutStreamManagement(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		p.metadata = object{"configuration_endpoint": nil, "status_endpoint": nil, "verification_endpoint": nil}
		p.streams["s"] = p.render("s", object{"delivery": object{"method": methodPoll}})
		a := p.app(delivery, func(c *stepupssf.Config) {
			known(c)
			if delivery == stepupssf.Poll {
				c.PollURL = p.URL + "/poll?stream=s&x=a%20b"
			}
		})
		p.start(a)
		if got := p.send(a, delivery, "j1", p.stepUp("j1", "u1", "open")); got != "ok" || !a.open("u1") {
			t.Error(got)
		}
		if len(p.changed()) != 0 {
			t.Errorf("%v", p.changed())
		}
		if _, fresh := a.index.Fresh(); delivery == stepupssf.Push && fresh {
			t.Error("fresh, and nothing has said so")
		}
	})
}

// bubble runs a test with a transmitter by a clock of its own.
func bubble(t *testing.T, delivery stepupssf.Delivery, edit func(*transmitter, *stepupssf.Config), test func(t *testing.T, p *transmitter, a *app)) {
	t.Helper()
	key1() // outside, where it takes no time
	synctest.Test(t, func(t *testing.T) {
		p := bareTransmitter(t)
		p.patience = 20 * time.Second
		a := p.app(delivery, func(c *stepupssf.Config) {
			c.PollInterval = time.Second
			edit(p, c)
		})
		p.start(a)
		synctest.Wait()
		test(t, p, a)
		if err := a.stop(); err != nil {
			t.Error(err)
		}
	})
}

// elapse lets time pass by the clock of a bubble.
func elapse(d time.Duration) { <-time.After(d) }

func (a *app) wantStates(t *testing.T, want ...stepupssf.State) {
	t.Helper()
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.states, want) {
		t.Errorf("states %v, want %v", a.states, want)
	}
}

// TestASilentStreamIsReportedDead, within VerifyEvery and VerifyWithin of its last sign of life, and alive when one comes.
func TestASilentStreamIsReportedDead(t *testing.T) {
	for _, delivery := range []stepupssf.Delivery{stepupssf.Push, stepupssf.Poll} {
		t.Run(string(delivery), func(t *testing.T) {
			bubble(t, delivery, func(_ *transmitter, c *stepupssf.Config) { c.VerifyEvery = 15 * time.Second }, func(t *testing.T, p *transmitter, a *app) {
				elapse(10 * time.Minute)
				a.wantStates(t, stepupssf.StateLive)
				if age, _ := a.index.Fresh(); age > 21*time.Second {
					t.Errorf("a quiet stream is %v old", age)
				}
				p.with(func() { p.quiet = true })
				elapse(46 * time.Second)
				a.wantStates(t, stepupssf.StateLive, stepupssf.StateDead)
				elapse(10 * time.Minute)
				if age, _ := a.index.Fresh(); age < 10*time.Minute {
					t.Errorf("a dead stream makes the index fresh: %v", age)
				}
				p.with(func() { p.quiet = false })
				elapse(time.Minute)
				a.wantStates(t, stepupssf.StateLive, stepupssf.StateDead, stepupssf.StateLive)
				if age, _ := a.index.Fresh(); age > 21*time.Second {
					t.Errorf("an hour later: %v", age)
				}
			})
		})
	}
}

// TestATransmitterThatIsAwayIsReportedDead, from the start and later.
func TestATransmitterThatIsAwayIsReportedDead(t *testing.T) {
	for _, delivery := range []stepupssf.Delivery{stepupssf.Push, stepupssf.Poll} {
		t.Run(string(delivery), func(t *testing.T) {
			away := func(*http.Request) int { return http.StatusBadGateway }
			bubble(t, delivery, func(p *transmitter, _ *stepupssf.Config) { p.fail = away }, func(t *testing.T, p *transmitter, a *app) {
				elapse(2 * time.Minute)
				a.wantStates(t, stepupssf.StateDead)
				if _, ok := a.index.Fresh(); ok {
					t.Error("fresh")
				}
				p.with(func() { p.fail = nil })
				elapse(time.Minute)
				a.wantStates(t, stepupssf.StateDead, stepupssf.StateLive)
				p.with(func() { p.fail = away })
				elapse(3 * time.Minute)
				a.wantStates(t, stepupssf.StateDead, stepupssf.StateLive, stepupssf.StateDead)
				p.with(func() { p.fail = nil })
				elapse(3 * time.Minute)
				a.wantStates(t, stepupssf.StateDead, stepupssf.StateLive, stepupssf.StateDead, stepupssf.StateLive)
			})
		})
	}
}

// TestOnePollThatFailsIsNoDeath: not even after it was held for long.
func TestOnePollThatFailsIsNoDeath(t *testing.T) {
	bubble(t, stepupssf.Poll, func(p *transmitter, c *stepupssf.Config) {
		p.patience, c.VerifyEvery = time.Hour, 10*time.Minute
	}, func(t *testing.T, p *transmitter, a *app) {
		elapse(5 * time.Second)
		a.wantStates(t, stepupssf.StateLive)
		elapse(5 * time.Minute) // longer than any poll is waited for
		p.with(func() {
			once := true
			p.fail = func(r *http.Request) int {
				p.mu.Lock()
				defer p.mu.Unlock()
				defer func() { once = once && r.URL.Path != "/poll" }()
				return map[bool]int{true: http.StatusBadGateway}[once && r.URL.Path == "/poll"]
			}
		})
		elapse(4 * time.Minute)
		a.wantStates(t, stepupssf.StateLive)
		p.offer(offered{"j1", p.stepUp("j1", "u1", "open")})
		elapse(5 * time.Second)
		if !a.open("u1") {
			t.Error("it is not polled any more")
		}
	})
}

// TestAPausedStreamIsStale: the transmitter says so, keeps answering polls, and the index gets stale all the same.
func TestAPausedStreamIsStale(t *testing.T) {
	for _, delivery := range []stepupssf.Delivery{stepupssf.Push, stepupssf.Poll} {
		t.Run(string(delivery), func(t *testing.T) {
			bubble(t, delivery, func(*transmitter, *stepupssf.Config) {}, func(t *testing.T, p *transmitter, a *app) {
				id := a.Stats().StreamID
				update := func(status string, quiet bool) {
					p.with(func() { p.quiet, p.status[id] = quiet, object{"stream_id": id, "status": status} })
					p.deliver(id, own+"stream-updated", object{"status": status, "reason": "maintenance"})
					elapse(2 * time.Second)
				}
				elapse(time.Minute)
				update("paused", true)
				a.wantStates(t, stepupssf.StateLive, stepupssf.StatePaused)
				elapse(10 * time.Minute)
				if age, _ := a.index.Fresh(); age < 9*time.Minute {
					t.Errorf("fresh while paused: %v", age)
				}
				update("disabled", true)
				elapse(10 * time.Minute)
				a.wantStates(t, stepupssf.StateLive, stepupssf.StatePaused, stepupssf.StateDisabled)
				update("enabled", false)
				elapse(2 * time.Minute)
				a.mu.Lock()
				last := a.states[len(a.states)-1]
				a.mu.Unlock()
				if last != stepupssf.StateLive {
					t.Errorf("%v", a.states)
				}
				// Word from before that comes late changes nothing.
				jti := p.jti()
				set := key1().sign(p.claims(jti, own+"stream-updated", object{"status": "paused"}, func(c object) {
					c["sub_id"], c["iat"] = opaque(id), time.Now().Add(-5*time.Minute).Unix()
				}), nil)
				if delivery == stepupssf.Push {
					a.post(set, nil)
				} else {
					p.offer(offered{jti, set})
				}
				elapse(2 * time.Second)
				if s := a.Stats().State; s != stepupssf.StateLive {
					t.Errorf("late word: %s", s)
				}
			})
		})
	}
}

// TestAStreamThatWasPausedWithoutAWordIsNoticed by its status.
func TestAStreamThatWasPausedWithoutAWordIsNoticed(t *testing.T) {
	bubble(t, stepupssf.Push, func(*transmitter, *stepupssf.Config) {}, func(t *testing.T, p *transmitter, a *app) {
		p.with(func() { p.quiet, p.status[a.Stats().StreamID]["status"] = true, "paused" })
		elapse(2 * time.Minute)
		a.mu.Lock()
		defer a.mu.Unlock()
		if !slices.Contains(a.states, stepupssf.StatePaused) {
			t.Errorf("%v", a.states)
		}
	})
}

// TestVerificationKeepsToTheTransmittersInterval, and takes no for an answer.
func TestVerificationKeepsToTheTransmittersInterval(t *testing.T) {
	bubble(t, stepupssf.Push, func(p *transmitter, c *stepupssf.Config) {
		p.interval = 120
		c.VerifyEvery = time.Second
	}, func(t *testing.T, p *transmitter, a *app) {
		elapse(time.Hour)
		if n := p.called("POST /verify"); n < 28 || n > 32 {
			t.Errorf("%d in an hour", n)
		}
		p.with(func() {
			p.fail = func(r *http.Request) int {
				return map[bool]int{true: http.StatusTooManyRequests}[r.URL.Path == "/verify" && time.Now().Minute()%5 == 0]
			}
		})
		elapse(time.Hour)
		a.wantStates(t, stepupssf.StateLive)
	})
}

// TestSecretsStayOutOfErrorsAndLogs.
func TestSecretsStayOutOfErrorsAndLogs(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	var log strings.Builder
	a := p.app(stepupssf.Push, func(c *stepupssf.Config) {
		c.Logger = logger(&log)
		c.ClientCredentials.ClientID = "wrong"
	})
	p.start(a)
	p.until("it failed", func() bool { return a.Stats().Trouble > 0 })
	a.post(p.stepUp("j", "u", "open"), func(r *http.Request) { r.Header.Set("Authorization", "wrong") })
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "invalid_client") || strings.Contains(text, "the-secret-of-the-app") || strings.Contains(text, secretHeader) {
		t.Error(text)
	}
}

func TestNewRefusesBadConfigurations(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	good := p.config(stepupssf.Push)
	good.PushURL = "https://app.example/ssf"
	for name, edit := range map[string]func(*stepupssf.Config){
		"no issuer":           func(c *stepupssf.Config) { c.Issuer = "" },
		"plain issuer":        func(c *stepupssf.Config) { c.Issuer = "http://x.example" },
		"issuer with query":   func(c *stepupssf.Config) { c.Issuer += "?x" },
		"password in address": func(c *stepupssf.Config) { c.PushURL = "https://u:p@app.example" },
		"no delivery":         func(c *stepupssf.Config) { c.Delivery = "" },
		"push without url":    func(c *stepupssf.Config) { c.PushURL = "" },
		"push with poll url":  func(c *stepupssf.Config) { c.PollURL = "https://x.example" },
		"poll with push url":  func(c *stepupssf.Config) { c.Delivery = stepupssf.Poll },
		"no store":            func(c *stepupssf.Config) { c.Store = nil },
		"odd algorithm":       func(c *stepupssf.Config) { c.Algorithms = []string{"HS256"} },
		"no algorithm":        func(c *stepupssf.Config) { c.Algorithms = []string{"none"} },
		"short secret":        func(c *stepupssf.Config) { c.AuthorizationFile = file(t, "Bearer x") },
		"missing secret":      func(c *stepupssf.Config) { c.AuthorizationFile = "/nowhere" },
		"two lines":           func(c *stepupssf.Config) { c.AuthorizationFile = file(t, secretHeader+"\nmore") },
		"client without file": func(c *stepupssf.Config) {
			c.ClientCredentials = &stepupssf.ClientCredentials{TokenURL: p.URL, ClientID: "x"}
		},
		"client's file away": func(c *stepupssf.Config) {
			cc := *c.ClientCredentials
			cc.ClientSecretFile = "/nowhere"
			c.ClientCredentials = &cc
		},
		"negative":    func(c *stepupssf.Config) { c.MaxAge = -1 },
		"many events": func(c *stepupssf.Config) { c.MaxEvents = 1001 },
		"odd demand":  func(c *stepupssf.Config) { c.HighRisk = &stepupssf.Demand{Action: "odd"} },
		"third party": func(c *stepupssf.Config) { c.ThirdParty = true },
	} {
		cfg := good
		edit(&cfg)
		if _, err := stepupssf.New(cfg, newIndex(t)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := stepupssf.New(good, nil); err == nil {
		t.Error("no index: no error")
	}
	if _, err := stepupssf.New(good, newIndex(t)); err != nil {
		t.Error(err)
	}
}
