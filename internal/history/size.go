package history

import "context"

// Sizes is how much a history takes on the server's disks, in bytes.
type Sizes struct {
	// Events is the number of rows of events, of which repeats may be some.
	Events uint64
	// Raw is the column with the records, EventColumns all other columns of events with their indexes, and Sums the tables
	// that the server fills from events.
	Raw, EventColumns, Sums uint64
	// Decisions is the rest: findings, requirements, receipts, marks, the audit trail, dead letters.
	Decisions uint64
}

// Sizes asks the server for the sizes of its active parts.
func (s *Store) Sizes(ctx context.Context) (size Sizes, err error) {
	database := named("database", s.cfg.Database)
	err = s.rows(ctx, `SELECT sumIf(rows, table IN ('events', 'events_local')), sumIf(bytes_on_disk, table IN ('events', 'events_local')),
    sumIf(bytes_on_disk, startsWith(table, 'by_') OR startsWith(table, 'event_')),
    sumIf(bytes_on_disk, NOT (table IN ('events', 'events_local') OR startsWith(table, 'by_') OR startsWith(table, 'event_')))
FROM `+s.cfg.system("parts")+`
WHERE active AND database = {database:String}`, []any{database}, func(r rowScanner) error {
		return r.Scan(&size.Events, &size.EventColumns, &size.Sums, &size.Decisions)
	})
	if err != nil {
		return Sizes{}, err
	}
	err = s.rows(ctx, `SELECT sum(column_bytes_on_disk)
FROM `+s.cfg.system("parts_columns")+`
WHERE active AND database = {database:String} AND table IN ('events', 'events_local') AND column = 'raw'`, []any{database}, func(r rowScanner) error {
		return r.Scan(&size.Raw)
	})
	size.EventColumns -= min(size.Raw, size.EventColumns)
	return size, err
}

// Merging is the number of merges and mutations that the server is working on.
func (s *Store) Merging(ctx context.Context) (n uint64, err error) {
	err = s.rows(ctx, "SELECT count() FROM "+s.cfg.system("merges")+" WHERE database = {database:String}", []any{named("database", s.cfg.Database)},
		func(r rowScanner) error { return r.Scan(&n) })
	return n, err
}

// MergeQuiet does at once what the server does with a month that nothing was written into for a week: it becomes one part.
// The week is counted to the day of the newest event.
func (s *Store) MergeQuiet(ctx context.Context) error {
	var merges []string
	err := s.rows(ctx, `SELECT concat('OPTIMIZE TABLE ', database, '.', table, ' PARTITION ', partition, ' FINAL')
FROM `+s.cfg.system("parts")+`
WHERE active AND database = {database:String} AND length(partition) = 6
    AND table IN (SELECT name FROM `+s.cfg.system("tables")+` WHERE database = {database:String} AND engine_full LIKE '%min_age_to_force_merge_seconds%')
GROUP BY database, table, partition
HAVING count() > 1 AND addDays(addMonths(toDate(concat(partition, '01')), 1), 7) <= (SELECT max(day) FROM ${database}.event_days)
ORDER BY table, partition`, []any{named("database", s.cfg.Database)}, func(r rowScanner) error {
		var merge string
		err := r.Scan(&merge)
		merges = append(merges, merge)
		return err
	})
	if err != nil {
		return err
	}
	conn, err := s.patient()
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, merge := range merges {
		if err := conn.Exec(ctx, merge); err != nil {
			return err
		}
	}
	return nil
}
