package profile

import (
	"math"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// Rings hold the newest of something by event time, oldest first; those of one moment in the order in which they came. A
// ring is never changed in place, so that clones can share it.

// timed is what a ring holds.
type timed interface{ when() events.Millis }

// insert puts v at its place in time, without what is older than keep behind the newest. A full ring drops its oldest; what
// is older than all of a full ring is not inserted.
func insert[T timed](ring []T, v T, limit int, keep events.Millis) []T {
	newest := v.when()
	if n := len(ring); n > 0 {
		newest = max(newest, ring[n-1].when())
	}
	oldest := earlier(newest, keep)
	if v.when() < oldest {
		return ring
	}
	from := 0
	for from < len(ring) && ring[from].when() < oldest {
		from++
	}
	at := len(ring)
	for at > from && ring[at-1].when() > v.when() {
		at--
	}
	if len(ring)-from >= limit {
		if at == from {
			return ring
		}
		from++
	}
	next := make([]T, 0, len(ring)-from+1)
	next = append(append(next, ring[from:at]...), v)
	return append(next, ring[at:]...)
}

// earlier is t less d, at the least the beginning of time.
func earlier(t, d events.Millis) events.Millis {
	if d > 0 && t < math.MinInt64+d {
		return math.MinInt64
	}
	return t - d
}

// without copies a ring, but for the i-th.
func without[T any](ring []T, i int) []T {
	return slices.Concat(ring[:i], ring[i+1:])
}
