package ingest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSplitFindsValuesInEveryLayout(t *testing.T) {
	t.Parallel()
	const limit = 20
	long := `{"a":"` + strings.Repeat("x", 50) + `"}`
	for name, tc := range map[string]struct {
		in   string
		as   layout
		want string // number:value, ! before what is broken
	}{
		"nothing":                      {"", "", ""},
		"white space":                  {" \n\t\r\n ", "", ""},
		"one object":                   {`{"a":1}`, "", `1:{"a":1}`},
		"lines":                        {"{\"a\":1}\r\n\n{\"b\":2}\n", "", `1:{"a":1} 3:{"b":2}`},
		"lines, no line break at end":  {"{\"a\":1}\n{\"b\":2}", "", `1:{"a":1} 2:{"b":2}`},
		"byte order mark":              {"\xEF\xBB\xBF{\"a\":1}\n{\"b\":2}", "", `1:{"a":1} 2:{"b":2}`},
		"brackets in strings":          {`{"a":"}\"{"}` + "\n" + `{"b":"]"}`, "", `1:{"a":"}\"{"} 2:{"b":"]"}`},
		"rubbish first":                {"hello\n{\"b\":2}\n", "", `1:hello 2:{"b":2}`},
		"first line cut off":           {"{\"a\":\n{\"b\":2}\n{\"c\":3}\n", "", `1:{"a": 2:{"b":2} 3:{"c":3}`},
		"first line cut off in a text": {"{\"a\":\"x\n{\"b\":\"}\"}\n", "", `1:{"a":"x 2:{"b":"}"}`},
		"middle line cut off":          {"{\"a\":1}\n{\"b\":\n{\"c\":3}\n", "", `1:{"a":1} 2:{"b": 3:{"c":3}`},
		"only line cut off":            {"{\"a\":1", "", `1:{"a":1`},
		"line too long":                {"{\"a\":1}\n" + long + "\n{\"c\":3}\n", "", `1:{"a":1} !2:58:{"a":"xxxxxxxxxxxxxx 3:{"c":3}`},
		"first line too long":          {long + "\n{\"c\":3}\n", "", `!1:58:{"a":"xxxxxxxxxxxxxx 2:{"c":3}`},
		"last line too long":           {"{\"a\":1}\n" + long, "", `1:{"a":1} !2:58:{"a":"xxxxxxxxxxxxxx`},
		"told to be lines":             {"[1]\n{\n}\n", lines, `1:[1] 2:{ 3:}`},
		"array":                        {"[{\"a\":1},\n {\"b\":[1]} ,3, \"x,]\"]\n", "", `1:{"a":1} 2:{"b":[1]} 3:3 4:"x,]"`},
		"empty array":                  {" [ ] ", "", ""},
		"element too long":             {"[" + long + ", {\"b\":2}]", "", `!1:58:{"a":"xxxxxxxxxxxxxx 2:{"b":2}`},
		"array cut off in an element":  {`[{"a":1},{"b":`, "", `1:{"a":1} !2:5:{"b":`},
		"array cut off between":        {`[{"a":1},`, "", `1:{"a":1} !2:0:`},
		"no comma":                     {`[{"a":1}{"b":2}]`, "", `1:{"a":1} !2:8:{"b":2}]`},
		"two commas":                   {`[{"a":1},,2]`, "", `1:{"a":1} !2:3:,2]`},
		"rest after an array":          {"[1]\n{\"b\":2}", "", `1:1 !2:7:{"b":2}`},
		"documents":                    {"{\n \"a\": 1\n}\n{\n \"b\": 2\n}\n", "", "1:{\n \"a\": 1\n} 2:{\n \"b\": 2\n}"},
		"document cut off":             {"{\n \"a\": 1\n}\n{\n \"b\":", "", "1:{\n \"a\": 1\n} !2:7:{\n \"b\":"},
		"document too long":            {"{\n\"a\":\"" + strings.Repeat("x", 50) + "\"}\n{\n\"b\":2}", "", "!1:59:{\n\"a\":\"xxxxxxxxxxxxx 2:{\n\"b\":2}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for reader, in := range map[string]io.Reader{
				"at once": strings.NewReader(tc.in), "by byte": iotest.OneByteReader(strings.NewReader(tc.in)),
				"end with data": iotest.DataErrReader(strings.NewReader(tc.in)),
			} {
				s := newSplitter(in, limit, tc.as, 0)
				var got []string
				for {
					v, err := s.next()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					if v.err == nil {
						got = append(got, fmt.Sprintf("%d:%s", v.number, v.bytes))
					} else {
						got = append(got, fmt.Sprintf("!%d:%d:%s", v.number, v.size, v.bytes))
					}
				}
				s.release()
				// A reader that gives a byte at a time has shown less of what follows a break.
				text := strings.Join(got, " ")
				lost := reader == "by byte" && strings.Contains(tc.want, "!") && sameButLast(got, tc.want)
				if text != tc.want && !lost {
					t.Errorf("%s: %q, want %q", reader, text, tc.want)
				}
			}
		})
	}
}

// sameButLast reports whether all values but the last, which was lost, are as wanted.
func sameButLast(got []string, want string) bool {
	return len(got) > 0 && strings.HasPrefix(want, strings.Join(got[:len(got)-1], " ")) && strings.HasPrefix(got[len(got)-1], "!")
}

// A split is gone on with in the middle of an input, at any value.
func TestSplitGoesOnInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"{\"a\":1}\n\n{\"b\":2}\n{\"c\":3}", "[{\"a\":1},\n{\"b\":2} , {\"c\":3}]\n", "{\n\"a\":1}\n{\n\"b\":2}\n{\n\"c\":3}",
	} {
		read := func(s *splitter) (all []string) {
			for {
				v, err := s.next()
				if errors.Is(err, io.EOF) {
					return all
				}
				if err != nil || v.err != nil {
					t.Fatal(err, v.err)
				}
				all = append(all, fmt.Sprintf("%d:%s", v.number, v.bytes))
			}
		}
		want := read(newSplitter(strings.NewReader(in), 100, undecided, 0))
		if len(want) != 3 {
			t.Fatalf("%q: %q", in, want)
		}
		for n := range want {
			first := newSplitter(strings.NewReader(in), 100, undecided, 0)
			for range n + 1 {
				if _, err := first.next(); err != nil {
					t.Fatal(err)
				}
			}
			second := newSplitter(strings.NewReader(in[first.offset:]), 100, first.layout, first.offset)
			second.number = first.number
			if got := read(second); fmt.Sprint(got) != fmt.Sprint(want[n+1:]) {
				t.Errorf("%q after %d values: %q, want %q", in, n+1, got, want[n+1:])
			}
		}
	}
}

func TestSplitTellsTheErrorOfItsInput(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection lost")
	s := newSplitter(io.MultiReader(strings.NewReader("{\"a\":1}\n{\"b\":"), iotest.ErrReader(broken)), 100, undecided, 0)
	if v, err := s.next(); err != nil || string(v.bytes) != `{"a":1}` {
		t.Errorf("%q, %v", v.bytes, err)
	}
	if v, err := s.next(); !errors.Is(err, broken) {
		t.Errorf("half a record: %q, %v", v.bytes, err)
	}
}
