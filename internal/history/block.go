package history

import (
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Table is one of the tables that blocks are for.
type Table string

// The tables.
const (
	TableEvents      Table = "events"
	TableFindings    Table = "findings"
	TableRevocations Table = "revocations"
	TableReceipts    Table = "receipts"
	TableDeadLetters Table = "dead_letters"
	TableMarks       Table = "marks"
	TableAudit       Table = "audit"
	TableAlerts      Table = "alerts"
)

// The tables that the server itself fills from every insert into events, for questions that start elsewhere than at a
// person and a time, and of findings for how fast they were decided. Their rows sum up: ask with GROUP BY, never for single
// rows.
const (
	TableBySession    Table = "by_session"
	TableByUser       Table = "by_user"
	TableByPrefix     Table = "by_prefix"
	TableFindingTimes Table = "finding_times"
)

// Tables lists every table that blocks are for.
var Tables = []Table{TableEvents, TableFindings, TableRevocations, TableReceipts, TableDeadLetters, TableMarks, TableAudit, TableAlerts}

// Block is rows for one table, column by column, ready to be inserted. The zero Block is of no use: see [NewEvents] and
// its like. A block keeps its memory over Reset.
type Block struct {
	layout  *layout
	columns []column
	rows    int
}

// Table is where the rows belong.
func (b *Block) Table() Table { return b.layout.table }

// Len is the number of rows.
func (b *Block) Len() int { return b.rows }

// Reset empties the block. It must not be part of an insert that is running.
func (b *Block) Reset() {
	for _, c := range b.columns {
		c.reset()
	}
	b.rows = 0
}

// Slice is the rows from ≤ i < to as a block of their own, which shares the memory: neither may change while both are
// in use.
func (b *Block) Slice(from, to int) *Block {
	part := &Block{layout: b.layout, rows: to - from, columns: make([]column, len(b.columns))}
	for i, c := range b.columns {
		part.columns[i] = c.slice(from, to)
	}
	return part
}

// layout is the columns of a table as the client sends them. The server converts text to LowCardinality: the client's
// own way of doing so works value by value.
type layout struct {
	table   Table
	columns []clickhouse.ColumnNameAndType
	insert  string
}

// column is one column's values.
type column interface {
	appendTo(to driver.BatchColumn) error
	slice(from, to int) column
	reset()
}

// values is a column that the client takes as one slice, without a call or reflection for each row.
type values[T any] struct{ v []T }

func (c *values[T]) appendTo(to driver.BatchColumn) error { return to.Append(c.v) }

func (c *values[T]) slice(from, to int) column { return &values[T]{v: c.v[from:to:to]} }

func (c *values[T]) reset() {
	clear(c.v) // lets go of the strings
	c.v = c.v[:0]
}

func (c *values[T]) add(v T) { c.v = append(c.v, v) }

// builder declares a table's columns, in the order of its INSERT.
type builder struct {
	layout  *layout
	columns []column
}

func declare[T any](b *builder, name, chType string) *values[T] {
	c := &values[T]{}
	b.columns = append(b.columns, c)
	b.layout.columns = append(b.layout.columns, clickhouse.ColumnNameAndType{Name: name, Type: chType})
	return c
}

func (b *builder) text(name string) *values[string] { return declare[string](b, name, "String") }
func (b *builder) hash(name string) *values[string] {
	return declare[string](b, name, "FixedString(16)")
}
func (b *builder) tri(name string) *values[int8]      { return declare[int8](b, name, "Int8") }
func (b *builder) float(name string) *values[float64] { return declare[float64](b, name, "Float64") }
func (b *builder) number(name string) *values[uint32] { return declare[uint32](b, name, "UInt32") }

// moment is a time in milliseconds.
func (b *builder) moment(name string) *values[int64] {
	return declare[int64](b, name, "DateTime64(3, 'UTC')")
}

func (b *builder) done(table Table) Block {
	b.layout.table = table
	names := make([]string, len(b.layout.columns))
	for i, c := range b.layout.columns {
		names[i] = c.Name
	}
	b.layout.insert = "INSERT INTO ${database}." + string(table) + " (" + strings.Join(names, ", ") + ")"
	return Block{layout: b.layout, columns: b.columns}
}
