// Package entra decodes the records of Microsoft Entra ID: the diagnostic records that Azure Event Hubs delivers, the rows
// that Log Analytics exports, and the pages of Graph. All carry the same ids, so that all belong to one family: the same
// sign-in by two ways is one event.
//
// Sign-ins of people and of programs become sign-ins, audits of what concerns an account become account changes (and the
// revocation of sessions a sign-out), what Identity Protection reports becomes risk. Everything else is skipped.
//
// Records vary by age, licence and transport; what a record does not say stays unknown. Clients choose the
// correlation ids, so that they are never part of an identity. The sign-in identifier (what was typed, which may be a
// password) is never used.
package entra

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"unicode/utf8"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of Entra's ids.
const Family = "entra"

// maxValue is the largest value that is decoded, in bytes: an Event Hubs message has at most 1 MiB, exported rows may come in
// larger arrays. Pages of Graph can be larger; they come record by record.
const maxValue = 4 << 20

// Decoder decodes one of the forms. It is safe for concurrent use.
type Decoder struct {
	// read reads the record that comes next, and calls envelope in front of what holds records instead of being one.
	read func(*decoding)
}

// EventHub decodes the diagnostic records of Azure Event Hubs: {"records":[…]}, an array of records, or one record.
func EventHub() *Decoder { return &Decoder{read: readDiagnostic} }

// LogAnalytics decodes rows of the tables SigninLogs, AADNonInteractiveUserSignInLogs and their like, AuditLogs,
// AADUserRiskEvents and AADRiskyUsers: one row, an array, or {"records":[…]}.
func LogAnalytics() *Decoder { return &Decoder{read: readRow} }

// Graph decodes what Graph answers for sign-ins, directory audits, risk detections and risky users (v1.0 and beta, of users
// and of service principals): {"value":[…]}, an array, or one record. The records do not name their tenant.
func Graph() *Decoder { return &Decoder{read: readGraph} }

// MaxValue is the largest value that Decode accepts, in bytes.
func (d *Decoder) MaxValue() int { return maxValue }

// decoding is one call of Decode. What it needs is used again by later ones.
type decoding struct {
	read   func(*decoding)
	emit   foreign.Emit
	cursor cursor
	words  words
	record record
	event  events.Event
	// inside tells that the record at hand is in an envelope or array, enveloped that it turned out to be an envelope, and
	// lost that what follows cannot be told apart any more.
	inside, enveloped, lost bool
}

var decodings = sync.Pool{New: func() any { return &decoding{words: words{seed: maphash.MakeSeed()}} }}

// Decode calls emit for every record of value, in order: with its event, with what is wrong with it, or with a
// [*foreign.Skipped]. The event is valid during the call only. A broken record ends the value when what follows cannot be
// told apart; then the last call has all the rest.
func (d *Decoder) Decode(value []byte, emit foreign.Emit) {
	switch {
	case len(value) > maxValue:
		emit(value, nil, fmt.Errorf("is larger than %d bytes: %w", maxValue, events.ErrTooLarge))
		return
	case !utf8.Valid(value):
		emit(value, nil, events.ErrNotUTF8)
		return
	}
	w := decodings.Get().(*decoding)
	w.read, w.emit, w.cursor = d.read, emit, cursor{data: value, words: &w.words}
	w.inside, w.enveloped, w.lost = false, false, false
	w.value()
	// Nothing of the caller's may be kept alive.
	w.emit, w.cursor = nil, cursor{}
	w.reset()
	decodings.Put(w)
}

// reset forgets the record at hand.
func (w *decoding) reset() {
	w.record = record{steps: w.record.steps[:0], audit: audit{targets: w.record.audit.targets[:0]}}
}

// value decodes an array, an envelope or a record, and what follows it, which must be nothing.
func (w *decoding) value() {
	c := &w.cursor
	if c.next() == '[' {
		w.elements()
	} else {
		w.one()
	}
	if !w.lost && c.next() != 0 {
		c.fail("something follows it")
		w.emit(c.data, nil, c.err())
	}
}

// elements decodes the records of an array.
func (w *decoding) elements() {
	w.inside = true
	c := &w.cursor
	for a := c.array(); a.element(); {
		if w.one(); w.lost {
			return
		}
	}
	if c.problem != "" {
		w.lost = true
		w.emit(c.data, nil, c.err())
	}
}

// one decodes a record, or an envelope.
func (w *decoding) one() {
	c := &w.cursor
	open := c.next()
	begin := c.pos
	if open != '{' {
		if c.skip(); c.problem != "" {
			w.broken(begin)
			return
		}
		w.emit(c.data[begin:c.pos], nil, errors.New("is no record, must be an object"))
		return
	}
	w.reset()
	w.read(w)
	switch {
	case w.lost:
	case c.problem != "":
		w.broken(begin)
	case w.enveloped:
		w.enveloped = false
	default:
		w.record.tell(&w.event, c.data[begin:c.pos], w.emit)
	}
}

// envelope decodes the records that come next. What else is around them is no record.
func (w *decoding) envelope() {
	if w.inside || w.cursor.next() != '[' {
		w.cursor.skip() // an envelope in an envelope, or none
		return
	}
	w.enveloped = false
	w.elements()
	w.inside, w.enveloped = false, true
}

// broken tells what is wrong with the record that begins at begin. When its brackets match, the next one can be found.
func (w *decoding) broken(begin int) {
	c := &w.cursor
	err := c.err()
	if w.enveloped {
		w.lost = true // its records have been told; this is about what follows them
		w.emit(c.data, nil, err)
		return
	}
	c.pos, c.problem = begin, ""
	if c.skip(); c.problem != "" {
		w.lost = true
		w.emit(c.data[begin:], nil, err)
		return
	}
	w.emit(c.data[begin:c.pos], nil, err)
}
