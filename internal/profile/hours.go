package profile

import (
	"encoding/binary"
	"math"

	"github.com/countersign-io/countersign/internal/events"
)

// HoursOfWeek is how many hours a week has. Hour 0 begins on Monday at 0:00.
const HoursOfWeek = 168

// Hours counts logins by hour of the week, fading with a half-life of 60 days. It is a value: a copy shares nothing that
// changes.
type Hours struct {
	// A count is in eighths of a login as of the day since; a later login counts for more instead of all others for less.
	since int
	bins  []hourBin // those that are not 0, by hour; never changed in place
}

type hourBin struct {
	hour  uint8
	count uint16
}

const loginUnit = 8

// maxDay is beyond every day that a time in milliseconds can name.
const maxDay = 1 << 40

// HourOfWeek is the hour of a moment in a place whose clock is ahead of UTC by so much.
func HourOfWeek(t, ahead events.Millis) int {
	const thursday = 3 * 24 // the Unix epoch began on one
	hours := int64(t/events.Hour) + int64(ahead/events.Hour)
	if rest := int64(t%events.Hour) + int64(ahead%events.Hour); rest >= events.Hour {
		hours++
	} else if rest < 0 {
		hours--
	}
	return int(((hours+thursday)%HoursOfWeek + HoursOfWeek) % HoursOfWeek)
}

// Add counts a login. An hour out of range, and one so old that it would count for nothing, is ignored.
func (h *Hours) Add(hour int, at events.Millis) {
	if hour < 0 || hour >= HoursOfWeek {
		return
	}
	today := day(at)
	h.advance(today)
	worth := math.Round(loginUnit / fade(today-h.since))
	if worth == 0 {
		return
	}
	i := 0
	for i < len(h.bins) && int(h.bins[i].hour) < hour {
		i++
	}
	bins := make([]hourBin, 0, len(h.bins)+1)
	bins = append(append(bins, h.bins[:i]...), hourBin{hour: uint8(hour)})
	if i < len(h.bins) && int(h.bins[i].hour) == hour {
		bins[i] = h.bins[i]
		bins = append(bins, h.bins[i+1:]...)
	} else {
		bins = append(bins, h.bins[i:]...)
	}
	bins[i].count = uint16(min(float64(bins[i].count)+worth, math.MaxUint16))
	h.bins = bins
}

// advance moves since on by whole half-lives, so that a login is never worth twice the unit.
func (h *Hours) advance(today int) {
	if len(h.bins) == 0 {
		h.since = today
		return
	}
	halvings := (today - h.since) / halfLifeDays
	if halvings < 1 {
		return
	}
	h.since += halvings * halfLifeDays
	bins := make([]hourBin, 0, len(h.bins))
	for _, b := range h.bins {
		if b.count = uint16(math.Round(math.Ldexp(float64(b.count), -halvings))); b.count > 0 {
			bins = append(bins, b)
		}
	}
	if h.bins = bins; len(bins) == 0 {
		h.since = today
	}
}

// Count is how many logins an hour of the week has had, as of a moment.
func (h *Hours) Count(hour int, at events.Millis) float64 {
	for _, b := range h.bins {
		if int(b.hour) == hour {
			return h.logins(int(b.count), at)
		}
	}
	return 0
}

// Total is how many logins there were, as of a moment.
func (h *Hours) Total(at events.Millis) float64 {
	sum := 0
	for _, b := range h.bins {
		sum += int(b.count)
	}
	return h.logins(sum, at)
}

func (h *Hours) logins(count int, at events.Millis) float64 {
	return float64(float64(count) / loginUnit * fade(day(at)-h.since)) // never fused with a sum
}

// append writes the day, and the hours as runs: the gap before each, its length and its counts.
func (h *Hours) append(b []byte) []byte {
	b = append(binary.AppendVarint(b, int64(h.since)), 0)
	runs := len(b) - 1
	next := 0 // the first hour of which nothing is written
	for i := 0; i < len(h.bins); {
		end := i + 1
		for end < len(h.bins) && h.bins[end].hour == h.bins[end-1].hour+1 {
			end++
		}
		b[runs]++
		b = append(b, h.bins[i].hour-uint8(next), uint8(end-i))
		next = int(h.bins[end-1].hour) + 1
		for ; i < end; i++ {
			b = binary.AppendUvarint(b, uint64(h.bins[i].count))
		}
	}
	return b
}

func (r *reader) hours(h *Hours) {
	since := r.signed()
	if since < -maxDay || since > maxDay {
		r.fail("a day is out of range")
	}
	h.since = int(since)
	var bins [HoursOfWeek]hourBin
	n, next := 0, 0
	for range r.byte() {
		next += int(r.byte())
		length := int(r.byte())
		if length == 0 || next+length > HoursOfWeek {
			r.fail("an hour is out of range")
			return
		}
		for range length {
			count := r.unsigned()
			if count == 0 || count > math.MaxUint16 {
				r.fail("an hour has no count")
				return
			}
			bins[n] = hourBin{hour: uint8(next), count: uint16(count)}
			n, next = n+1, next+1
		}
	}
	h.bins = make([]hourBin, n)
	copy(h.bins, bins[:n])
}
