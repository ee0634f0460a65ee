package anomaly

import (
	"fmt"
	"slices"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// Twenty failures in five minutes, of every cause: only those that guess something are an attack.
func TestWhatCountsAsGuessing(t *testing.T) {
	t.Parallel()
	want := map[events.Cause]string{
		"": crd01.ID, events.BadPassword: crd01.ID, events.BadCode: mfa03.ID, events.MFARefused: mfa01.ID, events.MFATimeout: mfa01.ID,
		events.AccountDisabled: tim03.ID,
	}
	guesses := []string{crd01.ID, crd02.ID, mfa01.ID, mfa03.ID, tim03.ID}
	for _, cause := range append([]events.Cause{""}, events.Causes...) {
		c, err := New(DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		p := profile.New()
		var found []string
		for i := range 20 {
			e := &events.Event{
				ID: events.EventID("acme", "custom", fmt.Sprint(cause, i)), Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u1"},
				Time: dayZero + events.Millis(i)*15*events.Second, Source: events.Source{Family: "custom", ID: fmt.Sprint(i)},
				Outcome: events.Failure, Cause: cause, Correlation: fmt.Sprint("flow", i), Interactive: events.Yes, IP: "203.0.113.9",
			}
			for _, f := range c.Evaluate(p, nil, e).Findings {
				if slices.Contains(guesses, f.Detection) && !slices.Contains(found, f.Detection) {
					found = append(found, f.Detection)
				}
			}
		}
		if one := want[cause]; one == "" && len(found) > 0 || one != "" && !slices.Equal(found, []string{one}) {
			t.Errorf("%q: %v, want %q", cause, found, one)
		}
	}
}
