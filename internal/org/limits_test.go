package org

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// shapes are sightings that change as much as they can, for the i-th time.
var shapes = map[string]func(i int, t events.Millis) events.Sighting{
	"failure": func(i int, t events.Millis) events.Sighting {
		m := failure(user(i), t, fmt.Sprintf("2001:db8:%x:%x::1", i>>8, i&255), fmt.Sprintf("2001:db8:%x::/48", i), uint32(i+1))
		m.Agent, m.Device.ID = fmt.Sprintf("%016x", i), fmt.Sprint("device", i%500)
		return m
	},
	"lockout": func(i int, t events.Millis) events.Sighting {
		m := failure(user(i), t, "", "", 0)
		m.Cause, m.Device.ID = events.AccountLocked, fmt.Sprint("device", i%500)
		return m
	},
	"success": func(i int, t events.Millis) events.Sighting {
		m := login(i, t)
		long := strings.Repeat("x", 240)
		m.Network = events.Network{Prefix: fmt.Sprintf("2001:db8:%x::/48", i), ASN: uint32(i + 1)}
		m.App.ID, m.Device.OS, m.Device.Browser = fmt.Sprint(long, i), fmt.Sprint(long, i), "b"
		m.Lat, m.Lon, m.Device.ID = float64(i%170-85), float64(i%350-175), fmt.Sprint("device", i%500)
		m.Familiar, m.Country = false, fmt.Sprint(long, i)
		m.Scored, m.Score, m.Class = true, 1, "daily"
		return m
	},
	"revocation": func(i int, t events.Millis) events.Sighting {
		m := login(0, t)
		m.Kind, m.Outcome, m.Adverse = events.AccountChange, "", true
		revoke(&m, i)
		return m
	},
	"all": func(i int, t events.Millis) events.Sighting {
		m := login(0, t)
		long := strings.Repeat("x", 240)
		m.Network = events.Network{Prefix: fmt.Sprintf("2001:db8:%x::/48", i%2000), ASN: uint32(i%2000 + 1)}
		m.IP, m.Agent = fmt.Sprintf("2001:db8:%x:%x::1", i>>8, i&255), fmt.Sprintf("%016x", i)
		m.App.ID, m.Device.OS, m.Device.Browser = fmt.Sprint(long, i), fmt.Sprint(long, i), "b"
		m.Device.ID, m.Familiar, m.Country = fmt.Sprint("device", i%500), false, fmt.Sprint(long, i)
		m.Scored, m.Score, m.Class = true, 1, "daily"
		revoke(&m, i)
		return m
	},
}

// revoke makes doubtful as many of the first user's prefixes as there may be.
func revoke(m *events.Sighting, i int) {
	for k := range MaxRevoked {
		m.Revoked = append(m.Revoked, fmt.Sprintf("2001:db8:%x::/48", (i*MaxRevoked+k)%7000))
	}
}

// One sighting changes no more than what is announced, whatever has to be forgotten: a day's sources at once, or what a
// configuration with less room has no place for.
func TestOneSightingKeepsToItsRoom(t *testing.T) {
	t.Parallel()
	n := newTenant(t, func(c *Config) { c.Spray.Users, c.Stuffing.Users, c.Enumeration.Names, c.BadRatio.Users = 2, 2, 2, 1 })
	at := monday
	for i := range 8000 {
		for _, name := range []string{"success", "failure", "lockout"} {
			at += events.Second
			n.fold(shapes[name](i, at))
		}
		first := shapes["success"](i, at)
		first.User = user(0)
		n.fold(first)
		if i%100 == 0 { // incidents of devices, as many as may be
			for u := range 4 {
				m := login(u, at)
				m.Device.ID = fmt.Sprint("kiosk", i)
				n.fold(m)
			}
		}
	}
	n.Clean()
	smaller := func(c *Config) {
		c.Sources, c.Egress.Prefixes, c.Incidents, c.Devices.Remembered = 100, 100, 16, 1024
	}
	later := map[string]events.Millis{"at once": at, "a day later": at + 30*events.Hour}
	for name, shape := range shapes {
		for when, t0 := range later {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				m := newTenant(t, smaller)
				m.offset = n.offset
				for _, p := range n.all() {
					if err := m.Restore(p.name(), encode(p)); err != nil {
						t.Fatal(err)
					}
				}
				largest, most := 0, 0
				for i := range 300 {
					m.fold(shape(i, t0+events.Millis(i)*events.Second))
					bytes, pieces := m.Room()
					most, largest = max(most, pieces), max(largest, bytes)
					if bytes > ChangeBytes || pieces > ChangePieces {
						t.Fatalf("sighting %d changed %d bytes in %d pieces, at most %d in %d were announced", i, bytes, pieces, ChangeBytes, ChangePieces)
					}
					m.Clean()
				}
				t.Logf("%d bytes, %d pieces", largest, most)
			})
		}
	}
}

// What there is no room for any more is forgotten all the same, a little with every sighting.
func TestWhatIsTooMuchIsForgottenByAndBy(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for i := range 4000 {
		m := shapes["failure"](i, monday+events.Millis(i)*events.Second)
		m.Device.ID = ""
		n.fold(m)
	}
	n.config.Sources = 100
	for i := range 4000 {
		n.fold(failure(user(i), monday+events.Hour+events.Millis(i)*events.Second, fmt.Sprintf("198.51.%d.%d", i/250, i%250), "198.51.0.0/24", 1))
	}
	if got := len(n.sources.nodes); got > 100 {
		t.Errorf("%d sources, 100 are allowed", got)
	}
}

// Texts that escape to six times their length do not make a context too large for a record.
func TestContextFitsARecordWhateverItsTexts(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	escaped := strings.Repeat("<", 250)
	for i := range 2000 {
		for u := range 2 {
			m := login(u, monday+events.Millis(i)*events.Minute)
			m.App.ID, m.Country = fmt.Sprintf("%s%03d", escaped, i%400), fmt.Sprintf("%s%03d", escaped, i%256)
			m.Device.OS, m.Device.Browser = escaped, fmt.Sprintf("%03d", i%150)
			m.Network.ASN = uint32(4_000_000_000 + i%400)
			n.fold(m)
		}
	}
	c := n.Context()
	const envelope = 4 << 10
	if size := len(events.Encode(c)); size > events.MaxRecord-envelope || len(c.Apps) == 0 || len(c.Agents) == 0 || len(c.Networks) != 300 {
		t.Errorf("%d bytes; %d apps, %d agents, %d networks", size, len(c.Apps), len(c.Agents), len(c.Networks))
	}
}

// What the operator pinned is told before anything that was learned, and of that what most people use.
func TestPinnedAndBusiestPrefixesAreTold(t *testing.T) {
	t.Parallel()
	const pinned = "240.0.0.0/24" // the last by name
	n := newTenant(t, func(c *Config) { c.Egress.Pin, c.Egress.Quarantine = []string{pinned}, 0 })
	const busiest = "2001:db8:ffff::/48"
	prefixes := []string{busiest}
	for i := range maxEgress + 50 {
		prefixes = append(prefixes, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
	}
	for day := range 3 {
		for i, prefix := range prefixes {
			for u := range 3 {
				n.fold(at(u, prefix, monday+events.Millis(day)*events.Day+events.Millis(i)*events.Second))
			}
		}
		n.fold(at(7, busiest, monday+events.Millis(day)*events.Day))
	}
	got := n.Context().Egress
	if len(got) != maxEgress || !slices.Contains(got, pinned) || !slices.Contains(got, busiest) || !slices.IsSorted(got) {
		t.Errorf("%d prefixes; pinned %v, busiest %v", len(got), slices.Contains(got, pinned), slices.Contains(got, busiest))
	}
}

// A device is judged by the users within 24 hours of each other, however late an event comes.
func TestLateUsersOfADeviceAreNotItsUsersNow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		hours []int
		told  int
	}{
		{[]int{500, 501, 300}, 0},
		{[]int{300, 500, 501}, 0},
		{[]int{500, 300, 501, 301}, 0},
		{[]int{500, 501, 499}, 3},
		{[]int{500, 501, 300, 502}, 3},
	} {
		n := newTenant(t)
		for u, hour := range c.hours {
			m := login(u, monday+events.Millis(hour)*events.Hour)
			m.Device.ID = "tool"
			n.fold(m)
		}
		if got := n.detections()["DEV-03"]; got != c.told {
			t.Errorf("hours %v: %d users were told, want %d", c.hours, got, c.told)
		}
	}
}

// A share is of the whole, also where both are estimates.
func TestShareIsNoMoreThanAll(t *testing.T) {
	t.Parallel()
	shares := 0
	for seed := range 12 {
		n := newTenant(t)
		for i := range 200 {
			n.fold(login(i, monday+9*events.Hour+events.Millis(i)*events.Second))
		}
		for i := range 300 {
			ip, prefix := address(i, true)
			m := failure(user(1000*seed+i), monday+10*events.Hour+events.Millis(i)*2*events.Second, ip, prefix, 4200000000+uint32(i))
			m.Agent = fmt.Sprintf("%016x", i)
			n.fold(m)
		}
		for _, list := range n.told {
			for _, v := range list {
				if v.Share > 0 {
					shares++
				}
				if v.Share > 1 {
					t.Fatalf("seed %d: %+v", seed, v)
				}
			}
		}
	}
	if shares == 0 {
		t.Error("no fingerprint was found guilty")
	}
}

// Pieces of devices that a smaller configuration has no place for are deleted, and not kept for ever.
func TestDevicesOfALargerConfigurationAreDeleted(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for i := range 2000 {
		m := login(i, monday)
		m.Device.ID = fmt.Sprint("device", i)
		n.fold(m)
	}
	kept := map[string][]byte{}
	for _, p := range n.Changed() {
		kept[p.Name] = p.Value
	}
	small := newTenant(t, func(c *Config) { c.Devices.Remembered = 1024 })
	small.offset = n.offset
	for name, value := range kept {
		if err := small.Restore(name, value); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 400 {
		small.fold(login(i, monday+events.Hour))
		for _, p := range small.Changed() {
			if kept[p.Name] = p.Value; p.Value == nil {
				delete(kept, p.Name)
			}
		}
		small.Clean()
	}
	for name := range kept {
		if what, rest := split(name); what == pieceDevices {
			if i, err := strconv.Atoi(rest); err != nil || i >= 1024/deviceRoom {
				t.Errorf("%s is still there", name)
			}
		}
	}
	if len(small.devices) > 1024/deviceRoom {
		t.Errorf("%d pieces of devices", len(small.devices))
	}
}

// The head keeps to its room also when a partition is met after the head was changed.
func TestHeadKeepsToItsRoom(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for i := range MaxPartitions {
		n.Fold(&events.Sighting{
			Tenant: "acme", EventID: "e", User: user(1), Kind: events.AccountChange, Time: monday, Partition: i, Offset: 1 << 62,
		})
	}
	size := 0
	for _, p := range n.Changed() {
		size += len(p.Name) + len(p.Value)
	}
	if bytes, _ := n.Room(); size > bytes {
		t.Errorf("%d bytes changed, announced were %d", size, bytes)
	}
	if got := len(encode(&n.head)); got < 9*MaxPartitions {
		t.Errorf("the head has %d bytes: the test is none", got)
	}
}

// A tenant that is built anew from a log that begins later has a later life, whatever the times of its events.
func TestALifeBeginsWithAcceptance(t *testing.T) {
	t.Parallel()
	life := func(t0, accepted events.Millis) events.Millis {
		n := newTenant(t)
		for i := range 3 {
			m := login(i, t0+events.Millis(i)*events.Hour)
			m.Ingested, m.Tenant, m.Kind, m.EventID, m.Offset = accepted+events.Millis(i)*events.Hour, "acme", events.SignIn, "e", int64(i)
			for _, notice := range n.Fold(&m) {
				again := newTenant(t)
				for _, p := range n.Changed() {
					if err := again.Restore(p.Name, p.Value); err != nil {
						t.Fatal(err)
					}
				}
				if again.head.life != notice.Life {
					t.Errorf("restored life %v, was %v", again.head.life, notice.Life)
				}
				return notice.Life
			}
		}
		t.Fatal("nothing was told")
		return 0
	}
	if a, b := life(monday, monday), life(monday-events.Day, monday+events.Day); a >= b {
		t.Errorf("lives %v and %v: a late event at the beginning of a log makes it older", a, b)
	}
}

// An id that is no event's does not come between a state and its restore.
func TestLongIDsAreRestored(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	n := newTenant(t)
	for i := range 3000 {
		m := sighting(random, monday+events.Millis(i)*events.Minute)
		m.EventID = strings.Repeat("i", 600)
		if i%2 == 0 {
			m.User = strings.Repeat("u", maxUser-4) + fmt.Sprintf("%04d", i)
		}
		n.fold(m)
	}
	for _, p := range n.all() {
		b := encode(p)
		if size := len(b) + len(p.name()); size > p.room() {
			t.Errorf("%s takes %d bytes, announced are %d", p.name(), size, p.room())
		}
		if err := NewState("acme", n.config).Restore(p.name(), b); err != nil {
			t.Error(err)
		}
	}
}
