package company

import (
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
)

// The systems people use.
const (
	windows = iota
	macOS
	linux
	iOS
	android
	iPadOS
)

var systems = [...]string{windows: "Windows", macOS: "macOS", linux: "Linux", iOS: "iOS", android: "Android", iPadOS: "iPadOS"}

const (
	edge = iota
	chrome
	safari
	firefox
)

var browsers = [...]string{edge: "Edge", chrome: "Chrome", safari: "Safari", firefox: "Firefox"}

// The user agents of what is no browser.
const (
	consoleAgent = "Command-Line/2.61.0 (Linux x86_64) Python/3.11.8"
	printerAgent = "Scan-To-Mail/4.2"
	programAgent = "Simulated-SDK/3.4.1 (Linux; amd64)"
)

// kiosksPerOffice is how many shared devices an office has.
const kiosksPerOffice = 4

// novelty is what is new about a device.
type novelty uint8

const (
	nothingNew novelty = iota
	newLaptop
	newPhone
	newBrowser
	newVersion
)

// device writes the device of a slot and tells what is new about it.
func (c *Company) device(s *slot, day int64, out *events.Event) novelty {
	e, d := &c.staff[s.user], &out.Device
	switch s.gear {
	case thePhone:
		number, since := generation(day, e.phoneAge, phoneLife)
		if e.is(isRegistered) {
			d.ID = deviceID("phone-", uint64(s.user), number)
		}
		fresh := c.browse(out, e.phone, likelyBrowser[e.phone], e.lag, day)
		d.Type, d.Managed = "mobile", events.No
		if since < freshDays {
			return newPhone
		}
		return fresh
	case theTablet:
		d.Type, d.Managed = "tablet", events.No
		if e.is(isRegistered) {
			d.ID = deviceID("tablet-", uint64(s.user), 0)
		}
		return c.browse(out, iPadOS, safari, e.lag, day)
	case theHomePC:
		d.Type, d.Managed = "desktop", events.No
		return c.browse(out, windows, chrome, e.lag/2, day)
	case theKiosk:
		kiosk := mix(uint64(s.user)^uint64(day)<<32) % kiosksPerOffice
		d.ID, d.Type, d.Managed, d.Compliant = deviceID("kiosk-", uint64(e.home), int64(kiosk)), "desktop", events.Yes, events.Yes
		return c.browse(out, windows, edge, 5, day)
	case theDesktop:
		pool := mix(uint64(s.user)^uint64(day)<<32) % 20
		d.ID, d.Type, d.Managed, d.Compliant = deviceID("desktop-", uint64(gateway(e.home)), int64(pool)), "desktop", events.Yes, events.Yes
		return c.browse(out, windows, edge, 9, day)
	case theConsole:
		d.Type, d.OS, out.UserAgent = "script", systems[linux], consoleAgent
		return nothingNew
	case theMachine:
		d.Type, out.UserAgent = "script", printerAgent
		if e.role == program {
			out.UserAgent = programAgent
		}
		return nothingNew
	case theLaptop:
	}
	number, since := generation(day, e.laptopAge, laptopLife)
	d.Managed, d.Type = events.TriOf(e.is(isManaged)), "desktop"
	if e.is(isManaged | isRegistered) {
		d.ID = deviceID("laptop-", uint64(s.user), number)
	}
	if e.is(isManaged) {
		d.Compliant = events.Yes
	}
	browser, switched := c.browserOn(s.user, day)
	fresh := c.browse(out, e.laptop, browser, e.lag, day)
	switch {
	case since < freshDays:
		return newLaptop
	case switched:
		return newBrowser
	}
	return fresh
}

// browse writes what a browser says of itself; it is updated some days after there is a new version.
func (c *Company) browse(out *events.Event, system, browser, lag uint8, day int64) novelty {
	version := major(day - int64(lag))
	out.Device.OS, out.Device.Browser, out.Device.BrowserMajor = systems[system], browsers[browser], version
	out.UserAgent = c.userAgent(system, browser, version)
	if version != major(day-int64(lag)-2) {
		return newVersion
	}
	return nothingNew
}

func deviceID(prefix string, owner uint64, number int64) string {
	var b [40]byte
	id := strconv.AppendUint(append(b[:0], prefix...), owner, 10)
	return string(strconv.AppendInt(append(id, '-'), number, 10))
}

// userAgent is what a browser of a version says of itself; there are few, so they are kept. Apple's systems are as old as
// their browser, the others no longer tell.
func (c *Company) userAgent(system, browser uint8, version int) string {
	key := [3]int{int(system), int(browser), version}
	if text, ok := c.agents[key]; ok {
		return text
	}
	v := strconv.Itoa(version)
	apple := strconv.Itoa(18+(version-120)/26) + "_" + strconv.Itoa((version-120)%26/3)
	platform := [...]string{
		windows: "Windows NT 10.0; Win64; x64", macOS: "Macintosh; Intel Mac OS X 10_15_7", linux: "X11; Linux x86_64",
		iOS: "iPhone; CPU iPhone OS " + apple + " like Mac OS X", android: "Linux; Android 10; K",
		iPadOS: "iPad; CPU OS " + apple + " like Mac OS X",
	}[system]
	text := "Mozilla/5.0 (" + platform + ") "
	mobile := ""
	if system == android || system == iOS || system == iPadOS {
		mobile = "Mobile "
	}
	switch browser {
	case firefox:
		text = "Mozilla/5.0 (" + platform + "; rv:" + v + ".0) Gecko/20100101 Firefox/" + v + ".0"
	case safari:
		text += "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/" + v + ".0 " + mobile + "Safari/605.1.15"
	case edge:
		text += "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/" + v + ".0.0.0 Safari/537.36 Edg/" + v + ".0.0.0"
	default:
		text += "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/" + v + ".0.0.0 " + mobile + "Safari/537.36"
	}
	if len(c.agents) >= 4096 {
		clear(c.agents)
	}
	c.agents[key] = text
	return text
}

// setting is what is not ordinary about where somebody is.
type setting uint8

const (
	ordinary setting = iota
	settingOffice
	settingMobile
	settingHub
	settingRoaming
	settingTravel
	settingVPN
	settingPersonalVPN
	settingRelay
	settingPublic
	settingSatellite
	settingDesktop
	settingSix
	settingLease
)

// network is the network of a slot.
func (c *Company) network(s *slot, day int64, at events.Millis) (network, setting) {
	e := &c.staff[s.user]
	h := mix(uint64(s.user)<<32 ^ uint64(at))
	switch s.via {
	case atOffice:
		return office(s.city, s.user), settingOffice
	case overMobile:
		switch {
		case e.is(roamsHome) && countryOf[s.city] != countryOf[e.home]:
			return mobile(e.home, s.user, h, false), settingRoaming
		case s.marks&jumped != 0:
			return mobile(s.city, s.user, h, true), settingHub
		}
		return mobile(s.city, s.user, h, false), settingMobile
	case overVPN:
		return vpn(s.city, s.user), settingVPN
	case overPersonalVPN:
		exit := exits[mix(uint64(s.user)<<16^uint64(day))%uint64(len(exits))]
		return personalVPN(exit, mix(uint64(s.user)*23)>>8), settingPersonalVPN
	case overRelay:
		return relay(s.city, uint64(s.user)<<20^uint64(at)/(4*events.Hour)), settingRelay
	case overPublic:
		return guest(s.city, uint64(s.user)<<20^uint64(day)), settingPublic
	case overDesktop:
		return desktop(e.home, s.user), settingDesktop
	case overCloud:
		move := uint64(day+int64(s.user)) / 45
		return cloud(e.home, s.user, move<<1|h&1&mix(uint64(s.user))), ordinary
	case wifi:
	}
	if s.city != e.home {
		return guest(s.city, uint64(s.user)<<20^uint64(day/period)), settingTravel
	}
	if e.is(usesSatellite) {
		return satellite(e.home, s.user, day), settingSatellite
	}
	number, fresh := lease(s.user, day)
	l := lineOf(e.home, s.user)
	switch {
	case e.is(hasIPv6) && h&1 == 0:
		return l.address6(number, day), settingSix
	case fresh:
		return l.address(number), settingLease
	}
	return l.address(number), ordinary
}

// reason is the confounder of a slot: what the plan says, or else what is least ordinary about place and device.
func reason(s *slot, place setting, device novelty) Confounder {
	if s.why != 0 {
		return Confounders[s.why-1]
	}
	switch place { //nolint:exhaustive // the rest is weaker than a device that is new
	case settingRoaming:
		return Roaming
	case settingHub:
		return MobileHub
	case settingVPN:
		return VPNUse
	case settingPersonalVPN:
		return PersonalVPN
	case settingRelay:
		return RelayUse
	case settingSatellite:
		return Satellite
	case settingDesktop:
		return VDI
	}
	if s.marks&travelling != 0 {
		return BusinessTrip
	}
	switch device {
	case newLaptop:
		return NewLaptop
	case newPhone:
		return NewPhone
	case newBrowser:
		return BrowserRollout
	case newVersion:
		return BrowserUpdate
	case nothingNew:
	}
	if s.gear == theKiosk {
		return SharedDevice
	}
	switch place { //nolint:exhaustive // the others are above, or ordinary
	case settingPublic:
		return PublicWiFi
	case settingLease:
		return LeaseRenewal
	case settingSix:
		return DualStack
	case settingMobile:
		return MobileNetwork
	case settingOffice:
		return OfficeNAT
	}
	return ""
}
