package profile

import (
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// MaxTokens bounds the uses of tokens that a session remembers.
const MaxTokens = 8

// Session is one session of the user, from its first to its last observation in event time.
type Session struct {
	Key         uint64
	Start, Last Point
	// Ended is when a sign-out or a revocation ended it, 0 while it lives.
	Ended events.Millis
	// Refreshed is when a token was last redeemed without the person, 0 for never.
	Refreshed events.Millis
	// Interactive tells that its start was a person's own sign-in.
	Interactive bool
	// Tokens are the latest pairs of token and address, in no particular order; never changed in place.
	Tokens []TokenUse
}

// TokenUse is that a token came from an address, both by hash, when last, and when first it was seen anywhere.
type TokenUse struct {
	Token, IP   uint32
	ASN         uint32
	Time, First events.Millis
}

// UseToken notes the use of a token. At the bound the pair least recently used goes. Token 0 is none.
func (s *Session) UseToken(u TokenUse) {
	if u.Token == 0 {
		return
	}
	if u.First == 0 || u.First > u.Time {
		u.First = u.Time
	}
	for _, k := range s.Tokens {
		if k.Token == u.Token {
			u.First = min(u.First, k.First)
		}
	}
	i := slices.IndexFunc(s.Tokens, func(k TokenUse) bool { return k.Token == u.Token && k.IP == u.IP })
	if i >= 0 && s.Tokens[i].Time >= u.Time {
		return
	}
	tokens := make([]TokenUse, len(s.Tokens), len(s.Tokens)+1)
	copy(tokens, s.Tokens)
	switch {
	case i >= 0:
		tokens[i] = u
	case len(tokens) < MaxTokens:
		tokens = append(tokens, u)
	default:
		oldest := 0
		for k := range tokens {
			if tokens[k].Time < tokens[oldest].Time {
				oldest = k
			}
		}
		if tokens[oldest].Time > u.Time {
			return
		}
		tokens[oldest] = u
	}
	s.Tokens = tokens
}

// SessionKey is what stands for a session id, or 0 when the id is none: some providers write one that means unknown.
func SessionKey(id string) uint64 {
	switch id {
	case "", "unknown", "00000000-0000-0000-0000-000000000000":
		return 0
	}
	return Hash(id)
}

// Session finds a session, or nil. It is good until the next UseSession or Observe.
func (p *Profile) Session(key uint64) *Session {
	for i := range p.Sessions {
		if p.Sessions[i].Key == key {
			return &p.Sessions[i]
		}
	}
	return nil
}

// UseSession takes an observation into its session, which it returns, good until the next UseSession or Observe. A new one
// drops those idle for longer than ttl and, at the bound, the one least recently used.
func (p *Profile) UseSession(key uint64, pt Point, ttl events.Millis) *Session {
	if s := p.Session(key); s != nil {
		if pt.Time < s.Start.Time {
			s.Start = pt
		}
		if pt.Time >= s.Last.Time {
			s.Last = pt
		}
		return s
	}
	oldest := earlier(p.LastSeen, ttl)
	p.Sessions = slices.DeleteFunc(p.Sessions, func(s Session) bool { return s.Last.Time < oldest })
	if len(p.Sessions) >= MaxSessions {
		p.dropSession()
	}
	p.Sessions = append(p.Sessions, Session{Key: key, Start: pt, Last: pt})
	return &p.Sessions[len(p.Sessions)-1]
}

// EndSession notes that a session ended; key 0 ends all that had begun by then. The earliest end counts.
func (p *Profile) EndSession(key uint64, at events.Millis) {
	for i := range p.Sessions {
		s := &p.Sessions[i]
		if s.Key != key && (key != 0 || s.Start.Time > at) {
			continue
		}
		if s.Ended == 0 || at < s.Ended {
			s.Ended = at
		}
	}
}

// dropSession forgets the session least recently used.
func (p *Profile) dropSession() {
	oldest := 0
	for i := range p.Sessions {
		if p.Sessions[i].Last.Time < p.Sessions[oldest].Last.Time {
			oldest = i
		}
	}
	p.Sessions = slices.Delete(p.Sessions, oldest, oldest+1)
	p.forgot()
}
