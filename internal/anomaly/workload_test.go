package anomaly

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// Programs sign in from data centres all over the world: none of what is about people applies to them.
func TestWorkloadsArePeopleToNoDetection(t *testing.T) {
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
		r := c.Evaluate(p, nil, e)
		for _, f := range r.Findings {
			if f.Detection != wkl01.ID || f.Disposition != events.Learning {
				t.Errorf("%d: %s %s", i, f.Detection, f.Disposition)
			}
		}
		if r.Sighting != nil || len(p.Visits) != 0 {
			t.Errorf("%d: %d visits, sighting %v", i, len(p.Visits), r.Sighting)
		}
	}
}
