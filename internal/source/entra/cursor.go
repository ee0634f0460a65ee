package entra

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
)

// cursor reads JSON from front to back in one pass, by the rules of package foreign: what cannot be understood is absent,
// only broken JSON is an error. Two thirds of the time of foreign's lexer went into leaping over what nobody reads, which
// is most of a sign-in record; the cursor leaps several times faster, and copies only what an event keeps.
//
// Objects and arrays are walked like this, a value in quotes that holds one too; a nil cursor has no members:
//
//	for o := c.object(); o.member(); {
//		switch string(o.key) {
//		case "city":
//			city = o.word()
//		default:
//			o.skip()
//		}
//	}
type cursor struct {
	data []byte
	pos  int
	// key is the key of the member at hand. It is overwritten by the next one, of whatever object.
	key []byte
	// fresh tells that the object or array at hand has just been opened.
	fresh bool
	// problem is what is broken, "" while nothing is; at is where, in bytes.
	problem string
	at      int

	*words
}

// maxNesting bounds objects and arrays in one another, in what is leapt over.
const maxNesting = 64

// fail ends the reading.
func (c *cursor) fail(problem string) {
	if c.problem == "" {
		c.problem, c.at = problem, c.pos
	}
	c.pos = len(c.data)
}

// err words what is broken, without the data.
func (c *cursor) err() error {
	if c.problem == "" {
		return nil
	}
	return fmt.Errorf("is no JSON: %s (byte %d)", c.problem, c.at)
}

// next is the first byte of what comes next, 0 at the end.
func (c *cursor) next() byte {
	for c.pos < len(c.data) {
		switch b := c.data[c.pos]; b {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return b
		}
	}
	return 0
}

// object enters the object that comes next, also one written as JSON in a string. Everything else is leapt over, and nil.
func (c *cursor) object() *cursor { return c.enter('{') }

// array is object for arrays.
func (c *cursor) array() *cursor { return c.enter('[') }

func (c *cursor) enter(open byte) *cursor {
	switch c.next() {
	case open:
		c.pos++
		c.fresh = true
		return c
	case '"':
		text := bytes.TrimSpace(c.raw())
		if len(text) == 0 || text[0] != open {
			return nil
		}
		// Errors inside end the reading of the text, not of the record.
		return &cursor{data: text, pos: 1, fresh: true, words: c.words}
	default:
		c.skip()
		return nil
	}
}

// member goes to the next member of an object and reads its key; it is false at the end. The value must be read or leapt
// over before the next call.
func (c *cursor) member() bool {
	if c == nil || !c.more('}') {
		return false
	}
	if c.next() != '"' {
		c.fail("a key is missing")
		return false
	}
	c.key = c.raw()
	if c.next() != ':' {
		c.fail("a colon is missing")
		return false
	}
	c.pos++
	return true
}

// element goes to the next element of an array; it is false at the end. The value must be read or leapt over before the
// next call.
func (c *cursor) element() bool { return c != nil && c.more(']') }

func (c *cursor) more(closing byte) bool {
	b := c.next()
	if b == closing {
		c.pos++
		c.fresh = false
		return false
	}
	if !c.fresh {
		if b != ',' {
			c.fail("a comma is missing")
			return false
		}
		c.pos++
	}
	c.fresh = false
	return c.problem == ""
}

// quoted moves over a string and returns what is between its quotes, and whether escapes are in it.
func (c *cursor) quoted() (inside []byte, escaped bool) {
	begin := c.pos + 1
	rest := c.data[begin:]
	at := stop(rest)
	for at < len(rest) && rest[at] == '\\' {
		escaped = true
		at = min(at+2, len(rest)) // whatever is escaped does not end the string
		at += stop(rest[at:])
	}
	if at == len(rest) {
		c.fail("a string does not end")
		return nil, false
	}
	c.pos = begin + at + 1
	return rest[:at], escaped
}

// stop is where the first quote or backslash is, at the end when there is none. It looks at eight bytes at once: most
// strings are short, and searching them twice takes longer.
func stop(b []byte) int {
	const ones, highs, quotes, slashes = 0x0101010101010101, 0x8080808080808080, 0x2222222222222222, 0x5c5c5c5c5c5c5c5c
	i := 0
	for ; i+8 <= len(b); i += 8 {
		word := binary.LittleEndian.Uint64(b[i:])
		// A byte that is 0 after the exclusive or gets its high bit; so may those above it, but the lowest one is right.
		q, s := word^quotes, word^slashes
		if found := ((q-ones)&^q | (s-ones)&^s) & highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// raw reads a string. It is valid as long as the data.
func (c *cursor) raw() []byte {
	begin := c.pos
	inside, escaped := c.quoted()
	if !escaped {
		return inside
	}
	l := jlexer.Lexer{Data: c.data[begin:c.pos]}
	text := l.UnsafeBytes()
	if l.Error() != nil {
		c.pos = begin
		c.fail("a string has a wrong escape")
		return nil
	}
	return text
}

// scalar reads a string or number as text without surrounding blanks, valid as long as the data; everything else is leapt
// over, and nil.
func (c *cursor) scalar() []byte {
	switch b := c.next(); {
	case b == '"':
		return bytes.TrimSpace(c.raw())
	case b == '-' || b >= '0' && b <= '9':
		begin := c.pos
		c.atom()
		return c.data[begin:c.pos]
	default:
		c.skip()
		return nil
	}
}

// word is the known text that comes next; use it for what many records share, such as names of applications.
func (c *cursor) word() string { return c.words.word(known(c.scalar())) }

// text is the known text that comes next; use it for what few records share, such as ids of sessions.
func (c *cursor) text() string { return c.words.text(known(c.scalar())) }

// flag reads true, false, and their names in quotes; everything else is unknown.
func (c *cursor) flag() events.Tri {
	switch b := c.next(); b {
	case 't', 'f':
		if c.atom(); c.problem == "" {
			return events.TriOf(b == 't')
		}
	case '"':
		switch text := c.raw(); {
		case bytes.EqualFold(text, []byte("true")), bytes.EqualFold(text, []byte("yes")):
			return events.Yes
		case bytes.EqualFold(text, []byte("false")), bytes.EqualFold(text, []byte("no")):
			return events.No
		}
	default:
		c.skip()
	}
	return events.Unknown
}

// number reads a number, also in quotes; everything else is 0.
func (c *cursor) number() float64 {
	n, err := strconv.ParseFloat(string(c.scalar()), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0
	}
	return n
}

// unsigned reads a whole number that fits 32 bits, also in quotes; everything else is 0.
func (c *cursor) unsigned() uint32 {
	n, err := strconv.ParseUint(string(c.scalar()), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// skip leaps over the value that comes next.
func (c *cursor) skip() {
	switch c.next() {
	case '"':
		c.quoted()
	case '{', '[':
		c.leap()
	default:
		c.atom()
	}
}

// leap moves over an object or array: over strings as a whole, and over the rest of which only the brackets count.
func (c *cursor) leap() {
	var open uint64 // a bit for every level, the last one the innermost: 1 is an object
	for depth := 0; c.pos < len(c.data); {
		switch b := c.data[c.pos]; b {
		case '"':
			c.quoted()
			continue
		case '{', '[':
			if depth++; depth > maxNesting {
				c.fail("is nested too deeply")
				return
			}
			open <<= 1
			if b == '{' {
				open |= 1
			}
		case '}', ']':
			if (open&1 == 1) != (b == '}') {
				c.fail("a bracket does not match")
				return
			}
			open >>= 1
			if depth--; depth == 0 {
				c.pos++
				return
			}
		default:
			if !plain[b] {
				c.fail("there is what is no JSON")
				return
			}
		}
		c.pos++
	}
	c.fail("a bracket is not closed")
}

// plain are the bytes of numbers, literals and what is between values.
var plain = bytesOf("-+.0123456789eE truefalsn,:\t\r\n")

func bytesOf(list string) (set [256]bool) {
	for i := range len(list) {
		set[list[i]] = true
	}
	return set
}

// atom moves over a number, true, false or null.
func (c *cursor) atom() {
	begin := c.pos
	for c.pos < len(c.data) && !ends[c.data[c.pos]] {
		c.pos++
	}
	switch text := c.data[begin:c.pos]; string(text) {
	case "true", "false", "null":
	default:
		if len(text) == 0 || !numeric(text) {
			c.pos = begin
			c.fail("a value is missing")
		}
	}
}

// ends are the bytes that may follow a number or literal.
var ends = bytesOf(",]}: \t\r\n[{\"")

// numeric tells whether a text looks like a number.
func numeric(text []byte) bool {
	if text[0] == '-' {
		text = text[1:]
	}
	if len(text) == 0 || text[0] < '0' || text[0] > '9' {
		return false
	}
	for _, b := range text {
		if (b < '0' || b > '9') && b != '.' && b != 'e' && b != 'E' && b != '+' && b != '-' {
			return false
		}
	}
	return true
}

// known returns nil for the ways to say "unknown" that [foreign.Known] knows.
func known(b []byte) []byte {
	var unknown string
	switch len(b) {
	case 0:
		return nil
	case 1:
		unknown = "-"
	case 2:
		if string(b) == "{}" || string(b) == "[]" {
			return nil
		}
		return b
	case 3:
		unknown = "n/a"
	case 4:
		if fold(b, "null") {
			return nil
		}
		unknown = "none"
	case 6:
		unknown = "hidden"
	case 7:
		unknown = "unknown"
	case 18:
		unknown = "unknownfuturevalue"
	case 36:
		unknown = "00000000-0000-0000-0000-000000000000"
	default:
		return b
	}
	if fold(b, unknown) {
		return nil
	}
	return b
}

// fold tells whether b is the ASCII text, which is in lower case, in any case.
func fold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// words makes strings that share nothing with the data they are read from, with few allocations.
type words struct {
	seed maphash.Seed
	// common are texts that came lately, each in the place that its hash says; whoever sends many different ones gains
	// nothing and costs no more memory.
	common [1 << 10]string
	// page collects texts that come once. A text keeps the page it is on alive, but pages are small.
	page strings.Builder
	// grant and session are lists that are read before it is known whether anybody wants them.
	grant, session []string
}

const (
	maxWord  = 512
	pageSize = 4 << 10
)

// word is for texts that come again and again.
func (w *words) word(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > maxWord {
		return string(b)
	}
	at := maphash.Bytes(w.seed, b) % uint64(len(w.common))
	if w.common[at] != string(b) {
		w.common[at] = string(b)
	}
	return w.common[at]
}

// text is for texts that come once.
func (w *words) text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > pageSize/4 {
		return string(b)
	}
	if w.page.Cap()-w.page.Len() < len(b) {
		w.page.Reset() // leaves the old page to the texts on it
		w.page.Grow(pageSize)
	}
	begin := w.page.Len()
	w.page.Write(b)
	return w.page.String()[begin:]
}
