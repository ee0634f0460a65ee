package org

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// heap is the memory that building something leaves behind.
func heap(build func() any) (kept any, bytes int64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept = build()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return kept, int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// 100,000 addresses against one account, then a million users of one address each: memory stays within the bounds.
//
//nolint:paralleltest // it measures the heap
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("a million sightings")
	}
	var n *tenant
	_, first := heap(func() any {
		n = newTenant(t)
		for i := range 100_000 {
			ip := fmt.Sprintf("2001:db8:%x:%x::1", i>>8, i&255)
			m := failure("victim", monday+events.Millis(i)*100, ip, fmt.Sprintf("2001:db8:%x::/48", i>>8), uint32(i%5000))
			m.Agent = fmt.Sprintf("%016x", i)
			n.fold(m)
			n.Clean()
		}
		return n
	})
	if len(n.sources.nodes) > n.config.Sources {
		t.Errorf("%d sources, at most %d are allowed", len(n.sources.nodes), n.config.Sources)
	}
	_, second := heap(func() any {
		for i := range 1_000_000 {
			m := login(i, monday+3*events.Hour+events.Millis(i)*80)
			m.Network.Prefix = fmt.Sprintf("2001:db8:%x::/48", i)
			m.Network.ASN = uint32(i)
			m.App.ID = fmt.Sprint("app ", i)
			n.fold(m)
			n.Clean()
		}
		return n
	})
	t.Logf("%d KB after 100,000 addresses, %d KB more after a million users", first>>10, second>>10)
	if first > 64<<20 || first+second > 128<<20 {
		t.Errorf("%d MB after 100,000 addresses, %d MB more after a million users", first>>20, second>>20)
	}
	if got := n.Context().Users; got < 900_000 || got > 1_100_000 {
		t.Errorf("%d users counted of a million", got)
	}
	runtime.KeepAlive(n)
}

// A source takes at most 800 bytes, whoever attacks from it.
func TestSourcesStaySmall(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]func(i int) string{
		"guids": user, "names": func(i int) string { return fmt.Sprintf("name:%d@example.com", i) },
		"long": func(i int) string { return strings.Repeat("x", 250) + fmt.Sprint(i) }, "short": func(i int) string { return fmt.Sprint(i) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, 1))
			n := newTenant(t)
			largest := 0
			for i := range 20_000 {
				at := monday + events.Millis(i)*200
				m := failure(id(random.IntN(1+i)), at, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8:ffff::/48", 4_000_000_000)
				if i%7 == 0 {
					m.Outcome, m.Cause = events.Success, ""
				}
				n.fold(m)
				if i%500 == 499 {
					for _, s := range n.sources.nodes {
						largest = max(largest, len(encode(s.value)))
					}
				}
			}
			if largest > maxSource {
				t.Errorf("a source takes %d bytes", largest)
			}
			t.Logf("%d bytes", largest)
		})
	}
}

// Every piece keeps to the room it announces, or a batch could not be written as one.
func TestPiecesKeepToTheirRoom(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	n := newTenant(t)
	long := strings.Repeat("é", 120)
	for i := range 30_000 {
		m := sighting(random, monday+events.Millis(i)*20*events.Second)
		m.App = events.Ref{ID: fmt.Sprint(long, random.IntN(5000)), Name: long}
		m.Protocol, m.Device.OS = fmt.Sprint(long, random.IntN(100)), long
		if random.IntN(2) == 0 {
			m.User = strings.Repeat("u", maxUser-4) + fmt.Sprintf("%04d", random.IntN(5000))
			m.EventID = strings.Repeat("e", events.MaxID)
			m.Device.ID = fmt.Sprint("d", random.IntN(300))
		}
		n.fold(m)
	}
	for _, p := range n.all() {
		if size := len(encode(p)) + len(p.name()); size > p.room() {
			t.Errorf("%s takes %d bytes, announced are %d", p.name(), size, p.room())
		}
	}
	if len(n.incidents.nodes) > n.config.Incidents {
		t.Errorf("%d incidents", len(n.incidents.nodes))
	}
}

// Times that run backwards, far ahead or far apart change no bound and crash nothing.
func TestTimesThatCannotBe(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	n := newTenant(t)
	for i := range 5000 {
		m := sighting(random, monday+events.Millis(random.Int64N(400*events.Day))-200*events.Day)
		m.Offset, m.Tenant, m.Kind, m.EventID = int64(i), "acme", events.SignIn, fmt.Sprint(i)
		switch i % 100 {
		case 7:
			m.Time = 1
		case 8:
			m.Time, m.Ingested = 1<<60, monday // not believed
		}
		n.Fold(&m)
	}
	if n.head.now > monday+300*events.Day {
		t.Errorf("now is %v", n.head.now)
	}
}

func FuzzRestore(f *testing.F) {
	n := newTenant(f)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 2000 {
		n.fold(sighting(random, monday+events.Millis(i)*events.Minute))
	}
	for _, p := range n.Changed() {
		f.Add(p.Name, p.Value)
	}
	config := DefaultConfig()
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		s := NewState("acme", &config)
		if s.Restore(name, value) != nil || value == nil {
			return
		}
		// What is read is written and read again the same, and a sighting on top of it does no harm.
		once := s.Encode(name)
		again := NewState("acme", &config)
		if err := again.Restore(name, once); err != nil {
			t.Fatal(err)
		}
		if twice := again.Encode(name); string(once) != string(twice) {
			t.Errorf("%s: %x became %x", name, once, twice)
		}
	})
}
