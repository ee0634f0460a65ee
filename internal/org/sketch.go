package org

import (
	"math"
	"math/bits"
	"slices"
)

// hash is 64 bits of a text: FNV-1a, with the finaliser of splitmix64 so that all bits are as good.
func hash[T ~string | ~[]byte](text T) uint64 { return mix(fnv(fnvOffset, text)) }

const fnvOffset = 14695981039346656037

func fnv[T ~string | ~[]byte](h uint64, text T) uint64 {
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return h
}

func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// distinct counts distinct hashes: exactly while they are few, then with HyperLogLog (Flajolet et al. 2007) of 2^p
// registers of four bits, which is enough for 2^(p+14) and more. The zero value is empty.
type distinct struct {
	exact     []uint64 // ascending
	registers []byte   // two registers a byte; nil while exact
}

// precision is a size of distinct counters: p, and how many hashes are kept exactly.
type precision struct {
	p     uint8
	exact int
}

// The sizes in use: standard errors are 9, 6.5 and 3.3 per cent.
var (
	small  = precision{7, 7}
	medium = precision{8, 16}
	large  = precision{10, 16}
)

// add tells whether the count may have changed.
func (d *distinct) add(h uint64, size precision) bool {
	if d.registers == nil {
		i, found := slices.BinarySearch(d.exact, h)
		if found {
			return false
		}
		if len(d.exact) < size.exact {
			d.exact = slices.Insert(d.exact, i, h)
			return true
		}
		d.registers = make([]byte, 1<<(size.p-1))
		for _, known := range d.exact {
			d.raise(known, size.p)
		}
		d.exact = nil
		d.raise(h, size.p)
		return true
	}
	return d.raise(h, size.p)
}

func (d *distinct) raise(h uint64, p uint8) bool {
	i := h >> (64 - p)
	rank := byte(min(bits.LeadingZeros64(h<<p)+1, 15))
	cell, shift := &d.registers[i/2], i%2*4
	if *cell>>shift&15 >= rank {
		return false
	}
	*cell = *cell&^(15<<shift) | rank<<shift
	return true
}

// remove takes an exactly known hash back; it tells whether it could.
func (d *distinct) remove(h uint64) bool {
	i, found := slices.BinarySearch(d.exact, h)
	if found {
		d.exact = slices.Delete(d.exact, i, i+1)
	}
	return found
}

// count is the number of distinct hashes.
func (d *distinct) count() int { return union(d, nil) }

// union is the number of distinct hashes of two counters of one precision.
func union(a, b *distinct) int {
	if b == nil {
		b = &distinct{}
	}
	if a.registers == nil {
		a, b = b, a
	}
	if a.registers == nil {
		n := len(a.exact)
		for _, h := range b.exact {
			if _, found := slices.BinarySearch(a.exact, h); !found {
				n++
			}
		}
		return n
	}
	p := uint8(bits.TrailingZeros(uint(len(a.registers)))) + 1
	var room [512]byte
	both := distinct{registers: room[:len(a.registers)]}
	copy(both.registers, a.registers)
	if b.registers == nil {
		for _, h := range b.exact {
			both.raise(h, p)
		}
	} else {
		for i, cell := range b.registers {
			both.registers[i] = max(both.registers[i]&15, cell&15) | max(both.registers[i]>>4, cell>>4)<<4
		}
	}
	return both.estimate(p)
}

func (d *distinct) estimate(p uint8) int {
	m := float64(int(1) << p)
	sum, zeros := 0.0, 0
	for _, cell := range d.registers {
		for _, rank := range [2]byte{cell & 15, cell >> 4} {
			if rank == 0 {
				zeros++
			}
			sum += 1 / float64(int(1)<<rank) // exact
		}
	}
	alpha := 0.7213 / (1 + float64(1.079/m))
	e := float64(float64(alpha*m)*m) / sum
	if e <= float64(2.5*m) && zeros > 0 {
		e = float64(m * math.Log(m/float64(zeros)))
	}
	return int(math.Round(e))
}

func (d *distinct) append(w *writer) {
	if d.registers != nil {
		w.Byte(255)
		w.Raw(d.registers)
		return
	}
	w.Byte(byte(len(d.exact)))
	for _, h := range d.exact {
		w.Fixed(h)
	}
}

func (d *distinct) read(r *reader, size precision) {
	*d = distinct{}
	n := int(r.Byte())
	if n == 255 {
		d.registers = slices.Clone(r.Raw(1 << (size.p - 1)))
		return
	}
	if n > size.exact {
		r.Fail("%d exact hashes, at most %d are possible", n, size.exact)
		return
	}
	for range n {
		h := r.Fixed()
		if k := len(d.exact); k > 0 && d.exact[k-1] >= h {
			r.Fail("hashes out of order")
			return
		}
		d.exact = append(d.exact, h)
	}
}
