package history

import (
	"net/netip"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// conditions builds a WHERE clause of constant pieces; values travel as parameters. It always starts with the tenants
// that may be seen, so that no question can be asked without them.
type conditions struct {
	pieces []string
	args   []any
}

func within(scope report.Scope) *conditions {
	c := &conditions{}
	if scope.All {
		c.and("tenant != ''")
	} else {
		c.and("tenant IN {tenants:Array(String)}", named("tenants", append([]string{}, scope.Tenants...)))
	}
	return c
}

func (c *conditions) and(piece string, args ...driver.NamedValue) *conditions {
	c.pieces = append(c.pieces, piece)
	for _, a := range args {
		c.args = append(c.args, a)
	}
	return c
}

// equal filters when a value is asked for. column and name are constants of this package.
func (c *conditions) equal(column, name, value string) *conditions {
	if value == "" {
		return c
	}
	return c.and(column+" = {"+name+":String}", named(name, value))
}

// addresses limits an address column to a network of them, which may be one alone; an invalid one does not filter.
func (c *conditions) addresses(column string, network netip.Prefix) *conditions {
	if !network.IsValid() {
		return c
	}
	network = network.Masked()
	last := network.Addr().AsSlice()
	for i := network.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 1 << (7 - i%8)
	}
	end, _ := netip.AddrFromSlice(last) // as long as the first
	return c.and(column+" >= toIPv6({first_ip:String}) AND "+column+" <= toIPv6({last_ip:String})",
		named("first_ip", network.Addr().String()), named("last_ip", end.String()))
}

// during limits a time column to a half-open span.
func (c *conditions) during(column string, span report.Span) *conditions {
	return c.and(column+" >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND "+column+" < fromUnixTimestamp64Milli({to:Int64}, 'UTC')",
		named("from", int64(span.From)), named("to", int64(span.To)))
}

// after goes on behind a cursor, in the order newest first.
func (c *conditions) after(timeColumn, idColumn string, cursor report.Cursor) *conditions {
	if cursor == (report.Cursor{}) {
		return c
	}
	at := "fromUnixTimestamp64Milli({after_time:Int64}, 'UTC')"
	return c.and(timeColumn+" <= "+at+" AND ("+timeColumn+" < "+at+" OR "+idColumn+" < {after_id:String})",
		named("after_time", int64(cursor.Time)), named("after_id", cursor.ID))
}

func (c *conditions) with(args ...driver.NamedValue) []any {
	all := append([]any{}, c.args...)
	for _, a := range args {
		all = append(all, a)
	}
	return all
}

func (c *conditions) String() string { return strings.Join(c.pieces, "\n  AND ") }

func named(name string, value any) driver.NamedValue { return clickhouse.Named(name, value) }

// hexID is a hash column as the id that people and cursors know; it has the order of the column.
const hexID = "lower(hex(id))"

// page cuts a list that was read one longer than asked for, and tells where the next page starts.
func page[T any](list []T, limit int, cursor func(T) report.Cursor) ([]T, *report.Cursor) {
	if len(list) <= limit {
		return list, nil
	}
	next := cursor(list[limit-1])
	return list[:limit], &next
}

func millis(v int64) events.Millis { return events.Millis(v) }
