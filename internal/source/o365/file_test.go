package o365_test

import (
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/source/o365"
	"github.com/countersign-io/countersign/internal/stream"
)

// kept is a log in memory.
type kept map[string]int

func (k kept) Publish(_ context.Context, topic string, records []stream.Record) error {
	k[topic] += len(records)
	return nil
}

// An export as CSV survives the way from a file to the log: with a byte order mark, a type line, and ends as on Windows.
func TestExportIsTakenInRowByRow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.csv")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 4, 8, 15, 0, 0, time.UTC)
	if _, err := f.WriteString("\xEF\xBB\xBF#TYPE Deserialized.UnifiedAuditLogEvent\r\n"); err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(f)
	w.UseCRLF = true
	for _, row := range [][]string{
		{"RecordType", "CreationDate", "UserIds", "AuditData", "ResultIndex"},
		{"15", "x", "pat", record("a", at), "1"},
		{"15", "x", "pat", record("b", at), "2"},
		{"2", "x", "pat", `{"Id":"c","RecordType":2}`, "3"},
		{"15", "x", "pat", "", "4"},
	} {
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	if err := f.Close(); err != nil {
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
	result, err := p.File(t.Context(), path, ingest.FileOptions{Source: ingest.Source{Name: "o365", Decoder: o365.Audit(), Format: "o365"}})
	if err != nil || result.Accepted != 2 || result.Skipped != 3 || result.Rejected != 1 || log[events.TopicEvents] != 2 {
		t.Errorf("result %+v, log %v, error %v", result, log, err)
	}
}
