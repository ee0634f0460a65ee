package company

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	CredentialChange Attack = "credential_change" //nolint:gosec // no credential
	// EgressPoisoning: the attacker signs many victims in from one address over days, so that it is taken for an office.
	EgressPoisoning Attack = "egress_poisoning"
	// WorkloadKeyMisuse: the attacker uses the key of a program.
	WorkloadKeyMisuse Attack = "workload_key_misuse"
)

// Statistical lists the statistical attackers, the least knowing first.
var Statistical = []Attack{NaiveAttacker, VPNAttacker, TargetedAttacker, VeryTargetedAttacker}

// Visible are attacks that show within minutes and take one victim each.
var Visible = []Attack{ImpossibleTravel, StolenSession, NewCountryDevice}

// Attacks lists every attack.
var Attacks = []Attack{
	NaiveAttacker, VPNAttacker, TargetedAttacker, VeryTargetedAttacker,
	StolenSession, StolenRefreshToken, ReplayAfterSignOut, AiTM, DeviceCode, PushFatigue, TOTPBruteForce, ConcurrentSessions,
	Spray, DistributedSpray, SlowSpray, Stuffing, BruteForce, DistributedBruteForce, Enumeration, LockoutStorm,
	ImpossibleTravel, NewCountryDevice, BackAndForth, DomesticTravel, PhoneTravel, AgentSpoofing, DormantTakeover, ConsentGrant,
	CredentialChange, EgressPoisoning, WorkloadKeyMisuse,
}

// AttackMix weighs the kinds of attacks against each other.
type AttackMix map[Attack]float64

// evenly gives several kinds the same weight.
func evenly(kinds []Attack) AttackMix {
	m := AttackMix{}
	for _, k := range kinds {
		m[k] = 1
	}
	return m
}

// ParseMix reads which attacks there are: "visible", "all" (as in the evaluation), or names with weights such as
// "aitm=2,spray".
func ParseMix(text string) (AttackMix, error) {
	switch text {
	case "visible":
		return evenly(Visible), nil
	case "all":
		return EvalConfig(1).Mix, nil
	}
	m := AttackMix{}
	for part := range strings.SplitSeq(text, ",") {
		name, number, weighed := strings.Cut(strings.TrimSpace(part), "=")
		weight := 1.0
		if weighed {
			var err error
			if weight, err = strconv.ParseFloat(number, 64); err != nil {
				return nil, fmt.Errorf("the weight of %.40q: is %.40q, must be a number", name, number)
			}
		}
		if !slices.Contains(Attacks, Attack(name)) {
			return nil, fmt.Errorf("%.40q is no attack; there are visible, all, and %s", name, names())
		}
		m[Attack(name)] += weight
	}
	return m, nil
}

func names() string {
	list := make([]string, len(Attacks))
	for i, a := range Attacks {
		list[i] = string(a)
	}
	return strings.Join(list, ", ")
}

// draw draws a kind.
func (m AttackMix) draw(d *dice) Attack {
	total := 0.0
	for _, kind := range Attacks { // not in the order of the map, which there is none of
		total += m[kind]
	}
	at := d.unit() * total
	for _, kind := range Attacks {
		if at -= m[kind]; at < 0 {
			return kind
		}
	}
	return Attacks[len(Attacks)-1]
}

// validate reports every problem.
func (m AttackMix) validate(bad func(format string, args ...any)) {
	total := 0.0
	for kind, weight := range m {
		if !slices.Contains(Attacks, kind) {
			bad("mix.%.40s: is no attack", kind)
		}
		if !(weight >= 0 && weight <= 1e6) {
			bad("mix.%.40s: is %g, must be between 0 and 1000000", kind, weight)
		}
		total += weight
	}
	if !(total > 0) {
		bad("mix: weighs %g altogether, must be more than 0", total)
	}
}

// BaseRate is how many attacks a day make one compromise a month for ten thousand users, when every attack is one.
func BaseRate(users int) float64 { return float64(users) / 10_000 / 30 }

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
		c.attackSomebody(&d, c.cfg.Mix.draw(&d), day, base(day), tries)
	}
}

// tries is how many employees an attacker looks at before giving up.
const tries = 128

// attackSomebody looks for a victim and attacks, not before a time. It returns the victim and the first event's time.
func (c *Company) attackSomebody(d *dice, kind Attack, day int64, notBefore events.Millis, tries int) (uint32, events.Millis, bool) {
	for range tries {
		r := raid{c: c, d: d, kind: kind, day: day, notBefore: notBefore, victim: c.target(d, kind)}
		if r.run() && r.first != 0 {
			return r.victim, r.first, true
		}
	}
	return 0, 0, false
}

// target is somebody, or for an attack on programs a program.
func (c *Company) target(d *dice, kind Attack) uint32 {
	if kind == WorkloadKeyMisuse {
		return uint32(c.cfg.Users + d.n(programs(c.cfg.Users)))
	}
	return uint32(d.n(c.cfg.Users))
}

// Inject attacks somebody who is active soon after a time, on top of the attacks that are in the stream anyway. The time
// must not be more than a day after the last event. It returns tenant and user of the victim and the time of the first
// event of the attack, or [ErrNoVictim]; when there are many victims, one of them.
func (c *Company) Inject(kind Attack, at events.Millis) (tenant, user string, first events.Millis, err error) {
	if !slices.Contains(Attacks, kind) {
		return "", "", 0, fmt.Errorf("attack %.40q: is unknown", kind)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at = max(at, c.last)
	if at > c.horizon+events.Day {
		return "", "", 0, fmt.Errorf("attack at %v: the stream is only at %v", at, c.last)
	}
	c.injected++
	d := roll(c.cfg.Seed, forAttacks, uint64(at), c.injected)
	for day := dayOf(at) - 1; day <= dayOf(at)+1; day++ {
		if victim, first, ok := c.attackSomebody(&d, kind, day, at, max(tries, min(4096, 4*c.cfg.Users))); ok {
			return c.cfg.Tenants[c.staff[victim].tenant], c.userID(victim), first, nil
		}
	}
	return "", "", 0, fmt.Errorf("%w: %s after %v", ErrNoVictim, kind, at)
}
