package terminal_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/countersign-io/countersign/internal/terminal"
)

func TestPlainDisarms(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Ada Lovelace":                    "Ada Lovelace",
		"Zoë 漢字":                          "Zoë 漢字",
		"\x1b[2J\x1b]0;owned\x07":         "�[2J�]0;owned�",
		"a\r\nb\tc":                       "a  b c",
		"\u202egnp.exe":                   "�gnp.exe",
		"no\u00a0break\u2028line\u200bzw": "no break�line�zw",
		"\u009b31mred":                    "�31mred",
		"bad\xffbyte":                     "bad�byte",
		"":                                "",
	} {
		if got := terminal.Plain(in); got != want {
			t.Errorf("Plain(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCutCountsCharacters(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"漢字漢字": "漢字漢字", "漢字漢字漢": "漢字漢…", "": ""} {
		if got := terminal.Cut(in, 4); got != want {
			t.Errorf("Cut(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("\x1b[31m")
	f.Add("\u2066x\u2069")
	f.Fuzz(func(t *testing.T, s string) {
		got := terminal.Plain(s)
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Plain(%q) = %q", s, got)
		}
		if terminal.Plain(got) != got {
			t.Errorf("Plain(%q) is not plain", s)
		}
	})
}
