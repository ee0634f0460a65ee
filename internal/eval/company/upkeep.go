package company

import (
	"github.com/countersign-io/countersign/internal/events"
)

// expiry plans the first sign-in of somebody whose password has run out: it is tried, refused and changed.
func (t *today) expiry(first *slot) {
	d := &t.d
	t.flow++
	s := *first
	s.flow, s.why = t.flow, becauseExpiry
	at := t.start - events.Millis(d.between(3*events.Minute, 6*events.Minute))
	if d.chance(0.3) {
		s.what = wrongPassword
		for n := d.between(1, 2); n > 0; n-- {
			t.add(at-events.Millis(d.between(10*events.Second, events.Minute)), s)
		}
	}
	s.what = expiredPassword
	t.add(at, s)
	s.what, s.flow = newPassword, 0
	t.add(at+events.Millis(d.between(40*events.Second, 2*events.Minute)), s)
	if d.chance(0.4) { // the fingers know the old one
		s.what, s.flow = wrongPassword, t.flow+1
		t.add(t.start-events.Millis(d.between(20*events.Second, 50*events.Second)), s)
	}
	if t.e.is(hasPhone) && d.chance(0.05) {
		t.storm(t.start + 10*events.Minute)
	}
}

// upkeep plans changes of the account: passwords, second factors, consents.
func (t *today) upkeep() {
	d := &t.d
	at := t.within(t.start+15*events.Minute, t.end-events.Hour)
	s := slot{via: t.route(at), gear: t.gear, why: becauseUpkeep}
	if t.c.changesPassword(t.i, t.day) {
		s.what = newPassword
		t.add(at, s)
		if t.e.is(hasPhone) && d.chance(0.03) {
			t.storm(at + 5*events.Minute)
		}
	}
	if _, since := generation(t.day, t.e.phoneAge, phoneLife); since <= 2 && t.e.is(hasPhone) && t.e.method != noMethod && t.e.method != keyMethod {
		// A new phone must be made known; on whichever of the first days is worked.
		if since == 0 || d.chance(0.3) {
			s.what = newMethod
			t.add(at+events.Minute, s)
			s.what = formerMethod
			t.add(at+3*events.Minute, s)
		}
	}
	if d.chance(0.012) {
		s.what, s.app = consented, uint8(d.n(len(consentedApps)))
		t.add(at+10*events.Minute, s)
	}
}

// storm plans a phone at one place that tries the old password for hours.
func (t *today) storm(at events.Millis) {
	s := slot{what: oldPassword, via: t.normal, gear: thePhone, why: becauseCached}
	n := t.d.between(100, 400)
	pause := events.Millis(t.d.between(10*events.Second, 60*events.Second))
	for range n {
		if at >= t.end {
			return
		}
		t.add(at, s)
		at += pause + events.Millis(t.d.n(3*events.Second))
	}
}

// phone plans a day's phone: before, during and after work. Somebody who works at the office is home for the Wi-Fi only an
// hour before and after.
func (t *today) phone() {
	d := &t.d
	morning := events.Millis(t.day*events.Day - int64(cities[t.city].offset)*events.Minute + 7*events.Hour)
	if (t.day+int64(t.i))%ownSession == 0 {
		at := morning + events.Millis(d.n(events.Hour/2))
		t.signIn(at, t.c.afterOutage(t.i, at), slot{via: overMobile, gear: thePhone, marks: strongly})
	}
	for n := t.scaled(0, 4); n > 0; n-- {
		at := morning + events.Millis(events.Hour/2+d.n(14*events.Hour))
		s := slot{what: use, via: overMobile, gear: thePhone, app: uint8(d.n(phoneApps))}
		if d.chance(0.3) {
			s.what = refresh
		}
		commuting := t.onSite && at > t.start-events.Hour && at < t.end+events.Hour
		switch {
		case commuting && at > t.start && at < t.end && d.chance(0.4):
			s.via = atOffice
		case !commuting && d.chance(0.5):
			s.via = wifi
			if t.e.is(usesRelay) {
				s.via = overRelay
			}
		case d.chance(0.03):
			// The carrier hands the phone over to another of its hubs, from one minute to the next.
			t.add(at, s)
			at += events.Millis(d.between(events.Minute, 9*events.Minute))
			s.marks |= jumped
		}
		t.add(at, s)
	}
}

// ownSession is how long phones and one's own devices stay signed in, in days.
const ownSession = 14

// ownDevice plans an evening or weekend with a device of one's own, at home.
func (t *today) ownDevice(g gear, session uint8) {
	d := &t.d
	if t.city != t.e.home || !d.chance(0.4) {
		return
	}
	evening := events.Millis(t.day*events.Day - int64(cities[t.city].offset)*events.Minute + 19*events.Hour)
	at := max(evening, t.end+70*events.Minute) + events.Millis(d.n(2*events.Hour))
	s := slot{what: use, via: wifi, gear: g, session: session, why: becauseOwnDevice}
	if d.n(ownSession/3) == 0 {
		t.signIn(at, t.c.afterOutage(t.i, at), s)
		at = t.c.afterOutage(t.i, at)
	}
	for n := t.scaled(1, 3); n > 0; n-- {
		at += events.Millis(d.between(events.Minute, 20*events.Minute))
		s.app = uint8(d.n(phoneApps))
		t.add(at, s)
	}
}

// program plans a service principal: tokens at its own intervals, day and night.
func (t *today) program() {
	h := mix(uint64(t.i) * 17)
	n := 4 + int(h%21)
	for k := range n {
		at := events.Millis(t.day*events.Day) + events.Millis(k*events.Day/n+t.d.n(10*events.Minute))
		t.add(at, slot{what: keyGrant, via: overCloud, gear: theMachine, app: uint8(h >> 8 % uint64(len(apps))), why: becauseProgram})
	}
}

// printer plans a machine at an office that sends mail with a password.
func (t *today) printer() {
	if w := weekday(t.day); w == 0 || w == 6 {
		return
	}
	eight := events.Millis(t.day*events.Day - int64(cities[t.city].offset)*events.Minute + 8*events.Hour)
	for n := t.d.between(3, 9); n > 0; n-- {
		t.add(t.within(eight, eight+10*events.Hour), slot{what: passwordGrant, via: atOffice, gear: theMachine, why: becauseLegacy})
	}
}

// app is something people sign in to.
type app struct{ id, name, resource string }

var apps = [...]app{
	{"app-mail", "Mail", "res-mailboxes"},
	{"app-chat", "Chat", "res-messages"},
	{"app-wiki", "Wiki", "res-pages"},
	{"app-code", "Code Review", "res-repositories"},
	{"app-crm", "Customer Desk", "res-customers"},
	{"app-payroll", "Payroll", "res-salaries"},
	{"app-travel", "Travel", "res-bookings"},
	{"app-files", "Files", "res-documents"},
	{"app-calendar", "Calendar", "res-mailboxes"},
	{"app-tickets", "Tickets", "res-requests"},
	{"app-ledger", "Ledger", "res-accounts"},
	{"app-portal", "Portal", "res-directory"},
}

// phoneApps are the first of the applications.
const phoneApps = 4

// consoleApp stands for the administrators' command line, which is none of the above.
const consoleApp = 200

var console = app{"app-console", "Command Line", "res-management"}

// consentedApps are applications of others that many people at the company use.
var consentedApps = [...]app{
	{id: "ext-survey", name: "Survey Desk"},
	{id: "ext-scheduler", name: "Meeting Scheduler"},
	{id: "ext-whiteboard", name: "Whiteboard"},
	{id: "ext-signature", name: "Signature Pad"},
	{id: "ext-notes", name: "Notes"},
}
