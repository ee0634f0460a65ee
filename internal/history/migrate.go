package history

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/countersign-io/countersign/internal/report"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one statement that brings the schema one step forward. There is no way back: a step that was wrong is
// mended by a later one.
type migration struct {
	version  uint32
	name     string
	sql      string
	checksum string
}

// migrations are the steps in order: version n is the n-th file.
var migrations = mustLoadMigrations()

func mustLoadMigrations() []migration {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql") // sorted
	if err != nil || len(names) == 0 {
		panic(fmt.Sprintf("history: no migrations are embedded: %v", err))
	}
	list := make([]migration, len(names))
	for i, name := range names {
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			panic(fmt.Sprintf("history: reading %s: %v", name, err))
		}
		base := strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".sql")
		number, _, _ := strings.Cut(base, "_")
		if version, err := strconv.Atoi(number); err != nil || version != i+1 {
			panic(fmt.Sprintf("history: %s is step %d, its name must start with %04d_", name, i+1, i+1))
		}
		sum := sha256.Sum256(text)
		list[i] = migration{version: uint32(i + 1), name: base, sql: string(text), checksum: hex.EncodeToString(sum[:8])}
	}
	return list
}

// ErrMigrationChanged says that a step that was applied differs from the one this binary knows: one of the two is not
// ours, and going on could ruin data.
var ErrMigrationChanged = errors.New("an applied migration differs from this binary's")

// Migrate creates the database and brings its tables to this binary's version, each step once and in order, then sets
// the retention. It returns the names of the steps it applied. A break in between is mended by running it again, and
// several processes may run it at once. A database that is ahead of this binary is left as it is: readers work before
// and after every step.
func (s *Store) Migrate(ctx context.Context) (done []string, err error) {
	if done, err = s.migrate(ctx, migrations); err != nil {
		return done, err
	}
	return done, s.retain(ctx)
}

const createVersions = `CREATE TABLE IF NOT EXISTS ${database}.schema_migrations
(
    version  UInt32,
    name     String,
    checksum String,
    applied  DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
-- Two processes may write the same step: it counts once.
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`

// apply runs a statement of the schema, on a cluster by the statements that it stands for there.
func (s *Store) apply(ctx context.Context, conn driver.Conn, statement string) error {
	list, err := s.cfg.statements(statement)
	if err != nil {
		return err
	}
	for _, statement := range list {
		if err := conn.Exec(ctx, s.sql(statement)); err != nil {
			return classify(err)
		}
	}
	return nil
}

// migrate takes those of the steps that were not taken.
func (s *Store) migrate(ctx context.Context, steps []migration) (done []string, err error) {
	for _, statement := range []string{"CREATE DATABASE IF NOT EXISTS ${database}", createVersions} {
		if err := s.apply(ctx, s.conn, statement); err != nil {
			return nil, fmt.Errorf("preparing the database %s: %w", s.cfg.Database, err)
		}
	}
	applied, err := s.applied(ctx)
	if err != nil {
		return nil, err
	}
	left := pending(steps, applied)
	if len(left) == 0 {
		return nil, nil
	}
	conn, err := s.patient()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, m := range left {
		if err := s.apply(ctx, conn, m.sql); err != nil {
			return done, fmt.Errorf("applying migration %s: %w", m.name, err)
		}
		if err := s.fill(ctx, conn, m); err != nil {
			return done, fmt.Errorf("filling the table of migration %s: %w", m.name, err)
		}
		if err := s.record(ctx, m); err != nil {
			return done, fmt.Errorf("recording migration %s: %w", m.name, err)
		}
		done = append(done, m.name)
	}
	return done, nil
}

// patient is a connection for statements that take as long as they take, such as writing large tables anew.
func (s *Store) patient() (driver.Conn, error) {
	options, err := s.cfg.options()
	if err != nil {
		return nil, err
	}
	options.ReadTimeout = 24 * time.Hour
	conn, err := clickhouse.Open(options)
	if err != nil {
		return nil, fmt.Errorf("preparing the ClickHouse client: %w", err)
	}
	return conn, nil
}

// pending are the steps that are not applied.
func pending(steps []migration, applied map[uint32]string) []migration {
	var list []migration
	for _, m := range steps {
		if _, ok := applied[m.version]; !ok {
			list = append(list, m)
		}
	}
	return list
}

// applied reads the checksums of the applied steps by version, and compares them.
func (s *Store) applied(ctx context.Context) (map[uint32]string, error) {
	applied := map[uint32]string{}
	err := s.rows(ctx, "SELECT DISTINCT version, checksum FROM ${database}.schema_migrations ORDER BY version", nil, func(r rowScanner) error {
		var version uint32
		var checksum string
		if err := r.Scan(&version, &checksum); err != nil {
			return err
		}
		applied[version] = checksum
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the applied migrations: %w", err)
	}
	for _, m := range migrations {
		if have, ok := applied[m.version]; ok && have != m.checksum {
			return nil, fmt.Errorf("%w: %s has checksum %s in the database %s and %s here", ErrMigrationChanged, m.name, have, s.cfg.Database, m.checksum)
		}
	}
	return applied, nil
}

func (s *Store) record(ctx context.Context, m migration) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(s.cfg.settings(clickhouse.Settings{"async_insert": 0})))
	return s.Exec(ctx, `INSERT INTO ${database}.schema_migrations (version, name, checksum, applied)
SELECT {version:UInt32}, {name:String}, {checksum:String}, now64(3)`,
		clickhouse.Named("version", m.version), clickhouse.Named("name", m.name), clickhouse.Named("checksum", m.checksum))
}

// sumDays is how long sums that name nobody are kept at least, from the time that they are about; longer where what they sum up is.
const sumDays = 800

// retain sets the configured retention and tiering where they differ. The parts that are there take the new retention from the
// times that are noted with them: no row is written anew.
func (s *Store) retain(ctx context.Context) (err error) {
	conn, err := s.patient()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	r := s.cfg.Retention
	for _, t := range []struct {
		table Table
		since string
		days  int
		rest  string
	}{
		{table: TableEvents, days: r.EventDays},
		{table: TableBySession, days: r.EventDays},
		{table: TableByUser, days: r.EventDays},
		{table: TableByPrefix, days: r.EventDays},
		{table: TableFindings, days: r.DecisionDays},
		{table: TableRevocations, days: r.DecisionDays},
		{table: TableReceipts, days: r.DecisionDays},
		{table: TableMarks, days: r.DecisionDays},
		{table: TableAudit, days: r.DecisionDays},
		{table: TableAlerts, days: r.DecisionDays},
		{table: TableFindingTimes, since: "toDateTime(decided)", days: r.DecisionDays},
		{table: TableDeadLetters, days: r.DeadLetterDays},
		{table: "event_counts", since: "bucket", days: max(sumDays, r.EventDays)},
		{table: "event_days", since: "day", days: max(sumDays, r.EventDays)},
		{table: "by_app", since: "bucket", days: max(sumDays, r.EventDays), rest: hoursGo},
		{table: "by_place", since: "bucket", days: max(sumDays, r.EventDays), rest: hoursGo},
		{table: "finding_counts", since: "bucket", days: max(sumDays, r.DecisionDays)},
	} {
		ttl := fmt.Sprintf("TTL %s + toIntervalDay(%d)%s", cmp.Or(t.since, "toDateTime(logged)"), t.days, t.rest)
		if err := s.retainTable(ctx, conn, t.table, ttl); err != nil {
			return fmt.Errorf("setting the retention of %s to %d days: %w", t.table, t.days, err)
		}
	}
	return nil
}

// hoursGo is how long hours are kept besides days and weeks.
var hoursGo = fmt.Sprintf(", bucket + toIntervalDay(%d) WHERE step = %d", hourDays, hourSeconds)

// retainTable sets what a table says of its retention, as the server writes it.
func (s *Store) retainTable(ctx context.Context, conn driver.Conn, table Table, want string) error {
	// The parts of statements are ours: names of a closed set or checked by Config.Validate, and numbers.
	alter := "ALTER TABLE ${database}." + s.cfg.local(table) + s.cfg.onCluster() + " MODIFY "
	var have string
	err := s.rows(ctx, "SELECT engine_full FROM system.tables WHERE database = {database:String} AND name = {table:String}",
		[]any{named("database", s.cfg.Database), named("table", s.cfg.local(table))},
		func(rows rowScanner) error { return rows.Scan(&have) })
	if err != nil || have == "" {
		return err // or not made yet
	}
	var changes []string
	if t := s.cfg.Tiering; t != (Tiering{}) && table == TableEvents {
		want = strings.Replace(want, "TTL ", fmt.Sprintf("TTL toDateTime(logged) + toIntervalDay(%d) TO VOLUME '%s', ", t.EventDays, t.Volume), 1)
		if policy := "storage_policy = '" + t.StoragePolicy + "'"; !strings.Contains(have, policy) {
			changes = append(changes, "SETTING "+policy)
		}
	}
	if !strings.Contains(have, want+" SETTINGS ") {
		// Else the server would write all rows anew, or, told not to, hold the parts that are there to the former retention.
		changes = append(changes, "SETTING materialize_ttl_recalculate_only = 1", want)
	}
	for _, change := range changes {
		if err := conn.Exec(ctx, s.sql(alter+change)); err != nil {
			return classify(err)
		}
	}
	return nil
}

// Exec runs a statement of an operator or a test. ${database} in it stands for the database's name.
func (s *Store) Exec(ctx context.Context, statement string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, max(s.cfg.InsertTimeout, time.Minute))
	defer cancel()
	err := s.conn.Exec(ctx, s.sql(statement), args...)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", report.ErrUnavailable, err)
	}
	return err
}

// Drop removes the database with everything in it.
func (s *Store) Drop(ctx context.Context) error {
	return s.Exec(ctx, "DROP DATABASE IF EXISTS ${database}"+s.cfg.onCluster()+" SYNC")
}
