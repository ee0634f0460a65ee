package courier

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/internal/ssf"
)

// Outcomes of one delivery: a closed set.
const (
	outcomeDelivered = "delivered"
	outcomeRejected  = "rejected" // refused for good: dead letter
	outcomeRefused   = "refused"  // refused for now: that subject waits
	outcomeDenied    = "denied"   // 401, 403, 404 and their like: the stream waits long
	outcomeFailed    = "failed"   // network, 408, 429, 5xx
	outcomeDropped   = "dropped"  // not for this stream any more, or superseded
	outcomeExpired   = "expired"  // failed for too long while others did not: dead letter
	outcomeAborted   = "aborted"  // ours: signing, writing, stopping
)

var outcomes = []string{
	outcomeDelivered, outcomeRejected, outcomeRefused, outcomeDenied, outcomeFailed, outcomeDropped, outcomeExpired, outcomeAborted,
}

// Methods as metric labels.
const (
	methodPush = "push"
	methodPoll = "poll"
)

type metrics struct {
	sets         *prometheus.CounterVec
	redeliveries *prometheus.CounterVec
	deadLetters  *prometheus.CounterVec
	accepted     *prometheus.HistogramVec
	inFlight     prometheus.Gauge
	claims       *prometheus.CounterVec
	fenced       prometheus.Counter
	unreadable   prometheus.Counter
	overtaken    prometheus.Counter
	trouble      prometheus.Counter
	paused       *prometheus.CounterVec
	requests     *prometheus.CounterVec
}

// Why the transmitter itself paused a stream: a closed set.
const (
	pausedDead     = "dead"
	pausedInactive = "inactive"
)

// newMetrics registers the metrics. gauges are collected from state when asked for.
func newMetrics(reg prometheus.Registerer, gauges func() gauges) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "countersign_courier_" + name, Help: help}, labels)
	}
	m := &metrics{
		sets:         counter("sets_total", "Attempts to deliver a SET, by method and outcome.", "method", "outcome"),
		redeliveries: counter("redeliveries_total", "SETs that were sent or handed out again.", "method"),
		deadLetters:  counter("dead_letters_total", "SETs that went to the dead letters.", "method"),
		accepted: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_courier_accept_seconds", Help: "Time from a decision's record to its acceptance by a receiver.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 300, 3600, 86400},
		}, []string{"method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "countersign_courier_in_flight", Help: "Pushes under way."}),
		claims:   counter("claims_total", "Claims of partitions, by result.", "result"),
		fenced:   prometheus.NewCounter(prometheus.CounterOpts{Name: "countersign_courier_fenced_records_total", Help: "Records of former owners that were ignored."}),
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_courier_unreadable_records_total", Help: "Records that could not be used.",
		}),
		overtaken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_courier_overtaken_records_total", Help: "Places of the log whose records were deleted before a stream that was behind read them.",
		}),
		trouble:  prometheus.NewCounter(prometheus.CounterOpts{Name: "countersign_courier_troubles_total", Help: "Troubles with the log, each of which is retried."}),
		paused:   counter("streams_paused_total", "Streams that the transmitter paused by itself, by reason.", "reason"),
		requests: counter("operator_requests_total", "Requests of operators, by status class.", "status"),
	}
	for _, method := range []string{methodPush, methodPoll} {
		for _, o := range outcomes {
			m.sets.WithLabelValues(method, o).Add(0)
		}
		m.redeliveries.WithLabelValues(method).Add(0)
		m.deadLetters.WithLabelValues(method).Add(0)
	}
	for _, r := range []string{pausedDead, pausedInactive} {
		m.paused.WithLabelValues(r).Add(0)
	}
	for _, r := range []string{claimWon, claimLost} {
		m.claims.WithLabelValues(r).Add(0)
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.sets, m.redeliveries, m.deadLetters, m.accepted, m.inFlight, m.claims, m.fenced, m.unreadable, m.overtaken, m.trouble, m.paused, m.requests,
		&gaugeCollector{gauges},
	} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// gauges are the state of the streams that this courier holds.
type gauges struct {
	streams map[ssf.Status]int
	failing int
	// pending are SETs in memory that wait, lag the records of the log that the furthest behind has not looked at.
	pending, control int
	lag              int64
	held             int // partitions
}

var (
	descStreams = prometheus.NewDesc("countersign_courier_streams", "Streams that this courier holds, by status.", []string{"status"}, nil)
	descFailing = prometheus.NewDesc("countersign_courier_streams_failing", "Streams whose last delivery failed, or that cannot deliver.", nil, nil)
	descPending = prometheus.NewDesc("countersign_courier_pending_sets", "SETs that wait in memory.", nil, nil)
	descLag     = prometheus.NewDesc("countersign_courier_lag_records", "Records that the stream furthest behind has not looked at.", nil, nil)
	descHeld    = prometheus.NewDesc("countersign_courier_held_partitions", "Partitions of the topic of streams that this courier holds.", nil, nil)
)

type gaugeCollector struct{ read func() gauges }

func (c *gaugeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descStreams, descFailing, descPending, descLag, descHeld} {
		ch <- d
	}
}

func (c *gaugeCollector) Collect(ch chan<- prometheus.Metric) {
	g := c.read()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, s := range []ssf.Status{ssf.Enabled, ssf.Paused, ssf.Disabled} {
		gauge(descStreams, float64(g.streams[s]), string(s))
	}
	gauge(descFailing, float64(g.failing))
	gauge(descPending, float64(g.pending+g.control))
	gauge(descLag, float64(g.lag))
	gauge(descHeld, float64(g.held))
}
