package explain

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// lines gathers facts in words; what is not known is left out.
type lines []Line

func (l *lines) add(name string, parts ...string) {
	if text := joined(", ", parts...); text != "" {
		*l = append(*l, Line{name, text})
	}
}

func (l *lines) addf(name, format string, args ...any) { l.add(name, fmt.Sprintf(format, args...)) }

// joined joins what is not empty.
func joined(separator string, parts ...string) string {
	kept := parts[:0:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, separator)
}

// eventLines is an event in words: who, when, where, through what, with what, how.
func eventLines(e *events.Event) []Line {
	var l lines
	l.add("who", userText(e.Tenant, &e.User))
	l.add("what", string(e.Kind), string(e.Outcome), named("code", e.Code), named("because of", string(e.Cause)), e.Reason,
		interactive(e.Interactive), named("app", refText(e.App)), named("resource", refText(e.Resource)))
	l.add("when", e.Time.String())
	l = append(l, sightLines(&events.Sight{
		IP: e.IP, Network: e.Network, Place: e.Place, ProviderPlace: e.ProviderPlace, Device: e.Device, Session: e.Session.ID,
	})...)
	if e.IP == "" {
		l.add("address as sent", e.AddressText)
	}
	l.add("user agent", e.UserAgent)
	l.add("token", named("id", e.Session.Token), e.Session.TokenType, tri(e.Session.Bound, "bound to the device", "not bound to the device"))
	a := &e.Auth
	l.add("proof", named("strength", string(a.Strength)), named("second factor", string(a.MFA)), named("methods", strings.Join(a.Methods, " ")),
		named("acr", a.ACR), named("by", a.Protocol), named("given", a.Time.String()))
	var policies []string
	for _, p := range e.Access.Policies {
		policies = append(policies, joined(" ", p.Name, p.Result))
	}
	l.add("provider's policies", string(e.Access.Result), strings.Join(policies, "; "), named("locations", strings.Join(e.Access.Locations, " ")))
	if e.Risk.IsDefined() {
		l.add("provider's risk", riskText(&e.Risk))
	}
	if e.Change.IsDefined() {
		l.add("change", changeText(&e.Change))
	}
	l.add("flow", e.Correlation)
	if e.Verdict != nil {
		l.add("verdict", verdictText(e.Verdict))
	}
	l.add("source", e.Source.Name, e.Source.Category, named("record", e.Source.ID))
	return l
}

// sightLines is an observation in words, without who and when.
func sightLines(s *events.Sight) []Line {
	var l lines
	l.add("where", placeText(&s.Place), s.Place.Database)
	l.add("where, says the provider", placeText(&s.ProviderPlace))
	l.add("through", s.IP, networkText(&s.Network))
	l.add("device", deviceText(&s.Device))
	l.add("session", s.Session)
	return l
}

// sightText is an observation in one line.
func sightText(s *events.Sight) string {
	return joined(", ", s.Time.String(), placeText(&s.Place), s.IP, networkText(&s.Network), deviceText(&s.Device),
		named("session", s.Session), named("app", refText(s.App)), named("event", s.EventID))
}

func userText(tenant string, u *events.User) string {
	name := ""
	if u.Name != u.ID {
		name = u.Name
	}
	return joined(", ", events.Key(tenant, u.ID), name, string(u.Type), named("groups", strings.Join(u.Groups, " ")),
		tri(u.Privileged, "privileged", ""), named("guest of", u.HomeTenant))
}

func placeText(p *events.Place) string {
	where := joined(", ", p.City, p.Region, p.Country)
	if !p.Located() {
		return where
	}
	at := fmt.Sprintf("%.2f %.2f", p.Lat, p.Lon)
	if p.RadiusKm > 0 {
		at += " ± " + number(p.RadiusKm) + " km"
	}
	return joined(" ", where, "("+at+")")
}

func networkText(n *events.Network) string {
	as := ""
	if n.ASN != 0 {
		as = "AS" + strconv.FormatUint(uint64(n.ASN), 10)
	}
	var classes []string
	for _, c := range n.Classes {
		classes = append(classes, string(c))
	}
	return joined(" ", as, n.Org, named("in", n.Prefix), strings.Join(classes, " "))
}

func deviceText(d *events.Device) string {
	browser := d.Browser
	if browser != "" && d.BrowserMajor != 0 {
		browser += " " + strconv.Itoa(d.BrowserMajor)
	}
	return joined(", ", joined(" ", d.OS, browser, d.Type), d.Name, named("id", d.ID), tri(d.Managed, "managed", "not managed"),
		tri(d.Compliant, "compliant", "not compliant"))
}

func refText(r events.Ref) string {
	if r.Name == "" || r.Name == r.ID {
		return r.ID
	}
	if r.ID == "" {
		return r.Name
	}
	return r.Name + " (" + r.ID + ")"
}

func riskText(r *events.Risk) string {
	return joined(", ", string(r.Level), named("of the user", string(r.User)), string(r.State), strings.Join(r.Detections, " "), r.Detail,
		named("of the sign-in", r.SignIn), named("at", r.Happened.String()))
}

func changeText(c *events.Change) string {
	arrow := ""
	if c.From != "" || c.To != "" {
		arrow = c.From + " → " + c.To
	}
	return joined(", ", joined(" ", string(c.Type), string(c.Action), refText(c.Target)), named("by", refText(c.Actor)),
		named("grants", strings.Join(c.Grants, " ")), arrow)
}

func verdictText(v *events.Verdict) string {
	var histogram []string
	for i, n := range v.Histogram {
		histogram = append(histogram, fmt.Sprintf("%d users tried %s", n, []string{"once", "twice", "3 to 6 times", "oftener"}[min(i, 3)]))
	}
	season, counts, fingerprint := "", "", ""
	if v.Deviation > 0 || v.Mean > 0 {
		season = fmt.Sprintf("%s users are usual, ± %s: %s deviations above", number(v.Mean), number(v.Deviation), number(v.Z))
	}
	if v.Users > 0 || v.Tries > 0 {
		counts = fmt.Sprintf("%d users in %d tries, %d got in", v.Users, v.Tries, v.Succeeded)
	}
	if v.Fingerprint != "" {
		fingerprint = fmt.Sprintf("%s %% share %s", number(100*v.Share), v.Fingerprint)
	}
	span := ""
	if v.From != 0 || v.To != 0 {
		span = v.From.String() + " to " + v.To.String()
	}
	return joined(", ", joined(" ", v.Detection, string(v.Severity)), v.Source, counts, span, strings.Join(histogram, "; "), season,
		fingerprint, named("incident", v.Incident), named("event", v.EventID))
}

// evidenceLines is what a finding rests on, in words.
func evidenceLines(f *events.Finding) []Line {
	var l lines
	e := &f.Evidence
	travel := func(name string, t *events.Travel) {
		l.add(name+" from", sightText(&t.From))
		l.add(name+" to", sightText(&t.To))
		l.add(name, travelText(t))
	}
	if e.Travel != nil {
		travel("travel", e.Travel)
	}
	for i := range e.Others {
		l.add("also", e.Others[i].From.Time.String(), placeText(&e.Others[i].From.Place), travelText(&e.Others[i]))
	}
	if e.Return != nil {
		travel("return", e.Return)
	}
	for _, n := range e.Novel {
		l.add("new", joined(" ", n.Kind, n.Value), fmt.Sprintf("%d known", n.Known), named("not since", n.LastSeen.String()))
	}
	if s := e.Session; s != nil {
		l.add("session", s.ID)
		l.add("session began", sightText(&s.Started))
		l.add("session now", sightText(&e.Sight))
		l.add("changed", strings.Join(s.Changed, ", "))
	}
	if e.Conflict {
		l.addf("places disagree", "ours is %s, the provider's %s", placeText(&e.Sight.Place), placeText(&e.Sight.ProviderPlace))
	}
	if s := e.Score; s != nil {
		l.add("score", fmt.Sprintf("%s, more than %s is unfamiliar", number(s.Value), number(s.Threshold)), named("class", s.Class))
		for _, p := range s.Parts {
			l.add("score of "+p.Feature, joined(" ", signed(p.LogRatio), named("for", p.Value)))
		}
	}
	if r := e.Risk; r != nil {
		l.addf("risk", "%s dB before, %s dB after", number(r.Before), number(r.After))
		for _, p := range r.Parts {
			l.addf("risk of "+p.Detection, "%s dB, of %s", signed(p.Decibans), p.Time)
		}
		// Proofs take off the sum and not off its parts, of which only the greatest are kept.
		if rest := riskRest(r); rest <= -0.5 || rest >= 0.5 {
			l.addf("risk, the rest", "%s dB: lesser parts, less what passed proofs have taken off", signed(rest))
		}
	}
	for _, a := range e.Attempts {
		as := ""
		if a.ASN != 0 {
			as = "AS" + strconv.FormatUint(uint64(a.ASN), 10)
		}
		l.add("attempt", a.Time.String(), string(a.Cause), as)
	}
	for i := range e.Chain {
		l.add("with it", sightText(&e.Chain[i]))
	}
	for _, b := range e.Earlier {
		l.add("builds on", joined(" ", b.Detection, string(b.Severity)), b.Time.String(), named("event", b.EventID))
	}
	if e.Verdict != nil {
		l.add("verdict", verdictText(e.Verdict))
	}
	if e.Vendor != nil {
		l.add("provider says", riskText(e.Vendor))
	}
	if e.Change != nil {
		l.add("change", changeText(e.Change))
	}
	for _, x := range e.Facts {
		l.add(x.Name, x.Value)
	}
	if h := e.History; h != nil {
		l.addf("known of the user", "%d successes since %s", h.Successes, or(h.FirstSeen.String(), "now"))
	}
	for _, s := range f.Suppressions {
		l.add("considered against it", joined(": ", s.Rung, s.Fact), named("effect", s.Effect))
	}
	var parameters []string
	for _, p := range f.Parameters {
		parameters = append(parameters, joined(" ", p.Name, parameterText(p)))
	}
	l.add("parameters", parameters...)
	return l
}

// riskRest is what the named parts do not account for, in decibans.
func riskRest(r *events.UserRisk) float64 {
	rest := r.After
	for _, p := range r.Parts {
		rest -= p.Decibans
	}
	return math.Round(rest*10) / 10
}

// parameterText is a parameter as the configuration writes it: 10m, not 0.166667 h.
func parameterText(p events.Parameter) string {
	if p.Unit != "h" {
		return joined(" ", strconv.FormatFloat(p.Value, 'g', 6, 64), p.Unit)
	}
	d := time.Duration(p.Value * float64(time.Hour)).Round(time.Millisecond)
	if day := 24 * time.Hour; d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// freshness is how old a proof may be, in seconds.
func freshness(maxAge uint32) string {
	if maxAge == 0 {
		return "a new one"
	}
	return fmt.Sprintf("not older than %s", time.Duration(maxAge)*time.Second)
}

// travelText is a way between two observations: what was counted, and how.
func travelText(t *events.Travel) string {
	gap := time.Duration(t.GapSeconds * float64(time.Second))
	return fmt.Sprintf("%s km less radii of %s and %s km are %s km, in %s: %s km/h", number(t.DistanceKm), number(t.RadiusFrom), number(t.RadiusTo),
		number(t.EffectiveKm), gap.Round(time.Second), number(t.SpeedKmh))
}

// named is "name value", or nothing without a value.
func named(name, value string) string {
	if value == "" {
		return ""
	}
	return name + " " + value
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func tri(t events.Tri, yes, no string) string {
	switch t {
	case events.Yes:
		return yes
	case events.No:
		return no
	case events.Unknown:
	}
	return ""
}

func interactive(t events.Tri) string { return tri(t, "interactive", "not interactive") }

// number has as many digits as anybody reads: none behind the point from 100 on, two below.
func number(v float64) string {
	if math.Abs(v) >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
}

func signed(v float64) string {
	if v > 0 {
		return "+" + number(v)
	}
	return number(v)
}
