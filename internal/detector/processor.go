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
	// live, when set, are the policies in force: those of rules are replaced at the beginning of a batch.
	live *policies
	log  *zap.Logger
	// toldOf is the version of the policies of which one was reported that cannot be evaluated.
	toldOf string

	// The batch in hand.
	touched []touch
	event   events.Event
	result  stream.Result
	letters []stream.Record
	found   []stream.Record
	changed []stream.Record
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
}

var (
	_ stream.Processor = (*processor)(nil)
	_ stream.Rewriter  = (*processor)(nil)
)

func newProcessor(rules Rules, m *metrics) *processor {
	return &processor{rules: rules, metrics: m, users: map[string]*entry{}, log: zap.NewNop()}
}

// Restore keeps one user. It is decoded when an event asks for it, so that a restore is as fast as reading.
func (p *processor) Restore(key, payload []byte) error {
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
	p.letters, p.found, p.changed = p.letters[:0], p.found[:0], p.changed[:0]
	p.result.State, p.result.Outputs = p.result.State[:0], p.result.Outputs[:0]
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
	for i := range p.touched {
		t := &p.touched[i]
		p.scratch = t.user.AppendBinary(p.scratch[:0])
		t.state = bytes.Clone(p.scratch)
		p.result.State = append(p.result.State, stream.KeyValue{Key: t.key, Value: t.state})
	}
	for _, o := range []stream.Output{
		{Topic: events.TopicDeadLetter, Records: p.letters},
		{Topic: events.TopicFindings, Records: p.found},
		{Topic: events.TopicRevocations, Records: p.changed},
	} {
		if len(o.Records) > 0 {
			p.result.Outputs = append(p.result.Outputs, o)
		}
	}
	return p.result, nil
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
	user, err := p.user(rec.Key)
	if err != nil {
		return err
	}
	outcome := p.rules.Fold(&Tenant{}, user, e)
	for i := range outcome.Findings {
		f := &outcome.Findings[i]
		p.found = append(p.found, stream.Record{Key: rec.Key, Value: events.Encode(f), Offset: rec.Offset})
		p.metrics.findings.WithLabelValues(f.Detection, string(f.Severity), string(f.Disposition)).Inc()
	}
	for _, c := range outcome.Changes {
		p.changed = append(p.changed, record(c, rec.Offset))
		p.metrics.requirements.WithLabelValues(string(c.Claims.Action), string(c.Claims.Status)).Inc()
	}
	p.tell(e, &outcome)
	p.metrics.seen(e)
	return nil
}

// user is the batch's copy of a user.
func (p *processor) user(key []byte) (*User, error) {
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
	return p.touched[known.touch-1].user, nil
}

func record(c revocation.Change, offset int64) stream.Record {
	return stream.Record{Key: []byte(c.Key), Value: c.Claims.Encode(), Offset: offset}
}

// reject keeps a record that cannot be decided on as a dead letter. Its time is the record's own, so that a replay
// writes the same bytes.
func (p *processor) reject(rec *stream.Record, kind, reason string) {
	p.metrics.rejected.WithLabelValues(kind).Inc()
	kept := rec.Value[:min(len(rec.Value), events.MaxRecord)]
	letter := events.DeadLetter{
		ID:   events.ID("deadletter", rec.Topic, strconv.Itoa(rec.Partition), strconv.FormatInt(rec.Offset, 10)),
		Time: events.MillisOf(rec.Time), Source: rec.Topic, Stage: "detector", Reason: reason,
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Bytes: kept, Size: len(rec.Value),
	}
	p.letters = append(p.letters, stream.Record{Key: []byte(rec.Topic), Value: events.Encode(&letter), Offset: rec.Offset})
}

// Commit makes the batch's users current.
func (p *processor) Commit() {
	for i := range p.touched {
		t := &p.touched[i]
		t.entry.state, t.entry.touch = t.state, 0
		*t = touch{}
	}
	p.touched = p.touched[:0]
}

// Encode returns the committed state of a user.
func (p *processor) Encode(key []byte) []byte {
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
