package api

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	denied      prometheus.Counter
	unaudited   prometheus.Counter
	throttled   prometheus.Counter
	crossSite   prometheus.Counter
	accessBad   prometheus.Counter
	liveClients prometheus.Gauge
	liveSent    prometheus.Counter
	liveDropped prometheus.Counter
	liveBad     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_api_requests_total", Help: "Requests by route and class of status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_api_request_seconds", Help: "Time to answer a request, without those of the live feed.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"route"}),
		denied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_api_denied_total", Help: "Requests and sign-ins without a valid token, session or link.",
		}),
		throttled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_api_throttled_total", Help: "Requests and sign-ins that were refused because there were too many.",
		}),
		crossSite: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_api_cross_site_total", Help: "Requests by cookie that did not come from the dashboard and were refused.",
		}),
		accessBad: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_api_access_unreadable_total", Help: "Records of the API's tokens that could not be read; such a token lets nobody in.",
		}),
		unaudited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_api_unaudited_total", Help: "Audit entries that the log did not take; reads and actions were refused for it.",
		}),
		liveClients: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "countersign_api_live_clients", Help: "Readers of the live feed.",
		}),
		liveSent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_api_live_messages_total", Help: "Messages that entered the live feed.",
		}),
		liveDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_api_live_dropped_total", Help: "Readers that were let go because they were too slow.",
		}),
		liveBad: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_api_live_unreadable_total", Help: "Records on the log that the live feed could not read.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.denied, m.unaudited, m.throttled, m.crossSite, m.accessBad, m.liveClients, m.liveSent, m.liveDropped, m.liveBad} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// statusClass keeps the label set closed: "2xx" and so on.
func statusClass(status int) string { return strconv.Itoa(status/100) + "xx" }
