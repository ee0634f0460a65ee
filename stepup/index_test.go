package stepup

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func newIndex(t testing.TB, cfg IndexConfig) *Index {
	t.Helper()
	x, err := NewIndex(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// change builds claims about user u of tenant acme; the requirement holds for an hour from now.
func change(id string, u, session string, s Status) Claims {
	now := time.Now()
	c := Claims{JTI: "jti-" + id + string(s), Status: s, Requirement: Requirement{
		ID: id, JTI: "jti-" + id + string(s), Subject: Subject{Tenant: "acme", User: u, Session: session}, Action: ActionStepUp,
		ACRValues: []string{"phr", "mfa"}, NotBefore: now, Expires: now.Add(time.Hour),
	}}
	if s != StatusOpen {
		c.ClosedAt = now
	}
	return c
}

func isOpen(x *Index, u, session string) bool {
	_, ok := x.Check(Subject{Tenant: "acme", User: u, Session: session})
	return ok
}

func TestIndexFollowsTheLifeOfARequirement(t *testing.T) {
	t.Parallel()
	x := newIndex(t, IndexConfig{})
	if isOpen(x, "u1", "") {
		t.Fatal("an empty index restrains")
	}
	open := change("r1", "u1", "", StatusOpen)
	x.Apply(open)
	x.Apply(open)
	got, ok := x.Check(Subject{Tenant: "acme", User: "u1", Session: "any"})
	if !ok || got.ID != "r1" || got.JTI != open.JTI {
		t.Fatalf("%+v, %v", got, ok)
	}
	for _, other := range []Subject{{"acme", "u2", ""}, {"u1", "acme", ""}, {"", "", ""}, {"acm", "eu1", ""}} {
		if _, ok := x.Check(other); ok {
			t.Errorf("%+v is restrained", other)
		}
	}
	x.Apply(change("r1", "u1", "", StatusSatisfied))
	x.Apply(open) // a late repeat
	if isOpen(x, "u1", "") {
		t.Error("a repeat opened a satisfied requirement again")
	}
	x.Remove("acme/u1/r1")
	x.Apply(open)
	if isOpen(x, "u1", "") {
		t.Error("a repeat opened a removed requirement again")
	}
	x.Remove("acme/u1/unknown")
	x.Remove("")
	if s := x.Stats(); s != (Stats{Closed: 1}) {
		t.Errorf("stats %+v", s)
	}
}

func TestIndexKeepsSessionsApart(t *testing.T) {
	t.Parallel()
	x := newIndex(t, IndexConfig{})
	x.Apply(change("r1", "u1", "s1", StatusOpen))
	for session, want := range map[string]bool{"s1": true, "s2": false, "": true} {
		if got := isOpen(x, "u1", session); got != want {
			t.Errorf("session %q: restrained %v, want %v", session, got, want)
		}
	}
}

func TestIndexAnswersTheStrictest(t *testing.T) {
	t.Parallel()
	x := newIndex(t, IndexConfig{})
	late := change("later", "u1", "", StatusOpen)
	late.Requirement.NotBefore = late.Requirement.NotBefore.Add(time.Second)
	revoke := change("revoke", "u1", "s1", StatusOpen)
	revoke.Requirement.Action = ActionRevokeSession
	for _, c := range []Claims{change("early", "u1", "", StatusOpen), revoke, late} {
		x.Apply(c)
	}
	for session, want := range map[string]string{"s1": "revoke", "s2": "later"} {
		if r, ok := x.Check(Subject{"acme", "u1", session}); !ok || r.ID != want {
			t.Errorf("session %s: %+v, want %s", session, r, want)
		}
	}
}

func TestIndexLetsRequirementsEndByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newIndex(t, IndexConfig{})
		short := change("short", "u1", "", StatusOpen)
		short.Requirement.Expires = time.Now().Add(time.Minute)
		x.Apply(change("long", "u2", "", StatusOpen))
		x.Apply(short)
		time.Sleep(time.Minute - time.Millisecond)
		if !isOpen(x, "u1", "") {
			t.Error("ended too early")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if isOpen(x, "u1", "") || !isOpen(x, "u2", "") {
			t.Error("the short one must have ended, the long one not")
		}
		x.Apply(short)
		if isOpen(x, "u1", "") {
			t.Error("a requirement that has ended was opened")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := x.Stats(); s != (Stats{}) {
			t.Errorf("stats %+v, want nothing left", s)
		}
	})
}

func TestIndexForgetsTheSoonestToEndPastItsBound(t *testing.T) {
	t.Parallel()
	x := newIndex(t, IndexConfig{MaxOpen: 3})
	for i, minutes := range []int{40, 10, 30, 20, 50} {
		c := change(fmt.Sprint("r", i), fmt.Sprint("u", i), "", StatusOpen)
		c.Requirement.Expires = time.Now().Add(time.Duration(minutes) * time.Minute)
		x.Apply(c)
	}
	for i, want := range []bool{true, false, true, false, true} {
		if got := isOpen(x, fmt.Sprint("u", i), ""); got != want {
			t.Errorf("u%d: %v, want %v", i, got, want)
		}
	}
	if s := x.Stats(); s != (Stats{Open: 3, Evicted: 2}) {
		t.Errorf("stats %+v", s)
	}
}

func TestIndexBoundsTheRequirementsOfOneUser(t *testing.T) {
	t.Parallel()
	x := newIndex(t, IndexConfig{})
	for i := range 3 * maxPerUser {
		x.Apply(change(fmt.Sprint("r", i), "u1", "", StatusOpen))
	}
	x.Apply(change("other", "u2", "", StatusOpen))
	if s := x.Stats(); s != (Stats{Open: maxPerUser + 1, Evicted: 2 * maxPerUser}) {
		t.Errorf("stats %+v", s)
	}
	if !isOpen(x, "u1", "") || !isOpen(x, "u2", "") {
		t.Error("both users must be restrained")
	}
}

// thirdParty is a change that countersign did not ask for.
func thirdParty(id, user, session string) Claims {
	c := change(id, user, session, StatusOpen)
	c.Requirement.ThirdParty = true
	c.Requirement.Expires = c.Requirement.Expires.Add(48 * time.Hour) // it would stay longest
	return c
}

// TestIndexForgetsThirdPartiesFirst: no flood of theirs, before or after, about one user or many, costs a requirement of
// countersign, open or satisfied.
func TestIndexForgetsThirdPartiesFirst(t *testing.T) {
	t.Parallel()
	for name, user := range map[string]func(i int) string{
		"one user": func(int) string { return "u1" }, "many users": func(i int) string { return fmt.Sprint("other", i) },
	} {
		for _, late := range []bool{false, true} {
			x := newIndex(t, IndexConfig{MaxOpen: 100})
			flood := func() {
				for i := range 150 {
					x.Apply(thirdParty(fmt.Sprint("t", late, i), user(i), "bogus"))
				}
			}
			if late {
				flood()
			}
			for i := range 20 {
				id := fmt.Sprint("own", i)
				if !x.Apply(change(id, "u1", fmt.Sprint("s", i), StatusOpen)) {
					t.Errorf("%s, late %v: no room for %s", name, late, id)
				}
			}
			x.Apply(change("own0", "u1", "s0", StatusSatisfied))
			flood()
			for i := range 20 {
				if r, ok := x.Check(Subject{"acme", "u1", fmt.Sprint("s", i)}); ok != (i > 0) || ok && r.ThirdParty {
					t.Errorf("%s, late %v: session s%d: %+v, %v", name, late, i, r, ok)
				}
			}
			if s := x.Stats(); s.Closed != 1 || s.Evicted == 0 || s.Open > 100 {
				t.Errorf("%s, late %v: %+v", name, late, s)
			}
		}
	}
}

// TestIndexTurnsAwayAThirdPartyForWantOfRoom: where all the room is countersign's, and says so.
func TestIndexTurnsAwayAThirdPartyForWantOfRoom(t *testing.T) {
	t.Parallel()
	x := newIndex(t, IndexConfig{MaxOpen: maxPerUser + 1})
	for i := range maxPerUser {
		x.Apply(change(fmt.Sprint("own", i), "u1", "", StatusOpen))
	}
	if x.Apply(thirdParty("t1", "u1", "")) {
		t.Error("the user's 65th was taken in")
	}
	x.Apply(change("own", "u2", "", StatusOpen))
	if x.Apply(thirdParty("t2", "u3", "")) || isOpen(x, "u3", "") {
		t.Error("one more than MaxOpen was taken in")
	}
	if s := x.Stats(); s != (Stats{Open: maxPerUser + 1, Evicted: 2}) {
		t.Errorf("%+v", s)
	}
	closing := thirdParty("own", "u2", "")
	closing.Status = StatusExpired
	if x.Apply(closing) || !isOpen(x, "u2", "") {
		t.Error("a third party has closed a requirement of countersign")
	}
}

func TestIndexIsFreshAfterItCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newIndex(t, IndexConfig{MaxStaleness: 10 * time.Second})
		x.Heartbeat()
		if age, fresh := x.Fresh(); fresh || age >= 0 {
			t.Errorf("never caught up: %v, %v", age, fresh)
		}
		x.CaughtUp()
		time.Sleep(10 * time.Second)
		if age, fresh := x.Fresh(); !fresh || age != 10*time.Second {
			t.Errorf("at the limit: %v, %v", age, fresh)
		}
		time.Sleep(time.Second)
		if _, fresh := x.Fresh(); fresh {
			t.Error("fresh past the limit")
		}
		x.Heartbeat()
		x.HeardAt(time.Now().Add(-time.Hour)) // never goes back
		if age, fresh := x.Fresh(); !fresh || age != 0 {
			t.Errorf("after a heartbeat: %v, %v", age, fresh)
		}
	})
}

// TestIndexAgreesWithAPlainModel plays random changes, repeats and orders against a map.
func TestIndexAgreesWithAPlainModel(t *testing.T) {
	t.Parallel()
	rank := map[Status]int{StatusOpen: 1, StatusSatisfied: 2, StatusExpired: 2}
	rapid.Check(t, func(t *rapid.T) {
		x, err := NewIndex(IndexConfig{})
		if err != nil {
			t.Fatal(err)
		}
		type state struct {
			claims Claims
			status Status
		}
		model := map[string]*state{}
		for range rapid.IntRange(0, 120).Draw(t, "steps") {
			n := rapid.IntRange(0, 29).Draw(t, "requirement")
			id, user := fmt.Sprint("r", n), fmt.Sprint("u", n%7)
			session := []string{"", "s1", "s2"}[n%3]
			if rapid.IntRange(0, 9).Draw(t, "remove") == 0 {
				x.Remove("acme/" + user + "/" + id)
				if m := model[id]; m != nil {
					m.status = StatusExpired
				}
				continue
			}
			c := change(id, user, session, rapid.SampledFrom([]Status{StatusOpen, StatusOpen, StatusSatisfied, StatusExpired}).Draw(t, "status"))
			x.Apply(c)
			if m := model[id]; m == nil {
				model[id] = &state{c, c.Status}
			} else if rank[c.Status] > rank[m.status] {
				m.status = c.Status
			}
		}
		open := 0
		want := map[Subject]bool{}
		for _, m := range model {
			if m.status != StatusOpen {
				continue
			}
			open++
			for _, s := range []string{"", "s1", "s2"} {
				if r := m.claims.Requirement; r.applies(s) {
					want[Subject{"acme", r.User, s}] = true
				}
			}
		}
		for u := range 7 {
			for _, s := range []string{"", "s1", "s2"} {
				subject := Subject{"acme", fmt.Sprint("u", u), s}
				r, got := x.Check(subject)
				if got != want[subject] {
					t.Fatalf("%+v: %v, want %v", subject, got, want[subject])
				}
				if got && (r.User != subject.User || model[r.ID].status != StatusOpen || !r.applies(s)) {
					t.Fatalf("%+v: wrong requirement %+v", subject, r)
				}
			}
		}
		if s := x.Stats(); s.Open != open || s.Open+s.Closed != len(model) {
			t.Fatalf("stats %+v, want %d open of %d", s, open, len(model))
		}
	})
}

// TestTableFindsAllThatIsLeft grows and shrinks a table, whose deletion moves entries.
func TestTableFindsAllThatIsLeft(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var tab table
		tab.init()
		// Few shards and homes, so that runs are long and wrap around.
		tags := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) uint64 {
			return rapid.Uint64Range(0, 3).Draw(t, "home")<<62 | rapid.Uint64Range(0, 40).Draw(t, "rest")<<20 | 2
		}), 1, 60).Draw(t, "tags")
		in := map[uint64]*user{}
		for i, tag := range tags {
			if have := in[tag]; have != nil && i%2 == 0 {
				tab.set(tag, nil)
				delete(in, tag)
				continue
			}
			who := &user{first: restraint{Requirement: Requirement{ID: fmt.Sprint(i)}}}
			tab.set(tag, who)
			in[tag] = who
		}
		for i, tag := range tags {
			if got, _ := tab.get(tag); got != in[tag] {
				t.Fatalf("tag %d %#x: %v, want %v", i, tag, got, in[tag])
			}
		}
		used := 0
		for i := range tab.shards {
			used += tab.shards[i].used
		}
		if used != len(in) {
			t.Fatalf("%d used, want %d", used, len(in))
		}
	})
}

// TestIndexIsSafeWhileItChanges is for the race detector, and checks that a user who is always restrained is never seen
// free while neighbours come and go.
func TestIndexIsSafeWhileItChanges(t *testing.T) {
	t.Parallel()
	x := newIndex(t, IndexConfig{})
	for i := range 100 {
		x.Apply(change(fmt.Sprint("fixed", i), fmt.Sprint("fixed", i), "", StatusOpen))
	}
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := range 5000 {
				id := fmt.Sprint("w", w, "-", i%700)
				x.Apply(change(id, id, "", StatusOpen))
				if i%3 == 0 {
					x.Remove("acme/x/" + id)
				}
			}
		})
		wg.Go(func() {
			for i := range 20000 {
				if u := fmt.Sprint("fixed", i%100); !isOpen(x, u, "") {
					t.Errorf("%s was seen free", u)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestCheckAllocatesNothing(t *testing.T) {
	x := newIndex(t, IndexConfig{})
	x.Apply(change("r1", "u1", "", StatusOpen))
	x.Apply(change("r2", "u2", "s1", StatusOpen))
	for _, s := range []Subject{{"acme", "u1", "s"}, {"acme", "u2", "s1"}, {"acme", "u2", "s2"}, {"acme", "u3", ""}} {
		if n := testing.AllocsPerRun(1000, func() { x.Check(s) }); n != 0 {
			t.Errorf("%+v: %v allocations", s, n)
		}
	}
}
