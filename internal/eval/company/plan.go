package company

import (
	"cmp"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// slot is one thing somebody does, in twenty bytes: a day of a large company has millions.
type slot struct {
	at   uint32 // milliseconds since the plan's base
	user uint32
	// flow numbers the attempts of a day: what belongs to one has one number.
	flow  uint16
	marks marks

	what    what
	via     via
	gear    gear
	why     why
	app     uint8
	session uint8 // which one of the day
	city    uint8
	day     uint8 // the local day, its low byte
}

// order sorts slots by time, then by user; nobody does two things at once.
func (s *slot) order() uint64 { return uint64(s.at)<<32 | uint64(s.user) }

// what somebody does.
type what uint8

const (
	signIn what = iota
	refresh
	use
	signOut
	wrongPassword
	oldPassword // of a device that does not know the new one
	expiredPassword
	providerDown
	wrongCode
	deniedPrompt
	missedPrompt
	interrupted
	newPassword
	newMethod
	formerMethod
	consented
	authorised // a device code
	polled     // with a device code
	passwordGrant
	keyGrant // a program with its key
	misspelt // the user's name
	lockedOut
	reported // by the provider's own detection
)

// via is the way to the network.
type via uint8

const (
	wifi via = iota // at home, or where one stays
	atOffice
	overMobile
	overVPN
	overPersonalVPN
	overRelay
	overPublic // Wi-Fi, in one's own city
	overDesktop
	overCloud
)

// gear is the device in use.
type gear uint8

const (
	theLaptop gear = iota
	thePhone
	theTablet
	theHomePC
	theKiosk
	theDesktop
	theConsole
	theMachine // a printer or program
)

type marks uint16

const (
	strongly marks = 1 << iota
	jumped
	travelling
	rolledOut // the app is one of those
)

// why is the confounder of a slot as an index into [Confounders], from 1.
type why uint8

func because(c Confounder) why { return why(slices.Index(Confounders, c) + 1) }

var (
	becauseMistyped  = because(MistypedPassword)
	becauseCode      = because(MistypedCode)
	becauseMisTap    = because(MisTap)
	becauseCached    = because(CachedPassword)
	becauseExpiry    = because(PasswordExpiry)
	becauseOutage    = because(ProviderOutage)
	becauseUpkeep    = because(AccountUpkeep)
	becauseRollout   = because(AppRollout)
	becauseCommand   = because(CommandLine)
	becauseLegacy    = because(LegacyClient)
	becauseProgram   = because(Program)
	becauseDesktop   = because(VDI)
	becauseOwnDevice = because(OwnDevice)
	becauseLeave     = because(Leave)
	becauseRisk      = because(ProviderRisk)
)

// The plan's base is so early that the earliest zone's day has not begun, in milliseconds before midnight UTC.
const lead = 14 * events.Hour

func base(day int64) events.Millis { return events.Millis(day*events.Day - lead) }

// workStart is when somebody signs in on a day at the office of a city. Sessions refer to it, so it is a function of its
// own. Wanted is when the person first tried: earlier, when the provider failed.
func (c *Company) workStart(i uint32, day int64, city uint8) (start, wanted events.Millis) {
	d := roll(c.cfg.Seed, forStart, uint64(i), uint64(day))
	midnight := day*events.Day - int64(cities[city].offset)*events.Minute
	wanted = events.Millis(midnight + int64(c.staff[i].hour)*events.Hour + int64(d.n(90*events.Minute)))
	return c.afterOutage(i, wanted), wanted
}

// afterOutage is when somebody gets in who wants to at a time.
func (c *Company) afterOutage(i uint32, at events.Millis) events.Millis {
	if until, fails := c.inOutage(c.staff[i].tenant, at); fails {
		return until + events.Millis(mix(uint64(i)^uint64(at))%(20*events.Minute))
	}
	return at
}

// cityOf is the city whose hours somebody keeps on a day: the one at midday.
func (t *trip) cityOf(home uint8, away bool, day int64) uint8 {
	if !away {
		return home
	}
	city, _ := t.whereabouts(home, events.Millis(day*events.Day-int64(cities[home].offset)*events.Minute+13*events.Hour))
	return city
}

// today is a day of somebody while it is planned.
type today struct {
	c     *Company
	e     *employee
	i     uint32
	day   int64
	d     dice
	slots []slot

	trip       trip
	away       bool
	city       uint8
	onSite     bool
	back       bool // from a long leave
	start, end events.Millis
	gear       gear
	normal     via
	spells     [3]spell
	flow       uint16
}

// spell is a time of the day with another way to the network.
type spell struct {
	from, to events.Millis
	via      via
}

// plan appends what somebody does on one local day, in order of time.
func (c *Company) plan(slots []slot, i uint32, day int64) []slot {
	e := &c.staff[i]
	t := today{c: c, e: e, i: i, day: day, d: roll(c.cfg.Seed, forDay, uint64(i), uint64(day)), slots: slots, city: e.home}
	from := len(slots)
	switch e.role {
	case program:
		t.program()
	case printer:
		t.printer()
	case person:
		if !t.works() {
			return slots
		}
		t.laptop()
		if e.is(hasPhone) {
			t.phone()
		}
		if e.is(hasTablet) {
			t.ownDevice(theTablet, 4)
		}
		if e.is(hasHomePC) {
			t.ownDevice(theHomePC, 5)
		}
	}
	list := t.slots[from:]
	slices.SortFunc(list, func(a, b slot) int { return cmp.Compare(a.at, b.at) })
	for k := 1; k < len(list); k++ { // nobody does two things in one millisecond: the time is part of an event's id
		list[k].at = max(list[k].at, list[k-1].at+1)
	}
	if t.back {
		for k := range list {
			if list[k].why == 0 {
				list[k].why = becauseLeave
			}
		}
	}
	return t.slots
}

// works tells whether it is a day with sign-ins, and where and when.
func (t *today) works() bool {
	active := &activeOnWorkday
	if w := weekday(t.day); w == 0 || w == 6 {
		active = &activeOnWeekend
	}
	if !t.d.chance(active[t.e.frequency]) || t.c.onHoliday(t.i, t.day) {
		return false
	}
	var away bool
	if away, t.back = t.c.onLeave(t.i, t.day); away {
		return false
	}
	t.trip, t.away = t.c.tripAt(t.i, t.day)
	t.city = t.trip.cityOf(t.e.home, t.away, t.day)
	t.start, _ = t.c.workStart(t.i, t.day, t.city)
	t.end = t.start + events.Millis(t.d.between(6*events.Hour, 10*events.Hour))
	atHome := t.city == t.e.home
	if atHome && t.e.is(hasOffice) {
		t.onSite = t.e.is(usesKiosk) || t.d.chance(0.55)
	} else if !atHome && cities[t.city].office { // a visit
		t.onSite = t.d.chance(0.7)
	}
	if t.onSite {
		t.normal = atOffice
		if atHome && t.e.is(usesKiosk) {
			t.gear = theKiosk
		}
		return true
	}
	d := &t.d
	if d.chance(0.02) {
		t.normal = overMobile // the phone's
	}
	if t.e.is(usesVPN) && d.chance(0.4) {
		t.spells[0] = t.spell(overVPN, 20*events.Minute, 4*events.Hour)
	}
	if t.e.is(usesPersonalVPN) && d.chance(0.15) {
		t.spells[1] = t.spell(overPersonalVPN, 20*events.Minute, 2*events.Hour)
	}
	if d.chance(0.03) {
		t.spells[2] = t.spell(overPublic, events.Hour, 3*events.Hour)
	}
	return true
}

func (t *today) spell(v via, shortest, longest int) spell {
	from := t.within(t.start, t.end)
	return spell{from, from + events.Millis(t.d.between(shortest, longest)), v}
}

// within draws a time.
func (t *today) within(low, high events.Millis) events.Millis {
	return low + events.Millis(t.d.n(int(max(1, high-low))))
}

// route is the laptop's way to the network at a time.
func (t *today) route(at events.Millis) via {
	for i := range t.spells {
		if s := &t.spells[i]; at >= s.from && at < s.to {
			return s.via
		}
	}
	return t.normal
}

// add notes what somebody does, wherever that is at the time. In the air nobody does anything.
func (t *today) add(at events.Millis, s slot) {
	there := t.e.home
	if t.away {
		var known bool
		if there, known = t.trip.whereabouts(t.e.home, at); !known {
			return
		}
	}
	if there != t.e.home {
		s.marks |= travelling
	}
	if s.via == atOffice && there != t.city { // on the day of the journey
		s.via = wifi
	}
	s.at, s.user, s.city, s.day = uint32(at-base(t.day)), t.i, there, uint8(t.day)
	t.slots = append(t.slots, s)
}

// signIn notes an interactive sign-in at a time with all that goes wrong before it.
func (t *today) signIn(wanted, at events.Millis, s slot) {
	t.flow++
	s.what, s.flow = signIn, t.flow
	d := &t.d
	fail := func(at events.Millis, w what, because why) {
		f := s
		f.what, f.why = w, because
		t.add(at, f)
	}
	if at != wanted {
		for k, next := 0, wanted; k < 5 && next < at; k++ {
			fail(next, providerDown, becauseOutage)
			next += events.Millis(d.between(20*events.Second, 20*events.Minute))
		}
	}
	before := at
	if s.marks&strongly != 0 {
		before = t.secondFactor(at, &s, fail)
	}
	if t.e.method != keyMethod && d.chance(0.09) {
		for n := d.between(1, 3); n > 0; n-- {
			before -= events.Millis(d.between(5*events.Second, 20*events.Second))
			fail(before, wrongPassword, becauseMistyped)
		}
	}
	if d.chance(0.006) {
		before -= events.Millis(d.between(8*events.Second, 20*events.Second))
		fail(before, misspelt, becauseMistyped)
	}
	if d.chance(0.05) {
		fail(before-events.Millis(d.between(2*events.Second, 9*events.Second)), interrupted, 0)
	}
	t.add(at, s)
}

// secondFactor notes what goes wrong with the second factor, and returns when that began.
func (t *today) secondFactor(at events.Millis, s *slot, fail func(events.Millis, what, why)) events.Millis {
	d := &t.d
	switch {
	case t.e.method == totpMethod && d.chance(0.06):
		for n := d.between(1, 2); n > 0; n-- {
			at -= events.Millis(d.between(8*events.Second, 30*events.Second))
			fail(at, wrongCode, becauseCode)
		}
	case t.e.method == pushMethod && d.chance(0.008):
		s.why = becauseMisTap
		for n := d.between(1, 2); n > 0; n-- {
			at -= events.Millis(d.between(10*events.Second, 40*events.Second))
			fail(at, deniedPrompt, becauseMisTap)
		}
	case t.e.method == pushMethod && d.chance(0.01):
		at -= events.Millis(d.between(60*events.Second, 90*events.Second))
		fail(at, missedPrompt, becauseMisTap)
	}
	return at
}

// laptop plans the working day.
func (t *today) laptop() {
	d, e := &t.d, t.e
	var strong marks
	if e.method == keyMethod || e.method != noMethod && d.chance(0.5) {
		strong = strongly
	}
	_, wanted := t.c.workStart(t.i, t.day, t.city)
	first := slot{via: t.normal, gear: t.gear, marks: strong, app: t.anyApp()}
	if t.c.expires(t.i, t.day) {
		first.why = becauseExpiry
		t.expiry(&first)
	}
	t.signIn(wanted, t.start, first)
	second := events.Millis(0)
	if d.chance(0.2) {
		at := t.within(t.start+2*events.Hour, t.end)
		second = t.c.afterOutage(t.i, at)
		t.signIn(at, second, slot{via: t.route(second), gear: t.gear, app: t.anyApp(), session: 1, marks: strong})
	}
	number, since := t.c.newestApp(t.i, t.day)
	rolled := slot{gear: t.gear, app: uint8(number), marks: rolledOut}
	if since < freshDays {
		rolled.why = becauseRollout
	}
	if since == 0 {
		at := t.within(t.start+events.Minute, t.end)
		rolled.what, rolled.via = refresh, t.route(at)
		t.add(at, rolled)
	}
	for n := t.scaled(3, 9); n > 0; n-- {
		at := t.within(t.start+events.Second, t.end)
		s := slot{what: use, gear: t.gear, app: t.anyApp()}
		if d.n(12) == 0 {
			s = rolled
			s.what = use
		}
		s.via = t.route(at)
		if second != 0 && at > second {
			s.session = 1
		}
		t.add(at, s)
	}
	for n := t.scaled(0, 2); n > 0; n-- {
		at := t.within(t.start+events.Minute, t.end)
		t.add(at, slot{what: refresh, via: t.route(at), gear: t.gear, app: t.anyApp()})
	}
	if second == 0 && (t.gear == theKiosk || d.chance(0.15)) {
		t.add(t.end+events.Second, slot{what: signOut, via: t.route(t.end + events.Second), gear: t.gear})
	}
	if e.is(usesDesktop) && d.chance(0.5) {
		t.virtualDesktop()
	}
	if e.is(isPrivileged) && d.chance(0.25) {
		t.commandLine()
	}
	if away := t.city != e.home; away && d.chance(0.06) || d.chance(0.0008) {
		t.add(t.start+t.within(8*events.Minute, 12*events.Minute), slot{what: reported, via: t.normal, gear: t.gear, app: uint8(d.n(4)), why: becauseRisk})
	}
	t.upkeep()
}

// scaled draws how often something happens, in proportion to the volume.
func (t *today) scaled(low, high int) int {
	n := float64(t.d.between(low, high)) * t.c.cfg.Volume
	whole := int(n)
	if t.d.chance(n - float64(whole)) {
		whole++
	}
	return whole
}

// anyApp is one of the eight applications that somebody works with.
func (t *today) anyApp() uint8 { return uint8((int(t.i) + t.d.n(8)) % len(apps)) }

// virtualDesktop plans some work in a session of its own there.
func (t *today) virtualDesktop() {
	at := t.within(t.start+10*events.Minute, t.end-events.Hour)
	s := slot{via: overDesktop, gear: theDesktop, session: 2, app: t.anyApp(), why: becauseDesktop}
	t.signIn(at, t.c.afterOutage(t.i, at), s)
	s.what = use
	for n := t.scaled(1, 4); n > 0; n-- {
		at += events.Millis(t.d.between(events.Minute, 15*events.Minute))
		if at < t.end {
			s.app = t.anyApp()
			t.add(t.c.afterOutage(t.i, at)+events.Second, s)
		}
	}
}

// commandLine plans an administrator's sign-in by device code: the browser authorises what the command line asked for.
func (t *today) commandLine() {
	at := t.within(t.start+5*events.Minute, t.end)
	t.flow++
	s := slot{
		what: authorised, via: t.route(at), gear: t.gear, app: consoleApp, session: 3, flow: t.flow, marks: strongly, why: becauseCommand,
	}
	t.add(at, s)
	s.what, s.gear, s.marks = polled, theConsole, 0
	t.add(at+events.Millis(t.d.between(events.Second, 6*events.Second)), s)
	s.what, s.flow = use, 0
	for n := t.scaled(0, 3); n > 0; n-- {
		at += events.Millis(t.d.between(20*events.Second, 9*events.Minute))
		s.via = t.route(at)
		t.add(at+10*events.Second, s)
	}
}
