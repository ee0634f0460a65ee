package api

import (
	"context"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

func (q *questions) PolicyRecords(_ context.Context, s report.Scope, _ report.Span, _ events.Millis) (map[string]report.PolicyRecord, error) {
	return q.records, q.asked(s)
}

func (q *questions) DeadLetters(_ context.Context, l report.LetterQuery) (report.LetterPage, error) {
	q.letterQuery = l
	return report.LetterPage{Letters: q.letters}, q.asked(report.Scope{All: true})
}

func (q *questions) DeadLetter(_ context.Context, id string) (*events.DeadLetter, error) {
	if err := q.asked(report.Scope{All: true}); err != nil {
		return nil, err
	}
	for i := range q.letters {
		if q.letters[i].ID == id {
			return &q.letters[i], nil
		}
	}
	return nil, report.ErrNotFound
}

func (q *questions) Newest(_ context.Context, s report.Scope) (events.Millis, error) {
	return q.newest, q.asked(s)
}
