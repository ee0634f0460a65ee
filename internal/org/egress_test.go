package org

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

const office = "203.0.113.0/24"

// at is a success of a user at a prefix.
func at(u int, prefix string, t events.Millis) events.Sighting {
	m := login(u, t)
	m.IP, m.Network.Prefix = "203.0.113.9", prefix
	return m
}

func (n *tenant) egressOf() []string { return n.Context().Egress }

func TestOfficeBecomesEgress(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for day := range 3 {
		for u := range 3 {
			n.fold(at(u, office, monday+events.Millis(day)*events.Day+events.Millis(u)*events.Hour))
		}
	}
	n.fold(at(0, office, monday+5*events.Day))
	if got := n.egressOf(); len(got) != 0 {
		t.Errorf("%v is egress while the third day is in quarantine", got)
	}
	n.fold(at(0, office, monday+6*events.Day+3*events.Hour))
	if diff := cmp.Diff(n.egressOf(), []string{office}); diff != "" {
		t.Errorf("egress after the quarantine (-got, +want)\n%s", diff)
	}
	// The promotion is told at once, and so recorded.
	last := n.contexts[len(n.contexts)-1]
	if !slices.Contains(last.Egress, office) {
		t.Errorf("last context %v has no %s", last.Until, office)
	}
	// Disuse for a month ends it, whether anybody comes back or not.
	n.fold(login(7, monday+29*events.Day))
	if got := n.egressOf(); !slices.Equal(got, []string{office}) || !n.own(office) {
		t.Errorf("egress %v a month later", got)
	}
	n.fold(login(7, monday+31*events.Day))
	if got := n.egressOf(); len(got) != 0 || n.own(office) {
		t.Errorf("%v is still egress", got)
	}
	n.fold(at(0, office, monday+60*events.Day))
	if got := n.egressOf(); len(got) != 0 {
		t.Errorf("%v is egress again", got)
	}
}

func TestWhatDoesNotMakeEgress(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(u, day int, m *events.Sighting){
		"two users":          func(u, _ int, m *events.Sighting) { m.User = user(u % 2) },
		"two days":           func(_, day int, m *events.Sighting) { m.Time -= events.Millis(day/2*2) * events.Day },
		"relayed proof":      func(_, _ int, m *events.Sighting) { m.Proved = false },
		"findings":           func(_, _ int, m *events.Sighting) { m.Adverse = true },
		"carrier":            func(_, _ int, m *events.Sighting) { m.Network.Classes = []events.Class{events.Mobile} },
		"commercial VPN":     func(_, _ int, m *events.Sighting) { m.Network.Classes = []events.Class{events.Hosting, events.VPN} },
		"banned":             func(_, _ int, m *events.Sighting) { m.Network.Prefix = "192.0.2.0/24" },
		"session use":        func(_, _ int, m *events.Sighting) { m.Kind, m.Proved = events.SessionUse, false },
		"failures elsewhere": func(_, _ int, m *events.Sighting) { m.Outcome, m.Cause = events.Failure, events.MFARefused },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newTenant(t, func(c *Config) { c.Egress.Ban = []string{"192.0.2.0/24"} })
			for day := range 4 {
				for u := range 6 {
					m := at(u, office, monday+events.Millis(day)*events.Day+events.Millis(u)*events.Hour)
					change(u, day, &m)
					n.fold(m)
				}
			}
			m := at(0, office, monday+12*events.Day)
			change(0, 0, &m)
			m.Time = monday + 12*events.Day
			n.fold(m)
			if got := n.egressOf(); len(got) != 0 {
				t.Errorf("egress %v", got)
			}
		})
	}
}

func TestPinnedPrefixIsEgressFromTheStart(t *testing.T) {
	t.Parallel()
	n := newTenant(t, func(c *Config) { c.Egress.Pin = []string{"198.51.100.0/24"} })
	n.fold(login(1, monday))
	if diff := cmp.Diff(n.egressOf(), []string{"198.51.100.0/24"}); diff != "" {
		t.Error(diff)
	}
}

// An attacker who relays victims, second factors and all, day after day from one address on a home line: as long as
// sessions are revoked, it never is the organisation's own.
func TestRelayedVictimsDoNotPoisonEgress(t *testing.T) {
	t.Parallel()
	for _, victims := range []int{4, 12, 40} {
		n := newTenant(t)
		const line = "198.51.100.0/24"
		for day := range 20 {
			for i := range victims {
				v := day*victims + i
				signed := monday + events.Millis(day)*events.Day + events.Millis(i)*10*events.Minute
				m := at(v, line, signed)
				m.Familiar = false
				n.fold(m)
				revoked := login(v, signed+5*events.Hour)
				revoked.Adverse, revoked.Revoked = true, []string{line}
				n.fold(revoked)
			}
			if got := n.egressOf(); len(got) != 0 {
				t.Fatalf("%d victims a day: %v is egress on day %d", victims, got, day)
			}
		}
	}
}

// A sprayed prefix cannot become egress while more users fail than get in.
func TestSprayDoesNotPoisonEgress(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	const line = "198.51.100.0/24"
	for day := range 15 {
		began := monday + events.Millis(day)*events.Day
		for i := range 60 {
			n.fold(failure(user(i), began+events.Millis(i)*10*events.Minute, "198.51.100.7", line, 64496))
			if i%10 == 0 {
				m := at(100+i, line, began+events.Millis(i)*10*events.Minute)
				n.fold(m)
			}
		}
	}
	if got := n.egressOf(); len(got) != 0 {
		t.Errorf("egress %v", got)
	}
}

// F9: what counts of an egress is the jump of its own failure ratio.
func TestEgressIsJudgedByItsOwnRatio(t *testing.T) {
	t.Parallel()
	n := newTenant(t, func(c *Config) { c.Season.Users = 10_000 }) // how many fail is another matter
	random := rand.New(rand.NewPCG(1, 1))
	live := func(day, failing int) {
		for i := range 600 {
			m := at(i%60, office, monday+events.Millis(day)*events.Day+9*events.Hour+events.Millis(i)*30*events.Second)
			if random.IntN(100) < failing {
				m.Outcome, m.Cause, m.Familiar, m.Proved = events.Failure, events.BadPassword, false, false
			}
			n.fold(m)
		}
	}
	for day := range 12 {
		live(day, 6)
	}
	if diff := cmp.Diff(n.egressOf(), []string{office}); diff != "" {
		t.Fatal(diff)
	}
	if len(n.told) != 0 {
		t.Errorf("people who mistype in the office: told %v", n.detections())
	}
	live(14, 12) // twice the usual
	if len(n.told) != 0 {
		t.Errorf("twice as many: told %v", n.detections())
	}
	live(15, 70) // somebody inside tries everybody's password
	if got := n.detections(); got["CRD-03"] == 0 {
		t.Errorf("told %v, want a spray from the office", got)
	}
}

func TestHubsAreLearned(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for i := range 400 {
		m := login(i%40, monday+events.Millis(i)*events.Minute)
		m.Moved, m.Network.ASN = true, 64501
		m.Jumped = i%5 == 0
		if i%40 == 0 { // one user who travels a lot does not make a hub
			n.fold(events.Sighting{
				User: user(500), Time: m.Time, Outcome: events.Success, Network: events.Network{ASN: 64502}, Moved: true, Jumped: true,
			})
		}
		m.User = user(i % 37)
		n.fold(m)
	}
	if diff := cmp.Diff(n.Context().Hubs, []uint32{64501}); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
}

// A context is told after an hour, after six, and then daily.
func TestContextsAreToldInTime(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for i := range 100 {
		n.fold(login(i, monday+events.Millis(i)*events.Hour))
	}
	var ages []float64
	for _, c := range n.contexts {
		ages = append(ages, float64(c.Until-c.Since)/events.Hour)
	}
	if diff := cmp.Diff(ages, []float64{1, 6, 24, 48, 72, 96}); diff != "" {
		t.Errorf("hours after the first sighting (-got, +want)\n%s", diff)
	}
	last := n.contexts[len(n.contexts)-1]
	if c := last.Countries; last.Users < 90 || last.Users > 105 || len(c) != 1 || c[0].Value != "NL" || c[0].Users < 75 || len(last.Levels) == 0 || last.Logins < 90 {
		t.Errorf("%+v", last)
	}
}

// What is told of a tenant fits a record, whatever the tenant is like.
func TestContextFitsARecord(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 60_000 {
		u := random.IntN(9000)
		m := login(u, monday+events.Millis(i)*20*events.Second)
		m.Country = string([]byte{byte('A' + u%26), byte('A' + u/26%26)})
		m.Network.ASN = uint32(4_000_000_000 + u%2500)
		m.Lat, m.Lon = float64(u%170-85)+.5, float64(u/170%340-170)+.5
		m.App.ID = fmt.Sprintf("%0200d", u%3000)
		m.Device.OS, m.Device.Browser = fmt.Sprintf("%060d", u%700), "browser"
		m.Network.Prefix = fmt.Sprintf("2001:db8:%x::/48", u%2000)
		n.fold(m)
	}
	c := n.Context()
	if size := len(events.Encode(c)); size > events.MaxRecord*3/4 || len(c.Apps) == 0 || len(c.Egress) == 0 {
		t.Errorf("%d bytes; %d apps, %d prefixes", size, len(c.Apps), len(c.Egress))
	}
}
