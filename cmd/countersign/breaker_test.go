package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
)

func TestBreakersAreShown(t *testing.T) {
	t.Parallel()
	states := []detector.BreakerState{
		{Tenant: "acme", Partitions: 8, Tripped: 2, Since: 1767225600000, Reason: "61 requirements within a minute"}, {Tenant: "globex", Partitions: 8},
	}
	for asJSON, want := range map[bool]string{
		false: "TENANT  BREAKER            SINCE                     WHY\n" +
			"acme    tripped in 2 of 8  2026-01-01T00:00:00.000Z  61 requirements within a minute\n" +
			"globex  closed             -                         -\n",
		true: `{"tenant":"acme","partitions":8,"tripped":2,"since":"2026-01-01T00:00:00.000Z","reason":"61 requirements within a minute"}` + "\n" +
			`{"tenant":"globex","partitions":8,"tripped":0}` + "\n",
	} {
		var b strings.Builder
		if err := printBreakers(&b, states, asJSON); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b.String(), want); diff != "" {
			t.Errorf("JSON %v (-got, +want)\n%s", asJSON, diff)
		}
	}
}

// The verbs end with an answer: without topics, with state of no tenant, of a tenant that is none.
func TestBreakerVerbsAnswer(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	prefix := kafkatest.Name("breaker") + "."
	t.Setenv("COUNTERSIGN_KAFKA__BROKERS", strings.Join(brokers, ","))
	t.Setenv("COUNTERSIGN_KAFKA__PREFIX", prefix)
	if _, _, err := execute(t, breakerCommand(), "status"); err == nil || !strings.Contains(err.Error(), events.TopicState) {
		t.Errorf("without topics: %v", err)
	}
	kafkatest.CreateTopic(t, brokers, prefix+events.TopicState, 2, nil)
	if out, _, err := execute(t, breakerCommand(), "status"); err != nil || !strings.HasPrefix(out, "TENANT") || strings.Count(out, "\n") != 1 {
		t.Errorf("%q, %v", out, err)
	}
	for _, verb := range [][]string{{"status", "--tenant", "a/b"}, {"reset", "--tenant", "a/b", "--reason", "x"}, {"reset", "--tenant", "acme"}} {
		if _, _, err := execute(t, breakerCommand(), verb...); err == nil || !strings.Contains(err.Error(), "--") {
			t.Errorf("%v: %v", verb, err)
		}
	}
}
