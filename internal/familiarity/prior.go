package familiarity

import (
	"math"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
)

// Prior is what is known of all users of a tenant. It is immutable and safe for concurrent use. A nil Prior knows nothing.
type Prior struct {
	levels [Levels]levelPrior
	// perUser is the decayed number of logins of a user on average, 0 when unknown.
	perUser float64
}

type levelPrior struct {
	total float64
	// rest is how often each of the values is expected that are not among the most frequent.
	rest float64
	top  map[uint64]float64
}

// PriorOf prepares a tenant's counters for look-ups: its levels, its users, and the decayed number of their logins, as in
// [events.OrgContext]. Levels with an unknown name, and counts that are no numbers, are ignored.
func PriorOf(levels []events.OrgLevel, users int, logins float64) *Prior {
	p := &Prior{}
	for i := range levels {
		for k, name := range levelNames {
			if levels[i].Name == name {
				p.levels[k] = levelPriorOf(&levels[i])
			}
		}
	}
	if users > 0 {
		p.perUser = number(logins) / float64(users)
	}
	return p
}

func levelPriorOf(level *events.OrgLevel) levelPrior {
	l := levelPrior{top: make(map[uint64]float64, len(level.Top))}
	sum := 0.0
	for _, t := range level.Top {
		if hash, err := strconv.ParseUint(t.Hash, 16, 64); err == nil {
			l.top[hash] = number(t.Count)
			sum += number(t.Count)
		}
	}
	l.total = max(number(level.Total), sum)
	l.rest = (l.total - sum) / max(number(level.Distinct)-float64(len(l.top)), 1)
	return l
}

// number is x, or 0 when it is no count.
func number(x float64) float64 {
	const limit = 1e15
	if !(x > 0) || math.IsInf(x, 1) {
		return 0
	}
	return min(x, limit)
}

// uniform is the probability of a value of which nothing is known: about one in as many as a large organisation has.
var uniform = [Levels]float64{
	IP: 1e-5, ASN: 1e-3, Country: 1e-2, Agent: 1e-3, Browser: 1e-2, System: 0.1, DeviceType: 0.2, DeviceID: 1e-5,
}

// share is the probability of a value of a level among all logins of the tenant, never 0: p_org = (c + β·p_uniform) / (n + β).
func (p *Prior) share(level Level, hash uint64, beta float64) float64 {
	if p == nil {
		return uniform[level]
	}
	l := &p.levels[level]
	seen, known := l.top[hash]
	if !known {
		seen = l.rest
	}
	return (seen + float64(beta*uniform[level])) / (l.total + beta)
}
