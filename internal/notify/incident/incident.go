// Package incident turns findings and requirements into incidents, and incidents into what each target is to be told: a
// person gets one message for one incident. It is pure: time comes in with each call.
//
// An incident is about one user, about one firing of the network stage whatever the number of users (a spray), about the
// breaker of a tenant, or about a flood: all that does not fit the number of open incidents. Findings of a requirement share
// its incident; what else there is of the user joins the open incident while that is young, see [Config.Window].
package incident

import (
	"github.com/countersign-io/countersign/internal/events"
)

// Kind is what an incident is about.
type Kind string

// The kinds of incidents.
const (
	User    Kind = "user"
	Network Kind = "network"
	// Breaker collects what a tripped breaker holds back, of one tenant.
	Breaker Kind = "breaker"
	// Flood collects what exceeds the number of open incidents, of one tenant.
	Flood Kind = "flood"
)

// Kinds lists every kind.
var Kinds = []Kind{User, Network, Breaker, Flood}

// Ending is how an incident ended.
type Ending string

// The endings; "" is open. Quiet is an incident without a requirement of which nothing was heard for the window.
const (
	Satisfied Ending = "satisfied"
	Expired   Ending = "expired"
	Quiet     Ending = "quiet"
)

// Phase is what a message says of an incident.
type Phase string

// The phases.
const (
	Firing   Phase = "firing"
	Resolved Phase = "resolved"
)

// Outcome is what became of a delivery.
type Outcome string

// The outcomes. Summarised is one whose target got a summary in its place, because it had enough messages that minute.
const (
	Pending    Outcome = ""
	Sent       Outcome = "sent"
	Summarised Outcome = "summarised"
	Dead       Outcome = "dead"
)

// KeyPrefix and an incident's id are its record key on countersign.alerts.v1, where there are other records too.
const KeyPrefix = "incident/"

// Bounds of what an incident keeps.
const (
	maxDetections   = 16
	maxSample       = 10
	maxSeen         = 64
	maxText         = 500
	maxRequirements = 16
)

// Incident is one thing that happened, for people. Texts come from outside and are cut, nothing else.
type Incident struct {
	ID     string `json:"id"`
	Kind   Kind   `json:"kind"`
	Tenant string `json:"tenant"`
	// User and UserName are whom an incident of kind user is about.
	User     string `json:"user,omitempty"`
	UserName string `json:"user_name,omitempty"`
	// Group is what findings share besides tenant and user: the incident of the network stage.
	Group string `json:"group,omitempty"`
	// Severity is the highest of its findings; the texts are those of the first finding that had it.
	Severity events.Severity `json:"severity"`
	Title    string          `json:"title"`
	Summary  string          `json:"summary"`
	// Opened is when it was opened here, Since when the first event happened, Latest when the newest did, Updated when the latest
	// finding came, Closed when it ended.
	Since   events.Millis `json:"since"`
	Latest  events.Millis `json:"latest,omitempty"`
	Opened  events.Millis `json:"opened"`
	Updated events.Millis `json:"updated"`
	Closed  events.Millis `json:"closed,omitempty"`
	Ending  Ending        `json:"ending,omitempty"`
	// Findings counts them, Users is how many users were concerned, Sample some of them.
	Findings   int      `json:"findings"`
	Users      int      `json:"users"`
	Sample     []string `json:"sample,omitempty"`
	Detections []string `json:"detections"`
	// Where it came from, as far as is known.
	IP      string `json:"ip,omitempty"`
	Place   string `json:"place,omitempty"`
	Network string `json:"network,omitempty"`
	Device  string `json:"device,omitempty"`
	App     string `json:"app,omitempty"`
	// Source is what the network stage holds guilty.
	Source string `json:"source,omitempty"`
	// What was decided, by which policy, whose owner is Team: what is in force comes before what is not. Observed, Cooling and
	// Held tell why it is not, as in [events.Decision].
	Action   events.Action `json:"action,omitempty"`
	Observed bool          `json:"observed,omitempty"`
	Cooling  bool          `json:"cooling,omitempty"`
	Held     bool          `json:"held,omitempty"`
	Policy   string        `json:"policy,omitempty"`
	Team     string        `json:"team,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	// Requirement is the id of the first of the requirements, Expires when the last of them ends by itself.
	Requirement  string        `json:"requirement,omitempty"`
	Expires      events.Millis `json:"expires,omitempty"`
	Requirements []Requirement `json:"requirements,omitempty"`
	// Seen are the latest findings, so that one that is on the log twice counts once.
	Seen       []string   `json:"seen,omitempty"`
	Deliveries []Delivery `json:"deliveries,omitempty"`
}

// Requirement is what is asked of the user of an incident.
type Requirement struct {
	ID string `json:"id"`
	// Expires is when it ends by itself, 0 when that is not known yet; Ended when it did, and Ending how.
	Expires events.Millis `json:"expires,omitempty"`
	Ended   events.Millis `json:"ended,omitempty"`
	Ending  Ending        `json:"ending,omitempty"`
}

// requirement finds a requirement; nil when there is none.
func (i *Incident) requirement(id string) *Requirement {
	for k := range i.Requirements {
		if r := &i.Requirements[k]; r.ID == id {
			return r
		}
	}
	return nil
}

// InForce tells whether what was decided is done.
func (i *Incident) InForce() bool {
	return i.Action.Rank() > events.Observe.Rank() && !i.Observed && !i.Cooling && !i.Held
}

// Delivery is one message to one target: at most one for a phase and a severity.
type Delivery struct {
	Target   string          `json:"target"`
	Phase    Phase           `json:"phase"`
	Severity events.Severity `json:"severity"`
	// Created is when it was decided, Due when it is to be tried next, Tries how often it was.
	Created events.Millis `json:"created"`
	Due     events.Millis `json:"due"`
	Tries   int           `json:"tries,omitempty"`
	Outcome Outcome       `json:"outcome,omitempty"`
}

// MessageID names a message: it stays the same when the message is sent again.
func (d *Delivery) MessageID(incident string) string {
	return events.ID("alert", incident, d.Target, string(d.Phase), string(d.Severity))
}

// Delivery finds a delivery; nil when there is none.
func (i *Incident) Delivery(target string, phase Phase, severity events.Severity) *Delivery {
	for k := range i.Deliveries {
		if d := &i.Deliveries[k]; d.Target == target && d.Phase == phase && d.Severity == severity {
			return d
		}
	}
	return nil
}

// Summarise notes that a summary stood for a delivery. A target that had no message of the incident's own needs none of its
// end.
func (i *Incident) Summarise(d *Delivery) {
	d.Outcome = Summarised
	for k := range i.Deliveries {
		if o := &i.Deliveries[k]; o.Target == d.Target && o.Phase == Firing && o.Outcome != Summarised {
			return
		}
	}
	for k := range i.Deliveries {
		if o := &i.Deliveries[k]; o.Target == d.Target && o.Outcome == Pending {
			o.Outcome = Summarised
		}
	}
}

// Waiting tells whether a delivery is pending.
func (i *Incident) Waiting() bool {
	for k := range i.Deliveries {
		if i.Deliveries[k].Outcome == Pending {
			return true
		}
	}
	return false
}

// Next is the first pending delivery to a target that is due; nil when there is none. What resolves waits for what fired.
func (i *Incident) Next(target string, now events.Millis) *Delivery {
	for k := range i.Deliveries {
		d := &i.Deliveries[k]
		if d.Target != target || d.Outcome != Pending {
			continue
		}
		if d.Due > now {
			return nil
		}
		return d
	}
	return nil
}
