package okta

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
	"github.com/countersign-io/countersign/internal/source/okta/credential"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// Config says which organisation's System Log is asked for, and as whom: with an API token, or as a service application
// by OAuth 2.0 with a private key.
type Config struct {
	// Name is the source's, Tenant what its events belong to.
	Name   string `yaml:"name"`
	Tenant string `yaml:"tenant"`
	// OrgURL is the organisation's address, such as https://example.okta.com.
	OrgURL string `yaml:"org_url"`
	// TokenFile holds an API token. It is read again when Okta no longer takes the token.
	TokenFile string `yaml:"token_file"`
	OAuth     OAuth  `yaml:"oauth"`
	// Filter is an expression in Okta's language that records must meet; "" is all of them.
	Filter string `yaml:"filter"`
	// History is how far the very first start goes back; 0 is [DefaultHistory].
	History time.Duration `yaml:"history"`
	// Interval is between two questions when there is nothing new; 0 is [DefaultInterval].
	Interval time.Duration `yaml:"interval"`
	// RequestsPerMinute bounds how often Okta is asked; 0 is [DefaultRequestsPerMinute]. Okta allows an organisation 50 to
	// 120, for all who ask for its System Log.
	RequestsPerMinute int `yaml:"requests_per_minute"`
}

// OAuth is a service application of the organisation; its scope is okta.logs.read unless it says otherwise.
type OAuth = credential.OAuth

// Defaults of [Config].
const (
	DefaultHistory           = 24 * time.Hour
	DefaultInterval          = 15 * time.Second
	DefaultRequestsPerMinute = 50
)

// Retention is how long Okta keeps records.
const Retention = 90 * 24 * time.Hour

// overlap is how far before the last record a question begins that does not follow a link. Polling goes by the time at
// which Okta stored a record, which is after the time that the record says.
const overlap = 10 * time.Minute

// pageSize is how many records Okta answers at most.
const pageSize = 1000

// Validate reports every problem of c at once, each as "field.path: problem, what to do". It reads no files.
func (c *Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Name == "" {
		bad("name: is empty, name the source")
	}
	if !events.ValidTenant(c.Tenant) {
		bad("tenant: is %.80q, use 1 to %d letters, digits, dots, dashes or underscores", c.Tenant, events.MaxTenant)
	}
	_, err := credential.CheckOrg(c.OrgURL)
	problems = append(problems, err, c.credentials().Validate())
	if c.History < 0 || c.History > Retention {
		bad("history: is %v, use up to %v: Okta keeps no more", c.History, Retention)
	}
	if c.Interval < 0 || c.Interval > time.Hour {
		bad("interval: is %v, use up to 1h", c.Interval)
	}
	const most = 1_000_000
	if c.RequestsPerMinute < 0 || c.RequestsPerMinute > most {
		bad("requests_per_minute: is %d, use 1 to %d", c.RequestsPerMinute, most)
	}
	return errors.Join(problems...)
}

func (c *Config) credentials() credential.Config {
	oauth := c.OAuth
	if oauth != (OAuth{}) {
		oauth.Scope = cmp.Or(oauth.Scope, "okta.logs.read")
	}
	return credential.Config{TokenFile: c.TokenFile, OAuth: oauth}
}

// Deps are what a Poller needs from outside; both may be nil.
type Deps struct {
	HTTP *http.Client
	Now  func() time.Time
}

// Poller asks for the System Log. Its calls must not be concurrent.
type Poller struct {
	cfg    Config
	org    string
	now    func() time.Time
	client *upstream.Client
	auth   upstream.Credentials
}

// New returns a poller. It reads the files that cfg names, and asks nobody.
func New(cfg Config, deps Deps) (*Poller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	org, err := credential.CheckOrg(cfg.OrgURL)
	if err != nil {
		return nil, err
	}
	cfg.History, cfg.Interval = cmp.Or(cfg.History, DefaultHistory), cmp.Or(cfg.Interval, DefaultInterval)
	cfg.RequestsPerMinute = cmp.Or(cfg.RequestsPerMinute, DefaultRequestsPerMinute)
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.HTTP == nil {
		deps.HTTP = upstream.NewHTTP(time.Minute) // Okta gives up after half of it
	}
	p := &Poller{cfg: cfg, org: org, now: deps.Now, client: upstream.New(upstream.Config{
		HTTP: deps.HTTP, Reset: "X-Rate-Limit-Reset", Requests: cfg.RequestsPerMinute, Period: time.Minute, Base: org, Now: deps.Now,
	})}
	if p.auth, err = credential.New(cfg.credentials(), org, p.client, deps.Now); err != nil {
		return nil, err
	}
	return p, nil
}

// cursor is a position: the link to go on with, and the time of the newest record so far for when there is none.
type cursor struct {
	Next      string        `json:"next,omitempty"`
	Published events.Millis `json:"published,omitempty"`
	// Filter is that of the link.
	Filter string `json:"filter,omitempty"`
}

// maxLink bounds the link that is kept, in bytes.
const maxLink = 8 << 10

// cursor reads a position. A link of another organisation or filter is not followed.
func (p *Poller) cursor(position []byte) (cursor, error) {
	var at cursor
	if position == nil {
		return at, nil
	}
	if err := json.Unmarshal(position, &at); err != nil {
		return at, fmt.Errorf("reading the position: %w", err)
	}
	if at.Filter != p.cfg.Filter || !p.ours(at.Next) {
		at.Next = ""
	}
	return at, nil
}

// ours tells a link to this organisation's System Log. Credentials go where it leads.
func (p *Poller) ours(link string) bool {
	u, err := url.Parse(link)
	return err == nil && len(link) <= maxLink && u.Scheme+"://"+u.Host == p.org && u.User == nil && u.Path == logsPath
}

const logsPath = "/api/v1/logs"

// Fetch asks for what Okta stored after position, in the order in which it did: late records come, too. Okta's links to
// the next page never end; an empty page says that there is no more yet.
func (p *Poller) Fetch(ctx context.Context, position []byte, take func(values [][]byte, next []byte) error) (time.Duration, error) {
	at, err := p.cursor(position)
	if err != nil {
		return 0, err
	}
	err = p.walk(ctx, at, p.tail, take, func(pg *page, _ events.Millis) bool { return len(pg.records) == 0 })
	return p.cfg.Interval, err
}

// tail is the question for what is newer than a position, without a link.
func (p *Poller) tail(at cursor) string {
	since := p.now().Add(-p.cfg.History)
	if at.Published != 0 {
		since = at.Published.Time().Add(-overlap)
	}
	if oldest := p.now().Add(-Retention); since.Before(oldest) {
		since = oldest
	}
	return p.question(events.MillisOf(since), 0)
}

// Backfill asks for what happened from since until before until, in the order in which it happened. Okta does not
// promise that records which it stored late are among them.
func (p *Poller) Backfill(ctx context.Context, since, until time.Time, position []byte, take func(values [][]byte, next []byte) error, progress func(done float64)) error {
	at, err := p.cursor(position)
	if err != nil {
		return err
	}
	from, to := events.MillisOf(since), events.MillisOf(until)
	window := func(at cursor) string { return p.question(max(from, at.Published), to) }
	return p.walk(ctx, at, window, take, func(pg *page, published events.Millis) bool {
		if published > from && to > from {
			progress(min(1, float64(published-from)/float64(to-from)))
		}
		return pg.next == ""
	})
}

// question is the address of the first page of records from since; without until it is for polling.
func (p *Poller) question(since, until events.Millis) string {
	q := url.Values{"since": {since.String()}, "sortOrder": {"ASCENDING"}, "limit": {strconv.Itoa(pageSize)}}
	if until != 0 {
		q.Set("until", until.String())
	}
	if p.cfg.Filter != "" {
		q.Set("filter", p.cfg.Filter)
	}
	return p.org + logsPath + "?" + q.Encode()
}

// errLink is of links that cannot be followed.
var errLink = errors.New("the links to the next page cannot be followed, although asking without one works")

// walk follows the pages from a position until one is the last. When Okta does not take a link, it asks once without one.
func (p *Poller) walk(ctx context.Context, at cursor, first func(cursor) string, take func([][]byte, []byte) error, last func(*page, events.Millis) bool) error {
	restarted := false
	for {
		address := at.Next
		if address == "" {
			address = first(at)
		}
		pg, err := p.page(ctx, address)
		if upstream.Stale(err) && at.Next != "" && !restarted {
			at.Next, restarted = "", true
			continue
		}
		if err != nil {
			return fmt.Errorf("asking for the System Log: %w", err)
		}
		at.Published, at.Filter = max(at.Published, pg.published), p.cfg.Filter
		usable := pg.next != "" && pg.next != address && p.ours(pg.next)
		if at.Next = ""; usable {
			at.Next = pg.next
		}
		if len(pg.records) > 0 {
			next, err := json.Marshal(at)
			if err != nil {
				return fmt.Errorf("writing the position: %w", err)
			}
			if err := take(pg.records, next); err != nil {
				return err
			}
		}
		if last(pg, at.Published) {
			return nil
		}
		if !usable {
			if restarted {
				return errLink
			}
			restarted = true
		}
	}
}

// page is one answer.
type page struct {
	records   [][]byte
	published events.Millis // the newest of them
	next      string
}

func (p *Poller) page(ctx context.Context, address string) (*page, error) {
	answer, err := p.client.Authorized(ctx, p.auth, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	var records []json.RawMessage
	if err := json.Unmarshal(answer.Body, &records); err != nil {
		return nil, fmt.Errorf("the page is cut, or no array of records: %w", err)
	}
	pg := &page{next: upstream.Next(answer.Header), records: make([][]byte, len(records))}
	for i, raw := range records {
		pg.records[i] = raw
		var r struct {
			Published string `json:"published"`
		}
		if json.Unmarshal(raw, &r) != nil {
			continue // for the decoder to refuse
		}
		// A record from the future must not make us skip others.
		if at, err := foreign.Time(r.Published); err == nil && at <= events.MillisOf(p.now()) {
			pg.published = max(pg.published, at)
		}
	}
	return pg, nil
}
