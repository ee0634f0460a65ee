package familiarity

import "math"

// ln is the natural logarithm of a positive, finite number, to about 1e-15. The standard library's is not the same on every
// processor: some have it in assembly, some fuse its products.
func ln(x float64) float64 {
	m, e := math.Frexp(x) // 1/2 <= m < 1
	if m < math.Sqrt2/2 {
		m, e = 2*m, e-1
	}
	// ln m = 2 artanh s, and |s| < 0.1716.
	s := (m - 1) / (m + 1)
	square := float64(s * s)
	sum := 0.0
	for k := 21; k >= 1; k -= 2 {
		sum = float64(sum*square) + 1/float64(k)
	}
	return float64(float64(e)*math.Ln2) + float64(2*float64(s*sum))
}

// quantum is the unit of scores: what processors could disagree about is far below it.
const quantum = 1.0 / 1024

// quantise rounds to a multiple of quantum.
func quantise(x float64) float64 { return math.Round(x/quantum) * quantum }
