package events

import (
	"errors"
	"fmt"
	"time"

	"github.com/mailru/easyjson/jlexer"
	"github.com/mailru/easyjson/jwriter"
)

// Millis is a moment in UTC, in milliseconds since the Unix epoch; 0 means unknown. On the wire it is an RFC 3339 string
// with milliseconds, such as "2026-03-04T08:15:30.104Z". Any RFC 3339 offset and 0 to 9 fractional digits are read.
type Millis int64

// Durations in the unit of [Millis], so that the pure core needs no other.
const (
	Second = 1000
	Minute = 60 * Second
	Hour   = 60 * Minute
	Day    = 24 * Hour
)

const millisLayout = "2006-01-02T15:04:05.000Z"

// errTime is returned for text that is not an RFC 3339 time between the years 1 and 9999.
var errTime = errors.New(`must be an RFC 3339 time such as "2026-03-04T08:15:30.104Z"`)

// MillisOf converts a time; the zero time becomes 0 (unknown).
func MillisOf(t time.Time) Millis {
	if t.IsZero() {
		return 0
	}
	return Millis(t.UnixMilli())
}

// Time converts to a time in UTC; unknown becomes the zero time.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// String is the wire form, or "" when unknown.
func (m Millis) String() string {
	if m == 0 {
		return ""
	}
	return m.Time().Format(millisLayout)
}

// IsDefined tells easyjson to leave an unknown moment out.
func (m Millis) IsDefined() bool { return m != 0 }

// ParseMillis reads the wire form.
func ParseMillis(s string) (Millis, error) {
	if m, ok := parseFixed(s); ok {
		return m, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, fmt.Errorf("time %.40q %w", s, errTime)
	}
	return MillisOf(t), nil
}

// parseFixed reads exactly what [Millis.String] writes; it is the form of nearly every record on the log.
func parseFixed(s string) (Millis, bool) {
	if len(s) != len(millisLayout) || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' ||
		s[19] != '.' || s[23] != 'Z' {
		return 0, false
	}
	ok := true
	number := func(from, to int) int {
		n := 0
		for _, c := range []byte(s[from:to]) {
			if c < '0' || c > '9' {
				ok = false
			}
			n = n*10 + int(c-'0')
		}
		return n
	}
	year, month, day := number(0, 4), number(5, 7), number(8, 10)
	hour, minute, sec, ms := number(11, 13), number(14, 16), number(17, 19), number(20, 23)
	if !ok || month < 1 || month > 12 || day < 1 || day > 28 || hour > 23 || minute > 59 || sec > 59 {
		return 0, false // also for days 29 to 31: the slow path knows the calendar
	}
	days := daysSinceEpoch(year, month, day)
	return Millis(((days*24+int64(hour))*60+int64(minute))*60000 + int64(sec)*1000 + int64(ms)), true
}

// daysSinceEpoch counts days in the proleptic Gregorian calendar with the year starting in March, so that the leap day
// is the last of a year (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil).
func daysSinceEpoch(year, month, day int) int64 {
	y := int64(year)
	if month <= 2 {
		y--
	}
	era := y / 400
	if y < 0 {
		era = (y - 399) / 400
	}
	yearOfEra := y - era*400
	dayOfYear := int64((153*((month+9)%12)+2)/5 + day - 1)
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return era*146097 + dayOfEra - 719468
}

// MarshalEasyJSON writes the wire form.
func (m Millis) MarshalEasyJSON(w *jwriter.Writer) {
	if m == 0 {
		w.RawString("null")
		return
	}
	var buf [len(millisLayout) + 2]byte
	w.Buffer.AppendBytes(append(m.Time().AppendFormat(append(buf[:0], '"'), millisLayout), '"'))
}

// UnmarshalEasyJSON reads the wire form; null is unknown.
func (m *Millis) UnmarshalEasyJSON(l *jlexer.Lexer) {
	if l.IsNull() {
		l.Skip()
		*m = 0
		return
	}
	v, err := ParseMillis(l.UnsafeString())
	if err != nil && l.Ok() {
		l.AddError(err)
	}
	*m = v
}

// MarshalJSON writes the wire form.
func (m Millis) MarshalJSON() ([]byte, error) {
	w := jwriter.Writer{}
	m.MarshalEasyJSON(&w)
	return w.BuildBytes()
}

// UnmarshalJSON reads the wire form; null is unknown.
func (m *Millis) UnmarshalJSON(b []byte) error {
	l := jlexer.Lexer{Data: b}
	m.UnmarshalEasyJSON(&l)
	return l.Error()
}
