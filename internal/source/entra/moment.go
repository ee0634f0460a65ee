package entra

import (
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// moment reads a time. The form of nearly every record is read here, any other by package foreign.
func moment(b []byte) (events.Millis, error) {
	if m, ok := usualMoment(b); ok {
		return m, nil
	}
	return foreign.Time(string(known(b)))
}

// usualMoment reads "2026-03-04T08:15:31.2442191+00:00": three to nine digits of a second, in UTC.
func usualMoment(b []byte) (m events.Millis, ok bool) {
	const seconds, millis = len("2026-03-04T08:15:31"), len("2026-03-04T08:15:31.244")
	if len(b) <= millis || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' || b[seconds] != '.' {
		return 0, false
	}
	zone := millis
	for zone < len(b) && b[zone] >= '0' && b[zone] <= '9' {
		zone++
	}
	if s := string(b[zone:]); zone > seconds+10 || s != "Z" && s != "+00:00" {
		return 0, false
	}
	ok = true
	number := func(from, to int) (n int) {
		for _, c := range b[from:to] {
			ok = ok && c >= '0' && c <= '9'
			n = n*10 + int(c-'0')
		}
		return n
	}
	year, month, day := number(0, 4), number(5, 7), number(8, 10)
	hour, minute, second, milli := number(11, 13), number(14, 16), number(17, 19), number(20, 23)
	if !ok || year < 1970 || month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, milli*1e6, time.UTC)
	return events.Millis(t.UnixMilli()), t.Day() == day
}
