package google

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

const (
	defaultBase    = "https://admin.googleapis.com"
	defaultHistory = 24 * time.Hour
	// kept is how long Google keeps activities.
	kept = 180 * 24 * time.Hour
	// maxResults is the largest page that Google gives out, maxPageToken the longest token that fits a position.
	maxResults   = 1000
	maxPageToken = 2 << 10
	// perSecond is how many requests are made; Google allows 250 a minute of those that filter.
	perSecond = 4
	// quotaWait is how long is waited where the quota is used up and Google does not say for how long: it is counted by
	// the minute.
	quotaWait = time.Minute
)

// Config says what to ask Google Workspace for.
type Config struct {
	// Name names the source.
	Name string `yaml:"name"`
	// Tenant is the customer id, such as C0example; "" accepts whatever the records say.
	Tenant string `yaml:"tenant"`
	// CredentialsFile is the JSON key of a service account with domain-wide delegation.
	CredentialsFile string `yaml:"credentials_file"`
	// Admin is the e-mail address of the administrator in whose name is asked.
	Admin string `yaml:"admin"`
	// Applications are login, token, user_accounts and saml; empty is login and token. user_accounts repeats what login
	// tells of account changes.
	Applications []string `yaml:"applications"`
	// History is how far the first start goes back; 0 is 24h, and at most 4320h (180 days) are kept by Google.
	History time.Duration `yaml:"history"`
	// BaseURL is the API's address; "" is https://admin.googleapis.com.
	BaseURL string `yaml:"base_url"`
}

// Validate reports every problem of c at once, each as "field: problem, what to do". It opens no file.
func (c Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Name == "" {
		bad("name: is empty, give the source a name")
	}
	if c.Tenant != "" && !events.ValidTenant(c.Tenant) {
		bad("tenant: is %.80q, must be a customer id such as C0example, or empty", c.Tenant)
	}
	if c.CredentialsFile == "" {
		bad("credentials_file: is empty, name the JSON key file of a service account")
	}
	if at := strings.IndexByte(c.Admin, '@'); at < 1 || at == len(c.Admin)-1 {
		bad("admin: is %.80q, must be the e-mail address of an administrator who may see reports", c.Admin)
	}
	for i, a := range c.Applications {
		if !slices.Contains([]string{login, token, userAccounts, saml}, a) {
			bad("applications[%d]: is %.40q, use %s, %s, %s or %s", i, a, login, token, userAccounts, saml)
		}
		if slices.Index(c.Applications, a) < i {
			bad("applications[%d]: is %q once more, name it once", i, a)
		}
	}
	if c.History < 0 || c.History > kept {
		bad("history: is %v, use 0s to %v", c.History, kept)
	}
	if c.BaseURL != "" {
		if err := upstream.CheckBase(c.BaseURL); err != nil {
			bad("base_url: %w", err)
		}
	}
	return errors.Join(problems...)
}

// Deps are what a Poller needs from outside; all may be left out.
type Deps struct {
	// HTTP carries the requests to the API and to the token endpoint; nil is [upstream.NewHTTP].
	HTTP *http.Client
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Requests is how many are made a second; 0 is 4.
	Requests int
}

// Poller asks the Reports API for activities.
type Poller struct {
	base    string
	streams []stream
	history time.Duration
	client  *upstream.Client
	access  *access
	now     func() time.Time
}

// New validates cfg and the key file it names. It asks nobody.
func New(cfg Config, deps Deps) (*Poller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if _, err := loadKey(cfg.CredentialsFile, cfg.Admin); err != nil {
		return nil, fmt.Errorf("credentials_file: %w", err)
	}
	if len(cfg.Applications) == 0 {
		cfg.Applications = []string{login, token}
	}
	if cfg.History == 0 {
		cfg.History = defaultHistory
	}
	if cfg.BaseURL == "" {
		cfg.BaseURL = defaultBase
	}
	if deps.HTTP == nil {
		deps.HTTP = upstream.NewHTTP(time.Minute)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Requests == 0 {
		deps.Requests = perSecond
	}
	return &Poller{
		base: strings.TrimSuffix(cfg.BaseURL, "/"), streams: streams(cfg.Applications), history: cfg.History, now: deps.Now,
		client: upstream.New(upstream.Config{HTTP: deps.HTTP, Requests: deps.Requests, Period: time.Second, Base: cfg.BaseURL, Now: deps.Now}),
		access: &access{file: cfg.CredentialsFile, admin: cfg.Admin, http: deps.HTTP},
	}, nil
}

// take hands a page over; it returns when the page is on the log and next is kept.
type take = func(values [][]byte, next []byte) error

// Fetch reads what is due, page by page, and returns how long nothing will be. Long looks back are interrupted where the
// most recent past is due again.
func (p *Poller) Fetch(ctx context.Context, raw []byte, take func(values [][]byte, next []byte) error) (time.Duration, error) {
	now := p.now()
	at, err := readPosition(raw, p.streams, now, p.history)
	if err != nil {
		return 0, err
	}
	restarted := map[*look]bool{}
	for deep := false; ; {
		depth, s, l := at.next(p.streams, now)
		if l == nil || deep && depth > 0 && p.now().Sub(now) >= looks[0].every {
			return at.wait(p.now()), nil
		}
		deep = deep || depth > 0
		page, err := p.ask(ctx, s, l.Window)
		if l.Window.Page != "" && upstream.Stale(err) && !restarted[l] {
			restarted[l] = true
			l.Window.Page = ""
			continue
		}
		if err != nil {
			return 0, err
		}
		if until := l.Window.Until; l.Window.advance(page.Next) {
			*l = look{Done: until}
		}
		if err := take(page.values(), encode(at)); err != nil {
			return 0, err
		}
	}
}

// backlog is the position of a Backfill: the stream at hand, and the window in it.
type backlog struct {
	Stream string  `json:"stream"`
	Window *window `json:"window"`
}

// Backfill reads everything from since until until, stream by stream, oldest slice first. progress is told from 0 to 1
// how much of it was read.
func (p *Poller) Backfill(
	ctx context.Context, since, until time.Time, raw []byte, take func(values [][]byte, next []byte) error, progress func(done float64),
) error {
	if !since.Before(until) {
		return fmt.Errorf("since: is %v, must be before %v", since, until)
	}
	if oldest := p.now().Add(-kept); since.Before(oldest) {
		return fmt.Errorf("since: is %v, Google keeps nothing from before %v", since.UTC(), oldest.UTC().Format(time.RFC3339))
	}
	var at backlog
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &at); err != nil {
			return fmt.Errorf("reading the position: %w", err)
		}
	}
	first := max(slices.IndexFunc(p.streams, func(s stream) bool { return s.String() == at.Stream }), 0)
	for i := first; i < len(p.streams); i++ {
		s := p.streams[i]
		if at.Window == nil || at.Stream != s.String() {
			at = backlog{s.String(), newWindow(events.MillisOf(since), events.MillisOf(until))}
		}
		done := func() {
			part := float64(at.Window.From.Time().Sub(since)) / float64(until.Sub(since))
			progress((float64(i) + max(part, 0)) / float64(len(p.streams)))
		}
		if err := p.backfill(ctx, s, &at, take, done); err != nil {
			return err
		}
	}
	progress(1)
	return nil
}

// backfill reads the rest of one stream's window.
func (p *Poller) backfill(ctx context.Context, s stream, at *backlog, take take, done func()) error {
	restarted := false
	for {
		done()
		page, err := p.ask(ctx, s, at.Window)
		if at.Window.Page != "" && upstream.Stale(err) && !restarted {
			restarted = true
			at.Window.Page = ""
			continue
		}
		if err != nil {
			return err
		}
		restarted = false
		end := at.Window.advance(page.Next)
		if end {
			// Nothing is left in it: whoever goes on from here reads an empty window, and then the next stream.
			at.Window = &window{From: at.Window.Until, To: at.Window.Until, Until: at.Window.Until}
		}
		if err := take(page.values(), encode(at)); err != nil || end {
			return err
		}
	}
}

// page is an answer of activities.list.
type page struct {
	Kind  string            `json:"kind"`
	Items []json.RawMessage `json:"items"`
	Next  string            `json:"nextPageToken"`
}

// values are the page's activities, oldest first: Google gives the newest first.
func (p *page) values() [][]byte {
	values := make([][]byte, len(p.Items))
	for i, item := range p.Items {
		values[len(values)-1-i] = item
	}
	return values
}

// ask asks for the next page of a window.
func (p *Poller) ask(ctx context.Context, s stream, w *window) (*page, error) {
	if w.From >= w.To {
		return &page{}, nil
	}
	query := url.Values{
		"startTime": {w.From.String()}, "endTime": {w.To.String()}, "maxResults": {strconv.Itoa(maxResults)},
	}
	if s.event != "" {
		query.Set("eventName", s.event)
	}
	if w.Page != "" {
		query.Set("pageToken", w.Page)
	}
	answer, err := p.get(ctx, p.base+"/admin/reports/v1/activity/users/all/applications/"+s.application+"?"+query.Encode())
	if err != nil {
		return nil, fmt.Errorf("asking for %s activities: %w", s, err)
	}
	var got page
	if err := json.Unmarshal(answer, &got); err != nil {
		// The text of a broken page is no error of the page's sender alone: it may have been cut on the way.
		return nil, fmt.Errorf("reading %s activities: the answer is cut off or no JSON: %w", s, err)
	}
	switch {
	case got.Kind != pageKind:
		return nil, fmt.Errorf("reading %s activities: the answer is of kind %.60q, want %q", s, got.Kind, pageKind)
	case len(got.Next) > maxPageToken:
		return nil, fmt.Errorf("reading %s activities: the token of the next page has %d bytes, at most %d are kept", s, len(got.Next), maxPageToken)
	case got.Next != "" && got.Next == w.Page:
		return nil, fmt.Errorf("reading %s activities: the next page is this one again", s)
	}
	return &got, nil
}

// get asks with an access token, and once more with another when that one is refused.
func (p *Poller) get(ctx context.Context, address string) ([]byte, error) {
	refused := ""
	for {
		bearer, err := p.access.token(ctx, refused)
		if err != nil {
			return nil, err
		}
		answer, err := p.client.Get(ctx, address, http.Header{"Authorization": {"Bearer " + bearer}, "Accept": {"application/json"}})
		if err == nil {
			return answer.Body, nil
		}
		failure, ok := errors.AsType[*upstream.Error](err)
		switch {
		case ok && failure.Status == http.StatusUnauthorized && refused == "":
			refused = bearer
			continue
		case ok && failure.Status == http.StatusForbidden && failure.Wait == 0 && isQuota(failure.Detail):
			failure.Wait = quotaWait
		}
		return nil, err
	}
}

// isQuota tells a quota that is used up from a permission that is missing: Google answers 403 for both.
func isQuota(detail string) bool {
	detail = strings.ToLower(detail)
	return strings.Contains(detail, "ratelimitexceeded") || strings.Contains(detail, "quotaexceeded") ||
		strings.Contains(detail, "quota exceeded") || strings.Contains(detail, "resource_exhausted")
}
