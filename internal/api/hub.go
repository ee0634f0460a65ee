package api

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// liveTopics are what the live feed shows.
var liveTopics = []string{events.TopicFindings, events.TopicRevocations, events.TopicReceipts, events.TopicMarks}

// recentMessages is how many messages a reader that comes back can catch up on.
const recentMessages = 1024

// hub fans the live feed out. Every reader has a bounded buffer, and one that is slower than the feed is let go: it
// comes back and catches up. So the log is read at its own pace, whoever listens.
type hub struct {
	boot    string // names the numbering, which ends with the process
	buffer  int
	limit   int // of readers, and of those of one principal
	each    int
	metrics *metrics
	seen    *recent // is told of findings and marks

	mu      sync.Mutex
	last    uint64
	recent  []*message // a ring: message n is at n % recentMessages
	readers map[*reader]struct{}
}

// message is one entry of the feed, as it is sent.
type message struct {
	number uint64
	tenant string
	frame  []byte
}

// reader is one connection.
type reader struct {
	owner hash // the paceKey of whose it is
	scope report.Scope
	out   chan *message // closed when the reader was let go
}

// Errors of join.
var (
	errTooManyReaders = errors.New("too many readers of the live feed")
	errTooManyOfOne   = errors.New("too many readers of the live feed of one principal")
)

func newHub(buffer, limit, each int, m *metrics, seen *recent) *hub {
	return &hub{
		boot: strings.ToLower(rand.Text()[:8]), buffer: buffer, limit: limit, each: each, metrics: m, seen: seen,
		recent: make([]*message, recentMessages), readers: map[*reader]struct{}{},
	}
}

// take reads a record of a live topic and sends it to everyone who may see it. What cannot be read is counted: the
// archiver makes it a dead letter.
func (h *hub) take(r *stream.Record) {
	if r.Value == nil {
		return // a deletion on a compacted topic
	}
	var kind, tenant string
	var body any
	switch r.Topic {
	case events.TopicFindings:
		f, err := events.DecodeFinding(r.Value)
		if err != nil || !events.ValidTenant(f.Tenant) {
			h.metrics.liveBad.Inc()
			return
		}
		h.seen.found(f)
		kind, tenant, body = "finding", f.Tenant, findingJSON(bytes.Clone(r.Value))
	case events.TopicRevocations:
		c, err := revocation.ParseClaims(r.Value)
		if err != nil {
			h.metrics.liveBad.Inc()
			return
		}
		requirement := report.RequirementOf(&c, nil)
		kind, tenant, body = "requirement", c.Tenant, &requirement
	case events.TopicReceipts:
		receipt, err := events.DecodeReceipt(r.Value)
		if err != nil || receipt.Validate() != nil {
			h.metrics.liveBad.Inc()
			return
		}
		kind, tenant, body = "receipt", receipt.Tenant, receipt
	case events.TopicMarks:
		m, err := events.DecodeMark(r.Value)
		if err != nil || m.Validate() != nil {
			h.metrics.liveBad.Inc()
			return
		}
		h.seen.see(m)
		kind, tenant, body = "mark", m.Tenant, m
	default:
		return
	}
	// Encoding makes one line of it, with nothing in it that could be markup.
	data, err := json.Marshal(body)
	if err != nil {
		h.metrics.liveBad.Inc()
		return
	}
	h.send(kind, tenant, data)
}

// send numbers a message and hands it to every reader that may see it, without waiting for any.
func (h *hub) send(kind, tenant string, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	m := &message{number: h.last, tenant: tenant, frame: fmt.Appendf(nil, "id: %s-%d\nevent: %s\ndata: %s\n\n", h.boot, h.last, kind, data)}
	h.recent[m.number%recentMessages] = m
	h.metrics.liveSent.Inc()
	for r := range h.readers {
		if !r.scope.Allows(tenant) {
			continue
		}
		select {
		case r.out <- m:
		default:
			h.metrics.liveDropped.Inc()
			h.remove(r)
		}
	}
}

// start is what a reader gets first.
type start struct {
	// frame says how far the reader is, or that it has to ask the REST interface for what it shows.
	frame []byte
	// missed is what it has to catch up on, after frame.
	missed []*message
}

// join adds a reader of owner, which has all up to lastID; "" is a new one.
func (h *hub) join(owner hash, scope report.Scope, lastID string) (*reader, start, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.readers) >= h.limit {
		return nil, start{}, errTooManyReaders
	}
	own := 0
	for r := range h.readers {
		if r.owner == owner {
			own++
		}
	}
	if own >= h.each {
		return nil, start{}, errTooManyOfOne
	}
	r := &reader{owner: owner, scope: scope, out: make(chan *message, h.buffer)}
	h.readers[r] = struct{}{}
	h.metrics.liveClients.Set(float64(len(h.readers)))
	const retry = "retry: 2000\n" // milliseconds
	if lastID == "" {
		return r, start{frame: fmt.Appendf(nil, retry+"id: %s-%d\n\n", h.boot, h.last)}, nil
	}
	boot, text, _ := strings.Cut(lastID, "-")
	number, err := strconv.ParseUint(text, 10, 64)
	if boot != h.boot || err != nil || number > h.last || h.last-number > recentMessages {
		return r, start{frame: fmt.Appendf(nil, retry+"id: %s-%d\nevent: reset\ndata: {}\n\n", h.boot, h.last)}, nil
	}
	// Its own id once more: a later one would lose what is missed when the connection breaks now.
	s := start{frame: fmt.Appendf(nil, retry+"id: %s-%d\n\n", h.boot, number)}
	for n := number + 1; n <= h.last; n++ {
		if m := h.recent[n%recentMessages]; scope.Allows(m.tenant) {
			s.missed = append(s.missed, m)
		}
	}
	return r, s, nil
}

// quiet is a comment for a reader that has been sent all that it took from out. It says how far the reader is: without, one
// that sees few of the messages would come back with an id that is long gone.
func (h *hub) quiet(r *reader) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(r.out) > 0 {
		return []byte(": quiet\n\n")
	}
	return fmt.Appendf(nil, ": quiet\nid: %s-%d\n\n", h.boot, h.last)
}

func (h *hub) leave(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(r)
}

// remove is for callers that hold mu.
func (h *hub) remove(r *reader) {
	if _, ok := h.readers[r]; !ok {
		return
	}
	delete(h.readers, r)
	close(r.out)
	h.metrics.liveClients.Set(float64(len(h.readers)))
}
