package familiarity

import "github.com/countersign-io/countersign/internal/events"

// publishedWeights are those of the reference implementation. It looks at no device ids.
var publishedWeights = [DeviceID]float64{
	IP: 0.6, ASN: 0.3, Country: 0.1,
	Agent: 0.5386653840551359, Browser: 0.2680451498625666, System: 0.18818295100109536, DeviceType: 0.0051065150812021525,
}

// Published is the score as published (Wiefling et al. 2022, doi 10.1145/3546069), to compare with: its state grows with the
// history and forgets nothing. Its logins are those of [PublishedLoginOf]; nothing is unknown to it: 0 is a value. Published is not safe for concurrent use.
type Published struct {
	past  history
	users map[string]*userHistory
}

// history is what many logins have in common.
type history struct {
	logins int
	levels [DeviceID]map[uint64]int
	finest [2]map[uint64]*companions // by feature
}

// companions are the values of the coarser levels that were seen together with one value of the finest.
type companions struct {
	logins int
	values map[levelValue]struct{}
}

type levelValue struct {
	level Level
	value uint64
}

type userHistory struct {
	logins int
	levels [DeviceID]map[uint64]int
}

// NewPublished knows nothing yet.
func NewPublished() *Published {
	return &Published{past: newHistory(), users: map[string]*userHistory{}}
}

func newHistory() history {
	var h history
	for i := range h.levels {
		h.levels[i] = map[uint64]int{}
	}
	for i := range h.finest {
		h.finest[i] = map[uint64]*companions{}
	}
	return h
}

func (h *history) add(l *Login) {
	h.logins++
	for i := range h.levels {
		h.levels[i][l.Values[i]]++
	}
	for i := range h.finest {
		f := &features[i]
		c := h.finest[i][l.Values[f.first]]
		if c == nil {
			c = &companions{values: map[levelValue]struct{}{}}
			h.finest[i][l.Values[f.first]] = c
		}
		c.logins++
		for level := f.first + 1; level < f.last; level++ {
			c.values[levelValue{level, l.Values[level]}] = struct{}{}
		}
	}
}

// PublishedLoginOf takes the features out of an event as the published form has them: the address counts whole, whatever its
// network.
func PublishedLoginOf(e *events.Event) Login {
	l := LoginOf(e)
	l.Values[IP] = hashText(e.IP)
	return l
}

// Add takes a successful login into the history.
func (p *Published) Add(user string, l Login) {
	p.past.add(&l)
	u := p.users[user]
	if u == nil {
		u = &userHistory{}
		for i := range u.levels {
			u.levels[i] = map[uint64]int{}
		}
		p.users[user] = u
	}
	u.logins++
	for i := range u.levels {
		u.levels[i][l.Values[i]]++
	}
}

// Score is the score S of a login, a ratio of probabilities: the larger, the less like the user. It is false for a user's
// first login.
func (p *Published) Score(user string, l Login) (float64, bool) {
	u := p.users[user]
	if u == nil {
		return 0, false
	}
	// (1/U) / (N_u/N)
	s := float64(p.past.logins) / (float64(len(p.users)) * float64(u.logins))
	for i := range p.past.finest {
		f := &features[i]
		global := p.global(i, &l)
		own := 0.0
		for level := f.first; level < f.last; level++ {
			own += float64(publishedWeights[level] * float64(u.levels[level][l.Values[level]]) / float64(u.logins))
		}
		if own == 0 {
			own = global / 4
		}
		s *= global / own
	}
	return s, true
}

// global is the smoothed probability of a feature's values among all logins.
func (p *Published) global(feature int, l *Login) float64 {
	f, n := &features[feature], float64(p.past.logins)
	finest := l.Values[f.first]
	unseen := 1.0 // M
	sum := 0.0
	for level := f.first + 1; level < f.last; level++ {
		unseen += float64(len(p.past.levels[level]))
		sum += float64(publishedWeights[level] * float64(p.past.levels[level][l.Values[level]]) / n)
	}
	outer := float64(max(p.past.levels[f.first][finest], 1)) / (n + unseen)
	inner := 1.0
	if c := p.past.finest[feature][finest]; c != nil {
		a := float64(c.logins)
		inner = a / (a + 1 + float64(len(c.values)))
	}
	return sum + float64(publishedWeights[f.first]*outer*inner)
}
