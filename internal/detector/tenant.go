package detector

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/mailru/easyjson"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/stream"
)

// A partition's state holds, beside its users, two records a tenant under keys that no user has: the context under
// "tenant/", which changes once a day, and the breaker under another, which changes with many events.
const breakerKey = "\x01breaker"

// contextFormat is the first byte of a kept context; its JSON follows.
const contextFormat = 1

// ErrContextFormat is returned for a context that this version cannot read.
var ErrContextFormat = errors.New("unknown format of a tenant's context, written by another version of countersign")

// tenants are what a partition remembers of its tenants. They are worked on in place: between a batch and its commit only
// what is going to be written differs from what was.
type tenants struct {
	contexts *contexts
	known    map[string]*tenant
	touched  []*tenant
}

type tenant struct {
	Tenant
	id      string
	touched bool
	// As written last, nil when never, and as the batch will write it.
	context, breaker       []byte
	newContext, newBreaker []byte
}

// hear takes a context of the network stage in.
func (t *tenant) hear(told *events.OrgContext, shared *contexts) {
	if !t.older(told) {
		return
	}
	t.newContext = append([]byte{contextFormat}, events.Encode(told)...)
	t.Context = shared.compile(t.id, t.newContext[1:], told)
}

func newTenants(shared *contexts) *tenants {
	return &tenants{contexts: shared, known: map[string]*tenant{}}
}

// get is the tenant of an event, as the batch has it.
func (l *tenants) get(id string) *tenant {
	t := l.known[id]
	if t == nil {
		t = &tenant{id: strings.Clone(id)}
		l.known[t.id] = t
	}
	if !t.touched {
		t.touched = true
		l.touched = append(l.touched, t)
	}
	return t
}

// state returns what a batch has changed.
func (l *tenants) state() []stream.KeyValue {
	var list []stream.KeyValue
	for _, t := range l.touched {
		if t.newContext != nil {
			list = append(list, stream.KeyValue{Key: []byte(events.Key(t.id, "")), Value: t.newContext})
		}
		// A breaker that was reset to nothing is deleted.
		if t.newBreaker = t.Breaker.AppendBinary(nil); !bytes.Equal(t.newBreaker, t.breaker) {
			list = append(list, stream.KeyValue{Key: []byte(events.Key(t.id, breakerKey)), Value: t.newBreaker})
		}
	}
	return list
}

func (l *tenants) commit() {
	for _, t := range l.touched {
		if t.newContext != nil {
			t.context = t.newContext
		}
		t.touched, t.breaker, t.newContext, t.newBreaker = false, t.newBreaker, nil, nil
	}
	l.touched = l.touched[:0]
}

// of splits a state key; ok is false for a user's.
func (l *tenants) of(key []byte) (id string, breaker, ok bool) {
	tenant, rest, found := strings.Cut(string(key), "/")
	return tenant, rest == breakerKey, found && (rest == "" || rest == breakerKey)
}

// encode returns the committed state of a key of ours.
func (l *tenants) encode(id string, breaker bool) []byte {
	t := l.known[id]
	switch {
	case t == nil:
		return nil
	case breaker:
		return t.breaker
	}
	return t.context
}

// restore takes a record back.
func (l *tenants) restore(id string, breaker bool, payload []byte) error {
	t := l.known[id]
	if t == nil {
		t = &tenant{id: id}
		l.known[id] = t
	}
	if breaker {
		b, err := policy.DecodeBreaker(payload)
		if err != nil {
			return fmt.Errorf("breaker of tenant %q: %w", id, err)
		}
		t.Breaker, t.breaker = b, bytes.Clone(payload)
		return nil
	}
	if len(payload) == 0 {
		t.Context, t.context = nil, nil
		return nil
	}
	if payload[0] != contextFormat {
		return fmt.Errorf("tenant %q: %w: %d", id, ErrContextFormat, payload[0])
	}
	t.context = bytes.Clone(payload)
	var err error
	if t.Context, err = l.contexts.decode(id, t.context[1:]); err != nil {
		return fmt.Errorf("context of tenant %q: %w", id, err)
	}
	return nil
}

// contexts are the contexts in use, one a tenant: the partitions of a process, which are all told the same, share it. It is
// safe for concurrent use.
type contexts struct {
	mu    sync.Mutex
	known map[string]shared
}

type shared struct {
	encoded []byte
	context *org.Context
}

func newContexts() *contexts { return &contexts{known: map[string]shared{}} }

// compile prepares a context, or finds that it was.
func (c *contexts) compile(tenant string, encoded []byte, told *events.OrgContext) *org.Context {
	context, _ := c.share(tenant, encoded, func() (*org.Context, error) { return org.NewContext(told), nil })
	return context
}

func (c *contexts) decode(tenant string, encoded []byte) (*org.Context, error) {
	return c.share(tenant, encoded, func() (*org.Context, error) {
		told := new(events.OrgContext)
		if err := easyjson.Unmarshal(encoded, told); err != nil {
			return nil, err
		}
		return org.NewContext(told), nil
	})
}

func (c *contexts) share(tenant string, encoded []byte, build func() (*org.Context, error)) (*org.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.known[tenant]; ok && bytes.Equal(s.encoded, encoded) {
		return s.context, nil
	}
	context, err := build()
	if err == nil {
		c.known[strings.Clone(tenant)] = shared{slices.Clone(encoded), context}
	}
	return context, err
}
