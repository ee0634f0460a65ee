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
	list, err := s.erasures(ctx, report.Scope{All: true})
	if err != nil {
		return 0, err
	}
	var errs []error
	for i := range list {
		e := &list[i]
		for _, table := range slices.Sorted(maps.Keys(personal)) {
			rows, err := s.erase(ctx, table, e)
			remaining += rows
			errs = append(errs, err)
		}
	}
	return remaining, errors.Join(errs...)
}

// erasedRows are the rows of a table that an erasure concerns.
func erasedRows(table Table, e *report.Erasure) *conditions {
	return within(report.Scope{Tenants: []string{e.Tenant}}).equal("user_id", "user", e.User).
		and(personal[table]+" <= fromUnixTimestamp64Milli({before:Int64}, 'UTC')", named("before", int64(e.Before)))
}

// erase has the rows of one person deleted from one table, unless that is under way.
func (s *Store) erase(ctx context.Context, table Table, e *report.Erasure) (rows uint64, err error) {
	where := erasedRows(table, e)
	count := func(query string, args ...any) (n uint64, err error) {
		err = s.rows(ctx, query, args, func(r rowScanner) error { return r.Scan(&n) })
		return n, err
	}
	if rows, err = count("SELECT count() FROM ${database}."+string(table)+" WHERE "+where.String(), where.with()...); err != nil || rows == 0 {
		return rows, err
	}
	// A deletion in the background reaches the rows that were there when it was asked for. Another one, of the same table, is
	// waited for: it may be this one.
	busy, err := count("SELECT count() FROM system.mutations WHERE database = {database:String} AND table = {table:String} AND NOT is_done AND NOT is_killed",
		named("database", s.cfg.Database), named("table", string(table)))
	if err != nil || busy > 0 {
		return rows, err
	}
	// Mutations take no parameters: the condition is of literals, which are quoted here.
	condition := "tenant = " + literal(e.Tenant) + " AND user_id = " + literal(e.User) + " AND " + personal[table] +
		" <= fromUnixTimestamp64Milli(" + fmt.Sprint(int64(e.Before)) + ", 'UTC')"
	if err := s.Exec(ctx, "ALTER TABLE ${database}."+string(table)+" DELETE WHERE "+condition); err != nil {
		return rows, fmt.Errorf("erasing from %s: %w", table, err)
	}
	return rows, nil
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
	if err != nil {
		return nil, err
	}
	for i := range list {
		for _, table := range slices.Sorted(maps.Keys(personal)) {
			where := erasedRows(table, &list[i])
			err := s.rows(ctx, "SELECT count() FROM ${database}."+string(table)+" WHERE "+where.String(), where.with(), func(r rowScanner) error {
				var n uint64
				err := r.Scan(&n)
				list[i].Remaining += n
				return err
			})
			if err != nil {
				return nil, err
			}
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
