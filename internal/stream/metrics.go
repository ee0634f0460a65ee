package stream

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are shared by everything a Cluster does. Labels are topics, partitions and closed sets.
type metrics struct {
	lag       *prometheus.GaugeVec   // topic, partition
	durable   *prometheus.GaugeVec   // topic, partition
	epoch     *prometheus.GaugeVec   // topic, partition
	stopped   *prometheus.GaugeVec   // topic, partition, reason
	records   *prometheus.CounterVec // topic
	batches   *prometheus.CounterVec // topic
	replayed  *prometheus.CounterVec // topic
	misplaced *prometheus.CounterVec // topic
	zombies   *prometheus.CounterVec // topic
	lost      *prometheus.CounterVec // topic
	redials   *prometheus.CounterVec // topic, reason
	retries   *prometheus.CounterVec // topic
	claims    *prometheus.CounterVec // topic, result
	restore   *prometheus.HistogramVec
	batch     *prometheus.HistogramVec
}

// Why an input connection was given up.
const (
	redialError      = "error"
	redialLeadership = "leadership"
	redialStalled    = "stalled"
)

// How a claim of a partition went.
const (
	claimWon    = "won"
	claimLost   = "lost"
	claimReused = "reused"
)

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const ns, sub = "countersign", "stream"
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help, Buckets: buckets}, []string{"topic"})
	}
	m := &metrics{
		lag:       gauge("lag_records", "Records between the position and the end of a partition.", "topic", "partition"),
		durable:   gauge("checkpoint_timestamp_seconds", "When the state of an owned partition was last known to be durable.", "topic", "partition"),
		epoch:     gauge("owner_epoch", "Epoch under which this process owns a partition.", "topic", "partition"),
		stopped:   gauge("partition_stopped", "1 while an owned partition is stopped for the reason.", "topic", "partition", "reason"),
		records:   counter("records_total", "Records handed to processors and handlers.", "topic"),
		batches:   counter("batches_total", "Batches made durable.", "topic"),
		replayed:  counter("replayed_records_skipped_total", "Replayed records whose effect the restored state already held.", "topic"),
		misplaced: counter("misplaced_records_total", "Records whose key belongs to another partition.", "topic"),
		zombies:   counter("zombie_writes_total", "Late records of former owners that were found and overwritten.", "topic"),
		lost:      counter("events_lost_to_retention_total", "Records that retention deleted before they were read.", "topic"),
		redials:   counter("redials_total", "Input connections given up, by reason.", "topic", "reason"),
		retries:   counter("produce_retries_total", "Produce requests that failed or whose outcome was unknown.", "topic"),
		claims:    counter("claims_total", "Claims of partitions, by result.", "topic", "result"),
		restore:   histogram("restore_seconds", "Time to restore and claim a partition.", prometheus.ExponentialBuckets(0.01, 2, 14)),
		batch:     histogram("batch_seconds", "Time from a batch in hand to its state being durable.", prometheus.ExponentialBuckets(0.0005, 2, 14)),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(
		register(reg, &m.lag), register(reg, &m.durable), register(reg, &m.epoch), register(reg, &m.stopped), register(reg, &m.records),
		register(reg, &m.batches), register(reg, &m.replayed), register(reg, &m.misplaced), register(reg, &m.zombies),
		register(reg, &m.lost), register(reg, &m.redials), register(reg, &m.retries), register(reg, &m.claims),
		register(reg, &m.restore), register(reg, &m.batch),
	)
}

// register adds *c to reg, or takes the collector that another Cluster registered before.
func register[C prometheus.Collector](reg prometheus.Registerer, c *C) error {
	err := reg.Register(*c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		existing, ok := already.ExistingCollector.(C)
		if !ok {
			return err
		}
		*c = existing
		return nil
	}
	return err
}

func label(partition int) string { return strconv.Itoa(partition) }
