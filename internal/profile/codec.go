package profile

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
)

// The encoding, version 3. Numbers are varints; signed ones in zigzag form, marked ±. Times are in milliseconds relative
// to LastSeen, terms' in minutes relative to its minute. "Text n" is the next n bytes of the text block.
//
//	byte    version
//	±       LastSeen, FirstSeen, LastAdverse
//	        Successes, Late, Forgotten
//	        length of the text block, the text block
//	        count; spots:    ±lat ±lon radius, 2 classes + conflict, asn, text city, text region, text country
//	        count; devices:  state(byte) text id [hash 8 bytes, when the id was cut], text os, text browser
//	        count; visits:   point first, point last
//	        count; sessions: key(8 bytes) parts(byte) point start, point last [±ended] [±refreshed] [tokens]
//	        count; terms:    kind(byte) value, ±last, ±first less the first of the term before
//	        count; recent:   6 bytes each
//	        sections: a set of bits, then each section that is not empty, see section.go
//
// A point is a number: n > 0 repeats the n-th point written so far; 0 is followed by ±time, event(16 bytes),
// spot(byte) device(byte), and family(byte: 0, 4 or 16) with the address of so many bytes. The kind of a term has bits for
// its state and for the width of its value.

// Older versions are read as well. Version 2 has other marks, more of an attempt and less of attacks and findings, see section.go.
// Version 1 has no sections, of a session only key, start and last, and classes in a byte and terms in another form.

// Version of the encoding that AppendBinary writes.
const Version = 3

// MaxEncoded bounds an encoded profile in bytes, whatever its user sent.
const MaxEncoded = 32 << 10

// ErrNewerFormat is returned for a profile that a later version of countersign wrote.
var ErrNewerFormat = errors.New("profile was written by a newer version, which must be installed to read it")

// errCorrupt is returned, wrapped with the place, for bytes that are no profile.
var errCorrupt = errors.New("profile is corrupt")

const (
	cutBit = 1 << 4

	// Of a term's kind: a value is a varint unless it has one of two widths.
	unconfirmedBit = 1 << 7
	narrowBit      = 1 << 6 // 4 bytes
	wideBit        = 1 << 5 // 6 bytes
	kindBits       = wideBit - 1
)

// AppendBinary appends the encoding. Equal profiles have equal encodings.
func (p *Profile) AppendBinary(b []byte) []byte {
	b = append(b, Version)
	b = binary.AppendVarint(b, int64(p.LastSeen))
	b = binary.AppendVarint(b, int64(p.FirstSeen-p.LastSeen))
	b = binary.AppendVarint(b, int64(p.LastAdverse-p.LastSeen))
	b = binary.AppendUvarint(b, uint64(p.Successes))
	b = binary.AppendUvarint(b, uint64(p.Late))
	b = binary.AppendUvarint(b, uint64(p.Forgotten))

	text := 0
	for i := range p.spots {
		text += len(p.spots[i].City) + len(p.spots[i].Region) + len(p.spots[i].Country)
	}
	for i := range p.devices {
		text += len(p.devices[i].ID) + len(p.devices[i].OS) + len(p.devices[i].Browser)
	}
	b = binary.AppendUvarint(b, uint64(text))
	for i := range p.spots {
		b = append(append(append(b, p.spots[i].City...), p.spots[i].Region...), p.spots[i].Country...)
	}
	for i := range p.devices {
		b = append(append(append(b, p.devices[i].ID...), p.devices[i].OS...), p.devices[i].Browser...)
	}

	b = binary.AppendUvarint(b, uint64(len(p.spots)))
	for i := range p.spots {
		b = p.spots[i].append(b)
	}
	b = binary.AppendUvarint(b, uint64(len(p.devices)))
	for i := range p.devices {
		b = p.devices[i].append(b)
	}

	w := pointWriter{base: p.LastSeen}
	b = binary.AppendUvarint(b, uint64(len(p.Visits)))
	for i := range p.Visits {
		b = w.append(b, &p.Visits[i].First)
		b = w.append(b, &p.Visits[i].Last)
	}
	b = binary.AppendUvarint(b, uint64(len(p.Sessions)))
	for i := range p.Sessions {
		b = w.session(b, &p.Sessions[i])
	}

	b = p.appendTerms(b)
	b = binary.AppendUvarint(b, uint64(p.recents))
	for _, key := range p.recent[:p.recents] {
		b = append(b, byte(key>>40), byte(key>>32), byte(key>>24), byte(key>>16), byte(key>>8), byte(key))
	}
	return p.appendSections(b, &w)
}

func (p *Profile) appendTerms(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p.Terms)))
	base := int64(MinutesOf(p.LastSeen))
	before := base
	for i := range p.Terms {
		t := &p.Terms[i]
		kind := byte(t.Kind) & kindBits
		if t.Unconfirmed {
			kind |= unconfirmedBit
		}
		switch v := t.Value; {
		case v>>28 == 0 || v>>48 != 0:
			b = binary.AppendUvarint(append(b, kind), v)
		case v>>32 == 0:
			b = binary.BigEndian.AppendUint32(append(b, kind|narrowBit), uint32(v))
		default:
			b = binary.BigEndian.AppendUint16(append(b, kind|wideBit), uint16(v>>32))
			b = binary.BigEndian.AppendUint32(b, uint32(v))
		}
		b = binary.AppendVarint(b, int64(t.Last)-base)
		b = binary.AppendVarint(b, int64(t.First)-before)
		before = int64(t.First)
	}
	return b
}

func (s *Spot) append(b []byte) []byte {
	classes := uint64(s.Classes) << 1
	if s.Conflict {
		classes |= 1
	}
	b = binary.AppendVarint(b, int64(s.Lat))
	b = binary.AppendVarint(b, int64(s.Lon))
	b = binary.AppendUvarint(b, uint64(s.RadiusKm))
	b = binary.AppendUvarint(binary.AppendUvarint(b, classes), uint64(s.ASN))
	return append(b, byte(len(s.City)), byte(len(s.Region)), byte(len(s.Country)))
}

func (d *Device) append(b []byte) []byte {
	state := byte(d.Managed+1) | byte(d.Compliant+1)<<2
	whole := d.Hash == hashID(d.ID)
	if !whole {
		state |= cutBit
	}
	b = append(b, state, byte(len(d.ID)), byte(len(d.OS)), byte(len(d.Browser)))
	if !whole {
		b = binary.BigEndian.AppendUint64(b, d.Hash)
	}
	return b
}

// pointWriter writes points, repeats as a reference: sessions share most of theirs with visits.
type pointWriter struct {
	base    events.Millis
	written [4 * MaxVisits]*Point
	n       int
}

func (w *pointWriter) append(b []byte, pt *Point) []byte {
	for i := w.n - 1; i >= 0; i-- {
		if w.written[i].Event == pt.Event && *w.written[i] == *pt {
			return append(b, byte(i+1))
		}
	}
	if w.n < len(w.written) { // enough for all visits and some sessions; the reader keeps as many
		w.written[w.n] = pt
		w.n++
	}
	b = binary.AppendVarint(append(b, 0), int64(pt.Time-w.base))
	b = append(append(b, pt.Event[:]...), pt.Spot, pt.Device)
	switch {
	case pt.IP == Address{}:
		return append(b, 0)
	case pt.IP.Is4():
		return append(append(b, 4), pt.IP[12:]...)
	}
	return append(append(b, 16), pt.IP[:]...)
}

// What a session has beyond its points, as bits.
const (
	interactiveBit = 1 << iota
	endedBit
	refreshedBit
	tokensBit
)

func (w *pointWriter) session(b []byte, s *Session) []byte {
	var parts byte
	if s.Interactive {
		parts |= interactiveBit
	}
	if s.Ended != 0 {
		parts |= endedBit
	}
	if s.Refreshed != 0 {
		parts |= refreshedBit
	}
	if len(s.Tokens) > 0 {
		parts |= tokensBit
	}
	b = append(binary.BigEndian.AppendUint64(b, s.Key), parts)
	b = w.append(w.append(b, &s.Start), &s.Last)
	if s.Ended != 0 {
		b = binary.AppendVarint(b, int64(s.Ended-w.base))
	}
	if s.Refreshed != 0 {
		b = binary.AppendVarint(b, int64(s.Refreshed-w.base))
	}
	if len(s.Tokens) == 0 {
		return b
	}
	b = append(b, byte(len(s.Tokens)))
	last := TokenUse{Time: w.base}
	for _, u := range s.Tokens {
		head := len(b)
		b = append(b, 0)
		b = binary.AppendVarint(b, int64(u.Time-last.Time))
		b = binary.BigEndian.AppendUint32(b, u.Token)
		if u.IP != last.IP {
			b[head] |= 1
			b = binary.BigEndian.AppendUint32(b, u.IP)
		}
		if u.ASN != last.ASN {
			b[head] |= 2
			b = binary.AppendUvarint(b, uint64(u.ASN))
		}
		if u.First != u.Time {
			b[head] |= 4
			b = binary.AppendUvarint(b, uint64(u.Time-u.First))
		}
		last = u
	}
	return b
}

// Decode reads what AppendBinary wrote. It keeps no reference to b.
func Decode(b []byte) (*Profile, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty", errCorrupt)
	}
	if b[0] > Version {
		return nil, fmt.Errorf("%w (format %d, this version reads up to %d)", ErrNewerFormat, b[0], Version)
	}
	if b[0] == 0 || len(b) > MaxEncoded {
		return nil, fmt.Errorf("%w: format %d, %d bytes", errCorrupt, b[0], len(b))
	}
	r := reader{in: b, at: 1}
	p := &Profile{}
	p.LastSeen = events.Millis(r.signed())
	p.FirstSeen = p.LastSeen + events.Millis(r.signed())
	p.LastAdverse = p.LastSeen + events.Millis(r.signed())
	p.Successes, p.Late, p.Forgotten = r.uint32(), r.uint32(), r.uint32()
	r.text = string(r.bytes(int(min(r.unsigned(), MaxEncoded))))

	p.spots = make([]Spot, r.count(MaxSpots))
	var names [MaxSpots + MaxDevices][3]byte // the lengths of three texts each
	for i := range p.spots {
		r.spot(&p.spots[i], &names[i], b[0])
	}
	p.devices = make([]Device, r.count(MaxDevices))
	for i := range p.devices {
		r.device(&p.devices[i], &names[MaxSpots+i])
	}
	for i := range p.spots {
		s, n := &p.spots[i], names[i]
		s.City, s.Region, s.Country = r.name(n[0], maxName), r.name(n[1], maxName), r.name(n[2], 2)
	}
	for i := range p.devices {
		d, n := &p.devices[i], names[MaxSpots+i]
		d.ID, d.OS, d.Browser = r.name(n[0], maxDeviceID), r.name(n[1], maxName), r.name(n[2], maxName)
		if d.Hash == 0 {
			d.Hash = hashID(d.ID)
		}
	}
	if r.text != "" {
		r.fail("text without owner")
	}

	points := pointReader{reader: &r, base: p.LastSeen, spots: len(p.spots), devices: len(p.devices)}
	p.Visits = make([]Visit, r.count(MaxVisits))
	for i := range p.Visits {
		p.Visits[i] = Visit{First: points.next(), Last: points.next()}
	}
	p.Sessions = make([]Session, r.count(MaxSessions))
	for i := range p.Sessions {
		points.session(&p.Sessions[i], b[0])
	}
	p.Terms = make([]Term, r.count(MaxTerms))
	if b[0] == 1 {
		r.terms1(p.Terms, p.LastSeen)
	} else {
		r.terms(p.Terms, p.LastSeen)
	}
	p.recents = r.count(MaxRecent)
	for i := range p.recents {
		for _, c := range r.bytes(6) {
			p.recent[i] = p.recent[i]<<8 | uint64(c)
		}
	}
	if b[0] > 1 {
		if err := points.sections(p, b[0]); err != nil {
			return nil, err
		}
	}
	if r.at < len(r.in) {
		r.fail("bytes after the end")
	}
	if r.problem != "" {
		return nil, fmt.Errorf("%w: %s", errCorrupt, r.problem)
	}
	return p, nil
}
