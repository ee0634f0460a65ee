package org

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/codec"
)

// A tenant's state is kept in pieces, so that only what changed has to be written: one a source, a prefix, an incident, and
// some that gather small things. A piece is a name, unique in the tenant, and bytes.

// Piece is one changed piece of state; a nil Value deletes it.
type Piece struct {
	Name  string
	Value []byte
}

// piece is a part of the state that is written as one.
type piece interface {
	// noted is the piece's own record of changes.
	noted() *marks
	// name is the piece's name.
	name() string
	// append writes the content.
	append(w *writer)
	// room is the most bytes that content and name take.
	room() int
}

// marks is embedded in every piece. seq grows with every change in the tenant, and orders what may be forgotten.
type marks struct {
	seq     uint64
	changed bool
	gone    bool
}

func (m *marks) noted() *marks { return m }

// change notes that p is to be written.
func (s *State) change(p piece) {
	m := p.noted()
	if !m.changed {
		m.changed = true
		s.changed = append(s.changed, p)
		s.room += p.room()
	}
}

// stamp is change for a piece that may be forgotten: it is the one changed last.
func (s *State) stamp(p piece) {
	s.head.next++
	p.noted().seq = s.head.next
	s.change(p)
}

// forget notes that p is no more.
func (s *State) forget(p piece) {
	p.noted().gone = true
	s.erase(p.name())
}

// erase notes that the piece of a name is to be deleted.
func (s *State) erase(name string) {
	s.removed[name] = true
	s.room += len(name)
}

// ChangeBytes and ChangePieces are more than one call of Fold adds to what [State.Room] tells.
const (
	ChangeBytes  = 480 << 10
	ChangePieces = 192
)

// Room is an upper bound of the bytes, in values and names, that Changed would return, and the number of pieces.
func (s *State) Room() (bytes, pieces int) { return s.room, len(s.changed) + len(s.removed) }

// Changed returns what changed since the last Clean, by name.
func (s *State) Changed() []Piece {
	values := make(map[string][]byte, len(s.changed)+len(s.removed))
	for name := range s.removed {
		values[name] = nil
	}
	for _, p := range s.changed {
		if !p.noted().gone {
			values[p.name()] = encode(p)
		}
	}
	list := make([]Piece, 0, len(values))
	for name, value := range values {
		list = append(list, Piece{name, value})
	}
	slices.SortFunc(list, func(a, b Piece) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Clean forgets what Changed told: it is durable.
func (s *State) Clean() {
	for _, p := range s.changed {
		p.noted().changed = false
	}
	s.changed = s.changed[:0]
	clear(s.removed)
	s.room = 0
}

func encode(p piece) []byte {
	w := writer{codec.NewWriter(make([]byte, 0, 128))}
	w.Byte(pieceFormat)
	p.append(&w)
	return w.Bytes()
}

// Encode returns a piece by its name, nil when there is none.
func (s *State) Encode(name string) []byte {
	if p := s.find(name); p != nil {
		return encode(p)
	}
	return nil
}

// Restore takes a piece as Changed returned it. A piece may be restored several times, the last one counts.
func (s *State) Restore(name string, value []byte) error {
	if value == nil {
		if p := s.find(name); p != nil {
			s.drop(p)
		}
		return nil
	}
	if len(value) == 0 || value[0] != pieceFormat {
		return fmt.Errorf("piece %q: %w: %.8x", name, ErrFormat, value)
	}
	r := &reader{codec.NewReader(value[1:])}
	s.read(name, r)
	if err := r.End(); err != nil {
		return fmt.Errorf("reading piece %q of network state: %w", name, err)
	}
	return nil
}

// The first part of a piece's name says what it is.
const (
	pieceHead     = "head"
	pieceSeason   = "season"
	pieceQuarter  = "quarter"
	pieceDay      = "day"
	pieceRecent   = "recent"
	piecePassing  = "passing"
	pieceFailing  = "failing"
	pieceSource   = "source"
	pieceIncident = "incident"
	pieceEgress   = "egress"
	pieceTerms    = "terms"
	pieceDevices  = "devices"
	pieceTotals   = "totals"
	pieceLimits   = "limits"
)

func split(name string) (what, rest string) {
	what, rest, _ = strings.Cut(name, "/")
	return what, rest
}
