package events

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/mailru/easyjson"
	"github.com/mailru/easyjson/jlexer"
)

// MaxRecord is the largest encoded event or finding that is accepted, in bytes.
const MaxRecord = 256 << 10

// ErrTooLarge is returned for a record over [MaxRecord].
var ErrTooLarge = fmt.Errorf("record is larger than %d bytes", MaxRecord)

// ErrNotUTF8 is returned for a record with invalid UTF-8.
var ErrNotUTF8 = errors.New("record is not valid UTF-8")

// Decode reads one event. It checks the wire form only; [Event.Validate] checks the meaning.
func Decode(b []byte) (*Event, error) {
	e := new(Event)
	if err := decode(bytes.Clone(b), e); err != nil {
		return nil, err
	}
	return e, nil
}

// DecodeInto is [Decode] for hot paths: into an event of the caller's, which is reset first, with texts that share memory
// with b. Both must not outlive b, and b must not change meanwhile.
func DecodeInto(b []byte, e *Event) error {
	*e = Event{}
	return decode(b, e)
}

// DecodeFinding reads one finding.
func DecodeFinding(b []byte) (*Finding, error) {
	f := new(Finding)
	if err := decode(bytes.Clone(b), f); err != nil {
		return nil, err
	}
	return f, nil
}

// decode checks size and encoding, and decodes. Texts of an event share memory with b (the nocopy tags).
func decode(b []byte, into easyjson.Unmarshaler) error {
	switch {
	case len(b) > MaxRecord:
		return ErrTooLarge
	case !utf8.Valid(b):
		return ErrNotUTF8
	}
	l := jlexer.Lexer{Data: b}
	into.UnmarshalEasyJSON(&l)
	l.Consumed()
	return l.Error()
}

// Encode writes one event or finding in its wire form. It is deterministic.
func Encode(v easyjson.Marshaler) []byte {
	b, err := easyjson.Marshal(v)
	if err != nil {
		// The types hold nothing that can fail: no NaN can pass Validate, no marshaler of ours returns an error.
		panic(fmt.Sprintf("events: encoding %T: %v", v, err))
	}
	return b
}

// DecodeReceipt reads one receipt.
func DecodeReceipt(b []byte) (*Receipt, error) {
	r := new(Receipt)
	if err := decode(b, r); err != nil {
		return nil, err
	}
	return r, nil
}

// DecodeDeadLetter reads one dead letter.
func DecodeDeadLetter(b []byte) (*DeadLetter, error) {
	d := new(DeadLetter)
	l := jlexer.Lexer{Data: b}
	d.UnmarshalEasyJSON(&l)
	l.Consumed()
	return d, l.Error()
}
