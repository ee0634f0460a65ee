package stepup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// SessionUse is the use of a session, as the application sees it.
type SessionUse struct {
	// Subject is whose session it is: tenant, user and session as the identity provider names them, which are the names
	// that requirements use. Session is never the secret that a cookie or token consists of. Without a user or session
	// there is nothing to report; without a tenant it is ObserverConfig.Tenant.
	Subject
	// IP is the client's address, also with a port; "" is unknown.
	IP        string
	UserAgent string
	// App is the application; without it it is ObserverConfig.App.
	App string
}

// ObserverConfig configures an [Observer]. The zero value of a field means its default.
type ObserverConfig struct {
	// URL is where countersign ingest takes reports, such as https://countersign.example.com/v1/sessions. There is no
	// default. It must be https unless it leads to this very machine or PlainHTTP is set.
	URL       string
	PlainHTTP bool
	// Token returns the bearer token, for every request anew. TokenFile is the file that holds it, read for every request
	// anew, so that it may change. One of the two is needed.
	Token     func() (string, error)
	TokenFile string
	// App and Tenant stand in for those that a use does not name.
	App, Tenant string

	// Interval is how often the same use of a session is reported: default once in 60 seconds. What changes, the address
	// or the user agent, is reported at once.
	Interval time.Duration
	// MaxSessions bounds the sessions that are remembered, about 120 bytes each. Default 100,000. With more in an
	// interval some are reported more often.
	MaxSessions int
	// Queue bounds the reports that wait to be sent; past it the oldest are dropped and counted. Default 8192. Batch
	// bounds those of one request. Default 500.
	Queue, Batch int
	// FlushEvery is how long a report waits for others. Default 1 second.
	FlushEvery time.Duration
	// HTTP sends the requests; its redirects are not followed. Every request is given 10 seconds in any case.
	HTTP *http.Client
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// OnError is told, by the goroutine of Run, what went wrong with sending; nil is fine.
	OnError func(error)
}

// Observer reports to countersign how sessions are used, so that a session that turns up somewhere else is noticed while
// it is in use, and not at the next sign-in only.
//
// [Observer.Observe] is for every request: it samples, so that a busy application sends little. [Observer.Run] sends. A
// [Guard] with Config.Observer calls Observe by itself. It is safe for concurrent use.
type Observer struct {
	cfg     ObserverConfig
	sampler sampler
	wake    chan struct{}
	running atomic.Bool

	mu    sync.Mutex
	queue queue

	stats struct{ reports, sent, dropped, refused, limited, trouble atomic.Uint64 }
}

// ObserverStats are numbers for an application's metrics, since the start.
type ObserverStats struct {
	// Reports counts uses that were to be sent, Sent those that were acknowledged.
	Reports, Sent uint64
	// Dropped counts reports that were lost, because the queue was full or the end came before they could be sent.
	Dropped uint64
	// Refused counts reports that countersign does not take, and uses with names too long for one.
	Refused uint64
	// Limited counts changes that were not reported because one session changed too often.
	Limited uint64
	// Trouble counts requests that did not succeed; their reports are sent again.
	Trouble uint64
}

const (
	defaultInterval    = time.Minute
	defaultMaxSessions = 100_000
	defaultQueue       = 8192
	defaultBatch       = 500
	defaultFlush       = time.Second
)

// NewObserver checks cfg and returns an observer that sends nothing before Run.
func NewObserver(cfg ObserverConfig) (*Observer, error) {
	var problems []error
	bad := func(text string) { problems = append(problems, errors.New(text)) }
	if err := checkReportURL(cfg.URL, cfg.PlainHTTP); err != nil {
		problems = append(problems, err)
	}
	if (cfg.Token == nil) == (cfg.TokenFile == "") {
		bad("Token, TokenFile: set one of them")
	}
	if cfg.Interval < 0 || cfg.FlushEvery < 0 || cfg.MaxSessions < 0 || cfg.Queue < 0 || cfg.Batch < 0 {
		bad("Interval, FlushEvery, MaxSessions, Queue, Batch: must not be negative")
	}
	if cfg.Interval > 0 && cfg.Interval < time.Millisecond {
		bad("Interval: must be at least a millisecond")
	}
	if len(cfg.App) > maxIdentity || len(cfg.Tenant) > maxTenant {
		bad("App, Tenant: too long")
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("stepup: %w", errors.Join(problems...))
	}
	for _, d := range []struct {
		value *int
		by    int
	}{{&cfg.MaxSessions, defaultMaxSessions}, {&cfg.Queue, defaultQueue}, {&cfg.Batch, defaultBatch}} {
		if *d.value == 0 {
			*d.value = d.by
		}
	}
	if cfg.Interval == 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.FlushEvery == 0 {
		cfg.FlushEvery = defaultFlush
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	client := http.Client{}
	if cfg.HTTP != nil {
		client = *cfg.HTTP
	}
	// A redirect would take the token and the sessions elsewhere.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	cfg.HTTP = &client
	return &Observer{
		cfg: cfg, sampler: newSampler(cfg.MaxSessions, cfg.Interval), wake: make(chan struct{}, 1),
		queue: queue{ring: make([]report, cfg.Queue)},
	}, nil
}

func checkReportURL(raw string, plain bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("URL: must be one such as https://countersign.example.com/v1/sessions")
	case u.User != nil:
		return errors.New("URL: must hold no password, the token goes into TokenFile")
	case u.Scheme == "http" && !plain && !loopback(u.Hostname()):
		return errors.New("URL: must be https, or PlainHTTP be set where the network keeps sessions and tokens secret")
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// maxAgent bounds the user agent of a report, in bytes. Whoever holds a session chooses its user agent.
const maxAgent = 1024

// Observe takes note of the use of a session. It never blocks, and costs a fraction of a microsecond, without any
// allocation, when the same use was reported within the interval.
func (o *Observer) Observe(use SessionUse) {
	if use.User == "" || use.Session == "" {
		return
	}
	if use.Tenant == "" {
		use.Tenant = o.cfg.Tenant
	}
	if use.App == "" {
		use.App = o.cfg.App
	}
	if len(use.UserAgent) > maxAgent {
		use.UserAgent = use.UserAgent[:maxAgent]
	}
	now := o.cfg.Now()
	v := o.sampler.see(&use, now.UnixNano())
	switch v {
	case known:
		return
	case tooOften:
		o.stats.limited.Add(1)
		return
	case due, changed:
	}
	if len(use.User) > maxIdentity || len(use.Session) > maxIdentity || len(use.Tenant) > maxTenant || len(use.App) > maxIdentity || len(use.IP) > maxIdentity {
		o.stats.refused.Add(1)
		return
	}
	o.stats.reports.Add(1)
	o.mu.Lock()
	lost := o.queue.push(report{use: use, at: now})
	urgent := v == changed || o.queue.n >= o.cfg.Batch
	o.mu.Unlock()
	if lost {
		o.stats.dropped.Add(1)
	}
	if urgent {
		select {
		case o.wake <- struct{}{}:
		default: // Run will look anyway
		}
	}
}

// Stats returns the numbers since the start.
func (o *Observer) Stats() ObserverStats {
	return ObserverStats{
		Reports: o.stats.reports.Load(), Sent: o.stats.sent.Load(), Dropped: o.stats.dropped.Load(),
		Refused: o.stats.refused.Load(), Limited: o.stats.limited.Load(), Trouble: o.stats.trouble.Load(),
	}
}

// Dropped is how many reports were lost.
func (o *Observer) Dropped() uint64 { return o.stats.dropped.Load() }

// report is a use that waits to be sent.
type report struct {
	use SessionUse
	at  time.Time
}

// wireReport is one report as countersign ingest takes it.
type wireReport struct {
	Session   string `json:"session"`
	Tenant    string `json:"tenant,omitempty"`
	User      string `json:"user"`
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	App       string `json:"app,omitempty"`
	Time      string `json:"time"`
	ID        string `json:"id"`
}

func (r *report) wire(interval time.Duration) wireReport {
	const millis = "2006-01-02T15:04:05.000Z07:00"
	return wireReport{
		Session: r.use.Session, Tenant: r.use.Tenant, User: r.use.User, IP: r.use.IP, UserAgent: r.use.UserAgent, App: r.use.App,
		Time: r.at.UTC().Format(millis), ID: r.id(interval),
	}
}

// id names what the report says, and the interval it says it of: however often, and by however many instances of the
// application, it is sent, countersign counts it once.
func (r *report) id(interval time.Duration) string {
	digest := sha256.New()
	for _, field := range []string{
		"session_use", r.use.App, r.use.Session, r.use.User, r.use.IP, r.use.UserAgent,
		strconv.FormatInt(r.at.UnixMilli()/interval.Milliseconds(), 10),
	} {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(field)))
		digest.Write(n[:])
		digest.Write([]byte(field))
	}
	var sum [sha256.Size]byte
	return hex.EncodeToString(digest.Sum(sum[:0])[:16])
}

// queue holds the reports that wait, the oldest first. A full one drops its oldest.
type queue struct {
	ring     []report
	begin, n int
}

// push adds a report, and tells whether another was dropped for it.
func (q *queue) push(r report) (dropped bool) {
	if q.n == len(q.ring) {
		q.ring[q.begin] = r
		q.begin = (q.begin + 1) % len(q.ring)
		return true
	}
	q.ring[(q.begin+q.n)%len(q.ring)] = r
	q.n++
	return false
}

// take removes and returns the oldest reports, at most limit.
func (q *queue) take(limit int) []report {
	out := make([]report, 0, min(q.n, limit))
	for len(out) < cap(out) {
		out = append(out, q.ring[q.begin])
		q.ring[q.begin] = report{} // its texts are the request's
		q.begin = (q.begin + 1) % len(q.ring)
		q.n--
	}
	return out
}

// remoteIP is the address of a request's peer. Headers that speak of others, such as X-Forwarded-For, are whatever the
// client likes, unless a proxy is known to write them: that is for Config.ClientIP to say.
func remoteIP(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return ""
}
