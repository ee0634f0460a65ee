package events_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 0, ""},
		{"Ada", 3, "Ada"},
		{"Ada L", 4, "A…"},
		{"Ada", 2, "Ad"},
		{"Ada", 0, ""},
		{"漢字漢字", 12, "漢字漢字"},
		{"漢字漢字", 11, "漢字…"},
		{"漢字", 2, ""},
		{"漢字", 5, "…"},
		{"a\xffb", 5, "a�b"},
		{"a\xffb", 4, "a…"},
		{"Ada", -1, ""},
	} {
		if got := events.Cut(c.in, c.limit); got != c.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("漢字 \xff", 7)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		got := events.Cut(s, limit)
		if len(got) > max(limit, 0) || !utf8.ValidString(got) {
			t.Errorf("Cut(%q, %d) = %q", s, limit, got)
		}
		if !strings.HasPrefix(strings.ToValidUTF8(s, "�"), strings.TrimSuffix(got, "…")) {
			t.Errorf("Cut(%q, %d) = %q is no part of it", s, limit, got)
		}
	})
}
