package graph

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 3, 4, 8, 15, 30, 123456789, time.UTC)

// world is an upstream and a clock, without a network: it answers with pages of what is visible at the time.
type world struct {
	now      time.Time
	created  []time.Time
	appears  []time.Time
	taken    []bool
	top      int
	requests int
}

// page answers for a sweep's page at hand. The next link is the count of records given so far.
func (w *world) page(s *sweep) (found []int, next string) {
	w.requests++
	offset := 0
	if s.Next != "" {
		offset, _ = strconv.Atoi(s.Next) // our own number
	}
	for i := range w.created {
		if !w.created[i].Before(s.At) && !w.created[i].After(s.To) && !w.appears[i].After(w.now) {
			found = append(found, i)
		}
	}
	slices.SortFunc(found, func(a, b int) int { return w.created[b].Compare(w.created[a]) }) // newest first
	found = found[min(offset, len(found)):]
	if len(found) > w.top {
		return found[:w.top], fmt.Sprint(offset + w.top)
	}
	return found, ""
}

// fill draws records that happen within a span and appear up to a day late.
func (w *world) fill(t *rapid.T, span time.Duration) {
	late := rapid.OneOf(
		rapid.Int64Range(0, int64(3*time.Minute)), rapid.Int64Range(0, int64(30*time.Minute)),
		rapid.Int64Range(0, int64(7*time.Hour)), rapid.Int64Range(int64(23*time.Hour), int64(day)),
	)
	for range rapid.IntRange(1, 60).Draw(t, "records") {
		created := start.Add(time.Duration(rapid.Int64Range(-int64(20*time.Hour), int64(span)).Draw(t, "created")))
		w.created = append(w.created, created)
		w.appears = append(w.appears, created.Add(time.Duration(late.Draw(t, "late"))))
	}
	w.taken = make([]bool, len(w.created))
}

// Whatever comes late by up to a day, whatever fails, is refused or crashes, every record is taken; and what the daily look
// calls final has been taken.
func TestEveryRecordIsTaken(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const span = 60 * time.Hour
		w := &world{now: start, top: rapid.IntRange(1, 5).Draw(t, "page")}
		w.fill(t, span)
		p := reread(t, nil, w.now)
		kept := p.encode()
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "faults"), 0))
		upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
		for troubled := start.Add(span); w.now.Before(troubled.Add(3 * day)); {
			trouble := w.now.Before(troubled)
			i, wait := p.next(w.now, 30*day)
			if i < 0 {
				if wait <= 0 {
					t.Fatalf("nothing is due, and to be waited for: %v", wait)
				}
				w.now = w.now.Add(wait + upTo(20*time.Minute))
				continue
			}
			w.now = w.now.Add(upTo(time.Minute))
			switch fault := random.IntN(10); {
			case trouble && fault == 0: // a fault, or kill -9 before the page was acknowledged: back to what was kept
				p = reread(t, kept, w.now)
				continue
			case trouble && fault == 1 && random.IntN(20) == 0: // an outage
				w.now = w.now.Add(upTo(26 * time.Hour))
				p = reread(t, kept, w.now)
				troubled = later(troubled, w.now)
				continue
			case trouble && fault == 2: // a refused link, or a window that is too wide
				p.Levels[i].Sweep.restarted()
				p.moved(i)
				kept = p.encode()
				continue
			}
			s := &p.Levels[i].Sweep
			found, next := w.page(s)
			p.Span = s.turned(next, p.Span)
			p.moved(i)
			kept = p.encode()
			for _, r := range found {
				w.taken[r] = true
			}
			if random.IntN(4) == 0 { // restarted after the page
				p = reread(t, kept, w.now)
			}
			for r, created := range w.created {
				if longest := p.Levels[len(looks)-1].Final; created.Before(longest) && !created.Before(start.Add(-day)) && !w.taken[r] {
					t.Fatalf("the record of %v (there since %v) is not taken and final is %v", created, w.appears[r], longest)
				}
			}
		}
		for r, taken := range w.taken {
			if !taken {
				t.Fatalf("the record of %v, there since %v, was never taken", w.created[r], w.appears[r])
			}
		}
	})
}

// The looks cost what they must: their windows by the clock, and every record as often as windows overlap it.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{now: start, top: rapid.IntRange(1, 5).Draw(t, "page")}
		const span = 50 * time.Hour
		w.fill(t, span)
		p := reread(t, nil, w.now)
		for w.now.Before(start.Add(span)) {
			i, wait := p.next(w.now, 30*day)
			if i < 0 {
				w.now = w.now.Add(wait)
				continue
			}
			w.now = w.now.Add(2 * time.Second)
			s := &p.Levels[i].Sweep
			_, next := w.page(s)
			p.Span = s.turned(next, p.Span)
			p.moved(i)
		}
		bound := 0
		for _, l := range looks {
			begun := int(span/l.every) + 1
			windows := int((l.late+l.every)/firstSpan) + 1
			overlaps := int((l.late+l.every)/l.every) + 1
			bound += begun*windows + overlaps*len(w.created)
		}
		bound += int(day / firstSpan) // catching up at the start
		if w.requests > bound {
			t.Fatalf("%d requests for %d records, at most %d were to be made", w.requests, len(w.created), bound)
		}
	})
}

// A record that comes late is found by the look that is meant for it, not a day later.
func TestLateRecordsAreFoundInTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ late, within time.Duration }{
		{2 * time.Minute, time.Minute},
		{14 * time.Minute, time.Minute},
		{50 * time.Minute, 6 * time.Minute},
		{6 * time.Hour, 25 * time.Hour},
		{23 * time.Hour, 25 * time.Hour},
	} {
		w := &world{now: start, top: 10, created: []time.Time{start.Add(30 * time.Hour)}, taken: []bool{false}}
		w.appears = []time.Time{w.created[0].Add(c.late)}
		p := reread(t, nil, w.now)
		for !w.taken[0] && w.now.Before(start.Add(10*day)) {
			i, wait := p.next(w.now, 30*day)
			if i < 0 {
				w.now = w.now.Add(wait)
				continue
			}
			w.now = w.now.Add(time.Second)
			s := &p.Levels[i].Sweep
			found, next := w.page(s)
			p.Span = s.turned(next, p.Span)
			p.moved(i)
			w.taken[0] = w.taken[0] || len(found) > 0
		}
		if got := w.now.Sub(w.appears[0]); !w.taken[0] || got > c.within {
			t.Errorf("late by %v: found %v after it appeared (taken: %v), want within %v", c.late, got, w.taken[0], c.within)
		}
	}
}

// While one look has much to do, the others keep their turns.
func TestNoLookIsStarved(t *testing.T) {
	t.Parallel()
	p := reread(t, nil, start)
	now := start
	begun := [len(looks)]int{}
	for range 80_000 {
		i, wait := p.next(now, 30*day)
		if i < 0 {
			now = now.Add(wait)
			continue
		}
		now = now.Add(2 * time.Second)
		s := &p.Levels[i].Sweep
		if s.At.Equal(s.From) && s.Pages == 0 {
			begun[i]++
		}
		next := ""
		if s.Pages < int(s.To.Sub(s.At)/time.Minute) { // a page a minute: 1.4 million records a day
			next = "more"
		}
		p.Span = s.turned(next, p.Span)
		p.moved(i)
	}
	for i, n := range begun {
		if n < 1 {
			t.Errorf("look %d was never begun", i)
		}
	}
	for i := range looks[:2] {
		if behind := now.Sub(p.Levels[i].Final) - looks[i].late; behind > 30*time.Minute {
			t.Errorf("look %d is %v behind", i, behind)
		}
	}
}

// A clock that was ahead, and is put right, hides nothing.
func TestAClockThatWasAheadHidesNothing(t *testing.T) {
	t.Parallel()
	p := reread(t, nil, start)
	now := start.Add(5 * time.Hour) // wrong by five hours
	run := func(until time.Time) {
		for now.Before(until) {
			i, wait := p.next(now, 30*day)
			if i < 0 {
				now = now.Add(wait)
				continue
			}
			s := &p.Levels[i].Sweep
			p.Span = s.turned("", p.Span)
			p.moved(i)
		}
	}
	run(now.Add(time.Hour))
	now = start.Add(time.Hour)
	i, _ := p.next(now, 30*day)
	if i < 0 {
		p.next(now.Add(looks[0].every), 30*day)
	}
	for i := range p.Levels {
		if latest := now.Add(-looks[i].late + looks[i].every); p.Levels[i].Final.After(now) {
			t.Errorf("look %d calls %v final at %v (latest sensible: %v)", i, p.Levels[i].Final, now, latest)
		}
	}
}

func reread(t interface{ Fatal(...any) }, position []byte, now time.Time) *plan {
	p, err := readPlan(position, now, day)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
