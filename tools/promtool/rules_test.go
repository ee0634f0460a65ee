// Package promtool pins Prometheus' promtool, and has it test the alert rules and the queries of the dashboards. It is a
// module of its own, so that countersign does not depend on Prometheus.
package promtool

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

const deploy = "../../deploy"

// promtool runs the tool of this module, built with the only discovery that prometheus.yaml uses: the clients of all clouds
// would double its size.
func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"tool", "promtool"}, args...)...)
	cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -tags=remove_all_sd,enable_dns_sd")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(deploy, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("no files %s (%v)", pattern, err)
	}
	return found
}

func TestConfiguration(t *testing.T) {
	if out, err := promtool(t, "check", "config", "--lint=all", "--lint-fatal", filepath.Join(deploy, "prometheus", "prometheus.yaml")); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Each rule is quiet, fires with the labels and texts that people see, and clears. That each has such a test is tested in
// package deploy.
func TestRules(t *testing.T) {
	for _, file := range files(t, "prometheus/tests/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if out, err := promtool(t, "test", "rules", file); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// A test that cannot fail proves nothing: with a rule that never fires, the tests of that rule must fail.
func TestTheTestsOfRulesCanFail(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(deploy, "prometheus", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	broken := strings.Replace(string(rules), "expr: countersign_engine_up == 0", "expr: countersign_engine_up == 2", 1)
	test, err := os.ReadFile(filepath.Join(deploy, "prometheus", "tests", "processes.yaml"))
	if err != nil || broken == string(rules) {
		t.Fatal("CountersignEngineDown is not what it was", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "tests"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"rules.yaml": broken, "tests/processes.yaml": string(test)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := promtool(t, "test", "rules", filepath.Join(dir, "tests", "processes.yaml"))
	if err == nil || !strings.Contains(out, "CountersignEngineDown") {
		t.Errorf("passed with a rule that never fires: %v\n%s", err, out)
	}
}

// variables are what Grafana puts into an expression before Prometheus sees it.
var variables = regexp.MustCompile(`\$\{?(__rate_interval|__interval|__range)\}?`)

func TestQueriesOfDashboardsParse(t *testing.T) {
	type target struct {
		RefID, Expr string
		Datasource  struct{ Type string }
	}
	type panel struct {
		Title   string
		Type    string
		Targets []target
	}
	queries := 0
	for _, file := range files(t, "grafana/dashboards/*.json") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var dashboard struct{ Panels []panel }
		if err := json.Unmarshal(text, &dashboard); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, p := range dashboard.Panels {
			for _, q := range p.Targets {
				if q.Datasource.Type != "prometheus" {
					continue
				}
				queries++
				if _, err := parser.NewParser(parser.Options{}).ParseExpr(variables.ReplaceAllString(q.Expr, "5m")); err != nil {
					t.Errorf("%s, panel %q, query %s: %v", filepath.Base(file), p.Title, q.RefID, err)
				}
			}
		}
	}
	if queries == 0 {
		t.Error("no panel asks Prometheus")
	}
}
