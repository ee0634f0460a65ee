package familiarity

import (
	"encoding/binary"
	"math"

	"github.com/countersign-io/countersign/internal/events"
)

// Scores are collected in bins of 1/8 from lowest to -lowest; what lies outside counts into the outermost.
const (
	bins     = 512
	binWidth = 1.0 / 8
	lowest   = -bins * binWidth / 2
)

// Thresholds learn how benign logins of each class of login frequency score, decayed by the day, in 10 KB. The zero value
// has seen nothing. Thresholds is not safe for concurrent use.
type Thresholds struct {
	newest int32 // a day
	begun  bool
	counts [len(Classes)][bins]float32
}

// Add takes the score of a benign login in. An unknown class and a score that is no number are ignored.
func (t *Thresholds) Add(class string, score float64, at events.Millis) {
	k := classIndex(class)
	if k < 0 || math.IsNaN(score) {
		return
	}
	day := dayOf(at)
	switch {
	case !t.begun:
		t.newest, t.begun = int32(day), true
	case day > int64(t.newest):
		t.advance(day)
	}
	bin := int(min(max((score-lowest)/binWidth, 0), bins-1))
	t.counts[k][bin] += float32(faded(int64(t.newest) - day))
}

func (t *Thresholds) advance(day int64) {
	passed := day - int64(t.newest)
	t.newest = int32(day)
	for k := range t.counts {
		for i, n := range t.counts[k] {
			if n != 0 {
				t.counts[k][i] = fade(n, passed)
			}
		}
	}
}

func classIndex(class string) int {
	for i, c := range Classes {
		if c == class {
			return i
		}
	}
	return -1
}

// MinScores is how many scores a threshold rests on at least.
const MinScores = 300

// Table are the thresholds of the classes: the score above which a share target of a class's benign logins lie. A class
// with too few scores borrows those of the next more frequent ones, in which logins are scored lower. A class without a
// threshold is not in the table.
func (t *Thresholds) Table(target float64) []events.OrgThreshold {
	var table []events.OrgThreshold
	for k := range Classes {
		var sum [bins]float64
		n := 0.0
		for from := k; from >= 0 && n < MinScores; from-- {
			for i, v := range t.counts[from] {
				sum[i] += float64(v)
				n += float64(v)
			}
		}
		if n >= MinScores {
			table = append(table, events.OrgThreshold{Class: Classes[k], Score: quantile(&sum, float64(n*target)), Scores: hundredth(n)})
		}
	}
	return table
}

// quantile is the score above which so many scores lie; within a bin they are taken to be spread evenly.
func quantile(counts *[bins]float64, above float64) float64 {
	seen := 0.0
	for i := bins - 1; i >= 0; i-- {
		if n := counts[i]; n > 0 && seen+n > above {
			return quantise(lowest + float64(binWidth*(float64(i+1)-(above-seen)/n)))
		}
		seen += counts[i]
	}
	return lowest
}

// The encoding of Thresholds, version 1: newest day (varint); for each class the number of bins that are not empty
// (uvarint), and each with its distance from the one before (uvarint) and its count.
const thresholdsVersion = 1

// AppendBinary appends the encoding. Equal thresholds have equal encodings.
func (t *Thresholds) AppendBinary(b []byte) []byte {
	b = append(b, thresholdsVersion)
	if !t.begun {
		return b
	}
	b = binary.AppendVarint(b, int64(t.newest))
	for k := range t.counts {
		n := 0
		for _, v := range t.counts[k] {
			if v != 0 {
				n++
			}
		}
		b = binary.AppendUvarint(b, uint64(n))
		before := 0
		for i, v := range t.counts[k] {
			if v != 0 {
				b = appendFloat(binary.AppendUvarint(b, uint64(i-before)), v)
				before = i
			}
		}
	}
	return b
}

// Decode reads what [Thresholds.AppendBinary] wrote, all of b. It keeps no reference to b. After an error t is unchanged.
func (t *Thresholds) Decode(b []byte) error {
	r, err := newReader(b, thresholdsVersion)
	if err != nil {
		return err
	}
	var d Thresholds
	if len(r.rest) > 0 {
		newest := r.varint()
		if newest != int64(int32(newest)) {
			r.fail("a day is out of range")
		}
		d.newest, d.begun = int32(newest), true
		for k := range d.counts {
			r.bins(&d.counts[k])
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	*t = d
	return nil
}

func (r *reader) bins(counts *[bins]float32) {
	n := r.uvarint()
	if n > bins {
		r.fail("a class has too many scores")
		return
	}
	at := uint64(0)
	for k := range n {
		step := r.uvarint()
		if at += step; step >= bins || at >= bins || k > 0 && step == 0 {
			r.fail("a score is out of range")
			return
		}
		if counts[at] = r.float(); counts[at] == 0 {
			r.fail("a score that nobody has")
			return
		}
	}
}
