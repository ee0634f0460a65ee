package notify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/outbound"
	"github.com/countersign-io/countersign/internal/stream"
)

// Of our dead letters: the stage, and how the source begins that names the target.
const (
	stage       = "courier"
	sourceStart = "alert:"
)

// bury writes the dead letter of a message. The bytes are the message, so that it can be sent again.
func (l *lead) bury(ctx context.Context, target string, m *Message, cause error) error {
	d := &events.DeadLetter{
		ID: events.ID("dead_letter", "alert", m.ID), Time: events.MillisOf(time.Now()), Source: sourceStart + target, Stage: stage,
		Reason: events.Cut(fmt.Sprintf("message %s: %v", m.ID, cause), 500), Bytes: encode(m),
	}
	d.Size = len(d.Bytes)
	if err := l.publish(ctx, events.TopicDeadLetter, []stream.Record{{Key: []byte(d.Source), Value: events.Encode(d)}}); err != nil {
		return err
	}
	l.n.log.Warn("message is not deliverable", zap.String("target", target), zap.String("message", m.ID), zap.NamedError("reason", cause))
	return nil
}

// Letter is a message that could not be delivered.
type Letter struct {
	// ID is the dead letter's.
	ID      string        `json:"id"`
	Time    events.Millis `json:"time"`
	Target  string        `json:"target"`
	Reason  string        `json:"reason"`
	Message Message       `json:"message"`
}

// Letters hands the messages among the dead letters to fn, each once; those of the same id are the same message. Unreadable
// ones are passed over.
func Letters(ctx context.Context, table *stream.Table, fn func(Letter) error) error {
	seen := map[string]bool{}
	err := table.Load(ctx, events.TopicDeadLetter, func(r stream.Record) error {
		if !bytes.HasPrefix(r.Key, []byte(sourceStart)) {
			return nil
		}
		letter, ok := letterOf(&r)
		if !ok || seen[letter.ID] {
			return nil
		}
		seen[letter.ID] = true
		return fn(letter)
	})
	if err != nil {
		return fmt.Errorf("reading dead letters: %w", err)
	}
	return nil
}

// letterOf reads a dead letter of ours. What is none, though its key says so, is somebody else's.
func letterOf(r *stream.Record) (Letter, bool) {
	d, err := events.DecodeDeadLetter(r.Value)
	if err != nil {
		return Letter{}, false
	}
	l := Letter{ID: d.ID, Time: d.Time, Target: strings.TrimPrefix(d.Source, sourceStart), Reason: d.Reason}
	return l, json.Unmarshal(d.Bytes, &l.Message) == nil
}

// Desk sends single messages, for operators.
type Desk struct {
	cfg     Config
	targets []*target
}

// OpenDesk validates cfg and reads the files that it names.
func OpenDesk(cfg Config) (*Desk, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	client, err := outbound.New(cfg.Outbound)
	if err != nil {
		return nil, fmt.Errorf("outbound.%w", err)
	}
	targets, err := openTargets(cfg, client)
	if err != nil {
		return nil, err
	}
	return &Desk{cfg, targets}, nil
}

// ErrNoTarget is in the error of a message to a target that is not configured.
var ErrNoTarget = errors.New("no such target is configured")

func (d *Desk) target(name string) (*target, error) {
	names := make([]string, len(d.targets))
	for i, t := range d.targets {
		if t.Name == name {
			return t, nil
		}
		names[i] = t.Name
	}
	return nil, fmt.Errorf("%w: %.60q, there are %.500s", ErrNoTarget, name, strings.Join(names, ", "))
}

// Targets is how many there are.
func (d *Desk) Targets() int { return len(d.targets) }

// Send sends a message to a target now, once.
func (d *Desk) Send(ctx context.Context, target string, m *Message) error {
	t, err := d.target(target)
	if err != nil {
		return err
	}
	return t.sender.send(ctx, m)
}

// Test sends a test message to a target now, once.
func (d *Desk) Test(ctx context.Context, target string, now time.Time) error {
	t, err := d.target(target)
	if err != nil {
		return err
	}
	templates, err := newTemplates(d.cfg)
	if err != nil {
		return err
	}
	m := testMessage(now)
	templates.write(&m, t.dialect)
	return t.sender.send(ctx, &m)
}

// Incidents reads the incidents that are held, oldest first.
func Incidents(ctx context.Context, table *stream.Table) ([]*incident.Incident, error) {
	kept, _, _, err := load(ctx, table)
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(kept), func(a, b *incident.Incident) int {
		return cmp.Or(cmp.Compare(a.Opened, b.Opened), cmp.Compare(a.ID, b.ID))
	}), nil
}
