package company

import (
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
)

// Frequency is how often somebody signs in.
type Frequency uint8

// The login-frequency classes.
const (
	Daily Frequency = iota
	SeveralAWeek
	Weekly
	Monthly
	Rarer
)

// activeOnWorkday is the chance of a day with sign-ins, and frequencyShare how many employees are of a class, in percent.
var (
	activeOnWorkday = [...]float64{Daily: 0.96, SeveralAWeek: 0.5, Weekly: 0.2, Monthly: 0.045, Rarer: 0.012}
	activeOnWeekend = [...]float64{Daily: 0.1, SeveralAWeek: 0.05, Weekly: 0.02, Monthly: 0.005, Rarer: 0.002}
	frequencyShare  = []int{Daily: 58, SeveralAWeek: 22, Weekly: 10, Monthly: 6, Rarer: 4}
)

// The systems people use.
const (
	windows = iota
	macOS
	linux
	iOS
	android
)

var systems = [...]string{windows: "Windows", macOS: "macOS", linux: "Linux", iOS: "iOS", android: "Android"}

const (
	edge = iota
	chrome
	safari
	firefox
)

var browsers = [...]string{edge: "Edge", chrome: "Chrome", safari: "Safari", firefox: "Firefox"}

// Everything about an employee that never changes, kept small because there may be a million.
type employee struct {
	home, desk     uint8 // cities; desk is where the office is
	tenant         uint8
	frequency      Frequency
	laptop, phone  uint8 // systems
	browser        uint8
	hour           uint8  // when work starts, in local hours
	laptopAge      uint16 // in days on day 0, for the day it is replaced
	phoneAge       uint16
	first, last    uint8 // names
	traits         trait
	tripsPerPeriod uint8 // chance in percent
	lag            uint8 // days until a new browser is installed
}

type trait uint16

const (
	hasOffice trait = 1 << iota
	hasPhone
	usesVPN
	usesRelay
	hasIPv6
	hasSecurityKey
	isPrivileged
	isManaged // the laptop is
)

func (e *employee) is(t trait) bool { return e.traits&t != 0 }

// hire makes employee number i.
func (c *Company) hire(i int) employee {
	d := roll(c.cfg.Seed, forEmployee, uint64(i), 0)
	e := employee{
		tenant: uint8(i % len(c.cfg.Tenants)), frequency: Frequency(d.weighted(frequencyShare)), hour: uint8(d.between(7, 10)),
		laptopAge: uint16(d.n(laptopLife)), phoneAge: uint16(d.n(phoneLife)), lag: uint8(d.n(14)),
		first: uint8(d.n(len(firstNames))), last: uint8(d.n(len(lastNames))),
	}
	e.home = uint8(d.weighted(cityWeights))
	e.desk = e.home
	give := func(t trait, p float64) {
		if d.chance(p) {
			e.traits |= t
		}
	}
	if cities[e.home].office {
		give(hasOffice, 0.9)
	}
	give(hasPhone, 0.8)
	give(usesVPN, 0.4)
	give(hasIPv6, 0.3)
	give(hasSecurityKey, 0.15)
	give(isPrivileged, 0.03)
	give(isManaged, 0.85)
	e.laptop = uint8(d.weighted([]int{windows: 62, macOS: 31, linux: 7}))
	e.phone = uint8(iOS + d.n(2))
	if e.phone == iOS {
		give(usesRelay, 0.1)
	}
	switch e.laptop {
	case windows:
		e.browser = uint8(d.weighted([]int{edge: 60, chrome: 34, safari: 0, firefox: 6}))
	case macOS:
		e.browser = uint8(d.weighted([]int{edge: 5, chrome: 50, safari: 40, firefox: 5}))
	default:
		e.browser = uint8(d.weighted([]int{edge: 0, chrome: 50, safari: 0, firefox: 50}))
	}
	e.tripsPerPeriod = 15
	if d.chance(0.08) {
		e.tripsPerPeriod = 90
	}
	return e
}

// The lives of devices, in days.
const (
	laptopLife = 1100
	phoneLife  = 750
)

// generation counts the devices somebody has had; fresh is true in the first three days with a new one.
func generation(day int64, age uint16, life int64) (number int64, fresh bool) {
	used := day + int64(age)
	return used / life, used%life < 3
}

// userID is the identity of employee i, and userOf the way back.
func userID(i uint32) string {
	var b [16]byte
	text := append(b[:0], "emp-0000000"...)
	digits := strconv.AppendUint(b[11:11], uint64(i), 10)
	if len(digits) > 7 {
		return "emp-" + string(digits)
	}
	copy(text[11-len(digits):], digits)
	return string(text)
}

func (c *Company) userOf(tenant, id string) (uint32, bool) {
	if len(id) < 5 {
		return 0, false
	}
	n, err := strconv.ParseUint(id[4:], 10, 32)
	if err != nil || n >= uint64(len(c.staff)) || userID(uint32(n)) != id || c.cfg.Tenants[c.staff[n].tenant] != tenant {
		return 0, false
	}
	return uint32(n), true
}

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
	if d.n(100) >= int(e.tripsPerPeriod) {
		return trip{}, false
	}
	begins := day/period*period + int64(d.between(2, period-12))
	to := uint8(d.weighted(cityWeights))
	if to == e.home {
		return trip{}, false
	}
	t := trip{to: to}
	noon := events.Millis(begins*events.Day - int64(cities[e.home].offset)*events.Minute + 12*events.Hour)
	t.leaves = noon + events.Millis(d.n(6*events.Hour))
	t.arrives = t.leaves + way(e.home, to)
	t.returns = t.arrives + events.Millis(d.between(1, 5)*events.Day+d.n(8*events.Hour))
	t.backAtHome = t.returns + way(e.home, to)
	return t, true
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

// onLeave tells whether somebody has a holiday. Nobody signs in on holiday.
func (c *Company) onLeave(i uint32, day int64) bool {
	const quarter = 91
	d := roll(c.cfg.Seed, forLeave, uint64(i), uint64(day/quarter))
	if !d.chance(0.6) {
		return false
	}
	begins := day/quarter*quarter + int64(d.n(quarter-21))
	return day >= begins && day < begins+int64(d.between(3, 16))
}

var firstNames = [...]string{
	"Ada", "Amir", "Ana", "Anouk", "Bas", "Bea", "Carlos", "Chen", "Daan", "Dina", "Elif", "Emma", "Farid", "Femke",
	"Giulia", "Hana", "Hugo", "Ines", "Ivan", "Jae", "Jonas", "Kamala", "Kofi", "Lars", "Lucia", "Maya", "Mei", "Mikko",
	"Nadia", "Noor", "Olu", "Oscar", "Paula", "Pieter", "Priya", "Rafael", "Rosa", "Ruth", "Sven", "Tariq", "Tess",
	"Uma", "Vera", "Wei", "Yara", "Yusuf", "Zara", "Zoe",
}

var lastNames = [...]string{
	"Abe", "Ali", "Almeida", "Bakker", "Becker", "Bianchi", "Brown", "Cohen", "Costa", "Diaz", "Dubois", "Fischer",
	"Fontein", "Garcia", "Haddad", "Hansen", "Ito", "Jansen", "Kaya", "Khan", "Kim", "Kowalski", "Larsen", "Lee", "Lopez",
	"Martin", "Mensah", "Meyer", "Moreau", "Nair", "Nguyen", "Novak", "Okafor", "Olsen", "Park", "Patel", "Popescu",
	"Reyes", "Rossi", "Sato", "Schmidt", "Silva", "Singh", "Smith", "Tanaka", "Visser", "Wang", "Wilson",
}
