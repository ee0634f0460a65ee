package anomaly

import (
	"bytes"
	"math"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// kmPerDegree is the length of a degree of a great circle.
const kmPerDegree = profile.EarthKm * math.Pi / 180

func distance(a, b *profile.Spot) float64 {
	lat1, lon1 := a.Degrees()
	lat2, lon2 := b.Degrees()
	return profile.Kilometres(lat1, lon1, lat2, lon2)
}

// near tells, without trigonometry, that two places are certainly less than km apart: no way is shorter than the great
// circle, the one along the meridian and then along the equatorial measure of the parallel included.
func near(a, b *profile.Spot, km float64) bool {
	lat, lon := math.Abs(float64(a.Lat-b.Lat)), math.Abs(float64(a.Lon-b.Lon))
	return (lat+lon)/1e4*kmPerDegree < km
}

// radius is how far off a spot may be, in kilometres, or false for a place that is not known.
func (c *Catalogue) radius(s *profile.Spot) (float64, bool) {
	km, ok := c.databaseRadius(float64(s.RadiusKm), s.City, s.Region)
	if s.Classes.Any(profile.Mobile) {
		km = max(km, c.config.Place.MobileRadiusKm)
	}
	return km, ok && s.Located() && km < c.config.Place.UnknownRadiusKm
}

// databaseRadius is the radius that a database gives, or one for the precision of the name. A country alone is false: its
// middle is not a place.
func (c *Catalogue) databaseRadius(km float64, city, region string) (float64, bool) {
	switch {
	case km > 0:
		return km, true
	case city != "":
		return c.config.Place.CityRadiusKm, true
	case region != "":
		return c.config.Place.RegionRadiusKm, true
	}
	return 0, false
}

// fixedLine tells a spot that the database itself calls precise and that is of no other class.
func (c *Catalogue) fixedLine(s *profile.Spot) bool {
	return s.Classes&^profile.Threat == 0 && s.RadiusKm > 0 && float64(s.RadiusKm) <= c.config.Place.FixedLineRadiusKm
}

// leg is the way from one observation to a later one.
type leg struct {
	from, to             *profile.Point
	fromSpot, toSpot     *profile.Spot
	radiusFrom, radiusTo float64
	km, effectiveKm, kmh float64
	gap                  events.Millis
	medium, high         bool // far enough and fast enough
}

// anonymous classes hide where the user is; such a visit cannot be the earlier end of a journey.
const anonymous = profile.VPN | profile.Relay | profile.Tor | profile.Satellite | profile.Hosting

// hidden classes hide it so that a journey is recorded only.
const hidden = profile.VPN | profile.Relay | profile.Tor | profile.Satellite

// leg measures the way between two observations, in event order. It is false when a place is unknown or the two are
// surely too near each other to matter.
func (o *observation) leg(a, b *profile.Point) (leg, bool) {
	if later(a, b) {
		a, b = b, a
	}
	l := leg{from: a, to: b, fromSpot: o.p.Spot(a), toSpot: o.p.Spot(b), gap: b.Time - a.Time}
	t := &o.c.config.Travel
	if near(l.fromSpot, l.toSpot, min(t.MinKm, t.MinFixedLineKm)) {
		return l, false
	}
	var ok1, ok2 bool
	l.radiusFrom, ok1 = o.c.radius(l.fromSpot)
	l.radiusTo, ok2 = o.c.radius(l.toSpot)
	if !ok1 || !ok2 {
		return l, false
	}
	l.km = distance(l.fromSpot, l.toSpot)
	l.effectiveKm = max(0, l.km-l.radiusFrom-l.radiusTo)
	l.kmh = l.effectiveKm / (float64(max(l.gap, events.Minute)) / events.Hour)
	least := t.MinKm
	if o.c.fixedLine(l.fromSpot) && o.c.fixedLine(l.toSpot) {
		least = t.MinFixedLineKm
	}
	l.medium = l.effectiveKm >= least && l.kmh >= t.MediumKmh
	l.high = l.medium && l.kmh > t.HighKmh
	return l, true
}

// later orders observations by time, those of one moment by id, so that the order of arrival does not matter.
func later(a, b *profile.Point) bool {
	if a.Time != b.Time {
		return a.Time > b.Time
	}
	return bytes.Compare(a.Event[:], b.Event[:]) > 0
}

// impossible tells whether the way is one that LOC-01 and SES-02 are about: too fast, within the window, from a place
// that is known, and not within one network prefix.
func (o *observation) impossible(a, b *profile.Point) (leg, bool) {
	l, ok := o.leg(a, b)
	ok = ok && l.medium && l.gap <= o.c.window && !l.fromSpot.Classes.Any(anonymous) && !a.IP.SamePrefix(b.IP)
	return l, ok
}

func (l *leg) severity() events.Severity {
	if l.high {
		return events.High
	}
	return events.Medium
}

// travel shows the way as evidence, rounded so that it reads well and is the same on every processor.
func (o *observation) travel(l *leg) events.Travel {
	return events.Travel{
		From: o.sight(l.from), To: o.sight(l.to), DistanceKm: tenth(l.km), RadiusFrom: tenth(l.radiusFrom), RadiusTo: tenth(l.radiusTo),
		EffectiveKm: tenth(l.effectiveKm), GapSeconds: float64(l.gap) / events.Second, SpeedKmh: tenth(l.kmh),
	}
}

func tenth(v float64) float64 { return math.Round(v*10) / 10 }

// conflict tells whether the provider's place and ours contradict each other.
func (c *Catalogue) conflict(e *events.Event) bool {
	if !e.Place.Located() || !e.ProviderPlace.Located() {
		return false
	}
	r1, ok1 := c.databaseRadius(e.Place.RadiusKm, e.Place.City, e.Place.Region)
	r2, ok2 := c.databaseRadius(e.ProviderPlace.RadiusKm, e.ProviderPlace.City, e.ProviderPlace.Region)
	d := profile.Kilometres(e.Place.Lat, e.Place.Lon, e.ProviderPlace.Lat, e.ProviderPlace.Lon)
	return ok1 && ok2 && d > r1+r2+c.config.Place.ConflictKm
}
