package wiring

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/events"
)

func TestEveryShippedConfigurationLoads(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "..", "deploy", "config", "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		named, _, err := config.Sections[Config](file, nil)
		if err != nil || len(named) < 5 {
			t.Fatalf("%s: sections %q, %v", file, named, err)
		}
		if _, err := config.Load(DefaultConfig(), file, nil, named...); err != nil {
			t.Errorf("%s:\n%v", file, err)
		}
	}
}

// What a service needs besides its defaults must be told, and what it does not use must not be asked for.
func TestDefaultsAreCompleteButForSecrets(t *testing.T) {
	t.Parallel()
	for _, section := range []string{"kafka", "topics", "clickhouse", "geo", "detector", "archiver", "api", "telemetry"} {
		if _, err := config.Parse(DefaultConfig(), nil, nil, section); err != nil {
			t.Errorf("%s: %v", section, err)
		}
	}
	if _, err := config.Parse(DefaultConfig(), nil, nil, "ingest"); err == nil || !strings.HasPrefix(err.Error(), "ingest.tokens: ") {
		t.Errorf("ingest without tokens: %v", err)
	}
}

func TestTheDefaultDumpsAndReadsBack(t *testing.T) {
	t.Parallel()
	out, err := config.Dump(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.Parse(Config{}, out, nil, "kafka"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTopicsThatShareKeysSharePartitions(t *testing.T) {
	t.Parallel()
	c := DefaultTopics()
	c.Partitions = 12
	seen := map[string]bool{}
	for _, spec := range c.Specs() {
		seen[spec.Name] = true
		want := 12
		if spec.Name == events.TopicAlerts || spec.Name == events.TopicAccess {
			want = 1 // whoever has alerts sends for all, and tokens are in one order
		}
		if spec.Partitions != want || spec.Replication != 1 {
			t.Errorf("%+v", spec)
		}
		if (spec.Name == events.TopicState || spec.Name == events.TopicNetwork) && (!spec.Compact || spec.Retention != 0 || spec.MinCompactionLag == 0) {
			t.Errorf("state must be compacted and never expire: %+v", spec)
		}
	}
	if len(seen) != 14 {
		t.Errorf("%d topics", len(seen))
	}
	if err := (TopicsConfig{Partitions: 0, Replication: 1, MinInSync: 2}).Validate(); err == nil {
		t.Error("accepted")
	} else {
		for _, path := range []string{"partitions: ", "min_insync: ", "events: ", "findings: ", "revocations: "} {
			if !strings.Contains("\n"+err.Error(), "\n"+path) {
				t.Errorf("nothing about %q in\n%v", path, err)
			}
		}
	}
}
