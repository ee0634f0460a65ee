// Package expiring holds values for a while: sessions, codes, flows. It is the whole database of the example.
package expiring

import (
	"sync"
	"time"
)

// Map holds at most a given number of values, each until its time is over. When it is full, the value that ends soonest
// makes room. It is safe for concurrent use.
type Map[T any] struct {
	max int
	mu  sync.Mutex
	all map[string]entry[T]
}

type entry[T any] struct {
	value T
	ends  time.Time
}

// New returns an empty map for at most limit values.
func New[T any](limit int) *Map[T] { return &Map[T]{max: limit, all: map[string]entry[T]{}} }

// Put holds a value for d, in the place of one with the same key.
func (m *Map[T]) Put(key string, value T, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if _, ok := m.all[key]; !ok && len(m.all) >= m.max {
		m.makeRoom(now)
	}
	m.all[key] = entry[T]{value, now.Add(d)}
}

func (m *Map[T]) makeRoom(now time.Time) {
	soonest, first := "", true
	for key, e := range m.all {
		switch {
		case !e.ends.After(now):
			delete(m.all, key)
		case first || e.ends.Before(m.all[soonest].ends):
			soonest, first = key, false
		}
	}
	if len(m.all) >= m.max {
		delete(m.all, soonest)
	}
}

// Get returns a value that is still held.
func (m *Map[T]) Get(key string) (T, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(key)
}

func (m *Map[T]) get(key string) (T, bool) {
	e, ok := m.all[key]
	if !ok || !e.ends.After(time.Now()) {
		var none T
		return none, false
	}
	return e.value, true
}

// Take is Get for one caller only: it removes the value.
func (m *Map[T]) Take(key string) (T, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.get(key)
	delete(m.all, key)
	return value, ok
}

// Delete removes a value.
func (m *Map[T]) Delete(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, key)
}
