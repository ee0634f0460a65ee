package detector

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// processor folds one partition. Committed users are kept encoded: decoding one is what makes the copy that a batch
// works on, a commit is a swap of slices, and the collector has nothing to walk.
type processor struct {
	rules   Rules
	metrics *metrics
	users   map[string]*entry
	tenants *tenants
	// live, when set, are the policies in force: those of rules are replaced at the beginning of a batch.
	live   *policies
	log    *zap.Logger
	toldOf toldOf

	// The batch in hand.
	touched []touch
	event   events.Event
	result  stream.Result
	letters []stream.Record
	found   []stream.Record
	changed []stream.Record
	seen    []stream.Record
	scratch []byte
}

// entry is one user: the committed state, nil when there is none, and in a batch that touches the user where in touched,
// from 1.
type entry struct {
	state []byte
	touch int
}

// touch is a user in the batch in hand: the copy that is worked on, and what it was encoded to.
type touch struct {
	entry *entry
	key   []byte // a record's
	user  *User
	state []byte
	// bound is set when the event changed the tenant as well: the records of both are written together.
	bound bool
	// erased is set while nothing is known of the user since an erasure.
	erased bool
}

var (
	_ stream.Processor = (*processor)(nil)
	_ stream.Rewriter  = (*processor)(nil)
)

func newProcessor(rules Rules, m *metrics, shared *contexts) *processor {
	return &processor{rules: rules, metrics: m, users: map[string]*entry{}, tenants: newTenants(shared), log: zap.NewNop()}
}

// Restore keeps one user, or what belongs to a tenant. A user is decoded when an event asks for it, so that a restore is as
// fast as reading.
func (p *processor) Restore(key, payload []byte) error {
	if tenant, rest, ok := tenantOf(key); ok {
		return p.tenants.restore(tenant, rest, payload)
	}
	if payload == nil {
		delete(p.users, string(key))
		return nil
	}
	if payload[0] != userFormat {
		return fmt.Errorf("user %q: %w: %d", key, ErrUserFormat, payload[0])
	}
	p.users[string(key)] = &entry{state: bytes.Clone(payload)}
	return nil
}

// Process folds a batch over copies of the users in it.
func (p *processor) Process(ctx context.Context, batch []stream.Record) (stream.Result, error) {
	p.letters, p.found, p.changed, p.seen = p.letters[:0], p.found[:0], p.changed[:0], p.seen[:0]
	p.result.State, p.result.Outputs, p.result.Together = p.result.State[:0], p.result.Outputs[:0], 0
	if p.live != nil {
		p.rules.Policies = p.live.current.Load()
	}
	for i := range batch {
		if i%256 == 255 && ctx.Err() != nil {
			return stream.Result{}, ctx.Err()
		}
		if err := p.fold(&batch[i]); err != nil {
			return stream.Result{}, err
		}
	}
	p.metrics.latency(p.event.Ingested)
	p.encode()
	for _, o := range []stream.Output{
		{Topic: events.TopicDeadLetter, Records: p.letters},
		{Topic: events.TopicFindings, Records: p.found},
		{Topic: events.TopicRevocations, Records: p.changed},
		{Topic: events.TopicSightings, Records: p.seen, Rekeyed: true},
	} {
		if len(o.Records) > 0 {
			p.result.Outputs = append(p.result.Outputs, o)
		}
	}
	return p.result, nil
}

// encode makes the batch's state: users, then those whose events changed their tenants, then the tenants. These belong
// together: of a breaker and what it let pass a crash must not keep one.
func (p *processor) encode() {
	for _, bound := range [...]bool{false, true} {
		for i := range p.touched {
			t := &p.touched[i]
			if t.bound != bound {
				continue
			}
			if t.erased {
				t.state = nil
			} else {
				p.scratch = t.user.AppendBinary(p.scratch[:0])
				t.state = bytes.Clone(p.scratch)
			}
			p.result.State = append(p.result.State, stream.KeyValue{Key: t.key, Value: t.state})
			if bound {
				p.result.Together++
			}
		}
	}
	tenants := p.tenants.state()
	p.result.State = append(p.result.State, tenants...)
	p.result.Together += len(tenants)
}

// fold decides on one record.
func (p *processor) fold(rec *stream.Record) error {
	if rec.Misplaced {
		p.reject(rec, "misplaced", "its key belongs to another partition; produce with the murmur2 partitioner, see schemas/README.md")
		return nil
	}
	e := &p.event
	if err := events.DecodeInto(rec.Value, e); err != nil {
		p.reject(rec, "undecodable", err.Error())
		return nil
	}
	if err := e.Validate(); err != nil {
		p.reject(rec, "invalid", err.Error())
		return nil
	}
	if e.ID == "" || string(rec.Key) != e.Key() {
		p.reject(rec, "wrong_key", fmt.Sprintf("its key is %.80q, must be %.80q, and its id must not be empty", rec.Key, e.Key()))
		return nil
	}
	tenant := p.tenants.get(e.Tenant)
	if e.Kind.Internal() && tenant.heard.again(rec) {
		p.metrics.repeats.Inc()
		return nil
	}
	p.metrics.seen(e)
	if ofTenant(e) {
		p.rules.Fold(&tenant.Tenant, nil, e)
		return nil
	}
	touch, err := p.touch(rec.Key)
	if err != nil {
		return err
	}
	outcome := p.rules.Fold(&tenant.Tenant, touch.user, e)
	touch.bound = touch.bound || len(outcome.Changes) > 0 || outcome.Tripped != ""
	touch.erased = outcome.Erased
	for i := range outcome.Findings {
		f := &outcome.Findings[i]
		p.found = append(p.found, stream.Record{Key: rec.Key, Value: events.Encode(f), Offset: rec.Offset})
		p.metrics.findings.WithLabelValues(f.Detection, string(f.Severity), string(f.Disposition)).Inc()
	}
	for _, c := range outcome.Changes {
		p.changed = append(p.changed, record(c, rec.Offset))
		p.metrics.requirements.WithLabelValues(string(c.Claims.Action), string(c.Claims.Status)).Inc()
	}
	if m := outcome.Sighting; m != nil {
		m.Partition, m.Offset = rec.Partition, rec.Offset
		p.metrics.sighted.Inc()
		p.seen = append(p.seen, stream.Record{Key: []byte(m.Tenant), Value: events.Encode(m)})
	}
	p.tell(e, &outcome)
	return nil
}

// touch is the batch's copy of a user.
func (p *processor) touch(key []byte) (*touch, error) {
	known := p.users[string(key)]
	if known == nil {
		known = &entry{}
		p.users[string(key)] = known
	}
	if known.touch == 0 {
		user, err := DecodeUser(known.state)
		if err != nil {
			return nil, fmt.Errorf("user %q: %w", key, err)
		}
		p.touched = append(p.touched, touch{entry: known, key: key, user: user})
		known.touch = len(p.touched)
	}
	return &p.touched[known.touch-1], nil
}

func record(c revocation.Change, offset int64) stream.Record {
	return stream.Record{Key: []byte(c.Key), Value: c.Claims.Encode(), Offset: offset}
}

// reject keeps a record that cannot be decided on.
func (p *processor) reject(rec *stream.Record, kind, reason string) {
	p.metrics.rejected.WithLabelValues(kind).Inc()
	p.letters = append(p.letters, letter(rec, "detector", reason))
}

// letter is the dead letter of a record. Its time is the record's own, so that a replay writes the same bytes.
func letter(rec *stream.Record, stage, reason string) stream.Record {
	kept := rec.Value[:min(len(rec.Value), events.MaxRecord)]
	l := events.DeadLetter{
		ID:   events.ID("deadletter", rec.Topic, strconv.Itoa(rec.Partition), strconv.FormatInt(rec.Offset, 10)),
		Time: events.MillisOf(rec.Time), Source: rec.Topic, Stage: stage, Reason: reason,
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Bytes: kept, Size: len(rec.Value),
	}
	return stream.Record{Key: []byte(rec.Topic), Value: events.Encode(&l), Offset: rec.Offset}
}

// Commit makes the batch's users and tenants current.
func (p *processor) Commit() {
	for i := range p.touched {
		t := &p.touched[i]
		t.entry.state, t.entry.touch = t.state, 0
		if t.state == nil {
			delete(p.users, string(t.key))
		}
		*t = touch{}
	}
	p.touched = p.touched[:0]
	p.tenants.commit()
}

// Encode returns the committed state of a user, or of a tenant.
func (p *processor) Encode(key []byte) []byte {
	if tenant, rest, ok := tenantOf(key); ok {
		return p.tenants.encode(tenant, rest)
	}
	if known := p.users[string(key)]; known != nil {
		return known.state
	}
	return nil
}

// Current returns the newest record of a requirement, as the committed state has it. One that is not open any more is
// deleted: its subject must not be asked again because of a late write.
func (p *processor) Current(topic string, key []byte) (stream.Record, bool) {
	if topic != events.TopicRevocations {
		return stream.Record{}, false
	}
	user, requirement, ok := revocation.SplitKey(string(key))
	if !ok {
		return stream.Record{}, false
	}
	state, err := DecodeUser(p.Encode([]byte(user)))
	if err != nil {
		return stream.Record{}, false
	}
	change, ok := state.Requirements.Current(requirement)
	if !ok {
		return stream.Record{Key: key}, true
	}
	return record(change, 0), true
}
