package familiarity

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
)

// watched is how many values of a level a tenant's counters keep apart, told how many of them [Totals.Levels] tells: what is
// rarer is as good as new. There are as many devices as users; of them only the absent one is frequent.
var (
	watched = [Levels]int{IP: 256, ASN: 128, Country: 64, Agent: 128, Browser: 64, System: 16, DeviceType: 8, DeviceID: 16}
	told    = [Levels]int{IP: 128, ASN: 64, Country: 32, Agent: 64, Browser: 32, System: 16, DeviceType: 8, DeviceID: 4}
)

// generationDays is how long distinct values are collected before a new generation begins. Two are read together.
const generationDays = 30

// Totals are a tenant's decayed counters: the most frequent values of each level, and how many distinct ones there are. They
// are bounded, some 16 KB. The zero value has seen nothing. Totals is not safe for concurrent use.
type Totals struct {
	newest int32 // a day
	begun  int32 // the day the young generation began
	total  float32
	levels [Levels]levelTotals
}

// levelTotals is the space-saving summary of Metwally et al. (2005): a new value takes the place of the rarest and inherits
// its count as its possible error.
type levelTotals struct {
	total      float32
	hashes     []uint64
	counts     []float32
	errors     []float32
	young, old sketch
}

// Learn takes a benign login into the counters. One that comes late counts what it would have been worth by now.
func (t *Totals) Learn(l Login, at events.Millis) {
	day := dayOf(at)
	switch {
	case t.total == 0:
		*t = Totals{newest: int32(day), begun: int32(day)}
	case day > int64(t.newest):
		t.advance(day)
	}
	weight := float32(faded(int64(t.newest) - day))
	if weight == 0 {
		return
	}
	t.total += weight
	for i, v := range l.Values {
		if v != 0 {
			t.levels[i].learn(v, weight, watched[i])
		}
	}
}

// advance lets the counters decay until a later day.
func (t *Totals) advance(day int64) {
	passed := day - int64(t.newest)
	t.newest = int32(day)
	t.total = fade(t.total, passed)
	old := day - int64(t.begun)
	if old >= generationDays {
		t.begun = int32(day)
	}
	for i := range t.levels {
		l := &t.levels[i]
		l.total = fade(l.total, passed)
		for k := range l.counts {
			l.counts[k], l.errors[k] = fade(l.counts[k], passed), fade(l.errors[k], passed)
		}
		if old >= generationDays {
			l.old, l.young = l.young, sketch{}
		}
		if old >= 2*generationDays {
			l.old = sketch{}
		}
	}
}

func (l *levelTotals) learn(hash uint64, weight float32, limit int) {
	l.total += weight
	l.young.add(hash)
	for i, h := range l.hashes {
		if h == hash {
			l.counts[i] += weight
			return
		}
	}
	if len(l.hashes) < limit {
		l.hashes, l.counts, l.errors = append(l.hashes, hash), append(l.counts, weight), append(l.errors, 0)
		return
	}
	rarest := 0
	for i, n := range l.counts {
		if n < l.counts[rarest] {
			rarest = i
		}
	}
	l.hashes[rarest], l.errors[rarest] = hash, l.counts[rarest]
	l.counts[rarest] += weight
}

// Total is the decayed number of logins at a time.
func (t *Totals) Total(at events.Millis) float64 {
	return float64(float64(t.total) * faded(dayOf(at)-int64(t.newest))) // never fused with a sum
}

// Levels are the counters as of the newest day, for the tenant's context: the most frequent values of each level first, each
// with the count that is certain.
func (t *Totals) Levels() []events.OrgLevel {
	levels := make([]events.OrgLevel, Levels)
	for i := range t.levels {
		l := &t.levels[i]
		both := l.old
		both.merge(&l.young)
		levels[i] = events.OrgLevel{
			Name: levelNames[i], Total: hundredth(float64(l.total)), Distinct: math.Round(both.estimate()), Top: l.top(told[i]),
		}
	}
	return levels
}

func (l *levelTotals) top(n int) []events.OrgCount {
	order := make([]int, 0, len(l.hashes))
	certain := func(i int) float32 { return l.counts[i] - l.errors[i] }
	for i := range l.hashes {
		// A value that may be as rare as its error tells nothing.
		if certain(i) >= 2 && certain(i) >= l.errors[i] {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(certain(b), certain(a)), cmp.Compare(l.hashes[a], l.hashes[b]))
	})
	top := make([]events.OrgCount, 0, min(n, len(order)))
	for _, i := range order[:min(n, len(order))] {
		top = append(top, events.OrgCount{Hash: hashName(l.hashes[i]), Count: hundredth(float64(certain(i)))})
	}
	return top
}

// hundredth rounds counts, which need no more digits.
func hundredth(x float64) float64 { return math.Round(x*100) / 100 }

// hashName is 16 hexadecimal digits.
func hashName(h uint64) string {
	text := strconv.FormatUint(h, 16)
	return "0000000000000000"[len(text):] + text
}

// The encoding of Totals, version 1: newest day, day the generation began before it (varints); total; for each level its
// total, how many values (uvarint), each with hash (8 bytes), count and error, and both sketches. Counts are as in [Counts].
const totalsVersion = 1

// AppendBinary appends the encoding. Equal counters have equal encodings.
func (t *Totals) AppendBinary(b []byte) []byte {
	b = append(b, totalsVersion)
	b = binary.AppendVarint(b, int64(t.newest))
	b = binary.AppendVarint(b, int64(t.newest)-int64(t.begun))
	b = appendFloat(b, t.total)
	for i := range t.levels {
		l := &t.levels[i]
		b = appendFloat(b, l.total)
		b = binary.AppendUvarint(b, uint64(len(l.hashes)))
		for k, h := range l.hashes {
			b = binary.LittleEndian.AppendUint64(b, h)
			b = appendFloat(appendFloat(b, l.counts[k]), l.errors[k])
		}
		b = l.old.append(l.young.append(b))
	}
	return b
}

// append writes a sketch: the number of registers that are set and each with its place when they are few, else all.
func (s *sketch) append(b []byte) []byte {
	set := 0
	for _, r := range s {
		if r != 0 {
			set++
		}
	}
	if set >= len(s)/2 {
		return append(append(b, byte(len(s)-1)), s[:]...)
	}
	b = append(b, byte(set))
	for i, r := range s {
		if r != 0 {
			b = append(b, byte(i), r)
		}
	}
	return b
}

func (r *reader) sketch(s *sketch) {
	const maxRank = 64 - sketchBits + 1
	n := r.byte()
	if int(n) == len(s)-1 {
		copy(s[:], r.bytes(len(s)))
	} else {
		for range n {
			i, rank := r.byte(), r.byte()
			s[i] = rank
		}
	}
	for _, rank := range s {
		if rank > maxRank {
			r.fail("a sketch has an impossible register")
		}
	}
}

// Decode reads what [Totals.AppendBinary] wrote, all of b. It keeps no reference to b. After an error t is unchanged.
func (t *Totals) Decode(b []byte) error {
	r, err := newReader(b, totalsVersion)
	if err != nil {
		return err
	}
	var d Totals
	newest := r.varint()
	begun := newest - r.varint()
	if newest != int64(int32(newest)) || begun != int64(int32(begun)) || begun > newest {
		r.fail("a day is out of range")
	}
	d.newest, d.begun, d.total = int32(newest), int32(begun), r.float()
	for i := range d.levels {
		l := &d.levels[i]
		l.total = r.float()
		n := r.uvarint()
		if n > uint64(watched[i]) || n > uint64(len(r.rest)/16) {
			r.fail("a level has too many values")
			n = 0
		}
		l.hashes, l.counts, l.errors = make([]uint64, n), make([]float32, n), make([]float32, n)
		for k := range n {
			l.hashes[k], l.counts[k], l.errors[k] = r.fixed64(), r.float(), r.float()
		}
		r.sketch(&l.young)
		r.sketch(&l.old)
	}
	if err := r.end(); err != nil {
		return err
	}
	*t = d
	return nil
}
