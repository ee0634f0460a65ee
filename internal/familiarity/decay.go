package familiarity

import (
	"math"

	"github.com/countersign-io/countersign/internal/events"
)

// HalfLife is after how many days a login counts half. Published: history beyond six months can go without great impact.
const HalfLife = 60

// dailyFactor is 2^(-1/HalfLife).
const dailyFactor = 0.9885140203528961353568675049

// factors are the powers of dailyFactor; what is older than twenty half-lives counts nothing.
var factors = func() (table [20*HalfLife + 1]float64) {
	table[0] = 1
	for i := 1; i < len(table); i++ {
		table[i] = float64(table[i-1] * dailyFactor)
	}
	return table
}()

// faded is what is left of a count of 1 after so many days; a time in the future counts as now.
func faded(days int64) float64 {
	switch {
	case days <= 0:
		return 1
	case days >= int64(len(factors)):
		return 0
	}
	return factors[days]
}

// fade is what is left of a count.
func fade(count float32, days int64) float32 { return float32(float64(count) * faded(days)) }

// dayOf is the day of a moment, counted from the epoch.
func dayOf(at events.Millis) int64 {
	d := int64(at) / events.Day
	if int64(at)%events.Day < 0 {
		d--
	}
	return min(max(d, math.MinInt32), math.MaxInt32)
}
