package org

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
)

// termKind is a kind of thing in use.
type termKind byte

const (
	termCountry termKind = iota
	termNetwork
	termCell
	termApp
	termAgent
	termKinds
)

var termNames = [termKinds]string{"country", "network", "cell", "app", "agent"}

// termLimits are how many of a kind are remembered; termTold how many of them a context tells.
var (
	termLimits = [termKinds]int{512, 4096, 4096, 2048, 512}
	termTold   = [termKinds]int{256, 300, 300, 300, 150}
)

const (
	// termRoom is how many terms a piece has.
	termRoom = 64
	// termTTL is after how long without sight a term is forgotten.
	termTTL = 90 * events.Day
	maxTerm = 256
	// toldBytes bounds what a context tells of one kind, encoded: a text may take six times its length there. Five kinds, the
	// prefixes and the counts keep to [events.MaxRecord].
	toldBytes = 40 << 10
)

// term is something in use: who uses it, and of a network how it moves its users.
type term struct {
	value       string
	first, last events.Millis // last to the day
	users       distinct      // small
	// Logins of a device that was seen within the hour before, those of them that jumped, and who did.
	moved, jumped uint32
	jumpers       distinct // small
}

// bucket is a piece of terms of one kind.
type bucket struct {
	marks
	kind  termKind
	index int
	terms []*term
}

func (b *bucket) name() string {
	return pieceTerms + "/" + termNames[b.kind] + "/" + strconv.Itoa(b.index)
}

func (b *bucket) room() int {
	size := 64
	for _, t := range b.terms {
		size += t.room()
	}
	return size
}

// room is the most bytes that a term takes.
func (t *term) room() int { return len(t.value) + 2 + 2*10 + 65 + 2*5 + 65 }

func (b *bucket) append(w *writer) {
	w.Count(len(b.terms))
	for _, t := range b.terms {
		w.Text(t.value)
		w.millis(t.first)
		w.millis(t.last)
		t.users.append(w)
		if b.kind == termNetwork {
			w.Uint(uint64(t.moved))
			w.Uint(uint64(t.jumped))
			t.jumpers.append(w)
		}
	}
}

func (b *bucket) read(r *reader) {
	b.terms = nil
	for range r.Count(termRoom) {
		t := &term{value: r.text(), first: r.millis(), last: r.millis()}
		t.users.read(r, small)
		if b.kind == termNetwork {
			t.moved, t.jumped = uint32(r.Count(1<<32-1)), uint32(r.Count(1<<32-1))
			t.jumpers.read(r, small)
		}
		b.terms = append(b.terms, t)
	}
}

// terms are all terms of a kind.
type terms struct {
	known   map[string]*term
	buckets []bucket
}

func newTerms(kind termKind) terms {
	t := terms{known: map[string]*term{}, buckets: make([]bucket, termLimits[kind]/termRoom)}
	for i := range t.buckets {
		t.buckets[i].kind, t.buckets[i].index = kind, i
	}
	return t
}

// use notes that a user uses something; it returns the term, nil for a value that cannot be one.
func (s *State) use(kind termKind, value []byte, t events.Millis, h uint64) *term {
	if len(value) == 0 || len(value) > maxTerm {
		return nil
	}
	list := &s.terms[kind]
	found := list.known[string(value)]
	if found == nil {
		b := &list.buckets[hash(value)%uint64(len(list.buckets))]
		if len(b.terms) >= termRoom {
			list.forget(b, s.head.now)
		}
		found = &term{value: string(value), first: t}
		b.terms = append(b.terms, found)
		list.known[found.value] = found
		if b.changed {
			s.room += found.room() // else it is counted when the piece is
		}
	}
	changed := found.users.add(h, small)
	if t < found.first {
		found.first, changed = t, true
	}
	if day := t - t%events.Day; day > found.last {
		found.last, changed = day, true
	}
	if changed {
		s.change(&list.buckets[hash(value)%uint64(len(list.buckets))])
	}
	return found
}

// forget makes room in a bucket: what was not seen for long, else what the fewest use and was seen longest ago.
func (l *terms) forget(b *bucket, now events.Millis) {
	victim, few := 0, 0
	for i, t := range b.terms {
		n := t.users.count()
		if t.last < now-termTTL {
			n = 0
		}
		if i == 0 || cmp.Or(cmp.Compare(n, few), cmp.Compare(t.last, b.terms[victim].last)) < 0 {
			victim, few = i, n
		}
	}
	delete(l.known, b.terms[victim].value)
	b.terms = slices.Delete(b.terms, victim, victim+1)
}

// learnTerms learns from a success what is in use.
func (s *State) learnTerms(m *events.Sighting, t events.Millis, h uint64) {
	s.use(termCountry, append(s.scratch[:0], m.Country...), t, h)
	if m.Network.ASN != 0 {
		asn := s.use(termNetwork, strconv.AppendUint(s.scratch[:0], uint64(m.Network.ASN), 10), t, h)
		if m.Moved {
			s.move(asn, m.Jumped, h)
		}
	}
	if m.Lat != 0 || m.Lon != 0 {
		s.use(termCell, appendCell(s.scratch[:0], m.Lat, m.Lon), t, h)
	}
	s.use(termApp, append(s.scratch[:0], m.App.ID...), t, h)
	if m.Device.OS != "" || m.Device.Browser != "" {
		s.use(termAgent, append(append(append(s.scratch[:0], m.Device.OS...), ' '), m.Device.Browser...), t, h)
	}
}

// move counts a login of a device that was seen within the hour before. At the bound both counts are halved.
func (s *State) move(asn *term, jumped bool, h uint64) {
	asn.moved++
	if jumped {
		asn.jumped++
		asn.jumpers.add(h, small)
	}
	if asn.moved >= 1<<20 {
		asn.moved, asn.jumped = asn.moved/2, asn.jumped/2
	}
	list := &s.terms[termNetwork]
	s.change(&list.buckets[hash(asn.value)%uint64(len(list.buckets))])
}

// inUse lists the terms of a kind for a context: those of most users first. What one user alone uses is nobody else's
// business, except a country.
func (s *State) inUse(kind termKind) []events.OrgTerm {
	least := 2
	if kind == termCountry {
		least = 1
	}
	var list []events.OrgTerm
	for _, t := range s.terms[kind].known {
		if n := t.users.count(); n >= least && t.last >= s.head.now-termTTL {
			list = append(list, events.OrgTerm{Value: t.value, Users: n, First: t.first, Last: t.last})
		}
	}
	slices.SortFunc(list, func(a, b events.OrgTerm) int {
		return cmp.Or(cmp.Compare(b.Users, a.Users), cmp.Compare(a.Value, b.Value))
	})
	list = list[:min(len(list), termTold[kind])]
	room := toldBytes
	for i := range list {
		if room -= len(events.Encode(&list[i])) + 1; room < 0 {
			return list[:i]
		}
	}
	return list
}

// hubs lists the networks that move their users about.
func (s *State) hubs() []uint32 {
	const maxHubs = 256
	var list []uint32
	for _, t := range s.terms[termNetwork].known {
		if t.jumped == 0 || float64(t.jumped) < float64(s.config.Hubs.Share*float64(t.moved)) || t.jumpers.count() < s.config.Hubs.Users {
			continue
		}
		if asn, err := strconv.ParseUint(t.value, 10, 32); err == nil {
			list = append(list, uint32(asn))
		}
	}
	slices.Sort(list)
	return list[:min(len(list), maxHubs)]
}
