package revocation

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
)

// The encoded state. An empty state has no bytes at all. Numbers are varints; text is a length and bytes; text of 32
// hexadecimal digits, as all our ids are, is 16 bytes. Format 1 knew neither passes nor cooldowns nor changes of
// credentials, format 2 neither the user's name nor the device; they are read, and never written.
const stateFormat = 3

// ErrNewerFormat is returned for state that a later version has written.
var ErrNewerFormat = errors.New("requirements are in a newer format than this version reads, upgrade before you go on")

// errState is the cause of every other decoding error.
var errState = errors.New("damaged requirements")

// The bounds of what is decoded; nothing that Apply makes is over them.
const (
	maxEncodedText = 4096
	maxList        = 64
)

// AppendBinary appends the encoded state to b. The same state gives the same bytes.
func (s *State) AppendBinary(b []byte) []byte {
	if len(s.open) == 0 && len(s.judged) == 0 && len(s.passes) == 0 {
		return b
	}
	b = append(b, stateFormat)
	b = binary.AppendUvarint(b, uint64(len(s.judged)))
	for _, mark := range s.judged {
		b = binary.LittleEndian.AppendUint64(b, mark)
	}
	b = binary.AppendUvarint(b, uint64(len(s.passes)))
	for i := range s.passes {
		p := &s.passes[i]
		b = binary.LittleEndian.AppendUint64(b, p.Policy)
		b = binary.LittleEndian.AppendUint64(b, p.Session)
		b = binary.AppendVarint(b, int64(p.From))
		b = binary.AppendVarint(b, int64(p.Until-p.From))
		b = append(b, byte(p.Severity))
	}
	b = binary.AppendUvarint(b, uint64(len(s.open)))
	if len(s.open) == 0 {
		return b
	}
	b = appendText(appendText(b, s.tenant), s.user)
	for i := range s.open {
		b = s.open[i].append(b)
	}
	return b
}

func (r *entry) append(b []byte) []byte {
	b = appendText(b, r.ID)
	flags := byte(0)
	if r.crowded {
		flags |= flagCrowded
	}
	if r.CredentialChange {
		flags |= flagCredential
	}
	if r.NoncompliantDevice {
		flags |= flagNoncompliant
	}
	b = append(b, byte(r.Action.Rank()), byte(r.Severity.Rank()), flags)
	b = appendText(b, r.Session)
	b = appendTexts(b, r.suspects)
	b = appendTexts(b, r.ACRValues)
	b = binary.AppendVarint(b, int64(r.MaxAge))
	b = binary.AppendVarint(b, r.NotBefore)
	b = binary.AppendVarint(b, r.Expires-r.NotBefore)
	b = binary.AppendVarint(b, r.NotBefore-r.EventTime)
	b = binary.AppendVarint(b, r.NotBefore-r.issued)
	b = appendText(b, r.jti)
	b = appendText(b, r.ReasonAdmin)
	b = binary.AppendUvarint(b, uint64(len(r.ReasonUser)))
	for _, language := range slices.Sorted(maps.Keys(r.ReasonUser)) {
		b = appendText(appendText(b, language), r.ReasonUser[language])
	}
	b = appendText(appendText(b, r.Policy), r.PolicyVersion)
	b = binary.AppendUvarint(b, uint64(len(r.Findings)))
	for _, f := range r.Findings {
		b = appendText(appendText(b, f.ID), f.Detection)
		b = append(b, byte(f.Severity.Rank()))
		b = appendText(b, f.Summary)
	}
	b = appendText(b, r.EventID)
	b = binary.AppendVarint(b, int64(r.cooldown))
	return appendText(appendText(b, r.UserName), r.Device)
}

// The flags of an entry.
const (
	flagCrowded      = 1
	flagCredential   = 2
	flagNoncompliant = 4

	flags2 = flagCrowded | flagCredential
	flags3 = flags2 | flagNoncompliant
)

func appendTexts(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, v := range list {
		b = appendText(b, v)
	}
	return b
}

// appendText writes length*2 and the bytes, or 1 and 16 bytes for an id.
func appendText(b []byte, s string) []byte {
	if id, ok := packed(s); ok {
		return append(append(b, 1), id[:]...)
	}
	return append(binary.AppendUvarint(b, uint64(len(s))*2), s...)
}

func packed(s string) (id [16]byte, ok bool) {
	if len(s) != 2*len(id) {
		return id, false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return id, false // upper case would come back as lower case
		}
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil
}

// DecodeState reads what AppendBinary wrote, to the last byte.
func DecodeState(b []byte) (*State, error) {
	s := NewState()
	if len(b) == 0 {
		return s, nil
	}
	if b[0] > stateFormat {
		return nil, fmt.Errorf("%w: %d", ErrNewerFormat, b[0])
	}
	d := &decoder{b: b[1:], format: b[0]}
	if b[0] == 0 {
		d.fail("format 0")
	}
	n := d.count("judged", maxJudged)
	s.judged = make([]uint64, 0, n+1)
	for range n {
		s.judged = append(s.judged, d.mark())
	}
	if d.format >= 2 {
		for range d.count("passes", maxPasses) {
			s.passes = append(s.passes, d.pass())
		}
	}
	if n := d.count("open", MaxOpen); n > 0 {
		s.tenant, s.user = d.text(), d.text()
		s.open = make([]entry, 0, min(n, len(d.b)))
		for range n {
			s.open = append(s.open, d.entry())
			if d.err != nil {
				break
			}
		}
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes too many", len(d.b))
	}
	if d.err != nil {
		return nil, d.err
	}
	return s, nil
}

// decoder reads from the front of b; after the first error it returns zero values.
type decoder struct {
	b      []byte
	format byte
	err    error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{errState}, args...)...)
	}
	d.b = nil
}

func (d *decoder) entry() entry {
	var r entry
	r.ID = d.text()
	r.Action = named(d, "action", events.Actions)
	r.Severity = named(d, "severity", events.Severities)
	flags := d.octet()
	r.crowded, r.CredentialChange, r.NoncompliantDevice = flags&flagCrowded != 0, flags&flagCredential != 0, flags&flagNoncompliant != 0
	if flags > flags3 || d.format < 3 && flags > flags2 || r.CredentialChange && r.Action != events.RevokeAll {
		d.fail("flags %d", flags)
	}
	r.Session = d.text()
	r.suspects = d.texts("suspects", maxSuspects)
	r.ACRValues = d.texts("acr_values", maxList)
	r.MaxAge = int(d.varint())
	r.NotBefore = d.varint()
	r.Expires = r.NotBefore + d.varint()
	r.EventTime = r.NotBefore - d.varint()
	r.issued = r.NotBefore - d.varint()
	r.jti = d.text()
	r.ReasonAdmin = d.text()
	if n := d.count("reason_user", maxList); n > 0 {
		r.ReasonUser = make(map[string]string, n)
		for range n {
			language := d.text()
			r.ReasonUser[language] = d.text()
		}
	}
	r.Policy, r.PolicyVersion = d.text(), d.text()
	for range d.count("findings", maxFindings) {
		r.Findings = append(r.Findings, Cause{
			ID: d.text(), Detection: d.text(), Severity: named(d, "severity", events.Severities), Summary: d.text(),
		})
	}
	r.EventID = d.text()
	if d.format >= 2 {
		r.cooldown = events.Millis(d.varint())
	}
	if d.format >= 3 {
		r.UserName, r.Device = d.text(), d.text()
	}
	return r
}

func (d *decoder) pass() policy.Pass {
	p := policy.Pass{Policy: d.mark(), Session: d.mark(), From: events.Millis(d.varint())}
	p.Until = p.From + events.Millis(d.varint())
	if p.Severity = int(d.octet()); p.Severity > len(events.Severities) {
		d.fail("severity %d", p.Severity)
	}
	return p
}

// named reads the rank of an enumerated value, 0 for none.
func named[T ~string](d *decoder, what string, all []T) T {
	rank := int(d.octet())
	if rank > len(all) {
		d.fail("%s %d", what, rank)
		return ""
	}
	if rank == 0 {
		return ""
	}
	return all[rank-1]
}

func (d *decoder) octet() byte {
	if len(d.b) == 0 {
		d.fail("cut short")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) mark() uint64 {
	if len(d.b) < 8 {
		d.fail("cut short")
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("cut short")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a number of elements, bounded by what may be and by what can be in the bytes that are left.
func (d *decoder) count(what string, limit int) int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > uint64(limit) || v > uint64(len(d.b)-n) {
		d.fail("number of %s", what)
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *decoder) texts(what string, limit int) []string {
	var out []string
	for range d.count(what, limit) {
		out = append(out, d.text())
	}
	return out
}

func (d *decoder) text() string {
	v, n := binary.Uvarint(d.b)
	size := v / 2
	if v == 1 {
		size = 16
	}
	switch {
	case n <= 0:
		d.fail("cut short")
		return ""
	case v%2 == 1 && v != 1, size > maxEncodedText, size > uint64(len(d.b)-n):
		d.fail("text of %d bytes", size)
		return ""
	}
	raw := d.b[n : n+int(size)]
	d.b = d.b[n+int(size):]
	if v == 1 {
		return hex.EncodeToString(raw)
	}
	return string(raw)
}
