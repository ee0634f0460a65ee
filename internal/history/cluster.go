package history

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// On a cluster every table is two: its rows lie in NAME_local, replicated by its shard's servers, and NAME reads and
// writes those of all shards. What is of one person meets on one shard, so that repeats meet there too and replace one
// another; what is of nobody goes by its sort key. Views that fill are between local tables: a sum lies where its rows
// are, in parts that questions put together.
const localSuffix = "_local"

var (
	createDatabase = regexp.MustCompile(`^CREATE DATABASE IF NOT EXISTS \$\{database\}$`)
	createTable    = regexp.MustCompile(`(?s)^CREATE TABLE IF NOT EXISTS \$\{database\}\.(\w+)\n\((.*)\n\)\nENGINE = (\w*)MergeTree(\(([^)]*)\))?\n(.*)$`)
	createFill     = regexp.MustCompile(`(?s)^CREATE MATERIALIZED VIEW IF NOT EXISTS \$\{database\}\.(\w+) TO \$\{database\}\.(\w+) AS\n(.*)$`)
	createView     = regexp.MustCompile(`(?s)^CREATE OR REPLACE VIEW \$\{database\}\.(\w+) AS\n(.*)$`)
	alterFill      = regexp.MustCompile(`(?s)^ALTER TABLE \$\{database\}\.(\w+) MODIFY QUERY\n(.*)$`)
	alterTable     = regexp.MustCompile(`(?s)^ALTER TABLE \$\{database\}\.(\w+)\s(.*)$`)
	insertBefore   = regexp.MustCompile(`^INSERT INTO `)
	fromTable      = regexp.MustCompile(`FROM \$\{database\}\.(\w+)`)
	orderBy        = regexp.MustCompile(`(?m)^ORDER BY (?:\(([^)]*)\)|(\w+))`)
	comment        = regexp.MustCompile(`(?m)^\s*--.*\n`)
)

// tableVersions is the table of the applied migrations: every server has all of it.
const tableVersions Table = "schema_migrations"

// statements turns a statement of a migration into those that do the same on the configured cluster; without one it stays as
// it is. ${database} stays in them. It knows the forms that migrations have, and refuses others.
func (c Config) statements(statement string) ([]string, error) {
	if c.Cluster == "" {
		return []string{statement}, nil
	}
	// The rules for a table stand in comments too: they are not needed twice.
	text := strings.TrimSpace(comment.ReplaceAllString(statement, ""))
	on := " ON CLUSTER " + c.Cluster
	if createDatabase.MatchString(text) {
		return []string{text + on}, nil
	}
	if m := createTable.FindStringSubmatch(text); m != nil {
		name, columns, engine, arguments, rest := Table(m[1]), m[2], m[3], m[5], m[6]
		if arguments != "" {
			arguments = ", " + arguments
		}
		path, local := "/clickhouse/tables/{uuid}/{shard}", c.local(name)
		if name == tableVersions {
			path = "/clickhouse/tables/{uuid}"
		}
		list := []string{fmt.Sprintf("CREATE TABLE IF NOT EXISTS ${database}.%s%s\n(%s\n)\nENGINE = Replicated%sMergeTree('%s', '{replica}'%s)\n%s",
			local, on, columns, engine, path, arguments, rest)}
		if name == tableVersions {
			return list, nil
		}
		key, err := shardingKey(columns, rest)
		if err != nil {
			return nil, err
		}
		return append(list, c.distributed("CREATE TABLE IF NOT EXISTS", name, key)), nil
	}
	if m := createFill.FindStringSubmatch(text); m != nil {
		return []string{fmt.Sprintf("CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.%s%s TO ${database}.%s AS\n%s",
			m[1], on, c.local(Table(m[2])), local(m[3]))}, nil
	}
	if m := createView.FindStringSubmatch(text); m != nil {
		return []string{fmt.Sprintf("CREATE OR REPLACE VIEW ${database}.%s%s AS\n%s", m[1], on, m[2])}, nil
	}
	if insertBefore.MatchString(text) {
		return nil, nil // it takes over what an earlier schema had: a cluster's database is new
	}
	if m := alterFill.FindStringSubmatch(text); m != nil {
		return []string{fmt.Sprintf("ALTER TABLE ${database}.%s%s MODIFY QUERY\n%s", m[1], on, local(m[2]))}, nil
	}
	if m := alterTable.FindStringSubmatch(text); m != nil {
		name := Table(m[1])
		list := []string{fmt.Sprintf("ALTER TABLE ${database}.%s%s\n%s", c.local(name), on, m[2])}
		if !strings.Contains(m[2], "COLUMN") {
			return list, nil
		}
		// The table over all shards takes its columns anew; it has no rows of its own.
		key, err := shardingKeyOf(name)
		if err != nil {
			return nil, err
		}
		return append(list, c.distributed("CREATE OR REPLACE TABLE", name, key)), nil
	}
	return nil, fmt.Errorf("a statement has no form on a cluster: %.80q", text)
}

// local is what a view selects, from the table with the rows of its server.
func local(query string) string {
	return fromTable.ReplaceAllString(query, "FROM $${database}.${1}"+localSuffix)
}

// local is the table with the rows of this server.
func (c Config) local(table Table) string {
	if c.Cluster == "" || table == tableVersions {
		return string(table)
	}
	return string(table) + localSuffix
}

// onCluster is what makes a statement one of all servers.
func (c Config) onCluster() string {
	if c.Cluster == "" {
		return ""
	}
	return " ON CLUSTER " + c.Cluster
}

// system is a system table: of one server of each shard, or of all where what they do is asked for.
func (c Config) system(table string) string {
	switch {
	case c.Cluster == "":
		return "system." + table
	case table == "merges" || table == "mutations":
		return "clusterAllReplicas('" + c.Cluster + "', system." + table + ")"
	default:
		return "cluster('" + c.Cluster + "', system." + table + ")"
	}
}

// settings adds what a statement needs on a cluster.
func (c Config) settings(settings clickhouse.Settings) clickhouse.Settings {
	if c.Cluster != "" {
		// An insert is acknowledged when it is on its shards, and not when it waits to be sent there.
		settings["distributed_foreground_insert"] = 1
		// A question within a question is asked of all shards once, and not by every shard of its own rows.
		settings["distributed_product_mode"] = "global"
	}
	return settings
}

// distributed is the statement for the table over all shards.
func (c Config) distributed(create string, table Table, key string) string {
	return fmt.Sprintf("%s ${database}.%s ON CLUSTER %s AS ${database}.%s\nENGINE = Distributed('%s', '${database}', '%s', %s)",
		create, table, c.Cluster, c.local(table), c.Cluster, c.local(table), key)
}

// shardingKey is by person where a table has persons, else by the sort key, which repeats share.
func shardingKey(columns, rest string) (string, error) {
	if strings.Contains(columns, "\n    tenant ") && strings.Contains(columns, "\n    user_id ") {
		return "cityHash64(tenant, user_id)", nil
	}
	m := orderBy.FindStringSubmatch(rest)
	if m == nil {
		return "", fmt.Errorf("a table has no sort key: %.80q", rest)
	}
	return "cityHash64(" + m[1] + m[2] + ")", nil
}

// shardingKeyOf is that of the table that some migration makes.
func shardingKeyOf(table Table) (string, error) {
	for _, m := range migrations {
		text := strings.TrimSpace(comment.ReplaceAllString(m.sql, ""))
		if parts := createTable.FindStringSubmatch(text); parts != nil && Table(parts[1]) == table {
			return shardingKey(parts[2], parts[6])
		}
	}
	return "", fmt.Errorf("no migration makes the table %s", table)
}
