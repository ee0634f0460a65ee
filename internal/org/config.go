package org

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// Config holds the parameters of the network stage.
type Config struct {
	Spray       SprayConfig       `yaml:"spray"`
	Stuffing    StuffingConfig    `yaml:"stuffing"`
	Enumeration EnumerationConfig `yaml:"enumeration"`
	BadRatio    BadRatioConfig    `yaml:"bad_ratio"`
	Lockouts    LockoutsConfig    `yaml:"lockouts"`
	Season      SeasonConfig      `yaml:"season"`
	Devices     DevicesConfig     `yaml:"devices"`
	Egress      EgressConfig      `yaml:"egress"`
	Hubs        HubsConfig        `yaml:"hubs"`
	// Reauthentication is the share of benign logins that the familiarity score may call unfamiliar: it sets the thresholds.
	Reauthentication float64 `yaml:"reauthentication"`
	// Sources is how many attacking addresses, prefixes, networks and agents a tenant may have in memory, about 1 KB each.
	Sources int `yaml:"sources"`
	// Incidents is how many may be open at a time in a tenant.
	Incidents int `yaml:"incidents"`
}

// SprayConfig holds the parameters of CRD-03: many users tried from one source within 10 to 20 minutes.
type SprayConfig struct {
	// Users who were tried, at least.
	Users int `yaml:"users"`
	// Tries per user at most; who is tried more often is not counted.
	Tries int `yaml:"tries"`
}

// StuffingConfig holds the parameters of CRD-05: many users tried once or twice from one source within 10 to 20 minutes.
type StuffingConfig struct {
	// Users who were tried, at least.
	Users int `yaml:"users"`
	// Once is the least share of users who are tried once.
	Once float64 `yaml:"once"`
}

// EnumerationConfig holds the parameter of CRD-07: names that belong to nobody, tried from one source within 10 to 20 minutes.
type EnumerationConfig struct {
	// Names that were tried, at least.
	Names int `yaml:"names"`
}

// BadRatioConfig holds the parameter of NET-05.
type BadRatioConfig struct {
	// Users must have failed from a source within 24 hours, more than succeeded, for a success to be worth a verdict.
	Users int `yaml:"users"`
}

// LockoutsConfig holds the parameters of CRD-08: users locked out within 15 to 30 minutes.
type LockoutsConfig struct {
	// Users who were locked out, at least.
	Users int `yaml:"users"`
	// Z is how many deviations above the tenant's mean it must be.
	Z float64 `yaml:"z"`
}

// SeasonConfig holds the parameters of CRD-04: more users fail than usual at that hour of the week, or on that day.
type SeasonConfig struct {
	// Users who fail, at least; Z is how many deviations above the mean of the hour, or the day, they must be.
	Users int     `yaml:"users"`
	Z     float64 `yaml:"z"`
	// Excess is the least share of the users above the mean that one fingerprint must explain, Successes the largest share
	// of successes that it may have.
	Excess    float64 `yaml:"excess"`
	Successes float64 `yaml:"successes"`
	// Learning is how long the baseline is not trusted by itself: until then its deviation is at least Unlearned times
	// the users known of the tenant (in 15 minutes; two and a half times that in a day), and at least 5 users.
	Learning  time.Duration `yaml:"learning"`
	Unlearned float64       `yaml:"unlearned"`
}

// DevicesConfig holds the parameters of DEV-03.
type DevicesConfig struct {
	// Users on one device within 24 hours.
	Users int `yaml:"users"`
	// SharedDays on which a device was shared make it one that is meant to be.
	SharedDays int `yaml:"shared_days"`
	// Remembered is how many devices are remembered in a tenant.
	Remembered int `yaml:"remembered"`
}

// EgressConfig says what makes a prefix the organisation's own.
type EgressConfig struct {
	// Users with qualifying successes, on Days distinct days of the last 30.
	Users int `yaml:"users"`
	Days  int `yaml:"days"`
	// Quarantine is how long a success waits before it counts.
	Quarantine time.Duration `yaml:"quarantine"`
	// Jump is how many times its own mean of 7 days the failure ratio of an egress must be to count as an attack.
	Jump float64 `yaml:"jump"`
	// Prefixes is how many are remembered in a tenant.
	Prefixes int `yaml:"prefixes"`
	// Pin are prefixes (/24 or /48) that are the organisation's own whatever is learnt, Ban those that never are.
	Pin []string `yaml:"pin"`
	Ban []string `yaml:"ban"`
}

// HubsConfig says what makes a network one that moves its users about.
type HubsConfig struct {
	// Users that jumped, and the least share of logins within the hour on the same device that did.
	Users int     `yaml:"users"`
	Share float64 `yaml:"share"`
}

// DefaultConfig returns the defaults of the catalogue.
func DefaultConfig() Config {
	const day = 24 * time.Hour
	return Config{
		Spray:       SprayConfig{Users: 10, Tries: 6},
		Stuffing:    StuffingConfig{Users: 15, Once: 0.8},
		Enumeration: EnumerationConfig{Names: 20},
		BadRatio:    BadRatioConfig{Users: 5},
		Lockouts:    LockoutsConfig{Users: 25, Z: 6},
		Season:      SeasonConfig{Users: 15, Z: 6, Excess: 0.6, Successes: 0.05, Learning: 14 * day, Unlearned: 0.02},
		Devices:     DevicesConfig{Users: 3, SharedDays: 3, Remembered: 65536},
		Egress:      EgressConfig{Users: 3, Days: 3, Quarantine: 72 * time.Hour, Jump: 4, Prefixes: 20_000},
		Hubs:        HubsConfig{Users: 20, Share: 0.1},

		Reauthentication: 0.006,
		Sources:          20_000,
		Incidents:        256,
	}
}

// Validate reports every value out of range, as "path: is X, must be Y".
func (c *Config) Validate() error {
	const day = 24 * time.Hour
	var problems []error
	count := func(path string, v, low, high int) {
		if v < low || v > high {
			problems = append(problems, fmt.Errorf("%s: is %d, must be between %d and %d", path, v, low, high))
		}
	}
	number := func(path string, v, low, high float64) {
		if !(v >= low && v <= high) {
			problems = append(problems, fmt.Errorf("%s: is %g, must be between %g and %g", path, v, low, high))
		}
	}
	span := func(path string, v, low, high time.Duration) {
		if v < low || v > high {
			problems = append(problems, fmt.Errorf("%s: is %s, must be between %s and %s", path, v, low, high))
		}
	}
	count("spray.users", c.Spray.Users, 2, 10_000)
	count("spray.tries", c.Spray.Tries, 1, 1000)
	count("stuffing.users", c.Stuffing.Users, 2, 10_000)
	number("stuffing.once", c.Stuffing.Once, 0, 1)
	count("enumeration.names", c.Enumeration.Names, 2, 10_000)
	count("bad_ratio.users", c.BadRatio.Users, 1, 10_000)
	count("lockouts.users", c.Lockouts.Users, 2, 100_000)
	number("lockouts.z", c.Lockouts.Z, 0, 100)
	count("season.users", c.Season.Users, 2, 100_000)
	number("season.z", c.Season.Z, 1, 100)
	number("season.excess", c.Season.Excess, 0.1, 1)
	number("season.successes", c.Season.Successes, 0, 1)
	span("season.learning", c.Season.Learning, day, 365*day)
	number("season.unlearned", c.Season.Unlearned, 0, 1)
	count("devices.users", c.Devices.Users, 2, maxDeviceUsers)
	count("devices.shared_days", c.Devices.SharedDays, 1, 30)
	count("devices.remembered", c.Devices.Remembered, 1024, 4<<20)
	count("egress.users", c.Egress.Users, 2, exactUsers)
	count("egress.days", c.Egress.Days, 1, 30)
	span("egress.quarantine", c.Egress.Quarantine, 0, maxPending*day)
	number("egress.jump", c.Egress.Jump, 1, 100)
	count("egress.prefixes", c.Egress.Prefixes, 100, 1_000_000)
	for _, list := range []struct {
		path     string
		prefixes []string
	}{{"egress.pin", c.Egress.Pin}, {"egress.ban", c.Egress.Ban}} {
		if len(list.prefixes) > maxEgress {
			problems = append(problems, fmt.Errorf("%s: has %d prefixes, must have at most %d", list.path, len(list.prefixes), maxEgress))
		}
		for i, text := range list.prefixes {
			if !events.ValidPrefix(text) {
				problems = append(problems, fmt.Errorf("%s[%d]: is %.60q, must be a /24 of IPv4 or a /48 of IPv6 such as 192.0.2.0/24", list.path, i, text))
			}
		}
	}
	for _, text := range c.Egress.Pin {
		if slices.Contains(c.Egress.Ban, text) {
			problems = append(problems, fmt.Errorf("egress.pin: %s is banned as well, must be in one list only", text))
		}
	}
	count("hubs.users", c.Hubs.Users, 2, 100_000)
	number("hubs.share", c.Hubs.Share, 0, 1)
	number("reauthentication", c.Reauthentication, 0.0001, 0.5)
	count("sources", c.Sources, 100, 1_000_000)
	count("incidents", c.Incidents, 16, 4096)
	return errors.Join(problems...)
}

// codeVersion grows when any verdict for some input changes.
const codeVersion = 2

// Version names code and parameters. It changes when the verdicts for the same input may.
func (c *Config) Version() string {
	parameters, err := json.Marshal(c)
	if err != nil { // numbers that are none: Validate refuses them
		return "invalid"
	}
	return fmt.Sprintf("%d-%s", codeVersion, events.ID("network", string(parameters))[:12])
}

// guilty names a source in a verdict.
func guilty(kind, text string) string { return strings.TrimSpace(kind + " " + text) }
