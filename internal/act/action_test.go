package act

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/source/upstream"
	"github.com/countersign-io/countersign/internal/stream"
)

func (w *world) take(t *testing.T, batch ...stream.Record) {
	t.Helper()
	if err := w.action.take(t.Context(), 0, batch); err != nil {
		t.Fatal(err)
	}
}

func (w *world) outcome(name string) float64 {
	return testutil.ToFloat64(w.action.metrics.outcomes.WithLabelValues("end", name))
}

func TestDoneOnceWithAReceipt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		c := required("u1", 1)
		r := w.add(c)
		time.Sleep(3 * time.Second)
		w.take(t, r)
		w.take(t, r, w.add(c))
		successor := required("u1", 2) // takes the place of the first: the same event, the same policy
		successor.EventID = c.EventID
		w.take(t, w.add(successor))
		if got := w.source.requests(); !slices.Equal(got, []string{"u1 r1"}) {
			t.Errorf("asked %q", got)
		}
		receipts := w.receipts(t)
		want := events.Receipt{
			Time: events.MillisOf(time.Now()), Tenant: "acme", User: "u1", Requirement: "r1", JTI: "jti-u1-1", App: "graph", Status: events.Revoked,
		}
		want.ID = events.ReceiptID(&want)
		if diff := cmp.Diff([]events.Receipt{want}, receipts); diff != "" {
			t.Errorf("receipts (-want, +got):\n%s", diff)
		}
		if w.outcome(outcomeDone) != 1 || w.outcome(outcomeRepeated) != 3 || len(w.letters(t)) != 0 {
			t.Errorf("done %v, repeated %v", w.outcome(outcomeDone), w.outcome(outcomeRepeated))
		}
	})
}

func TestObserveAsksNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(a *ActionConfig) { a.Mode = Observe })
		old := w.add(required("u2", 2))
		time.Sleep(25 * time.Hour)
		w.take(t, old, w.add(required("u1", 1)), w.add(required("nobody", 3)), stream.Record{Value: []byte("rubbish")})
		if len(w.source.requests()) != 0 || len(w.published) != 0 {
			t.Errorf("asked %q, published %v", w.source.requests(), w.published)
		}
		all := w.logs.All()
		if len(all) != 1 || all[0].Message != "observed, not done" {
			t.Fatalf("%v", all)
		}
		got := all[0].ContextMap()
		if got["user"] != "u1" || got["requirement"] != "r1" || got["status"] != "revoked" || got["request"] != "POST u1" {
			t.Errorf("%v", got)
		}
		if w.outcome(outcomeObserved) != 1 || w.outcome(outcomeLate) != 1 || w.outcome(outcomeRefused) != 1 || w.outcome(outcomeUnreadable) != 1 {
			t.Errorf("observed %v, late %v", w.outcome(outcomeObserved), w.outcome(outcomeLate))
		}
	})
}

func TestRetriesGrowAndHeedRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.source.answer = func(_ string, try int) error {
			switch {
			case try < 12:
				return &upstream.Error{Status: 503}
			case try == 12:
				return &upstream.Error{Status: 429, Wait: 20 * time.Minute}
			}
			return nil
		}
		w.take(t, w.add(required("u1", 1)))
		times := w.source.times
		if len(times) != 13 || len(w.receipts(t)) != 1 || len(w.letters(t)) != 0 {
			t.Fatalf("%d tries", len(times))
		}
		for i := 1; i < 12; i++ {
			whole := min(time.Second<<(i-1), 5*time.Minute)
			if pause := times[i].Sub(times[i-1]); pause < whole/2 || pause > whole+time.Second {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, whole/2, whole)
			}
		}
		if pause := times[12].Sub(times[11]); pause < 20*time.Minute || pause > 21*time.Minute {
			t.Errorf("after Retry-After: %v", pause)
		}
	})
}

// While a source asks to be left alone because of one user, it is not asked for the others either.
func TestRetryAfterIsForAllUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.source.answer = func(_ string, try int) error {
			if try == 1 && len(w.source.asked) == 1 {
				return &upstream.Error{Status: 429, Wait: time.Hour}
			}
			return nil
		}
		w.take(t, w.add(required("u1", 1)))
		began := time.Now()
		w.action.quiet.Store(began.Add(10 * time.Minute).UnixNano())
		w.take(t, w.add(required("u2", 2)), w.add(required("u3", 3)))
		for _, at := range w.source.times[2:] {
			if at.Before(began.Add(10 * time.Minute)) {
				t.Errorf("asked after %v", at.Sub(began))
			}
		}
	})
}

func TestUserWhoIsGoneIsADeadLetterAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.source.answer = func(user string, _ int) error {
			if user == "gone" {
				return &upstream.Error{Status: 404, Detail: "no such user"}
			}
			return nil
		}
		gone := w.add(required("gone", 1))
		began := time.Now()
		w.take(t, gone, w.add(required("u2", 2)), w.add(required("nobody", 3)), stream.Record{Topic: events.TopicRevocations, Offset: 9, Value: []byte("{}")})
		letters := w.letters(t)
		if time.Since(began) != 0 || len(letters) != 3 || len(w.receipts(t)) != 1 {
			t.Fatalf("after %v: %d letters", time.Since(began), len(letters))
		}
		byOffset := map[int64]events.DeadLetter{}
		for _, d := range letters {
			byOffset[d.Offset] = d
		}
		d := byOffset[0]
		if d.Source != "act/end" || d.Stage != "courier" || d.Reason != `answered 404: "no such user"` || string(d.Bytes) != string(gone.Value) || d.Topic != events.TopicRevocations {
			t.Errorf("%+v", d)
		}
		if byOffset[2].Reason != "is no user" || !strings.Contains(byOffset[9].Reason, "iss: is missing") && byOffset[9].Reason == "" {
			t.Errorf("%+v", byOffset)
		}
	})
}

func TestRefusedCredentialsAreLoudAndRetriedSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		var during float64
		w.source.answer = func(_ string, try int) error {
			during = testutil.ToFloat64(w.action.metrics.denied.WithLabelValues("end"))
			if try < 5 {
				return &upstream.TokenError{Status: 401, Code: "invalid_client"}
			}
			return nil
		}
		w.take(t, w.add(required("u1", 1)))
		for i, at := range w.source.times[1:] {
			if pause := at.Sub(w.source.times[i]); pause < 150*time.Second || pause > 301*time.Second {
				t.Errorf("pause %v", pause)
			}
		}
		if during != 1 || testutil.ToFloat64(w.action.metrics.denied.WithLabelValues("end")) != 0 {
			t.Errorf("denied was %v", during)
		}
		if w.logs.FilterMessageSnippet("refuses us").Len() != 1 || w.logs.FilterMessageSnippet("again").Len() != 1 {
			t.Errorf("%v", w.logs.All())
		}
	})
}

func TestTooLateIsADeadLetterWithTheLastReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.source.answer = func(string, int) error { return &upstream.Error{Status: 500, Detail: "sorry"} }
		began := time.Now()
		w.take(t, w.add(required("u1", 1)))
		letters := w.letters(t)
		if took := time.Since(began); took < 24*time.Hour || took > 24*time.Hour+6*time.Minute || len(letters) != 1 {
			t.Fatalf("after %v: %v", took, letters)
		}
		if want := `not done within 24h0m0s of the decision: answered 500: "sorry"`; letters[0].Reason != want {
			t.Errorf("%s", letters[0].Reason)
		}
	})
}

// One request that a source cannot digest must not hold up the users behind it for a day.
func TestARequestThatFailsWhileOthersSucceedIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.source.answer = func(user string, _ int) error {
			if user == "odd" {
				return &upstream.Error{Status: 500}
			}
			return nil
		}
		stuck := func(n int) (ended chan time.Duration) {
			began, ended, r := time.Now(), make(chan time.Duration, 1), w.add(required("odd", n))
			go func() {
				if err := w.action.take(t.Context(), 0, []stream.Record{r}); err != nil {
					t.Error(err)
				}
				ended <- time.Since(began)
			}()
			return ended
		}
		odd := stuck(1)
		time.Sleep(10 * time.Second)
		w.take(t, w.add(required("u2", 2))) // of another partition
		if took := <-odd; took > 5*time.Minute || w.source.tries["odd"] != stubborn {
			t.Errorf("%d tries, %v", w.source.tries["odd"], took)
		}
		// Nobody else shows that the source still works.
		w.take(t, w.add(required("u3", 3)))
		time.Sleep(10 * time.Second)
		if took := <-stuck(4); took > time.Hour || w.source.tries["odd"] != stubborn+alone {
			t.Errorf("%d tries, %v", w.source.tries["odd"], took)
		}
		if len(w.letters(t)) != 2 || len(w.receipts(t)) != 2 {
			t.Errorf("%v", w.published)
		}
	})
}

func TestUserWhoProvedThemselvesMeanwhileIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		first, second, third := required("u1", 1), required("u2", 2), required("u3", 3)
		third.Expires = time.Now().Unix() + 100
		w.source.answer = func(user string, try int) error {
			if user == "u1" && try == 6 {
				w.add(ended(first, revocation.Satisfied)) // on the log behind the batch
			}
			return &upstream.Error{Status: 503}
		}
		batch := []stream.Record{w.add(first), w.add(second), w.add(third), w.add(ended(second, revocation.Satisfied))}
		w.take(t, batch...)
		if w.outcome(outcomeClosed) != 2 || w.outcome(outcomeExpired) != 1 || w.source.tries["u2"] != 0 || w.source.tries["u1"] != 6 || len(w.published) != 0 {
			t.Errorf("closed %v, expired %v, tries %v", w.outcome(outcomeClosed), w.outcome(outcomeExpired), w.source.tries)
		}
	})
}

func TestOrderOfAUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.source.answer = func(_ string, try int) error {
			if try%3 != 0 {
				return &upstream.Error{Err: errors.New("connection reset")}
			}
			return nil
		}
		var batch []stream.Record
		for n := range 5 {
			for _, user := range []string{"u1", "u2", "u3"} {
				batch = append(batch, w.add(required(user, n)))
			}
		}
		w.take(t, batch...)
		last := map[string]string{}
		for _, r := range w.source.requests() {
			user, id, _ := strings.Cut(r, " ")
			if id < last[user] {
				t.Errorf("%s comes after %s", r, last[user])
			}
			last[user] = id
		}
		if len(w.receipts(t)) != 15 {
			t.Errorf("%d receipts", len(w.receipts(t)))
		}
	})
}

func TestBreakerHoldsWhatExceeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(a *ActionConfig) { a.PerMinute, a.Match.Tenants = 10, []string{"acme", "other"} })
		var batch []stream.Record
		for n := range 35 {
			batch = append(batch, w.add(required(fmt.Sprint("u", n), n)))
		}
		other := required("v", 99)
		other.Tenant = "other"
		began := time.Now()
		batch = append([]stream.Record{w.add(other)}, batch...)
		w.take(t, batch...)
		if took := time.Since(began); took < 3*time.Minute || took > 3*time.Minute+time.Second || len(w.receipts(t)) != 36 {
			t.Errorf("took %v for %d", took, len(w.receipts(t)))
		}
		var times []time.Time
		for i, r := range w.source.requests() {
			if r != "v r99" { // of the other tenant
				times = append(times, w.source.times[i])
			}
		}
		for i := 10; i < len(times); i++ {
			if apart := times[i].Sub(times[i-10]); apart < time.Minute {
				t.Errorf("11 actions within %v", apart)
			}
		}
		if held := testutil.ToFloat64(w.action.metrics.held.WithLabelValues("end")); held != 12 { // four users at a time, three minutes
			t.Errorf("%v held", held)
		}
	})
}

func TestLogThatCannotBeWrittenLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.fail = errors.New("broker is away")
		r, gone := w.add(required("u1", 1)), w.add(required("nobody", 2))
		if err := w.action.take(t.Context(), 0, []stream.Record{r}); err == nil {
			t.Error("done without a receipt")
		}
		if err := w.action.take(t.Context(), 0, []stream.Record{gone}); err == nil {
			t.Error("given up without a letter")
		}
		w.fail = nil
		w.take(t, r, gone)
		if len(w.receipts(t)) != 1 || len(w.letters(t)) != 1 {
			t.Errorf("%v", w.published)
		}
	})
}

func TestTheEndOfAPartitionEndsEveryWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.source.answer = func(string, int) error { return &upstream.Error{Status: 503} }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		batch := []stream.Record{w.add(required("u1", 1)), w.add(required("u2", 2))}
		go func() { ended <- w.action.take(ctx, 0, batch) }()
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) || len(w.published) != 0 {
				t.Errorf("%v, %v", err, w.published)
			}
		default:
			t.Error("it goes on")
		}
	})
}

// Whatever is on the log, nothing is done for a requirement that is over or does not match, and whatever should be done is
// done or a dead letter.
func TestNothingIsDoneThatShouldNot(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, func(a *ActionConfig) {
			a.PerMinute = maxPerMinute
			a.Match = Match{
				Tenants:  rapid.SampledFrom([][]string{{"acme"}, {"other"}, {"acme", "other"}}).Draw(rt, "tenants"),
				Policies: rapid.SampledFrom([][]string{nil, {"p1"}, {"p1", "p2"}}).Draw(rt, "policies"),
				Actions:  rapid.SampledFrom([][]events.Action{{events.RevokeAll}, {events.RevokeSession, events.RevokeAll}, {events.StepUp}}).Draw(rt, "actions"),
				Severity: rapid.SampledFrom([]events.Severity{"", events.Medium, events.Critical}).Draw(rt, "severity"),
			}
			a.Mode = rapid.SampledFrom([]string{On, On, Observe}).Draw(rt, "mode")
		})
		now := time.Now().Unix()
		due, ids := map[string]bool{}, map[string]bool{}
		n := rapid.IntRange(1, 12).Draw(rt, "requirements")
		for i := range n {
			c := required(rapid.SampledFrom([]string{"u1", "u2"}).Draw(rt, "user"), i)
			c.Tenant = rapid.SampledFrom([]string{"acme", "other"}).Draw(rt, "tenant")
			c.Policy = rapid.SampledFrom([]string{"p1", "p2", "p3"}).Draw(rt, "policy")
			c.Action = rapid.SampledFrom([]events.Action{events.StepUp, events.RevokeSession, events.RevokeAll}).Draw(rt, "action")
			c.Severity = rapid.SampledFrom([]events.Severity{"", events.Low, events.High, events.Critical}).Draw(rt, "severity of it")
			expired := rapid.Bool().Draw(rt, "expired")
			if expired {
				c.NotBefore, c.Expires = now-10, now
			}
			w.add(c)
			over := rapid.SampledFrom([]revocation.Status{"", "", revocation.Satisfied, revocation.Expired}).Draw(rt, "end")
			if over != "" {
				w.add(ended(c, over))
			}
			m := &w.action.cfg.Match
			ids[c.User+" "+c.ID] = true
			if w.action.cfg.Mode == On && over == "" && !expired && slices.Contains(m.Tenants, c.Tenant) && slices.Contains(m.Actions, c.Action) &&
				(m.Policies == nil || slices.Contains(m.Policies, c.Policy)) && (m.Severity == "" || c.Severity.Rank() >= m.Severity.Rank()) {
				due[c.User+" "+c.ID] = true
			}
		}
		records := slices.Clone(w.records)
		for i := range records { // they are read late
			records[i].Time = records[i].Time.Add(-time.Duration(rapid.IntRange(11, 60).Draw(rt, "delay")) * time.Second)
		}
		for len(records) > 0 {
			size := rapid.IntRange(1, len(records)).Draw(rt, "batch")
			if err := w.action.take(t.Context(), 0, records[:size]); err != nil {
				rt.Fatal(err)
			}
			records = records[size:]
		}
		got := map[string]bool{}
		for _, r := range w.source.requests() {
			if got[r] {
				rt.Errorf("%s twice", r)
			}
			got[r] = true
		}
		if diff := cmp.Diff(due, got); diff != "" {
			rt.Errorf("of %v (-due, +done):\n%s", ids, diff)
		}
	})
}

func TestReplay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.source.answer = func(_ string, try int) error {
			if try == 1 {
				return &upstream.Error{Status: 404}
			}
			return nil
		}
		first, second := required("u1", 1), required("u2", 2)
		w.take(t, w.add(first), w.add(second))
		w.add(ended(second, revocation.Satisfied))
		time.Sleep(30 * time.Hour)
		runner := &Runner{actions: []*action{w.action}}
		letters, err := ReadLetters(t.Context(), w.memoryLog, "end", time.Now().Add(-48*time.Hour))
		if err != nil || len(letters) != 2 {
			t.Fatalf("%v, %v", letters, err)
		}
		for i := range letters {
			want := error(nil)
			if c, err := revocation.ParseClaims(letters[i].Bytes); err != nil || c.User == "u2" {
				want = ErrOver
			}
			if err := runner.Replay(t.Context(), &letters[i]); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		if receipts := w.receipts(t); len(receipts) != 1 || receipts[0].User != "u1" || w.source.tries["u2"] != 1 {
			t.Errorf("%v", receipts)
		}
		for _, since := range []time.Duration{time.Hour, 48 * time.Hour} {
			list, err := ReadLetters(t.Context(), w.memoryLog, map[time.Duration]string{time.Hour: "end", 48 * time.Hour: "another"}[since], time.Now().Add(-since))
			if err != nil || len(list) != 0 {
				t.Errorf("%v, %v", list, err)
			}
		}
		w.action.cfg.Mode = Observe
		if err := runner.Replay(t.Context(), &letters[0]); err == nil {
			t.Error("an action that observes replays")
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := newMemory(3)
	for _, key := range []string{"a", "b", "b", "c", "d"} {
		m.add(key)
	}
	if m.has("a") || !m.has("b") || !m.has("d") || len(m.keys) != 3 {
		t.Errorf("%v", m.keys)
	}
}
