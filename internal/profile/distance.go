package profile

import "math"

// EarthKm is the mean radius of the earth (IUGG).
const EarthKm = 6371.0088

// Kilometres is the great-circle distance between two places in degrees, by the haversine formula.
func Kilometres(lat1, lon1, lat2, lon2 float64) float64 {
	const rad = math.Pi / 180
	sinLat := math.Sin((lat2 - lat1) * rad / 2)
	sinLon := math.Sin((lon2 - lon1) * rad / 2)
	// The conversions forbid fused operations, so that every processor gets the same number.
	h := float64(sinLat*sinLat) + float64(float64(math.Cos(lat1*rad)*math.Cos(lat2*rad))*float64(sinLon*sinLon))
	return float64(2 * EarthKm * math.Asin(math.Sqrt(min(h, 1))))
}
