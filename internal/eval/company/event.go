package company

import (
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
)

// Source is what the simulator calls itself in its events.
const (
	Source       = "simulator"
	SourceFamily = "simulator"
)

var kinds = [...]events.Kind{
	signIn: events.SignIn, refresh: events.SignIn, use: events.SessionUse, signOut: events.SignOut, mistype: events.SignIn,
}

var categories = [...]string{
	signIn: "interactive", refresh: "non-interactive", use: "application", signOut: "sign-out", mistype: "interactive",
}

var (
	staffGroup = []string{"staff"}
	adminGroup = []string{"staff", "admins"}

	passwordOnly = []string{"password"}
	withPush     = []string{"password", "push"}
	withKey      = []string{"fido2"}
)

// The context classes that the simulated identity provider reports.
const (
	acrPassword = "pwd"
	acrMFA      = "mfa"
	acrPhishing = "phr"
)

// write makes the event of a slot. day0 is the day whose base the slot counts from.
func (c *Company) write(s *slot, day0 int64, out *events.Event, label *Label) {
	day := day0 - int64(uint8(day0)-s.day)
	at := base(day0) + events.Millis(s.at)
	e := &c.staff[s.user]
	c.person(s.user, out)
	out.Kind, out.Time, out.Source.Category = kinds[s.what], at, categories[s.what]
	c.identify(out, at, day, s.session)
	*label = Label{EventID: out.ID}

	phone := s.marks&onPhone != 0
	c.device(s.user, day, phone, out)
	var n network
	h := uint32(mix(uint64(s.user)<<32 ^ uint64(at)))
	switch s.via {
	case wifi:
		if s.city == e.home {
			n = fixedLine(s.city, s.user, e.is(hasIPv6) && h%2 == 0)
		} else {
			n = hotel(s.city, s.user)
		}
	case atOffice:
		n = office(e.desk, s.user)
	case overMobile:
		n = mobile(s.city, h, s.marks&jumped != 0)
	case overVPN:
		n = vpn(s.city, s.user)
		label.Confounder = VPNUse
	case overRelay:
		n = relay(s.city, s.user)
		label.Confounder = RelayUse
	}
	c.locate(&n, out)
	switch {
	case s.marks&jumped != 0:
		label.Confounder = MobileHub
	case s.marks&travelling != 0 && label.Confounder == "":
		label.Confounder = BusinessTrip
	case s.marks&newDevice != 0 && label.Confounder == "":
		label.Confounder = NewLaptop
	}

	application := &apps[s.app]
	out.App = events.Ref{ID: application.id, Name: application.name}
	out.Outcome, out.Interactive = events.Success, events.No
	session := c.sessionID(s.user, day, s.session, phone)
	out.Session.ID = session
	switch s.what { //nolint:exhaustive // the others add nothing
	case signIn:
		out.Interactive = events.Yes
		c.authenticate(e, out, s.marks&strongly != 0)
	case mistype:
		out.Interactive, out.Outcome, out.Code = events.Yes, events.Failure, "wrong_password"
		out.Reason, out.Session.ID = "The password was wrong.", ""
		out.Auth = events.Auth{Strength: events.StrengthNone, Methods: passwordOnly, Protocol: "oidc"}
	case refresh:
		out.Auth = events.Auth{MFA: events.MFAByClaim, Protocol: "oauth2"}
	case use:
		out.Auth.Protocol = "oidc"
		if !phone && s.session == 0 {
			t, away := c.tripAt(s.user, day)
			out.Auth.Time = min(at, c.workStart(s.user, day, t.cityOf(e.home, away, day)))
		}
	}
}

// authenticate writes the proof of an interactive sign-in.
func (c *Company) authenticate(e *employee, out *events.Event, strong bool) {
	out.Auth = events.Auth{
		MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: passwordOnly, ACR: acrPassword, Protocol: "oidc",
	}
	switch {
	case e.is(hasSecurityKey):
		out.Auth.MFA, out.Auth.Strength, out.Auth.Methods, out.Auth.ACR = events.MFAPerformed, events.PhishingResistant, withKey, acrPhishing
	case strong:
		out.Auth.MFA, out.Auth.Strength, out.Auth.Methods, out.Auth.ACR = events.MFAPerformed, events.MultiFactor, withPush, acrMFA
	}
}

// person starts an event of somebody.
func (c *Company) person(i uint32, out *events.Event) {
	e := &c.staff[i]
	*out = events.Event{
		Tenant: c.cfg.Tenants[e.tenant],
		User:   events.User{ID: userID(i), Name: c.names[int(e.first)*len(lastNames)+int(e.last)], Groups: staffGroup, Privileged: events.No},
		Source: events.Source{Name: Source, Family: SourceFamily},
	}
	if e.is(isPrivileged) {
		out.User.Groups, out.User.Privileged = adminGroup, events.Yes
	}
}

// identify gives an event its ids and the times of its way into the log.
func (c *Company) identify(out *events.Event, at events.Millis, day int64, turn uint8) {
	var b [64]byte
	id := append(b[:0], out.User.ID...)
	id = strconv.AppendInt(append(id, '-'), int64(at), 36)
	id = strconv.AppendInt(append(id, '-'), day*4+int64(turn), 36)
	out.Source.ID = string(id)
	out.ID = events.EventID(out.Tenant, SourceFamily, out.Source.ID)
	lag := mix(uint64(at) ^ uint64(len(c.staff)))
	out.Emitted = at + events.Millis(20+lag%900)
	if c.cfg.Ingested {
		out.Ingested = out.Emitted + events.Millis(5+lag>>32%200)
	}
}

// device writes the laptop or phone that somebody has on a day.
func (c *Company) device(i uint32, day int64, phone bool, out *events.Event) {
	e := &c.staff[i]
	d := &out.Device
	system, browser := e.laptop, e.browser
	kind, age, life := "laptop-", e.laptopAge, int64(laptopLife)
	d.Managed, d.Type = events.TriOf(e.is(isManaged)), "desktop"
	if phone {
		system, browser = e.phone, chrome
		if e.phone == iOS {
			browser = safari
		}
		kind, age, life = "phone-", e.phoneAge, phoneLife
		d.Managed, d.Type = events.No, "mobile"
	}
	number, _ := generation(day, age, life)
	var b [32]byte
	id := strconv.AppendUint(append(b[:0], kind...), uint64(i), 10)
	d.ID = string(strconv.AppendInt(append(id, '-'), number, 10))
	d.OS, d.Browser = systems[system], browsers[browser]
	d.BrowserMajor = major(day - int64(e.lag))
	if d.Managed == events.Yes {
		d.Compliant = events.Yes
	}
	out.UserAgent = c.userAgent(system, browser, d.BrowserMajor)
}

// major is the browser version of a day: a new one every four weeks.
func major(day int64) int { return int(max(1, 120+(day-19723)/28)) } // 19723: the first of January 2024

// userAgent is what a browser of a version says of itself; there are few, so they are kept.
func (c *Company) userAgent(system, browser uint8, version int) string {
	key := [3]int{int(system), int(browser), version}
	if text, ok := c.agents[key]; ok {
		return text
	}
	platform := [...]string{
		windows: "Windows NT 10.0; Win64; x64", macOS: "Macintosh; Intel Mac OS X 10_15_7", linux: "X11; Linux x86_64",
		iOS: "iPhone; CPU iPhone OS 18_0 like Mac OS X", android: "Linux; Android 10; K",
	}[system]
	v := strconv.Itoa(version)
	text := "Mozilla/5.0 (" + platform + ") "
	switch browser {
	case firefox:
		text = "Mozilla/5.0 (" + platform + "; rv:" + v + ".0) Gecko/20100101 Firefox/" + v + ".0"
	case safari:
		text += "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/" + v + ".0 Safari/605.1.15"
	case edge:
		text += "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/" + v + ".0.0.0 Safari/537.36 Edg/" + v + ".0.0.0"
	default:
		text += "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/" + v + ".0.0.0 Safari/537.36"
	}
	if len(c.agents) >= 4096 {
		clear(c.agents)
	}
	c.agents[key] = text
	return text
}

// locate writes the network and the place.
func (c *Company) locate(n *network, out *events.Event) {
	out.IP = n.ip.String()
	out.Network, out.Place = n.net, n.at
	out.Network.Prefix = prefixText(n.ip)
}

// sessionID names a session: a laptop's is of one day, a phone's lasts two weeks or as long as the phone.
func (c *Company) sessionID(i uint32, day int64, turn uint8, phone bool) string {
	key := uint64(day)*8 + uint64(turn)
	if phone {
		number, _ := generation(day, c.staff[i].phoneAge, phoneLife)
		key = uint64((day+int64(i))/phoneSession)*64 + uint64(number)%64 + 1<<40
	}
	return sessionText(c.cfg.Seed, uint64(i), key)
}

func sessionText(seed, a, b uint64) string {
	d := roll(seed, forSession, a, b)
	const digits = "0123456789abcdef"
	var text [22]byte
	copy(text[:], "sid-")
	v := d.pcg.Uint64()
	for k := 4; k < len(text); k++ {
		if k == 20 {
			v = d.pcg.Uint64()
		}
		text[k] = digits[v&15]
		v >>= 4
	}
	return string(text[:])
}
