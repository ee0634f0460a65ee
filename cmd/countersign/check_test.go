package main

import (
	"strings"
	"testing"
)

func TestConfigCheckJudgesWhatIsNamed(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"detector: {group: mine}\n":              "",
		"ingest: {}\n":                           "ingest.tokens",
		"detector: {}\nnonsense: {}\n":           "nonsense: unknown key",
		"detector: {policy_file: 7, nothing: 1}": "detector.nothing: unknown key",
	} {
		stdout, _, err := execute(t, configCommand(), "check", "--config", file(t, "config.yaml", content))
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %q", content, err, want)
			}
			continue
		}
		if err != nil || !strings.Contains(stdout, "is good: detector\n") || !strings.Contains(stdout, "not checked: kafka, ") || !strings.Contains(stdout, "ingest") {
			t.Errorf("%q: %v\n%s", content, err, stdout)
		}
	}
}

func TestPolicyCheckSaysWhatPoliciesAreFor(t *testing.T) {
	t.Parallel()
	stdout, _, err := execute(t, policyCommand(), "check", "default")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Many refused prompts ask for a phishing-resistant proof.", "12h", "breaker: 60 requirements"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	hostile := strings.Replace(askForTravel, "when:", `description: "\e[2Jgone", when:`, 1)
	if stdout, _, err = execute(t, policyCommand(), "check", file(t, "p.yaml", hostile)); err != nil || strings.Contains(stdout, "\x1b") || !strings.Contains(stdout, "gone") {
		t.Errorf("%v: %q", err, stdout)
	}
	for when, problem := range map[string]string{`has_detection("LOC-99")`: `there is no detection "LOC-99"`, `1 / 0 == 1`: "division by zero"} {
		text := "version: 1\npolicies:\n  - {name: a, when: '" + when + "', then: {action: notify}}\n"
		if _, _, err := execute(t, policyCommand(), "check", file(t, "p.yaml", text)); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v", when, err)
		}
	}
}
