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
	firstHomes = 8 // of a shard
	// plain is the bit of a tag that says: the strictest restraint is open and holds for every session.
	plain = 1
)

// shard is an open-addressed hash table with linear probing. Its slots are in the order of their tags, so that a look-up
// which finds nothing is over as soon as one that finds something. The last slot is always free, where every look-up ends.
type shard struct {
	mu    sync.RWMutex
	used  int
	homes uint64
	slots []slot  // homes, and room behind the last one
	_     [8]byte // 64 bytes, a cache line each, so that readers of neighbours do not disturb each other
}

type slot struct {
	tag uint64
	who *user // nil marks a free slot
}

func (t *table) init() {
	t.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].resize(firstHomes)
	}
}

func (s *shard) resize(homes uint64) {
	s.homes, s.slots = homes, make([]slot, homes+homes/8+8)
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
	if found.tag&^plain != tag {
		return slot{}
	}
	return found
}

// home is where a tag would best be: its place among all possible tags.
func (s *shard) home(tag uint64) int {
	hi, _ := bits.Mul64(tag, s.homes)
	return int(hi)
}

// find returns the place of the tag's slot, or the one where it would have to be.
func (s *shard) find(tag uint64) int {
	i := s.home(tag)
	for s.slots[i].who != nil && s.slots[i].tag&^plain < tag {
		i++
	}
	return i
}

// set puts what restrains a user in place; nil frees the slot. Only one goroutine may set at a time.
func (t *table) set(tag uint64, who *user) {
	s := t.shard(tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(tag)
	there := s.slots[i].who != nil && s.slots[i].tag&^plain == tag
	switch {
	case who == nil && there:
		s.free(i)
		return
	case who == nil:
		return
	}
	marked := slot{tag, who}
	if first := &who.first; first.closed == 0 && first.Session == "" {
		marked.tag |= plain
	}
	if there {
		s.slots[i] = marked
		return
	}
	s.insert(marked)
}

// insert makes room for a slot with a new tag by moving the rest of its run down.
func (s *shard) insert(o slot) {
	for {
		i := s.find(o.tag &^ plain)
		end := i
		for s.slots[end].who != nil {
			end++
		}
		if uint64(s.used)*10 < s.homes*7 && end < len(s.slots)-1 {
			copy(s.slots[i+1:end+1], s.slots[i:end])
			s.slots[i] = o
			s.used++
			return
		}
		s.grow()
	}
}

func (s *shard) grow() {
	old := s.slots
	s.used = 0
	s.resize(s.homes + s.homes/4)
	for _, o := range old {
		if o.who != nil {
			s.insert(o)
		}
	}
}

// free empties slot i and moves up what had to stand behind it.
func (s *shard) free(i int) {
	s.used--
	end := i + 1
	for s.slots[end].who != nil && s.home(s.slots[end].tag&^plain) < end {
		end++
	}
	copy(s.slots[i:], s.slots[i+1:end])
	s.slots[end-1] = slot{}
}
