package ssf

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
)

// metrics are those of one transmitter, which is a constant label of theirs.
type metrics struct {
	sets          *prometheus.CounterVec
	last          prometheus.Gauge
	verifications prometheus.Counter
	enabled       prometheus.Gauge
}

// What becomes of a token beside the codes of refusals.
const (
	resultTaken     = "taken"
	resultDiscarded = "discarded"
	resultPostponed = "postponed"
)

// newMetrics registers with reg; nil keeps them unregistered.
func newMetrics(reg prometheus.Registerer, transmitter string) (*metrics, error) {
	labels := prometheus.Labels{"transmitter": transmitter}
	m := &metrics{
		sets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_ssf_sets_total", ConstLabels: labels,
			Help: "Security Event Tokens that came, by what became of them: taken, discarded, postponed, or the error code of RFC 8935.",
		}, []string{"result"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "countersign_ssf_last_set_timestamp_seconds", ConstLabels: labels, Help: "When the last token was taken, as seconds since 1970.",
		}),
		verifications: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_ssf_verifications_total", ConstLabels: labels, Help: "Verification events of the stream: it is alive.",
		}),
		enabled: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "countersign_ssf_stream_enabled", ConstLabels: labels, Help: "1 unless the transmitter announced that the stream is paused or disabled.",
		}),
	}
	m.enabled.Set(1)
	for _, result := range []string{resultTaken, resultDiscarded, resultPostponed} {
		m.sets.WithLabelValues(result).Add(0)
	}
	for _, code := range codes {
		m.sets.WithLabelValues(string(code)).Add(0)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.sets, m.last, m.verifications, m.enabled} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

// noted counts a token whose value is on the log, and tells the operator what it says of the stream.
func (t *Transmitter) noted(r received) {
	switch {
	case r.refusal != nil:
		t.metrics.sets.WithLabelValues(string(r.refusal.Code)).Inc()
		return
	case r.claims == nil:
		t.metrics.sets.WithLabelValues(resultDiscarded).Inc()
		return
	}
	t.metrics.sets.WithLabelValues(resultTaken).Inc()
	t.metrics.last.Set(float64(t.now().UnixMilli()) / events.Second)
	for i := range r.claims.events {
		switch p := &r.claims.events[i]; p.uri {
		case typeVerification, typeRISCVerification:
			t.metrics.verifications.Inc()
			t.log.Info("stream verified", zap.String("state", shown(p.state)), zap.String("jti", shown(r.claims.jti)))
		case typeStreamUpdated:
			t.updated(p)
		}
	}
}

// updated tells of a stream whose status the transmitter changed.
func (t *Transmitter) updated(p *payload) {
	reason := p.cause
	if reason == "" {
		reason = p.reason
	}
	fields := []zap.Field{zap.String("status", shown(p.status)), zap.String("reason", shown(reason))}
	if strings.EqualFold(p.status, "enabled") {
		t.metrics.enabled.Set(1)
		t.log.Info("stream enabled by its transmitter", fields...)
		return
	}
	t.metrics.enabled.Set(0)
	t.log.Warn("stream stopped by its transmitter, nothing comes until it is enabled there", fields...)
}

// shown is a text of the transmitter in a log line.
func shown(text string) string { return fmt.Sprintf("%.200s", text) }
