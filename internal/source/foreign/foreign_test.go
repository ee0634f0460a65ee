package foreign

import (
	"strings"
	"testing"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
)

func TestTime(t *testing.T) {
	for s, want := range map[string]string{
		"":                             "",
		"2026-03-04T08:17:55.1043377Z": "2026-03-04T08:17:55.104Z", // T1
		"2026-03-04T08:17:55+00:00":    "2026-03-04T08:17:55.000Z", // T2
		"2026-03-04T03:17:55-05:00":    "2026-03-04T08:17:55.000Z", // T2
		"2026-03-04 08:17:55.104":      "2026-03-04T08:17:55.104Z", // T3
		"2026-03-04 08:17:55Z":         "2026-03-04T08:17:55.000Z",
		"3/4/2026 2:42:35 PM":          "2026-03-04T14:42:35.000Z", // T4
		"2026-03-04T08:15:35":          "2026-03-04T08:15:35.000Z", // T5
		"2026-03-04T08:15:31.244":      "2026-03-04T08:15:31.244Z",
		"1772612135":                   "2026-03-04T08:15:35.000Z", // T6
		"1772612135123":                "2026-03-04T08:15:35.123Z",
		"1772612135123456":             "2026-03-04T08:15:35.123Z",
	} {
		if got, err := Time(s); err != nil || got.String() != want {
			t.Errorf("%q: %q and error %v, want %q", s, got, err, want)
		}
	}
	for _, s := range []string{"yesterday", "2026-13-04T08:17:55Z", "-5", "99999999999999999999", "2026-03-04"} {
		if got, err := Time(s); err == nil {
			t.Errorf("%q: %v, want an error", s, got)
		}
	}
}

func TestAddress(t *testing.T) {
	for s, want := range map[string][2]string{
		"":                            {"", ""},
		"-":                           {"", ""},
		"192.0.2.1":                   {"192.0.2.1", ""},
		" 192.0.2.1 ":                 {"192.0.2.1", ""},
		"192.0.2.1:443":               {"192.0.2.1", ""},
		"[2001:db8::1]:443":           {"2001:db8::1", ""},
		"[2001:db8::1]":               {"2001:db8::1", ""},
		"::ffff:192.0.2.1":            {"192.0.2.1", ""},
		"fe80::1%eth0":                {"fe80::1", ""},
		"2001:0db8:0000:0000:0:0:0:1": {"2001:db8::1", ""},
		"10.0.0.1":                    {"10.0.0.1", ""},
		"AWS Internal":                {"", "AWS Internal"},
		"cloudtrail.amazonaws.com":    {"", "cloudtrail.amazonaws.com"},
		"192.0.2.xxx":                 {"", "192.0.2.xxx"},
		"192.0.2.1, 198.51.100.1":     {"", "192.0.2.1, 198.51.100.1"},
	} {
		if ip, raw := Address(s); ip != want[0] || raw != want[1] {
			t.Errorf("%q: %q and %q, want %q", s, ip, raw, want)
		}
	}
}

func lexer(s string) *jlexer.Lexer { return &jlexer.Lexer{Data: []byte(s)} }

func TestValuesOfAnyType(t *testing.T) {
	for s, want := range map[string]string{
		`"a"`: "a", `4`: "4", `-1.5e3`: "-1.5e3", `true`: "", `null`: "", `{}`: "", `[1,{"a":"]"}]`: "", `"null"`: "", `"-"`: "",
		`" x "`: "x", `"Hidden"`: "", `"unknownFutureValue"`: "", `"00000000-0000-0000-0000-000000000000"`: "", `"caf\u00e9"`: "café",
	} {
		l := lexer(s)
		if got := Text(l); got != want || l.Error() != nil {
			t.Errorf("Text(%s) = %q and error %v, want %q", s, got, l.Error(), want)
		}
		if l.Consumed(); l.Error() != nil {
			t.Errorf("Text(%s) leaves something: %v", s, l.Error())
		}
	}
	for s, want := range map[string]events.Tri{
		`true`: events.Yes, `false`: events.No, `"True"`: events.Yes, `"no"`: events.No, `null`: 0, `""`: 0, `0`: 0, `{}`: 0, `"x"`: 0,
	} {
		l := lexer(s)
		if got := Flag(l); got != want || l.Error() != nil {
			t.Errorf("Flag(%s) = %v and error %v, want %v", s, got, l.Error(), want)
		}
	}
	for s, want := range map[string]float64{`1.5`: 1.5, `"1.5"`: 1.5} {
		if got, ok := Number(lexer(s)); got != want || !ok {
			t.Errorf("Number(%s) = %v %v", s, got, ok)
		}
	}
	for _, s := range []string{`null`, `""`, `{}`, `"x"`, `true`} {
		if _, ok := Number(lexer(s)); ok {
			t.Errorf("Number(%s) is ok", s)
		}
		if _, ok := Unsigned(lexer(s)); ok {
			t.Errorf("Unsigned(%s) is ok", s)
		}
	}
	if n, ok := Unsigned(lexer(`"64500"`)); n != 64500 || !ok {
		t.Errorf("Unsigned = %d %v", n, ok)
	}
	if _, ok := Unsigned(lexer(`5000000000`)); ok {
		t.Error("a number of 33 bits is ok")
	}
}

func TestJSONInsideStrings(t *testing.T) {
	count := func(s string) (members, elements int, err error) {
		l := lexer(s)
		Object(l, func(l *jlexer.Lexer, _ string) { members++; l.SkipRecursive() })
		if err := l.Error(); err != nil {
			return 0, 0, err
		}
		l = lexer(s)
		Array(l, func(l *jlexer.Lexer) { elements++; l.SkipRecursive() })
		return members, elements, l.Error()
	}
	for s, want := range map[string][2]int{
		`{"a":1,"b":{"c":2}}`: {2, 0}, `"{\"a\":1,\"b\":[]}"`: {2, 0}, `[1,"x"]`: {0, 2}, `"[{\"a\":1}]"`: {0, 1},
		`""`: {}, `null`: {}, `"text"`: {}, `5`: {}, `true`: {}, `"{\"a\":1,"`: {1, 0}, `"{"`: {},
	} {
		members, elements, err := count(s)
		if members != want[0] || elements != want[1] || err != nil {
			t.Errorf("%s: %d members, %d elements, error %v, want %v", s, members, elements, err, want)
		}
	}
	for _, s := range []string{`{"a":1`, `{"a" 1}`} {
		if _, _, err := count(s); err == nil {
			t.Errorf("%s: no error", s)
		}
	}
}

func FuzzObject(f *testing.F) {
	f.Add(`{"a":"{\"b\":[1,2]}","c":[{"d":null}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		l := lexer(s)
		depth := 0
		Object(l, func(l *jlexer.Lexer, key string) {
			if depth++; depth > 1_000_000 {
				t.Fatal("it does not end")
			}
			switch key {
			case "a":
				Object(l, func(l *jlexer.Lexer, _ string) { Text(l) })
			case "b":
				Array(l, func(l *jlexer.Lexer) { Flag(l) })
			default:
				Text(l)
			}
		})
		if _, err := Time(s); err != nil && len(err.Error()) > 300 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		if ip, _ := Address(s); ip != "" {
			if again, _ := Address(ip); again != ip {
				t.Errorf("%q: %q, then %q", s, ip, again)
			}
		}
	})
}

func TestGUID(t *testing.T) {
	t.Parallel()
	const guid = "0f6c2b1e-3A57-4d0c-9d5e-7b1a2c4d6e80"
	if !GUID(guid) {
		t.Errorf("%s is none", guid)
	}
	for _, s := range []string{"", guid[1:], guid + "0", "0f6c2b1e-3A57-4d0c-9d5e-7b1a2c4d6e8g", "0f6c2b1e03A57-4d0c-9d5e-7b1a2c4d6e80", "0f6c2b1e-3A57-4d0c-9d5e-7b1a2c4d-e80"} {
		if GUID(s) {
			t.Errorf("%s is one", s)
		}
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("x", events.MaxID)
	for _, id := range []string{"", "a b", "name:\u00e9", longest} {
		if got := Identity("f", id); got != id {
			t.Errorf("%q becomes %q", id, got)
		}
	}
	hashes := map[string]bool{}
	for _, id := range []string{longest + "x", longest + "y", "a\n", "a\x00", "a\u0085", "a\xff"} {
		got := Identity("f", id)
		if !strings.HasPrefix(got, "hash:") || hashes[got] || got == Identity("g", id) {
			t.Errorf("%q becomes %q", id, got)
		}
		hashes[got] = true
	}
}
