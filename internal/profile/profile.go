// Package profile is what countersign remembers of one user: where and when they were last seen, with which devices and
// sessions, what has been seen of them before, and which events are already known.
//
// A profile is bounded in every part, whatever its user sends, and encodes to well under 1.5 KB for a normal life. It
// remembers; it judges nothing: which observations belong together is for internal/anomaly to say. All times are the
// events' own. A Profile is not safe for concurrent use.
package profile

import (
	"math"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

// Limits of a profile; those of its rings are beside them.
const (
	MaxVisits   = 8
	MaxSessions = 32
	MaxTerms    = 80
	MaxRecent   = 16
	MaxSpots    = 32
	MaxDevices  = 32
)

// Horizon is how far before the newest event a visit is remembered: events may be up to 24 hours late, and are compared
// with visits up to 24 hours before them.
const Horizon events.Millis = 48 * events.Hour

// Profile is one user's memory. Fields are for reading; the methods keep the bounds.
type Profile struct {
	// FirstSeen and LastSeen are the event times of the oldest and the newest success; FirstSeen starts anew when learning
	// does.
	FirstSeen, LastSeen events.Millis
	// Successes counts successes since FirstSeen.
	Successes uint32
	// LastAdverse is when an active finding of medium severity or more last fell, other than one of an attempt that failed and one
	// that only repeats that a term is still new, or when something new came too late to be tested.
	LastAdverse events.Millis
	// Late counts events that came too late to be tested; Forgotten counts terms, sessions, clusters and transitions dropped for
	// want of room.
	Late, Forgotten uint32

	Visits   []Visit   // by First.Time, oldest first
	Sessions []Session // in no particular order
	Terms    []Term    // in the order they were learnt

	// Rings, by event time, oldest first; never changed in place.
	Failures []Attempt // failed first factors, and blocks
	Pushes   []Attempt // prompts: refused, not answered, or approved
	Codes    []Attempt // wrong one-time codes
	Attacked []Attacked
	Raised   []Raised
	Changes  []Change
	// Suspicions are a ring too.
	Suspicions []Suspicion

	Clusters    []Cluster    // in the order they were learnt
	Transitions []Transition // in the order they were first passed
	// Hours are interactive successes by the hour of the week since FirstSeen.
	Hours Hours
	Risk  Risk
	Marks Marks
	// Familiar counts what the familiarity score rests on.
	Familiar familiarity.Counts

	spots   []Spot
	devices []Device
	recent  [MaxRecent]uint64 // newest last
	recents int
}

// Visit is a stay at one place through one network: its first and last observation. They are equal when there was one.
type Visit struct {
	First, Last Point
}

// Near is the end of the visit that is nearer in time to t.
func (v *Visit) Near(t events.Millis) *Point {
	if t-v.First.Time < v.Last.Time-t {
		return &v.First
	}
	return &v.Last
}

// Point is one observation. Spot and Device refer to the profile's tables: see [Profile.Spot] and [Profile.Device].
type Point struct {
	Time   events.Millis
	Event  ID
	IP     Address
	Spot   uint8
	Device uint8
}

// Spot is what an address told: its place and its network.
type Spot struct {
	// Lat and Lon are in 1/10,000 degree, some 11 m; both 0 means unknown.
	Lat, Lon int32
	// RadiusKm is the accuracy radius that the database gave, rounded up; 0 means none.
	RadiusKm uint16
	Classes  Classes
	// Conflict is set when our place and the provider's contradict each other.
	Conflict bool
	ASN      uint32
	City     string
	// Region is kept only when there is no city.
	Region  string
	Country string
}

// Located tells whether the spot has coordinates.
func (s *Spot) Located() bool { return s.Lat != 0 || s.Lon != 0 }

// Degrees are the coordinates.
func (s *Spot) Degrees() (lat, lon float64) { return float64(s.Lat) / 1e4, float64(s.Lon) / 1e4 }

// Device is what is kept of a device. Hash stands for the whole ID, of which a long one is cut; 0 means no id.
type Device struct {
	Hash               uint64
	ID, OS, Browser    string
	Managed, Compliant events.Tri
}

// New is the profile of a user nobody has seen.
func New() *Profile { return &Profile{} }

// Clone is a copy that shares nothing that changes in place.
func (p *Profile) Clone() *Profile {
	c := *p
	c.Visits = slices.Clone(p.Visits)
	c.Sessions = slices.Clone(p.Sessions)
	c.Terms = slices.Clone(p.Terms)
	c.Suspicions = slices.Clone(p.Suspicions)
	c.Clusters = slices.Clone(p.Clusters)
	c.Transitions = slices.Clone(p.Transitions)
	c.Familiar = p.Familiar.Clone()
	c.spots, c.devices = slices.Clip(p.spots), slices.Clip(p.devices) // never changed in place
	return &c
}

// Remember notes an event's id. It is false when the id is among the last [MaxRecent].
func (p *Profile) Remember(id ID) bool {
	key := id.short()
	if slices.Contains(p.recent[:p.recents], key) {
		return false
	}
	if p.recents == MaxRecent {
		copy(p.recent[:], p.recent[1:])
		p.recents--
	}
	p.recent[p.recents] = key
	p.recents++
	return true
}

// Count takes a success into the learning counters. A user silent for longer than inactive starts to learn anew.
func (p *Profile) Count(t, inactive events.Millis) {
	if p.Successes == 0 || t-p.LastSeen > inactive {
		p.FirstSeen, p.LastSeen, p.Successes, p.Hours = t, t, 0, Hours{}
	}
	p.FirstSeen, p.LastSeen = min(p.FirstSeen, t), max(p.LastSeen, t)
	if p.Successes < math.MaxUint32 {
		p.Successes++
	}
}

// Observe makes a point of an event and enters its spot and device into the tables. Conflict goes into the spot. The
// point is good until the next Observe, unless it is kept in a visit or a session.
func (p *Profile) Observe(e *events.Event, id ID, conflict bool) Point {
	return Point{
		Time: e.Time, Event: id, IP: AddressOf(e.IP), Spot: p.enterSpot(spotOf(e, conflict)), Device: p.enterDevice(&e.Device),
	}
}

// Spot is the spot of a point.
func (p *Profile) Spot(pt *Point) *Spot {
	if pt.Spot == 0 || int(pt.Spot) > len(p.spots) {
		return new(Spot)
	}
	return &p.spots[pt.Spot-1]
}

// Device is the device of a point.
func (p *Profile) Device(pt *Point) *Device {
	if pt.Device == 0 || int(pt.Device) > len(p.devices) {
		return new(Device)
	}
	return &p.devices[pt.Device-1]
}

// Sight shows a point as evidence.
func (p *Profile) Sight(pt *Point) events.Sight {
	spot, device := p.Spot(pt), p.Device(pt)
	lat, lon := spot.Degrees()
	return events.Sight{
		EventID: pt.Event.String(), Time: pt.Time, IP: pt.IP.String(),
		Network: events.Network{Prefix: pt.IP.Prefix(), ASN: spot.ASN, Classes: spot.Classes.List()},
		Place: events.Place{
			Lat: lat, Lon: lon, RadiusKm: float64(spot.RadiusKm), City: spot.City, Region: spot.Region, Country: spot.Country,
		},
		Device: events.Device{
			ID: device.ID, OS: device.OS, Browser: device.Browser, Managed: device.Managed, Compliant: device.Compliant,
		},
	}
}

// AddVisit inserts a visit of one observation at its place in time, forgetting visits beyond the [Horizon]. A full ring
// drops the visit that ended first; an observation older than that one is not inserted.
func (p *Profile) AddVisit(pt Point) {
	p.Visits = slices.DeleteFunc(p.Visits, func(v Visit) bool { return v.Last.Time < p.LastSeen-Horizon })
	if len(p.Visits) == MaxVisits {
		oldest := 0
		for i := range p.Visits {
			if p.Visits[i].Last.Time < p.Visits[oldest].Last.Time {
				oldest = i
			}
		}
		if pt.Time <= p.Visits[oldest].Last.Time {
			return
		}
		p.Visits = slices.Delete(p.Visits, oldest, oldest+1)
	}
	i := 0
	for i < len(p.Visits) && p.Visits[i].First.Time <= pt.Time {
		i++
	}
	p.Visits = slices.Insert(p.Visits, i, Visit{First: pt, Last: pt})
}

func (p *Profile) forgot() {
	if p.Forgotten < math.MaxUint32 {
		p.Forgotten++
	}
}
