package profile

import (
	"math"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// Limits of what is remembered of places beyond the ring of visits.
const (
	MaxClusters    = 20
	MaxTransitions = 8
)

// Cluster is a place where the user is now and then: all observations near one another, as one.
type Cluster struct {
	// Lat and Lon are the weighted mean of what was observed, in 1/10,000 degree; RadiusKm is that of their radii.
	Lat, Lon int32
	RadiusKm uint16
	// Weight is how many observations it holds as of Last, fading with a half-life of 60 days.
	Weight      float32
	First, Last Minutes
	// Unconfirmed is as of a [Term].
	Unconfirmed bool
}

// Degrees are the coordinates of the centre.
func (c *Cluster) Degrees() (lat, lon float64) { return float64(c.Lat) / 1e4, float64(c.Lon) / 1e4 }

// WeightAt is the weight as of a moment, at the most what it is as of Last.
func (c *Cluster) WeightAt(t events.Millis) float64 {
	return float64(float64(c.Weight) * fade(max(0, day(t)-day(c.Last.Millis())))) // never fused with a sum
}

// NearestCluster finds the cluster nearest to a spot, and how far away its centre is; nil when there is none or the spot is
// nowhere. It is good until the next LearnCluster.
func (p *Profile) NearestCluster(s *Spot) (*Cluster, float64) {
	if !s.Located() {
		return nil, 0
	}
	var nearest *Cluster
	best := math.Inf(1)
	lat, lon := s.Degrees()
	for i := range p.Clusters {
		c := &p.Clusters[i]
		clat, clon := c.Degrees()
		if math.Abs(lat-clat)*(EarthKm*math.Pi/180) > best { // no way is shorter than that along the meridian
			continue
		}
		if km := Kilometres(lat, lon, clat, clon); km < best {
			nearest, best = c, km
		}
	}
	if nearest == nil {
		return nil, 0
	}
	return nearest, best
}

// LearnCluster takes a spot with a radius into the cluster nearest to it, if its centre is within some kilometres, and
// else makes it one of its own, with the state given. At the bound the cluster of the least weight goes. The result is good
// until the next LearnCluster; it is nil for a spot that is nowhere.
func (p *Profile) LearnCluster(s *Spot, radiusKm, withinKm float64, at events.Millis, unconfirmed bool) *Cluster {
	if !s.Located() {
		return nil
	}
	radius := min(max(radiusKm, 0), math.MaxUint16)
	if c, km := p.NearestCluster(s); c != nil && km <= withinKm {
		c.take(s, radius, at)
		return c
	}
	if len(p.Clusters) >= MaxClusters {
		least := 0
		for i := range p.Clusters {
			if p.Clusters[i].WeightAt(at) < p.Clusters[least].WeightAt(at) {
				least = i
			}
		}
		p.Clusters = slices.Delete(p.Clusters, least, least+1)
		p.forgot()
	}
	m := MinutesOf(at)
	p.Clusters = append(p.Clusters, Cluster{
		Lat: s.Lat, Lon: s.Lon, RadiusKm: uint16(math.Ceil(radius)), Weight: 1, First: m, Last: m, Unconfirmed: unconfirmed,
	})
	return &p.Clusters[len(p.Clusters)-1]
}

// maxWeight keeps weights far from the limits of their type.
const maxWeight = 1e6

func (c *Cluster) take(s *Spot, radius float64, at events.Millis) {
	m := MinutesOf(at)
	before, worth := max(c.WeightAt(m.Millis()), 0), 1.0
	if m < c.Last { // late: it has faded already
		worth = fade(day(c.Last.Millis()) - day(m.Millis()))
	}
	weight, share := before+worth, 1.0
	if before > 0 {
		share = worth / weight
	}
	const half, whole = 180e4, 360e4
	east := float64(s.Lon - c.Lon) // the shorter way round
	if east > half {
		east -= whole
	} else if east < -half {
		east += whole
	}
	lon := float64(c.Lon) + math.Round(east*share)
	if lon > half {
		lon -= whole
	} else if lon < -half {
		lon += whole
	}
	c.Lat += int32(math.Round(float64(s.Lat-c.Lat) * share))
	c.Lon = int32(lon)
	c.RadiusKm = uint16(math.Round(float64(c.RadiusKm) + float64((radius-float64(c.RadiusKm))*share)))
	c.Weight = float32(min(weight, maxWeight))
	c.First, c.Last = min(c.First, m), max(c.Last, m)
}

// Transition is the way between two places, in either direction, that the user proved to be theirs.
type Transition struct {
	// A and B are the cells of the places, A the lesser.
	A, B uint32
	// Count is how often it was passed with a step-up, up to 255.
	Count uint8
	Last  Minutes
}

// CellOf is the square of one degree that a spot is in; 0 is nowhere.
func CellOf(s *Spot) uint32 {
	if !s.Located() {
		return 0
	}
	const degree = 1e4
	return uint32((s.Lat+90*degree)/degree)*361 + uint32((s.Lon+180*degree)/degree) + 1
}

// Transition finds the way between two places, or nil. It is good until the next PassTransition.
func (p *Profile) Transition(a, b *Spot) *Transition {
	from, to := cells(a, b)
	for i := range p.Transitions {
		if t := &p.Transitions[i]; t.A == from && t.B == to {
			return t
		}
	}
	return nil
}

// PassTransition notes that the user proved the way between two places. At the bound the one least recently passed goes.
// Nowhere, and a way within one cell, is none.
func (p *Profile) PassTransition(a, b *Spot, at events.Millis) {
	from, to := cells(a, b)
	if from == 0 || from == to {
		return
	}
	m := MinutesOf(at)
	if t := p.Transition(a, b); t != nil {
		t.Count = uint8(min(int(t.Count)+1, math.MaxUint8))
		t.Last = max(t.Last, m)
		return
	}
	if len(p.Transitions) >= MaxTransitions {
		oldest := 0
		for i := range p.Transitions {
			if p.Transitions[i].Last < p.Transitions[oldest].Last {
				oldest = i
			}
		}
		p.Transitions = slices.Delete(p.Transitions, oldest, oldest+1)
		p.forgot()
	}
	p.Transitions = append(p.Transitions, Transition{A: from, B: to, Count: 1, Last: m})
}

func cells(a, b *Spot) (uint32, uint32) {
	from, to := CellOf(a), CellOf(b)
	return min(from, to), max(from, to)
}
