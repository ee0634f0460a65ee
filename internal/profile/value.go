package profile

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"unicode/utf8"

	"github.com/countersign-io/countersign/internal/events"
)

// ID is an event's id in binary.
type ID [16]byte

// IDOf reads an event's id. Text that is not an id as [events.EventID] makes them is hashed to one.
func IDOf(s string) ID {
	var id ID
	if len(s) != 2*len(id) {
		return IDOf(events.ID("event-id", s))
	}
	for i := range id {
		high, low := nibble(s[2*i]), nibble(s[2*i+1])
		if high|low > 0xf {
			return IDOf(events.ID("event-id", s))
		}
		id[i] = high<<4 | low
	}
	return id
}

// nibble reads a lower-case hexadecimal digit; anything else is more than 15.
func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// String is the id as events carry it.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// short is the first 48 bits, by which a profile remembers that it knows an event: one event in 10^13 is taken for another.
func (id ID) short() uint64 { return binary.BigEndian.Uint64(id[:]) >> 16 }

// Address is an IP address, IPv4 in its IPv6 form; zero means unknown.
type Address [16]byte

// AddressOf reads an address; text that is none is unknown.
func AddressOf(s string) Address {
	if s == "" {
		return Address{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return Address{}
	}
	return a.As16()
}

// Is4 tells an IPv4 address.
func (a Address) Is4() bool {
	return binary.BigEndian.Uint64(a[:]) == 0 && binary.BigEndian.Uint32(a[8:]) == 0xffff
}

// Netip is the address, invalid when unknown.
func (a Address) Netip() netip.Addr {
	if a == (Address{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(a).Unmap()
}

// String is the canonical text, or "".
func (a Address) String() string {
	if a == (Address{}) {
		return ""
	}
	return a.Netip().String()
}

// Prefix is the /24 or /48 around the address, or "".
func (a Address) Prefix() string {
	if a == (Address{}) {
		return ""
	}
	ip, bits := a.Netip(), 24
	if ip.Is6() {
		bits = 48
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// SamePrefix tells whether both addresses are known and in one /24 or /48.
func (a Address) SamePrefix(b Address) bool {
	if a == (Address{}) || b == (Address{}) || a.Is4() != b.Is4() {
		return false
	}
	if a.Is4() {
		return [3]byte(a[12:15]) == [3]byte(b[12:15])
	}
	return [6]byte(a[:6]) == [6]byte(b[:6])
}

// Classes is a set of network classes.
type Classes uint16

// The network classes as bits. Their values are on the log: never change them.
const (
	Tor       Classes = 1 << 0
	VPN       Classes = 1 << 1
	Relay     Classes = 1 << 2
	Hosting   Classes = 1 << 3
	Satellite Classes = 1 << 4
	Mobile    Classes = 1 << 5
	Office    Classes = 1 << 6
	Threat    Classes = 1 << 7

	knownClasses = Threat<<1 - 1
)

func classBit(c events.Class) Classes {
	switch c {
	case events.Tor:
		return Tor
	case events.VPN:
		return VPN
	case events.Relay:
		return Relay
	case events.Hosting:
		return Hosting
	case events.Satellite:
		return Satellite
	case events.Mobile:
		return Mobile
	case events.Office:
		return Office
	case events.Threat:
		return Threat
	}
	return 0
}

// ClassesOf makes a set of a list; what is not known is left out.
func ClassesOf(list []events.Class) Classes {
	var set Classes
	for _, c := range list {
		set |= classBit(c)
	}
	return set
}

// Any tells whether the sets meet.
func (c Classes) Any(of Classes) bool { return c&of != 0 }

// List is the set in the order in which classes are shown.
func (c Classes) List() []events.Class {
	var list []events.Class
	for _, class := range events.Classes {
		if c&classBit(class) != 0 {
			list = append(list, class)
		}
	}
	return list
}

// cut bounds text in bytes, never inside a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
