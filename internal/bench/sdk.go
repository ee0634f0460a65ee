package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/countersign-io/countersign/stepup"
)

// SDK measures one look-up among n open requirements, half of them found, beside a look-up of the same names in a bare Go
// map without lock, expiry or sessions. Names are made afresh in a buffer, as those of a request are; the cost of making
// them is measured alone and taken off both.
func SDK(_ context.Context, o Options, n int) ([]Figure, error) {
	o.Progress("filling an index and a map with %d open requirements", n)
	index, err := stepup.NewIndex(stepup.IndexConfig{MaxOpen: n})
	if err != nil {
		return nil, err
	}
	bare := make(map[string]*stepup.Requirement, n)
	now := time.Now()
	name := make([]byte, 0, 64)
	for i := range n {
		r := stepup.Requirement{
			ID: fmt.Sprintf("%032x", i), Subject: stepup.Subject{Tenant: "acme", User: string(appendName(name[:0], i))},
			Action: stepup.ActionStepUp, ACRValues: []string{"phr"}, NotBefore: now, Expires: now.Add(12 * time.Hour),
		}
		index.Apply(stepup.Claims{Status: stepup.StatusOpen, JTI: r.ID, Requirement: r})
		bare["acme/"+r.Subject.User] = &r
	}
	if open := index.Stats().Open; open != n {
		return nil, fmt.Errorf("the index holds %d open requirements, %d were given", open, n)
	}
	o.Progress("measuring")
	found := 0
	making := measure(n, "acme/", func(string) {})
	checking := measure(n, "", func(user string) {
		if _, ok := index.Check(stepup.Subject{Tenant: "acme", User: user}); ok {
			found++
		}
	})
	if found == 0 {
		return nil, fmt.Errorf("no look-up of the index found anything")
	}
	mapping := measure(n, "acme/", func(key string) {
		if _, ok := bare[key]; ok {
			found++
		}
	})
	base := nanoseconds(making)
	return []Figure{
		figure("sdk.check_ns", nanoseconds(checking)-base, "ns", nanoseconds(mapping)-base),
		figure("sdk.check_allocs", float64(checking.AllocsPerOp()), "allocs", 0),
	}, nil
}

func nanoseconds(r testing.BenchmarkResult) float64 { return float64(r.T.Nanoseconds()) / float64(r.N) }

func measure(n int, prefix string, look func(string)) testing.BenchmarkResult {
	return testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		random := rand.New(rand.NewPCG(1, 2))
		buf := make([]byte, 0, 64)
		for b.Loop() {
			buf = appendName(append(buf[:0], prefix...), random.IntN(2*n))
			// The text lives no longer than the call.
			look(unsafe.String(&buf[0], len(buf)))
		}
	})
}

func appendName(b []byte, i int) []byte {
	b = append(b, "user-"...)
	for digit := 1_000_000; digit > i && digit > 1; digit /= 10 {
		b = append(b, '0')
	}
	return append(strconv.AppendInt(b, int64(i), 10), "@acme.example"...)
}
