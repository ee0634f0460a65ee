package org

import (
	"math/rand/v2"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// BenchmarkFold is the network stage's work for one sighting of a living company, without encoding; B/sighting is what it
// would write when it wrote once a thousand sightings.
func BenchmarkFold(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	n := newTenant(b)
	at := monday
	written, folded := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		at += 500
		m := login(random.IntN(20_000), at)
		switch random.IntN(50) {
		case 0:
			m = mistype(random.IntN(20_000), at)
		case 1:
			m = failure(user(random.IntN(20_000)), at, "198.51.100.7", "198.51.100.0/24", 64496)
		}
		m.Offset = n.offset
		m.EventID = "0123456789abcdef0123456789abcdef"
		n.offset++
		m.Tenant, m.Kind, m.Ingested = "acme", events.SignIn, m.Time
		n.Fold(&m)
		if folded++; folded%1000 == 0 {
			for _, p := range n.Changed() {
				written += len(p.Name) + len(p.Value)
			}
			n.Clean()
		}
	}
	b.ReportMetric(float64(written)/float64(folded), "B/sighting")
}
