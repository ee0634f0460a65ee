package anomaly

import (
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// sighting is what the network stage is told of the event: sign-ins of people that succeed or fail, and consents.
func (o *observation) sighting() *events.Sighting {
	e := o.e
	switch {
	case e.User.Type == events.Workload:
		return nil
	case e.Kind == events.SignIn && e.Outcome == events.Success:
		if e.Interactive == events.No || o.spot == nil {
			return nil
		}
	case e.Kind == events.SignIn && (e.Outcome == events.Failure || e.Outcome == events.Blocked):
	default:
		return nil
	}
	s := &events.Sighting{
		EventID: e.ID, Tenant: e.Tenant, User: e.User.ID, Kind: e.Kind, Time: e.Time, Ingested: e.Ingested, Outcome: e.Outcome, Cause: e.Cause,
		Unresolved: e.User.Type == events.Unresolved || e.Cause == events.UnknownUser, IP: e.IP, Network: e.Network, Country: e.Place.Country,
		Device: e.Device, App: e.App, Protocol: e.Auth.Protocol,
	}
	if s.Cause == "" && e.WrongPassword() { // one rule of what a guess is
		s.Cause = events.BadPassword
		if s.Unresolved {
			s.Cause = events.UnknownUser
		}
	}
	if e.Place.Located() {
		s.Lat, s.Lon = e.Place.Lat, e.Place.Lon
	}
	if e.UserAgent != "" {
		s.Agent = fmt.Sprintf("%016x", xxhash.Sum64String(e.UserAgent))
	}
	if o.spot == nil { // a failure
		s.Familiar = o.knownFailure()
		return s
	}
	s.Adverse = o.adverse() || o.p.LastAdverse != 0 && e.Time-o.p.LastAdverse < events.Day
	s.Proved = e.Device.Managed == events.Yes || phishingResistant(e) || e.Auth.MFA == events.MFAPerformed && !o.spot.Classes.Any(anonymous)
	s.Familiar = o.familiar()
	s.Moved, s.Jumped = o.moved, o.jumped
	if o.scored && !o.alarming() {
		s.Scored, s.Score, s.Class = true, o.score.Value, o.class
	}
	return s
}

// alarming tells that more than unfamiliarity speaks against the event: its score must not raise the limits. Those that are
// only unfamiliar must count, or the limits would sink from day to day.
func (o *observation) alarming() bool {
	return slices.ContainsFunc(o.findings, func(f events.Finding) bool {
		return adverse(f) && f.Detection != fam01.ID && f.Detection != rsk01.ID && f.Detection != prv01.ID
	})
}

// follow compares the event with the latest observation of the same device within an hour: carriers that bring their users to
// the internet in many places are known by that.
func (o *observation) follow() {
	const soon, far = events.Hour, 100
	if o.device.Hash == 0 || !o.spot.Located() {
		return
	}
	var latest *profile.Point
	for i := range o.p.Visits {
		pt := &o.p.Visits[i].Last
		if gap := o.e.Time - pt.Time; gap < 0 || gap > soon || o.p.Device(pt).Hash != o.device.Hash || o.p.Spot(pt).ASN != o.spot.ASN {
			continue
		}
		if latest == nil || pt.Time > latest.Time {
			latest = pt
		}
	}
	if latest != nil {
		o.moved = true
		o.jumped = distance(o.p.Spot(latest), o.spot) >= far
	}
}

// remember notes the event's findings for the events that follow.
func (o *observation) remember() {
	const keep = 7 * events.Day
	for i := range o.findings {
		f := &o.findings[i]
		observed := f.Disposition == events.Observed && f.Severity.Rank() >= events.Medium.Rank()
		if !adverse(*f) && !observed || f.Detection == rsk01.ID {
			continue
		}
		r := profile.Raised{
			Detection: profile.DetectionOf(f.Detection), Severity: uint8(f.Severity.Rank()), Observed: observed, Tried: o.tried(f),
			Time: f.Time, Event: o.id,
			Session: profile.SessionKey(o.e.Session.ID), Flow: profile.Hash32(o.e.Correlation), IP: profile.AddressOf(o.e.IP).Hash(),
		}
		if f.Detection == idp01.ID && o.e.Risk.SignIn != "" {
			r.Event = o.concerned()
		}
		o.p.AddRaised(r, keep)
		if o.spot == nil && !observed && !r.Tried && gotIn(r.Detection) { // a success has noted it when it was learned
			o.p.LastAdverse = max(o.p.LastAdverse, f.Time)
		}
	}
}

// verdictSummary says what the network stage concluded.
func verdictSummary(v *events.Verdict) string {
	source := v.Source
	if source == "" {
		source = "the organisation"
	}
	length := span(v.To - v.From)
	switch v.Detection {
	case crd03.ID, crd05.ID:
		return fmt.Sprintf("%s tried %s in %d attempts within %s", source, plural(v.Users, "user", "users"), v.Tries, length)
	case crd04.ID:
		return fmt.Sprintf("%s failed within %s, %.1f deviations above the usual %.0f", plural(v.Users, "user", "users"), length, v.Z, v.Mean)
	case crd07.ID:
		return fmt.Sprintf("%s tried %s that belong to nobody within %s", source, plural(v.Users, "name", "names"), length)
	case crd08.ID:
		return fmt.Sprintf("%s locked out within %s", plural(v.Users, "user", "users"), length)
	case net05.ID:
		return fmt.Sprintf("Succeeded from %s, where %s failed and %s within %s", source, plural(v.Users, "user", "users"),
			plural(v.Succeeded, "user succeeded", "users succeeded"), length)
	case dev03.ID:
		return fmt.Sprintf("%s signed in with one device, %s, within %s", plural(v.Users, "user", "users"), source, length)
	}
	return fmt.Sprintf("%s concerns %s", source, plural(v.Users, "user", "users"))
}

// sessionsOf lists the live sessions that began within a time before the event, oldest first.
func (o *observation) sessionsOf(within events.Millis) []*profile.Session {
	var out []*profile.Session
	for i := range o.p.Sessions {
		s := &o.p.Sessions[i]
		if gap := o.e.Time - s.Start.Time; gap >= 0 && gap <= within {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *profile.Session) int {
		if later(&a.Start, &b.Start) {
			return 1
		}
		return -1
	})
	return out
}
