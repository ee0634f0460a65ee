package familiarity

import (
	"math"
	"math/bits"
)

// sketch counts distinct hashes: HyperLogLog (Flajolet et al. 2007) with 256 registers, a standard error of 6.5 %.
type sketch [1 << sketchBits]uint8

const sketchBits = 8

func (s *sketch) add(hash uint64) {
	rank := uint8(bits.LeadingZeros64(hash<<sketchBits|1<<(sketchBits-1)) + 1)
	if i := hash >> (64 - sketchBits); s[i] < rank {
		s[i] = rank
	}
}

func (s *sketch) merge(o *sketch) {
	for i, r := range o {
		s[i] = max(s[i], r)
	}
}

// estimate is how many distinct hashes were added, by linear counting when there were few.
func (s *sketch) estimate() float64 {
	const m = float64(len(s))
	sum, empty := 0.0, 0
	for _, r := range s {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			empty++
		}
	}
	const alpha = 0.7213 / (1 + 1.079/m)
	e := alpha * m * m / sum
	if empty > 0 && e <= 2.5*m {
		return m * ln(m/float64(empty))
	}
	return e
}
