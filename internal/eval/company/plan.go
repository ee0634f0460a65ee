package company

import (
	"cmp"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// slot is one thing an employee does, in sixteen bytes: a day of a large company has millions.
type slot struct {
	at   uint32 // milliseconds since the plan's base
	user uint32

	what    what
	via     via
	app     uint8
	session uint8 // which one of the day
	city    uint8
	day     uint8 // the local day, its low byte
	marks   marks
}

// order sorts slots by time, then by user; nobody does two things at once.
func (s *slot) order() uint64 { return uint64(s.at)<<32 | uint64(s.user) }

type what uint8

const (
	signIn what = iota
	refresh
	use
	signOut
	mistype
)

type via uint8

const (
	wifi via = iota // at home, or where one stays
	atOffice
	overMobile
	overVPN
	overRelay
)

type marks uint16

const (
	onPhone marks = 1 << iota
	strongly
	jumped
	newDevice
	travelling
)

// The plan's base is so early that the earliest zone's day has not begun, in milliseconds before midnight UTC.
const lead = 14 * events.Hour

func base(day int64) events.Millis { return events.Millis(day*events.Day - lead) }

// workStart is when somebody signs in on a day at the office of a city. Sessions refer to it, so it is a function of its
// own.
func (c *Company) workStart(i uint32, day int64, city uint8) events.Millis {
	d := roll(c.cfg.Seed, forStart, uint64(i), uint64(day))
	midnight := day*events.Day - int64(cities[city].offset)*events.Minute
	return events.Millis(midnight + int64(c.staff[i].hour)*events.Hour + int64(d.n(90*events.Minute)))
}

// cityOf is the city whose hours somebody keeps on a day: the one at midday.
func (t *trip) cityOf(home uint8, away bool, day int64) uint8 {
	if !away {
		return home
	}
	city, _ := t.whereabouts(home, events.Millis(day*events.Day-int64(cities[home].offset)*events.Minute+13*events.Hour))
	return city
}

// plan appends what an employee does on one local day, in order of time.
func (c *Company) plan(slots []slot, i uint32, day int64) []slot {
	e := &c.staff[i]
	d := roll(c.cfg.Seed, forDay, uint64(i), uint64(day))
	active := activeOnWorkday
	if weekday := (day + 4) % 7; weekday == 0 || weekday == 6 { // day 0 was a Thursday
		active = activeOnWeekend
	}
	if !d.chance(active[e.frequency]) || c.onLeave(i, day) {
		return slots
	}
	t, away := c.tripAt(i, day)
	city := t.cityOf(e.home, away, day)
	from := len(slots)
	start := c.workStart(i, day, city)
	end := start + events.Millis(d.between(6*events.Hour, 10*events.Hour))
	add := func(at events.Millis, s slot) {
		there := e.home
		if away {
			var known bool
			if there, known = t.whereabouts(e.home, at); !known {
				return // in the air
			}
		}
		if there != e.home {
			s.marks |= travelling
			if s.via == atOffice {
				s.via = wifi
			}
		}
		s.at, s.user, s.city, s.day = uint32(at-base(day)), i, there, uint8(day)
		slots = append(slots, s)
	}
	within := func(low, high events.Millis) events.Millis { return low + events.Millis(d.n(int(high-low))) }

	// The laptop.
	onSite := e.is(hasOffice) && city == e.home && d.chance(0.55)
	normal := wifi
	if onSite {
		normal = atOffice
	}
	var tunnelFrom, tunnelTo events.Millis
	if e.is(usesVPN) && !onSite && d.chance(0.4) {
		tunnelFrom = within(start, end)
		tunnelTo = tunnelFrom + events.Millis(d.between(20*events.Minute, 4*events.Hour))
	}
	route := func(at events.Millis) via {
		if at >= tunnelFrom && at < tunnelTo {
			return overVPN
		}
		return normal
	}
	var mark marks
	if _, fresh := generation(day, e.laptopAge, laptopLife); fresh {
		mark |= newDevice
	}
	strong := mark
	if e.is(hasSecurityKey) || d.chance(0.5) {
		strong |= strongly
	}
	if d.chance(0.04) {
		for n := d.between(1, 3); n > 0; n-- {
			add(start-events.Millis(n*12*events.Second+d.n(4*events.Second)), slot{what: mistype, via: normal, marks: mark})
		}
	}
	add(start, slot{what: signIn, via: normal, marks: strong})
	second := events.Millis(0)
	if d.chance(0.2) {
		second = within(start+2*events.Hour, end)
		add(second, slot{what: signIn, via: route(second), app: uint8(d.n(len(apps))), session: 1, marks: strong})
	}
	for n := d.between(3, 9); n > 0; n-- {
		at := within(start+events.Second, end)
		s := slot{what: use, via: route(at), app: uint8(d.n(len(apps))), marks: mark}
		if second != 0 && at > second {
			s.session = 1
		}
		add(at, s)
	}
	for n := d.between(0, 2); n > 0; n-- {
		at := within(start+events.Minute, end)
		add(at, slot{what: refresh, via: route(at), app: uint8(d.n(len(apps))), marks: mark})
	}
	if second == 0 && d.chance(0.15) {
		add(end+events.Second, slot{what: signOut, via: route(end + events.Second), marks: mark})
	}
	if e.is(hasPhone) {
		c.planPhone(add, &d, i, day, city, onSite, start, end)
	}

	day0 := slots[from:]
	slices.SortFunc(day0, func(a, b slot) int { return cmp.Compare(a.order(), b.order()) })
	for k := 1; k < len(day0); k++ { // nobody does two things in one millisecond: the time is part of an event's id
		day0[k].at = max(day0[k].at, day0[k-1].at+1)
	}
	return slots
}

// planPhone adds a day's phone: before, during and after work. Somebody who works at the office is home for the Wi-Fi only
// an hour before and after.
func (c *Company) planPhone(add func(events.Millis, slot), d *dice, i uint32, day int64, city uint8, onSite bool, start, end events.Millis) {
	e := &c.staff[i]
	morning := events.Millis(day*events.Day - int64(cities[city].offset)*events.Minute + 7*events.Hour)
	mark := onPhone
	if _, fresh := generation(day, e.phoneAge, phoneLife); fresh {
		mark |= newDevice
	}
	n := d.between(0, 4)
	if (day+int64(i))%phoneSession == 0 {
		add(morning+events.Millis(d.n(events.Hour/2)), slot{what: signIn, via: overMobile, marks: mark | strongly})
	}
	for ; n > 0; n-- {
		at := morning + events.Millis(events.Hour/2+d.n(14*events.Hour))
		s := slot{what: use, via: overMobile, app: uint8(d.n(len(phoneApps))), marks: mark}
		if d.chance(0.3) {
			s.what = refresh
		}
		commuting := onSite && at > start-events.Hour && at < end+events.Hour
		switch {
		case commuting && at > start && at < end && d.chance(0.4):
			s.via = atOffice
		case !commuting && d.chance(0.5):
			s.via = wifi
			if e.is(usesRelay) {
				s.via = overRelay
			}
		case d.chance(0.003):
			s.marks |= jumped
		}
		add(at, s)
	}
}

// phoneSession is how long a phone stays signed in, in days.
const phoneSession = 14

// app is something people sign in to.
type app struct{ id, name string }

var apps = [...]app{
	{"app-mail", "Mail"},
	{"app-chat", "Chat"},
	{"app-wiki", "Wiki"},
	{"app-code", "Code Review"},
	{"app-crm", "Customer Desk"},
	{"app-payroll", "Payroll"},
	{"app-travel", "Travel"},
	{"app-files", "Files"},
	{"app-calendar", "Calendar"},
	{"app-tickets", "Tickets"},
	{"app-ledger", "Ledger"},
	{"app-portal", "Portal"},
}

var phoneApps = apps[:4]
