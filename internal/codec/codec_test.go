package codec

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// field is something to write, and to read again.
type field struct {
	write func(*Writer)
	same  func(*Reader) bool
}

func fields() *rapid.Generator[field] {
	return rapid.Custom(func(t *rapid.T) field {
		n, i, f := rapid.Uint64().Draw(t, "number"), rapid.Int64().Draw(t, "signed"), rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "float")
		text, count := rapid.StringN(-1, -1, 300).Draw(t, "text"), rapid.IntRange(0, math.MaxInt).Draw(t, "count")
		return []field{
			{func(w *Writer) { w.Byte(byte(n)) }, func(r *Reader) bool { return r.Byte() == byte(n) }},
			{func(w *Writer) { w.Bool(i > 0) }, func(r *Reader) bool { return r.Bool() == (i > 0) }},
			{func(w *Writer) { w.Fixed(n) }, func(r *Reader) bool { return r.Fixed() == n }},
			{func(w *Writer) { w.Uint(n) }, func(r *Reader) bool { return r.Uint() == n }},
			{func(w *Writer) { w.Int(i) }, func(r *Reader) bool { return r.Int() == i }},
			{func(w *Writer) { w.Count(count) }, func(r *Reader) bool { return r.Count(count) == count }},
			{func(w *Writer) { w.Float(f) }, func(r *Reader) bool { return r.Float() == f }},
			{func(w *Writer) { w.Text(text) }, func(r *Reader) bool { return r.Text(300) == text }},
			{func(w *Writer) { w.Raw([]byte(text)) }, func(r *Reader) bool { return string(r.Raw(len(text))) == text }},
			{func(w *Writer) { w.Append(func(b []byte) []byte { return append(b, 7) }) }, func(r *Reader) bool { return r.Byte() == 7 }},
		}[rapid.IntRange(0, 9).Draw(t, "kind")]
	})
}

// What is written is read, to the last byte; of a part of it reading fails, whatever the part.
func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(fields(), 1, 20).Draw(t, "fields")
		w := NewWriter([]byte("before"))
		for _, f := range list {
			f.write(&w)
		}
		encoded := w.Bytes()[len("before"):]
		r := NewReader(encoded)
		for i, f := range list {
			if !f.same(&r) {
				t.Fatalf("field %d: another was read, %v", i, r.Err())
			}
		}
		if err := r.End(); err != nil || r.Len() != 0 {
			t.Fatal(err)
		}
		if len(encoded) == 0 {
			return
		}
		r = NewReader(encoded[:rapid.IntRange(0, len(encoded)-1).Draw(t, "cut")])
		for _, f := range list {
			f.same(&r)
		}
		if r.Err() == nil {
			t.Fatal("a part was read as the whole")
		}
	})
}

// The first error stays; all that is read after it is zero.
func TestAReaderFailsOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   []byte
		read func(*Reader)
	}{
		"a count over its limit":   {[]byte{200, 1, 1, 1, 1, 1, 1, 1, 1, 1}, func(r *Reader) { r.Count(100) }},
		"a text over its limit":    {append([]byte{5}, "hello, world"...), func(r *Reader) { r.Text(4) }},
		"a text that ends early":   {append([]byte{50}, "hello, world"...), func(r *Reader) { r.Text(100) }},
		"a varint without end":     {bytes.Repeat([]byte{0xff}, 20), func(r *Reader) { r.Uint() }},
		"no number":                {bytes.Repeat([]byte{0xff}, 20), func(r *Reader) { r.Float() }},
		"fewer bytes than none":    {[]byte("hello, world"), func(r *Reader) { r.Raw(-1) }},
		"what the decoder refuses": {[]byte("hello, world"), func(r *Reader) { r.Fail("it is no %s", "state") }},
	} {
		r := NewReader(c.in)
		c.read(&r)
		first := r.Err()
		r.Fail("another")
		if first == nil || !errors.Is(r.Err(), first) || !errors.Is(r.End(), first) {
			t.Errorf("%s: %v, then %v", name, first, r.Err())
		}
		if r.Byte() != 0 || r.Uint() != 0 || r.Int() != 0 || r.Fixed() != 0 || r.Float() != 0 || r.Count(9) != 0 || r.Bool() || r.Text(9) != "" || len(r.Raw(1)) > 0 || len(r.Rest()) > 0 {
			t.Errorf("%s: something was read after the error", name)
		}
	}
	r := NewReader([]byte{1, 2})
	r.Byte()
	if err := r.End(); err == nil || !strings.Contains(err.Error(), "1 bytes too many") {
		t.Errorf("what is left: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, []byte("0123456789"))
	f.Fuzz(func(t *testing.T, steps, in []byte) {
		r := NewReader(in)
		for _, step := range steps {
			before := r.Len()
			size := 0
			switch step % 8 {
			case 0:
				r.Byte()
			case 1:
				r.Fixed()
			case 2:
				r.Uint()
			case 3:
				r.Int()
			case 4:
				size = r.Count(int(step))
			case 5:
				size = len(r.Text(int(step)))
			case 6:
				size = len(r.Raw(int(step)))
			case 7:
				r.Float()
			}
			if size > int(step) || r.Len() > before || r.Err() != nil && r.Len() != 0 {
				t.Fatalf("step %d of %d bytes: %d, %d are left, %v", step, before, size, r.Len(), r.Err())
			}
		}
	})
}
