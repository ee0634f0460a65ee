package peers

import (
	"math"

	"github.com/countersign-io/countersign/internal/events"
)

// earthKm is the mean radius of the earth (IUGG).
const earthKm = 6371.0088

// spot is where and when somebody was.
type spot struct {
	lat, lon                 float64
	country, city, event, ip string
	at                       events.Millis
	located, seen            bool
}

func spotOf(e *events.Event) spot {
	return spot{
		lat: e.Place.Lat, lon: e.Place.Lon, country: e.Place.Country, city: e.Place.City, event: e.ID, ip: e.IP, at: e.Time,
		located: e.Place.Located(), seen: true,
	}
}

// distance is the great-circle distance of two spots in kilometres. The peers use an ellipsoid or a sphere; they differ by half
// a percent at most.
func distance(a, b *spot) float64 {
	const rad = math.Pi / 180
	sinLat, sinLon := math.Sin((b.lat-a.lat)*rad/2), math.Sin((b.lon-a.lon)*rad/2)
	h := float64(sinLat*sinLat) + float64(float64(math.Cos(a.lat*rad)*math.Cos(b.lat*rad))*float64(sinLon*sinLon))
	return 2 * earthKm * math.Asin(math.Sqrt(min(h, 1)))
}

// hours between two moments.
func hours(from, to events.Millis) float64 { return float64(to-from) / events.Hour }

// placeName is the place of an event, "" when nothing is known of it.
func placeName(e *events.Event) string {
	if e.Place.Country == "" {
		return ""
	}
	here := spotOf(e)
	return here.name()
}

// name of a place for people.
func (s *spot) name() string {
	switch {
	case s.city != "" && s.country != "":
		return s.city + " " + s.country
	case s.country != "":
		return s.country
	default:
		return "an unknown place"
	}
}
