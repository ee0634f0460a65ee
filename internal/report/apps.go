package report

import "github.com/countersign-io/countersign/internal/events"

// AppQuery asks for the applications of a span, or for one of them.
type AppQuery struct {
	Scope Scope
	// Tenant and App name one application; both are empty in a question for all.
	Tenant, App string
	Span        Span
	// Now tells what is too old to be known by the hour.
	Now events.Millis
}

// AppSummary is an application: what its sign-ins were, and what it did with requirements. Events name an application
// as the identity provider knows it, receipts as it calls itself: one line holds both where the names are the same.
type AppSummary struct {
	Tenant   string        `json:"tenant"`
	App      string        `json:"app"`
	Name     string        `json:"name,omitempty" doc:"For people only; may be anything"`
	Last     events.Millis `json:"last,omitempty" doc:"The newest event or receipt in the span"`
	Events   uint64        `json:"events"`
	Users    uint64        `json:"users"`
	Failures uint64        `json:"failures" doc:"Events that failed or were blocked"`
	// Requirements are those of which it sent a receipt.
	Requirements uint64 `json:"requirements" doc:"Requirements of which it sent a receipt"`
	// Enforced are those that it acted on: it asked for the proof, refused, or ended the session.
	Enforced uint64 `json:"enforced" doc:"Those it acted on: it asked for the proof, refused, or ended the session"`
	P50      *int64 `json:"enforced_p50_ms,omitempty" doc:"Half of them were acted on within this time of the decision"`
	P95      *int64 `json:"enforced_p95_ms,omitempty"`
}

// AppPoint is one step of an application's chart.
type AppPoint struct {
	Time     events.Millis `json:"time" doc:"Start of the step"`
	Events   uint64        `json:"events"`
	Failures uint64        `json:"failures"`
}

// AppProfile is one application in a span, which is widened to whole steps of its chart.
type AppProfile struct {
	AppSummary
	From events.Millis `json:"from"`
	To   events.Millis `json:"to"`
	// Step is the length of a step of Series, in seconds.
	Step     int64         `json:"step_seconds"`
	Series   []AppPoint    `json:"series" nullable:"false" doc:"Every step of the span, in order, also the empty ones"`
	Receipts []Count       `json:"receipts" nullable:"false" doc:"What it did with requirements, by status"`
	Findings []FindingLine `json:"findings" nullable:"false" doc:"Of events of it, of every disposition, newest first"`
}
