package events

import (
	"strings"
	"unicode/utf8"
)

// Cut is a text of at most limit bytes, never cut inside a character: "…" stands for what was cut, where it fits, and "�" for
// bytes that are no text.
func Cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= limit {
		return s
	}
	const mark = "…"
	end := mark
	if limit < len(mark) {
		end = ""
	}
	keep := max(limit-len(end), 0)
	for keep > 0 && !utf8.RuneStart(s[keep]) {
		keep--
	}
	return s[:keep] + end
}
