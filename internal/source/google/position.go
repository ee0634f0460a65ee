package google

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// looks are how far back is looked, and how often. Google's records come minutes to hours late and carry only the time
// at which things happened, so that the same past is read again and again: what shows up no later than back after it
// happened is read no later than every after it showed up. What is read twice is told by its id.
var looks = []struct{ every, back time.Duration }{
	{time.Minute, 15 * time.Minute},
	{10 * time.Minute, 3 * time.Hour},
	{3 * time.Hour, 24 * time.Hour},
	{24 * time.Hour, 72 * time.Hour},
}

// slice is the longest window that is asked for at once: what is lost with a page token that is no longer good.
const slice = 6 * time.Hour

// stream is a series of activities that is asked for by itself.
type stream struct {
	application string
	// event restricts it to one kind of event; "" is all.
	event string
}

func (s stream) String() string {
	if s.event == "" {
		return s.application
	}
	return s.application + "/" + s.event
}

// streams are the series to ask for. Of token, only grants and their ends: calls of applications come by the million.
func streams(applications []string) []stream {
	var all []stream
	for _, application := range applications {
		if application == token {
			all = append(all, stream{token, "authorize"}, stream{token, "revoke"})
			continue
		}
		all = append(all, stream{application: application})
	}
	return all
}

// position is how far every stream was read.
type position struct {
	Streams map[string]*progress `json:"streams"`
}

// progress is how far one stream was read.
type progress struct {
	// Since is the beginning of all reading: what is older is not asked for.
	Since events.Millis `json:"since"`
	// Looks belong to the package's looks, in their order.
	Looks []look `json:"looks"`
}

// look is one depth of looking back.
type look struct {
	// Done is up to when everything was asked for.
	Done events.Millis `json:"done,omitzero"`
	// Window is what is being read, nil for nothing.
	Window *window `json:"window,omitempty"`
}

// window is a closed span of time that is read in slices, oldest first, and page by page within a slice.
type window struct {
	// From and To are the slice, Until the end of the whole span.
	From  events.Millis `json:"from"`
	To    events.Millis `json:"to"`
	Until events.Millis `json:"until"`
	// Page is the token of the slice's next page, "" for the first.
	Page string `json:"page,omitempty"`
}

func newWindow(from, until events.Millis) *window {
	return &window{From: from, To: min(from+events.Millis(slice.Milliseconds()), until), Until: until}
}

// advance moves on after a page, and reports whether the span is at its end.
func (w *window) advance(next string) (done bool) {
	switch {
	case next != "":
		w.Page = next
		return false
	case w.To >= w.Until:
		return true
	}
	*w = *newWindow(w.To, w.Until)
	return false
}

// readPosition reads a position and makes it fit the streams that are configured now.
func readPosition(raw []byte, all []stream, now time.Time, history time.Duration) (*position, error) {
	p := &position{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, p); err != nil {
			return nil, fmt.Errorf("reading the position: %w", err)
		}
	}
	kept := map[string]*progress{}
	for _, s := range all {
		known := p.Streams[s.String()]
		if known == nil || len(known.Looks) != len(looks) {
			known = begin(now, history, known)
		}
		kept[s.String()] = known
	}
	p.Streams = kept
	return p, nil
}

// begin is the progress of a stream that was never read. All looks but the first have nothing to look back to yet. A
// progress of another number of looks begins where its first one was.
func begin(now time.Time, history time.Duration, old *progress) *progress {
	at := events.MillisOf(now)
	since := events.MillisOf(now.Add(-history))
	if old != nil && len(old.Looks) > 0 && old.Looks[0].Done > 0 {
		since = old.Looks[0].Done
	}
	p := &progress{Since: since, Looks: make([]look, len(looks))}
	p.Looks[0].Window = newWindow(since, at)
	for i := 1; i < len(looks); i++ {
		p.Looks[i].Done = at
	}
	return p
}

// next finds what is due at a moment, the shallowest look first, so that nothing recent waits for a long look back.
// Where there is nothing, look is nil; depth tells which of the looks it is.
func (p *position) next(all []stream, now time.Time) (depth int, s stream, next *look) {
	at := events.MillisOf(now)
	for depth, l := range looks {
		for _, s := range all {
			of := p.Streams[s.String()]
			mine := &of.Looks[depth]
			if mine.Window == nil && !due(mine.Done, at, l.every) {
				continue
			}
			if mine.Window == nil {
				// A clock that was put back must not ask for the future.
				from := min(mine.Done, at) - events.Millis(l.back.Milliseconds())
				mine.Window = newWindow(max(from, min(of.Since, at-events.Minute)), at)
			}
			return depth, s, mine
		}
	}
	return 0, stream{}, nil
}

func due(done, now events.Millis, every time.Duration) bool {
	return done > now || now-done >= events.Millis(every.Milliseconds())
}

// wait is how long nothing is due, at least a second.
func (p *position) wait(now time.Time) time.Duration {
	shortest := looks[0].every
	for _, of := range p.Streams {
		for depth, l := range of.Looks {
			if l.Window != nil {
				return time.Second
			}
			shortest = min(shortest, l.Done.Time().Add(looks[depth].every).Sub(now))
		}
	}
	return max(shortest, time.Second)
}

// encode is the position's JSON.
func encode(position any) []byte {
	raw, err := json.Marshal(position)
	if err != nil {
		panic("google: a position that is no JSON: " + err.Error()) // structs of texts and times always are
	}
	return raw
}
