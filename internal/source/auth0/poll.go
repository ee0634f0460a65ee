package auth0

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

	"golang.org/x/oauth2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// Config says which tenant's logs are asked for, and as which machine-to-machine application.
type Config struct {
	// Name is the source's, Tenant what its events belong to: the name that Auth0 gives the tenant.
	Name   string `yaml:"name"`
	Tenant string `yaml:"tenant"`
	// TenantURL is the tenant's own address, such as https://example.eu.auth0.com, and not that of a custom domain.
	TenantURL string `yaml:"tenant_url"`
	// ClientID is the application's; ClientSecretFile holds its secret.
	ClientID         string `yaml:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file"`
	// History is how far the very first start goes back; 0 is [DefaultHistory].
	History time.Duration `yaml:"history"`
	// Interval is between two questions when there is nothing new; 0 is [DefaultInterval].
	Interval time.Duration `yaml:"interval"`
	// RequestsPerMinute bounds how often Auth0 is asked; 0 is [DefaultRequestsPerMinute].
	RequestsPerMinute int `yaml:"requests_per_minute"`
}

// Defaults of [Config]. Auth0 answers 120 requests a minute to free tenants, more to others.
const (
	DefaultHistory           = 24 * time.Hour
	DefaultInterval          = 15 * time.Second
	DefaultRequestsPerMinute = 100
)

// Retention is how long Auth0 keeps logs at most; most plans have less.
const Retention = 30 * 24 * time.Hour

// overlap is how far before the newest record a search begins when its id is no longer known.
const overlap = 10 * time.Minute

// pageSize is how many records Auth0 answers at most.
const pageSize = 100

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
	if _, err := c.base(); err != nil {
		problems = append(problems, err)
	}
	if c.ClientID == "" {
		bad("client_id: is empty, use that of the machine-to-machine application")
	}
	if c.ClientSecretFile == "" {
		bad("client_secret_file: is empty, name the file that holds the application's secret")
	}
	if c.History < 0 || c.History > Retention {
		bad("history: is %v, use up to %v: Auth0 keeps no more", c.History, Retention)
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

// base is the tenant's address without a path. Credentials go there, so it must be https, or this machine.
func (c *Config) base() (string, error) {
	u, err := url.Parse(c.TenantURL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return "", fmt.Errorf("tenant_url: is %.80q, use an address such as https://example.eu.auth0.com", c.TenantURL)
	}
	if !upstream.Safe(u) {
		return "", fmt.Errorf("tenant_url: is %.80q, use https", c.TenantURL)
	}
	return u.Scheme + "://" + u.Host, nil
}

// Deps are what a Poller needs from outside; both may be nil.
type Deps struct {
	HTTP *http.Client
	Now  func() time.Time
}

// Poller asks for the tenant logs. Its calls must not be concurrent.
type Poller struct {
	cfg    Config
	base   string
	now    func() time.Time
	client *upstream.Client
	tokens *upstream.Tokens
}

// New returns a poller. It reads the file that cfg names, and asks nobody.
func New(cfg Config, deps Deps) (*Poller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	base, err := cfg.base()
	if err != nil {
		return nil, err
	}
	cfg.History, cfg.Interval = cmp.Or(cfg.History, DefaultHistory), cmp.Or(cfg.Interval, DefaultInterval)
	cfg.RequestsPerMinute = cmp.Or(cfg.RequestsPerMinute, DefaultRequestsPerMinute)
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.HTTP == nil {
		deps.HTTP = upstream.NewHTTP(time.Minute)
	}
	client := upstream.New(upstream.Config{
		HTTP: deps.HTTP, Reset: "X-RateLimit-Reset", Requests: cfg.RequestsPerMinute, Period: time.Minute, Base: base, Now: deps.Now,
	})
	if _, err := upstream.ReadSecret(cfg.ClientSecretFile); err != nil {
		return nil, fmt.Errorf("client_secret_file: %w", err)
	}
	tokens := &upstream.Tokens{
		HTTP: deps.HTTP, URL: base + "/oauth/token", ClientID: cfg.ClientID, SecretFile: cfg.ClientSecretFile,
		Params: url.Values{"audience": {base + "/api/v2/"}}, Style: oauth2.AuthStyleInParams,
	}
	return &Poller{cfg: cfg, base: base, now: deps.Now, client: client, tokens: tokens}, nil
}

// cursor is a position: the link to go on with, the id after which it goes on without a link, and the time of the newest
// record for when the id is no longer known.
type cursor struct {
	Next string        `json:"next,omitempty"`
	From string        `json:"from,omitempty"`
	Date events.Millis `json:"date,omitempty"`
}

// before is the time from which a search that goes on from a position begins.
func (at cursor) before() events.Millis { return at.Date - events.Millis(overlap.Milliseconds()) }

// maxLink bounds the link that is kept, in bytes.
const maxLink = 8 << 10

const logsPath = "/api/v2/logs"

// cursor reads a position. A link of another tenant is not followed.
func (p *Poller) cursor(position []byte) (cursor, error) {
	var at cursor
	if position == nil {
		return at, nil
	}
	if err := json.Unmarshal(position, &at); err != nil {
		return at, fmt.Errorf("reading the position: %w", err)
	}
	if !p.ours(at.Next) {
		at.Next = ""
	}
	return at, nil
}

// ours tells a link to this tenant's logs. Credentials go where it leads.
func (p *Poller) ours(link string) bool {
	u, err := url.Parse(link)
	return err == nil && len(link) <= maxLink && u.Scheme+"://"+u.Host == p.base && u.User == nil && u.Path == logsPath
}

// Fetch asks for what Auth0 stored after position, in the order of the log ids, which is the one in which it did: late
// records come, too. An empty page says that there is no more yet.
func (p *Poller) Fetch(ctx context.Context, position []byte, take func(values [][]byte, next []byte) error) (time.Duration, error) {
	at, err := p.cursor(position)
	if err != nil {
		return 0, err
	}
	since := func(at cursor) events.Millis {
		if at.Date == 0 {
			return events.MillisOf(p.now().Add(-p.cfg.History))
		}
		return max(at.before(), events.MillisOf(p.now().Add(-Retention))) // also after an absence longer than the history
	}
	return p.cfg.Interval, p.walk(ctx, at, since, take, func(*page) bool { return false })
}

// Backfill asks for what happened from since until before until, as far back as Auth0 keeps logs. It ends with the first
// page that has nothing from before until.
func (p *Poller) Backfill(ctx context.Context, since, until time.Time, position []byte, take func(values [][]byte, next []byte) error, progress func(done float64)) error {
	at, err := p.cursor(position)
	if err != nil {
		return err
	}
	from, to, done := events.MillisOf(since), events.MillisOf(until), 0.0
	begin := func(at cursor) events.Millis { return max(from, at.before()) }
	return p.walk(ctx, at, begin, take, func(pg *page) bool {
		if to > from {
			done = max(done, min(1, float64(pg.newest-from)/float64(to-from)))
			progress(done)
		}
		return pg.oldest >= to
	})
}

// walk follows the pages from a position until one is empty or the last. A position without an id begins with a search
// for the first records from since. When Auth0 does not take a link, it goes on by ids, and when it does not know one, by
// the time, once.
func (p *Poller) walk(ctx context.Context, at cursor, since func(cursor) events.Millis, take func([][]byte, []byte) error, last func(*page) bool) error {
	for links, ids := true, true; ; {
		address := p.question(at, since(at))
		pg, err := p.page(ctx, address)
		switch {
		case !upstream.Stale(err):
		case at.Next != "":
			at.Next, links = "", false
			continue
		case at.From != "" && ids:
			at.From, ids = "", false
			continue
		}
		if err != nil {
			return fmt.Errorf("asking for the tenant logs: %w", err)
		}
		if len(pg.records) == 0 {
			return nil
		}
		before := at
		at = cursor{From: pg.last, Date: max(at.Date, min(pg.newest, events.MillisOf(p.now())))}
		if before.From == "" { // a search
			at.From = pg.least
		} else if links && p.ours(pg.next) && pg.next != address {
			at.Next = pg.next
		}
		next, err := json.Marshal(at)
		if err != nil {
			return fmt.Errorf("writing the position: %w", err)
		}
		if err := take(pg.records, next); err != nil {
			return err
		}
		if last(pg) || at.Next == "" && at.From == before.From {
			return nil
		}
	}
}

// question is the address that goes on from a position.
func (p *Poller) question(at cursor, since events.Millis) string {
	switch {
	case at.Next != "":
		return at.Next
	case at.From != "":
		return p.base + logsPath + "?" + url.Values{"from": {at.From}, "take": {strconv.Itoa(pageSize)}}.Encode()
	}
	// The search only finds where to begin. It ends after a thousand records, and is in the order of time, in which a
	// record that was stored late, and has a high id, may be the first.
	return p.base + logsPath + "?" + url.Values{
		"q": {"date:[" + since.String() + " TO *]"}, "sort": {"date:1"}, "page": {"0"}, "per_page": {strconv.Itoa(pageSize)}, "include_totals": {"false"},
	}.Encode()
}

// page is one answer.
type page struct {
	records        [][]byte
	last, least    string // ids: of the last record, and the lowest
	oldest, newest events.Millis
	next           string
}

func (p *Poller) page(ctx context.Context, address string) (*page, error) {
	answer, err := p.client.Authorized(ctx, p.tokens, http.MethodGet, address, nil)
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
			ID   string `json:"log_id"`
			Old  string `json:"_id"`
			Date string `json:"date"`
		}
		if json.Unmarshal(raw, &r) != nil {
			continue // for the decoder to refuse
		}
		if id := cmp.Or(r.ID, r.Old); id != "" && len(id) <= events.MaxID {
			pg.last = id
			if pg.least == "" || id < pg.least {
				pg.least = id
			}
		}
		if at, err := foreign.Time(r.Date); err == nil && at != 0 {
			pg.newest = max(pg.newest, at)
			if pg.oldest == 0 || at < pg.oldest {
				pg.oldest = at
			}
		}
	}
	if len(records) > 0 && pg.last == "" {
		return nil, errors.New("the page has no record with a log_id to go on from")
	}
	return pg, nil
}
