package detector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
)

type metrics struct {
	events       *prometheus.CounterVec
	findings     *prometheus.CounterVec
	requirements *prometheus.CounterVec
	rejected     *prometheus.CounterVec
	decided      prometheus.Histogram
	troubles     *prometheus.CounterVec
	reloads      *prometheus.CounterVec
	inForce      *prometheus.GaugeVec
	held         prometheus.Counter
	trips        prometheus.Counter
	broken       prometheus.Counter
	sighted      prometheus.Counter
	repeats      prometheus.Counter
	sightings    prometheus.Counter
	verdicts     *prometheus.CounterVec
	contexts     prometheus.Counter

	kinds map[events.Kind]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_detector_events_total", Help: "Events decided on, by kind.",
		}, []string{"kind"}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_detector_findings_total", Help: "Findings, by detection, severity and disposition.",
		}, []string{"detection", "severity", "disposition"}),
		requirements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_detector_requirements_total", Help: "Changes of requirements, by action and new status.",
		}, []string{"action", "status"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_detector_rejected_total", Help: "Records that became dead letters, by reason.",
		}, []string{"reason"}),
		decided: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "countersign_detector_decision_seconds", Help: "From acceptance at ingest to the decision, one sample a batch.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 60, 3600},
		}),
		troubles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_detector_troubles_total", Help: "Reported trouble: stopped partitions, and what is retried.",
		}, []string{"kind"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_policy_reloads_total", Help: "Changes of the policy file, by what became of them.",
		}, []string{"result"}),
		inForce: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "countersign_policy_info", Help: "1 for the version of the policies in force.",
		}, []string{"version"}),
		held: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_breaker_held_total", Help: "Requirements that were not raised because the tenant's breaker had tripped.",
		}),
		trips: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_breaker_trips_total", Help: "Breakers that tripped; each waits for a person.",
		}),
		broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_policy_errors_total", Help: "Conditions that could not be evaluated, and so did not match.",
		}),
		repeats: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_detector_notices_repeated_total", Help: "Verdicts and contexts that the network stage told again, and nobody heard.",
		}),
		sighted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_detector_sightings_total", Help: "Sightings written for the network stage.",
		}),
		sightings: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_network_sightings_total", Help: "Sightings taken in by the network stage.",
		}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_network_verdicts_total", Help: "Verdicts of the network stage told to users, by detection and severity.",
		}, []string{"detection", "severity"}),
		contexts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_network_contexts_total", Help: "Contexts of tenants told to the partitions of the events.",
		}),
		kinds: map[events.Kind]prometheus.Counter{},
	}
	for _, result := range []string{reloadLoaded, reloadSame, reloadRefused} {
		m.reloads.WithLabelValues(result).Add(0)
	}
	for _, reason := range []string{"misplaced", "undecodable", "invalid", "wrong_key"} {
		m.rejected.WithLabelValues(reason).Add(0)
	}
	for _, kind := range []string{"stopped", "retried"} {
		m.troubles.WithLabelValues(kind).Add(0)
	}
	for _, kind := range events.Kinds {
		m.kinds[kind] = m.events.WithLabelValues(string(kind))
	}
	if reg != nil {
		reg.MustRegister(m.events, m.findings, m.requirements, m.rejected, m.decided, m.troubles,
			m.reloads, m.inForce, m.held, m.trips, m.broken, m.repeats, m.sighted, m.sightings, m.verdicts, m.contexts)
	}
	return m
}

// What became of a policy file that changed: it is in force, it means the same as before, or it does not load.
const (
	reloadLoaded  = "loaded"
	reloadSame    = "same"
	reloadRefused = "refused"
)

func (m *metrics) policyInForce(set *policy.Set) {
	m.inForce.Reset()
	m.inForce.WithLabelValues(set.Version()).Set(1)
}

func (m *metrics) seen(e *events.Event) { m.kinds[e.Kind].Inc() }

// latency records how long ago the event was accepted.
func (m *metrics) latency(ingested events.Millis) {
	if ingested != 0 {
		m.decided.Observe(max(0, time.Since(ingested.Time()).Seconds()))
	}
}
