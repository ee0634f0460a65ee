package stepup

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
	"unsafe"
)

// BenchmarkCheckMillion looks up users among a million open requirements. The names that are looked up are made afresh in a
// buffer, as the names of a request are, so that only the index is cold.
func BenchmarkCheckMillion(b *testing.B) {
	const million = 1_000_000
	x, err := NewIndex(IndexConfig{})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	for i := range million {
		x.Apply(Claims{Status: StatusOpen, JTI: "j", Requirement: Requirement{
			ID: fmt.Sprintf("%032x", i), Subject: Subject{Tenant: "acme", User: fmt.Sprintf("user-%07d@acme.example", i)},
			Action: ActionStepUp, ACRValues: []string{"phr"}, NotBefore: now, Expires: now.Add(12 * time.Hour),
		}})
	}
	if s := x.Stats(); s.Open != million {
		b.Fatalf("open %d, want %d", s.Open, million)
	}
	for _, lane := range []struct {
		name  string
		from  int
		found bool
	}{{"open", 0, true}, {"clear", million, false}} {
		b.Run(lane.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := rand.New(rand.NewPCG(1, 2))
				buf := make([]byte, 0, 64)
				for pb.Next() {
					buf = append(buf[:0], "user-"...)
					n := lane.from + r.IntN(million)
					for digit := 1_000_000; digit > n && digit > 1; digit /= 10 {
						buf = append(buf, '0')
					}
					buf = strconv.AppendInt(buf, int64(n), 10)
					buf = append(buf, "@acme.example"...)
					_, ok := x.Check(Subject{Tenant: "acme", User: unsafe.String(&buf[0], len(buf))})
					if ok != lane.found {
						b.Fatalf("%s: %v, want %v", buf, ok, lane.found)
					}
				}
			})
		})
	}
}

// BenchmarkSnapshotMillion writes and restores a million open requirements.
func BenchmarkSnapshotMillion(b *testing.B) {
	x, err := NewIndex(IndexConfig{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1_000_000 {
		x.Apply(change(fmt.Sprintf("%032x", i), fmt.Sprint("user-", i), "", StatusOpen))
	}
	var text bytes.Buffer
	b.Run("note", func(b *testing.B) {
		for b.Loop() {
			x.entries()
		}
	})
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			text.Reset()
			if err := x.Snapshot(&text); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(text.Len())/1e6, "bytes/requirement")
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			copied, err := NewIndex(IndexConfig{})
			if err != nil {
				b.Fatal(err)
			}
			if n, err := copied.Restore(bytes.NewReader(text.Bytes())); err != nil || n != 1_000_000 {
				b.Fatal(n, err)
			}
		}
	})
}
