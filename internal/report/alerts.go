package report

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
)

// Alert is an incident that people were told of, or are to be told.
type Alert struct {
	ID       string          `json:"id"`
	Kind     incident.Kind   `json:"kind" enum:"user,network,breaker,flood"`
	Tenant   string          `json:"tenant"`
	User     string          `json:"user,omitempty" doc:"Whom an incident of kind user is about"`
	UserName string          `json:"user_name,omitempty" doc:"For people only; may be anything"`
	Severity events.Severity `json:"severity" doc:"The highest of its findings"`
	Title    string          `json:"title"`
	Summary  string          `json:"summary"`
	Since    events.Millis   `json:"since" doc:"When the first of its events happened"`
	Opened   events.Millis   `json:"opened"`
	Updated  events.Millis   `json:"updated"`
	Closed   events.Millis   `json:"closed,omitempty"`
	Ending   incident.Ending `json:"ending,omitempty" enum:"satisfied,expired,quiet" doc:"How it ended; left out while it is open"`
	Findings int             `json:"findings"`
	Users    int             `json:"users"`
	// Detections are those of its findings.
	Detections []string      `json:"detections" nullable:"false"`
	IP         string        `json:"ip,omitempty"`
	Place      string        `json:"place,omitempty"`
	Network    string        `json:"network,omitempty"`
	Device     string        `json:"device,omitempty"`
	App        string        `json:"app,omitempty"`
	Source     string        `json:"source,omitempty" doc:"What the network stage holds guilty"`
	Action     events.Action `json:"action,omitempty"`
	InForce    bool          `json:"in_force" doc:"The action was taken: it is not only watched, held or on cooldown"`
	Held       bool          `json:"held,omitempty" doc:"The breaker keeps the action from being taken"`
	Policy     string        `json:"policy,omitempty"`
	Team       string        `json:"team,omitempty" doc:"Who owns the policy"`
	Reason     string        `json:"reason,omitempty"`
	Expires    events.Millis `json:"expires,omitempty"`
	// Requirements are what is asked of the user.
	Requirements []string        `json:"requirements" nullable:"false"`
	Deliveries   []AlertDelivery `json:"deliveries" nullable:"false" doc:"Messages about it, in the order in which they were decided"`
}

// AlertDelivery is a message about an alert to one target.
type AlertDelivery struct {
	Target   string          `json:"target" doc:"The configured name"`
	Phase    incident.Phase  `json:"phase" enum:"firing,resolved"`
	Severity events.Severity `json:"severity"`
	Created  events.Millis   `json:"created"`
	Due      events.Millis   `json:"due,omitempty" doc:"When it is tried next, while it is pending"`
	Tries    int             `json:"tries"`
	Outcome  string          `json:"outcome" enum:"pending,sent,summarised,dead"`
}

// AlertOf is what is shown of an incident.
func AlertOf(i *incident.Incident) Alert {
	a := Alert{
		ID: i.ID, Kind: i.Kind, Tenant: i.Tenant, User: i.User, UserName: i.UserName, Severity: i.Severity, Title: i.Title,
		Summary: i.Summary, Since: i.Since, Opened: i.Opened, Updated: i.Updated, Closed: i.Closed, Ending: i.Ending, Findings: i.Findings,
		Users: i.Users, Detections: append([]string{}, i.Detections...), IP: i.IP, Place: i.Place, Network: i.Network, Device: i.Device,
		App: i.App, Source: i.Source, Action: i.Action, InForce: i.InForce(), Held: i.Held, Policy: i.Policy, Team: i.Team,
		Reason: i.Reason, Expires: i.Expires, Requirements: []string{}, Deliveries: []AlertDelivery{},
	}
	for _, r := range i.Requirements {
		a.Requirements = append(a.Requirements, r.ID)
	}
	for _, d := range i.Deliveries {
		outcome := string(d.Outcome)
		if d.Outcome == incident.Pending {
			outcome = "pending"
		} else {
			d.Due = 0
		}
		a.Deliveries = append(a.Deliveries, AlertDelivery{
			Target: d.Target, Phase: d.Phase, Severity: d.Severity, Created: d.Created, Due: d.Due, Tries: d.Tries, Outcome: outcome,
		})
	}
	return a
}

// AlertQuery asks for incidents by when they were opened, newest first. Zero fields do not filter.
type AlertQuery struct {
	Scope    Scope
	Span     Span
	Kind     incident.Kind
	Severity []events.Severity
	User     string
	// State is "open" or "closed".
	State string
	After Cursor
	Limit int
}

// AlertPage is one page of incidents.
type AlertPage struct {
	Alerts []Alert
	Next   *Cursor
}
