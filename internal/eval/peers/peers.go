package peers

import (
	"cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// Kind is what an alert is about, in one vocabulary for all peers.
type Kind string

// The kinds of alerts.
const (
	Travel    Kind = "travel"    // two places too far apart
	Country   Kind = "country"   // a country, or number of places, out of the ordinary
	Device    Kind = "device"    // a device or user agent that is new
	Network   Kind = "network"   // a network that is new
	App       Kind = "app"       // an application or way to sign in that is new
	Spray     Kind = "spray"     // many users tried
	Guessing  Kind = "guessing"  // one user tried many times
	Fatigue   Kind = "mfa"       // second factors denied or guessed
	Session   Kind = "session"   // a session in two hands
	Tokens    Kind = "token"     // device codes and tokens
	Risk      Kind = "risk"      // a user's alerts added up
	Unusual   Kind = "score"     // a statistical score
	Lockout   Kind = "lockout"   // many accounts locked
	Succeeded Kind = "succeeded" // a success after an attack
)

// Kinds lists every kind.
var Kinds = []Kind{
	Travel, Country, Device, Network, App, Spray, Guessing, Fatigue, Session, Tokens, Risk, Unusual, Lockout, Succeeded,
}

// Alert is one thing that a peer would have told.
type Alert struct {
	// Check names which of the peer's checks it was, in our words.
	Check string `json:"check"`
	Kind  Kind   `json:"kind"`
	// Severity is the peer's, or medium when it has none that is documented.
	Severity events.Severity `json:"severity"`
	Tenant   string          `json:"tenant"`
	// User is "" for alerts about a source or a whole tenant.
	User string `json:"user,omitempty"`
	// EventID completed the alert; Events are the others that it rests on, in the order in which they came, bounded by
	// [MaxEvents].
	EventID string   `json:"event_id"`
	Events  []string `json:"events,omitempty"`
	// At is when the peer would have told, given when the events arrived.
	At events.Millis `json:"at"`
	// Filtered are the peer's own filters that hide the alert; when there are any, nobody is told.
	Filtered []string `json:"filtered,omitempty"`
	// Why explains the alert in one sentence.
	Why string `json:"why"`
}

// MaxEvents bounds the events of one alert, and what a rule remembers of one source.
const MaxEvents = 4096

// Setting is how a peer is configured.
type Setting string

// The settings.
const (
	// Defaults are what the peer ships, or documents, without changes.
	Defaults Setting = "defaults"
	// Best is what serves the peer best in this comparison, of what its operators can set.
	Best Setting = "best"
)

// Info says what a rule is, for the report.
type Info struct {
	// Name is the rule's key in figures, such as "buffalogs_defaults".
	Name    string  `json:"name"`
	Peer    string  `json:"peer"`
	Setting Setting `json:"setting"`
	// Restated says what of the peer is restated, LeftOut what is not, or differs.
	Restated string `json:"restated"`
	LeftOut  string `json:"left_out"`
	// Delay says when the peer tells.
	Delay string `json:"delay"`
}

// Rule is a peer's rules restated.
type Rule interface {
	// See takes the next event, in the order of arrival, and gives the alerts that it completes. Events of the kinds that only
	// countersign writes are ignored. The event is not changed and not kept.
	See(e *events.Event) []Alert
}

// Scorer is a peer that gives logins a score instead of alerts: where to alert is the operator's choice, so that a curve must
// be drawn.
type Scorer interface {
	// Score tells how unusual a login is, higher being more so; false when it has no score, as for failures and a user's
	// first login. It changes nothing, so that logins can be scored that never happened.
	Score(e *events.Event) (float64, bool)
	// Learn takes the next event into the history, after it was scored.
	Learn(e *events.Event)
}

// Peer is one rule of the comparison. Exactly one of Rule and Scorer is set; each call gives a fresh one, that has seen
// nothing.
type Peer struct {
	Info
	Rule   func() Rule
	Scorer func() Scorer
}

// All lists the peers, in the order in which they are shown.
func All() []Peer {
	return []Peer{
		buffalogsDefaults, buffalogsOpened, crowdsecPeer, pantherPeer, elasticEntra, elasticOkta, elasticBest, datadogDefaults,
		datadogBest, sentinelPeer, freemanPeer,
	}
}

// user is one person of one tenant.
type user struct{ tenant, id string }

func userOf(e *events.Event) user { return user{e.Tenant, e.User.ID} }

// arrival is when an event can be looked at.
func arrival(e *events.Event) events.Millis { return cmp.Or(e.Ingested, e.Time) }

// succeeded tells a sign-in that worked, interactive or not.
func succeeded(e *events.Event) bool { return e.Kind == events.SignIn && e.Outcome == events.Success }

// login tells a sign-in that worked and that a person made, as far as the source says.
func login(e *events.Event) bool { return succeeded(e) && e.Interactive != events.No }

// wrongPassword tells a failure of the password, or of the name.
func wrongPassword(e *events.Event) bool {
	if e.Kind != events.SignIn || e.Outcome != events.Failure && e.Outcome != events.Blocked {
		return false
	}
	switch e.Cause {
	case events.BadPassword, events.UnknownUser, events.AccountLocked, events.AccountDisabled, events.Expired:
		return true
	case "":
		return e.Outcome == events.Failure && e.Auth.MFA != events.MFADenied && e.Auth.MFA != events.MFAFailed
	default:
		return false
	}
}

// denied tells a prompt for a second factor that the user refused or left alone.
func denied(e *events.Event) bool {
	return e.Kind == events.SignIn && e.Outcome != events.Success &&
		(e.Cause == events.MFARefused || e.Cause == events.MFATimeout || e.Cause == "" && e.Auth.MFA == events.MFADenied)
}

// alert starts an alert about the user of an event.
func alert(e *events.Event, check string, kind Kind, severity events.Severity, at events.Millis, why string, others ...string) Alert {
	return Alert{
		Check: check, Kind: kind, Severity: severity, Tenant: e.Tenant, User: e.User.ID, EventID: e.ID, Events: others, At: at, Why: why,
	}
}
