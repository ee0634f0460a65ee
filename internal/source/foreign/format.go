package foreign

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
)

// Emit is called for every record: with its event, with what is wrong with it, or with a *Skipped. The event is valid
// during the call only. One record may give several events.
type Emit = func(record []byte, e *events.Event, err error)

// Skipped reports a record that is well formed and of no concern here.
type Skipped struct {
	// Reason is a short word of a closed set, such as "category"; Category is the source's own kind of record.
	Reason   string
	Category string
}

func (s *Skipped) Error() string {
	return fmt.Sprintf("records of category %.60q are left out (%s)", s.Category, s.Reason)
}

// Skip tells that the record is no mistake, and why it is left out.
func (s *Skipped) Skip() string { return s.Reason }

// DefaultMaxValue is the largest value that a [Format] decodes unless it says otherwise, in bytes.
const DefaultMaxValue = 4 << 20

// Format decodes JSON values in which records come one by one, in arrays, or in envelopes. It is safe for concurrent use.
type Format struct {
	// Max is the largest value in bytes; 0 is [DefaultMaxValue].
	Max int
	// Envelopes are members of an object that hold records: an array of them, one, or an envelope once more, such as
	// "records". An object with none of these is a record itself.
	Envelopes []string
	// Record decodes one record, an object in valid UTF-8, and calls emit for what it holds.
	Record func(record []byte, emit Emit)
}

// maxNesting bounds envelopes in envelopes.
const maxNesting = 4

// MaxValue is the largest value that Decode accepts, in bytes.
func (f *Format) MaxValue() int {
	if f.Max > 0 {
		return f.Max
	}
	return DefaultMaxValue
}

// Decode calls emit for every record of value, in order. A broken record ends the value when what follows cannot be told
// apart; then the last call has all the rest.
func (f *Format) Decode(value []byte, emit Emit) {
	switch {
	case len(value) > f.MaxValue():
		emit(value, nil, fmt.Errorf("is larger than %d bytes: %w", f.MaxValue(), events.ErrTooLarge))
	case !utf8.Valid(value):
		emit(value, nil, events.ErrNotUTF8)
	default:
		l := &jlexer.Lexer{Data: value}
		if whole := f.any(l, value, 0, emit); whole {
			if l.Consumed(); l.Error() != nil {
				emit(value, nil, Broken(l))
			}
		}
	}
}

// any decodes an array, an envelope or a record, and reports whether it came to its end.
func (f *Format) any(l *jlexer.Lexer, all []byte, depth int, emit Emit) bool {
	if l.CurrentToken() == jlexer.TokenDelim && l.IsDelim('[') {
		return f.elements(l, depth, emit)
	}
	raw := l.Raw()
	if !l.Ok() {
		emit(all, nil, Broken(l))
		return false
	}
	f.object(raw, depth, emit)
	return true
}

// elements decodes the records of an array, and reports whether it came to the array's end.
func (f *Format) elements(l *jlexer.Lexer, depth int, emit Emit) bool {
	l.Delim('[')
	for !l.IsDelim(']') {
		begin := l.GetPos()
		raw := l.Raw()
		if !l.Ok() {
			// The lexer has read the token's first byte already.
			emit(l.Data[max(begin-1, 0):], nil, Broken(l))
			return false
		}
		f.object(raw, depth, emit)
		l.WantComma()
	}
	if !l.Ok() {
		emit(l.Data, nil, Broken(l))
		return false
	}
	l.Delim(']')
	return true
}

// object decodes a record, or the records of an envelope.
func (f *Format) object(raw []byte, depth int, emit Emit) {
	l := &jlexer.Lexer{Data: raw}
	if l.CurrentToken() != jlexer.TokenDelim || !l.IsDelim('{') {
		emit(raw, nil, errors.New("is no record, must be an object"))
		return
	}
	if len(f.Envelopes) > 0 {
		if inner, found := f.inner(raw); found {
			if depth >= maxNesting {
				emit(raw, nil, errors.New("has too many envelopes one in the other"))
				return
			}
			f.any(&jlexer.Lexer{Data: inner}, inner, depth+1, emit)
			return
		}
	}
	f.Record(raw, emit)
}

// inner finds what an envelope holds. What is broken is for the record's decoder to tell.
func (f *Format) inner(raw []byte) (inner []byte, found bool) {
	l := &jlexer.Lexer{Data: raw}
	l.Delim('{')
	for !l.IsDelim('}') && l.Ok() {
		key := l.UnsafeFieldName(false)
		l.WantColon()
		envelope := slices.Contains(f.Envelopes, key)
		value := l.Raw()
		if !l.Ok() {
			return nil, false
		}
		if envelope && len(value) > 0 && (value[0] == '[' || value[0] == '{') {
			return value, true
		}
		l.WantComma()
	}
	return nil, false
}

// Broken words the lexer's error without the data it holds.
func Broken(l *jlexer.Lexer) error {
	if at, ok := errors.AsType[*jlexer.LexerError](l.Error()); ok {
		return fmt.Errorf("is no JSON: %s (byte %d)", at.Reason, at.Offset)
	}
	return errors.New("is no JSON")
}
