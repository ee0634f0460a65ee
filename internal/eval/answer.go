package eval

import (
	"slices"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
)

// answers are the challenges that genuine people are going to meet, the earliest first.
type answers []item

// add lets the person whom a genuine event made countersign challenge meet the challenge where they are, half a minute to
// three later, with a second factor. Attackers cannot; and their victims are not told of what attackers' events led to. It
// returns how many challenges there were.
func (a *answers) add(it *item, changes []revocation.Change) int {
	if it.label.Attack != "" {
		return 0
	}
	// Who is challenged for an answer does not answer again: there would be no end to it.
	again := it.label.Confounder == company.StepUpDone
	n := 0
	for i := range changes {
		claims := &changes[i].Claims
		if claims.Status != revocation.Open {
			continue
		}
		n++
		if again {
			continue
		}
		answer := answerTo(&it.event, &claims.Requirement)
		at, _ := slices.BinarySearchFunc(*a, answer.event.Ingested, func(it item, t events.Millis) int {
			if it.event.Ingested <= t {
				return -1
			}
			return 1
		})
		*a = slices.Insert(*a, at, answer)
	}
	return n
}

// answerTo is the sign-in that meets a requirement, through the same network and device. A session that was revoked is
// over: a new one begins.
func answerTo(e *events.Event, r *revocation.Requirement) item {
	it := item{event: *e}
	out := &it.event
	wait := between(r.ID, 30*events.Second, 3*events.Minute)
	now := max(e.Ingested, e.Time) // who was challenged by a late event is challenged late
	out.Time, out.Emitted, out.Ingested = now+wait, now+wait, now+wait
	out.Source.ID, out.Source.Category = e.Source.ID+"-"+r.ID, "interactive"
	out.ID = events.EventID(out.Tenant, out.Source.Family, out.Source.ID)
	out.Kind, out.Outcome, out.Interactive = events.SignIn, events.Success, events.Yes
	out.Code, out.Reason, out.Cause, out.Correlation, out.Change, out.Risk, out.Access = "", "", "", "", events.Change{}, events.Risk{}, events.Access{}
	out.Auth = events.Auth{
		MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "push"}, ACR: "mfa", Protocol: "oidc", Time: out.Time,
	}
	if r.Action != events.StepUp {
		out.Session.ID += "-again"
	}
	it.label = company.Label{EventID: out.ID, Confounder: company.StepUpDone}
	return it
}

// next takes the first answer that is due before a time.
func (a *answers) next(before events.Millis) (item, bool) {
	if len(*a) == 0 || (*a)[0].event.Ingested > before {
		return item{}, false
	}
	first := (*a)[0]
	*a = slices.Delete(*a, 0, 1)
	return first, true
}
