// Package graph asks Microsoft Graph for sign-ins, directory audits and risks, without the Graph SDK: requests go through
// a [Getter], which package graphsdk implements with it.
//
// Every feed of a tenant is asked on its own, in closed windows of time that overlap, because records come late: the last
// 15 minutes about every 30 seconds, the last hour every 5 minutes and a day every day. The plan (plan.go) keeps, for each
// of these look-backs, the time before which no record can be missing; what comes twice is dropped by its id later on.
//
// Traps: windows are cut with ge and le, the only comparisons that Graph documents for createdDateTime; v1.0 has no
// non-interactive sign-ins, and beta gives interactive ones only unless asked by type (T43); a filter that begins more
// than about 90 days ago is refused; next links expire.
package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// Getter asks Graph for an address, authenticated, and returns the body of an answer with status 200. The error of an
// answer with another status is, or wraps, an [*upstream.Error] with that status and the wait that Graph asked for. The
// body is bounded by the Getter.
type Getter interface {
	Get(ctx context.Context, address string, header http.Header) (body []byte, err error)
}

// Deps are what the feeds of a tenant need.
type Deps struct {
	Getter Getter
	// Limits are shared by all configurations of the process.
	Limits *Limits
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Feed is one collection of a tenant, such as its sign-ins. It is asked by one goroutine at a time.
type Feed struct {
	name    string
	feed    feed
	address *url.URL
	history time.Duration
	getter  Getter
	limiter *rate.Limiter
	now     func() time.Time
	// silent counts the answers in a row that asked for a pause without saying how long.
	silent int
}

// New returns the feeds of a configuration.
func New(cfg Config, deps Deps) ([]*Feed, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Getter == nil || deps.Limits == nil {
		return nil, errors.New("graph: Getter and Limits must be given")
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	cfg = cfg.withDefaults()
	var out []*Feed
	for _, name := range cfg.Feeds {
		f := feeds[name]
		address, err := url.Parse(strings.TrimSuffix(cfg.BaseURL, "/") + "/" + f.version + "/" + f.path)
		if err != nil {
			return nil, fmt.Errorf("reading base_url: %w", err)
		}
		out = append(out, &Feed{
			name: cfg.Name + "/" + name, feed: f, address: address, history: cfg.History,
			getter: deps.Getter, limiter: deps.Limits.of(cfg, f), now: deps.Now,
		})
	}
	return out, nil
}

// Name is the source's name: that of the configuration, a slash and the feed.
func (f *Feed) Name() string { return f.name }

// Fetch asks for what follows position, and calls take for every page with its records, one JSON object each, and the
// position to go on from once they are on the log. It returns when nothing is due, with how long that stays so. After an
// error the same position may be used again: what was not taken is asked for once more.
func (f *Feed) Fetch(ctx context.Context, position []byte, take func(records [][]byte, next []byte) error) (time.Duration, error) {
	p, err := readPlan(position, f.now(), f.history)
	if err != nil {
		return 0, err
	}
	for {
		i, wait := p.next(f.now(), f.feed.retained)
		if i < 0 {
			return wait, nil
		}
		records, moved, err := f.step(ctx, &p.Levels[i].Sweep, &p.Span)
		if moved {
			p.moved(i)
			if err := take(records, p.encode()); err != nil {
				return 0, err
			}
		}
		if err != nil {
			return 0, err
		}
	}
}

// step asks for the page at hand of a sweep and goes on to the next. moved says that there is a new position, which may be
// so with an error too: a refused window begins again, and would come back with the old position.
func (f *Feed) step(ctx context.Context, s *sweep, span *time.Duration) (records [][]byte, moved bool, err error) {
	records, next, err := f.page(ctx, s)
	if err == nil {
		*span = s.turned(next, *span)
		return records, true, nil
	}
	if !restarts(s, err) {
		return nil, false, err
	}
	width, narrower := s.restarted()
	*span = min(*span, width)
	if narrower && !errors.Is(err, errEndless) { // which took long, and is for people to see
		err = nil
	}
	return nil, true, err
}

// page asks for the page at hand of a sweep.
func (f *Feed) page(ctx context.Context, s *sweep) (records [][]byte, next string, err error) {
	if !f.follows(s.Next) {
		s.open(s.To.Sub(s.At)) // of another address than the one configured now: begin the window again
	}
	address := s.Next
	if address == "" {
		address = f.query(s.At, s.To)
	}
	if err := f.limiter.Wait(ctx); err != nil {
		return nil, "", err
	}
	body, err := f.getter.Get(ctx, address, http.Header{"Prefer": {"include-unknown-enum-members"}})
	if err != nil {
		return nil, "", f.failed(err)
	}
	f.silent = 0
	records, next, err = readPage(body)
	if err != nil {
		return nil, "", fmt.Errorf("reading a page of %s: %w", f.feed.path, err)
	}
	if !f.follows(next) {
		return nil, "", fmt.Errorf("reading a page of %s: its next link leads elsewhere", f.feed.path)
	}
	if next != "" && s.Pages+1 >= maxPages {
		return nil, "", fmt.Errorf("reading a page of %s: %w", f.feed.path, errEndless)
	}
	return records, next, nil
}

// failed says when to come back where Graph asked for a pause and did not say how long, as it does for risks.
func (f *Feed) failed(err error) error {
	answer, ok := errors.AsType[*upstream.Error](err)
	if !ok || answer.Status != http.StatusTooManyRequests || answer.Wait > 0 {
		return fmt.Errorf("asking for %s: %w", f.feed.path, err)
	}
	const first, longest = 3 * time.Second, time.Minute
	waiting := *answer
	waiting.Wait = min(first<<min(f.silent, 8), longest)
	f.silent++
	return fmt.Errorf("asking for %s: %w", f.feed.path, &waiting)
}

// errEndless ends a window whose links lead round in circles, or that is far too wide.
var errEndless = fmt.Errorf("more than %d pages in one window", maxPages)

// restarts reports whether an error says that the window at hand should be begun again, and narrower: its next link was
// refused, Graph gave up gathering it, or it has no end.
func restarts(s *sweep, err error) bool {
	if errors.Is(err, errEndless) {
		return true
	}
	answer, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return false
	}
	switch answer.Status {
	case http.StatusBadRequest, http.StatusGone:
		return s.Next != ""
	case http.StatusGatewayTimeout:
		return s.Next == ""
	}
	return false
}
