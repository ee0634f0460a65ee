package notify

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/internal/events"
)

// What became of a try: a closed set.
const (
	resultSent   = "sent"
	resultFailed = "failed"
	resultDead   = "dead"
)

var results = []string{resultSent, resultFailed, resultDead}

// metrics are by target, which the configuration bounds.
type metrics struct {
	messages   *prometheus.CounterVec
	summarised *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	waiting    *prometheus.GaugeVec
	incidents  prometheus.Gauge
	leading    prometheus.Gauge
	unreadable *prometheus.CounterVec
	behind     prometheus.Gauge
	publishing prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, targets []Target) (*metrics, error) {
	name := func(s string) string { return "countersign_notify_" + s }
	m := &metrics{
		messages:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("messages_total"), Help: "Tries to send a message, by what became of them."}, []string{"target", "result"}),
		summarised: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("summarised_total"), Help: "Messages that a summary stood for."}, []string{"target"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name("send_seconds"), Help: "Time of one try.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}, []string{"target"}),
		waiting:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name("waiting"), Help: "Messages that wait for their first try or another."}, []string{"target"}),
		incidents:  prometheus.NewGauge(prometheus.GaugeOpts{Name: name("incidents"), Help: "Incidents that are held, on the process that sends."}),
		leading:    prometheus.NewGauge(prometheus.GaugeOpts{Name: name("leading"), Help: "1 on the process that sends."}),
		behind:     prometheus.NewGauge(prometheus.GaugeOpts{Name: name("behind_seconds"), Help: "Age of the latest finding when it was taken in."}),
		unreadable: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("unreadable_total"), Help: "Records that are no finding or requirement."}, []string{"topic"}),
		publishing: prometheus.NewCounter(prometheus.CounterOpts{Name: name("log_retries_total"), Help: "Writes to the log that failed and were tried again."}),
	}
	for _, t := range targets {
		for _, r := range results {
			m.messages.WithLabelValues(t.Name, r).Add(0)
		}
		m.summarised.WithLabelValues(t.Name).Add(0)
		m.waiting.WithLabelValues(t.Name).Set(0)
	}
	for _, topic := range []string{events.TopicFindings, events.TopicRevocations} {
		m.unreadable.WithLabelValues(topic).Add(0)
	}
	all := []prometheus.Collector{m.messages, m.summarised, m.seconds, m.waiting, m.incidents, m.leading, m.behind, m.unreadable, m.publishing}
	if reg == nil {
		return m, nil
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) tried(target, result string, took time.Duration) {
	m.messages.WithLabelValues(target, result).Inc()
	m.seconds.WithLabelValues(target).Observe(took.Seconds())
}
