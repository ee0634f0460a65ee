package notify

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/revocation"
)

// A person gets one message for one incident, another when it grows worse, and one when it is over.
func TestOneMessageForOneIncident(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t), newInbox(t)
	w.start(w.toHook(b))
	for n := range 5 {
		w.find(finding("ada", n, events.Medium, "txn-1"))
	}
	w.eventually(wantMessages(b, 1))
	w.find(finding("ada", 9, events.Critical, "txn-1"))
	w.eventually(wantMessages(b, 2))
	w.find(finding("ada", 10, events.High, "txn-1"))
	w.claim(claims("ada", "txn-1", revocation.Satisfied))
	w.eventually(wantMessages(b, 3))
	got := b.messages()
	for i, want := range []struct {
		phase    incident.Phase
		severity events.Severity
	}{{incident.Firing, events.Medium}, {incident.Firing, events.Critical}, {incident.Resolved, events.Critical}} {
		if got[i].Phase != want.phase || got[i].Severity != want.severity || got[i].Incident.ID != got[0].Incident.ID {
			t.Errorf("message %d: %s %s of %s", i, got[i].Phase, got[i].Severity, got[i].Incident.ID)
		}
	}
	if got[2].Ending != incident.Satisfied || got[2].Requirement != "txn-1" {
		t.Errorf("%+v", got[2])
	}
	verified(t, b)
}

// A target that is down gets its message when it is back, with the same id, and one that refuses it is not asked again: the
// message is among the dead letters and can be sent from there.
func TestTargetsThatDoNotTakeIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer   func(n int, w http.ResponseWriter) int
		requests int
		dead     bool
	}{
		"down": {func(n int, _ http.ResponseWriter) int {
			if n <= 3 {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		}, 4, false},
		"busy": {func(n int, w http.ResponseWriter) int {
			if n == 1 {
				w.Header().Set("Retry-After", "1")
				return http.StatusTooManyRequests
			}
			return http.StatusOK
		}, 2, false},
		"refusing": {func(int, http.ResponseWriter) int { return http.StatusBadRequest }, 1, true},
		"redirecting": {func(n int, w http.ResponseWriter) int {
			if n == 1 {
				w.Header().Set("Location", "/elsewhere")
				return http.StatusTemporaryRedirect
			}
			return http.StatusOK
		}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, b := newWorld(t), newInbox(t)
			b.answer = c.answer
			cfg := w.toHook(b)
			w.start(cfg)
			w.find(finding("ada", 1, events.High, ""))
			w.eventually(func() error {
				if n := b.requests(); n < c.requests {
					return fmt.Errorf("%d requests", n)
				}
				if dead := len(w.letters()) == 1; dead != c.dead {
					return fmt.Errorf("dead is %v", dead)
				}
				return nil
			})
			ids := map[string]bool{}
			b.mu.Lock()
			for _, h := range b.header {
				ids[h.Get("Webhook-Id")] = true
			}
			b.answer = nil
			b.mu.Unlock()
			if len(ids) != 1 || b.requests() != c.requests {
				t.Errorf("ids %v in %d requests", ids, b.requests())
			}
			if !c.dead {
				return
			}
			desk, err := OpenDesk(cfg)
			if err != nil {
				t.Fatal(err)
			}
			letter := w.letters()[0]
			if err := desk.Send(t.Context(), letter.Target, &letter.Message); err != nil {
				t.Fatal(err)
			}
			if got := b.messages(); len(got) != 1 || !ids[got[0].ID] || got[0].User != "ada" {
				t.Errorf("replayed: %+v", got)
			}
		})
	}
}

// Whatever stops the one that sends, the next tells of what is left, and of nothing twice that was noted.
func TestRestartGoesOn(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t), newInbox(t)
	cfg := w.toHook(b)
	stop := w.start(cfg)
	w.find(finding("ada", 1, events.High, "txn-1"))
	w.eventually(wantMessages(b, 1))
	stop()
	for n := range 3 {
		w.find(finding("ada", 2+n, events.High, "txn-1"))
	}
	w.find(finding("bob", 1, events.High, ""))
	stop = w.start(cfg)
	w.eventually(wantMessages(b, 2))
	stop()
	w.claim(claims("ada", "txn-1", revocation.Satisfied))
	w.start(cfg)
	w.eventually(wantMessages(b, 3))
	got := b.messages()
	if got[0].User != "ada" || got[1].User != "bob" || got[2].Phase != incident.Resolved || got[2].User != "ada" || got[2].Findings != 4 {
		t.Errorf("%+v", got)
	}
}

// Two couriers send once: one of them waits.
func TestTwoCouriersSendOnce(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t), newInbox(t)
	cfg := w.toHook(b)
	stop := w.start(cfg)
	w.start(cfg)
	for n := range 20 {
		w.find(finding(fmt.Sprint("user", n), 1, events.High, ""))
	}
	w.eventually(wantMessages(b, 20))
	stop()
	for n := range 20 {
		w.find(finding(fmt.Sprint("other", n), 1, events.High, ""))
	}
	w.eventually(func() error {
		users := map[string]int{}
		for _, m := range b.messages() {
			users[m.User]++
		}
		if len(users) != 40 {
			return fmt.Errorf("%d users were told of", len(users))
		}
		return nil
	})
	if n := len(b.messages()); n != 40 {
		t.Errorf("%d messages for 40 incidents", n)
	}
}

// What exceeds the rate of a target becomes one summary, and nobody is left out.
func TestTooManyBecomeOneSummary(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t), newInbox(t)
	cfg := w.toHook(b)
	cfg.Targets[0].Rate = 2
	n, err := New(cfg, Deps{Cluster: w.cluster})
	if err != nil {
		t.Fatal(err)
	}
	l := newLead(n)
	for i := range 30 {
		l.state.Finding(finding(fmt.Sprint("user", i), 1, events.High, ""), 1)
	}
	for _, id := range l.state.Changed() {
		l.waiting[id] = true
	}
	lane := l.lanes["hook"]
	lane.exceeded = true
	due, _, pending := l.due("hook", events.MillisOf(time.Now()))
	r := l.compose(lane, due, time.Now())
	if pending != 30 || !r.summary || r.message.More != 30 || len(r.covers) != 30 || lane.exceeded {
		t.Fatalf("pending %d, %+v", pending, r.message)
	}
	r.err = n.targets[0].sender.send(t.Context(), &r.message)
	r.finished = time.Now()
	if err := l.done(t.Context(), r); err != nil || r.err != nil {
		t.Fatal(errors.Join(err, r.err))
	}
	if _, _, pending := l.due("hook", events.MillisOf(time.Now())); pending != 0 {
		t.Errorf("%d are pending", pending)
	}
	if got := b.messages(); len(got) != 1 || got[0].More != 30 || got[0].TitleText != "high: 30 more incidents" {
		t.Errorf("%+v", got)
	}
}

// A message that is too old is given up, of a summary as of a single one, and so is one whose target is gone.
func TestGivingUp(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t), newInbox(t)
	cfg := w.toHook(b)
	cfg.MaxAge = time.Minute
	n, err := New(cfg, Deps{Cluster: w.cluster})
	if err != nil {
		t.Fatal(err)
	}
	l := newLead(n)
	long := events.MillisOf(time.Now().Add(-2 * time.Minute))
	for i := range 3 {
		l.state.Finding(finding(fmt.Sprint("user", i), 1, events.High, ""), long)
	}
	for _, id := range l.state.Changed() {
		l.waiting[id] = true
	}
	lane := l.lanes["hook"]
	for _, exceeded := range []bool{false, true} {
		lane.exceeded = exceeded
		due, _, _ := l.due("hook", events.MillisOf(time.Now()))
		r := l.compose(lane, due, time.Now())
		r.err, r.finished = errors.New("down"), time.Now()
		if err := l.done(t.Context(), r); err != nil || r.summary != exceeded {
			t.Fatal(err, r.summary)
		}
	}
	if n := len(w.letters()); n != 3 {
		t.Errorf("%d dead letters, want 3", n)
	}
	i := l.state.Finding(finding("late", 1, events.High, ""), events.MillisOf(time.Now()))
	l.waiting[i.ID] = true
	delete(l.lanes, "hook")
	if err := l.abandon(t.Context()); err != nil || i.Waiting() || len(w.letters()) != 4 {
		t.Errorf("%v, %+v", err, i.Deliveries)
	}
}

// What is required and satisfied while nobody sends is told of all the same, and records that are neither finding nor requirement
// hold up nothing.
func TestUnreadableRecordsHoldUpNothing(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t), newInbox(t)
	for n := range 4 {
		w.publish(events.TopicFindings, fmt.Sprint("k", n), []byte("{"))
		w.publish(events.TopicRevocations, fmt.Sprint("k", n), []byte("nothing"))
		w.publish(events.TopicRevocations, fmt.Sprint("gone", n), nil)
	}
	w.claim(claims("ada", "txn-1", revocation.Satisfied))
	w.find(finding("ada", 1, events.High, "txn-1"))
	w.start(w.toHook(b))
	w.eventually(wantMessages(b, 2))
	if got := b.messages(); got[0].Phase != incident.Firing || got[1].Phase != incident.Resolved {
		t.Errorf("%+v", got)
	}
}
