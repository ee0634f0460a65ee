package demo

import (
	"context"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/stream"
)

type nobody struct{}

func (nobody) Publish(context.Context, string, []stream.Record) error { return nil }

// The past is what ingest would have made of it, or people's devices would change on the day on which the play begins; but
// nobody has accepted it, so that the breaker's minute is one of the past.
func TestThePastIsAsIngestWouldMakeItButOfItsTime(t *testing.T) {
	t.Parallel()
	places, err := geo.Open(geo.DefaultConfig(), geo.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	pipeline, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{Publisher: nobody{}, Geo: places})
	if err != nil {
		t.Fatal(err)
	}
	start := events.MillisOf(time.Now().Add(-4 * 24 * time.Hour))
	d := &Demo{cfg: Config{History: 4}, state: state{Start: start}}
	past := make([]events.Event, 0, 8)
	for day := range events.Millis(8) {
		past = append(past, events.Event{
			Kind: events.SignIn, Tenant: Tenant, User: events.User{ID: "emp-1"}, Time: start + day*events.Day/2, Outcome: events.Success,
			Source: events.Source{Name: company.Source, Family: company.SourceFamily, ID: "past-" + day.String()}, IP: "192.0.2.1",
			Place: events.Place{Lat: 48, Lon: 11, RadiusKm: 20, Country: "DE"}, UserAgent: "Simulated-SDK/3.4.1 (Linux; amd64)",
		})
	}
	var logged []events.Event
	if err := d.remember(t.Context(), pipeline, func(_ context.Context, batch []events.Event) error {
		logged = append(logged, batch...)
		return nil
	}, past); err != nil {
		t.Fatal(err)
	}
	if len(logged) != 8 || d.lastDay != 2 {
		t.Errorf("%d events on the log, %d of the last day", len(logged), d.lastDay)
	}
	for _, e := range logged {
		if e.Ingested != 0 || e.ID == "" || e.Source.Name != source || e.Device.OS != "Linux" || e.Place.Country != "DE" {
			t.Errorf("on the log is %s", events.Encode(&e))
		}
	}
	past[0].Kind = events.Erasure
	if err := d.remember(t.Context(), pipeline, nil, past); err == nil {
		t.Error("what ingest refuses is on the log")
	}
}

func TestAfterIsWhatIsLater(t *testing.T) {
	t.Parallel()
	batch := []events.Event{{Time: 1}, {Time: 3}, {Time: 3}, {Time: 5}}
	for limit, want := range map[events.Millis]int{0: 4, 1: 3, 2: 3, 3: 1, 5: 0, 9: 0} {
		if got := after(batch, limit); len(got) != want {
			t.Errorf("%d events after %d, want %d", len(got), limit, want)
		}
	}
}
