package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/source/native"
	"github.com/countersign-io/countersign/internal/stream"
)

// nowhere acknowledges everything at once.
type nowhere struct{}

func (nowhere) Publish(context.Context, string, []stream.Record) error { return nil }

// BenchmarkIntake is the way of a record from the bytes of a request to its record for the log, on one core; with the
// geo databases where they are installed. events/s is what matters.
func BenchmarkIntake(b *testing.B) {
	cfg := geo.DefaultConfig()
	cfg.City, cfg.ASN = geo.Find(filepath.Join("..", "..", ".cache", "assets"))
	places, err := geo.Open(cfg, geo.Deps{})
	if err != nil {
		b.Fatal(err)
	}
	p, err := NewPipeline(DefaultPipelineConfig(), PipelineDeps{Publisher: nowhere{}, Geo: places})
	if err != nil {
		b.Fatal(err)
	}
	const n = 10_000
	at := time.Now().UTC().Format(time.RFC3339Nano)
	round := 0
	body := func() []byte {
		var out bytes.Buffer
		round++
		for i := range n {
			fmt.Fprintf(&out, `{"kind":"sign_in","tenant":"acme","user":{"id":"5b9e1f04-8c2d-4a76-%04d","name":"Ana"},"time":%q,`+
				`"source":{"id":"%d-%d"},"outcome":"success","interactive":true,"app":{"id":"a1","name":"Portal"},`+
				`"session":{"id":"3c2b1a09-f8e7-4d6c-b5a4-%d"},"ip":"81.2.%d.%d",`+
				`"user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",`+
				`"auth":{"mfa":"performed","strength":"multi","methods":["password","push"]}}`+"\n", i%5000, at, round, i, i%5000, i%250, i%200)
		}
		return out.Bytes()
	}
	b.ReportAllocs()
	events := 0
	for b.Loop() {
		b.StopTimer()
		in := bytes.NewReader(body())
		b.StartTimer()
		intake := p.Intake(Source{Name: "bench", Decoder: native.Decoder{}, Format: FormatEvent})
		split := newSplitter(in, native.Decoder{}.MaxValue(), undecided, 0)
		for {
			v, err := split.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if intake.Add(v.bytes, v.number); intake.Full() {
				if err := intake.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		}
		split.release()
		result, err := intake.Close(b.Context())
		if err != nil || result.Accepted != n {
			b.Fatalf("%+v, %v", result, err)
		}
		events += result.Accepted
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}
