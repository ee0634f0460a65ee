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
