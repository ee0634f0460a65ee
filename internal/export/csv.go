package export

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/countersign-io/countersign/internal/events"
)

// csvEncoder writes CSV as RFC 4180 has it: a header, lines that end with CR LF, quotes doubled. Times are RFC 3339. The record
// as a whole is left out.
type csvEncoder[R, T any] struct {
	w       io.Writer
	row     func(*R, []byte) T
	columns []column
	line    []byte
}

// column is a field of a row.
type column struct {
	name  string
	index int
	time  bool
}

func newCSV[R, T any](w io.Writer, row func(*R, []byte) T) (*csvEncoder[R, T], error) {
	e := &csvEncoder[R, T]{w: w, row: row}
	t := reflect.TypeFor[T]()
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("parquet"), ",")
		if name == "record" {
			continue
		}
		e.columns = append(e.columns, column{name, i, strings.Contains(options, "timestamp")})
		e.cell(name)
	}
	return e, e.flush()
}

func (e *csvEncoder[R, T]) Write(record []byte) error {
	r, err := read[R](record)
	if err != nil {
		return err
	}
	row := reflect.ValueOf(e.row(r, nil))
	for _, c := range e.columns {
		v := row.Field(c.index)
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				e.plain("")
				continue
			}
			v = v.Elem()
		}
		switch {
		case c.time && v.Int() != 0:
			e.plain(events.Millis(v.Int()).String())
		case v.Kind() == reflect.String:
			e.cell(v.String())
		case v.Kind() == reflect.Bool:
			e.plain(strconv.FormatBool(v.Bool()))
		case v.IsZero():
			e.plain("")
		case v.Kind() == reflect.Float64:
			e.plain(strconv.FormatFloat(v.Float(), 'g', -1, 64))
		case v.Kind() == reflect.Int64:
			e.plain(strconv.FormatInt(v.Int(), 10))
		default:
			return fmt.Errorf("column %s: %v has no text", c.name, v.Kind())
		}
	}
	return e.flush()
}

func (*csvEncoder[R, T]) Close() error { return nil }

// plain adds a cell of our own making.
func (e *csvEncoder[R, T]) plain(text string) {
	if len(e.line) > 0 {
		e.line = append(e.line, ',')
	}
	// A line is never empty, so that the first cell of the next one is known for what it is.
	if text == "" && len(e.line) == 0 {
		text = `""`
	}
	e.line = append(e.line, text...)
}

// cell adds a text that may be anybody's.
func (e *csvEncoder[R, T]) cell(text string) {
	text = strings.ToValidUTF8(strings.ReplaceAll(Guard(text), "\x00", ""), "\uFFFD")
	if text == "" || !strings.ContainsAny(text, "\",;\t\r\n ") {
		e.plain(text)
		return
	}
	e.plain(`"` + strings.ReplaceAll(text, `"`, `""`) + `"`)
}

func (e *csvEncoder[R, T]) flush() error {
	_, err := e.w.Write(append(e.line, '\r', '\n'))
	e.line = e.line[:0]
	return err
}

// Guard is a text that no spreadsheet takes for a formula: one that begins as a formula may, behind blanks or not, gets an
// apostrophe in front. Programs that read the file take it off again; people do not see it. The characters are those of
// OWASP's "CSV Injection", with their full-width forms.
func Guard(text string) string {
	first := strings.TrimLeft(text, " \u00a0\u3000\ufeff\x00")
	if first == "" {
		return text
	}
	if strings.ContainsAny(text[:1], "\t\r\n") {
		return "'" + text
	}
	if r, _ := utf8.DecodeRuneInString(first); strings.ContainsRune("=+-@\t\r\n＝＋－＠", r) {
		return "'" + text
	}
	return text
}
