package company

import (
	"github.com/countersign-io/countersign/internal/events"
)

// trip is a business trip. Between leaving and arriving nothing is heard of the traveller.
type trip struct {
	to                                   uint8
	leaves, arrives, returns, backAtHome events.Millis
}

// period is how often somebody may travel, in days; a trip lies within one period.
const period = 60

// speed is that of an airliner over the whole way, and airport the hours at both ends.
const (
	cruiseKmh    = 780
	airportHours = 4
)

func way(from, to uint8) events.Millis {
	return events.Millis(far[from][to]/cruiseKmh*events.Hour) + airportHours*events.Hour
}

// tripAt is the trip of the period that a day is in.
func (c *Company) tripAt(i uint32, day int64) (trip, bool) {
	e := &c.staff[i]
	d := roll(c.cfg.Seed, forTrip, uint64(i), uint64(day/period))
	if d.n(100) >= int(e.travels) {
		return trip{}, false
	}
	begins := day/period*period + int64(d.between(2, period-12))
	t := trip{to: c.destination(&d, i)}
	if t.to == e.home {
		return trip{}, false
	}
	noon := events.Millis(begins*events.Day - int64(cities[e.home].offset)*events.Minute + 12*events.Hour)
	t.leaves = noon + events.Millis(d.n(6*events.Hour))
	t.arrives = t.leaves + way(e.home, t.to)
	t.returns = t.arrives + events.Millis(d.between(1, 5)*events.Day+d.n(8*events.Hour))
	t.backAtHome = t.returns + way(e.home, t.to)
	return t, true
}

// destination is where a trip goes: mostly to one of two offices that somebody has to do with, else within the country, else
// anywhere.
func (c *Company) destination(d *dice, i uint32) uint8 {
	home := c.staff[i].home
	towns := townsOf[countryOf[home]]
	switch kind := d.n(4); {
	case kind < 2:
		habit := roll(c.cfg.Seed, forHabit, uint64(i), uint64(d.n(2)))
		to := home
		for to == home || !cities[to].office {
			to = uint8(habit.weighted(cityWeights))
		}
		return to
	case kind == 2 && len(towns) > 1:
		to := home
		for to == home {
			to = towns[d.n(len(towns))]
		}
		return to
	}
	return uint8(d.weighted(cityWeights))
}

// whereabouts is the city somebody is in, false while travelling.
func (t *trip) whereabouts(home uint8, at events.Millis) (city uint8, known bool) {
	switch {
	case at < t.leaves || at >= t.backAtHome:
		return home, true
	case at >= t.arrives && at < t.returns:
		return t.to, true
	}
	return home, false
}

// onHoliday tells whether somebody has a holiday. Nobody signs in on holiday.
func (c *Company) onHoliday(i uint32, day int64) bool {
	const quarter = 91
	d := roll(c.cfg.Seed, forLeave, uint64(i), uint64(day/quarter))
	if !d.chance(0.6) {
		return false
	}
	begins := day/quarter*quarter + int64(d.n(quarter-21))
	return day >= begins && day < begins+int64(d.between(3, 16))
}

// onLeave tells whether somebody has a long leave of a month to four; back is true in the week after it.
func (c *Company) onLeave(i uint32, day int64) (away, back bool) {
	const year = 365
	d := roll(c.cfg.Seed, forLongLeave, uint64(i), uint64(day/year))
	if !d.chance(0.08) {
		return false, false
	}
	begins, length := day/year*year+int64(d.n(year-128)), int64(d.between(30, 120))
	if d.chance(0.5) {
		length = int64(d.between(30, 45))
	}
	return day >= begins && day < begins+length, day >= begins+length && day < begins+length+7
}

// outage is an hour, more or less, in which the provider of a tenant fails.
type outage struct{ from, to events.Millis }

// outageOn is the outage of a day (in UTC), about one in three weeks.
func (c *Company) outageOn(tenant uint8, day int64) (outage, bool) {
	d := roll(c.cfg.Seed, forOutage, uint64(tenant), uint64(day))
	if !d.chance(1.0 / 21) {
		return outage{}, false
	}
	from := events.Millis(day*events.Day) + events.Millis(d.between(6*events.Hour, 16*events.Hour))
	return outage{from, from + events.Millis(d.between(45*events.Minute, 75*events.Minute))}, true
}

// inOutage tells whether a tenant's provider fails at a time, and until when.
func (c *Company) inOutage(tenant uint8, at events.Millis) (until events.Millis, fails bool) {
	o, ok := c.outageOn(tenant, dayOf(at))
	if ok && at >= o.from && at < o.to {
		return o.to, true
	}
	return 0, false
}

// expires tells whether somebody's password runs out on a day: every six weeks it is the turn of a quarter of a tenant, all
// on one workday.
func (c *Company) expires(i uint32, day int64) bool {
	const cycle = 42
	tenant := c.staff[i].tenant
	turn := day / cycle
	d := roll(c.cfg.Seed, forExpiry, uint64(tenant), uint64(turn))
	due := turn*cycle + int64(d.between(2, cycle-4))
	if w := weekday(due); w == 0 || w == 6 {
		due += 2
	}
	return day == due && mix(uint64(i)+c.cfg.Seed)&3 == uint64(turn)&3
}

// weekday is 0 on Sundays; day 0 was a Thursday.
func weekday(day int64) int64 { return (day + 4) % 7 }

// changesPassword tells whether somebody changes the password on a day without having to, about three times a year.
func (c *Company) changesPassword(i uint32, day int64) bool {
	return (uint64(day)+mix(uint64(i)^c.cfg.Seed))%130 == 0
}

// Every thirty days a tenant gets another application, and every sixty one in six of its managed Windows computers another
// browser. Everybody concerned has it within a week.
const (
	appCycle     = 30
	browserCycle = 60
	rolloutDays  = 7
)

// newestApp is the number of the application rolled out last that somebody has; since is for how many days.
func (c *Company) newestApp(i uint32, day int64) (number, since int64) {
	phase := int64(mix(c.cfg.Seed^uint64(c.staff[i].tenant)) % appCycle)
	number, in := (day+phase)/appCycle, (day+phase)%appCycle
	turn := int64(mix(uint64(i)<<8|uint64(number&255)) % rolloutDays)
	if in < turn {
		return number - 1, in + appCycle - int64(mix(uint64(i)<<8|uint64((number-1)&255))%rolloutDays)
	}
	return number, in - turn
}

// browserOn is the browser of somebody's laptop on a day; fresh is true in the first days with it.
func (c *Company) browserOn(i uint32, day int64) (browser uint8, fresh bool) {
	e := &c.staff[i]
	if e.laptop != windows || !e.is(isManaged) || e.browser > chrome {
		return e.browser, false
	}
	const groups = 6
	h := mix(uint64(i)*13 + 1)
	group, turn := int64(h%groups), int64(h>>8%rolloutDays)
	phase := int64(mix(c.cfg.Seed^uint64(e.tenant)<<8) % browserCycle)
	cycle, in := (day+phase)/browserCycle, (day+phase)%browserCycle
	changes := (cycle - group) / groups // every one is to the other browser and stays
	if (cycle-group)%groups == 0 && in < turn {
		changes--
	}
	browser = e.browser
	if changes&1 != 0 {
		browser = edge + chrome - browser
	}
	return browser, (cycle-group)%groups == 0 && in >= turn && in < turn+freshDays
}

// major is the browser version of a day: a new one every four weeks.
func major(day int64) int { return int(max(1, 120+(day-19723)/28)) } // 19723: the first of January 2024
