package profile

import (
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/countersign-io/countersign/internal/events"
)

// Kind is a kind of term.
type Kind uint8

// The kinds of terms. Their numbers are on the log, and at most 31: never renumber; 6, 9 and 11 were kinds.
const (
	// Country is a country the user was in; CountryVia one they only seemed to be in, through a VPN or the like.
	Country    Kind = 1
	CountryVia Kind = 2
	// ASN is an operator's network.
	ASN Kind = 3
	// DeviceID is a device by the identity provider's id, Agent by its operating system and browser family.
	DeviceID Kind = 4
	Agent    Kind = 5
	// App is an application, AppResource one together with what it asked for.
	App         Kind = 7
	AppResource Kind = 8
	// Grant is a client application with the protocol by which it gets tokens, such as a device code.
	Grant Kind = 10
	// CredentialType is a program's kind of credential.
	CredentialType Kind = 12
)

// TermFloor is how many terms a kind keeps however many another kind brings, as long as it has been seen of the user.
const TermFloor = 6

// Minutes is a moment in minutes since the Unix epoch, the precision of terms.
type Minutes uint32

// MinutesOf rounds a moment down.
func MinutesOf(t events.Millis) Minutes {
	return Minutes(min(max(int64(t)/events.Minute, 0), math.MaxUint32))
}

// Millis is the moment as a time.
func (m Minutes) Millis() events.Millis { return events.Millis(m) * events.Minute }

// Term is something seen of the user, and when.
type Term struct {
	Value       uint64
	First, Last Minutes
	Kind        Kind
	// Unconfirmed terms came with an adverse finding and are still new; see detections.
	Unconfirmed bool
}

// Term finds a term, or nil. It is good until the next Learn.
func (p *Profile) Term(k Kind, value uint64) *Term {
	for i := range p.Terms {
		if t := &p.Terms[i]; t.Value == value && t.Kind == k {
			return t
		}
	}
	return nil
}

// CountTerms counts the terms of a kind, but for one.
func (p *Profile) CountTerms(k Kind, but uint64) int {
	n := 0
	for i := range p.Terms {
		if t := &p.Terms[i]; t.Kind == k && t.Value != but {
			n++
		}
	}
	return n
}

// Learn notes that a term was seen. An unknown one is added, with the state given; at the bound one seen least recently
// goes, of a kind that has more than [TermFloor].
func (p *Profile) Learn(k Kind, value uint64, at events.Millis, unconfirmed bool) {
	m := MinutesOf(at)
	if t := p.Term(k, value); t != nil {
		t.First, t.Last = min(t.First, m), max(t.Last, m)
		return
	}
	if len(p.Terms) >= MaxTerms {
		i := p.leastTerm()
		p.Terms = slices.Delete(p.Terms, i, i+1)
		p.forgot()
	}
	p.Terms = append(p.Terms, Term{Kind: k, Value: value, First: m, Last: m, Unconfirmed: unconfirmed})
}

// leastTerm is the term least recently seen of the kinds above their floor. With all kinds at their floor there would be
// room, unless kinds of later versions were read: then it is the least recently seen of all.
func (p *Profile) leastTerm() int {
	var held [math.MaxUint8 + 1]uint8
	for i := range p.Terms {
		held[p.Terms[i].Kind]++
	}
	least := -1
	for i := range p.Terms {
		if held[p.Terms[i].Kind] > TermFloor && (least < 0 || p.Terms[i].Last < p.Terms[least].Last) {
			least = i
		}
	}
	if least >= 0 {
		return least
	}
	least = 0
	for i := range p.Terms {
		if p.Terms[i].Last < p.Terms[least].Last {
			least = i
		}
	}
	return least
}

// CountryValue is a two-letter country as a term, or 0.
func CountryValue(code string) uint64 {
	if len(code) != 2 {
		return 0
	}
	return uint64(code[0])<<8 | uint64(code[1])
}

// AgentValue is an operating system and browser family as a term, or 0 when neither is known.
func AgentValue(os, browser string) uint64 {
	if os == "" && browser == "" {
		return 0
	}
	return short(xxhash.Sum64String(os)*31 + xxhash.Sum64String(browser))
}

// TextValue is one or more texts together as a term, in 32 bits, such as an application and a resource; 0 when the first
// is empty.
func TextValue(first string, more ...string) uint64 {
	if first == "" {
		return 0
	}
	h := xxhash.Sum64String(first)
	for _, s := range more {
		h = h*31 + xxhash.Sum64String(s)
	}
	return uint64(nonzero(h))
}

// DeviceValue is a device id as a term, or 0 when there is none.
func DeviceValue(hash uint64) uint64 {
	if hash == 0 {
		return 0
	}
	return short(hash)
}

// short keeps 48 bits, never 0: enough for 80 terms, and one byte less on the log than all would need.
func short(h uint64) uint64 { return h>>16 | 1 }

// Hash stands for an id; it is never 0 and the same on every machine.
func Hash(id string) uint64 {
	if h := xxhash.Sum64String(id); h != 0 {
		return h
	}
	return 1
}

// hashID is 0 for no id.
func hashID(id string) uint64 {
	if id == "" {
		return 0
	}
	return Hash(id)
}
