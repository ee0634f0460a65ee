package history

import (
	"context"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// DeadLetters answers with one page of dead letters, newest first, without their bytes. They belong to no tenant: whoever
// asks must be allowed to see all.
func (s *Store) DeadLetters(ctx context.Context, q report.LetterQuery) (report.LetterPage, error) {
	where := (&conditions{}).during("time", q.Span).
		equal("stage", "stage", q.Stage).
		equal("source", "source", q.Source).
		after("time", "id", q.After)
	list, err := s.selectLetters(ctx, `'' AS bytes`, "FINAL", where, `ORDER BY time DESC, id DESC
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(q.Limit+1))))
	if err != nil {
		return report.LetterPage{}, err
	}
	list, next := page(list, q.Limit, func(d events.DeadLetter) report.Cursor { return report.Cursor{Time: d.Time, ID: d.ID} })
	return report.LetterPage{Letters: list, Next: next}, nil
}

// DeadLetter answers with one dead letter, the newest when its id came again. It belongs to no tenant.
func (s *Store) DeadLetter(ctx context.Context, id string) (*events.DeadLetter, error) {
	// First where it is, then its bytes: those of other letters are not read.
	where := (&conditions{}).and(`(time, id) IN (SELECT time, id FROM ${database}.dead_letters WHERE id = {id:String} ORDER BY time DESC LIMIT 1)`,
		named("id", id))
	list, err := s.selectLetters(ctx, "bytes", "", where, `ORDER BY logged DESC
LIMIT 1`, where.with())
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, report.ErrNotFound
	}
	return &list[0], nil
}

// selectLetters reads dead letters; final is FINAL where each is wanted once, and rest is what follows the condition.
func (s *Store) selectLetters(ctx context.Context, content, final string, where *conditions, rest string, args []any) ([]events.DeadLetter, error) {
	var list []events.DeadLetter
	err := s.rows(ctx, `SELECT toUnixTimestamp64Milli(time), id, source, stage, reason, topic, partition, offset, line, size, format, `+content+`
FROM ${database}.dead_letters `+final+`
WHERE `+where.String()+`
`+rest, args, func(r rowScanner) error {
		var d events.DeadLetter
		var at, line int64
		var partition int32
		var size uint64
		var raw string
		if err := r.Scan(&at, &d.ID, &d.Source, &d.Stage, &d.Reason, &d.Topic, &partition, &d.Offset, &line, &size, &d.Format, &raw); err != nil {
			return err
		}
		d.Time, d.Partition, d.Line, d.Size, d.Bytes = millis(at), int(partition), int(line), int(size), []byte(raw)
		list = append(list, d)
		return nil
	})
	return list, err
}
