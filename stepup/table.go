package stepup

import (
	"hash/maphash"
	"math/bits"
	"runtime"
	"sync/atomic"
)

// A table finds what restrains a user within one cache line: at a million users every further line is a miss in the cache
// and in the page tables, and costs more than all the rest of a look-up. So a slot is 16 bytes and keeps no name. A user is
// known by 63 bits of a hash with secret random seeds; who needs certainty compares the names, which [Guard] does.
type table struct {
	seeds  [2]maphash.Seed
	shards [shardCount]shard
}

const (
	shardCount = 256
	firstHomes = 8 // of a shard
	// plain is the bit of a tag that says: the strictest restraint is open and holds for every session.
	plain = 1
)

// shard is an open-addressed hash table with linear probing. Its slots are in the order of their tags, so that a look-up
// which finds nothing is over as soon as one that finds something.
//
// Look-ups take no lock: they read the version, look, and look again if the version has changed meanwhile or is odd, which
// it is while slots move. So they write nothing, and any number of processors may look at once.
type shard struct {
	version atomic.Uint64
	slots   atomic.Pointer[slots]
	used    int
	_       [40]byte // a cache line each, so that a change in one shard does not disturb look-ups in another
}

// slots are homes and some room behind the last one. The very last is always free: every look-up ends there, also one that
// reads while slots move.
type slots struct {
	homes uint64
	all   []slot
}

type slot struct {
	tag atomic.Uint64
	who atomic.Pointer[user] // nil marks a free slot
}

func (t *table) init() {
	t.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].slots.Store(newSlots(firstHomes))
	}
}

func newSlots(homes uint64) *slots { return &slots{homes, make([]slot, homes+homes/8+8)} }

// tag names a user; its bit plain is 0.
func (t *table) tag(tenant, user string) uint64 {
	return (maphash.String(t.seeds[0], user) ^ maphash.String(t.seeds[1], tenant)) &^ plain
}

func (t *table) shard(tag uint64) *shard { return &t.shards[tag>>1%shardCount] }

// get returns what restrains a user, nil for nothing. isPlain says that the first restraint is open and holds for every
// session, without a look at it.
func (t *table) get(tag uint64) (who *user, isPlain bool) {
	s := t.shard(tag)
	for {
		version := s.version.Load()
		if version&1 == 0 {
			slots := s.slots.Load()
			at := &slots.all[slots.find(tag)]
			have, who := at.tag.Load(), at.who.Load()
			if s.version.Load() == version {
				if have&^plain != tag {
					return nil, false
				}
				return who, have&plain != 0
			}
		}
		runtime.Gosched() // let the writer finish
	}
}

// home is where a tag would best be: its place among all possible tags.
func (s *slots) home(tag uint64) int {
	hi, _ := bits.Mul64(tag, s.homes)
	return int(hi)
}

// find returns the place of the tag's slot, or the one where it would have to be.
func (s *slots) find(tag uint64) int {
	i := s.home(tag)
	for s.all[i].who.Load() != nil && s.all[i].tag.Load()&^plain < tag {
		i++
	}
	return i
}

// set puts what restrains a user in place; nil frees the slot. Only one goroutine may set at a time.
func (t *table) set(tag uint64, who *user) {
	s := t.shard(tag)
	slots := s.slots.Load()
	i := slots.find(tag)
	there := slots.all[i].who.Load() != nil && slots.all[i].tag.Load()&^plain == tag
	switch {
	case who == nil && there:
		s.version.Add(1)
		slots.free(i)
		s.version.Add(1)
		s.used--
		return
	case who == nil:
		return
	}
	marked := tag
	if first := &who.first; first.closed == 0 && first.Session == "" {
		marked |= plain
	}
	if !there {
		s.used++
		for uint64(s.used)*10 > slots.homes*7 || !slots.hasRoom(tag) {
			slots = slots.larger()
			s.slots.Store(slots) // whoever still looks at the old ones finds what was there
		}
	}
	s.version.Add(1)
	slots.put(marked, who, there)
	s.version.Add(1)
}

// put writes the slot of a tag. When it is not there yet, the rest of its run moves down.
func (s *slots) put(marked uint64, who *user, there bool) {
	i := s.find(marked &^ plain)
	if !there {
		for j := s.end(i); j > i; j-- {
			s.move(j-1, j)
		}
	}
	s.all[i].tag.Store(marked)
	s.all[i].who.Store(who)
}

// end returns the first free place at or after i.
func (s *slots) end(i int) int {
	for s.all[i].who.Load() != nil {
		i++
	}
	return i
}

// hasRoom tells whether one more fits into the run of a tag without taking the very last slot.
func (s *slots) hasRoom(tag uint64) bool { return s.end(s.home(tag)) < len(s.all)-1 }

func (s *slots) move(from, to int) {
	s.all[to].tag.Store(s.all[from].tag.Load())
	s.all[to].who.Store(s.all[from].who.Load())
}

// larger returns the same in a quarter more places.
func (s *slots) larger() *slots {
	for homes := s.homes + s.homes/4; ; homes += homes / 4 {
		next, fits := newSlots(homes), true
		for i := range s.all {
			who, tag := s.all[i].who.Load(), s.all[i].tag.Load()
			if who == nil {
				continue
			}
			if fits = next.hasRoom(tag &^ plain); !fits {
				break
			}
			next.put(tag, who, false)
		}
		if fits {
			return next
		}
	}
}

// free empties slot i and moves up what had to stand behind it.
func (s *slots) free(i int) {
	for ; s.all[i+1].who.Load() != nil && s.home(s.all[i+1].tag.Load()&^plain) <= i; i++ {
		s.move(i+1, i)
	}
	s.all[i].who.Store(nil)
	s.all[i].tag.Store(0)
}
