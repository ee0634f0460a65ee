package act

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// letterSource begins the source of the dead letters of an action; its name follows.
const letterSource = "act/"

// letter gives a requirement up: it becomes a dead letter, which a person can replay. Its id comes from where the record
// is, so that a repeat is the same letter. An action that only observes writes none.
func (a *action) letter(ctx context.Context, r *stream.Record, outcome string, cause error) error {
	if a.cfg.Mode != On {
		a.metrics.outcomes.WithLabelValues(a.cfg.Name, outcome).Inc()
		return nil
	}
	from := letterSource + a.cfg.Name
	d := &events.DeadLetter{
		ID:     events.ID("dead_letter", from, r.Topic, strconv.Itoa(r.Partition), strconv.FormatInt(r.Offset, 10)),
		Time:   events.MillisOf(time.Now()),
		Source: from, Stage: "courier", Reason: fmt.Sprintf("%.500s", strings.ToValidUTF8(cause.Error(), "")),
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		Bytes: bytes.Clone(r.Value[:min(len(r.Value), revocation.MaxClaims)]), Size: len(r.Value),
	}
	record := stream.Record{Key: []byte(from), Value: events.Encode(d)}
	if err := a.deps.Publisher.Publish(ctx, events.TopicDeadLetter, []stream.Record{record}); err != nil {
		return fmt.Errorf("publishing a dead letter: %w", err)
	}
	a.metrics.outcomes.WithLabelValues(a.cfg.Name, outcome).Inc()
	return nil
}

// Letters reads a topic as a whole.
type Letters interface {
	Load(ctx context.Context, topic string, fn func(stream.Record) error) error
}

// maxLetters is how many dead letters are listed: the newest.
const maxLetters = 10_000

// ReadLetters returns the dead letters of an action since a time, oldest first; name "" is all actions.
func ReadLetters(ctx context.Context, log Letters, name string, since time.Time) ([]events.DeadLetter, error) {
	var list []events.DeadLetter
	seen := map[string]bool{}
	err := log.Load(ctx, events.TopicDeadLetter, func(r stream.Record) error {
		of, ours := strings.CutPrefix(string(r.Key), letterSource)
		if !ours || name != "" && of != name {
			return nil
		}
		d, err := events.DecodeDeadLetter(bytes.Clone(r.Value))
		if err != nil || d.Time < events.MillisOf(since) || seen[d.ID] {
			return nil //nolint:nilerr // not one of ours
		}
		seen[d.ID] = true
		if list = append(list, *d); len(list) > maxLetters {
			delete(seen, list[0].ID)
			list = list[1:]
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", events.TopicDeadLetter, err)
	}
	slices.SortStableFunc(list, func(a, b events.DeadLetter) int { return cmp.Compare(a.Time, b.Time) })
	return list, nil
}

// ErrOver is returned by [Runner.Replay] for a requirement that has ended since.
var ErrOver = errors.New("the requirement has ended, nothing is done")

// Replay acts on one dead letter now, once, under the action's breaker and whatever its age. The action must be on and
// still match.
func (r *Runner) Replay(ctx context.Context, d *events.DeadLetter) error {
	name, ours := strings.CutPrefix(d.Source, letterSource)
	i := slices.IndexFunc(r.actions, func(a *action) bool { return a.cfg.Name == name })
	if !ours || i < 0 || r.actions[i].cfg.Mode != On {
		return fmt.Errorf("no action %.60q is on", name)
	}
	a := r.actions[i]
	c, err := revocation.ParseClaims(d.Bytes)
	if err != nil {
		return err
	}
	if !a.cfg.Match.meets(&c) {
		return fmt.Errorf("action %s does not match the requirement any more", name)
	}
	req, err := a.source.request(&c)
	if err != nil {
		return err
	}
	if _, err := a.admit(ctx, c.Tenant); err != nil {
		return err
	}
	record := stream.Record{
		Topic: d.Topic, Partition: d.Partition, Offset: d.Offset, Key: []byte(revocation.Key(c.Tenant, c.User, c.ID)), Value: d.Bytes,
	}
	if c.Status == revocation.Open {
		closed, err := newOutlook(a.deps.Log, d.Partition, []stream.Record{record}).closed(ctx, &record, time.Now())
		if err != nil {
			return err
		}
		if closed || time.Now().Unix() >= c.Expires {
			return ErrOver
		}
	}
	if err := a.source.send(ctx, req); err != nil {
		return err
	}
	return a.succeed(ctx, &job{&record, c}, a.cause(&c))
}
