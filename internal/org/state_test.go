package org

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
)

// monday is 2026-01-05, 00:00 UTC.
const monday = events.Millis(1767571200000)

// tenant folds sightings and collects what follows, by user.
type tenant struct {
	*State
	offset int64
	told   map[string][]*events.Verdict
	// contexts are all contexts told.
	contexts []*events.OrgContext
}

func newTenant(t testing.TB, change ...func(*Config)) *tenant {
	t.Helper()
	config := DefaultConfig()
	for _, do := range change {
		do(&config)
	}
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	return &tenant{State: NewState("acme", &config), told: map[string][]*events.Verdict{}}
}

// fold gives a sighting its place on the log and folds it.
func (n *tenant) fold(m events.Sighting) []Notice {
	m.Offset = n.offset
	n.offset++
	m.Tenant, m.Ingested = "acme", m.Time+2*events.Second
	if m.EventID == "" {
		m.EventID = events.EventID("acme", "t", fmt.Sprint(m.Offset))
	}
	if m.Kind == "" {
		m.Kind = events.SignIn
	}
	notices := n.Fold(&m)
	for _, notice := range notices {
		if notice.Context != nil {
			n.contexts = append(n.contexts, notice.Context)
		} else {
			n.told[notice.User] = append(n.told[notice.User], notice.Verdict)
		}
	}
	return notices
}

// detections lists, by detection, how many users were told and of what severities.
func (n *tenant) detections() map[string]int {
	out := map[string]int{}
	for _, list := range n.told {
		for _, v := range list {
			out[v.Detection]++
		}
	}
	return out
}

func user(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", i) }

// address i, each in a prefix of its own when wide.
func address(i int, wide bool) (ip, prefix string) {
	if wide {
		return fmt.Sprintf("100.%d.%d.7", 64+i/256%64, i%256), fmt.Sprintf("100.%d.%d.0/24", 64+i/256%64, i%256)
	}
	return fmt.Sprintf("198.51.100.%d", i%256), "198.51.100.0/24"
}

func failure(u string, t events.Millis, ip, prefix string, asn uint32) events.Sighting {
	return events.Sighting{
		User: u, Time: t, Outcome: events.Failure, Cause: events.BadPassword, IP: ip,
		Network: events.Network{Prefix: prefix, ASN: asn}, Agent: "00000000deadbeef",
		Device: events.Device{OS: "Linux", Browser: "Firefox"}, App: events.Ref{ID: "webmail"}, Protocol: "ropc",
	}
}

// login is a success of a person at home: an address, agent and device of their own.
func login(u int, t events.Millis) events.Sighting {
	ip, prefix := address(1000+u, true)
	return events.Sighting{
		User: user(u), Time: t, Outcome: events.Success, IP: ip, Network: events.Network{Prefix: prefix, ASN: 64500 + uint32(u%5)},
		Agent: fmt.Sprintf("%016x", u%50), Device: events.Device{ID: "laptop-" + user(u), OS: "Windows", Browser: "Edge"},
		App: events.Ref{ID: "portal"}, Protocol: "oidc", Country: "NL", Lat: 52.1, Lon: 5.1, Familiar: true, Proved: true,
	}
}

// mistype is a person who fails at home now and then, on a device that is new.
func mistype(u int, t events.Millis) events.Sighting {
	m := login(u, t)
	m.Outcome, m.Cause, m.Familiar, m.Proved, m.Device.ID = events.Failure, events.BadPassword, false, false, ""
	return m
}

// weeks lets a company of users live for some weeks: everybody signs in daily at a time of their own, and some mistype.
func (n *tenant) weeks(users, weeks int, seed uint64) events.Millis {
	random := rand.New(rand.NewPCG(seed, 1))
	for day := range 7 * weeks {
		if day%7 >= 5 {
			continue
		}
		at := monday + events.Millis(day)*events.Day + 8*events.Hour
		for i := range users {
			t := at + events.Millis(i)*8*events.Hour/events.Millis(users)
			if random.IntN(20) == 0 {
				n.fold(mistype(i, t))
			}
			n.fold(login(i, t+events.Second))
		}
	}
	return monday + events.Millis(7*weeks)*events.Day
}

func TestSprayFromOneSource(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	start := monday + 10*events.Hour
	for i := range 40 {
		n.fold(failure(user(i), start+events.Millis(i)*20*events.Second, "198.51.100.7", "198.51.100.0/24", 64496))
	}
	incidents := map[string]bool{}
	for i := range 40 {
		list := n.told[user(i)]
		if len(list) == 0 || list[0].Detection != "CRD-03" || list[0].Severity != events.Medium || list[0].Source != "ip 198.51.100.7" {
			t.Fatalf("user %d was told %s", i, show(list))
		}
		incidents[list[0].Incident] = true
		for _, v := range list[1:] {
			if v.Detection != "CRD-05" {
				t.Errorf("user %d was told %s", i, show(list))
			}
		}
	}
	if len(incidents) != 1 {
		t.Errorf("%d incidents, want one", len(incidents))
	}
	if v := n.told[user(39)][0]; v.Users < 30 || v.EventID == "" || len(v.Sample) == 0 || len(v.Histogram) != 4 || v.Histogram[0] < 30 {
		t.Errorf("evidence %+v", v)
	}
}

func show(list []*events.Verdict) string {
	var b strings.Builder
	for _, v := range list {
		fmt.Fprintf(&b, "%s %s %s; ", v.Detection, v.Severity, v.Source)
	}
	return b.String()
}

// A source that tries names twice each is reported as the narrowest that fires, and only that.
func TestNarrowestSourceIsReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source func(i int) (ip, prefix string, asn uint32, agent string)
		want   string
	}{
		"address": {func(int) (string, string, uint32, string) { return "198.51.100.7", "198.51.100.0/24", 64496, "0b" }, "ip 198.51.100.7"},
		"prefix": {func(i int) (string, string, uint32, string) {
			ip, prefix := address(i, false)
			return ip, prefix, 64496, "0b"
		}, "prefix 198.51.100.0/24"},
		"network": {func(i int) (string, string, uint32, string) { ip, p := address(i, true); return ip, p, 64496, "0b" }, "asn 64496"},
		"agent": {func(i int) (string, string, uint32, string) {
			ip, p := address(i, true)
			return ip, p, 64496 + uint32(i), "0b"
		}, "agent Linux Firefox"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newTenant(t)
			for i := range 60 {
				ip, prefix, asn, agent := c.source(i)
				m := failure(user(i), monday+events.Millis(i)*10*events.Second, ip, prefix, asn)
				m.Agent = agent
				n.fold(m)
			}
			sources := map[string]int{}
			for _, list := range n.told {
				for _, v := range list {
					if v.Detection == "CRD-03" {
						sources[v.Source]++
					}
				}
			}
			if diff := cmp.Diff(sources, map[string]int{c.want: 60}); diff != "" {
				t.Errorf("users told (-got, +want)\n%s", diff)
			}
		})
	}
}

func TestHammeringOneAccountDoesNotHideASpray(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for i := range 300 {
		n.fold(failure(user(0), monday+events.Millis(i)*events.Second, "198.51.100.7", "198.51.100.0/24", 64496))
		if i%20 == 0 {
			n.fold(failure(user(1+i/20), monday+events.Millis(i)*events.Second, "198.51.100.7", "198.51.100.0/24", 64496))
		}
	}
	if len(n.told[user(0)]) == 0 || n.detections()["CRD-03"] < 15 {
		t.Errorf("told %v", n.detections())
	}
}

func TestStuffing(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for i := range 200 {
		n.fold(failure(user(i), monday+events.Millis(i)*events.Second, "198.51.100.7", "198.51.100.0/24", 64496))
	}
	if got := n.detections(); got["CRD-05"] != 200 {
		t.Errorf("told %v, want CRD-05 for all 200", got)
	}
}

func TestEnumeration(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for i := range 60 {
		m := failure(fmt.Sprintf("name:a%d@example.com", i), monday+events.Millis(i)*5*events.Second, "198.51.100.7", "198.51.100.0/24", 64496)
		m.Cause, m.Unresolved = events.UnknownUser, true
		n.fold(m)
	}
	if got := n.detections(); got["CRD-07"] != 1 || got["CRD-03"] != 1 {
		t.Errorf("told %v, want one name for each incident", got)
	}
}

// F9: an office behind one address, where people mistype.
func TestOfficeBehindOneAddressIsNoAttacker(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 4000 {
		m := login(random.IntN(400), monday+8*events.Hour+events.Millis(i)*2*events.Second)
		m.IP, m.Network = "203.0.113.9", events.Network{Prefix: "203.0.113.0/24", ASN: 64499}
		if random.IntN(40) == 0 {
			m.Outcome, m.Cause, m.Familiar, m.Proved = events.Failure, events.BadPassword, false, false
		}
		n.fold(m)
	}
	if len(n.told) != 0 {
		t.Errorf("told %v", n.detections())
	}
}

// F10: devices that go on with an old password, from where their users are.
func TestCachedPasswordsAreNoSpray(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for i := range 3000 {
		m := login(i%60, monday+8*events.Hour+events.Millis(i)*events.Second)
		m.Outcome, m.Cause, m.IP = events.Failure, events.BadPassword, "203.0.113.9"
		n.fold(m)
	}
	if len(n.told) != 0 {
		t.Errorf("told %v", n.detections())
	}
}

// F11: a provider that fails everybody for another reason than the password.
func TestOutageIsNoSpray(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for i := range 500 {
		m := mistype(i, monday+8*events.Hour+events.Millis(i)*events.Second)
		m.Cause = []events.Cause{"", events.Expired, events.PolicyBlock}[i%3]
		n.fold(m)
	}
	if len(n.told) != 0 {
		t.Errorf("told %v", n.detections())
	}
}

func TestDistributedSpray(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	start := n.weeks(400, 3, 1) + 10*events.Hour
	if len(n.told) != 0 {
		t.Fatalf("a company that lives is told %v", n.detections())
	}
	// A tool tries one user every 15 seconds, each from an address and network of its own, with an agent of its own.
	for i := range 60 {
		ip, prefix := address(i, true)
		m := failure(user(i), start+events.Millis(i)*15*events.Second, ip, prefix, 4200000000+uint32(i))
		m.Agent = fmt.Sprintf("%016x", 1000+i)
		n.fold(m)
	}
	high := 0
	for i := range 60 {
		for _, v := range n.told[user(i)] {
			if v.Detection != "CRD-04" {
				t.Errorf("user %d was told of %s", i, v.Detection)
			}
			if v.Severity == events.High {
				high++
				if v.Fingerprint != "Linux Firefox webmail ropc" || v.Z < 6 || v.Share < 0.6 || v.EventID == "" {
					t.Errorf("evidence %+v", v)
				}
			}
		}
	}
	if high < 58 {
		t.Errorf("%d of 60 users were told, want all: those tried before it was seen as well", high)
	}
}

// One try a user a day, spread over the day: no quarter of an hour is remarkable.
func TestLowAndSlowSpray(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	start := n.weeks(400, 4, 1)
	for i := range 200 {
		ip, prefix := address(i, true)
		m := failure(user(i), start+events.Millis(i)*7*events.Minute, ip, prefix, 4200000000+uint32(i))
		m.Agent = fmt.Sprintf("%016x", 1000+i)
		n.fold(m)
	}
	if got := n.detections()["CRD-04"]; got < 190 {
		t.Errorf("%d of 200 users were told: %v", got, n.detections())
	}
}

// The first hours of a tenant, when nothing is known: neither is everything remarkable, nor nothing.
func TestColdStart(t *testing.T) {
	t.Parallel()
	quiet := newTenant(t)
	quiet.weeks(3000, 2, 7)
	if len(quiet.told) != 0 {
		t.Errorf("a company of 3,000 is told %v in its first weeks", quiet.detections())
	}
	loud := newTenant(t)
	start := monday + 9*events.Hour
	for i := range 200 {
		loud.fold(login(i, start+events.Millis(i)*events.Second))
	}
	for i := range 100 {
		ip, prefix := address(i, true)
		m := failure(user(i), start+events.Hour+events.Millis(i)*5*events.Second, ip, prefix, 4200000000+uint32(i))
		m.Agent = fmt.Sprintf("%016x", 1000+i)
		loud.fold(m)
	}
	if loud.detections()["CRD-04"] < 80 {
		t.Errorf("half of the users attacked in the first hour: told %v", loud.detections())
	}
}

// The baseline does not learn from what it fires on: the same spray a week later is as remarkable.
func TestBaselineDoesNotLearnFromAttacks(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	start := n.weeks(400, 3, 1) + 10*events.Hour
	spray := func(at events.Millis, from int) {
		for i := range 60 {
			ip, prefix := address(from+i, true)
			m := failure(user(from+i), at+events.Millis(i)*10*events.Second, ip, prefix, 4200000000+uint32(from+i))
			m.Agent = fmt.Sprintf("%016x", 1000+from+i)
			n.fold(m)
		}
	}
	before := n.season.all
	for w := range 4 {
		spray(start+events.Millis(w)*7*events.Day, 60*w)
	}
	if n.season.all.mean > before.mean {
		t.Errorf("the mean went from %g to %g", before.mean, n.season.all.mean)
	}
	if n.detections()["CRD-04"] < 4*55 {
		t.Errorf("told %v", n.detections())
	}
}

func TestLockoutStorm(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for i := range 40 {
		ip, prefix := address(i, true)
		m := failure(user(i), monday+10*events.Hour+events.Millis(i)*20*events.Second, ip, prefix, 64496+uint32(i%15))
		m.Cause = events.AccountLocked
		n.fold(m)
	}
	if got := n.detections(); got["CRD-08"] != 40 || len(got) != 1 {
		t.Errorf("told %v, want CRD-08 for all 40", got)
	}
}

func TestSuccessFromASourceOfFailures(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	hit := func(u int, at events.Millis) events.Sighting {
		m := failure(user(u), at, "198.51.100.7", "198.51.100.0/24", 64496)
		m.Outcome, m.Cause = events.Success, ""
		return m
	}
	// Slowly enough for no other detection.
	for i := range 6 {
		n.fold(failure(user(i), monday+events.Millis(i)*events.Hour, "198.51.100.7", "198.51.100.0/24", 64496))
	}
	at := monday + 7*events.Hour
	familiar := hit(8, at)
	familiar.Familiar = true
	n.fold(familiar)
	n.fold(hit(9, at))
	n.fold(hit(9, at+events.Minute))
	if diff := cmp.Diff(n.detections(), map[string]int{"NET-05": 1}); diff != "" || len(n.told[user(9)]) != 1 {
		t.Fatalf("%s: %s", diff, show(n.told[user(9)]))
	}
	if v := n.told[user(9)][0]; v.Severity != events.High || v.Users != 6 || v.Succeeded != 2 || v.EventID == "" {
		t.Errorf("evidence %+v", v)
	}
}

func TestDeviceOfManyUsers(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	sign := func(u int, at events.Millis) {
		m := login(u, at)
		m.Device.ID = "tool"
		n.fold(m)
	}
	for day := range 6 {
		for u := range 3 {
			sign(u, monday+events.Millis(day)*events.Day+events.Millis(u)*events.Hour)
		}
	}
	severities := map[events.Severity]int{}
	for _, v := range n.told[user(0)] {
		severities[v.Severity]++
	}
	if severities[events.Medium] == 0 || severities[events.Low] == 0 || n.told[user(0)][0].Severity != events.Medium {
		t.Errorf("told %v, want medium first and low when it is known to be shared", severities)
	}
	for u := range 2 {
		if len(n.told[user(u)]) == 0 {
			t.Errorf("user %d was there before the third and was not told", u)
		}
	}
	if n.detections()["DEV-03"] == 0 || len(n.detections()) != 1 {
		t.Errorf("told %v", n.detections())
	}
}

// Sightings of tenants and of users that have nothing to do with each other do not change what is told.
func TestUnrelatedUsersDoNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		alone, among := newTenant(t), newTenant(t)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1))
		for i := range 60 {
			m := failure(user(i%30), monday+events.Millis(i)*15*events.Second, "198.51.100.7", "198.51.100.0/24", 64496)
			alone.fold(m)
			for range random.IntN(4) {
				among.fold(login(1000+random.IntN(50), m.Time))
			}
			among.fold(m)
		}
		ids := cmp.FilterPath(func(p cmp.Path) bool {
			return p.Last().String() == ".EventID" || p.Last().String() == ".Incident"
		}, cmp.Ignore()) // they rest on the place on the log
		if diff := cmp.Diff(among.told, alone.told, ids); diff != "" {
			r.Errorf("(-among others, +alone)\n%s", diff)
		}
	})
}

// random sightings of all kinds.
func sighting(random *rand.Rand, t events.Millis) events.Sighting {
	u := random.IntN(60)
	switch random.IntN(12) {
	case 0, 1:
		return mistype(u, t)
	case 2, 3, 4:
		return failure(user(u), t, fmt.Sprintf("198.51.100.%d", random.IntN(3)), "198.51.100.0/24", 64496)
	case 5:
		m := failure(user(u), t, "203.0.113.7", "203.0.113.0/24", 64497)
		m.Cause = events.AccountLocked
		return m
	case 6:
		m := failure(fmt.Sprintf("name:%d", u), t, "203.0.113.7", "203.0.113.0/24", 64497)
		m.Cause, m.Unresolved = events.UnknownUser, true
		return m
	case 7:
		m := login(u, t)
		m.Moved, m.Jumped, m.Scored, m.Score, m.Class = true, random.IntN(2) == 0, true, random.Float64(), "daily"
		return m
	case 8:
		m := login(u, t)
		m.IP, m.Network.Prefix, m.Device.ID = "192.0.2.9", "192.0.2.0/24", "kiosk"
		return m
	case 9:
		m := login(u, t)
		m.Adverse, m.Revoked = true, []string{"192.0.2.0/24", m.Network.Prefix}
		return m
	}
	return login(u, t)
}

// What is written, read and written again is the same, and decides the same, whenever it is taken up anew; a repeated
// sighting changes nothing.
func TestStateSurvivesItsLog(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		seed := rapid.Uint64().Draw(r, "seed")
		random := rand.New(rand.NewPCG(seed, 2))
		whole, resumed := newTenant(t), newTenant(t)
		kept := map[string][]byte{}
		at := monday
		for i := range 250 {
			at += events.Millis(random.IntN(20 * events.Minute))
			if random.IntN(50) == 0 {
				at += events.Millis(random.IntN(30 * events.Hour))
			}
			m := sighting(random, at-events.Millis(random.IntN(40*events.Minute)))
			offset := whole.offset
			want := whole.fold(m)
			got := resumed.fold(m)
			if diff := cmp.Diff(got, want); diff != "" {
				r.Fatalf("sighting %d (-resumed, +uninterrupted)\n%s", i, diff)
			}
			if random.IntN(10) == 0 {
				m.Offset, m.Tenant, m.Kind = offset, "acme", events.SignIn
				if again := resumed.Fold(&m); again != nil {
					r.Fatalf("a repeat led to %v", again)
				}
			}
			if random.IntN(20) > 0 {
				continue
			}
			bytes, pieces := resumed.Room()
			total := 0
			changed := resumed.Changed()
			for _, p := range changed {
				total += len(p.Name) + len(p.Value)
				if kept[p.Name] = p.Value; p.Value == nil {
					delete(kept, p.Name)
				}
			}
			if total > bytes || len(changed) > pieces {
				r.Fatalf("%d bytes in %d pieces changed, announced were %d in %d", total, len(changed), bytes, pieces)
			}
			resumed.Clean()
			fresh := newTenant(t)
			fresh.offset, fresh.told = resumed.offset, resumed.told
			for name, value := range kept {
				if err := fresh.Restore(name, value); err != nil {
					r.Fatal(err)
				}
			}
			resumed = fresh
		}
		for name, value := range kept {
			if got := resumed.Encode(name); len(resumed.changed) == 0 && !cmp.Equal(got, value) {
				r.Errorf("piece %s is %x, was written %x", name, got, value)
			}
		}
		compare(r, whole.State, resumed.State)
	})
}

// compare checks that two states have the same pieces.
func compare(r interface{ Errorf(string, ...any) }, a, b *State) {
	names := map[string]bool{}
	for _, s := range []*State{a, b} {
		for _, p := range s.all() {
			names[p.name()] = true
		}
	}
	for name := range names {
		if x, y := a.Encode(name), b.Encode(name); !bytes.Equal(x, y) {
			r.Errorf("piece %s differs:\n%x\n%x", name, x, y)
		}
	}
}

// all are all pieces that hold anything.
func (s *State) all() []piece {
	list := s.single()
	for _, n := range s.sources.nodes {
		list = append(list, n.value)
	}
	for _, n := range s.incidents.nodes {
		list = append(list, n.value)
	}
	for _, n := range s.egress.nodes {
		list = append(list, n.value)
	}
	for kind := range s.terms {
		for i := range s.terms[kind].buckets {
			list = append(list, &s.terms[kind].buckets[i])
		}
	}
	for i := range s.devices {
		list = append(list, s.devices[i])
	}
	return list
}
