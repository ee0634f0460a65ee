package backtest

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// TestVerdictsAreKnownByWhatTheySay: the network stage concludes anew, with other ids.
func TestVerdictsAreKnownByWhatTheySay(t *testing.T) {
	t.Parallel()
	found := func(user, source string, at events.Millis) []events.Finding {
		v := &events.Verdict{Detection: "CRD-03", Source: source}
		return []events.Finding{
			{Detection: "LOC-01", Tenant: "acme", User: events.User{ID: user}, Time: at},
			{Detection: "CRD-03", Tenant: "acme", User: events.User{ID: user}, Time: at, Evidence: events.Evidence{Verdict: v}},
		}
	}
	one := identity("event 1", found("u1", "ip 192.0.2.1", 1000))
	if again := identity("event 2", found("u1", "ip 192.0.2.1", 2000)); again != one {
		t.Error("the same verdict is another one")
	}
	for name, other := range map[string]string{
		"source": identity("event 1", found("u1", "ip 192.0.2.2", 1000)), "user": identity("event 1", found("u2", "ip 192.0.2.1", 1000)),
		"day": identity("event 1", found("u1", "ip 192.0.2.1", 1000+events.Day)), "event": identity("event 1", found("u1", "", 0)[:1]),
	} {
		if other == one {
			t.Errorf("another %s is taken for the same verdict", name)
		}
	}
	if got := identity("event 1", nil); got != "event 1" {
		t.Errorf("an event without verdict is %s", got)
	}
}
