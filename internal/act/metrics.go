package act

import "github.com/prometheus/client_golang/prometheus"

// The outcomes of a requirement: a closed set.
const (
	outcomeDone     = "done"
	outcomeObserved = "observed"
	outcomeRepeated = "repeated"
	// closed and expired ended before the action was done.
	outcomeClosed  = "closed"
	outcomeExpired = "expired"
	// refused, late and unreadable are dead letters, unless the action is only observed.
	outcomeRefused    = "refused"
	outcomeLate       = "late"
	outcomeUnreadable = "unreadable"
)

var outcomes = []string{
	outcomeDone, outcomeObserved, outcomeRepeated, outcomeClosed, outcomeExpired, outcomeRefused, outcomeLate, outcomeUnreadable,
}

// Why requirements wait: a closed set.
const (
	waitRetry   = "retry"
	waitBreaker = "breaker"
)

// metrics are by action, whose names the configuration bounds.
type metrics struct {
	outcomes *prometheus.CounterVec
	retries  *prometheus.CounterVec
	denied   *prometheus.GaugeVec
	waiting  *prometheus.GaugeVec
	held     *prometheus.CounterVec
	delay    *prometheus.HistogramVec
	troubles *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "countersign_act_" + name, Help: help}, append([]string{"action"}, labels...))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "countersign_act_" + name, Help: help}, append([]string{"action"}, labels...))
	}
	m := &metrics{
		outcomes: counter("requirements_total", "Requirements that matched, by what became of them.", "outcome"),
		retries:  counter("retries_total", "Requests that did not succeed and are made again.", "reason"),
		denied:   gauge("denied", "1 while the source refuses our credentials, permissions or address, and a person is needed."),
		waiting:  gauge("waiting", "Requirements that wait for their next try, or for the breaker.", "why"),
		held:     counter("held_total", "Actions that the breaker let wait."),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_act_delay_seconds", Help: "Time from the decision until the source had acted on it.",
			Buckets: prometheus.ExponentialBuckets(0.05, 2.5, 14),
		}, []string{"action"}),
		troubles: counter("consumer_troubles_total", "Troubles of reading and writing the log, each of which is retried."),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.outcomes, m.retries, m.denied, m.waiting, m.held, m.delay, m.troubles} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// begin shows the series of an action.
func (m *metrics) begin(action string) {
	for _, o := range outcomes {
		m.outcomes.WithLabelValues(action, o).Add(0)
	}
	for _, f := range []fault{down, denied} {
		m.retries.WithLabelValues(action, string(f)).Add(0)
	}
	m.denied.WithLabelValues(action).Set(0)
	m.waiting.WithLabelValues(action, waitRetry).Set(0)
	m.waiting.WithLabelValues(action, waitBreaker).Set(0)
	m.held.WithLabelValues(action).Add(0)
	m.troubles.WithLabelValues(action).Add(0)
}
