package anomaly

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// Config holds the parameters of all detections. Every change changes [Catalogue.Version].
type Config struct {
	// Modes says per detection, by its id, whether it is on, off, or only observed. What is not named is on.
	Modes map[string]Mode `yaml:"modes"`

	Place      PlaceConfig      `yaml:"place"`
	Travel     TravelConfig     `yaml:"travel"`
	Novelty    NoveltyConfig    `yaml:"novelty"`
	Learning   LearningConfig   `yaml:"learning"`
	Network    NetworkConfig    `yaml:"network"`
	Device     DeviceConfig     `yaml:"device"`
	Familiar   FamiliarConfig   `yaml:"familiarity"`
	Timing     TimingConfig     `yaml:"timing"`
	Credential CredentialConfig `yaml:"credential"`
	MFA        MFAConfig        `yaml:"mfa"`
	Session    SessionConfig    `yaml:"session"`
	OAuth      OAuthConfig      `yaml:"oauth"`
	AiTM       AiTMConfig       `yaml:"aitm"`
	Workload   WorkloadConfig   `yaml:"workload"`
	Vendor     VendorConfig     `yaml:"vendor"`
	Risk       RiskConfig       `yaml:"risk"`
	Allow      AllowConfig      `yaml:"allow"`

	// BackendASNs are networks of identity providers, whose servers redeem tokens for the user: a non-interactive event
	// from there that names no operating system and no device says nothing of where the user is.
	BackendASNs []uint32 `yaml:"backend_asns"`
}

// PlaceConfig says how far off a place may be.
type PlaceConfig struct {
	// CityRadiusKm stands in where the database gives no accuracy radius for a city.
	CityRadiusKm float64 `yaml:"city_radius_km" range:"1..1000" unit:"km" of:"LOC-01 LOC-02 LOC-03 MFA-06 SES-02 SES-06"`
	// RegionRadiusKm stands in where it gives none for a region.
	RegionRadiusKm float64 `yaml:"region_radius_km" range:"1..2000" unit:"km" of:"LOC-01 LOC-02 LOC-03 MFA-06 SES-02 SES-06"`
	// MobileRadiusKm is the least radius of a mobile network, whose addresses sit at the operator's hub.
	MobileRadiusKm float64 `yaml:"mobile_radius_km" range:"0..1000" unit:"km" of:"LOC-01 LOC-02 LOC-03 MFA-06 SES-02 SES-06"`
	// UnknownRadiusKm and more make a place unknown.
	UnknownRadiusKm float64 `yaml:"unknown_radius_km" range:"1..20038" unit:"km" of:"LOC-01 LOC-02 LOC-03 MFA-06 SES-02 SES-06"`
	// FixedLineRadiusKm is the largest radius, given by the database, that speaks for a fixed line.
	FixedLineRadiusKm float64 `yaml:"fixed_line_radius_km" range:"0..500" unit:"km" of:"LOC-01 SES-02"`
	// ConflictKm and both radii are how far our place and the provider's may differ.
	ConflictKm float64 `yaml:"conflict_km" range:"0..20038" unit:"km" of:"LOC-01 LOC-03 LOC-06 LOC-08 SES-02"`
}

// TravelConfig is about ways between places.
type TravelConfig struct {
	// MinKm is the least effective distance of a journey.
	MinKm float64 `yaml:"min_km" range:"50..20038" unit:"km" of:"LOC-01 LOC-02 LOC-03 SES-02 MFA-06"`
	// MinFixedLineKm is the least between two fixed lines.
	MinFixedLineKm float64 `yaml:"min_fixed_line_km" range:"50..20038" unit:"km" of:"LOC-01 SES-02 SES-06"`
	// UnlikelyKmh is the speed from which a journey is atypical.
	UnlikelyKmh float64 `yaml:"unlikely_kmh" range:"50..100000" unit:"km/h" of:"LOC-02"`
	// MediumKmh is the speed from which a journey is impossible, of medium severity.
	MediumKmh float64 `yaml:"medium_kmh" range:"100..100000" unit:"km/h" of:"LOC-01 LOC-02 SES-02"`
	// HighKmh is the speed above which it is of high severity.
	HighKmh float64 `yaml:"high_kmh" range:"100..100000" unit:"km/h" of:"LOC-01 SES-02"`
	// Window is how far apart two observations may be, and how late an event may come and still be tested.
	Window time.Duration `yaml:"window" range:"1m..24h" of:"LOC-01 LOC-02 SES-02"`
	// FlipWindow is how long there and back may take.
	FlipWindow time.Duration `yaml:"flip_window" range:"1m..24h" of:"LOC-03"`
	// SameDevice is how long one device may take to change between Wi-Fi and mobile, or IPv4 and IPv6, and still be taken
	// to have stayed where it was.
	SameDevice time.Duration `yaml:"same_device" range:"0s..1h" of:"LOC-01 LOC-03"`
}

// NoveltyConfig says after how long without sight a term is new again, and what new places are.
type NoveltyConfig struct {
	// CountryTTL is that of countries.
	CountryTTL time.Duration `yaml:"country_ttl" range:"1d..3650d" of:"LOC-04 CONJ-01"`
	// StaleCountry is after how long a known country is worth a note.
	StaleCountry time.Duration `yaml:"stale_country" range:"1d..3650d" of:"LOC-05"`
	// DeviceTTL is that of devices and of operating system and browser.
	DeviceTTL time.Duration `yaml:"device_ttl" range:"1d..3650d" of:"DEV-01 CONJ-01 CONJ-02"`
	// NetworkTTL is that of networks.
	NetworkTTL time.Duration `yaml:"network_ttl" range:"1d..3650d" of:"NET-01 CONJ-02 SES-04"`
	// AppTTL is that of applications, clients and what they are used for.
	AppTTL time.Duration `yaml:"app_ttl" range:"1d..3650d" of:"OAU-02 OAU-04 OAU-05"`
	// ConfirmAfter is how long a term that came with an adverse finding stays new when nobody confirms it.
	ConfirmAfter time.Duration `yaml:"confirm_after" range:"0s..365d" of:"LOC-04 NET-01 NET-03 DEV-01 CONJ-01 CONJ-02"`
	// OrgUsers is how many users of the organisation make a term common.
	OrgUsers int `yaml:"org_users" range:"1..100000" of:"LOC-02 LOC-04 NET-01 NET-02 NET-03 DEV-01 CONJ-02 SES-03"`
	// OrgSpan is how long the organisation must have been watched before something is new to it.
	OrgSpan time.Duration `yaml:"org_span" range:"1d..365d" of:"LOC-06 OAU-03"`
	// ClusterKm is how far from all known places a new one is; ClusterMobileKm on a mobile network.
	ClusterKm       float64 `yaml:"cluster_km" range:"10..5000" unit:"km" of:"LOC-01 LOC-02 LOC-03 LOC-07 TIM-02 SES-02 SES-04 SES-05 SES-08 OAU-05"`
	ClusterMobileKm float64 `yaml:"cluster_mobile_km" range:"10..5000" unit:"km" of:"LOC-07 TIM-02 SES-04 SES-05 OAU-05"`
	// WatchCountries, ISO 3166-1 alpha-2 in capitals, are reported whenever a sign-in succeeds there.
	WatchCountries []string `yaml:"watch_countries" of:"LOC-08"`
}

// LearningConfig says when enough is known of a user for findings to count: after Period, or after so many Logins.
type LearningConfig struct {
	// Period is how long a user is only learned from at the most.
	Period time.Duration `yaml:"period" range:"0s..365d"`
	// Logins of the person end it sooner; renewals and uses of sessions do not count.
	Logins int `yaml:"logins" range:"0..10000"`
	// Inactive is after how long without a success learning starts anew.
	Inactive time.Duration `yaml:"inactive" range:"1d..3650d"`
}

// NetworkConfig is about lists of networks.
type NetworkConfig struct {
	// ThreatAge is how old a list of Tor exits or threats may be, ClassAge one of VPN, relay and hosting networks: a hit on
	// an older one is information only.
	ThreatAge time.Duration `yaml:"threat_age" range:"1h..365d" of:"NET-02 NET-04"`
	ClassAge  time.Duration `yaml:"class_age" range:"1d..365d" of:"NET-02"`
	// DenyPrefixes and DenyASNs are the operator's own list of what nobody may come from.
	DenyPrefixes []string `yaml:"deny_prefixes" of:"NET-04"`
	DenyASNs     []uint32 `yaml:"deny_asns" of:"NET-04"`
}

// DeviceConfig is about devices.
type DeviceConfig struct {
	// Scripted are texts in user agents, in lower case, that speak for a program.
	Scripted []string `yaml:"scripted" of:"DEV-02"`
	// ScriptedApps are the ids of applications, clients or resources that programs may use.
	ScriptedApps []string `yaml:"scripted_apps" of:"DEV-02 AIT-02 OAU-01 OAU-02"`
	// ManagedWithin is how lately a user must have used a managed device for an unmanaged one to be a step down.
	ManagedWithin time.Duration `yaml:"managed_within" range:"1d..365d" of:"DEV-04"`
}

// FamiliarConfig is about the familiarity score.
type FamiliarConfig struct {
	// Threshold is the score above which a login is unfamiliar while the organisation has no threshold of its own for the
	// login-frequency class; HighOver is how far above a threshold it is of high severity, as a natural logarithm.
	Threshold float64 `yaml:"threshold" range:"-50..50" of:"FAM-01"`
	HighOver  float64 `yaml:"high_over" range:"0..50" of:"FAM-01"`
	// Least is the score below which no login is unfamiliar, whatever the organisation's threshold.
	Least float64 `yaml:"least" range:"-50..50" of:"FAM-01"`
	// MinAge is how long a user must be known.
	MinAge time.Duration `yaml:"min_age" range:"0s..365d" of:"FAM-01"`
}

// TimingConfig is about the times of sign-ins.
type TimingConfig struct {
	// OffHours is the share of a user's activity below which an hour of the week is unusual, once OffHoursAfter successes
	// are known. An hour with a whole sign-in of late is usual, whatever its share.
	OffHours      float64 `yaml:"off_hours" range:"0..0.2" of:"TIM-01"`
	OffHoursAfter int     `yaml:"off_hours_after" range:"10..10000" of:"TIM-01"`
	// Quiet and Dormant are the lengths of silence from which a return is of low and of higher severity.
	Quiet   time.Duration `yaml:"quiet" range:"1d..3650d" of:"TIM-02"`
	Dormant time.Duration `yaml:"dormant" range:"1d..3650d" of:"TIM-02"`
}

// CredentialConfig is about failed sign-ins of one user. What concerns many users is a matter of the network stage.
type CredentialConfig struct {
	// Failures in Window are a brute force.
	Failures int           `yaml:"failures" range:"3..32" of:"CRD-01"`
	Window   time.Duration `yaml:"window" range:"1m..24h" of:"CRD-01"`
	// SpreadFailures from SpreadIPs addresses in SpreadASNs networks within SpreadWindow are a distributed one.
	SpreadFailures int           `yaml:"spread_failures" range:"3..32" of:"CRD-02"`
	SpreadIPs      int           `yaml:"spread_ips" range:"2..32" of:"CRD-02"`
	SpreadASNs     int           `yaml:"spread_asns" range:"2..32" of:"CRD-02"`
	SpreadWindow   time.Duration `yaml:"spread_window" range:"1m..24h" of:"CRD-02"`
	// After is how long after an attack a success is suspicious.
	After time.Duration `yaml:"after" range:"1m..24h" of:"CRD-06"`
}

// MFAConfig is about the second factor.
type MFAConfig struct {
	// Denies of prompts within Window are fatigue; an approval within Window after the last is fatigue that succeeded.
	Denies int           `yaml:"denies" range:"2..16" of:"MFA-01 MFA-02"`
	Window time.Duration `yaml:"window" range:"1m..24h" of:"MFA-01 MFA-02"`
	// WrongCodes of CodeFlows attempts within CodeWindow are guessing, and so are AnyCodes of however few.
	WrongCodes int           `yaml:"wrong_codes" range:"3..16" of:"MFA-03"`
	AnyCodes   int           `yaml:"any_codes" range:"3..16" of:"MFA-03"`
	CodeFlows  int           `yaml:"code_flows" range:"1..16" of:"MFA-03"`
	CodeWindow time.Duration `yaml:"code_window" range:"1m..24h" of:"MFA-03"`
	// StrongWithin is how lately a phishing-resistant method must have been used for a weaker one to be a downgrade.
	StrongWithin time.Duration `yaml:"strong_within" range:"1d..365d" of:"MFA-05"`
}

// SessionConfig is about sessions.
type SessionConfig struct {
	// TTL is how long an unused session is remembered.
	TTL time.Duration `yaml:"ttl" range:"1h..90d" of:"SES-01 SES-02 SES-03 SES-04 SES-05 SES-06 SES-08"`
	// Skew is how long after its end a session, and after it was disabled an account, may still be seen in use.
	Skew time.Duration `yaml:"skew" range:"0s..1h" of:"TIM-03 SES-05"`
	// TokenLife is how long an access token may be used, TokenGap within which time one must not come from two networks.
	TokenLife time.Duration `yaml:"token_life" range:"1h..30d" of:"SES-05"`
	TokenGap  time.Duration `yaml:"token_gap" range:"1m..24h" of:"SES-05"`
	// Overlap is how near in time two sessions in two countries are in use at once.
	Overlap time.Duration `yaml:"overlap" range:"1m..24h" of:"SES-06"`
	// Burst new sessions within BurstWindow are many.
	Burst       int           `yaml:"burst" range:"2..32" of:"SES-07"`
	BurstWindow time.Duration `yaml:"burst_window" range:"1m..24h" of:"SES-07"`
	// FirstPartyApps are ids of applications whose own servers, in the networks backend_asns, use sessions.
	FirstPartyApps []string `yaml:"first_party_apps" of:"SES-03 SES-08"`
}

// OAuthConfig is about clients, consents and grants.
type OAuthConfig struct {
	// DeviceCodeTTL is after how long without use the device-code flow is new for a user.
	DeviceCodeTTL time.Duration `yaml:"device_code_ttl" range:"1d..365d" of:"OAU-01"`
	// BrokerApps are ids of clients that can act for others, such as authentication brokers.
	BrokerApps []string `yaml:"broker_apps" of:"OAU-01 OAU-04"`
	// RiskyScopes are what a consent must not give away lightly, in lower case; a trailing * matches the rest.
	RiskyScopes []string `yaml:"risky_scopes" of:"OAU-03"`
	// RareUsers is how many users at most make an application rare; SoonAfter is how soon after a finding a consent is worse.
	RareUsers int           `yaml:"rare_users" range:"0..1000" of:"OAU-03"`
	SoonAfter time.Duration `yaml:"soon_after" range:"1m..24h" of:"OAU-03"`
}

// AiTMConfig is about adversaries in the middle.
type AiTMConfig struct {
	// SessionWindow and EnrolWindow are how soon after a suspicious sign-in its session must move, or a method or device be
	// registered.
	SessionWindow time.Duration `yaml:"session_window" range:"1m..24h" of:"AIT-01"`
	EnrolWindow   time.Duration `yaml:"enrol_window" range:"1m..24h" of:"AIT-01"`
	// Kits are known phishing kits: name, noted (the day it was last seen), and what to know it by: user_agent, os, browser, asns.
	Kits []Kit `yaml:"kits" of:"AIT-02"`
}

// Kit is what tells a phishing kit. All that is given must match.
type Kit struct {
	Name string `yaml:"name"`
	// UserAgent is a part of its user agent, in lower case; OS and Browser are families; ASNs where it is hosted.
	UserAgent string   `yaml:"user_agent"`
	OS        string   `yaml:"os"`
	Browser   string   `yaml:"browser"`
	ASNs      []uint32 `yaml:"asns"`
	// Noted is the day it was last seen, as 2026-01-31.
	Noted string `yaml:"noted"`
}

// WorkloadConfig is about programs.
type WorkloadConfig struct {
	// TTL is after how long without sight a term of a program is new; Learning how long it is only watched.
	TTL      time.Duration `yaml:"ttl" range:"1d..365d" of:"WKL-01"`
	Learning time.Duration `yaml:"learning" range:"0s..365d" of:"WKL-01"`
}

// VendorConfig is about what the identity provider thinks.
type VendorConfig struct {
	// Near is how near in time its word and a finding of ours are about the same.
	Near time.Duration `yaml:"near" range:"1m..24h" of:"IDP-01"`
}

// RiskConfig is about a user's accumulated risk, in decibans.
type RiskConfig struct {
	// Medium and High are the sums from which a user's risk is reported, HalfLife in which time a sum halves.
	Medium   float64       `yaml:"medium" range:"1..1000" of:"RSK-01"`
	High     float64       `yaml:"high" range:"1..1000" of:"RSK-01"`
	HalfLife time.Duration `yaml:"half_life" range:"1d..365d" of:"RSK-01"`
	// Repeat is within which time a repeat of one detection counts a quarter.
	Repeat time.Duration `yaml:"repeat" range:"0s..30d" of:"RSK-01"`
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
			MinKm: 500, MinFixedLineKm: 300, UnlikelyKmh: 300, MediumKmh: 800, HighKmh: 1000, Window: day, FlipWindow: 2 * time.Hour,
			SameDevice: 10 * time.Minute,
		},
		Novelty: NoveltyConfig{
			CountryTTL: 90 * day, StaleCountry: 30 * day, DeviceTTL: 90 * day, NetworkTTL: 60 * day, AppTTL: 14 * day,
			ConfirmAfter: 7 * day, OrgUsers: 3, OrgSpan: 30 * day, ClusterKm: 100, ClusterMobileKm: 300,
		},
		Learning: LearningConfig{Period: 14 * day, Logins: 10, Inactive: 90 * day},
		Network:  NetworkConfig{ThreatAge: 2 * day, ClassAge: 30 * day},
		Device: DeviceConfig{
			Scripted: []string{
				"axios/", "python-requests", "python-urllib", "aiohttp", "httpx/", "go-http-client", "curl/", "wget/", "headless",
				"phantomjs", "puppeteer", "playwright", "node-fetch", "undici", "okhttp", "java/", "libwww-perl", "ruby", "powershell",
			},
			ManagedWithin: 30 * day,
		},
		Familiar: FamiliarConfig{Threshold: 6, HighOver: 2.303, Least: 4, MinAge: 5 * day},
		Timing:   TimingConfig{OffHours: 0.005, OffHoursAfter: 50, Quiet: 30 * day, Dormant: 90 * day},
		Credential: CredentialConfig{
			Failures: 10, Window: 10 * time.Minute, SpreadFailures: 10, SpreadIPs: 5, SpreadASNs: 3, SpreadWindow: time.Hour,
			After: 3 * time.Hour,
		},
		MFA: MFAConfig{
			Denies: 5, Window: 10 * time.Minute, WrongCodes: 10, AnyCodes: 15, CodeFlows: 5, CodeWindow: 10 * time.Minute, StrongWithin: 30 * day,
		},
		Session: SessionConfig{
			TTL: day, Skew: 10 * time.Minute, TokenLife: 28 * time.Hour, TokenGap: 10 * time.Minute, Overlap: 15 * time.Minute, Burst: 4,
			BurstWindow: 30 * time.Minute,
		},
		OAuth: OAuthConfig{
			DeviceCodeTTL: 30 * day, BrokerApps: []string{"29d9ed98-a469-4536-ade2-f981bc1d605e"},
			RiskyScopes: []string{
				"mail.*", "files.*", "sites.*", "offline_access", "full_access_as_user", "directory.*", "mailboxsettings.*",
				"https://mail.google.com/*", "https://www.googleapis.com/auth/gmail.*", "https://www.googleapis.com/auth/drive*",
			},
			RareUsers: 2, SoonAfter: time.Hour,
		},
		AiTM: AiTMConfig{
			SessionWindow: 30 * time.Minute, EnrolWindow: time.Hour,
			Kits: []Kit{{Name: "scripted token fetch", UserAgent: "axios/", Noted: "2026-01-31"}},
		},
		Workload:    WorkloadConfig{TTL: 30 * day, Learning: 14 * day},
		Vendor:      VendorConfig{Near: 10 * time.Minute},
		Risk:        RiskConfig{Medium: 50, High: 80, HalfLife: 7 * day, Repeat: 7 * day},
		BackendASNs: []uint32{8075},
	}
}

// The greatest number of entries in a list of the configuration.
const maxList = 10_000

// Validate reports every value out of range, as "path: problem, what to do".
func (c *Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	all := c.Parameters()
	for i := range all {
		if p := &all[i]; !(p.Value >= p.Low && p.Value <= p.High) {
			bad("%s: is %s, must be between %s and %s", p.Path, p.Text(p.Value), p.Text(p.Low), p.Text(p.High))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Modes)) {
		if byID[id] == nil {
			bad("modes.%.20s: is no detection, see docs/detections for their ids", id)
		}
		if m := c.Modes[id]; m != On && m != Observe && m != Off {
			bad("modes.%.20s: is %.20q, must be on, observe or off", id, m)
		}
	}
	ordered := func(low, high string, a, b float64) {
		if a > b {
			bad("%s: is %g, must not be below %s, %g", high, b, low, a)
		}
	}
	ordered("travel.unlikely_kmh", "travel.medium_kmh", c.Travel.UnlikelyKmh, c.Travel.MediumKmh)
	ordered("travel.medium_kmh", "travel.high_kmh", c.Travel.MediumKmh, c.Travel.HighKmh)
	ordered("risk.medium", "risk.high", c.Risk.Medium, c.Risk.High)
	ordered("mfa.wrong_codes", "mfa.any_codes", float64(c.MFA.WrongCodes), float64(c.MFA.AnyCodes))
	ordered("credential.spread_ips", "credential.spread_failures", float64(c.Credential.SpreadIPs), float64(c.Credential.SpreadFailures))
	ordered("credential.spread_asns", "credential.spread_failures", float64(c.Credential.SpreadASNs), float64(c.Credential.SpreadFailures))
	ordered("timing.quiet", "timing.dormant", c.Timing.Quiet.Hours(), c.Timing.Dormant.Hours())
	for path, list := range map[string][]string{"allow.prefixes": c.Allow.Prefixes, "network.deny_prefixes": c.Network.DenyPrefixes} {
		for i, text := range list {
			// Addresses are compared in their own form: one of IPv4 is in no prefix of IPv6.
			if prefix, err := netip.ParsePrefix(text); err != nil || prefix.Addr().Is4In6() {
				bad("%s[%d]: is %.60q, must be an address and a length such as 192.0.2.0/24", path, i, text)
			}
		}
	}
	for path, list := range map[string][]string{"allow.countries": c.Allow.Countries, "novelty.watch_countries": c.Novelty.WatchCountries} {
		for i, code := range list {
			if len(code) != 2 || code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' {
				bad("%s[%d]: is %.40q, must be an ISO 3166-1 code of two capital letters", path, i, code)
			}
		}
	}
	for path, list := range map[string][]string{"device.scripted": c.Device.Scripted, "oauth.risky_scopes": c.OAuth.RiskyScopes} {
		for i, text := range list {
			if text == "" || len(text) > events.MaxName || text != strings.ToLower(text) {
				bad("%s[%d]: is %.40q, must be text in lower case", path, i, text)
			}
		}
	}
	for i, k := range c.AiTM.Kits {
		if k.Name == "" || k.UserAgent == "" && k.OS == "" && k.Browser == "" && len(k.ASNs) == 0 {
			bad("aitm.kits[%d]: must have a name and something to know it by", i)
		}
		if len(k.UserAgent) > events.MaxName || k.UserAgent != strings.ToLower(k.UserAgent) {
			bad("aitm.kits[%d].user_agent: is %.40q, must be text in lower case", i, k.UserAgent)
		}
		if len(k.ASNs) > maxList {
			bad("aitm.kits[%d].asns: has %d entries, at most %d are allowed", i, len(k.ASNs), maxList)
		}
		if _, err := time.Parse(time.DateOnly, k.Noted); err != nil {
			bad("aitm.kits[%d].noted: is %.40q, must be a day such as 2026-01-31", i, k.Noted)
		}
	}
	for path, n := range map[string]int{
		"allow.prefixes": len(c.Allow.Prefixes), "allow.asns": len(c.Allow.ASNs), "allow.countries": len(c.Allow.Countries),
		"novelty.watch_countries": len(c.Novelty.WatchCountries), "network.deny_prefixes": len(c.Network.DenyPrefixes),
		"network.deny_asns": len(c.Network.DenyASNs), "device.scripted": len(c.Device.Scripted), "aitm.kits": len(c.AiTM.Kits),
		"device.scripted_apps": len(c.Device.ScriptedApps), "session.first_party_apps": len(c.Session.FirstPartyApps),
		"oauth.broker_apps": len(c.OAuth.BrokerApps), "oauth.risky_scopes": len(c.OAuth.RiskyScopes), "backend_asns": len(c.BackendASNs),
	} {
		if n > maxList {
			bad("%s: has %d entries, at most %d are allowed", path, n, maxList)
		}
	}
	slices.SortStableFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}
