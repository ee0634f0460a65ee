package archiver

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/stream"
)

// maxLetterBytes is the most that a dead letter carries of its record: in base64, and with the rest of the letter, it
// must fit a record batch.
const maxLetterBytes = 512 << 10

// letter is the dead letter of a record. Its id comes from where the record is, so that a repeat is the same letter.
func letter(r *stream.Record, source, reason string) *events.DeadLetter {
	return &events.DeadLetter{
		ID:     events.ID("dead_letter", "archiver", r.Topic, strconv.Itoa(r.Partition), strconv.FormatInt(r.Offset, 10)),
		Time:   events.MillisOf(r.Time),
		Source: source, Stage: "archiver", Reason: reason,
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		Bytes: bytes.Clone(r.Value[:min(len(r.Value), maxLetterBytes)]), Size: len(r.Value),
	}
}

// letters gathers the dead letters of one batch.
type letters struct {
	a       *Archiver
	sink    *sink
	records []stream.Record
	reasons []string
}

func (l *letters) add(r *stream.Record, reason string, cause error) {
	d := letter(r, "archiver", fmt.Sprintf("%.500s", cause.Error()))
	l.records = append(l.records, stream.Record{Key: []byte(d.Source), Value: events.Encode(d)})
	l.reasons = append(l.reasons, reason)
}

// send publishes the letters one by one, each small enough for a batch. If that fails the partition waits: nothing
// disappears.
func (l *letters) send(ctx context.Context) error {
	for i := range l.records {
		if err := l.a.deps.Publisher.Publish(ctx, events.TopicDeadLetter, l.records[i:i+1]); err != nil {
			return fmt.Errorf("publishing a dead letter: %w", err)
		}
		l.a.metrics.deadLetters.WithLabelValues(string(l.sink.table), l.reasons[i]).Inc()
	}
	return nil
}

// maxRejected is how many rows of one batch may turn out to be at fault. More means that it is not the rows: a table
// that somebody changed, or a mistake of ours, must not turn the log into dead letters.
const maxRejected = 100

// salvage inserts a batch of which ClickHouse refused something: it finds the rows at fault by halving, sends them to
// the dead letters and keeps the rest.
func (a *Archiver) salvage(ctx context.Context, s *sink, r *rows, batch []stream.Record) error {
	dead := letters{a: a, sink: s}
	var search func(from, to int) error
	search = func(from, to int) error {
		part := r.block.Slice(from, to)
		newest := loggedAt(&batch[r.records[to-1]], time.Now())
		err := a.insert(ctx, s.table, newest, part)
		switch {
		case !isRejected(err):
			return err
		case to-from > 1:
			half := (from + to) / 2
			if err := search(from, half); err != nil {
				return err
			}
			return search(half, to)
		case len(dead.records) == maxRejected:
			return fmt.Errorf("more than %d of %d rows for %s are refused, the table may not be ours: %w", maxRejected, r.block.Len(), s.table, err)
		case s.table == history.TableDeadLetters:
			// It stays on its topic; a letter about it would come back here.
			a.metrics.deadLetters.WithLabelValues(string(s.table), reasonRejected).Inc()
			a.log.Error("dead letter refused by the history", zap.Int64("offset", batch[r.records[from]].Offset), zap.Error(err))
			return nil
		default:
			dead.add(&batch[r.records[from]], reasonRejected, err)
			return nil
		}
	}
	if err := search(0, r.block.Len()); err != nil {
		return err
	}
	return dead.send(ctx)
}
