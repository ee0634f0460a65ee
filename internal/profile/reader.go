package profile

import (
	"encoding/binary"
	"math"

	"github.com/countersign-io/countersign/internal/events"
)

// reader takes an encoding apart. After the first problem everything it reads is zero, so loops end by themselves.
type reader struct {
	in      []byte
	at      int // what of in has been read
	text    string
	problem string
}

func (r *reader) fail(problem string) {
	if r.problem == "" {
		r.problem = problem
	}
	r.at = len(r.in)
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.in)-r.at {
		r.fail("it ends early")
		return nil
	}
	b := r.in[r.at : r.at+n]
	r.at += n
	return b
}

func (r *reader) byte() byte {
	if r.at >= len(r.in) {
		r.fail("it ends early")
		return 0
	}
	r.at++
	return r.in[r.at-1]
}

func (r *reader) fixed64() uint64 {
	b := r.bytes(8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (r *reader) fixed32() uint32 {
	b := r.bytes(4)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (r *reader) id() (id ID) {
	copy(id[:], r.bytes(len(id)))
	return id
}

func (r *reader) unsigned() uint64 {
	v, n := binary.Uvarint(r.in[r.at:])
	if n <= 0 {
		r.fail("a number is broken")
		return 0
	}
	r.at += n
	return v
}

func (r *reader) signed() int64 {
	v, n := binary.Varint(r.in[r.at:])
	if n <= 0 {
		r.fail("a number is broken")
		return 0
	}
	r.at += n
	return v
}

func (r *reader) uint32() uint32 {
	v := r.unsigned()
	if v > math.MaxUint32 {
		r.fail("a number is too large")
		return 0
	}
	return uint32(v)
}

func (r *reader) minutes(v int64) Minutes {
	if v < 0 || v > math.MaxUint32 {
		r.fail("a time is out of range")
		return 0
	}
	return Minutes(v)
}

func (r *reader) count(limit int) int {
	v := r.unsigned()
	if v > uint64(limit) {
		r.fail("a list is too long")
		return 0
	}
	return int(v)
}

// name takes the next text of the text block.
func (r *reader) name(n byte, limit int) string {
	if int(n) > limit || int(n) > len(r.text) {
		r.fail("a text is too long")
		return ""
	}
	s := r.text[:n]
	r.text = r.text[n:]
	return s
}

func (r *reader) place() (lat, lon int32, radiusKm uint16) {
	y, x, radius := r.signed(), r.signed(), r.unsigned()
	if y < -90e4 || y > 90e4 || x < -180e4 || x > 180e4 || radius > math.MaxUint16 {
		r.fail("a place is nowhere")
		return 0, 0, 0
	}
	return int32(y), int32(x), uint16(radius)
}

func (r *reader) spot(s *Spot, names *[3]byte, version byte) {
	s.Lat, s.Lon, s.RadiusKm = r.place()
	if version == 1 {
		const conflict = 1 << 7
		classes := r.byte()
		s.Classes, s.Conflict = Classes(classes&^conflict), classes&conflict != 0
	} else {
		classes := r.unsigned()
		if classes>>1 > uint64(knownClasses) {
			r.fail("a network class is unknown")
			return
		}
		s.Classes, s.Conflict = Classes(classes>>1), classes&1 != 0
	}
	s.ASN = r.uint32()
	names[0], names[1], names[2] = r.byte(), r.byte(), r.byte()
}

func (r *reader) device(d *Device, names *[3]byte) {
	state := r.byte()
	managed, compliant := state&3, state>>2&3
	if managed > 2 || compliant > 2 || state>>5 != 0 {
		r.fail("a device is no device")
		return
	}
	d.Managed, d.Compliant = events.Tri(managed)-1, events.Tri(compliant)-1
	names[0], names[1], names[2] = r.byte(), r.byte(), r.byte()
	if state&cutBit != 0 {
		d.Hash = r.fixed64()
	}
}

// pointReader reads points and resolves repeats.
type pointReader struct {
	*reader
	base           events.Millis
	spots, devices int
	read           [4 * MaxVisits]Point
	n              int
}

// next reads a point.
func (r *pointReader) next() Point {
	if n := int(r.byte()); n > 0 {
		if n > r.n {
			r.fail("a point repeats what is not there")
			return Point{}
		}
		return r.read[n-1]
	}
	pt := Point{Time: r.base + events.Millis(r.signed())}
	copy(pt.Event[:], r.bytes(len(pt.Event)))
	pt.Spot, pt.Device = r.byte(), r.byte()
	if int(pt.Spot) > r.spots || int(pt.Device) > r.devices {
		r.fail("a point refers to what is not there")
		return Point{}
	}
	switch r.byte() {
	case 0:
	case 4:
		pt.IP[10], pt.IP[11] = 0xff, 0xff
		copy(pt.IP[12:], r.bytes(4))
	case 16:
		copy(pt.IP[:], r.bytes(16))
	default:
		r.fail("an address is neither IPv4 nor IPv6")
	}
	if r.n < len(r.read) {
		r.read[r.n] = pt
		r.n++
	}
	return pt
}

func (r *pointReader) session(s *Session, version byte) {
	s.Key = r.fixed64()
	var parts byte
	if version > 1 {
		parts = r.byte()
	}
	s.Start, s.Last = r.next(), r.next()
	s.Interactive = parts&interactiveBit != 0
	if parts&endedBit != 0 {
		s.Ended = r.base + events.Millis(r.signed())
	}
	if parts&refreshedBit != 0 {
		s.Refreshed = r.base + events.Millis(r.signed())
	}
	if parts&tokensBit != 0 {
		s.Tokens = r.tokens()
	}
}

func (r *pointReader) tokens() []TokenUse {
	tokens := make([]TokenUse, r.count(MaxTokens))
	last := TokenUse{Time: r.base}
	for i := range tokens {
		parts := r.byte()
		last.Time += events.Millis(r.signed())
		last.Token = r.fixed32()
		if parts&1 != 0 {
			last.IP = r.fixed32()
		}
		if parts&2 != 0 {
			last.ASN = r.uint32()
		}
		last.First = last.Time
		if parts&4 != 0 {
			last.First -= events.Millis(r.unsigned())
		}
		tokens[i] = last
	}
	return tokens
}

func (r *reader) terms(terms []Term, lastSeen events.Millis) {
	base := int64(MinutesOf(lastSeen))
	before := base
	for i := range terms {
		t := &terms[i]
		kind := r.byte()
		t.Kind, t.Unconfirmed = Kind(kind&kindBits), kind&unconfirmedBit != 0
		switch {
		case kind&narrowBit != 0:
			t.Value = uint64(r.fixed32())
		case kind&wideBit != 0:
			b := r.bytes(6)
			if b == nil {
				return
			}
			t.Value = uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
		default:
			t.Value = r.unsigned()
		}
		t.Last = r.minutes(base + r.signed())
		before += r.signed()
		t.First = r.minutes(before)
	}
}

// terms1 reads the terms of format 1.
func (r *reader) terms1(terms []Term, lastSeen events.Millis) {
	base := int64(MinutesOf(lastSeen))
	for i := range terms {
		kind, value := r.byte(), r.unsigned()
		if kind&^unconfirmedBit > kindBits {
			r.fail("a term is of no kind")
			return
		}
		last := base + r.signed()
		first := last - r.signed()
		terms[i] = Term{
			Kind: Kind(kind &^ unconfirmedBit), Unconfirmed: kind&unconfirmedBit != 0, Value: value,
			First: r.minutes(first), Last: r.minutes(last),
		}
	}
}
