package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// The finding that stands for a decision which no detection called for.
const (
	UnpromptedDetection = "POL-01"
	unpromptedVersion   = 1
)

// Unprompted is the finding that keeps the reason of a decision which no active finding called for: nothing is asked of
// anybody without a stored reason. Its severity is info: it says nothing against the user.
func Unprompted(e *events.Event, d *Decision) events.Finding {
	return events.Finding{
		ID:        events.FindingID(UnpromptedDetection, unpromptedVersion, e.Tenant, e.User.ID, e.ID),
		Detection: UnpromptedDetection, Version: unpromptedVersion, Title: "Required by policy",
		Summary: fmt.Sprintf("Policy %s applies to events like this one, whatever the detections find.", d.Policy),
		Tenant:  e.Tenant, User: e.User, EventID: e.ID, Time: e.Time, Ingested: e.Ingested,
		Severity: events.Info, Disposition: events.Active, Evidence: events.Evidence{Sight: events.SightOf(e)},
	}
}

// maxQuoted is how much of what others wrote a reason has, in bytes.
const maxQuoted = 160

// describe lists findings, worst first: "LOC-01 Impossible travel (high), LOC-04 New country (learning)".
func describe(fs []events.Finding) string {
	if len(fs) == 0 {
		return "no finding"
	}
	order := make([]int, len(fs))
	for i := range order {
		order[i] = i
	}
	active := func(i int) int {
		if fs[i].Disposition == events.Active {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(
			cmp.Compare(active(b), active(a)),
			cmp.Compare(fs[b].Severity.Rank(), fs[a].Severity.Rank()),
			cmp.Compare(fs[a].Detection, fs[b].Detection),
		)
	})
	const shown = 4
	var parts []string
	for _, i := range order[:min(shown, len(order))] {
		note := string(fs[i].Severity)
		if fs[i].Disposition != events.Active {
			note = string(fs[i].Disposition)
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", strings.TrimSpace(fs[i].Detection+" "+events.Cut(fs[i].Title, maxQuoted)), note))
	}
	if more := len(order) - shown; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ")
}
