package keycloak_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/source/keycloak"
	"github.com/countersign-io/countersign/internal/stream"
)

// kept is a log in memory.
type kept map[string]int

func (k kept) Publish(_ context.Context, topic string, records []stream.Record) error {
	k[topic] += len(records)
	return nil
}

// Lines of text survive the way from a file to the log, also those that have nothing to do with it.
func TestLogFileIsTakenInLineByLine(t *testing.T) {
	t.Parallel()
	const line = `2026-03-04 08:15:%02d,123 INFO  [org.keycloak.events] (executor-thread-1) type="LOGIN", realmId="r", clientId="web", userId="u-1", ipAddress="192.0.2.60", x="[{,"` + "\n"
	text := "\n2026-03-04 08:15:00,123 INFO  [io.quarkus] (main) Keycloak started {\n"
	for n := range 5 {
		text += fmt.Sprintf(line, n) + "\tat java.base/java.lang.Thread.run(Thread.java:1)\r\n"
	}
	text += `{"timestamp":"2026-03-04T08:16:00Z","loggerName":"org.keycloak.events","message":"type=\"LOGIN\", realmId=\"r\", userId=\"u-1\""}` + "\n"
	text += `08:15:00,123 INFO  [org.keycloak.events] (t) type="LOGIN", realmId="r", userId="u-1"` // without a date
	path := filepath.Join(t.TempDir(), "keycloak.log")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	places, err := geo.Open(geo.DefaultConfig(), geo.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	log := kept{}
	p, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{Publisher: log, Geo: places})
	if err != nil {
		t.Fatal(err)
	}
	result, err := p.File(t.Context(), path, ingest.FileOptions{Source: ingest.Source{Name: "sso", Decoder: keycloak.Events(), Format: "keycloak"}})
	if err != nil || result.Accepted != 6 || result.Skipped != 6 || result.Rejected != 1 || log[events.TopicEvents] != 6 || log[events.TopicDeadLetter] != 1 {
		t.Errorf("result %+v, log %v, error %v", result, log, err)
	}
}
