package report

import (
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// PolicyRecord is what one policy has done in a span.
type PolicyRecord struct {
	Policy string `json:"-"`
	// Matched counts the events on which the policy decided, Observed those of them on which it only watched.
	Matched  uint64 `json:"matched" doc:"Events on which the policy decided"`
	Observed uint64 `json:"observed" doc:"Those on which it only watched"`
	Users    uint64 `json:"users" doc:"Different users among the matched"`
	// Opened, Satisfied and Expired are of the requirements that were opened in the span.
	Opened    uint64 `json:"opened" doc:"Requirements that were opened in the span"`
	Satisfied uint64 `json:"satisfied" doc:"Those of them that were met"`
	Expired   uint64 `json:"expired" doc:"Those of them that nobody met in time"`
	// TruePositive and FalsePositive count the matched events with a finding that people have marked so.
	TruePositive  uint64 `json:"true_positive" doc:"Matched events with a finding that is marked a true positive"`
	FalsePositive uint64 `json:"false_positive" doc:"Matched events with a finding that is marked a false positive"`
}

// LetterQuery asks for dead letters, newest first. Zero fields do not filter. Dead letters belong to no tenant.
type LetterQuery struct {
	Span   Span
	Stage  string
	Source string
	After  Cursor
	Limit  int
}

// LetterPage is one page of dead letters; the bytes are left out.
type LetterPage struct {
	Letters []events.DeadLetter
	Next    *Cursor
}

// Export kinds.
const (
	ExportFindings    = "findings"
	ExportEvents      = "events"
	ExportRevocations = "revocations"
	ExportAudit       = "audit"
)

// ExportQuery asks for all records of a kind in a span, in the order of their time. Zero fields do not filter.
type ExportQuery struct {
	Kind  string
	Scope Scope
	Span  Span
	User  string
	// Severity and Detection filter findings.
	Severity  []events.Severity
	Detection string
	// Now decides which open requirements have expired.
	Now events.Millis
}

// Stream is a Shared Signals stream of a receiver as the courier that holds it tells of it. It has no secrets.
type Stream struct {
	ID        string   `json:"stream_id"`
	Tenant    string   `json:"tenant"`
	Receiver  string   `json:"receiver"`
	Dialect   string   `json:"dialect"`
	Method    string   `json:"method" doc:"push or poll"`
	Endpoint  string   `json:"endpoint_url,omitempty"`
	Requested []string `json:"events_requested,omitempty"`
	Subjects  int      `json:"subjects"`
	Status    string   `json:"status" doc:"enabled, paused or disabled"`
	Reason    string   `json:"reason,omitempty"`
	// Lag counts the records of the log that were not looked at, Pending the SETs that wait, Control those of them that
	// come from no decision.
	Lag          int64      `json:"lag" doc:"Records of the log that were not looked at yet"`
	Pending      int        `json:"pending" doc:"SETs that wait"`
	Control      int        `json:"control" doc:"Those of them that come from no decision"`
	LastSuccess  *time.Time `json:"last_success,omitempty"`
	FailingSince *time.Time `json:"failing_since,omitempty"`
	LastError    string     `json:"last_error,omitempty" doc:"The receiver's words; may be anything"`
	Created      time.Time  `json:"created"`
	HeldBy       string     `json:"held_by" doc:"The courier that holds it"`
	Unknown      bool       `json:"unknown,omitempty" doc:"That courier did not answer: the figures are missing"`
	Result       string     `json:"result,omitempty" doc:"What a verb did, for people"`
}

// TopicState is a topic of the log.
type TopicState struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	// Records are the offsets between the first that is retained and the end. On a compacted topic that is more than there are.
	Records int64 `json:"records" doc:"Offsets that are retained; on a compacted topic more than there are records"`
}

// GroupLag is how far a consumer group is behind the end of a topic.
type GroupLag struct {
	Group string `json:"group"`
	Topic string `json:"topic"`
	// Lag counts the records that the group has not acknowledged. Those that one group alone knows are left out.
	Lag int64 `json:"lag" doc:"Records that the group has not committed"`
}
