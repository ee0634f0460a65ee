package entra

import (
	"encoding/json"
	"hash/maphash"
	"math"
	"strings"
	"testing"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/source/foreign"
)

func cursorOf(s string) *cursor {
	return &cursor{data: []byte(s), words: &words{seed: maphash.MakeSeed()}}
}

// FuzzCursor holds the cursor against the lexer that the other sources use: whatever is JSON, both read alike.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{
		`"a"`, `" Hidden "`, `"caf\u00e9 \ud83d\ude00\n\\\""`, `-1.5e+3`, `5000000000`, `"64500"`, `"NaN"`, `"-Inf"`, `true`, `"No"`, `null`, `{}`, `{"a":[1,{"b":"]"}],"c":null}`,
		`"{\"a\":\"x\"}"`, `["x",2,[],true]`, `"unknownFutureValue"`, `"00000000-0000-0000-0000-000000000000"`, ` [ { } ] `, `"` + strings.Repeat("x", 2000) + `"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !json.Valid([]byte(s)) {
			for _, read := range []func(*cursor){(*cursor).skip, func(c *cursor) { c.word() }, func(c *cursor) { c.flag() }, func(c *cursor) { c.list() }, func(c *cursor) { c.steps(nil) }} {
				c := cursorOf(s)
				if read(c); c.problem != "" && c.at > len(s) {
					t.Errorf("a problem at byte %d of %d", c.at, len(s))
				}
			}
			return
		}
		if strings.Count(s, "[")+strings.Count(s, "{") > maxNesting {
			return
		}
		read := func(what string, ours func(*cursor) any, theirs func(*jlexer.Lexer) any) {
			c, l := cursorOf(s), &jlexer.Lexer{Data: []byte(s)}
			got, want := ours(c), theirs(l)
			if c.problem != "" || c.next() != 0 {
				t.Errorf("%s of %q: %v, at byte %d of %d", what, s, c.err(), c.pos, len(s))
			}
			if got != want {
				t.Errorf("%s of %q: %v, want %v", what, s, got, want)
			}
		}
		read("skip", func(c *cursor) any { c.skip(); return nil }, func(*jlexer.Lexer) any { return nil })
		if ascii(s) { // package foreign also folds letters of other alphabets
			read("word", func(c *cursor) any { return c.word() }, func(l *jlexer.Lexer) any { return foreign.Text(l) })
			read("text", func(c *cursor) any { return c.text() }, func(l *jlexer.Lexer) any { return foreign.Text(l) })
			read("flag", func(c *cursor) any { return c.flag() }, func(l *jlexer.Lexer) any { return foreign.Flag(l) })
			read("number", func(c *cursor) any { return c.number() }, func(l *jlexer.Lexer) any {
				n, ok := foreign.Number(l)
				return ifOK(n, ok && !math.IsNaN(n) && !math.IsInf(n, 0))
			})
			read("unsigned", func(c *cursor) any { return c.unsigned() }, func(l *jlexer.Lexer) any {
				n, ok := foreign.Unsigned(l)
				return ifOK(n, ok)
			})
		}
		if inside := ""; json.Unmarshal([]byte(s), &inside) == nil && !json.Valid([]byte(inside)) {
			return // what of broken JSON in a text is read is anybody's guess
		}
		read("members", func(c *cursor) any {
			n := 0
			for o := c.object(); o.member(); n++ {
				o.skip()
			}
			return n
		}, func(l *jlexer.Lexer) any {
			n := 0
			foreign.Object(l, func(l *jlexer.Lexer, _ string) { l.SkipRecursive(); n++ })
			return n
		})
	})
}

// ifOK is n, or 0 when it is not ok.
func ifOK[N float64 | uint32](n N, ok bool) N {
	if !ok {
		return 0
	}
	return n
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0 && !strings.Contains(s, `\u`)
}

func TestCursorRefusesWhatIsNoJSON(t *testing.T) {
	for _, s := range []string{
		`"a`, `"a\"`, `"\`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a" 1}`, `{"a":1 "b":2}`, `{a:1}`, `{"a":1]`, `[1,2}`, `[1 2]`, `[,1]`, `[1,]`, `{,}`,
		`tru`, `nul`, `falsee`, `-`, `1x`, `[1`, ``, ` `, `,`, `:`, `]`, `}`, `'a'`, `{"a":}`, `{"a":'x'}`, `{"x":[[}]}`, `{"x":{#}}`, strings.Repeat("[", 70) + strings.Repeat("]", 70),
	} {
		c := cursorOf(s)
		// Walk as a reader does: members of an object are read, what is in them is leapt over.
		switch c.next() {
		case '{':
			for o := c.object(); o.member(); {
				o.skip()
			}
		case '[':
			for a := c.array(); a.element(); {
				a.skip()
			}
		default:
			c.skip()
		}
		if c.problem == "" && c.next() == 0 {
			t.Errorf("%q is taken for JSON", s)
		}
		if c.problem != "" && (c.at > len(s) || !strings.HasPrefix(c.err().Error(), "is no JSON: ")) {
			t.Errorf("%q: %v", s, c.err())
		}
	}
}

func TestWordsShareNothingWithTheData(t *testing.T) {
	w := &words{seed: maphash.MakeSeed()}
	data := []byte("abcdefgh")
	first, second := w.word(data), w.text(data)
	for i := range 3 * pageSize / 8 {
		data[i%8]++
		w.text(data)
		w.word(data)
	}
	if first != "abcdefgh" || second != "abcdefgh" {
		t.Errorf("%q and %q have changed", first, second)
	}
	if s := w.text(make([]byte, 2*pageSize)); len(s) != 2*pageSize {
		t.Errorf("%d bytes of %d", len(s), 2*pageSize)
	}
}

// FuzzMoment holds the fast reading of times against package foreign's.
func FuzzMoment(f *testing.F) {
	for _, s := range []string{
		"2026-03-04T08:15:31.2442191+00:00", "2026-02-29T08:15:31.244Z", "2024-02-29T08:15:31.244Z", "2026-03-04T08:15:31.24Z", "2026-03-04T24:15:31.244Z", "0000-01-01T00:00:00.000Z",
		"2026-03-04T08:15:31.1234567891Z", "2026-13-04T08:15:31.244Z", "2026-03-04T08:15:31.244-00:00", "2026-03-04T08:15:31,244Z", "9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00.000Z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := usualMoment([]byte(s))
		if !ok {
			return
		}
		if want, err := foreign.Time(s); err != nil || m != want {
			t.Errorf("%q: %v, want %v, %v", s, m, want, err)
		}
	})
}
