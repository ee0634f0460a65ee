package history

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// view finds the parts of a migration that makes a materialized view: its target, what it selects, and from where.
var view = regexp.MustCompile(`(?s)CREATE MATERIALIZED VIEW IF NOT EXISTS \S+ TO (\S+) AS\s+(SELECT\s.*?FROM (\$\{database\}\.\w+).*)$`)

// fill writes the rows that are there into the target of a materialized view, which by itself only sees those that come.
// The view is there first: a row that comes meanwhile may be taken twice, and as the targets hold sets, least and greatest
// values, that changes nothing. Neither does a second try. It goes month by month, in bounded memory.
func (s *Store) fill(ctx context.Context, conn driver.Conn, m migration) error {
	parts := view.FindStringSubmatch(m.sql)
	if parts == nil {
		return nil
	}
	target, query, source := parts[1], parts[2], parts[3]
	// Or the server would drop at once what is to be kept longer than by default.
	if err := s.retain(ctx); err != nil {
		return err
	}
	var months []string
	err := s.stream(ctx, "SELECT DISTINCT _partition_id AS month FROM "+source+" ORDER BY month", nil, func(r rowScanner) error {
		var month string
		if err := r.Scan(&month); err != nil {
			return err
		}
		months = append(months, month)
		return nil
	})
	if err != nil {
		return err
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(s.cfg.settings(clickhouse.Settings{
		"max_execution_time":                       0,
		"max_threads":                              1,
		"max_bytes_before_external_group_by":       fillMemory,
		"max_bytes_ratio_before_external_group_by": 0,
		"max_block_size":                           8192,
		"min_insert_block_size_rows":               50_000,
		"min_insert_block_size_bytes":              fillMemory,
		"max_partitions_per_insert_block":          0,
		"async_insert":                             0,
		"insert_deduplicate":                       0,
	})))
	for _, month := range months {
		part := "(SELECT * FROM " + source + " WHERE _partition_id = {month:String})"
		statement := "INSERT INTO " + target + " " + strings.Replace(query, source, part, 1)
		if err := conn.Exec(ctx, s.sql(statement), named("month", month)); err != nil {
			return fmt.Errorf("month %s: %w", month, classify(err))
		}
	}
	return nil
}

// fillMemory is how much the server gathers before it goes on on disk, or writes, in bytes. Sets take a multiple of it.
const fillMemory = 64 << 20
