// Package backtest tries rules on what has happened: it replays real events through [detector.Engine], which is the code
// that decides live, and compares what would have been decided with what was.
//
// Events are replayed in the order in which they were decided on, which is that of the log and not that of their own
// times. What the network stage once told (events of the internal kinds) is left out and concluded anew, so that nothing
// depends on what retention has dropped, and a file without it gives the same answer.
//
// What a backtest cannot know is what people would have done: a user whom only the new rules ask for a proof did not give
// one, and one whom only the old rules asked did.
package backtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// The limits of a backtest.
const (
	// MaxSpan is the longest span that is reported on, and the longest warm-up before it.
	MaxSpan = 400 * events.Day
	// MaxDecisions is how many decisions of each side are kept to be compared: those of events for which a policy matched.
	MaxDecisions = 2_000_000
)

// Query says which events to replay.
type Query struct {
	// Tenant restricts them to one; "" is all.
	Tenant string
	// From and To bound the events' own times, From ≤ t < To; 0 is no bound.
	From, To events.Millis
}

// Covers tells whether an event is asked for.
func (q Query) Covers(tenant string, at events.Millis) bool {
	return (q.Tenant == "" || q.Tenant == tenant) && at >= q.From && (q.To == 0 || at < q.To)
}

// Source is where events come from.
type Source interface {
	// Replay gives take every event that q asks for, in the order in which they were decided on, and returns its error. The
	// event is take's to keep. progress is told how much is done, from 0 to 1. Input that is no event is left out and
	// returned, unless there is too much of it.
	Replay(ctx context.Context, q Query, take func(*events.Event) error, progress func(done float64)) (Problems, error)
}

// Recorder is a source that knows what was decided at the time, with times as in Query.
type Recorder interface {
	Source
	// Findings gives take every finding of the events that q asks for. The findings of one event follow one another.
	Findings(ctx context.Context, q Query, take func(*events.Finding) error) error
	// Requirements gives take every requirement that was opened in q's span, with what became of it by then.
	Requirements(ctx context.Context, q Query, take func(*report.Requirement) error) error
}

// Problems is input that could not be read.
type Problems struct {
	Count int `json:"count"`
	// First are the first ones.
	First []Problem `json:"first,omitempty"`
}

// Problem is one piece of input that could not be read. Line counts from 1, 0 when the input has no lines.
type Problem struct {
	Line  int    `json:"line,omitempty"`
	Error string `json:"error"`
}

const (
	// maxBroken is how many pieces of a source may be no events.
	maxBroken = 1000
	// maxProblems is how many problems are shown.
	maxProblems = 20
)

// ErrBroken is returned for a source with more input than is allowed that is no event.
var ErrBroken = errors.New("too many records are no events")

// add notes one more; its error ends the work when there are too many.
func (p *Problems) add(line int, err error) error {
	p.Count++
	if len(p.First) < maxProblems {
		p.First = append(p.First, Problem{Line: line, Error: err.Error()})
	}
	if p.Count <= maxBroken {
		return nil
	}
	if line > 0 {
		err = fmt.Errorf("line %d: %w", line, err)
	}
	return fmt.Errorf("%w: more than %d, the last one is %w", ErrBroken, maxBroken, err)
}

// Side is one of the two things that are compared: rules, and what they are called, such as the name of their file.
type Side struct {
	Name  string
	Rules detector.Rules
}

// Options say what to try, on what, and how much of it to report.
type Options struct {
	New Side
	// Baseline is what to compare with. nil is what was recorded; then the source must be a [Recorder].
	Baseline *Side
	Tenant   string
	// From and To bound what is reported, From ≤ t < To. From 0 is the first event, To 0 behind the last.
	From, To events.Millis
	// WarmUp is how long before From events are replayed without being reported, so that users are known.
	WarmUp events.Millis
}

// maxDifferences is how many decisions that differ are listed, of each kind; maxUsers how many users are.
const (
	maxDifferences = 200
	maxUsers       = 50
)

func (o *Options) check(source Source) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.From != 0 && o.To != 0 && o.To <= o.From {
		bad("until: is %v, must be after since (%v)", o.To, o.From)
	}
	if o.From != 0 && o.To-o.From > MaxSpan {
		bad("since: is %d days before until, at most %d are allowed", (o.To-o.From)/events.Day, MaxSpan/events.Day)
	}
	if o.WarmUp < 0 || o.WarmUp > MaxSpan {
		bad("warm-up: is %d days, must be 0 to %d", o.WarmUp/events.Day, MaxSpan/events.Day)
	}
	if o.Tenant != "" && !events.ValidTenant(o.Tenant) {
		bad("tenant: is %.80q, which is no tenant", o.Tenant)
	}
	if _, ok := source.(Recorder); !ok && o.Baseline == nil {
		bad("baseline: is missing, this source does not know what was decided")
	}
	if o.Baseline == nil && (o.From == 0 || o.To == 0) {
		bad("since: is missing, with what was recorded both ends of the span are needed")
	}
	return errors.Join(errs...)
}

// Run replays and compares. progress, which may be nil, is told how much is done, from 0 to 1; it ends at 1. It stops with
// ctx's error when ctx ends.
func Run(ctx context.Context, source Source, o Options, progress func(done float64)) (*Report, error) {
	if err := o.check(source); err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(float64) {}
	}
	r := newReplay(&o)
	replayShare := 1.0
	if o.Baseline == nil {
		replayShare = 0.95 // the rest is reading what was decided
	}
	q := Query{Tenant: o.Tenant, To: o.To}
	if o.From != 0 {
		q.From = max(o.From-o.WarmUp, 1)
	}
	problems, err := source.Replay(ctx, q, func(e *events.Event) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return r.take(e)
	}, func(done float64) { progress(done * replayShare) })
	if err != nil {
		return nil, fmt.Errorf("replaying events: %w", err)
	}
	if r.events == 0 {
		return nil, fmt.Errorf("%w, %d before it, %d broken", ErrNoEvents, r.warmUp, problems.Count)
	}
	if o.Baseline == nil {
		if err := r.recorded(ctx, source.(Recorder)); err != nil {
			return nil, err
		}
	}
	progress(1)
	return r.report(problems), nil
}

// ErrTooMany is returned when more would have to be kept than is allowed.
var ErrTooMany = errors.New("ask for a shorter span")

// ErrNoEvents is returned when nothing happened in the span that was asked for.
var ErrNoEvents = errors.New("there is no event in the span")
