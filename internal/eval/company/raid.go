package company

import (
	"github.com/countersign-io/countersign/internal/events"
)

// raid is one attack while it is written. Nothing is written before the victim is known to fit.
type raid struct {
	c         *Company
	d         *dice
	kind      Attack
	day       int64
	notBefore events.Millis
	victim    uint32
	slots     []slot // of the victim's day

	incident int
	steps    uint64
	first    events.Millis // the time of the first event
}

// courses are how the attacks go. Each reports false, and has written nothing, when the victim does not fit.
var courses map[Attack]func(*raid) bool

func init() { //nolint:gochecknoinits // the courses use what draws from them
	courses = map[Attack]func(*raid) bool{
		NaiveAttacker: (*raid).statistical, VPNAttacker: (*raid).statistical,
		TargetedAttacker: (*raid).statistical, VeryTargetedAttacker: (*raid).statistical,
		StolenSession: (*raid).stolenSession, StolenRefreshToken: (*raid).stolenRefreshToken,
		ReplayAfterSignOut: (*raid).replayAfterSignOut, AiTM: (*raid).aitm, DeviceCode: (*raid).deviceCode,
		PushFatigue: (*raid).pushFatigue, TOTPBruteForce: (*raid).totpBruteForce, ConcurrentSessions: (*raid).concurrentSessions,
		Spray: (*raid).spray, DistributedSpray: (*raid).distributedSpray, SlowSpray: (*raid).slowSpray,
		Stuffing: (*raid).stuffing, BruteForce: (*raid).bruteForce, DistributedBruteForce: (*raid).distributedBruteForce,
		Enumeration: (*raid).enumeration, LockoutStorm: (*raid).lockoutStorm,
		ImpossibleTravel: (*raid).impossibleTravel, NewCountryDevice: (*raid).newCountryDevice, BackAndForth: (*raid).backAndForth,
		DomesticTravel: (*raid).domesticTravel, PhoneTravel: (*raid).phoneTravel, AgentSpoofing: (*raid).agentSpoofing,
		DormantTakeover: (*raid).dormantTakeover, ConsentGrant: (*raid).consentGrant, CredentialChange: (*raid).credentialChange,
		EgressPoisoning: (*raid).egressPoisoning, WorkloadKeyMisuse: (*raid).workloadKeyMisuse,
	}
}

// run tries the victim.
func (r *raid) run() bool {
	c := r.c
	c.scratch = c.plan(c.scratch[:0], r.victim, r.day)
	r.slots = c.scratch
	if t, away := c.tripAt(r.victim, r.day); away && r.day >= dayOf(t.leaves)-1 && r.day <= dayOf(t.backAtHome)+1 {
		return false // travellers make poor evidence
	}
	return courses[r.kind](r)
}

// disguise is where an attacker comes from and what the device shows.
type disguise struct {
	from            network
	system, browser uint8
	version         int
	device          string // its type
	agent           string // instead of a browser's
}

// stranger comes from a network with a desktop that is not like the victim's.
func (r *raid) stranger(from network) disguise {
	g := disguise{from: from, system: windows, browser: firefox, version: major(r.day - 30), device: "desktop"}
	if r.c.staff[r.victim].laptop == windows {
		g.system = linux
	}
	return g
}

// double shows exactly what the victim's laptop shows, but for its id.
func (r *raid) double(victim uint32, from network) disguise {
	e := &r.c.staff[victim]
	browser, _ := r.c.browserOn(victim, r.day)
	return disguise{from: from, system: e.laptop, browser: browser, version: major(r.day - int64(e.lag)), device: "desktop"}
}

// bare is a program that does not pretend to be a browser.
func bare(from network) disguise {
	return disguise{from: from, device: "script", agent: "python-requests/2.32.3"}
}

// lair is a network in a city that fits: a rented server or somebody's hijacked router.
func (r *raid) lair(fits func(city uint8) bool) (network, bool) {
	for range 200 {
		city := uint8(r.d.n(len(cities)))
		if !fits(city) {
			continue
		}
		return r.hideout(city, 0.35), true
	}
	return network{}, false
}

// hideout is a network in a city, rented with a probability.
func (r *raid) hideout(city uint8, p float64) network {
	h := r.d.pcg.Uint64()
	if r.d.chance(p) {
		return rented(city, h)
	}
	return hijacked(city, h)
}

// anywhere is a network in any city.
func (r *raid) anywhere(p float64) network { return r.hideout(uint8(r.d.n(len(cities))), p) }

// pick draws one of the victim's slots that fit and that the attack can follow, nil when none does.
func (r *raid) pick(fits func(*slot) bool) *slot {
	var chosen *slot
	seen := 0
	for i := range r.slots {
		s := &r.slots[i]
		if at := r.at(s); at < r.notBefore || at >= r.c.end()-2*events.Hour || !fits(s) {
			continue
		}
		if seen++; r.d.n(seen) == 0 {
			chosen = s
		}
	}
	return chosen
}

// atWork is something the victim does with the laptop, from home or the office.
func (r *raid) atWork() *slot { return r.pick(r.working) }

// working tells of something done with the laptop at the office or at home. Who is online over a satellite could be anywhere.
func (r *raid) working(s *slot) bool {
	if s.via == wifi && r.c.staff[s.user].is(usesSatellite) {
		return false
	}
	return s.gear == theLaptop && (s.via == wifi || s.via == atOffice) && (s.what == signIn || s.what == use)
}

func (r *raid) at(s *slot) events.Millis { return base(r.day) + events.Millis(s.at) }

// sometime is a moment of the day at which an attack on many begins.
func (r *raid) sometime() events.Millis {
	return max(r.notBefore, events.Millis(r.day*events.Day)) + events.Millis(r.d.n(20*events.Hour))
}

func (r *raid) between(low, high int) events.Millis { return events.Millis(r.d.between(low, high)) }

// begin makes an event of somebody's account by the attacker.
func (r *raid) begin(victim uint32, at events.Millis, w what, g *disguise) *events.Event {
	c, a := r.c, &acts[w]
	if r.steps == 0 {
		c.incidents++
		r.incident = c.incidents
	}
	r.steps++
	e := &events.Event{}
	c.person(victim, e)
	e.Kind, e.Time, e.Source.Category, e.Interactive = a.kind, at, a.category, a.interactive
	e.Outcome, e.Cause, e.Code, e.Reason = a.outcome, a.cause, a.code, a.reason
	c.identify(e, at, 1<<62|uint64(r.incident)<<24|r.steps)
	c.locate(&g.from, e)
	e.Device = events.Device{Type: g.device, Managed: events.No, Compliant: events.No}
	if e.UserAgent = g.agent; g.agent == "" {
		e.Device.OS, e.Device.Browser, e.Device.BrowserMajor = systems[g.system], browsers[g.browser], g.version
		e.UserAgent = c.userAgent(g.system, g.browser, g.version)
	}
	if a.kind != events.AccountChange && a.kind != events.RiskReport {
		application := &apps[r.d.n(len(apps))]
		e.App, e.Resource = events.Ref{ID: application.id, Name: application.name}, events.Ref{ID: application.resource}
		e.Auth.Protocol = oidc
	}
	return e
}

// push puts an event into the stream, unless that ends before.
func (r *raid) push(e *events.Event) {
	if e.Time >= r.c.end() {
		return
	}
	if r.first == 0 || e.Time < r.first {
		r.first = e.Time
	}
	r.c.push(delivery{at: e.Time, event: *e, label: Label{EventID: e.ID, Attack: r.kind, Incident: r.incident}})
}

// flow is a new flow's id.
func (r *raid) flow() string { return identifier("flow-", *r.d.split()) }

// newSession is the id of a session that the attacker opens. Nobody but the attacker sees a challenge in it.
func (r *raid) newSession(at events.Millis) string {
	id := identifier("sid-", *r.d.split())
	r.c.intruders[id] = at
	return id
}

// entry writes a sign-in with the right password, and with the victim's second factor when that is relayed or approved.
func (r *raid) entry(victim uint32, at events.Millis, g *disguise, second bool) (session string) {
	e := r.begin(victim, at, signIn, g)
	r.c.authenticate(&employee{method: noMethod}, e, false)
	if m := r.c.staff[victim].method; second && m != noMethod && m != keyMethod {
		r.c.authenticate(&r.c.staff[victim], e, true)
	}
	session = r.newSession(at)
	e.Session.ID, e.Session.Token, e.Correlation = session, identifier("tok-", *r.d.split()), r.flow()
	r.push(e)
	return session
}

// failure writes a failed attempt.
func (r *raid) failure(victim uint32, at events.Millis, w what, g *disguise, protocol, flow string) *events.Event {
	e := r.begin(victim, at, w, g)
	e.Auth = events.Auth{Strength: events.StrengthNone, Methods: passwordOnly, Protocol: protocol}
	e.Correlation = flow
	return e
}

// uses writes some uses of a session, with a pause of 20 seconds to four minutes before each, and returns the time of the
// last.
func (r *raid) uses(victim uint32, at events.Millis, n int, session string, g *disguise) events.Millis {
	token := identifier("tok-", *r.d.split())
	for range n {
		at += r.between(20*events.Second, 4*events.Minute)
		e := r.begin(victim, at, use, g)
		e.Session.ID, e.Session.Token = session, token
		r.push(e)
	}
	return at
}

// takeover is a sign-in with some uses.
func (r *raid) takeover(at events.Millis, g *disguise) (session string, last events.Millis) {
	session = r.entry(r.victim, at, g, false)
	r.noticed(at, g, unfamiliar, events.RiskMedium)
	return session, r.uses(r.victim, at, r.d.between(2, 5), session, g)
}

// noticed lets the provider's own detection report the attack some minutes or hours later: one time in seven.
func (r *raid) noticed(happened events.Millis, g *disguise, names []string, level events.RiskLevel) {
	if !r.d.chance(1.0 / 7) {
		return
	}
	e := r.begin(r.victim, happened+r.between(5*events.Minute, 6*events.Hour), reported, g)
	e.Device, e.UserAgent = events.Device{}, ""
	e.Risk = events.Risk{Level: level, State: events.RiskOpen, Detections: names, Happened: happened}
	r.push(e)
}
