package familiarity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The encoding of Counts, version 1. Counts are IEEE 754 single precision, in little-endian order.
//
//	byte     version
//	±varint  newest day, first day before it
//	8 bytes  recent days
//	4 bytes  total
//	for each level:  byte: how many values, plus 128 when some are others; others (4 bytes) if so; values: 4 bytes, count 4 bytes

// ErrNewerFormat is returned for state that a later version of countersign wrote.
var ErrNewerFormat = errors.New("counters were written by a newer version, which must be installed to read them")

// errCorrupt is returned, wrapped with the reason, for bytes that are no state.
var errCorrupt = errors.New("counters are corrupt")

const (
	countsVersion = 1
	hasOthers     = 1 << 7
)

// MaxCountsEncoded bounds encoded [Counts] in bytes; those of a typical user have some 250.
const MaxCountsEncoded = 1 + 2*binary.MaxVarintLen32 + 8 + 4 + Levels*(1+4) + maxKept*8

// AppendBinary appends the encoding. Equal counters have equal encodings.
func (c *Counts) AppendBinary(b []byte) []byte {
	b = append(b, countsVersion)
	b = binary.AppendVarint(b, int64(c.newest))
	b = binary.AppendVarint(b, int64(c.newest)-int64(c.first))
	b = binary.LittleEndian.AppendUint64(b, c.recent)
	b = appendFloat(b, c.total)
	rest := c.values
	for level, n := range c.lens {
		if c.other[level] != 0 {
			b = appendFloat(append(b, n|hasOthers), c.other[level])
		} else {
			b = append(b, n)
		}
		for _, v := range rest[:n] {
			b = binary.LittleEndian.AppendUint32(b, v.value)
			b = appendFloat(b, v.n)
		}
		rest = rest[n:]
	}
	return b
}

func appendFloat(b []byte, v float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
}

// Decode reads what [Counts.AppendBinary] wrote, all of b. It keeps no reference to b. After an error c is unchanged.
func (c *Counts) Decode(b []byte) error {
	r, err := newReader(b, countsVersion)
	if err != nil {
		return err
	}
	var d Counts
	newest := r.varint()
	first := newest - r.varint()
	if newest != int64(int32(newest)) || first != int64(int32(first)) || first > newest {
		r.fail("a day is out of range")
	}
	d.newest, d.first = int32(newest), int32(first)
	d.recent, d.total = r.fixed64(), r.float()
	if d.recent&1 == 0 && (d.recent != 0 || d.total != 0 || newest != 0) {
		r.fail("the newest day has no login")
	}
	if n := len(r.rest) / 8; n > 0 {
		d.values = make([]count, 0, min(n, maxKept))
	}
	for level := range Levels {
		n := r.byte()
		if n&hasOthers != 0 {
			if d.other[level] = r.float(); d.other[level] == 0 {
				r.fail("others that are none")
			}
			n &^= hasOthers
		}
		if int(n) > kept[level] {
			r.fail("a level has too many values")
			n = 0
		}
		d.lens[level] = n
		for range n {
			d.values = append(d.values, count{r.fixed32(), r.float()})
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	*c = d
	return nil
}

// reader takes an encoding apart. After the first problem everything it reads is zero.
type reader struct {
	rest    []byte
	problem string
}

func newReader(b []byte, version byte) (*reader, error) {
	switch {
	case len(b) == 0:
		return nil, fmt.Errorf("%w: they are empty", errCorrupt)
	case b[0] > version:
		return nil, fmt.Errorf("%w (format %d, this version reads up to %d)", ErrNewerFormat, b[0], version)
	case b[0] == 0:
		return nil, fmt.Errorf("%w: format 0", errCorrupt)
	}
	return &reader{rest: b[1:]}, nil
}

func (r *reader) fail(problem string) {
	if r.problem == "" {
		r.problem = problem
	}
	r.rest = nil
}

// end is the error of the whole reading.
func (r *reader) end() error {
	if len(r.rest) > 0 {
		r.fail("bytes after the end")
	}
	if r.problem != "" {
		return fmt.Errorf("%w: %s", errCorrupt, r.problem)
	}
	return nil
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.fail("they end early")
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) fixed32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) fixed64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail("a number is broken")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("a number is broken")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// float reads a count.
func (r *reader) float() float32 {
	v := math.Float32frombits(r.fixed32())
	const limit = 1e15 // far above what a log can hold, far below where sums overflow
	if !(v >= 0 && v <= limit) {
		r.fail("a count is no number")
		return 0
	}
	return v
}
