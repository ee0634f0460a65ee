package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/source/native"
	"github.com/countersign-io/countersign/internal/stream"
)

// journal is a log and a topic of cursors in memory, that notes what happens in which order.
type journal struct {
	mu      sync.Mutex
	entries []string
	puts    []Status
	refuse  []error // what the next publishes of events answer
	slow    time.Duration
}

func (j *journal) note(format string, args ...any) {
	j.entries = append(j.entries, fmt.Sprintf(format, args...))
}

func (j *journal) Publish(ctx context.Context, topic string, records []stream.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.refuse) > 0 && topic == events.TopicEvents {
		err := j.refuse[0]
		if j.refuse = j.refuse[1:]; err != nil {
			j.note("refused")
			return err
		}
	}
	if !sleep(ctx, j.slow) {
		return ctx.Err()
	}
	j.note("%s %d", strings.Split(topic, ".")[1], len(records))
	return nil
}

func (j *journal) put(_ context.Context, s Status) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note("cursor %s", s.Position)
	j.puts = append(j.puts, s)
	return nil
}

func (j *journal) last() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.puts) == 0 {
		return Status{}
	}
	return j.puts[len(j.puts)-1]
}

// script is a Fetcher that plays its steps and then waits for its context to end.
type script struct {
	mu    sync.Mutex
	steps []fetched
	at    []time.Time // of the calls
	from  []string    // their positions
}

func (s *script) Fetch(ctx context.Context, position []byte, take func([][]byte, []byte) error) (time.Duration, error) {
	step := s.next(position)
	if step == nil {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return step(take)
}

func (s *script) next(position []byte) (step fetched) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.from = append(s.at, time.Now()), append(s.from, string(position))
	if len(s.steps) > 0 {
		step, s.steps = s.steps[0], s.steps[1:]
	}
	return step
}

// calls is how often it was called.
func (s *script) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.at)
}

// pauses are the times between the calls.
func (s *script) pauses() []time.Duration {
	var out []time.Duration
	for i := 1; i < len(s.at); i++ {
		out = append(out, s.at[i].Sub(s.at[i-1]))
	}
	return out
}

type fetched = func(take func([][]byte, []byte) error) (time.Duration, error)

func fails(err error) fetched {
	return func(func([][]byte, []byte) error) (time.Duration, error) { return 0, err }
}

func idles(wait time.Duration) fetched {
	return func(func([][]byte, []byte) error) (time.Duration, error) { return wait, nil }
}

func page(next string, ids ...string) fetched {
	return func(take func([][]byte, []byte) error) (time.Duration, error) {
		return time.Minute, take(values(ids...), []byte(next))
	}
}

func values(ids ...string) [][]byte {
	var out [][]byte
	for _, id := range ids {
		out = append(out, fmt.Appendf(nil, `{"kind":"sign_in","tenant":"acme","user":{"id":"u"},"time":%q,"source":{"id":%q}}`, events.MillisOf(time.Now().Add(-time.Minute)), id))
	}
	return out
}

// waitError asks to be left alone.
type waitError struct{ wait time.Duration }

func (e waitError) Error() string             { return "429" }
func (e waitError) RetryAfter() time.Duration { return e.wait }

var noPlaces = sync.OnceValues(func() (*geo.DB, error) { return geo.Open(geo.DefaultConfig(), geo.Deps{}) })

// play runs a script until it is through, within a synctest bubble, and stops the puller.
func play(t *testing.T, j *journal, log *zap.Logger, steps ...fetched) (*script, *puller) {
	t.Helper()
	s := &script{steps: steps}
	p := newPuller(t, j, s, log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.run(ctx) }()
	for s.calls() <= len(steps) {
		sleep(t.Context(), time.Hour)
		synctest.Wait()
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	return s, p
}

func newPuller(t *testing.T, j *journal, f Fetcher, log *zap.Logger) *puller {
	t.Helper()
	places, err := noPlaces()
	if err != nil {
		t.Fatal(err)
	}
	pipeline, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{Publisher: j, Geo: places})
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	if log == nil {
		log = zap.NewNop()
	}
	return &puller{
		cfg: DefaultConfig(), pipeline: pipeline, put: j.put, recall: func(context.Context) error { j.note("recall"); return nil },
		src:    Source{Name: "okta", Format: "event", Decoder: native.Decoder{}, Tenants: []string{"acme"}, Fetcher: f},
		status: Status{Source: "okta", Format: "event"}, metrics: m, notice: newNotice(log, "source fails", "source works again"),
	}
}

// without leaves the entries of heartbeats out, which repeat the cursor.
func (j *journal) without() []string {
	var out []string
	for _, e := range j.entries {
		if len(out) == 0 || out[len(out)-1] != e {
			out = append(out, e)
		}
	}
	return out
}

func TestPositionIsKeptAfterTheEventsAreAcknowledged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{refuse: []error{nil, errors.New("denied")}}
		s, _ := play(t, j, nil, page(`{"n":1}`, "a", "b"), page(`{"n":2}`, "c"), page(`{"n":2}`, "b", "c"), page(`{"n":3}`, "b", "nonsense\x01"))
		want := []string{
			`events 2`, `cursor {"n":1}`, // a page, the position after it
			`refused`, `cursor {"n":1}`, // the second page is refused: the error is told, the position stays
			`recall`, `events 1`, `cursor {"n":2}`, // it is fetched again; what may be on the log is looked up before
			`deadletter 1`, `cursor {"n":3}`,
		}
		if d := cmp.Diff(want, j.without()); d != "" {
			t.Errorf("journal (-want, +got):\n%s", d)
		}
		if d := cmp.Diff([]string{``, `{"n":1}`, `{"n":1}`, `{"n":2}`, `{"n":3}`}, s.from); d != "" {
			t.Errorf("positions asked from (-want, +got):\n%s", d)
		}
		got := j.last()
		if got.Accepted != 3 || got.Duplicates != 2 || got.Rejected != 1 || got.LastEvent == 0 || got.Error != "" {
			t.Errorf("status %+v, want 3 accepted, 2 duplicates, 1 rejected", got)
		}
	})
}

func TestErrorsAreRetriedMoreAndMoreSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var steps []fetched
		for range 12 {
			steps = append(steps, fails(errors.New("down")))
		}
		// One that got on before it failed begins anew with a short pause.
		steps = append(steps, func(take func([][]byte, []byte) error) (time.Duration, error) {
			return 0, errors.Join(take(values("a"), []byte(`1`)), errors.New("down"))
		}, idles(0), idles(3*time.Minute))
		s, p := play(t, &journal{}, nil, steps...)
		for i, got := range s.pauses()[:12] {
			longest := min(time.Second<<i, 5*time.Minute)
			if got < longest/2 || got > longest {
				t.Errorf("pause %d is %v, want %v to %v", i, got, longest/2, longest)
			}
		}
		if rest := s.pauses()[12:]; rest[0] > time.Second || rest[1] != p.cfg.MinPause || rest[2] != 3*time.Minute {
			t.Errorf("pauses after it got on, after no wait, and as asked: %v", rest)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := play(t, &journal{}, nil, fails(waitError{42 * time.Second}), fails(fmt.Errorf("asking: %w", waitError{7 * time.Minute})), fails(waitError{0}))
		got := s.pauses()
		if got[0] != 42*time.Second || got[1] != 7*time.Minute || got[2] > 4*time.Second || got[2] < 500*time.Millisecond {
			t.Errorf("pauses %v, want 42s, 7m0s, and what a third error in a row gets", got)
		}
	})
}

func TestErrorIsShownAndLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		j := &journal{}
		long := errors.New("first line\nsecond\x00 line " + strings.Repeat("é", 1000))
		play(t, j, zap.New(core), idles(time.Minute), fails(long), fails(errors.New("another")), fails(long), idles(time.Minute), fails(long))
		var lines []string
		for _, l := range logs.All() {
			lines = append(lines, l.Level.String()+" "+l.Message)
		}
		if d := cmp.Diff([]string{"warn source fails", "info source works again", "warn source fails"}, lines); d != "" {
			t.Errorf("log (-want, +got):\n%s", d)
		}
		var seen []string
		var since []events.Millis
		for _, s := range j.puts {
			if text, _, _ := strings.Cut(s.Error, " line"); len(seen) == 0 || seen[len(seen)-1] != text {
				seen = append(seen, text)
				since = append(since, s.ErrorSince)
			}
			if strings.ContainsAny(s.Error, "\n\x00") || len(s.Error) > maxError+len("…") {
				t.Errorf("error text %q", s.Error)
			}
		}
		if d := cmp.Diff([]string{"", "first", "", "first"}, seen); d != "" {
			t.Errorf("errors that were written (-want, +got):\n%s", d)
		}
		if since[0] != 0 || since[1] == 0 || since[2] != 0 || since[3] <= since[1] {
			t.Errorf("since when: %v", since)
		}
	})
}

func TestBusyLogIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		for range 50 {
			j.refuse = append(j.refuse, stream.ErrOverloaded)
		}
		s, _ := play(t, j, nil, page(`1`, "a"))
		if got := j.last(); got.Accepted != 1 || got.Error != "" || len(s.at) != 2 {
			t.Errorf("status %+v after %d calls, want one accepted record without an error", got, len(s.at))
		}
	})
}

// While nothing happens, and while a call takes long, the status says every minute that the source runs.
func TestStatusIsASignOfLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		play(t, j, nil, idles(20*time.Minute), func(func([][]byte, []byte) error) (time.Duration, error) {
			sleep(t.Context(), 20*time.Minute)
			return time.Minute, nil
		})
		for i := 1; i < len(j.puts); i++ {
			if gap := j.puts[i].Updated - j.puts[i-1].Updated; gap > 2*events.Minute {
				t.Errorf("no sign of life for %d s", gap/events.Second)
			}
		}
		if len(j.puts) < 40 {
			t.Errorf("%d signs of life in 40 minutes", len(j.puts))
		}
	})
}

func TestPositionMustBeSmallJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		large, err := json.Marshal(strings.Repeat("x", MaxPosition))
		if err != nil {
			t.Fatal(err)
		}
		s, _ := play(t, j, nil, page(`{"n":`, "a"), page(string(large), "a"), page(`{"n":1}`, "a"))
		if d := cmp.Diff([]string{"", "", "", `{"n":1}`}, s.from); d != "" {
			t.Errorf("positions asked from (-want, +got):\n%s", d)
		}
		if got := j.last(); got.Accepted != 1 || got.Duplicates != 0 {
			t.Errorf("status %+v: nothing may be taken under a position that cannot be kept", got)
		}
	})
}

// The end of the context lets the page at hand get on the log, but no further one begin.
func TestStopFinishesThePageAtHand(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		slow time.Duration
		want []string
	}{
		{time.Second, []string{`events 1`, `cursor 1`}},
		{time.Minute, nil}, // longer than DrainTimeout
	} {
		synctest.Test(t, func(t *testing.T) {
			j := &journal{slow: test.slow}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p := newPuller(t, j, &script{steps: []fetched{func(take func([][]byte, []byte) error) (time.Duration, error) {
				time.AfterFunc(100*time.Millisecond, cancel)
				for n := 1; ; n++ {
					err := take(values(fmt.Sprint(n)), fmt.Append(nil, n))
					if err != nil {
						return 0, err
					}
				}
			}}}, nil)
			p.cfg.DrainTimeout = 5 * time.Second
			if err := p.run(ctx); err != nil {
				t.Errorf("run: %v", err)
			}
			if d := cmp.Diff(test.want, j.entries); d != "" {
				t.Errorf("journal (-want, +got):\n%s", d)
			}
		})
	}
}
