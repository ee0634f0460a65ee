package courier

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/ssf"
)

func (r *running) pollStream() ssf.Stream {
	r.t.Helper()
	return r.create(ssf.Delivery{Method: ssf.MethodPoll})
}

// ask polls, and returns the ids that were handed out, sorted.
func (r *running) ask(id string, q ssf.PollRequest) ([]string, bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), within)
	defer cancel()
	answer, err := r.Poll(ctx, app, id, q)
	if err != nil {
		r.t.Fatal(err)
	}
	for jti, compact := range answer.Sets {
		g, err := parse(compact)
		if err != nil || g.JTI != jti {
			r.t.Errorf("under %s there is %+v, %v", jti, g, err)
		}
	}
	return slices.Sorted(maps.Keys(answer.Sets)), answer.MoreAvailable
}

// now is a poll that does not wait.
func now(acks ...string) ssf.PollRequest { return ssf.PollRequest{ReturnImmediately: true, Ack: acks} }

func TestPollHandsOutEachSubjectInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	s := c.pollStream()
	a1, b1, a2 := w.decide("alice"), w.decide("bob"), w.decide("alice")
	var first []string
	var more bool
	eventually(t, "both subjects have one", func() bool {
		answer, m := c.ask(s.ID, now())
		first, more = append(first, answer...), m || more
		return len(first) == 2
	})
	if d := cmp.Diff([]string{a1, b1}, slices.Sorted(slices.Values(first))); d != "" {
		t.Errorf("(-want, +got):\n%s", d)
	}
	if again, _ := c.ask(s.ID, now()); len(again) != 0 {
		t.Errorf("before the acknowledgement: %q", again)
	}
	if next, _ := c.ask(s.ID, now(a1)); !slices.Equal(next, []string{a2}) {
		t.Errorf("after it: %q, want %q", next, a2)
	}
}

func TestMoreAvailableIsTrueWhenItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	s := c.pollStream()
	for i := range 3 {
		w.decide(fmt.Sprint("user-", i))
	}
	eventually(t, "three wait", func() bool { return c.gauges().pending == 3 })
	one, more := c.ask(s.ID, ssf.PollRequest{ReturnImmediately: true, MaxEvents: new(2)})
	if len(one) != 2 || !more {
		t.Errorf("first %q, more %v", one, more)
	}
	two, more := c.ask(s.ID, ssf.PollRequest{ReturnImmediately: true, MaxEvents: new(2), Ack: one})
	if len(two) != 1 || more {
		t.Errorf("then %q, more %v", two, more)
	}
	if none, more := c.ask(s.ID, ssf.PollRequest{MaxEvents: new(0), Ack: two}); len(none) != 0 || more {
		t.Errorf("acknowledging only: %q, %v", none, more)
	}
	if g := c.gauges(); g.pending != 0 {
		t.Errorf("%d wait", g.pending)
	}
}

// A poll waits, and is woken by the decision; a second one beside it does not wait.
func TestALongPollIsWokenByTheDecision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	s := c.pollStream()
	type answer struct {
		jtis []string
		at   time.Time
	}
	first := make(chan answer)
	go func() {
		jtis, _ := c.ask(s.ID, ssf.PollRequest{})
		first <- answer{jtis, time.Now()}
	}()
	o, err := c.find(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "one waits", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.polling
	})
	if second, _ := c.ask(s.ID, ssf.PollRequest{}); len(second) != 0 {
		t.Errorf("the second got %q", second)
	}
	jti := w.decide("alice")
	if got := <-first; !slices.Equal(got.jtis, []string{jti}) {
		t.Errorf("the first got %q", got.jtis)
	}
}

// What is not acknowledged comes again, in order; what is, does not, whatever happens to the courier.
func TestWhatIsNotAcknowledgedComesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	short := func(cfg *Config) { cfg.RedeliverAfter = 30 * time.Millisecond }
	c := w.start(short)
	s := c.pollStream()
	a1, a2 := w.decide("alice"), w.decide("alice")
	for i := range 3 { // a poll that waits gets it again
		if got, _ := c.ask(s.ID, ssf.PollRequest{}); !slices.Equal(got, []string{a1}) {
			t.Fatalf("poll %d: %q", i, got)
		}
	}
	if n := testutil.ToFloat64(c.Courier.metrics.redeliveries.WithLabelValues(methodPoll)); n != 2 {
		t.Errorf("%v redeliveries", n)
	}
	c.ask(s.ID, ssf.PollRequest{MaxEvents: new(0), Ack: []string{a1, "unknown"}})
	c.stop()
	c = w.start(short)
	if got, _ := c.ask(s.ID, ssf.PollRequest{}); !slices.Equal(got, []string{a2}) {
		t.Fatalf("after a restart: %q, want %q", got, a2)
	}
	// An acknowledgement of what a former courier has handed out is known too.
	c.stop()
	c = w.start(short)
	eventually(t, "it waits again", func() bool { return c.gauges().pending == 1 })
	c.ask(s.ID, ssf.PollRequest{MaxEvents: new(0), Ack: []string{a2}})
	if g := c.gauges(); g.pending != 0 {
		t.Errorf("%d wait", g.pending)
	}
}

// An error that a receiver reports ends the delivery of its SET.
func TestSetErrsEndTheDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	s := c.pollStream()
	bad, next := w.decide("alice"), w.decide("alice")
	if got, _ := c.ask(s.ID, ssf.PollRequest{}); !slices.Equal(got, []string{bad}) {
		t.Fatalf("got %q", got)
	}
	q := ssf.PollRequest{SetErrs: map[string]ssf.SetError{bad: {Err: "invalid_issuer", Description: "who is that"}}}
	if got, _ := c.ask(s.ID, q); !slices.Equal(got, []string{next}) {
		t.Fatalf("after the error %q", got)
	}
	letters := w.letters()
	if len(letters) != 1 || letters[0].Reason != "jti "+bad+": invalid_issuer: who is that" {
		t.Errorf("dead letters %+v", letters)
	}
}

// A verification is first, with its state, and once.
func TestVerificationGoesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	s := c.pollStream()
	for i := range 5 {
		w.decide(fmt.Sprint("user-", i))
	}
	eventually(t, "five wait", func() bool { return c.gauges().pending == 5 })
	state := "what I said"
	if err := c.Verify(t.Context(), app, s.ID, &state); err != nil {
		t.Fatal(err)
	}
	answer, err := c.Poll(t.Context(), app, s.ID, ssf.PollRequest{MaxEvents: new(1)})
	if err != nil {
		t.Fatal(err)
	}
	for jti, compact := range answer.Sets {
		g, err := parse(compact)
		if err != nil || !strings.HasSuffix(g.Type, "/verification") || g.Event["state"] != state {
			t.Fatalf("%+v, %v", g, err)
		}
		if got, _ := c.ask(s.ID, now(jti)); len(got) != 5 {
			t.Errorf("then %q", got)
		}
	}
	if !answer.MoreAvailable || len(answer.Sets) != 1 {
		t.Errorf("%d sets, more %v", len(answer.Sets), answer.MoreAvailable)
	}
}

// An acknowledgement that the log does not take is none, and the receiver hears so.
func TestAcknowledgementsAreDurableBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorldOn(t, fake.Addrs())
	c := w.start(nil)
	s := c.pollStream()
	jti, next := w.decide("alice"), w.decide("alice")
	if got, _ := c.ask(s.ID, ssf.PollRequest{}); !slices.Equal(got, []string{jti}) {
		t.Fatalf("got %q", got)
	}
	fault := fake.RejectProduce(w.prefix+events.TopicStreams, 1_000_000)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if answer, err := c.Poll(ctx, app, s.ID, now(jti)); err == nil {
		t.Errorf("answered %v", answer)
	}
	fault.Remove()
	if got, _ := c.ask(s.ID, now(jti)); !slices.Equal(got, []string{next}) {
		t.Errorf("then %q, want %q", got, next)
	}
}

// A subject whose SET is not acknowledged holds up no other, also when its SETs fill the window.
func TestASubjectThatIsNotAcknowledgedStarvesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(func(cfg *Config) { cfg.Window = 2 })
	s := c.create(ssf.Delivery{Method: ssf.MethodPoll})
	for i := range 3 {
		w.decideAs("alice", fmt.Sprint("alice-", i))
	}
	seen := map[string]bool{}
	var acks []string
	poll := func() {
		a, err := c.Poll(t.Context(), app, s.ID, ssf.PollRequest{ReturnImmediately: true, Ack: acks})
		if err != nil {
			t.Fatal(err)
		}
		acks = nil
		for jti := range a.Sets {
			if seen[jti] = true; jti != "jti-alice-0" {
				acks = append(acks, jti)
			}
		}
	}
	eventually(t, "hers is handed out", func() bool { poll(); return seen["jti-alice-0"] })
	const others = 20
	for i := range others {
		w.decideAs(fmt.Sprint("user-", i), fmt.Sprint("other-", i))
	}
	eventually(t, "the others' are handed out", func() bool { poll(); return len(seen) == others+1 })
	if seen["jti-alice-1"] {
		t.Error("her second one went before the first was acknowledged")
	}
}

// A poll that is answered shows that the receiver is there, also when there was nothing for it.
func TestAPollIsASuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	s := c.pollStream()
	last := func() *time.Time {
		o, err := c.find(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		return o.view().LastSuccess
	}
	if got := last(); got != nil {
		t.Errorf("before the first poll: %v", got)
	}
	before := time.Now()
	if _, err := c.Poll(t.Context(), app, s.ID, ssf.PollRequest{ReturnImmediately: true}); err != nil {
		t.Fatal(err)
	}
	if got := last(); got == nil || got.Before(before) {
		t.Errorf("after it: %v", got)
	}
}
