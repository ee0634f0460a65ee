package org

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// pieceFormat is the first byte of every piece of encoded state.
const pieceFormat = 1

// ErrFormat is returned for state that this version cannot read.
var ErrFormat = errors.New("unknown format of network state, written by another version of countersign")

// writer appends to b.
type writer struct{ b []byte }

func (w *writer) byte(v byte)            { w.b = append(w.b, v) }
func (w *writer) raw(v []byte)           { w.b = append(w.b, v...) }
func (w *writer) fixed(v uint64)         { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) uint(v uint64)          { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) count(v int)            { w.uint(uint64(v)) }
func (w *writer) float(v float64)        { w.fixed(math.Float64bits(v)) }
func (w *writer) millis(v events.Millis) { w.b = binary.AppendVarint(w.b, int64(v)) }

func (w *writer) bool(v bool) {
	if v {
		w.byte(1)
	} else {
		w.byte(0)
	}
}

func (w *writer) text(v string) {
	w.count(len(v))
	w.b = append(w.b, v...)
}

// guidSize is the text form of a GUID; textGUID says instead of a length that its 16 bytes follow.
const (
	guidSize = 36
	textGUID = 0xffff
)

// id is text that is a GUID more often than not.
func (w *writer) id(v string) { w.packed(pack(v)) }

// packed writes what pack made.
func (w *writer) packed(v string) {
	if len(v) == packedSize && v[0] == 0 {
		w.uint(textGUID)
		w.b = append(w.b, v[1:]...)
		return
	}
	w.text(v)
}

const packedSize = 17

// pack makes a GUID 17 bytes, of which the first is zero: no id begins with one. It copies.
func pack(v string) string {
	raw, ok := guid(v)
	if !ok {
		return strings.Clone(v)
	}
	return string(append(make([]byte, 1, packedSize), raw[:]...))
}

// unpack is the inverse of pack.
func unpack(v string) string {
	if len(v) != packedSize || v[0] != 0 {
		return v
	}
	const digits = "0123456789abcdef"
	text := make([]byte, 0, guidSize)
	for i := range 16 {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text = append(text, '-')
		}
		text = append(text, digits[v[i+1]>>4], digits[v[i+1]&15])
	}
	return string(text)
}

// guid packs a GUID in lower case.
func guid(v string) (raw [16]byte, ok bool) {
	if len(v) != guidSize {
		return raw, false
	}
	n := 0
	for i := range guidSize {
		c := v[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return raw, false
			}
			continue
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return raw, false
		}
		raw[n/2] |= c << (4 * (1 - n%2))
		n++
	}
	return raw, true
}

// reader consumes b; after the first error it returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

func (r *reader) raw(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("%d bytes where %d are needed", len(r.b), n)
		return make([]byte, max(0, min(n, 1024)))
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte     { return r.raw(1)[0] }
func (r *reader) fixed() uint64  { return binary.LittleEndian.Uint64(r.raw(8)) }
func (r *reader) float() float64 { return r.finite(math.Float64frombits(r.fixed())) }
func (r *reader) bool() bool     { return r.byte() != 0 }

func (r *reader) finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		r.fail("%g is no number", v)
		return 0
	}
	return v
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("no number where one is needed")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of at most limit.
func (r *reader) count(limit int) int {
	v := r.uint()
	if v > uint64(limit) {
		r.fail("%d of something, at most %d are possible", v, limit)
		return 0
	}
	return int(v)
}

func (r *reader) millis() events.Millis {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("no time where one is needed")
		return 0
	}
	r.b = r.b[n:]
	return events.Millis(v)
}

// maxText bounds every text in the state.
const maxText = 512

func (r *reader) text() string { return string(r.raw(r.count(maxText))) }

func (r *reader) id() string { return unpack(r.packed()) }

func (r *reader) packed() string {
	n := r.uint()
	if n == textGUID {
		return "\x00" + string(r.raw(16))
	}
	if n > maxText {
		r.fail("text of %d bytes", n)
		return ""
	}
	return string(r.raw(int(n)))
}
