package history

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// stored is a record with its place in the order.
type stored struct {
	cursor report.Cursor
	raw    json.RawMessage
}

func (s stored) place() report.Cursor { return s.cursor }

// Findings answers with one page of findings, newest first. Paging with the cursor of each page shows every finding
// once that was there at the start.
func (s *Store) Findings(ctx context.Context, q report.FindingQuery) (report.FindingPage, error) {
	list, err := s.findings(ctx, q)
	if err != nil {
		return report.FindingPage{}, err
	}
	list, next := page(list, q.Limit, stored.place)
	answer := report.FindingPage{Next: next, Findings: make([]json.RawMessage, len(list))}
	for i, f := range list {
		answer.Findings[i] = f.raw
	}
	return answer, nil
}

// findings reads up to q.Limit+1 findings.
func (s *Store) findings(ctx context.Context, q report.FindingQuery) ([]stored, error) {
	where := within(q.Scope).
		during("time", q.Span).
		equal("user_id", "user", q.User).
		equal("detection", "detection", q.Detection).
		equal("disposition", "disposition", string(q.Disposition)).
		equal("session_id", "session", q.Session).
		equal("country", "country", q.Country).
		equal("app_id", "app", q.App).
		addresses("ip", q.Addresses).
		triaged(q).
		after("time", hexID, q.After)
	if len(q.Severity) > 0 {
		severities := make([]string, len(q.Severity))
		for i, v := range q.Severity {
			severities[i] = string(v)
		}
		where.and("severity IN {severities:Array(String)}", named("severities", severities))
	}
	return s.records(ctx, `SELECT toUnixTimestamp64Milli(time), `+hexID+`, raw
FROM ${database}.findings FINAL
WHERE `+where.String()+`
ORDER BY time DESC, id DESC
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(q.Limit+1))))
}

// Finding answers with one finding as it is on the log.
func (s *Store) Finding(ctx context.Context, scope report.Scope, id string) (json.RawMessage, error) {
	if _, err := hash("id", id); err != nil {
		return nil, report.ErrNotFound
	}
	where := within(scope).and("id = toFixedString(unhex({id:String}), 16)", named("id", id))
	list, err := s.records(ctx, `SELECT toUnixTimestamp64Milli(time), `+hexID+`, raw
FROM ${database}.findings
WHERE `+where.String()+`
ORDER BY logged DESC
LIMIT 1`, where.with())
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, report.ErrNotFound
	}
	return list[0].raw, nil
}

// records runs a query for time, id and record.
func (s *Store) records(ctx context.Context, query string, args []any) ([]stored, error) {
	var list []stored
	err := s.rows(ctx, query, args, func(r rowScanner) error {
		var at int64
		var id, raw string
		if err := r.Scan(&at, &id, &raw); err != nil {
			return err
		}
		list = append(list, stored{report.Cursor{Time: millis(at), ID: id}, json.RawMessage(raw)})
		return nil
	})
	return list, err
}

// Timeline answers with one page of what happened to a user: events, findings, requirements and receipts, newest first, or
// those kinds of them that are asked for.
func (s *Store) Timeline(ctx context.Context, q report.TimelineQuery) (report.Timeline, error) {
	scope := q.Scope.Narrow(q.Tenant)
	var entries []report.Entry
	for _, part := range []struct {
		kind string
		read func(context.Context, report.Scope, report.TimelineQuery) ([]report.Entry, error)
	}{
		{report.EntryEvent, s.eventEntries},
		{report.EntryFinding, s.findingEntries},
		{report.EntryRequirement, s.requirementEntries},
		{report.EntryReceipt, s.receiptEntries},
	} {
		if len(q.Kinds) > 0 && !slices.Contains(q.Kinds, part.kind) {
			continue
		}
		list, err := part.read(ctx, scope, q)
		if err != nil {
			return report.Timeline{}, err
		}
		entries = append(entries, list...)
	}
	sortEntries(entries)
	entries, next := page(entries, q.Limit, func(e report.Entry) report.Cursor { return report.Cursor{Time: e.Time, ID: e.ID} })
	return report.Timeline{Entries: entries, Next: next}, nil
}

// Each of these reads up to q.Limit+1 entries of one kind.

func (s *Store) eventEntries(ctx context.Context, scope report.Scope, q report.TimelineQuery) ([]report.Entry, error) {
	list, err := s.userEvents(ctx, scope, q)
	entries := make([]report.Entry, len(list))
	for i, e := range list {
		entries[i] = report.Entry{Kind: report.EntryEvent, Time: e.cursor.Time, ID: e.cursor.ID, Event: e.raw}
	}
	return entries, err
}

func (s *Store) findingEntries(ctx context.Context, scope report.Scope, q report.TimelineQuery) ([]report.Entry, error) {
	list, err := s.findings(ctx, report.FindingQuery{Scope: scope, User: q.User, Span: q.Span, After: q.After, Limit: q.Limit})
	entries := make([]report.Entry, len(list))
	for i, f := range list {
		entries[i] = report.Entry{Kind: report.EntryFinding, Time: f.cursor.Time, ID: f.cursor.ID, Finding: f.raw}
	}
	return entries, err
}

func (s *Store) requirementEntries(ctx context.Context, scope report.Scope, q report.TimelineQuery) ([]report.Entry, error) {
	list, err := s.requirements(ctx, report.RequirementQuery{
		Scope: scope, User: q.User, Span: q.Span, After: q.After, Limit: q.Limit, Now: q.Now,
	})
	entries := make([]report.Entry, len(list))
	for i := range list {
		r := &list[i]
		entries[i] = report.Entry{Kind: report.EntryRequirement, Time: r.NotBefore, ID: r.ID, Requirement: r}
	}
	return entries, err
}

func (s *Store) receiptEntries(ctx context.Context, scope report.Scope, q report.TimelineQuery) ([]report.Entry, error) {
	list, err := s.userReceipts(ctx, scope, q)
	entries := make([]report.Entry, len(list))
	for i := range list {
		r := &list[i]
		entries[i] = report.Entry{Kind: report.EntryReceipt, Time: r.Time, ID: r.ID, Receipt: r}
	}
	return entries, err
}

// userEvents reads without FINAL: a user's rows are one range of the sort key, and repeats meet in LIMIT BY.
func (s *Store) userEvents(ctx context.Context, scope report.Scope, q report.TimelineQuery) ([]stored, error) {
	where := within(scope).equal("user_id", "user", q.User).during("time", q.Span).after("time", hexID, q.After)
	return s.records(ctx, `SELECT toUnixTimestamp64Milli(time), `+hexID+`, raw
FROM ${database}.events
WHERE `+where.String()+`
ORDER BY time DESC, id DESC, logged DESC
LIMIT 1 BY time, id
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(q.Limit+1))))
}

func (s *Store) userReceipts(ctx context.Context, scope report.Scope, q report.TimelineQuery) ([]events.Receipt, error) {
	where := within(scope).equal("user_id", "user", q.User).during("time", q.Span).after("time", "id", q.After)
	return s.selectReceipts(ctx, where, `ORDER BY time DESC, id DESC
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(q.Limit+1))))
}

// selectReceipts reads receipts; rest is what follows the condition.
func (s *Store) selectReceipts(ctx context.Context, where *conditions, rest string, args []any) ([]events.Receipt, error) {
	var list []events.Receipt
	err := s.rows(ctx, `SELECT toUnixTimestamp64Milli(time), id, tenant, user_id, session_id, requirement, jti, app, status
FROM ${database}.receipts FINAL
WHERE `+where.String()+`
`+rest, args, func(r rowScanner) error {
		var at int64
		var status string
		var e events.Receipt
		if err := r.Scan(&at, &e.ID, &e.Tenant, &e.User, &e.Session, &e.Requirement, &e.JTI, &e.App, &status); err != nil {
			return err
		}
		e.Time, e.Status = millis(at), events.ReceiptStatus(status)
		list = append(list, e)
		return nil
	})
	return list, err
}
