package detector

import (
	"bytes"
	"encoding/binary"
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
// "tenant/", which changes once a day, and the rest under another, which changes with many events.
const restKey = "\x01rest"

// The first byte of both: of a context its JSON follows, of the rest what was heard, then the breaker.
const (
	contextFormat = 1
	restFormat    = 1
)

// ErrTenantFormat is returned for what belongs to a tenant and this version cannot read.
var ErrTenantFormat = errors.New("unknown format of a tenant's state, written by another version of countersign")

// heard is the last notice of the network stage that a partition has taken in, by life and number. Notices come in order,
// so one at or before it is a repeat: the stage died before it noted that it had told it. A stage that goes on with another
// version of its parameters may conclude otherwise from the sightings since its checkpoint, about a second's, under numbers that
// were heard: what it tells then is lost. State that is built anew from a log that begins later has a later life, so what it
// tells is heard from the first notice on.
type heard struct {
	life   events.Millis
	number uint64
}

// headerNotice is the header of an event that the network stage writes: life and number, 8 bytes each, big-endian.
const headerNotice = "countersign-notice"

func (h heard) header() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(h.life)), h.number)
}

// again tells whether a record is a repeat, and notes it. Events that others write, such as the reset of a breaker, have no
// number and are none.
func (h *heard) again(rec *stream.Record) bool {
	b := rec.Header(headerNotice)
	if len(b) != 16 {
		return false
	}
	now := heard{events.Millis(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:])}
	if now.life < h.life || now.life == h.life && now.number <= h.number {
		return true
	}
	*h = now
	return false
}

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
	heard   heard
	touched bool
	// As written last, nil when never, and as the batch will write it.
	context, rest       []byte
	newContext, newRest []byte
}

func newTenants(shared *contexts) *tenants {
	return &tenants{contexts: shared, known: map[string]*tenant{}}
}

// tenant is a tenant, made when it is new. A context that it is told is kept as it will be written, and shared.
func (l *tenants) tenant(id string) *tenant {
	t := l.known[id]
	if t == nil {
		t = &tenant{id: strings.Clone(id)}
		t.prepare = func(told *events.OrgContext) *org.Context {
			t.newContext = append([]byte{contextFormat}, events.Encode(told)...)
			return l.contexts.compile(t.id, t.newContext[1:], told)
		}
		l.known[t.id] = t
	}
	return t
}

// get is the tenant of an event, as the batch has it.
func (l *tenants) get(id string) *tenant {
	t := l.tenant(id)
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
		if t.newRest = t.appendRest(nil); !bytes.Equal(t.newRest, t.rest) {
			list = append(list, stream.KeyValue{Key: []byte(events.Key(t.id, restKey)), Value: t.newRest})
		}
	}
	return list
}

func (l *tenants) commit() {
	for _, t := range l.touched {
		if t.newContext != nil {
			t.context = t.newContext
		}
		t.touched, t.rest, t.newContext, t.newRest = false, t.newRest, nil, nil
	}
	l.touched = l.touched[:0]
}

// tenantOf splits a state key; ok is false for a user's.
func tenantOf(key []byte) (id string, rest, ok bool) {
	at := bytes.IndexByte(key, '/')
	if at < 0 || len(key) > at+1 && string(key[at+1:]) != restKey {
		return "", false, false
	}
	return string(key[:at]), len(key) > at+1, true
}

// encode returns the committed state of a key of ours.
func (l *tenants) encode(id string, rest bool) []byte {
	t := l.known[id]
	switch {
	case t == nil:
		return nil
	case rest:
		return t.rest
	}
	return t.context
}

// restore takes a record back.
func (l *tenants) restore(id string, rest bool, payload []byte) error {
	t := l.tenant(id)
	if rest {
		if err := t.readRest(payload); err != nil {
			return fmt.Errorf("tenant %q: %w", id, err)
		}
		t.rest = bytes.Clone(payload)
		return nil
	}
	if len(payload) == 0 {
		t.Context, t.context = nil, nil
		return nil
	}
	if payload[0] != contextFormat {
		return fmt.Errorf("tenant %q: %w: %d", id, ErrTenantFormat, payload[0])
	}
	t.context = bytes.Clone(payload)
	var err error
	if t.Context, err = l.contexts.decode(id, t.context[1:]); err != nil {
		return fmt.Errorf("context of tenant %q: %w", id, err)
	}
	return nil
}

// appendRest appends what was heard and the breaker.
func (t *tenant) appendRest(b []byte) []byte {
	b = append(b, restFormat)
	b = binary.AppendVarint(b, int64(t.heard.life))
	b = binary.AppendUvarint(b, t.heard.number)
	return t.Breaker.AppendBinary(b)
}

func (t *tenant) readRest(b []byte) error {
	t.heard, t.Breaker = heard{}, policy.Breaker{}
	if len(b) == 0 {
		return nil
	}
	if b[0] != restFormat {
		return fmt.Errorf("%w: %d", ErrTenantFormat, b[0])
	}
	life, n := binary.Varint(b[1:])
	number, m := binary.Uvarint(b[1+max(0, n):])
	if n <= 0 || m <= 0 {
		return errors.New("reading what was heard: numbers are missing")
	}
	breaker, err := policy.DecodeBreaker(b[1+n+m:])
	if err != nil {
		return fmt.Errorf("reading a breaker: %w", err)
	}
	t.heard, t.Breaker = heard{events.Millis(life), number}, breaker
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
