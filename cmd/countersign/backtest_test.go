package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/backtest"
	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/explain"
	"github.com/countersign-io/countersign/internal/simulate"
)

// simulated writes the events of a small company to a file.
func simulated(t *testing.T) string {
	t.Helper()
	conf := company.DefaultConfig()
	conf.Users, conf.Days, conf.QuietDays, conf.AttacksPerDay = 30, 20, 10, 4
	var b bytes.Buffer
	p := simulate.Player{Company: company.New(conf), Sink: simulate.Lines(&b)}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return file(t, "events.ndjson", b.String())
}

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// execute runs a command and returns what it printed.
func execute(t *testing.T, c *cobra.Command, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, bar bytes.Buffer
	c.SilenceUsage, c.SilenceErrors = true, true
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&bar)
	err = c.ExecuteContext(t.Context())
	return out.String(), bar.String(), err
}

const askForTravel = `version: 1
policies:
  - {name: travel, when: 'has_detection("LOC-01")', then: {action: step_up, acr_values: [mfa]}}
`

func TestBacktestWritesItsReportAndExplainFindsWhatItNames(t *testing.T) {
	t.Parallel()
	path, policy, dir := simulated(t), file(t, "new.yaml", askForTravel), filepath.Join(t.TempDir(), "out", "deep")
	stdout, stderr, err := execute(t, backtestCommand(), "--events", path, "--policy", policy, "--out", dir, "--json")
	if err != nil {
		t.Fatal(err)
	}
	if stderr != "" {
		t.Errorf("a progress bar where nobody sees it: %q", stderr)
	}
	var r backtest.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.New.Name != "new.yaml" || r.Old.Name != "shipped policy" || r.Total.New.StepUp == 0 || len(r.OnlyOld.First) == 0 {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"report.json", "report.html"} {
		if content, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(content) < 1000 {
			t.Errorf("%s: %d bytes, %v", name, len(content), err)
		}
	}
	// An event that the report names can be explained.
	named := r.OnlyOld.First[0]
	stdout, _, err = execute(t, explainCommand(), "--events", path, "--json", named.EventID)
	if err != nil {
		t.Fatal(err)
	}
	var x explain.Explanation
	if err := json.Unmarshal([]byte(stdout), &x); err != nil {
		t.Fatal(err)
	}
	if x.Event.ID != named.EventID || x.Decision.Policy != named.Old.Policy || x.Decision.Action != named.Old.Action {
		t.Errorf("the report says %v, the explanation %+v", named.Old, x.Decision)
	}
}

func TestMistakesAreSaidBeforeAnyWork(t *testing.T) {
	t.Parallel()
	good := file(t, "good.yaml", askForTravel)
	bad := file(t, "bad.yaml", strings.ReplaceAll(askForTravel, "has_detection", "has_detektion"))
	for want, args := range map[string][]string{
		"policies[0].when (line 3)": {"--events", "none", "--policy", bad},
		"no such file":              {"--events", "none", "--policy", good},
		"none.yaml":                 {"--events", "none", "--policy", "none.yaml"},
		"--since is missing":        {"--policy", good},
		"name what to try":          {"--events", "none"},
		"--warm-up: ":               {"--events", "none", "--policy", good, "--warm-up", "long"},
		"name one of them":          {"--events", "none", "--data", "data", "--policy", good},
		"since: \"yesterday\"":      {"--since", "yesterday", "--policy", good},
		"no directory of":           {"--since", "3d", "--policy", good, "--data", "none"},
		"must be after since":       {"--since", "2026-03-04", "--until", "2026-03-03", "--policy", good, "--events", "none"},
		"nothing: unknown key":      {"--events", "none", "--anomaly", file(t, "anomaly.yaml", "nothing: {here: 1}\n")},
	} {
		_, _, err := execute(t, backtestCommand(), args...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	if _, _, err := execute(t, explainCommand()); err == nil {
		t.Error("explain without an id is taken")
	}
}
