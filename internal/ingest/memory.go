package ingest

import (
	"encoding/hex"
	"sync"
)

// recentID is an event id in binary.
type recentID [16]byte

// recentOf returns the binary form of an event id; what is no event id has one too, which is nobody's.
func recentOf(id string) (r recentID) {
	_, _ = hex.Decode(r[:], []byte(id[:min(len(id), 2*len(r))]))
	return r
}

// memory remembers the ids that it was told last: at least half of its size of them, at most all, in two generations. An
// id takes about 40 bytes, once it is there. It is safe for concurrent use.
type memory struct {
	half int

	mu         sync.RWMutex
	young, old map[recentID]struct{}
}

func newMemory(size int) *memory {
	return &memory{half: max(size/2, 1), young: map[recentID]struct{}{}}
}

// add remembers an id, for longer when it is known already.
func (m *memory) add(id recentID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.young[id] = struct{}{}; len(m.young) >= m.half {
		m.young, m.old = map[recentID]struct{}{}, m.young
	}
}

func (m *memory) contains(id recentID) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, ok := m.young[id]; ok {
		return true
	}
	_, ok := m.old[id]
	return ok
}
