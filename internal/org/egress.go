package org

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

const (
	// memoryDays is how far back qualifying successes count.
	memoryDays = 30
	// maxPending is how many days a success may wait before it counts, maxPendingUsers how many users of a day wait.
	maxPending      = 7
	maxPendingUsers = 16
	// MaxRevoked is how many prefixes a sighting may make doubtful: two of each session of a user, and that of the event.
	MaxRevoked = 2*32 + 1
	// maxEgress bounds the list that a context tells.
	maxEgress = 1000
	// leastRatio is the least mean failure ratio of an egress that a jump is measured from.
	leastRatio = 0.02
)

// egress is what is known of a prefix that may be the organisation's own: who proved identity there, and when.
type egress struct {
	marks
	prefix string
	// learned is when it became the organisation's own, 0 before.
	learned events.Millis
	// regulars are users known one by one, by hash, until there are more than exactUsers: then they are counted in two
	// generations of 15 days, and days are those of all.
	regulars []regular
	many     bool
	began    int64       // the day of the current generation
	users    [2]distinct // medium
	days     daySet
	// pending are successes in quarantine, by day and user.
	pending []pending
	// Attempts that failed and succeeded, decayed with a time constant of 7 days, as of at.
	failed, passed float64
	at             events.Millis
}

type regular struct {
	hash uint64
	days daySet
}

type pending struct {
	day  int64
	hash uint64
}

// daySet are days: bit 0 is day last, bit i the i-th day before.
type daySet struct {
	last int64
	bits uint32
}

func (d *daySet) add(day int64) {
	switch gap := day - d.last; {
	case d.bits == 0 || gap >= memoryDays:
		*d = daySet{day, 1}
	case gap >= 0:
		d.bits, d.last = d.bits<<gap&(1<<memoryDays-1)|1, day
	case gap > -memoryDays:
		d.bits |= 1 << -gap
	}
}

// within are the bits of the last memoryDays before and including today.
func (d *daySet) within(today int64) uint32 {
	gap := today - d.last
	if gap < 0 || gap >= memoryDays {
		return 0
	}
	return d.bits << gap & (1<<memoryDays - 1)
}

func ones(bits uint32) (n int) {
	for ; bits != 0; bits &= bits - 1 {
		n++
	}
	return n
}

func dayOf(t events.Millis) int64 { return int64(math.Floor(float64(t) / events.Day)) }

func (g *egress) name() string { return pieceEgress + "/" + g.prefix }
func (g *egress) room() int {
	return 2*len(g.prefix) + 80 + exactUsers*24 + 2*140 + (maxPending+1)*maxPendingUsers*11
}

// counts are how many users qualified and on how many days, as of today.
func (g *egress) counts(today int64) (users, days int) {
	if g.many {
		return union(&g.users[0], &g.users[1]), ones(g.days.within(today))
	}
	var all uint32
	for i := range g.regulars {
		if bits := g.regulars[i].days.within(today); bits != 0 {
			users++
			all |= bits
		}
	}
	return users, ones(all)
}

// wait puts a qualifying success into quarantine; it tells whether that is new.
func (g *egress) wait(day int64, h uint64) bool {
	of := 0
	for _, p := range g.pending {
		if p.day == day {
			if p.hash == h {
				return false
			}
			of++
		}
	}
	if of >= maxPendingUsers || len(g.pending) >= (maxPending+1)*maxPendingUsers {
		return false
	}
	g.pending = append(g.pending, pending{day, h})
	return true
}

// mature counts what has waited until today; it tells whether anything did.
func (g *egress) mature(today, quarantine int64) bool {
	some := false
	g.pending = slices.DeleteFunc(g.pending, func(p pending) bool {
		if p.day+quarantine > today {
			return false
		}
		some = true
		g.count(p.day, p.hash, today)
		return true
	})
	return some
}

func (g *egress) count(day int64, h uint64, today int64) {
	if !g.many {
		i, found := slices.BinarySearchFunc(g.regulars, h, func(r regular, h uint64) int { return cmp.Compare(r.hash, h) })
		if found {
			g.regulars[i].days.add(day)
			return
		}
		if len(g.regulars) == exactUsers {
			g.regulars = slices.DeleteFunc(g.regulars, func(r regular) bool { return r.days.within(today) == 0 })
			i, _ = slices.BinarySearchFunc(g.regulars, h, func(r regular, h uint64) int { return cmp.Compare(r.hash, h) })
		}
		if len(g.regulars) < exactUsers {
			r := regular{hash: h}
			r.days.add(day)
			g.regulars = slices.Insert(g.regulars, i, r)
			return
		}
		g.many, g.began = true, today
		for _, r := range g.regulars {
			g.users[0].add(r.hash, medium)
			bits := r.days.within(today)
			for i := range int64(memoryDays) {
				if bits&(1<<i) != 0 {
					g.days.add(today - i)
				}
			}
		}
		g.regulars = nil
	}
	if today >= g.began+memoryDays/2 {
		g.users[1], g.users[0] = g.users[0], distinct{}
		if today >= g.began+memoryDays {
			g.users[1] = distinct{}
		}
		g.began = today
	}
	g.users[0].add(h, medium)
	g.days.add(day)
}

// revoke takes a user's counts back. Among many users one does not matter.
func (g *egress) revoke(h uint64) bool {
	n := len(g.pending) + len(g.regulars)
	g.pending = slices.DeleteFunc(g.pending, func(p pending) bool { return p.hash == h })
	g.regulars = slices.DeleteFunc(g.regulars, func(r regular) bool { return r.hash == h })
	some := n != len(g.pending)+len(g.regulars)
	for i := range g.users {
		some = g.users[i].remove(h) || some
	}
	return some
}

// reset forgets who qualified; it tells whether anybody had.
func (g *egress) reset() bool {
	if len(g.pending)+len(g.regulars) == 0 && !g.many {
		return false
	}
	g.pending, g.regulars, g.many, g.users, g.days = nil, nil, false, [2]distinct{}, daySet{}
	return true
}

// attempt counts an attempt for the failure ratio.
func (g *egress) attempt(t events.Millis, failed bool) {
	if t >= g.at+events.Hour {
		if g.at != 0 {
			f := fade(t - g.at)
			g.failed, g.passed = float64(g.failed*f), float64(g.passed*f)
		}
		g.at = t
	}
	if failed {
		g.failed++
	} else {
		g.passed++
	}
}

// ratio is the mean share of attempts that fail.
func (g *egress) ratio() float64 {
	if g.failed+g.passed == 0 {
		return leastRatio
	}
	return max(leastRatio, g.failed/(g.failed+g.passed))
}

func (g *egress) append(w *writer) {
	w.Uint(g.seq)
	w.millis(g.learned)
	w.Bool(g.many)
	w.Count(len(g.regulars))
	for i := range g.regulars {
		w.Fixed(g.regulars[i].hash)
		g.regulars[i].days.append(w)
	}
	w.millis(events.Millis(g.began))
	g.users[0].append(w)
	g.users[1].append(w)
	g.days.append(w)
	w.Count(len(g.pending))
	for _, p := range g.pending {
		w.millis(events.Millis(p.day))
		w.Fixed(p.hash)
	}
	w.Float(g.failed)
	w.Float(g.passed)
	w.millis(g.at)
}

func (d *daySet) append(w *writer) {
	w.millis(events.Millis(d.last))
	w.Uint(uint64(d.bits))
}

func (d *daySet) read(r *reader) {
	d.last, d.bits = int64(r.millis()), uint32(r.Count(1<<memoryDays-1))
}

func readEgress(prefix string, r *reader) *egress {
	g := &egress{prefix: prefix}
	g.seq, g.learned, g.many = r.Uint(), r.millis(), r.Bool()
	for range r.Count(exactUsers) {
		u := regular{hash: r.Fixed()}
		u.days.read(r)
		if n := len(g.regulars); n > 0 && g.regulars[n-1].hash >= u.hash {
			r.Fail("regulars out of order")
		}
		g.regulars = append(g.regulars, u)
	}
	g.began = int64(r.millis())
	g.users[0].read(r, medium)
	g.users[1].read(r, medium)
	g.days.read(r)
	for range r.Count((maxPending + 1) * maxPendingUsers) {
		g.pending = append(g.pending, pending{int64(r.millis()), r.Fixed()})
	}
	g.failed, g.passed, g.at = r.Float(), r.Float(), r.millis()
	return g
}

// own tells whether a prefix is the organisation's own.
func (s *State) own(prefix string) bool {
	if s.pinned[prefix] {
		return true
	}
	if s.banned[prefix] {
		return false
	}
	n := s.egress.nodes[prefix]
	return n != nil && n.value.learned != 0 && s.enough(n.value)
}

// enough tells whether as many users as it takes qualified at a prefix, on as many days, of the last 30.
func (s *State) enough(g *egress) bool {
	users, days := g.counts(dayOf(s.head.now))
	return users >= s.config.Egress.Users && days >= s.config.Egress.Days
}

// ownPrefixes lists the organisation's own prefixes for a context, by name: those that are pinned, and of those learned the
// ones most users qualified at.
func (s *State) ownPrefixes() []string {
	type known struct {
		prefix string
		users  int
	}
	today := dayOf(s.head.now)
	var learned []known
	for prefix, n := range s.egress.nodes {
		if !s.pinned[prefix] && s.own(prefix) {
			users, _ := n.value.counts(today)
			learned = append(learned, known{prefix, users})
		}
	}
	slices.SortFunc(learned, func(a, b known) int {
		return cmp.Or(cmp.Compare(b.users, a.users), cmp.Compare(a.prefix, b.prefix))
	})
	list := make([]string, 0, min(len(s.pinned)+len(learned), maxEgress))
	for prefix := range s.pinned {
		list = append(list, prefix)
	}
	for i := range learned[:min(len(learned), maxEgress-len(list))] {
		list = append(list, learned[i].prefix)
	}
	slices.Sort(list)
	return list
}

// learnEgress learns from a success where the organisation is.
func (s *State) learnEgress(m *events.Sighting, t events.Millis, h uint64) {
	prefix := m.Network.Prefix
	if prefix == "" || s.banned[prefix] {
		return
	}
	n := s.egress.nodes[prefix]
	qualifies := m.Proved && !m.Adverse && !m.Network.Is(events.Tor) && !m.Network.Is(events.VPN) && !m.Network.Is(events.Relay) &&
		!m.Network.Is(events.Mobile) && !m.Network.Is(events.Satellite) && !s.guilty(prefix) // everybody's networks are nobody's own
	if n == nil {
		if !qualifies {
			return
		}
		for n := 0; n < maxForgotten && len(s.egress.nodes) >= s.config.Egress.Prefixes; n++ {
			s.forgetEgress()
		}
		prefix = strings.Clone(prefix)
		n = s.egress.put(prefix, &egress{prefix: prefix, at: t})
		s.stamp(n.value)
	}
	g := n.value
	today := dayOf(s.head.now)
	changed := false
	if m.Adverse {
		changed = g.revoke(h)
	} else if qualifies {
		changed = g.wait(dayOf(t), h)
	}
	if g.learned != 0 || s.pinned[prefix] {
		g.attempt(t, false)
		changed = true
	}
	if changed {
		s.egress.use(n)
		s.stamp(g)
	}
	s.settle(g, today)
}

// settle counts what has waited long enough, and promotes or demotes.
func (s *State) settle(g *egress, today int64) {
	quarantine := int64(math.Ceil(s.config.Egress.Quarantine.Hours()/24)) + 1 // a success of late in a day waits as long
	if s.config.Egress.Quarantine == 0 {
		quarantine = 0
	}
	if !g.mature(today, quarantine) && g.learned == 0 {
		return
	}
	s.change(g)
	switch enough := s.enough(g); {
	case g.learned == 0 && enough && !s.guilty(g.prefix):
		g.learned = s.head.now
		s.head.due = true // promotions are told at once, and recorded by that
	case g.learned != 0 && !enough:
		g.learned = 0
		s.head.due = true
	}
}

// revoked takes back what a user did in sessions that were revoked.
func (s *State) revoked(m *events.Sighting, h uint64) {
	for _, prefix := range m.Revoked[:min(len(m.Revoked), MaxRevoked)] {
		if n := s.egress.nodes[prefix]; n != nil && n.value.revoke(h) {
			s.egress.use(n)
			s.stamp(n.value)
			s.settle(n.value, dayOf(s.head.now))
		}
	}
}

// forgetEgress forgets the prefix that was used longest ago, and rather one that is not the organisation's own.
func (s *State) forgetEgress() {
	victim := s.egress.oldest
	for n, looked := victim, 0; n != nil && looked < 64; n, looked = n.newer, looked+1 {
		if n.value.learned == 0 {
			victim = n
			break
		}
	}
	s.egress.remove(victim)
	s.forget(victim.value)
}

// guilty tells of a prefix from which more users failed than got in, within a day.
func (s *State) guilty(prefix string) bool {
	n := s.source(sourceName(s.name[:0], scopePrefix, prefix))
	if n == nil {
		return false
	}
	failing, passing := n.value.day()
	return failing > passing
}
