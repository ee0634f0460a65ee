package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/source/entra"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/wiring"
)

// Ingest measures the way of Entra's sign-ins in. Decoding: from the bytes of Event Hubs messages to checked and enriched
// events, on one core, beside a bare syntax check of the same bytes. End to end: from the same bytes to the embedded
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

	bare, decoded, attacked, err := onOneCore(places, usual, hostile, n)
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
func onOneCore(places *geo.DB, usual, hostile string, n int) (bare, decoded, attacked float64, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if bare, err = scanBare(usual, n); err != nil {
		return 0, 0, 0, err
	}
	if decoded, err = decodeAlone(places, usual, n); err != nil {
		return 0, 0, 0, err
	}
	attacked, err = decodeAlone(places, hostile, n)
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

// decodeAlone decodes and enriches all messages.
func decodeAlone(places *geo.DB, path string, n int) (perSecond float64, err error) {
	p, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{Publisher: nobody{}, Geo: places})
	if err != nil {
		return 0, err
	}
	runtime.GC()
	src, accepted := hubSource(), 0
	began := time.Now()
	err = readMessages(path, func(m []byte) error {
		var wrong error
		src.Decoder.Decode(m, func(_ []byte, e *events.Event, err error) {
			if err == nil {
				err = p.Prepare(src, e)
			}
			if err != nil {
				wrong = errors.Join(wrong, err)
				return
			}
			accepted++
		})
		return wrong
	})
	took := time.Since(began)
	if err == nil && accepted != n {
		err = fmt.Errorf("%d of %d records were accepted", accepted, n)
	}
	return rate(n, took), err
}

// nobody is the publisher of a pipeline that publishes nothing.
type nobody struct{}

func (nobody) Publish(context.Context, string, []stream.Record) error {
	return errors.New("nothing is to be published")
}

func hubSource() ingest.Source {
	return ingest.Source{Name: "bench", Decoder: entra.EventHub(), Format: "entra-eventhub"}
}

// keeper publishes, and keeps some of what it published, to publish it once more bare.
type keeper struct {
	ingest.Publisher
	mu      sync.Mutex
	kept    [][]stream.Record
	records int
}

// keptRecords bounds what a keeper keeps: a large heap would spare the garbage collector work.
const keptRecords = 50_000

func (k *keeper) Publish(ctx context.Context, topic string, records []stream.Record) error {
	k.mu.Lock()
	if k.records < keptRecords {
		k.kept, k.records = append(k.kept, records), k.records+len(records)
	}
	k.mu.Unlock()
	return k.Publisher.Publish(ctx, topic, records)
}

// endToEnd takes all messages in over as many lanes as there are cores, as partitions of a hub are read, until the broker
// has acknowledged the last; then it publishes some of the same records once more, ready-made.
func endToEnd(ctx context.Context, cluster *stream.Cluster, places *geo.DB, path string, n, lanes int) (whole, ready float64, err error) {
	to := &keeper{Publisher: cluster.Publisher(stream.PublisherConfig{})}
	p, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{Publisher: to, Geo: places})
	if err != nil {
		return 0, 0, err
	}
	// Messages wait in memory that is used again, as fetches of a consumer do.
	messages, free := make(chan []byte, lanes), make(chan []byte, 2*lanes)
	for range cap(free) {
		free <- nil
	}
	group, running := errgroup.WithContext(ctx)
	var accepted atomic.Int64
	began := time.Now()
	for range lanes {
		group.Go(func() error {
			in := p.Intake(hubSource())
			for m := range messages {
				in.Add(m, 0)
				free <- m
				if in.Full() {
					if err := in.Flush(running); err != nil {
						return err
					}
				}
			}
			r, err := in.Close(running)
			accepted.Add(int64(r.Accepted))
			return err
		})
	}
	group.Go(func() error {
		defer close(messages)
		return readMessages(path, func(m []byte) error {
			select {
			case buf := <-free:
				messages <- append(buf[:0], m...)
				return nil
			case <-running.Done():
				return running.Err()
			}
		})
	})
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	took := time.Since(began)
	if accepted.Load() != int64(n) {
		return 0, 0, fmt.Errorf("%d of %d records were accepted", accepted.Load(), n)
	}
	group, running = errgroup.WithContext(ctx)
	group.SetLimit(2 * lanes)
	began = time.Now()
	for _, chunk := range to.kept {
		group.Go(func() error { return to.Publisher.Publish(running, events.TopicEvents, chunk) })
	}
	err = group.Wait()
	return rate(n, took), rate(to.records, time.Since(began)), err
}
