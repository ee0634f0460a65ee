// Package terminal makes text that others wrote fit for a terminal.
package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain is s without anything that moves the cursor, starts an escape sequence, hides or turns text: control characters,
// formatting characters (bidirectional overrides among them), line separators and invalid bytes each become "�". Blanks of
// every kind become a space.
func Plain(s string) string {
	if plain(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r' || unicode.Is(unicode.Zs, r):
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, s)
}

// plain tells printable ASCII, which nearly all texts are.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// Cut is Plain text of at most limit characters, the last of which is "…" when something was cut.
func Cut(s string, limit int) string {
	s = Plain(s)
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:max(limit-1, 0)]) + "…"
}
