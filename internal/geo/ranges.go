package geo

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
)

// key is an address as a number: IPv4 in its mapped form, so that one order holds for both families.
type key struct{ hi, lo uint64 }

func keyOf(ip netip.Addr) key {
	b := ip.As16()
	return key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (k key) less(o key) bool { return k.hi < o.hi || k.hi == o.hi && k.lo < o.lo }

func (k key) compare(o key) int {
	switch {
	case k.less(o):
		return -1
	case o.less(k):
		return 1
	}
	return 0
}

// span is an inclusive range of addresses.
type span struct{ first, last key }

// spanOf is the range of a prefix.
func spanOf(p netip.Prefix) span {
	p = p.Masked()
	first := keyOf(p.Addr())
	host := p.Addr().BitLen() - p.Bits()
	last := first
	if host >= 64 {
		last.lo = ^uint64(0)
		last.hi |= uint64(1)<<(host-64) - 1
	} else {
		last.lo |= uint64(1)<<host - 1
	}
	return span{first, last}
}

// merged sorts spans and joins those that overlap.
func merged(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.first.compare(b.first) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && !out[n-1].last.less(s.first) {
			if out[n-1].last.less(s.last) {
				out[n-1].last = s.last
			}
			continue
		}
		out = append(out, s)
	}
	return slices.Clip(out)
}

// find returns the index of the last span that begins at or before k and holds it, -1 when there is none. The spans are
// sorted by their first address.
func find(spans []span, k key) int {
	i := sort.Search(len(spans), func(i int) bool { return k.less(spans[i].first) }) - 1
	if i < 0 || spans[i].last.less(k) {
		return -1
	}
	return i
}
