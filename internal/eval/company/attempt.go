package company

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// Attempt is the sign-in with the right password that a statistical attacker would make at a victim's account at a time.
// The victim is named by the key of events, tenant/user. The event is not in the stream: it is there to be scored against
// what is known of the victim. The same arguments always give the same event.
func (c *Company) Attempt(kind Attack, victim string, at events.Millis) (events.Event, error) {
	list, err := c.Attempts(kind, victim, at, 1)
	if err != nil {
		return events.Event{}, err
	}
	return list[0], nil
}

// Attempts are n alternatives of what [Company.Attempt] gives, the first of them that one: each from an address and with a
// user agent drawn anew.
func (c *Company) Attempts(kind Attack, victim string, at events.Millis, n int) ([]events.Event, error) {
	if !slices.Contains(Statistical, kind) {
		return nil, fmt.Errorf("attempt of %.40q: is no statistical attacker", kind)
	}
	tenant, user, _ := strings.Cut(victim, "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.userOf(tenant, user)
	if !ok {
		return nil, fmt.Errorf("attempt: user %.80q of tenant %.80q does not work here", user, tenant)
	}
	list := make([]events.Event, n)
	for k := range list {
		turn := uint64(slices.Index(Statistical, kind))<<32 | uint64(k)
		d := roll(c.cfg.Seed, forAttempt, uint64(i)<<16^mix(uint64(at)), turn)
		c.attempt(&d, kind, i, at, turn, &list[k])
	}
	return list, nil
}

// attempt writes one sign-in of a statistical attacker, and returns the disguise.
func (c *Company) attempt(d *dice, kind Attack, victim uint32, at events.Millis, turn uint64, out *events.Event) disguise {
	day := dayOf(at)
	e := &c.staff[victim]
	g := disguise{system: windows, browser: chrome, version: major(day), device: "desktop"} // what most of the world uses
	h := d.pcg.Uint64()
	switch kind {
	case NaiveAttacker:
		city := uint8(d.n(len(cities)))
		if g.from = hijacked(city, h); d.chance(0.6) {
			g.from = rented(city, h)
		}
		if d.chance(0.1) {
			g.from.net.Classes = torClass
		}
	case VPNAttacker:
		near := townsOf[countryOf[e.home]]
		g.from = rented(near[d.n(len(near))], h)
		g.from.net.Classes = hostedVPNClass
	case TargetedAttacker:
		g.from = lineOf(e.home, uint32(h)|1<<31).address(h)
		g.system, g.browser = e.laptop, likelyBrowser[e.laptop]
	default:
		own := lineOf(e.home, victim)
		own.pool = uint32(h % 512)
		g.from = own.address(h)
		g.system = e.laptop
		g.browser, _ = c.browserOn(victim, day)
		g.version = major(day - int64(d.n(14)))
	}
	c.person(victim, out)
	a := &acts[signIn]
	out.Kind, out.Outcome, out.Interactive, out.Source.Category = a.kind, a.outcome, a.interactive, a.category
	out.Time = at
	c.identify(out, at, 1<<61|turn)
	c.locate(&g.from, out)
	out.Device = events.Device{
		OS: systems[g.system], Browser: browsers[g.browser], BrowserMajor: g.version, Type: g.device, Managed: events.No, Compliant: events.No,
	}
	out.UserAgent = c.userAgent(g.system, g.browser, g.version)
	application := &apps[d.n(len(apps))]
	out.App, out.Resource = events.Ref{ID: application.id, Name: application.name}, events.Ref{ID: application.resource}
	out.Session.ID = sessionText(c.cfg.Seed, h|1<<40, uint64(at))
	c.authenticate(&employee{method: noMethod}, out, false)
	return g
}

// likelyBrowser is what most people use on a system.
var likelyBrowser = [...]uint8{windows: edge, macOS: chrome, linux: firefox, iOS: safari, android: chrome, iPadOS: safari}
