package stepup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
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
	*sender[report]
	cfg              ObserverConfig
	sampler          sampler
	reports, limited atomic.Uint64
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
)

// NewObserver checks cfg and returns an observer that sends nothing before Run.
func NewObserver(cfg ObserverConfig) (*Observer, error) {
	var problems []error
	bad := func(text string) { problems = append(problems, errors.New(text)) }
	if cfg.Interval == 0 {
		cfg.Interval = defaultInterval
	}
	s, err := newSender(sending{
		what: "session reports", url: cfg.URL, plain: cfg.PlainHTTP, token: cfg.Token, tokenFile: cfg.TokenFile, queue: cfg.Queue,
		batch: cfg.Batch, flushEvery: cfg.FlushEvery, http: cfg.HTTP, now: cfg.Now, onError: cfg.OnError,
	}, func(batch []report) []byte {
		wire := make([]wireReport, len(batch))
		for i := range batch {
			wire[i] = batch[i].wire(cfg.Interval)
		}
		body, _ := json.Marshal(wire) // texts cannot fail
		return body
	})
	if err != nil {
		problems = append(problems, err)
	}
	if cfg.MaxSessions < 0 {
		bad("MaxSessions: must not be negative")
	}
	if cfg.Interval < time.Millisecond {
		bad("Interval: must be at least a millisecond")
	}
	if len(cfg.App) > maxIdentity || len(cfg.Tenant) > maxTenant {
		bad("App, Tenant: too long")
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("stepup: %w", errors.Join(problems...))
	}
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = defaultMaxSessions
	}
	return &Observer{sender: s, cfg: cfg, sampler: newSampler(cfg.MaxSessions, cfg.Interval)}, nil
}

// Run sends reports until ctx ends, and then what is left, for at most two seconds; what could not be sent by then counts
// as dropped. Countersign that is away costs nothing but reports: they are sent again, later and later, and past
// ObserverConfig.Queue the oldest are dropped. It returns nil, or at once an error when it runs already.
func (o *Observer) Run(ctx context.Context) error { return o.run(ctx) }

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
	now := o.now()
	v := o.sampler.see(&use, now.UnixNano())
	switch v {
	case known:
		return
	case tooOften:
		o.limited.Add(1)
		return
	case due, changed:
	}
	if len(use.User) > maxIdentity || len(use.Session) > maxIdentity || len(use.Tenant) > maxTenant || len(use.App) > maxIdentity || len(use.IP) > maxIdentity {
		o.refused.Add(1)
		return
	}
	o.reports.Add(1)
	o.add(report{use: use, at: now}, v == changed)
}

// Stats returns the numbers since the start.
func (o *Observer) Stats() ObserverStats {
	return ObserverStats{
		Reports: o.reports.Load(), Sent: o.sent.Load(), Dropped: o.dropped.Load(),
		Refused: o.refused.Load(), Limited: o.limited.Load(), Trouble: o.trouble.Load(),
	}
}

// Dropped is how many reports were lost.
func (o *Observer) Dropped() uint64 { return o.dropped.Load() }

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
	return wireReport{
		Session: r.use.Session, Tenant: r.use.Tenant, User: r.use.User, IP: r.use.IP, UserAgent: r.use.UserAgent, App: r.use.App,
		Time: r.at.UTC().Format(wireTime), ID: r.id(interval),
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

// remoteIP is the address of a request's peer. Headers that speak of others, such as X-Forwarded-For, are whatever the
// client likes, unless a proxy is known to write them: that is for Config.ClientIP to say.
func remoteIP(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return ""
}
