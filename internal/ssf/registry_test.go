package ssf

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// memory is a registry that keeps everything in memory, and can be told to be elsewhere or out of order.
type memory struct {
	mu        sync.Mutex
	streams   map[string]Stream
	waiting   map[string]map[string]string // SETs by stream and jti
	refused   map[string]SetError
	verified  map[string]time.Time
	arrived   chan struct{} // is closed when something arrives
	polling   chan struct{} // gets one for every poll that waits
	next      int
	elsewhere map[string]string
	broken    error
	most      int
	interval  time.Duration
	now       func() time.Time
}

func newMemory(now func() time.Time) *memory {
	return &memory{
		streams: map[string]Stream{}, waiting: map[string]map[string]string{}, refused: map[string]SetError{}, verified: map[string]time.Time{},
		arrived: make(chan struct{}), polling: make(chan struct{}, 100), elsewhere: map[string]string{}, most: 1000, now: now,
	}
}

var _ Registry = (*memory)(nil)

func (m *memory) find(r Receiver, id string) (Stream, error) {
	if m.broken != nil {
		return Stream{}, m.broken
	}
	s, ok := m.streams[id]
	if !ok || s.Receiver != r.ID || s.Tenant != r.Tenant {
		return Stream{}, ErrNotFound
	}
	if base := m.elsewhere[id]; base != "" {
		return Stream{}, &ElsewhereError{URL: base}
	}
	return s, nil
}

func (m *memory) Create(_ context.Context, s Stream) (Stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return Stream{}, m.broken
	}
	have := 0
	for _, other := range m.streams {
		if other.Receiver == s.Receiver {
			have++
		}
	}
	if have >= m.most {
		return Stream{}, ErrTooManyStreams
	}
	m.next++
	s.ID, s.Created = fmt.Sprintf("s-%d", m.next), m.now().Unix()
	m.streams[s.ID] = s
	return s, nil
}

func (m *memory) Streams(_ context.Context, r Receiver) ([]Stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return nil, m.broken
	}
	var list []Stream
	for _, id := range slices.Sorted(maps.Keys(m.streams)) {
		if s := m.streams[id]; s.Receiver == r.ID && s.Tenant == r.Tenant {
			list = append(list, s)
		}
	}
	return list, nil
}

func (m *memory) Stream(_ context.Context, r Receiver, id string) (Stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(r, id)
}

func (m *memory) Update(_ context.Context, r Receiver, id string, change func(*Stream) error) (Stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(r, id)
	if err != nil {
		return Stream{}, err
	}
	if err := change(&s); err != nil {
		return Stream{}, err
	}
	m.streams[id] = s
	return s, nil
}

func (m *memory) Delete(_ context.Context, r Receiver, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.find(r, id)
	if err == nil {
		delete(m.streams, id)
	}
	return err
}

func (m *memory) Verify(_ context.Context, r Receiver, id string, state *string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(r, id)
	switch {
	case err != nil:
		return err
	case s.Status == Disabled:
		return ErrDisabled
	}
	if wait := m.interval - m.now().Sub(m.verified[id]); m.interval > 0 && wait > 0 {
		return &TooManyError{After: wait}
	}
	m.verified[id] = m.now()
	text := "no state"
	if state != nil {
		text = "state " + *state
	}
	m.put(id, text)
	return nil
}

// put lets a SET wait; its jti is new.
func (m *memory) put(id, text string) {
	if m.waiting[id] == nil {
		m.waiting[id] = map[string]string{}
	}
	m.next++
	m.waiting[id][fmt.Sprintf("jti-%04d", m.next)] = text
	close(m.arrived)
	m.arrived = make(chan struct{})
}

func (m *memory) Poll(ctx context.Context, r Receiver, id string, q PollRequest) (PollResponse, error) {
	for {
		m.mu.Lock()
		s, err := m.find(r, id)
		if err == nil && s.Delivery.Method != MethodPoll {
			err = ErrNotPoll
		}
		if err != nil {
			m.mu.Unlock()
			return PollResponse{}, err
		}
		for _, jti := range q.Ack {
			delete(m.waiting[id], jti)
		}
		for jti, e := range q.SetErrs {
			m.refused[jti] = e
			delete(m.waiting[id], jti)
		}
		var found PollResponse
		for _, jti := range slices.Sorted(maps.Keys(m.waiting[id])) {
			if len(found.Sets) == *q.MaxEvents {
				found.MoreAvailable = true
				break
			}
			if found.Sets == nil {
				found.Sets = map[string]string{}
			}
			found.Sets[jti] = m.waiting[id][jti]
		}
		arrived := m.arrived
		m.mu.Unlock()
		if len(found.Sets) > 0 || q.ReturnImmediately {
			return found, nil
		}
		m.polling <- struct{}{}
		select {
		case <-arrived:
		case <-ctx.Done():
			return found, nil
		}
	}
}
