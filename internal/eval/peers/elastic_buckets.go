package peers

import (
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// elasticBuckets looks at the failures of a whole tenant by the quarter of an hour, as a scheduled query does: at each run all
// buckets of the look-back that have not been told of, complete as they are by then.
type elasticBuckets struct{ tenants map[string]*tenantBuckets }

type tenantBuckets struct {
	buckets []bucket // in order of time
	ran     events.Millis
}

type bucket struct {
	start events.Millis
	tries []attempt
	told  bool
}

const elasticBucket = 15 * events.Minute

func newElasticBuckets() *elasticBuckets {
	return &elasticBuckets{tenants: map[string]*tenantBuckets{}}
}

func (b *elasticBuckets) see(e *events.Event, now events.Millis) []Alert {
	t := b.tenants[e.Tenant]
	if t == nil {
		t = &tenantBuckets{ran: now / elasticBucket * elasticBucket}
		b.tenants[e.Tenant] = t
	}
	var alerts []Alert
	// Runs are at multiples of the bucket. Long gaps hold nothing after the look-back.
	for run := t.ran + elasticBucket; run <= now && len(t.buckets) > 0; run += elasticBucket {
		alerts = append(alerts, t.run(e.Tenant, run)...)
	}
	t.ran = max(t.ran, now/elasticBucket*elasticBucket)
	if wrongPassword(e) {
		t.add(e)
	}
	return alerts
}

func (t *tenantBuckets) add(e *events.Event) {
	start := e.Time / elasticBucket * elasticBucket
	i, found := slices.BinarySearchFunc(t.buckets, start, func(b bucket, at events.Millis) int { return int(b.start - at) })
	if !found {
		t.buckets = slices.Insert(t.buckets, i, bucket{start: start})
	}
	if k := &t.buckets[i]; len(k.tries) < MaxEvents {
		k.tries = append(k.tries, attemptOf(e))
	}
}

// run is one run of the query.
func (t *tenantBuckets) run(tenant string, at events.Millis) []Alert {
	t.buckets = slices.DeleteFunc(t.buckets, func(b bucket) bool { return b.start <= at-elasticFailures.lookBack })
	var alerts []Alert
	for i := range t.buckets {
		b := &t.buckets[i]
		check, ok := b.judge()
		if b.told || !ok || b.start >= at {
			continue
		}
		b.told = true
		ids := make([]string, 0, len(b.tries))
		for k := range b.tries {
			ids = append(ids, b.tries[k].event)
		}
		last := len(ids) - 1
		alerts = append(alerts, Alert{
			Check: check, Kind: Spray, Severity: events.Medium, Tenant: tenant, EventID: ids[last], Events: ids[:last], At: at,
			Why: fmt.Sprintf("%s: %d failures of %d users from %d addresses in a quarter of an hour", check, len(b.tries),
				distinct(b.tries, byUser), distinct(b.tries, byIP)),
		})
	}
	return alerts
}

// judge names what the bucket looks like.
func (b *bucket) judge() (string, bool) {
	n := len(b.tries)
	if n < 15 {
		return "", false
	}
	first, last := b.tries[0].at, b.tries[0].at
	for i := range b.tries {
		first, last = min(first, b.tries[i].at), max(last, b.tries[i].at)
	}
	users, took := distinct(b.tries, byUser), last-first
	results := distinct(b.tries, func(a *attempt) string { return "result " + a.cause })
	switch {
	case users >= 10 && n >= 30 && results <= 3 && distinct(b.tries, byIP) >= 5 && took <= 600*events.Second:
		return "stuffing", true
	case users >= 15 && results == 1 && took <= 1800*events.Second:
		return "spraying", true
	default:
		return "", false
	}
}
