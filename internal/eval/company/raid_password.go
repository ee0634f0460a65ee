package company

import (
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// colleagues draws distinct users of the victim's tenant, the victim first, at most as many as there are.
func (r *raid) colleagues(n int) []uint32 {
	c := r.c
	tenants := len(c.cfg.Tenants)
	offset := int(r.victim) % tenants
	all := (c.cfg.Users - offset + tenants - 1) / tenants
	n = min(n, all)
	// A step that shares no factor with the number of users visits each once.
	step := r.d.n(all) + 1
	for gcd(step, all) != 1 {
		step++
	}
	list := make([]uint32, n)
	at := int(r.victim) / tenants
	for i := range list {
		list[i] = uint32(at*tenants + offset)
		at = (at + step) % all
	}
	return list
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// tool is what password attackers use: one user agent, application and protocol for all attempts of an attack.
type tool struct {
	disguise
	app      *app
	protocol string
}

// newTool is a script that speaks an old protocol, or a browser that is a year old.
func (r *raid) newTool() tool {
	if r.d.chance(0.5) {
		return tool{disguise{device: "script", agent: "Mail-Client/1.0"}, &apps[0], ropc}
	}
	return tool{disguise{system: linux, browser: chrome, version: major(r.day - 360), device: "desktop"}, &apps[11], oidc}
}

// try writes one attempt from a network; it succeeds when the password is right.
func (r *raid) try(victim uint32, at events.Millis, t *tool, from network, right bool) {
	t.from = from
	if right {
		session := r.entry(victim, at, &t.disguise, false)
		r.uses(victim, at, r.d.between(1, 4), session, &t.disguise)
		return
	}
	e := r.failure(victim, at, wrongPassword, &t.disguise, t.protocol, r.flow())
	e.App, e.Resource = events.Ref{ID: t.app.id, Name: t.app.name}, events.Ref{ID: t.app.resource}
	if t.protocol == ropc {
		e.Interactive, e.Source.Category = events.No, silentLog
	}
	r.push(e)
}

// botnet is a number of networks all over the world.
func (r *raid) botnet(n int, p float64) []network {
	list := make([]network, n)
	for i := range list {
		list[i] = r.anywhere(p)
	}
	return list
}

func (r *raid) spray() bool {
	at, t, from := r.sometime(), r.newTool(), r.anywhere(0.6)
	for range r.d.between(1, 2) { // passwords
		for _, v := range r.colleagues(r.d.between(40, 100)) {
			r.try(v, at, &t, from, r.d.chance(0.015))
			at += r.between(2*events.Second, 14*events.Second)
		}
		at += r.between(20*events.Minute, 40*events.Minute)
	}
	return true
}

func (r *raid) distributedSpray() bool {
	at, t, from := r.sometime(), r.newTool(), r.botnet(100, 0.6)
	for _, v := range r.colleagues(r.d.between(120, 300)) {
		r.try(v, at, &t, from[r.d.n(len(from))], r.d.chance(0.01))
		at += r.between(2*events.Second, 20*events.Second)
	}
	return true
}

func (r *raid) slowSpray() bool {
	start, t := r.sometime(), r.newTool()
	targets := r.colleagues(r.d.between(30, 80))
	for day := range r.d.between(5, 10) {
		for _, v := range targets {
			at := start + events.Millis(day*events.Day) + events.Millis(r.d.n(10*events.Hour))
			r.try(v, at, &t, r.anywhere(0.5), r.d.chance(0.002))
		}
	}
	return true
}

// stuffing tries pairs that leaked elsewhere, most of them of people who never worked here.
func (r *raid) stuffing() bool {
	at, t, from := r.sometime(), r.newTool(), r.botnet(2, 0.7)
	for k, v := range r.colleagues(r.d.between(100, 250)) {
		f := from[k%len(from)]
		r.try(v, at, &t, f, r.d.chance(0.005))
		if r.d.chance(0.3) {
			r.tryName(v, at+events.Second, &t, f)
		}
		at += r.between(events.Second, 8*events.Second)
	}
	return true
}

// tryName writes an attempt with a name that is nobody's.
func (r *raid) tryName(like uint32, at events.Millis, t *tool, from network) {
	t.from = from
	e := r.failure(like, at, misspelt, &t.disguise, t.protocol, r.flow())
	e.User = r.c.nobody(like, r.d.pcg.Uint64())
	r.c.identify(e, at, 1<<62|uint64(r.incident)<<24|r.steps)
	e.App, e.Resource = events.Ref{ID: t.app.id, Name: t.app.name}, events.Ref{ID: t.app.resource}
	r.push(e)
}

// nobody is a name in the manner of the company that is nobody's.
func (c *Company) nobody(like uint32, h uint64) events.User {
	e := &c.staff[like]
	name := firstNames[h%uint64(len(firstNames))] + "." + lastNames[h>>8%uint64(len(lastNames))] + strconv.Itoa(int(h>>16%1000))
	return events.User{ID: strings.ToLower(name) + "@" + c.cfg.Tenants[e.tenant] + ".example", Type: events.Unresolved}
}

func (r *raid) bruteForce() bool {
	at, t, from := r.sometime(), r.newTool(), r.anywhere(0.6)
	for range r.d.between(40, 250) {
		r.try(r.victim, at, &t, from, false)
		at += r.between(events.Second, 8*events.Second)
	}
	if r.d.chance(0.2) {
		r.try(r.victim, at, &t, from, true)
	}
	return true
}

func (r *raid) distributedBruteForce() bool {
	at, t, from := r.sometime(), r.newTool(), r.botnet(30, 0.5)
	for range r.d.between(30, 120) {
		r.try(r.victim, at, &t, from[r.d.n(len(from))], false)
		at += r.between(5*events.Second, 50*events.Second)
	}
	if r.d.chance(0.2) {
		r.try(r.victim, at, &t, from[0], true)
	}
	return true
}

func (r *raid) enumeration() bool {
	at, t, from := r.sometime(), r.newTool(), r.anywhere(0.6)
	users := r.colleagues(30)
	for k := range r.d.between(60, 200) {
		if k%8 == 7 {
			r.try(users[k/8%len(users)], at, &t, from, false)
		} else {
			r.tryName(r.victim, at, &t, from)
		}
		at += r.between(events.Second, 5*events.Second)
	}
	return true
}

// lockoutStorm fails at many users, from ten addresses, until each is locked.
func (r *raid) lockoutStorm() bool {
	at, t, from := r.sometime(), r.newTool(), r.botnet(10, 0.6)
	for _, v := range r.colleagues(r.d.between(35, 80)) {
		f := from[r.d.n(len(from))]
		for range 5 {
			r.try(v, at, &t, f, false)
			at += r.between(events.Second, 4*events.Second)
		}
		t.from = f
		e := r.failure(v, at, lockedOut, &t.disguise, t.protocol, r.flow())
		r.push(e)
		at += r.between(events.Second, 3*events.Second)
	}
	return true
}

// egressPoisoning signs some victims a day in from one address, with their second factors relayed.
func (r *raid) egressPoisoning() bool {
	c, server := r.c, r.anywhere(0.7)
	victims := r.colleagues(40)
	for day := range int64(r.d.between(5, 8)) {
		for range r.d.between(3, 5) {
			v := victims[r.d.n(len(victims))]
			if !r.relayed(v) {
				continue
			}
			start, _ := c.workStart(v, r.day+1+day, c.staff[v].home)
			at := max(r.notBefore, start) + r.between(10*events.Minute, 6*events.Hour)
			g := r.double(v, server)
			session := r.entry(v, at, &g, true)
			r.uses(v, at, r.d.between(1, 3), session, &g)
		}
	}
	return r.first != 0
}
