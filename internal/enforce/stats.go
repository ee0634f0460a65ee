package enforce

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/stepup"
	stepupkafka "github.com/countersign-io/countersign/stepup/kafka"
	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

// Stats is what the feed and the senders count. Those that do not run are nil.
type Stats struct {
	Kafka    func() stepupkafka.Stats
	SSF      func() stepupssf.Stats
	Receipts func() stepup.ReceiptStats
	Sessions func() stepup.ObserverStats
}

var (
	feedTotal = prometheus.NewDesc("countersign_enforce_feed_total",
		"What the feed read from countersign, by outcome; trouble is requests that failed and are retried.", []string{"feed", "outcome"}, nil)
	feedBehind = prometheus.NewDesc("countersign_enforce_feed_behind",
		"What the feed has not applied yet: records with Kafka (-1 before it is known), SETs with SSF.", []string{"feed"}, nil)
	feedState = prometheus.NewDesc("countersign_enforce_feed_state",
		"1 for the state that the stream of Shared Signals is in.", []string{"state"}, nil)
	feedHeard = prometheus.NewDesc("countersign_enforce_feed_heard_timestamp_seconds",
		"Up to when all that the transmitter sent is known to be here; 0 is never.", nil, nil)
	sentTotal = prometheus.NewDesc("countersign_enforce_reports_total",
		"Receipts and sessions that are reported to countersign, by outcome; dropped are lost.", []string{"report", "outcome"}, nil)
)

var _ prometheus.Collector = Stats{}

// Describe implements [prometheus.Collector].
func (s Stats) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{feedTotal, feedBehind, feedState, feedHeard, sentTotal} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (s Stats) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counters := func(d *prometheus.Desc, of string, values map[string]uint64) {
		for outcome, n := range values {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), of, outcome)
		}
	}
	if s.Kafka != nil {
		k := s.Kafka()
		gauge(feedBehind, float64(k.Lag), "kafka")
		counters(feedTotal, "kafka", map[string]uint64{"applied": k.Applied, "foreign": k.Foreign, "refused": k.Refused, "trouble": k.Trouble})
		if s.Receipts == nil {
			counters(sentTotal, "receipts", map[string]uint64{"sent": k.Receipts, "dropped": k.ReceiptsLost})
		}
	}
	if s.SSF != nil {
		f := s.SSF()
		gauge(feedBehind, float64(f.Waiting), "ssf")
		if f.State != "" {
			gauge(feedState, 1, string(f.State))
		}
		heard := 0.
		if !f.Heard.IsZero() {
			heard = float64(f.Heard.UnixNano()) / float64(time.Second)
		}
		gauge(feedHeard, heard)
		counters(feedTotal, "ssf", map[string]uint64{
			"accepted": f.Accepted, "repeated": f.Repeated, "refused": f.Refused, "postponed": f.Postponed,
			"verification": f.Verifications, "unknown_subject": f.UnknownSubjects, "trouble": f.Trouble,
		})
	}
	if s.Receipts != nil {
		r := s.Receipts()
		counters(sentTotal, "receipts", map[string]uint64{"sent": r.Sent, "dropped": r.Dropped, "refused": r.Refused, "trouble": r.Trouble})
	}
	if s.Sessions != nil {
		o := s.Sessions()
		counters(sentTotal, "sessions", map[string]uint64{
			"sent": o.Sent, "dropped": o.Dropped, "refused": o.Refused, "limited": o.Limited, "trouble": o.Trouble,
		})
	}
}
