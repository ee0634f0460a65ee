// Package codec has what binary forms of state are written and read with: numbers, texts and counts, one after another. What is
// read is bounded whatever the bytes are, and a reader fails once: a decoder looks for its error at the end.
package codec

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Writer appends to a buffer. The zero Writer is ready.
type Writer struct{ b []byte }

// NewWriter appends to b.
func NewWriter(b []byte) Writer { return Writer{b} }

// Bytes is what was written, behind what the buffer had before.
func (w *Writer) Bytes() []byte { return w.b }

// Append hands the buffer over to what appends to one by itself.
func (w *Writer) Append(appender func([]byte) []byte) { w.b = appender(w.b) }

// Byte writes a byte.
func (w *Writer) Byte(v byte) { w.b = append(w.b, v) }

// Raw writes bytes without their number.
func (w *Writer) Raw(v []byte) { w.b = append(w.b, v...) }

// Fixed writes a number in 8 bytes, little-endian.
func (w *Writer) Fixed(v uint64) { w.b = binary.LittleEndian.AppendUint64(w.b, v) }

// Uint writes a number as a varint.
func (w *Writer) Uint(v uint64) { w.b = binary.AppendUvarint(w.b, v) }

// Int writes a signed number as a zigzag varint.
func (w *Writer) Int(v int64) { w.b = binary.AppendVarint(w.b, v) }

// Count writes a number that is not negative as a varint.
func (w *Writer) Count(v int) { w.Uint(uint64(v)) }

// Float writes a number in 8 bytes.
func (w *Writer) Float(v float64) { w.Fixed(math.Float64bits(v)) }

// Bool writes a byte, 1 for true.
func (w *Writer) Bool(v bool) {
	if v {
		w.Byte(1)
	} else {
		w.Byte(0)
	}
}

// Text writes a text behind its length.
func (w *Writer) Text(v string) {
	w.Count(len(v))
	w.b = append(w.b, v...)
}

// Reader takes bytes apart. After the first error all that it reads is zero, so that loops over a count end.
type Reader struct {
	b   []byte
	err error
}

// NewReader reads b, which must not change meanwhile.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// Len is how many bytes are left.
func (r *Reader) Len() int { return len(r.b) }

// Fail notes an error, unless there is one, and leaves nothing to read.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

// End returns the first error; that something is left is one.
func (r *Reader) End() error {
	if r.err == nil && len(r.b) > 0 {
		r.Fail("%d bytes too many", len(r.b))
	}
	return r.err
}

// Rest takes all that is left. It shares memory with what is read.
func (r *Reader) Rest() []byte {
	v := r.b
	r.b = nil
	return v
}

// Raw takes n bytes, nil when there are fewer. They share memory with what is read.
func (r *Reader) Raw(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.Fail("%d bytes where %d are needed", len(r.b), n)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// Byte reads a byte.
func (r *Reader) Byte() byte {
	if v := r.Raw(1); v != nil {
		return v[0]
	}
	return 0
}

// Bool reads a byte: anything but 0 is true.
func (r *Reader) Bool() bool { return r.Byte() != 0 }

// Fixed reads a number of 8 bytes.
func (r *Reader) Fixed() uint64 {
	if v := r.Raw(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

// Float reads a number; one that is infinite or none is an error.
func (r *Reader) Float() float64 {
	v := math.Float64frombits(r.Fixed())
	if math.IsNaN(v) || math.IsInf(v, 0) {
		r.Fail("%g is no number", v)
		return 0
	}
	return v
}

// Uint reads a varint.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.Fail("no number where one is needed")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Int reads a zigzag varint.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.Fail("no number where one is needed")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Count reads a number of at most limit.
func (r *Reader) Count(limit int) int {
	v := r.Uint()
	if v > uint64(limit) {
		r.Fail("%d of something, at most %d are possible", v, limit)
		return 0
	}
	return int(v)
}

// Text reads a text of at most limit bytes. It copies.
func (r *Reader) Text(limit int) string { return string(r.Raw(r.Count(limit))) }
