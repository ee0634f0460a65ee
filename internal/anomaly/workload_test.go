package anomaly

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// Programs sign in from data centres all over the world: nothing of a person is learnt from them.
func TestWorkloadsTeachNothing(t *testing.T) {
	t.Parallel()
	c, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	p := profile.New()
	for i, place := range []events.Place{{Lat: 52.1, Lon: 5.1, Country: "NL"}, {Lat: 35.7, Lon: 139.7, Country: "JP"}} {
		e := &events.Event{
			ID: events.ID("e", place.Country), Kind: events.SignIn, Tenant: "acme", Outcome: events.Success, Place: place,
			User: events.User{ID: "sp-1", Type: events.Workload}, Time: events.Millis(1767225600000 + i*60_000), IP: "192.0.2.1",
		}
		if found := c.Evaluate(p, nil, e).Findings; found != nil || p.Successes != 0 {
			t.Errorf("%d: %d findings, %d successes", i, len(found), p.Successes)
		}
	}
}
