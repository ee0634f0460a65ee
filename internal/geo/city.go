package geo

import (
	"errors"
	"iter"
	"math"
	"net/netip"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/countersign-io/countersign/internal/events"
)

// centroidRadiusKm is the accuracy radius from which a region without a city says no more than its country.
const centroidRadiusKm = 500

// city is one city database.
type city struct {
	reader *maxminddb.Reader
	name   string
	built  events.Millis
	// decode reads a record of the database's schema.
	decode func(maxminddb.Result) (events.Place, error)
}

func openCity(f *file) error {
	reader, err := maxminddb.Open(f.path)
	if err != nil {
		return err
	}
	decode, err := citySchema(reader)
	if err != nil {
		return errors.Join(err, reader.Close())
	}
	f.built = reader.Metadata.BuildTime()
	f.city = &city{reader: reader, name: f.name(), built: events.MillisOf(f.built), decode: decode}
	return nil
}

// citySchema tells the schema of a database by the keys of its first records.
func citySchema(reader *maxminddb.Reader) (func(maxminddb.Result) (events.Place, error), error) {
	for result := range firstNetworks(reader) {
		if err := result.Err(); err != nil {
			return nil, err
		}
		var keys map[string]any
		// Records that cannot be decoded tell nothing; look-ups of them will be counted as broken.
		if result.Decode(&keys) == nil {
			for key, value := range keys {
				_, nested := value.(map[string]any)
				switch key {
				case "country_code", "latitude", "longitude":
					return decodeFlat, nil
				case "country", "city", "location", "registered_country", "continent":
					if nested {
						return decodeMaxMind, nil
					}
				}
			}
		}
	}
	return nil, errors.New("holds no places: neither country_code, latitude and longitude nor country, city and location")
}

// firstNetworks goes over the first networks of a database that hold data. It ends after a bounded time, also in a
// hostile file whose tree has loops: with empty networks included, every 128 steps end in one network.
func firstNetworks(reader *maxminddb.Reader) iter.Seq[maxminddb.Result] {
	return func(yield func(maxminddb.Result) bool) {
		const mostNetworks, mostFound = 100_000, 1000
		networks, found := 0, 0
		for result := range reader.Networks(maxminddb.IncludeNetworksWithoutData(), maxminddb.IncludeAliasedNetworks()) {
			if networks++; networks > mostNetworks {
				return
			}
			if result.Err() == nil && !result.Found() {
				continue
			}
			if found++; found > mostFound || !yield(result) {
				return
			}
		}
	}
}

// lookup finds the place of an address.
func (c *city) lookup(ip netip.Addr) (Answer, events.Place) {
	if ip.Is6() && c.reader.Metadata.IPVersion == 4 {
		return NotFound, events.Place{} // the reader calls this an error
	}
	result := c.reader.Lookup(ip)
	if result.Err() != nil {
		return Broken, events.Place{}
	}
	if !result.Found() {
		return NotFound, events.Place{}
	}
	place, err := c.decode(result)
	if err != nil {
		return Broken, events.Place{}
	}
	answer := tidy(&place)
	if answer != Empty {
		place.Database, place.Built = c.name, c.built
	}
	return answer, place
}

// tidy removes what is no place from a database's record, and says what is left.
func tidy(p *events.Place) Answer {
	p.Country = countryCode(p.Country)
	// Also false when a number is not one.
	valid := p.Lat >= -90 && p.Lat <= 90 && p.Lon >= -180 && p.Lon <= 180 && (p.Lat != 0 || p.Lon != 0)
	if !(p.RadiusKm >= 0 && p.RadiusKm <= 20038) {
		p.RadiusKm = 0
	}
	if p.City == "" && (p.Region == "" || p.RadiusKm == 0 || p.RadiusKm >= centroidRadiusKm) {
		valid = false // the middle of a country or region, whatever the radius says
	}
	if valid {
		return Located
	}
	p.Lat, p.Lon, p.RadiusKm = 0, 0, 0
	if p.Country == "" {
		*p = events.Place{}
		return Empty
	}
	return CountryOnly
}

// countryCode is an ISO 3166-1 alpha-2 code in upper case, or "".
func countryCode(s string) string {
	s = strings.ToUpper(s)
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' || s == "ZZ" || s == "XX" {
		return ""
	}
	return s
}

// decodeFlat reads the schema of ip-location-db.
func decodeFlat(r maxminddb.Result) (events.Place, error) {
	var record struct {
		Country string  `maxminddb:"country_code"`
		State   string  `maxminddb:"state1"`
		City    string  `maxminddb:"city"`
		Lat     float32 `maxminddb:"latitude"`
		Lon     float32 `maxminddb:"longitude"`
	}
	if err := r.Decode(&record); err != nil {
		return events.Place{}, err
	}
	return events.Place{
		Lat: degrees(record.Lat), Lon: degrees(record.Lon),
		City: record.City, Region: record.State, Country: record.Country,
	}, nil
}

// degrees widens without the digits that a float32 never had, so that 5.12 does not become 5.119999885559082.
func degrees(f float32) float64 { return math.Round(float64(f)*1e5) / 1e5 }

// decodeMaxMind reads the schema of GeoLite2 City and GeoIP2 City. A registered country is where the owner of the
// addresses is, not where they are used, so it does not count.
func decodeMaxMind(r maxminddb.Result) (events.Place, error) {
	type names struct {
		English string `maxminddb:"en"`
	}
	var record struct {
		City struct {
			Names names `maxminddb:"names"`
		} `maxminddb:"city"`
		Country struct {
			ISO string `maxminddb:"iso_code"`
		} `maxminddb:"country"`
		Subdivisions []struct {
			Names names `maxminddb:"names"`
		} `maxminddb:"subdivisions"`
		Location struct {
			Lat    float64 `maxminddb:"latitude"`
			Lon    float64 `maxminddb:"longitude"`
			Radius uint16  `maxminddb:"accuracy_radius"`
		} `maxminddb:"location"`
	}
	if err := r.Decode(&record); err != nil {
		return events.Place{}, err
	}
	place := events.Place{
		Lat: record.Location.Lat, Lon: record.Location.Lon, RadiusKm: float64(record.Location.Radius),
		City: record.City.Names.English, Country: record.Country.ISO,
	}
	if len(record.Subdivisions) > 0 {
		place.Region = record.Subdivisions[0].Names.English
	}
	return place, nil
}
