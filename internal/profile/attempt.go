package profile

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/countersign-io/countersign/internal/events"
)

// Limits of the rings of attempts.
const (
	MaxFailures = 32
	MaxPushes   = 16
	MaxCodes    = 16
)

// Attempt is one failure, prompt or code. What it came from is kept by hash, enough to tell sources apart; 0 is unknown.
type Attempt struct {
	Time events.Millis
	// Cause is "" for an approved prompt, and when the cause is not known.
	Cause events.Cause
	// IP is a hash of the address, Flow of the correlation id.
	IP, Flow uint32
	ASN      uint32
}

func (a Attempt) when() events.Millis { return a.Time }

// AttemptOf is an event as an attempt.
func AttemptOf(e *events.Event) Attempt {
	return Attempt{Time: e.Time, Cause: e.Cause, ASN: e.Network.ASN, IP: AddressOf(e.IP).Hash(), Flow: Hash32(e.Correlation)}
}

// AddFailure notes a failed first factor or a block, and drops those more than keep before the newest.
func (p *Profile) AddFailure(a Attempt, keep events.Millis) {
	p.Failures = insert(p.Failures, a.known(), MaxFailures, keep)
}

// AddPush notes a prompt that was refused, not answered or, without a cause, approved.
func (p *Profile) AddPush(a Attempt, keep events.Millis) {
	p.Pushes = insert(p.Pushes, a.known(), MaxPushes, keep)
}

// AddCode notes a wrong one-time code.
func (p *Profile) AddCode(a Attempt, keep events.Millis) {
	p.Codes = insert(p.Codes, a.known(), MaxCodes, keep)
}

// known drops a cause that has no place on the log.
func (a Attempt) known() Attempt {
	a.Cause = causes.name(causes.code(a.Cause))
	return a
}

// Hash32 stands for a text in 32 bits: enough to count and compare a few dozen. It is 0 only for "".
func Hash32(text string) uint32 {
	if text == "" {
		return 0
	}
	return nonzero(xxhash.Sum64String(text))
}

// Hash stands for the address in 32 bits; 0 is unknown.
func (a Address) Hash() uint32 {
	if a == (Address{}) {
		return 0
	}
	return nonzero(xxhash.Sum64(a[:]))
}

func nonzero(h uint64) uint32 {
	if v := uint32(h >> 32); v != 0 {
		return v
	}
	return 1
}

// vocabulary gives words their numbers on the log: the first is 1, and 0 is the empty or an unknown word.
type vocabulary[T ~string] []T

func (v vocabulary[T]) code(word T) byte {
	if word == "" {
		return 0
	}
	for i, w := range v {
		if w == word {
			return byte(i + 1)
		}
	}
	return 0
}

func (v vocabulary[T]) name(code byte) T {
	if code == 0 || int(code) > len(v) {
		return ""
	}
	return v[code-1]
}

// The words on the log: append, never move. Causes must fit four bits.
var (
	causes = vocabulary[events.Cause]{
		events.BadPassword, events.UnknownUser, events.AccountLocked, events.AccountDisabled, events.Expired, events.MFARefused,
		events.MFATimeout, events.BadCode, events.PolicyBlock, events.OtherCause,
	}
	changeTypes = vocabulary[events.ChangeType]{
		events.CredentialChange, events.MethodChange, events.RecoveryChange, events.DeviceChange, events.ConsentChange,
		events.RoleChange, events.LifecycleChange, events.AssuranceChange,
	}
	changeActions = vocabulary[events.ChangeAction]{
		events.Added, events.Removed, events.Updated, events.Reset, events.Enabled, events.Disabled, events.Locked, events.Unlocked,
	}
)

// appendAttempts writes a ring of attempts. An attempt repeats the values of the one before it for nothing, so that many
// from one source are small.
func appendAttempts(b []byte, base events.Millis, ring []Attempt) []byte {
	b = append(b, byte(len(ring)))
	var last Attempt
	last.Time = base
	for i := range ring {
		a := &ring[i]
		head := len(b)
		b = append(b, causes.code(a.Cause))
		b = binary.AppendVarint(b, int64(a.Time-last.Time))
		for bit, pair := range [...][2]uint32{{a.IP, last.IP}, {a.ASN, last.ASN}, {a.Flow, last.Flow}} {
			if pair[0] != pair[1] {
				b[head] |= 0x10 << bit
				b = binary.BigEndian.AppendUint32(b, pair[0])
			}
		}
		last = *a
	}
	return b
}

func (r *reader) attempts(base events.Millis, limit int, version byte) []Attempt {
	ring := make([]Attempt, r.count(limit))
	last := Attempt{Time: base}
	for i := range ring {
		head := r.byte()
		last.Cause = causes.name(head & 0xf)
		last.Time += events.Millis(r.signed())
		for bit, v := range [...]*uint32{&last.IP, &last.ASN, &last.Flow} {
			if head&(0x10<<bit) != 0 {
				*v = r.fixed32()
			}
		}
		if head&0x80 != 0 {
			if version > 2 {
				r.fail("an attempt has an unknown part")
			}
			r.fixed32() // of format 2: a hash of the device
		}
		ring[i] = last
	}
	return ring
}
