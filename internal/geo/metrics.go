package geo

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	lookups [len(answers)]prometheus.Counter
	reloads *prometheus.CounterVec
}

// newMetrics registers the metrics of db. The ages are read from the snapshot in use when somebody asks.
func newMetrics(reg prometheus.Registerer, db *DB) (*metrics, error) {
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_geo_lookups_total",
		Help: "Addresses looked up, by what the city databases answered.",
	}, []string{"answer"})
	m := &metrics{reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_geo_reloads_total",
		Help: "Checks for changed files, by result.",
	}, []string{"result"})}
	for i, name := range answers {
		m.lookups[i] = lookups.WithLabelValues(name)
	}
	m.reloads.WithLabelValues("ok").Add(0)
	m.reloads.WithLabelValues("error").Add(0)
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{lookups, m.reloads, ageCollector{db}} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

var (
	ageDesc = prometheus.NewDesc("countersign_geo_data_age_seconds",
		"Time since the database or list was made.", []string{"data"}, nil)
	staleDesc = prometheus.NewDesc("countersign_geo_data_stale",
		"1 when the database or list is older than it may be, else 0.", []string{"data"}, nil)
)

// ageCollector exports the ages of what is loaded. The labels are the configured files and lists.
type ageCollector struct{ db *DB }

func (c ageCollector) Describe(out chan<- *prometheus.Desc) {
	out <- ageDesc
	out <- staleDesc
}

func (c ageCollector) Collect(out chan<- prometheus.Metric) {
	c.db.current.Load().ages(c.db.now(), c.db.cfg.MaxAge, func(name string, age, limit time.Duration) {
		stale := 0.0
		if limit > 0 && age > limit {
			stale = 1
		}
		out <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, age.Seconds(), name)
		out <- prometheus.MustNewConstMetric(staleDesc, prometheus.GaugeValue, stale, name)
	})
}
