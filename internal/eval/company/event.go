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

// act is how the provider reports what somebody does.
type act struct {
	kind        events.Kind
	category    string
	interactive events.Tri
	outcome     events.Outcome
	cause       events.Cause
	code        string
	reason      string
}

const (
	interactiveLog = "interactive"
	silentLog      = "non-interactive"
	auditLog       = "audit"
)

var acts = [...]act{
	signIn:          {events.SignIn, interactiveLog, events.Yes, events.Success, "", "", ""},
	refresh:         {events.SignIn, silentLog, events.No, events.Success, "", "", ""},
	use:             {events.SessionUse, "application", events.No, events.Success, "", "", ""},
	signOut:         {events.SignOut, "sign-out", events.No, events.Success, "", "", ""},
	wrongPassword:   {events.SignIn, interactiveLog, events.Yes, events.Failure, events.BadPassword, "wrong_password", "The password was wrong."},
	oldPassword:     {events.SignIn, silentLog, events.No, events.Failure, events.BadPassword, "wrong_password", "The password was wrong."},
	expiredPassword: {events.SignIn, interactiveLog, events.Yes, events.Failure, events.Expired, "expired_password", "The password has run out."},
	providerDown:    {events.SignIn, interactiveLog, events.Yes, events.Failure, events.OtherCause, "temporarily_unavailable", "The service did not answer."},
	wrongCode:       {events.SignIn, interactiveLog, events.Yes, events.Failure, events.BadCode, "wrong_code", "The code was wrong."},
	deniedPrompt:    {events.SignIn, interactiveLog, events.Yes, events.Failure, events.MFARefused, "prompt_denied", "The prompt was denied."},
	missedPrompt:    {events.SignIn, interactiveLog, events.Yes, events.Failure, events.MFATimeout, "prompt_timeout", "Nobody answered the prompt."},
	interrupted:     {events.SignIn, interactiveLog, events.Yes, events.Interrupt, "", "stay_signed_in", "Asked whether to stay signed in."},
	newPassword:     {events.AccountChange, auditLog, events.Yes, events.Success, "", "", ""},
	newMethod:       {events.AccountChange, auditLog, events.Yes, events.Success, "", "", ""},
	formerMethod:    {events.AccountChange, auditLog, events.Yes, events.Success, "", "", ""},
	consented:       {events.AccountChange, auditLog, events.Yes, events.Success, "", "", ""},
	authorised:      {events.SignIn, interactiveLog, events.Yes, events.Success, "", "", ""},
	polled:          {events.SignIn, silentLog, events.No, events.Success, "", "", ""},
	passwordGrant:   {events.SignIn, silentLog, events.No, events.Success, "", "", ""},
	misspelt:        {events.SignIn, interactiveLog, events.Yes, events.Failure, events.UnknownUser, "unknown_user", "There is no such user."},
	lockedOut:       {events.SignIn, interactiveLog, events.Yes, events.Blocked, events.AccountLocked, "locked", "The account is locked."},
	reported:        {events.RiskReport, "risk", events.Unknown, "", "", "", ""},
	keyGrant:        {events.SignIn, "service-principal", events.No, events.Success, "", "", ""},
}

// Lists that many events share, and that must not be changed.
var (
	staffGroup = []string{"staff"}
	adminGroup = []string{"staff", "admins"}

	passwordOnly = []string{"password"}
	withKey      = []string{"fido2"}
	withSecret   = []string{"client_secret"}

	// factors are the password with each second factor.
	factors = [...][]string{
		noMethod: passwordOnly, pushMethod: {"password", "push"}, totpMethod: {"password", "otp"}, smsMethod: {"password", "sms"},
		keyMethod: withKey,
	}
	methodNames = [...]string{noMethod: "password", pushMethod: "push", totpMethod: "otp", smsMethod: "sms", keyMethod: "fido2"}

	// What the provider's own detection says.
	unfamiliar   = []string{"unfamiliarFeatures"}
	unlikely     = []string{"unlikelyTravel"}
	anomalous    = []string{"anomalousToken"}
	inTheMiddle  = []string{"attackerinTheMiddle"}
	reportedByMe = []string{"userReportedSuspiciousActivity"}

	fewGrants = []string{"openid", "profile", "calendar.read"}
	allGrants = []string{"offline_access", "mail.readwrite", "mail.send", "files.readwrite.all", "directory.read.all"}
)

// The context classes that the simulated identity provider reports.
const (
	acrPassword = "pwd"
	acrMFA      = "mfa"
	acrPhishing = "phr"
)

// The protocols.
const (
	oidc           = "oidc"
	oauth2         = "oauth2"
	deviceCodeFlow = "devicecode"
	ropc           = "ropc"
	clientKeys     = "client_credentials"
)

// write makes the event of a slot. day0 is the day whose base the slot counts from.
func (c *Company) write(s *slot, day0 int64, out *events.Event, label *Label) {
	day := day0 - int64(uint8(day0)-s.day)
	at := base(day0) + events.Millis(s.at)
	e := &c.staff[s.user]
	a := &acts[s.what]
	c.person(s.user, out)
	if s.what == misspelt {
		out.User = c.nobody(s.user, mix(uint64(s.user)^uint64(at)<<20))
	}
	out.Kind, out.Time, out.Source.Category, out.Interactive = a.kind, at, a.category, a.interactive
	out.Outcome, out.Cause, out.Code, out.Reason = a.outcome, a.cause, a.code, a.reason
	c.identify(out, at, uint64(day)<<8|uint64(s.session))
	*label = Label{EventID: out.ID}

	device := c.device(s, day, out)
	n, place := c.network(s, day, at)
	c.locate(&n, out)
	label.Confounder = reason(s, place, device)
	switch a.kind { //nolint:exhaustive // the others are uses of an application
	case events.AccountChange:
		c.change(e, s, out)
		return
	case events.RiskReport:
		out.Device, out.UserAgent = events.Device{}, ""
		out.Risk = events.Risk{Level: events.RiskLow, State: events.RiskOpen, Detections: unfamiliar, Happened: at - 8*events.Minute}
		if s.app == 0 {
			out.Risk.Level = events.RiskMedium
		}
		if s.app&2 == 0 && s.marks&travelling != 0 {
			out.Risk.Detections = unlikely
		}
		return
	}
	out.App, out.Resource = refsOf(s)
	if s.flow != 0 {
		out.Correlation = identifier("flow-", roll(c.cfg.Seed, forFlow, uint64(s.user), uint64(day)<<16|uint64(s.flow)))
	}
	if out.Outcome == events.Success && s.what != passwordGrant && s.what != keyGrant {
		key := c.sessionKey(s.user, day, s.session, s.gear)
		out.Session.ID = sessionText(c.cfg.Seed, uint64(s.user), key)
		if s.what != signOut {
			out.Session.Token = c.token(s.user, key, at)
		}
	}
	c.prove(e, s, day, out)
}

// refsOf are the application and resource of a slot.
func refsOf(s *slot) (application, resource events.Ref) {
	a := &console
	switch {
	case s.marks&rolledOut != 0:
		a = &rolledOutApps[int(s.app)%len(rolledOutApps)]
	case s.app != consoleApp:
		a = &apps[s.app]
	}
	return events.Ref{ID: a.id, Name: a.name}, events.Ref{ID: a.resource}
}

// rolledOutApps are more than are rolled out in five years.
var rolledOutApps = func() (list [64]app) {
	for i := range list {
		n := strconv.Itoa(i)
		list[i] = app{"app-new-" + n, "New Application " + n, "res-new-" + n}
	}
	return list
}()

// prove writes how identity was proved, or was to be.
func (c *Company) prove(e *employee, s *slot, day int64, out *events.Event) {
	switch s.what { //nolint:exhaustive // the others prove nothing
	case signIn, authorised:
		c.authenticate(e, out, s.marks&strongly != 0)
		if s.what == authorised {
			out.Auth.Protocol = deviceCodeFlow
		}
	case wrongPassword, expiredPassword, providerDown, interrupted, misspelt, lockedOut:
		out.Auth = events.Auth{Strength: events.StrengthNone, Methods: passwordOnly, Protocol: oidc}
	case oldPassword:
		out.Auth = events.Auth{Strength: events.StrengthNone, Methods: passwordOnly, Protocol: ropc}
	case wrongCode, missedPrompt:
		out.Auth = events.Auth{MFA: events.MFAFailed, Strength: events.StrengthNone, Methods: factors[e.method], Protocol: oidc}
	case deniedPrompt:
		out.Auth = events.Auth{MFA: events.MFADenied, Strength: events.StrengthNone, Methods: factors[e.method], Protocol: oidc}
	case refresh:
		out.Auth = events.Auth{MFA: events.MFAByClaim, Protocol: oauth2}
		out.Session.TokenType = "refresh_token"
		if out.Device.Managed == events.Yes && out.Device.OS == systems[windows] {
			out.Session.TokenType, out.Session.Bound = "primary_refresh_token", events.Yes
		}
	case polled:
		out.Auth = events.Auth{MFA: events.MFAByClaim, Protocol: deviceCodeFlow}
	case passwordGrant:
		out.Auth = events.Auth{Strength: events.SingleFactor, Methods: passwordOnly, Protocol: ropc}
	case keyGrant:
		out.Auth = events.Auth{Strength: events.SingleFactor, Methods: withSecret, Protocol: clientKeys}
	case use:
		out.Auth.Protocol = oidc
		if s.session == 0 && (s.gear == theLaptop || s.gear == theKiosk) {
			t, away := c.tripAt(s.user, day)
			start, _ := c.workStart(s.user, day, t.cityOf(e.home, away, day))
			out.Auth.Time = min(out.Time, start)
		}
	}
}

// authenticate writes the proof of an interactive sign-in.
func (c *Company) authenticate(e *employee, out *events.Event, strong bool) {
	out.Auth = events.Auth{
		MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: passwordOnly, ACR: acrPassword, Protocol: oidc,
	}
	switch {
	case e.method == keyMethod:
		out.Auth.MFA, out.Auth.Strength, out.Auth.Methods, out.Auth.ACR = events.MFAPerformed, events.PhishingResistant, withKey, acrPhishing
	case strong && e.method != noMethod:
		out.Auth.MFA, out.Auth.Strength, out.Auth.Methods, out.Auth.ACR = events.MFAPerformed, events.MultiFactor, factors[e.method], acrMFA
	}
}

// change writes what was changed about an account.
func (c *Company) change(e *employee, s *slot, out *events.Event) {
	method := events.Ref{ID: methodNames[e.method], Name: methodNames[e.method]}
	switch s.what { //nolint:exhaustive // the others change nothing
	case newPassword:
		out.Change = events.Change{Type: events.CredentialChange, Action: events.Updated, Target: events.Ref{ID: "password", Name: "password"}}
	case newMethod:
		out.Change = events.Change{Type: events.MethodChange, Action: events.Added, Target: method}
	case formerMethod:
		out.Change = events.Change{Type: events.MethodChange, Action: events.Removed, Target: method}
	case consented:
		a := &consentedApps[s.app]
		out.Change = events.Change{
			Type: events.ConsentChange, Action: events.Added, Target: events.Ref{ID: a.id, Name: a.name}, Grants: fewGrants,
		}
	}
}

// person starts an event of somebody.
func (c *Company) person(i uint32, out *events.Event) {
	e := &c.staff[i]
	*out = events.Event{
		Tenant: c.cfg.Tenants[e.tenant],
		User:   events.User{ID: c.userID(i), Privileged: events.No},
		Source: events.Source{Name: Source, Family: SourceFamily},
	}
	switch {
	case e.role == program:
		out.User.Type, out.User.Privileged = events.Workload, events.Unknown
	case e.role == printer:
		out.User.Name = "Scanner " + cities[e.home].name
	case e.is(isPrivileged):
		out.User.Groups, out.User.Privileged = adminGroup, events.Yes
	default:
		out.User.Groups = staffGroup
	}
	if e.role == person {
		out.User.Name = c.names[int(e.first)*len(lastNames)+int(e.last)]
	}
}

// identify gives an event its ids and the times of its way into the log. Turn tells apart what one user does at one time.
func (c *Company) identify(out *events.Event, at events.Millis, turn uint64) {
	var b [64]byte
	id := append(b[:0], out.User.ID...)
	id = strconv.AppendInt(append(id, '-'), int64(at), 36)
	id = strconv.AppendUint(append(id, '-'), mix(turn^c.cfg.Seed<<32)&0xffffffff, 36)
	out.Source.ID = string(id)
	out.ID = events.EventID(out.Tenant, SourceFamily, out.Source.ID)
	lag := mix(uint64(at) ^ uint64(c.cfg.Users))
	out.Emitted = at + events.Millis(20+lag%900)
	if c.cfg.Ingested {
		out.Ingested = out.Emitted + events.Millis(5+lag>>32%200)
	}
}

// locate writes the network and the place. A network's list is as old as the day.
func (c *Company) locate(n *network, out *events.Event) {
	out.IP = n.ip.String()
	out.Network, out.Place = n.net, n.at
	out.Network.Prefix = prefixText(n.ip)
	if out.Network.List != "" {
		out.Network.Built = events.Millis(dayOf(out.Time) * events.Day)
	}
}

// sessionKey tells apart the sessions of somebody: a laptop's is of one day, a phone's and one's own device's last two
// weeks or as long as the phone.
func (c *Company) sessionKey(i uint32, day int64, turn uint8, g gear) uint64 {
	switch g { //nolint:exhaustive // the others are of one day
	case thePhone:
		number, _ := generation(day, c.staff[i].phoneAge, phoneLife)
		return uint64((day+int64(i))/ownSession)*64 + uint64(number)%64 + 1<<40
	case theTablet, theHomePC:
		return uint64((day+int64(i))/ownSession)*64 + uint64(g) + 1<<41
	}
	return uint64(day)*8 + uint64(turn)
}

func (c *Company) sessionID(i uint32, day int64, turn uint8, g gear) string {
	return sessionText(c.cfg.Seed, uint64(i), c.sessionKey(i, day, turn, g))
}

func sessionText(seed, a, b uint64) string { return identifier("sid-", roll(seed, forSession, a, b)) }

// token names the token of a session that is in use at a time: another one every hour.
func (c *Company) token(i uint32, session uint64, at events.Millis) string {
	return identifier("tok-", roll(c.cfg.Seed, forToken, uint64(i)<<20^uint64(at/events.Hour), session))
}

// identifier is a prefix and eighteen hexadecimal digits.
func identifier(prefix string, d dice) string {
	const digits = "0123456789abcdef"
	var b [32]byte
	text := append(b[:0], prefix...)
	v := d.pcg.Uint64()
	for k := range 18 {
		if k == 16 {
			v = d.pcg.Uint64()
		}
		text = append(text, digits[v&15])
		v >>= 4
	}
	return string(text)
}
