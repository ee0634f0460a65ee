package company

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/countersign-io/countersign/internal/events"
)

// MaxUsers is the largest company.
const MaxUsers = 5_000_000

// Config says which company. The zero value of a field is no default; start from [DefaultConfig].
type Config struct {
	// Seed makes the company: the same seed gives the same stream.
	Seed uint64
	// Users is how many employees there are, dealt out to the tenants in turn.
	Users   int
	Tenants []string
	// Start is the time of the first event; Days is how long the stream is, 0 for one without end.
	Start events.Millis
	Days  int
	// AttacksPerDay is how many attacks there are on a day, on average; the first QuietDays have none, so that a detector
	// can learn what is normal.
	AttacksPerDay float64
	QuietDays     int
	// Mix says which attacks there are.
	Mix AttackMix
	// Volume scales how much people do in their sessions, between 0 and 10; 1 makes about six events a user and day. It does
	// not change how often they sign in.
	Volume float64
	// Ingested writes the time of acceptance, as ingest would. Leave it unset when the events go through ingest.
	Ingested bool
	Faults   Faults
}

// Faults are what goes wrong on the way, as shares between 0 and 1.
type Faults struct {
	// Late events come up to half an hour after they happened, out of order.
	Late float64
	// Duplicate events come twice.
	Duplicate float64
	// MissingPlace events have no place.
	MissingPlace float64
	// Skewed is the share of applications' servers, of which each has sixteen, whose clocks are wrong by up to three minutes.
	Skewed float64
}

// DefaultConfig is a company of a thousand that begins on 5 January 2026, a Monday, with all confounders, the [Visible]
// attacks and no faults.
func DefaultConfig() Config {
	return Config{
		Seed: 1, Users: 1000, Tenants: []string{"acme"}, Start: 1767571200000, Days: 30, AttacksPerDay: 3, QuietDays: 14,
		Mix: evenly(Visible), Volume: 1,
	}
}

// EvalConfig is a company of so many users for the evaluation of detections: two months with every attack and with the
// faults of a real stream. The attacks are far more frequent than in life, so that there are some of each kind; those on
// many users at once, and the slow ones, are rarer than the others.
func EvalConfig(users int) Config {
	c := DefaultConfig()
	c.Users, c.Days, c.AttacksPerDay = users, 60, max(2, float64(users)/1000)
	c.Mix = evenly(Attacks)
	for _, kind := range []Attack{
		Spray, DistributedSpray, SlowSpray, Stuffing, BruteForce, DistributedBruteForce, Enumeration, LockoutStorm, EgressPoisoning,
	} {
		c.Mix[kind] = 0.25
	}
	c.Faults = Faults{Late: 0.05, Duplicate: 0.01, MissingPlace: 0.02, Skewed: 0.05}
	return c
}

// Validate reports every problem.
func (c *Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Users < 1 || c.Users > MaxUsers {
		bad("users: is %d, must be between 1 and %d", c.Users, MaxUsers)
	}
	if len(c.Tenants) < 1 || len(c.Tenants) > math.MaxUint8 {
		bad("tenants: has %d elements, must have 1 to %d", len(c.Tenants), math.MaxUint8)
	}
	for i, t := range c.Tenants {
		if !events.ValidTenant(t) {
			bad("tenants[%d]: %.80q is no tenant", i, t)
		}
		if slices.Contains(c.Tenants[:i], t) {
			bad("tenants[%d]: %q is there twice", i, t)
		}
	}
	if c.Start < 1_000_000_000_000 || c.Start > 4_000_000_000_000 {
		bad("start: is %d, must be in the years 2001 to 2096", c.Start)
	}
	if c.Days < 0 || c.Days > 36500 {
		bad("days: is %d, must be between 0 (without end) and 36500", c.Days)
	}
	if !(c.AttacksPerDay >= 0 && c.AttacksPerDay <= 100_000) {
		bad("attacks_per_day: is %g, must be between 0 and 100000", c.AttacksPerDay)
	}
	if c.QuietDays < 0 {
		bad("quiet_days: is %d, must not be negative", c.QuietDays)
	}
	c.Mix.validate(bad)
	if !(c.Volume >= 0 && c.Volume <= 10) {
		bad("volume: is %g, must be between 0 and 10", c.Volume)
	}
	for name, share := range map[string]float64{
		"skewed": c.Faults.Skewed, "late": c.Faults.Late, "duplicate": c.Faults.Duplicate, "missing_place": c.Faults.MissingPlace,
	} {
		if !(share >= 0 && share <= 1) {
			bad("faults.%s: is %g, must be between 0 and 1", name, share)
		}
	}
	slices.SortFunc(problems, func(a, b error) int {
		if a.Error() < b.Error() {
			return -1
		}
		return 1
	})
	return errors.Join(problems...)
}

// Confounder names what makes a genuine event look like an attack.
type Confounder string

// Confounders of places and networks. An event with none is an ordinary one from home.
const (
	// BusinessTrip: at a place one has travelled to.
	BusinessTrip Confounder = "business_trip"
	// Roaming: abroad, but the phone's carrier leads everything through the home country.
	Roaming Confounder = "roaming"
	// OfficeNAT: one of a few addresses that everybody at an office shares.
	OfficeNAT Confounder = "office_nat"
	// PublicWiFi: a café's or a guest's network in one's own city.
	PublicWiFi Confounder = "public_wifi"
	// DualStack: over IPv6 where IPv4 is used too; the two are not in the same place.
	DualStack Confounder = "dual_stack"
	// LeaseRenewal: the first day of a new address at home.
	LeaseRenewal Confounder = "lease_renewal"
	// MobileNetwork: a carrier's network, in a place far off; MobileHub: at another of its hubs from one minute to the next.
	MobileNetwork Confounder = "mobile_network"
	MobileHub     Confounder = "mobile_hub"
	// VPNUse: the company's; PersonalVPN: a commercial one. RelayUse: a privacy relay.
	VPNUse      Confounder = "vpn"
	PersonalVPN Confounder = "personal_vpn"
	RelayUse    Confounder = "relay"
	// Satellite: over a ground station that may be far away.
	Satellite Confounder = "satellite"
	// VDI: on a virtual desktop in a rented data centre.
	VDI Confounder = "vdi"
)

// Confounders of devices and software.
const (
	// NewLaptop, NewPhone: the first three days with one.
	NewLaptop Confounder = "new_laptop"
	NewPhone  Confounder = "new_phone"
	// OwnDevice: a tablet or computer of one's own, used now and then.
	OwnDevice Confounder = "own_device"
	// SharedDevice: a kiosk that many sign in at.
	SharedDevice Confounder = "shared_device"
	// BrowserUpdate: the first two days of a version. BrowserRollout: the first days of another browser, that many get in
	// one week. AppRollout: the same of an application that everybody gets.
	BrowserUpdate  Confounder = "browser_update"
	BrowserRollout Confounder = "browser_rollout"
	AppRollout     Confounder = "app_rollout"
	// CommandLine: an administrator's device code. LegacyClient: a printer's or program's password grant.
	CommandLine  Confounder = "command_line"
	LegacyClient Confounder = "legacy_client"
	// Program: a service principal in its usual network.
	Program Confounder = "program"
)

// Confounders of credentials and of people.
const (
	// MistypedPassword, MistypedCode: and then it was right. MisTap: a prompt denied by mistake, once or twice.
	MistypedPassword Confounder = "mistyped_password"
	MistypedCode     Confounder = "mistyped_code"
	MisTap           Confounder = "mis_tap"
	// CachedPassword: a device that tries the old password, hundreds of times.
	CachedPassword Confounder = "cached_password"
	// PasswordExpiry: the day on which many passwords run out.
	PasswordExpiry Confounder = "password_expiry"
	// ProviderOutage: an hour in which the provider fails for many.
	ProviderOutage Confounder = "provider_outage"
	// Leave: the first days after thirty or more without work.
	Leave Confounder = "leave"
	// AccountUpkeep: a change of password or second factor, or a consent to an application that many use.
	AccountUpkeep Confounder = "account_upkeep"
	// ProviderRisk: the provider's own detection is mistaken.
	ProviderRisk Confounder = "provider_risk"
	// StepUpDone: the answer to a challenge.
	StepUpDone Confounder = "step_up"
)

// Confounders lists every confounder.
var Confounders = []Confounder{
	BusinessTrip, Roaming, OfficeNAT, PublicWiFi, DualStack, LeaseRenewal, MobileNetwork, MobileHub, VPNUse, PersonalVPN,
	RelayUse, Satellite, VDI, NewLaptop, NewPhone, OwnDevice, SharedDevice, BrowserUpdate, BrowserRollout, AppRollout,
	CommandLine, LegacyClient, Program, MistypedPassword, MistypedCode, MisTap, CachedPassword, PasswordExpiry,
	ProviderOutage, Leave, AccountUpkeep, ProviderRisk, StepUpDone,
}

// Label is the truth about an event. It travels beside the event, never in it.
type Label struct {
	EventID string
	// Attack is "" for genuine events; Incident numbers the attacks from 1.
	Attack   Attack
	Incident int
	// Confounder is set on genuine events that are not quite ordinary.
	Confounder Confounder
}

// Company is a running simulation. [Company.Respond] and [Company.Inject] may be called from other goroutines than the
// one that takes events.
type Company struct {
	cfg   Config
	staff []employee
	names []string

	mu      sync.Mutex
	day     int64         // the next one to plan
	horizon events.Millis // everything before it has been planned
	last    events.Millis // of the last event handed out
	pending []slot        // of the planned days, in order, counted from the base of day-1
	next    int           // the first of pending that was not handed out
	extra   deliveries    // what is not in a plan: attacks, responses, late and repeated events

	scratch   []slot
	agents    map[[3]int]string
	intruders map[string]events.Millis // sessions that attackers opened, of the last days
	incidents int
	injected  uint64
	sequence  uint64
}

// New makes a company. It panics when the configuration is invalid; see [Config.Validate].
func New(cfg Config) *Company {
	if err := cfg.Validate(); err != nil {
		panic(fmt.Sprintf("company: %v", err))
	}
	cfg.Tenants, cfg.Mix = slices.Clone(cfg.Tenants), maps.Clone(cfg.Mix)
	c := &Company{
		cfg: cfg, staff: make([]employee, cfg.Users+programs(cfg.Users)+printers(cfg.Users)), agents: map[[3]int]string{}, intruders: map[string]events.Millis{},
		last: cfg.Start,
	}
	for i := range c.staff {
		c.staff[i] = c.hire(i)
	}
	for _, first := range firstNames {
		for _, last := range lastNames {
			c.names = append(c.names, first+" "+last)
		}
	}
	// Somewhere it is still the evening before.
	c.day = dayOf(cfg.Start) - 1
	c.horizon = base(c.day)
	return c
}

func dayOf(m events.Millis) int64 {
	d := int64(m) / events.Day
	if int64(m)%events.Day < 0 {
		d--
	}
	return d
}

// end is the time before which all events lie.
func (c *Company) end() events.Millis {
	if c.cfg.Days == 0 {
		return math.MaxInt64 / 2
	}
	return c.cfg.Start + events.Millis(int64(c.cfg.Days)*events.Day)
}

// Events returns the rest of the stream, in the order in which the events reach countersign: by time, except for faults.
// The slices in an event are shared and must not be changed.
func (c *Company) Events() iter.Seq2[events.Event, Label] {
	return func(yield func(events.Event, Label) bool) {
		var e events.Event
		for {
			l, ok := c.Next(&e)
			if !ok || !yield(e, l) {
				return
			}
		}
	}
}

// Next writes the next event into e, or reports false at the end of the stream. A caller that wants the events in real
// time waits until e.Time; what is injected meanwhile comes after it.
func (c *Company) Next(e *events.Event) (Label, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for c.next < len(c.pending) {
			s := &c.pending[c.next]
			at := base(c.day-1) + events.Millis(s.at)
			if at >= c.horizon {
				break
			}
			if len(c.extra) > 0 && c.extra[0].at <= at {
				return c.pop(e), true
			}
			c.next++
			if at < c.cfg.Start {
				continue
			}
			if at >= c.end() {
				c.next = len(c.pending)
				break
			}
			var l Label
			c.write(s, c.day-1, e, &l)
			if c.disturb(e, &l) {
				continue
			}
			c.last = at
			return l, true
		}
		if len(c.extra) > 0 && c.extra[0].at < c.horizon {
			return c.pop(e), true
		}
		if c.horizon >= c.end() {
			if len(c.extra) > 0 {
				return c.pop(e), true
			}
			return Label{}, false
		}
		c.planDay()
	}
}

// planDay plans the next day of everybody. What every zone has behind it by then is ready to be handed out.
func (c *Company) planDay() {
	kept := c.pending[:copy(c.pending, c.pending[c.next:])]
	for i := range kept {
		kept[i].at -= events.Day // counted from the base of the day that is planned now
	}
	c.pending, c.next = kept, 0
	for i := range c.staff {
		c.pending = c.plan(c.pending, uint32(i), c.day)
	}
	slices.SortFunc(c.pending, func(a, b slot) int { return cmp.Compare(a.order(), b.order()) })
	if c.day >= dayOf(c.cfg.Start)+int64(c.cfg.QuietDays) {
		c.attackDay(c.day)
	}
	for session, at := range c.intruders {
		if at < c.horizon-30*events.Day {
			delete(c.intruders, session)
		}
	}
	c.day++
	c.horizon = base(c.day)
}

// disturb makes the faults. It reports true when the event is to come later.
func (c *Company) disturb(e *events.Event, l *Label) bool {
	f := &c.cfg.Faults
	if *f == (Faults{}) {
		return false
	}
	h := fnv.New64a()
	h.Write([]byte(e.ID))
	d := roll(c.cfg.Seed, forFaults, h.Sum64(), 0)
	if d.chance(f.MissingPlace) {
		e.Place = events.Place{}
	}
	if e.Kind == events.SessionUse && c.cfg.Faults.Skewed > 0 {
		c.skew(e)
	}
	late, twice := d.chance(f.Late), d.chance(f.Duplicate)
	delay := events.Millis(d.between(events.Second, 30*events.Minute))
	if !late && !twice {
		return false
	}
	again := delivery{at: e.Time + delay, event: *e, label: *l}
	again.event.Emitted += delay
	if c.cfg.Ingested {
		again.event.Ingested += delay
	}
	c.push(again)
	return late
}

// skew gives an event the time of its application's clock.
func (c *Company) skew(e *events.Event) {
	h := fnv.New64a()
	h.Write([]byte(e.User.ID))
	server := mix(h.Sum64()) % 16
	h.Reset()
	h.Write([]byte(e.App.ID))
	d := roll(c.cfg.Seed, forSkew, h.Sum64(), server)
	if d.chance(c.cfg.Faults.Skewed) {
		e.Time += events.Millis(d.between(-3*events.Minute, 3*events.Minute))
	}
}

// delivery is an event that is not in a plan.
type delivery struct {
	at       events.Millis
	sequence uint64
	event    events.Event
	label    Label
}

type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, j int) bool {
	if d[i].at != d[j].at {
		return d[i].at < d[j].at
	}
	return d[i].sequence < d[j].sequence
}
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) } //nolint:forcetypeassert // only push calls it
func (d *deliveries) Pop() any {
	old := *d
	last := old[len(old)-1]
	old[len(old)-1] = delivery{}
	*d = old[:len(old)-1]
	return last
}

func (c *Company) push(d delivery) {
	c.sequence++
	d.sequence = c.sequence
	heap.Push(&c.extra, d)
}

func (c *Company) pop(e *events.Event) Label {
	d, _ := heap.Pop(&c.extra).(delivery)
	*e = d.event
	c.last = max(c.last, d.at)
	return d.label
}
