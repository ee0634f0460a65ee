package company

import (
	"errors"
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
)

// Attack names what an attacker does.
type Attack string

// The statistical attackers know the password and make one attempt; they differ in what else they know of the victim. They
// are those of the published evaluations of risk-based authentication (Wiefling et al., doi 10.1145/3546069).
const (
	// NaiveAttacker comes from anywhere, with a popular user agent.
	NaiveAttacker Attack = "naive"
	// VPNAttacker comes from the victim's country, with a popular user agent.
	VPNAttacker Attack = "vpn"
	// TargetedAttacker comes from a carrier of the victim's city, with the victim's system and the browser most used on it.
	TargetedAttacker Attack = "targeted"
	// VeryTargetedAttacker comes from the victim's city and carrier, with the victim's system and browser.
	VeryTargetedAttacker Attack = "very_targeted"
)

// Attacks on sessions, tokens and second factors.
const (
	// StolenSession: the attacker replays the victim's session cookie from another network, system and city.
	StolenSession Attack = "stolen_session"
	// StolenRefreshToken: the attacker redeems a refresh token of the victim's session from another network, not interactively.
	StolenRefreshToken Attack = "stolen_refresh_token"
	// ReplayAfterSignOut: the attacker uses a token of a session that the victim has ended.
	ReplayAfterSignOut Attack = "replay_after_sign_out"
	// AiTM: the victim signs in through the attacker's relay, in a rented server; the session is then used from another
	// network, or the attacker registers a second factor of their own.
	AiTM Attack = "aitm"
	// DeviceCode: the victim authorises the attacker's device code.
	DeviceCode Attack = "device_code"
	// PushFatigue: the attacker, who has the password, sends prompts until the victim approves one.
	PushFatigue Attack = "push_fatigue"
	// TOTPBruteForce: the attacker, who has the password, guesses one-time codes.
	TOTPBruteForce Attack = "totp_brute_force"
	// ConcurrentSessions: the attacker works in a session of their own, in another country, while the victim works.
	ConcurrentSessions Attack = "concurrent_sessions"
)

// Attacks on passwords.
const (
	// Spray tries a password or two at many users, from one address.
	Spray Attack = "spray"
	// DistributedSpray does so from a hundred addresses.
	DistributedSpray Attack = "distributed_spray"
	// SlowSpray tries one password a user and day, from another address every time.
	SlowSpray Attack = "slow_spray"
	// Stuffing tries name and password pairs that leaked elsewhere; one in two hundred fits.
	Stuffing Attack = "stuffing"
	// BruteForce tries many passwords at one user from one address, DistributedBruteForce from many.
	BruteForce            Attack = "brute_force"
	DistributedBruteForce Attack = "distributed_brute_force"
	// Enumeration tries names, most of which are nobody's.
	Enumeration Attack = "enumeration"
	// LockoutStorm fails at many users until they are locked.
	LockoutStorm Attack = "lockout_storm"
)

// Takeovers of accounts with the right password, and what attackers do to be taken for the victim.
const (
	// ImpossibleTravel: the attacker signs in with the password, from far away, while the victim is at work.
	ImpossibleTravel Attack = "impossible_travel"
	// NewCountryDevice: the attacker signs in at night from a country the victim has never been to, on a device of their
	// own; the way there would have been possible.
	NewCountryDevice Attack = "new_country_device"
	// BackAndForth is victim and attacker in turn: A, B, A, B, far apart, within hours.
	BackAndForth Attack = "back_and_forth"
	// DomesticTravel: some 4,000 km within an hour and within one country.
	DomesticTravel Attack = "domestic_travel"
	// PhoneTravel is impossible travel with the user agent of a phone.
	PhoneTravel Attack = "phone_travel"
	// AgentSpoofing: the attacker shows exactly the victim's user agent.
	AgentSpoofing Attack = "agent_spoofing"
	// DormantTakeover: the account of somebody who has been away for long.
	DormantTakeover Attack = "dormant_takeover"
	// ConsentGrant: after a takeover, the attacker consents to an application that may read everything.
	ConsentGrant Attack = "consent_grant"
	// CredentialChange: after a takeover, the attacker changes the password or registers a second factor.
	CredentialChange Attack = "credential_change"
	// EgressPoisoning: the attacker signs many victims in from one address over days, so that it is taken for an office.
	EgressPoisoning Attack = "egress_poisoning"
	// WorkloadKeyMisuse: the attacker uses the key of a program.
	WorkloadKeyMisuse Attack = "workload_key_misuse"
)

// Statistical lists the statistical attackers, the least knowing first.
var Statistical = []Attack{NaiveAttacker, VPNAttacker, TargetedAttacker, VeryTargetedAttacker}

// Attacks lists those that can be injected into the stream.
var Attacks = []Attack{ImpossibleTravel, StolenSession, NewCountryDevice}

// ErrNoVictim is returned when nobody does what an attack needs at the time.
var ErrNoVictim = errors.New("nobody is active in a way that the attack needs")

// attackDay injects a day's attacks. It is called when the day has been planned, so all of them lie after what has been
// handed out.
func (c *Company) attackDay(day int64) {
	d := roll(c.cfg.Seed, forAttacks, uint64(day), 0)
	n := int(c.cfg.AttacksPerDay)
	if d.chance(c.cfg.AttacksPerDay - float64(n)) {
		n++
	}
	for range n {
		kind := Attacks[d.n(len(Attacks))]
		c.attackSomebody(&d, kind, day, 0, tries)
	}
}

// tries is how many employees an attacker looks at before giving up.
const tries = 64

// attackSomebody looks for a victim and attacks, not before a time. It returns the victim and the first event's time.
func (c *Company) attackSomebody(d *dice, kind Attack, day int64, notBefore events.Millis, tries int) (uint32, events.Millis, bool) {
	for range tries {
		victim := uint32(d.n(len(c.staff)))
		if at, ok := c.attack(d, kind, victim, day, notBefore); ok {
			return victim, at, true
		}
	}
	return 0, 0, false
}

// Inject attacks somebody who is active soon after a time, on top of the attacks that are in the stream anyway. The time
// must not be more than a day after the last event. It returns tenant and user of the victim and the time of the first
// event of the attack, or [ErrNoVictim].
func (c *Company) Inject(kind Attack, at events.Millis) (tenant, user string, first events.Millis, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at = max(at, c.last)
	if at > c.horizon+events.Day {
		return "", "", 0, fmt.Errorf("attack at %v: the stream is only at %v", at, c.last)
	}
	c.injected++
	d := roll(c.cfg.Seed, forAttacks, uint64(at), c.injected)
	for day := dayOf(at) - 1; day <= dayOf(at)+1; day++ {
		if victim, first, ok := c.attackSomebody(&d, kind, day, at, max(tries, min(4096, 4*len(c.staff)))); ok {
			return c.cfg.Tenants[c.staff[victim].tenant], userID(victim), first, nil
		}
	}
	return "", "", 0, fmt.Errorf("%w: %s after %v", ErrNoVictim, kind, at)
}

// attack tries one victim.
func (c *Company) attack(d *dice, kind Attack, victim uint32, day int64, notBefore events.Millis) (events.Millis, bool) {
	c.scratch = c.plan(c.scratch[:0], victim, day)
	slots := c.scratch
	if t, away := c.tripAt(victim, day); away && day >= dayOf(t.leaves)-1 && day <= dayOf(t.backAtHome)+1 {
		return 0, false // travellers make poor evidence
	}
	start := base(day)
	home := c.staff[victim].home
	switch kind {
	case ImpossibleTravel, StolenSession:
		s := pick(d, slots, func(s *slot) bool {
			at := start + events.Millis(s.at)
			return s.marks&onPhone == 0 && (s.via == wifi || s.via == atOffice) && (s.what == signIn || s.what == use) &&
				at >= notBefore && at < c.end()-2*events.Hour
		})
		if s == nil {
			return 0, false
		}
		at := start + events.Millis(s.at)
		if kind == StolenSession {
			at += events.Millis(d.between(3*events.Minute, 40*events.Minute))
			from := c.lair(d, func(city uint8) bool { return far[home][city] > 300 })
			c.strike(d, kind, victim, day, at, from, s.session, true)
			return at, true
		}
		at += events.Millis(d.between(10*events.Minute, 80*events.Minute))
		from := c.lair(d, func(city uint8) bool { return far[home][city] > 3500 })
		c.strike(d, kind, victim, day, at, from, 0, false)
		return at, true
	default:
		if len(slots) == 0 {
			return 0, false
		}
		last := start + events.Millis(slots[len(slots)-1].at)
		tomorrow := c.plan(nil, victim, day+1)
		next := last + events.Day
		if len(tomorrow) > 0 {
			next = base(day+1) + events.Millis(tomorrow[0].at)
		}
		// About half-way through the night, from a country that can be reached and left again in that time.
		at := last + (next-last)/2 + events.Millis(d.n(events.Hour))
		reach := float64(min(at-last, next-at)-events.Hour) / events.Hour * 500
		from := c.lair(d, func(city uint8) bool {
			return cities[city].country != cities[home].country && far[home][city] > 300 && far[home][city] < reach
		})
		if at < notBefore || at >= c.end()-events.Hour || from == nowhere || c.hasBeen(victim, day, from) {
			return 0, false
		}
		c.strike(d, kind, victim, day, at, from, 0, false)
		return at, true
	}
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

const nowhere = ^uint8(0)

// lair is a city to attack from.
func (c *Company) lair(d *dice, fits func(city uint8) bool) uint8 {
	for range 200 {
		if city := uint8(d.n(len(cities))); fits(city) {
			return city
		}
	}
	return nowhere
}

// pick draws one of the slots that fit, nil when none does.
func pick(d *dice, slots []slot, fits func(*slot) bool) *slot {
	var chosen *slot
	seen := 0
	for i := range slots {
		if fits(&slots[i]) {
			if seen++; d.n(seen) == 0 {
				chosen = &slots[i]
			}
		}
	}
	return chosen
}

// strike writes the events of one attack.
func (c *Company) strike(d *dice, kind Attack, victim uint32, day int64, at events.Millis, from, session uint8, replay bool) {
	c.incidents++
	incident := c.incidents
	h := uint32(d.pcg.Uint64())
	n := rogue(from, h, replay && h%3 == 0)
	system := uint8(windows)
	if c.staff[victim].laptop == windows {
		system = linux
	}
	browser := uint8(firefox)
	sid := sessionText(c.cfg.Seed, uint64(h), 1<<50+uint64(at))
	if replay {
		sid = c.sessionID(victim, day, session, false)
	} else {
		c.intruders[sid] = at
	}
	for k, count := 0, d.between(3, 6); k < count; k++ {
		var e events.Event
		c.person(victim, &e)
		e.Kind, e.Outcome, e.Interactive, e.Source.Category = events.SessionUse, events.Success, events.No, categories[use]
		e.Session.ID = sid
		application := apps[d.n(len(apps))]
		e.App = events.Ref{ID: application.id, Name: application.name}
		e.Auth.Protocol = "oidc"
		e.Time = at
		if k == 0 && !replay {
			e.Kind, e.Interactive, e.Source.Category = events.SignIn, events.Yes, categories[signIn]
			e.Auth = events.Auth{
				MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: passwordOnly, ACR: acrPassword, Protocol: "oidc",
			}
		}
		c.identify(&e, at, day, 3) // no plan has a fourth session
		c.locate(&n, &e)
		e.Device = events.Device{OS: systems[system], Browser: browsers[browser], BrowserMajor: major(day - 30), Type: "desktop"}
		e.UserAgent = c.userAgent(system, browser, e.Device.BrowserMajor)
		c.push(delivery{at: at, event: e, label: Label{EventID: e.ID, Attack: kind, Incident: incident}})
		at += events.Millis(d.between(20*events.Second, 4*events.Minute))
	}
}
