package report

import (
	"encoding/json"

	"github.com/countersign-io/countersign/internal/events"
)

// Triage is what people say of a finding now.
type Triage struct {
	// Mark is the id of the mark that says so, "" for a finding that nobody has marked.
	Mark     string               `json:"mark,omitempty" doc:"The id of the mark that says so; left out when there is none"`
	Verdict  events.TriageVerdict `json:"verdict" enum:"open,acknowledged,true_positive,false_positive"`
	Comment  string               `json:"comment" doc:"May have line breaks"`
	Assignee string               `json:"assignee"`
	By       string               `json:"by" doc:"Who said so; empty for a finding that nobody has marked"`
	Time     events.Millis        `json:"time,omitempty"`
}

// TriageOf is the triage that a mark makes; nil is none.
func TriageOf(m *events.Mark) Triage {
	if m == nil {
		return Triage{Verdict: events.TriageOpen}
	}
	return Triage{Mark: m.ID, Verdict: m.Verdict, Comment: m.Comment, Assignee: m.Assignee, By: m.By, Time: m.Time}
}

// Neighbours are the findings of a user next to one of them, in the order of time; "" is none.
type Neighbours struct {
	Previous string `json:"previous,omitempty" doc:"The id of the user's finding before this one"`
	Next     string `json:"next,omitempty" doc:"The id of the user's finding after this one"`
}

// BySeverity counts something by severity.
type BySeverity struct {
	Critical uint64 `json:"critical"`
	High     uint64 `json:"high"`
	Medium   uint64 `json:"medium"`
	Low      uint64 `json:"low"`
	Info     uint64 `json:"info"`
}

// Add counts n more of a severity; an unknown one counts nowhere.
func (b *BySeverity) Add(s events.Severity, n uint64) {
	switch s {
	case events.Critical:
		b.Critical += n
	case events.High:
		b.High += n
	case events.Medium:
		b.Medium += n
	case events.Low:
		b.Low += n
	case events.Info:
		b.Info += n
	}
}

// RuleQuery asks for the record of the detections over findings of a span.
type RuleQuery struct {
	Scope Scope
	Span  Span
	// Recent are marks that outrank whatever the history has of their findings, at most one for each.
	Recent []*events.Mark
}

// Rule is the record of a detection over the findings of a span.
type Rule struct {
	Detection string `json:"detection" example:"LOC-01"`
	Title     string `json:"title" doc:"Empty for a detection that this version does not know"`
	// Severities count the active findings.
	Severities BySeverity `json:"severities" doc:"Active findings by severity"`
	Findings   uint64     `json:"findings" doc:"Active findings"`
	// Recorded are the findings of the other dispositions.
	Recorded uint64 `json:"recorded" doc:"Findings that did not count: learning, suppressed or observed"`
	Users    uint64 `json:"users" doc:"Users with active findings"`
	// The marks count whatever a finding's disposition. Open are the active findings without a mark that says otherwise.
	TruePositive  uint64 `json:"true_positive"`
	FalsePositive uint64 `json:"false_positive"`
	Acknowledged  uint64 `json:"acknowledged"`
	Open          uint64 `json:"open" doc:"Active findings that nobody has judged or acknowledged"`
	// Precision is TruePositive of TruePositive and FalsePositive; nil while nothing is judged.
	Precision *float64 `json:"precision,omitempty" doc:"Right of those judged right or wrong; left out while none is"`
}

// Judge counts n marks with a verdict.
func (r *Rule) Judge(v events.TriageVerdict, n uint64) {
	switch v {
	case events.TruePositive:
		r.TruePositive += n
	case events.FalsePositive:
		r.FalsePositive += n
	case events.TriageAcknowledged:
		r.Acknowledged += n
	case events.TriageOpen:
	}
}

// Finish fills in what follows from the counts.
func (r *Rule) Finish() {
	marked := r.TruePositive + r.FalsePositive + r.Acknowledged
	r.Open = r.Findings - min(marked, r.Findings)
	if judged := r.TruePositive + r.FalsePositive; judged > 0 {
		precision := float64(r.TruePositive) / float64(judged)
		r.Precision = &precision
	}
}

// RequirementDetails is a requirement with what led to it and what became of it.
type RequirementDetails struct {
	Requirement Requirement
	// Receipts are what applications did, oldest first.
	Receipts []ReceiptLine
	// Findings are those decided on, JSON of [events.Finding], the ones that opened it first.
	Findings []json.RawMessage
}
