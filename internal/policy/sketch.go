package policy

import (
	"math"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// sketch counts distinct users in 256 bytes (HyperLogLog, Flajolet et al. 2007, with linear counting below 2.5 users a
// register): exact to a user or so while they are few, to about 7 % when they are many.
type sketch [sketchSize]uint8

const sketchSize = 256

func (s *sketch) add(user uint64) {
	register, rest := user>>56, user<<8|1<<7 // the mark ends the run of zeros
	if rank := uint8(bits.LeadingZeros64(rest) + 1); rank > s[register] {
		s[register] = rank
	}
}

// countBoth estimates the users in a and b together.
func countBoth(a, b *sketch) int {
	sum, empty := 0.0, 0
	for i := range a {
		rank := max(a[i], b[i])
		if rank == 0 {
			empty++
		}
		sum += math.Ldexp(1, -int(rank)) // exact
	}
	const alpha = 0.7213 / (1 + 1.079/sketchSize)
	estimate := alpha * sketchSize * sketchSize / sum
	if estimate <= 2.5*sketchSize && empty > 0 {
		estimate = sketchSize * math.Log(sketchSize/float64(empty))
	}
	return int(math.Round(estimate))
}

func userHash(user string) uint64 { return xxhash.Sum64String(user) }
