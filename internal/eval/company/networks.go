package company

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
)

// The network numbers: ten for each country, and some for what is no carrier.
const (
	firstCarrier   = 4_200_000_000
	companyASN     = 4_200_900_001
	vpnASN         = 4_200_900_002
	relayASN       = 4_200_900_003
	satelliteASN   = 4_200_900_004
	desktopASN     = 4_200_900_005 // where the virtual desktops are
	cloudASN       = 4_200_900_006 // where the company's programs run
	firstAnonymous = 4_200_901_000 // commercial VPNs
	firstRented    = 64496         // the sixteen numbers that are for documentation: rented servers
)

// network is an address with all that is known of it.
type network struct {
	ip  netip.Addr
	net events.Network
	at  events.Place
}

// Networks have no database: the simulator says itself what they are.
const database = "simulator"

// The classes are shared by all events and must not be changed.
var (
	mobileClass    = []events.Class{events.Mobile}
	officeClass    = []events.Class{events.Office}
	vpnClass       = []events.Class{events.VPN}
	hostedVPNClass = []events.Class{events.VPN, events.Hosting}
	relayClass     = []events.Class{events.Relay}
	hostingClass   = []events.Class{events.Hosting}
	satelliteClass = []events.Class{events.Satellite}
	torClass       = []events.Class{events.Tor}
)

// carrierNames are by country and last digit of the network number; rentedNames by number.
var carrierNames, rentedNames = func() (names [][]string, rented [16]string) {
	for _, country := range nations {
		names = append(names, []string{
			"Fixed Line 1 " + country, "Fixed Line 2 " + country, "Fixed Line 3 " + country, "Fixed Line 4 " + country,
			"", "", "Business Line " + country, "Guest Network " + country, "Mobile Carrier 1 " + country, "Mobile Carrier 2 " + country,
		})
	}
	for i := range rented {
		rented[i] = "Documentation Network " + strconv.Itoa(i)
	}
	return names, rented
}()

// carrierOf is a network number of a country with its name.
func carrierOf(city uint8, number uint32) events.Network {
	country := countryOf[city]
	return events.Network{ASN: firstCarrier + uint32(country)*10 + number, Org: carrierNames[country][number]}
}

// v4 makes the address base+offset.
func v4(base [4]byte, offset uint32) netip.Addr {
	var text [4]byte
	binary.BigEndian.PutUint32(text[:], binary.BigEndian.Uint32(base[:])+offset)
	return netip.AddrFrom4(text)
}

// host makes the last octet of an address.
func host(h uint64) uint32 { return uint32(1 + h%254) }

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

// A geo database is wrong by a distance that is log-normal: half of the addresses of fixed lines are within ten kilometres
// of where it says, half of those of mobile networks within 190 (arXiv 2605.21937). Errors are quantiles of that, in
// kilometres, cut where the tail becomes another country.
var fixedErrors, mobileErrors = quantiles(10, 1, 160), quantiles(190, 0.55, 700)

func quantiles(median, sigma, most float64) (table [1024]float64) {
	for i := range table {
		p := (float64(i) + 0.5) / float64(len(table))
		z := math.Sqrt2 * math.Erfinv(2*p-1)
		table[i] = math.Round(min(most, median*math.Exp(sigma*z))*1000) / 1000
	}
	return table
}

// directions are the cosine and sine of 256 ways to go.
var directions = func() (table [256][2]float64) {
	for i := range table {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / float64(len(table)))
		table[i] = [2]float64{math.Round(cos*1e6) / 1e6, math.Round(sin*1e6) / 1e6}
	}
	return table
}()

// perLonDegree are the kilometres of a degree of longitude at each city.
var perLonDegree = func() (table [len(cities)]float64) {
	for i := range table {
		table[i] = math.Round(perDegree*math.Cos(cities[i].lat*math.Pi/180)*1000) / 1000
	}
	return table
}()

const perDegree = 111.2

// The accuracy radii that databases give, in kilometres.
var fixedRadii, mobileRadii = [...]float64{5, 10, 20, 20, 20, 50, 50, 100}, [...]float64{100, 200, 200, 200, 500}

// located is where a database puts an address of a city. All addresses of one pool are in one place. The radius is
// sometimes too small, never by more than a factor of two.
func located(city uint8, pool uint64, errors *[1024]float64, radii []float64) events.Place {
	h := mix(pool ^ 0x6c62272e07bb0142)
	off := errors[h&1023]
	radius := radii[h>>10%uint64(len(radii))]
	for _, wider := range radii {
		if radius < off/2 && wider > radius {
			radius = wider
		}
	}
	way := &directions[h>>40&255]
	return placeIn(city, float64(off*way[0]), float64(off*way[1]), max(radius, math.Round(off/2)))
}

// placeIn is a point in or near a city, north and east of its centre by kilometres. Far off, a database knows no more than
// the region, or the country.
func placeIn(c uint8, north, east, radius float64) events.Place {
	town := &cities[c]
	p := events.Place{
		Lat: round(town.lat + float64(north/perDegree)), Lon: round(town.lon + float64(east/perLonDegree[c])),
		RadiusKm: radius, Country: town.country, Database: database,
	}
	if radius < 500 {
		p.Region = town.region
	}
	if radius <= 50 {
		p.City = town.name
	}
	return p
}

// round keeps four decimals, eleven metres: more would only differ between processors.
func round(degrees float64) float64 { return math.Round(degrees*1e4) / 1e4 }

// The shares of the fixed-line and of the mobile carriers in a country.
var fixedShares, mobileShares = []int{42, 28, 20, 10}, []int{56, 44}

// share maps a hash to one of the shares, which add up to a hundred.
func share(h uint64, shares []int) uint32 {
	at := int(h % 100)
	for i, w := range shares {
		if at -= w; at < 0 {
			return uint32(i)
		}
	}
	return 0
}

// line is the fixed line of a household: its carrier and the pool of addresses that it is in.
type line struct {
	city    uint8
	carrier uint32
	pool    uint32
}

func lineOf(city uint8, household uint32) line {
	h := mix(uint64(household)*2 + 1)
	return line{city, share(h, fixedShares), uint32(h >> 32 % 512)}
}

// address is the line's address under a lease: another one of four neighbouring /24s with every lease.
func (l line) address(lease uint64) network {
	h := mix(lease ^ uint64(l.pool)<<40)
	prefix := l.pool<<2 | uint32(h>>20&3)
	// 240.0.0.0 and on: 7 bits for the city, 2 for the carrier, 11 for the /24.
	return network{
		ip:  v4([4]byte{240, 0, 0, 0}, (uint32(l.city)<<2|l.carrier)<<19|prefix<<8|host(h)),
		net: carrierOf(l.city, l.carrier),
		at:  located(l.city, uint64(l.city)<<32|uint64(l.carrier)<<24|uint64(prefix), &fixedErrors, fixedRadii[:]),
	}
}

// address6 is the line's IPv6 address: the /64 is of the lease, the rest changes every day, as privacy extensions do.
func (l line) address6(lease uint64, day int64) network {
	h, turn := mix(lease^uint64(l.pool)<<41), mix(lease^uint64(day)<<20)
	block := uint16(l.city)<<9 | uint16(l.carrier)<<7 | uint16(l.pool&127)
	text := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	binary.BigEndian.PutUint16(text[4:], block)
	binary.BigEndian.PutUint16(text[6:], uint16(h))
	binary.BigEndian.PutUint64(text[8:], turn)
	return network{
		ip:  netip.AddrFrom16(text),
		net: carrierOf(l.city, l.carrier),
		at:  located(l.city, 1<<60|uint64(block), &fixedErrors, fixedRadii[:]),
	}
}

// lease numbers the address of a household on a day; fresh is true on the first day with it. One line in six keeps its
// address for ever, the others get another one every one to four weeks.
func lease(household uint32, day int64) (number uint64, fresh bool) {
	h := mix(uint64(household)*5 + 3)
	if h%6 == 0 {
		return uint64(household) << 24, false
	}
	length := int64(7 + h>>8%22)
	used := day + int64(h>>16%1024)
	return uint64(household)<<24 | uint64(used/length), used%length == 0
}

// guest is a network of a town for people who are there for some days, or some hours.
func guest(c uint8, visitor uint64) network {
	h := mix(visitor*2 + uint64(c)<<40)
	prefix := uint32(h>>20) & 31
	return network{
		ip:  v4([4]byte{100, 96, 0, 0}, uint32(c)<<13|prefix<<8|host(h)),
		net: carrierOf(c, 7),
		at:  located(c, 2<<60|uint64(c)<<8|uint64(prefix), &fixedErrors, fixedRadii[:]),
	}
}

// mobile is an address of a phone's carrier, another one with every turn. Mostly the hub is near; after a jump it is any
// hub of the country.
func mobile(c uint8, subscriber uint32, turn uint64, jump bool) network {
	h := mix(turn * 3)
	carrier := share(mix(uint64(subscriber)*7+5), mobileShares)
	core := c
	if cores := hubs[countryOf[c]]; jump {
		core = cores[h>>40%uint64(len(cores))]
	}
	prefix := ordinal[core]<<2 | uint32(h>>20&3)
	return network{
		ip:  v4([4]byte{100, 64, 0, 0}, uint32(countryOf[c])<<15|carrier<<14|prefix<<8|host(h)),
		net: classed(carrierOf(c, 8+carrier), mobileClass),
		at:  located(core, 3<<60|uint64(core)<<16|uint64(carrier)<<8|uint64(prefix), &mobileErrors, mobileRadii[:]),
	}
}

func classed(n events.Network, classes []events.Class) events.Network {
	n.Classes, n.List = classes, database
	return n
}

// office is one of the few addresses that everybody at an office shares. The large ones have a line of the company's own,
// which is known to be its office; the others have an ordinary business line of a carrier.
func office(c uint8, desk uint32) network {
	n := network{
		ip: v4([4]byte{198, 18, 0, 0}, uint32(c)<<8|(1+desk%3)),
		at: placeIn(c, 1, 1, 5),
	}
	if cities[c].weight >= 20 {
		n.net = classed(events.Network{ASN: companyASN, Org: "Simulated Company"}, officeClass)
	} else {
		n.net = carrierOf(c, 6)
	}
	return n
}

func vpn(from uint8, client uint32) network {
	at := gateway(from)
	return network{
		ip:  v4([4]byte{198, 18, 128, 0}, uint32(at)<<7|(1+client%4)),
		net: classed(events.Network{ASN: vpnASN, Org: "Simulated Company VPN"}, vpnClass),
		at:  placeIn(at, 0, 0, 10),
	}
}

// desktop is where a virtual desktop meets the internet: a rented data centre, which all desktops share.
func desktop(from uint8, client uint32) network {
	at := gateway(from)
	return network{
		ip:  v4([4]byte{198, 18, 192, 0}, uint32(at)<<7|(1+client%6)),
		net: classed(events.Network{ASN: desktopASN, Org: "Simulated Desktops"}, hostingClass),
		at:  placeIn(at, 2, 2, 20),
	}
}

// cloud is where one of the company's programs runs; now and then it is moved to another server there.
func cloud(region uint8, program uint32, move uint64) network {
	return network{
		ip:  v4([4]byte{198, 18, 224, 0}, uint32(region%16)<<8|host(mix(uint64(program)<<20|move))),
		net: classed(events.Network{ASN: cloudASN, Org: "Simulated Cloud"}, hostingClass),
		at:  placeIn(region, -2, 1, 20),
	}
}

// relay is a privacy relay of a phone's maker. It keeps the country, no more: the place is that of some city there.
func relay(c uint8, turn uint64) network {
	h := mix(turn*11 + 1)
	towns := townsOf[countryOf[c]]
	return network{
		ip:  v4([4]byte{198, 18, 72, 0}, uint32(countryOf[c])<<8|host(h)),
		net: classed(events.Network{ASN: relayASN, Org: "Simulated Relay"}, relayClass),
		at:  placeIn(towns[h>>20%uint64(len(towns))], 0, 0, 100),
	}
}

// exits are the cities where commercial VPNs meet the internet.
var exits = [...]uint8{
	cityNamed("Stockholm"), cityNamed("Zurich"), cityNamed("London"), cityNamed("New York"), cityNamed("Los Angeles"),
	cityNamed("Singapore"), cityNamed("Sao Paulo"), cityNamed("Warsaw"), cityNamed("Toronto"), cityNamed("Sydney"),
}

// personalVPN is an exit of one of three commercial VPNs.
func personalVPN(exit uint8, h uint64) network {
	seller := uint32(h % 3)
	return network{
		ip:  v4([4]byte{198, 18, 240, 0}, seller<<10|uint32(exit&3)<<8|host(mix(h<<8|uint64(exit)))),
		net: classed(events.Network{ASN: firstAnonymous + seller, Org: "Simulated Anonymity " + strconv.Itoa(int(seller))}, hostedVPNClass),
		at:  placeIn(exit, 3, -1, 20),
	}
}

// satellite is the ground station that serves a dish on a day: at any hub of the country, or abroad.
func satellite(c uint8, dish uint32, day int64) network {
	h := mix(uint64(dish)<<24 | uint64(day)&0xffffff)
	cores := hubs[countryOf[c]]
	station := cores[h>>8%uint64(len(cores))]
	return network{
		ip:  v4([4]byte{198, 18, 252, 0}, uint32(h>>40&3)<<8|host(h)),
		net: classed(events.Network{ASN: satelliteASN, Org: "Simulated Satellites"}, satelliteClass),
		at:  located(station, 4<<60|uint64(station), &mobileErrors, mobileRadii[:]),
	}
}

// rented is a server that an attacker rents: the sixteen sellers are all over the world.
func rented(c uint8, h uint64) network {
	seller := uint32(h>>16) % 16
	return network{
		ip:  v4([4]byte{198, 19, 0, 0}, seller<<12|uint32(h>>24&15)<<8|host(h)),
		net: classed(events.Network{ASN: firstRented + seller, Org: rentedNames[seller]}, hostingClass),
		at:  placeIn(c, float64(h>>32%20), float64(h>>40%20), 20),
	}
}

// hijacked is somebody's router at home, with a program of the attacker's on it.
func hijacked(c uint8, h uint64) network {
	return lineOf(c, uint32(h)|1<<31).address(h)
}
