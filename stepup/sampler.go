package stepup

import (
	"hash/maphash"
	"sync"
	"time"
)

// A sampler remembers how sessions were used lately, in bounded memory. It keeps no names: a session is known by 64 bits
// of a hash with a secret random seed, and so is each pair of address and user agent it was used with.
type sampler struct {
	seed     maphash.Seed
	interval int64 // nanoseconds
	shards   []sampleShard
}

const (
	sampleShards = 32
	// pairsKept are the pairs that are remembered of a session: a device with two addresses, as dual stack has, and one
	// on the move change between few.
	pairsKept = 4
	// maxReports bounds the reports of one session in an interval, so that one client with a new user agent for every
	// request does not crowd out the reports of all others.
	maxReports = 32
)

// sampleShard is a part of the memory: when it is full, the entry that was not used for longest, by the clock algorithm,
// makes room.
type sampleShard struct {
	mu    sync.Mutex
	index map[uint64]int32
	slots []sampled
	limit int
	hand  int
	_     [32]byte // a cache line each
}

// sampled is what is remembered of a session. Times are in Unix nanoseconds.
type sampled struct {
	key     uint64
	since   int64 // when counting began
	pairs   [pairsKept]samplePair
	reports int32 // since then
	used    bool  // since the hand last came by
}

type samplePair struct {
	hash uint64
	at   int64 // when it was last reported; 0 for none
}

// verdict is what to do with a use.
type verdict int

const (
	known    verdict = iota // reported within the interval
	due                     // new, or not reported for an interval
	changed                 // by an address or user agent that the session was not seen with lately
	tooOften                // as changed, but too many changes
)

func newSampler(maxSessions int, interval time.Duration) sampler {
	n := min(sampleShards, maxSessions)
	s := sampler{seed: maphash.MakeSeed(), interval: int64(interval), shards: make([]sampleShard, n)}
	for i := range s.shards {
		s.shards[i].index = map[uint64]int32{}
		s.shards[i].limit = maxSessions / n
	}
	return s
}

// see judges a use at now, and remembers it as reported when it is to be.
func (s *sampler) see(use *SessionUse, now int64) verdict {
	var h maphash.Hash
	h.SetSeed(s.seed)
	hash := func(texts ...string) uint64 {
		h.Reset()
		for _, text := range texts {
			_, _ = h.WriteString(text)
			_ = h.WriteByte(0)
		}
		return h.Sum64()
	}
	key := hash(use.App, use.Tenant, use.User, use.Session)
	pair := hash(use.IP, use.UserAgent)
	return s.shards[key%uint64(len(s.shards))].see(key, pair, now, s.interval)
}

func (s *sampleShard) see(key, pair uint64, now, interval int64) verdict {
	// Time may seem to go back a little between goroutines, and far when the clock is set.
	over := func(since int64) bool { return now-since >= interval || since-now >= interval }
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := s.index[key]
	if !found {
		e := s.place(key)
		e.since, e.reports, e.pairs[0] = now, 1, samplePair{pair, now}
		return due
	}
	e := &s.slots[at]
	e.used = true
	oldest := &e.pairs[0]
	for i := range e.pairs {
		p := &e.pairs[i]
		if p.at != 0 && p.hash == pair {
			if !over(p.at) {
				return known
			}
			p.at = now
			e.count(now, over)
			return due
		}
		if p.at < oldest.at {
			oldest = p
		}
	}
	if e.count(now, over) > maxReports {
		return tooOften
	}
	*oldest = samplePair{pair, now}
	return changed
}

// count counts a report, and returns how many there were in this interval.
func (e *sampled) count(now int64, over func(int64) bool) int32 {
	if over(e.since) {
		e.since, e.reports = now, 0
	}
	if e.reports <= maxReports {
		e.reports++
	}
	return e.reports
}

// place finds room for a session that is not there.
func (s *sampleShard) place(key uint64) *sampled {
	if len(s.slots) < s.limit {
		s.index[key] = int32(len(s.slots))
		s.slots = append(s.slots, sampled{key: key})
		return &s.slots[len(s.slots)-1]
	}
	for s.slots[s.hand].used {
		s.slots[s.hand].used = false
		s.hand = (s.hand + 1) % len(s.slots)
	}
	e := &s.slots[s.hand]
	delete(s.index, e.key)
	s.index[key] = int32(s.hand)
	*e = sampled{key: key} // not used until it is seen again: those seen once make room first
	s.hand = (s.hand + 1) % len(s.slots)
	return e
}
