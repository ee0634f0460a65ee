package engine

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	up       prometheus.Gauge
	restarts prometheus.Counter
}

// newMetrics registers with r, or with nothing when r is nil.
func newMetrics(r prometheus.Registerer, e *Engine) *metrics {
	m := &metrics{
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "countersign_engine_up",
			Help: "1 while the embedded engine process is ready, else 0.",
		}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_engine_restarts_total",
			Help: "Times the embedded engine process ended by itself and was started again.",
		}),
	}
	if r != nil {
		r.MustRegister(m.up, m.restarts, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_engine_resident_bytes",
			Help: "Resident memory of the embedded engine process.",
		}, func() float64 { return float64(residentBytes(e.PID())) }))
	}
	return m
}
