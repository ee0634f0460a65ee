package company

import (
	"math/rand/v2"
)

// dice is a source of chance that costs nothing to make. What is drawn depends on the seed and the purpose only.
type dice struct{ pcg rand.PCG }

// roll makes dice for one purpose: the same arguments give the same draws.
func roll(seed uint64, purpose, a, b uint64) dice {
	var d dice
	d.pcg.Seed(mix(seed^purpose*0x9e3779b97f4a7c15), mix(mix(a+purpose<<56)+b))
	return d
}

// The purposes. A number is never reused for something else, or streams of one seed would change together.
const (
	forEmployee = iota + 1
	forDay
	forTrip
	forLeave
	forAttacks
	forSession
	forFaults
	forResponse
	forStart
	forEvent
	forAttempt
	forLongLeave
	forOutage
	forExpiry
	forFlow
	forToken
	forSkew
	forHabit
)

// mix spreads the bits of a number (the finaliser of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// n draws a number from 0 to below limit.
func (d *dice) n(limit int) int { return int((d.pcg.Uint64() >> 32) * uint64(limit) >> 32) }

// between draws a number from low to high, both included.
func (d *dice) between(low, high int) int { return low + d.n(high-low+1) }

// unit draws from 0 to below 1.
func (d *dice) unit() float64 { return float64(d.pcg.Uint64()>>11) / (1 << 53) }

// chance is true with probability p.
func (d *dice) chance(p float64) bool { return d.unit() < p }

// weighted draws an index with a probability in proportion to its weight.
func (d *dice) weighted(weights []int) int {
	total := 0
	for _, w := range weights {
		total += w
	}
	at := d.n(total)
	for i, w := range weights {
		if at -= w; at < 0 {
			return i
		}
	}
	return len(weights) - 1
}

// split makes dice of their own from the next draw.
func (d *dice) split() *dice {
	var child dice
	child.pcg.Seed(d.pcg.Uint64(), d.pcg.Uint64())
	return &child
}
