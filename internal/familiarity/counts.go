package familiarity

import (
	"math/bits"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// kept is how many values of a level a user's counters keep apart; the rest is one number.
var kept = [Levels]int{IP: 12, ASN: 8, Country: 6, Agent: 8, Browser: 8, System: 4, DeviceType: 4, DeviceID: 6}

// maxKept is the sum of kept.
const maxKept = 56

// Counts are one user's decayed counters. They are bounded: each level keeps its most frequent values. The zero value has
// seen nothing. Counts is not safe for concurrent use.
type Counts struct {
	// newest and first are days; recent has bit i set when there was a login i days before newest.
	newest, first int32
	recent        uint64
	// total is the decayed number of logins, other that of the values that a level did not keep.
	total  float32
	other  [Levels]float32
	lens   [Levels]uint8
	values []count // of all levels, one after the other
}

// count is one value of a level, as of the newest day. Value is part of the hash in [Login].
type count struct {
	value uint32
	n     float32
}

// short is the part of a hash that a user's counters keep: enough to tell a dozen values apart.
func short(hash uint64) uint32 { return uint32(hash >> 32) }

// Empty tells counters that have seen nothing.
func (c *Counts) Empty() bool { return c.recent == 0 }

// Clone is a deep copy.
func (c *Counts) Clone() Counts {
	clone := *c
	clone.values = slices.Clone(c.values)
	return clone
}

// Total is the decayed number of logins at a time.
func (c *Counts) Total(at events.Millis) float64 {
	return float64(float64(c.total) * faded(dayOf(at)-int64(c.newest))) // never fused with a sum
}

// Learn takes a benign login into the counters. One that comes late counts what it would have been worth by now.
func (c *Counts) Learn(l Login, at events.Millis) {
	day := dayOf(at)
	switch {
	case c.recent == 0:
		c.newest, c.first, c.recent = int32(day), int32(day), 1
	case day > int64(c.newest):
		c.advance(day)
	}
	late := int64(c.newest) - day
	if late < 64 {
		c.recent |= 1 << late
	}
	c.first = min(c.first, int32(day))
	weight := float32(faded(late))
	if weight == 0 {
		return
	}
	c.total += weight
	from := 0
	for level := range Levels {
		if v := l.Values[level]; v != 0 {
			c.learn(level, from, short(v), weight)
		}
		from += int(c.lens[level])
	}
}

// advance lets the counters decay until a later day.
func (c *Counts) advance(day int64) {
	passed := day - int64(c.newest)
	if passed < 64 {
		c.recent = c.recent<<passed | 1
	} else {
		c.recent = 1
	}
	c.newest = int32(day)
	c.total = fade(c.total, passed)
	for i := range c.values {
		c.values[i].n = fade(c.values[i].n, passed)
	}
	for i := range c.other {
		c.other[i] = fade(c.other[i], passed)
	}
}

// learn counts a value of a level, whose values begin at from. A full level gives up the value that is rarest by now, the
// one learnt first among equals.
func (c *Counts) learn(level, from int, value uint32, weight float32) {
	list := c.values[from : from+int(c.lens[level])]
	for i := range list {
		if list[i].value == value {
			list[i].n += weight
			return
		}
	}
	if len(list) < kept[level] {
		c.values = slices.Insert(c.values, from+len(list), count{value, weight})
		c.lens[level]++
		return
	}
	rarest := 0
	for i := range list {
		if list[i].n < list[rarest].n {
			rarest = i
		}
	}
	c.other[level] += list[rarest].n
	copy(list[rarest:], list[rarest+1:])
	list[len(list)-1] = count{value, weight}
}

// Has tells whether a login's value of a level is among those that the level keeps.
func (c *Counts) Has(level Level, l Login) bool {
	from := 0
	for k := range level {
		from += int(c.lens[k])
	}
	seen, _ := c.of(level, from, short(l.Values[level]))
	return l.Values[level] != 0 && seen > 0
}

// of is how often a value of a level was seen, among how many of the level, as of the newest day. The level's values begin
// at from.
func (c *Counts) of(level Level, from int, value uint32) (seen, all float64) {
	all = float64(c.other[level])
	for _, v := range c.values[from : from+int(c.lens[level])] {
		all += float64(v.n)
		if v.value == value {
			seen = float64(v.n)
		}
	}
	return seen, all
}

// The classes of login frequency, most frequent first.
const (
	Daily        = "daily"
	SeveralAWeek = "several_a_week"
	Weekly       = "weekly"
	Monthly      = "monthly"
	Rarer        = "rarer"
)

// Classes lists the classes of login frequency, most frequent first.
var Classes = [...]string{Daily, SeveralAWeek, Weekly, Monthly, Rarer}

// rhythmDays is the time that a class of login frequency rests on: eight weeks.
const rhythmDays = 56

// ClassOf is the class of login frequency of a user at a time: by the days with logins a week in the last eight weeks, or
// since the user is known, a week at least. A holiday of two weeks leaves a daily user daily.
func ClassOf(c *Counts, at events.Millis) string {
	now := max(dayOf(at), int64(c.newest))
	known := min(max(now-int64(c.first)+1, 7), rhythmDays)
	active := 0
	if passed := now - int64(c.newest); passed < rhythmDays {
		active = bits.OnesCount64(c.recent << passed & (1<<rhythmDays - 1))
	}
	// perWeek = 7 active/known, compared without a division.
	switch week := int64(active) * 7 * 10; {
	case week >= 30*known:
		return Daily
	case week >= 14*known:
		return SeveralAWeek
	case week >= 6*known:
		return Weekly
	case week >= 2*known:
		return Monthly
	}
	return Rarer
}
