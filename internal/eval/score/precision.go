package score

import (
	"maps"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// BaseRate is the realistic share of users who are compromised in a month of 30 days: one in ten thousand.
const BaseRate = 1e-4

// Precision is how much of what an analyst looks at is true when attacks are as rare as in life. The unit is the user-day
// with alerts: an analyst looks at a user once a day. Compromises of the stream are weighted down to the base rate.
type Precision struct {
	// Severity is the lowest that the analyst looks at.
	Severity events.Severity `json:"severity"`
	// Precision is of the user-days, Recall of the compromises.
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	// FalsePerMonth is how many user-days with nothing but false alarms 10,000 users give in a month; one compromise is in it.
	FalsePerMonth float64 `json:"false_user_days_per_10k_users_month"`
}

// Precisions has a row for every severity, highest first, and the area under the curve of precision against recall
// (average precision: each step of recall at the precision reached). days is the length of the stream.
func (l *Ledger) Precisions(days float64) (rows []Precision, area float64) {
	months := days / 30
	compromises, caught := 0, map[int]int{}
	for _, i := range l.truth.incidents {
		if !i.Compromise {
			continue
		}
		compromises++
		if c := l.caught[i]; c != nil {
			caught[c.Highest]++
		}
	}
	falseDays := map[int]int{}
	for _, d := range l.days {
		falseDays[d.highest]++
	}
	hit, wrong, recall := 0, 0, 0.0
	for _, severity := range slices.Backward(events.Severities) {
		hit, wrong = hit+caught[severity.Rank()], wrong+falseDays[severity.Rank()]
		row := Precision{Severity: severity, Recall: ratio(hit, compromises)}
		if users := float64(len(l.truth.people)); users > 0 && months > 0 {
			row.FalsePerMonth = float64(wrong) / (users * months) * 10_000
		}
		if right := row.Recall * BaseRate * 10_000; right > 0 {
			row.Precision = right / (right + row.FalsePerMonth)
		}
		area += (row.Recall - recall) * row.Precision
		recall = row.Recall
		rows = append(rows, row)
	}
	return rows, area
}

// Ablation is what a rule alone contributes: what would be lost and saved without its alerts. Rules that build on others'
// findings are not evaluated anew.
type Ablation struct {
	Rule string `json:"rule"`
	// Caught incidents had an active alert of medium or more by the rule, Alone by no other.
	Caught int `json:"caught"`
	Alone  int `json:"alone"`
	// AloneRecall is Alone over all incidents.
	AloneRecall float64 `json:"alone_recall"`
	// FalseAlarms are its active alerts of medium or more on benign events; SavedUserDays are the user-days that had no other.
	FalseAlarms   int     `json:"false_alarms"`
	SavedPer1000  float64 `json:"saved_per_1000"`
	SavedUserDays int     `json:"saved_user_days"`
}

// Ablations has a row for every rule that raised an active alert of medium or more, by name.
func (l *Ledger) Ablations() []Ablation {
	rows := map[string]*Ablation{}
	row := func(rule string) *Ablation {
		if rows[rule] == nil {
			rows[rule] = &Ablation{Rule: rule}
		}
		return rows[rule]
	}
	for _, c := range l.caught {
		for _, rule := range c.Rules {
			row(rule).Caught++
		}
		if len(c.Rules) == 1 {
			row(c.Rules[0]).Alone++
		}
	}
	for k, n := range l.falseAlarms {
		if k.disposition == events.Active && k.severity.Rank() >= events.Medium.Rank() {
			row(k.detection).FalseAlarms += n
		}
	}
	for _, d := range l.days {
		if len(d.rules) == 1 {
			row(d.rules[0]).SavedUserDays++
		}
	}
	var list []Ablation
	for _, rule := range slices.Sorted(maps.Keys(rows)) {
		r := rows[rule]
		r.AloneRecall = ratio(r.Alone, len(l.truth.incidents))
		if l.truth.Logins > 0 {
			r.SavedPer1000 = float64(r.FalseAlarms) / float64(l.truth.Logins) * 1000
		}
		list = append(list, *r)
	}
	return list
}
