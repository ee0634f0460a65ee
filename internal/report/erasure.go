package report

import "github.com/countersign-io/countersign/internal/events"

// Erasure is a person whom the history must not know any more.
type Erasure struct {
	Tenant string        `json:"tenant"`
	User   string        `json:"user"`
	Before events.Millis `json:"before" doc:"What happened up to this time is erased"`
	Logged events.Millis `json:"logged" doc:"When the erasure was accepted"`
	// Remaining counts the rows that ClickHouse has not deleted yet.
	Remaining uint64 `json:"remaining" doc:"Rows of the history that are not deleted yet; 0 when the erasure is done"`
}
