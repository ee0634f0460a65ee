package familiarity

import "github.com/countersign-io/countersign/internal/events"

// Model are the parameters of the score.
type Model struct {
	// Alpha is, for each level, how many logins the next coarser level is worth beside the user's own logins; for the
	// coarsest level of a feature the tenant is.
	Alpha [Levels]float64
	// Imitation is, for each level, the share of attackers who match the user in everything coarser than the level, and are
	// like anybody of the tenant from there on. What a feature lacks to 1 is the share of those who match it whole.
	Imitation [Levels]float64
	// Beta is how many logins the uniform frequencies are worth beside the tenant's.
	Beta float64
}

// DefaultModel is the model in use; docs/adr/0008-familiarity.md says why.
func DefaultModel() Model {
	return Model{
		// A new version of a browser is nothing special: hence the large values.
		Alpha: [Levels]float64{IP: 1, ASN: 1, Country: 1, Agent: 10, Browser: 10, System: 1, DeviceType: 1, DeviceID: 1},
		// Half of the attackers copy the user agent; nobody copies an address or a registered device.
		Imitation: [Levels]float64{
			IP: 0.5, ASN: 0.25, Country: 0.25, Agent: 0.125, Browser: 0.125, System: 0.125, DeviceType: 0.125, DeviceID: 1,
		},
		Beta: 1,
	}
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
//	s = Σ_k (ln p_attacker,k − ln p_user,k) − ln U − ln(N_u/N)
//
// A user's probability of a value backs off from level to level, from the finest l = 1 to the tenant's own at l = L+1:
//
//	p_user,l = (c_l + α_l·p_user,l+1·p_org(l | l+1)) / (n_l + α_l),  p_org = (c_org + β·p_uniform) / (n_org + β)
//
// An attacker is somebody of the tenant who may know the victim: the country, the AS number, the user agent. So p_attacker
// is a mixture, by Imitation, of p_user,l+1·p_org(1 | l+1) over all l. Freeman's score is the case of an attacker who knows
// nothing.
//
// It is false when less than one login is known of the user: a first login cannot be unlike the ones before. A nil Prior
// leaves the last two terms out.
func (m Model) Score(c *Counts, p *Prior, l Login, at events.Millis) (Score, bool) {
	left := faded(dayOf(at) - int64(c.newest))
	total := float64(c.total) * left
	if total < 1 {
		return Score{}, false
	}
	s := Score{Parts: make([]Part, 0, len(features)+1)}
	from := len(c.values)
	for i := len(features) - 1; i >= 0; i-- {
		f := &features[i]
		// Both are lifts: how many times more probable than in the tenant as a whole.
		user, attacker, rest, known := 1.0, 0.0, 1.0, false
		for level := f.last; level > f.first; {
			level--
			from -= int(c.lens[level])
			attacker += float64(m.Imitation[level] * user)
			rest -= m.Imitation[level]
			if v := l.Values[level]; v != 0 {
				seen, all := c.of(level, from, short(v))
				seen, all, known = seen*left/p.share(level, v, m.Beta), float64(all*left), true // never fused with a sum
				user = (seen + float64(m.Alpha[level]*user)) / (all + m.Alpha[level])
			}
		}
		if known {
			attacker += float64(max(rest, 0) * user)
			s.add(f.name, ln(attacker/user))
		}
	}
	if p != nil && p.perUser > 0 {
		s.add("frequency", -ln(total/p.perUser))
	}
	return s, true
}

func (s *Score) add(feature string, ratio float64) {
	ratio = quantise(min(max(ratio, -maxRatio), maxRatio))
	s.Value += ratio
	s.Parts = append(s.Parts, Part{feature, ratio})
}
