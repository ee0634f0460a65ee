package org

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

const (
	quarter = 15 * events.Minute
	// maxPrints is how many fingerprints of a quarter of an hour, or of a day, are counted: the others count as rare.
	maxPrints = 64
	// maxShares is how many fingerprints are counted for their shares. What is not among them has less than 1 / maxShares of
	// them (Metwally et al., Space-Saving, 2005).
	maxShares = 64
	// maxEvent is the longest id of an event that is remembered; ours have 32 bytes.
	maxEvent = 40
	// maxRecent is how many of the last users to fail, and to be locked out, are remembered by name.
	maxRecent = 128
	// memory is how many samples a moment remembers: eight weeks of quarters of one hour.
	memory = 32
	// maxGap is how many empty quarters are learnt at once: a week.
	maxGap = 7 * 24 * 4
	// leastUsers is the least deviation of a baseline that has not been learnt.
	leastUsers = 5
)

// moments are an exponentially weighted mean and variance; the first samples weigh alike.
type moments struct {
	samples        uint32
	mean, variance float64
}

func (m *moments) learn(x float64) {
	m.samples = min(m.samples+1, memory)
	alpha := 1 / float64(m.samples)
	d := x - m.mean
	m.mean += float64(alpha * d)
	m.variance = float64((1 - alpha) * (m.variance + float64(alpha*float64(d*d))))
}

// toward gives what is expected: m's own, the more samples it has, else the whole's.
func (m *moments) toward(whole *moments) (mean, variance float64) {
	const prior = 8
	own := float64(m.samples) / float64(m.samples+prior)
	return float64(own*m.mean) + float64((1-own)*whole.mean), float64(own*m.variance) + float64((1-own)*whole.variance)
}

// season is the tenant's baseline (T2): distinct users who fail, by quarter of an hour and by day.
type season struct {
	marks
	hours  [168]moments // of the quarters of one hour of the week
	all    moments
	days   [7]moments
	daily  moments
	locked moments // users locked out in a quarter
}

func (*season) name() string { return pieceSeason }
func (*season) room() int    { return (len(season{}.hours) + len(season{}.days) + 3) * (16 + 2) }

func (b *season) append(w *writer) {
	b.each(func(m *moments) {
		w.Uint(uint64(m.samples))
		if m.samples > 0 {
			w.Float(m.mean)
			w.Float(m.variance)
		}
	})
}

func (b *season) read(r *reader) {
	b.each(func(m *moments) {
		if m.samples = uint32(r.Count(memory)); m.samples > 0 {
			m.mean, m.variance = r.Float(), r.Float()
		}
	})
}

func (b *season) each(do func(m *moments)) {
	for i := range b.hours {
		do(&b.hours[i])
	}
	for i := range b.days {
		do(&b.days[i])
	}
	do(&b.all)
	do(&b.daily)
	do(&b.locked)
}

// hourOfWeek numbers the hours of the week, 0 for Thursday midnight UTC, the epoch's.
func hourOfWeek(t events.Millis) int { return int(t / events.Hour % 168) }

func dayOfWeek(t events.Millis) int { return int(t / events.Day % 7) }

// span is a quarter of an hour, or a day, in the making.
type span struct {
	marks
	piece   string
	began   events.Millis
	failing distinct  // large
	prints  []printed // by hash
	// locked are users locked out in this quarter and in the one before.
	locked [2]distinct // medium
	// fired is set when it must not teach the baseline.
	fired bool
}

// printed is how many users failed with one fingerprint.
type printed struct {
	hash  uint64
	users distinct // small
	// guilty is set when an incident answers for them.
	guilty bool
}

func (p *span) name() string { return p.piece }
func (*span) room() int      { return 2*600 + 2*200 + maxPrints*80 }

// print returns the count of a fingerprint. When there is no room it takes the place of the rarest.
func (p *span) print(h uint64) *printed {
	i, found := slices.BinarySearchFunc(p.prints, h, func(q printed, h uint64) int { return cmp.Compare(q.hash, h) })
	if found {
		return &p.prints[i]
	}
	if len(p.prints) < maxPrints {
		p.prints = slices.Insert(p.prints, i, printed{hash: h})
		return &p.prints[i]
	}
	rarest, least := 0, math.MaxInt
	for j := range p.prints {
		if n := p.prints[j].users.count(); n < least && !p.prints[j].guilty {
			rarest, least = j, n
		}
	}
	p.prints = slices.Delete(p.prints, rarest, rarest+1)
	return p.print(h)
}

// innocent is how many have failed without those whom incidents of fingerprints answer for.
func (p *span) innocent() int {
	n := p.failing.count()
	for i := range p.prints {
		if p.prints[i].guilty {
			n -= p.prints[i].users.count()
		}
	}
	return max(0, n)
}

func (p *span) append(w *writer) {
	w.millis(p.began)
	p.failing.append(w)
	w.Count(len(p.prints))
	for i := range p.prints {
		w.Fixed(p.prints[i].hash)
		p.prints[i].users.append(w)
		w.Bool(p.prints[i].guilty)
	}
	p.locked[0].append(w)
	p.locked[1].append(w)
	w.Bool(p.fired)
}

func (p *span) read(r *reader) {
	p.began = r.millis()
	p.failing.read(r, large)
	p.prints = nil
	for range r.Count(maxPrints) {
		q := printed{hash: r.Fixed()}
		q.users.read(r, small)
		q.guilty = r.Bool()
		if n := len(p.prints); n > 0 && p.prints[n-1].hash >= q.hash {
			r.Fail("fingerprints out of order")
		}
		p.prints = append(p.prints, q)
	}
	p.locked[0].read(r, medium)
	p.locked[1].read(r, medium)
	p.fired = r.Bool()
}

// next begins another span at began; locked users of the one before stay known when it follows it.
func (p *span) next(began events.Millis, follows bool) {
	before := p.locked[0]
	*p = span{marks: p.marks, piece: p.piece, began: began}
	if follows {
		p.locked[1] = before
	}
}

// turn closes what is over at t, teaches it, and begins what t is in. Quarters without any failure teach as well.
func (s *State) turn(t events.Millis) {
	if q := &s.quarter; t >= q.began+quarter {
		if q.began == 0 {
			q.next(t-t%quarter, false)
		} else {
			began := q.began
			if !q.fired {
				s.season.learnQuarter(began, float64(q.failing.count()))
				s.season.locked.learn(float64(q.locked[0].count()))
			}
			now := t - t%quarter
			for at := max(began+quarter, now-maxGap*quarter); at < now; at += quarter {
				s.season.learnQuarter(at, 0)
				s.season.locked.learn(0)
			}
			q.next(now, now == began+quarter)
			s.change(&s.season)
		}
		s.change(q)
	}
	if d := &s.day; t >= d.began+events.Day {
		now := t - t%events.Day
		if d.began != 0 {
			if !d.fired && d.began != s.head.since-s.head.since%events.Day { // the first day is not whole
				s.season.learnDay(d.began, float64(d.failing.count()))
				for i := range d.prints {
					s.failing.add(d.began, d.prints[i].hash, float64(d.prints[i].users.count()))
				}
				s.change(&s.failing)
			}
			for at := max(d.began+events.Day, now-7*events.Day); at < now; at += events.Day {
				s.season.learnDay(at, 0)
			}
			s.change(&s.season)
		}
		d.next(now, false)
		s.change(d)
	}
}

func (b *season) learnQuarter(at events.Millis, users float64) {
	b.hours[hourOfWeek(at)].learn(users)
	b.all.learn(users)
}

func (b *season) learnDay(at events.Millis, users float64) {
	b.days[dayOfWeek(at)].learn(users)
	b.daily.learn(users)
}

// recent are the last users to fail, and the last to be locked out, by name: they have to be told when it turns out that
// they were not the only ones.
type recent struct {
	marks
	failed, locked []recently // oldest first
}

type recently struct {
	t          events.Millis
	user       string
	unresolved bool
	print      uint64
	event      string
}

func (*recent) name() string { return pieceRecent }
func (*recent) room() int    { return 2*maxRecent*(10+maxUser+2+1+8+maxEvent+1) + 16 }

func (l *recent) append(w *writer) {
	for _, list := range [][]recently{l.failed, l.locked} {
		w.Count(len(list))
		for i := range list {
			a := &list[i]
			w.millis(a.t)
			w.id(a.user)
			w.Bool(a.unresolved)
			w.Fixed(a.print)
			w.Text(a.event)
		}
	}
}

func (l *recent) read(r *reader) {
	for _, list := range []*[]recently{&l.failed, &l.locked} {
		*list = nil
		for range r.Count(maxRecent) {
			*list = append(*list, recently{t: r.millis(), user: r.id(), unresolved: r.Bool(), print: r.Fixed(), event: r.text()})
		}
	}
}

// remember puts a at the end, once a user and fingerprint.
func remember(list []recently, a recently) []recently {
	if i := slices.IndexFunc(list, func(b recently) bool { return b.user == a.user && b.print == a.print }); i >= 0 {
		list = slices.Delete(list, i, i+1)
	} else if len(list) >= maxRecent {
		list = slices.Delete(list, 0, 1)
	}
	if len(a.event) > maxEvent {
		a.event = ""
	}
	a.user, a.event = strings.Clone(a.user), strings.Clone(a.event)
	return append(list, a)
}

// shares counts fingerprints, of successes or of users who failed, decayed with a time constant of seven days.
type shares struct {
	marks
	piece string
	at    events.Millis
	total float64
	slots []slot
}

type slot struct {
	hash  uint64
	count float64
}

// fade is the share that is left after a time, in whole hours: e to the minus one after seven days. It multiplies only, so
// that it is the same on every processor.
func fade(age events.Millis) float64 {
	const hour = 0.9940652993697221 // e^(-1/168)
	f, power := 1.0, hour
	for n := age / events.Hour; n > 0; n /= 2 {
		if n%2 == 1 {
			f = float64(f * power)
		}
		power = float64(power * power)
	}
	return f
}

func (p *shares) name() string { return p.piece }
func (*shares) room() int      { return 64 + maxShares*16 }

// decay brings the counts to t, an hour at a time so that they do not change with every event.
func (p *shares) decay(t events.Millis) {
	if t < p.at+events.Hour {
		return
	}
	if p.at != 0 {
		f := fade(t - p.at)
		p.total = float64(p.total * f)
		for i := range p.slots {
			p.slots[i].count = float64(p.slots[i].count * f)
		}
	}
	p.at = t
}

// add counts a fingerprint.
func (p *shares) add(t events.Millis, h uint64, n float64) {
	p.decay(t)
	p.total += n
	least := 0
	for i := range p.slots {
		if p.slots[i].hash == h {
			p.slots[i].count += n
			return
		}
		if p.slots[i].count < p.slots[least].count {
			least = i
		}
	}
	if len(p.slots) < maxShares {
		p.slots = append(p.slots, slot{hash: h, count: n})
		return
	}
	p.slots[least] = slot{hash: h, count: p.slots[least].count + n}
}

// share is the share that a fingerprint has at most, or nearly; unknown when there are too few to say.
func (p *shares) share(h uint64, unknown float64) float64 {
	const enough = 50
	if p.total < enough {
		return unknown
	}
	for i := range p.slots {
		if p.slots[i].hash == h {
			return p.slots[i].count / p.total
		}
	}
	return 0
}

func (p *shares) append(w *writer) {
	w.millis(p.at)
	w.Float(p.total)
	w.Count(len(p.slots))
	for i := range p.slots {
		c := &p.slots[i]
		w.Fixed(c.hash)
		w.Float(c.count)
	}
}

func (p *shares) read(r *reader) {
	p.at, p.total, p.slots = r.millis(), r.Float(), nil
	for range r.Count(maxShares) {
		p.slots = append(p.slots, slot{hash: r.Fixed(), count: r.Float()})
	}
}
