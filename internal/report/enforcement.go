package report

import "github.com/countersign-io/countersign/internal/events"

// ReceiptLine is a receipt, and how long after the decision what it tells of was done.
type ReceiptLine struct {
	events.Receipt
	// Decided is when the decision that opened the requirement entered the log, as far as the history still knows.
	Decided events.Millis `json:"decided,omitempty" doc:"When the decision entered the log; left out when that is no longer known"`
	// Milliseconds from Decided to the receipt's time, by the clocks of two machines: never below zero.
	Milliseconds *int64 `json:"ms,omitempty" doc:"From the decision to what the receipt tells of"`
}

// Since fills in how long it took.
func (r *ReceiptLine) Since(decided events.Millis) {
	if decided == 0 {
		return
	}
	ms := max(0, int64(r.Time-decided))
	r.Decided, r.Milliseconds = decided, &ms
}

// ReceiptQuery asks for receipts, newest first. Zero fields do not filter.
type ReceiptQuery struct {
	Scope       Scope
	Span        Span
	User        string
	App         string
	Requirement string
	Status      events.ReceiptStatus
	After       Cursor
	Limit       int
}

// ReceiptPage is one page of receipts.
type ReceiptPage struct {
	Receipts []ReceiptLine
	Next     *Cursor
}

// The stages of enforcement. Decided is measured from when the event was accepted, the others from the decision.
const (
	StageDecided    = "decided"
	StageDelivered  = "delivered"
	StageChallenged = "challenged"
	StageSatisfied  = "satisfied"
	StageRevoked    = "revoked"
)

// Stages lists every stage, in the order in which they come about.
var Stages = []string{StageDecided, StageDelivered, StageChallenged, StageSatisfied, StageRevoked}

// Stage is how long it took to get to a stage, in milliseconds.
type Stage struct {
	Stage string `json:"stage" enum:"decided,delivered,challenged,satisfied,revoked" doc:"decided: from an event's acceptance to its findings on the log; the others: from there to the first receipt that says so"`
	Count uint64 `json:"count" doc:"Findings for decided, requirements for the others"`
	P50   int64  `json:"p50_ms"`
	P95   int64  `json:"p95_ms"`
	P99   int64  `json:"p99_ms"`
}

// AppEnforcement is how fast one application acted on requirements: asked for the proof, saw it, refused or ended the session.
type AppEnforcement struct {
	App   string `json:"app"`
	Count uint64 `json:"count" doc:"Requirements that it acted on"`
	P50   int64  `json:"p50_ms"`
	P95   int64  `json:"p95_ms"`
}

// Enforcement tells what became of the requirements that were opened in a span, and how fast.
type Enforcement struct {
	From   events.Millis    `json:"from"`
	To     events.Millis    `json:"to"`
	Stages []Stage          `json:"stages" nullable:"false" doc:"Every stage, in order"`
	Apps   []AppEnforcement `json:"apps" nullable:"false" doc:"At most 100, those with most requirements first"`
	// Requirements is how many were opened, Unanswered how many of them no application sent a receipt of.
	Requirements uint64 `json:"requirements" doc:"Requirements opened in the span"`
	Unanswered   uint64 `json:"unanswered" doc:"Those of which there is no receipt"`
}

// SourceHealth is how a source of events is doing.
type SourceHealth struct {
	Source string `json:"source" doc:"Its configured name; may be empty"`
	Family string `json:"family" doc:"Empty for a source of which only dead letters are known"`
	// Newest is the time of its newest event, Accepted when the latest one was accepted.
	Newest   events.Millis `json:"newest,omitempty" doc:"Time of its newest event"`
	Accepted events.Millis `json:"accepted,omitempty" doc:"When one was accepted last"`
	LastHour uint64        `json:"events_1h" doc:"Events accepted in the last hour, in steps of five minutes"`
	// DelayP50 and DelayP95 are from an event to its acceptance, in milliseconds within a tenth, of the last hour; nil without events.
	DelayP50    *int64 `json:"delay_p50_ms,omitempty" doc:"From an event to its acceptance, of those accepted in the last hour, within a tenth"`
	DelayP95    *int64 `json:"delay_p95_ms,omitempty"`
	DeadLetters uint64 `json:"dead_letters_24h" doc:"Records of it that were refused; 0 for callers who may not see all tenants"`
}
