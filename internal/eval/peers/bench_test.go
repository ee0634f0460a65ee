package peers

import (
	"testing"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
)

func BenchmarkPeers(b *testing.B) {
	config := company.DefaultConfig()
	config.Users, config.Days, config.Ingested = 2000, 8, true
	var stream []events.Event
	for e := range company.New(config).Events() {
		stream = append(stream, e)
	}
	for _, p := range All() {
		if p.Rule == nil {
			continue
		}
		b.Run(p.Name, func(b *testing.B) {
			b.ReportAllocs()
			seen := 0
			for b.Loop() {
				rule := p.Rule()
				for i := range stream {
					rule.See(&stream[i])
				}
				seen += len(stream)
			}
			b.ReportMetric(float64(seen)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
