package ssf

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// endpoint names what was asked for; it is a label.
type endpoint string

// The endpoints.
const (
	epMetadata      endpoint = "metadata"
	epKeys          endpoint = "keys"
	epToken         endpoint = "token"
	epConfiguration endpoint = "configuration"
	epStatus        endpoint = "status"
	epAddSubject    endpoint = "add_subject"
	epRemoveSubject endpoint = "remove_subject"
	epVerify        endpoint = "verify"
	epPoll          endpoint = "poll"
)

type metrics struct{ requests *prometheus.CounterVec }

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_ssf_requests_total", Help: "Requests of receivers by endpoint and status code.",
	}, []string{"endpoint", "code"})}
	if reg == nil {
		return m, nil
	}
	return m, reg.Register(m.requests)
}

func (m *metrics) count(e endpoint, code int) {
	m.requests.WithLabelValues(string(e), strconv.Itoa(code)).Inc()
}
