package familiarity

import (
	"errors"
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
)

// Model are the parameters of the score.
type Model struct {
	// Weights are the weights of the levels within their feature; a level with weight 0 is not looked at.
	Weights [Levels]float64
	// Alpha is how many logins the tenant's frequencies are worth beside a user's own, Beta how many the uniform ones are
	// beside the tenant's.
	Alpha, Beta float64
}

// DefaultModel is the model in use; docs/adr/0008-familiarity.md says why.
func DefaultModel() Model {
	return Model{
		Weights: [Levels]float64{
			IP: 0.6, ASN: 0.3, Country: 0.1, Agent: 0.54, Browser: 0.27, System: 0.18, DeviceType: 0.01, DeviceID: 1,
		},
		Alpha: 1, Beta: 1,
	}
}

// Validate reports every problem.
func (m *Model) Validate() error {
	var problems []error
	for i, w := range m.Weights {
		if !(w >= 0 && w <= 1) {
			problems = append(problems, fmt.Errorf("weights.%s: is %g, must be between 0 and 1", Level(i), w))
		}
	}
	for _, p := range [...]struct {
		name  string
		value float64
	}{{"alpha", m.Alpha}, {"beta", m.Beta}} {
		if !(p.value >= 0.001 && p.value <= 1000) {
			problems = append(problems, fmt.Errorf("%s: is %g, must be between 0.001 and 1000", p.name, p.value))
		}
	}
	return errors.Join(problems...)
}

// Score is how unlike its user a login is, in natural-log units: the larger, the less like. Value is the sum of the parts.
// Both are multiples of 1/1024.
type Score struct {
	Value float64
	Parts []Part
}

// Part is what one feature contributes: "network", "agent", "device" and, when the tenant is known, "frequency", which is
// less than 0 for those who log in more often than most.
type Part struct {
	Feature  string
	LogRatio float64
}

// maxRatio bounds a part.
const maxRatio = 50

// Score scores a login of a user:
//
//	s = Σ_k (ln p_org,k − ln p_user,k) − ln U − ln(N_u/N)
//
// with p_user = (c_u + α·p_org)/(n_u + α), and the levels of a feature mixed by their weights before the logarithm. It is
// false when less than one login is known of the user: a first login cannot be unlike the ones before. A nil Prior
// leaves the last two terms out.
func (m Model) Score(c *Counts, p *Prior, l Login, at events.Millis) (Score, bool) {
	left := faded(dayOf(at) - int64(c.newest))
	total := float64(c.total) * left
	if total < 1 {
		return Score{}, false
	}
	s := Score{Parts: make([]Part, 0, len(features)+1)}
	add := func(name string, ratio float64) {
		ratio = quantise(min(max(ratio, -maxRatio), maxRatio))
		s.Value += ratio
		s.Parts = append(s.Parts, Part{name, ratio})
	}
	from := 0
	for _, f := range features {
		var org, user float64
		for level := f.first; level < f.last; level++ {
			if v, w := l.Values[level], m.Weights[level]; v != 0 && w > 0 {
				share := p.share(level, v, m.Beta)
				seen, all := c.of(level, from, short(v))
				org += float64(w * share)
				user += float64(w * ((float64(seen*left) + float64(m.Alpha*share)) / (float64(all*left) + m.Alpha)))
			}
			from += int(c.lens[level])
		}
		if user > 0 {
			add(f.name, ln(org/user))
		}
	}
	if p != nil && p.perUser > 0 {
		add("frequency", -ln(total/p.perUser))
	}
	return s, true
}
