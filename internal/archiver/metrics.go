package archiver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/internal/history"
)

// Reasons of archiver dead letters: a closed set.
const (
	reasonUnreadable = "unreadable" // not decodable, or nothing that the history can hold
	reasonRejected   = "rejected"   // refused by ClickHouse
)

// metrics are by table: a closed set.
type metrics struct {
	rows        *prometheus.CounterVec
	inserts     *prometheus.CounterVec
	retries     *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	delay       *prometheus.GaugeVec
	buffered    *prometheus.GaugeVec
	tombstones  *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
	troubles    *prometheus.CounterVec
	toErase     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	byTable := []string{"table"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "countersign_archiver_" + name, Help: help}, labels)
	}
	m := &metrics{
		rows:    counter("rows_total", "Rows that are durable in ClickHouse, repeats included.", byTable...),
		inserts: counter("inserts_total", "Inserts that ClickHouse acknowledged.", byTable...),
		retries: counter("insert_retries_total", "Inserts that failed and were tried again.", byTable...),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_archiver_insert_seconds", Help: "Time from sending an insert to its acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}, byTable),
		delay: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "countersign_archiver_delay_seconds", Help: "Age of the newest row of the last insert when it became durable.",
		}, byTable),
		buffered: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "countersign_archiver_buffered_rows", Help: "Rows that are read and not yet durable.",
		}, byTable),
		tombstones:  counter("tombstones_total", "Deletions on a compacted topic, which the history keeps nothing of.", byTable...),
		deadLetters: counter("dead_letters_total", "Records that went to the dead letters.", "table", "reason"),
		toErase: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "countersign_archiver_rows_to_erase", Help: "Rows of erased persons that ClickHouse had not deleted at the last look.",
		}),
		troubles: counter("consumer_troubles_total", "Troubles of reading the log, each of which is retried.", byTable...),
	}
	for _, t := range history.Tables {
		for _, v := range []*prometheus.CounterVec{m.rows, m.inserts, m.retries, m.tombstones, m.troubles} {
			v.WithLabelValues(string(t)).Add(0)
		}
		m.deadLetters.WithLabelValues(string(t), reasonUnreadable).Add(0)
		m.deadLetters.WithLabelValues(string(t), reasonRejected).Add(0)
		m.buffered.WithLabelValues(string(t)).Set(0)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.rows, m.inserts, m.retries, m.seconds, m.delay, m.buffered, m.tombstones, m.deadLetters, m.troubles, m.toErase,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// inserted counts an insert that is durable.
func (m *metrics) inserted(t history.Table, rows int, took, age time.Duration) {
	m.rows.WithLabelValues(string(t)).Add(float64(rows))
	m.inserts.WithLabelValues(string(t)).Inc()
	m.seconds.WithLabelValues(string(t)).Observe(took.Seconds())
	m.delay.WithLabelValues(string(t)).Set(max(0, age.Seconds()))
}
