package anomaly

import (
	"fmt"
	"math"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// journey tells of a way, such as "Utrecht NL to Tokyo JP: 9,266 km less 40 km of uncertainty in 58 min, 9,540 km/h".
func journey(l *leg) string {
	return fmt.Sprintf("%s to %s: %s km less %s km of uncertainty in %s, %s km/h", placeName(l.fromSpot), placeName(l.toSpot),
		grouped(l.km), grouped(l.radiusFrom+l.radiusTo), span(l.gap), grouped(l.kmh))
}

func roundTrip(out, back *leg) string {
	return fmt.Sprintf("%s to %s and back within %s, at least %s km each way", placeName(out.fromSpot), placeName(out.toSpot),
		span(back.to.Time-out.from.Time), grouped(min(out.effectiveKm, back.effectiveKm)))
}

func (o *observation) countrySummary() string {
	return fmt.Sprintf("Seen in %s, %s; known: %s", o.spot.Country, o.newness(&o.country), plural(o.country.known, "other country", "other countries"))
}

func (o *observation) conjunctionSummary() string {
	return fmt.Sprintf("Seen in %s, %s, with a device that is new too: %s", o.spot.Country, o.newness(&o.country), agentName(o.device))
}

// newness says why a term is new.
func (o *observation) newness(n *novelty) string {
	switch {
	case n.lastSeen != 0:
		return "last seen there " + span(o.e.Time-n.lastSeen) + " ago"
	case !n.fresh:
		return "new and not confirmed yet"
	}
	return "for the first time"
}

func (o *observation) secondDeviceSummary(start *profile.Point) string {
	at := func(spot *profile.Spot, d *profile.Device) string {
		return fmt.Sprintf("%s (AS%d, %s)", placeName(spot), spot.ASN, agentName(d))
	}
	gap, when := o.at.Time-start.Time, "later"
	if gap < 0 {
		gap, when = -gap, "earlier"
	}
	return fmt.Sprintf("A session of %s was used %s %s from %s", at(o.p.Spot(start), o.p.Device(start)), span(gap), when, at(o.spot, o.device))
}

func agentName(d *profile.Device) string {
	switch {
	case d.OS != "" && d.Browser != "":
		return d.OS + " " + d.Browser
	case d.OS+d.Browser != "":
		return d.OS + d.Browser
	}
	return "unknown device"
}

func placeName(s *profile.Spot) string {
	name := s.City
	if name == "" {
		name = s.Region
	}
	switch {
	case name != "" && s.Country != "":
		return name + " " + s.Country
	case name+s.Country != "":
		return name + s.Country
	case s.Located():
		lat, lon := s.Degrees()
		return fmt.Sprintf("%.2f,%.2f", lat, lon)
	}
	return "an unknown place"
}

// span writes a length of time in its two largest units.
func span(t events.Millis) string {
	switch {
	case t < events.Minute:
		return fmt.Sprintf("%d s", max(t, 0)/events.Second)
	case t < events.Hour:
		return fmt.Sprintf("%d min", t/events.Minute)
	case t < 2*events.Day:
		return fmt.Sprintf("%d h %d min", t/events.Hour, t%events.Hour/events.Minute)
	}
	return fmt.Sprintf("%d days", t/events.Day)
}

// grouped writes a whole number with commas.
func grouped(v float64) string {
	s := strconv.FormatInt(int64(math.Round(v)), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
