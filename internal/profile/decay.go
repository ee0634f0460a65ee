package profile

import (
	"math"

	"github.com/countersign-io/countersign/internal/events"
)

// What is counted fades with a half-life of 60 days, in steps of whole days.
const halfLifeDays = 60

// faded[k] is what is left after k days, rounded so that every processor has the same numbers.
var faded = func() (table [halfLifeDays]float64) {
	for k := range table {
		table[k] = math.Round(1e9*math.Exp2(-float64(k)/halfLifeDays)) / 1e9
	}
	return table
}()

// fade is what is left of one after some days; more than one for a negative number.
func fade(days int) float64 {
	halvings, rest := days/halfLifeDays, days%halfLifeDays
	if rest < 0 {
		halvings, rest = halvings-1, rest+halfLifeDays
	}
	return math.Ldexp(faded[rest], -halvings)
}

// day counts days since the Unix epoch, rounded down.
func day(t events.Millis) int {
	d := int(t / events.Day)
	if t%events.Day < 0 {
		d--
	}
	return d
}
