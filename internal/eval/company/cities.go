package company

import (
	"math"
	"slices"
)

// city is a place where people live. Offset is the zone's standard time in minutes east of UTC; the company does not
// observe summer time.
type city struct {
	name    string
	region  string
	country string
	lat     float64
	lon     float64
	offset  int
	// weight is how many employees live here, in proportion; office tells that the company has one here.
	weight int
	office bool
}

var cities = [...]city{
	{"Utrecht", "Utrecht", "NL", 52.0907, 5.1214, 60, 30, true},
	{"Rotterdam", "South Holland", "NL", 51.9244, 4.4777, 60, 12, false},
	{"Groningen", "Groningen", "NL", 53.2194, 6.5665, 60, 6, false},
	{"London", "England", "GB", 51.5074, -0.1278, 0, 30, true},
	{"Manchester", "England", "GB", 53.4808, -2.2426, 0, 10, false},
	{"Edinburgh", "Scotland", "GB", 55.9533, -3.1883, 0, 6, false},
	{"Berlin", "Berlin", "DE", 52.5200, 13.4050, 60, 22, true},
	{"Munich", "Bavaria", "DE", 48.1351, 11.5820, 60, 12, false},
	{"Hamburg", "Hamburg", "DE", 53.5511, 9.9937, 60, 8, false},
	{"Paris", "Ile-de-France", "FR", 48.8566, 2.3522, 60, 20, true},
	{"Lyon", "Auvergne-Rhone-Alpes", "FR", 45.7640, 4.8357, 60, 6, false},
	{"Madrid", "Madrid", "ES", 40.4168, -3.7038, 60, 10, true},
	{"Barcelona", "Catalonia", "ES", 41.3874, 2.1686, 60, 8, false},
	{"Milan", "Lombardy", "IT", 45.4642, 9.1900, 60, 8, false},
	{"Rome", "Lazio", "IT", 41.9028, 12.4964, 60, 5, false},
	{"Lisbon", "Lisbon", "PT", 38.7223, -9.1393, 0, 5, false},
	{"Dublin", "Leinster", "IE", 53.3498, -6.2603, 0, 6, false},
	{"Brussels", "Brussels", "BE", 50.8503, 4.3517, 60, 6, false},
	{"Zurich", "Zurich", "CH", 47.3769, 8.5417, 60, 5, false},
	{"Vienna", "Vienna", "AT", 48.2082, 16.3738, 60, 5, false},
	{"Prague", "Prague", "CZ", 50.0755, 14.4378, 60, 6, false},
	{"Warsaw", "Mazovia", "PL", 52.2297, 21.0122, 60, 12, true},
	{"Krakow", "Lesser Poland", "PL", 50.0647, 19.9450, 60, 6, false},
	{"Stockholm", "Stockholm", "SE", 59.3293, 18.0686, 60, 6, false},
	{"Copenhagen", "Capital Region", "DK", 55.6761, 12.5683, 60, 4, false},
	{"Oslo", "Oslo", "NO", 59.9139, 10.7522, 60, 3, false},
	{"Helsinki", "Uusimaa", "FI", 60.1699, 24.9384, 120, 3, false},
	{"Bucharest", "Bucharest", "RO", 44.4268, 26.1025, 120, 5, false},
	{"Athens", "Attica", "GR", 37.9838, 23.7275, 120, 2, false},
	{"Istanbul", "Istanbul", "TR", 41.0082, 28.9784, 180, 4, false},
	{"Kyiv", "Kyiv", "UA", 50.4501, 30.5234, 120, 3, false},
	{"New York", "New York", "US", 40.7128, -74.0060, -300, 30, true},
	{"Boston", "Massachusetts", "US", 42.3601, -71.0589, -300, 8, false},
	{"Chicago", "Illinois", "US", 41.8781, -87.6298, -360, 12, false},
	{"Austin", "Texas", "US", 30.2672, -97.7431, -360, 10, true},
	{"Denver", "Colorado", "US", 39.7392, -104.9903, -420, 6, false},
	{"San Francisco", "California", "US", 37.7749, -122.4194, -480, 20, true},
	{"Los Angeles", "California", "US", 34.0522, -118.2437, -480, 8, false},
	{"Seattle", "Washington", "US", 47.6062, -122.3321, -480, 8, false},
	{"Toronto", "Ontario", "CA", 43.6532, -79.3832, -300, 10, true},
	{"Vancouver", "British Columbia", "CA", 49.2827, -123.1207, -480, 4, false},
	{"Mexico City", "Mexico City", "MX", 19.4326, -99.1332, -360, 5, false},
	{"Bogota", "Bogota", "CO", 4.7110, -74.0721, -300, 3, false},
	{"Sao Paulo", "Sao Paulo", "BR", -23.5505, -46.6333, -180, 8, true},
	{"Rio de Janeiro", "Rio de Janeiro", "BR", -22.9068, -43.1729, -180, 3, false},
	{"Buenos Aires", "Buenos Aires", "AR", -34.6037, -58.3816, -180, 4, false},
	{"Santiago", "Santiago", "CL", -33.4489, -70.6693, -240, 2, false},
	{"Cape Town", "Western Cape", "ZA", -33.9249, 18.4241, 120, 3, false},
	{"Nairobi", "Nairobi", "KE", -1.2921, 36.8219, 180, 2, false},
	{"Lagos", "Lagos", "NG", 6.5244, 3.3792, 60, 3, false},
	{"Cairo", "Cairo", "EG", 30.0444, 31.2357, 120, 2, false},
	{"Tel Aviv", "Tel Aviv", "IL", 32.0853, 34.7818, 120, 4, false},
	{"Dubai", "Dubai", "AE", 25.2048, 55.2708, 240, 3, false},
	{"Bangalore", "Karnataka", "IN", 12.9716, 77.5946, 330, 25, true},
	{"Mumbai", "Maharashtra", "IN", 19.0760, 72.8777, 330, 10, false},
	{"Delhi", "Delhi", "IN", 28.6139, 77.2090, 330, 8, false},
	{"Singapore", "Singapore", "SG", 1.3521, 103.8198, 480, 10, true},
	{"Bangkok", "Bangkok", "TH", 13.7563, 100.5018, 420, 2, false},
	{"Manila", "Metro Manila", "PH", 14.5995, 120.9842, 480, 5, false},
	{"Hong Kong", "Hong Kong", "HK", 22.3193, 114.1694, 480, 4, false},
	{"Seoul", "Seoul", "KR", 37.5665, 126.9780, 540, 5, false},
	{"Tokyo", "Tokyo", "JP", 35.6762, 139.6503, 540, 12, true},
	{"Osaka", "Osaka", "JP", 34.6937, 135.5023, 540, 4, false},
	{"Sydney", "New South Wales", "AU", -33.8688, 151.2093, 600, 8, true},
	{"Melbourne", "Victoria", "AU", -37.8136, 144.9631, 600, 5, false},
	{"Auckland", "Auckland", "NZ", -36.8509, 174.7645, 720, 2, false},
}

// far is the length of every way between two cities, in kilometres.
var far = func() (table [len(cities)][len(cities)]float64) {
	for i := range cities {
		for j := range cities {
			table[i][j] = haversine(cities[i].lat, cities[i].lon, cities[j].lat, cities[j].lon)
		}
	}
	return table
}()

// haversine is the great-circle distance of two points in kilometres.
func haversine(lat1, lon1, lat2, lon2 float64) float64 {
	const radius, degree = 6371.0088, math.Pi / 180
	sinLat, sinLon := math.Sin((lat2-lat1)*degree/2), math.Sin((lon2-lon1)*degree/2)
	h := sinLat*sinLat + math.Cos(lat1*degree)*math.Cos(lat2*degree)*sinLon*sinLon
	return 2 * radius * math.Asin(min(1, math.Sqrt(h)))
}

// countryOf numbers the countries in the order of the cities, and nations is the way back.
var countryOf, nations = func() (numbers [len(cities)]uint8, names []string) {
	known := map[string]uint8{}
	for i := range cities {
		name := cities[i].country
		if _, ok := known[name]; !ok {
			known[name] = uint8(len(names))
			names = append(names, name)
		}
		numbers[i] = known[name]
	}
	return numbers, names
}()

// ordinal numbers the cities of each country.
var ordinal = func() (table [len(cities)]uint32) {
	count := make([]uint32, len(nations))
	for i := range cities {
		table[i] = count[countryOf[i]]
		count[countryOf[i]]++
	}
	return table
}()

// townsOf are the cities of a country, the largest first; hubs are those where its mobile carriers meet the internet: up to
// four, as far apart as can be.
var townsOf, hubs = func() (towns, cores [][]uint8) {
	towns, cores = make([][]uint8, len(nations)), make([][]uint8, len(nations))
	for i := range cities {
		n := countryOf[i]
		towns[n] = append(towns[n], uint8(i))
	}
	for n, list := range towns {
		slices.SortStableFunc(list, func(a, b uint8) int { return cities[b].weight - cities[a].weight })
		cores[n] = list[:1:1]
		for len(cores[n]) < 4 {
			farthest, distance := uint8(0), 200.0
			for _, town := range list {
				nearest := math.Inf(1)
				for _, core := range cores[n] {
					nearest = min(nearest, far[town][core])
				}
				if nearest > distance {
					farthest, distance = town, nearest
				}
			}
			if distance == 200 {
				break
			}
			cores[n] = append(cores[n], farthest)
		}
	}
	return towns, cores
}()

var cityWeights = func() (weights []int) {
	for _, c := range cities {
		weights = append(weights, c.weight)
	}
	return weights
}()

// gateways are the cities where the company's VPN meets the internet, and where it rents data centres.
var gateways = [...]uint8{cityNamed("Utrecht"), cityNamed("New York"), cityNamed("Singapore")}

func cityNamed(name string) uint8 {
	for i, c := range cities {
		if c.name == name {
			return uint8(i)
		}
	}
	panic("company: no city " + name)
}

// gateway is the nearest one.
func gateway(from uint8) uint8 {
	best := gateways[0]
	for _, g := range gateways {
		if far[from][g] < far[from][best] {
			best = g
		}
	}
	return best
}
