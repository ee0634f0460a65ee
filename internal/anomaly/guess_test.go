package anomaly

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// Both stages count the same attempts as guesses of a password, whatever the cause, the outcome and the second factor: a spray is
// made of what a brute force is.
func TestBothStagesCountTheSameGuesses(t *testing.T) {
	t.Parallel()
	c, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	guesses := 0
	for _, cause := range append([]events.Cause{""}, events.Causes...) {
		for _, outcome := range events.Outcomes {
			for _, mfa := range append([]events.MFA{""}, events.MFAResults...) {
				e := &events.Event{
					ID: events.ID(string(cause), string(outcome), string(mfa)), Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u1"},
					Time: dayZero, Outcome: outcome, Cause: cause, Auth: events.Auth{MFA: mfa}, IP: "203.0.113.9",
				}
				p := profile.New()
				told := c.Evaluate(p, nil, e).Sighting
				here, there := len(p.Failures) > 0, told != nil && told.Outcome != events.Success && told.Cause == events.BadPassword
				if here != there {
					t.Errorf("%q %s %q: a guess of the user's stage %v, of the network's %v", cause, outcome, mfa, here, there)
				}
				if here {
					guesses++
				}
			}
		}
	}
	if want := 2*(1+len(events.MFAResults)) + 1; guesses != want {
		t.Errorf("%d guesses, want %d: wrong passwords, failed or blocked, whatever the second factor, and what nothing is known of", guesses, want)
	}
	// A name that belongs to nobody stays one.
	e := &events.Event{
		ID: "x", Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "nobody", Type: events.Unresolved}, Time: dayZero,
		Outcome: events.Failure, IP: "203.0.113.9",
	}
	if told := c.Evaluate(profile.New(), nil, e).Sighting; told == nil || told.Cause != events.UnknownUser {
		t.Errorf("%+v", told)
	}
}
