package pull

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
)

// metrics are by source; their names come from the configuration. Gauges are those of the sources that run here.
type metrics struct {
	records     *prometheus.CounterVec // source, result
	errors      *prometheus.CounterVec // source
	lag         *prometheus.GaugeVec   // source
	lastSuccess *prometheus.GaugeVec   // source
	position    *prometheus.GaugeVec   // source
}

// newMetrics registers with reg; nil keeps them unregistered.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const ns, sub = "countersign", "pull"
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, []string{"source"})
	}
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "records_total", Help: "Records fetched, by source and what became of them.",
		}, []string{"source", "result"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "errors_total", Help: "Times that asking a source, or putting its records on the log, failed.",
		}, []string{"source"}),
		lag:         gauge("lag_seconds", "How old the newest event of the last page was when it was on the log."),
		lastSuccess: gauge("last_success_timestamp_seconds", "When the source was last asked to the end without an error."),
		position:    gauge("position_timestamp_seconds", "When the position of the source last moved on; its age is now minus this."),
	}
	if reg == nil {
		return m, nil
	}
	err := errors.Join(register(reg, &m.records), register(reg, &m.errors), register(reg, &m.lag), register(reg, &m.lastSuccess), register(reg, &m.position))
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return m, nil
}

// register adds *c to reg, or takes the collector that another source registered before.
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

// expect sets the counters of a source to 0, so that rates of the first increase are seen.
func (m *metrics) expect(source string) {
	m.count(source, ingest.Result{})
	m.errors.WithLabelValues(source).Add(0)
}

// count adds up the records of a page.
func (m *metrics) count(source string, r ingest.Result) {
	for result, n := range map[string]int{
		"accepted": r.Accepted, "duplicate": r.Duplicates, "skipped": r.Skipped, "rejected": r.Rejected,
	} {
		m.records.WithLabelValues(source, result).Add(float64(n))
	}
}

// arrived notes the age of the newest event of a page.
func (m *metrics) arrived(source string, newest events.Millis, now time.Time) {
	if newest != 0 {
		m.lag.WithLabelValues(source).Set(max(0, now.Sub(newest.Time()).Seconds()))
	}
}

// forget removes the gauges of a source that runs here no more.
func (m *metrics) forget(source string) {
	for _, g := range []*prometheus.GaugeVec{m.lag, m.lastSuccess, m.position} {
		g.DeleteLabelValues(source)
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / events.Second }
