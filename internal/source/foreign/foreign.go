// Package foreign reads values as other systems write them: times without zones, numbers in quotes, JSON inside strings,
// addresses with ports, and the many ways to say "unknown". What cannot be understood is absent, never an error, because
// one odd field must not cost the record; only broken JSON is an error, and that is the lexer's.
package foreign

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
)

// absent holds, in lower case, the texts by which sources say that they say nothing.
var absent = map[string]bool{
	"": true, "-": true, "null": true, "none": true, "unknown": true, "hidden": true, "n/a": true, "{}": true, "[]": true,
	"unknownfuturevalue": true, "00000000-0000-0000-0000-000000000000": true,
}

// Known returns s without surrounding blanks, or "" when it is one of the ways to say "unknown".
func Known(s string) string {
	s = strings.TrimSpace(s)
	const longest = len("00000000-0000-0000-0000-000000000000")
	if len(s) <= longest && absent[strings.ToLower(s)] {
		return ""
	}
	return s
}

// Text reads a string or number as text; everything else, and every way to say "unknown", is "".
func Text(l *jlexer.Lexer) string {
	switch l.CurrentToken() {
	case jlexer.TokenString:
		return Known(l.String())
	case jlexer.TokenNumber:
		return string(l.Raw())
	default:
		l.SkipRecursive()
		return ""
	}
}

// Flag reads true, false, and their names in quotes; everything else is unknown.
func Flag(l *jlexer.Lexer) events.Tri {
	switch l.CurrentToken() {
	case jlexer.TokenBool:
		return events.TriOf(l.Bool())
	case jlexer.TokenString:
		switch strings.ToLower(l.UnsafeString()) {
		case "true", "yes":
			return events.Yes
		case "false", "no":
			return events.No
		}
	default:
		l.SkipRecursive()
	}
	return events.Unknown
}

// Number reads a number, also in quotes; ok is false for everything else.
func Number(l *jlexer.Lexer) (n float64, ok bool) {
	n, err := strconv.ParseFloat(Text(l), 64)
	return n, err == nil
}

// Unsigned reads a whole number that fits 32 bits, also in quotes; ok is false for everything else.
func Unsigned(l *jlexer.Lexer) (n uint32, ok bool) {
	wide, err := strconv.ParseUint(Text(l), 10, 32)
	return uint32(wide), err == nil
}

// Object calls member for every member of an object, or of an object that is written as JSON in a string. member must
// consume the value from the lexer it is given; the key is valid during the call only. Everything else is skipped. A
// string that is not an object is as good as none.
func Object(l *jlexer.Lexer, member func(l *jlexer.Lexer, key string)) {
	unquoted(l, '{', func(l *jlexer.Lexer) {
		l.Delim('{')
		for !l.IsDelim('}') {
			key := l.UnsafeFieldName(false)
			l.WantColon()
			member(l, key)
			l.WantComma()
		}
		l.Delim('}')
	})
}

// Array calls element for every element of an array, or of an array that is written as JSON in a string. element must
// consume the value from the lexer it is given. Everything else is skipped.
func Array(l *jlexer.Lexer, element func(l *jlexer.Lexer)) {
	unquoted(l, '[', func(l *jlexer.Lexer) {
		l.Delim('[')
		for !l.IsDelim(']') {
			element(l)
			l.WantComma()
		}
		l.Delim(']')
	})
}

// unquoted calls read when the next value opens with delim, directly or inside a string.
func unquoted(l *jlexer.Lexer, delim byte, read func(*jlexer.Lexer)) {
	switch l.CurrentToken() {
	case jlexer.TokenDelim:
		if l.IsDelim(delim) {
			read(l)
			return
		}
		l.SkipRecursive()
	case jlexer.TokenString:
		text := strings.TrimSpace(l.String())
		if text == "" || text[0] != delim {
			return
		}
		// Errors inside end the reading of the text, not of the record.
		read(&jlexer.Lexer{Data: []byte(text)})
	default:
		l.SkipRecursive()
	}
}

var errTime = errors.New(`is no time that any known source writes, such as "2026-03-04T08:15:30.104Z"`)

// layouts are the times without an offset; they are in UTC. Go reads a fraction of a second where there is one.
var layouts = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "1/2/2006 3:04:05 PM", "1/2/2006 15:04:05"}

// Time reads a moment: RFC 3339 with any offset and fraction, the same without a zone (UTC) or with a blank, the
// American 12-hour form, and the seconds, milli- or microseconds since 1970. An empty text is unknown.
func Time(s string) (events.Millis, error) {
	if s == "" {
		return 0, nil
	}
	if m, err := events.ParseMillis(s); err == nil {
		return m, nil
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return events.MillisOf(t), nil
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 {
		switch {
		case len(s) <= 11:
			return events.Millis(n * 1000), nil
		case len(s) <= 14:
			return events.Millis(n), nil
		case len(s) <= 17:
			return events.Millis(n / 1000), nil
		}
	}
	return 0, fmt.Errorf("%.40q %w", s, errTime)
}

// Address reads an IP address, also with a port, in brackets, with a zone, or mapped into IPv6. ip is its canonical
// text; when there is none in s, ip is "" and raw is what s said.
func Address(s string) (ip, raw string) {
	s = Known(s)
	if s == "" {
		return "", ""
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return "", s
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("").String(), ""
}

// Country is an ISO 3166-1 alpha-2 code in upper case, or "" when s is something else, such as a country's name.
func Country(s string) string {
	s = strings.ToUpper(Known(s))
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return ""
	}
	return s
}

// Identity is s as an id of a family: what is longer than ids may be, or holds control characters or broken text, which
// nobody could tell apart once they are cleaned, becomes its hash.
func Identity(family, s string) string {
	if len(s) > events.MaxID || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }) {
		return "hash:" + events.ID(family, s)
	}
	return s
}

// GUID reports whether s has the form of a GUID.
func GUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}
