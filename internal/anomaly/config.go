package anomaly

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Config holds the parameters of all detections. Every change changes [Catalogue.Version].
type Config struct {
	Place    PlaceConfig    `yaml:"place"`
	Travel   TravelConfig   `yaml:"travel"`
	Novelty  NoveltyConfig  `yaml:"novelty"`
	Session  SessionConfig  `yaml:"session"`
	Learning LearningConfig `yaml:"learning"`
	Allow    AllowConfig    `yaml:"allow"`
	// BackendASNs are networks of identity providers, whose servers redeem tokens for the user: a non-interactive event
	// from there that names no operating system and no device says nothing of where the user is.
	BackendASNs []uint32 `yaml:"backend_asns"`
}

// PlaceConfig says how far off a place may be, in kilometres.
type PlaceConfig struct {
	// CityRadiusKm and RegionRadiusKm stand in where the database gives no accuracy radius.
	CityRadiusKm   float64 `yaml:"city_radius_km"`
	RegionRadiusKm float64 `yaml:"region_radius_km"`
	// MobileRadiusKm is the least radius of a mobile network, whose addresses sit at the operator's hub.
	MobileRadiusKm float64 `yaml:"mobile_radius_km"`
	// UnknownRadiusKm and more make a place unknown.
	UnknownRadiusKm float64 `yaml:"unknown_radius_km"`
	// FixedLineRadiusKm is the largest radius, given by the database, that speaks for a fixed line.
	FixedLineRadiusKm float64 `yaml:"fixed_line_radius_km"`
	// ConflictKm and both radii are how far our place and the provider's may differ.
	ConflictKm float64 `yaml:"conflict_km"`
}

// TravelConfig holds the parameters of LOC-01, LOC-03 and SES-02.
type TravelConfig struct {
	// MinKm is the least effective distance; MinFixedLineKm that between two fixed lines.
	MinKm          float64 `yaml:"min_km"`
	MinFixedLineKm float64 `yaml:"min_fixed_line_km"`
	// MediumKmh and HighKmh are the speeds from which a journey is of medium and of high severity.
	MediumKmh float64 `yaml:"medium_kmh"`
	HighKmh   float64 `yaml:"high_kmh"`
	// Window is how far apart two observations may be, and how late an event may come and still be tested.
	Window time.Duration `yaml:"window"`
	// FlipWindow is how long there and back may take for LOC-03.
	FlipWindow time.Duration `yaml:"flip_window"`
	// SameDevice is how long one device may take to change between Wi-Fi and mobile, or IPv4 and IPv6, and still be taken
	// to have stayed where it was.
	SameDevice time.Duration `yaml:"same_device"`
}

// NoveltyConfig holds the parameters of LOC-04 and CONJ-01.
type NoveltyConfig struct {
	// CountryTTL and DeviceTTL are after how long without sight a term is new again.
	CountryTTL time.Duration `yaml:"country_ttl"`
	DeviceTTL  time.Duration `yaml:"device_ttl"`
	// ConfirmAfter is how long a term that came with an adverse finding stays new when nobody confirms it.
	ConfirmAfter time.Duration `yaml:"confirm_after"`
}

// SessionConfig holds the parameters of SES-01 and SES-02.
type SessionConfig struct {
	// TTL is how long an unused session is remembered.
	TTL time.Duration `yaml:"ttl"`
}

// LearningConfig says when enough is known of a user for findings to count: after Period, or after so many Successes.
type LearningConfig struct {
	Period    time.Duration `yaml:"period"`
	Successes uint32        `yaml:"successes"`
	// Inactive is after how long without a success learning starts anew.
	Inactive time.Duration `yaml:"inactive"`
}

// AllowConfig is what the operator vouches for: findings there are recorded only.
type AllowConfig struct {
	// Prefixes are addresses in CIDR form, such as the egress of a secure web gateway.
	Prefixes []string `yaml:"prefixes"`
	ASNs     []uint32 `yaml:"asns"`
	// Countries, ISO 3166-1 alpha-2 in capitals, are never new.
	Countries []string `yaml:"countries"`
}

// DefaultConfig returns the defaults of the catalogue.
func DefaultConfig() Config {
	const day = 24 * time.Hour
	return Config{
		Place: PlaceConfig{
			CityRadiusKm: 75, RegionRadiusKm: 250, MobileRadiusKm: 200, UnknownRadiusKm: 1000, FixedLineRadiusKm: 50, ConflictKm: 500,
		},
		Travel: TravelConfig{
			MinKm: 500, MinFixedLineKm: 300, MediumKmh: 800, HighKmh: 1000, Window: day, FlipWindow: 2 * time.Hour,
			SameDevice: 10 * time.Minute,
		},
		Novelty:     NoveltyConfig{CountryTTL: 90 * day, DeviceTTL: 90 * day, ConfirmAfter: 7 * day},
		Session:     SessionConfig{TTL: day},
		Learning:    LearningConfig{Period: 14 * day, Successes: 10, Inactive: 90 * day},
		BackendASNs: []uint32{8075},
	}
}

// Validate reports every value out of range, as "path: problem, what to do".
func (c *Config) Validate() error {
	const day = 24 * time.Hour
	var problems []error
	km := func(path string, v, low, high float64) {
		if !(v >= low && v <= high) {
			problems = append(problems, fmt.Errorf("%s: is %g, must be between %g and %g", path, v, low, high))
		}
	}
	span := func(path string, v, low, high time.Duration) {
		if v < low || v > high {
			problems = append(problems, fmt.Errorf("%s: is %s, must be between %s and %s", path, v, low, high))
		}
	}
	km("place.city_radius_km", c.Place.CityRadiusKm, 1, 1000)
	km("place.region_radius_km", c.Place.RegionRadiusKm, 1, 2000)
	km("place.mobile_radius_km", c.Place.MobileRadiusKm, 0, 1000)
	km("place.unknown_radius_km", c.Place.UnknownRadiusKm, 1, 20038)
	km("place.fixed_line_radius_km", c.Place.FixedLineRadiusKm, 0, 500)
	km("place.conflict_km", c.Place.ConflictKm, 0, 20038)
	km("travel.min_km", c.Travel.MinKm, 50, 20038)
	km("travel.min_fixed_line_km", c.Travel.MinFixedLineKm, 50, 20038)
	km("travel.medium_kmh", c.Travel.MediumKmh, 100, 100_000)
	km("travel.high_kmh", c.Travel.HighKmh, 100, 100_000)
	span("travel.window", c.Travel.Window, time.Minute, day)
	span("travel.flip_window", c.Travel.FlipWindow, time.Minute, day)
	span("travel.same_device", c.Travel.SameDevice, 0, time.Hour)
	span("novelty.country_ttl", c.Novelty.CountryTTL, day, 3650*day)
	span("novelty.device_ttl", c.Novelty.DeviceTTL, day, 3650*day)
	span("novelty.confirm_after", c.Novelty.ConfirmAfter, 0, 365*day)
	span("session.ttl", c.Session.TTL, time.Hour, 90*day)
	span("learning.period", c.Learning.Period, 0, 365*day)
	span("learning.inactive", c.Learning.Inactive, day, 3650*day)
	if c.Travel.HighKmh < c.Travel.MediumKmh {
		problems = append(problems, fmt.Errorf("travel.high_kmh: is %g, must not be below travel.medium_kmh, %g", c.Travel.HighKmh, c.Travel.MediumKmh))
	}
	for i, text := range c.Allow.Prefixes {
		if _, err := netip.ParsePrefix(text); err != nil {
			problems = append(problems, fmt.Errorf("allow.prefixes[%d]: is %.60q, must be an address and a length such as 192.0.2.0/24", i, text))
		}
	}
	for i, code := range c.Allow.Countries {
		if len(code) != 2 || code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' {
			problems = append(problems, fmt.Errorf("allow.countries[%d]: is %.40q, must be an ISO 3166-1 code of two capital letters", i, code))
		}
	}
	return errors.Join(problems...)
}
