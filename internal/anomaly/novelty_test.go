package anomaly

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// crowded is a profile without room for another term, of which the kind of device and the program of an event are long out of date,
// and next to go.
func crowded(e *events.Event) *profile.Profile {
	p := profile.New()
	p.Count(e.Time-events.Hour, 90*events.Day)
	stale := e.Time - 200*events.Day
	p.Learn(profile.Agent, profile.AgentValue(e.Device.OS, e.Device.Browser), stale, false)
	p.Learn(profile.Agent, profile.TextValue(agentFamily(e)), stale, false)
	for i := 0; len(p.Terms) < profile.MaxTerms; i++ {
		p.Learn(profile.Agent, uint64(1_000_000+i), e.Time-events.Hour, false)
	}
	return p
}

// A new term drives out a stale one that the same event brings: both are learnt.
func TestStaleTermIsForgottenWhileItIsTaught(t *testing.T) {
	t.Parallel()
	for _, kind := range []events.UserType{"", events.Workload} {
		e := plain(1)
		e.User.Type = kind
		p := crowded(e)
		catalogue(t).Evaluate(p, nil, e)
		value := profile.AgentValue(e.Device.OS, e.Device.Browser)
		if kind == events.Workload {
			value = profile.TextValue(agentFamily(e))
		}
		if len(p.Terms) != profile.MaxTerms || p.Term(profile.Country, profile.CountryValue("NL")) == nil || p.Term(profile.Agent, value) == nil {
			t.Errorf("%s: %d terms, %v", kind, len(p.Terms), p.Terms)
		}
	}
}

// A place that came with a finding is trusted when it has been without one for long enough, as countries and networks are: not when
// it has been known for long enough. Its country is the user's, so that nothing else is new there.
func TestPlaceIsTrustedWhenNobodyObjects(t *testing.T) {
	t.Parallel()
	c, s, p := catalogue(t), newScenario(t), profile.New()
	s.getKnown(c, p, "known utrecht laptop")
	s.getKnown(c, p, "known rome laptop")
	see := func(line string) bool { return active(c.Evaluate(p, nil, s.event(line)).Findings) }
	trusted := func() bool {
		for i := range p.Clusters {
			if lat, _ := p.Clusters[i].Degrees(); lat > 38 && lat < 39 {
				return !p.Clusters[i].Unconfirmed
			}
		}
		t.Fatal("Palermo is no place of the user")
		return false
	}
	see("0d 09:00 home sign_in utrecht laptop")
	if !see("0d 10:00 a sign_in palermo laptop") || !see("6d 10:00 b sign_in newyork linux") {
		t.Fatal("nothing is found")
	}
	if see("8d 09:00 c session_use palermo laptop session=s1") || trusted() {
		t.Error("trusted two days after a finding")
	}
	if see("14d 09:00 d session_use palermo laptop session=s2") || !trusted() {
		t.Error("not trusted eight days after the last finding")
	}
}
