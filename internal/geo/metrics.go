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

var ageDesc = prometheus.NewDesc("countersign_geo_data_age_seconds",
	"Time since the database or list was made.", []string{"data"}, nil)

// ageCollector exports the ages of what is loaded. The labels are the configured files and lists.
type ageCollector struct{ db *DB }

func (c ageCollector) Describe(out chan<- *prometheus.Desc) { out <- ageDesc }

func (c ageCollector) Collect(out chan<- prometheus.Metric) {
	now := c.db.now()
	s := c.db.current.Load()
	seen := map[string]bool{}
	age := func(name string, built time.Time) {
		// Things of one name in different folders are one series; the first is the preferred one.
		if !seen[name] && !built.IsZero() {
			seen[name] = true
			out <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, now.Sub(built).Seconds(), name)
		}
	}
	for _, f := range s.files {
		if f.kind != listFile {
			age(f.name(), f.built)
		}
	}
	for _, l := range s.lists {
		age(l.name, l.built.Time())
	}
}
