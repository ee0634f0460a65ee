package o365

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// How the feed is asked. Contents commonly appear within the hour, some much later, and then with a time in the past:
// so every call looks back an hour, and once an hour a day and an hour.
const (
	pollEvery  = time.Minute
	hotLook    = time.Hour
	sweepEvery = time.Hour
	sweepLook  = 25 * time.Hour
	// margin keeps a request clear of the end of what the API keeps, which moves while it travels.
	margin = 5 * time.Minute
	// backfillWindow is small so that progress shows.
	backfillWindow = time.Hour
	// maxPages bounds the pages of one window.
	maxPages = 10_000
	// The API allows 2000 requests a minute and tenant.
	requestsPerSecond = 30
)

// Deps are what a Poller needs from outside; all may be left out.
type Deps struct {
	// HTTP carries the requests; nil is one of upstream's.
	HTTP *http.Client
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Poller asks the Management Activity API of one tenant. It is used by one goroutine at a time.
type Poller struct {
	cfg        Config
	client     *upstream.Client
	tokens     *upstream.Tokens
	now        func() time.Time
	subscribed map[string]bool
}

// take is the contract of a source that is asked: see internal/pull.
type take = func(values [][]byte, next []byte) error

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
		deps.HTTP = upstream.NewHTTP(2 * time.Minute)
	}
	return &Poller{
		cfg: cfg, now: deps.Now, subscribed: map[string]bool{},
		tokens: &upstream.Tokens{
			HTTP: deps.HTTP, URL: cfg.AuthorityURL + "/" + cfg.Tenant + "/oauth2/v2.0/token", ClientID: cfg.ClientID, SecretFile: cfg.SecretFile,
			Scopes: []string{cfg.BaseURL + "/.default"}, Style: oauth2.AuthStyleInParams,
		},
		client: upstream.New(upstream.Config{
			HTTP: deps.HTTP, Requests: requestsPerSecond, Period: time.Second, Base: cfg.BaseURL, Now: deps.Now,
		}),
	}, nil
}

// state is how far a source came: what its position holds. Times are those at which contents became available.
type state struct {
	// Through is the end of the windows that are done; Swept is when a day was last looked back.
	Through time.Time `json:"through"`
	Swept   time.Time `json:"swept"`
	// Seen are the contents of the last day that are on the log.
	Seen []hour `json:"seen,omitempty"`
	// Stuck are the contents that could not be fetched so far. Through does not move while there are any.
	Stuck []attempts `json:"stuck,omitempty"`
	// Since and Until are what a backfill was asked for.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// journey is one call: a position that moves.
type journey struct {
	*Poller
	at   state
	seen *seen
	take take
	// failed are the contents that could not be fetched in this call, problem is the last one's.
	failed  map[digest]bool
	problem error
}

func (p *Poller) journey(text []byte, take take) (*journey, error) {
	j := &journey{Poller: p, take: take, failed: map[digest]bool{}}
	if text != nil {
		if err := json.Unmarshal(text, &j.at); err != nil {
			return nil, fmt.Errorf("reading the position: %w", err)
		}
	}
	j.seen = newSeen(j.at.Seen)
	j.at.Seen = nil
	return j, nil
}

// hand puts values on the log, and keeps the position behind them.
func (j *journey) hand(values [][]byte) error {
	at := j.at
	at.Seen = j.seen.hours
	text, err := json.Marshal(at)
	if err != nil {
		return fmt.Errorf("writing the position: %w", err)
	}
	return j.take(values, text)
}

// Fetch asks for what became available since position. See internal/pull for the contract.
func (p *Poller) Fetch(ctx context.Context, position []byte, take func(values [][]byte, next []byte) error) (time.Duration, error) {
	j, err := p.journey(position, take)
	if err != nil {
		return 0, err
	}
	now := p.now().UTC().Truncate(time.Second)
	oldest := now.Add(margin - retention)
	from, swept := j.at.Through.Add(-hotLook), j.at.Swept
	switch {
	case j.at.Through.IsZero():
		from, swept = now.Add(-p.cfg.History), now
	case j.at.Through.Before(oldest):
		if err := j.gap(j.at.Through, oldest); err != nil {
			return 0, err
		}
		from, swept = oldest, now
	case !now.Before(swept.Add(sweepEvery)):
		from, swept = j.at.Through.Add(-sweepLook), now
	}
	if from.Before(oldest) {
		from = oldest
	}
	if j.at.Through.IsZero() {
		j.at.Through = from
	}
	if err := j.walk(ctx, from, now, maxWindow, func(time.Time) {}); err != nil {
		return 0, err
	}
	j.at.Swept = swept
	j.seen.forget(now.Add(-sweepLook - hotLook))
	return pollEvery, j.hand(nil)
}

// gap hands over what stands for contents that nobody can ask for any more: their listing's address, which becomes a
// dead letter.
func (j *journey) gap(from, to time.Time) error {
	var values [][]byte
	for _, contentType := range j.cfg.ContentTypes {
		value, err := json.Marshal(map[string]string{"contentType": contentType, "contentUri": j.listing(contentType, from, to)})
		if err != nil {
			return fmt.Errorf("telling of a gap: %w", err)
		}
		values = append(values, value)
	}
	j.at.Through = to
	return j.hand(values)
}

// Backfill asks for what happened from since until before until, going on from position. Contents become available up
// to a day later than what they tell of, and are gone after a week.
func (p *Poller) Backfill(ctx context.Context, since, until time.Time, position []byte, take func(values [][]byte, next []byte) error, progress func(done float64)) error {
	now := p.now().UTC().Truncate(time.Second)
	since, until = since.UTC().Truncate(time.Second), until.UTC()
	if oldest := now.Add(-retention); since.Before(oldest) {
		return fmt.Errorf("since: is %s, but the API keeps 7 days; use %s or later, and for older records an export of the audit log",
			since.Format(time.RFC3339), oldest.Add(margin).Format(time.RFC3339))
	}
	j, err := p.journey(position, take)
	if err != nil {
		return err
	}
	if !j.at.Since.Equal(since) || !j.at.Until.Equal(until) {
		j.at.Through, j.at.Since, j.at.Until = since, since, until
	}
	end := until.Add(sweepLook)
	if end.After(now) {
		end = now
	}
	if oldest := now.Add(margin - retention); j.at.Through.Before(oldest) {
		j.at.Through = oldest
	}
	tell := func(done time.Time) {
		if end.After(since) {
			progress(float64(done.Sub(since)) / float64(end.Sub(since)))
		}
	}
	tell(j.at.Through)
	if err := j.walk(ctx, j.at.Through, end, backfillWindow, tell); err != nil {
		return err
	}
	progress(1)
	return j.hand(nil)
}

// walk fetches all contents that became available from a moment to another, window by window. One that cannot be fetched
// does not stop the others; it is the error in the end, and the position stays before it.
func (j *journey) walk(ctx context.Context, from, to time.Time, step time.Duration, done func(time.Time)) error {
	for from.Before(to) {
		end := from.Add(step)
		if end.After(to) {
			end = to
		}
		for _, contentType := range j.cfg.ContentTypes {
			if err := j.subscribe(ctx, contentType); err != nil {
				return err
			}
			if err := j.window(ctx, contentType, from, end); err != nil {
				return err
			}
		}
		if end.After(j.at.Through) && len(j.failed) == 0 {
			j.at.Through = end
		}
		done(end)
		from = end
	}
	if len(j.failed) > 0 {
		return errors.Join(j.problem, j.count())
	}
	j.at.Stuck = nil
	return nil
}

// subscribe starts the feed of a content type, once in a process. That it runs already is fine.
func (j *journey) subscribe(ctx context.Context, contentType string) error {
	if j.subscribed[contentType] {
		return nil
	}
	address := j.address("subscriptions/start", url.Values{"contentType": {contentType}})
	_, err := j.ask(ctx, http.MethodPost, address)
	if err != nil && codeOf(err) != "AF20024" {
		return fmt.Errorf("subscribing to %s: %w", contentType, err)
	}
	j.subscribed[contentType] = true
	return nil
}

// window fetches the contents of one window. When the address of a further page is refused, it is begun again in two
// halves, so that fewer pages are needed: what was fetched is remembered.
func (j *journey) window(ctx context.Context, contentType string, from, to time.Time) error {
	refused, err := j.pages(ctx, contentType, from, to)
	middle := from.Add(to.Sub(from) / 2).Truncate(time.Second)
	if err == nil || !refused || !middle.After(from) {
		return err
	}
	if err := j.window(ctx, contentType, from, middle); err != nil {
		return err
	}
	return j.window(ctx, contentType, middle, to)
}

// content is an entry of a listing.
type content struct {
	ID      string    `json:"contentId"`
	URI     string    `json:"contentUri"`
	Created time.Time `json:"contentCreated"`
	text    []byte
}

// pages fetches the contents that the pages of a window list. refused says that the address of a further page was.
func (j *journey) pages(ctx context.Context, contentType string, from, to time.Time) (refused bool, err error) {
	address := j.listing(contentType, from, to)
	for page := range maxPages {
		answer, err := j.ask(ctx, http.MethodGet, address)
		if err != nil {
			if codeOf(err) == "AF20022" { // there is no subscription any more: start one at the next call
				delete(j.subscribed, contentType)
			}
			return page > 0 && upstream.Stale(err), fmt.Errorf("listing %s: %w", contentType, err)
		}
		var entries []json.RawMessage
		if err := json.Unmarshal(answer.Body, &entries); err != nil {
			return false, fmt.Errorf("listing %s: the answer is no complete list: %w", contentType, err)
		}
		for _, entry := range entries {
			if err := j.content(ctx, entry); err != nil {
				return false, err
			}
		}
		next := answer.Header.Get("NextPageUri")
		if next == "" {
			return false, nil
		}
		if next = strings.ReplaceAll(next, "&amp;", "&"); next == address {
			return false, fmt.Errorf("listing %s: a page names itself as the next one", contentType)
		}
		address = next
	}
	return false, fmt.Errorf("listing %s: there are more than %d pages in a window", contentType, maxPages)
}

// content fetches one content and hands its records over, unless that was done before.
func (j *journey) content(ctx context.Context, entry []byte) error {
	var c content
	if err := json.Unmarshal(entry, &c); err != nil || c.ID == "" || c.URI == "" || c.Created.IsZero() {
		c = content{ID: string(entry), Created: j.now()} // it stands for itself
	}
	c.text = entry
	if j.seen.has(c.ID) || j.failed[digestOf(c.ID)] {
		return nil
	}
	values := [][]byte{entry}
	if c.URI != "" {
		records, err := j.records(ctx, c)
		switch {
		case err == nil:
			values = records
		case !stuck(err):
			return err
		case j.tried(c.ID): // it stands for itself
		case len(j.failed) == maxStuck:
			return errors.Join(err, j.count())
		default:
			j.problem = err
			return nil // the others need not wait for it
		}
	}
	j.seen.add(c.Created, c.ID)
	return j.hand(values)
}

// records are the records of a content. One that expired, or that the API listed and does not know, stands for itself:
// its entry becomes a dead letter.
func (j *journey) records(ctx context.Context, c content) ([][]byte, error) {
	answer, err := j.ask(ctx, http.MethodGet, c.URI)
	if err != nil {
		switch codeOf(err) {
		case "AF20050", "AF20051":
			return [][]byte{c.text}, nil
		}
		return nil, fmt.Errorf("fetching a content: %w", err)
	}
	if !json.Valid(answer.Body) {
		return nil, fmt.Errorf("fetching a content: %w", errIncomplete)
	}
	if text := bytes.TrimSpace(answer.Body); text[0] != '[' {
		return [][]byte{text}, nil // what it is, the decoder will say
	}
	var records []json.RawMessage
	if err := json.Unmarshal(answer.Body, &records); err != nil {
		return nil, fmt.Errorf("fetching a content: %w", err)
	}
	values := make([][]byte, len(records))
	for n, r := range records {
		values[n] = r
	}
	return values, nil
}

// address is that of an operation of the feed. The publisher gives our requests a quota of their own.
func (p *Poller) address(operation string, query url.Values) string {
	query.Set("PublisherIdentifier", p.cfg.Tenant)
	return p.cfg.BaseURL + "/api/v1.0/" + p.cfg.Tenant + "/activity/feed/" + operation + "?" + query.Encode()
}

// listing is the address of the first page of a window: from is in it, to is not.
func (p *Poller) listing(contentType string, from, to time.Time) string {
	const layout = "2006-01-02T15:04:05"
	return p.address("subscriptions/content", url.Values{
		"contentType": {contentType}, "startTime": {from.UTC().Format(layout)}, "endTime": {to.UTC().Format(layout)},
	})
}
