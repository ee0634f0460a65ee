package rba

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/countersign-io/countersign/internal/events"
)

// maxInterned bounds each set of remembered texts. The data set has some hundred thousand user agents.
const maxInterned = 1 << 16

// intern keeps one copy of texts that come often.
type intern map[string]string

func (t intern) of(b []byte) string {
	if s, ok := t[string(b)]; ok {
		return s
	}
	s := string(b)
	bounded(t)[s] = s
	return s
}

// bounded forgets everything when a map is full, and gives it back.
func bounded[V any](m map[string]V) map[string]V {
	if len(m) >= maxInterned {
		clear(m)
	}
	return m
}

// known is nil for what says that nothing is known.
func known(b []byte) []byte {
	switch string(b) {
	case "", "-", "nan", "NaN":
		return nil
	}
	return b
}

func upper(b []byte) bool {
	for _, c := range b {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

// cut keeps the first bytes of a text, whole characters of valid UTF-8.
func cut(b []byte, most int) []byte {
	if len(b) > most {
		b = b[:most]
		for len(b) > 0 && !utf8.RuneStart(b[len(b)-1]) {
			b = b[:len(b)-1]
		}
		if len(b) > 0 && b[len(b)-1] >= utf8.RuneSelf {
			b = b[:len(b)-1]
		}
	}
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	return b
}

// parseTime reads "2020-02-03 12:43:30.772", with 0 to 9 digits of fraction, as UTC.
func parseTime(b []byte) (events.Millis, bool) {
	const shortest, longest = len("2020-02-03 12:43:30"), len("2020-02-03 12:43:30.123456789")
	if len(b) < shortest || len(b) > longest || b[10] != ' ' {
		return 0, false
	}
	var text [longest + 1]byte
	n := copy(text[:], b)
	text[10], text[n] = 'T', 'Z'
	at, err := events.ParseMillis(string(text[:n+1]))
	return at, err == nil && at != 0
}

// parseOptional reads a number, 0 when there is none.
func parseOptional(b []byte) (float64, bool) {
	if b = known(b); b == nil {
		return 0, true
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

func parseBool(b []byte) (value, ok bool) {
	switch string(b) {
	case "True", "true", "1":
		return true, true
	case "False", "false", "0":
		return false, true
	}
	return false, false
}
