package enforce

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/stepup"
)

// decision is what was answered, as a metric's label.
type decision string

const (
	passed     decision = "passed"
	public     decision = "public"
	challenged decision = "challenged"
	revoked    decision = "revoked"
	tooOften   decision = "refused"
	badToken   decision = "invalid_token"
	noToken    decision = "no_token"
	stale      decision = "stale"
	noKeys     decision = "no_keys"
	// unclear are requests that could not be read, for which the proxy's configuration is to blame, or a client that
	// sends what no path is; foreign are those of others than the proxies.
	unclear decision = "unclear"
	foreign decision = "foreign"
)

var decisions = []decision{passed, public, challenged, revoked, tooOften, badToken, noToken, stale, noKeys, unclear, foreign}

type metrics struct {
	decided  *prometheus.CounterVec
	duration prometheus.Histogram
	keys     prometheus.Counter
}

// newMetrics registers with reg; nil keeps them unregistered.
func newMetrics(reg prometheus.Registerer, index *stepup.Index) (*metrics, error) {
	m := &metrics{
		decided: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_enforce_decisions_total", Help: "Requests that proxies asked about, by what was answered.",
		}, []string{"decision"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "countersign_enforce_decision_seconds", Help: "Time to an answer.", Buckets: prometheus.ExponentialBuckets(.00005, 2, 16),
		}),
		keys: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_enforce_keys_failed_total", Help: "Attempts to read an issuer's keys that failed.",
		}),
	}
	for _, d := range decisions {
		m.decided.WithLabelValues(string(d)).Add(0)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.decided, m.duration, m.keys,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_enforce_requirements_open", Help: "Requirements that are known and open.",
		}, func() float64 { return float64(index.Stats().Open) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "countersign_enforce_requirements_evicted_total", Help: "Requirements forgotten before their end; raise max_open.",
		}, func() float64 { return float64(index.Stats().Evicted) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_enforce_knowledge_age_seconds", Help: "Since when nothing was heard from countersign; -1 is never.",
		}, func() float64 {
			if age, _ := index.Fresh(); age >= 0 {
				return age.Seconds()
			}
			return -1
		}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}
