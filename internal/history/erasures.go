package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// TableErasures holds who was erased; it is no table of things that are asked for.
const TableErasures Table = "erasures"

// personal are the tables with rows of persons, each with the column of the row's own time. The audit is not among them: it
// must tell who looked at whom, and was erased, for as long as it is kept.
var personal = map[Table]string{
	TableEvents: "time", TableFindings: "time", TableRevocations: "not_before", TableReceipts: "time",
	// The comments on findings of before.
	TableMarks: "found",
	// What sums events up goes as a whole when an event of before is part of it.
	TableBySession: "first", TableByUser: "first", TableByPrefix: "first",
	// Incidents about the person; one of many users names some of them.
	TableAlerts: "since",
}

// entered are those of them that say exactly when a row entered the log: what was there before the erasure goes as well, though
// a source's clock that is ahead may call it later.
var entered = map[Table]bool{
	TableEvents: true, TableFindings: true, TableRevocations: true, TableReceipts: true, TableMarks: true, TableAlerts: true,
}

// past is the condition for a table's rows that an erasure reaches, by expressions for the two times up to which it does.
func past(table Table, row, until, logged string) string {
	condition := row + personal[table] + " <= " + until
	if entered[table] {
		condition = "(" + condition + " OR " + row + "logged <= " + logged + ")"
	}
	return condition
}

// Erasures is a block of rows for the table of erasures.
type Erasures struct {
	Block
	tenant, userID *values[string]
	before, logged *values[int64]
}

// NewErasures returns an empty block for erasures.
func NewErasures() *Erasures {
	b := &builder{layout: &layout{}}
	e := &Erasures{tenant: b.text("tenant"), userID: b.text("user_id"), before: b.moment("before"), logged: b.moment("logged")}
	e.Block = b.done(TableErasures)
	return e
}

// Append adds an event of the kind [events.Erasure]; see [Events.Append].
func (b *Erasures) Append(e *events.Event, logged time.Time) error {
	if err := moments("time", e.Time, "", 0); err != nil {
		return err
	}
	if !events.ValidTenant(e.Tenant) {
		return fmt.Errorf("tenant: is %.80q, which is no tenant", e.Tenant)
	}
	b.tenant.add(e.Tenant)
	b.userID.add(e.User.ID)
	b.before.add(int64(e.Time))
	b.logged.add(logged.UnixMilli())
	b.rows++
	return nil
}

// Erase deletes what is there of the persons in the table of erasures, up to their erasure. ClickHouse does it in the
// background, by writing the parts concerned anew: nil means that it was told to, and remaining counts the rows that are still
// there. It is to be called again from time to time: rows that come in later, such as those of a log that is read anew, are
// found by the next call.
func (s *Store) Erase(ctx context.Context) (remaining uint64, err error) {
	var errs []error
	for _, table := range slices.Sorted(maps.Keys(personal)) {
		rows, err := s.eraseFrom(ctx, table)
		remaining += rows
		errs = append(errs, err)
	}
	return remaining, errors.Join(errs...)
}

// maxErasedAtOnce bounds the persons in one deletion.
const maxErasedAtOnce = 100

// eraseFrom has the persons' rows deleted from one table, unless that is under way.
func (s *Store) eraseFrom(ctx context.Context, table Table) (rows uint64, err error) {
	var found []string
	err = s.toErase(ctx, table, report.Scope{All: true}, func(e *report.Erasure) {
		if rows += e.Remaining; len(found) < maxErasedAtOnce {
			found = append(found, erasedCondition(table, e))
		}
	})
	if err != nil {
		return 0, err
	}
	if len(found) == 0 {
		return 0, nil
	}
	// A deletion in the background reaches the rows that were there when it was asked for. Another one is waited for: it may
	// be this one.
	busy := false
	err = s.rows(ctx, "SELECT count() > 0 FROM "+s.cfg.system("mutations")+" WHERE database = {database:String} AND table = {table:String} AND NOT is_done",
		[]any{named("database", s.cfg.Database), named("table", s.cfg.local(table))}, func(r rowScanner) error { return r.Scan(&busy) })
	if err != nil || busy {
		return rows, err
	}
	if err := s.Exec(ctx, "ALTER TABLE ${database}."+s.cfg.local(table)+s.cfg.onCluster()+" DELETE WHERE "+strings.Join(found, " OR ")); err != nil {
		return rows, fmt.Errorf("erasing from %s: %w", table, err)
	}
	return rows, nil
}

// toErase tells of the persons who have rows in a table that are to go.
func (s *Store) toErase(ctx context.Context, table Table, scope report.Scope, tell func(*report.Erasure)) error {
	where := within(scope)
	return s.rows(ctx, `SELECT tenant, user_id, toUnixTimestamp64Milli(any(erased.until)), toUnixTimestamp64Milli(any(erased.accepted)), count()
FROM ${database}.`+string(table)+` AS t
INNER JOIN (SELECT tenant, user_id, max(before) AS until, max(logged) AS accepted FROM ${database}.erasures GROUP BY tenant, user_id) AS erased USING (tenant, user_id)
WHERE (tenant, user_id) IN (SELECT tenant, user_id FROM ${database}.erasures) AND `+past(table, "t.", "erased.until", "erased.accepted")+`
  AND `+where.String()+`
GROUP BY tenant, user_id`, where.with(), func(r rowScanner) error {
		var e report.Erasure
		var before, logged int64
		if err := r.Scan(&e.Tenant, &e.User, &before, &logged, &e.Remaining); err != nil {
			return err
		}
		e.Before, e.Logged = millis(before), millis(logged)
		tell(&e)
		return nil
	})
}

// erasedCondition names a person's rows in literals: a deletion takes no parameters.
func erasedCondition(table Table, e *report.Erasure) string {
	moment := func(at events.Millis) string { return fmt.Sprintf("fromUnixTimestamp64Milli(%d, 'UTC')", int64(at)) }
	return fmt.Sprintf("(tenant = %s AND user_id = %s AND %s)", literal(e.Tenant), literal(e.User), past(table, "", moment(e.Before), moment(e.Logged)))
}

// literal quotes text as a string of ClickHouse's SQL. Every byte that is no plain letter or digit is written by its number.
func literal(text string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for i := range len(text) {
		switch c := text[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02X`, c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// Erasures lists the persons that were erased, the newest first, with the rows that are still there.
func (s *Store) Erasures(ctx context.Context, scope report.Scope) ([]report.Erasure, error) {
	list, err := s.erasures(ctx, scope)
	if err != nil || len(list) == 0 {
		return list, err
	}
	for _, table := range slices.Sorted(maps.Keys(personal)) {
		err := s.toErase(ctx, table, scope, func(found *report.Erasure) {
			i := slices.IndexFunc(list, func(e report.Erasure) bool { return e.Tenant == found.Tenant && e.User == found.User })
			if i >= 0 {
				list[i].Remaining += found.Remaining
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// maxErasures is how many erasures are known at most: the newest.
const maxErasures = 1000

func (s *Store) erasures(ctx context.Context, scope report.Scope) ([]report.Erasure, error) {
	where := within(scope)
	list := []report.Erasure{}
	err := s.rows(ctx, `SELECT tenant, user_id, toUnixTimestamp64Milli(max(before)) AS newest, toUnixTimestamp64Milli(max(logged))
FROM ${database}.erasures
WHERE `+where.String()+`
GROUP BY tenant, user_id
ORDER BY newest DESC, tenant, user_id
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(maxErasures))), func(r rowScanner) error {
		var e report.Erasure
		var before, logged int64
		if err := r.Scan(&e.Tenant, &e.User, &before, &logged); err != nil {
			return err
		}
		e.Before, e.Logged = millis(before), millis(logged)
		list = append(list, e)
		return nil
	})
	return list, err
}
