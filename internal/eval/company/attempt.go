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
		d := roll(c.cfg.Seed, forAttempt, uint64(i)<<16|uint64(slices.Index(Statistical, kind)), uint64(at)<<8+uint64(k))
		c.attempt(&d, kind, i, at, uint8(k), &list[k])
	}
	return list, nil
}

// attempt writes one sign-in of a statistical attacker.
func (c *Company) attempt(d *dice, kind Attack, victim uint32, at events.Millis, turn uint8, out *events.Event) {
	day := dayOf(at)
	e := &c.staff[victim]
	home := e.home
	system, browser := uint8(windows), uint8(chrome) // what most of the world uses
	version := major(day)
	h := uint32(d.pcg.Uint64())
	var n network
	switch kind {
	case NaiveAttacker:
		n = rogue(uint8(d.n(len(cities))), h, d.chance(0.6))
	case VPNAttacker:
		near := compatriots(home)
		n = rogue(near[d.n(len(near))], h, true)
		n.net.Classes = vpnClass
	case TargetedAttacker:
		n = fixedLine(home, h, false)
		system, browser = e.laptop, likelyBrowser[e.laptop]
	default:
		n = neighbour(home, victim, h)
		system, browser = e.laptop, e.browser
		version = major(day - int64(d.n(14)))
	}
	c.person(victim, out)
	out.Kind, out.Outcome, out.Interactive, out.Source.Category = events.SignIn, events.Success, events.Yes, categories[signIn]
	out.Time = at
	c.identify(out, at, day, turn)
	out.Source.ID += "-" + string(kind)
	out.ID = events.EventID(out.Tenant, SourceFamily, out.Source.ID)
	c.locate(&n, out)
	out.Device = events.Device{
		OS: systems[system], Browser: browsers[browser], BrowserMajor: version, Type: "desktop", Managed: events.No, Compliant: events.No,
	}
	out.UserAgent = c.userAgent(system, browser, version)
	application := &apps[d.n(len(apps))]
	out.App = events.Ref{ID: application.id, Name: application.name}
	out.Session.ID = sessionText(c.cfg.Seed, uint64(h)|1<<40, uint64(at))
	out.Auth = events.Auth{
		MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: passwordOnly, ACR: acrPassword, Protocol: "oidc",
	}
}

// likelyBrowser is what most people use on a system.
var likelyBrowser = [...]uint8{windows: edge, macOS: chrome, linux: firefox, iOS: safari, android: chrome}

// compatriots are the cities of a city's country.
func compatriots(of uint8) (list []uint8) {
	for i := range cities {
		if cities[i].country == cities[of].country {
			list = append(list, uint8(i))
		}
	}
	return list
}

// neighbour is an address of the victim's own carrier in the victim's own city.
func neighbour(city uint8, household, h uint32) network {
	own := fixedLine(city, household, false)
	for {
		n := fixedLine(city, h, false)
		if n.net.ASN == own.net.ASN && n.ip != own.ip {
			return n
		}
		h++
	}
}
