package stepup

import (
	"hash/maphash"
	"math/bits"
	"sync"
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
	firstSlots = 8 // of a shard
	// plain is the bit of a tag that says: the strictest restraint is open and holds for every session.
	plain = 1
)

// shard is an open-addressed hash table with linear probing, at most 70 % full.
type shard struct {
	mu    sync.RWMutex
	used  int
	slots []slot
	_     [8]byte // a cache line each, so that readers of neighbours do not disturb each other
}

type slot struct {
	tag uint64
	who *user // nil marks a free slot
}

func (t *table) init() {
	t.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].slots = make([]slot, firstSlots)
	}
}

// tag names a user; its bit plain is 0.
func (t *table) tag(tenant, user string) uint64 {
	return (maphash.String(t.seeds[0], user) ^ maphash.String(t.seeds[1], tenant)) &^ plain
}

func (t *table) shard(tag uint64) *shard { return &t.shards[tag>>1%shardCount] }

// get returns a copy of the user's slot, a free one when nothing restrains the user.
func (t *table) get(tag uint64) slot {
	s := t.shard(tag)
	s.mu.RLock()
	found := s.slots[s.find(tag)]
	s.mu.RUnlock()
	return found
}

// home is where a tag would best be: its high bits, as a fraction of the table.
func (s *shard) home(tag uint64) int {
	hi, _ := bits.Mul64(tag, uint64(len(s.slots)))
	return int(hi)
}

func (s *shard) after(i int) int {
	if i++; i == len(s.slots) {
		return 0
	}
	return i
}

// find returns the place of the tag's slot, or of the free one where it would be.
func (s *shard) find(tag uint64) int {
	i := s.home(tag)
	for s.slots[i].who != nil && s.slots[i].tag&^plain != tag {
		i = s.after(i)
	}
	return i
}

// set puts what restrains a user in place; nil frees the slot. Only one goroutine may set at a time.
func (t *table) set(tag uint64, who *user) {
	s := t.shard(tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(tag)
	switch {
	case who == nil && s.slots[i].who != nil:
		s.free(i)
		return
	case who == nil:
		return
	case s.slots[i].who == nil:
		if s.used++; s.used*10 > len(s.slots)*7 {
			s.grow()
			i = s.find(tag)
		}
	}
	if first := &who.first; first.closed == 0 && first.Session == "" {
		tag |= plain
	}
	s.slots[i] = slot{tag, who}
}

func (s *shard) grow() {
	old := s.slots
	s.slots = make([]slot, len(old)+len(old)/4)
	for _, o := range old {
		if o.who != nil {
			s.slots[s.find(o.tag&^plain)] = o
		}
	}
}

// free empties slot i and moves later ones of the same run up, so that no look-up stops short of them.
func (s *shard) free(i int) {
	s.used--
	size := len(s.slots)
	for j := s.after(i); s.slots[j].who != nil; j = s.after(j) {
		// The slot at j may move to i unless its home lies cyclically behind i.
		if home := s.home(s.slots[j].tag &^ plain); (j-home+size)%size >= (j-i+size)%size {
			s.slots[i], i = s.slots[j], j
		}
	}
	s.slots[i] = slot{}
}
