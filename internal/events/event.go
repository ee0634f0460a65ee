package events

import (
	"slices"

	"github.com/mailru/easyjson/jlexer"
	"github.com/mailru/easyjson/jwriter"
)

// Kind says what an event reports.
type Kind string

// The kinds of events.
const (
	// SignIn is one authentication attempt or token redemption at an identity provider.
	SignIn Kind = "sign_in"
	// SessionUse is the use of a session that exists, as an application or a gateway saw it.
	SessionUse Kind = "session_use"
	// SignOut ends a session. Without a session id it ends every session of the user, or those of the device or the
	// application that it names.
	SignOut Kind = "sign_out"
	// AccountChange is a change of a credential, an authentication method, a device, a role, a consent or an account.
	AccountChange Kind = "account_change"
	// RiskReport is what a provider or transmitter thinks of a user or of an earlier sign-in.
	RiskReport Kind = "risk"
	// NetworkVerdict tells a user's partition what was concluded from the events of many users, TenantContext what is known of
	// the tenant as a whole. Only countersign itself writes them.
	NetworkVerdict Kind = "verdict"
	TenantContext  Kind = "context"
	// Erasure has everything forgotten that is remembered of a user up to its time. Only countersign itself writes it, for a
	// person who asks for it.
	Erasure Kind = "erasure"
)

// Kinds lists every kind, for validation and for messages.
var Kinds = []Kind{SignIn, SessionUse, SignOut, AccountChange, RiskReport, NetworkVerdict, TenantContext, Erasure}

// Internal tells a kind that only countersign itself may write.
func (k Kind) Internal() bool { return k == NetworkVerdict || k == TenantContext || k == Erasure }

// Outcome is what became of an attempt.
type Outcome string

// The outcomes. An interrupt is a step of a flow that goes on: neither a failure nor a success.
const (
	Success   Outcome = "success"
	Failure   Outcome = "failure"
	Interrupt Outcome = "interrupt"
	Challenge Outcome = "challenge"
	Blocked   Outcome = "blocked"
)

// Outcomes lists every outcome; "" is unknown.
var Outcomes = []Outcome{Success, Failure, Interrupt, Challenge, Blocked}

// MFA is what became of the second factor.
type MFA string

// The results of a second factor; "" is unknown.
const (
	MFAPerformed   MFA = "performed"
	MFAByClaim     MFA = "satisfied_by_claim"
	MFANotRequired MFA = "not_required"
	MFAFailed      MFA = "failed"
	MFADenied      MFA = "denied"
)

// MFAResults lists every result of a second factor.
var MFAResults = []MFA{MFAPerformed, MFAByClaim, MFANotRequired, MFAFailed, MFADenied}

// Strength is how strong the proof of identity was.
type Strength string

// The strengths, weakest first; "" is unknown. PhishingResistant means FIDO2, passkey, WebAuthn, U2F, Windows Hello or a
// certificate.
const (
	StrengthNone      Strength = "none"
	SingleFactor      Strength = "single"
	MultiFactor       Strength = "multi"
	PhishingResistant Strength = "phishing_resistant"
)

// Strengths lists every strength, weakest first.
var Strengths = []Strength{StrengthNone, SingleFactor, MultiFactor, PhishingResistant}

// Rank orders strengths: unknown is 0, none 1, up to 4 for phishing resistant.
func (s Strength) Rank() int {
	for i, v := range Strengths {
		if s == v {
			return i + 1
		}
	}
	return 0
}

// Class is a network class. An address may be of several classes at once.
type Class string

// The network classes.
const (
	Tor       Class = "tor"
	VPN       Class = "vpn"
	Relay     Class = "relay"
	Hosting   Class = "hosting"
	Satellite Class = "satellite"
	Mobile    Class = "mobile"
	Office    Class = "office"
	// Threat is of a list of addresses that attack.
	Threat Class = "threat"
)

// Classes lists every network class, in the order in which they are shown.
var Classes = []Class{Tor, VPN, Relay, Hosting, Satellite, Mobile, Office, Threat}

// Tri is a boolean with a third value: the zero value is "the source did not say". On the wire it is true, false or
// absent.
type Tri int8

// The values of a Tri.
const (
	Unknown Tri = 0
	Yes     Tri = 1
	No      Tri = -1
)

// TriOf converts a known boolean.
func TriOf(b bool) Tri {
	if b {
		return Yes
	}
	return No
}

// IsDefined tells easyjson to leave an unknown value out.
func (t Tri) IsDefined() bool { return t != Unknown }

// MarshalEasyJSON writes true, false or null.
func (t Tri) MarshalEasyJSON(w *jwriter.Writer) {
	if t == Unknown {
		w.RawString("null")
		return
	}
	w.Bool(t == Yes)
}

// UnmarshalEasyJSON reads true, false or null.
func (t *Tri) UnmarshalEasyJSON(l *jlexer.Lexer) {
	if l.IsNull() {
		l.Skip()
		*t = Unknown
		return
	}
	*t = TriOf(l.Bool())
}

// MarshalJSON writes true, false or null.
func (t Tri) MarshalJSON() ([]byte, error) {
	w := jwriter.Writer{}
	t.MarshalEasyJSON(&w)
	return w.BuildBytes()
}

// UnmarshalJSON reads true, false or null.
func (t *Tri) UnmarshalJSON(b []byte) error {
	l := jlexer.Lexer{Data: b}
	t.UnmarshalEasyJSON(&l)
	return l.Error()
}

// UserType says whom a user id names.
type UserType string

// The types of users; "" is a person.
const (
	// Workload is a service principal, managed identity or other program.
	Workload UserType = "workload"
	// Unresolved is a name that was tried, in lower case: no account is known for it.
	Unresolved UserType = "unresolved"
)

// UserTypes lists every type of user; "" is a person.
var UserTypes = []UserType{Workload, Unresolved}

// User is the person, by the identity provider's stable id. Name is for people only and may be anything.
type User struct {
	ID   string   `json:"id,nocopy"`
	Type UserType `json:"type,omitempty,nocopy"`
	Name string   `json:"name,omitempty,nocopy"`
	// HomeTenant is the tenant the user is a guest from, as the provider names it; "" when not a guest, or unknown.
	HomeTenant string   `json:"home_tenant,omitempty,nocopy"`
	Groups     []string `json:"groups,omitempty"`
	Privileged Tri      `json:"privileged,omitempty"`
}

// Source names where a record came from. (Tenant, Family, ID) identifies the record for ever: the same sign-in fetched
// twice, or by two ways of one family, has one identity.
type Source struct {
	// Name is the configured source, such as "entra-eventhub".
	Name string `json:"name,omitempty,nocopy"`
	// Family is the identity space of ID, such as "entra" or "custom".
	Family string `json:"family,omitempty,nocopy"`
	// ID is the source's own id of the record.
	ID string `json:"id,nocopy"`
	// Category is the source's own kind of record, such as "NonInteractiveUserSignInLogs".
	Category string `json:"category,omitempty,nocopy"`
}

// Ref names an application or resource.
type Ref struct {
	ID   string `json:"id,omitempty,nocopy"`
	Name string `json:"name,omitempty,nocopy"`
}

// Session names the session and the token in use, as the identity provider or the application knows them.
type Session struct {
	ID    string `json:"id,omitempty,nocopy"`
	Token string `json:"token,omitempty,nocopy"`
	// TokenType is what was redeemed, such as "primary_refresh_token"; Bound tells whether it is bound to the device.
	TokenType string `json:"token_type,omitempty,nocopy"`
	Bound     Tri    `json:"bound,omitempty"`
}

// Place is where an address is, as one database or provider says. Degrees are WGS 84.
type Place struct {
	Lat float64 `json:"lat,omitempty"`
	Lon float64 `json:"lon,omitempty"`
	// RadiusKm is the database's accuracy radius; 0 means that it gives none.
	RadiusKm float64 `json:"radius_km,omitempty"`
	City     string  `json:"city,omitempty,nocopy"`
	Region   string  `json:"region,omitempty,nocopy"`
	// Country is an ISO 3166-1 alpha-2 code in upper case.
	Country string `json:"country,omitempty,nocopy"`
	// Database names the database, Built the day it was made.
	Database string `json:"database,omitempty,nocopy"`
	Built    Millis `json:"built,omitempty"`
}

// Located tells whether the place has coordinates. (0, 0) is never a place.
func (p *Place) Located() bool { return p != nil && (p.Lat != 0 || p.Lon != 0) }

// IsDefined tells easyjson to leave an unknown place out.
func (p Place) IsDefined() bool { return p != Place{} }

// Network is what the address is part of.
type Network struct {
	// Prefix is the /24 or /48 around the address.
	Prefix  string  `json:"prefix,omitempty,nocopy"`
	ASN     uint32  `json:"asn,omitempty"`
	Org     string  `json:"org,omitempty,nocopy"`
	Classes []Class `json:"classes,omitempty"`
	// List names the list that gave the first class, Built the day it was made.
	List  string `json:"list,omitempty,nocopy"`
	Built Millis `json:"built,omitempty"`
}

// Is tells whether the network is of a class.
func (n *Network) Is(c Class) bool {
	return slices.Contains(n.Classes, c)
}

// Device is what the identity provider or the application knows of the device. Families, never versions, decide.
type Device struct {
	ID        string `json:"id,omitempty,nocopy"`
	Name      string `json:"name,omitempty,nocopy"`
	Managed   Tri    `json:"managed,omitempty"`
	Compliant Tri    `json:"compliant,omitempty"`
	// OS and Browser are families, such as "Windows" and "Edge"; BrowserMajor is the major version.
	OS           string `json:"os,omitempty,nocopy"`
	Browser      string `json:"browser,omitempty,nocopy"`
	BrowserMajor int    `json:"browser_major,omitempty"`
	// Type is "desktop", "mobile", "tablet", "bot" or "script".
	Type string `json:"type,omitempty,nocopy"`
}

// Auth says how identity was proved.
type Auth struct {
	MFA      MFA      `json:"mfa,omitempty,nocopy"`
	Strength Strength `json:"strength,omitempty,nocopy"`
	// Methods are lower-case names such as "password", "fido2", "push", "sms".
	Methods  []string `json:"methods,omitempty"`
	Protocol string   `json:"protocol,omitempty,nocopy"`
	// ACR is the authentication context class that was reached.
	ACR string `json:"acr,omitempty,nocopy"`
	// Time is when the person last proved identity; unknown means the event's own time for an interactive sign-in.
	Time Millis `json:"time,omitempty"`
}

// Event is one normalised record. The identity of its user is (Tenant, User.ID).
type Event struct {
	// ID is derived from tenant, source family and source id by [EventID].
	ID     string `json:"id,omitempty,nocopy"`
	Kind   Kind   `json:"kind,nocopy"`
	Tenant string `json:"tenant,nocopy"`
	User   User   `json:"user"`
	// Time is when it happened. It is the only clock that decisions read.
	Time Millis `json:"time"`
	// Emitted is when the source wrote the record, Ingested when countersign accepted it.
	Emitted  Millis `json:"emitted,omitempty"`
	Ingested Millis `json:"ingested,omitempty"`
	Source   Source `json:"source"`
	// Outcome is success, failure, interrupt, challenge or blocked; Code is the source's own code, untouched.
	Outcome Outcome `json:"outcome,omitempty,nocopy"`
	Code    string  `json:"code,omitempty,nocopy"`
	Reason  string  `json:"reason,omitempty,nocopy"`
	// Cause is why an attempt did not succeed.
	Cause Cause `json:"cause,omitempty,nocopy"`
	// Correlation is the source's id of one flow: events that share it are steps of one attempt.
	Correlation string  `json:"correlation,omitempty,nocopy"`
	Interactive Tri     `json:"interactive,omitempty"`
	App         Ref     `json:"app,omitempty"`
	Resource    Ref     `json:"resource,omitempty"`
	Session     Session `json:"session,omitempty"`
	// IP is the canonical text of the address, or "" when the source gave none or no valid one; then AddressText keeps
	// what it said.
	IP          string  `json:"ip,omitempty,nocopy"`
	AddressText string  `json:"address_text,omitempty,nocopy"`
	Network     Network `json:"network,omitempty"`
	// Place is our own look-up, made once at ingest; ProviderPlace is what the source said.
	Place         Place  `json:"place,omitempty"`
	ProviderPlace Place  `json:"provider_place,omitempty"`
	Device        Device `json:"device,omitempty"`
	UserAgent     string `json:"user_agent,omitempty,nocopy"`
	Auth          Auth   `json:"auth,omitempty"`
	// Access is what the provider's own policies decided, Risk what the provider thinks, Change what was changed.
	Access Access `json:"access,omitempty"`
	Risk   Risk   `json:"risk,omitempty"`
	Change Change `json:"change,omitempty"`
	// Verdict and Org come from the network stage.
	Verdict *Verdict    `json:"verdict,omitempty"`
	Org     *OrgContext `json:"org,omitempty"`
}

// Key is the record key on the log: tenant/user. A tenant holds no slash, so the key is unambiguous.
func (e *Event) Key() string { return Key(e.Tenant, e.User.ID) }

// Key joins tenant and user to the record key of the log.
func Key(tenant, user string) string { return tenant + "/" + user }

// IsDefined reports whether anything is known.
func (r Ref) IsDefined() bool { return r != Ref{} }

// IsDefined reports whether anything is known.
func (s Session) IsDefined() bool { return s != Session{} }

// IsDefined reports whether anything is known.
func (d Device) IsDefined() bool { return d != Device{} }

// IsDefined reports whether anything is known.
func (n Network) IsDefined() bool {
	return n.Prefix != "" || n.ASN != 0 || n.Org != "" || len(n.Classes) > 0 || n.List != "" || n.Built != 0
}

// IsDefined reports whether anything is known.
func (a Auth) IsDefined() bool {
	return a.MFA != "" || a.Strength != "" || len(a.Methods) > 0 || a.Protocol != "" || a.ACR != "" || a.Time != 0
}
