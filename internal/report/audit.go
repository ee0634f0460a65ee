package report

import "github.com/countersign-io/countersign/internal/events"

// AuditQuery asks for the audit trail, newest first. Empty fields do not filter.
type AuditQuery struct {
	// Scope with All sees the entries of the installation itself too, which are of no tenant.
	Scope Scope
	Span  Span
	Actor string
	User  string
	// Action is an action, or all below one when it ends with a dot: "finding." is every action on findings.
	Action  string
	Outcome events.AuditOutcome
	After   Cursor
	Limit   int
}

// AuditPage is one page of the audit trail.
type AuditPage struct {
	Entries []events.AuditEntry
	// Next is where the next page starts; nil after the last one.
	Next *Cursor
}
