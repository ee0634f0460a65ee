package profile

import (
	"github.com/countersign-io/countersign/internal/events"
)

// MaxRiskParts bounds the contributions that are remembered.
const MaxRiskParts = 8

// Risk is the user's accumulated risk: Sum in decibans as of At, and the greatest contributions to it.
type Risk struct {
	Sum float32
	At  events.Millis
	// Told is the rank of the severity as which the sum was last reported, 0 since it fell again; at most 15.
	Told  uint8
	Parts []RiskPart // by time, oldest first; never changed in place
}

// RiskPart is what a detection contributed at a moment, in decibans.
type RiskPart struct {
	Detection Detection
	Time      events.Millis
	Decibans  float32
}

func (r RiskPart) when() events.Millis { return r.Time }

// Add notes a contribution and drops those more than keep before the newest. At the bound the smallest goes, of equals the
// oldest. It leaves Sum and At alone.
func (r *Risk) Add(part RiskPart, keep events.Millis) {
	parts := insert(r.Parts, part, MaxRiskParts+1, keep)
	if len(parts) > MaxRiskParts {
		least := 0
		for i := range parts {
			if parts[i].Decibans < parts[least].Decibans {
				least = i
			}
		}
		parts = without(parts, least)
	}
	r.Parts = parts
}
