package stepupssf_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-io/countersign/stepup"
	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

// TestAStreamThatIsGoneForGoodIsReportedDead: it can be set up again and again, and never delivers.
func TestAStreamThatIsGoneForGoodIsReportedDead(t *testing.T) {
	for _, path := range []string{"/poll", "/verify"} {
		t.Run(path, func(t *testing.T) {
			var managed atomic.Int64
			gone := func(r *http.Request) int {
				if r.URL.Path == "/streams" {
					managed.Add(1)
				}
				return map[bool]int{true: http.StatusNotFound}[r.URL.Path == path]
			}
			bubble(t, stepupssf.Poll, func(*transmitter, *stepupssf.Config) {}, func(t *testing.T, p *transmitter, a *app) {
				elapse(time.Minute)
				a.wantStates(t, stepupssf.StateLive)
				p.with(func() { p.fail = gone })
				elapse(5 * time.Minute)
				a.wantStates(t, stepupssf.StateLive, stepupssf.StateDead)
				if n := managed.Load(); n > 40 {
					t.Errorf("%d management requests in five minutes", n)
				}
				p.with(func() { p.fail = nil })
				elapse(3 * time.Minute)
				a.wantStates(t, stepupssf.StateLive, stepupssf.StateDead, stepupssf.StateLive)
			})
		})
	}
}

// lossy loses answers to polls on demand.
type lossy struct {
	http.RoundTripper
	lose atomic.Bool
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil && r.URL.Path == "/poll" && l.lose.Load() {
		resp.Body.Close()
		return nil, errors.New("the connection is gone")
	}
	return resp, err
}

// TestALostAnswerMakesNoIndexFresh: what was in it is on hold at the transmitter, whose next answers are empty.
func TestALostAnswerMakesNoIndexFresh(t *testing.T) {
	var way *lossy
	bubble(t, stepupssf.Poll, func(p *transmitter, c *stepupssf.Config) {
		p.hold, p.patience = 30*time.Second, time.Second
		way = &lossy{RoundTripper: p.client.Transport}
		c.HTTP = &http.Client{Transport: way}
		quietly(c)
	}, func(t *testing.T, p *transmitter, a *app) {
		elapse(time.Minute + 400*time.Millisecond) // in the midst of a poll
		if age, fresh := a.index.Fresh(); !fresh || age > 5*time.Second {
			t.Fatalf("%v, %v", age, fresh)
		}
		way.lose.Store(true)
		p.offer(offered{"j1", p.stepUp("j1", "u1", "open")})
		elapse(100 * time.Millisecond)
		way.lose.Store(false)
		elapse(25 * time.Second)
		if age, _ := a.index.Fresh(); a.open("u1") || age < 25*time.Second {
			t.Errorf("open %v, the index is %v old", a.open("u1"), age)
		}
		elapse(15 * time.Second)
		if age, _ := a.index.Fresh(); !a.open("u1") || age > 5*time.Second {
			t.Errorf("open %v, the index is %v old", a.open("u1"), age)
		}
	})
}

// TestAPausedStreamStaysPaused: a sign of life that comes at the same time does not undo it, and the application is told in
// the right order.
func TestAPausedStreamStaysPaused(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	for range 40 {
		a := p.app(stepupssf.Push, known)
		var signs sync.WaitGroup
		for i := range 16 {
			kind, members := own+"verification", object{}
			if i == 8 {
				kind, members = own+"stream-updated", object{"status": "paused"}
			}
			_, set := p.control("s", kind, members)
			signs.Go(func() {
				if got := refusal(t, a.post(set, nil)); got != "" {
					t.Error(got)
				}
			})
		}
		signs.Wait()
		a.mu.Lock()
		states := slices.Clone(a.states)
		a.mu.Unlock()
		if got := a.Stats().State; got != stepupssf.StatePaused || states[len(states)-1] != got || len(states) > 2 {
			t.Fatalf("%s, told %v", got, states)
		}
	}
}

// TestStrangersFillNoLog, but leave a trace, and so does a wrong secret.
func TestStrangersFillNoLog(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	var log strings.Builder
	a := p.app(stepupssf.Push, func(c *stepupssf.Config) {
		known(c)
		c.Logger = logger(&log)
	})
	forged := key2()
	forged.kid = key1().kid
	for i := range 100 {
		set := []string{"rubbish", forged.sign(p.claims("j", caep+"credential-change", object{}, nil), nil)}[i%2]
		if got := refusal(t, a.post(set, nil)); got == "" {
			t.Fatal("accepted")
		}
		a.post(set, func(r *http.Request) { r.Header.Set("Authorization", "Bearer of-another-time-altogether") })
	}
	if s := a.Stats(); s.Refused != 200 {
		t.Errorf("%+v", s)
	}
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "another secret than AuthorizationFile") || strings.Contains(text, "of-another-time") {
		t.Error(text)
	}
	// What the transmitter has signed is its own fault, every time.
	log.Reset()
	for range 5 {
		set := key1().sign(p.claims(p.jti(), caep+"credential-change", object{}, func(c object) { c["aud"] = "x" }), nil)
		a.post(set, nil)
	}
	if n := strings.Count(log.String(), "SET refused"); n != 5 {
		t.Errorf("%d of 5 are logged", n)
	}
}

// TestASubjectOfAnotherIssuerIsNoticed, and understood where the configuration names the issuer.
func TestASubjectOfAnotherIssuerIsNoticed(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	const idp = "https://id.example.com/realms/acme"
	for _, issuers := range [][]string{nil, {"https://other.example.com", idp}} {
		var log strings.Builder
		a := p.app(stepupssf.Push, func(c *stepupssf.Config) {
			known(c)
			c.Tenant, c.SubjectIssuers, c.Logger = "acme", issuers, logger(&log)
		})
		for range 20 {
			set := key1().sign(p.claims(p.jti(), stepup.EventStepUpRequired, required("r-u9", "open"), func(c object) {
				c["sub_id"] = object{"format": "iss_sub", "iss": idp, "sub": "u9"}
			}), nil)
			if got := refusal(t, a.post(set, nil)); got != "" {
				t.Fatal(got)
			}
		}
		if a.open("u9") != (issuers != nil) {
			t.Errorf("%v: open %v", issuers, a.open("u9"))
		}
		if n := strings.Count(log.String(), "SubjectIssuers"); n != 1 && issuers == nil || n != 0 && issuers != nil {
			t.Errorf("%v: %s", issuers, log.String())
		}
	}
}

// TestAnAudienceThatNobodyTellsIsMissing: nothing could ever be accepted, which is said at once.
func TestAnAudienceThatNobodyTellsIsMissing(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	p.metadata = object{"configuration_endpoint": nil, "status_endpoint": nil, "verification_endpoint": nil}
	var log strings.Builder
	a := p.start(p.app(stepupssf.Poll, func(c *stepupssf.Config) { c.PollURL, c.Logger = p.URL+"/poll?stream=s", logger(&log) }))
	p.until("it is noticed", func() bool { return a.Stats().Trouble > 0 })
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "Config.Audience must be set") {
		t.Error(log.String())
	}
}

// counting counts the calls of Accept, and refuses those of too many records and those with a bad one.
type counting struct {
	stepupssf.Store
	calls atomic.Int64
	most  int
	bad   string // jti
}

func (s *counting) Accept(records ...stepupssf.Record) error {
	s.calls.Add(1)
	if s.most > 0 && len(records) > s.most || slices.ContainsFunc(records, func(r stepupssf.Record) bool { return r.JTI == s.bad }) {
		return stepupssf.ErrStoreFull
	}
	return s.Store.Accept(records...)
}

// TestAnAnswerIsKeptAtOnce: one sync for all its SETs. If they do not fit together, each is kept that fits.
func TestAnAnswerIsKeptAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		most        int
		bad         string
		calls, open int
	}{
		"all at once":   {0, "", 1, 20},
		"each alone":    {1, "", 21, 20},
		"one of no use": {0, "u7", 21, 19},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newTransmitter(t)
			store := &counting{Store: stepupssf.NoStore, most: c.most, bad: c.bad}
			p.noHold = true
			a := p.app(stepupssf.Poll, func(cfg *stepupssf.Config) {
				quietly(cfg)
				cfg.Store, cfg.PollInterval, cfg.ShortPoll = store, time.Minute, true
			})
			for i := range 20 {
				user := fmt.Sprint("u", i)
				p.sets = append(p.sets, offered{user, p.stepUp(user, user, "open")})
			}
			p.start(a)
			p.until("they are here", func() bool { return a.index.Stats().Open == c.open })
			if got := int(store.calls.Load()); got < c.calls || c.open == 20 && got > c.calls {
				t.Errorf("%d calls of Accept, want %d", got, c.calls)
			}
			if a.open("u7") != (c.open == 20) || !a.open("u8") {
				t.Errorf("u7 %v, u8 %v", a.open("u7"), a.open("u8"))
			}
		})
	}
}

// TestDefaultsThatDoNotFitAreRefused with the name of what has to be set.
func TestDefaultsThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	for name, c := range map[string]struct {
		delivery  stepupssf.Delivery
		edit      func(*stepupssf.Config)
		staleness time.Duration
		want      string
	}{
		"poll without a name":         {stepupssf.Poll, func(c *stepupssf.Config) { c.Description = "" }, time.Minute, "Description"},
		"poll of a given stream":      {stepupssf.Poll, func(c *stepupssf.Config) { c.Description, c.StreamID = "", "s" }, time.Minute, ""},
		"poll, held as long":          {stepupssf.Poll, nil, 30 * time.Second, "MaxStaleness"},
		"poll, held":                  {stepupssf.Poll, nil, time.Minute, ""},
		"short poll":                  {stepupssf.Poll, func(c *stepupssf.Config) { c.ShortPoll = true }, 5 * time.Second, ""},
		"short poll, now and then":    {stepupssf.Poll, func(c *stepupssf.Config) { c.ShortPoll, c.PollInterval = true, time.Minute }, 30 * time.Second, "MaxStaleness"},
		"push":                        {stepupssf.Push, nil, 30 * time.Second, ""},
		"push, seldom verified":       {stepupssf.Push, func(c *stepupssf.Config) { c.VerifyEvery = time.Minute }, 30 * time.Second, "MaxStaleness"},
		"a third party proves little": {stepupssf.Push, func(c *stepupssf.Config) { c.VerifyEvery, c.ThirdParty, c.Tenant = time.Minute, true, "acme" }, 30 * time.Second, ""},
		"a subject issuer, unnamed":   {stepupssf.Push, func(c *stepupssf.Config) { c.SubjectIssuers = []string{""} }, time.Minute, "SubjectIssuers"},
	} {
		cfg := p.config(c.delivery)
		if c.delivery == stepupssf.Push {
			cfg.PushURL = "https://app.example/ssf"
		}
		if c.edit != nil {
			c.edit(&cfg)
		}
		index, err := stepup.NewIndex(stepup.IndexConfig{MaxStaleness: c.staleness})
		if err != nil {
			t.Fatal(err)
		}
		_, err = stepupssf.New(cfg, index)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestBusyReceiversSaySo: pushes that are sent away are counted.
func TestBusyReceiversSaySo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := bareTransmitter(t)
		store := &faulty{Store: stepupssf.NoStore, hold: make(chan struct{})}
		a := p.app(stepupssf.Push, func(c *stepupssf.Config) {
			known(c)
			c.Store = store
		})
		var pushes sync.WaitGroup
		for i := range 64 {
			set := p.stepUp(fmt.Sprint("j", i), fmt.Sprint("u", i), "open")
			pushes.Go(func() { a.post(set, nil) })
		}
		synctest.Wait()
		if got := refusal(t, a.post(p.stepUp("j", "u", "open"), nil)); got != "Service Unavailable" || a.Stats().Postponed != 1 {
			t.Errorf("%q, %+v", got, a.Stats())
		}
		close(store.hold)
		pushes.Wait()
	})
}
