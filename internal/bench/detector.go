package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/wiring"
)

// Detector measures the detector over n events of a simulated company, from its start to the last checkpoint: joining the
// group, restoring, reading, deciding, writing findings, revocations and state. Beside it a consumer that reads the same
// topic with kafka-go alone and only counts.
func Detector(ctx context.Context, o Options, n, users int) (figures []Figure, err error) {
	cluster, address, stop, err := startBroker(ctx, filepath.Join(o.Dir, "broker"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := fillEvents(ctx, cluster, o, n, users); err != nil {
		return nil, err
	}
	_, ends, err := cluster.Ends(ctx, events.TopicEvents)
	if err != nil {
		return nil, err
	}
	o.Progress("reading bare")
	read, size, took, err := bareConsume(ctx, address, events.TopicEvents, ends)
	if err != nil {
		return nil, err
	}
	if read != n {
		return nil, fmt.Errorf("the bare consumer read %d of %d events", read, n)
	}
	bare := rate(n, took)
	o.Progress("bare: %.0f events/s of %d bytes; now the detector", bare, size/int64(n))

	reg := prometheus.NewRegistry()
	d, err := detector.New(detector.DefaultConfig(), detector.Deps{Cluster: cluster, Log: zap.NewNop(), Metrics: reg})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- d.Run(running) }()
	for decided(reg) < n || !judged(reg) {
		select {
		case err := <-done:
			return nil, fmt.Errorf("the detector stopped early: %w", err)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond): // gathering costs time of its own
		}
	}
	cancel() // it writes the batch in hand and its checkpoint, then returns
	if err := <-done; err != nil {
		return nil, err
	}
	whole := rate(n, time.Since(began))
	mean, known, err := stateSize(ctx, cluster)
	if err != nil {
		return nil, err
	}
	o.Progress("%d users in the state; %s", known, counts(reg))
	return []Figure{
		figure("detector.events_per_second", whole, "events/s", bare),
		figure("detector.bare_ratio", whole/bare, "", 0),
		figure("detector.profile_bytes_mean", mean, "bytes", 0),
	}, nil
}

// fillEvents writes n events of a company of that many users to a fresh event topic.
func fillEvents(ctx context.Context, cluster *stream.Cluster, o Options, n, users int) error {
	topics := wiring.DefaultTopics()
	if err := cluster.EnsureTopics(ctx, topics.Specs()); err != nil {
		return err
	}
	o.Progress("writing %d events of %d users", n, users)
	producer := cluster.Producer()
	pending := make([][]stream.Record, topics.Partitions)
	sizes := make([]int, topics.Partitions)
	flush := func(p int) error {
		if len(pending[p]) == 0 {
			return nil
		}
		_, err := producer.Produce(ctx, events.TopicEvents, p, pending[p])
		pending[p], sizes[p] = pending[p][:0], 0
		return err
	}
	written := 0
	cfg := company.DefaultConfig()
	cfg.Seed, cfg.Users, cfg.Days, cfg.Ingested = o.Seed, users, 0, true
	cfg.AttacksPerDay, cfg.QuietDays = float64(users)/1000, 0
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("the simulated company: %w", err)
	}
	people := company.New(cfg)
	for written < n {
		var e events.Event
		if _, ok := people.Next(&e); !ok {
			break
		}
		written++
		rec := stream.Record{Key: []byte(e.Key()), Value: events.Encode(&e)}
		p := stream.PartitionFor(rec.Key, topics.Partitions)
		pending[p] = append(pending[p], rec)
		sizes[p] += len(rec.Key) + len(rec.Value)
		if sizes[p] > 500_000 {
			if err := flush(p); err != nil {
				return err
			}
		}
	}
	for p := range pending {
		if err := flush(p); err != nil {
			return err
		}
	}
	if written < n {
		return fmt.Errorf("the company lived through %d events only, %d were asked for", written, n)
	}
	return nil
}

// decided is how many events the detector has decided on, without those of its own network stage.
func decided(reg prometheus.Gatherer) int {
	return int(sum(reg, "countersign_detector_events_total", string(events.NetworkVerdict), string(events.TenantContext)))
}

// judged tells whether the network stage has taken in all that it was told.
func judged(reg prometheus.Gatherer) bool {
	return sum(reg, "countersign_network_sightings_total") >= sum(reg, "countersign_detector_sightings_total")
}

// sum adds up a metric, without the series that have one of some label values.
func sum(reg prometheus.Gatherer, name string, without ...string) float64 {
	families, err := reg.Gather()
	if err != nil {
		return 0
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			value := m.GetCounter().GetValue()
			for _, l := range m.GetLabel() {
				if slices.Contains(without, l.GetValue()) {
					value = 0
				}
			}
			total += value
		}
	}
	return total
}

func counts(reg prometheus.Gatherer) string {
	return fmt.Sprintf("%.0f sightings, %.0f verdicts, %.0f findings, %.0f changes of requirements, %.0f rejected",
		sum(reg, "countersign_network_sightings_total"), sum(reg, "countersign_network_verdicts_total"),
		sum(reg, "countersign_detector_findings_total"), sum(reg, "countersign_detector_requirements_total"),
		sum(reg, "countersign_detector_rejected_total"))
}

// stateSize is the mean size of a user's newest state on the log, envelope included.
func stateSize(ctx context.Context, cluster *stream.Cluster) (mean float64, users int, err error) {
	sizes := map[string]int{}
	err = cluster.Table(nil).Load(ctx, events.TopicState, func(rec stream.Record) error {
		if len(rec.Key) > 0 && rec.Key[0] != 0 { // a leading zero byte marks the checkpoint
			sizes[string(rec.Key)] = len(rec.Value)
		}
		return nil
	})
	total := 0
	for _, n := range sizes {
		total += n
	}
	if len(sizes) == 0 {
		return 0, 0, errors.Join(err, errors.New("the state topic is empty"))
	}
	return float64(total) / float64(len(sizes)), len(sizes), err
}
