package history

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Insert writes the rows of blocks, which are of one table, as one insert. nil means durable. A [RejectedError] means
// that these rows will never be taken; after any other error the outcome is unknown, and the same call may be made
// again: rows that repeat change no answer.
//
// The server must not deduplicate inserts: a plain table notes an insert's hash or token before it commits the part, and
// a retry after a kill between the two would be taken for a repeat of rows that are not there (docs/adr/0006).
func (s *Store) Insert(ctx context.Context, blocks ...*Block) (err error) {
	total := 0
	for _, b := range blocks {
		if b.layout.table != blocks[0].layout.table {
			return fmt.Errorf("inserting into %s: a block is for %s", blocks[0].layout.table, b.layout.table)
		}
		total += b.rows
	}
	if total == 0 {
		return nil
	}
	table := blocks[0].layout
	defer func() {
		if err != nil {
			err = classifyInsert(fmt.Errorf("inserting %d rows into %s: %w", total, table.table, err))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.InsertTimeout)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithColumnNamesAndTypes(table.columns), clickhouse.WithSettings(s.cfg.settings(clickhouse.Settings{
		// Queued inserts are acknowledged before they are durable.
		"async_insert":       0,
		"insert_deduplicate": 0,
		// The rows' times are the sources' to say; one insert may span any number of months.
		"max_partitions_per_insert_block": 0,
		"max_insert_block_size":           max(total, 1_000_000),
	})))
	batch, err := s.conn.PrepareBatch(ctx, s.sql(table.insert))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, batch.Close()) }()
	for _, b := range blocks {
		for i, c := range b.columns {
			if err := c.appendTo(batch.Column(i)); err != nil {
				return fmt.Errorf("column %s: %w", table.columns[i].Name, err)
			}
		}
	}
	return batch.Send()
}

// Rows is the number of rows of a table, where the rows of one thing may repeat until the server merges them.
func (s *Store) Rows(ctx context.Context, table Table) (n uint64, err error) {
	err = s.rows(ctx, "SELECT count() FROM ${database}."+string(table), nil, func(r rowScanner) error { return r.Scan(&n) })
	return n, err
}

// Things is the number of things in a table, each counted once.
func (s *Store) Things(ctx context.Context, table Table) (n uint64, err error) {
	err = s.rows(ctx, "SELECT count() FROM ${database}."+string(table)+" FINAL", nil, func(r rowScanner) error { return r.Scan(&n) })
	return n, err
}
