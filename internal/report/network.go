package report

import (
	"net/netip"

	"github.com/countersign-io/countersign/internal/events"
)

// NetworkQuery asks who came from an address or a prefix. One of both is set.
type NetworkQuery struct {
	Scope  Scope
	IP     netip.Addr
	Prefix string
	Span   Span
}

// SeenUser is a user of a network or an application.
type SeenUser struct {
	Tenant   string        `json:"tenant"`
	User     string        `json:"user"`
	Name     string        `json:"name,omitempty" doc:"For people only; may be anything"`
	First    events.Millis `json:"first"`
	Last     events.Millis `json:"last"`
	Events   uint64        `json:"events"`
	Failures uint64        `json:"failures"`
}

// NetworkApp is an application that was used from a network.
type NetworkApp struct {
	Tenant string        `json:"tenant"`
	App    string        `json:"app"`
	Name   string        `json:"name,omitempty" doc:"For people only; may be anything"`
	Users  uint64        `json:"users" doc:"Who used it from there"`
	Last   events.Millis `json:"last" doc:"The newest day's last event of one of them"`
}

// NetworkProfile is what came from an address or a prefix in a span, which is widened to whole days in UTC.
type NetworkProfile struct {
	From events.Millis `json:"from"`
	To   events.Millis `json:"to"`
	IP   string        `json:"ip,omitempty" doc:"When an address was asked for"`
	NetworkName
	Country string `json:"country,omitempty" doc:"ISO 3166-1 alpha-2"`
	// First and Last are within the span.
	First     events.Millis `json:"first,omitempty"`
	Last      events.Millis `json:"last,omitempty"`
	Events    uint64        `json:"events"`
	Failures  uint64        `json:"failures" doc:"Events that failed or were blocked"`
	UserCount uint64        `json:"user_count" doc:"How many users there were in all"`
	Users     []SeenUser    `json:"users" nullable:"false" doc:"At most 50, those with most events first"`
	Apps      []NetworkApp  `json:"apps" nullable:"false" doc:"At most 20, those with most users first"`
	Findings  []FindingLine `json:"findings" nullable:"false" doc:"Of every disposition, newest first"`
}
