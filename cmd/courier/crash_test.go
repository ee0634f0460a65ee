package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
)

// stepUpRequired and sessionRevoked are what the streams of these tests ask for.
const (
	stepUpRequired = revocation.EventStepUpRequired
	sessionRevoked = revocation.EventSessionRevoked
)

// load is decisions under way to receivers of all kinds: four streams by push, some of whose receivers fail now and then,
// three by poll, and one of another tenant, whose users have the same names.
type load struct {
	w       *world
	box     *outbox
	ledger  *ledger
	streams map[string]string // tenant by stream

	stop    context.CancelFunc
	working sync.WaitGroup
	ended   chan struct{} // no decision is made any more
}

const loadUsers = 40

// begin starts the load. bases are where couriers are asked.
func begin(t *testing.T, w *world, bases ...string) *load {
	t.Helper()
	l := &load{w: w, box: w.outbox(t), streams: map[string]string{}, ended: make(chan struct{})}
	p := w.another(t, push)
	l.ledger = newLedger(t, p.keys(t))
	for i := range 4 {
		name := fmt.Sprintf("push %d", i)
		l.streams[name] = tenant
		sink := newSink(t, l.ledger, name, func(n int, _ secevent, w http.ResponseWriter) bool {
			switch {
			case i == 1 && n%13 == 0:
				w.WriteHeader(http.StatusServiceUnavailable)
				return false
			case i == 2 && n%17 == 0:
				panic(http.ErrAbortHandler)
			}
			return true
		})
		p.open(t, pushTo(sink.URL), stepUpRequired, sessionRevoked)
	}
	outsider := w.outsider(t)
	l.streams["outsider"] = "globex"
	outsider.open(t, pushTo(newSink(t, l.ledger, "outsider", nil).URL), sessionRevoked, stepUpRequired)
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	for i := range 3 {
		name := fmt.Sprintf("poll %d", i)
		l.streams[name] = tenant
		stream, _ := p.open(t, object{"method": poll}, stepUpRequired, sessionRevoked)
		u, err := url.Parse(pollURL(stream))
		if err != nil {
			t.Fatal(err)
		}
		one := &poller{client: w.client, token: p.token, path: u.Path, bases: bases, ledger: l.ledger, name: name, max: []int{100, 10, 1000}[i]}
		l.working.Go(func() { one.run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		l.working.Wait()
	})
	return l
}

// produce writes decisions until enough is closed, as the receivers take them: some dozens are always under way.
func (l *load) produce(t *testing.T, enough <-chan struct{}) {
	defer close(l.ended)
	open := map[string]revocation.Claims{} // by user
	for made := 0; ; made++ {
		select {
		case <-enough:
			return
		default:
		}
		user := fmt.Sprintf("user-%02d", rand.N(loadUsers))
		id := fmt.Sprintf("txn-%d", made)
		switch c, waits := open[user]; {
		case waits: // it has to be satisfied
			delete(open, user)
			c.Status, c.JTI, c.SatisfiedBy, c.ClosedAt = revocation.Satisfied, c.ID+"."+string(revocation.Satisfied), "e", c.IssuedAt
			l.box.write(t, c)
		case made%3 == 0:
			c := claims(tenant, user, events.StepUp, revocation.Open, id)
			open[user] = c
			l.box.write(t, c)
		default:
			l.box.write(t, claims(tenant, user, events.RevokeSession, revocation.Open, id))
		}
		if made%5 == 0 {
			l.box.write(t, claims("globex", user, events.RevokeSession, revocation.Open, "globex-"+id))
		}
		for {
			l.ledger.mu.Lock()
			changed := l.ledger.changed
			l.ledger.mu.Unlock()
			if made < len(l.ledger.first("push 0"))+60 && made < len(l.ledger.first("poll 1"))+60 {
				break
			}
			select {
			case <-changed:
			case <-enough:
				return
			}
		}
	}
}

// check waits until every stream has got all that is for it, and demands that it got nothing else, in order.
func (l *load) check(t *testing.T) {
	t.Helper()
	<-l.ended
	for name, tenant := range l.streams {
		l.ledger.await(t, name, everything(l.box.order(tenant))...)
	}
	repeats := 0
	for name, tenant := range l.streams {
		l.ledger.complete(t, name, l.box.order(tenant))
		repeats -= len(l.ledger.first(name))
	}
	repeats += l.ledger.count()
	t.Logf("%d decisions, %d SETs were taken, %d of them repeats", len(everything(l.box.order(tenant))), l.ledger.count(), repeats)
}

// more waits until so many more SETs were taken by every one of these streams.
func (l *load) more(t *testing.T, n int, names ...string) {
	t.Helper()
	for _, name := range names {
		want := len(l.ledger.first(name)) + n
		l.ledger.until(t, name+" goes on", func() bool { return len(l.ledger.first(name)) >= want })
	}
}

// TestKilledUnderLoad kills the courier again and again while it delivers.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	kills := 30
	if testing.Short() {
		kills = 5
	}
	w := newWorld(t, twoTenants)
	l := begin(t, w, w.base)
	enough := make(chan struct{})
	go l.produce(t, enough)
	for n := range kills {
		if n%5 == 4 {
			l.more(t, 1, "push 0", "push 3", "poll 0", "poll 2", "outsider") // all of them live
		}
		total := l.ledger.count() + rand.N(80)
		l.ledger.until(t, "SETs are taken", func() bool { return l.ledger.count() >= total })
		w.kill()
		w.start(t)
	}
	close(enough)
	l.check(t)
}

// TestOneOfTwoKilledUnderLoad kills one of two couriers at random: first it comes back when the other one
// has its streams, then at once.
func TestOneOfTwoKilledUnderLoad(t *testing.T) {
	t.Parallel()
	kills := 8
	if testing.Short() {
		kills = 3
	}
	c := newCouple(t, twoTenants)
	l := begin(t, c.world, c.bases[:]...)
	enough := make(chan struct{})
	go l.produce(t, enough)
	for n := range kills {
		total := l.ledger.count() + rand.N(80)
		l.ledger.until(t, "SETs are taken", func() bool { return l.ledger.count() >= total })
		i := rand.N(2)
		c.kill(i)
		if n == 0 {
			l.more(t, 1, "push 0", "push 1", "push 2", "push 3", "poll 0", "poll 1", "poll 2", "outsider") // the other one has all
		}
		c.start(t, i)
	}
	close(enough)
	l.check(t)
}

// couple is two couriers that share the streams. world's is the first.
type couple struct {
	*world
	configs, bases [2]string
	processes      [2]*exec.Cmd
	exited         [2]chan struct{}
}

func newCouple(t *testing.T, change ...func(string) string) *couple {
	t.Helper()
	second := freeAddress(t)
	var config string
	w := newWorld(t, append(change, func(c string) string {
		// The fake forgets a member whose session times out while it waits for the others, and never answers it: they
		// come together in 2 s, well within the session. What was polled through the one that died is polled again soon.
		config = strings.NewReplacer("session_timeout: 6s", "session_timeout: 5s", "heartbeat_interval: 500ms",
			"heartbeat_interval: 200ms\n  drain_timeout: 1s\n  redeliver_after: 1s").Replace(c)
		return config
	})...)
	w.kill() // its certificate was not known before: now each trusts the other
	config = strings.Replace(config, "courier:\n", "courier:\n  peer_ca_file: "+filepath.Join(w.dir, "tls.crt")+"\n", 1)
	c := &couple{world: w, bases: [2]string{w.base, "https://" + second}}
	for i, base := range c.bases {
		listen := "listen: " + strings.TrimPrefix(base, "https://")
		c.configs[i] = w.write(t, fmt.Sprintf("courier-%d.yaml", i), strings.Replace(config, "listen: "+strings.TrimPrefix(w.base, "https://"), listen, 1))
		c.start(t, i)
		t.Cleanup(func() { c.kill(i) })
	}
	for i, base := range c.bases {
		w.serving(t, base, c.exited[i])
	}
	return c
}

func (c *couple) start(t *testing.T, i int) {
	t.Helper()
	c.processes[i], c.exited[i] = launch(t, c.configs[i])
}

func (c *couple) kill(i int) {
	_ = c.processes[i].Process.Kill()
	<-c.exited[i]
}
