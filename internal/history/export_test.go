package history

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// Migrations is how many steps there are.
func Migrations() int { return len(migrations) }

// MigrateFirst applies the first n steps only, as a binary of that time did.
func (s *Store) MigrateFirst(ctx context.Context, n int) error {
	_, err := s.migrate(ctx, migrations[:n])
	return err
}

// BadBlock is a block with a value that the server cannot convert.
func BadBlock() *Block {
	b := &builder{layout: &layout{}}
	tenant, at := b.text("tenant"), b.text("time")
	tenant.add("acme")
	at.add("not a time")
	block := b.done(TableEvents)
	block.rows = 1
	return &block
}

// Ask runs a query and drops its answer.
func (s *Store) Ask(ctx context.Context, query string) error {
	return s.rows(ctx, query, nil, func(rowScanner) error { return nil })
}

// Text answers with a query's one text.
func (s *Store) Text(ctx context.Context, query string) (text string, err error) {
	err = s.rows(ctx, query, nil, func(r rowScanner) error { return r.Scan(&text) })
	return text, err
}

// SliceRows makes replays ask for other numbers of rows at once.
func SliceRows(s *Store, n uint64) { s.sliceRows = n }

// Personal lists the tables that an erasure reaches.
func Personal() []Table { return slices.Collect(maps.Keys(personal)) }

// Retain sets the configured retention on the tables that there are.
func (s *Store) Retain(ctx context.Context) error { return s.retain(ctx) }

// ClusterStatements are those by which a new database is made on a cluster.
func ClusterStatements(cfg Config) ([]string, error) {
	var all []string
	for _, text := range append([]string{"CREATE DATABASE IF NOT EXISTS ${database}", createVersions}, statementsOf(migrations)...) {
		list, err := cfg.statements(text)
		if err != nil {
			return nil, err
		}
		for _, statement := range list {
			all = append(all, strings.ReplaceAll(statement, "${database}", cfg.Database))
		}
	}
	return all, nil
}

func statementsOf(list []migration) []string {
	var all []string
	for _, m := range list {
		all = append(all, m.sql)
	}
	return all
}

// Literal quotes text for a statement.
func Literal(text string) string { return literal(text) }
