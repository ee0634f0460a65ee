package policy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// BreakerLimits are what a tenant's requirements may come to before a person has to look. They are for the tenant as a
// whole; each partition of the log judges its own share of the users by its own share of the limits.
type BreakerLimits struct {
	// PerMinute is how many requirements may be raised within a minute.
	PerMinute int
	// UserShare is the share of the tenant's active users, of the last one to two days, who may be asked for something in
	// that time. It counts when at least MinUsers are active.
	UserShare float64
	MinUsers  int
}

// DefaultBreakerLimits are in force when the file names none.
func DefaultBreakerLimits() BreakerLimits {
	return BreakerLimits{PerMinute: 60, UserShare: 0.1, MinUsers: 50}
}

// leastInPartition is what each partition allows whatever its share of a limit is: below it chance decides, not a policy.
const leastInPartition = 5

// ResetDetection is the verdict that closes a tripped breaker. `countersign breaker reset` writes one to every partition,
// so that a replay resets at the same place.
const ResetDetection = "BRK-00"

// ResetsBreaker tells whether an event closes the breaker of its tenant.
func ResetsBreaker(e *events.Event) bool {
	return e.Kind == events.NetworkVerdict && e.Verdict != nil && e.Verdict.Detection == ResetDetection
}

// Breaker stops a runaway policy: of one tenant in one partition it counts whom it asks for something. Once it has tripped
// nothing is raised until a person resets it. Its clock is that of acceptance, as the events tell it. The zero Breaker has
// counted nothing. It takes about 1 KB whatever the number of users.
type Breaker struct {
	slot    int64 // of ten seconds, the newest
	counts  [breakerSlots]uint32
	day     int64
	active  [2]sketch // users seen today and the day before
	asked   [2]sketch
	tripped events.Millis
	why     string
}

const (
	breakerSlots  = 6
	slotLength    = 10 * events.Second
	maxWhy        = 300
	breakerFormat = 1
)

// accepted is the breaker's clock: what hits people hits them when it is accepted, not when it happened.
func accepted(e *events.Event) events.Millis {
	if e.Ingested != 0 {
		return e.Ingested
	}
	return e.Time
}

// turn moves on to the day of an event.
func (b *Breaker) turn(e *events.Event) {
	day := int64(accepted(e)) / events.Day
	switch {
	case day <= b.day:
		return
	case day == b.day+1:
		b.active[1], b.asked[1] = b.active[0], b.asked[0]
	default:
		b.active[1], b.asked[1] = sketch{}, sketch{}
	}
	b.active[0], b.asked[0] = sketch{}, sketch{}
	b.day = day
}

// See counts the user of an event as active, when the event shows that there is one.
func (b *Breaker) See(e *events.Event) {
	present := e.Outcome == events.Success || e.Outcome == "" && e.Kind == events.SessionUse
	if !present || e.User.Type == events.Unresolved || e.Kind.Internal() {
		return
	}
	b.turn(e)
	b.active[0].add(userHash(e.User.ID))
}

// Take asks for leave to raise one more requirement, in one of some number of partitions. It gives the reason why not, or
// "" for leave. tripped tells that this very one tripped it.
func (b *Breaker) Take(limits BreakerLimits, partitions int, e *events.Event) (why string, tripped bool) {
	if b.tripped != 0 {
		return b.why, false
	}
	partitions = max(partitions, 1)
	b.turn(e)
	b.asked[0].add(userHash(e.User.ID))
	b.slide(int64(accepted(e)) / slotLength)
	b.counts[b.slot%breakerSlots]++

	total := 0
	for _, n := range b.counts {
		total += int(n)
	}
	if allowed := max((limits.PerMinute+partitions-1)/partitions, leastInPartition); total > allowed {
		b.trip(e, fmt.Sprintf("%d requirements within a minute, %d are allowed", total, allowed), limits, partitions)
		return b.why, true
	}
	active := countBoth(&b.active[0], &b.active[1])
	if active < (limits.MinUsers+partitions-1)/partitions {
		return "", false
	}
	allowed := max(int(limits.UserShare*float64(active)), leastInPartition)
	if asked := countBoth(&b.asked[0], &b.asked[1]); asked > allowed {
		b.trip(e, fmt.Sprintf("about %d of %d active users asked within two days, %d are allowed", asked, active, allowed), limits, partitions)
		return b.why, true
	}
	return "", false
}

// slide forgets what is older than a minute before the slot. What comes late counts as of now.
func (b *Breaker) slide(slot int64) {
	if slot <= b.slot {
		return
	}
	for at := max(b.slot+1, slot-breakerSlots+1); at <= slot; at++ {
		b.counts[at%breakerSlots] = 0
	}
	b.slot = slot
}

func (b *Breaker) trip(e *events.Event, what string, limits BreakerLimits, partitions int) {
	b.tripped = accepted(e)
	b.why = fmt.Sprintf("the breaker tripped at %s: %s in one of %d partitions (%d a minute, %g of the users altogether); it holds until a person resets it",
		b.tripped, what, partitions, limits.PerMinute, limits.UserShare)
}

// Tripped is when the breaker tripped, and why; 0 when it has not.
func (b *Breaker) Tripped() (at events.Millis, why string) { return b.tripped, b.why }

// Reset closes the breaker and forgets whom it counted as asked, so that it does not trip again at once.
func (b *Breaker) Reset() {
	b.tripped, b.why = 0, ""
	b.counts, b.asked = [breakerSlots]uint32{}, [2]sketch{}
}

// AppendBinary appends the encoded breaker to b. The same breaker gives the same bytes; the zero Breaker has none.
func (b *Breaker) AppendBinary(out []byte) []byte {
	if *b == (Breaker{}) {
		return out
	}
	out = append(out, breakerFormat)
	out = binary.AppendVarint(out, b.slot)
	for _, n := range b.counts {
		out = binary.AppendUvarint(out, uint64(n))
	}
	out = binary.AppendVarint(out, b.day)
	for _, s := range [...]*sketch{&b.active[0], &b.active[1], &b.asked[0], &b.asked[1]} {
		out = s.append(out)
	}
	out = binary.AppendVarint(out, int64(b.tripped))
	out = binary.AppendUvarint(out, uint64(len(b.why)))
	return append(out, b.why...)
}

// append writes the registers that are set, as pairs of gap and rank, or all of them when that is shorter.
func (s *sketch) append(out []byte) []byte {
	used := 0
	for _, rank := range s {
		if rank != 0 {
			used++
		}
	}
	out = binary.AppendUvarint(out, uint64(used))
	if 2*used >= sketchSize {
		return append(out, s[:]...)
	}
	for i, rank := range s {
		if rank != 0 {
			out = append(out, byte(i), rank)
		}
	}
	return out
}

// ErrNewerFormat is returned for a breaker that a later version has written.
var ErrNewerFormat = errors.New("breaker is in a newer format than this version reads, upgrade before you go on")

var errBreaker = errors.New("damaged breaker")

// DecodeBreaker reads what AppendBinary wrote, to the last byte.
func DecodeBreaker(in []byte) (Breaker, error) {
	var b Breaker
	if len(in) == 0 {
		return b, nil
	}
	if in[0] > breakerFormat {
		return b, fmt.Errorf("%w: %d", ErrNewerFormat, in[0])
	}
	d := breakerDecoder{in: in[1:], ok: in[0] == breakerFormat}
	b.slot = d.varint()
	for i := range b.counts {
		n := d.uvarint()
		d.ok = d.ok && n < 1<<32
		b.counts[i] = uint32(n)
	}
	b.day = d.varint()
	for _, s := range [...]*sketch{&b.active[0], &b.active[1], &b.asked[0], &b.asked[1]} {
		d.sketch(s)
	}
	b.tripped = events.Millis(d.varint())
	n := d.uvarint()
	if d.ok = d.ok && n <= maxWhy && n == uint64(len(d.in)); !d.ok || b.slot < 0 || b.day < 0 {
		return Breaker{}, errBreaker
	}
	b.why = strings.ToValidUTF8(string(d.in), "")
	return b, nil
}

type breakerDecoder struct {
	in []byte
	ok bool
}

func (d *breakerDecoder) varint() int64 {
	v, n := binary.Varint(d.in)
	return int64(d.advance(uint64(v), n))
}

func (d *breakerDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.in)
	return d.advance(v, n)
}

func (d *breakerDecoder) advance(v uint64, n int) uint64 {
	if n <= 0 || !d.ok {
		d.ok, d.in = false, nil
		return 0
	}
	d.in = d.in[n:]
	return v
}

func (d *breakerDecoder) sketch(s *sketch) {
	used := int(min(d.uvarint(), sketchSize+1))
	size := min(2*used, sketchSize)
	if d.ok = d.ok && used <= sketchSize && size <= len(d.in); !d.ok {
		d.in = nil
		return
	}
	if size == sketchSize {
		copy(s[:], d.in)
	} else {
		for i := 0; i < size; i += 2 {
			s[d.in[i]] = d.in[i+1]
		}
	}
	for _, rank := range s {
		d.ok = d.ok && rank <= 58
	}
	d.in = d.in[size:]
}
