package foreign

import (
	"errors"
	"strings"
	"testing"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
)

// letters is a format whose records are {"x":"e"}: e an event, s skipped, 2 two events, anything else an error.
var letters = &Format{Max: 1 << 10, Envelopes: []string{"records", "data", "events"}, Record: func(record []byte, emit Emit) {
	l := &jlexer.Lexer{Data: record}
	text := ""
	Object(l, func(l *jlexer.Lexer, key string) {
		if key == "x" {
			text = Text(l)
			return
		}
		l.SkipRecursive()
	})
	l.Consumed()
	switch {
	case l.Error() != nil:
		emit(record, nil, Broken(l))
	case text == "e":
		emit(record, &events.Event{}, nil)
	case text == "2":
		emit(record, &events.Event{}, nil)
		emit(record, &events.Event{}, nil)
	case text == "s":
		emit(record, nil, &Skipped{Reason: "category", Category: "s"})
	default:
		emit(record, nil, errors.New("is no letter"))
	}
}}

func decodeLetters(value string) (got string, records []string) {
	letters.Decode([]byte(value), func(record []byte, e *events.Event, err error) {
		var skipped *Skipped
		switch {
		case e != nil && err == nil:
			got += "e"
		case errors.As(err, &skipped):
			got += "s"
		case err != nil && e == nil:
			got += "x"
		}
		records = append(records, string(record))
	})
	return got, records
}

func TestFormatFindsRecords(t *testing.T) {
	t.Parallel()
	const e, s, bad = `{"x":"e"}`, `{"x":"s"}`, `{"x":"?"}`
	for name, c := range map[string]struct{ value, want string }{
		"one":               {e, "e"},
		"two events":        {`{"x":"2"}`, "ee"},
		"array":             {"[" + e + "," + s + ",\n" + bad + "," + e + "]", "esxe"},
		"envelope":          {`{"v":1,"records":[` + e + "," + s + `],"more":{"x":1}}`, "es"},
		"nested":            {`{"data":{"events":[` + e + `]}}`, "e"},
		"array of them":     {`[{"records":[` + e + `]},` + e + `]`, "ee"},
		"envelope of one":   {`{"data":` + e + `}`, "e"},
		"empty envelope":    {`{"records":[]}`, ""},
		"no array in it":    {`{"records":5}`, "x"},
		"no objects":        {`[5,` + e + `,null,"x"]`, "xexx"},
		"text":              {`"x"`, "x"},
		"nothing":           {``, "x"},
		"null":              {`null`, "x"},
		"cut off":           {`{"records":[` + e + `,{"x":"e`, "x"},
		"cut off array":     {`[` + e + `,{"x":"e`, "ex"},
		"no comma":          {`[` + e + e + `]`, "ex"},
		"rubbish after":     {e + ` x`, "ex"},
		"no UTF-8":          {"{\"x\":\"\xff\"}", "x"},
		"too large":         {`[` + strings.Repeat(" ", 1<<10) + `]`, "x"},
		"endless envelopes": {strings.Repeat(`{"data":`, 20) + e + strings.Repeat("}", 20), "x"},
	} {
		if got, _ := decodeLetters(c.value); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	_, records := decodeLetters(`{"records":[` + e + "," + bad + `]}`)
	if len(records) != 2 || records[1] != bad {
		t.Errorf("records %q: a dead letter holds its own record only", records)
	}
}

func FuzzFormat(f *testing.F) {
	f.Add(`{"v":1,"records":[{"x":"e"},{"x":"?"}]}`)
	f.Add(`[{"data":{"events":[{"x":"2"}]}},5]`)
	f.Fuzz(func(t *testing.T, value string) {
		_, records := decodeLetters(value)
		for _, r := range records {
			if len(r) > len(value) {
				t.Errorf("a record of %d bytes out of a value of %d", len(r), len(value))
			}
		}
	})
}
