package policy

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
)

func asks(user int, at events.Millis) *events.Event {
	return &events.Event{
		Kind: events.SignIn, Outcome: events.Success, Tenant: "acme", User: events.User{ID: fmt.Sprint("user-", user)},
		Time: at - events.Hour, Ingested: at,
	}
}

const noon events.Millis = 1767268800000

func TestBreakerCountsAMinute(t *testing.T) {
	limits := BreakerLimits{PerMinute: 80, UserShare: 1, MinUsers: 1 << 20}
	var b Breaker
	for i := range 10 { // one of eight partitions: ten a minute
		if why, _ := b.Take(limits, 8, asks(i, noon+events.Millis(i)*5*events.Second)); why != "" {
			t.Fatalf("%d: %s", i, why)
		}
	}
	copied := b
	if why, tripped := b.Take(limits, 8, asks(10, noon+55*events.Second)); why == "" || !tripped {
		t.Error("the eleventh within a minute passes")
	}
	if why, _ := copied.Take(limits, 8, asks(10, noon+70*events.Second)); why != "" {
		t.Errorf("a minute later: %s", why)
	}
	if why, tripped := b.Take(limits, 8, asks(11, noon+events.Day)); why == "" || tripped {
		t.Errorf("a tripped breaker lets go by itself: %q, %v", why, tripped)
	}
	b.Reset()
	if why, _ := b.Take(limits, 8, asks(11, noon+events.Day)); why != "" {
		t.Errorf("after the reset: %s", why)
	}
}

func TestBreakerKnowsTheShareOfUsers(t *testing.T) {
	limits := BreakerLimits{PerMinute: 1 << 19, UserShare: 0.1, MinUsers: 400}
	for active, want := range map[int]int{20: 1 << 20, 100: 10, 1000: 100, 5000: 500} {
		var b Breaker
		for u := range active {
			b.See(asks(u, noon))
		}
		raised := 0
		for u := range active {
			if why, _ := b.Take(limits, 8, asks(u, noon+events.Millis(u)*events.Minute)); why != "" {
				break
			}
			raised++
		}
		if want > active {
			want = active // too few for the share to count
		}
		if low, high := want*80/100, want*120/100+1; raised < low || raised > high {
			t.Errorf("%d active users: %d were asked, want about %d", active, raised, want)
		}
	}
}

func TestWhoIsNotThereIsNotActive(t *testing.T) {
	var b Breaker
	for i := range 1000 {
		e := asks(i, noon)
		e.Outcome = events.Failure
		b.See(e)
		e = asks(i, noon)
		e.User.Type = events.Unresolved
		b.See(e)
	}
	if n := countBoth(&b.active[0], &b.active[1]); n != 0 {
		t.Errorf("%d active", n)
	}
}

func TestSketchCounts(t *testing.T) {
	for _, n := range []int{0, 1, 5, 50, 300, 1000, 20_000} {
		var a, b sketch
		for i := range n {
			a.add(userHash(fmt.Sprint("a", i)))
			b.add(userHash(fmt.Sprint("a", i+n/2)))
		}
		if got, want := float64(countBoth(&a, &b)), float64(n+n/2); got < want*0.8-1 || got > want*1.2+1 {
			t.Errorf("%g of %g", got, want)
		}
	}
}

// Whatever comes, in whatever order: a breaker allows no more than it says, once tripped it holds until it is reset, and
// one that was stored and read goes on like one that was not.
func TestBreakerLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := BreakerLimits{
			PerMinute: rapid.IntRange(1, 100).Draw(t, "per minute"), UserShare: rapid.Float64Range(0.01, 1).Draw(t, "share"),
			MinUsers: rapid.IntRange(1, 50).Draw(t, "users"),
		}
		partitions := rapid.IntRange(0, 16).Draw(t, "partitions")
		allowed := max((limits.PerMinute+max(partitions, 1)-1)/max(partitions, 1), leastInPartition)
		var b Breaker
		at, granted := noon, []events.Millis{}
		tripped := false
		for i := range rapid.IntRange(1, 80).Draw(t, "events") {
			at += rapid.SampledFrom([]events.Millis{0, 100, 3000, 15_000, -20_000, 70_000, events.Day}).Draw(t, "after")
			e := asks(rapid.IntRange(0, 30).Draw(t, "user"), at)
			if decoded, err := DecodeBreaker(b.AppendBinary(nil)); err != nil {
				t.Fatal(err)
			} else if diff := cmp.Diff(decoded, b, cmp.AllowUnexported(Breaker{})); diff != "" {
				t.Fatalf("(-got, +want)\n%s", diff)
			}
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				b.Reset()
				tripped, granted = false, nil
			case 1, 2, 3:
				b.See(e)
			default:
				why, now := b.Take(limits, partitions, e)
				if tripped && (why == "" || now) {
					t.Fatalf("event %d: it was tripped and let go", i)
				}
				if now != (why != "" && !tripped) {
					t.Fatalf("event %d: tripped %v, why %q", i, now, why)
				}
				if tripped = why != ""; tripped {
					continue
				}
				granted = append(granted, at)
				latest, within := events.Millis(0), 0
				for _, g := range granted {
					latest = max(latest, g)
				}
				for _, g := range granted {
					if g > latest-50*events.Second {
						within++
					}
				}
				if within > allowed {
					t.Fatalf("event %d: %d within a minute, %d are allowed", i, within, allowed)
				}
			}
		}
		if n := len(b.AppendBinary(nil)); n > 1500 {
			t.Fatalf("%d bytes", n)
		}
	})
}

func FuzzDecodeBreaker(f *testing.F) {
	var b Breaker
	f.Add([]byte{})
	for i := range 100 {
		b.See(asks(i, noon))
		b.Take(DefaultBreakerLimits(), 1, asks(i, noon))
		f.Add(b.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := DecodeBreaker(in)
		if err != nil {
			return
		}
		again, err := DecodeBreaker(b.AppendBinary(nil))
		if err != nil || again != b {
			t.Fatalf("%v", err)
		}
		b.See(asks(1, noon))
		b.Take(DefaultBreakerLimits(), 8, asks(1, noon))
	})
}

func BenchmarkBreakerSee(b *testing.B) {
	var breaker Breaker
	e := asks(1, noon)
	for b.Loop() {
		breaker.See(e)
	}
}
