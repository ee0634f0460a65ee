package company

import (
	"strconv"
	"strings"
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

// role says what an account is of.
type role uint8

const (
	person role = iota
	// program is a service principal with a key of its own.
	program
	// printer is an account of a machine at an office, that sends what it scanned by mail, with a password.
	printer
)

// For so many people there are so many programs and printers, one at least.
const (
	peoplePerProgram = 100
	peoplePerPrinter = 500
)

// method is the second factor that somebody has.
type method uint8

const (
	noMethod method = iota
	pushMethod
	totpMethod
	smsMethod
	keyMethod
)

// Everything about an employee that never changes, kept small because there may be a million.
type employee struct {
	home          uint8 // a city, where the office is too
	tenant        uint8
	role          role
	frequency     Frequency
	method        method
	laptop, phone uint8 // systems
	browser       uint8
	hour          uint8  // when work starts, in local hours
	laptopAge     uint16 // in days on day 0, for the day it is replaced
	phoneAge      uint16
	first, last   uint8 // names
	traits        trait
	travels       uint8 // chance of a trip in a period, in percent
	lag           uint8 // days until a new browser is installed
}

type trait uint16

const (
	hasOffice trait = 1 << iota
	hasPhone
	hasTablet // of one's own, as the next
	hasHomePC
	usesVPN
	usesPersonalVPN
	usesRelay
	usesSatellite
	usesDesktop // a virtual one
	usesKiosk
	hasIPv6
	roamsHome    // abroad, the phone's traffic goes through the home country
	isPrivileged // and works with a command line
	isManaged    // the laptop is
	isRegistered // the phone is known by an id, and the laptop when it is not managed
)

func (e *employee) is(t trait) bool { return e.traits&t != 0 }

// hire makes employee number i.
func (c *Company) hire(i int) employee {
	d := roll(c.cfg.Seed, forEmployee, uint64(i), 0)
	e := employee{
		tenant: uint8(i % len(c.cfg.Tenants)), frequency: Frequency(d.weighted(frequencyShare)), hour: uint8(d.between(7, 10)),
		laptopAge: uint16(d.n(laptopLife)), phoneAge: uint16(d.n(phoneLife)), lag: uint8(d.n(14)),
		first: uint8(d.n(len(firstNames))), last: uint8(d.n(len(lastNames))), home: uint8(d.weighted(cityWeights)),
	}
	if i >= c.cfg.Users {
		return c.install(&d, e, i)
	}
	give := func(t trait, p float64) {
		if d.chance(p) {
			e.traits |= t
		}
	}
	if cities[e.home].office {
		give(hasOffice, 0.9)
	}
	give(hasPhone, 0.8)
	give(hasTablet, 0.12)
	give(hasHomePC, 0.12)
	give(usesVPN, 0.4)
	give(usesPersonalVPN, 0.03)
	give(usesSatellite, 0.008)
	give(usesDesktop, 0.06)
	give(hasIPv6, 0.3)
	give(roamsHome, 0.4)
	give(isPrivileged, 0.03)
	give(isManaged, 0.85)
	give(isRegistered, 0.8)
	if e.is(hasOffice) {
		give(usesKiosk, 0.05)
	}
	e.laptop = uint8(d.weighted([]int{windows: 62, macOS: 31, linux: 7}))
	e.phone = uint8(iOS + d.n(2))
	if e.phone == iOS {
		give(usesRelay, 0.1)
	}
	e.browser = choice(&d, e.laptop)
	e.method = method(d.weighted([]int{noMethod: 4, pushMethod: 52, totpMethod: 20, smsMethod: 9, keyMethod: 15}))
	e.travels = 12
	if d.chance(0.08) {
		e.travels = 90
	}
	return e
}

// choice is the browser that somebody chooses on a system.
func choice(d *dice, system uint8) uint8 {
	switch system {
	case windows:
		return uint8(d.weighted([]int{edge: 60, chrome: 34, safari: 0, firefox: 6}))
	case macOS:
		return uint8(d.weighted([]int{edge: 5, chrome: 50, safari: 40, firefox: 5}))
	default:
		return uint8(d.weighted([]int{edge: 0, chrome: 50, safari: 0, firefox: 50}))
	}
}

// install makes a program or a printer.
func (c *Company) install(d *dice, e employee, i int) employee {
	e.frequency, e.hour = Daily, 0
	if i < c.cfg.Users+programs(c.cfg.Users) {
		e.role = program
		e.home = gateways[d.n(len(gateways))]
		return e
	}
	e.role = printer
	for !cities[e.home].office {
		e.home = uint8(d.weighted(cityWeights))
	}
	e.traits = hasOffice
	return e
}

func programs(users int) int { return (users + peoplePerProgram - 1) / peoplePerProgram }
func printers(users int) int { return (users + peoplePerPrinter - 1) / peoplePerPrinter }

// The lives of devices, in days.
const (
	laptopLife = 1100
	phoneLife  = 750
)

// generation counts the devices somebody has had; since is how many days the one in use is old.
func generation(day int64, age uint16, life int64) (number, since int64) {
	used := day + int64(age)
	return used / life, used % life
}

// freshDays is how long a device is new.
const freshDays = 3

// The beginnings of account ids, by role.
var idPrefixes = [...]string{person: "emp-", program: "svc-", printer: "mfp-"}

// userID is the identity of account i, and userOf the way back.
func (c *Company) userID(i uint32) string {
	var b [24]byte
	text := append(append(b[:0], idPrefixes[c.staff[i].role]...), "0000000"...)
	digits := strconv.AppendUint(b[12:12], uint64(i), 10)
	if len(digits) > 7 {
		return idPrefixes[c.staff[i].role] + string(digits)
	}
	copy(text[11-len(digits):], digits)
	return string(text)
}

func (c *Company) userOf(tenant, id string) (uint32, bool) {
	_, digits, ok := strings.Cut(id, "-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n >= uint64(len(c.staff)) || c.userID(uint32(n)) != id || c.cfg.Tenants[c.staff[n].tenant] != tenant {
		return 0, false
	}
	return uint32(n), true
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
