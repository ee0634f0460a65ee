package history_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
)

// clusterDDL is what a new database on a cluster is made by. UPDATE_GOLDEN=1 writes it anew.
const clusterDDL = "cluster.sql"

// The statements on a cluster are those of the golden file. That they do there what they say is not tested here: the
// embedded engine replicates nothing.
func TestClusterStatements(t *testing.T) {
	t.Parallel()
	cfg := history.DefaultConfig()
	cfg.Cluster = "main"
	got, err := history.ClusterStatements(cfg)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(got, ";\n\n") + ";\n"
	golden := filepath.Join("testdata", clusterDDL)
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(golden, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("statements differ from testdata/%s, UPDATE_GOLDEN=1 writes them (-want +got):\n%s", clusterDDL, diff)
	}
	for _, statement := range got {
		switch {
		case strings.Contains(statement, "MergeTree") && !strings.Contains(statement, "Replicated"):
			t.Errorf("a table is not replicated: %s", statement)
		case !strings.Contains(statement, "ON CLUSTER main"):
			t.Errorf("a statement is of one server only: %s", statement)
		}
	}
}

// The engine takes every statement's syntax.
func TestClusterStatementsParse(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	cfg := history.DefaultConfig()
	cfg.Cluster = "main"
	list, err := history.ClusterStatements(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range list {
		if _, err := s.Text(t.Context(), "SELECT formatQuery("+history.Literal(statement)+")"); err != nil {
			t.Errorf("%v:\n%s", err, statement)
		}
	}
	if _, err := s.Text(t.Context(), "SELECT formatQuery('CREATE TABLE x ON CLUSTER (')"); err == nil {
		t.Error("anything is taken for a statement")
	}
}
