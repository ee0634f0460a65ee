package company

import (
	"github.com/countersign-io/countersign/internal/events"
)

// elsewhere tells whether a city is not near the victim's.
func (r *raid) elsewhere(city uint8) bool { return far[r.c.staff[r.victim].home][city] > 300 }

func (r *raid) stolenSession() bool {
	s := r.atWork()
	if s == nil {
		return false
	}
	from, ok := r.lair(r.elsewhere)
	if !ok {
		return false
	}
	g := r.stranger(from)
	session := r.c.sessionID(r.victim, r.day, s.session, s.gear)
	at := r.at(s) + r.between(3*events.Minute, 36*events.Minute)
	r.uses(r.victim, at, r.d.between(3, 6), session, &g)
	r.noticed(at, &g, anomalous, events.RiskMedium)
	return true
}

func (r *raid) stolenRefreshToken() bool {
	s := r.atWork()
	if s == nil {
		return false
	}
	from, ok := r.lair(r.elsewhere)
	if !ok {
		return false
	}
	g := bare(from)
	if r.d.chance(0.5) {
		g = r.stranger(from)
	}
	key := r.c.sessionKey(r.victim, r.day, s.session, s.gear)
	at := r.at(s) + r.between(3*events.Minute, 40*events.Minute)
	for n := r.d.between(2, 5); n > 0; n-- {
		e := r.begin(r.victim, at, refresh, &g)
		e.Auth = events.Auth{MFA: events.MFAByClaim, Protocol: oauth2}
		e.Session = events.Session{
			ID: sessionText(r.c.cfg.Seed, uint64(r.victim), key), Token: identifier("tok-", *r.d.split()), TokenType: "refresh_token",
		}
		r.push(e)
		at += r.between(5*events.Minute, events.Hour)
	}
	return true
}

func (r *raid) replayAfterSignOut() bool {
	s := r.pick(func(s *slot) bool { return s.what == signOut && s.gear == theLaptop })
	if s == nil {
		return false
	}
	from, ok := r.lair(r.elsewhere)
	if !ok {
		return false
	}
	g := r.stranger(from)
	key := r.c.sessionKey(r.victim, r.day, s.session, s.gear)
	token := r.c.token(r.victim, key, r.at(s)-events.Minute)
	at := r.at(s) + r.between(11*events.Minute, 100*events.Minute)
	for n := r.d.between(2, 4); n > 0; n-- {
		e := r.begin(r.victim, at, use, &g)
		e.Session.ID, e.Session.Token = sessionText(r.c.cfg.Seed, uint64(r.victim), key), token
		r.push(e)
		at += r.between(20*events.Second, 4*events.Minute)
	}
	return true
}

// relayed tells whether somebody's second factor can be relayed to the provider: a security key refuses the wrong site.
func (r *raid) relayed(victim uint32) bool {
	m := r.c.staff[victim].method
	return m != noMethod && m != keyMethod
}

// aitm relays a sign-in through a rented server, which shows the victim's own user agent, with the second factor. The
// attacker then uses the session from elsewhere, or registers a second factor, or both.
func (r *raid) aitm() bool {
	s := r.atWork()
	if s == nil || !r.relayed(r.victim) {
		return false
	}
	near := townsOf[countryOf[r.c.staff[r.victim].home]]
	server := rented(near[r.d.n(len(near))], r.d.pcg.Uint64())
	if r.d.chance(0.5) {
		server = r.anywhere(1)
	}
	relay := r.double(r.victim, server)
	at := r.at(s) + r.between(events.Minute, 20*events.Minute)
	session := r.entry(r.victim, at, &relay, true)
	own := r.stranger(r.anywhere(0.5))
	r.noticed(at, &relay, inTheMiddle, events.RiskHigh)
	path := r.d.n(10)
	if path < 7 {
		r.uses(r.victim, at+r.between(events.Minute, 22*events.Minute), r.d.between(3, 6), session, &own)
	}
	if path >= 4 {
		r.enrol(r.victim, at+r.between(5*events.Minute, 55*events.Minute), session, &own, false)
	}
	return true
}

// deviceCode lets the victim authorise a code; the attacker's program polls for the tokens and uses them.
func (r *raid) deviceCode() bool {
	s := r.pick(func(s *slot) bool { return r.working(s) && s.what == use })
	if s == nil {
		return false
	}
	from, ok := r.lair(r.elsewhere)
	if !ok {
		return false
	}
	at := r.at(s) + r.between(20*events.Second, 5*events.Minute)
	var own events.Event
	r.c.device(s, r.day, &own)
	here, _ := r.c.network(s, r.day, at)
	g := r.double(r.victim, here)
	session, flow := r.newSession(at), r.flow()
	delete(r.c.intruders, session) // the victim authorised it, and can answer for it
	e := r.begin(r.victim, at, authorised, &g)
	e.Device, e.UserAgent = own.Device, own.UserAgent
	r.c.authenticate(&r.c.staff[r.victim], e, true)
	e.Auth.Protocol, e.Session.ID, e.Correlation = deviceCodeFlow, session, flow
	e.App, e.Resource = events.Ref{ID: console.id, Name: console.name}, events.Ref{ID: console.resource}
	r.push(e)
	poller := bare(from)
	at += r.between(events.Second, 8*events.Second)
	p := r.begin(r.victim, at, polled, &poller)
	p.App, p.Resource = e.App, e.Resource
	p.Auth = events.Auth{MFA: events.MFAByClaim, Protocol: deviceCodeFlow}
	p.Session.ID, p.Session.Token, p.Correlation = session, identifier("tok-", *r.d.split()), flow
	r.push(p)
	r.uses(r.victim, at, r.d.between(2, 6), session, &poller)
	return true
}

// pushFatigue sends prompts; most victims give in.
func (r *raid) pushFatigue() bool {
	s := r.atWork()
	if s == nil || r.c.staff[r.victim].method != pushMethod {
		return false
	}
	g := r.stranger(r.anywhere(0.35))
	at := r.at(s) + r.between(5*events.Minute, events.Hour)
	for n := r.d.between(5, 12); n > 0; n-- {
		w := deniedPrompt
		if r.d.chance(0.3) {
			w = missedPrompt
		}
		e := r.failure(r.victim, at, w, &g, oidc, r.flow())
		e.Auth.Methods, e.Auth.MFA = factors[pushMethod], events.MFADenied
		if w == missedPrompt {
			e.Auth.MFA = events.MFAFailed
		}
		r.push(e)
		at += r.between(20*events.Second, 45*events.Second)
	}
	if r.d.chance(0.85) {
		session := r.entry(r.victim, at, &g, true)
		r.uses(r.victim, at, r.d.between(2, 5), session, &g)
	} else {
		r.noticed(at, &g, reportedByMe, events.RiskHigh)
	}
	return true
}

// totpBruteForce guesses codes, three to a flow; one in ten attackers is lucky.
func (r *raid) totpBruteForce() bool {
	s := r.atWork()
	if s == nil || r.c.staff[r.victim].method != totpMethod {
		return false
	}
	g := r.stranger(r.anywhere(0.5))
	at := r.at(s) + r.between(5*events.Minute, events.Hour)
	flow := ""
	for k := range r.d.between(24, 90) {
		if k%3 == 0 {
			flow = r.flow()
		}
		e := r.failure(r.victim, at, wrongCode, &g, oidc, flow)
		e.Auth.Methods, e.Auth.MFA = factors[totpMethod], events.MFAFailed
		r.push(e)
		at += r.between(4*events.Second, 12*events.Second)
	}
	if r.d.chance(0.1) {
		session := r.entry(r.victim, at, &g, true)
		r.uses(r.victim, at, 3, session, &g)
	}
	return true
}
