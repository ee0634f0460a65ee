package history_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
)

// records are encoded events of many users over some hours, as an archiver reads them.
func records(n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		e := event("acme", fmt.Sprintf("user-%05d", i*7919%50000), i/10)
		e.Source.ID = fmt.Sprintf("5b9e1f04-8c2d-4a76-b3f1-%012d", i)
		e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
		e.Session.ID = fmt.Sprintf("session-%d", i%9973)
		e.UserAgent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
		e.App, e.Resource = events.Ref{ID: "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00", Name: "Example Portal"}, events.Ref{ID: "e8f1b6d0", Name: "Example API"}
		e.Ingested = e.Time + 1500
		e.Place.Country = []string{"DE", "FR", "US", "JP"}[i%4]
		list[i] = events.Encode(e)
	}
	return list
}

// BenchmarkArchive decodes records and inserts them in blocks of 25,000, as the archiver does with one inserter.
func BenchmarkArchive(b *testing.B) {
	const size = 25_000
	s := historytest.Open(b)
	all := records(size * 8)
	block := history.NewEvents()
	var e events.Event
	n := 0
	for b.Loop() {
		block.Reset()
		for i := range size {
			raw := all[(n*size+i)%len(all)]
			if err := events.DecodeInto(raw, &e); err != nil {
				b.Fatal(err)
			}
			if err := block.Append(&e, raw, time.Now()); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Insert(b.Context(), &block.Block); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n*size)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkBlock is the part of it that runs in this process before the insert.
func BenchmarkBlock(b *testing.B) {
	all := records(20_000)
	block := history.NewEvents()
	var e events.Event
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i%len(all) == 0 {
			block.Reset()
		}
		raw := all[i%len(all)]
		if err := events.DecodeInto(raw, &e); err != nil {
			b.Fatal(err)
		}
		if err := block.Append(&e, raw, time.Now()); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
