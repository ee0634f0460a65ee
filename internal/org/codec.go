package org

import (
	"errors"
	"strings"

	"github.com/countersign-io/countersign/internal/codec"
	"github.com/countersign-io/countersign/internal/events"
)

// pieceFormat is the first byte of every piece of encoded state.
const pieceFormat = 1

// ErrFormat is returned for state that this version cannot read.
var ErrFormat = errors.New("unknown format of network state, written by another version of countersign")

// writer writes the state's own kinds of values as well.
type writer struct{ codec.Writer }

func (w *writer) millis(v events.Millis) { w.Int(int64(v)) }

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
		w.Uint(textGUID)
		w.Raw([]byte(v[1:]))
		return
	}
	w.Text(v)
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

// reader reads what writer wrote.
type reader struct{ codec.Reader }

// maxText bounds every text in the state.
const maxText = 512

func (r *reader) millis() events.Millis { return events.Millis(r.Int()) }

func (r *reader) text() string { return r.Text(maxText) }

func (r *reader) id() string { return unpack(r.packed()) }

func (r *reader) packed() string { return r.packedOf(r.Uint()) }

// packedOf reads what follows the first number of a packed text.
func (r *reader) packedOf(n uint64) string {
	if n == textGUID {
		return "\x00" + string(r.Raw(packedSize-1))
	}
	if n > maxText {
		r.Fail("text of %d bytes", n)
		return ""
	}
	return string(r.Raw(int(n)))
}
