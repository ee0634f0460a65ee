package profile

import (
	"math"
	"unicode/utf8"

	"github.com/countersign-io/countersign/internal/events"
)

// Visits and sessions share few places and devices, so both are kept once, in tables; points refer to them by index plus
// one. An entry that nothing refers to is dropped when the next new one comes. A table is never changed in place, so that
// clones can share it.

// Bounds of kept text, in bytes. The whole event, with its whole names, is in the history by its id.
const (
	maxName     = 32
	maxDeviceID = 64
)

func spotOf(e *events.Event, conflict bool) Spot {
	// Ours comes first; without it the provider's word is better than nothing.
	place := &e.Place
	if !place.Located() && e.ProviderPlace.Located() {
		place = &e.ProviderPlace
	}
	s := Spot{
		Lat: fixed(place.Lat, 90), Lon: fixed(place.Lon, 180), Classes: ClassesOf(e.Network.Classes), Conflict: conflict,
		ASN: e.Network.ASN, City: cut(place.City, maxName), Country: country(place.Country),
	}
	if place.RadiusKm > 0 {
		s.RadiusKm = uint16(math.Ceil(min(place.RadiusKm, math.MaxUint16)))
	}
	if s.City == "" {
		s.Region = cut(place.Region, maxName)
	}
	if s.Country == "" {
		s.Country = country(e.ProviderPlace.Country)
	}
	return s
}

// fixed converts degrees to fixed point; what is no number or out of range is unknown.
func fixed(degrees, limit float64) int32 {
	if math.Abs(degrees) <= limit {
		return int32(math.Round(degrees * 1e4))
	}
	return 0
}

func country(s string) string {
	if len(s) != 2 {
		return ""
	}
	return s
}

func deviceOf(d *events.Device) Device {
	return Device{
		ID: cut(d.ID, maxDeviceID), OS: cut(d.OS, maxName), Browser: cut(d.Browser, maxName),
		Managed: tri(d.Managed), Compliant: tri(d.Compliant),
	}
}

// tri makes any foreign value one of three.
func tri(t events.Tri) events.Tri {
	switch {
	case t > 0:
		return events.Yes
	case t < 0:
		return events.No
	}
	return events.Unknown
}

func (p *Profile) enterSpot(s Spot) uint8 {
	if s == (Spot{}) {
		return 0
	}
	for i := range p.spots {
		if p.spots[i] == s {
			return uint8(i + 1)
		}
	}
	p.spots = sweep(p, p.spots, func(pt *Point) *uint8 { return &pt.Spot })
	for len(p.spots) >= MaxSpots { // visits hold half of the table at most: the rest is sessions
		p.dropSession()
		p.spots = sweep(p, p.spots, func(pt *Point) *uint8 { return &pt.Spot })
	}
	p.spots = append(p.spots, s) // sweep left room of our own
	return uint8(len(p.spots))
}

func (p *Profile) enterDevice(e *events.Device) uint8 {
	d := deviceOf(e)
	if d == (Device{}) {
		return 0
	}
	short := len(e.ID) <= maxDeviceID-utf8.UTFMax // shorter than what is left of any that was cut
	if !short {
		d.Hash = Hash(e.ID)
	}
	for i := range p.devices {
		known := &p.devices[i]
		if short && known.ID == d.ID { // needs no hash to be compared
			d.Hash = known.Hash
		}
		if *known == d {
			return uint8(i + 1)
		}
	}
	if short {
		d.Hash = hashID(d.ID)
	}
	p.devices = sweep(p, p.devices, func(pt *Point) *uint8 { return &pt.Device })
	for len(p.devices) >= MaxDevices {
		p.dropSession()
		p.devices = sweep(p, p.devices, func(pt *Point) *uint8 { return &pt.Device })
	}
	p.devices = append(p.devices, d)
	return uint8(len(p.devices))
}

// sweep copies a table without the entries that no point refers to, with room for one more, and renumbers the points.
func sweep[T any](p *Profile, table []T, index func(*Point) *uint8) []T {
	var renumbered [math.MaxUint8 + 1]uint8
	p.eachPoint(func(pt *Point) { renumbered[*index(pt)] = 1 })
	kept := make([]T, 0, len(table)+1)
	for i := range table {
		if renumbered[i+1] != 0 {
			kept = append(kept, table[i])
			renumbered[i+1] = uint8(len(kept))
		}
	}
	renumbered[0] = 0
	p.eachPoint(func(pt *Point) { *index(pt) = renumbered[*index(pt)] })
	return kept
}

func (p *Profile) eachPoint(do func(*Point)) {
	for i := range p.Visits {
		do(&p.Visits[i].First)
		do(&p.Visits[i].Last)
	}
	for i := range p.Sessions {
		do(&p.Sessions[i].Start)
		do(&p.Sessions[i].Last)
	}
	for i := range p.Suspicions {
		do(&p.Suspicions[i].Point)
	}
}
