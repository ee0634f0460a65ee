package events

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of an event. Longer names and free text are cut by [Event.Clean]; longer identities are refused.
const (
	MaxTenant   = 64
	MaxID       = 256
	MaxName     = 256
	MaxText     = 1024
	MaxElements = 64
)

// Validate checks that an event means something: a kind, an identity, a time, and enumerations, addresses and places
// that exist. It reports every problem, each as "path: problem". Whether the time is near now is for ingest to say.
func (e *Event) Validate() error {
	var problems []error
	bad := func(path, format string, args ...any) {
		problems = append(problems, fmt.Errorf(path+": "+format, args...))
	}
	if !slices.Contains(Kinds, e.Kind) {
		bad("kind", "is %.40q, must be one of %s", e.Kind, list(Kinds))
	}
	if !ValidTenant(e.Tenant) {
		bad("tenant", "is %.80q, must be 1 to %d letters, digits, dots, dashes or underscores", e.Tenant, MaxTenant)
	}
	identity := func(path, v string, required bool) {
		switch {
		case v == "" && required:
			bad(path, "is missing")
		case len(v) > MaxID:
			bad(path, "has %d bytes, at most %d are allowed", len(v), MaxID)
		case !clean(v):
			bad(path, "has control characters or invalid UTF-8")
		}
	}
	identity("id", e.ID, false)
	identity("user.id", e.User.ID, true)
	identity("source.id", e.Source.ID, true)
	identity("source.family", e.Source.Family, false)
	identity("session.id", e.Session.ID, false)
	identity("session.token", e.Session.Token, false)
	identity("app.id", e.App.ID, false)
	identity("resource.id", e.Resource.ID, false)
	identity("device.id", e.Device.ID, false)
	identity("user.home_tenant", e.User.HomeTenant, false)
	identity("correlation", e.Correlation, false)
	identity("risk.sign_in", e.Risk.SignIn, false)
	identity("change.target.id", e.Change.Target.ID, false)
	identity("change.actor.id", e.Change.Actor.ID, false)
	if e.Kind == SessionUse && e.Session.ID == "" {
		bad("session.id", "is missing, a %s event needs it", SessionUse)
	}
	if e.Time == 0 {
		bad("time", "is missing")
	}
	oneOf(bad, "outcome", e.Outcome, Outcomes)
	oneOf(bad, "cause", e.Cause, Causes)
	oneOf(bad, "auth.mfa", e.Auth.MFA, MFAResults)
	oneOf(bad, "auth.strength", e.Auth.Strength, Strengths)
	oneOf(bad, "user.type", e.User.Type, UserTypes)
	oneOf(bad, "access.result", e.Access.Result, AccessResults)
	oneOf(bad, "risk.level", e.Risk.Level, RiskLevels)
	oneOf(bad, "risk.user", e.Risk.User, RiskLevels)
	oneOf(bad, "risk.state", e.Risk.State, RiskStates)
	oneOf(bad, "change.type", e.Change.Type, ChangeTypes)
	oneOf(bad, "change.action", e.Change.Action, ChangeActions)
	switch {
	case e.Kind == AccountChange && e.Change.Type == "":
		bad("change.type", "is missing, an %s event needs it", AccountChange)
	case e.Kind == NetworkVerdict && (e.Verdict == nil || e.Verdict.Detection == ""):
		bad("verdict", "is missing, a %s event needs it", NetworkVerdict)
	case e.Kind == TenantContext && (e.Org == nil || e.Org.Until == 0):
		bad("org", "is missing, a %s event needs it", TenantContext)
	case e.Kind == RiskReport && e.Risk.Level == "" && e.Risk.User == "" && e.Risk.State == "":
		bad("risk", "is missing, a %s event needs a level, the user's level or a state", RiskReport)
	}
	if e.IP != "" {
		if _, err := netip.ParseAddr(e.IP); err != nil {
			bad("ip", "is %.60q, must be an IPv4 or IPv6 address", e.IP)
		}
	}
	if e.Network.Prefix != "" && !ValidPrefix(e.Network.Prefix) {
		bad("network.prefix", "is %.60q, must be a /24 of IPv4 or a /48 of IPv6 such as 192.0.2.0/24", e.Network.Prefix)
	}
	for i, c := range e.Network.Classes {
		if !slices.Contains(Classes, c) {
			bad(fmt.Sprintf("network.classes[%d]", i), "is %.40q, must be one of %s", c, list(Classes))
		}
	}
	bounded := func(path string, n int) {
		if n > MaxElements {
			bad(path, "has %d elements, at most %d are allowed", n, MaxElements)
		}
	}
	bounded("user.groups", len(e.User.Groups))
	bounded("auth.methods", len(e.Auth.Methods))
	bounded("network.classes", len(e.Network.Classes))
	bounded("access.policies", len(e.Access.Policies))
	for i := range e.Access.Policies {
		bounded(fmt.Sprintf("access.policies[%d].controls", i), len(e.Access.Policies[i].Controls))
	}
	bounded("access.locations", len(e.Access.Locations))
	bounded("risk.detections", len(e.Risk.Detections))
	bounded("change.grants", len(e.Change.Grants))
	place(bad, "place", &e.Place)
	place(bad, "provider_place", &e.ProviderPlace)
	return errors.Join(problems...)
}

func oneOf[T ~string](bad func(path, format string, args ...any), path string, v T, allowed []T) {
	if v != "" && !slices.Contains(allowed, v) {
		bad(path, "is %.40q, must be one of %s", v, list(allowed))
	}
}

func place(bad func(path, format string, args ...any), path string, p *Place) {
	if math.IsNaN(p.Lat) || p.Lat < -90 || p.Lat > 90 {
		bad(path+".lat", "is %g, must be between -90 and 90", p.Lat)
	}
	if math.IsNaN(p.Lon) || p.Lon < -180 || p.Lon > 180 {
		bad(path+".lon", "is %g, must be between -180 and 180", p.Lon)
	}
	if math.IsNaN(p.RadiusKm) || p.RadiusKm < 0 || p.RadiusKm > 20038 {
		bad(path+".radius_km", "is %g, must be between 0 and 20038", p.RadiusKm)
	}
	if c := p.Country; c != "" && (len(c) != 2 || c[0] < 'A' || c[0] > 'Z' || c[1] < 'A' || c[1] > 'Z') {
		bad(path+".country", "is %.40q, must be an ISO 3166-1 code of two capital letters", c)
	}
}

// ValidTenant reports whether a name may be a tenant: 1 to [MaxTenant] ASCII letters, digits, dots, dashes, underscores.
func ValidTenant(s string) bool {
	if s == "" || len(s) > MaxTenant {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// ValidPrefix reports whether a text is the canonical form of a /24 of IPv4 or a /48 of IPv6, such as "192.0.2.0/24".
func ValidPrefix(s string) bool {
	p, err := netip.ParsePrefix(s)
	if err != nil || p != p.Masked() || p.Bits() != 24 && p.Addr().Is4() || p.Bits() != 48 && p.Addr().Is6() {
		return false
	}
	var room [64]byte
	return string(p.AppendTo(room[:0])) == s
}

func list[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return strings.Join(texts, ", ")
}

// Clean makes the free text of an event fit to keep and to show: valid UTF-8, no control characters, bounded length. It
// leaves identities alone; Validate refuses those that are not fit.
func (e *Event) Clean() {
	for _, f := range []struct {
		text *string
		max  int
	}{
		{&e.User.Name, MaxName},
		{&e.Source.Name, MaxName},
		{&e.Source.Category, MaxName},
		{&e.Code, MaxName},
		{&e.Reason, MaxText},
		{&e.App.Name, MaxName},
		{&e.Resource.Name, MaxName},
		{&e.AddressText, MaxName},
		{&e.UserAgent, MaxText},
		{&e.Network.Org, MaxName},
		{&e.Network.List, MaxName},
		{&e.Place.City, MaxName},
		{&e.Place.Region, MaxName},
		{&e.Place.Database, MaxName},
		{&e.ProviderPlace.City, MaxName},
		{&e.ProviderPlace.Region, MaxName},
		{&e.ProviderPlace.Database, MaxName},
		{&e.Device.Name, MaxName},
		{&e.Device.OS, MaxName},
		{&e.Device.Browser, MaxName},
		{&e.Device.Type, MaxName},
		{&e.Auth.Protocol, MaxName},
		{&e.Auth.ACR, MaxName},
		{&e.Session.TokenType, MaxName},
		{&e.Risk.Detail, MaxName},
		{&e.Change.Target.Name, MaxName},
		{&e.Change.Actor.Name, MaxName},
		{&e.Change.From, MaxName},
		{&e.Change.To, MaxName},
	} {
		*f.text = cut(*f.text, f.max)
	}
	cutAll(e.User.Groups, e.Auth.Methods, e.Access.Locations, e.Risk.Detections, e.Change.Grants)
	for i := range e.Access.Policies {
		p := &e.Access.Policies[i]
		p.ID, p.Name, p.Result = cut(p.ID, MaxName), cut(p.Name, MaxName), cut(p.Result, MaxName)
		cutAll(p.Controls)
	}
}

// cutAll cuts every text to the length of a name.
func cutAll(lists ...[]string) {
	for _, texts := range lists {
		for i := range texts {
			if text := cut(texts[i], MaxName); text != texts[i] { // what is fit is left alone: events may share it
				texts[i] = text
			}
		}
	}
}

// cut drops control characters and invalid bytes and bounds the length in bytes, never inside a character.
func cut(s string, limit int) string {
	if len(s) <= limit && clean(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r == utf8.RuneError || unicode.IsControl(r) {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

func clean(s string) bool {
	ascii := true
	for _, c := range []byte(s) {
		if c < 0x20 || c == 0x7f {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if ascii {
		return true
	}
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError })
}

// Validate checks that a receipt means something, and reports every problem, each as "path: problem". Its id and whether its
// time is near now are for ingest.
func (r *Receipt) Validate() error {
	var problems []error
	bad := func(path, format string, args ...any) {
		problems = append(problems, fmt.Errorf(path+": "+format, args...))
	}
	if !ValidTenant(r.Tenant) {
		bad("tenant", "is %.80q, must be 1 to %d letters, digits, dots, dashes or underscores", r.Tenant, MaxTenant)
	}
	for _, f := range []struct {
		path, value string
		required    bool
	}{{"user", r.User, true}, {"session", r.Session, false}, {"requirement", r.Requirement, true}, {"jti", r.JTI, false}, {"app", r.App, true}} {
		switch {
		case f.value == "" && f.required:
			bad(f.path, "is missing")
		case len(f.value) > MaxID:
			bad(f.path, "has %d bytes, at most %d are allowed", len(f.value), MaxID)
		case !clean(f.value):
			bad(f.path, "has control characters or invalid UTF-8")
		}
	}
	if r.Time == 0 {
		bad("time", "is missing")
	}
	if !slices.Contains(ReceiptStatuses, r.Status) {
		bad("status", "is %.40q, must be one of %s", r.Status, list(ReceiptStatuses))
	}
	return errors.Join(problems...)
}
