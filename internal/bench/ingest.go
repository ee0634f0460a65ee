package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/source/entra"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/wiring"
)

// Ingest measures the way of Entra's sign-ins in. Decoding: from the bytes of Event Hubs messages to checked, enriched
// events, encoded for the log, on one core, beside a bare syntax check of the same bytes. End to end: to the embedded
// broker's acknowledgement, on all cores, beside the same events published ready-made. Hostile: the decoding time when
// every record has a user agent of its own, over the usual one. assets is where the geo databases are, if anywhere.
func Ingest(ctx context.Context, o Options, n, people int, assets string) (figures []Figure, err error) {
	usual, hostile := filepath.Join(o.Dir, "usual"), filepath.Join(o.Dir, "hostile")
	o.Progress("writing %d records twice", n)
	size, err := newHub(o.Seed, people, false).writeMessages(usual, n)
	if err != nil {
		return nil, err
	}
	if _, err := newHub(o.Seed+1, people, true).writeMessages(hostile, n); err != nil {
		return nil, err
	}
	places, known, err := openPlaces(assets)
	if err != nil {
		return nil, err
	}
	o.Progress("%d bytes a record; geo databases: %s", size/int64(n), known)

	bare, decoded, attacked, err := onOneCore(ctx, places, usual, hostile, n)
	if err != nil {
		return nil, err
	}
	cluster, _, stop, err := startBroker(ctx, filepath.Join(o.Dir, "broker"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	topics := wiring.DefaultTopics()
	if err := cluster.EnsureTopics(ctx, topics.Specs()); err != nil {
		return nil, err
	}
	o.Progress("end to end into the broker")
	whole, ready, err := endToEnd(ctx, cluster, places, usual, n, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, err
	}
	return []Figure{
		figure("ingest.decode_per_second", decoded, "records/s", bare),
		figure("ingest.end_to_end_per_second", whole, "records/s", ready),
		figure("ingest.hostile_ua_ratio", decoded/attacked, "", 0),
	}, nil
}

// onOneCore measures what one core does: the syntax check, the usual records and the hostile ones, a second.
func onOneCore(ctx context.Context, places *geo.DB, usual, hostile string, n int) (bare, decoded, attacked float64, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if bare, err = scanBare(usual, n); err != nil {
		return 0, 0, 0, err
	}
	if decoded, err = decodeAlone(ctx, places, usual, n); err != nil {
		return 0, 0, 0, err
	}
	attacked, err = decodeAlone(ctx, places, hostile, n)
	return bare, decoded, attacked, err
}

// openPlaces opens the geo databases that are installed.
func openPlaces(assets string) (places *geo.DB, known string, err error) {
	cfg := geo.DefaultConfig()
	cfg.City, cfg.ASN = geo.Find(assets)
	known = fmt.Sprintf("%d city, %d ASN", len(cfg.City), len(cfg.ASN))
	places, err = geo.Open(cfg, geo.Deps{})
	return places, known, err
}

// scanBare checks the syntax of all messages and does nothing else.
func scanBare(path string, n int) (perSecond float64, err error) {
	began := time.Now()
	err = readMessages(path, func(m []byte) error {
		if !json.Valid(m) {
			return errors.New("a message is no JSON")
		}
		return nil
	})
	return rate(n, time.Since(began)), err
}

// discard acknowledges everything at once.
type discard struct{}

func (discard) Publish(context.Context, string, []stream.Record) error { return nil }

// decodeAlone takes all messages in and publishes nowhere.
func decodeAlone(ctx context.Context, places *geo.DB, path string, n int) (perSecond float64, err error) {
	p, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{Publisher: discard{}, Geo: places})
	if err != nil {
		return 0, err
	}
	runtime.GC()
	began := time.Now()
	in := p.Intake(hubSource())
	err = readMessages(path, func(m []byte) error {
		in.Add(m, 0)
		if in.Full() {
			return in.Flush(ctx)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	r, err := in.Close(ctx)
	if err != nil {
		return 0, err
	}
	if r.Accepted != n {
		return 0, fmt.Errorf("%d of %d records were accepted; %v", r.Accepted, n, r.Rejections)
	}
	return rate(n, time.Since(began)), nil
}

func hubSource() ingest.Source {
	return ingest.Source{Name: "bench", Decoder: entra.EventHub(), Format: "entra-eventhub"}
}

// keeper publishes, and keeps copies to publish them bare.
type keeper struct {
	ingest.Publisher
	mu   sync.Mutex
	kept [][]stream.Record
}

func (k *keeper) Publish(ctx context.Context, topic string, records []stream.Record) error {
	k.mu.Lock()
	k.kept = append(k.kept, records)
	k.mu.Unlock()
	return k.Publisher.Publish(ctx, topic, records)
}

// endToEnd takes all messages in over as many intakes as there are cores, as partitions of a hub are read, until the
// broker has acknowledged the last; then publishes the same records once more, ready-made.
func endToEnd(ctx context.Context, cluster *stream.Cluster, places *geo.DB, path string, n, lanes int) (whole, ready float64, err error) {
	to := &keeper{Publisher: cluster.Publisher(stream.PublisherConfig{})}
	p, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{Publisher: to, Geo: places})
	if err != nil {
		return 0, 0, err
	}
	messages := make(chan []byte, lanes)
	errs := make(chan error, lanes+1)
	var wg sync.WaitGroup
	began := time.Now()
	var accepted int
	var mu sync.Mutex
	for range lanes {
		wg.Go(func() {
			in := p.Intake(hubSource())
			for m := range messages {
				in.Add(m, 0)
				if in.Full() {
					if err := in.Flush(ctx); err != nil {
						errs <- err
						return
					}
				}
			}
			r, err := in.Close(ctx)
			if err != nil {
				errs <- err
			}
			mu.Lock()
			accepted += r.Accepted
			mu.Unlock()
		})
	}
	err = readMessages(path, func(m []byte) error {
		select {
		case messages <- append([]byte(nil), m...):
			return nil
		case err := <-errs:
			return err
		}
	})
	close(messages)
	wg.Wait()
	took := time.Since(began)
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	if err != nil {
		return 0, 0, err
	}
	if accepted != n {
		return 0, 0, fmt.Errorf("%d of %d records were accepted", accepted, n)
	}

	began = time.Now()
	group := make(chan struct{}, 2*lanes)
	var bare sync.WaitGroup
	fails := make(chan error, len(to.kept))
	for _, chunk := range to.kept {
		group <- struct{}{}
		bare.Go(func() {
			defer func() { <-group }()
			if err := to.Publisher.Publish(ctx, events.TopicEvents, chunk); err != nil {
				fails <- err
			}
		})
	}
	bare.Wait()
	close(fails)
	for e := range fails {
		err = errors.Join(err, e)
	}
	return rate(n, took), rate(n, time.Since(began)), err
}
