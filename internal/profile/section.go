package profile

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

// The sections of the encoding: what many users have nothing of. Their bits are on the log: append, never move. All begin
// with a count, but for the last four. Times are ± relative to LastSeen, in a ring to the entry before; terms of minutes
// as in terms; hashes of 32 and 64 bits take 4 and 8 bytes, a detection 2.
//
//	attempts:    parts(byte: cause, and which of the following differ from the attempt before) ±time [ip] [asn] [flow]
//	attacked:    state(byte) detection source incident ±time
//	raised:      detection parts(byte: severity, state, and which follow) ±time event [session] [flow] [ip]
//	suspicions:  kind(byte) session point
//	changes:     type and action(byte) ±time event
//	clusters:    state(byte) ±lat ±lon radius weight(float, 4 bytes) ±last, last less first
//	transitions: a b count(byte) ±last
//	hours:       ±day runs(byte); runs: gap(byte) length(byte) counts
//	risk:        sum(float, 4 bytes) ±at told and count(byte); parts: detection ±time decibans(float, 4 bytes)
//	marks:       a set of bits, ±times
//	familiar:    length(2 bytes) and so many bytes in the format of package familiarity
//
// Version 2 has a hash of 4 bytes more of attempts, no state of attacks, in marks more times and a byte and 8 bytes after them.
const (
	hasFailures = 1 << iota
	hasPushes
	hasCodes
	hasAttacked
	hasRaised
	hasSuspicions
	hasChanges
	hasClusters
	hasTransitions
	hasHours
	hasRisk
	hasMarks
	hasFamiliar

	allSections = 1<<iota - 1
)

func (p *Profile) sections() uint64 {
	var set uint64
	for bit, there := range [...]bool{
		len(p.Failures) > 0, len(p.Pushes) > 0, len(p.Codes) > 0, len(p.Attacked) > 0, len(p.Raised) > 0, len(p.Suspicions) > 0,
		len(p.Changes) > 0, len(p.Clusters) > 0, len(p.Transitions) > 0, len(p.Hours.bins) > 0, p.Risk.known(), p.Marks != Marks{},
		!p.Familiar.Empty(),
	} {
		if there {
			set |= 1 << bit
		}
	}
	return set
}

func (p *Profile) appendSections(b []byte, w *pointWriter) []byte {
	set := p.sections()
	b = binary.AppendUvarint(b, set)
	if set&hasFailures != 0 {
		b = appendAttempts(b, w.base, p.Failures)
	}
	if set&hasPushes != 0 {
		b = appendAttempts(b, w.base, p.Pushes)
	}
	if set&hasCodes != 0 {
		b = appendAttempts(b, w.base, p.Codes)
	}
	if set&hasAttacked != 0 {
		b = appendAttacked(b, w.base, p.Attacked)
	}
	if set&hasRaised != 0 {
		b = appendRaised(b, w.base, p.Raised)
	}
	if set&hasSuspicions != 0 {
		b = append(b, byte(len(p.Suspicions)))
		for i := range p.Suspicions {
			s := &p.Suspicions[i]
			b = binary.BigEndian.AppendUint64(append(b, byte(s.Kind)), s.Session)
			b = w.append(b, &s.Point)
		}
	}
	if set&hasChanges != 0 {
		b = appendChanges(b, w.base, p.Changes)
	}
	if set&hasClusters != 0 {
		b = appendClusters(b, w.base, p.Clusters)
	}
	if set&hasTransitions != 0 {
		b = appendTransitions(b, w.base, p.Transitions)
	}
	if set&hasHours != 0 {
		b = p.Hours.append(b)
	}
	if set&hasRisk != 0 {
		b = p.Risk.append(b, w.base)
	}
	if set&hasMarks != 0 {
		b = p.Marks.append(b, w.base)
	}
	if set&hasFamiliar != 0 {
		length := len(b)
		b = p.Familiar.AppendBinary(append(b, 0, 0))
		binary.BigEndian.PutUint16(b[length:], uint16(len(b)-length-2))
	}
	return b
}

// sections reads those of a version. The error is one of the familiarity counters, which have a format of their own.
func (r *pointReader) sections(p *Profile, version byte) error {
	set := r.unsigned()
	if set > allSections {
		r.fail("a section is unknown")
		return nil
	}
	if set&hasFailures != 0 {
		p.Failures = r.attempts(r.base, MaxFailures, version)
	}
	if set&hasPushes != 0 {
		p.Pushes = r.attempts(r.base, MaxPushes, version)
	}
	if set&hasCodes != 0 {
		p.Codes = r.attempts(r.base, MaxCodes, version)
	}
	if set&hasAttacked != 0 {
		p.Attacked = r.attacked(r.base, version)
	}
	if set&hasRaised != 0 {
		p.Raised = r.raised(r.base)
	}
	if set&hasSuspicions != 0 {
		p.Suspicions = make([]Suspicion, r.count(MaxSuspicions))
		for i := range p.Suspicions {
			p.Suspicions[i] = Suspicion{Kind: SuspicionKind(r.byte()), Session: r.fixed64(), Point: r.next()}
		}
	}
	if set&hasChanges != 0 {
		p.Changes = r.changes(r.base)
	}
	if set&hasClusters != 0 {
		p.Clusters = r.clusters(r.base)
	}
	if set&hasTransitions != 0 {
		p.Transitions = r.transitions(r.base)
	}
	if set&hasHours != 0 {
		r.hours(&p.Hours)
	}
	if set&hasRisk != 0 {
		r.risk(&p.Risk, r.base)
	}
	if set&hasMarks != 0 {
		r.marks(&p.Marks, r.base, version)
	}
	if set&hasFamiliar != 0 {
		return r.familiar(&p.Familiar)
	}
	return nil
}

// What an attack is, as a bit beside what was told of it.
const (
	attackedTold     = 0x07
	attackedObserved = 0x08
)

func appendAttacked(b []byte, last events.Millis, ring []Attacked) []byte {
	b = append(b, byte(len(ring)))
	for i := range ring {
		a := &ring[i]
		state := min(a.Told, attackedTold)
		if a.Observed {
			state |= attackedObserved
		}
		b = binary.BigEndian.AppendUint16(append(b, state), uint16(a.Detection))
		b = binary.BigEndian.AppendUint64(b, a.Source)
		b = binary.BigEndian.AppendUint64(b, a.Incident)
		b = binary.AppendVarint(b, int64(a.Time-last))
		last = a.Time
	}
	return b
}

func (r *reader) attacked(last events.Millis, version byte) []Attacked {
	ring := make([]Attacked, r.count(MaxAttacked))
	for i := range ring {
		var state byte
		if version > 2 {
			state = r.byte()
		}
		ring[i] = Attacked{
			Told: state & attackedTold, Observed: state&attackedObserved != 0,
			Detection: r.detection(), Source: r.fixed64(), Incident: r.fixed64(), Time: last + r.millis(),
		}
		last = ring[i].Time
	}
	return ring
}

// What a finding has, as bits beside the rank of its severity.
const (
	raisedRank     = 0x07
	raisedTried    = 0x08
	raisedSession  = 0x10
	raisedFlow     = 0x20
	raisedIP       = 0x40
	raisedObserved = 0x80
)

func appendRaised(b []byte, last events.Millis, ring []Raised) []byte {
	b = append(b, byte(len(ring)))
	for i := range ring {
		f := &ring[i]
		b = binary.BigEndian.AppendUint16(b, uint16(f.Detection))
		head := len(b)
		b = append(b, min(f.Severity, raisedRank))
		b = binary.AppendVarint(b, int64(f.Time-last))
		b = append(b, f.Event[:]...)
		if f.Observed {
			b[head] |= raisedObserved
		}
		if f.Tried {
			b[head] |= raisedTried
		}
		if f.Session != 0 {
			b[head] |= raisedSession
			b = binary.BigEndian.AppendUint64(b, f.Session)
		}
		if f.Flow != 0 {
			b[head] |= raisedFlow
			b = binary.BigEndian.AppendUint32(b, f.Flow)
		}
		if f.IP != 0 {
			b[head] |= raisedIP
			b = binary.BigEndian.AppendUint32(b, f.IP)
		}
		last = f.Time
	}
	return b
}

func (r *reader) raised(last events.Millis) []Raised {
	ring := make([]Raised, r.count(MaxRaised))
	for i := range ring {
		f := &ring[i]
		f.Detection = r.detection()
		parts := r.byte()
		f.Severity = parts & raisedRank
		last += r.millis()
		f.Time, f.Event, f.Observed, f.Tried = last, r.id(), parts&raisedObserved != 0, parts&raisedTried != 0
		if parts&raisedSession != 0 {
			f.Session = r.fixed64()
		}
		if parts&raisedFlow != 0 {
			f.Flow = r.fixed32()
		}
		if parts&raisedIP != 0 {
			f.IP = r.fixed32()
		}
	}
	return ring
}

func appendChanges(b []byte, last events.Millis, ring []Change) []byte {
	b = append(b, byte(len(ring)))
	for i := range ring {
		c := &ring[i]
		b = append(b, changeTypes.code(c.Type)<<4|changeActions.code(c.Action))
		b = binary.AppendVarint(b, int64(c.Time-last))
		b = append(b, c.Event[:]...)
		last = c.Time
	}
	return b
}

func (r *reader) changes(last events.Millis) []Change {
	ring := make([]Change, r.count(MaxChanges))
	for i := range ring {
		code := r.byte()
		last += r.millis()
		ring[i] = Change{Type: changeTypes.name(code >> 4), Action: changeActions.name(code & 0xf), Time: last, Event: r.id()}
	}
	return ring
}

func appendClusters(b []byte, base events.Millis, list []Cluster) []byte {
	b = append(b, byte(len(list)))
	minute := int64(MinutesOf(base))
	for i := range list {
		c := &list[i]
		var state byte
		if c.Unconfirmed {
			state = 1
		}
		b = binary.AppendVarint(append(b, state), int64(c.Lat))
		b = binary.AppendVarint(b, int64(c.Lon))
		b = binary.AppendUvarint(b, uint64(c.RadiusKm))
		b = appendFloat(b, c.Weight)
		b = binary.AppendVarint(b, int64(c.Last)-minute)
		b = binary.AppendVarint(b, int64(c.Last)-int64(c.First))
	}
	return b
}

func (r *reader) clusters(base events.Millis) []Cluster {
	list := make([]Cluster, r.count(MaxClusters))
	minute := int64(MinutesOf(base))
	for i := range list {
		c := &list[i]
		c.Unconfirmed = r.byte()&1 != 0
		c.Lat, c.Lon, c.RadiusKm = r.place()
		c.Weight = r.float()
		last := minute + r.signed()
		first := last - r.signed()
		c.First, c.Last = r.minutes(first), r.minutes(last)
	}
	return list
}

func appendTransitions(b []byte, base events.Millis, list []Transition) []byte {
	b = append(b, byte(len(list)))
	minute := int64(MinutesOf(base))
	for i := range list {
		t := &list[i]
		b = binary.AppendUvarint(b, uint64(t.A))
		b = binary.AppendUvarint(b, uint64(t.B))
		b = binary.AppendVarint(append(b, t.Count), int64(t.Last)-minute)
	}
	return b
}

func (r *reader) transitions(base events.Millis) []Transition {
	list := make([]Transition, r.count(MaxTransitions))
	minute := int64(MinutesOf(base))
	for i := range list {
		list[i] = Transition{A: r.uint32(), B: r.uint32(), Count: r.byte(), Last: r.minutes(minute + r.signed())}
	}
	return list
}

func (r *Risk) known() bool { return r.Sum != 0 || r.At != 0 || len(r.Parts) > 0 }

func (r *Risk) append(b []byte, last events.Millis) []byte {
	b = appendFloat(b, r.Sum)
	b = binary.AppendVarint(b, int64(r.At-last))
	b = append(b, byte(len(r.Parts))|r.Told<<4)
	for _, part := range r.Parts {
		b = binary.BigEndian.AppendUint16(b, uint16(part.Detection))
		b = binary.AppendVarint(b, int64(part.Time-last))
		b = appendFloat(b, part.Decibans)
		last = part.Time
	}
	return b
}

func (r *reader) risk(risk *Risk, last events.Millis) {
	risk.Sum, risk.At = r.float(), last+r.millis()
	head := r.byte()
	risk.Told = head >> 4
	if head &= 0xf; head > MaxRiskParts {
		r.fail("too many parts of a risk")
		return
	}
	risk.Parts = make([]RiskPart, head)
	for i := range risk.Parts {
		d := r.detection()
		last += r.millis()
		risk.Parts[i] = RiskPart{Detection: d, Time: last, Decibans: r.float()}
	}
}

func (m *Marks) append(b []byte, base events.Millis) []byte {
	var set uint64
	times := m.times()
	for bit, t := range times {
		if *t != 0 {
			set |= 1 << bit
		}
	}
	b = binary.AppendUvarint(b, set)
	for _, t := range times {
		if *t != 0 {
			b = binary.AppendVarint(b, int64(*t-base))
		}
	}
	return b
}

func (r *reader) marks(m *Marks, base events.Millis, version byte) {
	if version == 2 {
		r.marks2(m, base)
		return
	}
	times := m.times()
	set := r.unsigned()
	if set >= 1<<len(times) {
		r.fail("a mark is unknown")
		return
	}
	for bit, t := range times {
		if set&(1<<bit) != 0 {
			*t = base + r.millis()
		}
	}
}

// marks2 reads the marks of format 2. After the times it has the strength of a proof in a byte, and a device in 8.
func (r *reader) marks2(m *Marks, base events.Millis) {
	times := m.times2()
	const strength, device = 1 << len(times), 2 << len(times)
	set := r.unsigned()
	if set >= device<<1 {
		r.fail("a mark is unknown")
		return
	}
	for bit, t := range times {
		if set&(1<<bit) == 0 {
			continue
		}
		if at := base + r.millis(); t != nil {
			*t = at
		}
	}
	if set&strength != 0 {
		r.byte()
	}
	if set&device != 0 {
		r.fixed64()
	}
}

func (r *reader) familiar(c *familiarity.Counts) error {
	length := r.bytes(2)
	if length == nil {
		return nil
	}
	b := r.bytes(int(binary.BigEndian.Uint16(length)))
	if r.problem != "" {
		return nil
	}
	if err := c.Decode(b); err != nil {
		return fmt.Errorf("reading familiarity counters: %w", err)
	}
	return nil
}

// appendFloat writes a float; what is no finite number is 0, so that one mistake cannot spoil a profile.
func appendFloat(b []byte, v float32) []byte {
	if f := float64(v); v == 0 || math.IsNaN(f) || math.IsInf(f, 0) {
		v = 0 // not its negative either: equal profiles have equal bytes
	}
	return binary.BigEndian.AppendUint32(b, math.Float32bits(v))
}

func (r *reader) float() float32 {
	v := math.Float32frombits(r.fixed32())
	if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
		r.fail("a number is none")
		return 0
	}
	return v
}

func (r *reader) detection() Detection {
	b := r.bytes(2)
	if b == nil {
		return 0
	}
	return Detection(binary.BigEndian.Uint16(b))
}

func (r *reader) millis() events.Millis { return events.Millis(r.signed()) }
