package org

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// scope is a kind of source, narrowest first.
type scope byte

const (
	scopeIP scope = iota
	scopePrefix
	scopeASN
	scopeAgent
	scopes
)

var scopeNames = [scopes]string{"ip", "prefix", "asn", "agent"}

const (
	generation10 = 10 * events.Minute
	halfDay      = 12 * events.Hour
	// exactUsers is how many users of a source, or of an egress, are known one by one.
	exactUsers = 16
	// maxNames bounds the bytes of the user ids in a source.
	maxNames = 320
	maxTries = math.MaxUint16
	// maxSource bounds an encoded source: see TestSourcesStaySmall.
	maxSource = 800
	maxLabel  = 40
)

// source is what is remembered of something that failed to sign users in (R1): two generations of 10 minutes, read
// together, and two halves of a day. It is forgotten after a day without any sign-in.
type source struct {
	marks
	scope scope
	key   string // the address, the prefix, the number or the hash
	label string // how the agent is shown
	last  events.Millis

	began events.Millis // of the current generation
	parts [2]generation // current and previous
	// sample is up to exactUsers users by hash. Below a generation's limit it holds all users of the generation, with exact
	// tries: so below both limits it is a uniform sample of the users of both.
	sample []tried

	dayBegan events.Millis
	days     [2]tally // current and previous half day

	// open are the detections that have an incident, a bit each.
	open byte
}

// generation is ten minutes of a source.
type generation struct {
	failing distinct // small
	// Attempts that failed, those of them that named nobody, and those that succeeded.
	failed, unknown, passed uint32
	// explained are users counted here that an incident of a narrower source has told of.
	explained uint32
	// limit is the smallest hash of a user whom the sample had no room for.
	limit uint64
}

// tally is half a day of a source.
type tally struct{ failing, passing distinct } // small

// tried is a user in the sample of a source.
type tried struct {
	hash       uint64
	user       string // "" when there was no room
	unresolved bool
	tries      [2]uint16 // in the current and the previous generation
}

func (t *tried) total() int { return int(t.tries[0]) + int(t.tries[1]) }

func newSource(scope scope, key string, t events.Millis) *source {
	s := &source{scope: scope, key: key, last: t, began: t - t%generation10, dayBegan: t - t%halfDay}
	s.parts[0].limit, s.parts[1].limit = math.MaxUint64, math.MaxUint64
	return s
}

// sourceName is the name of a source's piece, without what all have in front.
func sourceName[T ~string | ~[]byte](b []byte, scope scope, key T) []byte {
	b = append(b, scopeNames[scope]...)
	b = append(b, '/')
	return append(b, key...)
}

func (c *source) name() string {
	return pieceSource + "/" + string(sourceName(nil, c.scope, c.key))
}
func (c *source) room() int { return maxSource + 2*len(c.key) }

// text names the source for people and in verdicts.
func (c *source) text() string {
	if c.scope == scopeAgent {
		return guilty(scopeNames[c.scope], c.label)
	}
	return guilty(scopeNames[c.scope], c.key)
}

// turn moves the generations on to t. It returns the generation of t, -1 for one that is over, the half day, and whether
// anything moved.
func (c *source) turn(t events.Millis) (part, day int, moved bool) {
	moved = t >= c.began+generation10 || t >= c.dayBegan+halfDay
	if t >= c.began+generation10 {
		if t < c.began+2*generation10 {
			c.parts[1] = c.parts[0]
			for i := range c.sample {
				c.sample[i].tries[1], c.sample[i].tries[0] = c.sample[i].tries[0], 0
			}
		} else {
			c.parts[1] = generation{limit: math.MaxUint64}
			c.sample = c.sample[:0]
		}
		c.parts[0] = generation{limit: math.MaxUint64}
		c.sample = slices.DeleteFunc(c.sample, func(u tried) bool { return u.total() == 0 })
		c.began = t - t%generation10
	}
	if t >= c.dayBegan+halfDay {
		if t < c.dayBegan+2*halfDay {
			c.days[1] = c.days[0]
		} else {
			c.days[1] = tally{}
		}
		c.days[0] = tally{}
		c.dayBegan = t - t%halfDay
	}
	switch {
	case t >= c.began:
		part = 0
	case t >= c.began-generation10:
		part = 1
	default:
		part = -1
	}
	if t < c.dayBegan {
		day = 1
	}
	return part, day, moved
}

// failed counts an attempt. Of an attempt that a narrower source answers for only the day is taught.
func (c *source) failed(t events.Millis, a *attempt, answered bool) {
	part, day, _ := c.turn(t)
	c.last = max(c.last, t)
	c.days[day].failing.add(a.hash, small)
	if part < 0 || answered {
		return
	}
	g := &c.parts[part]
	g.failing.add(a.hash, small)
	g.failed++
	if a.Unresolved {
		g.unknown++
	}
	c.note(a, part)
}

// note keeps the sample.
func (c *source) note(a *attempt, part int) {
	i, found := slices.BinarySearchFunc(c.sample, a.hash, func(u tried, h uint64) int { return cmp.Compare(u.hash, h) })
	if found {
		c.sample[i].tries[part] = min(c.sample[i].tries[part], maxTries-1) + 1
		return
	}
	if a.hash >= c.parts[part].limit {
		return
	}
	u := tried{hash: a.hash, unresolved: a.Unresolved}
	u.tries[part] = 1
	c.sample = slices.Insert(c.sample, i, u)
	if len(c.sample) > exactUsers {
		out := &c.sample[exactUsers]
		for g := range c.parts {
			if out.tries[g] > 0 {
				c.parts[g].limit = min(c.parts[g].limit, out.hash)
			}
		}
		c.sample = c.sample[:exactUsers]
	}
	room := maxNames
	for j := range c.sample {
		room -= idSize(c.sample[j].user)
	}
	if i < len(c.sample) && idSize(a.User) <= room {
		c.sample[i].user = strings.Clone(a.User)
	}
}

// idSize is how long a user id is in a piece.
func idSize(user string) int {
	if _, ok := guid(user); ok {
		return 16
	}
	return len(user)
}

// passed counts a success and tells whether anything worth writing changed.
func (c *source) passed(t events.Millis, h uint64) bool {
	part, day, changed := c.turn(t)
	changed = c.days[day].passing.add(h, small) || changed
	if t > c.last+events.Hour {
		c.last, changed = t, true
	}
	if part >= 0 && c.scope == scopePrefix {
		c.parts[part].passed++
		changed = true
	}
	return changed
}

// window is what the last two generations say.
type window struct {
	users, tries, unknown int // distinct users; attempts, and those that named nobody
	// few, once and nobody are users: tried at most so often as asked, tried once, and names that belong to nobody.
	few, once, nobody int
	histogram         []int // users tried once, twice, 3 to 6 times, more often
	passing           int   // users who got in, in 12 to 24 hours
	ratio             float64
}

// window judges the last two generations; few is the most tries of a user that count as few.
func (c *source) window(few int) window {
	a, b := &c.parts[0], &c.parts[1]
	w := window{
		users:   max(0, union(&a.failing, &b.failing)-int(a.explained+b.explained)),
		tries:   int(a.failed + b.failed),
		unknown: int(a.unknown + b.unknown),
		passing: union(&c.days[0].passing, &c.days[1].passing),
	}
	if n := w.tries + int(a.passed+b.passed); n > 0 {
		w.ratio = float64(w.tries) / float64(n)
	}
	uniform := c.sample
	limit := min(a.limit, b.limit)
	if limit == math.MaxUint64 { // the sample holds them all
		w.users = max(0, len(uniform)-int(a.explained+b.explained))
	}
	if n := slices.IndexFunc(uniform, func(u tried) bool { return u.hash >= limit }); n > 0 {
		uniform = uniform[:n]
	}
	var counts [4]int
	fews, nobodies := 0, 0
	for i := range uniform {
		u := &uniform[i]
		n := u.total()
		if n <= few {
			fews++
		}
		if u.unresolved {
			nobodies++
		}
		switch {
		case n <= 1:
			counts[0]++
		case n == 2:
			counts[1]++
		case n <= 6:
			counts[2]++
		default:
			counts[3]++
		}
	}
	of := len(uniform)
	if of == 0 {
		return w
	}
	scale := func(n int) int { return int(math.Round(float64(n*w.users) / float64(of))) }
	w.few, w.once, w.nobody = scale(fews), scale(counts[0]), scale(nobodies)
	for _, n := range counts {
		w.histogram = append(w.histogram, scale(n))
	}
	return w
}

// day is how many users failed and how many got in during the last 12 to 24 hours.
func (c *source) day() (failing, passing int) {
	return union(&c.days[0].failing, &c.days[1].failing), union(&c.days[0].passing, &c.days[1].passing)
}

func (c *source) append(w *writer) {
	w.Uint(c.seq)
	w.Text(c.label)
	w.millis(c.last)
	w.millis(c.began)
	for i := range c.parts {
		g := &c.parts[i]
		g.failing.append(w)
		for _, v := range []uint32{g.failed, g.unknown, g.passed, g.explained} {
			w.Uint(uint64(v))
		}
		w.Fixed(g.limit)
	}
	w.Count(len(c.sample))
	for i := range c.sample {
		u := &c.sample[i]
		if u.user == "" {
			w.Uint(textGUID + 1)
			w.Fixed(u.hash)
		} else {
			w.id(u.user)
		}
		w.Bool(u.unresolved)
		w.Uint(uint64(u.tries[0]))
		w.Uint(uint64(u.tries[1]))
	}
	w.millis(c.dayBegan)
	for i := range c.days {
		c.days[i].failing.append(w)
		c.days[i].passing.append(w)
	}
	w.Byte(c.open)
}

func readSource(scope scope, key string, r *reader) *source {
	c := &source{scope: scope, key: key}
	c.seq = r.Uint()
	c.label = r.text()
	c.last, c.began = r.millis(), r.millis()
	for i := range c.parts {
		g := &c.parts[i]
		g.failing.read(r, small)
		for _, v := range []*uint32{&g.failed, &g.unknown, &g.passed, &g.explained} {
			*v = uint32(r.Count(math.MaxUint32))
		}
		g.limit = r.Fixed()
	}
	for range r.Count(exactUsers) {
		var u tried
		if user, h, known := r.userOrHash(); known {
			u.user, u.hash = user, hash(user)
		} else {
			u.hash = h
		}
		u.unresolved = r.Bool()
		u.tries[0], u.tries[1] = uint16(r.Count(maxTries)), uint16(r.Count(maxTries))
		c.sample = append(c.sample, u)
	}
	c.dayBegan = r.millis()
	for i := range c.days {
		c.days[i].failing.read(r, small)
		c.days[i].passing.read(r, small)
	}
	c.open = r.Byte()
	return c
}

// userOrHash reads the id of a user, or the hash of one whose id was not kept.
func (r *reader) userOrHash() (user string, h uint64, known bool) {
	n := r.Uint()
	if n == textGUID+1 {
		return "", r.Fixed(), false
	}
	return unpack(r.packedOf(n)), 0, true
}
