package o365

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"time"
)

// maxSeen bounds the contents that are remembered: 4096 take 45 KB of a position. Those that were forgotten are fetched
// again, and their records dropped as repeats.
const maxSeen = 4096

// digest is the beginning of the hash of a content's id.
type digest [8]byte

func digestOf(id string) digest {
	sum := sha256.Sum256([]byte(id))
	return digest(sum[:len(digest{})])
}

// hour remembers the contents that became available in one hour.
type hour struct {
	// At is the hour, counted from 1970.
	At int64 `json:"at"`
	// IDs are digests one after the other.
	IDs []byte `json:"ids"`
}

// seen remembers which contents are on the log.
type seen struct {
	hours []hour
	index map[digest]struct{}
}

// newSeen makes a memory of what was kept. What is torn in it is forgotten.
func newSeen(hours []hour) *seen {
	s := &seen{index: map[digest]struct{}{}}
	for _, h := range hours {
		for id := range slices.Chunk(h.IDs, len(digest{})) {
			if len(id) == len(digest{}) {
				s.put(h.At, digest(id))
			}
		}
	}
	return s
}

func (s *seen) has(id string) bool {
	_, ok := s.index[digestOf(id)]
	return ok
}

// add remembers a content, and forgets the oldest ones when there are too many.
func (s *seen) add(created time.Time, id string) {
	s.put(created.Unix()/3600, digestOf(id))
	for len(s.index) > maxSeen {
		s.drop(len(s.index) - maxSeen)
	}
}

func (s *seen) put(at int64, d digest) {
	if _, again := s.index[d]; again {
		return
	}
	n, found := slices.BinarySearchFunc(s.hours, at, func(h hour, at int64) int { return cmp.Compare(h.At, at) })
	if !found {
		s.hours = slices.Insert(s.hours, n, hour{At: at})
	}
	s.hours[n].IDs = append(s.hours[n].IDs, d[:]...)
	s.index[d] = struct{}{}
}

// forget forgets what became available before a moment.
func (s *seen) forget(before time.Time) {
	for len(s.hours) > 0 && s.hours[0].At < before.Unix()/3600 {
		s.drop(maxSeen)
	}
}

// drop forgets up to n contents of the oldest hour, and the hour with its last one.
func (s *seen) drop(n int) {
	oldest := &s.hours[0]
	size := min(n*len(digest{}), len(oldest.IDs))
	for id := range slices.Chunk(oldest.IDs[:size], len(digest{})) {
		delete(s.index, digest(id))
	}
	if oldest.IDs = oldest.IDs[size:]; len(oldest.IDs) == 0 {
		s.hours = s.hours[1:]
	}
}
