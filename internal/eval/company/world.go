package company

import (
	"math"
	"net/netip"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
)

// city is a place where people live. Offset is the zone's standard time in minutes east of UTC; the company does not
// observe summer time.
type city struct {
	name    string
	country string
	lat     float64
	lon     float64
	offset  int
	// weight is how many employees live here, in proportion; office tells that the company has one here.
	weight int
	office bool
}

var cities = [...]city{
	{"Utrecht", "NL", 52.0907, 5.1214, 60, 30, true},
	{"Rotterdam", "NL", 51.9244, 4.4777, 60, 12, false},
	{"Groningen", "NL", 53.2194, 6.5665, 60, 6, false},
	{"London", "GB", 51.5074, -0.1278, 0, 30, true},
	{"Manchester", "GB", 53.4808, -2.2426, 0, 10, false},
	{"Edinburgh", "GB", 55.9533, -3.1883, 0, 6, false},
	{"Berlin", "DE", 52.5200, 13.4050, 60, 22, true},
	{"Munich", "DE", 48.1351, 11.5820, 60, 12, false},
	{"Hamburg", "DE", 53.5511, 9.9937, 60, 8, false},
	{"Paris", "FR", 48.8566, 2.3522, 60, 20, true},
	{"Lyon", "FR", 45.7640, 4.8357, 60, 6, false},
	{"Madrid", "ES", 40.4168, -3.7038, 60, 10, true},
	{"Barcelona", "ES", 41.3874, 2.1686, 60, 8, false},
	{"Milan", "IT", 45.4642, 9.1900, 60, 8, false},
	{"Rome", "IT", 41.9028, 12.4964, 60, 5, false},
	{"Lisbon", "PT", 38.7223, -9.1393, 0, 5, false},
	{"Dublin", "IE", 53.3498, -6.2603, 0, 6, false},
	{"Brussels", "BE", 50.8503, 4.3517, 60, 6, false},
	{"Zurich", "CH", 47.3769, 8.5417, 60, 5, false},
	{"Vienna", "AT", 48.2082, 16.3738, 60, 5, false},
	{"Prague", "CZ", 50.0755, 14.4378, 60, 6, false},
	{"Warsaw", "PL", 52.2297, 21.0122, 60, 12, true},
	{"Krakow", "PL", 50.0647, 19.9450, 60, 6, false},
	{"Stockholm", "SE", 59.3293, 18.0686, 60, 6, false},
	{"Copenhagen", "DK", 55.6761, 12.5683, 60, 4, false},
	{"Oslo", "NO", 59.9139, 10.7522, 60, 3, false},
	{"Helsinki", "FI", 60.1699, 24.9384, 120, 3, false},
	{"Bucharest", "RO", 44.4268, 26.1025, 120, 5, false},
	{"Athens", "GR", 37.9838, 23.7275, 120, 2, false},
	{"Istanbul", "TR", 41.0082, 28.9784, 180, 4, false},
	{"Kyiv", "UA", 50.4501, 30.5234, 120, 3, false},
	{"New York", "US", 40.7128, -74.0060, -300, 30, true},
	{"Boston", "US", 42.3601, -71.0589, -300, 8, false},
	{"Chicago", "US", 41.8781, -87.6298, -360, 12, false},
	{"Austin", "US", 30.2672, -97.7431, -360, 10, true},
	{"Denver", "US", 39.7392, -104.9903, -420, 6, false},
	{"San Francisco", "US", 37.7749, -122.4194, -480, 20, true},
	{"Los Angeles", "US", 34.0522, -118.2437, -480, 8, false},
	{"Seattle", "US", 47.6062, -122.3321, -480, 8, false},
	{"Toronto", "CA", 43.6532, -79.3832, -300, 10, true},
	{"Vancouver", "CA", 49.2827, -123.1207, -480, 4, false},
	{"Mexico City", "MX", 19.4326, -99.1332, -360, 5, false},
	{"Bogota", "CO", 4.7110, -74.0721, -300, 3, false},
	{"Sao Paulo", "BR", -23.5505, -46.6333, -180, 8, true},
	{"Rio de Janeiro", "BR", -22.9068, -43.1729, -180, 3, false},
	{"Buenos Aires", "AR", -34.6037, -58.3816, -180, 4, false},
	{"Santiago", "CL", -33.4489, -70.6693, -240, 2, false},
	{"Cape Town", "ZA", -33.9249, 18.4241, 120, 3, false},
	{"Nairobi", "KE", -1.2921, 36.8219, 180, 2, false},
	{"Lagos", "NG", 6.5244, 3.3792, 60, 3, false},
	{"Cairo", "EG", 30.0444, 31.2357, 120, 2, false},
	{"Tel Aviv", "IL", 32.0853, 34.7818, 120, 4, false},
	{"Dubai", "AE", 25.2048, 55.2708, 240, 3, false},
	{"Bangalore", "IN", 12.9716, 77.5946, 330, 25, true},
	{"Mumbai", "IN", 19.0760, 72.8777, 330, 10, false},
	{"Delhi", "IN", 28.6139, 77.2090, 330, 8, false},
	{"Singapore", "SG", 1.3521, 103.8198, 480, 10, true},
	{"Bangkok", "TH", 13.7563, 100.5018, 420, 2, false},
	{"Manila", "PH", 14.5995, 120.9842, 480, 5, false},
	{"Hong Kong", "HK", 22.3193, 114.1694, 480, 4, false},
	{"Seoul", "KR", 37.5665, 126.9780, 540, 5, false},
	{"Tokyo", "JP", 35.6762, 139.6503, 540, 12, true},
	{"Osaka", "JP", 34.6937, 135.5023, 540, 4, false},
	{"Sydney", "AU", -33.8688, 151.2093, 600, 8, true},
	{"Melbourne", "AU", -37.8136, 144.9631, 600, 5, false},
	{"Auckland", "NZ", -36.8509, 174.7645, 720, 2, false},
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

// countries numbers the countries in the order of the cities; hubs are the first three cities of each, where its mobile
// carriers meet the internet.
var countries, hubs = func() (map[string]int, map[string][]uint8) {
	numbers, cores := map[string]int{}, map[string][]uint8{}
	for i, c := range cities {
		if _, known := numbers[c.country]; !known {
			numbers[c.country] = len(numbers)
		}
		if len(cores[c.country]) < 3 {
			cores[c.country] = append(cores[c.country], uint8(i))
		}
	}
	return numbers, cores
}()

var cityWeights = func() (weights []int) {
	for _, c := range cities {
		weights = append(weights, c.weight)
	}
	return weights
}()

// gateways are the cities where the company's VPN meets the internet.
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

// The network numbers: ten for each country, and some for what is no carrier.
const (
	firstCarrier = 4_200_000_000
	companyASN   = 4_200_900_001
	vpnASN       = 4_200_900_002
	relayASN     = 4_200_900_003
	firstRogue   = 64496 // the sixteen numbers that are for documentation
)

// Networks have no list and no database: the simulator says itself what they are.
const database = "simulator"

// network is an address with all that is known of it.
type network struct {
	ip  netip.Addr
	net events.Network
	at  events.Place
}

// v4 makes the address base+offset.
func v4(base [4]byte, offset uint32) netip.Addr {
	n := uint32(base[0])<<24 | uint32(base[1])<<16 | uint32(base[2])<<8 | uint32(base[3])
	n += offset
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// prefixText is the /24 or /48 around an address.
func prefixText(a netip.Addr) string {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// placeIn is a point in a city, north and east of its centre by kilometres.
func placeIn(c uint8, north, east, radius float64) events.Place {
	town := &cities[c]
	const perDegree = 111.2
	return events.Place{
		Lat:      round(town.lat + north/perDegree),
		Lon:      round(town.lon + east/perDegree/math.Cos(town.lat*math.Pi/180)),
		RadiusKm: radius, City: town.name, Country: town.country, Database: database,
	}
}

// round keeps four decimals, eleven metres: more would only differ between processors.
func round(degrees float64) float64 { return math.Round(degrees*1e4) / 1e4 }

// fixedLine is the address of a household: four carriers in a country, about a thousand homes behind a /24 in the largest
// company. Some homes have IPv6 too.
func fixedLine(c uint8, household uint32, six bool) network {
	country := countries[cities[c].country]
	h := uint32(mix(uint64(household)*2 + 1))
	carrier := h % 4
	n := network{net: events.Network{
		ASN: firstCarrier + uint32(country)*10 + carrier, Org: carrierNames[country][carrier],
	}}
	if six {
		n.ip = netip.AddrFrom16([16]byte{
			0x20, 0x01, 0x0d, 0xb8, byte(country), byte(h >> 8), byte(h >> 16), byte(h >> 24), 15: byte(1 + h%250),
		})
	} else {
		// 100.64.0.0 and on: 256 /24s for each country, 64 for each carrier in it.
		n.ip = v4([4]byte{100, 64, 0, 0}, uint32(country)<<16|(carrier<<6|h>>8&63)<<8|(1+h>>16%254))
	}
	n.at = placeIn(c, spread(h, 3), spread(h, 17), 20)
	return n
}

// spread is a fixed displacement of up to ten kilometres.
func spread(h uint32, shift uint) float64 { return float64(h>>shift%2001)/100 - 10 }

// hotel is a network of the town for people who are there for some days.
func hotel(c uint8, guest uint32) network {
	country := uint32(countries[cities[c].country])
	h := uint32(mix(uint64(guest)*2 + uint64(c)<<40))
	return network{
		ip: v4([4]byte{100, 124, 0, 0}, country<<12|(h&15)<<8|(1+h>>8%254)),
		net: events.Network{
			ASN: firstCarrier + country*10 + 7, Org: carrierNames[country][7],
		},
		at: placeIn(c, spread(uint32(c)+h&15, 3), spread(uint32(c)*7+h&15, 5), 25),
	}
}

// mobile is the carrier's hub that serves a phone. Mostly it is near; after a jump it is any hub of the country.
func mobile(c uint8, turn uint32, jump bool) network {
	country := uint32(countries[cities[c].country])
	cores := hubs[cities[c].country]
	core := cores[turn%uint32(len(cores))]
	if !jump && far[c][core] > nearHub {
		core = c
	}
	h := uint32(mix(uint64(turn) * 3))
	return network{
		ip: v4([4]byte{100, 112, 0, 0}, country<<14|(h&63)<<8|(1+h>>8%254)),
		net: events.Network{
			ASN: firstCarrier + country*10 + 8, Org: carrierNames[country][8], Classes: mobileClass,
		},
		at: placeIn(core, 0, 0, 200),
	}
}

// nearHub is how far a phone's hub is at most without a jump, in kilometres.
const nearHub = 400

func office(c uint8, desk uint32) network {
	return network{
		ip:  v4([4]byte{198, 18, 0, 0}, uint32(c)<<8|(1+desk%250)),
		net: events.Network{ASN: companyASN, Org: "Simulated Company", Classes: officeClass},
		at:  placeIn(c, 1, 1, 5),
	}
}

func vpn(from uint8, client uint32) network {
	at := gateway(from)
	return network{
		ip:  v4([4]byte{198, 18, 128, 0}, uint32(at)<<8|(1+client%250)),
		net: events.Network{ASN: vpnASN, Org: "Simulated Company VPN", Classes: vpnClass},
		at:  placeIn(at, 0, 0, 10),
	}
}

// relay is a privacy relay of a phone's maker. It keeps the country, no more.
func relay(c uint8, client uint32) network {
	core := hubs[cities[c].country][0]
	return network{
		ip:  v4([4]byte{198, 18, 200, 0}, uint32(countries[cities[c].country])<<8|(1+client%250)),
		net: events.Network{ASN: relayASN, Org: "Simulated Relay", Classes: relayClass},
		at:  placeIn(core, 0, 0, 100),
	}
}

// rogue is where an attacker comes from: a rented server or somebody's hijacked home router.
func rogue(c uint8, h uint32, rented bool) network {
	n := network{
		ip:  v4([4]byte{198, 19, 0, 0}, h&0xff00|(1+h%250)),
		net: events.Network{ASN: firstRogue + h>>16%16, Org: "Documentation Network " + strconv.Itoa(int(h>>16%16))},
		at:  placeIn(c, spread(h, 5), spread(h, 11), 20),
	}
	if rented {
		n.net.Classes = hostingClass
	}
	return n
}

// The classes are shared by all events and must not be changed.
var (
	mobileClass  = []events.Class{events.Mobile}
	officeClass  = []events.Class{events.Office}
	vpnClass     = []events.Class{events.VPN}
	relayClass   = []events.Class{events.Relay}
	hostingClass = []events.Class{events.Hosting}
)

// carrierNames are by country and last digit of the network number.
var carrierNames = func() [][]string {
	names := make([][]string, len(countries))
	for country, number := range countries {
		names[number] = []string{
			"Fixed Line 1 " + country, "Fixed Line 2 " + country, "Fixed Line 3 " + country, "Fixed Line 4 " + country,
			"", "", "", "Guest Network " + country, "Mobile Carrier " + country, "",
		}
	}
	return names
}()
