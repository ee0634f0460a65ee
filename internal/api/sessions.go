package api

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

type hash = [sha256.Size]byte

// sessions are the browsers that are signed in, by the hash of their secret, and the links that sign one in. They end with
// the process.
type sessions struct {
	ttl, idle, linkTTL time.Duration

	mu    sync.Mutex
	open  map[hash]*session
	links map[hash]time.Time // by code, when it ends
}

type session struct {
	standing // ends whatever happens
	opened   time.Time
	seen     time.Time
}

// over reports whether a session has ended.
func (s *session) over(now time.Time, idle time.Duration) bool {
	return now.After(s.ends) || now.Sub(s.seen) > idle
}

// Bounds of what is remembered: the oldest go first.
const (
	maxSessions      = 1000
	maxSessionsOfOne = 10
	maxLinks         = 16
)

func newSessions(cfg *Config) *sessions {
	return &sessions{ttl: cfg.SessionTTL, idle: cfg.SessionIdle, linkTTL: cfg.LinkTTL, open: map[hash]*session{}, links: map[hash]time.Time{}}
}

// link makes a code that opens one session.
func (s *sessions) link(now time.Time) string {
	code := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	evict(s.links, maxLinks, func(ends time.Time) time.Time { return ends }, now)
	s.links[sha256.Sum256([]byte(code))] = now.Add(s.linkTTL)
	return code
}

// follow takes a link's code, which works once.
func (s *sessions) follow(code string, now time.Time) *principal {
	h := sha256.Sum256([]byte(code))
	s.mu.Lock()
	defer s.mu.Unlock()
	ends, ok := s.links[h]
	delete(s.links, h)
	if !ok || now.After(ends) {
		return nil
	}
	return operator
}

// start opens a session and returns its secret. before is the secret of the browser's session so far, which ends: a secret
// that somebody has put into the browser is worth nothing. tokenEnds is the end of the token that it begins with, which it does
// not outlive; zero without one, or without an end.
func (s *sessions) start(who *principal, before string, tokenEnds, now time.Time) (secret string, until time.Time) {
	secret = rand.Text() + rand.Text()
	until = now.Add(s.ttl)
	if !tokenEnds.IsZero() && tokenEnds.Before(until) {
		until = tokenEnds
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(before)))
	var oldest hash
	count := 0
	for h, o := range s.open {
		switch {
		case o.over(now, s.idle):
			delete(s.open, h)
		case o.who.via == who.via && o.who.name == who.name && o.who.subject == who.subject:
			if count++; count == 1 || o.opened.Before(s.open[oldest].opened) {
				oldest = h
			}
		}
	}
	if count >= maxSessionsOfOne {
		delete(s.open, oldest)
	}
	evict(s.open, maxSessions, func(o *session) time.Time { return o.ends }, now)
	s.open[sha256.Sum256([]byte(secret))] = &session{standing: standing{who, until, tokenEnds}, opened: now, seen: now}
	return secret, until
}

// end closes a session and returns whose it was; nil when there was none.
func (s *sessions) end(secret string) *principal {
	h := sha256.Sum256([]byte(secret))
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[h]
	delete(s.open, h)
	if o == nil {
		return nil
	}
	return o.who
}

// find is whose session has the secret; nobody without one. use keeps it from going idle.
func (s *sessions) find(secret string, use bool, now time.Time) standing {
	h := sha256.Sum256([]byte(secret))
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[h]
	if o == nil {
		return standing{}
	}
	if o.over(now, s.idle) {
		delete(s.open, h)
		return standing{}
	}
	if use {
		o.seen = now
	}
	return o.standing
}

// evict makes room for one more: it drops what has ended, and else what ends next.
func evict[V any](m map[hash]V, limit int, ends func(V) time.Time, now time.Time) {
	if len(m) < limit {
		return
	}
	var next hash
	var nextEnds time.Time
	for h, v := range m {
		switch at := ends(v); {
		case now.After(at):
			delete(m, h)
		case nextEnds.IsZero() || at.Before(nextEnds):
			next, nextEnds = h, at
		}
	}
	if len(m) >= limit {
		delete(m, next)
	}
}
