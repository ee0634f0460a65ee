package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Problems of a value that no decoder is asked about.
var (
	errLarger    = errors.New("is larger")
	errTruncated = errors.New("is cut off: the input ends inside it")
	errNoComma   = errors.New("is not separated: between two values must be a comma; from here on nothing was read")
	errStray     = errors.New("begins no value; from here on nothing was read")
	errAfter     = errors.New("follows the end of the array; from here on nothing was read")
)

// layout is how values follow one another in an input.
type layout string

const (
	// undecided: nothing was seen yet.
	undecided layout = ""
	// lines: one value a line. A broken one ends with its line.
	lines layout = "lines"
	// array: the values are the elements of one array.
	array layout = "array"
	// documents: objects over several lines, one after the other.
	documents layout = "documents"
	// ended: nothing more can be told apart.
	ended layout = "ended"
)

// value is one value of an input.
type value struct {
	// bytes is the value, or its beginning when err is set; valid until the next call.
	bytes []byte
	// size is the value's full length.
	size int
	// number counts lines, or else values, from 1.
	number int
	// err says that the value is too large or broken in a way that splitting shows.
	err error
}

// splitter finds the values in an input of any of the layouts, reading it once, with memory for one value.
type splitter struct {
	in     io.Reader
	limit  int
	layout layout
	number int

	buf        []byte
	begin, end int   // the bytes of buf that are read and not yet used
	offset     int64 // of buf[begin] in the input
	inErr      error // what the input said last
	opened     bool  // an array's bracket was read
	separated  bool  // an array's comma was read, or its first element is next
}

var buffers = sync.Pool{New: func() any { return make([]byte, firstBuffer) }}

const (
	firstBuffer = 64 << 10
	keptBuffer  = 1 << 20 // larger buffers are not kept for the next input
)

// newSplitter splits in into values of at most limit bytes. A layout other than undecided is taken for granted; the
// offset of an input that is read from its middle is where it begins.
func newSplitter(in io.Reader, limit int, as layout, offset int64) *splitter {
	return &splitter{
		in: in, limit: limit, layout: as, buf: buffers.Get().([]byte), offset: offset,
		opened: offset > 0, separated: offset == 0,
	}
}

// release gives the buffer back. The splitter and its last value must not be used any more.
func (s *splitter) release() {
	if len(s.buf) <= keptBuffer {
		buffers.Put(s.buf) //nolint:staticcheck // a slice header a request is nothing
	}
	s.buf = nil
}

// next returns the next value, io.EOF after the last one, or the input's error. An input that fails inside a value fails:
// half a value is not the sender's mistake.
func (s *splitter) next() (value, error) {
	for {
		switch s.layout {
		case undecided:
			if err := s.decide(); err != nil {
				return value{}, err
			}
		case lines:
			v, err := s.line()
			if err != nil || len(v.bytes) > 0 {
				return v, err
			}
		case array, documents:
			return s.nested()
		case ended:
			return value{}, io.EOF
		}
	}
}

// fill reads more, and makes room for it. It returns io.EOF at the end of the input.
func (s *splitter) fill() error {
	if s.inErr != nil {
		return s.inErr
	}
	if s.begin > 0 && s.end == len(s.buf) {
		copy(s.buf, s.buf[s.begin:s.end])
		s.end -= s.begin
		s.begin = 0
	}
	if s.end == len(s.buf) {
		larger := make([]byte, 2*len(s.buf))
		copy(larger, s.buf)
		s.buf = larger
	}
	for range 100 { // as bufio: a reader that never reads nor fails is broken
		var n int
		n, s.inErr = s.in.Read(s.buf[s.end:])
		s.end += n
		if n > 0 {
			return nil
		}
		if s.inErr != nil {
			return s.inErr
		}
	}
	return io.ErrNoProgress
}

// use counts n bytes as used.
func (s *splitter) use(n int) {
	s.begin += n
	s.offset += int64(n)
}

// unread is what was read and not used.
func (s *splitter) unread() []byte { return s.buf[s.begin:s.end] }

// peek skips white space and returns the next byte without using it.
func (s *splitter) peek() (byte, error) {
	for {
		b := s.unread()
		for i, c := range b {
			if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
				s.use(i)
				return c, nil
			}
		}
		s.use(len(b))
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// decide tells the layout by the first value. An object that ends on its first line is the first of lines; so is one
// that never ends, if the next line begins an object: then the first line is broken, not the input.
func (s *splitter) decide() error {
	c, err := s.peek()
	if err == nil && c == 0xEF { // a byte order mark
		for len(s.unread()) < 3 && err == nil {
			err = s.fill()
		}
		if rest, ok := bytes.CutPrefix(s.unread(), []byte("\xEF\xBB\xBF")); ok {
			s.use(len(s.unread()) - len(rest))
			c, err = s.peek()
		}
	}
	if err != nil {
		return err
	}
	switch c {
	case '[':
		s.layout = array
		return nil
	case '{':
	default:
		s.layout = lines
		return nil
	}
	var scan scanner
	done := 0
	for {
		b := s.unread()
		end := scan.scan(b[done:])
		newline := bytes.IndexByte(b, '\n')
		switch {
		case scan.torn:
			s.layout = lines
			return nil
		case end >= 0:
			s.layout = documents
			if newline < 0 || newline >= done+end {
				s.layout = lines
			}
			return nil
		}
		done = len(b)
		err := io.EOF
		if len(b) <= s.limit {
			err = s.fill()
		}
		switch {
		case errors.Is(err, io.EOF):
			s.layout = lines
			if newline >= 0 && newline+1 < len(b) && b[newline+1] != '{' {
				s.layout = documents
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// line returns the next line without white space around it; an empty value for an empty line.
func (s *splitter) line() (value, error) {
	s.number++
	done := 0
	for {
		b := s.unread()
		if i := bytes.IndexByte(b[done:], '\n'); i >= 0 {
			s.use(done + i + 1)
			return s.whole(b[:done+i]), nil
		}
		done = len(b)
		if done > s.limit {
			newline := 0
			v, err := s.rest(done, func(b []byte) int {
				i := bytes.IndexByte(b, '\n')
				if i < 0 {
					return -1
				}
				newline = 1
				return i + 1
			})
			v.size -= newline
			return v, err
		}
		switch err := s.fill(); {
		case errors.Is(err, io.EOF):
			b := s.unread()
			s.layout = ended
			if len(bytes.TrimSpace(b)) == 0 {
				return value{}, io.EOF
			}
			s.use(len(b))
			return s.whole(b), nil
		case err != nil:
			return value{}, err
		}
	}
}

// whole is a value that was read completely.
func (s *splitter) whole(b []byte) value {
	b = bytes.TrimSpace(b)
	v := value{bytes: b, size: len(b), number: s.number}
	if len(b) > s.limit {
		v.bytes, v.err = b[:s.limit], s.tooLarge()
	}
	return v
}

func (s *splitter) tooLarge() error { return fmt.Errorf("%w than %d bytes", errLarger, s.limit) }

// rest skips to the end of a value that is too large, keeping its head. The first seen bytes do not hold its end; end
// finds it in what follows, or returns -1.
func (s *splitter) rest(seen int, end func([]byte) int) (value, error) {
	v := value{bytes: bytes.Clone(s.unread()[:s.limit]), number: s.number, err: s.tooLarge()}
	from := s.offset
	for {
		b := s.unread()
		if i := end(b[seen:]); i >= 0 {
			s.use(seen + i)
			v.size = int(s.offset - from)
			return v, nil
		}
		s.use(len(b))
		seen = 0
		switch err := s.fill(); {
		case errors.Is(err, io.EOF):
			s.layout = ended
			v.size = int(s.offset - from)
			return v, nil
		case err != nil:
			return value{}, err
		}
	}
}

// nested returns the next element of an array, or the next of several objects.
func (s *splitter) nested() (value, error) {
	for {
		c, err := s.peek()
		if errors.Is(err, io.EOF) {
			open := s.layout == array
			s.layout = ended
			if open {
				s.number++
				return value{number: s.number, err: errTruncated}, nil
			}
			return value{}, io.EOF
		}
		if err != nil {
			return value{}, err
		}
		if s.layout == documents {
			break
		}
		switch {
		case !s.opened: // decide has seen the bracket
			s.opened = true
		case c == ',' && !s.separated:
			s.separated = true
		case c == ']':
			s.use(1)
			return s.afterArray()
		case !s.separated:
			return s.lose(errNoComma)
		default:
			return s.element()
		}
		s.use(1)
	}
	return s.element()
}

// element returns the value that begins with the next byte.
func (s *splitter) element() (value, error) {
	s.number++
	s.separated = false
	var scan scanner
	done := 0
	for {
		b := s.unread()
		if end := scan.scan(b[done:]); end >= 0 {
			if done+end == 0 { // a bracket or comma that belongs to nothing
				s.number--
				return s.lose(errStray)
			}
			s.use(done + end)
			return s.whole(b[:done+end]), nil
		}
		done = len(b)
		if done > s.limit {
			return s.rest(done, scan.scan)
		}
		switch err := s.fill(); {
		case errors.Is(err, io.EOF):
			b := s.unread()
			s.use(len(b))
			s.layout = ended
			v := s.whole(b)
			v.err = errTruncated
			return v, nil
		case err != nil:
			return value{}, err
		}
	}
}

// afterArray reports what follows an array, and ends.
func (s *splitter) afterArray() (value, error) {
	if _, err := s.peek(); errors.Is(err, io.EOF) {
		s.layout = ended
		return value{}, io.EOF
	} else if err != nil {
		return value{}, err
	}
	return s.lose(errAfter)
}

// lose gives up on the rest of the input, and reports its beginning.
func (s *splitter) lose(why error) (value, error) {
	s.number++
	s.layout = ended
	b := s.unread()
	v := value{bytes: b[:min(len(b), s.limit)], size: len(b), number: s.number, err: why}
	return v, nil
}

// scanner finds the end of a JSON value by its brackets and quotes alone; whether the value is right is for its decoder.
type scanner struct {
	depth             int
	inString, escaped bool
	scalar            bool
	torn              bool // a line ended inside a string, which JSON does not allow
}

// scan goes on in b, and returns the index after the value's end, -1 when the value does not end in b.
func (s *scanner) scan(b []byte) int {
	for i := range b {
		c := b[i]
		if s.inString {
			switch {
			case s.escaped:
				s.escaped = false
			case c == '\\':
				s.escaped = true
			case c == '"':
				s.inString = false
				if s.depth == 0 && !s.scalar {
					return i + 1
				}
			case c == '\n':
				s.torn = true
			}
			continue
		}
		switch c {
		case '"':
			s.inString = true
		case '{', '[':
			s.depth++
		case '}', ']':
			if s.depth == 0 {
				return i
			}
			if s.depth--; s.depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if s.depth == 0 {
				return i
			}
		default:
			s.scalar = s.scalar || s.depth == 0
		}
	}
	return -1
}
