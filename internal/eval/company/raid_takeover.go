package company

import (
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// abroad tells whether a city is in another country than the victim's, and how far at least, in kilometres.
func (r *raid) abroad(km float64) func(uint8) bool {
	home := r.c.staff[r.victim].home
	return func(city uint8) bool { return cities[city].country != cities[home].country && far[home][city] > km }
}

// statistical is a sign-in of one of the statistical attackers, while the victim is at work.
func (r *raid) statistical() bool {
	s := r.atWork()
	if s == nil {
		return false
	}
	at := r.at(s) + r.between(10*events.Minute, 80*events.Minute)
	var template events.Event
	g := r.c.attempt(r.d, r.kind, r.victim, at, 0, &template)
	r.takeover(at, &g)
	return true
}

// follow is a takeover some minutes after something the victim does.
func (r *raid) follow(fits func(city uint8) bool, shortest, longest int, show func(network) disguise) bool {
	s := r.atWork()
	if s == nil {
		return false
	}
	from, ok := r.lair(fits)
	if !ok {
		return false
	}
	g := show(from)
	r.takeover(r.at(s)+r.between(shortest, longest), &g)
	return true
}

func (r *raid) impossibleTravel() bool {
	home := r.c.staff[r.victim].home
	return r.follow(func(city uint8) bool { return far[home][city] > 3500 }, 10*events.Minute, 80*events.Minute, r.stranger)
}

func (r *raid) phoneTravel() bool {
	home := r.c.staff[r.victim].home
	return r.follow(func(city uint8) bool { return far[home][city] > 3500 }, 10*events.Minute, 80*events.Minute, func(from network) disguise {
		return disguise{from: from, system: iOS, browser: safari, version: major(r.day - 10), device: "mobile"}
	})
}

func (r *raid) domesticTravel() bool {
	home := r.c.staff[r.victim].home
	return r.follow(func(city uint8) bool {
		return cities[city].country == cities[home].country && far[home][city] > 3800
	}, 30*events.Minute, events.Hour, r.stranger)
}

func (r *raid) agentSpoofing() bool {
	return r.follow(r.abroad(1500), 10*events.Minute, 80*events.Minute, func(from network) disguise {
		return r.double(r.victim, from)
	})
}

func (r *raid) concurrentSessions() bool {
	s := r.atWork()
	if s == nil {
		return false
	}
	from, ok := r.lair(r.abroad(800))
	if !ok {
		return false
	}
	g := r.stranger(from)
	at := r.at(s) + r.between(2*events.Minute, 12*events.Minute)
	session := r.entry(r.victim, at, &g, false)
	r.uses(r.victim, at, r.d.between(12, 25), session, &g)
	return true
}

func (r *raid) backAndForth() bool {
	first := r.atWork()
	if first == nil {
		return false
	}
	second := r.pick(func(s *slot) bool {
		return r.working(s) && s.at > first.at+25*events.Minute && s.at < first.at+6*events.Hour
	})
	home := r.c.staff[r.victim].home
	from, ok := r.lair(func(city uint8) bool { return far[home][city] > 3500 })
	if second == nil || !ok {
		return false
	}
	g := r.stranger(from)
	r.entry(r.victim, r.at(first)+events.Millis(second.at-first.at)/2, &g, false)
	r.entry(r.victim, r.at(second)+r.between(5*events.Minute, 20*events.Minute), &g, false)
	return true
}

// newCountryDevice comes about half-way through the night, from a country that can be reached and left again in that time.
func (r *raid) newCountryDevice() bool {
	c, home := r.c, r.c.staff[r.victim].home
	if len(r.slots) == 0 {
		return false
	}
	last := r.at(&r.slots[len(r.slots)-1])
	tomorrow := c.plan(nil, r.victim, r.day+1)
	next := last + events.Day
	if len(tomorrow) > 0 {
		next = base(r.day+1) + events.Millis(tomorrow[0].at)
	}
	at := last + (next-last)/2 + events.Millis(r.d.n(events.Hour))
	reach := float64(min(at-last, next-at)-events.Hour) / events.Hour * 500
	from, ok := r.lair(func(city uint8) bool {
		return cities[city].country != cities[home].country && far[home][city] > 300 && far[home][city] < reach &&
			!c.hasBeen(r.victim, r.day, city)
	})
	if at < r.notBefore || at >= c.end()-events.Hour || !ok {
		return false
	}
	g := r.stranger(from)
	r.takeover(at, &g)
	return true
}

// hasBeen tells whether a victim travelled to the country of a city lately.
func (c *Company) hasBeen(victim uint32, day int64, city uint8) bool {
	for past := day; past > day-4*period; past -= period {
		if t, ok := c.tripAt(victim, past); ok && cities[t.to].country == cities[city].country {
			return true
		}
	}
	return false
}

// dormantTakeover needs somebody who was there before and has been away for thirty days at least.
func (r *raid) dormantTakeover() bool {
	const dormant, memory = 30, 150
	if len(r.slots) > 0 {
		return false
	}
	first := max(dayOf(r.c.cfg.Start)+1, r.day-memory)
	away := int64(0)
	for day := r.day - 1; day >= first; day-- {
		if len(r.c.plan(nil, r.victim, day)) > 0 {
			break
		}
		away++
	}
	if away < dormant || r.day-away <= first {
		return false
	}
	at := r.sometime()
	from, ok := r.lair(r.abroad(300))
	if !ok || at >= r.c.end()-events.Hour {
		return false
	}
	g := r.stranger(from)
	r.takeover(at, &g)
	return true
}

// intrusion is a takeover from abroad, on which something else follows.
func (r *raid) intrusion() (g disguise, session string, last events.Millis, ok bool) {
	s := r.atWork()
	if s == nil {
		return g, "", 0, false
	}
	from, ok := r.lair(r.abroad(500))
	if !ok {
		return g, "", 0, false
	}
	g = r.stranger(from)
	session, last = r.takeover(r.at(s)+r.between(10*events.Minute, 80*events.Minute), &g)
	return g, session, last, true
}

func (r *raid) consentGrant() bool {
	g, session, last, ok := r.intrusion()
	if !ok {
		return false
	}
	last += r.between(events.Minute, 25*events.Minute)
	e := r.begin(r.victim, last, consented, &g)
	id := identifier("ext-", *r.d.split())
	e.Change = events.Change{Type: events.ConsentChange, Action: events.Added, Target: events.Ref{ID: id, Name: "Document Viewer"}, Grants: allGrants}
	e.Session.ID = session
	r.push(e)
	return true
}

func (r *raid) credentialChange() bool {
	g, session, last, ok := r.intrusion()
	if !ok {
		return false
	}
	r.enrol(r.victim, last+r.between(events.Minute, 40*events.Minute), session, &g, r.d.chance(0.4))
	return true
}

// enrol registers a second factor of the attacker's, or changes the password.
func (r *raid) enrol(victim uint32, at events.Millis, session string, g *disguise, password bool) {
	w := newMethod
	if password {
		w = newPassword
	}
	e := r.begin(victim, at, w, g)
	e.Change = events.Change{Type: events.MethodChange, Action: events.Added, Target: events.Ref{ID: "totp", Name: "totp"}}
	if password {
		e.Change = events.Change{Type: events.CredentialChange, Action: events.Updated, Target: events.Ref{ID: "password", Name: "password"}}
	}
	e.Session.ID = session
	r.push(e)
}

// workloadKeyMisuse uses a program's key from somewhere else.
func (r *raid) workloadKeyMisuse() bool {
	c, home := r.c, r.c.staff[r.victim].home
	at := r.sometime()
	if at >= c.end()-events.Hour || !slices.ContainsFunc(r.slots, func(s slot) bool { return s.what == keyGrant }) {
		return false
	}
	g := bare(r.hideout(uint8(r.d.n(len(cities))), 0.7))
	if cities[home].name == g.from.at.City {
		return false
	}
	for n := r.d.between(2, 8); n > 0; n-- {
		e := r.begin(r.victim, at, keyGrant, &g)
		e.Auth = events.Auth{Strength: events.SingleFactor, Methods: withSecret, Protocol: clientKeys}
		r.push(e)
		at += r.between(20*events.Second, 30*events.Minute)
	}
	return true
}
