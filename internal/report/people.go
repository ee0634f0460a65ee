package report

import (
	"encoding/json"

	"github.com/countersign-io/countersign/internal/events"
)

// Location is where an address is, as the database says, in degrees of WGS 84.
type Location struct {
	Lat      float64 `json:"lat"`
	Lon      float64 `json:"lon"`
	RadiusKm float64 `json:"radius_km" doc:"Accuracy; 0 when the database gives none"`
	City     string  `json:"city,omitempty"`
	Region   string  `json:"region,omitempty"`
	Country  string  `json:"country,omitempty" doc:"ISO 3166-1 alpha-2"`
}

// NetworkName is what a prefix is part of.
type NetworkName struct {
	Prefix  string   `json:"prefix,omitempty" doc:"The /24 or /48 around the address"`
	ASN     uint32   `json:"asn,omitempty"`
	Org     string   `json:"org,omitempty"`
	Classes []string `json:"classes,omitempty" doc:"Such as vpn, hosting or tor"`
}

// Seen is one place, device, network, application or session of a list, and how often it was seen. Key names it within
// its list.
type Seen struct {
	Key      string        `json:"key" doc:"Names it within its list: city and country, device, prefix, app id, session id"`
	Label    string        `json:"label" doc:"For people; may be anything"`
	First    events.Millis `json:"first"`
	Last     events.Millis `json:"last"`
	Events   uint64        `json:"events"`
	Failures uint64        `json:"failures" doc:"Events that failed or were blocked"`
	// Location is of a place, Network of a network; of several in one, the newest.
	Location *Location    `json:"location,omitempty" doc:"Of places with coordinates"`
	Network  *NetworkName `json:"network,omitempty" doc:"Of networks"`
}

// Surroundings are where, with what and for what a person or a session was seen, each list by the number of events.
type Surroundings struct {
	Places   []Seen `json:"places" nullable:"false"`
	Devices  []Seen `json:"devices" nullable:"false"`
	Networks []Seen `json:"networks" nullable:"false"`
	Apps     []Seen `json:"apps" nullable:"false"`
}

// UserQuery asks for the users whose id or name starts with Text, whatever the case, by their newest event.
type UserQuery struct {
	Scope Scope
	// Text is a prefix; "" is every user.
	Text string
	// Now decides which open requirements have expired.
	Now events.Millis
	// After is the last user of the page before: the time of the newest event, and tenant/user.
	After Cursor
	Limit int
	// Type restricts the answer to one type of user, Persons to people.
	Type    events.UserType
	Persons bool
}

// UserSummary is a user of a list.
type UserSummary struct {
	Tenant string `json:"tenant"`
	User   string `json:"user"`
	Name   string `json:"name,omitempty" doc:"For people only; may be anything"`
	// Type is "" for a person.
	Type     events.UserType `json:"type,omitempty" enum:"workload,unresolved" doc:"Left out for a person; unresolved is a name that was tried and that no account is known for"`
	Last     events.Millis   `json:"last" doc:"The newest event"`
	Events   uint64          `json:"events"`
	Findings uint64          `json:"findings" doc:"Active findings"`
	Open     uint64          `json:"open" doc:"Open requirements"`
}

// UserPage is one page of users.
type UserPage struct {
	Users []UserSummary
	Next  *Cursor
}

// UserProfile is what is known of one user: of all events that the history holds.
type UserProfile struct {
	Tenant   string          `json:"tenant"`
	User     string          `json:"user"`
	Name     string          `json:"name,omitempty" doc:"For people only; may be anything"`
	Type     events.UserType `json:"type,omitempty" enum:"workload,unresolved" doc:"Left out for a person"`
	First    events.Millis   `json:"first,omitempty"`
	Last     events.Millis   `json:"last,omitempty"`
	Events   uint64          `json:"events"`
	Failures uint64          `json:"failures" doc:"Events that failed or were blocked"`
	Findings uint64          `json:"findings" doc:"Active findings"`
	// Severities count the active findings.
	Severities []Count `json:"severities" nullable:"false" doc:"Active findings by severity, the highest first"`
	// Requirements are the open ones.
	Requirements []Requirement `json:"requirements" nullable:"false" doc:"The open ones, newest first"`
	// Risk is the user's accumulated risk after the newest finding that tells it.
	Risk *RiskNow `json:"risk,omitempty"`
	Surroundings
	Sessions []Seen `json:"sessions" nullable:"false" doc:"The newest first"`
}

// RiskNow is a user's accumulated risk as the newest finding told it.
type RiskNow struct {
	Decibans float64           `json:"decibans" doc:"After the finding's event; it decays"`
	Time     events.Millis     `json:"time"`
	Finding  string            `json:"finding"`
	Parts    []events.RiskPart `json:"parts,omitempty"`
}

// LanesQuery asks for one user's steps in a span.
type LanesQuery struct {
	Scope  Scope
	Tenant string
	User   string
	Span   Span
	// Now decides which open requirements have expired.
	Now events.Millis
}

// Lanes show a user's time: one row each for the most frequent places, devices, networks and sessions, and one for the
// rest.
type Lanes struct {
	From events.Millis `json:"from"`
	To   events.Millis `json:"to"`
	// Step is the length of a step in seconds; the span is widened to whole steps.
	Step         int64         `json:"step_seconds"`
	Lanes        LaneSet       `json:"lanes"`
	Requirements []Requirement `json:"requirements" nullable:"false" doc:"Opened in the span, newest first"`
	Findings     []LaneFinding `json:"findings" nullable:"false" doc:"Of every disposition, newest first"`
}

// LaneSet holds the lanes. Each has at most 12 rows, the most frequent first, and "other" as the last where there is more.
type LaneSet struct {
	Places   []Lane `json:"places" nullable:"false"`
	Devices  []Lane `json:"devices" nullable:"false"`
	Networks []Lane `json:"networks" nullable:"false"`
	Sessions []Lane `json:"sessions" nullable:"false"`
}

// Lane is one row.
type Lane struct {
	Key    string      `json:"key" doc:"As in the user's profile; empty for the rest of a lane"`
	Label  string      `json:"label" doc:"For people; may be anything"`
	Points []LanePoint `json:"points" nullable:"false" doc:"The steps in which something happened, in order"`
}

// LanePoint is one step of a lane.
type LanePoint struct {
	Time     events.Millis `json:"time" doc:"Start of the step"`
	Events   uint64        `json:"events"`
	Failures uint64        `json:"failures"`
}

// LaneFinding is a finding as a point in time.
type LaneFinding struct {
	ID          string             `json:"id"`
	Time        events.Millis      `json:"time"`
	Detection   string             `json:"detection"`
	Severity    events.Severity    `json:"severity"`
	Disposition events.Disposition `json:"disposition"`
	Session     string             `json:"session,omitempty"`
}

// FindingLine is a finding in a list about something else.
type FindingLine struct {
	ID          string             `json:"id"`
	Tenant      string             `json:"tenant"`
	User        string             `json:"user"`
	Name        string             `json:"name,omitempty" doc:"For people only; may be anything"`
	Time        events.Millis      `json:"time"`
	Detection   string             `json:"detection"`
	Severity    events.Severity    `json:"severity"`
	Disposition events.Disposition `json:"disposition"`
	Session     string             `json:"session,omitempty"`
	Title       string             `json:"title"`
	Summary     string             `json:"summary"`
}

// SessionProfile is one session: of all its events that the history holds.
type SessionProfile struct {
	Tenant  string `json:"tenant"`
	Session string `json:"session"`
	// User had the session's first event. Others are the users of later ones: a session that is seen with two users is odd.
	User     string        `json:"user"`
	Name     string        `json:"name,omitempty" doc:"For people only; may be anything"`
	Others   []string      `json:"other_users,omitempty" doc:"Users other than the first who were seen in this session"`
	First    events.Millis `json:"first"`
	Last     events.Millis `json:"last"`
	Events   uint64        `json:"events"`
	Failures uint64        `json:"failures" doc:"Events that failed or were blocked"`
	Surroundings
	Findings []FindingLine `json:"findings" nullable:"false" doc:"Of every disposition, newest first"`
	// Requirements are those of the session and those of all the user's sessions that were opened while it was used.
	Requirements []Requirement `json:"requirements" nullable:"false" doc:"Of this session, and of all sessions of its user while it was used, newest first"`
}

// SessionQuery asks for a session's events, newest first.
type SessionQuery struct {
	Scope   Scope
	Tenant  string
	Session string
	After   Cursor
	Limit   int
}

// EventPage is one page of events.
type EventPage struct {
	// Events are records as they are on the log, JSON of [events.Event].
	Events []json.RawMessage
	// Next is where the next page starts; nil after the last one.
	Next *Cursor
}
