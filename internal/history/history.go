// Package history keeps what happened in ClickHouse and answers questions about it. It is the only importer of
// clickhouse-go, and speaks to the embedded engine and to real servers alike, over HTTP or the native protocol.
//
// What it guarantees:
//
//   - [Store.Insert] returned nil: the rows are durable on the server. After an error the outcome is unknown unless it
//     is a [RejectedError]; inserting the same blocks again is harmless.
//   - Rows that repeat (a restart of the archiver, a replay) change no answer: tables replace by the id of the thing,
//     and the overview counts distinct ids.
//   - Every question is bound to the tenants of its [report.Scope], takes its values as parameters, and is ended by the
//     server after Config.QueryTimeout.
//
// A Store is safe for concurrent use; a [Block] is not.
package history

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/countersign-io/countersign/internal/report"
)

// Store is a way to the history.
type Store struct {
	cfg  Config
	conn driver.Conn
	// sliceRows is how many rows of a replay are asked for at once.
	sliceRows uint64
}

// Open validates cfg and reads its files. It opens no connection.
func Open(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		return nil, fmt.Errorf("preparing the ClickHouse client: %w", err)
	}
	return &Store{cfg: cfg, conn: conn, sliceRows: sliceRows}, nil
}

// Close closes the connections.
func (s *Store) Close() error { return s.conn.Close() }

// Ping asks the server whether it is there.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DialTimeout)
	defer cancel()
	if err := s.conn.Ping(ctx); err != nil {
		return classify(fmt.Errorf("asking ClickHouse at %s: %w", strings.Join(s.cfg.URLs, ", "), err))
	}
	return nil
}

// Ready reports whether the server answers and its tables are those this binary knows, or newer.
func (s *Store) Ready(ctx context.Context) error {
	applied, err := s.applied(ctx)
	if err != nil {
		return err
	}
	if missing := pending(migrations, applied); len(missing) > 0 {
		return fmt.Errorf("%w: %d migrations are not applied, start the archiver or run `countersign migrate`", report.ErrUnavailable, len(missing))
	}
	return nil
}

// sql puts the database's name into a statement. It is an identifier, checked by Config.Validate; values are never
// put into statements.
func (s *Store) sql(text string) string {
	return strings.ReplaceAll(text, "${database}", s.cfg.Database)
}

// rows runs a query with its limits and hands each row to scan.
func (s *Store) rows(ctx context.Context, query string, args []any, scan func(rowScanner) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout+time.Second)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(s.cfg.settings(clickhouse.Settings{
		"max_execution_time": max(1, int(s.cfg.QueryTimeout.Seconds())),
		"max_result_rows":    maxResultRows,
		// Every key of ours lies in one partition, because it holds the time that the partition is of.
		"do_not_merge_across_partitions_select_final": 1,
	})))
	rows, err := s.conn.Query(ctx, s.sql(query), args...)
	if err != nil {
		return classify(fmt.Errorf("asking the history: %w", err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("reading an answer of the history: %w", err)
		}
	}
	// An error after the first rows arrives here, behind a status that said success.
	if err := rows.Err(); err != nil {
		return classify(fmt.Errorf("asking the history: %w", err))
	}
	return nil
}

// maxResultRows is more than any question of ours answers with: a guard, not a page size.
const maxResultRows = 100_000

// rowScanner is one row of an answer.
type rowScanner interface{ Scan(dest ...any) error }
