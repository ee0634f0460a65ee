package graph

import (
	"encoding/json"
	"fmt"
	"time"
)

// look is one of the overlapping look-backs: begun every so often, it finds what comes up to late after it happened.
type look struct{ late, every time.Duration }

// looks are ordered by how far they reach. A look begins where the one before it, begun at b, had to leave off: at
// b − late. So a record that appears at a, at most late after it happened, is found by the first look begun after a: the
// one before was begun before a, and a − late is no later than when the record happened. This is why the daily look
// reaches two days back: one day for its period, one for what comes late.
var looks = [...]look{
	{late: 15 * time.Minute, every: 30 * time.Second},
	{late: time.Hour, every: 5 * time.Minute},
	{late: day, every: day},
}

const (
	// settle is kept away from the present, where records still change under the paging.
	settle = 10 * time.Second
	// Windows are as wide as they give few pages: begun anew for every page too many, a long chain of next links would
	// have to live long.
	firstSpan = time.Hour
	minSpan   = time.Second
	maxSpan   = day
	manyPages = 8
	// maxPages of one window are not believed.
	maxPages = 500
)

// plan is where a feed stands: its position. Its methods decide what to ask for next from the plan and the time alone.
type plan struct {
	Levels [len(looks)]progress `json:"levels"`
	// Turn is the look that goes first: they take turns page by page, so that none is starved.
	Turn int `json:"turn"`
	// Span is how wide a window may be, in nanoseconds.
	Span time.Duration `json:"span"`
}

// progress is how far a look has come.
type progress struct {
	// Final is the time before which every record was taken, unless it comes later than the look allows for.
	Final time.Time `json:"final"`
	Sweep sweep     `json:"sweep,omitzero"`
}

// sweep is a way through the records from one moment to another, window by window and page by page.
type sweep struct {
	From  time.Time `json:"from"`
	End   time.Time `json:"end"`
	Begun time.Time `json:"begun"`
	// Everything from From to At was asked for since Begun; the window at hand is [At, To], both ends included.
	At    time.Time `json:"at"`
	To    time.Time `json:"to"`
	Pages int       `json:"pages,omitempty"` // taken of the window at hand
	Next  string    `json:"next,omitempty"`  // the address of its next page, "" for the first
}

// running reports whether there is something left to ask for.
func (s *sweep) running() bool { return s.At.Before(s.End) }

// open begins the window at hand, at most as wide as span.
func (s *sweep) open(span time.Duration) {
	s.To, s.Pages, s.Next = earlier(s.At.Add(span), s.End), 0, ""
}

// turned notes a page that names the next one, "" when it is the window's last, and returns the span for further windows.
func (s *sweep) turned(next string, span time.Duration) time.Duration {
	s.Pages++
	if next != "" {
		s.Next = next
		return span
	}
	switch {
	case s.Pages > manyPages:
		span = max((span / 2).Truncate(time.Second), minSpan)
	case s.Pages == 1 && s.To.Sub(s.At) >= span: // a window cut short proves nothing
		span = min(2*span, maxSpan)
	}
	s.At = s.To
	s.open(span)
	return span
}

// skip leaves out what is older than the oldest that may be asked for.
func (s *sweep) skip(oldest time.Time, span time.Duration) {
	if s.running() && s.At.Before(oldest) {
		s.At = earlier(oldest, s.End)
		s.open(span)
	}
}

// restarted begins the window at hand again with half its width; false when it cannot be narrower.
func (s *sweep) restarted() (span time.Duration, narrower bool) {
	width := s.To.Sub(s.At)
	span = max((width / 2).Truncate(time.Second), minSpan)
	s.open(span)
	return span, span < width
}

// readPlan reads a position; at the very beginning the plan goes back by history.
func readPlan(position []byte, now time.Time, history time.Duration) (*plan, error) {
	p := &plan{Span: firstSpan}
	if len(position) == 0 {
		for i := range p.Levels {
			p.Levels[i].Final = now.Add(-history)
		}
		return p, nil
	}
	if err := json.Unmarshal(position, p); err != nil {
		return nil, fmt.Errorf("reading the position: %w", err)
	}
	p.Span = min(max(p.Span, minSpan), maxSpan)
	if p.Turn < 0 || p.Turn >= len(looks) {
		p.Turn = 0
	}
	return p, nil
}

func (p *plan) encode() []byte {
	out, err := json.Marshal(p)
	if err != nil {
		panic(err) // times and texts of our own
	}
	return out
}

// next chooses the look whose sweep is to go on, beginning it if it is due; -1 when none is, and for how long.
func (p *plan) next(now time.Time, retained time.Duration) (level int, wait time.Duration) {
	wait = looks[0].every
	oldest := now.Add(-retained).Truncate(time.Second)
	for i := range looks {
		l := &p.Levels[i]
		if l.Final.After(now) {
			l.Final = now.Add(-looks[i].late) // the clock was ahead: what was final then may not be
		}
		l.Sweep.Begun = earlier(l.Sweep.Begun, now)
		l.Final = later(l.Final, oldest)
		l.Sweep.skip(oldest, p.Span)
	}
	for k := range looks {
		i := (p.Turn + k) % len(looks)
		if p.Levels[i].Sweep.running() {
			return i, 0
		}
		due := p.due(i, now)
		if due <= 0 {
			p.begin(i, now)
			return i, 0
		}
		wait = min(wait, due)
	}
	return -1, wait
}

// due is how long until a look is to begin again.
func (p *plan) due(i int, now time.Time) time.Duration {
	for j := range i {
		// Catching up, a shorter look goes over the same records: what it has taken will not have to be asked for again.
		if s := &p.Levels[j].Sweep; s.running() && !s.From.After(p.Levels[i].Final) {
			return looks[i].every
		}
	}
	return p.Levels[i].Final.Add(looks[i].late + looks[i].every).Sub(now)
}

func (p *plan) begin(i int, now time.Time) {
	from := p.Levels[i].Final.Truncate(time.Second)
	s := sweep{From: from, At: from, Begun: now, End: now.Add(-settle).Truncate(time.Second)}
	s.open(p.Span)
	p.Levels[i].Sweep = s
}

// moved notes that a look's sweep has moved on. What one look has taken counts for the others as well.
func (p *plan) moved(i int) {
	s := &p.Levels[i].Sweep
	for j := range looks {
		l := &p.Levels[j]
		if !s.From.After(l.Final) {
			l.Final = later(l.Final, earlier(s.At, s.Begun.Add(-looks[j].late)))
		}
	}
	if !s.running() {
		*s = sweep{}
	}
	p.Turn = (i + 1) % len(looks)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
