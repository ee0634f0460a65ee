package graph

import (
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits keeps what is asked of Graph below its limits: 5 requests per 10 seconds for the reports (sign-ins and audits) of
// one app in one tenant, and 1 a second for the risks of a tenant, whatever the app. One value is shared by all feeds of
// the process; it is safe for concurrent use.
type Limits struct {
	unlimited bool

	mu       sync.Mutex
	limiters map[string]*rate.Limiter
}

// NewLimits returns the limits for a process.
func NewLimits() *Limits { return &Limits{limiters: map[string]*rate.Limiter{}} }

// Unlimited returns limits that hold nothing back, for tests against an upstream that plays Graph.
func Unlimited() *Limits { return &Limits{unlimited: true} }

// of is the limiter that a feed shares with others. Requests are spread evenly: a burst would only be followed by a pause.
func (l *Limits) of(cfg Config, f feed) *rate.Limiter {
	if l.unlimited {
		return rate.NewLimiter(rate.Inf, 1)
	}
	key, every := "reports "+cfg.Tenant+" "+cfg.Credential.ClientID, 10*time.Second/5
	if f.risk {
		key, every = "risks "+cfg.Tenant, time.Second
	}
	key = strings.ToLower(cfg.BaseURL + " " + key)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limiters[key] == nil {
		l.limiters[key] = rate.NewLimiter(rate.Every(every), 1)
	}
	return l.limiters[key]
}
