package stepup

import (
	"sync"
	"time"
)

// maxAttempts bounds the sessions whose challenges are counted at a time. Past it some that were challenged long ago are
// forgotten: their count starts again, and a receipt may be written twice.
const maxAttempts = 1 << 17

// attempts counts, for each session and requirement, the different tokens that were challenged, and remembers which
// receipts were written.
type attempts struct {
	window time.Duration
	mu     sync.Mutex
	// Two generations: entries that are used move to young, and old is dropped when young has lasted a window or is full.
	young, old map[string]*attempt
	since      time.Time
}

type attempt struct {
	started    time.Time // of the window
	tokens     int
	lastIssued time.Time
	// Whether there was a receipt of each status.
	challenged, satisfied, refused bool
}

func newAttempts(window time.Duration) attempts {
	return attempts{window: window, young: map[string]*attempt{}}
}

// attemptKey names a session and a requirement. No part can hold a NUL: claims with one are refused, and a token's session
// is the last.
func attemptKey(t *Token, requirement string) string {
	return requirement + "\x00" + t.Tenant + "\x00" + t.User + "\x00" + t.Session
}

// of returns the entry, a new one when there is none or its window is over. The caller holds mu.
func (a *attempts) of(key string, now time.Time) *attempt {
	if now.Sub(a.since) > a.window || len(a.young) >= maxAttempts/2 {
		a.old, a.young, a.since = a.young, map[string]*attempt{}, now
	}
	e := a.young[key]
	if e == nil {
		if e = a.old[key]; e == nil || now.Sub(e.started) > a.window {
			e = &attempt{started: now}
		}
		a.young[key] = e
	} else if now.Sub(e.started) > a.window {
		*e = attempt{started: now}
	}
	return e
}

// challenged counts one challenge. A client that repeats the same token is not in a loop; one that comes back with a new
// token that will not do either is. Tokens that do not say when they were issued are all counted.
func (a *attempts) challenged(key string, issued, now time.Time) (first bool, tokens int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.of(key, now)
	first, e.challenged = !e.challenged, true
	if e.tokens == 0 || issued.IsZero() || !issued.Equal(e.lastIssued) {
		e.tokens++
		e.lastIssued = issued
	}
	return first, e.tokens
}

// satisfied tells whether this is the first time, and forgets the count.
func (a *attempts) satisfied(key string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.of(key, now)
	if e.satisfied {
		return false
	}
	e.satisfied, e.tokens = true, 0
	return true
}

// refused tells whether this is the first time.
func (a *attempts) refused(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.young[key]
	if e == nil || e.refused {
		return false
	}
	e.refused = true
	return true
}
