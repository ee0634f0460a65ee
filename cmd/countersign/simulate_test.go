package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
)

func simulateWith(t *testing.T, args ...string) error {
	t.Helper()
	c := simulateCommand()
	c.SetArgs(args)
	c.SetOut(&bytes.Buffer{})
	c.SilenceUsage, c.SilenceErrors = true, true
	return c.ExecuteContext(t.Context())
}

func TestSimulateWritesEventsAndTheirLabels(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, labels := filepath.Join(dir, "events.ndjson"), filepath.Join(dir, "labels.ndjson")
	if err := simulateWith(t, "--users", "100", "--days", "5", "--eval", "--quiet-days", "0", "--out", out, "--labels", labels); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := os.ReadFile(labels)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for line := range bytes.Lines(written) {
		e, err := events.Decode(bytes.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	n := 0
	for line := range strings.Lines(string(truth)) {
		if !strings.Contains(line, ids[n]) {
			t.Fatalf("label %d is %s, the event is %s", n, line, ids[n])
		}
		n++
	}
	if n != len(ids) || n < 500 || !strings.Contains(string(truth), `"attack"`) || !strings.Contains(string(truth), `"confounder"`) {
		t.Errorf("%d events, %d labels", len(ids), n)
	}
}

func TestSimulateWritesNoTwoThingsToOneFile(t *testing.T) {
	t.Parallel()
	out := file(t, "events.ndjson", "kept")
	if err := simulateWith(t, "--users", "5", "--days", "1", "--out", out, "--labels", filepath.Dir(out)+"/./events.ndjson"); err == nil || !strings.HasPrefix(err.Error(), "--labels:") {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(out); err != nil || string(text) != "kept" {
		t.Errorf("the file holds %.40q, %v", text, err)
	}
}

func TestSimulateModes(t *testing.T) {
	t.Parallel()
	settled := func(eval bool, given ...string) company.Config {
		t.Helper()
		f := simulateFlags{conf: company.DefaultConfig(), attacks: "aitm=3,spray", eval: eval, to: "-"}
		if err := f.settle(func(name string) bool { return strings.Contains(strings.Join(given, " "), name) }); err != nil {
			t.Fatal(err)
		}
		return f.conf
	}
	if c := settled(true); c.Days != 60 || len(c.Mix) != len(company.Attacks) || c.Faults.Late == 0 {
		t.Errorf("evaluation: %+v", c)
	}
	if c := settled(true, "days", "attacks", "late"); c.Days != 30 || c.Mix[company.AiTM] != 3 || len(c.Mix) != 2 || c.Faults.Late != 0 || c.Faults.Skewed == 0 {
		t.Errorf("evaluation, with other flags: %+v", c)
	}
	if c := settled(false); c.Mix[company.Spray] != 1 || c.Faults != (company.Faults{}) {
		t.Errorf("without: %+v", c)
	}
}

func TestSimulateRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"--attacks burglary", "--attacks aitm=much", "--attacks aitm=-1", "--format csv", "--out a --to kafka", "--format entra --to kafka", "--users 0",
		"--start yesterday", "--to ftp://host", "--volume 99",
	} {
		if err := simulateWith(t, strings.Fields(args)...); err == nil {
			t.Errorf("%s: accepted", args)
		}
	}
}
