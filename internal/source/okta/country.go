package okta

import (
	"strings"
	"sync"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/countersign-io/countersign/internal/source/foreign"
)

// countryCode is the ISO 3166-1 code of a country, which Okta names in English; "" when it is not known.
func countryCode(name string) string {
	if code := foreign.Country(name); code != "" {
		return code
	}
	return countries()[plain(name)]
}

// countries are the codes by plain name: those of the Unicode CLDR, and other names that databases of places use.
var countries = sync.OnceValue(func() map[string]string {
	codes := map[string]string{}
	names := display.English.Regions()
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			region, err := language.ParseRegion(code)
			if err != nil || !region.IsCountry() || region.Canonicalize().String() != code {
				continue
			}
			if name := names.Name(region); name != "" {
				codes[plain(name)] = code
			}
		}
	}
	for code, others := range otherNames {
		for name := range strings.SplitSeq(others, "|") {
			codes[plain(name)] = code
		}
	}
	return codes
})

// otherNames are names by code that the Unicode CLDR does not use, or no longer.
var otherNames = map[string]string{
	"BN": "Brunei Darussalam", "BO": "Plurinational State of Bolivia|Bolivia, Plurinational State of",
	"BQ": "Bonaire, Sint Eustatius, and Saba|Bonaire", "CD": "DR Congo|Democratic Republic of the Congo|Congo, The Democratic Republic of the|Congo (DRC)",
	"CG": "Congo|Republic of the Congo|Congo Republic", "CI": "Ivory Coast", "CV": "Cabo Verde", "CZ": "Czech Republic",
	"FK": "Falkland Islands (Malvinas)", "FM": "Federated States of Micronesia|Micronesia, Federated States of",
	"GB": "Great Britain|UK", "GM": "The Gambia|Gambia, The", "HK": "Hong Kong", "IR": "Islamic Republic of Iran|Iran, Islamic Republic of",
	"KN": "Saint Kitts and Nevis", "KP": "Democratic People's Republic of Korea|Korea, Democratic People's Republic of",
	"KR": "Republic of Korea|Korea, Republic of|Korea", "LA": "Lao People's Democratic Republic", "LC": "Saint Lucia",
	"MD": "Republic of Moldova|Moldova, Republic of", "MF": "Saint Martin", "MK": "North Macedonia|Republic of North Macedonia",
	"MM": "Myanmar|Burma", "MO": "Macao|Macau", "PM": "Saint Pierre and Miquelon",
	"PS": "Palestine|State of Palestine|Palestine, State of|Palestinian Territory|Palestinian Territory, Occupied", "RU": "Russian Federation",
	"SH": "Saint Helena", "SY": "Syrian Arab Republic", "SZ": "Eswatini", "TL": "East Timor", "TR": "Türkiye|Turkiye",
	"TW": "Taiwan, Province of China", "TZ": "United Republic of Tanzania|Tanzania, United Republic of", "US": "United States of America|USA",
	"VA": "Holy See|Holy See (Vatican City State)", "VC": "Saint Vincent and the Grenadines|Saint Vincent and Grenadines",
	"VE": "Bolivarian Republic of Venezuela|Venezuela, Bolivarian Republic of", "VG": "Virgin Islands, British", "VI": "Virgin Islands, U.S.",
	"VN": "Viet Nam",
}

// plain is a country's name without what spellings differ in: case, the article, dots, commas, and the word and.
func plain(name string) string {
	name = strings.NewReplacer("&", " and ", ".", "", ",", " ", "’", "'", "-", " ").Replace(strings.ToLower(name))
	words := strings.Fields(name)
	if len(words) > 1 && words[0] == "the" {
		words = words[1:]
	}
	return strings.Join(words, " ")
}
