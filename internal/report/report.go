// Package report holds the questions that people ask of the history and the answers: what internal/api asks and
// internal/history answers, so that neither imports the other. It is pure: no clock, no network, no logger.
package report

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// ErrNotFound is returned for a thing that does not exist, or that the caller may not see: the two look alike.
var ErrNotFound = errors.New("not found")

// ErrUnavailable is returned when the history cannot answer now; the same question may be asked again later.
var ErrUnavailable = errors.New("history is not available")

// ErrTooExpensive is returned when a question ran into its limit of time or memory; a smaller one may be answered.
var ErrTooExpensive = errors.New("the question takes too long, ask for a shorter time or filter more")

// Scope says which tenants a caller may see. The zero Scope sees nothing.
type Scope struct {
	// All lifts the restriction to Tenants.
	All bool
	// Tenants are the tenants that may be seen.
	Tenants []string
}

// Allows reports whether the caller may see a tenant.
func (s Scope) Allows(tenant string) bool { return s.All || slices.Contains(s.Tenants, tenant) }

// Narrow restricts the scope to one tenant; "" leaves it as it is. A tenant outside the scope leaves nothing.
func (s Scope) Narrow(tenant string) Scope {
	switch {
	case tenant == "":
		return s
	case s.Allows(tenant):
		return Scope{Tenants: []string{tenant}}
	default:
		return Scope{}
	}
}

// Span is a half-open span of event time: From ≤ t < To. Both are set.
type Span struct {
	From, To events.Millis
}

// Count is a number of something, by its name.
type Count struct {
	Name  string `json:"name" doc:"What is counted"`
	Count uint64 `json:"count"`
}

// Point is one step of the time chart.
type Point struct {
	Time     events.Millis `json:"time" doc:"Start of the step"`
	Events   uint64        `json:"events"`
	Failures uint64        `json:"failures" doc:"Events that failed or were blocked"`
	Findings uint64        `json:"findings" doc:"Findings of every disposition"`
	// Severities counts the active ones.
	Severities Severities `json:"severities"`
}

// Severities counts active findings by their severity.
type Severities struct {
	Critical uint64 `json:"critical"`
	High     uint64 `json:"high"`
	Medium   uint64 `json:"medium"`
	Low      uint64 `json:"low"`
	Info     uint64 `json:"info"`
}

// Add counts n more findings of a severity; an unknown one is not counted.
func (s *Severities) Add(severity events.Severity, n uint64) {
	switch severity {
	case events.Critical:
		s.Critical += n
	case events.High:
		s.High += n
	case events.Medium:
		s.Medium += n
	case events.Low:
		s.Low += n
	case events.Info:
		s.Info += n
	}
}

// UserCount is a user with the number of active findings.
type UserCount struct {
	Tenant   string `json:"tenant"`
	User     string `json:"user"`
	Name     string `json:"name,omitempty" doc:"For people only; may be anything"`
	Findings uint64 `json:"findings"`
	// Severity is the highest among them.
	Severity events.Severity `json:"severity"`
}

// Requirements counts the requirements opened in a span by what became of them.
type Requirements struct {
	Open      uint64 `json:"open"`
	Satisfied uint64 `json:"satisfied"`
	Expired   uint64 `json:"expired"`
}

// Overview sums up a span. Numbers of events and findings are of distinct ids: repeats do not count, and above some
// tens of thousands in one step they are estimates within a percent.
type Overview struct {
	From events.Millis `json:"from"`
	To   events.Millis `json:"to"`
	// Step is the length of a step of Series, in seconds.
	Step     int64  `json:"step_seconds"`
	Events   uint64 `json:"events"`
	Findings uint64 `json:"findings" doc:"Active findings"`
	// Newest is the time of the newest event at all, inside the span or not.
	Newest       events.Millis `json:"newest_event,omitempty"`
	Requirements Requirements  `json:"requirements"`
	// Severities and Detections count active findings, Dispositions all.
	Severities   []Count     `json:"severities"`
	Detections   []Count     `json:"detections"`
	Dispositions []Count     `json:"dispositions"`
	Countries    []Count     `json:"countries" doc:"Events by country, the most frequent first"`
	Users        []UserCount `json:"users" doc:"Users with the most severe and the most active findings"`
	Series       []Point     `json:"series" doc:"Every step of the span, in order, also the empty ones"`
}

// Cursor is a place in a list that is ordered by time and id, newest first. The zero Cursor is the start.
type Cursor struct {
	Time events.Millis
	ID   string
}

// ReplayQuery asks for all events of a span, in the order of the log. To 0 is no end.
type ReplayQuery struct {
	Scope Scope
	Span  Span
}

// Record is a record as it is on the log, and when it entered it.
type Record struct {
	Logged events.Millis
	Raw    json.RawMessage
}

// FindingQuery asks for findings, newest first. Zero fields do not filter.
type FindingQuery struct {
	Scope       Scope
	Span        Span
	User        string
	Detection   string
	Severity    []events.Severity
	Disposition events.Disposition
	Session     string
	// Addresses is an address, or a network of them; invalid does not filter.
	Addresses netip.Prefix
	Country   string
	// App is an application's id.
	App string
	// Triage is the verdict of the finding's newest mark, open without one. Recent are marks that outrank whatever the history
	// has of their findings, at most one for each.
	Triage events.TriageVerdict
	Recent []*events.Mark
	// After is the last finding of the page before.
	After Cursor
	Limit int
}

// FindingPage is one page of findings.
type FindingPage struct {
	// Findings are records as they are on the log, JSON of [events.Finding].
	Findings []json.RawMessage
	// Next is where the next page starts; nil after the last one.
	Next *Cursor
}

// TimelineQuery asks for what happened to one user, newest first.
type TimelineQuery struct {
	Scope  Scope
	Tenant string
	User   string
	Span   Span
	// Kinds are the kinds of entries that are wanted; none is all.
	Kinds []string
	// Now decides which open requirements have expired.
	Now   events.Millis
	After Cursor
	Limit int
}

// Entry kinds of a timeline.
const (
	EntryEvent       = "event"
	EntryFinding     = "finding"
	EntryRequirement = "requirement"
	EntryReceipt     = "receipt"
)

// Entry is one line of a timeline. Exactly one of the last four is set, as Kind says.
type Entry struct {
	Kind        string          `json:"kind" enum:"event,finding,requirement,receipt"`
	Time        events.Millis   `json:"time"`
	ID          string          `json:"id"`
	Event       json.RawMessage `json:"event,omitempty"`
	Finding     json.RawMessage `json:"finding,omitempty"`
	Requirement *Requirement    `json:"requirement,omitempty"`
	Receipt     *events.Receipt `json:"receipt,omitempty"`
}

// Timeline is one page of a user's timeline.
type Timeline struct {
	Entries []Entry
	Next    *Cursor
}

// Status is what became of a requirement.
type Status string

// The statuses of a requirement.
const (
	Open      Status = "open"
	Satisfied Status = "satisfied"
	Expired   Status = "expired"
)

// Requirement is a demand for a stronger proof, or the end of a session, with its newest status.
type Requirement struct {
	ID      string `json:"id"`
	Tenant  string `json:"tenant"`
	User    string `json:"user"`
	Session string `json:"session,omitempty" doc:"Empty when it holds for all sessions of the user"`
	// Status is expired also for an open requirement whose time has run out without a record saying so.
	Status        Status          `json:"status" enum:"open,satisfied,expired"`
	Action        events.Action   `json:"action"`
	Severity      events.Severity `json:"severity"`
	ACRValues     []string        `json:"acr_values,omitempty"`
	MaxAge        uint32          `json:"max_age,omitempty" doc:"Seconds"`
	NotBefore     events.Millis   `json:"not_before" doc:"Proofs from before do not count"`
	Expires       events.Millis   `json:"expires"`
	Closed        events.Millis   `json:"closed,omitempty"`
	SatisfiedBy   string          `json:"satisfied_by,omitempty" doc:"The event that proved identity"`
	Policy        string          `json:"policy"`
	PolicyVersion string          `json:"policy_version"`
	Reason        string          `json:"reason" doc:"For administrators"`
	EventID       string          `json:"event_id" doc:"The event that caused it"`
	JTI           string          `json:"jti"`
	// Claims is the Security Event Token's claims set as it is on the log.
	Claims json.RawMessage `json:"claims,omitempty"`
}

// RequirementQuery asks for requirements, newest first. Zero fields do not filter.
type RequirementQuery struct {
	Scope  Scope
	Span   Span
	User   string
	Status Status
	// Now decides which open requirements have expired.
	Now   events.Millis
	After Cursor
	Limit int
}

// RequirementPage is one page of requirements.
type RequirementPage struct {
	Requirements []Requirement
	Next         *Cursor
}
