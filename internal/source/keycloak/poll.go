package keycloak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/oauth2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// How events are asked for. They are in the database at once, but nodes' clocks differ and a replica may be behind: so
// every call looks back a little, and once an hour some hours.
const (
	pollEvery  = 30 * time.Second
	hotLook    = 15 * time.Minute
	sweepEvery = time.Hour
	sweepLook  = 8 * time.Hour
	// A page costs the realm's database something.
	requestsPerSecond = 25
)

// The feeds of a realm.
const (
	userFeed  = "events"
	adminFeed = "admin-events"
)

// Deps are what a Poller needs from outside; all may be left out.
type Deps struct {
	// HTTP carries the requests; nil is one of upstream's.
	HTTP *http.Client
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Poller asks the admin REST API of one realm. It is used by one goroutine at a time.
type Poller struct {
	cfg    Config
	client *upstream.Client
	tokens *upstream.Tokens
	now    func() time.Time
}

// New returns a poller. It asks nobody.
func New(cfg Config, deps Deps) (*Poller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.HTTP == nil {
		deps.HTTP = upstream.NewHTTP(time.Minute)
	}
	return &Poller{
		cfg: cfg, now: deps.Now,
		tokens: &upstream.Tokens{
			HTTP: deps.HTTP, URL: cfg.BaseURL + "/realms/" + url.PathEscape(cfg.Realm) + "/protocol/openid-connect/token",
			ClientID: cfg.ClientID, SecretFile: cfg.SecretFile, Style: oauth2.AuthStyleInParams,
		},
		client: upstream.New(upstream.Config{
			HTTP: deps.HTTP, Requests: requestsPerSecond, Period: time.Second, Base: cfg.BaseURL, Now: deps.Now,
		}),
	}, nil
}

// mark is how far a feed came. The API gives the newest event first, so a sweep goes down from its top, and only when it
// is at its bottom is everything below the top on the log.
type mark struct {
	// Through is the time before which all is on the log; Looked is when some hours were last looked back.
	Through events.Millis `json:"through,omitempty"`
	Looked  events.Millis `json:"looked,omitempty"`
	// Sweep is the one that was begun, nil when there is none.
	Sweep *sweep `json:"sweep,omitempty"`
}

// sweep goes from its top to its bottom. What is newer than Down is done.
type sweep struct {
	Bottom events.Millis `json:"bottom"`
	Top    events.Millis `json:"top"`
	Down   events.Millis `json:"down"`
	// Long says that it looks back some hours.
	Long bool `json:"long,omitempty"`
}

// journey is one call: marks that move.
type journey struct {
	*Poller
	marks map[string]mark
	take  func(values [][]byte, next []byte) error
	down  func(feed string, at *sweep) // told after every page
}

func (p *Poller) journey(position []byte, take func(values [][]byte, next []byte) error) (*journey, error) {
	j := &journey{Poller: p, marks: map[string]mark{}, take: take, down: func(string, *sweep) {}}
	if position != nil {
		if err := json.Unmarshal(position, &j.marks); err != nil {
			return nil, fmt.Errorf("reading the position: %w", err)
		}
	}
	return j, nil
}

// hand puts values on the log, and keeps the marks behind them.
func (j *journey) hand(values [][]byte) error {
	text, err := json.Marshal(j.marks)
	if err != nil {
		return fmt.Errorf("writing the position: %w", err)
	}
	return j.take(values, text)
}

// feeds are those that are asked for.
func (p *Poller) feeds() []string {
	if p.cfg.AdminEvents {
		return []string{userFeed, adminFeed}
	}
	return []string{userFeed}
}

// Fetch asks for what happened since position. See internal/pull for the contract.
func (p *Poller) Fetch(ctx context.Context, position []byte, take func(values [][]byte, next []byte) error) (time.Duration, error) {
	j, err := p.journey(position, take)
	if err != nil {
		return 0, err
	}
	for _, feed := range p.feeds() {
		if j.marks[feed].Sweep != nil { // it was interrupted
			if err := j.sweep(ctx, feed); err != nil {
				return 0, err
			}
		}
		j.begin(feed, events.MillisOf(p.now()))
		if err := j.sweep(ctx, feed); err != nil {
			return 0, err
		}
	}
	return pollEvery, nil
}

// begin begins a sweep from now down to where the feed was, and some way further.
func (j *journey) begin(feed string, now events.Millis) {
	m := j.marks[feed]
	s := &sweep{Top: now, Down: now}
	switch {
	case m.Through == 0:
		s.Bottom, s.Long = now-millis(j.cfg.History), true
	case now-m.Looked >= millis(sweepEvery):
		s.Bottom, s.Long = m.Through-millis(sweepLook), true
	default:
		s.Bottom = m.Through - millis(hotLook)
	}
	m.Sweep = s
	j.marks[feed] = m
}

func millis(d time.Duration) events.Millis { return events.Millis(d.Milliseconds()) }

// Backfill asks for what happened from since until before until, going on from position, as far back as the realm keeps
// its events.
func (p *Poller) Backfill(ctx context.Context, since, until time.Time, position []byte, take func(values [][]byte, next []byte) error, progress func(done float64)) error {
	j, err := p.journey(position, take)
	if err != nil {
		return err
	}
	bottom, top := events.MillisOf(since), events.MillisOf(until)-1
	feeds := p.feeds()
	for n, feed := range feeds {
		m := j.marks[feed]
		if m.Sweep == nil || m.Sweep.Bottom != bottom || m.Sweep.Top != top {
			if m.Through == top && m.Looked == bottom { // it is done
				continue
			}
			m = mark{Sweep: &sweep{Bottom: bottom, Top: top, Down: top}}
			j.marks[feed] = m
		}
		j.down = func(_ string, s *sweep) {
			share := 1.0
			if top > bottom {
				share = float64(top-s.Down) / float64(top-bottom)
			}
			progress((float64(n) + min(max(share, 0), 1)) / float64(len(feeds)))
		}
		j.down(feed, m.Sweep)
		if err := j.sweep(ctx, feed); err != nil {
			return err
		}
		m = j.marks[feed]
		m.Looked = bottom // so that this feed is known to be done
		j.marks[feed] = m
		if err := j.hand(nil); err != nil {
			return err
		}
	}
	progress(1)
	return nil
}

// sweep goes on with the feed's sweep to its bottom, page by page from the newest event on. Events that come meanwhile
// push the others to later pages: some come twice, none is missed.
func (j *journey) sweep(ctx context.Context, feed string) error {
	s := *j.marks[feed].Sweep
	var largest int
	var last events.Millis
	for offset := 0; ; {
		page, err := j.page(ctx, feed, s, offset)
		if err != nil {
			return err
		}
		if err := j.handPage(feed, &s, page); err != nil {
			return err
		}
		// The list ends where there is nothing, or, when events keep coming, nothing older in a page that is not full.
		largest = max(largest, len(page.events))
		if len(page.events) == 0 || page.oldest == last && len(page.events) < largest || page.oldest != 0 && page.oldest < s.Bottom {
			break
		}
		last = page.oldest
		offset += page.step()
	}
	m := j.marks[feed]
	m.Sweep = nil
	m.Through = max(m.Through, s.Top)
	if s.Long {
		m.Looked = s.Top
	}
	j.marks[feed] = m
	return j.hand(nil)
}

// handPage hands over what a page has for a sweep, and moves the sweep down.
func (j *journey) handPage(feed string, s *sweep, p *page) error {
	values := p.within(*s)
	if len(values) == 0 {
		return nil
	}
	if p.oldest != 0 {
		s.Down = min(s.Down, p.oldest)
	}
	m, kept := j.marks[feed], *s
	m.Sweep = &kept
	j.marks[feed] = m
	if err := j.hand(values); err != nil {
		return err
	}
	j.down(feed, s)
	return nil
}

// page is a page of events, newest first.
type page struct {
	events []stamped
	oldest events.Millis // 0 when no event says its time
}

// stamped is an event as it came, and its time, 0 when it has none.
type stamped struct {
	text []byte
	at   events.Millis
}

// within are the events of a page that a sweep has not handed over yet. Those without a time are the decoder's to refuse.
func (p *page) within(s sweep) [][]byte {
	var values [][]byte
	for _, e := range p.events {
		if e.at == 0 || e.at >= s.Bottom && e.at <= s.Down {
			values = append(values, e.text)
		}
	}
	return values
}

// step is how far the next page is. The events of the last millisecond are asked for again: their order is not certain.
func (p *page) step() int {
	again := 0
	for _, e := range p.events {
		if e.at == p.oldest {
			again++
		}
	}
	if again == len(p.events) {
		return again
	}
	return len(p.events) - again
}

// page asks for a page of a feed.
func (j *journey) page(ctx context.Context, feed string, s sweep, offset int) (*page, error) {
	query := url.Values{"first": {strconv.Itoa(offset)}, "max": {strconv.Itoa(j.cfg.PageSize)}}
	// Days spare the database the rest of the table. They begin in the server's time zone, so more is asked for than is
	// needed; and they are the same for all pages of a sweep, for the offset counts what they leave.
	query.Set("dateFrom", s.Bottom.Time().AddDate(0, 0, -1).Format(time.DateOnly))
	query.Set("dateTo", s.Top.Time().AddDate(0, 0, 2).Format(time.DateOnly))
	answer, err := j.client.Authorized(ctx, j.tokens, http.MethodGet, j.cfg.BaseURL+"/admin/realms/"+url.PathEscape(j.cfg.Realm)+"/"+feed+"?"+query.Encode(), nil)
	if err != nil {
		if failed, ok := errors.AsType[*upstream.Error](err); ok && failed.Status == http.StatusForbidden {
			return nil, fmt.Errorf("asking for %s: the client needs the role view-events of the realm: %w", feed, err)
		}
		return nil, fmt.Errorf("asking for %s: %w", feed, err)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(answer.Body, &list); err != nil {
		return nil, fmt.Errorf("asking for %s: the answer is no complete list: %w", feed, err)
	}
	p := &page{events: make([]stamped, len(list))}
	for n, text := range list {
		var e struct {
			Time json.Number `json:"time"`
		}
		p.events[n].text = text
		if json.Unmarshal(text, &e) != nil {
			continue // the decoder will say what is wrong with it
		}
		if at, err := foreign.Time(e.Time.String()); err == nil {
			p.events[n].at = at
			if at != 0 && (p.oldest == 0 || at < p.oldest) {
				p.oldest = at
			}
		}
	}
	return p, nil
}
