package familiarity

import "github.com/countersign-io/countersign/internal/events"

// PublishedWeights are for the study, which cannot be in this package.
var PublishedWeights = publishedWeights

// Mixture is the published form with decay and back-off to the tenant, for the study: levels are mixed by weights and do not
// back off to each other, and the attacker knows nothing.
func Mixture(weights [Levels]float64, c *Counts, p *Prior, l Login, at events.Millis) (float64, bool) {
	left := faded(dayOf(at) - int64(c.newest))
	total := float64(c.total) * left
	if total < 1 {
		return 0, false
	}
	sum, from := 0.0, 0
	for _, f := range features {
		org, user := 0.0, 0.0
		for level := f.first; level < f.last; level++ {
			if v := l.Values[level]; v != 0 {
				share := p.share(level, v, 1)
				seen, all := c.of(level, from, short(v))
				org += weights[level] * share
				user += weights[level] * (seen*left + share) / (all*left + 1)
			}
			from += int(c.lens[level])
		}
		if user > 0 {
			sum += ln(org / user)
		}
	}
	if p != nil && p.perUser > 0 {
		sum -= ln(total / p.perUser)
	}
	return sum, true
}
