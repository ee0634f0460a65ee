package act

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// memoryLog is one partition of the revocations, and what was published.
type memoryLog struct {
	mu        sync.Mutex
	records   []stream.Record
	published map[string][]stream.Record
	fail      error // of every publication
}

func (l *memoryLog) Consume(context.Context, stream.ConsumerConfig, func(context.Context, int, []stream.Record) error) error {
	return errors.New("tests hand in batches themselves")
}

func (l *memoryLog) Ends(context.Context, string) (first, end []int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return []int64{0}, []int64{int64(len(l.records))}, nil
}

func (l *memoryLog) ReadRange(_ context.Context, _ string, _ int, from, to int64, fn func(stream.Record) error) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records[from:to] {
		if err := fn(r); err != nil {
			return from, err
		}
	}
	return to, nil
}

func (l *memoryLog) Publish(_ context.Context, topic string, records []stream.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	if l.published == nil {
		l.published = map[string][]stream.Record{}
	}
	l.published[topic] = append(l.published[topic], records...)
	return nil
}

// add appends what became of a requirement.
func (l *memoryLog) add(c *revocation.Claims) stream.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := stream.Record{
		Topic: events.TopicRevocations, Offset: int64(len(l.records)), Time: time.Now(),
		Key: []byte(revocation.Key(c.Tenant, c.User, c.ID)), Value: c.Encode(),
	}
	l.records = append(l.records, r)
	return r
}

func (l *memoryLog) receipts(t *testing.T) (list []events.Receipt) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.published[events.TopicReceipts] {
		receipt, err := events.DecodeReceipt(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		if err := receipt.Validate(); err != nil {
			t.Errorf("%s: %v", r.Value, err)
		}
		list = append(list, *receipt)
	}
	return list
}

func (l *memoryLog) letters(t *testing.T) (list []events.DeadLetter) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.published[events.TopicDeadLetter] {
		d, err := events.DecodeDeadLetter(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, *d)
	}
	return list
}

// Load hands in what was published.
func (l *memoryLog) Load(_ context.Context, topic string, fn func(stream.Record) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.published[topic] {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// scripted is a source that answers as a function of the user says, and writes down what it was asked.
type scripted struct {
	mu     sync.Mutex
	answer func(user string, try int) error
	asked  []string
	times  []time.Time
	tries  map[string]int
}

func (s *scripted) request(c *revocation.Claims) (request, error) {
	if c.User == "nobody" {
		return request{}, errors.New("is no user")
	}
	return request{method: "POST", address: c.User, id: c.ID}, nil
}

func (s *scripted) send(_ context.Context, r request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tries == nil {
		s.tries = map[string]int{}
	}
	s.tries[r.address]++
	s.asked, s.times = append(s.asked, r.address+" "+r.id), append(s.times, time.Now())
	if s.answer == nil {
		return nil
	}
	return s.answer(r.address, s.tries[r.address])
}

func (s *scripted) check(context.Context) (string, error) { return "", nil }

func (s *scripted) receipt() (string, events.ReceiptStatus) { return "graph", events.Revoked }

func (s *scripted) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// world is an action with its log and source.
type world struct {
	*memoryLog
	source *scripted
	action *action
	logs   *observer.ObservedLogs
}

func newWorld(t *testing.T, change func(*ActionConfig)) *world {
	t.Helper()
	cfg := ActionConfig{
		Name: "end", Kind: GraphRevoke, Mode: On, Account: "a",
		Match: Match{Tenants: []string{"acme"}, Actions: []events.Action{events.RevokeAll}, Severity: events.High},
	}
	if change != nil {
		change(&cfg)
	}
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.InfoLevel)
	w := &world{memoryLog: &memoryLog{}, source: &scripted{}, logs: logs}
	limits := DefaultConfig()
	w.action = newAction(&limits, cfg.withDefaults(), w.source, Deps{Log: w.memoryLog, Publisher: w.memoryLog, Logger: zap.New(core)}, m)
	return w
}

// required is an open requirement that the world's action matches.
func required(user string, n int) *revocation.Claims {
	now := time.Now().Unix()
	return &revocation.Claims{
		Issuer: revocation.DefaultIssuer, IssuedAt: now, JTI: fmt.Sprintf("jti-%s-%d", user, n), Tenant: "acme", User: user, Status: revocation.Open,
		Requirement: revocation.Requirement{
			ID: fmt.Sprintf("r%d", n), Action: events.RevokeAll, NotBefore: now, Expires: now + 48*3600, Severity: events.Critical,
			Policy: "stolen-session", PolicyVersion: "1", EventID: fmt.Sprintf("e-%s-%d", user, n), EventTime: now, ReasonAdmin: "A session was stolen.",
		},
	}
}

// ended is a requirement after it ended.
func ended(c *revocation.Claims, status revocation.Status) *revocation.Claims {
	d := *c
	d.Status, d.ClosedAt = status, time.Now().Unix()
	return &d
}
