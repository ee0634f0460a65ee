package act

import (
	"sync"
	"time"
)

// maxTenants is how many tenants a breaker knows before it forgets those that are idle.
const maxTenants = 1000

// breaker lets so many actions of a tenant pass in any minute: a policy that goes wrong must not sign out a company at once.
type breaker struct {
	limit int

	mu      sync.Mutex
	tenants map[string][]time.Time // when the last ones pass, at most limit, oldest first
}

func newBreaker(perMinute int) *breaker {
	return &breaker{limit: perMinute, tenants: map[string][]time.Time{}}
}

// reserve takes the next place of a tenant, and returns how long to wait for it.
func (b *breaker) reserve(tenant string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.tenants) >= maxTenants {
		for t, times := range b.tenants {
			if now.Sub(times[len(times)-1]) > time.Minute {
				delete(b.tenants, t)
			}
		}
	}
	times, at := b.tenants[tenant], now
	if len(times) == b.limit {
		if free := times[0].Add(time.Minute); free.After(at) {
			at = free
		}
		times = times[1:]
	}
	b.tenants[tenant] = append(times, at)
	return at.Sub(now)
}

// maxRemembered is how many causes an action remembers: those of a day, and a few MB.
const maxRemembered = 50_000

// memory remembers the last keys.
type memory struct {
	mu   sync.Mutex
	keys map[string]struct{}
	ring []string
	next int
}

func newMemory(size int) *memory {
	return &memory{keys: map[string]struct{}{}, ring: make([]string, size)}
}

func (m *memory) has(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.keys[key]
	return ok
}

func (m *memory) add(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.keys[key]; ok {
		return
	}
	delete(m.keys, m.ring[m.next])
	m.keys[key], m.ring[m.next] = struct{}{}, key
	m.next = (m.next + 1) % len(m.ring)
}
