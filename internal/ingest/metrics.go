package ingest

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	records  *prometheus.CounterVec
	rejected map[string]prometheus.Counter
	skipped  *prometheus.CounterVec
	lag      prometheus.Histogram
	publish  prometheus.Histogram
}

// newMetrics registers with reg; nil keeps them unregistered.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	rejected := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_ingest_rejected_total", Help: "Records refused and dead-lettered, by reason.",
	}, []string{"reason"})
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_ingest_records_total", Help: "Records taken in, by format and what became of them.",
		}, []string{"format", "result"}),
		rejected: map[string]prometheus.Counter{},
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_ingest_skipped_total", Help: "Records that are no sign-ins by their kind, by reason.",
		}, []string{"reason"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "countersign_ingest_lag_seconds", Help: "Time from an event to its arrival.",
			Buckets: []float64{.1, 1, 10, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600},
		}),
		publish: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "countersign_ingest_publish_seconds", Help: "Time until a chunk of records was acknowledged.",
			Buckets: prometheus.ExponentialBuckets(.0005, 2, 16),
		}),
	}
	for _, reason := range []string{reasonUndecodable, reasonTooLarge, reasonInvalid, reasonTime, reasonTenant, reasonFamily} {
		m.rejected[reason] = rejected.WithLabelValues(reason)
	}
	m.skipped.WithLabelValues("category").Add(0)
	return m, register(reg, m.records, rejected, m.skipped, m.lag, m.publish)
}

func register(reg prometheus.Registerer, collectors ...prometheus.Collector) error {
	if reg == nil {
		return nil
	}
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// skip counts by reason; reasons are constants of the decoders.
func (m *metrics) skip(reason string) { m.skipped.WithLabelValues(reason).Inc() }

// count adds up an intake at its end.
func (m *metrics) count(format string, r Result) {
	for result, n := range map[string]int{
		"accepted": r.Accepted, "duplicate": r.Duplicates, "skipped": r.Skipped, "rejected": r.Rejected,
	} {
		m.records.WithLabelValues(format, result).Add(float64(n))
	}
}

type httpMetrics struct {
	requests *prometheus.CounterVec
	inFlight prometheus.Gauge
	duration prometheus.Histogram
	bytes    prometheus.Counter
}

// newHTTPMetrics registers with reg; nil keeps them unregistered.
func newHTTPMetrics(reg prometheus.Registerer) (*httpMetrics, error) {
	m := &httpMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_ingest_requests_total", Help: "Requests to POST /v1/events, /v1/sessions and /v1/receipts, by status.",
		}, []string{"status"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "countersign_ingest_requests_in_flight", Help: "Requests that are being served.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "countersign_ingest_request_seconds", Help: "Time from a request's headers to its answer.",
			Buckets: prometheus.ExponentialBuckets(.001, 2, 16),
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_ingest_received_bytes_total", Help: "Bytes of bodies, as they came.",
		}),
	}
	for _, status := range []string{"200", "400", "401", "403", "408", "413", "415", "429", "503"} {
		m.requests.WithLabelValues(status).Add(0)
	}
	return m, register(reg, m.requests, m.inFlight, m.duration, m.bytes)
}
